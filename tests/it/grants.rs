//! Grants: to whom, when, and what becomes of the gateway's own headers.

use crate::support::{Capture, READER, SECRET, Shim, WRITER, fake_gateway, people};
use std::time::Duration;

const CHAT: &str = "{}";

#[test]
fn grants_add_up_and_hold_only_under_their_conditions() {
    let capture = Capture::start();
    let grants = "[[grant]]\nto = { token = \"read*\" }\nscopes = [\"operator.approvals\"]\n\
         [[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.write\"]\nroutes = [\"/v1/chat/completions\"]\n\
         [[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.admin\"]\ncidrs = [\"10.0.0.0/8\"]\n\
         [[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.admin\"]\nexpires = 2020-01-01T00:00:00Z\n\
         [[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.admin\"]\nnot_before = 2999-01-01T00:00:00Z\n\
         [[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.pairing\"]\nmethods = [\"DELETE\"]\n";
    let shim = Shim::start(capture.address(), &format!("{}\n{grants}", people()));
    let mut client = shim.client();
    assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 200);
    assert_eq!(capture.values("x-openclaw-scopes"), ["operator.approvals,operator.read"]);
    assert_eq!(client.ask("POST /v1/chat/completions", READER, &[], CHAT).status, 200);
    assert_eq!(capture.values("x-openclaw-scopes"), ["operator.approvals,operator.read,operator.write"]);
    assert_eq!(client.ask("POST /v1/responses", READER, &[], CHAT).status, 403);
}

#[test]
fn the_gateway_s_own_headers_are_governed_by_grant() {
    let capture = Capture::start();
    let grants = "[[grant]]\nto = { token = \"writer\" }\nagent_id = { allow = [\"main\", \"research\"] }\nmodel = { pin = \"small\" }\n\
         session_key = \"prefix\"\nmessage_channel = \"refuse\"\n";
    let shim = Shim::start(capture.address(), &format!("{}\n{grants}", people()));
    let mut client = shim.client();
    let mut ask = |line: &str, headers: &[&str]| {
        client.ask(line, WRITER, headers, if line.starts_with("GET") { "" } else { CHAT })
    };
    let chat = "POST /v1/chat/completions";
    assert_eq!(ask(chat, &["x-openclaw-model: huge", "x-openclaw-session-key: mine"]).status, 200);
    assert_eq!(capture.values("x-openclaw-agent-id"), ["main"]);
    assert_eq!(capture.values("x-openclaw-model"), ["small"]);
    assert_eq!(capture.values("x-openclaw-session-key"), ["agent:main:scopeshim.token:writer:mine"]);
    assert_eq!(ask(chat, &["x-openclaw-agent-id: research"]).status, 200);
    assert_eq!(capture.values("x-openclaw-agent-id"), ["research"]);
    assert_eq!(ask(chat, &["x-openclaw-agent-id: root"]).code(), "header_not_allowed");
    assert_eq!(ask(chat, &["x-openclaw-message-channel: webchat"]).code(), "header_not_allowed");
    // Sessions of others cannot be read either.
    let own = "GET /sessions/agent%3Amain%3Ascopeshim.token%3Awriter%3Amine/history HTTP/1.1";
    for name in ["mine", "agent%3Amain%3Amine", "agent%3Amain%3Ascopeshim.token%3Awriter%3Amine"] {
        assert_eq!(ask(&format!("GET /sessions/{name}/history"), &[]).status, 200, "{name}");
        assert!(capture.seen().last().unwrap().starts_with(own), "{name}: {:?}", capture.seen().last());
    }
    let of_reader = "agent%3Amain%3Ascopeshim.token%3Areader%3Amine";
    for (other, code) in [(of_reader, "session_not_allowed"), ("agent%3Aroot%3Amine", "agent_not_allowed")] {
        assert_eq!(ask(&format!("GET /sessions/{other}/history"), &[]).code(), code, "{other}");
    }
    // Nobody else is touched by that grant.
    let others = shim.client().ask(chat, SECRET, &["x-openclaw-model: huge", "x-openclaw-session-key: any"], CHAT);
    assert_eq!(others.status, 200);
    assert_eq!(capture.values("x-openclaw-model"), ["huge"]);
    assert_eq!(capture.values("x-openclaw-session-key"), ["any"]);
}

#[test]
fn the_first_grant_that_speaks_of_an_excess_decides() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let grants = "[[grant]]\nto = { token = \"reader\" }\nexcess = \"narrow\"\n[[grant]]\nto = { token = \"reader\" }\nexcess = \"refuse\"\n";
    let shim = Shim::start(address, &format!("{}\n{grants}", people()));
    let all = &["x-openclaw-scopes: operator.admin, operator.approvals"][..];
    assert_eq!(shim.client().ask("GET /v1/models", READER, all, "").status, 200);
    assert_eq!(gateway.seen()[0].headers["x-openclaw-scopes"], "operator.read");
    assert_eq!(shim.client().ask("GET /v1/models", WRITER, all, "").status, 403);
}
