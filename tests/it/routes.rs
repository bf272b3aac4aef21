//! Which route a request takes, and what it then needs: spelling, precedence, joins, incognito sessions.

use crate::support::{Capture, READER, SECRET, Shim, WRITER, people, scopeshim};

const PLUGINS: &str = "[[route]]\nprefix = \"/plugins/\"\nneeds = \"operator.read\"\n\
     [[route]]\nprefix = \"/plugins/admin/\"\nneeds = \"operator.admin\"\n";

#[test]
fn a_route_rule_is_not_got_around_by_spelling() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &format!("{}\n{PLUGINS}", people()));
    let mut client = shim.client();
    for path in
        ["/plugins/Admin/x", "/plugins/%61dmin/x", "/plugins/%2561dmin/x", "/plugins/admin%2fx", "/plugins/admin"]
    {
        let answer = client.ask(&format!("GET {path}"), READER, &[], "");
        assert_eq!((answer.status, answer.code()), (403, "missing_scope".to_owned()), "{path}");
        assert_eq!(client.ask(&format!("GET {path}"), SECRET, &[], "").status, 200, "{path}");
    }
    for path in ["/plugins/x/%252e%252e/admin/x", "/plugins/x%255cadmin", "/plugins/%2509admin/x"] {
        assert_eq!(client.ask(&format!("GET {path}"), SECRET, &[], "").status, 400, "{path}");
    }
    for path in ["/plugins/x", "/plugins/a%20b", "/plugins/Files/x", "/v1/models/openclaw%2Fdefault"] {
        assert_eq!(client.ask(&format!("GET {path}"), READER, &[], "").status, 200, "{path}");
    }
    let history = "GET /sessions/agent%3Amain%3Amain/history";
    assert_eq!(client.ask(history, READER, &[], "").status, 200);
}

#[test]
fn a_grant_bound_to_routes_is_not_had_by_spelling() {
    let capture = Capture::start();
    let grant = "[[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.write\"]\nroutes = [\"/plugins/\"]\n";
    let route = "[policy]\nunlisted_routes = \"operator.write\"\n";
    let shim = Shim::start(capture.address(), &format!("{route}{}\n{grant}", people()));
    let mut client = shim.client();
    for (path, status) in [
        ("/plugins/x", 200),
        ("/plugins/a%20b", 200),
        ("/plugins%2Fx", 403),
        ("/Plugins/x", 403),
        ("/plugins", 403),
        ("/other", 403),
    ] {
        assert_eq!(client.ask(&format!("GET {path}"), READER, &[], "").status, status, "{path}");
    }
}

#[test]
fn a_grant_that_binds_headers_is_not_escaped_by_spelling() {
    let capture = Capture::start();
    let grant = "[[grant]]\nto = { token = \"reader\" }\nagent_id = { pin = \"guest\" }\nroutes = [\"/plugins/\"]\n";
    let shim = Shim::start(capture.address(), &format!("{}\n{PLUGINS}{grant}", people()));
    let mut client = shim.client();
    let header = &["x-openclaw-agent-id: boss"];
    assert_eq!(client.ask("GET /plugins/x", READER, header, "").status, 200);
    assert_eq!(capture.values("x-openclaw-agent-id"), ["guest"]);
    let answer = client.ask("GET /plugins%2Fx", READER, header, "");
    assert_eq!((answer.status, answer.code()), (400, "ambiguous_target".to_owned()));
    assert_eq!(client.ask("GET /v1/models", READER, header, "").status, 200);
}

