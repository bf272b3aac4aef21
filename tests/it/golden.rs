//! What `check` says of every bad and every unwise configuration in `tests/config`, to the letter.
//!
//! `BLESS=1 cargo test --test it golden` writes the answers anew; read them before you commit them.

use crate::support::scopeshim;
use std::path::Path;

fn compare(folder: &str, expected: i32, arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
    let mut cases = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        cases += 1;
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let output =
            scopeshim().current_dir(&root).arg("check").args(["--config", &name]).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let golden = path.with_extension("stderr");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &said).unwrap();
        }
        if output.status.code() != Some(expected) {
            wrong.push(format!("{name}: exit {:?} instead of {expected}\n{said}", output.status.code()));
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != said {
            wrong.push(format!("{name} says:\n{said}"));
        } else if !said.contains("help: ") {
            wrong.push(format!("{name} does not say what to do"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases >= 10, "{cases} cases");
}

#[test]
fn golden_errors_name_place_and_mend() {
    compare("invalid", 78, &[]);
    let all =
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/invalid")).unwrap().count() / 2;
    assert!(all >= 60, "{all} cases");
}

#[test]
fn golden_warnings_are_warnings() {
    compare("unwise", 0, &[]);
}

#[test]
fn warnings_can_be_denied_and_read_by_machines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/unwise");
    let check = |arguments: &[&str]| {
        scopeshim().current_dir(&root).args(["check", "--config", "wide-cidr.toml"]).args(arguments).output().unwrap()
    };
    assert_eq!(check(&["--deny-warnings"]).status.code(), Some(78));
    let output = check(&["--json"]);
    assert_eq!(output.status.code(), Some(0));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["ok"], true);
    assert_eq!(said["problems"][0]["code"], "wide-cidr");
    assert_eq!(said["problems"][0]["line"], 10);
}
