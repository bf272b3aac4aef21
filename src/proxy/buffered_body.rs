//! Bodies that are read before it is decided, for callers whose agents, sessions or tools are limited. Nobody
//! else's body is held up.
//!
//! Pingora sends a body on as it reads it, and what was read before that only from its buffer for retries,
//! which holds 64 KiB. So the read ends where Pingora has something left to do: the tail of a body of known
//! length goes into that buffer, and the end of a chunked one is left for it to read. Both bring it to its
//! filter, where the whole body takes the place of what it has.

use super::body_limits;
use super::context::RequestContext;
use super::response_sessions::ResponseSessions;
use crate::json_body::{BodyFault, Object, Scan};
use crate::policy::{Proven, Request};
use crate::refusal::{IsolationFault, LimitFault, Refusal};
use crate::request_path::Path;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT, TRAILER, TRANSFER_ENCODING};
use jiff::Timestamp;
use pingora::http::RequestHeader;
use pingora::prelude::Result as PingoraResult;
use pingora::proxy::Session;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What Pingora's buffer for retries holds.
const RETRY_BUFFER: u64 = 64 * 1024;
/// How much all such bodies may hold in memory together.
const MAX_HELD: u64 = 256 * 1024 * 1024;

/// The bytes that are held for bodies under way.
#[derive(Debug, Default)]
pub(super) struct HeldBytes(AtomicU64);

/// A body's share of them, given back when it is dropped.
#[derive(Debug)]
struct Share {
    all: Arc<HeldBytes>,
    bytes: u64,
}

impl Share {
    fn grow(&mut self, bytes: u64) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        let before = self.all.0.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        if before + more > MAX_HELD { Err(Refusal::Isolation(IsolationFault::Crowded)) } else { Ok(()) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A body that was read and is to be sent.
#[derive(Debug)]
pub(super) struct Buffered {
    body: Bytes,
    sent: bool,
    /// Whether its end is still to be read.
    chunked: bool,
    _share: Share,
}

/// Reads the body of a request that cannot be decided without it, and decides.
pub(super) async fn decide(
    session: &mut Session,
    ctx: &mut RequestContext,
    sessions: &ResponseSessions,
    held: &Arc<HeldBytes>,
) -> Result<(), Refusal> {
    let Some(proven) = ctx.undecided.take() else { return Ok(()) };
    let mut share = Share { all: held.clone(), bytes: 0 };
    let body = read(session, ctx, &mut share).await?;
    let changed = check(&body, &proven, ctx, sessions)?;
    if ctx.body.expected {
        let chunked = length(&session.req_header().headers).is_none();
        ctx.buffered = Some(Buffered { body: changed.unwrap_or(body), sent: false, chunked, _share: share });
    }
    Ok(())
}

/// Decides with the body at hand; gives the one to send if it is another.
fn check(
    body: &Bytes,
    proven: &Proven,
    ctx: &mut RequestContext,
    sessions: &ResponseSessions,
) -> Result<Option<Bytes>, Refusal> {
    let unreadable = |fault: BodyFault| Refusal::Isolation(IsolationFault::Body(fault));
    let object = Object::read(body).map_err(unreadable)?;
    let previous = object.text("previous_response_id").map_err(unreadable)?;
    let continues = previous.and_then(|id| sessions.get(&proven.principal.key(), &id));
    ctx.asked.model = object.text("model").map_err(unreadable)?.map(|model| model.chars().take(128).collect());
    let path = ctx.record.path.clone().unwrap_or_default();
    let (Ok(path), Some(route)) = (Path::validate(path.as_bytes()), ctx.record.route.clone()) else {
        return Err(Refusal::Internal);
    };
    let method = ctx.record.method.clone();
    let asked = ctx.asked.clone();
    let request = Request {
        requested: asked.requested.as_ref(),
        gateway_headers: &asked.gateway_headers,
        chat: asked.chat.as_ref(),
        body: Some(&object),
        continues: continues.as_deref(),
        ..Request::plain(&method, path, &route, ctx.place(), Timestamp::now())
    };
    let grant = ctx.policy.decide(proven, request).inspect_err(|refusal| {
        ctx.record.refused(&ctx.policy, proven, request, refusal);
    })?;
    let changed = grant.body().map(|edits| Bytes::from(edits.clone().apply(body)));
    ctx.granted(grant);
    Ok(changed)
}

/// Reads a body, as far as Pingora needs none of it.
async fn read(session: &mut Session, ctx: &mut RequestContext, share: &mut Share) -> Result<Bytes, Refusal> {
    if !ctx.body.expected {
        return Ok(Bytes::new());
    }
    let length = length(&session.req_header().headers);
    if session.req_header().headers.contains_key(EXPECT) {
        session.downstream_session.write_continue_response().await.map_err(|_| Refusal::ClientBroken)?;
    }
    body_limits::begins(ctx);
    if let Some(length) = length {
        share.grow(length)?;
    }
    let mut body = BytesMut::new();
    let mut scan = Scan::default();
    loop {
        let came = body.len() as u64;
        let done = match length {
            Some(length) => came >= length,
            None => scan.has_ended(),
        };
        if done {
            break;
        }
        if length.is_some_and(|length| length - came <= RETRY_BUFFER) {
            session.downstream_session.enable_retry_buffering();
        }
        let piece = match session.downstream_session.read_request_body().await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(_) => {
                let late = ctx.connection.as_ref().and_then(|c| c.body_fault());
                return Err(late.map_or(Refusal::ClientBroken, Refusal::Limit));
            }
        };
        if came + piece.len() as u64 > ctx.body.limit() {
            return Err(Refusal::Limit(LimitFault::BodySize { limit: ctx.body.limit() }));
        }
        share.grow(came + piece.len() as u64)?;
        scan.feed(&piece).map_err(|fault| Refusal::Isolation(IsolationFault::Body(fault)))?;
        body.extend_from_slice(&piece);
    }
    // The end of a chunked one is still to come, and is waited for no longer than the rest.
    if let (Some(_), Some(connection)) = (length, &ctx.connection) {
        connection.body_ends();
    }
    Ok(body.freeze())
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|l| l.parse().ok())
}

