//! Under a service manager: readiness, watchdog, inherited sockets, and a drain that refuses at once.

use crate::support::signer::{HMAC_SECRET, Signer, claims};
use crate::support::{
    ISS, READER, Release, SECRET, Shim, WsClient, WsGateway, eventually, fake_gateway, people, scopeshim, write_private,
};
use nix::sys::signal::Signal;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
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
    let (_gateway, address) = fake_gateway(Duration::ZERO);
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
fn a_drain_refuses_further_requests_and_finishes_the_open_ones() {
    let (_gateway, address) = fake_gateway(Duration::from_millis(400));
    let shim = Shim::start(address, &people());
    let mut streaming = shim.client();
    streaming.request("POST /v1/chat/completions", &[&format!("Authorization: Bearer {SECRET}")], r#"{"stream":true}"#);
    streaming.head();
    // A further request on an open connection, its head on its way when the end is announced.
    let mut late = shim.client();
    assert_eq!(late.ask("GET /v1/models", READER, &[], "").status, 200);
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
fn who_connected_before_the_stop_is_served_once_and_who_says_nothing_holds_nobody_up() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let mut shim = Shim::start(address, &people());
    let _silent = shim.client();
    let (mut slow, mut half) = (shim.client(), shim.client());
    half.send("GET /v1/models HTTP/1.1\r\nHost: x\r\n");
    // All three are accepted.
    assert_eq!(shim.client().ask("GET /v1/models", READER, &[], "").status, 200);
    let begun = Instant::now();
    shim.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(100));
    half.send(format!("Authorization: Bearer {READER}\r\n\r\n"));
    slow.request("GET /v1/models", &[&format!("Authorization: Bearer {READER}")], "");
    for (name, client) in [("half", &mut half), ("slow", &mut slow)] {
        let answer = client.rest().to_lowercase();
        assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{name}: {answer:?}");
    }
    assert_eq!(shim.wait(Duration::from_secs(5)).and_then(|s| s.code()), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn a_socket_of_the_service_manager_is_taken_over() {
    let tool = "systemd-socket-activate";
    if !std::process::Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "{tool} is missing");
        println!("skipped: {tool} is missing");
        return;
    }
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = std::fs::read_to_string(shim.config()).unwrap().replace("127.0.0.1:0", &port.to_string());
    let config = shim.dir.path().join("activated.toml");
    std::fs::write(&config, text.replace("/state\"", "/state2\"")).unwrap();
    let mut child = std::process::Command::new(tool)
        .arg(format!("--listen={port}"))
        .arg(crate::support::program())
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

#[test]
fn secrets_come_as_credentials_of_the_service_manager() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let credentials = dir.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    write_private(&credentials.join("gateway.token"), SECRET);
    write_private(&credentials.join("issuer.secret"), HMAC_SECRET);
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[gateway]\nurl = \"http://{address}\"\nprobe = false\n\
         auth = {{ kind = \"token\", credential = \"gateway.token\" }}\n[server]\nstate_dir = \"{}\"\n\
         [[issuer]]\nname = \"hmac\"\nissuer = \"{ISS}\"\naudiences = [\"openclaw\"]\n\
         keys = {{ secret_credential = \"issuer.secret\" }}\n",
        dir.path().join("state").display()
    );
    std::fs::write(dir.path().join("config.toml"), &text).unwrap();
    let shim = Shim::spawn_with(dir, "config.toml", &[("CREDENTIALS_DIRECTORY", &credentials)]);
    let token = Signer::hmac(HMAC_SECRET).token("HS256", &claims(ISS));
    let answer = shim.client().ask("GET /v1/models", &token, &[], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    // Outside of the service nothing is guessed.
    let done = scopeshim().args(["check", "--config"]).arg(shim.config()).output().unwrap();
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    assert_eq!(said.matches("there are no systemd credentials here").count(), 2, "{said}");
}

#[test]
fn a_config_map_of_kubernetes_comes_into_force_when_it_is_swapped() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let (map, secrets) = (dir.path().join("config"), dir.path().join("secrets"));
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[gateway]\nurl = \"http://{address}\"\nprobe = false\n\
         auth = {{ kind = \"token\", file = \"{}/gateway.token\" }}\n[server]\nstate_dir = \"{}\"\n{}",
        secrets.display(),
        dir.path().join("state").display(),
        people()
    );
    // As the kubelet does: a directory for each version, `..data` on one of them, links through it.
    let publish = |at: &Path, version: &str, name: &str, content: &str| {
        let files = at.join(version);
        std::fs::create_dir_all(&files).unwrap();
        write_private(&files.join(name), content);
        symlink(version, at.join("..data_tmp")).unwrap();
        std::fs::rename(at.join("..data_tmp"), at.join("..data")).unwrap();
        if !at.join(name).is_symlink() {
            symlink(format!("..data/{name}"), at.join(name)).unwrap();
        }
    };
    publish(&secrets, "..2026_01_01", "gateway.token", SECRET);
    publish(&map, "..2026_01_01", "config.toml", &text);
    let shim = Shim::spawn_with(dir, "config/config.toml", &[]);
    assert_eq!(shim.client().ask("GET /v1/models", READER, &[], "").status, 200);
    // The reader is revoked.
    publish(
        &map,
        "..2026_01_02",
        "config.toml",
        &text.replace("name = \"reader\"", "name = \"reader\"\nexpires = 2026-01-01T00:00:00Z"),
    );
    std::fs::remove_dir_all(map.join("..2026_01_01")).unwrap();
    eventually("the map's new version is in force", || {
        shim.client().ask("GET /v1/models", READER, &[], "").status == 401
    });
    assert_eq!(shim.client().ask("GET /v1/models", SECRET, &[], "").status, 200);
    // A new gateway secret, which this gateway does not know.
    publish(&secrets, "..2026_01_02", "gateway.token", "another-secret-of-the-gateway-0123456789");
    eventually("the new secret is in force", || shim.client().ask("GET /v1/models", SECRET, &[], "").status == 401);
}

#[test]
fn a_device_key_that_could_not_be_had_is_tried_again() {
    let gateway = WsGateway::start(Release::Old);
    let shim = Shim::start(gateway.address(), &people());
    let in_the_way = shim.dir.path().join("state/device.key");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let connect = || WsClient::open(shim.address()).connect(serde_json::json!({ "auth": { "token": READER } }));
    assert_eq!(connect()["error"]["details"]["reason"], "pairing_required");
    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(connect()["ok"], true);
    assert!(in_the_way.is_file());
}
