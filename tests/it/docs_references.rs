//! What code and pages refer to exists: invariants, sections of the contract, tests, links, make targets. And the
//! pages use the usual words.

use crate::docs::{files, read, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a source text refers to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
enum Reference {
    Invariant(u32),
    /// A section of the gateway contract, and words that stand in it.
    Contract(u32, Vec<String>),
}

/// The number a text begins with, and what follows it.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text.get(..end)?.parse().ok()?, text.get(end..)?))
}

/// Comment lines as running text, so that a reference may be broken over two lines.
fn running_text(source: &str) -> String {
    source
        .lines()
        .map(|line| line.trim_start().trim_start_matches(['/', '!', '#']))
        .fold(String::new(), |all, line| all + line.trim() + " ")
}

fn references(source: &str) -> BTreeSet<Reference> {
    let text = running_text(source);
    let mut found = BTreeSet::new();
    for word in ["law ", "laws ", "invariant ", "invariants "] {
        for (at, _) in text.to_ascii_lowercase().match_indices(word) {
            if text[..at].ends_with(|c: char| c.is_alphanumeric()) {
                continue;
            }
            let mut last = None;
            let mut rest = &text[at + word.len()..];
            while let Some((n, after)) = number(rest) {
                let first = last.filter(|_| text[..text.len() - rest.len()].ends_with(" to ")).unwrap_or(n);
                found.extend((first..=n).map(Reference::Invariant));
                last = Some(n);
                rest = [", ", " and ", " to "].iter().find_map(|s| after.strip_prefix(s)).unwrap_or_default();
            }
        }
    }
    for (at, word) in text.match_indices("contract §") {
        let mut rest = &text[at + word.len()..];
        while let Some((n, after)) = number(rest) {
            let mut words = Vec::new();
            rest = after;
            loop {
                let next = rest.trim_start_matches([' ', ',', '(']);
                if let Some((quoted, after)) = next.strip_prefix('"').and_then(|n| n.split_once('"')) {
                    words.push(quoted.to_owned());
                    rest = after;
                } else if rest.trim_start().starts_with('(') && next.get(1..2) == Some(")") {
                    words.push(format!("({})", &next[..1]));
                    rest = &next[2..];
                } else {
                    break;
                }
            }
            found.insert(Reference::Contract(n, words));
            rest = [", §", " and §", " to §"].iter().find_map(|s| rest.strip_prefix(s)).unwrap_or_default();
        }
    }
    found
}

#[test]
fn references_are_read_as_people_write_them() {
    let of = |text| references(text).into_iter().collect::<Vec<_>>();
    let contract = |n, words: &[&str]| Reference::Contract(n, words.iter().map(|w| (*w).to_owned()).collect());
    assert_eq!(of("/// (law 3), a flaw 4, Laws 7 to 9."), [3, 7, 8, 9].map(Reference::Invariant));
    assert_eq!(of("//! Laws 2 and 6"), [2, 6].map(Reference::Invariant));
    assert_eq!(of("(contract §1 to §3, §8): 401"), [1, 3, 8].map(|n| contract(n, &[])));
    assert_eq!(of("/// (contract\n/// §7 (b))"), [contract(7, &["(b)"])]);
    assert_eq!(of("contract §2 (\"Scope names\", \"Parsing\") and"), [contract(2, &["Scope names", "Parsing"])]);
    assert_eq!(of("(contract §1, \"Check order\")"), [contract(1, &["Check order"])]);
}

/// The numbered sections of a page, by number: their heading and text.
fn sections(page: &str) -> BTreeMap<u32, String> {
    let numbered = |part: &str| Some((number(part)?.0, part.to_owned()));
    read(page).split("\n## ").filter_map(numbered).collect()
}

fn is_page(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|ending| ending == "md")
}

#[test]
fn every_reference_in_the_code_has_its_target() {
    let invariants = sections("docs/invariants.md");
    let contract = sections("docs/gateway-contract.md");
    assert_eq!(invariants.keys().copied().collect::<Vec<_>>(), (1..=15).collect::<Vec<_>>());
    let mut broken = Vec::new();
    let mut count = 0;
    for file in ["src", "tests", "fuzz/targets"].iter().flat_map(|folder| files(folder, ".rs")) {
        if file.ends_with("tests/it/docs.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for reference in references(&text) {
            count += 1;
            let good = match &reference {
                Reference::Invariant(n) => invariants.contains_key(n),
                Reference::Contract(n, words) => {
                    contract.get(n).is_some_and(|section| words.iter().all(|word| section.contains(word.as_str())))
                }
            };
            if !good {
                broken.push(format!("{}: {reference:?}", file.display()));
            }
        }
        let text = running_text(&text);
        for page in text.split('`').skip(1).step_by(2).filter(|word| is_page(word)) {
            if !root().join(page).exists() && !root().join("docs").join(page).exists() {
                broken.push(format!("{}: `{page}`", file.display()));
            }
        }
    }
    assert!(count > 50, "only {count} references were found");
    assert!(broken.is_empty(), "without a target:\n{}", broken.join("\n"));
}

