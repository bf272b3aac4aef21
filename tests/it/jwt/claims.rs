//! From claims to the scopes header, the principal's name, and the answers that explain a refusal.

use crate::support::signer::{P256, claims, claims_with, jwks};
use crate::support::{ISS, Judge, Shim, fake_gateway, people};
use scopeshim::fake_gateway::FakeGateway;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn start(more: &str) -> (Arc<FakeGateway>, Shim) {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let table = format!(
        "[[issuer]]\nname = \"test\"\nissuer = \"{ISS}\"\naudiences = [\"openclaw\"]\nkeys = {{ jwks_file = \"j\" }}\n{more}\n"
    );
    let shim = Shim::start_with_files(address, &[("j", &jwks(&[&P256]))], &(table + &people()));
    (gateway, shim)
}

fn token(changes: Value) -> String {
    P256.token("ES256", &claims_with(ISS, changes))
}

/// The scopes header that the gateway sees.
fn sent(gateway: &FakeGateway, shim: &Shim, changes: &Value) -> String {
    let answer = shim.client().ask("GET /v1/models", &token(changes.clone()), &[], "");
    assert_eq!(answer.status, 200, "{changes}: {answer:?}");
    let seen = gateway.seen().pop().unwrap();
    let lines: Vec<_> = seen.headers.get_all("x-openclaw-scopes").iter().collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].to_str().unwrap().to_owned()
}

#[test]
fn the_token_of_the_report_may_do_what_its_scope_claim_says() {
    let (gateway, shim) = start("");
    let full = token(json!({"scope": "operator.read operator.write"}));
    let reading = token(json!({"scope": "operator.read"}));
    let body = r#"{"model":"openclaw","input":"hello","stream":true}"#;
    let mut client = shim.client();
    client.request("POST /v1/responses", &[&format!("Authorization: Bearer {full}")], body);
    assert!(client.head().starts_with("HTTP/1.1 200"));
    assert_eq!(gateway.seen().pop().unwrap().headers["x-openclaw-scopes"], "operator.read,operator.write");
    let seen = gateway.seen().len();
    let answer = shim.client().ask("POST /v1/responses", &reading, &[], body);
    assert_eq!((answer.status, answer.code().as_str()), (403, "missing_scope"), "{answer:?}");
    assert_eq!(answer.json()["error"]["details"]["missingScope"], "operator.write");
    assert_eq!(answer.json()["error"]["principal"], "alice");
    assert_eq!(gateway.seen().len(), seen, "it was forwarded");
    assert_eq!(shim.client().ask("GET /v1/models", &reading, &[], "").status, 200);
    // Nobody's token is ever sent on.
    for seen in gateway.seen() {
        assert!(seen.headers.values().all(|v| !v.to_str().unwrap().contains("eyJ")), "{seen:?}");
    }
}

#[test]
fn scopes_come_as_a_text_or_a_list_from_scope_and_scp() {
    let (gateway, shim) = start("");
    for (changes, expected) in [
        (json!({"scope": "operator.read"}), "operator.read"),
        (json!({"scope": " operator.write  openid operator.read "}), "operator.read,operator.write"),
        (json!({"scope": ["operator.read", "profile"]}), "operator.read"),
        (json!({"scope": null, "scp": ["operator.read", "operator.approvals"]}), "operator.approvals,operator.read"),
        (json!({"scope": "operator.read", "scp": "operator.write"}), "operator.read,operator.write"),
        (json!({"scope": ["operator.read", "operator.a,operator.admin", 7, null, {"a": 1}]}), "operator.read"),
        (json!({"scope": "operator.read operator.read operator.future"}), "operator.future,operator.read"),
    ] {
        assert_eq!(sent(&gateway, &shim, &changes), expected, "{changes}");
    }
    for nothing in [json!(null), json!(""), json!([]), json!(7), json!({"operator.read": true}), json!("openid")] {
        let answer = shim.client().ask("GET /v1/models", &token(json!({"scope": nothing})), &[], "");
        assert_eq!(answer.status, 403, "{nothing}: {answer:?}");
    }
}

#[test]
fn roles_stand_for_scopes_and_the_ceiling_bounds_them_all() {
    let (gateway, shim) = start(
        "roles_claim = \"realm_access.roles\"\nrole_scopes = { ops = [\"operator.read\", \"operator.write\", \"operator.admin\"], dev = [\"operator.read\"] }\nceiling = [\"operator.write\", \"operator.approvals\"]",
    );
    let roles = |roles: Value| json!({"scope": null, "realm_access": {"roles": roles}});
    assert_eq!(sent(&gateway, &shim, &roles(json!(["dev", "unknown"]))), "operator.read");
    assert_eq!(sent(&gateway, &shim, &roles(json!("dev"))), "operator.read");
    // operator.admin exceeds `max_scopes`, whoever asks for it.
    assert_eq!(sent(&gateway, &shim, &roles(json!(["ops"]))), "operator.read,operator.write");
    let scope = json!({"scope": "operator.admin operator.read operator.approvals operator.pairing"});
    assert_eq!(sent(&gateway, &shim, &scope), "operator.approvals,operator.read");
    for nothing in [json!(["Dev"]), json!([]), json!([["dev"]]), json!({"dev": true}), json!(null)] {
        let answer = shim.client().ask("GET /v1/models", &token(roles(nothing.clone())), &[], "");
        assert_eq!(answer.status, 403, "{nothing}");
    }
}

