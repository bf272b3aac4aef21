//! What is wrong with a configuration: every problem with its file, line, column and fix.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::OnceLock;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Legal but unwise.
    Warning,
    /// The configuration cannot be used.
    Error,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// A stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// Where, as a byte range of the file; `None` when it is about the file as a whole.
    pub span: Option<Range<usize>>,
}

/// Problems as they are collected.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes an error.
    pub fn error(
        &mut self,
        code: &'static str,
        span: impl Into<Option<Range<usize>>>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Error, code, span.into(), message.into(), hint.into());
    }

    /// Notes something legal but unwise.
    pub fn warn(
        &mut self,
        code: &'static str,
        span: impl Into<Option<Range<usize>>>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Warning, code, span.into(), message.into(), hint.into());
    }

    fn push(
        &mut self,
        severity: Severity,
        code: &'static str,
        span: Option<Range<usize>>,
        message: String,
        hint: String,
    ) {
        self.0.push(Problem { severity, code, message, hint, span });
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether any of them is an error.
    #[must_use]
    pub fn any_error(&self) -> bool {
        self.0.iter().any(|p| p.severity == Severity::Error)
    }

    /// All of them, in the order of the file.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.0.sort_by_key(|p| p.span.as_ref().map_or(usize::MAX, |s| s.start));
        self.0
    }
}

/// A file's text and name, to which problems refer.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name to show.
    pub name: String,
    /// The text.
    pub text: String,
    /// Where each line begins, found when it is first asked for.
    lines: OnceLock<Vec<usize>>,
}

impl Source {
    /// A file of this name with this text.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), lines: OnceLock::new() }
    }

    /// Line and column of a byte, both from 1; the column counts characters.
    #[must_use]
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let starts = self
            .lines
            .get_or_init(|| std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect());
        let byte = byte.min(self.text.len());
        let line = starts.partition_point(|start| *start <= byte);
        let start = line.checked_sub(1).and_then(|i| starts.get(i)).copied().unwrap_or_default();
        let column = self.text.get(start..byte).unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// `name:line` of a span's start.
    #[must_use]
    pub fn place(&self, span: &Range<usize>) -> String {
        format!("{}:{}", self.name, self.position(span.start).0)
    }

    /// Renders one problem the way rustc does.
    #[must_use]
    pub fn render(&self, problem: &Problem) -> String {
        let kind = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut out = format!("{kind}[{}]: {}\n", problem.code, problem.message);
        if let Some(span) = &problem.span {
            let (line, column) = self.position(span.start);
            let text = self.text.lines().nth(line - 1).unwrap_or_default();
            let gutter = " ".repeat(line.to_string().len());
            let rest = text.chars().count().saturating_sub(column - 1).max(1);
            let marked =
                self.text.get(span.clone()).map_or(1, |s| s.lines().next().unwrap_or_default().chars().count());
            let marks = "^".repeat(marked.clamp(1, rest));
            let _ = writeln!(out, "{gutter}--> {}:{line}:{column}", self.name);
            let _ = writeln!(out, "{gutter} |\n{line} | {}", masked(text));
            let _ = writeln!(out, "{gutter} | {}{marks}", " ".repeat(column - 1));
            if !problem.hint.is_empty() {
                let _ = writeln!(out, "{gutter} = help: {}", problem.hint);
            }
        } else {
            let _ = writeln!(out, " --> {}", self.name);
            if !problem.hint.is_empty() {
                let _ = writeln!(out, "  = help: {}", problem.hint);
            }
        }
        out
    }
}

/// A line of the file with everything starred out that may be a secret: people paste tokens where a
/// hash belongs, and problems are shown in logs and on the status page. Columns stay where they are.
fn masked(line: &str) -> String {
    const SECRET: [&str; 9] =
        ["sha256", "token", "password", "secret", "value", "key", "bearer", "api_key", "credential"];
    let (key, value) = line.split_once('=').unwrap_or(("", line));
    let name = key.trim().rsplit('.').next().unwrap_or_default().trim_matches('"');
    if name == "name" {
        return line.to_owned();
    }
    let all = SECRET.contains(&name) && !value.trim_start().starts_with(['{', '[']);
    let is_part = |c: char| if all { !" \"'".contains(c) } else { c.is_ascii_alphanumeric() || "_-+=".contains(c) };
    let looks_made = |run: &str| {
        run.len() >= 16 && run.contains(|c: char| c.is_ascii_digit()) && run.contains(|c: char| c.is_ascii_alphabetic())
    };
    let mut out = line[..line.len() - value.len()].to_owned();
    let mut rest = value;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_part(c) != is_part(first)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if is_part(first) && (all || looks_made(run)) {
            out.extend(run.chars().map(|_| '*'));
        } else {
            out.push_str(run);
        }
        rest = after;
    }
    out
}

/// The candidate nearest to `word`, if one is near enough to be what was meant.
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.chars().count().div_ceil(3);
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::levenshtein(&word, &c.to_lowercase()), c))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        assert_eq!(did_you_mean("sha265", ["sha256", "name"]), Some("sha256"));
        assert_eq!(did_you_mean("Scope", ["scopes", "cidrs"]), Some("scopes"));
        assert_eq!(did_you_mean("colour", ["scopes", "cidrs"]), None);
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        for (line, shown) in [
            ("sha256 = \"hunter2\"", "sha256 = \"*******\""),
            ("  password = 'a b'  # mine", "  password = '* *'  * ****"),
            ("tokn = \"0123456789abcdef\"", "tokn = \"****************\""),
            ("auth = \"a.0123456789abcdef-x.b\"", "auth = \"a.******************.b\""),
            ("auth = { kind = \"token\", file = \"a/b.token\" }", "auth = { kind = \"token\", file = \"a/b.token\" }"),
            ("name = \"open-webui-kitchen-2\"", "name = \"open-webui-kitchen-2\""),
            ("expires = 2026-11-25T21:24:18Z", "expires = 2026-11-25T21:24:18Z"),
            ("scopes = [\"operator.read\", \"operator.wrote\"]", "scopes = [\"operator.read\", \"operator.wrote\"]"),
            ("0123456789abcdefg", "*****************"),
        ] {
            assert_eq!(masked(line), shown);
        }
    }

    #[test]
    fn a_problem_shows_its_place() {
        let source = Source::new("config.toml", "a = 1\nwörd = \"x\"\n");
        let problem = Problem {
            severity: Severity::Error,
            code: "unknown-key",
            message: "unknown key `wörd`".into(),
            hint: "did you mean `word`?".into(),
            span: Some(6..11),
        };
        let text = source.render(&problem);
        assert!(text.contains("--> config.toml:2:1"), "{text}");
        assert!(text.contains("^^^^\n"), "{text}");
        assert!(text.contains("did you mean"), "{text}");
    }
}
