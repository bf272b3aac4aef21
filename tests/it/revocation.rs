//! What was revoked is gone: when the command says so, through every reload, and across a restart.

use crate::support::{READER, SECRET, Shim, WRITER, eventually, fake_gateway, people, scopeshim, write_private};
use std::path::Path;
use std::time::Duration;

/// A test of the policy's own that expects the reader.
const EXPECTS_READER: &str = "\n[[test]]\nname = \"the reader reads\"\nas = { token = \"reader\" }\nrequest = \"GET /v1/models\"\nexpect = \"allow\"\n";

fn run(arguments: &[&str], config: &Path) -> (i32, String) {
    let output = scopeshim().args(arguments).arg("--config").arg(config).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn revoke(shim: &Shim, more: &[&str]) -> (i32, String) {
    run(&[&["token", "revoke", "reader"], more].concat(), &shim.config())
}

fn status(shim: &Shim, token: &str) -> u16 {
    shim.client().ask("GET /v1/models", token, &[], "").status
}

fn text(shim: &Shim) -> String {
    std::fs::read_to_string(shim.config()).unwrap()
}

/// Writes the file and has it judged; returns the exit code and what was said.
fn reload(shim: &Shim, text: &str) -> (i32, String) {
    std::fs::write(shim.config(), text).unwrap();
    // A broken file may not say where the process is asked.
    run(&["reload", "--socket", shim.dir.path().join("state/admin.sock").to_str().unwrap()], &shim.config())
}

fn without_reader(text: &str) -> String {
    let (before, rest) = text.split_once("[[token]]\nname = \"reader\"").unwrap();
    format!("{before}{}", &rest[rest.find("[[token]]").unwrap()..])
}

fn in_status(shim: &Shim, pointer: &str) -> serde_json::Value {
    let (_, said) = run(&["status", "--json"], &shim.config());
    serde_json::from_str::<serde_json::Value>(&said).unwrap().pointer(pointer).unwrap().clone()
}

#[test]
fn a_revocation_is_in_force_when_the_command_returns() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let (code, said) = revoke(&shim, &[]);
    assert_eq!((code, status(&shim, READER)), (0, 401), "{said}");
    assert!(said.contains("`reader` is revoked") && said.contains("is in force"), "{said}");
    assert_eq!(status(&shim, WRITER), 200);
    let shim = shim.restart();
    assert_eq!((status(&shim, READER), status(&shim, WRITER)), (401, 200));
}

#[test]
fn a_revocation_is_in_force_although_a_restart_only_key_is_pending() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    std::fs::write(shim.config(), text(&shim).replace("[server]", "[server]\nthreads = 3")).unwrap();
    let (code, said) = revoke(&shim, &[]);
    assert_eq!((code, status(&shim, READER)), (0, 401), "{said}");
    assert!(said.contains("[server] threads") && said.contains("restart"), "{said}");
}

#[test]
fn a_revocation_that_the_policy_s_own_test_forbids_fails_loudly_and_is_possible_by_force() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &format!("{}{EXPECTS_READER}", people()));
    let before = text(&shim);
    let (code, said) = revoke(&shim, &[]);
    assert_eq!(code, 1, "{said}");
    for part in ["`reader` is NOT revoked", "the reader reads", "nothing was written", "--force"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!((text(&shim), status(&shim, READER)), (before, 200));
    let (code, said) = revoke(&shim, &["--force"]);
    assert_eq!((code, status(&shim, READER)), (0, 401), "{said}");
    assert!(said.contains("the reader reads") && !text(&shim).contains("[[test]]"), "{said}");
    let shim = shim.restart();
    assert_eq!((status(&shim, READER), status(&shim, WRITER)), (401, 200));
}

#[test]
fn a_token_revoked_while_the_file_is_refused_for_another_reason_is_gone_at_once_and_for_good() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let good = text(&shim);
    let broken = format!("{good}\n[gatewya]\nurl = 3\n");
    assert_eq!(reload(&shim, &broken).0, 78);
    let (code, said) = revoke(&shim, &[]);
    assert_eq!((code, status(&shim, READER)), (0, 401), "{said}");
    assert!(said.contains("`reader` is revoked") && said.contains("gatewya") && said.contains("warning"), "{said}");
    // Every other edit is refused while the file is wrong.
    assert_eq!(run(&["token", "rotate", "writer"], &shim.config()).0, 1);
    let shim = shim.restart();
    assert_eq!((status(&shim, READER), status(&shim, WRITER)), (401, 200), "{:?}", shim.log());
    // Not even if the file can no longer be read at all.
    std::fs::write(shim.config(), format!("{good}\n[[[")).unwrap();
    let shim = shim.restart();
    assert_eq!((status(&shim, READER), status(&shim, WRITER)), (401, 200), "{:?}", shim.log());
    // A file that is right says itself who is let in.
    assert_eq!(reload(&shim, &good).0, 0);
    assert_eq!(status(&shim, READER), 200);
}

