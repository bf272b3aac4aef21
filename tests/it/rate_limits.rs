//! What one principal may ask for: over time and at a time, whatever it asks by.

use crate::admin::ask;
use crate::support::{
    READER, Release, SECRET, Shim, WRITER, WsClient, WsGateway, eventually, fake_gateway, people, scopeshim, sha256,
};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::Duration;

/// Reader and writer, the reader with these limits.
fn limited(limits: &str) -> String {
    let scopes = "scopes = [\"operator.read\"]\n";
    people().replacen(scopes, &format!("{scopes}limits = {{ {limits} }}\n"), 1)
}

/// The writer alone with these limits.
fn writer(limits: &str) -> String {
    format!("{}limits = {{ {limits} }}\n", people())
}

fn status(shim: &Shim) -> Value {
    serde_json::from_str(&ask(shim, "GET /status", "").1).unwrap()
}

fn reload(shim: &Shim, text: &str) {
    std::fs::write(shim.config(), text).unwrap();
    let socket = shim.dir.path().join("state/admin.sock");
    let output = scopeshim().arg("reload").arg("--socket").arg(socket).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

const STREAM: &str = r#"{"stream":true}"#;

/// Begins a stream, and gives the status of its answer.
fn stream(shim: &Shim, token: &str) -> (u16, crate::support::Client) {
    let mut client = shim.client();
    client.request("POST /v1/chat/completions", &[&format!("Authorization: Bearer {token}")], STREAM);
    let head = client.head();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), client)
}

#[test]
fn over_its_rate_a_principal_is_told_when_to_come_back_and_the_gateway_is_not_asked() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &limited("requests_per_minute = 6, burst = 3"));
    let mut client = shim.client();
    for left in [2, 1, 0] {
        let answer = client.ask("GET /v1/models", READER, &[], "");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"requests\";q=3;w=30"));
        let said = answer.header("ratelimit").unwrap();
        assert!(said.starts_with(&format!("\"requests\";r={left};t=")), "{said}");
    }
    let answer = client.ask("GET /v1/models", READER, &[], "");
    assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limit_exceeded"));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "{answer:?}");
    assert_eq!(answer.header("ratelimit"), Some(format!("\"requests\";r=0;t={wait}").as_str()));
    let error = answer.json()["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("6 requests a minute"), "{error}");
    assert_eq!((error["type"].as_str(), error["principal"].as_str()), (Some("rate_limited"), Some("reader")));
    assert_eq!(gateway.seen().len(), 3);
    // One's excess is not another's outage.
    for _ in 0..10 {
        let answer = client.ask("GET /v1/models", WRITER, &[], "");
        assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
    }
}

#[test]
fn what_the_policy_refuses_costs_nothing_of_the_rate() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &limited("requests_per_minute = 1, burst = 1"));
    let mut client = shim.client();
    for _ in 0..5 {
        assert_eq!(client.ask("POST /v1/chat/completions", READER, &[], "{}").status, 403);
    }
    assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 200);
}

#[test]
fn a_reload_neither_fills_a_bucket_nor_forgets_a_stream() {
    let (_gateway, address) = fake_gateway(Duration::from_secs(30));
    let limits = "requests_per_minute = 2, burst = 2, concurrent_streams = 1";
    let shim = Shim::start(address, &writer(limits));
    let (status, open) = stream(&shim, WRITER);
    assert_eq!(status, 200);
    shim.client().ask("GET /v1/models", WRITER, &[], "");
    let text = std::fs::read_to_string(shim.config()).unwrap();
    reload(&shim, &text);
    let answer = shim.client().ask("GET /v1/models", WRITER, &[], "");
    assert_eq!(answer.code(), "rate_limit_exceeded");
    // A rate that is raised is in force at once; the open stream is still one.
    reload(&shim, &text.replace(limits, "requests_per_minute = 1000, concurrent_streams = 1"));
    assert_eq!(shim.client().ask("GET /v1/models", WRITER, &[], "").status, 200);
    assert_eq!(shim.client().ask("POST /v1/chat/completions", WRITER, &[], "{}").code(), "too_many_concurrent_streams");
    drop(open);
    eventually("the place is free", || stream(&shim, WRITER).0 == 200);
}

