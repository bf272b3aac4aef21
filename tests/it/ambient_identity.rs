//! Identity that rests on a place and not on a credential, and who might borrow it.

use crate::support::{READER, Release, Shim, Tailscaled, WsClient, WsGateway, eventually, fake_gateway, people};
use serde_json::json;
use std::time::Duration;

const CHAT: &str = r#"{"model":"openclaw","messages":[]}"#;
const ANYBODY_HERE: &str = "[anonymous]\nscopes = [\"operator.admin\"]\n";
/// What a page of `evil.example` sends once its name leads to this machine.
const REBOUND: &[&[&str]] = &[
    &["Host: evil.example", "Origin: http://evil.example"],
    &["Host: evil.example:18780", "Origin: http://evil.example:18780", "Sec-Fetch-Site: same-origin"],
    // A navigation, or a GET of the page's own origin, carries no Origin at all.
    &["Host: evil.example"],
    &["Host: evil.local", "Origin: http://evil.local"],
    &["Host: evil.tail2.ts.net", "Origin: https://evil.tail2.ts.net"],
    &["Host: localhost.evil.example", "Origin: http://localhost.evil.example"],
];

#[test]
fn a_page_whose_name_was_made_to_lead_here_is_not_anonymous() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &format!("{}\n{ANYBODY_HERE}", people()));
    for headers in REBOUND {
        for (request, body) in
            [("GET /v1/models", ""), ("POST /v1/chat/completions", CHAT), ("POST /sessions/agent:main:main/kill", "{}")]
        {
            let answer = shim.client().ask(request, "", headers, body);
            assert_eq!((answer.status, answer.code().as_str()), (403, "host_not_allowed"), "{request} {headers:?}");
        }
    }
    assert!(gateway.seen().is_empty());
    for host in ["Host: 127.0.0.1:18780", "Host: [::1]:18780", "Host: localhost", "Host: 192.168.1.2"] {
        assert_eq!(shim.client().ask("GET /v1/models", "", &[host], "").status, 200, "{host}");
    }
    // A page that has a token is told nothing by its name.
    assert_eq!(shim.client().ask("GET /v1/models", READER, REBOUND[0], "").status, 200);
}

#[test]
fn a_page_whose_name_was_made_to_lead_here_is_nobody_of_the_tailnet() {
    let tailscaled = Tailscaled::answering(json!({
        "Node": {"Name": "laptop.tailnet.test.", "Addresses": ["100.64.0.7/32"]},
        "UserProfile": {"LoginName": "alice@example.org"},
    }));
    let grant = "[[grant]]\nto = { tailnet_user = \"alice@example.org\" }\nscopes = [\"operator.admin\"]\n";
    for (identity, served) in [
        ("tailnet", &[][..]),
        ("tailscale-serve", &["X-Forwarded-For: 100.64.0.7", "Tailscale-User-Login: alice@example.org"][..]),
    ] {
        let (gateway, address) = fake_gateway(Duration::ZERO);
        let tables = format!("[tailscale]\nsocket = \"{}\"\n{}\n{grant}", tailscaled.socket(), people());
        let shim = Shim::with_identity(address, identity, &tables);
        for headers in REBOUND {
            let headers = [headers, served].concat();
            let answer = shim.client().ask("POST /sessions/agent:main:main/kill", "", &headers, "{}");
            assert_eq!((answer.status, answer.code().as_str()), (403, "host_not_allowed"), "{identity} {headers:?}");
        }
        assert!(gateway.seen().is_empty());
        assert_eq!(shim.client().ask("GET /v1/models", "", served, "").status, 200, "{identity}");
        // This machine's own name in the tailnet is known once tailscaled has said it.
        let own = [&["Host: gateway.tailnet.test"][..], served].concat();
        eventually("the tailnet's name for this machine is known", || {
            shim.client().ask("GET /v1/models", "", &own, "").status == 200
        });
    }
}

#[test]
fn a_listed_name_is_as_good_as_an_address() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let tables =
        "[policy]\nhosts = [\"Gateway.home.arpa\"]\n[websocket]\norigins = [\"https://ui.example.org:8443\"]\n";
    let shim = Shim::start(address, &format!("{tables}{}\n{ANYBODY_HERE}", people()));
    for (host, status) in [
        ("Host: gateway.home.arpa:18780", 200),
        ("Host: ui.example.org", 200),
        ("Host: home.arpa", 403),
        ("Host: x.gateway.home.arpa", 403),
    ] {
        assert_eq!(shim.client().ask("GET /v1/models", "", &[host], "").status, status, "{host}");
    }
}