#[test]
fn a_token_revoked_by_hand_in_a_refused_file_is_named_and_not_lent_by_the_last_good_one() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let good = text(&shim);
    let refusals = [
        without_reader(&good) + EXPECTS_READER,
        without_reader(&good).replace("[gateway]", "[gatewya]"),
        good.replace("name = \"reader\"", "name = \"reader\"\nexpires = 2026-01-01T00:00:00Z\ncolour = 3"),
        good.replace(&crate::support::sha256(READER), &crate::support::sha256("rotated")) + "\n[colour]\n",
    ];
    let mut shim = shim;
    for refused in refusals {
        assert_eq!(reload(&shim, &good).0, 0);
        // A refused file changes nothing; what it would have changed is said.
        let (code, said) = reload(&shim, &refused);
        assert_eq!((code, status(&shim, READER)), (78, 200), "{said}");
        assert!(said.contains("does not list reader") && said.contains("token revoke"), "{said}");
        assert_eq!(in_status(&shim, "/policy/still_accepted"), serde_json::json!(["reader"]));
        shim = shim.restart();
        assert_eq!((status(&shim, READER), status(&shim, WRITER)), (401, 200), "{:?}", shim.log());
        shim.says("not accepted any more, because they were revoked since: reader");
        assert_eq!(in_status(&shim, "/policy/withheld"), serde_json::json!(["reader"]));
        // The last file that could be read counts, whatever becomes of it.
        std::fs::write(shim.config(), "[[[").unwrap();
        shim = restart_by_state(shim);
        assert_eq!((status(&shim, READER), status(&shim, WRITER)), (401, 200), "{:?}", shim.log());
    }
}

/// A restart by a file that does not even say where the state is.
fn restart_by_state(mut shim: Shim) -> Shim {
    shim.signal(nix::sys::signal::Signal::SIGKILL);
    shim.wait(Duration::from_secs(5)).unwrap();
    let dir = shim.take_dir();
    let state = dir.path().join("state");
    Shim::spawn_with(dir, "config.toml", &[("STATE_DIRECTORY", &state)])
}

#[test]
fn a_file_cut_short_locks_nobody_out() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let mut shim = Shim::start(address, &people());
    let good = text(&shim);
    for cut in [String::new(), good[..good.find("[gateway]").unwrap() - 12].to_owned(), good.replace(']', "")] {
        assert_eq!(reload(&shim, &cut).0, 78, "{cut}");
        shim = restart_by_state(shim);
        assert_eq!((status(&shim, READER), status(&shim, WRITER)), (200, 200), "{cut}: {:?}", shim.log());
    }
}

#[test]
fn a_token_that_the_refused_file_no_longer_lists_can_be_revoked_by_command() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let good = text(&shim);
    assert_eq!(reload(&shim, &(without_reader(&good) + EXPECTS_READER)).0, 78);
    assert_eq!(status(&shim, READER), 200);
    let (code, said) = revoke(&shim, &[]);
    assert_eq!((code, status(&shim, READER)), (0, 401), "{said}");
    assert_eq!(in_status(&shim, "/policy/still_accepted"), serde_json::json!([]));
    assert_eq!(revoke(&shim, &[]).0, 1, "nobody of that name is left");
    // Nor by a file that is no TOML: the process ends the token, and the person must see to the file.
    std::fs::write(shim.config(), format!("{good}\n[[[")).unwrap();
    let (code, said) = run(&["token", "revoke", "writer"], &shim.config());
    assert_eq!((code, status(&shim, WRITER)), (1, 401), "{said}");
    assert!(said.contains("is not valid TOML") && said.contains("remove its table"), "{said}");
}

#[test]
fn an_edit_without_a_process_counts_from_the_next_start_and_says_so() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let mut shim = Shim::start(address, &people());
    shim.signal(nix::sys::signal::Signal::SIGTERM);
    shim.wait(Duration::from_secs(5)).unwrap();
    let (code, said) = revoke(&shim, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("no process runs") && said.contains("at the next start"), "{said}");
    let (code, said) = run(&["token", "new", "phone", "--write"], &shim.config());
    assert!(code == 0 && said.contains("no process runs"), "{said}");
    let shim = Shim::spawn(shim.take_dir());
    assert_eq!((status(&shim, READER), status(&shim, WRITER)), (401, 200));
}

