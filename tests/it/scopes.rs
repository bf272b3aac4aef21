//! Laws 3 to 5: absent means default, present means intent, and the edge enforces.

use crate::support::{READER, SECRET, Shim, WRITER, fake_gateway, people};
use std::time::Duration;

const CHAT: &str = r#"{"model":"openclaw","messages":[]}"#;

/// Contract §2, every column, with the gateway's own secret: what each header state must give on
/// the read route and on the write route, whatever the gateway would say.
#[test]
fn the_header_table_holds() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let table: &[(&[&str], u16, u16)] = &[
        (&[], 200, 200),
        (&["x-openclaw-scopes:"], 403, 403),
        (&["x-openclaw-scopes: ,"], 403, 403),
        (&["x-openclaw-scopes: operator.read"], 200, 403),
        (&["x-openclaw-scopes: operator.write"], 200, 200),
        (&["x-openclaw-scopes: operator.admin"], 200, 200),
        (&["x-openclaw-scopes: operator.approvals"], 403, 403),
        (&["x-openclaw-scopes: operator.read operator.write"], 200, 200),
        (&["x-openclaw-scopes: operator.read , operator.write"], 200, 200),
        (&["x-openclaw-scopes: operator.read", "X-OpenClaw-Scopes: operator.write"], 200, 200),
        (&["x-openclaw-scopes: operator.nonsense"], 403, 403),
        (&["x-openclaw-scopes: OPERATOR.READ"], 403, 403),
    ];
    let mut client = shim.client();
    for (headers, read, write) in table {
        assert_eq!(client.ask("GET /v1/models", SECRET, headers, "").status, *read, "read route, {headers:?}");
        assert_eq!(
            client.ask("POST /v1/chat/completions", SECRET, headers, CHAT).status,
            *write,
            "write route, {headers:?}"
        );
    }
    // What was let through carried exactly one scopes header, whatever came in.
    for seen in gateway.seen() {
        assert_eq!(seen.headers.get_all("x-openclaw-scopes").iter().count(), 1, "{seen:?}");
        assert_eq!(seen.headers["authorization"], format!("Bearer {SECRET}"));
    }
}

#[test]
fn a_narrowed_header_names_what_is_missing() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let answer = shim.client().ask("POST /v1/chat/completions", SECRET, &["x-openclaw-scopes: operator.read"], CHAT);
    assert_eq!(answer.status, 403);
    let body = answer.json();
    assert_eq!(body["ok"], false);
    assert_eq!(body["error"]["type"], "forbidden");
    let said = "missing scope: operator.write (scopeshim: the gateway's own secret)";
    assert_eq!(body["error"]["message"], said);
    assert_eq!(body["error"]["details"]["missingScope"], "operator.write");
    assert_eq!(body["error"]["principal"], "gateway-secret");
}

#[test]
fn more_than_granted_is_refused_by_name() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let answer = shim.client().ask("GET /v1/models", READER, &["x-openclaw-scopes: operator.read,operator.admin"], "");
    assert_eq!(answer.status, 403);
    assert_eq!(answer.code(), "scope_not_granted");
    assert_eq!(answer.json()["error"]["details"]["notGranted"], serde_json::json!(["operator.admin"]));
    assert!(gateway.seen().is_empty());
}

#[test]
fn narrow_instead_of_refuse_intersects() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &format!("[policy]\nexcess = \"narrow\"\n{}", people()));
    let mut client = shim.client();
    assert_eq!(client.ask("GET /v1/models", READER, &["x-openclaw-scopes: operator.admin"], "").status, 200);
    assert_eq!(gateway.seen()[0].headers["x-openclaw-scopes"], "operator.read");
    assert_eq!(client.ask("GET /v1/models", READER, &["x-openclaw-scopes: operator.approvals"], "").status, 403);
}

#[test]
fn a_reader_reads_and_nothing_else() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let mut client = shim.client();
    assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 200);
    assert_eq!(client.ask("GET /v1/models/openclaw%2Fdefault", READER, &[], "").status, 200);
    assert_eq!(client.ask("GET /sessions/agent%3Amain%3Amain/history", READER, &[], "").status, 200);
    let before = gateway.seen().len();
    for (line, missing) in [
        ("POST /v1/chat/completions", "operator.write"),
        ("POST /v1/responses", "operator.write"),
        ("POST /v1/embeddings", "operator.write"),
        ("POST /tools/invoke", "operator.write"),
        ("POST /sessions/agent%3Amain%3Amain/kill", "operator.admin"),
        ("DELETE /v1/chat/completions", "operator.write"),
    ] {
        let answer = client.ask(line, READER, &[], if line.starts_with("GET") { "" } else { "{}" });
        assert_eq!(answer.status, 403, "{line}");
        let said = format!("missing scope: {missing} (scopeshim: token \"reader\" holds operator.read)");
        assert_eq!(answer.json()["error"]["message"], said, "{line}");
    }
    for (line, likely) in [("/models", "; did you mean /v1/models?"), ("/", ""), ("/api/anything", "")] {
        let answer = client.ask(&format!("GET {line}"), READER, &[], "");
        assert_eq!((answer.status, answer.code()), (403, "unknown_route".to_owned()), "{line}");
        let said = format!("unknown route {line}{likely} (scopeshim: token \"reader\")");
        assert_eq!(answer.json()["error"]["message"], said, "{line}");
        assert!(!answer.body.contains("operator.admin"), "a typo is no reason for operator.admin: {answer:?}");
    }
    assert_eq!(gateway.seen().len(), before, "nothing that was refused may reach the gateway");
}