#[test]
fn a_stream_counts_until_it_ends_however_it_ends() {
    let (gateway, address) = fake_gateway(Duration::from_secs(30));
    let shim = Shim::start(address, &writer("concurrent_streams = 2"));
    let (_, first) = stream(&shim, WRITER);
    let (_, second) = stream(&shim, WRITER);
    let asked = gateway.seen().len();
    let (third, _) = stream(&shim, WRITER);
    assert_eq!(third, 429);
    assert_eq!(gateway.seen().len(), asked, "the gateway was asked for a stream too many");
    let answer = shim.client().ask("POST /v1/chat/completions", WRITER, &[], STREAM);
    assert_eq!((answer.code().as_str(), answer.header("retry-after")), ("too_many_concurrent_streams", Some("1")));
    assert_eq!(answer.header("ratelimit-policy"), Some("\"concurrent_streams\";q=2;qu=\"concurrent-requests\""));
    // What is no stream is not held up.
    assert_eq!(shim.client().ask("GET /v1/models", WRITER, &[], "").status, 200);
    drop(first);
    eventually("the client's hang-up frees its place", || stream(&shim, WRITER).0 == 200);
    // The policy ends a stream.
    let text = std::fs::read_to_string(shim.config()).unwrap();
    reload(&shim, &text.replace("\"operator.read\", \"operator.write\"", "\"operator.read\""));
    drop(second);
    eventually("no place is taken", || status(&shim)["limits"][0]["limits"][0]["used"] == 0);
}

#[test]
fn a_request_the_gateway_fails_gives_its_place_back() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let shim = Shim::start(refused, &limited("concurrent_requests = 1"));
    let text = std::fs::read_to_string(shim.config()).unwrap();
    assert!(text.contains("retry_for"));
    for _ in 0..2 {
        let status = shim.client().ask("GET /v1/models", READER, &[], "").status;
        assert!(status >= 500, "{status}");
    }
}

#[test]
fn requests_at_a_time_are_counted_and_streams_among_them() {
    let (_gateway, address) = fake_gateway(Duration::from_secs(30));
    let shim = Shim::start(address, &writer("concurrent_requests = 1"));
    let (status, open) = stream(&shim, WRITER);
    assert_eq!(status, 200);
    assert_eq!(shim.client().ask("GET /v1/models", WRITER, &[], "").code(), "too_many_concurrent_requests");
    drop(open);
    let mut client = shim.client();
    eventually("the place is free", || client.ask("GET /v1/models", WRITER, &[], "").status == 200);
    // On one connection the next request finds the place of the last one free.
    for _ in 0..50 {
        assert_eq!(client.ask("GET /v1/models", WRITER, &[], "").status, 200);
    }
}

#[test]
fn sockets_are_counted_from_their_proof_to_their_end() {
    let gateway = WsGateway::start(Release::Modern);
    let shim = Shim::start(gateway.address(), &limited("concurrent_websockets = 1"));
    let mut first = WsClient::connected(shim.address(), READER);
    let asked = gateway.connects().len();
    let mut second = WsClient::open(shim.address());
    let answer = second.connect(json!({ "auth": { "token": READER } }));
    assert_eq!(answer["error"]["details"]["reason"], "too_many_concurrent_websockets", "{answer}");
    assert_eq!(
        (answer["error"]["code"].as_str(), answer["error"]["retryable"].as_bool()),
        (Some("UNAVAILABLE"), Some(true))
    );
    assert_eq!(second.next().code(), 1013);
    // Proven at the upgrade it is refused there.
    let upgraded = WsClient::upgrade(shim.address(), &[("authorization", &format!("Bearer {READER}"))]);
    assert_eq!(upgraded.err(), Some(429));
    assert_eq!(gateway.connects().len(), asked, "the gateway was asked for a socket too many");
    assert!(first.echoes("still here"));
    assert_eq!(
        status(&shim)["limits"][0]["limits"][0],
        json!({"limit": "concurrent_websockets", "allowed": 1, "used": 1})
    );
    drop(first);
    eventually("the place is free", || {
        let mut client = WsClient::open(shim.address());
        client.connect(json!({ "auth": { "token": READER } }))["ok"] == true
    });
}

