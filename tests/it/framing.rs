//! Where a request ends, whom it is for, and whether another may follow.

use crate::support::{Capture, Client, READER, SECRET, Scripted, Shim, WRITER, people};
use std::time::Duration;

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {token}\r\n\r\n")
}

fn closes(client: &mut Client) -> bool {
    client.closes_within(Duration::from_secs(5))
}

#[test]
fn a_host_that_is_missing_or_malformed_is_answered_400() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    for host in [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: gw test\r\n",
        "Host: a,b\r\n",
        "Host: a/b\r\n",
        "Host: user@gw\r\n",
        "Host: user:pass@gw\r\n",
        "Host: gw:port\r\n",
        "Host: gw:\r\n",
        "Host: gw:65536\r\n",
        "Host: gw:-1\r\n",
        "Host: a..b\r\n",
        "Host: [::1\r\n",
        "Host: [::g]\r\n",
        "Host: ::1\r\n",
        "Host: gw%2f\r\n",
        "Host: gw?x\r\n",
        "Host: gw#x\r\n",
        "Host: gw\\x\r\n",
        "Host: g\u{f6}\r\n",
        "Host: gw\r\nHost: gw\r\n",
        "Host: gw\r\nHost: other\r\n",
    ] {
        let mut client = shim.client();
        client.send(format!("GET /v1/models HTTP/1.1\r\n{host}Authorization: Bearer {SECRET}\r\n\r\n"));
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{host:?}: {answer:?}");
        assert!(["invalid_host", "malformed_head"].contains(&answer.code().as_str()), "{host:?}: {answer:?}");
        assert!(closes(&mut client), "{host:?}");
    }
    assert!(capture.seen().is_empty(), "{:?}", capture.seen());
    for host in ["gw", "gw:18780", "gw.example.org.", "open_claw:80", "127.0.0.1:1", "[::1]:18780", "[fd7a::1]"] {
        let mut client = shim.client();
        client.send(format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {SECRET}\r\n\r\n"));
        assert_eq!(client.answer().status, 200, "{host}");
    }
    let mut client = shim.client();
    client.send(format!("GET /v1/models HTTP/1.0\r\nAuthorization: Bearer {SECRET}\r\n\r\n"));
    assert_eq!(client.answer().status, 200, "HTTP/1.0 has no Host");
}

#[test]
fn after_a_framing_fault_the_connection_ends_whatever_else_is_wrong() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    for target in
        ["/v1/models", "//x", "/a/../b", "http://proxy/v1/models", "/healthz", "/no/such/path", "/v1/models;x"]
    {
        for lines in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 05",
            "Content-Length: 9223372036854775808",
            "Connection: keep-alive, content-length\r\nContent-Length: 5",
        ] {
            let mut client = shim.client();
            client.send(format!(
                "POST {target} HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {SECRET}\r\n{lines}\r\n\r\n0\r\n\r\n{}",
                get("/v1/models", SECRET)
            ));
            let answer = client.answer();
            assert_eq!(answer.status, 400, "{target} {lines:?}: {answer:?}");
            assert!(
                ["ambiguous_framing", "malformed_head"].contains(&answer.code().as_str()),
                "{target} {lines:?}: {answer:?}"
            );
            assert_eq!(answer.header("connection"), Some("close"), "{target} {lines:?}");
            assert_eq!(client.rest(), "", "{target} {lines:?}");
        }
    }
    assert!(capture.seen().is_empty(), "{:?}", capture.seen());
}

