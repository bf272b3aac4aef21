//! The data plane: Pingora's phases, each handing over to what decides.

mod body_limits;
mod buffered_body;
mod context;
mod health;
mod local_reply;
mod plain_connector;
mod reauthorize;
mod request_filter;
mod response_filter;
mod response_sessions;
mod upstream;
mod websocket_upgrade;

pub use context::CONNECTION;

use crate::config::Limits;
use crate::gateway_probe::CredentialCheck;
use crate::headers::{self, Kind, REQUEST_ID};
use crate::identity_providers::IdentityProviders;
use crate::join_code_limit::{Join, JoinCodeLimit};
use crate::json_body::BodyFault;
use crate::passthrough_credential_limit::{PassthroughCredentialLimit, Tried};
use crate::policy::{self, Grant, Policy};
use crate::principal_limiter::Permit;
use crate::refusal::{IsolationFault, LimitFault, Refusal};
use crate::telemetry::Telemetry;
use crate::trace_context::TraceParent;
use crate::websocket::Sockets;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use buffered_body::HeldBytes;
use bytes::Bytes;
use context::RequestContext;
use health::Health;
use http::header::{
    AUTHORIZATION, CONNECTION as CONNECTION_HEADER, HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING,
};
use http::{HeaderName, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::{Error, HttpPeer, Result};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use request_filter::Admitted;
use response_sessions::ResponseSessions;
use std::sync::Arc;
use std::time::Duration;
pub use upstream::{ResolveError, Upstream};

/// How long the rest of a refused request's body is read, so that the client sees the answer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The proxy in front of one gateway.
#[derive(Debug)]
pub struct Proxy {
    policy: Arc<ArcSwap<Policy>>,
    upstream: Arc<Upstream>,
    sources: Arc<IdentityProviders>,
    telemetry: Arc<Telemetry>,
    sockets: Arc<Sockets>,
    joins: Arc<JoinCodeLimit>,
    tried: Arc<PassthroughCredentialLimit>,
    response_sessions: ResponseSessions,
    held: Arc<HeldBytes>,
    health: Health,
    credential: CredentialCheck,
    limits: Limits,
}

impl Proxy {
    /// A proxy that checks by whatever policy is in force when a request comes in.
    #[must_use]
    pub fn new(
        policy: Arc<ArcSwap<Policy>>,
        upstream: Arc<Upstream>,
        sources: Arc<IdentityProviders>,
        sockets: Arc<Sockets>,
        telemetry: Arc<Telemetry>,
        limits: Limits,
    ) -> Self {
        let joins = Arc::default();
        let tried = Arc::default();
        let health = Health::new(upstream.clone(), telemetry.clone());
        let credential = CredentialCheck::new(upstream.address().clone());
        let response_sessions = ResponseSessions::default();
        let held = Arc::default();
        Self {
            policy,
            upstream,
            sources,
            telemetry,
            sockets,
            joins,
            tried,
            response_sessions,
            held,
            health,
            credential,
            limits,
        }
    }
}

impl Proxy {
    /// Why a 401 of the gateway is not the client's affair.
    async fn credential_refused(&self, ctx: &RequestContext) -> Option<Refusal> {
        let user = ctx.grant()?.gateway_user();
        let refused = self.credential.is_refused(&ctx.policy, user).await;
        refused.then(|| Refusal::GatewayCredential { mode: ctx.policy.credentials().mode() })
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::begin(&self.policy, &self.telemetry)
    }

    // The default would add a compression module, which a stream must not meet.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<()> {
        // Pingora forgets the time after the first request of a connection. Where it will not go on
        // (`Connection: close`, HTTP/1.0 without a word, doubtful framing), it stays so.
        let goes_on = session.get_keepalive().is_some() && !ctx.is_last();
        session.set_keepalive(goes_on.then_some(self.limits.keepalive.as_secs().max(1)));
        // A request that is there already is the next one, not the end of this one.
        session.set_pipelining_enabled(true);
        // RFC 9110 §15.2: a client of HTTP/1.0 knows no interim answers.
        let is_old = session.req_header().version == Version::HTTP_10;
        session.set_ignore_info_resp(is_old);
        session.set_write_timeout(Some(self.limits.write_timeout));
        // Of a single read; the wait for all of it is over before.
        session.set_read_timeout(Some(self.limits.body_pace.deadline + DRAIN_TIMEOUT));
        session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<bool> {
        let misses = (&self.joins, &self.tried);
        match request_filter::admit(session, ctx, &self.sources, &self.sockets, misses, &self.limits.body).await {
            Ok(Admitted::Request) => {
                match buffered_body::decide(session, ctx, &self.response_sessions, &self.held).await {
                    Ok(()) => Ok(false),
                    Err(refusal) => {
                        local_reply::refuse(session, ctx, refusal).await?;
                        Ok(true)
                    }
                }
            }
            Ok(Admitted::Health(probe)) => {
                match self.health.answer(probe).await {
                    Ok(status) => local_reply::health(session, ctx, status, health::verdict(probe, status)).await?,
                    Err(refusal) => local_reply::refuse(session, ctx, refusal).await?,
                }
                Ok(true)
            }
            Ok(Admitted::Preflight(lines)) => {
                local_reply::preflight(session, ctx, lines).await?;
                Ok(true)
            }
            Ok(Admitted::Socket(upgrade)) => {
                websocket_upgrade::hand_over(session, ctx, *upgrade, &self.sockets).await?;
                Ok(true)
            }
            Err(refusal) => {
                local_reply::refuse(session, ctx, refusal).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<Box<HttpPeer>> {
        self.upstream.backoff(&mut ctx.attempts).await;
        if ctx.buffered.is_none() {
            body_limits::begins(ctx);
        }
        Ok(self.upstream.peer(&session.req_header().method))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        // Behind Pingora's own treatment of `Connection`, so that nothing put in here is taken out.
        let Some(grant) = ctx.grant() else {
            return Error::e_explain(pingora::ErrorType::InternalError, "no grant");
        };
        if ctx.revoked().is_some() {
            return Error::e_explain(pingora::ErrorType::InternalError, "revoked before it was sent");
        }
        let strip: Vec<HeaderName> = request
            .headers
            .keys()
            .filter(|name| match ctx.policy.credentials().kind(name.as_str()) {
                Kind::Free => ctx.policy.keeps(name),
                Kind::GatewayHeader(_) | Kind::Ours | Kind::Forged => true,
            })
            .cloned()
            .collect();
        for name in &strip {
            request.remove_header(name);
        }
        if request.headers.get(TRACEPARENT).is_none_or(|v| TraceParent::parse(v.as_bytes()).is_none()) {
            // A state belongs to the trace it came with.
            request.remove_header(&TRACESTATE);
        }
        // The gateway refuses foreign origins in some modes; admission has checked it already.
        request.remove_header(&ORIGIN);
        // It may hold a token, and says nothing but in an upgrade.
        request.remove_header(&SEC_WEBSOCKET_PROTOCOL);
        for (name, value) in policy::outbound(grant, ctx.policy.credentials(), ctx.peer()) {
            request.insert_header(name, value)?;
        }
        if let Some(path) = grant.path() {
            let query = request.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
            request.set_raw_path(format!("{path}{query}").as_bytes())?;
        }
        buffered_body::announce(request, ctx)?;
        if !upstream::is_repeatable(&request.method) {
            request.insert_header(CONNECTION_HEADER, "close")?;
        }
        request.insert_header(HOST, self.upstream.authority().clone())?;
        request.insert_header(REQUEST_ID, ctx.request_id())?;
        if let Some(trace) = ctx.record.trace {
            request.insert_header(TRACEPARENT, trace.to_header())?;
        }
        // By construction this cannot be; if it ever is, the request stays here.
        let lines = |name: &HeaderName| request.headers.get_all(name).iter().count();
        if lines(&headers::SCOPES) != 1 || lines(&AUTHORIZATION) > 1 {
            self.telemetry.metrics().invariant_violated();
            return Error::e_explain(pingora::ErrorType::InternalError, "not exactly one scopes header");
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if let Err(why) = response_filter::sanitize(response) {
            ctx.unfit = Some(why);
            return Err(Error::explain(pingora::ErrorType::InvalidHTTPHeader, why).into_up());
        }
        if response.status.is_informational() {
            return Ok(());
        }
        if ctx.is_last() {
            session.set_keepalive(None);
        }
        let proven = ctx.grant().is_some_and(|g| g.principal().is_some());
        // It does not take our credential, or refuses all work: the probes find out which.
        let unauthorized = proven && response.status == StatusCode::UNAUTHORIZED;
        self.upstream.answered(unauthorized || (proven && response.status == StatusCode::SERVICE_UNAVAILABLE));
        if unauthorized && let Some(refusal) = self.credential_refused(ctx).await {
            ctx.stopped = Some(refusal);
            return Err(Error::explain(pingora::ErrorType::HTTPStatus(401), "401 to this proxy's credential").into_up());
        }
        if response.status != StatusCode::NOT_FOUND {
            ctx.join.take().into_iter().for_each(Join::is_no_miss);
        }
        if let Some(tried) = ctx.tried.take() {
            tried.answered(response.status);
        }
        let path = ctx.record.path.as_deref().unwrap_or_default();
        let no_model = |grant: &Grant| ctx.policy.sends_model_without_admin(grant, path);
        if response.status == StatusCode::FORBIDDEN && ctx.grant().is_some_and(no_model) {
            ctx.stopped = Some(Refusal::Isolation(IsolationFault::ModelNotTaken));
            return Error::e_explain(pingora::ErrorType::InternalError, "the gateway takes no model from this caller");
        }
        if !ctx.answer_begins(response) {
            return Error::e_explain(pingora::ErrorType::InternalError, "one stream too many for its principal");
        }
        // Its own rate, or that of the app which calls for it.
        let mut permits = ctx.permit.iter().chain(&ctx.app_permit);
        if let Some(said) = permits.find_map(Permit::headers) {
            local_reply::rate_limit(response, said)?;
        }
        response.insert_header(REQUEST_ID, ctx.request_id())?;
        local_reply::origins(response, ctx)?;
        if session.req_header().version == Version::HTTP_10 && response.headers.contains_key(TRANSFER_ENCODING) {
            // It ends with the connection: a client of HTTP/1.0 knows no chunks.
            response.remove_header(&TRANSFER_ENCODING);
            session.set_keepalive(None);
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        part: &mut Option<Bytes>,
        end: bool,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if let Some(buffered) = &mut ctx.buffered {
            if let (true, Some(connection)) = (end, &ctx.connection) {
                connection.body_ends();
            }
            if buffered.replace(part, end) {
                return Ok(());
            }
            ctx.stopped = Some(Refusal::Isolation(IsolationFault::Body(BodyFault::Trailing)));
            return Error::e_explain(pingora::ErrorType::InternalError, "something follows the body's JSON");
        }
        body_limits::comes(ctx, part.as_ref(), end)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        piece: &mut Option<Bytes>,
        _: bool,
        ctx: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        if let (Some(reader), Some(piece)) = (&mut ctx.response_id, piece) {
            reader.read(piece, &self.response_sessions);
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut RequestContext,
        mut error: Box<Error>,
    ) -> Box<Error> {
        // Nothing was sent: trying again is safe for every method (law 8).
        error.set_retry(self.upstream.try_again(&mut ctx.attempts, &error));
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut RequestContext) -> FailToProxy {
        ctx.record.cause = Some(error.to_string());
        let refusal = ctx.stopped.take().or_else(|| local_reply::failure(error, ctx));
        session.set_keepalive(None);
        let answered = session.response_written().is_some_and(|r| !r.status.is_informational());
        if let Some(limit @ Refusal::Limit(over)) = &refusal
            && (answered || *over == LimitFault::SlowReader)
        {
            // The client is gone, but the refusal is still recorded.
            ctx.record.refusal = Some(limit.clone());
        }
        if answered {
            // What came is the client's; that more is missing is seen by the connection's end.
            local_reply::flush(session).await;
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let mut code = 0;
        if let Some(refusal) = refusal.filter(|r| *r != Refusal::Limit(LimitFault::SlowReader)) {
            if refusal.gateway_saw_nothing() {
                ctx.join.take().into_iter().for_each(Join::is_no_miss);
                ctx.tried.take().into_iter().for_each(Tried::never_arrived);
            }
            let status = refusal.status();
            if local_reply::refuse(session, ctx, refusal).await.is_ok() {
                code = status;
            }
        }
        FailToProxy { error_code: code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut RequestContext) {
        ctx.finish(session, error);
    }

    // Said once, in the access line.
    fn suppress_error_log(&self, _: &Session, _: &RequestContext, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &RequestContext,
        _: &Error,
        _: pingora::proxy::ProxyWarnLogContext,
    ) -> bool {
        true
    }
}
