//! Grants: to whom, when, and what becomes of the gateway's own headers. And that `explain` says what
//! truly happens.

use crate::support::{Capture, READER, SECRET, Shim, WRITER, fake_gateway, people, scopeshim};
use serde_json::Value;
use std::io::Write as _;
use std::process::Stdio;
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

/// Asks `explain` with a token on standard input.
fn explain(shim: &Shim, line: &str, token: &str, headers: &[&str]) -> Value {
    let mut command = scopeshim();
    command.args(["explain", "--json", "--token", "-", "--config"]).arg(shim.config());
    for header in headers {
        command.args(["-H", header]);
    }
    command.args(line.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let all = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!all.contains(token) && !all.contains(SECRET), "a secret is shown: {all}");
    serde_json::from_str(&all).unwrap_or_else(|e| panic!("{e}: {all}"))
}

#[test]
fn explain_says_what_truly_happens() {
    let capture = Capture::start();
    let grants = "[policy]\nsession_key = \"refuse\"\n[[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.write\"]\nmethods = [\"POST\"]\nroutes = [\"/tools/\"]\n\
         [[grant]]\nto = { gateway_secret = true }\nexcess = \"narrow\"\nagent_id = { pin = \"main\" }\n\
         [[route]]\npath = \"/open\"\npublic = true\n[[route]]\nprefix = \"/plugin/\"\nneeds = \"operator.pairing\"\n\
         [[route]]\nprefix = \"/any/\"\nneeds = \"authenticated\"\n";
    let shim = Shim::start(capture.address(), &format!("{}\n{grants}", people()));
    let lines = [
        "GET /v1/models",
        "POST /v1/chat/completions",
        "POST /tools/invoke",
        "POST /sessions/a/kill",
        "GET /open",
        "GET /plugin/x",
        "GET /nowhere",
        "GET /Plugin/x",
        "GET /any/%2561",
        "GET /v1/models/j/x",
        "POST /tools%2Finvoke",
        "TRACE /v1/models",
    ];
    let header_sets: &[&[&str]] = &[
        &[],
        &["x-openclaw-scopes:"],
        &["x-openclaw-scopes: operator.read"],
        &["x-openclaw-scopes: operator.admin operator.nonsense"],
        &["x-openclaw-model: m"],
        &["x-openclaw-session-key: s", "x-openclaw-agent-id: a"],
        &["x-openclaw-scopes: \"broken\""],
        &["x-openclaw-agent-id: a", "x-openclaw-agent-id: b"],
    ];
    let mut compared = 0;
    for line in lines {
        for token in [READER, WRITER, SECRET, "nobody-s-token-0123456789"] {
            for headers in header_sets {
                let answer = shim.client().ask(line, token, headers, "");
                let explained = explain(&shim, line, token, headers);
                let outcome = if answer.status == 200 { "allow".to_owned() } else { answer.code() };
                assert_eq!(explained["outcome"], outcome, "{line} {headers:?}\n{explained:#}\n{answer:?}");
                if outcome == "allow" {
                    for pair in explained["headers"].as_array().unwrap() {
                        let (name, value) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
                        let sent = capture.values(name).pop().unwrap_or_else(|| panic!("{name} was not sent"));
                        // Each call that names no session has one of its own.
                        let (sent, value) = (sent.split("~.").next().unwrap(), value.split("~.").next().unwrap());
                        assert!(sent == value || value == "Bearer ***", "{name}: {sent} instead of {value}");
                    }
                } else {
                    let (told, explained) = (answer.json(), explained["message"].as_str().unwrap());
                    assert!(
                        told["error"]["message"].as_str().unwrap().starts_with(explained),
                        "{line} {headers:?} {told}"
                    );
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 384);
}
