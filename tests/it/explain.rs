//! `explain` says what the data plane does: for requests picked by hand, for generated ones, for WebSockets.

use crate::support::{Capture, READER, Release, SECRET, Shim, WRITER, WsClient, WsGateway, people, scopeshim};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Stdio;

/// Asks `explain` with a token on standard input, if there is one.
fn explain(shim: &Shim, more: &[&str], token: &str, headers: &[&str]) -> Value {
    let mut command = scopeshim();
    command.args(["explain", "--json", "--config"]).arg(shim.config());
    if !token.is_empty() {
        command.args(["--token", "-"]);
    }
    for header in headers {
        command.args(["-H", header]);
    }
    command.args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let all = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!((token.is_empty() || !all.contains(token)) && !all.contains(SECRET), "a secret is shown: {all}");
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
                let explained = explain(&shim, &line.split(' ').collect::<Vec<_>>(), token, headers);
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

/// Every kind of rule, and an anonymous caller, whom a web page could borrow.
fn rules() -> String {
    "[policy]\nsession_key = \"refuse\"\ntoken_headers = [\"x-api-key\"]\nhosts = [\"panel.example.org\"]\n\
     [anonymous]\nscopes = [\"operator.read\"]\n\
     [cors]\norigins = [\"https://panel.example.org\"]\n\
     [[grant]]\nto = { token = \"writer\" }\nexcess = \"narrow\"\nagent_id = { pin = \"main\" }\n\
     [[route]]\npath = \"/open\"\npublic = true\n[[route]]\nprefix = \"/plugin/\"\nneeds = \"operator.pairing\"\n"
        .to_owned()
}

#[test]
fn explain_answers_generated_requests_as_the_data_plane_does() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &format!("{}\n{}", people(), rules()));
    let line = (
        select(vec!["GET", "POST", "PUT", "OPTIONS", "TRACE", "BREW"]),
        select(vec![
            "/v1/models",
            "/v1/chat/completions",
            "/v1/embeddings?x=1",
            "/tools/invoke",
            "/sessions/a/history",
            "/open",
            "/plugin/x",
            "/health",
            "/nowhere",
            "/v1//models",
            "/v1/%2e%2e/models",
            "/V1/Models",
            "/j/abc",
        ]),
    );
    let basic = "Authorization: Basic dXNlcjp0b2tlbi1vZi10aGUtcmVhZGVyLTAxMjM0NTY3ODlhYmNkZWY=";
    let (bearer, api_key) = (format!("Authorization: Bearer {WRITER}"), format!("x-api-key: {READER}"));
    let credentials = select(vec![
        vec![],
        vec![bearer.clone()],
        vec![bearer.clone()],
        vec![api_key.clone()],
        vec![bearer, api_key],
        vec![basic.to_owned()],
        vec!["Authorization: Digest x".to_owned()],
        vec!["Authorization: Bearer a b".to_owned()],
    ]);
    let fields = subsequence(
        vec![
            "Host: panel.example.org",
            "Host: rebound.example",
            "Host: a b",
            "Origin: https://panel.example.org",
            "Origin: https://elsewhere.example",
            "Sec-Fetch-Site: cross-site",
            "Access-Control-Request-Method: POST",
            "X-Forwarded-For: 203.0.113.9",
            "Expect: 200-ok",
            "Connection: host",
            "Content-Length: 007",
            "Transfer-Encoding: gzip",
            "x-openclaw-scopes: operator.read",
            "x-openclaw-scopes: operator.admin",
            "x-openclaw-scopes: \"broken\"",
            "x-openclaw-agent-id: research",
            "x-openclaw-session-key: mine",
            "x-openclaw-model: small",
        ],
        0..4,
    );
    let body = select(vec!["", "", "{}", "{\"model\": \"openclaw/research\"}"]);
    let mut runner = TestRunner::new(Config { cases: 192, failure_persistence: None, ..Config::default() });
    let asked = (line, credentials, fields, body);
    runner
        .run(&asked, |((method, path), credentials, fields, body)| {
            let mut headers: Vec<&str> = credentials.iter().map(String::as_str).collect();
            headers.extend(fields);
            let answer = shim.client().request(&format!("{method} {path}"), &headers, body).answer();
            let file = shim.dir.path().join("body.json");
            std::fs::write(&file, body).unwrap();
            let explained = explain(&shim, &["--body", file.to_str().unwrap(), method, path], "", &headers);
            if explained["outcome"] == "allow" {
                prop_assert!(matches!(answer.status, 200 | 204), "{explained:#}\n{answer:?}");
            } else if answer.code() == "malformed_head" {
                // The HTTP parser refused it before the evaluation: several Host or Content-Length lines.
                prop_assert_eq!(&explained["status"], &json!(400), "{:#}\n{:?}", explained, answer);
            } else {
                prop_assert_eq!(&explained["status"], &json!(answer.status), "{:#}\n{:?}", explained, answer);
                prop_assert_eq!(&explained["outcome"], &json!(answer.code()), "{:#}\n{:?}", explained, answer);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn explain_answers_generated_websockets_as_the_data_plane_does() {
    let gateway = WsGateway::start(Release::Modern);
    let shim = Shim::start(gateway.address(), &format!("{}\n{}", people(), rules()));
    let reader = ("authorization", format!("Bearer {READER}"));
    let writer = ("authorization", format!("Bearer {WRITER}"));
    let broken = ("authorization", "Digest x".to_owned());
    let credential = select(vec![None, Some(reader), Some(writer), Some(broken)]);
    let fields = subsequence(
        vec![
            ("origin", "https://panel.example.org"),
            ("origin", "https://elsewhere.example"),
            ("x-openclaw-scopes", "operator.read"),
            ("x-openclaw-scopes", "operator.admin"),
            ("x-openclaw-scopes", "\"broken\""),
            ("expect", "200-ok"),
            ("x-forwarded-for", "203.0.113.9"),
        ],
        0..3,
    );
    let host = select(vec!["127.0.0.1", "panel.example.org", "rebound.example"]);
    let mut runner = TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() });
    runner
        .run(&(credential, fields, host), |(credential, fields, host)| {
            let sent = credential.iter().map(|(name, value)| (*name, value.as_str()));
            let headers: Vec<(&str, &str)> = sent.chain(fields).collect();
            let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let host_line = format!("host: {host}");
            let lines: Vec<&str> = lines.iter().map(String::as_str).chain([host_line.as_str()]).collect();
            let explained = explain(&shim, &["--websocket"], "", &lines);
            match WsClient::upgrade_as(shim.address(), host, &headers) {
                Err(status) => prop_assert_eq!(&explained["status"], &json!(status), "{:#}", explained),
                Ok(mut client) => {
                    let hello = client.connect(json!({}));
                    let reason = &hello["error"]["details"]["reason"];
                    if explained["outcome"] == "allow" {
                        prop_assert_eq!(&hello["ok"], &json!(true), "{:#}\n{}", explained, hello);
                    } else {
                        prop_assert_eq!(&explained["outcome"], reason, "{:#}\n{}", explained, hello);
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}