/// The head says what is sent instead of what came.
pub(super) fn announce(request: &mut RequestHeader, ctx: &RequestContext) -> PingoraResult<()> {
    let Some(buffered) = &ctx.buffered else { return Ok(()) };
    request.remove_header(&TRANSFER_ENCODING);
    request.remove_header(&TRAILER);
    request.remove_header(&EXPECT);
    request.insert_header(CONTENT_LENGTH, buffered.body.len())
}

impl Buffered {
    /// Pingora has a piece of the body, or its end. False: it is no part of the body that was decided on.
    pub(super) fn replace(&mut self, part: &mut Option<Bytes>, end: bool) -> bool {
        // The tail of a body of known length was read already; behind the JSON of a chunked one are blanks.
        let fits = !self.chunked || part.as_ref().is_none_or(|piece| piece.iter().all(u8::is_ascii_whitespace));
        let whole = end && !self.sent;
        *part = Some(if whole { self.body.clone() } else { Bytes::new() });
        self.sent |= whole;
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back_and_bounded() {
        let all: Arc<HeldBytes> = Arc::default();
        let mut share = Share { all: all.clone(), bytes: 0 };
        share.grow(10).unwrap();
        share.grow(5).unwrap();
        assert_eq!(all.0.load(Ordering::Relaxed), 10);
        assert_eq!(share.grow(MAX_HELD + 1), Err(Refusal::Isolation(IsolationFault::Crowded)));
        drop(share);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_body_goes_once_in_place_of_what_pingora_has_and_junk_behind_it_is_seen() {
        let buffered = |chunked| Buffered {
            body: Bytes::from_static(b"{}"),
            sent: false,
            chunked,
            _share: Share { all: Arc::default(), bytes: 0 },
        };
        let mut part = Some(Bytes::from_static(b"tail}"));
        assert!(buffered(false).replace(&mut part, true));
        assert_eq!(part.as_deref(), Some(&b"{}"[..]));
        let mut chunked = buffered(true);
        let mut part = Some(Bytes::from_static(b" \n"));
        assert!(chunked.replace(&mut part, false));
        assert_eq!(part.as_deref(), Some(&b""[..]));
        let mut end = None;
        assert!(chunked.replace(&mut end, true));
        assert_eq!(end.as_deref(), Some(&b"{}"[..]));
        assert!(!buffered(true).replace(&mut Some(Bytes::from_static(b"{}")), true));
    }
}
