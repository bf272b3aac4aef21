//! Bodies that are read before they are decided, on the wire: what arrives is what was judged, whole and once.

use crate::support::*;
use std::io::{Read as _, Write as _};

const CHAT_LINE: &str = "POST /v1/chat/completions";

fn bound() -> String {
    format!("{}\n[[grant]]\nto = {{ token = \"writer\" }}\nsession_key = \"prefix\"\n", people())
}

/// The body of the last request, as far as it came. The answer does not wait for it.
fn so_far(capture: &Capture) -> String {
    let seen = capture.seen().pop().unwrap_or_default();
    seen.split_once("\r\n\r\n").unwrap_or_default().1.to_owned()
}

fn arrives(capture: &Capture, body: &str) {
    eventually("the body arrives", || so_far(capture).len() >= body.len());
    assert!(so_far(capture) == body, "{:.300}", so_far(capture));
}

/// Sends bytes and gives all that comes back.
fn raw(shim: &Shim, bytes: &[u8]) -> String {
    let mut stream = std::net::TcpStream::connect(shim.address()).unwrap();
    // Who refuses a request may not read all of it.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_body_that_is_judged_arrives_as_it_came_whatever_its_size() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &bound());
    for size in [0, 1, 65_000, 65_536, 65_537, 131_072, 131_073, 1_000_000] {
        let body = format!("{{\"user\":\"x\",\"pad\":\"{}\"}}", "y".repeat(size));
        let answer = shim.client().ask(CHAT_LINE, WRITER, &[], &body);
        assert_eq!(answer.status, 200, "{size}: {answer:?}");
        arrives(&capture, &body);
        assert_eq!(capture.values("content-length"), [body.len().to_string()]);
    }
}

#[test]
fn a_chunked_body_that_is_judged_arrives_whole_and_junk_behind_it_never() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &bound());
    let body = format!("{{\"user\":\"x\",\"pad\":\"{}\"}}", "y".repeat(200_000));
    let chunks: String = body.as_bytes().chunks(30_000).map(|c| chunk(std::str::from_utf8(c).unwrap())).collect();
    let head = format!(
        "{CHAT_LINE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {WRITER}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    for tail in ["", " \r\n "] {
        let before = capture.count();
        let tail = if tail.is_empty() { String::new() } else { chunk(tail) };
        let answer = raw(&shim, format!("{head}{chunks}{tail}0\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{tail:?}: {answer}");
        arrives(&capture, &body);
        assert_eq!(capture.values("content-length"), [body.len().to_string()]);
        assert!(capture.values("transfer-encoding").is_empty());
        assert_eq!(capture.count(), before + 1);
    }
    for tail in ["{}", "x"] {
        // A gateway of its own, that has seen nothing yet.
        let capture = Capture::start();
        let shim = Shim::start(capture.address(), &bound());
        let answer = raw(&shim, format!("{head}{chunks}{}0\r\n\r\n", chunk(tail)).as_bytes());
        assert!(!answer.starts_with("HTTP/1.1 200"), "{tail}: {answer}");
        for seen in capture.seen() {
            assert_eq!(seen.split_once("\r\n\r\n").unwrap_or_default().1, "", "{tail}");
        }
    }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[test]
fn whoever_waits_for_leave_to_send_a_body_gets_it() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &bound());
    let mut stream = std::net::TcpStream::connect(shim.address()).unwrap();
    let head = format!(
        "{CHAT_LINE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {WRITER}\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100");
    stream.write_all(b"{}").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("HTTP/1.1 200"), "{rest}");
    assert!(capture.values("expect").is_empty());
}

#[test]
fn bodies_that_two_readers_could_read_differently_never_arrive() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &bound());
    for body in ["{\"user\":\"a\",\"us\\u0065r\":\"b\"}", "[]", "{", "{\"__proto__\":{}}", "{\"model\":7}"] {
        let answer = shim.client().ask(CHAT_LINE, WRITER, &[], body);
        assert_eq!((answer.status, answer.code()), (400, "invalid_body".to_owned()), "{body}");
    }
    assert_eq!(capture.count(), 0);
    // Nobody else's body is looked at.
    assert_eq!(shim.client().ask(CHAT_LINE, SECRET, &[], "[").status, 200);
    arrives(&capture, "[");
}

#[test]
fn a_tool_is_called_in_the_caller_s_own_session() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &bound());
    let ask = |body: &str| shim.client().ask("POST /tools/invoke", WRITER, &[], body);
    assert_eq!(ask("{\"tool\":\"tts\", \"args\":{ } }").status, 200);
    arrives(&capture, "{\"sessionKey\":\"agent:main:scopeshim.token:writer:main\",\"tool\":\"tts\", \"args\":{ } }");
    assert_eq!(ask("{\"tool\":\"sessions_list\"}").code(), "tool_not_allowed");
}
