//! What Pingora carries from phase to phase of one request.

use super::upstream::Attempts;
use crate::admission::Asked;
use crate::listener::{Connection, OpenRequest};
use crate::policy::{Grant, Policy, Request};
use crate::record::Record;
use crate::route::{Need, Route};
use crate::target::Path;
use crate::watchtower::Watchtower;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use pingora::http::ResponseHeader;
use pingora::prelude::Error;
use pingora::proxy::Session;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

tokio::task_local! {
    /// The connection whose requests the present task serves.
    pub static CONNECTION: Arc<Connection>;
}

/// One request.
#[derive(Debug)]
pub struct Ctx {
    pub(super) policy: Arc<Policy>,
    pub(super) connection: Option<Arc<Connection>>,
    pub(super) record: Record,
    pub(super) grant: Option<Grant>,
    /// What the client asked for.
    pub(super) asked: Asked,
    pub(super) attempts: Attempts,
    /// The body that takes the place of the gateway's, on a health route.
    pub(super) verdict: Option<Bytes>,
    /// Whether the connection is a WebSocket now, and the record with it.
    pub(super) handed_over: bool,
}

impl Ctx {
    pub(super) fn begin(policy: Arc<Policy>, tower: &Arc<Watchtower>) -> Self {
        let connection = CONNECTION.try_with(Arc::clone).ok();
        if let Some(connection) = &connection {
            connection.request_begins();
        }
        let peer = connection.as_ref().and_then(|c| c.peer());
        let record = Record::begin(tower.clone(), next_request_id(), policy.generation(), peer);
        Self {
            policy,
            connection,
            record,
            grant: None,
            asked: Asked::default(),
            attempts: Attempts::default(),
            verdict: None,
            handed_over: false,
        }
    }

    /// The request may pass.
    pub(super) fn grant(&mut self, grant: Grant) {
        self.record.granted(&grant);
        self.grant = Some(grant);
    }

    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.record.peer
    }

    pub(super) fn request_id(&self) -> HeaderValue {
        HeaderValue::from_str(&self.record.request_id).unwrap_or(HeaderValue::from_static("-"))
    }

    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        self.record.route.as_ref()
    }

    /// The gateway's answer has begun.
    pub(super) fn answer_begins(&mut self, response: &ResponseHeader) {
        self.record.first_byte = Some(Instant::now());
        self.record.status = response.status.as_u16();
        let kind = response.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            return;
        }
        self.record.stream_begins("sse");
        if let (Some(connection), Some(grant), Some(route)) = (&self.connection, &self.grant, self.route()) {
            connection.judged_again(Arc::new(OpenStream {
                grant: grant.clone(),
                route: route.clone(),
                asked: self.asked.clone(),
                method: self.record.method.clone(),
                path: self.record.path.clone(),
                peer: self.peer(),
            }));
        }
    }

    /// The request is over.
    pub(super) fn finish(&mut self, session: &Session, error: Option<&Error>) {
        if self.handed_over {
            return;
        }
        if self.record.status == 0 {
            self.record.status = session.response_written().map_or(0, |r| r.status.as_u16());
        }
        if let (None, Some(error)) = (&self.record.cause, error) {
            self.record.cause = Some(error.to_string());
        }
        self.record.attempts = self.attempts.count();
        self.record.emit();
        if let Some(connection) = &self.connection {
            connection.request_ends();
        }
    }
}

/// An event stream under way: what is needed to judge it again.
#[derive(Debug)]
struct OpenStream {
    grant: Grant,
    route: Arc<Route>,
    asked: Asked,
    method: Method,
    path: String,
    peer: Option<IpAddr>,
}

impl OpenRequest for OpenStream {
    fn ends_under(&self, policy: &Policy, now: jiff::Timestamp) -> Option<&'static str> {
        let Some(principal) = self.grant.principal() else {
            return matches!(self.route.need, Need::Scope(_)).then_some("missing_scope");
        };
        let Ok(path) = Path::judge(self.path.as_bytes()) else { return Some("ambiguous_target") };
        // What the route needs may have changed as well as what the caller holds.
        let request = Request {
            method: &self.method,
            path,
            route: policy.route(&self.method, path),
            requested: self.asked.requested.as_ref(),
            governed: &self.asked.governed,
            peer: self.peer,
            now,
        };
        policy
            .confirm(principal, self.peer, now)
            .and_then(|proven| policy.decide(&proven, request))
            .err()
            .map(|refusal| refusal.code())
    }
}

/// A number no other request of any process has: a random half and a count.
fn next_request_id() -> Arc<str> {
    static PROCESS: LazyLock<u64> =
        LazyLock::new(|| getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())));
    static COUNT: AtomicU64 = AtomicU64::new(1);
    Arc::from(format!("{:016x}-{:x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed)))
}
