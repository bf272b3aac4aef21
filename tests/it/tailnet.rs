//! Who the tailnet says is calling. A fake of tailscaled gives the odd answers that a real one
//! cannot be made to give; `make e2e-tailnet` runs the rest on real ones.

use crate::admin::ask;
use crate::support::{READER, SECRET, Shim, Tailscaled, eventually, fake_gateway, people};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const READ: &str = "GET /v1/models";
const GRANTS: &str = "[[grant]]\nto = { tailnet_user = \"*@example.org\" }\nscopes = [\"operator.read\"]\n\
                      [[grant]]\nto = { tailnet_tag = \"tag:bot\" }\nscopes = [\"operator.read\"]\n\
                      [[grant]]\nto = { tailnet_cap = \"example.org/cap/ops\" }\nscopes = [\"operator.write\"]\n";

fn alice() -> Value {
    json!({
        "Node": {"Name": "laptop.tailnet.test.", "Addresses": ["100.64.0.7/32"]},
        "UserProfile": {"LoginName": "Alice@example.org"},
        "CapMap": null,
    })
}

/// A proxy whose one listener has this identity, and the tailscaled it asks.
fn shim(identity: &str, tailscaled: &Tailscaled, tables: &str) -> Shim {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let tables = format!("[tailscale]\nsocket = \"{}\"\n{tables}\n{}\n{GRANTS}", tailscaled.socket(), people());
    Shim::with_identity(address, identity, &tables)
}

