//! What of the gateway's answers a client is given, and how one that breaks off looks.

use crate::support::{READER, SECRET, Scripted, Shim, WRITER, eventually, people, sha256};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Takes a token out of the file, which is in force soon after.
fn revoke(shim: &Shim, token: &str) {
    let text = std::fs::read_to_string(shim.config()).unwrap();
    let new = shim.dir.path().join("new");
    std::fs::write(&new, text.replace(&sha256(token), &sha256("another"))).unwrap();
    std::fs::rename(new, shim.config()).unwrap();
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[test]
fn a_gateway_that_switches_protocols_unasked_is_answered_502() {
    let gone = Arc::new(AtomicUsize::new(0));
    let seen = gone.clone();
    let gateway = Scripted::start(move |mut asked| {
        asked.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbehind the switch",
        );
        if asked.hangs_up() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    let shim = Shim::start(gateway.address(), &people());
    for (line, body) in [("GET /v1/models", ""), ("POST /v1/chat/completions", "{}"), ("GET /healthz", "")] {
        let mut client = shim.client();
        let answer = client.ask(line, WRITER, &[], body);
        assert_eq!((answer.status, answer.code().as_str()), (502, "gateway_invalid_response"), "{line}: {answer:?}");
        assert!(!client.rest().contains("behind"), "{line}");
    }
    eventually("every connection to the gateway is dropped", || gone.load(Ordering::SeqCst) == 3);
}

#[test]
fn no_authority_of_the_gateway_leaves_in_an_answer() {
    let gateway = Scripted::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nSet-Cookie: early=1\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\
         Set-Cookie: __openclaw_plugin_tab_auth_1=v1.a.b; Path=/plugins/x; HttpOnly\r\nSET-COOKIE: b=c\r\n\
         Alt-Svc: h2=\"gateway:18789\"\r\nx-openclaw-token: secret\r\nX_OpenClaw_Password: secret\r\n\
         X-OpenClaw-Session-Key: agent:main:main\r\nX-Other: stays\r\n\r\n{}",
    );
    let shim = Shim::start(gateway.address(), &people());
    let mut client = shim.client();
    client.request("GET /v1/models", &[&bearer(READER)], "");
    let hints = client.head();
    assert!(hints.starts_with("HTTP/1.1 103") && hints.contains("</a>") && !hints.contains("early"), "{hints}");
    let answer = client.answer();
    let head = answer.head.to_lowercase();
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    for name in ["cookie", "alt-svc", "openclaw-token", "openclaw_password"] {
        assert!(!head.contains(name), "{name}: {head}");
    }
    assert_eq!(answer.header("x-openclaw-session-key"), Some("agent:main:main"));
    assert_eq!(answer.header("x-other"), Some("stays"));
}

#[test]
fn fields_of_the_connection_to_the_gateway_stay_there() {
    let gateway = Scripted::answering(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nConnection: x-other-hop, Content-Length\r\nX-Hop: 1\r\n\
         X-Other-Hop: 2\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nProxy-Authenticate: Basic\r\nProxy-Connection: a\r\n\
         Proxy-Status: b\r\nTE: trailers\r\nTrailer: X-Sum\r\nX-End: stays\r\nContent-Length: 2\r\n\r\n{}",
    );
    let shim = Shim::start(gateway.address(), &people());
    let answer = shim.client().ask("GET /v1/models", READER, &[], "");
    let names: Vec<String> =
        answer.head.lines().skip(1).filter_map(|l| Some(l.split_once(':')?.0.to_lowercase())).collect();
    for name in &names {
        assert!(["x-end", "content-length", "connection", "date", "x-request-id"].contains(&name.as_str()), "{name}");
    }
    assert_eq!((answer.header("x-end"), answer.body.as_str()), (Some("stays"), "{}"));
}

#[test]
fn an_answer_without_a_body_announces_none() {
    for status in ["204 No Content", "304 Not Modified"] {
        let gateway =
            Scripted::answering(&format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\nETag: \"a\"\r\n\r\n"));
        let shim = Shim::start(gateway.address(), &people());
        let mut client = shim.client();
        client.request("GET /v1/models", &[&bearer(READER)], "");
        let head = client.head().to_lowercase();
        assert!(head.contains("etag") && !head.contains("transfer-encoding"), "{status}: {head}");
        client.request("GET /v1/models", &[&bearer(READER)], "");
        assert!(client.head().starts_with(&format!("HTTP/1.1 {status}")), "the connection goes on");
    }
}

#[test]
fn an_answer_in_an_unknown_coding_is_answered_502() {
    for coding in ["gzip", "gzip, chunked", "identity", "chunked, chunked", "chunked\r\nTransfer-Encoding: chunked"] {
        let gateway = Scripted::answering(&format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ));
        let shim = Shim::start(gateway.address(), &people());
        let answer = shim.client().ask("GET /v1/models", READER, &[], "");
        assert_eq!((answer.status, answer.code().as_str()), (502, "gateway_invalid_response"), "{coding}: {answer:?}");
    }
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks_and_no_interim_answers() {
    let gateway = Scripted::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    );
    let shim = Shim::start(gateway.address(), &people());
    for keep_alive in ["", "Connection: keep-alive\r\n"] {
        let mut client = shim.client();
        client.send(format!("GET /v1/models HTTP/1.0\r\nHost: proxy\r\n{keep_alive}{}\r\n\r\n", bearer(READER)));
        let all = client.rest();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 ") && head.to_lowercase().contains("connection: close"), "{head}");
        assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
        assert_eq!(body, "hello world");
    }
}

