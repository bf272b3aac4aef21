//! A policy's own tests: who asks for what, and what must come of it.

use super::{Caller, DryRun, SimulatedHead};
use crate::config::{Asks, Limits, PolicyTest};
use crate::headers::{self, GatewayHeader};
use crate::policy::Policy;
use crate::policy::explain::Explanation;
use http::{HeaderName, HeaderValue, Method};
use jiff::Timestamp;
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

/// Runs a policy's own tests. Returns where each one that fails stands, and what came of it.
#[must_use]
pub fn failures(policy: &Policy, now: Timestamp) -> Vec<(Range<usize>, String)> {
    let policy_tests = policy.live().policy_tests.iter();
    policy_tests
        .filter_map(|t| {
            t.run(policy, now).err().map(|came| (t.span.clone(), format!("the test `{}` failed: {came}", t.name)))
        })
        .collect()
}
