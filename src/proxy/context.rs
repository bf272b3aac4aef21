//! What Pingora carries from phase to phase of one request.

use super::body_limits::Body;
use super::buffered_body::Buffered;
use super::reauthorize::ReauthorizationContext;
use super::response_sessions::ResponseIdReader;
use super::upstream::Attempts;
use crate::access_log::AccessRecord;
use crate::authn::tailscale::WhoisQuestion;
use crate::cors::Page;
use crate::identity_providers::TailnetQuery;
use crate::join_code_limit::Join;
use crate::listener::Connection;
use crate::metric_labels::{RouteLabel, StreamKind};
use crate::passthrough_credential_limit::Tried;
use crate::policy::{Grant, Policy, Proven};
use crate::principal_limiter::{LimitedUse, Permit};
use crate::refusal::{LimitFault, Refusal};
use crate::request_evaluation::RequestedHeaders;
use crate::telemetry::Telemetry;
use arc_swap::ArcSwap;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
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
pub struct RequestContext {
    pub(super) policy: Arc<Policy>,
    pub(super) connection: Option<Arc<Connection>>,
    /// What had changed before it began: see [`Connection::changes`].
    changes: u64,
    pub(super) record: AccessRecord,
    exchange: Option<Arc<ReauthorizationContext>>,
    /// What the client asked for, until it is decided.
    pub(super) asked: RequestedHeaders,
    pub(super) attempts: Attempts,
    /// What its principal uses by it, for as long as it lasts.
    pub(super) permit: Option<Permit>,
    /// The same of the app that calls on its principal's behalf.
    pub(super) app_permit: Option<Permit>,
    /// Why the gateway's answer is not passed on.
    pub(super) stopped: Option<Refusal>,
    /// The pairing join under way, if it is one.
    pub(super) join: Option<Join>,
    /// The client's own credential under way to the gateway, if the route passes one on.
    pub(super) tried: Option<Tried>,
    pub(super) body: Body,
    /// Who asks, where it cannot be decided without the body.
    pub(super) undecided: Option<Proven>,
    /// The body, where it was read before it was decided.
    pub(super) buffered: Option<Buffered>,
    /// Looks for the id of the response that the answer is.
    pub(super) response_id: Option<ResponseIdReader>,
    /// The limit that its body met.
    pub(super) over: Option<LimitFault>,
    /// The page it comes from, where pages of other origins are served.
    pub(super) page: Page,
    /// Why the gateway's answer cannot be passed on.
    pub(super) unfit: Option<&'static str>,
    /// Whether the connection is a WebSocket now, and the record with it.
    pub(super) handed_over: bool,
}

