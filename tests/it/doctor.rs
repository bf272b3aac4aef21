//! `doctor`: each break in the chain is found at its stage.

use crate::support::{READER, Release, SECRET, Shim, WsGateway, fake_gateway, people, scopeshim};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

fn doctor(config: &Path, token: &str, arguments: &[&str]) -> (i32, Value) {
    let output = scopeshim()
        .args(["doctor", "--json", "--config"])
        .arg(config)
        .args(arguments)
        .env("SCOPESHIM_TOKEN", token)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(SECRET) && !text.contains(READER), "a secret is printed: {text}");
    let error = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text} {error}")))
}

fn stage<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["stage"] == name)
        .unwrap_or_else(|| panic!("{name}: {report}"))
}

/// The codes of all findings, in their order.
fn codes(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    let findings = checks.flat_map(|c| c["findings"].as_array().unwrap());
    findings.map(|f| f["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_chain_that_works_is_healthy() {
    let (gateway, address) = fake_gateway(Duration::from_millis(20));
    // The fake gateway serves no sockets.
    let shim = Shim::start(address, &format!("{}\n[websocket]\nenabled = false\n", people()));
    let config = pinned(&shim);
    let (code, report) = doctor(&config, "", &["--chat"]);
    assert_eq!((code, &report["healthy"]), (0, &Value::Bool(true)), "{report:#}");
    for name in [
        "config",
        "listener",
        "process",
        "identity",
        "gateway",
        "credential",
        "endpoints",
        "request",
        "narrowing",
        "forgery",
        "way-around",
        "stream",
    ] {
        assert_eq!(stage(&report, name)["verdict"], "good", "{name}: {report:#}");
    }
    assert!(stage(&report, "narrowing")["said"].as_str().unwrap().contains("by the gateway too"));
    assert!(gateway.seen().iter().all(|s| s.method == "GET" || s.target == "/v1/chat/completions"));
    let (code, report) = doctor(&config, READER, &[]);
    assert_eq!(code, 0, "{report:#}");
    assert!(stage(&report, "request")["said"].as_str().unwrap().contains("as reader: 200"), "{report:#}");
    assert_eq!(stage(&report, "stream")["verdict"], "not_tested");
    assert_eq!(stage(&report, "websocket")["verdict"], "not_tested");
}

#[test]
fn what_could_not_be_tested_is_not_healthy() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let tables = people().replace("[gateway_secret]\n", "");
    let shim = Shim::start(address, &format!("{tables}\n[websocket]\nenabled = false\n"));
    let (code, report) = doctor(&pinned(&shim), "", &[]);
    assert_eq!((code, &report["healthy"]), (2, &Value::Bool(false)), "{report:#}");
    assert_eq!(stage(&report, "request")["verdict"], "skipped");
    let said = stage(&report, "request")["said"].as_str().unwrap();
    assert!(said.contains("SCOPESHIM_TOKEN"), "{said}");
}

#[test]
fn a_session_is_tried_for_each_principal_with_all_it_holds() {
    let gateway = WsGateway::start(Release::Modern);
    let shim = Shim::start(gateway.address(), &people());
    let status = |name: &str| {
        let (_, report) = doctor(&pinned(&shim), READER, &[]);
        stage(&report, name).clone()
    };
    // This gateway serves WebSockets alone, so what is said of the rest is of no interest.
    let websocket = status("websocket");
    assert_ne!(websocket["verdict"], "skipped", "{websocket:#}");
    let asked = gateway.connects();
    let scopes = asked.iter().map(|(_, params)| params["scopes"].as_array().unwrap().len()).max();
    assert!(scopes.is_some_and(|n| n > 1), "only what `status` needs was asked for: {asked:?}");
}

#[test]
fn each_break_is_found_at_its_stage() {
    let (_, address) = fake_gateway(Duration::ZERO);
    // The fake gateway serves no sockets.
    let mut shim = Shim::start(address, &format!("{}\n[websocket]\nenabled = false\n", people()));
    let config = pinned(&shim);

    let (code, report) = doctor(&config, "a-token-nobody-knows", &[]);
    assert_eq!((code, codes(&report)), (1, vec!["token-refused".to_owned()]), "{report:#}");
    assert_eq!(stage(&report, "request")["verdict"], "skipped");

    // The file knows a token that the process does not: the port is not the one it was started with, so
    // the process cannot take the file over.
    let text = std::fs::read_to_string(&config).unwrap();
    let other = "token-of-somebody-else-0123456789abcd";
    let table = format!(
        "\n[[token]]\nname = \"other\"\nsha256 = \"{}\"\nscopes = [\"operator.read\"]\n",
        crate::support::sha256(other)
    );
    let changed = shim.dir.path().join("changed.toml");
    std::fs::write(&changed, text.clone() + &table).unwrap();
    let (code, report) = doctor(&changed, other, &[]);
    assert_eq!(code, 1);
    assert!(codes(&report).contains(&"caller-unknown-to-process".to_owned()), "{report:#}");

    // Another secret than the gateway's.
    let wrong = shim.dir.path().join("wrong.toml");
    std::fs::write(&wrong, text.replace("file = \"gateway.token\"", "env = \"PATH\"")).unwrap();
    let (code, report) = doctor(&wrong, READER, &[]);
    assert_eq!(code, 1);
    assert_eq!(stage(&report, "credential")["findings"][0]["code"], "gateway-credential", "{report:#}");

    shim.signal(nix::sys::signal::Signal::SIGTERM);
    shim.wait(Duration::from_secs(10)).unwrap();
    let (code, report) = doctor(&config, READER, &[]);
    assert_eq!(code, 1);
    assert_eq!(codes(&report), ["listener-silent"], "one cause, one finding: {report:#}");
    assert!(stage(&report, "listener")["findings"][0]["change"].as_str().unwrap().contains("scopeshim run"));

    let (code, report) = doctor(Path::new("/nonexistent.toml"), "", &[]);
    assert_eq!((code, codes(&report)), (1, vec!["config".to_owned()]));
}

#[test]
fn a_gateway_that_is_away_is_said_once_with_its_mend() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let shim = Shim::start(nobody, &people());
    let (code, report) = doctor(&pinned(&shim), READER, &[]);
    assert_eq!(code, 1);
    let finding = &stage(&report, "gateway")["findings"][0];
    assert_eq!((&finding["code"], &finding["side"]), (&"gateway-unreachable".into(), &"gateway".into()), "{report:#}");
    assert_eq!(stage(&report, "credential")["verdict"], "skipped");
    assert_eq!(stage(&report, "request")["verdict"], "skipped", "{report:#}");
}

