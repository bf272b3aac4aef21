//! What Pingora carries from phase to phase of one request.

use super::upstream::Attempts;
use crate::admission::Asked;
use crate::authn::Principal;
use crate::authn::tailnet::Question;
use crate::joins::Join;
use crate::label::{RouteLabel, StreamKind};
use crate::listener::{Connection, OpenRequest};
use crate::policy::{Grant, Policy, Request};
use crate::quota::{Permit, Use};
use crate::record::Record;
use crate::refusal::{Code, Refusal};
use crate::route::Route;
use crate::sources::Asking;
use crate::target::Path;
use crate::watchtower::Watchtower;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use pingora::http::ResponseHeader;
use pingora::prelude::Error;
use pingora::proxy::Session;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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
    /// What its principal uses by it, for as long as it lasts.
    pub(super) permit: Option<Permit>,
    /// Why the gateway's answer is not passed on.
    pub(super) stopped: Option<Refusal>,
    /// The body that takes the place of the gateway's, on a health route.
    pub(super) verdict: Option<Bytes>,
    /// The pairing join under way, if it is one.
    pub(super) join: Option<Join>,
    /// Whether the connection is a WebSocket now, and the record with it.
    pub(super) handed_over: bool,
}

impl Ctx {
    /// Whether this connection ends with this answer: the process stops.
    pub(super) fn is_last(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| c.is_draining())
    }

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
            permit: None,
            stopped: None,
            verdict: None,
            join: None,
            handed_over: false,
        }
    }

    /// The request may pass.
    pub(super) fn grant(&mut self, grant: Grant) {
        self.record.granted(&grant);
        self.grant = Some(grant);
    }

    /// Has the request counted with what else its principal uses.
    pub(super) fn enter(&mut self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(grant) = self.grant.as_ref().filter(|_| self.policy.is_limited()) else { return Ok(()) };
        let Some(principal) = grant.principal() else { return Ok(()) };
        // Whether an agent's answer is a stream stands in the body, and is known when it begins.
        let agent =
            self.route().is_some_and(|r| matches!(r.label, RouteLabel::ChatCompletions | RouteLabel::Responses));
        let events = headers.get_all(ACCEPT).iter().any(|v| v.to_str().is_ok_and(|v| v.contains("text/event-stream")));
        let what = if agent || events { Use::Stream } else { Use::Request };
        match self.record.quotas().enter(principal, grant.limits(), what) {
            Ok(permit) => {
                self.permit = Some(permit);
                Ok(())
            }
            Err(reached) => {
                let refusal = Refusal::Limit(reached);
                self.record.change = Some(self.policy.remedy(None, &refusal));
                Err(refusal)
            }
        }
    }

    /// What the tailnet is to be asked about the caller, if they present nothing.
    pub(super) fn asking(&self, headers: &HeaderMap) -> Asking {
        let Some(connection) = &self.connection else { return Ok(None) };
        Question::new(connection.identity(), connection.caller(), headers)
    }

    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.record.peer
    }

    /// Where the caller is, for conditions on addresses.
    pub(super) fn place(&self) -> Option<IpAddr> {
        self.record.place
    }

    pub(super) fn request_id(&self) -> HeaderValue {
        HeaderValue::from_str(&self.record.request_id).unwrap_or(HeaderValue::from_static("-"))
    }

    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        self.record.route.as_ref()
    }

    /// The gateway's answer has begun. False: it is a stream too many, and is not passed on.
    pub(super) fn answer_begins(&mut self, response: &ResponseHeader) -> bool {
        self.record.first_byte = Some(Instant::now());
        let kind = response.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let stream = kind.starts_with("text/event-stream");
        if let (Some(permit), Some(grant)) = (&mut self.permit, &self.grant) {
            if !stream {
                permit.streams_not();
            } else if let Err(reached) = permit.streams(grant.limits()) {
                self.stopped = Some(Refusal::Limit(reached));
                return false;
            }
        }
        self.record.status = response.status.as_u16();
        if !stream {
            return true;
        }
        self.record.stream_begins(StreamKind::Sse);
        if let (Some(connection), Some(grant)) = (&self.connection, &self.grant) {
            let state = grant.principal().map_or(0, |principal| self.policy.state(principal));
            connection.judged_again(Arc::new(OpenStream {
                grant: grant.clone(),
                asked: self.asked.clone(),
                method: self.record.method.clone(),
                path: self.record.path.clone(),
                judged: AtomicU64::new(state),
                until: AtomicI64::new(grant.principal().map_or(i64::MAX, |p| until(p))),
                peer: self.place(),
            }));
        }
        true
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
        // The client may have its whole answer by now, and ask again.
        self.permit = None;
    }
}

/// An event stream under way: what is needed to judge it again.
#[derive(Debug)]
struct OpenStream {
    grant: Grant,
    asked: Asked,
    method: Method,
    path: String,
    peer: Option<IpAddr>,
    /// The state of policy and keys under which it was last judged.
    judged: AtomicU64,
    /// Until when that judgement holds, in milliseconds since 1970.
    until: AtomicI64,
}

/// The end of a principal's proof, in milliseconds since 1970.
fn until(principal: &Principal) -> i64 {
    principal.valid_until().map_or(i64::MAX, jiff::Timestamp::as_millisecond)
}

impl OpenRequest for OpenStream {
    fn ends_under(&self, policy: &Policy, now: jiff::Timestamp) -> Option<Code> {
        let Ok(path) = Path::judge(self.path.as_bytes()) else { return Some(Code::AmbiguousTarget) };
        // What the route needs may have changed as well as what the caller holds.
        let route = policy.route(&self.method, path);
        let Some(principal) = self.grant.principal() else {
            return policy.unproven(&route).is_none().then_some(Code::MissingScope);
        };
        // Thousands of streams are asked twice a second: most can say at once that nothing changed.
        let state = policy.state(principal);
        let in_time = now.as_millisecond() < self.until.load(Ordering::Relaxed);
        if in_time && !policy.is_timed() && self.judged.swap(state, Ordering::Relaxed) == state {
            return None;
        }
        let request = Request {
            method: &self.method,
            path,
            route: &route,
            requested: self.asked.requested.as_ref(),
            governed: &self.asked.governed,
            peer: self.peer,
            now,
        };
        let confirmed = policy.confirm(principal, self.peer, now).and_then(|proven| {
            self.until.store(until(&proven.principal), Ordering::Relaxed);
            policy.decide(&proven, request)
        });
        confirmed.err().map(|refusal| refusal.code())
    }
}

/// A number no other request of any process has: a random half and a count.
fn next_request_id() -> Arc<str> {
    static PROCESS: LazyLock<u64> =
        LazyLock::new(|| getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())));
    static COUNT: AtomicU64 = AtomicU64::new(1);
    Arc::from(format!("{:016x}-{:x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed)))
}
