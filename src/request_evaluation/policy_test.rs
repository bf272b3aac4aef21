//! A policy's own tests: who asks for what, and what must come of it.

use super::{Caller, DryRun, SimulatedHead};
use crate::config::diagnostic::{Problem, Severity};
use crate::config::{Asks, Limits, PolicyTest, SimulatedCaller};
use crate::headers::{self, GatewayHeader};
use crate::policy::Policy;
use crate::policy::explanation::Explanation;
use http::{HeaderName, HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};
use std::ops::Range;

impl PolicyTest {
    /// Runs the test. `Err` says what came of it instead.
    ///
    /// # Errors
    /// A sentence.
    pub fn run(&self, policy: &Policy, now: Timestamp) -> Result<(), String> {
        let mut headers = self.headers.clone();
        let scopes = self.requested.as_ref().and_then(|s| HeaderValue::from_str(&s.to_header()).ok());
        for (name, value) in [
            (headers::SCOPES, &scopes),
            (HeaderName::from_static(GatewayHeader::AgentId.name()), &self.agent_id),
            (HeaderName::from_static(GatewayHeader::SessionKey.name()), &self.session_key),
        ] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        let body = self.body.as_deref().unwrap_or_default();
        let head = match &self.asks {
            Asks::WebSocket => SimulatedHead::upgrade(&Method::GET, "/", headers),
            Asks::Request { method, path } => SimulatedHead::new(method, path, headers, body),
        };
        let sizes = Limits::default().body;
        let explained = DryRun {
            policy,
            head: &head,
            body,
            caller: Caller::Simulated(&self.who),
            peer: self.peer,
            body_sizes: &sizes,
            now,
        }
        .explain();
        let fits = match self.expect.as_str() {
            "deny" => explained.outcome != "allow",
            code => explained.outcome == code,
        };
        if !fits {
            let why = explained.message.map(|m| format!(" ({m})")).unwrap_or_default();
            return Err(format!("expected `{}`, got `{}`{why}", self.expect, explained.outcome));
        }
        match (&self.sends, &explained.effective) {
            (Some(expected), effective) if Some(expected.to_header()) != *effective => Err(format!(
                "expected the scopes `{expected}` to be sent, got `{}`",
                effective.as_deref().unwrap_or("none")
            )),
            _ => self.sent_session(&explained),
        }
    }

    fn sent_session(&self, explained: &Explanation) -> Result<(), String> {
        let Some(expected) = &self.sends_session else { return Ok(()) };
        let name = GatewayHeader::SessionKey.name();
        let sent = explained.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
        if sent == Some(expected) {
            return Ok(());
        }
        Err(format!("expected the session key `{expected}` to be sent, got `{}`", sent.unwrap_or("none")))
    }
}

/// How many other moments a failed test is tried at: each takes a few microseconds, and a file may have thousands.
const MOMENTS: usize = 64;

/// A test that fails.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where the test stands.
    pub span: Range<usize>,
    /// What came of it.
    pub message: String,
    /// Another moment at which it passes. Time alone makes it fail then, and time alone stops no service: the policy is
    /// still the one that passed, and refuses what has expired.
    pub passes_at: Option<Timestamp>,
}

impl Failure {
    /// What a person is told: the problem's code, its severity, and what to do.
    #[must_use]
    pub fn problem(self) -> Problem {
        let Self { span, message, passes_at } = self;
        let (severity, code, message, hint) = match passes_at {
            None => (Severity::Error, "test-failed", message, "fix the policy, or the test"),
            Some(at) => (
                Severity::Warning,
                "test-outdated",
                format!("{message}; at {at} it passes"),
                "change when the token or the grant begins and ends, or remove the test",
            ),
        };
        Problem { severity, code, message, hint: hint.to_owned(), span: Some(span) }
    }
}

/// Runs a policy's own tests. Returns those that fail.
#[must_use]
pub fn failures(policy: &Policy, now: Timestamp) -> Vec<Failure> {
    let failure = |test: &PolicyTest| {
        let came = test.run(policy, now).err()?;
        let passes_at = moments(policy, test, now).into_iter().find(|at| test.run(policy, *at).is_ok());
        Some(Failure {
            span: test.span.clone(),
            message: format!("the test `{}` failed: {came}", test.name),
            passes_at,
        })
    };
    policy.live().policy_tests.iter().filter_map(failure).collect()
}

