//! A request under way and its answer, as the list of open connections sees it: checked again when the
//! policy or the time may have ended what was granted (law 9).

use crate::authn::{ClientCredential, Principal};
use crate::json_body::Object;
use crate::listener::OpenRequest;
use crate::policy::{Grant, Policy, Request};
use crate::refusal::Refusal;
use crate::request_checks::RequestedHeaders;
use crate::request_path::Path;
use http::Method;
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What is needed to check a request again.
#[derive(Debug)]
pub(super) struct ReauthorizationContext {
    grant: Grant,
    asked: RequestedHeaders,
    method: Method,
    path: Arc<str>,
    peer: Option<IpAddr>,
    /// The state of policy and keys under which it was last checked.
    generation: AtomicU64,
    /// Until when that judgement holds, in milliseconds since 1970.
    until: AtomicI64,
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
    ) -> Self {
        let generation = AtomicU64::new(grant.principal().map_or(0, |principal| policy.state(principal)));
        let until = AtomicI64::new(grant.principal().map_or(i64::MAX, |principal| until(principal)));
        Self { grant, asked, method, path, peer, generation, until }
    }

    pub(super) fn grant(&self) -> &Grant {
        &self.grant
    }
}

/// The end of a principal's proof, in milliseconds since 1970.
fn until(principal: &Principal) -> i64 {
    principal.valid_until().map_or(i64::MAX, Timestamp::as_millisecond)
}

impl OpenRequest for ReauthorizationContext {
    fn ends_under(&self, policy: &Policy, now: Timestamp) -> Option<Refusal> {
        let path = match Path::validate(self.path.as_bytes()) {
            Ok(path) => path,
            Err(fault) => return Some(Refusal::Target(fault)),
        };
        // What the route needs may have changed as well as what the caller holds.
        let route = policy.route(&self.method, path);
        let Some(principal) = self.grant.principal() else {
            let nobody = ClientCredential::default();
            return match policy.unauthenticated(&route, self.grant.client_credential().unwrap_or(&nobody), self.peer) {
                Ok(Some(grant)) if grant.client_credential().is_some() == self.grant.client_credential().is_some() => {
                    None
                }
                Ok(_) => Some(Refusal::CredentialMissing),
                Err(refusal) => Some(refusal),
            };
        };
        // Thousands of streams are asked twice a second: most can say at once that nothing changed.
        let state = policy.state(principal);
        let in_time = now.as_millisecond() < self.until.load(Ordering::Relaxed);
        if in_time && !policy.is_timed() && self.generation.swap(state, Ordering::Relaxed) == state {
            return None;
        }
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
        let confirmed = policy.confirm(principal, self.peer, now).and_then(|proven| {
            self.until.store(until(&proven.principal), Ordering::Relaxed);
            policy.decide(&proven, request)
        });
        confirmed.err()
    }
}