#[test]
fn a_connection_goes_on_only_where_the_client_wants_it() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    for (version, lines, goes_on) in [
        ("1.0", "", false),
        ("1.0", "Connection: close\r\n", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "", true),
    ] {
        for token in [READER, "nobody-knows-this-token-0123456789"] {
            let mut client = shim.client();
            let mut ask = || {
                client.send(format!(
                    "GET /v1/models HTTP/{version}\r\nHost: proxy\r\nAuthorization: Bearer {token}\r\n{lines}\r\n"
                ));
                client.answer()
            };
            let answer = ask();
            let expected = if token == READER { 200 } else { 401 };
            assert_eq!(answer.status, expected, "{version} {lines:?}");
            assert_eq!(
                answer.header("connection"),
                Some(if goes_on { "keep-alive" } else { "close" }),
                "{version} {lines:?}"
            );
            if goes_on {
                assert_eq!(ask().status, expected, "{version} {lines:?}");
            } else {
                assert!(closes(&mut client), "{version} {lines:?}");
            }
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let post = |body: &str| {
        format!("POST /v1/chat/completions HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {WRITER}\r\n{body}")
    };
    let sized = post("Content-Length: 2\r\n\r\n{}");
    let chunked = post("Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n");
    let refused = sized.replace(WRITER, READER);
    let unknown = sized.replace(WRITER, "nobody-knows-this-token-0123456789");
    let read = get("/v1/models", READER);
    for (requests, statuses) in [
        (vec![&read, &read], vec![200, 200]),
        (vec![&read, &read, &read], vec![200, 200, 200]),
        (vec![&sized, &read], vec![200, 200]),
        (vec![&chunked, &read, &chunked], vec![200, 200, 200]),
        (vec![&refused, &read], vec![403, 200]),
        (vec![&unknown, &refused, &read], vec![401, 403, 200]),
        (vec![&read, &unknown, &sized], vec![200, 401, 200]),
    ] {
        let all: String = requests.iter().map(|r| r.as_str()).collect();
        let mut client = shim.client();
        client.send(&all);
        for status in &statuses {
            let answer = client.answer();
            assert_eq!(answer.status, *status, "{all:?}: {answer:?}");
            assert_eq!(answer.header("connection"), Some("keep-alive"), "{all:?}");
        }
        assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 200, "{all:?}: the connection goes on");
    }
}

#[test]
fn a_pipelined_request_that_is_malformed_is_told_so() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let mut client = shim.client();
    client.send(format!(
        "{}GET / HTTP/1.1\r\nBad Name: x\r\n\r\n{}",
        get("/v1/models", READER),
        get("/smuggled", SECRET)
    ));
    assert_eq!(client.answer().status, 200);
    let answer = client.answer();
    assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_head"));
    assert_eq!(client.rest(), "");
    assert!(!capture.seen().concat().contains("smuggled"));
}

#[test]
fn a_request_that_comes_while_another_waits_does_not_end_it() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let gateway = Scripted::start(move |mut asked| {
        wait.lock().unwrap().recv().unwrap();
        asked.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    });
    let shim = Shim::start(gateway.address(), &people());
    let mut client = shim.client();
    client.send(get("/v1/models", READER));
    crate::support::eventually("the first is under way", || gateway.heads().len() == 1);
    client.send(get("/v1/models", READER));
    // Whatever an early second request does to the first, it does it before this is over.
    assert!(client.some().is_empty());
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    let mut client = client;
    for _ in 0..2 {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn methods_that_echo_or_take_the_connection_over_are_not_served() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    for method in ["TRACE", "TRACK", "track", "DEBUG", "CONNECT", "PRI", "PROPFIND", "get", "Post", "FOO"] {
        let answer = shim.client().ask(&format!("{method} /v1/models"), SECRET, &[], "");
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_served"), "{method}: {answer:?}");
    }
    let mut client = shim.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    assert!(capture.seen().is_empty());
    let listed = format!(
        "{}\n[[route]]\npath = \"/dav\"\nmethods = [\"PROPFIND\", \"TRACE\"]\nneeds = \"operator.read\"\n",
        people()
    );
    let shim = Shim::start(capture.address(), &listed);
    assert_eq!(shim.client().ask("PROPFIND /dav", READER, &[], "").status, 200, "a route may list others");
    assert_eq!(shim.client().ask("TRACE /dav", READER, &[], "").status, 405, "but never these");
}

