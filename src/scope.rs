//! Operator scopes: one name, a set of names, and what implies what.
//!
//! Source: gateway contract §2 ("Scope names", "Parsing") and laws 3 and 4. Names are
//! case-sensitive. An unknown name is legal and implies nothing.

use std::fmt;
use std::sync::{Arc, LazyLock};

/// `operator.admin`: satisfies every `operator.*` scope, also ones not yet invented.
pub const ADMIN: &str = "operator.admin";
/// `operator.read`.
pub const READ: &str = "operator.read";
/// `operator.write`: satisfies `operator.read` and what belongs to a conversation.
pub const WRITE: &str = "operator.write";
/// `operator.sessions.write`: satisfies `operator.sessions.read`.
pub const SESSIONS_WRITE: &str = "operator.sessions.write";

/// Every scope some probed gateway release knows (contract §2), in canonical order.
pub const KNOWN: &[&str] = &[
    ADMIN,
    "operator.approvals",
    "operator.pairing",
    "operator.questions",
    READ,
    "operator.sessions.read",
    SESSIONS_WRITE,
    "operator.talk",
    "operator.talk.secrets",
    WRITE,
];

/// What the gateway itself gives a proven shared secret: its `CLI_DEFAULT_OPERATOR_SCOPES`, as the
/// union over releases. Older releases ignore the names they do not know.
pub const DEFAULT_BUNDLE: &[&str] =
    &[ADMIN, "operator.approvals", "operator.pairing", "operator.questions", READ, "operator.talk.secrets", WRITE];

/// The most scopes one request may name. The gateways know eleven.
pub const MAX_REQUESTED: usize = 64;
/// The longest scope name accepted, in bytes.
pub const MAX_NAME: usize = 128;

/// One scope name: 1 to [`MAX_NAME`] visible ASCII characters, without comma or quote.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(Arc<str>);

/// Why a text is not a scope list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeSyntax {
    /// A byte that no scope name can hold.
    #[error(
        "a scope name holds a character that is not allowed (visible ASCII without quotes, commas and backslashes)"
    )]
    Character,
    /// A name longer than [`MAX_NAME`].
    #[error("a scope name is longer than {MAX_NAME} characters")]
    TooLong,
    /// More names than [`MAX_REQUESTED`].
    #[error("more than {MAX_REQUESTED} scopes are named")]
    TooMany,
    /// No name at all.
    #[error("a scope name is empty")]
    Empty,
}

impl Scope {
    /// Reads one name.
    ///
    /// # Errors
    /// [`ScopeSyntax`] when the text is empty, too long, or holds a separator or a control.
    pub fn parse(text: &str) -> Result<Self, ScopeSyntax> {
        if text.is_empty() {
            return Err(ScopeSyntax::Empty);
        }
        if text.len() > MAX_NAME {
            return Err(ScopeSyntax::TooLong);
        }
        // RFC 6749 §3.3 scope-token, less the comma, which the gateway splits on.
        if text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x2b | 0x2d..=0x5b | 0x5d..=0x7e)) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(ScopeSyntax::Character)
        }
    }

    /// A name that stands in this source, such as [`READ`].
    #[must_use]
    pub fn known(name: &'static str) -> Self {
        Self(Arc::from(name))
    }

    /// [`ADMIN`].
    #[must_use]
    pub fn admin() -> &'static Self {
        static IT: LazyLock<Scope> = LazyLock::new(|| Scope::known(ADMIN));
        &IT
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether some probed release knows this name.
    #[must_use]
    pub fn is_known(&self) -> bool {
        KNOWN.contains(&self.as_str())
    }

    /// Whether holding `self` satisfies `needed` (contract §2).
    #[must_use]
    pub fn implies(&self, needed: &Self) -> bool {
        if self == needed {
            return true;
        }
        let needed = needed.as_str();
        match self.as_str() {
            ADMIN => needed.starts_with("operator."),
            WRITE => matches!(needed, READ | "operator.talk" | "operator.sessions.read" | SESSIONS_WRITE),
            READ | SESSIONS_WRITE => needed == "operator.sessions.read",
            _ => false,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of scopes, sorted and without repetition, so that it has one spelling. A copy is the same memory.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct ScopeSet(Arc<[Scope]>);

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut all: Vec<Scope> = scopes.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        Self(Arc::from(all))
    }
}

