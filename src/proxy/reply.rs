//! Refusals and failures as HTTP answers.

use super::ctx::Ctx;
use crate::headers::REQUEST_ID;
use crate::refusal::Refusal;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, RETRY_AFTER, SEC_WEBSOCKET_VERSION, WWW_AUTHENTICATE,
};
use http::{HeaderName, Method};
use pingora::ErrorSource;
use pingora::ErrorType as E;
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, Result};
use pingora::proxy::Session;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Answers with a refusal and remembers it.
pub(super) async fn refuse(session: &mut Session, ctx: &mut Ctx, refusal: Refusal) -> Result<()> {
    let body = refusal.body(ctx.record.name(), &ctx.record.request_id);
    let mut head = ResponseHeader::build(refusal.status(), Some(6))?;
    head.insert_header(CONTENT_TYPE, "application/json; charset=utf-8")?;
    head.insert_header(CONTENT_LENGTH, body.len())?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    head.insert_header(REQUEST_ID, ctx.request_id())?;
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
    let doubtful = matches!(
        refusal,
        Refusal::Framing(_)
            | Refusal::HeadTooLarge { .. }
            | Refusal::Expectation
            | Refusal::Upgrade
            | Refusal::Socket(_)
            | Refusal::Draining
    );
    if doubtful || session.req_header().headers.contains_key(EXPECT) {
        session.set_keepalive(None);
    }
    ctx.record.status = refusal.status();
    ctx.record.refusal = Some(refusal);
    let bodiless = ctx.record.method == Method::HEAD;
    session.write_response_header(Box::new(head), bodiless).await?;
    if !bodiless {
        session.write_response_body(Some(Bytes::from(body)), true).await?;
    }
    Ok(())
}

/// Says what a principal has left (draft-ietf-httpapi-ratelimit-headers).
pub(super) fn rate_limit(head: &mut ResponseHeader, (policy, left): (String, String)) -> Result<()> {
    head.insert_header(RATE_LIMIT_POLICY, policy)?;
    head.insert_header(RATE_LIMIT, left)
}

/// What a failure on the way is called, if there is still somebody to tell.
pub(super) fn failure(error: &Error, ctx: &Ctx) -> Option<Refusal> {
    match error.esource() {
        ErrorSource::Downstream => match error.etype() {
            E::ReadError | E::WriteError | E::ConnectionClosed | E::WriteTimedout | E::ConnectError => None,
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
