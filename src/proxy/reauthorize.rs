//! A request under way and its answer, as the list of open connections sees it: checked again when the
//! policy or the time may have ended what was granted (law 9).

use crate::authn::PassthroughCredential;
use crate::json_body::Object;
use crate::listener::{Connection, LastCheck, OpenRequest};
use crate::policy::{Grant, Policy, Request};
use crate::refusal::Refusal;
use crate::request_evaluation::RequestedHeaders;
use crate::request_path::Path;
use http::Method;
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;

/// What is needed to check a request again.
#[derive(Debug)]
pub(super) struct ReauthorizationContext {
    grant: Grant,
    asked: RequestedHeaders,
    method: Method,
    path: Arc<str>,
    peer: Option<IpAddr>,
    checked: LastCheck,
}

impl ReauthorizationContext {
    /// A request that `policy` has granted just now.
    pub(super) fn new(
        grant: Grant,
        asked: RequestedHeaders,
        policy: &Policy,
        method: Method,
        path: Arc<str>,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Self {
        let principal = grant.principal();
        let state = policy.state_of_proof(principal.map(AsRef::as_ref));
        let until = principal.map_or(i64::MAX, |principal| policy.first_change(principal, now));
        Self { grant, asked, method, path, peer, checked: LastCheck::new(state, now, until) }
    }

    /// Has it checked again while it lasts; `changes` is what [`Connection::changes`] said before it was begun. If
    /// something changed since, it is not known which of it the decision saw, so it is due at once.
    pub(super) fn register(self: &Arc<Self>, connection: &Connection, changes: u64) {
        connection.reauthorize_with(self.clone());
        if connection.changes() != changes {
            self.checked.doubt();
            connection.reauthorize_with(self.clone());
        }
    }

    pub(super) fn grant(&self) -> &Grant {
        &self.grant
    }
}

impl OpenRequest for ReauthorizationContext {
    fn ends_under(&self, policy: &Policy, now: Timestamp) -> Option<Refusal> {
        let state = policy.state(self.grant.principal().map(AsRef::as_ref));
        if self.checked.holds(state, now) {
            return None;
        }
        let path = match Path::validate(self.path.as_bytes()) {
            Ok(path) => path,
            Err(fault) => return Some(Refusal::Target(fault)),
        };
        // What the route needs may have changed as well as what the caller holds.
        let route = policy.route(&self.method, path);
        let Some(principal) = self.grant.principal() else {
            let nobody = PassthroughCredential::default();
            return match policy.unauthenticated(
                &route,
                self.grant.passthrough_credential().unwrap_or(&nobody),
                self.peer,
            ) {
                Ok(Some(grant))
                    if grant.passthrough_credential().is_some() == self.grant.passthrough_credential().is_some() =>
                {
                    self.checked.note(state, now, i64::MAX);
                    None
                }
                Ok(_) => Some(Refusal::CredentialMissing),
                Err(refusal) => Some(refusal),
            };
        };
        // What was decided on in the body, and what it could not be decided without.
        let body = self.asked.model.as_ref().map(|m| serde_json::json!({ "model": m }).to_string()).unwrap_or_default();
        let body = Object::read(body.as_bytes()).unwrap_or(Object::empty());
        let request = Request {
            requested: self.asked.requested.as_ref(),
            gateway_headers: &self.asked.gateway_headers,
            chat: self.asked.chat.as_ref(),
            body: Some(&body),
            ..Request::plain(&self.method, path, &route, self.peer, now)
        };
        let decided = policy.confirm(principal, self.peer, now).and_then(|proven| {
            policy.decide(&proven, request)?;
            Ok(policy.holds_until(&proven, now))
        });
        match decided {
            Ok(until) => {
                self.checked.note(state, now, until);
                None
            }
            Err(refusal) => Some(refusal),
        }
    }

    fn holds_until(&self) -> i64 {
        self.checked.until()
    }
}

#[cfg(test)]
mod tests;