impl ScopeSet {
    /// The set that allows nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The scopes the gateway's own shared secret stands for.
    #[must_use]
    pub fn default_bundle() -> Self {
        DEFAULT_BUNDLE.iter().map(|name| Scope::known(name)).collect()
    }

    /// Reads the value of one or several `x-openclaw-scopes` lines: names separated by commas or
    /// blanks, stray separators ignored, several lines joined (law 4).
    ///
    /// # Errors
    /// [`ScopeSyntax`] when a name cannot be one, or there are more than [`MAX_REQUESTED`].
    pub fn parse_lines<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, ScopeSyntax> {
        let mut names = Vec::new();
        for line in lines {
            for name in line.split(|b| matches!(b, b',' | b' ' | b'\t')) {
                if name.is_empty() {
                    continue;
                }
                if names.len() == MAX_REQUESTED {
                    return Err(ScopeSyntax::TooMany);
                }
                let name = std::str::from_utf8(name).map_err(|_| ScopeSyntax::Character)?;
                names.push(Scope::parse(name)?);
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Whether no scope is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many scopes are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The scopes in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Whether this very name is in the set.
    #[must_use]
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.binary_search(scope).is_ok()
    }

    /// Whether some scope of the set implies `needed`.
    #[must_use]
    pub fn satisfies(&self, needed: &Scope) -> bool {
        self.0.iter().any(|held| held.implies(needed))
    }

    /// Those scopes of `self` that `granted` does not satisfy.
    #[must_use]
    pub fn excess_over(&self, granted: &Self) -> Self {
        Self(self.0.iter().filter(|s| !granted.satisfies(s)).cloned().collect())
    }

    /// What both sets allow: each scope of one that the other satisfies. Asking for
    /// `operator.admin` with `operator.write` granted gives `operator.write`.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let mine = self.0.iter().filter(|s| other.satisfies(s));
        let theirs = other.0.iter().filter(|s| self.satisfies(s));
        mine.chain(theirs).cloned().collect()
    }

    /// Everything in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&*other.0).cloned().collect()
    }

    /// The set with every known scope it implies spelled out, for gateways that filter by exact
    /// name (contract §7, 2026.9.6).
    #[must_use]
    pub fn expanded(&self) -> Self {
        let known = KNOWN.iter().map(|name| Scope::known(name)).filter(|s| self.satisfies(s));
        self.0.iter().cloned().chain(known).collect()
    }

    /// The canonical header value: names joined by commas; empty for the empty set (law 2).
    #[must_use]
    pub fn to_header(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &str) -> ScopeSet {
        ScopeSet::parse_lines([text.as_bytes()]).unwrap()
    }

    #[test]
    fn commas_blanks_tabs_and_lines_all_separate() {
        let expected = set("operator.read,operator.write");
        for text in
            ["operator.read operator.write", " operator.write ,, operator.read ", "operator.read\toperator.write"]
        {
            assert_eq!(set(text), expected, "{text:?}");
        }
        assert_eq!(ScopeSet::parse_lines([&b"operator.read"[..], b"operator.write"]).unwrap(), expected);
        assert_eq!(expected.to_header(), "operator.read,operator.write");
    }

    #[test]
    fn an_empty_line_is_the_empty_set() {
        for text in ["", ",", " , ,"] {
            assert!(set(text).is_empty(), "{text:?}");
            assert_eq!(set(text).to_header(), "");
        }
    }

    #[test]
    fn case_matters() {
        assert!(!set("OPERATOR.READ").satisfies(&Scope::parse(READ).unwrap()));
        assert!(!set("Operator.Admin").satisfies(&Scope::parse(READ).unwrap()));
    }

