//! TLS on the listener, with real openssl and curl.

use crate::support::{READER, Shim, eventually, fake_gateway, people, scopeshim, write_private};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A certificate of its own authority, and its key, in PEM.
fn certificate(dir: &Path, name: &str) -> (String, String) {
    let (cert, key) = (dir.join(format!("{name}.cert")), dir.join(format!("{name}.key")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap_or_else(|error| panic!("openssl is needed: {error}"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (std::fs::read_to_string(cert).unwrap(), std::fs::read_to_string(key).unwrap())
}

/// A proxy whose certificate and key stand beside its configuration.
fn secured(gateway: SocketAddr, cert: &str, key: &str, tables: &str) -> Shim {
    let dir = tempfile::tempdir().unwrap();
    write_private(&dir.path().join("gateway.token"), crate::support::SECRET);
    write_private(&dir.path().join("cert.pem"), cert);
    write_private(&dir.path().join("key.pem"), key);
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = \"cert.pem\", key = \"key.pem\" }}\n\
         [gateway]\nurl = \"http://{gateway}\"\nprobe = false\nauth = {{ kind = \"token\", file = \"gateway.token\" }}\n\
         [limits]\nhead_timeout = \"1s\"\n[server]\nstate_dir = \"{}\"\n{}{tables}",
        dir.path().join("state").display(),
        people()
    );
    std::fs::write(dir.path().join("config.toml"), text).unwrap();
    Shim::spawn(dir)
}

fn curl(shim: &Shim, authority: &str, more: &[&str]) -> Output {
    let file = shim.dir.path().join("authority.pem");
    std::fs::write(&file, authority).unwrap();
    Command::new("curl")
        .args([
            "-sS",
            "--noproxy",
            "*",
            "--max-time",
            "10",
            "-o",
            "-",
            "-w",
            " %{http_code} %{http_version}",
            "--cacert",
        ])
        .arg(file)
        .args(["-H", &format!("Authorization: Bearer {READER}")])
        .args(more)
        .arg(format!("https://{}/v1/models", shim.address()))
        .output()
        .unwrap_or_else(|error| panic!("curl is needed: {error}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn clients_are_served_and_a_new_certificate_is_shown_without_a_restart() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let (first, first_key) = certificate(dir.path(), "first");
    let (second, second_key) = certificate(dir.path(), "second");
    let shim = secured(address, &first, &first_key, "");
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        let answer = said(&curl(&shim, &first, &[version, "--http2"]));
        assert!(answer.ends_with(" 200 1.1"), "{version}: {answer}");
    }
    assert!(!said(&curl(&shim, &second, &[])).contains("200"), "another authority's word was enough");
    // The key of another certificate changes nothing, and the log says why.
    write_private(&shim.dir.path().join("key.pem"), &second_key);
    eventually("the mismatch is refused", || {
        shim.log().iter().any(|l| l.contains("is not the key of that certificate"))
    });
    assert!(said(&curl(&shim, &first, &[])).ends_with(" 200 1.1"));
    write_private(&shim.dir.path().join("cert.pem"), &second);
    eventually("the new certificate is shown", || said(&curl(&shim, &second, &[])).ends_with(" 200 1.1"));
    assert!(!said(&curl(&shim, &first, &[])).contains("200"));
    assert!(!shim.log().join("\n").contains(second_key.lines().nth(1).unwrap()), "the key is in the log");
}

#[test]
fn the_doctor_says_that_it_needs_a_listener_in_the_clear() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(dir.path(), "one");
    let shim = secured(address, &cert, &key, "");
    let done = scopeshim().args(["doctor", "--config"]).arg(shim.config()).output().unwrap();
    assert!(!done.status.success() && said(&done).contains("every listener uses TLS"), "{}", said(&done));
    assert!(!said(&done).contains("another program answers"), "{}", said(&done));
}

#[test]
fn who_speaks_no_tls_or_nothing_is_ended_and_holds_nobody_up() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(dir.path(), "one");
    let shim = secured(address, &cert, &key, "");
    let mut open: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(shim.address()).unwrap()).collect();
    for socket in open.iter_mut().take(10) {
        socket
            .write_all(format!("GET /v1/models HTTP/1.1\r\nAuthorization: Bearer {READER}\r\n\r\n").as_bytes())
            .unwrap();
    }
    assert!(said(&curl(&shim, &cert, &[])).ends_with(" 200 1.1"));
    let begun = Instant::now();
    for mut socket in open {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut all = Vec::new();
        let ended = socket.read_to_end(&mut all);
        assert!(
            ended.as_ref().is_ok_and(|_| true) || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
        );
        assert!(!String::from_utf8_lossy(&all).contains("HTTP/1.1"), "an answer in the clear");
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(dir.path(), "one");
    let (_, other) = certificate(dir.path(), "two");
    let at = |name: &str| dir.path().join(name);
    let text = "[[listen]]\naddress = \"127.0.0.1:1\"\ntls = { certificate = \"c\", key = \"k\" }\n\
                [gateway]\nurl = \"http://127.0.0.1:2\"\nauth = { kind = \"none\" }\n[anonymous]\nscopes = []\n";
    std::fs::write(at("config.toml"), text).unwrap();
    for (c, k, mode, expected) in [
        (cert.as_str(), key.as_str(), 0o600, ": ok"),
        (&cert, &other, 0o600, "is not the key of that certificate"),
        ("nothing", &key, 0o600, "holds no certificate in PEM"),
        (&cert, "nothing", 0o600, "holds no private key in PEM"),
        (&cert, &key, 0o644, "can be read by every user"),
    ] {
        std::fs::write(at("c"), c).unwrap();
        write_private(&at("k"), k);
        std::fs::set_permissions(at("k"), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let done = scopeshim().args(["check", "--config"]).arg(at("config.toml")).output().unwrap();
        assert!(said(&done).contains(expected), "{expected}: {}", said(&done));
    }
}
