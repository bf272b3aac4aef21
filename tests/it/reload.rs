//! Law 11: a changed file comes into force at once, or changes nothing.

use crate::support::{READER, SECRET, Shim, WRITER, eventually, fake_gateway, people, scopeshim};
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const STREAM: &str = r#"{"stream":true}"#;

fn text(shim: &Shim) -> String {
    std::fs::read_to_string(shim.config()).unwrap()
}

/// Replaces the file the way editors do.
fn replace(shim: &Shim, text: &str) {
    let new = shim.dir.path().join("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, shim.config()).unwrap();
}

fn status(shim: &Shim, token: &str) -> u16 {
    shim.client().ask("GET /v1/models", token, &[], "").status
}

fn reload(shim: &Shim) -> (i32, String) {
    let output =
        scopeshim().arg("reload").arg("--socket").arg(shim.dir.path().join("state/admin.sock")).output().unwrap();
    let all = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(all).unwrap())
}

/// Takes the token `reader` out of a configuration.
fn without_reader(text: &str) -> String {
    text.replace("name = \"reader\"", "name = \"somebody-else\"")
        .replace(&crate::support::sha256(READER), &crate::support::sha256("x"))
}

#[test]
fn an_edit_is_in_force_at_once_however_it_is_saved() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let good = text(&shim);
    assert_eq!(status(&shim, READER), 200);
    std::fs::write(shim.config(), without_reader(&good)).unwrap();
    eventually("in place: the reader is out", || status(&shim, READER) == 401);
    replace(&shim, &good);
    eventually("renamed: the reader is in", || status(&shim, READER) == 200);
    std::fs::write(shim.config(), without_reader(&good)).unwrap();
    shim.signal(Signal::SIGHUP);
    eventually("the reader is out again", || status(&shim, READER) == 401);
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let good = text(&shim);
    for bad in [
        format!("{good}\n[[[broken"),
        good.replace("operator.read\"]", "operator.read\", \"two words\"]"),
        String::new(),
        without_reader(&good).replace("[gateway]", "[gatewya]"),
    ] {
        replace(&shim, &bad);
        let (code, message) = reload(&shim);
        assert_eq!(code, 78, "{message}");
        assert!(message.contains("stays in force") && message.contains("help"), "{message}");
        assert_eq!(status(&shim, READER), 200);
    }
    replace(&shim, &good);
    let (code, message) = reload(&shim);
    assert_eq!(code, 0, "{message}");
    assert!(message.contains("is in force"), "{message}");
}

#[test]
fn what_needs_a_restart_is_named_and_holds_nothing_else_up() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let changed = without_reader(&text(&shim)).replace("retry_for = \"2s\"", "retry_for = \"5s\"");
    replace(&shim, &changed);
    let (code, message) = reload(&shim);
    assert_eq!(code, 0);
    assert!(message.contains("[gateway] url, timeouts and probe") && message.contains("restart"), "{message}");
    assert_eq!(status(&shim, READER), 401);
}

#[test]
fn the_gateway_s_secret_is_read_again() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    assert_eq!(status(&shim, READER), 200);
    let secret = shim.dir.path().join("gateway.token");
    std::fs::write(&secret, "another-secret-of-the-gateway").unwrap();
    eventually("the new secret is sent", || {
        status(&shim, READER);
        gateway.seen().last().unwrap().headers["authorization"] == "Bearer another-secret-of-the-gateway"
    });
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, message) = reload(&shim);
    assert_eq!(code, 78);
    assert!(message.contains("every user of this machine"), "{message}");
}

#[test]
fn a_deleted_file_and_a_lost_permission_change_nothing() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let good = text(&shim);
    std::fs::remove_file(shim.config()).unwrap();
    let (code, message) = {
        let socket = shim.dir.path().join("state/admin.sock");
        let output = scopeshim().arg("reload").arg("--socket").arg(socket).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(code, 78);
    assert!(message.contains("cannot be read"), "{message}");
    assert_eq!(status(&shim, READER), 200);
    std::fs::write(shim.config(), without_reader(&good)).unwrap();
    eventually("the file is back", || status(&shim, READER) == 401);
}

#[test]
fn a_restart_with_a_broken_file_starts_from_the_last_good_one() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let mut shim = Shim::start(address, &people());
    let good = text(&shim);
    assert_eq!(status(&shim, READER), 200);
    shim.signal(Signal::SIGTERM);
    shim.wait(Duration::from_secs(5)).unwrap();
    std::fs::write(shim.config(), format!("{good}\n[[token\n")).unwrap();
    let dir = shim.take_dir();
    let shim = Shim::spawn(dir);
    assert_eq!(status(&shim, READER), 200);
    shim.says("starting from the last good one");
    // Mended, it is in force without another restart.
    std::fs::write(shim.config(), without_reader(&good)).unwrap();
    eventually("the mended file is in force", || status(&shim, READER) == 401);
}

