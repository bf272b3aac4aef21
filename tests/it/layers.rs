//! The layers of docs/architecture.md, compared with what the code imports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The modules of each row of the table, from the ground up.
fn layers() -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, after) = page
        .split_once("| layer | modules |")
        .unwrap_or_else(|| panic!("the table of layers is in docs/architecture.md"));
    after
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|row| {
            let cell = row.split('|').nth(2).unwrap();
            cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
        })
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file: no comments, and nothing from its unit tests on.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Which module of the crate's root a file is part of; `None` for the roots themselves.
fn module(file: &Path) -> Option<String> {
    let first = file.strip_prefix(root().join("src")).unwrap().components().next().unwrap();
    let name = first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
    (!matches!(&*name, "lib" | "main")).then_some(name)
}

/// Every import between modules: from, to, and a file that has it.
fn imports() -> BTreeMap<(String, String), PathBuf> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut found = BTreeMap::new();
    for file in files.iter().filter(|f| f.file_name().is_some_and(|n| n != "tests.rs")) {
        let Some(from) = module(file) else { continue };
        let code = code(file);
        for at in code.split("crate::").skip(1) {
            // The grouped form would hide names from this test, and nothing here uses it.
            assert!(!at.starts_with('{'), "{}: write one `use crate::…` a line", file.display());
            let to: String = at.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if to != from {
                found.insert((from.clone(), to), file.clone());
            }
        }
    }
    assert!(found.len() > 100, "only {} imports were found: is this test still reading the code?", found.len());
    found
}

#[test]
fn the_table_of_layers_names_every_module_once() {
    let declared: BTreeSet<String> = code(&root().join("src/lib.rs"))
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';').map(ToOwned::to_owned))
        .collect();
    let listed: Vec<String> = layers().into_iter().flatten().collect();
    let unique: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), unique.len(), "a module is listed twice");
    assert_eq!(unique, declared);
}

#[test]
fn imports_go_downward_only() {
    let layers = layers();
    let rank = |name: &String| layers.iter().position(|row| row.contains(name));
    let upward: Vec<String> = imports()
        .iter()
        .filter(|((from, to), _)| rank(from) < rank(to))
        .map(|((from, to), file)| format!("{from} imports {to} ({})", file.display()))
        .collect();
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in imports().into_keys() {
        graph.entry(from).or_default().insert(to);
    }
    // What imports nothing that is left is taken away until nothing changes; a circle stays.
    loop {
        let leaves: Vec<String> = graph
            .iter()
            .filter(|(_, to)| to.iter().all(|name| !graph.contains_key(name)))
            .map(|(from, _)| from.clone())
            .collect();
        if leaves.is_empty() {
            break;
        }
        for leaf in leaves {
            graph.remove(&leaf);
        }
    }
    assert!(graph.is_empty(), "{graph:#?}");
}

#[test]
fn pingora_appears_in_the_outer_layers_only() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let users: BTreeSet<String> =
        files.iter().filter(|f| code(f).contains("pingora::")).filter_map(|f| module(f)).collect();
    let allowed: BTreeSet<String> = ["app", "listener", "proxy"].map(ToOwned::to_owned).into();
    assert_eq!(users, allowed);
}