#[test]
fn grants_add_to_what_the_token_says_by_claim_and_name() {
    let (gateway, shim) = start(
        "name_claim = \"email\"\n[[grant]]\nto = { issuer = \"test\", claim = { groups = [\"openclaw-*\"] } }\nscopes = [\"operator.write\"]\n[[grant]]\nto = { issuer = \"test\", subject = \"*@example.org\" }\nscopes = [\"operator.approvals\"]",
    );
    let who = |email: &str, groups: Value| json!({"email": email, "email_verified": true, "groups": groups});
    assert_eq!(sent(&gateway, &shim, &who("a@other.org", json!([]))), "operator.read");
    assert_eq!(
        sent(&gateway, &shim, &who("a@other.org", json!(["x", "openclaw-ops"]))),
        "operator.read,operator.write"
    );
    assert_eq!(sent(&gateway, &shim, &who("a@example.org", json!("x"))), "operator.approvals,operator.read");
    // An e-mail that nobody verified names nobody.
    for verified in [json!(false), json!(null), json!("true"), json!(1)] {
        let changes = json!({"email": "a@example.org", "email_verified": verified});
        let answer = shim.client().ask("GET /v1/models", &token(changes), &[], "");
        assert_eq!((answer.status, answer.code().as_str()), (401, "jwt_claim"), "{verified}");
    }
}

#[test]
fn the_scopes_header_narrows_a_token_and_never_widens_it() {
    let (gateway, shim) = start("");
    let text = token(json!({"scope": "operator.read operator.write"}));
    let ask = |header: &str| shim.client().ask("GET /v1/models", &text, &[&format!("x-openclaw-scopes: {header}")], "");
    assert_eq!(ask("operator.read").status, 200);
    assert_eq!(gateway.seen().pop().unwrap().headers["x-openclaw-scopes"], "operator.read");
    let answer = ask("operator.admin");
    assert_eq!((answer.status, answer.code().as_str()), (403, "scope_not_granted"), "{answer:?}");
    assert_eq!(ask("").status, 403);
}

#[test]
fn presets_read_the_claims_that_their_issuers_write() {
    let of = |preset: &str, more: &str| Judge::of(&[&P256], &format!("preset = \"{preset}\"\n{more}"));
    let plain = |changes: Value| token(changes);
    let keycloak = of("keycloak", "role_scopes = { ops = [\"operator.write\"] }");
    let said = plain(json!({"preferred_username": "alice", "sub": "0-1", "realm_access": {"roles": ["ops"]}}));
    assert_eq!((keycloak.name(&said), keycloak.scopes(&said)), ("alice".into(), "operator.read,operator.write".into()));
    let auth0 = of("auth0", "");
    let said = plain(json!({"scope": "openid", "permissions": ["operator.write"]}));
    assert_eq!(auth0.scopes(&said), "operator.write");
    let entra = of("entra", "role_scopes = { Ops = [\"operator.admin\"] }");
    let said = plain(json!({"scope": null, "scp": "operator.read", "roles": ["Ops"], "oid": "o-1"}));
    assert_eq!((entra.name(&said), entra.scopes(&said)), ("o-1".into(), "operator.admin,operator.read".into()));
    let google = of("google", "");
    let said = plain(json!({"scope": "operator.admin", "email": "a@b.c", "email_verified": true}));
    assert_eq!((google.name(&said), google.scopes(&said)), ("a@b.c".into(), String::new()));
    let said = plain(json!({"email": "a@b.c", "email_verified": false}));
    assert_eq!(google.name(&said), "alice");
    let okta = of("okta", "role_scopes = { ops = [\"operator.write\"] }");
    let said = plain(json!({"scope": null, "scp": ["operator.read"], "groups": ["ops"]}));
    assert_eq!(okta.scopes(&said), "operator.read,operator.write");
}

#[test]
fn a_refusal_tells_the_owner_of_a_token_what_is_wrong_and_a_forger_nothing() {
    let (_gateway, shim) = start("");
    let now = jiff::Timestamp::now().as_second();
    let ask = |token: &str| shim.client().ask("GET /v1/models", token, &[], "");
    let stranger = crate::support::signer::Signer::p256("p256-1").token("ES256", &claims(ISS));
    let mut unknown_key = P256.token("ES256", &claims(ISS));
    unknown_key.replace_range(.., &P256.raw("ES256", r#"{"alg":"ES256","kid":"x"}"#, claims(ISS).to_string()));
    for (token, code, words) in [
        (token(json!({"exp": now - 3600})), "jwt_expired", "expired at 20"),
        (token(json!({"nbf": now + 3600})), "jwt_not_yet_valid", "not valid before 20"),
        (token(json!({"aud": "other"})), "jwt_audience", "another audience"),
        (token(json!({"iss": "https://x"})), "jwt_issuer", "issuer is not accepted"),
        (token(json!({"sub": null})), "jwt_claim", "`sub`"),
        (stranger, "jwt_signature", "cannot be verified"),
        (unknown_key, "jwt_key_unknown", "cannot be verified"),
    ] {
        let answer = ask(&token);
        assert_eq!(answer.status, 401, "{code}: {answer:?}");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(
            challenge.contains("error=\"invalid_token\"") && challenge.contains("error_description=\""),
            "{challenge}"
        );
        let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(words), "{code}: {message}");
        // The exact reason is for the log.
        let last = || shim.access().pop().unwrap_or_default().to_string();
        crate::support::eventually(code, || last().contains(code));
        assert!(!shim.log().concat().contains(&token), "{code}: a token in the log");
    }
}
