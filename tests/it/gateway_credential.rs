//! The gateway refuses what this proxy proves itself with: whose fault a client is told it is.

use crate::support::{
    READER, Release, SECRET, Scripted, Shim, WsClient, WsGateway, eventually, fake_gateway, people, write_private,
};
use serde_json::json;
use std::time::Duration;

const WRONG: &str = "a-secret-that-the-gateway-had-yesterday";

#[test]
fn a_401_to_this_proxy_s_credential_is_a_502_that_names_it() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let secret = shim.dir.path().join("gateway.token");
    write_private(&secret, WRONG);
    let ask = || shim.client().ask("GET /v1/models", READER, &[], "");
    eventually("the old secret is refused", || ask().status == 502);
    let answer = ask();
    assert_eq!(answer.code(), "gateway_credential_refused", "{answer:?}");
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("mode token") && message.contains("not yours"), "{message}");
    let metrics = crate::admin::ask(&shim, "GET /metrics", "").1;
    let counted =
        metrics.lines().find(|l| l.starts_with("scopeshim_refusals_total{reason=\"gateway_credential_refused\"}"));
    assert!(counted.is_some_and(|l| !l.ends_with(" 0")), "{counted:?}");
    // A client's own bad token is still the client's.
    assert_eq!(shim.client().ask("GET /v1/models", "nobody-has-this-token", &[], "").code(), "credential_unknown");
    // Without a command.
    write_private(&secret, SECRET);
    eventually("the corrected secret counts", || ask().status == 200);
}

#[test]
fn a_401_about_something_else_is_passed_on() {
    let gateway = Scripted::start(|mut asked| {
        let answer =
            if asked.head.starts_with("GET /v1/models") { (200, "{}") } else { (401, "{\"error\":\"a hook's own\"}") };
        let (status, body) = answer;
        asked.send(format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ));
    });
    let shim = Shim::start(gateway.address(), &people());
    let answer = shim.client().ask("GET /sessions/agent:main:main/history", READER, &[], "");
    assert_eq!((answer.status, answer.json()["error"].as_str()), (401, Some("a hook's own")), "{answer:?}");
}

#[test]
fn a_websocket_is_told_the_same_and_the_corrected_secret_counts() {
    let gateway = WsGateway::start(Release::Modern);
    let shim = Shim::start(gateway.address(), &people());
    let secret = shim.dir.path().join("gateway.token");
    write_private(&secret, WRONG);
    let connect =
        || WsClient::open(shim.address()).connect(json!({ "auth": { "token": READER }, "scopes": ["operator.read"] }));
    eventually("the old secret is refused", || connect()["ok"] == false);
    let answer = connect();
    assert!(answer["error"]["message"].as_str().unwrap().contains("not yours"), "{answer}");
    write_private(&secret, SECRET);
    eventually("the corrected secret counts", || connect()["ok"] == true);
    eventually("its access line says what it is", || {
        shim.access().iter().any(|line| line["http.route"] == "websocket" && line["principal"] == "reader")
    });
    assert!(shim.access().iter().all(|line| line["http.route"] == "websocket"), "{:?}", shim.access());
}
