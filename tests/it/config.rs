//! `check` and bad configurations: one clear message each.

use crate::support::{SECRET, scopeshim, sha256};
use std::os::unix::fs::PermissionsExt as _;

const GOOD: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n[gateway]\nurl = \"http://127.0.0.1:18789\"\nauth = { kind = \"token\", file = \"secret\" }\n";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("secret", SECRET, 0o600);
        place
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn check(&self, text: &str, arguments: &[&str]) -> (i32, String) {
        self.write("config.toml", text, 0o644);
        let output = scopeshim()
            .arg("check")
            .arg("--config")
            .arg(self.0.path().join("config.toml"))
            .args(arguments)
            .output()
            .unwrap();
        let all = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(all).unwrap())
    }
}

#[test]
fn a_good_configuration_is_ok() {
    let place = Place::new();
    let token = format!("[[token]]\nname = \"a\"\nsha256 = \"{}\"\nscopes = [\"operator.read\"]\n", sha256("x"));
    assert_eq!(
        place.check(&format!("{GOOD}{token}"), &["--deny-warnings"]),
        (0, format!("{}: ok\n", place.0.path().join("config.toml").display()))
    );
}

#[test]
fn warnings_fail_only_when_asked_to() {
    let place = Place::new();
    let (code, text) = place.check(GOOD, &[]);
    assert_eq!(code, 0);
    assert!(text.contains("warning[nobody]") && text.contains("1 warning"), "{text}");
    assert_eq!(place.check(GOOD, &["--deny-warnings"]).0, 78);
}

#[test]
fn secrets_that_are_not_fit_say_why() {
    let place = Place::new();
    for (secret, mode, message) in [
        ("", 0o600, "the secret is empty"),
        ("short", 0o600, "shorter than 12"),
        (SECRET, 0o644, "can be read by every user of this machine (mode 0644)"),
        ("two words of a secret", 0o600, "white space"),
    ] {
        place.write("secret", secret, mode);
        let (code, text) = place.check(GOOD, &[]);
        assert_eq!(code, 78, "{text}");
        assert!(text.contains(message) && text.contains(":5:"), "{text}");
        assert!(secret.is_empty() || secret == "short" || !text.contains(secret));
    }
    let (code, text) = place.check(&GOOD.replace("\"secret\"", "\"missing\""), &[]);
    assert_eq!(code, 78);
    assert!(text.contains("cannot be read") && text.contains("chmod 0600"), "{text}");
    let (_, text) = place.check(&GOOD.replace("file = \"secret\"", "env = \"SCOPESHIM_TEST_UNSET\""), &[]);
    assert!(text.contains("SCOPESHIM_TEST_UNSET is not set"), "{text}");
    let (_, text) = place.check(&GOOD.replace("file = \"secret\"", "credential = \"gw\""), &[]);
    assert!(text.contains("CREDENTIALS_DIRECTORY"), "{text}");
}

#[test]
fn every_problem_is_named_at_once_with_its_line() {
    let place = Place::new();
    let text = format!(
        "{GOOD}colour = 1\n[[token]]\nname = \"a b\"\nsha265 = \"x\"\n[policy]\nexcess = \"refsue\"\n[server]\nthreads = 0\ndrain = \"soon\"\n"
    );
    let (code, text) = place.check(&text, &[]);
    assert_eq!(code, 78);
    for part in [
        "unknown key `colour`",
        "config.toml:6:1",
        "unknown key `sha265`",
        "did you mean `sha256`?",
        "did you mean `refuse`?",
        "0 is out of range",
        "`soon` is not a duration",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}