#[test]
fn the_most_specific_route_wins_and_check_says_what_shadows_what() {
    let capture = Capture::start();
    let hooks = "[[route]]\nprefix = \"/hooks/\"\npublic = true\n[[route]]\nprefix = \"/hooks/admin/\"\nneeds = \"operator.admin\"\n";
    let shim = Shim::start(capture.address(), &format!("{}\n{hooks}", people()));
    let mut client = shim.client();
    assert_eq!(client.request("GET /hooks/x", &[], "").answer().status, 200);
    assert_eq!(client.request("GET /hooks/admin/x", &[], "").answer().status, 401);
    assert_eq!(client.ask("GET /hooks/admin/x", WRITER, &[], "").status, 403);
    assert_eq!(client.ask("GET /hooks/admin/x", SECRET, &[], "").status, 200);
    let output = scopeshim().args(["check", "--config"]).arg(shim.dir.path().join("config.toml")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("shadowed-route") && said.contains("`/hooks/admin/` takes precedence"), "{said}");
}

#[test]
fn a_route_for_any_authenticated_caller_takes_every_scope_and_none() {
    let capture = Capture::start();
    let tables = "[policy]\nunlisted_routes = \"authenticated\"\n[[token]]\nname = \"bare\"\nsha256 = \"BARE\"\n"
        .replace("BARE", &crate::support::sha256("a-token-without-scopes-01"));
    let shim = Shim::start(capture.address(), &tables);
    let mut client = shim.client();
    assert_eq!(client.request("GET /anything", &[], "").answer().status, 401);
    assert_eq!(client.ask("GET /anything", "a-token-without-scopes-01", &[], "").status, 200);
    assert_eq!(capture.values("x-openclaw-scopes"), [""]);
    // An empty header asks for nothing, which is enough here and nowhere else that asks who is calling.
    assert_eq!(client.ask("GET /anything", "a-token-without-scopes-01", &["x-openclaw-scopes:"], "").status, 200);
    assert_eq!(client.ask("GET /v1/models", "a-token-without-scopes-01", &["x-openclaw-scopes:"], "").status, 403);
}

#[test]
fn an_empty_scopes_header_is_refused_on_all_but_public_routes() {
    let capture = Capture::start();
    let routes = "[[route]]\npath = \"/open\"\npublic = true\n";
    let shim = Shim::start(capture.address(), &format!("{}\n{routes}", people()));
    let mut client = shim.client();
    for line in ["GET /v1/models", "POST /tools/invoke", "GET /anything", "GET /j/x", "GET /sessions/a/history"] {
        assert_eq!(client.ask(line, SECRET, &["x-openclaw-scopes:"], "").status, 403, "{line}");
    }
    for line in ["GET /open", "GET /healthz"] {
        assert_eq!(client.ask(line, SECRET, &["x-openclaw-scopes:"], "").status, 200, "{line}");
    }
}

#[test]
fn a_route_may_close_health() {
    let capture = Capture::start();
    let shim = Shim::start(
        capture.address(),
        &format!("{}\n[[route]]\npath = \"/healthz\"\nneeds = \"authenticated\"\n", people()),
    );
    let mut client = shim.client();
    assert_eq!(client.request("GET /healthz", &[], "").answer().status, 401);
    assert_eq!(client.ask("GET /healthz", READER, &[], "").status, 200);
    assert_eq!(client.request("GET /health", &[], "").answer().status, 200);
}

#[test]
fn a_join_code_is_for_administrators_on_every_path() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &format!("{}\n[websocket]\nui = \"open\"\n", people()));
    let mut client = shim.client();
    for path in ["/j/code", "/v1/models/j/code", "/assets/j/code", "/healthz/j", "/sessions/j/history"] {
        assert_eq!(client.request(&format!("GET {path}"), &[], "").answer().status, 401, "{path}");
        assert_eq!(client.ask(&format!("GET {path}"), READER, &[], "").status, 403, "{path}");
        assert_eq!(client.ask(&format!("GET {path}"), SECRET, &[], "").status, 200, "{path}");
    }
    assert_eq!(client.request("GET /assets/index.js", &[], "").answer().status, 200);
}