impl RequestContext {
    /// Whether this connection ends with this answer: the process stops, or it has had its share.
    pub(super) fn is_last(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| c.is_draining() || c.is_used_up())
    }

    pub(super) fn begin(policy: &ArcSwap<Policy>, telemetry: &Arc<Telemetry>) -> Self {
        let connection = CONNECTION.try_with(Arc::clone).ok();
        if let Some(connection) = &connection {
            connection.request_begins();
        }
        let changes = connection.as_ref().map_or(0, |c| c.changes());
        let policy = policy.load_full();
        let peer = connection.as_ref().and_then(|c| c.peer());
        let record = AccessRecord::begin(telemetry.clone(), next_request_id(), policy.generation(), peer);
        Self {
            policy,
            connection,
            changes,
            record,
            exchange: None,
            asked: RequestedHeaders::default(),
            attempts: Attempts::default(),
            permit: None,
            app_permit: None,
            stopped: None,
            join: None,
            tried: None,
            body: Body::default(),
            undecided: None,
            buffered: None,
            response_id: None,
            over: None,
            page: Page::default(),
            unfit: None,
            handed_over: false,
        }
    }

    /// The request may pass, for as long as nothing takes the grant back.
    pub(super) fn granted(&mut self, grant: Grant) {
        self.record.granted(&grant);
        let asked = if grant.wants_body() { self.asked.clone() } else { std::mem::take(&mut self.asked) };
        self.response_id = grant
            .principal()
            .zip(grant.chained())
            .map(|(principal, session)| ResponseIdReader::new(principal.key(), session.clone()));
        let method = self.record.method.clone();
        let path = self.record.path.clone().unwrap_or_default();
        let (place, now) = (self.place(), Timestamp::now());
        let exchange = Arc::new(ReauthorizationContext::new(grant, asked, &self.policy, method, path, place, now));
        if let Some(connection) = &self.connection {
            exchange.register(connection, self.changes);
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

    /// Has the request counted with what else its principal uses.
    pub(super) fn enter(&mut self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(grant) = self.grant().filter(|_| self.policy.is_limited()) else { return Ok(()) };
        let by_address = grant.passthrough_credential().is_some();
        if grant.principal().is_none() && !by_address {
            return Ok(());
        }
        // Whether an agent's answer is a stream stands in the body, and is known when it begins.
        let agent = self
            .record
            .route
            .as_ref()
            .is_some_and(|r| matches!(r.label, RouteLabel::ChatCompletions | RouteLabel::Responses));
        let events = headers.get_all(ACCEPT).iter().any(|v| v.to_str().is_ok_and(|v| v.contains("text/event-stream")));
        let what = if agent || events { LimitedUse::Stream } else { LimitedUse::Request };
        let principal_limiter = self.record.principal_limiter();
        let entered = match grant.principal() {
            // A user's own first: what is refused to one takes nothing of the app's from the others.
            Some(principal) => principal_limiter.enter(principal, grant.limits(), what).and_then(|permit| {
                let app = grant.app().map(|(app, limits)| principal_limiter.enter(app, limits, what)).transpose()?;
                Ok((permit, app))
            }),
            None => principal_limiter.enter_address(self.peer(), grant.limits(), what).map(|permit| (permit, None)),
        };
        match entered {
            Ok((permit, app)) => {
                (self.permit, self.app_permit) = (Some(permit), app);
                Ok(())
            }
            Err(reached) => {
                let refusal = Refusal::PrincipalLimit(reached);
                self.record.change = Some(self.policy.remedy(None, &refusal));
                Err(refusal)
            }
        }
    }

    /// What the tailnet is to be asked about the caller, if they present nothing.
    pub(super) fn asking(&self, headers: &HeaderMap) -> TailnetQuery {
        let Some(connection) = &self.connection else { return Ok(None) };
        WhoisQuestion::new(connection.identity(), connection.caller(), headers)
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

    /// The gateway's answer has begun. False: it is a stream too many, and is not passed on.
    pub(super) fn answer_begins(&mut self, response: &ResponseHeader) -> bool {
        self.record.first_byte = Some(Instant::now());
        let kind = response.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let stream = kind.starts_with("text/event-stream");
        let limits = self.exchange.as_ref().map(|exchange| (exchange.grant().app(), exchange.grant().limits()));
        let (app_limits, limits) = limits.map(|(app, limits)| (app.map(|(_, l)| l), Some(limits))).unwrap_or_default();
        for (permit, limits) in [(&mut self.app_permit, app_limits), (&mut self.permit, limits)] {
            let (Some(permit), Some(limits)) = (permit, limits) else { continue };
            if !stream {
                permit.streams_not();
            } else if let Err(reached) = permit.streams(limits) {
                self.stopped = Some(Refusal::PrincipalLimit(reached));
                return false;
            }
        }
        self.record.status = response.status.as_u16();
        if stream {
            self.record.stream_begins(StreamKind::Sse);
        }
        true
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
        // The client may have its whole answer by now, and ask again.
        self.permit = None;
        self.app_permit = None;
    }
}

/// A number no other request of any process has: a random half and a count.
fn next_request_id() -> Arc<str> {
    static PROCESS: LazyLock<[u8; 8]> =
        LazyLock::new(|| getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())).to_be_bytes());
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut digits = [0; 33];
    let (process, rest) = digits.split_at_mut(16);
    let (dash, number) = rest.split_at_mut(1);
    dash.fill(b'-');
    let written =
        hex::encode_to_slice(*PROCESS, process).and_then(|()| hex::encode_to_slice(count.to_be_bytes(), number));
    let zeros = count.leading_zeros() as usize / 4;
    digits.copy_within(17 + zeros.min(15).., 17);
    let text = digits.get(..33 - zeros.min(15)).and_then(|digits| std::str::from_utf8(digits).ok());
    Arc::from(text.filter(|_| written.is_ok()).unwrap_or_default())
}
