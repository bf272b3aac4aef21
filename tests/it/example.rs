//! `config.example.toml`, the schema, the manuals of configuration and commands, and the code say the same.

use crate::support::{SECRET, scopeshim};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;

const EXAMPLE: &str = include_str!("../../config.example.toml");
const SCHEMA: &str = include_str!("../../packaging/config.schema.json");

fn check(text: &str) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("gateway.token");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(dir.path().join("config.toml"), text).unwrap();
    let output = scopeshim().arg("check").arg("--config").arg(dir.path().join("config.toml")).output().unwrap();
    let all = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(all).unwrap())
}

/// The example with every commented setting in force; prose begins with `##`.
fn uncommented() -> String {
    EXAMPLE
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn it_is_right_as_it_is_shipped() {
    let (code, text) = check(EXAMPLE);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn it_is_right_with_every_setting_in_force() {
    let (code, text) = check(&uncommented());
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("error"), "{text}");
}

#[test]
fn it_shows_every_key_there_is() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut keys = BTreeSet::new();
    collect(&schema, &mut keys);
    assert!(keys.len() > 60, "{keys:?}");
    let missing: Vec<_> = keys
        .iter()
        .filter(|key| {
            !EXAMPLE.contains(&format!("{key} ="))
                && !EXAMPLE.contains(&format!("{key}]"))
                && !EXAMPLE.contains(&format!("`{key}"))
        })
        .collect();
    assert!(missing.is_empty(), "config.example.toml does not show {missing:?}");
}

/// The keys in the tables of docs/configuration.md, by the definition of the schema that stands in front of each.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let key = |row: &str| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    let table = |part: &str| {
        let (name, table) = part.split_once(" -->\n").unwrap();
        (name.to_owned(), table.lines().take_while(|line| line.starts_with('|')).filter_map(key).collect())
    };
    include_str!("../../docs/configuration.md").split("<!-- keys: ").skip(1).map(table).collect()
}

#[test]
fn the_manual_of_the_configuration_has_every_key_and_no_other() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let keys = |object: &Value| -> Option<BTreeSet<String>> {
        Some(object.get("properties")?.as_object()?.keys().cloned().collect())
    };
    let definitions = schema["definitions"].as_object().unwrap();
    let expected: BTreeMap<_, _> =
        definitions.iter().filter_map(|(name, object)| Some((name.clone(), keys(object)?))).collect();
    assert!(expected.len() > 20, "{expected:?}");
    assert_eq!(documented(), expected);
    let manual = include_str!("../../docs/configuration.md");
    for table in keys(&schema).unwrap() {
        assert!(manual.contains(&format!("\n## {table}\n")), "docs/configuration.md has no section {table}");
    }
}

fn collect(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(properties) = map.get("properties").and_then(Value::as_object) {
                keys.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| collect(value, keys));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, keys)),
        _ => {}
    }
}

#[test]
fn the_schema_in_the_repository_is_that_of_the_code() {
    let output = scopeshim().args(["generate", "schema"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), SCHEMA, "run `make generate`");
}

#[test]
fn every_command_variable_and_exit_code_is_in_the_manual() {
    let manual = include_str!("../../docs/commands.md");
    let help = String::from_utf8(scopeshim().arg("--help").output().unwrap().stdout).unwrap();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 9, "{help}");
    for command in commands {
        assert!(
            manual.contains(&format!("`scopeshim {command}")) || manual.contains(&format!("`{command}`")),
            "{command}"
        );
    }
    for word in ["`policy test`", "`rotate`", "`revoke`", "`SCOPESHIM_CONFIG`", "`SCOPESHIM_TOKEN`"] {
        assert!(manual.contains(word), "{word}");
    }
    for code in [0, 1, 64, 66, 69, 71, 78] {
        assert!(manual.contains(&format!("| {code} |")), "{code}");
    }
}

#[test]
fn manual_pages_and_completions_can_be_made() {
    for (arguments, part) in [
        (&["generate", "man"][..], ".TH scopeshim 1"),
        (&["generate", "man5"], "scope_claims"),
        (&["generate", "completions", "bash"], "_scopeshim"),
        (&["generate", "completions", "zsh"], "#compdef scopeshim"),
        (&["generate", "completions", "fish"], "complete -c scopeshim"),
    ] {
        let output = scopeshim().args(arguments).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(part), "{arguments:?}");
    }
}
