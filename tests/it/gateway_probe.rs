//! What the gateway is, as found out and said.

use crate::support::{Capture, SECRET, Shim, eventually, fake_gateway, people, scopeshim};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// A gateway that refuses all work until it is resumed.
fn suspended(resumed: &Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let resumed = resumed.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let works = head.starts_with(b"GET /healthz") || resumed.load(Ordering::Relaxed);
            let body = if works { "{\"ok\":true}" } else { "{\"error\":{\"code\":\"gateway_unavailable\"}}" };
            let status = if works { "200 OK" } else { "503 Service Unavailable" };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn a_suspended_gateway_is_named_until_it_is_resumed() {
    let resumed = Arc::new(AtomicBool::new(false));
    let shim = Shim::asking(suspended(&resumed), TOKEN, &people());
    eventually("the warning", || line(&shim, |l| l["code"] == "gateway-suspended").is_some());
    let is_suspended = || {
        let output = scopeshim().args(["status", "--json", "--config"]).arg(shim.config()).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["gateway_findings"]["state"]["answers"]["suspended"] == true
    };
    eventually("the status knows it", is_suspended);
    resumed.store(true, Ordering::Relaxed);
    eventually("it is asked again by itself", || !is_suspended());
}
