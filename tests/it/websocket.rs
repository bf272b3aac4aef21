//! Sockets: proof before anything, scopes within the grant, bytes both ways, an orderly end.

use crate::support::{Client, READER, Release, SECRET, Shim, WRITER, WsClient, WsGateway, eventually, people};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn setting(release: Release, tables: &str) -> (Arc<WsGateway>, Shim) {
    let gateway = WsGateway::start(release);
    let shim = Shim::start(gateway.address(), &format!("{}\n{tables}", people()));
    (gateway, shim)
}

/// The lines of sockets that have ended.
fn ended(shim: &Shim) -> Vec<Value> {
    shim.access().into_iter().filter(|l| l["event"] == "request ends").collect()
}

fn scopes(params: &Value) -> String {
    let names: Vec<&str> = params["scopes"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    names.join(",")
}

const READ: &str = "operator.read,operator.sessions.read";

#[test]
fn report_46716_a_token_only_client_keeps_what_policy_grants() {
    for release in [Release::Modern, Release::Old, Release::Suspicious] {
        let (gateway, shim) = setting(release, "");
        let mut client = WsClient::open(shim.address());
        let hello = client.connect(json!({ "auth": { "token": READER }, "scopes": ["operator.admin"] }));
        let auth = &hello["payload"]["auth"];
        assert_eq!(scopes(auth), READ, "{hello}");
        assert_eq!(auth.get("deviceToken"), None, "the proxy's device token is nobody else's");
        let (head, params) = gateway.connects().pop().unwrap();
        assert_eq!(scopes(&params), READ);
        assert_eq!(params["auth"], json!({ "token": SECRET }));
        assert_eq!(params.get("device").is_some(), release != Release::Suspicious);
        let head = head.to_lowercase();
        assert!(head.contains(&format!("x-openclaw-scopes: {READ}\r\n")), "{head}");
        for absent in ["origin:", "forwarded", "cookie", "sec-websocket-extensions", "sec-websocket-protocol"] {
            assert!(!head.contains(absent), "{head}");
        }
        // What the gateway sent in one segment with its hello is not lost.
        assert_eq!(client.next().json()["event"], "tick");
        assert!(client.echoes("hello"));
    }
}

#[test]
fn a_gateway_that_takes_the_scopes_away_is_an_error_and_no_connection() {
    let gateway = WsGateway::start(Release::Old);
    let dir_is_a_file = format!("{}\n[server]\n", people());
    let shim = Shim::start(gateway.address(), &dir_is_a_file);
    // Without a device key only the backend form is left, which old releases strip.
    let state = shim.dir.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::create_dir(state.join("device.key")).unwrap();
    let mut client = WsClient::open(shim.address());
    let answer = client.connect(json!({ "auth": { "token": READER } }));
    assert_eq!(answer["error"]["details"]["reason"], "pairing_required", "{answer}");
    assert_eq!(client.next().code(), 1013);
}

#[test]
fn a_bearer_at_the_upgrade_is_proof_enough() {
    let (gateway, shim) = setting(Release::Modern, "");
    let bearer = format!("Bearer {WRITER}");
    let headers = [
        ("authorization", &*bearer),
        ("x-openclaw-scopes", "operator.read"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "1.2.3.4"),
    ];
    let mut client = WsClient::upgrade(shim.address(), &headers).unwrap();
    // The header of the upgrade is the request; the list in the frame cannot widen it.
    let hello = client.connect(json!({ "scopes": ["operator.admin", "operator.write"] }));
    assert_eq!(scopes(&hello["payload"]["auth"]), READ);
    assert_eq!(scopes(&gateway.connects()[0].1), READ);

    assert_eq!(WsClient::upgrade(shim.address(), &[("authorization", "Bearer no-such-token")]).err(), Some(401));
    let too_much = [("authorization", &*bearer), ("x-openclaw-scopes", "operator.admin")];
    let mut client = WsClient::upgrade(shim.address(), &too_much).unwrap();
    let answer = client.connect(json!({}));
    assert_eq!(answer["error"]["details"]["reason"], "scope_not_granted", "{answer}");
}

#[test]
fn no_unauthenticated_client_opens_a_websocket_to_the_gateway() {
    let (gateway, shim) = setting(Release::Modern, "");
    for (params, code) in [
        (json!({}), "AUTH_TOKEN_MISSING"),
        (json!({ "auth": { "token": "not-a-token-anybody-knows" } }), "AUTH_TOKEN_MISMATCH"),
        (json!({ "auth": { "deviceToken": "x" }, "device": { "signature": "s" } }), "AUTH_TOKEN_MISSING"),
        (json!({ "auth": { "token": READER }, "role": "node" }), "role_not_allowed"),
        (json!({ "auth": { "token": READER }, "role": "worker" }), "role_not_allowed"),
        (
            json!({ "auth": { "token": READER }, "client": { "id": "openclaw-control-ui" } }),
            "CONTROL_UI_ORIGIN_NOT_ALLOWED",
        ),
    ] {
        let mut client = WsClient::open(shim.address());
        let answer = client.connect(params);
        assert_eq!(answer["error"]["details"]["code"], code, "{answer}");
        assert_eq!(client.next().code(), 1008);
    }
    assert_eq!(gateway.opened.load(Ordering::SeqCst), 0);
    // Bad tokens lock nobody out.
    for _ in 0..20 {
        WsClient::open(shim.address()).connect(json!({ "auth": { "token": "not-a-token-anybody-knows" } }));
    }
    WsClient::connected(shim.address(), READER);
}

#[test]
fn pages_of_other_origins_may_not_connect() {
    let (gateway, shim) = setting(Release::Modern, "[websocket]\norigins = [\"https://panel.example.org\"]\n");
    let own = format!("http://{}", shim.address());
    for (origin, passes) in
        [(&*own, true), ("https://panel.example.org", true), ("http://evil.example", false), ("null", false)]
    {
        let mut client = WsClient::upgrade(shim.address(), &[("origin", origin)]).unwrap();
        let hello = client.connect(
            json!({ "auth": { "token": READER }, "client": { "id": "openclaw-control-ui", "mode": "webchat" } }),
        );
        assert_eq!(hello["ok"], passes, "{origin} {hello}");
    }
    assert_eq!(gateway.connects().len(), 2);
}

#[test]
fn forty_idle_sockets_stop_nobody() {
    let (gateway, shim) = setting(Release::Modern, "");
    let idle: Vec<_> = (0..40).map(|_| WsClient::open(shim.address())).collect();
    WsClient::connected(shim.address(), READER);
    assert_eq!(gateway.opened.load(Ordering::SeqCst), 2, "one of them makes the device known");
    // Nor do more than there are places for: the oldest of them go, whoever is proven stays.
    let more: Vec<_> = (0..250).map(|_| WsClient::open(shim.address())).collect();
    WsClient::connected(shim.address(), READER);
    let bearer = format!("Bearer {READER}");
    let mut proven = WsClient::upgrade(shim.address(), &[("authorization", &bearer)]).unwrap();
    assert_eq!(proven.connect(json!({}))["ok"], true);
    drop((idle, more));
}

#[test]
fn whoever_says_nothing_is_told_to_go_after_ten_seconds() {
    let (_gateway, shim) = setting(Release::Modern, "");
    let begun = Instant::now();
    let mut client = WsClient::open(shim.address());
    client.next();
    assert_eq!(client.next().code(), 1008);
    let took = begun.elapsed();
    assert!((9..13).contains(&took.as_secs()), "{took:?}");
}

/// A client that sends frames by hand.
fn raw(shim: &Shim) -> Client {
    let mut client = shim.client();
    client.request(
        "GET /",
        &[
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ],
        "",
    );
    client
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    if payload.len() < 126 {
        bytes.push(0x80 | u8::try_from(payload.len()).unwrap());
    } else {
        bytes.extend([0xff]);
        bytes.extend((payload.len() as u64).to_be_bytes());
    }
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

fn connect_frame(token: &str) -> Vec<u8> {
    json!({ "type": "req", "id": "1", "method": "connect", "params": { "client": {}, "auth": { "token": token } } })
        .to_string()
        .into_bytes()
}

#[test]
fn each_break_of_the_protocol_has_its_close_code() {
    let (gateway, shim) = setting(Release::Modern, "");
    let large = masked(0x81, &vec![b'x'; 70 * 1024]);
    let flood: Vec<u8> = (0..80).flat_map(|_| masked(0x8a, b"")).collect();
    for (frames, code) in [
        (masked(0x82, b"binary"), 1003u16),
        (masked(0xc1, b"rsv"), 1002),
        (masked(0x80, b"continuation of nothing"), 1002),
        (vec![0x81, 0x01, b'x'], 1002),
        (masked(0x81, b"\xff\xfe"), 1007),
        (large, 1009),
        (flood, 1008),
        (masked(0x81, b"no json"), 1008),
        (masked(0x81, br#"{"type":"req","id":"1","method":"health","params":{}}"#), 1008),
    ] {
        let mut client = raw(&shim);
        assert!(client.head().starts_with("HTTP/1.1 101"));
        client.send(&frames);
        let said = client.rest_of_bytes();
        let close = code.to_be_bytes();
        let end = said.windows(4).any(|w| w[0] == 0x88 && w[2..] == close);
        assert!(end, "{code}: {:?}", String::from_utf8_lossy(&said));
    }
    assert_eq!(gateway.opened.load(Ordering::SeqCst), 0);
}

#[test]
fn frames_may_come_in_pieces_or_all_at_once() {
    let (_gateway, shim) = setting(Release::Modern, "");
    let connect = connect_frame(READER);
    let (first, second) = connect.split_at(connect.len() / 2);
    let frames = [masked(0x01, first), masked(0x89, b"p"), masked(0x80, second), masked(0x81, b"behind")].concat();
    for piece in [1, frames.len()] {
        let mut client = raw(&shim);
        for bytes in frames.chunks(piece) {
            client.send(bytes);
        }
        let mut seen = Vec::new();
        eventually("the echo of what stood behind connect", || {
            seen.extend(client.some());
            seen.windows(6).any(|w| w == b"behind")
        });
        assert!(seen.windows(3).any(|w| w == [0x8a, 1, b'p']), "the ping is answered");
    }
    // In the same segment as the upgrade itself.
    let mut client = shim.client();
    let mut all = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".to_vec();
    all.extend(&frames);
    client.send(&all);
    let mut seen = Vec::new();
    eventually("the echo", || {
        seen.extend(client.some());
        seen.windows(6).any(|w| w == b"behind")
    });
}

#[test]
fn whatever_is_no_upgrade_gets_an_answer_in_words() {
    let (_gateway, shim) = setting(Release::Modern, "");
    let headers = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let mut client = shim.client();
    client.request("GET /", &headers, "");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (426, Some("13")), "{answer:?}");
    let mut client = shim.client();
    client.request("POST /", &headers, "");
    assert_eq!(client.answer().code(), "invalid_upgrade");
    let (_gateway, shim) = setting(Release::Modern, "[websocket]\nenabled = false\n");
    assert_eq!(WsClient::upgrade(shim.address(), &[]).err(), Some(501));
}

#[test]
fn large_messages_pass_both_ways() {
    let (_gateway, shim) = setting(Release::Modern, "");
    let mut client = WsClient::connected(shim.address(), READER);
    let large = "x".repeat(25 << 20);
    assert!(client.echoes(&large));
    assert!(client.echoes("and small ones behind"));
}

#[test]
fn a_thousand_sockets_at_a_time_cost_little() {
    let (gateway, shim) = setting(Release::Modern, "");
    let mut clients: Vec<_> = (0..1000).map(|_| WsClient::connected(shim.address(), READER)).collect();
    for client in &mut clients {
        assert!(client.echoes("ping"));
    }
    assert_eq!(gateway.open.load(Ordering::SeqCst), 1000);
    drop(clients);
    eventually("the gateway's sockets go too", || gateway.open.load(Ordering::SeqCst) == 0);
    eventually("each is logged", || ended(&shim).len() == 1000);
}

#[test]
fn the_access_line_says_what_went_over_a_socket() {
    let (_gateway, shim) = setting(Release::Modern, "");
    let mut client = WsClient::connected(shim.address(), READER);
    assert!(client.echoes("12345"));
    client.0.close(None).unwrap();
    client.next();
    let line = || ended(&shim).pop();
    eventually("it is logged", || line().is_some());
    let line = line().unwrap();
    assert_eq!(line["principal"], "reader");
    assert_eq!(line["http.response.status_code"], 101);
    assert_eq!(line["socket.scopes_asked"], "operator.admin");
    assert_eq!(line["scopes"], READ);
    assert_eq!((&line["socket.frames_up"], &line["socket.bytes_up"]), (&json!(2), &json!(17)), "{line}");
    assert_eq!(line["socket.frames_down"], 4, "{line}");
    assert_eq!((&line["socket.close_code"], &line["socket.closed_by"]), (&json!(1005), &json!("client")), "{line}");
    assert!(!shim.log().concat().contains(READER) && !shim.log().concat().contains(SECRET));
}

#[test]
fn a_stop_ends_sockets_with_1012_between_two_frames() {
    let (_gateway, mut shim) = setting(Release::Modern, "");
    let mut connected = WsClient::connected(shim.address(), READER);
    let mut waiting = WsClient::open(shim.address());
    waiting.next();
    shim.signal(Signal::SIGTERM);
    assert_eq!(connected.next().code(), 1012);
    assert_eq!(waiting.next().code(), 1012);
    drop((connected, waiting));
    let ended = shim.wait(Duration::from_secs(5));
    assert!(ended.is_some_and(|s| s.success()));
}

#[test]
fn the_gateway_s_own_end_is_passed_on() {
    let (_gateway, shim) = setting(Release::Modern, "");
    let mut client = WsClient::connected(shim.address(), READER);
    assert!(client.echoes("close"));
    assert_eq!(client.next().code(), 1012);
    let line = || ended(&shim).pop();
    eventually("it is logged", || line().is_some());
}

#[test]
fn a_gateway_that_is_not_there_is_said_and_tried_again() {
    let gateway = WsGateway::start(Release::Modern);
    let shim = Shim::start("127.0.0.1:9".parse().unwrap(), &people());
    let mut client = WsClient::open(shim.address());
    let answer = client.connect(json!({ "auth": { "token": READER } }));
    assert_eq!(
        (&answer["error"]["code"], &answer["error"]["retryable"]),
        (&json!("UNAVAILABLE"), &json!(true)),
        "{answer}"
    );
    assert_eq!(client.next().code(), 1013);
    drop(gateway);
}

#[test]
fn whoever_is_held_to_sessions_of_its_own_gets_no_socket() {
    let (_gateway, shim) =
        setting(Release::Modern, "[[grant]]\nto = { token = \"reader\" }\nsession_key = \"prefix\"\n");
    let answer = WsClient::open(shim.address()).connect(json!({ "auth": { "token": READER } }));
    assert_eq!(answer["error"]["details"]["reason"], "sessions_kept_apart", "{answer}");
    WsClient::connected(shim.address(), WRITER);
}

#[test]
fn a_device_of_the_client_s_own_is_passed_only_where_policy_says_so() {
    let device = json!({ "id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n" });
    let frame = json!({ "auth": { "token": SECRET }, "scopes": ["operator.read"], "device": device });
    let bearer = format!("Bearer {READER}");
    let headers = [("authorization", &*bearer)];
    let (gateway, shim) = setting(Release::Modern, "");
    WsClient::upgrade(shim.address(), &headers).unwrap().connect(frame.clone());
    assert_ne!(gateway.connects()[0].1["device"], device);

    let (gateway, shim) = setting(Release::Modern, "[websocket]\nown_device = \"pass\"\n");
    let mut client = WsClient::upgrade(shim.address(), &headers).unwrap();
    let hello = client.connect(frame.clone());
    assert_eq!(gateway.connects()[0].1["device"], device);
    assert_eq!(hello["payload"]["auth"]["deviceToken"], "a-credential-of-the-proxy", "it is the client's own device's");
    // Never with more than is granted, and never with a token of the proxy's.
    let mut more = frame.clone();
    more["scopes"] = json!(["operator.admin"]);
    let answer = WsClient::upgrade(shim.address(), &headers).unwrap().connect(more);
    assert_eq!(answer["error"]["details"]["reason"], "scope_not_granted", "{answer}");
    let mut named = frame;
    named["auth"] = json!({ "token": READER });
    WsClient::upgrade(shim.address(), &headers).unwrap().connect(named);
    let last = gateway.connects().pop().unwrap().1;
    assert_eq!(last["auth"], json!({ "token": SECRET }));
    assert_ne!(last["device"], device);
}

#[test]
fn the_device_is_made_known_once_with_all_its_scopes() {
    let (gateway, shim) = setting(Release::Modern, "");
    let clients: Vec<_> = (0..5).map(|_| WsClient::connected(shim.address(), READER)).collect();
    assert_eq!(gateway.pairings(), 1);
    drop(clients);
    let key = shim.dir.path().join("state/device.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_web_page_is_shown_to_whom_policy_says() {
    for (ui, page, config) in [("off", 401, 401), ("authenticated", 401, 401), ("open", 200, 401)] {
        let (_gateway, address) = crate::support::fake_gateway(Duration::ZERO);
        let shim = Shim::start(address, &format!("{}\n[websocket]\nui = \"{ui}\"\n", people()));
        assert_eq!(shim.client().ask("GET /", "", &[], "").status, page, "{ui}");
        assert_eq!(shim.client().ask("GET /assets/index.js", "", &[], "").status, page, "{ui}");
        assert_eq!(shim.client().ask("GET /__openclaw/control-ui-config.json", "", &[], "").status, config, "{ui}");
        assert_eq!(shim.client().ask("POST /chat", "", &[], "{}").status, 401, "{ui}");
        let reader = if ui == "off" { 403 } else { 200 };
        assert_eq!(shim.client().ask("GET /", READER, &[], "").status, reader, "{ui}");
    }
}

fn edit(shim: &Shim, change: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(shim.config()).unwrap();
    std::fs::write(shim.config(), change(&text)).unwrap();
}

#[test]
fn a_revoked_token_s_socket_is_closed_with_1008_and_others_go_on() {
    let (_gateway, shim) = setting(Release::Modern, "");
    let mut reader = WsClient::connected(shim.address(), READER);
    let mut writer = WsClient::connected(shim.address(), WRITER);
    let begun = Instant::now();
    edit(&shim, |text| text.replace(&crate::support::sha256(READER), &crate::support::sha256("x")));
    assert_eq!(reader.next(), crate::support::Came::Closed(1008, "credential_unknown".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(writer.echoes("still here"));
    let line = || ended(&shim).into_iter().find(|l| l["socket.closed_by"] == "proxy");
    eventually("it is logged", || line().is_some());
    assert_eq!(line().unwrap()["socket.close_code"], 1008);
    // A socket lives on what it was given: with less granted it has to go, with more it need not.
    edit(&shim, |text| text.replace("\"operator.read\", \"operator.write\"", "\"operator.admin\""));
    std::thread::sleep(Duration::from_millis(500));
    assert!(writer.echoes("still here"));
    edit(&shim, |text| text.replace("\"operator.admin\"", "\"operator.read\""));
    assert_eq!(writer.next(), crate::support::Came::Closed(1008, "scope_not_granted".to_owned()));
}

#[test]
fn a_token_that_expires_takes_its_socket_with_it() {
    let (_gateway, shim) = setting(Release::Modern, "");
    let mut client = WsClient::connected(shim.address(), READER);
    // Its end comes by a change of the policy, which at that moment still lets it go on.
    let until = jiff::Timestamp::now() + Duration::from_secs(3);
    edit(&shim, |text| text.replace("name = \"reader\"", &format!("name = \"reader\"\nexpires = {until}")));
    assert_eq!(client.next(), crate::support::Came::Closed(1008, "token_expired".to_owned()));
    assert!(jiff::Timestamp::now() >= until);
}
