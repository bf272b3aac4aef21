//! Edits of a configuration file that keep its comments and its order.

use super::super::check;
use crate::atomic_file;
use crate::config::diagnostic::{Problem, Severity, Source};
use crate::config::environment::System;
use crate::config::{self, Loaded};
use jiff::Timestamp;
use std::fs::File;
use std::path::Path;
use toml_edit::{Array, ArrayOfTables, Datetime, DocumentMut, InlineTable, Item, Table, value};

/// What was written.
pub(super) struct Edited<T> {
    pub value: T,
    /// What was wrong with the file already, and still is; empty where it is right.
    pub wrong: String,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum EditError {
    /// The file cannot be read, locked or written.
    #[error("{0}")]
    File(String),
    /// The file is not TOML, so only a person can edit it.
    #[error("{0}")]
    Syntax(String),
    /// No token has this name in the file.
    #[error("no token is named `{0}`")]
    Missing(String),
    /// The change cannot be made.
    #[error("{0}")]
    Change(String),
    /// The file would be wrong.
    #[error("the file would have errors; nothing was written\n\n{0}")]
    Wrong(String),
}

/// What an edited file must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EditRequirement {
    /// Valid: it may grant something.
    Right,
    /// No worse than before. It takes something away, which must be possible while other things are wrong.
    NoWorse,
}

/// Changes a file under a lock, and writes it whole or not at all. It is checked as a reload checks it, its
/// own tests included, before it is written.
pub(super) fn edit<T>(
    path: &Path,
    demand: EditRequirement,
    change: impl FnOnce(&mut DocumentMut) -> Result<T, EditError>,
) -> Result<Edited<T>, EditError> {
    let place = |e: std::io::Error| EditError::File(format!("{}: {e}", path.display()));
    // The file behind a symbolic link, so that the link stays one.
    let path = std::fs::canonicalize(path).map_err(place)?;
    let place = |e: std::io::Error| EditError::File(format!("{}: {e}", path.display()));
    // The directory, because the file itself is replaced.
    let dir = path.parent().unwrap_or(Path::new("/"));
    let lock = File::open(dir).map_err(place)?;
    lock.lock().map_err(place)?;
    let text = std::fs::read_to_string(&path).map_err(place)?;
    let mut document: DocumentMut =
        text.parse().map_err(|e| EditError::Syntax(format!("{} is not valid TOML: {e}", path.display())))?;
    let value = change(&mut document)?;
    let new = document.to_string();
    let name = path.display().to_string();
    let after = validated(&name, &new);
    let mut before = match demand {
        EditRequirement::Right => Vec::new(),
        EditRequirement::NoWorse => errors(&validated(&name, &text)).map(key).collect(),
    };
    // Each error that was there before counts once.
    let added: String = errors(&after)
        .filter(|problem| match before.iter().position(|known| *known == key(problem)) {
            Some(index) => {
                before.swap_remove(index);
                false
            }
            None => true,
        })
        .map(|problem| after.source.render(problem) + "\n")
        .collect();
    if !added.is_empty() {
        return Err(EditError::Wrong(added.trim_end().to_owned()));
    }
    atomic_file::replace(&path, new.as_bytes()).map_err(place)?;
    let wrong = errors(&after).map(|problem| after.source.render(problem) + "\n").collect();
    Ok(Edited { value, wrong })
}

fn validated(name: &str, text: &str) -> Loaded {
    check::dry_run(config::parse(Source::new(name, text), &System)).0
}

fn errors(loaded: &Loaded) -> impl Iterator<Item = &Problem> {
    loaded.problems.iter().filter(|p| p.severity == Severity::Error)
}

/// What tells two errors apart, wherever they stand.
fn key(problem: &Problem) -> (&'static str, String) {
    (problem.code, problem.message.clone())
}

/// Takes out the policy's own tests that name this token. Returns their names.
pub(super) fn drop_tests(document: &mut DocumentMut, token: &str) -> Vec<String> {
    let mut dropped = Vec::new();
    if let Some(tests) = document.get_mut("test").and_then(Item::as_array_of_tables_mut) {
        tests.retain(|test| {
            let about = test.get("as").and_then(|who| who.get("token")).and_then(Item::as_str) == Some(token);
            if about {
                dropped.push(test.get("name").and_then(Item::as_str).unwrap_or_default().to_owned());
            }
            !about
        });
    }
    dropped
}

/// Adds a token's table behind the others.
pub(super) fn add(
    document: &mut DocumentMut,
    name: &str,
    hash: &str,
    scopes: &[String],
    expires: Option<Timestamp>,
) -> Result<(), EditError> {
    let tokens = document.entry("token").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let tokens = tokens.as_array_of_tables_mut().ok_or_else(|| {
        EditError::Change("`token` is written as an inline array; write it as [[token]] tables".to_owned())
    })?;
    if tokens.iter().any(|t| named(t, name)) {
        return Err(EditError::Change(format!(
            "a token named `{name}` exists already; `scopeshim token rotate {name}` gives it a new secret"
        )));
    }
    let mut table = Table::new();
    table.insert("name", value(name));
    table.insert("sha256", value(hash));
    table.insert("scopes", value(scopes.iter().collect::<Array>()));
    if let Some(at) = expires {
        table.insert("expires", value(datetime(at)?));
    }
    tokens.push(table);
    Ok(())
}

/// Changes how this proxy proves itself to mode trusted-proxy.
pub(super) fn trust(document: &mut DocumentMut, user_header: &str) -> Result<(), EditError> {
    let gateway = document.get_mut("gateway").and_then(Item::as_table_like_mut);
    let gateway = gateway.ok_or_else(|| EditError::Change("there is no table [gateway]".to_owned()))?;
    let mut auth = InlineTable::new();
    auth.insert("kind", "trusted-proxy".into());
    auth.insert("user_header", user_header.into());
    gateway.insert("auth", value(auth));
    Ok(())
}

/// Gives a token a new hash; the old one goes on until `until`.
pub(super) fn rotate(document: &mut DocumentMut, name: &str, hash: &str, until: Timestamp) -> Result<(), EditError> {
    let table = find(document, name)?;
    let old = table.get("sha256").and_then(Item::as_str).unwrap_or_default().to_owned();
    let mut previous = InlineTable::new();
    previous.insert("sha256", old.into());
    previous.insert("until", datetime(until)?.into());
    table.insert("sha256", value(hash));
    table.insert("previous", value(previous));
    Ok(())
}

/// Takes a token's table out.
pub(super) fn revoke(document: &mut DocumentMut, name: &str) -> Result<(), EditError> {
    find(document, name)?;
    if let Some(tokens) = document.get_mut("token").and_then(Item::as_array_of_tables_mut) {
        tokens.retain(|t| !named(t, name));
    }
    Ok(())
}

fn find<'a>(document: &'a mut DocumentMut, name: &str) -> Result<&'a mut Table, EditError> {
    let tokens = document.get_mut("token").and_then(Item::as_array_of_tables_mut);
    let found = tokens.and_then(|t| t.iter_mut().find(|t| named(t, name)));
    found.ok_or_else(|| EditError::Missing(name.to_owned()))
}

fn named(table: &Table, name: &str) -> bool {
    table.get("name").and_then(Item::as_str) == Some(name)
}

fn datetime(at: Timestamp) -> Result<Datetime, EditError> {
    // Whole seconds are enough, and read better.
    let at = Timestamp::from_second(at.as_second()).map_err(|e| EditError::Change(e.to_string()))?;
    at.to_string().parse().map_err(|e| EditError::Change(format!("{at}: {e}")))
}
