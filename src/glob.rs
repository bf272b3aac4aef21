//! Texts in which `*` stands for anything.

use std::fmt;

/// A text to match, letter by letter, `*` for any run of characters, none included.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    /// Any text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one text it matches, if there is only one.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&*self.0)
    }

    /// Whether `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return *self.0 == *text };
        let Some(mut text) = text.strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            // The leftmost place leaves the most for what follows.
            let Some(at) = text.find(part) else { return false };
            text = text.get(at + part.len()..).unwrap_or_default();
        }
        text.ends_with(last)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stand_for_anything() {
        for (glob, yes, no) in [
            ("abc", &["abc"][..], &["ab", "abcd", ""][..]),
            ("*", &["", "a", "a*b"], &[]),
            ("*@example.org", &["a@example.org", "@example.org"], &["a@example.org.evil", "a@example,org"]),
            ("team-*-ops", &["team-a-ops", "team--ops", "team-x-ops-ops"], &["team-ops", "team-a-op"]),
            ("a*b*c", &["abc", "aXbYc", "abbc"], &["acb", "ab"]),
            ("a*a", &["aa", "aba"], &["a"]),
        ] {
            for text in yes {
                assert!(Glob::new(glob).matches(text), "{glob} {text}");
            }
            for text in no {
                assert!(!Glob::new(glob).matches(text), "{glob} {text}");
            }
        }
    }

    /// The textbook definition.
    fn slow(glob: &[char], text: &[char]) -> bool {
        match (glob.first(), text.first()) {
            (None, None) => true,
            (Some('*'), _) => slow(&glob[1..], text) || (!text.is_empty() && slow(glob, &text[1..])),
            (Some(a), Some(b)) if a == b => slow(&glob[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(glob in "[ab*é]{0,7}", text in "[abé]{0,8}") {
            let (g, t): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
            prop_assert_eq!(Glob::new(&glob).matches(&text), slow(&g, &t));
        }
    }
}
