//! Text to [`File`], with every problem found on the way and not only the first.
//!
//! serde stops at its first error. So the part it complains about is noted and taken out of the
//! parsed document, and the rest is read again, until nothing is left to complain about.

mod token_tables;

use super::diagnostic::{Problems, did_you_mean};
use super::file::File;
use super::renamed_keys;
use serde::Deserialize;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

/// More problems than this are not looked for: the file is something else altogether.
const MAX_PROBLEMS: usize = 100;

/// Reads a configuration file's text.
pub fn read(text: &str, problems: &mut Problems) -> Option<File> {
    token_tables::read(text, token_tables::PIECE).or_else(|| whole(text, problems))
}

fn whole(text: &str, problems: &mut Problems) -> Option<File> {
    let (mut document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors.into_iter().take(MAX_PROBLEMS) {
            problems.error(
                "syntax",
                error.span(),
                error.message().to_owned(),
                "fix the TOML syntax; see https://toml.io",
            );
        }
        return None;
    }
    renamed_keys::apply(document.get_mut(), problems);
    for _ in 0..MAX_PROBLEMS {
        match File::deserialize(Deserializer::from(document.clone())) {
            Ok(file) => return Some(file),
            Err(error) => {
                let span = error.span();
                note(problems, error.message(), span.clone());
                let removed = span.is_some_and(|span| remove(document.get_mut(), &span));
                if !removed {
                    return None;
                }
            }
        }
    }
    None
}

fn note(problems: &mut Problems, message: &str, span: Option<Range<usize>>) {
    if let Some((key, known)) = unknown_field(message) {
        let hint = did_you_mean(key, known.iter().copied())
            .map_or_else(|| format!("known here: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
        problems.error("unknown-key", span, format!("unknown key `{key}`"), hint);
    } else if let Some(field) = message.strip_prefix("missing field `").and_then(|m| m.strip_suffix('`')) {
        problems.error(
            "missing-key",
            span,
            format!("`{field}` is missing"),
            format!("add `{field} = …` to this table"),
        );
    } else {
        problems.error("wrong-type", span, without_value(message), "see config.example.toml");
    }
}

/// serde's words without the text that stood in the file, which may be a secret in the wrong place:
/// ``invalid type: string "…", expected a sequence``, ``unknown variant `…`, expected …``.
fn without_value(message: &str) -> String {
    let Some((said, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let what = said.split(['"', '`']).next().unwrap_or_default().trim_end();
    format!("{what}, expected {expected}")
}

/// Takes serde's own words apart: ``unknown field `a`, expected one of `b`, `c` ``.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, expected) = rest.split_once('`')?;
    Some((key, expected.split('`').skip(1).step_by(2).collect()))
}

/// Takes out the key, value or table that stands exactly at `span`.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let hit = table
        .iter()
        .find(|(key, value)| key.span() == *span || (value.span() == *span && !is_tables(value)))
        .map(|(key, _)| key.clone());
    if let Some(key) = hit {
        table.remove(&key);
        return true;
    }
    for (_, value) in table.iter_mut() {
        if remove_within(value, span) {
            return true;
        }
    }
    false
}

/// An array of tables stands where its first table stands: only its tables may match.
fn is_tables(value: &Spanned<DeValue<'_>>) -> bool {
    value.get_ref().as_array().is_some_and(|items| items.iter().any(|item| item.span() == value.span()))
}

fn remove_within(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => remove(table, span),
        DeValue::Array(items) => {
            if let Some(index) = items.iter().position(|item| item.span() == *span) {
                let mut rest = DeArray::new();
                let others = items.iter().enumerate().filter(|(i, _)| *i != index);
                others.for_each(|(_, item)| rest.push(item.clone()));
                *items = rest;
                return true;
            }
            items.iter_mut().any(|item| remove_within(item, span))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<(&'static str, String)> {
        let mut problems = Problems::default();
        let _ = read(text, &mut problems);
        problems.into_sorted().into_iter().map(|p| (p.code, p.message)).collect()
    }

    #[test]
    fn several_problems_are_all_found() {
        let found = codes(
            "colour = 1\n[server]\nthreads = \"two\"\ndrian = \"1s\"\n[[token]]\nname = \"a\"\nsha265 = \"x\"\n[[token]]\nname = 3\nsha256 = \"y\"\n",
        );
        let codes: Vec<_> = found.iter().map(|(c, _)| *c).collect();
        assert_eq!(codes.iter().filter(|c| **c == "unknown-key").count(), 3, "{found:?}");
        assert!(codes.iter().filter(|c| **c == "wrong-type").count() >= 2, "{found:?}");
        assert!(codes.contains(&"missing-key"), "{found:?}");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_not_repeated() {
        let found = codes("[[token]]\nname = \"a\"\nsha256 = \"y\"\nscopes = \"s3cret, expected \\\" x\"\n");
        assert!(found.iter().any(|(code, message)| *code == "wrong-type" && message.contains("expected a sequence")));
        assert!(!format!("{found:?}").contains("s3cret"), "{found:?}");
    }

    #[test]
    fn broken_toml_is_a_syntax_problem() {
        assert_eq!(codes("[listen\n").first().map(|p| p.0), Some("syntax"));
    }

    #[test]
    fn an_empty_file_reads() {
        assert!(read("", &mut Problems::default()).is_some());
    }
}