#[test]
fn other_spellings_of_reserved_names_are_stripped() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let names = [
        "HTTP_AUTHORIZATION",
        "Http-Authorization",
        "REDIRECT_HTTP_AUTHORIZATION",
        "x%2Dforwarded%2Duser",
        "x%252Dforwarded%252Duser",
        "HTTP_X_FORWARDED_USER",
        "X__Forwarded__For",
        "x%5Fopenclaw%5Fscopes",
        "HTTP_COOKIE",
        "_Authorization",
        "Authorization_",
        "%61uthorization",
        "Content_Length",
        "Transfer%2DEncoding",
        "HTTP_HOST",
    ];
    let lines: Vec<String> = names.iter().map(|name| format!("{name}: stripped")).collect();
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.extend(["X-Custom_Name: stays", "HTTP-Referer: stays"]);
    assert_eq!(shim.client().ask("GET /v1/models", READER, &lines, "").status, 200);
    let head = capture.last();
    assert_eq!(head.iter().filter(|(_, value)| value == "stripped").count(), 0, "{head:?}");
    assert_eq!(head.iter().filter(|(_, value)| value == "stays").count(), 2, "{head:?}");
}

#[test]
fn a_health_probe_brings_the_gateway_nothing_of_its_sender() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    // The gateway is asked by one of its two names for each.
    let asked = [("/health", "/healthz"), ("/healthz", "/healthz"), ("/ready", "/readyz"), ("/readyz", "/readyz")];
    for (path, asked) in asked {
        let lines =
            ["X-Custom: a", "User-Agent: b", "Accept: */*", "Range: bytes=0-", "If-None-Match: \"c\"", "Referer: d"];
        let answer = shim.client().ask(&format!("GET {path}?token=e&x=/../f"), READER, &lines, "");
        assert_eq!(answer.status, 200, "{path}");
        let heads = capture.seen().concat();
        let line = heads.lines().rev().find(|l| l.starts_with("GET ")).unwrap_or_default().to_owned();
        assert_eq!(line, format!("GET {asked} HTTP/1.1"));
        for (name, _) in capture.last() {
            assert!(
                ["host", "x-openclaw-scopes", "x-request-id", "traceparent"].contains(&name.as_str()),
                "{path}: {name}"
            );
        }
        let before = capture.seen();
        for lines in ["Content-Length: 10000000", "Transfer-Encoding: chunked"] {
            let mut client = shim.client();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: proxy\r\n{lines}\r\n\r\n"));
            let answer = client.answer();
            assert_eq!((answer.status, answer.code().as_str()), (400, "body_not_expected"), "{path} {lines}");
            assert!(closes(&mut client), "{path} {lines}");
        }
        for method in ["POST", "PUT", "OPTIONS", "DELETE"] {
            assert_eq!(shim.client().ask(&format!("{method} {path}"), SECRET, &[], "").status, 405, "{method} {path}");
        }
        assert_eq!(capture.seen(), before);
    }
}

#[test]
fn an_answer_to_a_probe_says_only_its_verdict() {
    let gateway = Scripted::answering(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-Version: 2026.9.6\r\nServer: node\r\nETag: \"a\"\r\nContent-Length: 9\r\n\r\nsecret-ly",
    );
    let shim = Shim::start(gateway.address(), &people());
    let answer = shim.client().ask("GET /healthz", "", &[], "");
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"ok":true,"status":"live"}"#));
    for name in ["x-version", "server", "etag"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}

#[test]
fn the_admin_port_takes_one_host_and_a_plain_path() {
    let capture = Capture::start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let shim = Shim::start(capture.address(), &format!("{}\n[admin]\naddress = \"{free}\"\n", people()));
    let ask = |head: &str| {
        let mut client = Client::connect(free);
        client.send(format!("{head}Connection: close\r\n\r\n"));
        client.answer().status
    };
    assert_eq!(ask(&format!("GET /status HTTP/1.1\r\nHost: {free}\r\n")), 200);
    for head in [
        format!("GET /status HTTP/1.1\r\nHost: {free}\r\nHost: evil.example\r\n"),
        format!("GET /status HTTP/1.1\r\nHost: {free}\r\nHost: {free}\r\n"),
        format!("GET http://evil.example/status HTTP/1.1\r\nHost: {free}\r\n"),
        format!("GET http://{free}/status HTTP/1.1\r\nHost: {free}\r\n"),
        "GET /status HTTP/1.1\r\nHost: localhost:x\r\n".to_owned(),
        "GET /status HTTP/1.1\r\n".to_owned(),
    ] {
        let status = ask(&head);
        assert!([400, 403].contains(&status), "{head:?}: {status}");
    }
    drop(shim);
}
