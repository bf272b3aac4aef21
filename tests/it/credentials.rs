//! Where a client can put its token: read there, and never passed on.

use crate::support::{Capture, READER, Release, Shim, WRITER, WsClient, WsGateway, fake_gateway, people};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use std::time::Duration;

const KEYS: &str = "[policy]\ntoken_headers = [\"x-api-key\", \"api-key\", \"X-Home-Token\"]\n";

fn basic(user: &str, token: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(format!("{user}:{token}")))
}

fn protocol(token: &str) -> String {
    format!("base64url.bearer.scopeshim.{}", URL_SAFE_NO_PAD.encode(token))
}

#[test]
fn a_token_counts_wherever_it_is_and_reaches_the_gateway_nowhere() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &format!("{KEYS}{}", people()));
    let places = [
        format!("Authorization: Bearer {READER}"),
        basic("", READER),
        basic("anybody", READER),
        format!("x-api-key: {READER}"),
        format!("API-Key: {READER}"),
        format!("x-home-token: Bearer {READER}"),
    ];
    for place in &places {
        // With one that agrees, an alias of its name, and a place that is read in upgrades only.
        let alias = format!("x_api_key: {READER}");
        let unread = format!("Sec-WebSocket-Protocol: a, {}", protocol(READER));
        let mut lines = vec![place.as_str(), &alias, &unread];
        let again = format!("x-home-token: {READER}");
        if !place.starts_with("x-home") {
            lines.push(&again);
        }
        let before = capture.count();
        shim.client().ask("GET /v1/models", "", &lines, "");
        assert_eq!(capture.count(), before + 1, "{place}");
        let sent = capture.last();
        assert_eq!(capture.values("x-openclaw-scopes"), ["operator.read"], "{place}");
        let all = format!("{sent:?}");
        for secret in [READER, &STANDARD.encode(format!("anybody:{READER}")), &URL_SAFE_NO_PAD.encode(READER)] {
            assert!(!all.contains(secret), "{place}: {all}");
        }
    }
}

#[test]
fn two_credentials_that_disagree_are_400() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &format!("{KEYS}{}", people()));
    let key = format!("x-api-key: {WRITER}");
    for lines in [
        vec![format!("Authorization: Bearer {READER}"), key.clone()],
        vec![basic("u", READER), key.clone()],
        vec![format!("api-key: {READER}"), key.clone()],
        vec![format!("api-key: {READER}x"), format!("Authorization: Bearer {READER}")],
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let answer = shim.client().ask("GET /v1/models", "", &lines, "");
        assert_eq!((answer.status, answer.code().as_str()), (400, "credential_conflict"), "{lines:?}");
    }
    assert!(gateway.seen().is_empty());
}

#[test]
fn a_header_that_is_not_listed_proves_nothing_and_disturbs_nobody() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let key = format!("x-api-key: {WRITER}");
    assert_eq!(shim.client().ask("GET /v1/models", "", &[&key], "").code(), "credential_missing");
    assert_eq!(shim.client().ask("GET /v1/models", READER, &[&key], "").status, 200);
    assert_eq!(shim.client().ask(&format!("GET /v1/models?token={READER}&api_key={READER}"), "", &[], "").status, 401);
}

#[test]
fn a_wrong_password_is_a_wrong_token() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let anonymous = "[anonymous]\nscopes = [\"operator.read\"]\n";
    let shim = Shim::start(address, &format!("{}\n{anonymous}", people()));
    let answer = shim.client().ask("GET /v1/models", "", &[&basic("u", "wrong")], "");
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_unknown"));
    // No browser is made to ask its user for a password.
    assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer "), "{answer:?}");
    let answer = shim.client().ask("GET /v1/models", "", &["Authorization: Basic ???"], "");
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_credential_form"));
}

#[test]
fn no_page_of_another_origin_borrows_a_password_that_a_browser_remembers() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let cors = "[cors]\norigins = [\"https://panel.example.org\"]\n";
    let shim = Shim::start(address, &format!("{}\n{cors}", people()));
    let password = basic("u", WRITER);
    let ask = |more: &[&str]| shim.client().ask("POST /v1/chat/completions", "", &[&[&*password], more].concat(), "{}");
    for foreign in [&["Origin: https://evil.example"][..], &["Sec-Fetch-Site: cross-site"], &["Origin: null"]] {
        let answer = ask(foreign);
        assert_eq!((answer.status, answer.code().as_str()), (403, "cross_origin"), "{foreign:?}");
    }
    assert!(gateway.seen().is_empty());
    assert_eq!(ask(&["Origin: https://panel.example.org", "Sec-Fetch-Site: cross-site"]).status, 200);
    assert_eq!(ask(&[]).status, 200);
}

#[test]
fn a_browser_s_websocket_is_proven_by_a_subprotocol_and_never_given_its_token_back() {
    let gateway = WsGateway::start(Release::Modern);
    let shim = Shim::start(gateway.address(), &format!("{KEYS}{}", people()));
    let offered = format!("{}, openclaw", protocol(READER));
    let mut client = WsClient::upgrade(shim.address(), &[("sec-websocket-protocol", &offered)]).unwrap();
    assert_eq!(client.protocol(), Some("openclaw"));
    let answer = client.connect(json!({}));
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(gateway.connects().len(), 1);
    for headers in [
        [("x-api-key", READER), ("user-agent", "test")],
        [("authorization", &format!("Basic {}", STANDARD.encode(format!("u:{READER}")))), ("user-agent", "test")],
    ] {
        let mut client = WsClient::upgrade(shim.address(), &headers).unwrap();
        assert_eq!(client.protocol(), None);
        assert_eq!(client.connect(json!({}))["ok"], true, "{headers:?}");
    }
    let alone = protocol(READER);
    assert_eq!(WsClient::upgrade(shim.address(), &[("sec-websocket-protocol", &alone)]).err(), Some(400));
    let wrong = format!("openclaw, {}", protocol("wrong"));
    assert_eq!(WsClient::upgrade(shim.address(), &[("sec-websocket-protocol", &wrong)]).err(), Some(401));
    let two = [("x-api-key", WRITER), ("sec-websocket-protocol", &*offered)];
    assert_eq!(WsClient::upgrade(shim.address(), &two).err(), Some(400));
}