#[test]
fn open_streams_are_judged_again() {
    let (_gateway, address) = fake_gateway(Duration::from_secs(3));
    let shim = Shim::start(address, &people());
    let open = |token: &str| {
        let mut client = shim.client();
        client.request("POST /v1/chat/completions", &[&format!("Authorization: Bearer {token}")], STREAM);
        assert!(client.head().starts_with("HTTP/1.1 200"));
        client.chunk();
        client
    };
    let (mut revoked, mut stays) = (open(WRITER), open(SECRET));
    // Narrowed below what the route needs.
    let narrowed = text(&shim).replace("[\"operator.read\", \"operator.write\"]", "[\"operator.read\"]");
    let begun = Instant::now();
    replace(&shim, &narrowed);
    assert!(revoked.closes_within(Duration::from_secs(2)), "the stream went on");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(!stays.closes_within(Duration::from_millis(500)), "another's stream was ended");
}

#[test]
fn a_stream_ends_when_its_token_expires() {
    let (_gateway, address) = fake_gateway(Duration::from_secs(20));
    let soon = jiff::Timestamp::now() + Duration::from_secs(2);
    let shim =
        Shim::start(address, &people().replace("name = \"writer\"", &format!("name = \"writer\"\nexpires = {soon}")));
    let mut client = shim.client();
    client.request("POST /v1/chat/completions", &[&format!("Authorization: Bearer {WRITER}")], STREAM);
    assert!(client.head().starts_with("HTTP/1.1 200"));
    assert!(client.closes_within(Duration::from_secs(4)));
    assert!(jiff::Timestamp::now() >= soon);
    eventually("it is logged", || shim.access().iter().any(|l| l["stream"] == true));
}

#[test]
fn a_stream_ends_when_a_new_policy_lets_its_token_expire_sooner() {
    let (_gateway, address) = fake_gateway(Duration::from_secs(20));
    let shim = Shim::start(address, &people());
    let mut client = shim.client();
    client.request("POST /v1/chat/completions", &[&format!("Authorization: Bearer {WRITER}")], STREAM);
    assert!(client.head().starts_with("HTTP/1.1 200"));
    let soon = jiff::Timestamp::now() + Duration::from_secs(2);
    replace(&shim, &text(&shim).replace("name = \"writer\"", &format!("name = \"writer\"\nexpires = {soon}")));
    assert!(!client.closes_within(Duration::from_millis(1200)), "it ended too soon");
    assert!(client.closes_within(Duration::from_secs(4)));
}

/// What `scopeshim reload` does, without a process.
fn ask_for_reload(shim: &Shim) -> String {
    let mut socket = std::os::unix::net::UnixStream::connect(shim.dir.path().join("state/admin.sock")).unwrap();
    std::io::Write::write_all(&mut socket, b"POST /reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    std::io::read_to_string(socket).unwrap()
}

/// Every request is judged by exactly one generation: a file alternates between two policies that
/// contradict each other in two ways; no answer may mix them, and none may fail.
#[test]
fn a_thousand_reloads_under_load_fail_no_request() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let one = text(&shim);
    let two = one.replace("scopes = [\"operator.read\"]", "scopes = [\"operator.read\", \"operator.approvals\"]");
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, count, wrong, address) = (stop.clone(), count.clone(), wrong.clone(), shim.address());
            std::thread::spawn(move || {
                let mut client = crate::support::Client::connect(address);
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.ask("GET /v1/models", READER, &[], "");
                    count.fetch_add(1, Ordering::Relaxed);
                    if answer.status != 200 {
                        wrong.lock().unwrap().push(answer);
                        return;
                    }
                }
            })
        })
        .collect();
    for i in 0..1000 {
        replace(&shim, if i % 2 == 0 { &two } else { &one });
        let verdict = ask_for_reload(&shim);
        assert!(verdict.starts_with("HTTP/1.1 200"), "{verdict}");
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert!(wrong.lock().unwrap().is_empty(), "{:?}", wrong.lock().unwrap().first());
    assert!(count.load(Ordering::Relaxed) > 1000);
    let allowed = ["operator.read", "operator.approvals,operator.read"];
    assert!(gateway.seen().iter().all(|s| allowed.contains(&s.headers["x-openclaw-scopes"].to_str().unwrap())));
}