/// The moments before and after each change that time makes to what the caller of a test holds, the nearest first.
fn moments(policy: &Policy, test: &PolicyTest, now: Timestamp) -> Vec<Timestamp> {
    let named = match &test.who {
        SimulatedCaller::Token(name) | SimulatedCaller::AppUser { app: name, .. } => Some(name),
        _ => None,
    };
    let token = named.and_then(|name| policy.live().present_tokens().find(|token| *token.name == **name));
    let ends = token.into_iter().flat_map(|token| [token.not_before, token.expires]).flatten();
    let changes = ends.chain(policy.moments().iter().copied());
    let before = |at: Timestamp| at.checked_sub(SignedDuration::from_secs(1)).unwrap_or(at);
    let mut moments: Vec<_> = changes.flat_map(|at| [before(at), at]).collect();
    moments.sort_unstable_by_key(|at| at.duration_since(now).abs());
    moments.dedup();
    moments.truncate(MOMENTS);
    moments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::environment::System;
    use crate::config::{self, diagnostic::Source};

    const TOKEN: &str = "[[listen]]\naddress = \"127.0.0.1:18780\"\n[gateway]\nurl = \"http://127.0.0.1:18789\"\nauth = { kind = \"none\" }\n\n[[token]]\nname = \"phone\"\n\
        sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0bce0b0bd6ebcd4ac6cd5f\"\nscopes = [\"operator.read\"]\n";
    const TEST: &str =
        "[[test]]\nname = \"it reads\"\nas = { token = \"phone\" }\nrequest = \"GET /v1/models\"\nexpect = \"allow\"\n";

    fn failures_of(token: &str, rest: &str) -> Vec<Failure> {
        let loaded = config::parse(Source::new("c", format!("{TOKEN}{token}\n{rest}{TEST}")), &System);
        let problems = loaded.render();
        let policy = Policy::dry_run(loaded.config.expect(&problems).live);
        failures(&policy, "2026-06-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn time_alone_makes_no_error() {
        for (token, passes_at) in [
            ("expires = 2026-05-01T00:00:00Z", "2026-04-30T23:59:59Z"),
            ("not_before = 2026-07-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ] {
            let found = failures_of(token, "");
            assert_eq!(found.len(), 1, "{token}");
            for failure in found {
                assert_eq!(failure.passes_at, Some(passes_at.parse().unwrap()), "{token}");
                assert_eq!(failure.problem().severity, Severity::Warning);
            }
        }
    }

    #[test]
    fn a_grant_that_has_ended_makes_no_error_either() {
        let test = "[[grant]]\nto = { token = \"phone\" }\nscopes = [\"operator.write\"]\nexpires = 2026-05-01T00:00:00Z\n\n\
            [[test]]\nname = \"it writes\"\nas = { token = \"phone\" }\nrequest = \"POST /v1/chat/completions\"\nexpect = \"allow\"\n\n";
        let found = failures_of("", test);
        assert_eq!(found.len(), 1);
        assert!(found.iter().all(|failure| failure.passes_at.is_some()), "{found:?}");
    }

    #[test]
    fn what_is_wrong_at_every_moment_is_an_error() {
        let never = "[[test]]\nname = \"it writes\"\nas = { token = \"phone\" }\nrequest = \"POST /v1/chat/completions\"\nexpect = \"allow\"\n\n";
        for token in ["", "expires = 2026-05-01T00:00:00Z"] {
            let wrong = failures_of(token, never).into_iter().filter(|failure| failure.passes_at.is_none());
            assert_eq!(wrong.count(), 1, "{token}");
        }
    }

    #[test]
    fn a_previous_secret_that_has_ended_changes_nothing() {
        let previous = "previous = { sha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\", until = 2026-05-01T00:00:00Z }";
        assert_eq!(failures_of(previous, ""), []);
    }
}