#[test]
fn what_came_before_the_gateway_died_reaches_the_client_and_the_break_is_seen() {
    for (framing, sent, told) in
        [("Content-Length: 1000", "five!", "five!"), ("Transfer-Encoding: chunked", "5\r\nfive!\r\n", "5\r\nfive!\r\n")]
    {
        // It dies at once, and it dies once the client has seen the bytes, which waits for nothing more.
        for at_once in [true, false] {
            let (go, wait) = channel::<()>();
            let wait = Mutex::new(wait);
            let gateway = Scripted::start(move |mut asked| {
                asked.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{sent}"));
                if !at_once {
                    let _ = wait.lock().unwrap().recv();
                }
            });
            let shim = Shim::start(gateway.address(), &people());
            let mut client = shim.client();
            client.request("GET /v1/models", &[&bearer(READER)], "");
            let head = client.head();
            assert!(head.starts_with("HTTP/1.1 200"), "{framing} at once: {at_once}: {head:?}");
            let mut body = String::new();
            if !at_once {
                while body.len() < told.len() {
                    let more = client.some();
                    assert!(!more.is_empty(), "{framing}: nothing came before the end");
                    body.push_str(std::str::from_utf8(&more).unwrap());
                }
                go.send(()).unwrap();
            }
            body.push_str(&client.rest());
            assert_eq!(body, told, "{framing} at once: {at_once}");
        }
    }
}

#[test]
fn every_open_answer_of_a_revoked_caller_ends() {
    for head in [
        "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked",
        "Content-Type: application/octet-stream\r\nContent-Length: 100000",
        "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked",
    ] {
        let gone = Arc::new(AtomicBool::new(false));
        let seen = gone.clone();
        let gateway = Scripted::start(move |mut asked| {
            asked.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n"));
            seen.store(asked.hangs_up(), Ordering::SeqCst);
        });
        let shim = Shim::start(gateway.address(), &people());
        let mut kept = shim.client();
        kept.request("POST /v1/chat/completions", &[&bearer(SECRET)], "{}");
        kept.head();
        let mut client = shim.client();
        client.request("POST /v1/chat/completions", &[&bearer(WRITER)], "{}");
        assert!(client.head().starts_with("HTTP/1.1 200"), "{head}");
        revoke(&shim, WRITER);
        let rest = client.rest();
        assert!(rest.starts_with("5\r\nhello") && !rest.contains("0\r\n\r\n"), "{head}: {rest:?}");
        eventually("the gateway is told", || gone.load(Ordering::SeqCst));
        assert!(!kept.closes_within(Duration::from_millis(1500)), "{head}: another caller's answer ended too");
        let line = || shim.access().into_iter().find(|l| l.to_string().contains("\"writer\""));
        eventually("it is logged", || line().is_some());
    }
}

#[test]
fn a_request_that_waits_for_its_answer_is_refused_once_its_caller_is_revoked() {
    let gone = Arc::new(AtomicUsize::new(0));
    let seen = gone.clone();
    let gateway = Scripted::start(move |mut asked| {
        if asked.hangs_up() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    let shim = Shim::start(gateway.address(), &people());
    let mut whole = shim.client();
    whole.request("POST /v1/chat/completions", &[&bearer(WRITER)], "{}");
    let mut half = shim.client();
    half.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: proxy\r\n{}\r\nContent-Length: 100\r\n\r\n{{",
        bearer(WRITER)
    ));
    eventually("both are under way", || gateway.heads().len() == 2);
    revoke(&shim, WRITER);
    for client in [&mut whole, &mut half] {
        let answer = client.answer();
        assert_eq!((answer.status, answer.code().as_str()), (401, "credential_unknown"), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.rest().is_empty());
    }
    eventually("the gateway is told of both", || gone.load(Ordering::SeqCst) == 2);
}

#[test]
fn a_caller_who_is_revoked_cannot_hold_on_by_reading_nothing() {
    let (gone, pieces) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (seen, sent) = (gone.clone(), pieces.clone());
    let gateway = Scripted::start(move |mut asked| {
        asked.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let piece = vec![b'a'; 1 << 16];
        while asked.send(&piece) {
            sent.fetch_add(1, Ordering::SeqCst);
        }
        seen.store(true, Ordering::SeqCst);
    });
    let shim = Shim::start(gateway.address(), &people());
    let mut client = shim.client();
    client.request("GET /v1/models", &[&bearer(READER)], "");
    client.head();
    let (mut last, mut since) = (0, Instant::now());
    eventually("every buffer on the way is full", || {
        let now = pieces.load(Ordering::SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        now > 0 && since.elapsed() > Duration::from_millis(500)
    });
    revoke(&shim, READER);
    eventually("the gateway is told", || gone.load(Ordering::SeqCst));
    assert!(client.closes_within(Duration::from_secs(10)));
}

#[test]
fn a_caller_whose_time_is_over_is_refused_while_waiting() {
    let gateway = Scripted::start(|mut asked| {
        asked.hangs_up();
    });
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let table = format!(
        "[[token]]\nname = \"brief\"\nsha256 = \"{}\"\nscopes = [\"operator.write\"]\nexpires = {expires}\n",
        sha256("brief-token-0123456789abcdef0123")
    );
    let shim = Shim::start(gateway.address(), &table);
    let answer = shim.client().ask("POST /v1/chat/completions", "brief-token-0123456789abcdef0123", &[], "{}");
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_expired"), "{answer:?}");
    assert_eq!(gateway.heads().len(), 1, "it was under way");
}