fn code(shim: &Shim, headers: &[&str]) -> (u16, String) {
    let answer = shim.client().ask(READ, "", headers, "");
    (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
}

#[test]
fn a_caller_is_who_the_tailnet_says() {
    let tailscaled = Tailscaled::answering(alice());
    let shim = shim("tailnet", &tailscaled, "");
    let mut client = shim.client();
    assert_eq!(client.ask(READ, "", &[], "").status, 200);
    let asked = tailscaled.asked();
    assert!(asked.iter().any(|a| a.starts_with("/localapi/v0/whois?addr=127.0.0.1:")), "{asked:?}");
    // Within a connection nobody is asked about twice.
    assert_eq!(client.ask(READ, "", &[], "").status, 200);
    assert_eq!(tailscaled.whois(), 1);
    // Another connection from the same address may be another peer: behind userspace networking all are.
    assert_eq!(code(&shim, &[]).0, 200);
    assert_eq!(tailscaled.whois(), 2);
    eventually("it is logged", || !shim.access().is_empty());
    let line = &shim.access()[0];
    assert_eq!((&line["principal"], &line["source"]), (&json!("alice@example.org"), &json!("tailnet")));
}

#[test]
fn what_is_presented_is_judged_alone() {
    let tailscaled = Tailscaled::answering(alice());
    let shim = shim("tailnet", &tailscaled, "");
    let mut client = shim.client();
    assert_eq!(client.ask(READ, "nobody-s-token", &[], "").code(), "credential_unknown");
    assert_eq!(client.ask(READ, "", &["Authorization: Basic YTpi"], "").code(), "credential_unknown");
    assert_eq!(client.ask(READ, "", &["Authorization: Digest a"], "").code(), "credential_scheme");
    assert_eq!(client.ask(READ, READER, &[], "").status, 200);
    assert_eq!(tailscaled.whois(), 0);
}

#[test]
fn odd_answers_let_nobody_in() {
    for (answer, status, reason) in [
        (json!({"status": 404, "body": "no match for IP:port"}), 401, "tailnet_unknown_peer"),
        (json!({"status": 403, "body": "whois access denied"}), 503, "tailnet_unavailable"),
        (json!({"status": 500, "body": "oops"}), 503, "tailnet_unavailable"),
        (json!({"status": 200, "body": "no JSON"}), 503, "tailnet_answer"),
        (json!({"status": 200, "body": "{}"}), 503, "tailnet_answer"),
        (json!({"status": 200, "body": "x".repeat(300_000)}), 503, "tailnet_unavailable"),
        (json!({"status": 302, "body": ""}), 503, "tailnet_unavailable"),
    ] {
        let tailscaled = Tailscaled::answering(answer.clone());
        let shim = shim("tailnet", &tailscaled, "[anonymous]\nscopes = [\"operator.read\"]\n");
        assert_eq!(code(&shim, &[]), (status, reason.to_owned()), "{answer:.80}");
    }
}

#[test]
fn a_page_of_another_origin_cannot_borrow_it() {
    let tailscaled = Tailscaled::answering(alice());
    let shim = shim("tailnet", &tailscaled, "");
    assert_eq!(code(&shim, &["Origin: http://evil.example"]), (403, "cross_origin".to_owned()));
}

#[test]
fn capabilities_carry_scopes_below_a_ceiling() {
    let mut eve = alice();
    eve["UserProfile"]["LoginName"] = json!("eve@example.com");
    eve["CapMap"] = json!({"example.org/cap/scopeshim": [{"scopes": ["operator.read", "operator.admin"]}]});
    let tailscaled = Tailscaled::answering(eve);
    let tables = "capability = \"example.org/cap/scopeshim\"\nceiling = [\"operator.read\"]\n";
    let shim = shim("tailnet", &tailscaled, tables);
    assert_eq!(shim.client().ask(READ, "", &[], "").status, 200);
    let refused = shim.client().ask("POST /v1/chat/completions", "", &[], "{}");
    assert_eq!((refused.status, refused.code()), (403, "missing_scope".to_owned()));
    assert_eq!(refused.json()["error"]["principal"], "eve@example.com");
}

#[test]
fn serve_s_word_must_be_the_tailnet_s_too() {
    let tailscaled = Tailscaled::answering(alice());
    let shim = shim("tailscale-serve", &tailscaled, "");
    let forwarded = "X-Forwarded-For: 100.64.0.7";
    assert_eq!(code(&shim, &[forwarded, "Tailscale-User-Login: alice@example.org"]).0, 200);
    assert!(tailscaled.asked().contains(&"/localapi/v0/whois?addr=100.64.0.7".to_owned()));
    // One address is one node, whatever the connection.
    assert_eq!(code(&shim, &[forwarded, "Tailscale-User-Login: ALICE@example.org"]).0, 200);
    assert_eq!(tailscaled.whois(), 1);
    assert_eq!(code(&shim, &[forwarded, "Tailscale-User-Login: bob@example.org"]), (403, "tailnet_mismatch".into()));
    assert_eq!(code(&shim, &[forwarded]), (403, "tailnet_mismatch".into()));
    for headers in [
        &[][..],
        &["Tailscale-User-Login: alice@example.org"],
        &["X-Forwarded-For: 100.64.0.7, 100.64.0.7", "Tailscale-User-Login: alice@example.org"],
        &[forwarded, forwarded, "Tailscale-User-Login: alice@example.org"],
        &[forwarded, "Tailscale-User-Login: alice@example.org", "Tailscale-Funnel-Request: ?1"],
    ] {
        assert_eq!(code(&shim, headers), (401, "tailnet_headers".into()), "{headers:?}");
    }
    // An answer about a node that has another address is no answer.
    assert_eq!(code(&shim, &["X-Forwarded-For: 100.64.0.8", "Tailscale-User-Login: alice@example.org"]).0, 401);
}

#[test]
fn a_silent_tailscaled_is_waited_for_in_bounds_and_seen() {
    let tailscaled = Tailscaled::answering(alice());
    let shim = shim("tailnet", &tailscaled, "");
    let ready = || ask(&shim, "GET /readyz", "").0;
    eventually("ready", || ready() == 200);
    tailscaled.hang(true);
    let begun = Instant::now();
    assert_eq!(code(&shim, &[]), (503, "tailnet_unavailable".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // Tokens go on working.
    assert_eq!(shim.client().ask(READ, READER, &[], "").status, 200);
    assert_eq!(ready(), 503);
    assert!(ask(&shim, "GET /readyz", "").1.contains("tailscaled at "));
    assert!(ask(&shim, "GET /metrics", "").1.contains("scopeshim_tailnet_unavailable 1"));
    shim.says("tailscaled does not answer");
    tailscaled.hang(false);
    eventually("it is let in again", || code(&shim, &[]).0 == 200);
    eventually("ready again", || ready() == 200);
    shim.says("tailscaled answers again");
}

#[test]
fn one_node_is_asked_about_once_however_many_ask() {
    let tailscaled = Tailscaled::answering(alice());
    tailscaled.pause(Duration::from_millis(300));
    let shim = shim("tailscale-serve", &tailscaled, "");
    let headers = ["X-Forwarded-For: 100.64.0.7", "Tailscale-User-Login: alice@example.org"];
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..50).map(|_| scope.spawn(|| code(&shim, &headers).0)).collect();
        assert!(asking.into_iter().all(|a| a.join().unwrap() == 200));
    });
    assert_eq!(tailscaled.whois(), 1);
}

#[test]
fn a_tailnet_caller_is_explained_and_tested() {
    let tailscaled = Tailscaled::answering(alice());
    let shim = shim(
        "tailnet",
        &tailscaled,
        "[[test]]\nname = \"bots read\"\nas = { tailnet_tag = \"tag:bot\" }\n\
         request = \"GET /v1/models\"\nexpect = \"allow\"\n",
    );
    let explain = |who: &str| {
        let config = shim.config();
        let output = crate::support::scopeshim()
            .args(["explain", "--config", config.to_str().unwrap(), "--as", who, "GET", "/v1/models"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let text = explain("tailnet-user:Bob@Example.org");
    assert!(text.contains("bob@example.org (by tailnet)") && text.contains("allowed"), "{text}");
    let text = explain("tailnet-user:eve@example.com");
    assert!(text.contains("but it is to other users") && text.contains("tailnet_user = \"eve@example.com\""), "{text}");
    assert!(explain("tailnet-tag:tag:bot").contains("allowed"));
    assert!(!shim.log().iter().any(|l| l.contains(SECRET)));
}
