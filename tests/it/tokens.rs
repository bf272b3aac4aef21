//! The life of a named token: edits that keep the file, overlap on rotation, revocation.

use crate::support::{READER, Shim, WRITER, eventually, fake_gateway, people, scopeshim};
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

fn token(shim: &Shim, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = scopeshim()
        .arg("token")
        .args(arguments)
        .arg("--config")
        .arg(shim.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout).trim().to_owned(), text(output.stderr))
}

fn status(shim: &Shim, token: &str) -> u16 {
    shim.client().ask("GET /v1/models", token, &[], "").status
}

#[test]
fn a_token_is_made_rotated_and_revoked_while_the_proxy_runs() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &format!("# a comment to keep\n{}", people()));
    let (code, secret, _) = token(&shim, &["new", "phone", "--scope", "operator.read", "--write"], "");
    assert_eq!(code, 0);
    eventually("the new token works", || status(&shim, &secret) == 200);
    assert_eq!(token(&shim, &["new", "phone", "--write"], "").0, 1, "a name is taken once");

    let (code, rotated, _) = token(&shim, &["rotate", "phone", "--overlap", "3s"], "");
    assert_eq!(code, 0);
    assert_ne!(rotated, secret);
    eventually("the rotated token works", || status(&shim, &rotated) == 200);
    assert_eq!(status(&shim, &secret), 200, "the old one still does");
    eventually("the old one ends", || status(&shim, &secret) == 401);
    assert_eq!(status(&shim, &rotated), 200);

    let (code, listed, _) = token(&shim, &["list"], "");
    assert_eq!(code, 0);
    assert!(listed.contains("phone") && listed.contains("writer") && !listed.contains(&rotated), "{listed}");
    let (code, said, _) = token(&shim, &["check"], &rotated);
    assert_eq!(code, 0);
    assert!(said.contains("phone"), "{said}");
    assert_eq!(token(&shim, &["check"], &format!("{rotated}x")).0, 1);
    assert_eq!(token(&shim, &["check"], "some-other-secret").0, 1);

    assert_eq!(token(&shim, &["revoke", "phone"], "").0, 0);
    eventually("the revoked token is out", || status(&shim, &rotated) == 401);
    assert_eq!(token(&shim, &["revoke", "phone"], "").0, 1);
    assert_eq!((status(&shim, READER), status(&shim, WRITER)), (200, 200));
    let text = std::fs::read_to_string(shim.config()).unwrap();
    assert!(text.contains("# a comment to keep") && !text.contains("phone"), "{text}");
}

#[test]
fn two_edits_at_a_time_lose_nothing() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let names: Vec<String> = (0..12).map(|i| format!("client-{i}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| assert_eq!(token(&shim, &["new", name, "--write"], "").0, 0));
        }
    });
    let (_, listed, _) = token(&shim, &["list"], "");
    for name in &names {
        assert!(listed.contains(name), "{name} is lost: {listed}");
    }
}

#[test]
fn an_edit_that_would_break_the_file_is_not_written() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let broken = std::fs::read_to_string(shim.config()).unwrap() + "\n[gatway]\n";
    std::fs::write(shim.config(), &broken).unwrap();
    let (code, out, err) = token(&shim, &["new", "phone", "--write"], "");
    assert_eq!((code, out.as_str()), (1, ""), "no secret is shown that is not in force");
    assert!(err.contains("nothing was written") && err.contains("gatway"), "{err}");
    assert_eq!(std::fs::read_to_string(shim.config()).unwrap(), broken);
}
