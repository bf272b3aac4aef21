//! Laws 2 and 6: what the gateway sees, byte for byte, whatever the client sends.

use crate::support::{Capture, READER, SECRET, Shim, eventually, people};

fn ours(capture: &Capture, scopes: &str) {
    assert_eq!(capture.values("x-openclaw-scopes"), [scopes], "{:?}", capture.last());
    assert_eq!(capture.values("authorization"), [format!("Bearer {SECRET}")], "{:?}", capture.last());
}

#[test]
fn nothing_a_client_claims_survives() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let hostile = [
        "Cookie: session=abc",
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-User: admin",
        "X-Forwarded-Proto: https",
        "Forwarded: for=1.2.3.4",
        "X-Real-IP: 1.2.3.4",
        "Tailscale-User-Login: root@example.org",
        "Tailscale-App-Capabilities: {}",
        "Cf-Access-Jwt-Assertion: e30.e30.",
        "X-OpenClaw-Token: abc",
        "X-OpenClaw-Client-Id: openclaw-control-ui",
        "x_openclaw_scopes: operator.admin",
        "X.OpenClaw.Scopes: operator.admin",
        "x-openclaw_scopes: operator.admin",
        "x_forwarded_for: 1.2.3.4",
        "Proxy-Authorization: Bearer abc",
        "X-API-Key: abc",
        "Remote-User: root",
        "X-HTTP-Method-Override: DELETE",
        "Origin: https://elsewhere.example",
        "Keep-Alive: timeout=5",
        "Upgrade: h2c",
        "TE: trailers",
    ];
    let answer = shim.client().ask("GET /v1/models", READER, &hostile, "");
    assert_eq!(answer.status, 200);
    ours(&capture, "operator.read");
    let names: Vec<String> = capture.last().into_iter().map(|(n, _)| n).collect();
    // An allow-list, so that a leak nobody thought of fails too.
    for name in &names {
        assert!(
            ["host", "x-openclaw-scopes", "authorization", "x-request-id", "traceparent"].contains(&name.as_str()),
            "{name} got through: {names:?}"
        );
    }
    assert_eq!(capture.values("host"), [capture.address().to_string()]);
    assert!(!capture.seen().concat().contains(READER));
    eventually("the forgery is logged", || shim.access().iter().any(|l| l["forged"] == 19));
}

#[test]
fn connection_nominations_strip_nothing_of_ours() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    for nominated in [
        "x-openclaw-scopes",
        "authorization",
        "X-OpenClaw-Scopes, close",
        "authorization, x-openclaw-scopes, keep-alive",
        "x-request-id",
    ] {
        let answer = shim.client().ask("GET /v1/models", READER, &[&format!("Connection: {nominated}")], "");
        assert_eq!(answer.status, 200, "{nominated}");
        ours(&capture, "operator.read");
        assert!(capture.values("connection").is_empty());
    }
    // The header is still the client's word, nominated or not: it is never widened.
    let narrowed = ["Connection: x-openclaw-scopes", "x-openclaw-scopes:"];
    assert_eq!(shim.client().ask("GET /v1/models", READER, &narrowed, "").status, 403);
}

#[test]
fn nominating_the_framing_does_not_change_it() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    for nominated in ["content-length", "transfer-encoding", "host"] {
        let header = format!("Connection: {nominated}");
        let answer = shim.client().ask("POST /v1/chat/completions", SECRET, &[&header], "{}");
        if answer.status == 200 {
            let framed =
                capture.values("content-length") == ["2"] || capture.values("transfer-encoding") == ["chunked"];
            assert!(framed, "{nominated}: {:?}", capture.last());
        } else {
            assert_eq!(answer.status, 400, "{nominated}: {answer:?}");
        }
    }
}

#[test]
fn trailers_do_not_pass() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let mut client = shim.client();
    client.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nTransfer-Encoding: chunked\r\n\
         Trailer: x-openclaw-scopes\r\n\r\n2\r\n{{}}\r\n0\r\nx-openclaw-scopes: operator.admin\r\nauthorization: Bearer x\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 200);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let all = capture.seen().concat();
    assert_eq!(all.to_lowercase().matches("x-openclaw-scopes").count(), 1, "{all}");
    assert_eq!(all.to_lowercase().matches("authorization").count(), 1, "{all}");
}

#[test]
fn two_credentials_are_one_too_many() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let second = format!("authorization: Bearer {SECRET}");
    let answer = shim.client().ask("GET /v1/models", READER, &[&second], "");
    assert_eq!(answer.code(), "invalid_credential_form");
    assert!(capture.seen().is_empty());
}

#[test]
fn password_and_none_send_what_their_mode_wants() {
    let capture = Capture::start();
    let shim = Shim::with(capture.address(), "kind = \"password\", file = \"gateway.token\"", &people());
    assert_eq!(shim.client().ask("GET /v1/models", READER, &[], "").status, 200);
    ours(&capture, "operator.read");
    let shim = Shim::with(capture.address(), "kind = \"none\"", &people().replace("[gateway_secret]\n", ""));
    assert_eq!(shim.client().ask("GET /v1/models", READER, &[], "").status, 200);
    assert_eq!(capture.values("x-openclaw-scopes"), ["operator.read"]);
    assert!(capture.values("authorization").is_empty());
}

#[test]
fn the_client_s_own_headers_pass_as_they_came() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let own = ["X-Stainless-Lang: python", "baggage: a=b", "OpenAI-Organization: o", "Accept: */*"];
    shim.client().ask("GET /v1/models?limit=2&x=%2e%2e", READER, &own, "");
    for header in own {
        let (name, value) = header.split_once(": ").unwrap();
        assert_eq!(capture.values(&name.to_lowercase()), [value]);
    }
    assert!(capture.seen().concat().starts_with("GET /v1/models?limit=2&x=%2e%2e HTTP/1.1\r\n"));
}

#[test]
fn a_request_id_is_kept_if_fit_and_returned() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let answer = shim.client().ask("GET /v1/models", READER, &["x-request-id: my-id.1"], "");
    assert_eq!(answer.header("x-request-id"), Some("my-id.1"));
    assert_eq!(capture.values("x-request-id"), ["my-id.1"]);
    let answer = shim.client().ask("GET /v1/models", READER, &["x-request-id: not a number"], "");
    let given = answer.header("x-request-id").unwrap();
    assert!(!given.contains(' ') && given.len() > 16);
    assert_eq!(capture.values("x-request-id"), [given]);
}