#[test]
fn a_token_s_own_limits_win_over_grants_and_of_grants_the_strictest_counts() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let grant = |limits: &str| format!("\n[[grant]]\nto = {{ token = \"*\" }}\nlimits = {{ {limits} }}\n");
    let tables = format!(
        "[policy]\nlimits = {{ requests_per_minute = 9 }}\n\n{}{}{}",
        limited("requests_per_minute = 5"),
        grant("requests_per_minute = 4"),
        grant("requests_per_minute = 3, concurrent_websockets = 2"),
    );
    let shim = Shim::start(address, &tables);
    let said = |token: &str| {
        let answer = shim.client().ask("GET /v1/models", token, &[], "");
        answer.header("ratelimit-policy").unwrap_or_default().to_owned()
    };
    assert_eq!(said(READER), "\"requests\";q=5;w=60");
    assert_eq!(said(WRITER), "\"requests\";q=3;w=60");
    assert_eq!(said(SECRET), "\"requests\";q=9;w=60");
    let explain = |who: &str| {
        let output = scopeshim()
            .args(["explain", "--json", "--as", who, "GET", "/v1/models", "--config"])
            .arg(shim.config())
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["limits"].as_str().unwrap().to_owned()
    };
    assert_eq!(explain("token:reader"), "5 requests a minute (burst 5), 2 concurrent sockets");
    assert_eq!(explain("token:writer"), "3 requests a minute (burst 3), 2 concurrent sockets");
    assert_eq!(explain("gateway-secret"), "9 requests a minute (burst 9)");
}

#[test]
fn a_rotated_token_has_one_account_with_the_one_it_replaces() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let old = "token-of-the-reader-of-old-0123456789";
    let tables = limited("requests_per_minute = 2").replacen(
        "limits = {",
        &format!("previous = {{ sha256 = \"{}\", until = 2099-01-01T00:00:00Z }}\nlimits = {{", sha256(old)),
        1,
    );
    let shim = Shim::start(address, &tables);
    let mut client = shim.client();
    assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 200);
    assert_eq!(client.ask("GET /v1/models", old, &[], "").status, 200);
    assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 429);
    assert_eq!(client.ask("GET /v1/models", old, &[], "").status, 429);
}

#[test]
fn what_is_used_is_seen_in_the_status_and_the_metrics() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let tables = format!("[policy]\nlimits = {{ concurrent_requests = 7 }}\n\n{}", limited("requests_per_minute = 3"));
    let shim = Shim::start(address, &tables);
    let mut client = shim.client();
    for _ in 0..5 {
        client.ask("GET /v1/models", READER, &[], "");
    }
    client.ask("GET /v1/models", SECRET, &[], "");
    let text = ask(&shim, "GET /metrics", "").1;
    let labels = "{limit=\"requests_per_minute\",source=\"token\",token=\"reader\"}";
    for line in [
        format!("scopeshim_principal_limit{labels} 3"),
        format!("scopeshim_principal_limit_used{labels} 3"),
        format!("scopeshim_principal_limit_refusals_total{labels} 2"),
        "scopeshim_refusals_total{reason=\"rate_limit_exceeded\"} 2".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    let limits = status(&shim)["limits"].clone();
    let of = |name: &str| limits.as_array().unwrap().iter().find(|u| u["principal"] == name).unwrap()["limits"].clone();
    assert_eq!(of("reader")[0], json!({"limit": "requests_per_minute", "allowed": 3, "used": 3}));
    assert_eq!(of("writer")[0], json!({"limit": "concurrent_requests", "allowed": 7, "used": 0}));
    let output = scopeshim().args(["status", "--config"]).arg(shim.config()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("limits    reader (token): requests_per_minute 3 of 3"), "{text}");
    assert!(text.contains("to fix: raise `requests_per_minute`"), "{text}");
}

#[test]
fn nobody_is_limited_unless_a_table_says_so() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let mut client = shim.client();
    for _ in 0..300 {
        let answer = client.ask("GET /v1/models", READER, &[], "");
        assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
    }
    assert_eq!(status(&shim)["limits"], json!([]));
    assert!(!ask(&shim, "GET /metrics", "").1.contains("principal_limit_used{"));
}