#[test]
fn an_edit_that_nobody_confirms_is_no_success() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    // Somebody answers, and hangs up.
    let path = shim.dir.path().join("mute.sock");
    let mute = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || mute.incoming().for_each(drop));
    let socket = path.to_str().unwrap();
    let (code, said) = revoke(&shim, &["--socket", socket]);
    assert!(code == 69 && said.contains("unknown"), "{code} {said}");
    let (code, said) = run(&["token", "rotate", "writer", "--socket", socket], &shim.config());
    assert!(code == 69 && said.contains("unknown"), "{code} {said}");
    // Another process answers, which runs by another file.
    let other = Shim::start(address, &people());
    let socket = other.dir.path().join("state/admin.sock");
    let (code, said) = run(&["token", "new", "phone", "--write", "--socket", socket.to_str().unwrap()], &shim.config());
    assert!(code == 69 && said.contains("uses "), "{code} {said}");
}

#[test]
fn the_process_is_found_although_the_file_names_another_socket() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let moved = format!("{}\n[admin]\nsocket = \"{}\"\n", text(&shim), shim.dir.path().join("other.sock").display());
    std::fs::write(shim.config(), moved).unwrap();
    let (code, said) = revoke(&shim, &[]);
    assert_eq!((code, status(&shim, READER)), (0, 401), "{said}");
    assert!(said.contains("[admin]"), "{said}");
}

#[test]
fn an_edit_is_judged_by_the_policy_s_own_tests_before_it_is_written() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let failing = "\n[[test]]\nname = \"nobody is a phone\"\nas = { token = \"phone\" }\nrequest = \"GET /v1/models\"\nexpect = \"deny\"\n";
    let shim = Shim::start(address, &format!("{}{failing}", people()));
    let before = text(&shim);
    let (code, said) = run(&["token", "new", "phone", "--write"], &shim.config());
    assert!(code == 1 && said.contains("nobody is a phone") && said.contains("nothing was written"), "{code} {said}");
    assert_eq!(text(&shim), before);
}

#[test]
fn live_tables_come_into_force_and_the_key_that_waits_is_named_everywhere() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let good = text(&shim);
    let (code, said) = reload(&shim, &without_reader(&good).replace("[server]", "[server]\nthreads = 3"));
    assert!(code == 0 && said.contains("need a restart") && said.contains("[server] threads"), "{said}");
    assert_eq!((status(&shim, READER), status(&shim, WRITER)), (401, 200));
    assert_eq!(in_status(&shim, "/policy/pending_restart"), serde_json::json!(["[server] threads"]));
    let (code, said) = run(&["status"], &shim.config());
    assert!(code == 1 && said.contains("changes of [server] threads need a restart"), "{said}");
    eventually("it is logged", || shim.log().iter().any(|l| l.contains("[server] threads") && l.contains("WARN")));
    assert_eq!(metric(&shim, "scopeshim_config_restart_pending"), "1");
    // Taken back, nothing waits.
    assert_eq!(reload(&shim, &good).0, 0);
    assert_eq!(in_status(&shim, "/policy/pending_restart"), serde_json::json!([]));
    assert_eq!(metric(&shim, "scopeshim_config_restart_pending"), "0");
    // Another gateway's secret waits with its address: it is not for the one that is asked until then.
    write_private(&shim.dir.path().join("other.token"), "the-secret-of-another-gateway-01234");
    let other = without_reader(&good).replace(&address.to_string(), "127.0.0.9:9");
    let (code, said) = reload(&shim, &other.replace("gateway.token", "other.token"));
    assert!(code == 0 && said.contains("[gateway] url") && said.contains("[gateway] auth"), "{said}");
    assert_eq!((status(&shim, READER), status(&shim, WRITER), status(&shim, SECRET)), (401, 200, 200));
    assert!(gateway.seen().iter().all(|s| s.headers["authorization"] == format!("Bearer {SECRET}")));
}

fn metric(shim: &Shim, name: &str) -> String {
    let mut socket = std::os::unix::net::UnixStream::connect(shim.dir.path().join("state/admin.sock")).unwrap();
    std::io::Write::write_all(&mut socket, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let all = std::io::read_to_string(socket).unwrap();
    all.lines().find_map(|l| l.strip_prefix(&format!("{name} "))).unwrap().to_owned()
}
