//! Edits of a configuration file that keep its comments and its order.

use crate::config::diagnostic::Source;
use crate::config::surroundings::System;
use crate::config::{self};
use crate::files;
use jiff::Timestamp;
use std::fs::File;
use std::path::Path;
use toml_edit::{Array, ArrayOfTables, Datetime, DocumentMut, InlineTable, Item, Table, value};

/// Changes a file under a lock, and writes it whole or not at all. What would not pass `check` is not
/// written.
pub(super) fn edit<T>(path: &Path, change: impl FnOnce(&mut DocumentMut) -> Result<T, String>) -> Result<T, String> {
    let place = |e: std::io::Error| format!("{}: {e}", path.display());
    // The file behind a symbolic link, so that the link stays one.
    let path = std::fs::canonicalize(path).map_err(place)?;
    let place = |e: std::io::Error| format!("{}: {e}", path.display());
    // The directory, because the file itself is replaced.
    let dir = path.parent().unwrap_or(Path::new("/"));
    let lock = File::open(dir).map_err(place)?;
    lock.lock().map_err(place)?;
    let text = std::fs::read_to_string(&path).map_err(place)?;
    let mut document: DocumentMut = text.parse().map_err(|e| format!("{}: {e}", path.display()))?;
    let result = change(&mut document)?;
    let new = document.to_string();
    let checked = config::parse(Source::new(path.display().to_string(), new.clone()), &System);
    if checked.config.is_none() {
        return Err(format!(
            "the file would not be right any more; nothing was written\n\n{}",
            checked.render().trim_end()
        ));
    }
    files::replace(&path, new.as_bytes()).map_err(place)?;
    Ok(result)
}

/// Adds a token's table behind the others.
pub(super) fn add(
    document: &mut DocumentMut,
    name: &str,
    hash: &str,
    scopes: &[String],
    expires: Option<Timestamp>,
) -> Result<(), String> {
    let tokens = document.entry("token").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let tokens =
        tokens.as_array_of_tables_mut().ok_or("`token` is written as an inline array; write it as [[token]] tables")?;
    if tokens.iter().any(|t| named(t, name)) {
        return Err(format!(
            "a token named `{name}` is there already; `scopeshim token rotate {name}` gives it a new secret"
        ));
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

/// Gives a token a new hash; the old one goes on until `until`.
pub(super) fn rotate(document: &mut DocumentMut, name: &str, hash: &str, until: Timestamp) -> Result<(), String> {
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
pub(super) fn revoke(document: &mut DocumentMut, name: &str) -> Result<(), String> {
    find(document, name)?;
    if let Some(tokens) = document.get_mut("token").and_then(Item::as_array_of_tables_mut) {
        tokens.retain(|t| !named(t, name));
    }
    Ok(())
}

fn find<'a>(document: &'a mut DocumentMut, name: &str) -> Result<&'a mut Table, String> {
    let tokens = document.get_mut("token").and_then(Item::as_array_of_tables_mut);
    let found = tokens.and_then(|t| t.iter_mut().find(|t| named(t, name)));
    found.ok_or_else(|| format!("no token is named `{name}`"))
}

fn named(table: &Table, name: &str) -> bool {
    table.get("name").and_then(Item::as_str) == Some(name)
}

fn datetime(at: Timestamp) -> Result<Datetime, String> {
    // Whole seconds are enough, and read better.
    let at = Timestamp::from_second(at.as_second()).map_err(|e| e.to_string())?;
    at.to_string().parse().map_err(|e| format!("{at}: {e}"))
}
