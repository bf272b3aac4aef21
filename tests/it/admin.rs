//! The admin endpoints: metrics, health, status, and what a refusal teaches afterwards.

use crate::support::{READER, SECRET, Shim, eventually, fake_gateway, people, scopeshim};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::time::Duration;

/// Asks on the unix socket.
pub fn ask(shim: &Shim, line: &str, headers: &str) -> (u16, String) {
    let mut socket = std::os::unix::net::UnixStream::connect(shim.dir.path().join("state/admin.sock")).unwrap();
    write!(socket, "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut all = String::new();
    socket.read_to_string(&mut all).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name} is not there:\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn status(shim: &Shim) -> Value {
    serde_json::from_str(&ask(shim, "GET /status", "").1).unwrap()
}

#[test]
fn what_happened_is_counted_and_nothing_a_client_chose_is_a_label() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let mut client = shim.client();
    let series = |text: &str| text.lines().filter(|l| !l.starts_with('#')).count();
    client.ask("GET /v1/models", READER, &[], "");
    let before = series(&ask(&shim, "GET /metrics", "").1);
    // Many at a time: one after the other, wrong tokens are answered twice a second.
    std::thread::scope(|threads| {
        for thread in 0..20 {
            let mut client = shim.client();
            threads.spawn(move || {
                for i in (thread * 15)..(thread * 15 + 15) {
                    let (line, token) = (format!("GET /some/path/{i}"), format!("made-up-token-{i:020}"));
                    client.ask(&line, &token, &["x-forwarded-for: 1.1.1.1"], "");
                }
            });
        }
    });
    for i in 0..300 {
        client.ask("GET /v1/models", READER, &[&format!("x-openclaw-scopes: made.up.{i}")], "");
    }
    client.ask("POST /v1/chat/completions", SECRET, &[], r#"{"stream":true}"#);
    let text = ask(&shim, "GET /metrics", "").1;
    assert_eq!(series(&text), before, "a client made a series");
    let refused = |reason: &str| metric(&text, &format!("scopeshim_refusals_total{{reason=\"{reason}\"}}"));
    let (unknown, throttled) = (refused("credential_unknown"), refused("too_many_failed_attempts"));
    assert!(unknown > 0.0 && (unknown + throttled - 300.0).abs() < 0.1, "{unknown} and {throttled}");
    assert!((metric(&text, r#"scopeshim_scopes_requested_total{scope="other"}"#) - 300.0).abs() < 0.1);
    assert!((metric(&text, "scopeshim_forged_headers_total") - 300.0).abs() < 0.1);
    assert!(
        (metric(&text, r#"scopeshim_requests_total{decision="allow",route="models",source="token"}"#) - 1.0).abs()
            < 0.1
    );
    assert!((metric(&text, r#"scopeshim_stream_duration_seconds_count{kind="sse"}"#) - 1.0).abs() < 0.1);
    assert!(metric(&text, "scopeshim_invariant_violations_total").abs() < 0.1);
    assert!(metric(&text, "scopeshim_panics_total").abs() < 0.1);
    assert!(metric(&text, "process_resident_memory_bytes") > 1e6);
}

#[test]
fn open_streams_are_seen_while_they_are_open() {
    let (_gateway, address) = fake_gateway(Duration::from_secs(30));
    let shim = Shim::start(address, &people());
    let mut client = shim.client();
    client.request("POST /v1/chat/completions", &[&format!("Authorization: Bearer {SECRET}")], r#"{"stream":true}"#);
    client.head();
    assert_eq!(status(&shim)["traffic"]["sse"], 1);
    shim.says("stream begins");
    drop(client);
    eventually("the stream is gone", || status(&shim)["traffic"]["sse"] == 0);
}

#[test]
fn the_status_says_why_somebody_was_refused_and_what_would_allow_it() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    shim.client().ask("POST /v1/chat/completions", READER, &[], "{}");
    // Noted when the request is over, which may be a moment after its answer.
    eventually("the refusal is noted", || !status(&shim)["refusals"][0].is_null());
    let refusal = status(&shim)["refusals"][0].clone();
    assert_eq!(refusal["principal"], "reader");
    assert_eq!(refusal["reason"], "missing_scope");
    assert!(
        refusal["change"].as_str().unwrap().contains("add \"operator.write\" to `scopes` of the token `reader`"),
        "{refusal}"
    );
    let output = scopeshim().args(["status", "--config"]).arg(shim.config()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("to fix: add \"operator.write\""), "{text}");
    let output = scopeshim().args(["top", "--looks", "1", "--config"]).arg(shim.config()).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("generation 1"));
}

#[test]
fn hostile_values_do_no_harm_where_people_read_them() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    shim.client().ask("GET /<script>alert(1)</script>", READER, &[], "");
    shim.client().ask("GET /a%0ab%1b[31m", READER, &[], "");
    shim.client().ask("GET /v1/models", READER, &["x-request-id: <script>", "x-openclaw-scopes: <img/src=x>"], "");
    eventually("all is logged", || shim.access().len() >= 3);
    for line in shim.log() {
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "not one line of JSON: {line:?}");
        assert!(!line.contains('\u{1b}'));
    }
    let (_, page) = ask(&shim, "GET /", "Accept: text/html\r\n");
    assert!(page.starts_with("<!doctype html>") && !page.contains("alert(1)"), "values come as JSON, never as markup");
    assert!(!page.contains("innerHTML") && !page.contains("http://127"), "the page sets text and loads nothing");
}

#[test]
fn the_port_reads_and_the_socket_changes() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let shim = Shim::start(address, &format!("{}\n[admin]\naddress = \"{port}\"\n", people()));
    let mut client = crate::support::Client::connect(port);
    client.send(format!("GET /readyz HTTP/1.1\r\nHost: {port}\r\n\r\n"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.json()["ready"].clone()), (200, Value::Bool(true)));
    client.send(format!("POST /reload HTTP/1.1\r\nHost: {port}\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(client.answer().status, 403);
    let mut rebound = crate::support::Client::connect(port);
    rebound.send("GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(rebound.answer().status, 403);
    assert_eq!(ask(&shim, "POST /reload", "Content-Length: 0\r\n").0, 200);
    assert_eq!(shim.client().ask("GET /metrics", READER, &[], "").status, 403, "the proxy's port serves no metrics");
}

#[test]
fn who_watches_from_elsewhere_sees_numbers_and_health_alone() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let shim = Shim::start(address, &format!("{}\n[admin]\nmetrics_address = \"{port}\"\n", people()));
    shim.client().ask("GET /v1/models", READER, &[], "");
    let ask = |line: &str| crate::support::Client::connect(port).ask(line, "", &[], "");
    assert!(ask("GET /metrics").body.contains("scopeshim_requests_total"));
    assert_eq!(ask("GET /livez").status, 200);
    assert_eq!(ask("GET /readyz").body, r#"{"ready":true}"#);
    for nothing in ["GET /status", "GET /", "POST /reload", "GET /v1/models"] {
        assert_eq!(ask(nothing).status, 404, "{nothing}");
    }
}

#[test]
fn the_level_is_changed_while_it_runs() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &format!("[log]\nlevel = \"info\"\n{}", people()));
    shim.client().ask("GET /v1/models", READER, &[], "");
    eventually("a line is written", || shim.access().len() == 1);
    let text = std::fs::read_to_string(shim.config()).unwrap();
    std::fs::write(shim.config(), text.replace("level = \"info\"", "level = \"error\"")).unwrap();
    eventually("it is in force", || status(&shim)["policy"]["generation"] == 2);
    shim.client().ask("GET /v1/models", READER, &[], "");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(shim.access().len(), 1);
}

#[test]
fn a_trace_is_kept_or_begun() {
    let capture = crate::support::Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let theirs = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("traceparent: 00-{theirs}-b7ad6b7169203331-01");
    shim.client().ask("GET /v1/models", READER, &[&parent, "tracestate: a=b"], "");
    let sent = capture.values("traceparent").pop().unwrap();
    assert!(sent.contains(theirs) && sent.ends_with("-01") && !sent.contains("b7ad6b7169203331"), "{sent}");
    assert_eq!(capture.values("tracestate"), ["a=b"]);
    shim.client().ask("GET /v1/models", READER, &["traceparent: rubbish", "tracestate: a=b"], "");
    let begun = capture.values("traceparent").pop().unwrap();
    assert!(begun.len() == 55 && begun.ends_with("-00"), "{begun}");
    assert!(capture.values("tracestate").is_empty());
    eventually("it is logged", || shim.access().iter().any(|l| l["trace_id"] == theirs));
}
