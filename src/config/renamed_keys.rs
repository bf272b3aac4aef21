//! Keys that had another name, or stood in another table, before: they are still read, with a
//! warning that names the present one.
//!
//! The parsed document is changed before it becomes a [`File`](super::file::File), so neither the
//! file's structure nor its schema knows the former names.

use super::diagnostic::Problems;
use std::borrow::Cow;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A key, where it was and where it is. Arrays of tables are entered at each of their tables.
struct Renamed {
    table: &'static [&'static str],
    before: &'static str,
    now: &'static str,
}

/// A key that keeps its name and moved to another top-level table.
struct Moved {
    before: &'static str,
    now: &'static str,
    key: &'static str,
}

const fn renamed(table: &'static [&'static str], before: &'static str, now: &'static str) -> Renamed {
    Renamed { table, before, now }
}

const RENAMED: [Renamed; 9] = [
    renamed(&["limits"], "max_unproven_websockets", "max_unauthenticated_websockets"),
    renamed(&["limits"], "max_unproven_websockets_per_address", "max_unauthenticated_websockets_per_address"),
    renamed(&["gateway"], "canaries", "probe"),
    renamed(&["gateway", "auth"], "stand_in_address", "local_client_address"),
    renamed(&["tailscale"], "ceiling", "max_scopes"),
    renamed(&["issuer"], "ceiling", "max_scopes"),
    renamed(&["policy", "limits"], "concurrent_sockets", "concurrent_websockets"),
    renamed(&["token", "limits"], "concurrent_sockets", "concurrent_websockets"),
    renamed(&["grant", "limits"], "concurrent_sockets", "concurrent_websockets"),
];

const fn to_limits(key: &'static str) -> Moved {
    Moved { before: "server", now: "limits", key }
}

const MOVED: [Moved; 3] = [to_limits("max_connections"), to_limits("head_timeout"), to_limits("keepalive")];

/// Gives every former key its present name and place.
pub(super) fn apply(document: &mut DeTable<'_>, problems: &mut Problems) {
    for key in &RENAMED {
        rename(document, key.table, key, problems);
    }
    for key in &MOVED {
        relocate(document, key, problems);
    }
}

fn rename(table: &mut DeTable<'_>, path: &[&str], key: &Renamed, problems: &mut Problems) {
    let Some((first, rest)) = path.split_first() else {
        let Some((mut name, value)) = table.remove_entry(key.before) else { return };
        let renamed = format!("`{}` was renamed: it is `{}` now", key.before, key.now);
        if table.contains_key(key.now) {
            twice(problems, &name, renamed, format!("remove `{}` and keep `{}`", key.before, key.now));
            return;
        }
        problems.warn("renamed-key", name.span(), renamed, format!("write `{}`", key.now));
        *name.get_mut() = Cow::Borrowed(key.now);
        table.insert(name, value);
        return;
    };
    match table.get_mut(*first).map(Spanned::get_mut) {
        Some(DeValue::Table(inner)) => rename(inner, rest, key, problems),
        Some(DeValue::Array(items)) => {
            for item in items.iter_mut() {
                if let DeValue::Table(inner) = item.get_mut() {
                    rename(inner, rest, key, problems);
                }
            }
        }
        _ => {}
    }
}

fn relocate(document: &mut DeTable<'_>, key: &Moved, problems: &mut Problems) {
    let Some(DeValue::Table(before)) = document.get_mut(key.before).map(Spanned::get_mut) else { return };
    let Some((name, value)) = before.remove_entry(key.key) else { return };
    let moved = format!("`{}` belongs in `[{}]` now", key.key, key.now);
    let advice = format!("move it from `[{}]` to `[{}]`", key.before, key.now);
    if !document.contains_key(key.now) {
        let table = Spanned::new(name.span(), DeValue::Table(DeTable::new()));
        document.insert(Spanned::new(name.span(), Cow::Borrowed(key.now)), table);
    }
    // What is no table is reported when the document is read.
    let Some(DeValue::Table(now)) = document.get_mut(key.now).map(Spanned::get_mut) else { return };
    if now.contains_key(key.key) {
        twice(problems, &name, moved, format!("remove it from `[{}]`; it is in `[{}]` too", key.before, key.now));
        return;
    }
    problems.warn("renamed-key", name.span(), moved, advice);
    now.insert(name, value);
}

