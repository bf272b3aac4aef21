//! What the gateway is, as found out and said.

use crate::support::{Capture, SECRET, Shim, eventually, fake_gateway, people, scopeshim};
use serde_json::Value;
use std::time::Duration;

const TOKEN: &str = "kind = \"token\", file = \"gateway.token\"";

fn line(shim: &Shim, fits: impl Fn(&Value) -> bool) -> Option<Value> {
    shim.log().iter().filter_map(|l| serde_json::from_str(l).ok()).find(|l| fits(l))
}

#[test]
fn a_gateway_is_asked_once_and_what_it_does_is_said() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::asking(address, TOKEN, &people());
    eventually("it is known", || line(&shim, |l| l["message"] == "the gateway is known").is_some());
    let known = line(&shim, |l| l["message"] == "the gateway is known").unwrap();
    for (name, value) in [
        ("endpoints", true),
        ("credential_accepted", true),
        ("enforces_narrowed", true),
        ("enforces_empty", true),
        ("absent_means_all", false),
        ("refuses_forwarded", false),
    ] {
        assert_eq!(known[name], value, "{name}: {known}");
    }
    assert!(gateway.seen().iter().all(|s| s.method == http::Method::GET));
    assert!(!shim.log().concat().contains(SECRET));
}

#[test]
fn a_gateway_that_ignores_narrowed_scopes_is_warned_of() {
    // It answers everything with 200 and an object.
    let capture = Capture::start();
    let shim = Shim::asking(capture.address(), TOKEN, &people());
    eventually("the warning", || line(&shim, |l| l["code"] == "mode-cannot-narrow").is_some());
    let warning = line(&shim, |l| l["code"] == "mode-cannot-narrow").unwrap();
    assert_eq!(warning["level"], "WARN");
    eventually("the status knows it", || {
        let output = scopeshim().args(["status", "--json", "--config"]).arg(shim.config()).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["gateway_findings"]["state"]["answers"]["enforces_narrowed"] == false
            && status["advice"].as_array().unwrap().iter().any(|a| a.as_str().unwrap().contains("trusted-proxy"))
    });
    assert!(warning["change"].as_str().unwrap().contains("trusted-proxy"), "{warning}");
}

#[test]
fn a_wrong_secret_is_said_with_its_mend() {
    let (_, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::asking(address, "kind = \"password\", env = \"PATH\"", &people());
    eventually("the warning", || line(&shim, |l| l["code"] == "gateway-credential").is_some());
    let warning = line(&shim, |l| l["code"] == "gateway-credential").unwrap();
    assert!(warning["change"].as_str().unwrap().contains("`gateway.auth` of its openclaw.json"), "{warning}");
}