#[test]
fn a_websocket_takes_no_page_of_a_name_that_is_not_this_machines_own() {
    let gateway = WsGateway::start(Release::Modern);
    let shim = Shim::start(gateway.address(), &format!("{}\n{ANYBODY_HERE}", people()));
    let names = [
        ("evil.example", "http://evil.example"),
        ("evil.local", "http://evil.local"),
        ("evil.tail2.ts.net", "https://evil.tail2.ts.net"),
    ];
    for (host, origin) in names {
        for auth in [json!({}), json!({ "auth": { "token": READER } })] {
            let mut client = WsClient::upgrade_as(shim.address(), host, &[("origin", origin)]).unwrap();
            let answer = client.connect(auth);
            assert_eq!(answer["error"]["details"]["reason"], "origin_not_allowed", "{host} {answer}");
        }
        // Without an Origin it is no page; without a credential it is somebody's browser all the same.
        let mut client = WsClient::upgrade_as(shim.address(), host, &[]).unwrap();
        assert_eq!(client.connect(json!({}))["error"]["details"]["reason"], "host_not_allowed", "{host}");
    }
    assert!(gateway.connects().is_empty());
    let mut client = WsClient::upgrade_as(shim.address(), "localhost:1", &[("origin", "http://localhost:1")]).unwrap();
    assert_eq!(client.connect(json!({}))["ok"], true);
}

#[test]
fn what_a_tunnel_on_this_machine_passes_on_is_not_from_this_machine() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let people = people().replace("name = \"writer\"", "name = \"writer\"\ncidrs = [\"127.0.0.0/8\"]");
    let grant = "[[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.write\"]\ncidrs = [\"127.0.0.1/32\"]\n";
    let shim = Shim::start(address, &format!("{people}\n{ANYBODY_HERE}\n{grant}"));
    let chat = "POST /v1/chat/completions";
    assert_eq!(shim.client().ask(chat, "", &[], CHAT).status, 200);
    assert_eq!(shim.client().ask(chat, READER, &[], CHAT).status, 200);
    let before = gateway.seen().len();
    for relayed in [
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: https",
        "X_Forwarded_For: 203.0.113.9",
        "Forwarded: for=203.0.113.9",
        "X-Real-IP: 203.0.113.9",
        "CF-Connecting-IP: 203.0.113.9",
        "CF-Ray: 1",
        "True-Client-IP: 203.0.113.9",
        "Via: 1.1 tunnel",
        "Ngrok-Trace-Id: 1",
    ] {
        let answer = shim.client().ask(chat, "", &[relayed], CHAT);
        assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"), "{relayed}");
        let answer = shim.client().ask(chat, crate::support::WRITER, &[relayed], CHAT);
        assert_eq!((answer.status, answer.code().as_str()), (403, "token_address"), "{relayed}");
        let answer = shim.client().ask(chat, READER, &[relayed], CHAT);
        assert_eq!((answer.status, answer.code().as_str()), (403, "missing_scope"), "{relayed}");
    }
    assert_eq!(gateway.seen().len(), before);
}

#[test]
fn a_socket_that_a_tunnel_on_this_machine_passes_on_is_not_from_this_machine() {
    let gateway = WsGateway::start(Release::Modern);
    let shim = Shim::start(gateway.address(), &format!("{}\n{ANYBODY_HERE}", people()));
    let mut client = WsClient::upgrade(shim.address(), &[("cf-connecting-ip", "203.0.113.9")]).unwrap();
    let answer = client.connect(json!({}));
    assert_eq!(answer["error"]["details"]["reason"], "credential_missing", "{answer}");
    assert!(gateway.connects().is_empty());
}

#[test]
fn everybody_is_let_in_from_behind_a_tunnel_where_every_address_is() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let everybody = "[anonymous]\nscopes = [\"operator.read\"]\ncidrs = [\"0.0.0.0/0\", \"::/0\"]\n";
    let shim = Shim::start(address, &format!("{}\n{everybody}", people()));
    assert_eq!(shim.client().ask("GET /v1/models", "", &["X-Forwarded-For: 203.0.113.9"], "").status, 200);
}
