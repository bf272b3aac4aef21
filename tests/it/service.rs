//! Under a service manager: readiness, watchdog, inherited sockets, and a drain that refuses at once.

use crate::support::{READER, SECRET, Shim, people, scopeshim, stand_in};
use nix::sys::signal::Signal;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn heard(socket: &UnixDatagram, part: &str) -> bool {
    let begun = Instant::now();
    let mut bytes = [0; 4096];
    while begun.elapsed() < Duration::from_secs(10) {
        if let Ok(n) = socket.recv(&mut bytes)
            && String::from_utf8_lossy(&bytes[..n]).contains(part)
        {
            return true;
        }
    }
    false
}

#[test]
fn ready_is_said_once_it_serves_and_the_rest_when_it_happens() {
    let (_gateway, address) = stand_in(Duration::ZERO);
    let files = Shim::start(address, &people());
    let text = std::fs::read_to_string(files.config()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let state = dir.path().join("state");
    let text = text
        .replace("127.0.0.1:0", &port.to_string())
        .replace(&files.dir.path().join("state").display().to_string(), &state.display().to_string());
    std::fs::copy(files.dir.path().join("gateway.token"), dir.path().join("gateway.token")).unwrap();
    std::fs::write(&config, &text).unwrap();
    let notify = dir.path().join("notify");
    let socket = UnixDatagram::bind(&notify).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut child = scopeshim()
        .args(["run", "--config"])
        .arg(&config)
        .env("NOTIFY_SOCKET", &notify)
        .env("WATCHDOG_USEC", "400000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(heard(&socket, "READY=1"));
    assert_eq!(crate::support::Client::connect(port).ask("GET /v1/models", READER, &[], "").status, 200);
    assert!(heard(&socket, "WATCHDOG=1"));
    std::fs::write(&config, text + "# changed\n").unwrap();
    assert!(heard(&socket, "RELOADING=1"));
    assert!(heard(&socket, "policy 2 is in force"));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert!(heard(&socket, "STOPPING=1"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_drain_refuses_new_requests_at_once_and_finishes_the_open_ones() {
    let (_gateway, address) = stand_in(Duration::from_millis(400));
    let shim = Shim::start(address, &people());
    let mut streaming = shim.client();
    streaming.request("POST /v1/chat/completions", &[&format!("Authorization: Bearer {SECRET}")], r#"{"stream":true}"#);
    streaming.head();
    // A request whose head is on its way when the end is announced.
    let mut late = shim.client();
    late.send("GET /v1/models HTTP/1.1\r\nHost: x\r\n");
    std::thread::sleep(Duration::from_millis(50));
    shim.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(10));
    late.send(format!("Authorization: Bearer {READER}\r\n\r\n"));
    let answer = late.rest();
    assert!(
        answer.is_empty()
            || (answer.starts_with("HTTP/1.1 503") && answer.to_lowercase().contains("connection: close")),
        "{answer}"
    );
    let mut rest = String::new();
    while let Some(chunk) = streaming.chunk() {
        rest.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
}

#[test]
fn a_socket_of_the_service_manager_is_taken_over() {
    let tool = "systemd-socket-activate";
    if !std::process::Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "{tool} is missing");
        println!("skipped: {tool} is missing");
        return;
    }
    let (_gateway, address) = stand_in(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = std::fs::read_to_string(shim.config()).unwrap().replace("127.0.0.1:0", &port.to_string());
    let config = shim.dir.path().join("activated.toml");
    std::fs::write(&config, text.replace("/state\"", "/state2\"")).unwrap();
    let mut child = std::process::Command::new(tool)
        .arg(format!("--listen={port}"))
        .arg(env!("CARGO_BIN_EXE_scopeshim"))
        .args(["run", "--config"])
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The first connection starts the process and is served by it.
    let begun = Instant::now();
    let answer = loop {
        if std::net::TcpStream::connect(port).is_ok() {
            break crate::support::Client::connect(port).ask("GET /v1/models", READER, &[], "");
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(10));
    };
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    let _ = child.wait();
    assert_eq!(answer.status, 200);
}
