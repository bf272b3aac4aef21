//! What Pingora carries from phase to phase of one request.

use super::body::Body;
use super::exchange::Exchange;
use super::upstream::Attempts;
use crate::admission::Asked;
use crate::authn::tailnet::Question;
use crate::joins::Join;
use crate::label::StreamKind;
use crate::listener::Connection;
use crate::policy::{Grant, Policy};
use crate::record::Record;
use crate::refusal::{LimitFault, Refusal};
use crate::sources::Asking;
use crate::watchtower::Watchtower;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
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
    exchange: Option<Arc<Exchange>>,
    /// What the client asked for, until it is decided.
    pub(super) asked: Asked,
    pub(super) attempts: Attempts,
    /// The pairing join under way, if it is one.
    pub(super) join: Option<Join>,
    pub(super) body: Body,
    /// The limit that its body met.
    pub(super) over: Option<LimitFault>,
    /// Why the gateway's answer cannot be passed on.
    pub(super) unfit: Option<&'static str>,
    /// Whether the connection is a WebSocket now, and the record with it.
    pub(super) handed_over: bool,
}

impl Ctx {
    /// Whether this connection ends with this answer: the process stops, or it has had its share.
    pub(super) fn is_last(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| c.is_draining() || c.is_used_up())
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
            exchange: None,
            asked: Asked::default(),
            attempts: Attempts::default(),
            join: None,
            body: Body::default(),
            over: None,
            unfit: None,
            handed_over: false,
        }
    }

    /// The request may pass, for as long as nothing takes the grant back.
    pub(super) fn granted(&mut self, grant: Grant) {
        self.record.granted(&grant);
        let (asked, method) = (std::mem::take(&mut self.asked), self.record.method.clone());
        let path = self.record.path.clone().unwrap_or_default();
        let exchange = Arc::new(Exchange::new(grant, asked, &self.policy, method, path, self.place()));
        if let Some(connection) = &self.connection {
            connection.judged_again(exchange.clone());
        }
        self.exchange = Some(exchange);
    }

    /// What the request may do; `None` until that is decided.
    pub(super) fn grant(&self) -> Option<&Grant> {
        self.exchange.as_ref().map(|exchange| exchange.grant())
    }

    /// Why the request may no longer go on, if that is so.
    pub(super) fn revoked(&self) -> Option<&Refusal> {
        self.connection.as_ref().and_then(|c| c.revoked())
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

    /// The gateway's answer has begun.
    pub(super) fn answer_begins(&mut self, response: &ResponseHeader) {
        self.record.first_byte = Some(Instant::now());
        self.record.status = response.status.as_u16();
        let kind = response.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if kind.starts_with("text/event-stream") {
            self.record.stream_begins(StreamKind::Sse);
        }
    }

    /// The request is over.
    pub(super) fn finish(&mut self, session: &mut Session, error: Option<&Error>) {
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
            connection.request_ends(session.downstream_session.is_body_done());
        }
    }
}

/// A number no other request of any process has: a random half and a count.
fn next_request_id() -> Arc<str> {
    static PROCESS: LazyLock<u64> =
        LazyLock::new(|| getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())));
    static COUNT: AtomicU64 = AtomicU64::new(1);
    Arc::from(format!("{:016x}-{:x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed)))
}
