//! `init`: from an `openclaw.json` to a proxy that works.

use crate::support::{SECRET, Shim, fake_gateway, scopeshim};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

struct Output {
    code: i32,
    out: String,
    err: String,
}

fn init(dir: &Path, arguments: &[&str]) -> Output {
    let output = scopeshim()
        .arg("init")
        .args(["--openclaw-config".as_ref(), dir.join("openclaw.json").as_os_str()])
        .args(["--out".as_ref(), dir.join("out").as_os_str()])
        .args(arguments)
        .env("HOME", dir)
        .env_remove("OPENCLAW_GATEWAY_TOKEN")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Output { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn place(openclaw: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("openclaw.json"), openclaw).unwrap();
    dir
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn the_token(out: &str) -> String {
    out.lines().map(str::trim).find(|l| l.starts_with("scs_")).unwrap().to_owned()
}

#[test]
fn what_it_writes_works_unedited() {
    let (_, gateway) = fake_gateway(Duration::ZERO);
    let dir = place(&format!(
        "{{ meta: {{ lastTouchedVersion: '2026.3.28' }}, gateway: {{ port: {}, auth: {{ mode: 'token', token: '{SECRET}' }} }} }}",
        gateway.port()
    ));
    let done = init(dir.path(), &["--listen", "127.0.0.1:0", "--token-name", "open-webui"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let token = the_token(&done.out);
    for part in [
        "openclaw config set gateway.http.endpoints.chatCompletions.enabled true",
        "token, works as it is",
        "OPENAI_API_BASE_URL",
        "from openai import OpenAI",
        "import OpenAI from",
        "rest_command",
        "curl -H",
        "scopeshim doctor",
    ] {
        assert!(done.out.contains(part), "{part:?} is missing: {}", done.out);
    }
    let out = dir.path().join("out");
    let config = std::fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(!config.contains(&token) && !config.contains(SECRET) && !done.out.contains(SECRET));
    assert_eq!(std::fs::read_to_string(out.join("gateway.token")).unwrap(), SECRET);
    assert_eq!((mode(&out.join("gateway.token")), mode(&out.join("config.toml"))), (0o600, 0o640));
    let check =
        scopeshim().args(["check", "--deny-warnings", "--config"]).arg(out.join("config.toml")).output().unwrap();
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stderr));

    let run = tempfile::tempdir().unwrap();
    std::fs::rename(&out, run.path().join("moved")).unwrap();
    for name in ["config.toml", "gateway.token"] {
        std::fs::rename(run.path().join("moved").join(name), run.path().join(name)).unwrap();
    }
    let shim = Shim::spawn(run);
    assert_eq!(shim.client().ask("GET /v1/models", &token, &[], "").status, 200);
    assert_eq!(shim.client().ask("GET /v1/models", SECRET, &[], "").status, 200, "old clients go on working");
}

#[test]
fn in_a_packages_directory_the_service_can_read_what_it_writes() {
    let dir = place(&format!("{{ gateway: {{ auth: {{ mode: 'token', token: '{SECRET}' }} }} }}"));
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::set_permissions(&out, std::os::unix::fs::PermissionsExt::from_mode(0o2750)).unwrap();
    let done = init(dir.path(), &[]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("systemctl enable --now scopeshim"), "{}", done.out);
    assert_eq!((mode(&out.join("gateway.token")), mode(&out.join("config.toml"))), (0o640, 0o640));
    let config = std::fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(config.contains("socket = \"/run/scopeshim/admin.sock\""), "{config}");
}

#[test]
fn nothing_is_written_over_without_being_told() {
    let dir = place(&format!("{{ gateway: {{ auth: {{ mode: 'password', password: '{SECRET}' }} }} }}"));
    assert_eq!(init(dir.path(), &[]).code, 0);
    let config = dir.path().join("out/config.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    let again = init(dir.path(), &["--yes"]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("--force"), "{}", again.err);
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
    assert_eq!(init(dir.path(), &["--force"]).code, 0);
    assert_ne!(std::fs::read_to_string(&config).unwrap(), before, "a new token");
}

#[test]
fn a_dry_run_writes_nothing() {
    let dir = place(&format!("{{ gateway: {{ auth: {{ mode: 'token', token: '{SECRET}' }} }} }}"));
    let done = init(dir.path(), &["--dry-run"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("[gateway]") && !done.out.contains(SECRET), "{}", done.out);
    assert!(!dir.path().join("out").exists());
}

#[test]
fn each_mode_gets_its_configuration() {
    for (auth, part, patch) in [
        ("{ mode: 'none' }", "auth = { kind = \"none\" }", true),
        (
            "{ mode: 'trusted-proxy', trustedProxy: { userHeader: 'X-Home-User', requiredHeaders: ['x-proxy'] } }",
            "user_header = \"x-home-user\", required_headers = { \"x-proxy\" = \"scopeshim\" } }",
            false,
        ),
    ] {
        let dir = place(&format!("{{ gateway: {{ bind: 'lan', auth: {auth} }} }}"));
        let done = init(dir.path(), &[]);
        assert_eq!(done.code, 0, "{}", done.err);
        let config = std::fs::read_to_string(dir.path().join("out/config.toml")).unwrap();
        assert!(config.contains(part) && !config.contains("[gateway_secret]"), "{config}");
        assert_eq!(done.out.contains("works as it is"), patch, "{}", done.out);
        assert!(done.out.contains("docs/trusted-proxy.md"), "{}", done.out);
        assert!(done.out.contains("openclaw config set gateway.bind loopback"), "{}", done.out);
    }
}

#[test]
fn what_keeps_agents_and_sessions_apart_is_said_and_the_default_agent_is_taken_over() {
    let gateway = "gateway: { auth: { mode: 'none' } }";
    let dir =
        place(&format!("{{ {gateway}, agents: {{ list: [{{ id: 'main' }}, {{ id: 'home', default: true }}] }} }}"));
    let done = init(dir.path(), &[]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("2 agents: main, home"), "{}", done.out);
    assert!(done.out.contains("openclaw config set tools.sessions.visibility self"), "{}", done.out);
    let config = std::fs::read_to_string(dir.path().join("out/config.toml")).unwrap();
    assert!(config.contains("default_agent = \"home\""), "{config}");
    let dir = place(&format!("{{ {gateway}, tools: {{ sessions: {{ visibility: 'self' }} }} }}"));
    let done = init(dir.path(), &[]);
    assert!(!done.out.contains("visibility"), "{}", done.out);
    let config = std::fs::read_to_string(dir.path().join("out/config.toml")).unwrap();
    assert!(!config.contains("default_agent"), "{config}");
}

#[test]
fn what_it_cannot_use_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let missing = init(dir.path(), &[]);
    assert_eq!(missing.code, 66);
    assert!(missing.err.contains("openclaw.json") && missing.err.contains("--openclaw-config"), "{}", missing.err);
    let dir = place("{ gateway: { auth: { token: '${NOT_SET_ANYWHERE}' } } }");
    let unset = init(dir.path(), &[]);
    assert_eq!(unset.code, 78);
    assert!(unset.err.contains("NOT_SET_ANYWHERE"), "{}", unset.err);
    let dir = place(&format!("{{ gateway: {{ auth: {{ mode: 'token', token: '{SECRET}' }} }} }}"));
    let bad = init(dir.path(), &["--listen", "nowhere"]);
    assert_eq!(bad.code, 78);
    assert!(bad.err.contains("nowhere") && !dir.path().join("out").exists(), "{}", bad.err);
    assert_eq!(init(dir.path(), &["--token-name", "a b"]).code, 64);
}

#[test]
fn a_port_of_the_gateway_and_a_taken_one_are_named() {
    let dir = place(&format!(
        "{{ gateway: {{ port: 18789, auth: {{ mode: 'token', token: '{SECRET}' }} }}, mcp: {{ apps: {{ enabled: true }} }} }}"
    ));
    let done = init(dir.path(), &["--listen", "127.0.0.1:18790"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("port 18790 is the gateway's") && done.err.contains("does not start"), "{}", done.err);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let done = init(dir.path(), &["--force", "--listen", &address]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains(&format!("something listens on {address} already")), "{}", done.err);
    let done = init(dir.path(), &["--force", "--listen", "127.0.0.1:0"]);
    assert!(!done.err.contains("warning"), "{}", done.err);
}