#[test]
fn wrong_join_codes_end_before_the_gateway_locks_everybody_out() {
    let capture = Capture::start();
    let tables = format!(
        "{}[[grant]]\nto = {{ token = \"*\" }}\nscopes = [\"operator.admin\"]\n[[route]]\nprefix = \"/j/\"\npublic = true\n",
        people()
    );
    let shim = Shim::start(capture.address(), &tables);
    let mut client = shim.client();
    let mut codes = |token: &str| -> Vec<u16> {
        (0..4).map(|_| client.ask("GET /v1/models/j/wrong", token, &[], "").status).collect()
    };
    assert_eq!(codes(READER), [404, 404, 404, 429]);
    assert_eq!(codes(WRITER), [404, 404, 404, 429]);
    let public: Vec<u16> = (0..4).map(|_| client.request("GET /j/wrong", &[], "").answer().status).collect();
    assert_eq!(public, [404, 404, 404, 429]);
    // Nine in all: one more, of anybody, and the gateway would refuse everybody.
    let answer = client.ask("GET /claw/j/wrong", SECRET, &[], "");
    assert_eq!((answer.status, answer.code()), (429, "join_misses".to_owned()));
    let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=76).contains(&wait), "{wait}");
    assert_eq!(capture.count(), 9);
    assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 200);
}

#[test]
fn an_incognito_session_is_for_administrators_by_header_and_by_path() {
    let capture = Capture::start();
    let policy = "[[route]]\nprefix = \"/sessions/\"\nneeds = \"operator.read\"\noverrides_builtin = true\n";
    let shim = Shim::start(capture.address(), &format!("{}\n{policy}", people()));
    let mut client = shim.client();
    for key in ["agent:main:dashboard:incognito-1", "agent:main:dashboard:INCOGNITO-1", "incognito-x"] {
        let header = format!("x-openclaw-session-key: {key}");
        for line in ["POST /v1/chat/completions", "POST /v1/responses", "POST /v1/embeddings", "POST /tools/invoke"] {
            let answer = client.ask(line, WRITER, &[&header], "{}");
            assert_eq!((answer.status, answer.code()), (403, "missing_scope".to_owned()), "{line} {key}");
            assert_eq!(answer.json()["error"]["details"]["missingScope"], "operator.admin");
            assert_eq!(client.ask(line, SECRET, &[&header], "{}").status, 200, "{line} {key}");
            let narrowed = &[header.as_str(), "x-openclaw-scopes: operator.write"];
            assert_eq!(client.ask(line, SECRET, narrowed, "{}").status, 403, "{line} {key}");
        }
        for path in [key.replace(':', "%3A"), key.to_owned(), key.replace('n', "%6e").replace('N', "%4E")] {
            let line = format!("GET /sessions/{path}/history");
            assert_eq!(client.ask(&line, WRITER, &[], "").status, 403, "{line}");
            assert_eq!(client.ask(&line, SECRET, &[], "").status, 200, "{line}");
        }
    }
    let header = &["x-openclaw-session-key: agent:main:main"];
    assert_eq!(client.ask("POST /v1/chat/completions", WRITER, header, "{}").status, 200);
}

#[test]
fn a_route_of_the_policy_does_not_open_other_people_s_sessions() {
    let capture = Capture::start();
    let tables = "[policy]\nsession_key = \"prefix\"\n".to_owned()
        + &people()
        + "[[route]]\nprefix = \"/sessions/\"\nneeds = \"operator.read\"\noverrides_builtin = true\n";
    let shim = Shim::start(capture.address(), &tables);
    let mut client = shim.client();
    let writers = "GET /sessions/agent:main:scopeshim.token:writer:x/history";
    assert_eq!(client.ask(writers, READER, &[], "").code(), "session_not_allowed");
    assert_eq!(client.ask("GET /sessions/agent:main:x/history", READER, &[], "").status, 200);
    let asked = capture.seen().pop().unwrap();
    assert!(asked.starts_with("GET /sessions/agent%3Amain%3Ascopeshim.token%3Areader%3Ax/history"), "{asked}");
}
