//! The ports of examples and packages are not the gateway's.

use std::path::{Path, PathBuf};

/// What a gateway on its default port uses or may use: its own, the one for MCP apps and nodes' bridge, browser
/// control, its relay, its canvas, and the browsers' (docs/configuration.md, "listen").
const GATEWAYS: std::ops::RangeInclusive<u32> = 18790..=18899;

/// Files that speak of the gateway's ports.
const ABOUT_THE_GATEWAY: &[&str] =
    &["CHANGELOG.md", "docs/configuration.md", "src/openclaw_config/ports.rs", "tests/it/init.rs", "tests/it/ports.rs"];

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let generated = ["target", "node_modules", "corpus", "artifacts", "__pycache__"].contains(&name.as_str());
        if generated || (name.starts_with('.') && name != ".ci" && name != ".github") {
            continue;
        }
        if path.is_dir() { files(&path, all) } else { all.push(path) }
    }
}

#[test]
fn no_example_takes_a_port_of_the_gateway() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    files(root, &mut all);
    let mut found = Vec::new();
    for path in all {
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        if ABOUT_THE_GATEWAY.contains(&name.as_str()) || path.extension().is_some_and(|kind| kind == "lock") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            let numbers = line.split(|c: char| !c.is_ascii_digit()).filter(|n| n.len() == 5);
            let after = |n: &str| {
                line.match_indices(n).any(|(at, _)| {
                    let before = line.get(..at).and_then(|l| l.chars().next_back());
                    matches!(before, Some(':' | '=' | ' ' | '"' | '`' | '(' | '[') | None)
                })
            };
            let ports = numbers.filter(|n| n.parse().is_ok_and(|n: u32| GATEWAYS.contains(&n)) && after(n));
            found.extend(ports.map(|n| format!("{name}:{}: {n}", number + 1)));
        }
    }
    assert_eq!(found, Vec::<String>::new(), "the gateway's ports");
}
