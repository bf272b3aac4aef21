//! Reading claims.

use crate::config::ClaimPath;
use crate::scope::Scope;
use serde_json::{Map, Value};

/// The claim at a path: first under the whole text as one name (`https://example.org/roles`), then
/// name by name at the dots (`realm_access.roles`).
pub(crate) fn at<'a>(claims: &'a Map<String, Value>, path: &ClaimPath) -> Option<&'a Value> {
    if let Some(value) = claims.get(&*path.0) {
        return Some(value);
    }
    let (first, rest) = path.0.split_once('.')?;
    let mut value = claims.get(first)?;
    for name in rest.split('.') {
        value = value.get(name)?;
    }
    Some(value)
}

/// The texts a claim holds: one, or those of a list. Numbers and truth values count as their text.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Bool(_) | Value::Number(_) => vec![value.to_string()],
        Value::Array(items) => items.iter().filter(|i| !i.is_array()).flat_map(texts).collect(),
        Value::Object(_) | Value::Null => Vec::new(),
    }
}

/// The scopes a claim holds: a text with names between blanks (RFC 8693 §4.2), or a list of names.
/// What cannot be a scope's name is left out: a claim never becomes header syntax.
pub(crate) fn scopes(value: &Value) -> Vec<Scope> {
    let name = |text: &str| Scope::parse(text).ok();
    match value {
        Value::String(text) => text.split_ascii_whitespace().filter_map(name).collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).filter_map(name).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn claims() -> Map<String, Value> {
        let Value::Object(map) = json!({
            "scope": "operator.read operator.write",
            "scp": ["operator.read", "operator.admin,operator.pairing", "a b", 7],
            "realm_access": {"roles": ["ops", "dev"]},
            "https://example.org/roles": ["far.away"],
            "n": 7, "yes": true, "nested": [["x"]],
        }) else {
            unreachable!()
        };
        map
    }

    fn get(path: &str) -> Option<Vec<String>> {
        at(&claims(), &ClaimPath(Arc::from(path))).map(texts)
    }

    #[test]
    fn paths_lead_to_names_and_into_objects() {
        assert_eq!(get("realm_access.roles").unwrap(), ["ops", "dev"]);
        assert_eq!(get("https://example.org/roles").unwrap(), ["far.away"]);
        assert_eq!(get("n").unwrap(), ["7"]);
        assert_eq!(get("yes").unwrap(), ["true"]);
        assert_eq!(get("nested").unwrap(), Vec::<String>::new());
        assert_eq!(get("realm_access.none"), None);
        assert_eq!(get("scope.x"), None);
    }

    #[test]
    fn a_claim_never_becomes_header_syntax() {
        let names = |claim: &str| scopes(&claims()[claim]).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names("scope"), ["operator.read", "operator.write"]);
        assert_eq!(names("scp"), ["operator.read"]);
    }
}
