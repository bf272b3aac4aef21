//! The text of `openclaw.json`: JSON5, and the files it includes.

use super::Fault;
use serde_json::Value;
use std::path::Path;

/// As deep as the gateway itself follows includes.
const DEEPEST: usize = 10;

/// Reads a file and what it includes.
pub(super) fn read(path: &Path) -> Result<Value, Fault> {
    file(path, 0)
}

fn file(path: &Path, depth: usize) -> Result<Value, Fault> {
    if depth > DEEPEST {
        return Err(Fault::Include(path.to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|e| Fault::Unreadable(path.to_owned(), e))?;
    let value = json5::from_str(&text).map_err(|e| Fault::Syntax(path.to_owned(), e.to_string()))?;
    included(value, path, depth)
}

/// Puts in what `$include` names; keys beside it win, and of several files the later one.
fn included(value: Value, path: &Path, depth: usize) -> Result<Value, Fault> {
    match value {
        Value::Object(mut own) => {
            let names: Vec<String> = match own.remove("$include") {
                Some(Value::String(name)) => vec![name],
                Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                _ => Vec::new(),
            };
            let mut whole = Value::Object(serde_json::Map::new());
            for name in names {
                let other = path.parent().unwrap_or(Path::new("")).join(name);
                merge(&mut whole, file(&other, depth + 1)?);
            }
            for (key, value) in own {
                merge(&mut whole, serde_json::json!({ key: included(value, path, depth)? }));
            }
            Ok(whole)
        }
        other => Ok(other),
    }
}

fn merge(into: &mut Value, other: Value) {
    match (into, other) {
        (Value::Object(into), Value::Object(other)) => {
            for (key, value) in other {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, other) => *into = other,
    }
}
