//! A file with many `[[token]]` tables, read piece by piece: all of it at once takes some kilobytes for each table.
//!
//! This reads files without a fault only. Where anything is doubtful the caller reads the file as a whole, and finds
//! every problem there.

use super::renamed_keys;
use crate::config::diagnostic::Problems;
use crate::config::file::{At, File, Token, placed};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::ops::Range;
use toml::de::{DeTable, Deserializer};

/// How much of a file is read at once, in bytes, unless one table alone is longer.
pub(super) const PIECE: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenTables {
    token: Vec<At<Token>>,
}

/// Reads a file; `None` where it has to be read as a whole.
pub(super) fn read(text: &str, piece: usize) -> Option<File> {
    let parts = Parts::of(text, piece)?;
    let mut file: File = clean(&parts.rest, parts.rest_at, |rest| !rest.contains_key("token"))?;
    for piece in parts.tokens {
        let at = vec![(0, piece.start)];
        file.token.extend(clean::<TokenTables>(text.get(piece)?, at, |_| true)?.token);
    }
    Some(file)
}

/// Reads a text that stands in the file where `at` says; `None` if there is anything to say about it.
fn clean<T: DeserializeOwned>(text: &str, at: Vec<(usize, usize)>, fits: fn(&DeTable<'_>) -> bool) -> Option<T> {
    let (mut document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() || !fits(document.get_ref()) {
        return None;
    }
    let mut problems = Problems::default();
    renamed_keys::apply(document.get_mut(), &mut problems);
    if problems.count() > 0 {
        return None;
    }
    placed(at, || T::deserialize(Deserializer::from(document)).ok())
}

/// A file, taken apart between its tables.
struct Parts {
    /// Whole `[[token]]` tables, with the tables that belong to each.
    tokens: Vec<Range<usize>>,
    /// Everything else, in its order.
    rest: String,
    /// Where the parts of `rest` begin, there and in the file.
    rest_at: Vec<(usize, usize)>,
}

impl Parts {
    fn of(text: &str, piece: usize) -> Option<Self> {
        // A text of several lines may hold what looks like a table.
        if text.contains("\"\"\"") || text.contains("'''") {
            return None;
        }
        let mut parts = Self { tokens: Vec::new(), rest: String::new(), rest_at: Vec::new() };
        let (mut begun, mut in_tokens) = (0, false);
        let ends = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        let mut line_start = 0;
        for line_end in ends.chain([text.len()]) {
            let line = text.get(line_start..line_end)?;
            let next = match Header::of(line) {
                Header::None => in_tokens,
                Header::Token => true,
                Header::OfToken if in_tokens => true,
                Header::OfToken | Header::Unclear => return None,
                Header::Other => false,
            };
            let is_full = in_tokens && Header::of(line) == Header::Token && line_start - begun >= piece;
            if next != in_tokens || is_full {
                parts.close(text, begun..line_start, in_tokens);
                (begun, in_tokens) = (line_start, next);
            }
            line_start = line_end;
        }
        parts.close(text, begun..text.len(), in_tokens);
        Some(parts)
    }

    fn close(&mut self, text: &str, range: Range<usize>, of_tokens: bool) {
        if of_tokens {
            self.tokens.push(range);
        } else {
            self.rest_at.push((self.rest.len(), range.start));
            self.rest.push_str(text.get(range).unwrap_or_default());
        }
    }
}

/// What a line begins, by its first characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    None,
    /// A `[[token]]`.
    Token,
    /// A table within the token above it.
    OfToken,
    /// Another table.
    Other,
    /// A table or a value, such as a list within a list.
    Unclear,
}

impl Header {
    fn of(line: &str) -> Self {
        if line.starts_with("[[token]]") {
            return Self::Token;
        }
        if line.starts_with("[token.") || line.starts_with("[[token.") {
            return Self::OfToken;
        }
        let Some(inner) = line.trim_start().strip_prefix('[') else { return Self::None };
        let inner = inner.strip_prefix('[').unwrap_or(inner);
        let name: &str = inner.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).next().unwrap_or_default();
        if matches!(name, "" | "true" | "false" | "inf" | "nan" | "token") { Self::Unclear } else { Self::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::super::whole;
    use super::*;
    use proptest::prelude::*;

    fn as_a_whole(text: &str) -> Option<File> {
        let mut problems = Problems::default();
        whole(text, &mut problems).filter(|_| problems.count() == 0)
    }

    fn token(number: usize) -> String {
        format!(
            "[[token]]\nname = \"t{number}\"\nsha256 = \"{number:064}\"\nscopes = [\n  \"operator.read\", # one\n]\n"
        )
    }

    #[test]
    fn a_file_in_pieces_says_what_the_whole_says_and_where() {
        let previous = "[token.previous]\nsha256 = \"a\"\nuntil = 2027-01-01T00:00:00Z\n";
        let text = format!(
            "# first\n[[listen]]\naddress = \"127.0.0.1:1\"\n{}{previous}{}[policy]\nexcess = \"narrow\"\n{}[[grant]]\nto = {{ token = \"t1\" }}\n",
            token(1),
            token(2),
            token(3)
        );
        for piece in [1, 100, 10_000] {
            let read = read(&text, piece).unwrap();
            assert_eq!(format!("{read:?}"), format!("{:?}", as_a_whole(&text).unwrap()));
            let names: Vec<_> = read.token.iter().map(|t| text.get(t.get().name.span()).unwrap()).collect();
            assert_eq!(names, ["\"t1\"", "\"t2\"", "\"t3\""]);
            assert_eq!(text.get(read.policy.excess.unwrap().span()), Some("\"narrow\""));
        }
    }

    #[test]
    fn what_is_doubtful_is_read_as_a_whole() {
        let token = token(1);
        for text in [
            format!("{token}name = \"again\"\n"),
            format!("{token}colour = 1\n"),
            format!("token = []\n{token}"),
            format!("[ token ]\n{token}"),
            format!("  [[ token ]]\nname = \"a\"\n{token}"),
            format!("{token}[policy]\n[token.previous]\nsha256 = \"\"\n"),
            format!("[policy]\n{token}[policy]\n"),
            format!("[policy]\ntools = [\n{token}[\"a\"]\n]\n"),
            format!("[policy]\ntools = [\n{token}[true]\n]\n"),
            format!("[policy]\nexcess = \"\"\"\n{token}\"\"\"\n"),
            format!("{token}limits = {{ concurrent_sockets = 1 }}\n"),
        ] {
            assert!(read(&text, 1).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_reads_in_pieces_that_does_not_as_a_whole(
            lines in prop::collection::vec(prop::sample::select(&[
                "[[token]]", "name = \"a\"", "sha256 = \"b\"", "scopes = [", "\"operator.read\"", "]", "[token.previous]",
                "until = \"x\"", "[policy]", "excess = \"narrow\"", "tools = [", "[\"a\"]", "[true]", "  [[token]]", "[[grant]]",
                "to = { token = \"a\" }", "[[test]]", "name = '''", "'''", "claims = { a = [", "] }", "# [[token]]", "[server]",
                "threads = 1", "[token]", "[[token.previous]]", "expires = 2027-01-01T00:00:00Z", "\"", "[[listen]]",
            ]), 0..24),
            piece in 1..80_usize,
        ) {
            let text = lines.join("\n");
            if let Some(read) = read(&text, piece) {
                prop_assert_eq!(format!("{:?}", read), format!("{:?}", as_a_whole(&text).unwrap()));
            }
        }
    }
}
