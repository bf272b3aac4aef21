//! Which tokens a file lists, whatever else is wrong with it.

use crate::secret::TokenHash;
use jiff::Timestamp;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// The tokens that a file lists, by the hash as it is written in lower case, each with the moment it
/// ends, if it does.
pub type TokenList = BTreeMap<String, Option<Timestamp>>;

/// Reads the tokens of a file that may be wrong. `None` where it names no caller: where it
/// is not TOML, or has no `[[listen]]`, as when its beginning alone, or nothing at all, was saved.
#[must_use]
pub fn listed(text: &str) -> Option<TokenList> {
    let file: Table = text.parse().ok()?;
    tables(file.get("listen")).next()?;
    let mut listed = TokenList::new();
    for token in tables(file.get("token")) {
        let expires = token.get("expires").and_then(moment);
        if let Some(hash) = hash(token) {
            listed.insert(hash, expires);
        }
        if let Some(previous) = token.get("previous").and_then(Value::as_table)
            && let Some(hash) = hash(previous)
        {
            let until = previous.get("until").and_then(moment);
            listed.insert(hash, [until, expires].into_iter().flatten().min());
        }
    }
    Some(listed)
}

/// An array of tables; a single table counts as one, for a bracket is soon forgotten.
fn tables(value: Option<&Value>) -> impl Iterator<Item = &Table> {
    let one = value.and_then(Value::as_table);
    let many = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table);
    one.into_iter().chain(many)
}

fn hash(table: &Table) -> Option<String> {
    table.get("sha256")?.as_str().and_then(TokenHash::from_hex).map(TokenHash::to_hex)
}

fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Datetime(at) => at.to_string().parse().ok(),
        Value::String(at) => at.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_a_file_that_is_wrong_elsewhere() {
        let (a, b, c) = ("a".repeat(64), "b".repeat(64), "C".repeat(64));
        let text = format!(
            "[[listen]]\naddres = 3\n[gatewya]\n[[token]]\nsha256 = \"{a}\"\nexpires = 2027-01-31T12:00:00Z\n\
             previous = {{ sha256 = \"{b}\", until = \"2027-01-01T00:00:00Z\" }}\n[[token]]\nname = 3\nsha256 = \"{c}\"\n\
             [[token]]\nsha256 = \"short\"\n"
        );
        let listed = listed(&text).unwrap();
        let ends: Vec<_> = listed.values().map(|at| at.map(|at| at.to_string())).collect();
        assert_eq!(ends, [Some("2027-01-31T12:00:00Z".into()), Some("2027-01-01T00:00:00Z".into()), None]);
        assert!(listed.contains_key(&"c".repeat(64)));
    }

    #[test]
    fn a_file_that_is_cut_short_says_nothing_about_anybody() {
        for text in [
            "",
            "# written by hand\n",
            "[[listen]]\naddress = \"127",
            "[gateway]\nurl = \"http://x\"\n",
            "listen = []\n",
        ] {
            assert_eq!(listed(text), None, "{text:?}");
        }
        assert_eq!(listed("[[listen]]\n"), Some(TokenList::new()));
    }
}