    #[test]
    fn implication_follows_the_contract() {
        let s = |t: &str| Scope::parse(t).unwrap();
        assert!(s(ADMIN).implies(&s("operator.invented.next.season")));
        assert!(!s(ADMIN).implies(&s("node.exec")));
        assert!(s(WRITE).implies(&s(READ)));
        assert!(!s(READ).implies(&s(WRITE)));
        assert!(!s("operator.approvals").implies(&s(READ)));
        assert!(!s("operator.nonsense").implies(&s(READ)));
    }

    /// `operatorScopeSatisfied` of 2026.9.6, written down anew: the edge allows by implication what the
    /// gateway does, and no more.
    #[test]
    fn every_known_scope_implies_what_2026_9_6_lets_it_satisfy() {
        let satisfied = |needed: &str, held: &str| {
            needed == held
                || held == "operator.admin"
                || (held == "operator.write"
                    && ["operator.read", "operator.talk", "operator.sessions.read", "operator.sessions.write"]
                        .contains(&needed))
                || (needed == "operator.sessions.read" && ["operator.read", "operator.sessions.write"].contains(&held))
        };
        for held in KNOWN.iter().chain(&["operator.sessions.archive", "operator.invented"]) {
            for needed in KNOWN.iter().chain(&["operator.sessions.archive", "operator.invented"]) {
                let ours = Scope::known(held).implies(&Scope::known(needed));
                assert_eq!(ours, satisfied(needed, held), "{held} for {needed}");
            }
        }
    }

    #[test]
    fn session_write_is_spelled_out_with_session_read() {
        assert_eq!(set(SESSIONS_WRITE).expanded().to_header(), "operator.sessions.read,operator.sessions.write");
        let all = "operator.read,operator.sessions.read,operator.sessions.write,operator.talk,operator.write";
        assert_eq!(set(WRITE).expanded().to_header(), all);
        assert_eq!(set(ADMIN).expanded().to_header(), KNOWN.join(","));
    }

    #[test]
    fn asking_for_admin_with_write_granted_meets_at_write() {
        assert_eq!(set("operator.admin").meet(&set("operator.write")), set("operator.write"));
        assert_eq!(set("operator.read").meet(&set("operator.admin")), set("operator.read"));
        assert_eq!(set("operator.approvals").meet(&set("operator.write")), ScopeSet::empty());
    }

    fn any_set() -> impl Strategy<Value = ScopeSet> {
        prop::collection::vec(
            prop_oneof![
                prop::sample::select(KNOWN).prop_map(|n| Scope::parse(n).unwrap()),
                "[a-z.]{1,12}".prop_map(|n| Scope::parse(&n).unwrap()),
            ],
            0..6,
        )
        .prop_map(|v| v.into_iter().collect())
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4)) {
            if let Ok(set) = ScopeSet::parse_lines(lines.iter().map(Vec::as_slice)) {
                let again = ScopeSet::parse_lines([set.to_header().as_bytes()]).unwrap();
                prop_assert_eq!(again, set.clone());
                prop_assert!(http::HeaderValue::from_str(&set.to_header()).is_ok());
            }
        }

        #[test]
        fn a_meet_never_exceeds_either_side(a in any_set(), b in any_set()) {
            let m = a.meet(&b);
            prop_assert!(m.excess_over(&a).is_empty());
            prop_assert!(m.excess_over(&b).is_empty());
            prop_assert_eq!(m, b.meet(&a));
        }

        #[test]
        fn excess_is_empty_exactly_when_everything_is_satisfied(a in any_set(), b in any_set()) {
            prop_assert_eq!(a.excess_over(&b).is_empty(), a.iter().all(|s| b.satisfies(s)));
        }

        #[test]
        fn spelling_out_adds_no_authority(a in any_set()) {
            prop_assert!(a.expanded().excess_over(&a).is_empty());
        }
    }
}
