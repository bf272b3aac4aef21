//! Refusals and failures as HTTP answers.

use super::context::RequestContext;
use crate::cors::{Lines, is_about_origins};
use crate::headers::REQUEST_ID;
use crate::refusal::{LimitFault, Refusal};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, RETRY_AFTER, SEC_WEBSOCKET_VERSION, WWW_AUTHENTICATE,
};
use http::{HeaderName, Method, StatusCode};
use pingora::ErrorSource;
use pingora::ErrorType as E;
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, Result};
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;
use std::time::Duration;

/// How long the client may take to accept the rest of an answer that broke off.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Answers with a refusal and remembers it.
pub(super) async fn refuse(session: &mut Session, ctx: &mut RequestContext, refusal: Refusal) -> Result<()> {
    let body = refusal.body(ctx.record.caller().as_ref(), &ctx.record.request_id);
    let mut head = ResponseHeader::build(refusal.status(), Some(6))?;
    head.insert_header(CONTENT_TYPE, "application/json; charset=utf-8")?;
    head.insert_header(CONTENT_LENGTH, body.len())?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    head.insert_header(REQUEST_ID, ctx.request_id())?;
    origins(&mut head, ctx)?;
    if let Some(challenge) = refusal.challenge() {
        head.insert_header(WWW_AUTHENTICATE, challenge)?;
    }
    if let Some(version) = refusal.websocket_version() {
        head.insert_header(SEC_WEBSOCKET_VERSION, version)?;
    }
    if let Some(seconds) = refusal.retry_after() {
        head.insert_header(RETRY_AFTER, seconds)?;
    }
    if let Some(said) = refusal.rate_limit() {
        rate_limit(&mut head, said)?;
    }
    // The rest of the body is read, so that the answer is not lost in a reset and the connection can
    // go on. Where the head itself was doubtful, or the client waits for leave to send its body,
    // nothing more is read.
    session.set_close_on_response_before_downstream_finish(false);
    let may_be_ours = matches!(
        refusal,
        Refusal::Framing(_)
            | Refusal::Host(_)
            | Refusal::HeadTooLarge { .. }
            | Refusal::Expectation
            | Refusal::Upgrade
            | Refusal::Socket(_)
            | Refusal::Draining
            | Refusal::Limit(LimitFault::BodyUnexpected | LimitFault::BodyTime | LimitFault::BodyRate)
    );
    let too_large = matches!(refusal, Refusal::Limit(LimitFault::BodySize { .. }));
    let unread = may_be_ours || session.req_header().headers.contains_key(EXPECT);
    if unread || too_large {
        session.set_keepalive(None);
    }
    ctx.record.status = refusal.status();
    ctx.record.refusal = Some(refusal);
    let bodiless = ctx.record.method == Method::HEAD;
    session.write_response_header(Box::new(head), bodiless).await?;
    if !bodiless {
        session.write_response_body(Some(Bytes::from(body)), true).await?;
    }
    if !unread && !session.downstream_session.is_body_done() {
        // What is left of the body takes its time; what happened is known.
        ctx.record.attempts = ctx.attempts.count();
        ctx.record.emit();
        if session.downstream_session.drain_request_body().await.is_err() {
            session.set_keepalive(None);
        }
    }
    Ok(())
}

/// Answers with the gateway's health.
pub(super) async fn health(
    session: &mut Session,
    ctx: &mut RequestContext,
    status: u16,
    verdict: &'static str,
) -> Result<()> {
    let mut head = ResponseHeader::build(status, Some(4))?;
    head.insert_header(CONTENT_TYPE, "application/json; charset=utf-8")?;
    head.insert_header(CONTENT_LENGTH, verdict.len())?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    head.insert_header(REQUEST_ID, ctx.request_id())?;
    origins(&mut head, ctx)?;
    ctx.record.status = status;
    let bodiless = ctx.record.method == Method::HEAD;
    session.write_response_header(Box::new(head), bodiless).await?;
    if !bodiless {
        session.write_response_body(Some(Bytes::from_static(verdict.as_bytes())), true).await?;
    }
    Ok(())
}

/// Answers a browser that asks whether a page of another origin may ask.
pub(super) async fn preflight(session: &mut Session, ctx: &mut RequestContext, lines: Lines) -> Result<()> {
    let mut head = ResponseHeader::build(StatusCode::NO_CONTENT, Some(12))?;
    head.insert_header(REQUEST_ID, ctx.request_id())?;
    origins(&mut head, ctx)?;
    for (name, value) in lines {
        head.append_header(name, value)?;
    }
    ctx.record.status = StatusCode::NO_CONTENT.as_u16();
    session.write_response_header(Box::new(head), true).await
}

/// Says whether the page that asked may read the answer. What the gateway says of origins does not count.
pub(super) fn origins(head: &mut ResponseHeader, ctx: &RequestContext) -> Result<()> {
    let lines = ctx.page.lines();
    if lines.is_empty() {
        return Ok(());
    }
    let theirs: Vec<HeaderName> = head.headers.keys().filter(|name| is_about_origins(name)).cloned().collect();
    for name in &theirs {
        head.remove_header(name);
    }
    for (name, value) in lines {
        head.append_header(name, value)?;
    }
    Ok(())
}

/// Says what a principal has left (draft-ietf-httpapi-ratelimit-headers).
pub(super) fn rate_limit(head: &mut ResponseHeader, (policy, left): (String, String)) -> Result<()> {
    head.insert_header(RATE_LIMIT_POLICY, policy)?;
    head.insert_header(RATE_LIMIT, left)
}

/// Sends what is written and not on its way yet: Pingora holds the first bytes of an answer of known
/// length back, and forgets them when the answer breaks off.
pub(super) async fn flush(session: &mut Session) {
    let broken = || HttpTask::Failed(Error::new(E::InternalError));
    // The failure of more tasks than one is what flushes.
    let flushed = session.downstream_session.response_duplex_vec(vec![broken(), broken()]);
    let _ = tokio::time::timeout(FLUSH_TIMEOUT, flushed).await;
}

/// The refusal for a failure on the way, if the client is still connected.
pub(super) fn failure(error: &Error, ctx: &RequestContext) -> Option<Refusal> {
    if let Some(over) = ctx.over.or_else(|| ctx.connection.as_ref().and_then(|c| c.body_fault())) {
        return Some(Refusal::Limit(over));
    }
    if let Some(refusal) = ctx.revoked() {
        return Some(refusal.clone());
    }
    if let Some(why) = ctx.unfit {
        return Some(Refusal::GatewayInvalid(why));
    }
    match error.esource() {
        ErrorSource::Downstream => match error.etype() {
            E::WriteTimedout => Some(Refusal::Limit(LimitFault::SlowReader)),
            E::ReadError | E::WriteError | E::ConnectionClosed | E::ConnectError => None,
            _ => Some(Refusal::ClientBroken),
        },
        ErrorSource::Upstream => Some(match error.etype() {
            E::ConnectTimedout => Refusal::GatewayTimeout,
            E::ConnectRefused | E::ConnectNoRoute | E::ConnectError | E::SocketError | E::BindError
                if ctx.attempts.waited() =>
            {
                Refusal::GatewayRestarting
            }
            E::ConnectRefused | E::ConnectNoRoute | E::ConnectError | E::SocketError | E::BindError => {
                Refusal::GatewayUnreachable
            }
            _ => Refusal::GatewayBroken,
        }),
        ErrorSource::Internal | ErrorSource::Unset => Some(Refusal::Internal),
    }
}