/// The configuration with the port that the kernel chose, for somebody who asks from outside.
fn pinned(shim: &Shim) -> std::path::PathBuf {
    let text = std::fs::read_to_string(shim.config()).unwrap();
    let path = shim.dir.path().join("pinned.toml");
    std::fs::write(&path, text.replace("127.0.0.1:0", &shim.address().to_string())).unwrap();
    path
}

/// `doctor` beside a gateway with this configuration.
fn doctor_beside(shim: &Shim, openclaw: &str) -> Value {
    let path = shim.dir.path().join("openclaw.json");
    std::fs::write(&path, openclaw).unwrap();
    let output = scopeshim()
        .args(["doctor", "--json", "--config"])
        .arg(pinned(shim))
        .env("OPENCLAW_CONFIG_PATH", &path)
        .env_remove("OPENCLAW_GATEWAY_PORT")
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_the_gateway_must_do_for_rules_about_sessions_is_said() {
    let (_, address) = fake_gateway(Duration::ZERO);
    let rules = "[[grant]]\nto = { token = \"reader\" }\nsession_key = \"prefix\"\nagent_id = { allow = [\"home\"] }\n";
    let shim = Shim::start(address, &format!("{}\n{rules}", people()));
    let openclaw = |more: &str, apps: bool| {
        let port = address.port();
        let sandbox = shim.address().port();
        format!(
            "{{ gateway: {{ port: {port}, auth: {{ mode: 'none' }} }}, agents: {{ entries: {{ main: {{}}, other: {{}} }} }}, {more}
              mcp: {{ apps: {{ enabled: {apps}, sandboxPort: {sandbox} }} }} }}"
        )
    };
    let report = doctor_beside(&shim, &openclaw("", true));
    let found = codes(&report);
    for code in ["isolation-visibility", "isolation-agent", "gateway-port"] {
        assert!(found.iter().any(|c| c == code), "{code}: {report:#}");
    }
    assert_eq!(stage(&report, "ports")["findings"][0]["severity"], "error", "{report:#}");
    let report = doctor_beside(&shim, &openclaw("tools: { sessions: { visibility: 'self' } },", false));
    assert!(!codes(&report).iter().any(|c| c == "isolation-visibility"), "{report:#}");
    assert_eq!(stage(&report, "ports")["findings"][0]["severity"], "warning", "{report:#}");

    let shim = Shim::start(address, &people());
    assert_eq!(stage(&doctor_beside(&shim, "{}"), "isolation")["verdict"], "not_tested");
}
