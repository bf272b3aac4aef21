//! A policy's own tests: who asks for what, and what must come of it.

use super::{Policy, Request};
use crate::config::Trial;
use crate::target::Path;
use jiff::Timestamp;
use std::ops::Range;

impl Trial {
    /// Runs the test. `Err` says what came of it instead.
    ///
    /// # Errors
    /// A sentence.
    pub fn run(&self, policy: &Policy, now: Timestamp) -> Result<(), String> {
        let path = Path::judge(self.path.as_bytes()).map_err(|fault| fault.to_string())?;
        let route = policy.route(&self.method, path);
        let request = Request {
            method: &self.method,
            path,
            route: &route,
            requested: self.requested.as_ref(),
            governed: &[],
            peer: self.peer,
            now,
        };
        let explained = policy.explain(Ok(()), &policy.suppose(&self.who, self.peer, now), request);
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
            _ => Ok(()),
        }
    }
}

/// Runs a policy's own tests. Returns where each one that fails stands, and what came of it.
#[must_use]
pub fn failures(policy: &Policy, now: Timestamp) -> Vec<(Range<usize>, String)> {
    let trials = policy.live().trials.iter();
    trials
        .filter_map(|t| {
            t.run(policy, now).err().map(|came| (t.span.clone(), format!("the test `{}` failed: {came}", t.name)))
        })
        .collect()
}
