//! Verbs and exit codes.

use crate::support::scopeshim;

fn output(arguments: &[&str]) -> (i32, String, String) {
    let output = scopeshim().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_wrong_command_line_is_64_and_help_is_0() {
    assert_eq!(output(&["fly"]).0, 64);
    assert_eq!(output(&[]).0, 64);
    assert_eq!(output(&["run", "--colour"]).0, 64);
    let (code, out, _) = output(&["--help"]);
    assert_eq!(code, 0);
    for verb in ["run", "check", "token", "demo"] {
        assert!(out.contains(verb), "{out}");
    }
    assert_eq!(output(&["--version"]).0, 0);
}

#[test]
fn a_missing_file_is_66() {
    let (code, _, err) = output(&["run", "--config", "/nonexistent/config.toml"]);
    assert_eq!(code, 66);
    assert!(err.contains("/nonexistent/config.toml") && err.contains("help"), "{err}");
}

#[test]
fn a_new_token_is_printed_once_and_its_table_can_be_pasted() {
    let (code, out, _) =
        output(&["token", "new", "open-webui", "--scope", "operator.read", "--expires", "2999-01-01T00:00:00Z"]);
    assert_eq!(code, 0);
    let secret = out.lines().next().unwrap();
    assert!(secret.starts_with("scs_"));
    assert_eq!(out.matches(secret).count(), 1);
    let table: toml::Table = out.split_once('\n').unwrap().1.parse().unwrap();
    let token = &table["token"][0];
    assert_eq!(token["name"].as_str(), Some("open-webui"));
    assert_eq!(token["sha256"].as_str(), Some(crate::support::sha256(secret).as_str()));
    assert_eq!(output(&["token", "new", "no name"]).0, 64);
}

#[test]
fn the_demonstration_shows_what_it_says() {
    let (code, out, err) = output(&["demo", "--once", "--port", "0"]);
    assert_eq!(code, 0, "{err}");
    for text in ["-> 403", "-> 200", "missing scope: operator.read", "missing_scope", "data: [DONE]"] {
        assert!(out.contains(text), "{text} is missing: {out}");
    }
}