fn twice(problems: &mut Problems, name: &Spanned<Cow<'_, str>>, message: String, advice: String) {
    problems.error("key-twice", name.span(), message, advice);
}

#[cfg(test)]
mod tests {
    use super::super::file::File;
    use super::super::parse;
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (File, Vec<(&'static str, String)>) {
        let mut problems = Problems::default();
        let file = parse::read(text, &mut problems).unwrap();
        (file, problems.into_sorted().into_iter().map(|p| (p.code, p.message)).collect())
    }

    #[test]
    fn a_former_key_is_read_with_a_warning_that_names_the_present_one() {
        for key in RENAMED {
            let array = matches!(key.table.first(), Some(&("issuer" | "token" | "grant")));
            let path = key.table.join(".");
            let (first, rest) = path.split_once('.').map_or((path.as_str(), None), |(a, b)| (a, Some(b)));
            let dotted = rest.map_or_else(|| key.before.to_owned(), |rest| format!("{rest}.{}", key.before));
            let header = if array { format!("[[{first}]]") } else { format!("[{first}]") };
            let mut problems = Problems::default();
            let _ = parse::read(&format!("{header}\n{dotted} = 1\n"), &mut problems);
            let said = problems.into_sorted();
            assert!(said.iter().all(|p| p.code != "unknown-key"), "{said:?}");
            let warning = said.iter().find(|p| p.code == "renamed-key").unwrap();
            assert!(warning.message.contains(key.before) && warning.hint.contains(key.now), "{warning:?}");
        }
    }

    #[test]
    fn the_value_of_a_former_key_counts() {
        let (file, said) = read("[limits]\nmax_unproven_websockets = 7\n[server]\nmax_connections = 9\n");
        assert_eq!(file.limits.max_unauthenticated_websockets.as_ref().map(|n| *n.get()), Some(7));
        assert_eq!(file.limits.max_connections.as_ref().map(|n| *n.get()), Some(9));
        assert_eq!(said.iter().map(|p| p.0).collect::<Vec<_>>(), ["renamed-key"; 2]);
        let (file, _) = read("[server]\nkeepalive = \"5s\"\n");
        assert_eq!(file.limits.keepalive.as_ref().map(|t| t.get().as_str()), Some("5s"), "without [limits]");
    }

    #[test]
    fn a_key_under_both_names_is_an_error() {
        let (_, said) = read("[tailscale]\nceiling = []\nmax_scopes = []\n");
        assert_eq!(said.first().map(|p| p.0), Some("key-twice"), "{said:?}");
        let (_, said) = read("[server]\nkeepalive = \"5s\"\n[limits]\nkeepalive = \"6s\"\n");
        assert_eq!(said.first().map(|p| p.0), Some("key-twice"), "{said:?}");
    }

    proptest! {
        #[test]
        fn any_document_is_taken(text in "(\\[{0,2}(limits|server|gateway|issuer|policy)(\\.limits|\\.auth)?\\]{0,2}|ceiling|auth|limits|server|keepalive|=|1|\\[|\\]|\\{|\\}|\n|\\.| ){0,30}") {
            let (document, errors) = DeTable::parse_recoverable(&text);
            if errors.is_empty() {
                let mut document = document;
                apply(document.get_mut(), &mut Problems::default());
                for key in RENAMED {
                    if let [table] = key.table
                        && let Some(DeValue::Table(table)) = document.get_ref().get(*table).map(Spanned::get_ref)
                    {
                        prop_assert!(!table.contains_key(key.before));
                    }
                }
            }
        }
    }
}
