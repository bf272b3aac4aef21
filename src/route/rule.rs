//! A path or a prefix that a policy names, held against every reading of a request's path.

use super::{Pattern, builtin};
use crate::request_path::Path;
use std::sync::Arc;

/// A path or a prefix in the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    pattern: Pattern,
    /// In the form that readings of a path have: decoded, in lower case, without the last slash.
    canonical: Arc<str>,
}

/// What the readings of a path say to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// None of them is covered.
    None,
    /// Some are, some are not.
    Some,
    /// All are.
    All,
}

impl PathRule {
    /// This path and no other.
    #[must_use]
    pub fn exact(path: Path<'_>) -> Self {
        Self { pattern: Pattern::Exact(Arc::from(path.as_str())), canonical: Arc::from(path.canonical()) }
    }

    /// Every path that begins so.
    #[must_use]
    pub fn prefix(path: Path<'_>) -> Self {
        Self { pattern: Pattern::Prefix(Arc::from(path.as_str())), canonical: Arc::from(path.canonical()) }
    }

    /// The rule as it is written.
    #[must_use]
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The rule in the form that readings have.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// Whether it may cover a reading: the gateway takes `%` for the end of a prefix, too.
    #[must_use]
    pub fn may_cover(&self, reading: &str) -> bool {
        self.covers_reading(reading, &['/', '%'])
    }

    fn covers_reading(&self, reading: &str, ends: &[char]) -> bool {
        match &self.pattern {
            Pattern::Prefix(_) if &*self.canonical == "/" => true,
            Pattern::Prefix(_) => {
                reading.strip_prefix(&*self.canonical).is_some_and(|rest| rest.is_empty() || rest.starts_with(ends))
            }
            _ => reading == &*self.canonical,
        }
    }

    /// How a path fits one of several rules, in all its readings.
    #[must_use]
    pub fn fit(rules: &[Self], path: Path<'_>) -> Fit {
        let as_it_came = rules.iter().any(|r| r.pattern.covers(path.as_str()));
        if acts_as_it_came(path) {
            return if as_it_came { Fit::All } else { Fit::None };
        }
        let readings = path.readings();
        if as_it_came && readings.iter().all(|reading| rules.iter().any(|r| r.covers_reading(reading, &['/']))) {
            Fit::All
        } else if as_it_came || readings.iter().any(|reading| rules.iter().any(|r| r.may_cover(reading))) {
            Fit::Some
        } else {
            Fit::None
        }
    }
}

/// Whether the gateway can act on a path in one way only: it is one of its own routes, plainly written.
pub(super) fn acts_as_it_came(path: Path<'_>) -> bool {
    path.is_plain() && builtin::is_built_in(path.as_str())
}