#[test]
fn no_unauthenticated_request_passes() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    for (headers, code) in [
        (&[][..], "credential_missing"),
        (&["Authorization: Bearer wrong-token-0123456789"], "credential_unknown"),
        (&["Authorization: Basic dXNlcjpwYXNz"], "credential_unknown"),
        (&["Authorization: Digest username=\"user\""], "credential_scheme"),
        (&["Authorization: Bearer"], "invalid_credential_form"),
        (&["X-API-Key: the-gateway-s-own-secret-0123456789"], "credential_missing"),
        (&["Cookie: token=the-gateway-s-own-secret-0123456789"], "credential_missing"),
    ] {
        let mut client = shim.client();
        let answer = client.request("GET /v1/models", headers, "").answer();
        assert_eq!(answer.code(), code, "{headers:?}");
        if answer.status == 401 {
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"), "{headers:?}");
        }
    }
    let mut client = shim.client();
    assert_eq!(client.ask("GET /v1/models?token=the-gateway-s-own-secret-0123456789", "", &[], "").status, 401);
    assert!(gateway.seen().is_empty());
}

#[test]
fn the_gateway_s_secret_is_no_credential_unless_the_config_says_so() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    for tables in [
        people().replace("[gateway_secret]\n", ""),
        people().replace("[gateway_secret]", "[gateway_secret]\naccept = false"),
    ] {
        let shim = Shim::start(address, &tables);
        assert_eq!(shim.client().ask("GET /v1/models", SECRET, &[], "").status, 401);
        assert_eq!(shim.client().ask("GET /v1/models", WRITER, &[], "").status, 200);
    }
}

#[test]
fn an_expired_token_and_one_from_elsewhere_are_told_so() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let tables = people()
        .replace("name = \"reader\"", "name = \"reader\"\nexpires = 2020-01-01T00:00:00Z")
        .replace("name = \"writer\"", "name = \"writer\"\ncidrs = [\"10.0.0.0/8\"]");
    let shim = Shim::start(address, &tables);
    let answer = shim.client().ask("GET /v1/models", READER, &[], "");
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_expired"));
    assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"));
    assert_eq!(shim.client().ask("GET /v1/models", WRITER, &[], "").code(), "token_address");
}

#[test]
fn anonymous_is_let_in_only_where_the_policy_says_so_and_never_for_a_foreign_page() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &format!("{}\n[anonymous]\nscopes = [\"operator.read\"]\n", people()));
    let mut client = shim.client();
    assert_eq!(client.ask("GET /v1/models", "", &[], "").status, 200);
    assert_eq!(client.ask("POST /v1/chat/completions", "", &[], CHAT).status, 403);
    assert_eq!(client.ask("GET /v1/models", "", &["Origin: https://evil.example"], "").code(), "cross_origin");
    assert_eq!(client.ask("GET /v1/models", "", &["Sec-Fetch-Site: cross-site"], "").code(), "cross_origin");
    assert_eq!(client.ask("GET /v1/models", "wrong-token-0123456789", &[], "").status, 401);
    assert_eq!(gateway.seen().len(), 1);
}

#[test]
fn the_model_header_needs_admin_as_the_gateway_has_it() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let mut client = shim.client();
    let model = &["x-openclaw-model: other/model", "x-openclaw-message-channel: webchat"][..];
    assert_eq!(client.ask("POST /v1/chat/completions", WRITER, model, CHAT).code(), "header_not_allowed");
    assert_eq!(client.ask("POST /v1/chat/completions", SECRET, model, CHAT).status, 200);
    let seen = gateway.seen();
    assert_eq!(seen[0].headers["x-openclaw-model"], "other/model");
    assert_eq!(seen[0].headers["x-openclaw-message-channel"], "webchat");
    let twice = &["x-openclaw-agent-id: a", "x-openclaw-agent-id: b"];
    assert_eq!(client.ask("POST /v1/chat/completions", SECRET, twice, CHAT).code(), "header_not_allowed");
}

#[test]
fn a_policy_s_routes_and_public_ones() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let routes = "[[route]]\nprefix = \"/plugin/\"\nmethods = [\"GET\"]\nneeds = \"operator.read\"\n\n[[route]]\npath = \"/open\"\npublic = true\n";
    let shim = Shim::start(address, &format!("{}\n{routes}", people()));
    let mut client = shim.client();
    assert_eq!(client.ask("GET /plugin/x", READER, &[], "").status, 200);
    assert_eq!(client.ask("POST /plugin/x", READER, &[], "").status, 403);
    assert_eq!(
        client
            .ask(
                "GET /open",
                "wrong-token-0123456789",
                &["x-openclaw-session-key: a", "x-openclaw-scopes: operator.admin"],
                ""
            )
            .status,
        200
    );
    let open = gateway.seen().into_iter().find(|s| s.target == "/open").unwrap();
    assert_eq!(open.headers["x-openclaw-scopes"], "");
    assert!(!open.headers.contains_key("authorization") && !open.headers.contains_key("x-openclaw-session-key"));
}