/// The names of the tests in a file of Rust.
fn tests_in(file: &str) -> BTreeSet<String> {
    if !root().join(file).exists() {
        return BTreeSet::new();
    }
    let text = read(file);
    let name = |part: &str| part.split_once("fn ")?.1.split_once('(').map(|(name, _)| name.to_owned());
    // `#[test]` and `#[tokio::test]`.
    text.split("test]").skip(1).filter_map(name).collect()
}

#[test]
fn every_test_named_as_the_holder_of_an_invariant_exists() {
    let mut named = 0;
    let mut missing = Vec::new();
    for (n, section) in sections("docs/invariants.md") {
        let section = section.replace("\n  ", " ");
        let lines: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("- `")).collect();
        let rust = lines.iter().filter(|line| line.contains(".rs`: ")).count();
        assert!(rust > 0, "invariant {n} names no test");
        for line in lines {
            let Some((file, names)) = line.split_once("`: ") else { continue };
            for name in names.split('`').skip(1).step_by(2) {
                named += 1;
                let exists = if Path::new(file).extension().is_some_and(|e| e == "rs") {
                    tests_in(file).contains(name)
                } else {
                    // A case, or a group of cases whose names are put together.
                    let begin = format!("\"{}", name.trim_end_matches('*'));
                    files(file, ".py").iter().any(|file| std::fs::read_to_string(file).unwrap().contains(&begin))
                };
                if !exists {
                    missing.push(format!("invariant {n}: `{name}` in {file}"));
                }
            }
        }
    }
    assert!(named > 80, "only {named} tests were found");
    assert!(missing.is_empty(), "docs/invariants.md names tests that do not exist:\n{}", missing.join("\n"));
}

/// The manuals, from the root of the repository.
fn manuals() -> Vec<PathBuf> {
    let named = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name));
    named.into_iter().chain(files("docs", ".md")).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let heading = |line: &str| line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim().to_lowercase());
    let letter = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    };
    page.lines().filter_map(heading).map(|heading| heading.chars().filter_map(letter).collect()).collect()
}

#[test]
fn every_link_and_every_path_in_the_manuals_leads_somewhere() {
    let mut broken = Vec::new();
    for manual in manuals() {
        let text = std::fs::read_to_string(&manual).unwrap();
        for target in text.split("](").skip(1).filter_map(|part| part.split_once(')')).map(|(target, _)| target) {
            if target.starts_with("http") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let page = if path.is_empty() { manual.clone() } else { manual.parent().unwrap().join(path) };
            let found = std::fs::read_to_string(&page).is_ok_and(|t| anchor.is_empty() || anchors(&t).contains(anchor));
            if !(found || anchor.is_empty() && page.is_dir()) {
                broken.push(format!("{}: {target}", manual.display()));
            }
        }
        for word in text.split('`').skip(1).step_by(2) {
            let ours = ["src/", "tests/", "docs/", "packaging/", "fuzz/"].iter().any(|folder| word.starts_with(folder));
            let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "./_-".contains(c));
            if ours && plain && !root().join(word).exists() {
                broken.push(format!("{}: `{word}`", manual.display()));
            }
        }
    }
    assert!(broken.is_empty(), "leading nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_make_target_in_the_manuals_exists() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile.lines().filter_map(|line| line.split_once(':')).map(|(t, _)| t).collect();
    let mut named = 0;
    for manual in manuals() {
        let text = std::fs::read_to_string(&manual).unwrap();
        let commands = text.split('`').skip(1).step_by(2).chain(text.lines());
        for target in commands.filter_map(|c| c.strip_prefix("make ")?.split_whitespace().next()) {
            named += 1;
            assert!(targets.contains(target), "{}: make {target}", manual.display());
        }
    }
    assert!(named > 10, "{named}");
}

/// Words of ours that no operator knows from elsewhere; what is said with them has a usual word.
const PRIVATE_WORDS: [&str; 8] =
    ["mend", "mended", "whoever", "made good", "makes good", "rehearse", "rehearsal", "doubt"];

#[test]
fn what_people_read_uses_the_usual_words() {
    let golden =
        ["tests/config/invalid", "tests/config/unwise"].into_iter().flat_map(|folder| files(folder, ".stderr"));
    let others =
        ["config.example.toml", "packaging/config.toml", "packaging/config.schema.json", "src/admin/page.html"];
    let alerts = files("packaging/prometheus", ".yml").into_iter().chain(files("packaging/grafana", ".json"));
    let mut found = Vec::new();
    for file in manuals().into_iter().chain(golden).chain(alerts).chain(others.map(|file| root().join(file))) {
        let text = std::fs::read_to_string(&file).unwrap().to_lowercase();
        let words: Vec<&str> =
            text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect();
        let text = format!(" {} ", words.join(" "));
        for word in PRIVATE_WORDS {
            if text.contains(&format!(" {word} ")) {
                found.push(format!("{}: {word}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
