//! Laws 7 and 8: targets and framings on which two servers could disagree.

use crate::support::{Capture, READER, SECRET, Shim, people};

#[test]
fn every_alias_of_a_route_is_answered_400() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    for target in [
        "//evil/v1/models",
        "http://evil/v1/models",
        "http://proxy/v1/models",
        "/v1/./models",
        "/x/../v1/models",
        "/%2e%2e/v1/models",
        "/x/%2e%2e/v1/models",
        "/x/%2E./v1/models",
        "/v1\\models",
        "/v1/models#f",
        "/__openclaw__/cap/abc/v1/models",
        " /v1/models",
        "/v1/models ",
        "/v1/models;x",
        "/v1//models",
        "/v1/models%00",
        "*",
        "v1/models",
    ] {
        let mut client = shim.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {SECRET}\r\n\r\n"));
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{target:?}: {answer:?}");
        assert!(!answer.json()["error"]["hint"].as_str().unwrap().is_empty(), "{target:?}");
    }
    assert!(capture.seen().is_empty(), "{:?}", capture.seen());
}

#[test]
fn ambiguous_framing_is_answered_400_and_never_forwarded() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\x0bchunked",
        "Content-Length: 5\r\n Transfer-Encoding: chunked",
        "Content Length: 5",
    ] {
        let mut client = shim.client();
        client.send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {SECRET}\r\n{lines}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        ));
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{lines:?}: {answer:?}");
        assert!(answer.json()["error"]["code"].is_string(), "{lines:?}: {answer:?}");
    }
    assert!(capture.seen().is_empty(), "{:?}", capture.seen());
}

#[test]
fn what_follows_a_request_is_never_part_of_it() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let mut client = shim.client();
    client.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 2\r\n\r\n{{}}\
         POST /sessions/a/kill HTTP/1.1\r\nHost: x\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 200);
    let rest = client.rest();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 401"), "{rest}");
    assert!(!capture.seen().concat().contains("kill"));
}

#[test]
fn heads_too_large_and_odd_methods_are_told_so() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let large = format!("X-Large: {}", "a".repeat(16 * 1024));
    assert_eq!(shim.client().ask("GET /v1/models", READER, &[&large], "").status, 431);
    let long = format!("GET /v1/{}", "a".repeat(9 * 1024));
    assert_eq!(shim.client().ask(&long, READER, &[], "").status, 414);
    assert_eq!(shim.client().ask("TRACE /v1/models", SECRET, &[], "").status, 405);
    assert_eq!(shim.client().ask("POST /healthz", SECRET, &[], "").status, 405);
    assert_eq!(shim.client().ask("GET /v1/models", READER, &["Expect: the-unexpected"], "").status, 417);
    let mut client = shim.client();
    client.send("CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n");
    assert_eq!(client.answer().status, 405);
    assert!(capture.seen().is_empty());
}

#[test]
fn scopes_no_header_could_hold_are_told_so() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    for bad in ["operator.read\"", "operator.r\u{e9}ad", &"a".repeat(200)] {
        let answer = shim.client().ask("GET /v1/models", READER, &[&format!("x-openclaw-scopes: {bad}")], "");
        assert_eq!(answer.status, 400, "{bad:?}: {answer:?}");
    }
    let many: String = (0..100).map(|i| format!("s{i},")).collect();
    assert_eq!(
        shim.client().ask("GET /v1/models", READER, &[&format!("x-openclaw-scopes: {many}")], "").code(),
        "invalid_scopes_header"
    );
    assert!(capture.seen().is_empty());
}

#[test]
fn an_upgrade_with_a_bad_token_is_refused_in_words() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let lines = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    for path in ["GET /", "GET /ws", "GET /v1/models", "GET /healthz"] {
        let answer = shim.client().ask(path, "no-such-token-anywhere", &lines, "");
        assert_eq!((answer.status, answer.code().as_str()), (401, "credential_unknown"), "{path}");
    }
    assert!(capture.seen().is_empty());
}
