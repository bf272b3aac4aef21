//! Mode trusted-proxy: what a gateway is told, and what no client can tell it (contract §4).

use crate::support::{Capture, READER, SECRET, Scripted, Shim, WRITER, people};

const AUTH: &str = "kind = \"trusted-proxy\", user_header = \"x-home-user\", \
     required_headers = { \"x-proxy-secret\" = { file = \"gateway.token\" }, \"x-forwarded-proto\" = \"https\" }";

fn tables() -> String {
    people().replace("[gateway_secret]\n", "")
}

#[test]
fn the_gateway_is_told_who_calls_and_nothing_a_client_says() {
    let capture = Capture::start();
    let shim = Shim::with(capture.address(), AUTH, &tables());
    let hostile = [
        "X-Home-User: admin",
        "x_home_user: admin",
        "x.home.user: admin",
        "X-Proxy-Secret: guess",
        "x_proxy_secret: guess",
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: http",
        "X-Real-IP: 203.0.113.9",
        "Origin: https://elsewhere.example",
        "Connection: x-home-user, x-proxy-secret",
    ];
    let answer = shim.client().ask("GET /v1/models", READER, &hostile, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    for (name, value) in [
        ("x-openclaw-scopes", "operator.read"),
        ("x-home-user", "reader"),
        ("x-proxy-secret", SECRET),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "192.0.2.1"),
    ] {
        assert_eq!(capture.values(name), [value], "{name}: {:?}", capture.last());
    }
    let known = [
        "host",
        "x-request-id",
        "traceparent",
        "x-openclaw-scopes",
        "x-home-user",
        "x-proxy-secret",
        "x-forwarded-proto",
    ];
    for (name, _) in capture.last() {
        assert!(name == "x-forwarded-for" || known.contains(&name.as_str()), "{name}: {:?}", capture.last());
    }
    crate::support::eventually("it is logged", || !shim.access().is_empty());
    assert!(!shim.log().concat().contains(SECRET), "a required header's secret is in the log");
}

#[test]
fn a_public_route_proves_nothing() {
    let capture = Capture::start();
    let shim = Shim::with(capture.address(), AUTH, &tables());
    assert_eq!(shim.client().ask("GET /healthz", READER, &[], "").status, 200);
    for name in ["x-home-user", "x-proxy-secret", "x-forwarded-for", "authorization"] {
        assert!(capture.values(name).is_empty(), "{name}: {:?}", capture.last());
    }
    assert_eq!(capture.values("x-openclaw-scopes"), [""]);
}

#[test]
fn a_grant_may_say_who_its_principals_are() {
    let capture = Capture::start();
    let auth = format!("{AUTH}, local_client_address = \"198.51.100.7\"");
    let grant = "[[grant]]\nto = { token = \"read*\" }\ngateway_user = \"sidecar read\"\n";
    let shim = Shim::with(
        capture.address(),
        &auth,
        &format!("{}{grant}[anonymous]\nscopes = [\"operator.read\"]\n", tables()),
    );
    assert_eq!(shim.client().ask("GET /v1/models", READER, &[], "").status, 200);
    assert_eq!(capture.values("x-home-user"), ["sidecar read"]);
    assert_eq!(capture.values("x-forwarded-for"), ["198.51.100.7"]);
    assert_eq!(shim.client().ask("GET /v1/models", "", &[], "").status, 200);
    assert_eq!(capture.values("x-home-user"), ["anonymous"]);
}

#[test]
fn a_model_that_the_gateway_does_not_take_is_refused_with_advice() {
    let body = r#"{"ok":false,"error":{"type":"forbidden","message":"missing scope: operator.admin"}}"#;
    let length = body.len();
    let gateway = Scripted::answering(&format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ));
    let rule = "[[grant]]\nto = { token = \"writer\" }\nmodel = { pin = \"small\" }\n";
    let shim = Shim::with(gateway.address(), AUTH, &format!("{}\n{rule}", tables()));
    let answer = shim.client().ask("POST /v1/chat/completions", WRITER, &[], "{}");
    assert_eq!((answer.status, answer.code()), (403, "model_not_taken".to_owned()), "{answer:?}");
    assert!(answer.body.contains("pin `agent_id`"), "{answer:?}");
    // Elsewhere, and for whom no model is sent, the gateway's answer is its own.
    for (line, token) in [("GET /v1/models", WRITER), ("GET /v1/models", READER)] {
        assert_eq!(shim.client().ask(line, token, &[], "").body, body);
    }
}
