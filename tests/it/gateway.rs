//! A gateway that is away, slow, or breaks off.

use crate::support::{APART, Capture, READER, SECRET, Shim, fake_gateway, people};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_gateway_that_is_down_is_said_at_once() {
    let shim = Shim::start(nobody(), &people());
    let begun = Instant::now();
    let answer = shim.client().ask("GET /v1/models", READER, &[], "");
    assert_eq!((answer.status, answer.code().as_str()), (502, "gateway_unreachable"));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(answer.json()["error"]["type"], "api_error");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[test]
fn a_gateway_that_restarts_is_waited_for() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    assert_eq!(shim.client().ask("GET /v1/models", READER, &[], "").status, 200);
    // Another address takes over the port after a moment: the same proxy, a gateway away and back.
    let listener = TcpListener::bind(APART).unwrap();
    let address = listener.local_addr().unwrap();
    let shim = Shim::start(address, &people());
    let first = std::thread::spawn(move || once(&listener));
    assert_eq!(shim.client().ask("GET /v1/models", READER, &[], "").status, 200);
    first.join().unwrap();
    let back = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(600));
        let listener = TcpListener::bind(address).unwrap();
        once(&listener);
    });
    let answer = shim.client().ask("POST /v1/chat/completions", SECRET, &[], "{}");
    assert_eq!(answer.status, 200, "{answer:?}");
    back.join().unwrap();
    // And one that does not come back is given up.
    let begun = Instant::now();
    let answer = shim.client().ask("POST /v1/chat/completions", SECRET, &[], "{}");
    assert_eq!((answer.status, answer.code().as_str()), (503, "gateway_restarting"));
    assert!((1500..5000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

/// Answers one request, closes, and stops listening.
fn once(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = [0; 8192];
    let _ = stream.read(&mut bytes);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}");
}

#[test]
fn a_gateway_that_breaks_off_costs_a_get_nothing_and_a_post_is_not_sent_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let mut seen = Vec::new();
        // One good answer, then the same connection is closed unread; then a good one; then a POST
        // that is read and dropped.
        for (i, stream) in listener.incoming().take(3).enumerate() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 8192];
            let n = stream.read(&mut bytes).unwrap();
            seen.push(String::from_utf8_lossy(&bytes[..n]).lines().next().unwrap_or_default().to_owned());
            if i < 2 {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
            }
        }
        seen
    });
    let shim = Shim::start(address, &people());
    let mut client = shim.client();
    assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 200);
    assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 200);
    let answer = client.ask("POST /v1/chat/completions", SECRET, &[], "{}");
    assert_eq!((answer.status, answer.code().as_str()), (502, "gateway_broken"));
    let seen = served.join().unwrap();
    assert_eq!(seen.iter().filter(|l| l.starts_with("POST")).count(), 1, "{seen:?}");
}

#[test]
fn a_slow_answer_is_not_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 8192];
        let _ = stream.read(&mut bytes);
        std::thread::sleep(Duration::from_secs(7));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    });
    // Every limit of ours is shorter than the gateway's silence.
    let tables = format!("{}\n[limits]\nhead_timeout = \"1s\"\nkeepalive = \"1s\"\n", people());
    let shim = Shim::start(address, &tables);
    assert_eq!(shim.client().ask("POST /v1/chat/completions", SECRET, &[], "{}").status, 200);
}

#[test]
fn health_needs_no_credential_and_tells_no_details() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let mut client = shim.client();
    for (path, body) in [
        ("/healthz", r#"{"ok":true,"status":"live"}"#),
        ("/health", r#"{"ok":true,"status":"live"}"#),
        ("/readyz", r#"{"ready":true}"#),
        ("/ready", r#"{"ready":true}"#),
    ] {
        let answer = client.ask(&format!("GET {path}"), "", &["x-openclaw-scopes: operator.admin"], "");
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
    }
    // Even a good credential is kept from the gateway here: it would buy the details.
    assert_eq!(client.ask("GET /readyz", SECRET, &[], "").body, r#"{"ready":true}"#);
    for seen in gateway.seen() {
        assert!(!seen.headers.contains_key("authorization"));
        assert_eq!(seen.headers["x-openclaw-scopes"], "");
    }
    client.request("HEAD /healthz", &[], "");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    assert_eq!(client.ask("GET /healthz", "", &[], "").status, 200, "nothing was left over from the HEAD");
}
