//! From a request's head to a grant, or to the reason why there is none.

use super::ctx::Ctx;
use crate::admission::{self, contains_token};
use crate::authn::{Identity, Principal, place};
use crate::headers::REQUEST_ID;
use crate::joins::Joins;
use crate::policy::{Proven, Request};
use crate::refusal::Refusal;
use crate::sources::Sources;
use crate::target::Path;
use crate::trace::TraceParent;
use crate::websocket::{Sockets, upgrade};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Version};
use jiff::Timestamp;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The largest head passed on, in bytes: the gateway takes 16 KiB, our own lines included.
const MAX_HEAD: usize = 15 * 1024;

/// What a request turned out to be.
pub(super) enum Admitted {
    /// One for the gateway. The context holds its grant.
    Request,
    /// One to become a WebSocket.
    Socket(Box<super::socket::Upgrade>),
}

/// Judges a request.
pub(super) async fn admit(
    session: &Session,
    ctx: &mut Ctx,
    sources: &Sources,
    sockets: &Sockets,
    joins: &Arc<Joins>,
) -> Result<Admitted, Refusal> {
    let head = session.req_header();
    let ServerSession::H1(raw) = &*session.downstream_session else { return Err(Refusal::Internal) };
    let raw = raw.get_headers_raw_bytes();
    ctx.record.method = head.method.clone();
    if let Some(id) = well_formed_id(&head.headers) {
        ctx.record.request_id = Arc::from(id);
    }
    let parent = head.headers.get("traceparent").and_then(|v| TraceParent::parse(v.as_bytes()));
    ctx.record.trace = Some(parent.map_or_else(TraceParent::begin, TraceParent::child));
    if ctx.connection.as_ref().is_some_and(|c| c.is_too_late()) {
        return Err(Refusal::Draining);
    }
    if raw.len() > MAX_HEAD {
        return Err(Refusal::HeadTooLarge { limit: MAX_HEAD, unit: "bytes" });
    }
    let path = Path::judge(target(&raw)).map_err(Refusal::Target)?;
    path.as_str().clone_into(&mut ctx.record.path);
    framing(&head.headers, head.version, &raw)?;
    nominations(&head.headers)?;
    let route = ctx.policy.route(&head.method, path);
    ctx.record.route = Some(route.clone());
    admission::method(&head.method, &route)?;
    admission::expectation(&head.headers)?;
    if upgrade::is_wanted(&head.headers) {
        return super::socket::admit(head, ctx, sources, sockets).await.map(Box::new).map(Admitted::Socket);
    }
    ctx.record.forged = admission::forged(&head.headers, ctx.policy.proof());
    ctx.record.place = place::of(ctx.peer(), &head.headers);
    if let Some(grant) = ctx.policy.unproven(&route) {
        join(path, None, ctx, joins)?;
        ctx.grant(grant);
        return Ok(Admitted::Request);
    }
    let proven = authenticate(&head.headers, ctx, sources).await?;
    ctx.asked = admission::asked(&head.headers)?;
    ctx.record.requested.clone_from(&ctx.asked.requested);
    let request = Request {
        method: &head.method,
        path,
        route: &route,
        requested: ctx.asked.requested.as_ref(),
        governed: &ctx.asked.governed,
        peer: ctx.place(),
        now: Timestamp::now(),
    };
    let decided = ctx.policy.decide(&proven, request);
    ctx.record.change = decided.as_ref().err().map(|refusal| ctx.policy.remedy(Some(&proven), refusal));
    let grant = decided?;
    ctx.grant(grant);
    ctx.enter(&head.headers)?;
    // Last: one that is begun and not sent counts as a miss.
    join(path, Some(&proven.principal), ctx, joins)?;
    Ok(Admitted::Request)
}

/// A pairing join takes one of its caller's tries. Who cannot be told apart from others is known by address.
fn join(path: Path<'_>, who: Option<&Arc<Principal>>, ctx: &mut Ctx, joins: &Arc<Joins>) -> Result<(), Refusal> {
    if !path.is_join() {
        return Ok(());
    }
    let caller = match who.filter(|p| p.identity() != Identity::Anonymous) {
        Some(p) => {
            let issuer = p.verified().map(|v| &*v.issuer).unwrap_or_default();
            format!("{} {issuer} {}", p.identity().source(), p.name())
        }
        None => ctx.peer().map(|ip| ip.to_string()).unwrap_or_default(),
    };
    let waited = |wait: Duration| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    let begun = joins.begin(&caller, Instant::now());
    ctx.join = Some(begun.map_err(|wait| Refusal::JoinMisses { wait: waited(wait) })?);
    Ok(())
}

/// Who is calling?
async fn authenticate(headers: &HeaderMap, ctx: &mut Ctx, sources: &Sources) -> Result<Proven, Refusal> {
    let policy = ctx.policy.clone();
    let credential = policy.authenticator().credential(headers)?;
    let asking = ctx.asking(headers);
    let proven = sources.authenticate(&policy, credential, &asking, ctx.place()).await?;
    ctx.record.principal = Some(proven.principal.clone());
    admission::not_borrowed(&proven, headers, &sources.names, &policy.live().hosts)?;
    Ok(proven)
}

/// The request target, byte for byte as it came: what stands between the first blank of the
/// request line and the last.
fn target(raw: &[u8]) -> &[u8] {
    let line = raw.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_end();
    let Some(first) = line.iter().position(|b| *b == b' ') else {
        return &[];
    };
    let Some(last) = line.iter().rposition(|b| *b == b' ') else {
        return &[];
    };
    line.get(first + 1..last).unwrap_or_default()
}

/// Ambiguity about where a body ends is refused, not resolved (law 8; RFC 9112 §6.3).
fn framing(headers: &HeaderMap, version: Version, raw: &[u8]) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::Framing("Transfer-Encoding is something other than `chunked`"));
        }
        // Pingora has dropped the length from the parsed headers by now: look at the bytes.
        if version != Version::HTTP_11 || lengths.next().is_some() || raw_has_length(raw) {
            return Err(Refusal::Framing("Transfer-Encoding and Content-Length together, or in HTTP/1.0"));
        }
        return Ok(());
    }
    if let Some(length) = lengths.next()
        && (lengths.next().is_some() || length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return Err(Refusal::Framing("Content-Length is not one plain number"));
    }
    Ok(())
}

/// `Connection` may ask for fields to be taken out on the way; not for those that say what the
/// request is.
fn nominations(headers: &HeaderMap) -> Result<(), Refusal> {
    let named = |name: &[u8]| headers.get_all(CONNECTION).iter().any(|v| contains_token(v.as_bytes(), name));
    if named(b"host") || named(b"content-length") || named(b"transfer-encoding") {
        return Err(Refusal::Framing("Connection names Host, Content-Length or Transfer-Encoding"));
    }
    Ok(())
}

fn raw_has_length(raw: &[u8]) -> bool {
    raw.split(|b| *b == b'\n').any(|line| {
        line.get(..CONTENT_LENGTH.as_str().len())
            .is_some_and(|name| name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes()))
    })
}

/// A request number of the client's own, if it is fit for a log.
fn well_formed_id(headers: &HeaderMap) -> Option<&str> {
    let mut ids = headers.get_all(REQUEST_ID).iter();
    let (Some(id), None) = (ids.next(), ids.next()) else {
        return None;
    };
    let id = id.to_str().ok()?;
    let fit = (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    fit.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().unwrap())).fold(
            HeaderMap::new(),
            |mut m, (n, v)| {
                m.append(n, v);
                m
            },
        )
    }

    #[test]
    fn the_target_is_what_stands_between_the_outer_blanks() {
        assert_eq!(target(b"GET /a?b HTTP/1.1\r\nHost: x\r\n"), b"/a?b");
        assert_eq!(target(b"GET  /a HTTP/1.1\r\n"), b" /a");
        assert_eq!(target(b"GET /a#f HTTP/1.1\n"), b"/a#f");
        assert_eq!(target(b"GET"), b"");
        assert_eq!(target(b""), b"");
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let ok = |lines: &[(&'static str, &str)], raw: &[u8]| framing(&map(lines), Version::HTTP_11, raw).is_ok();
        assert!(ok(&[], b""));
        assert!(ok(&[("content-length", "12")], b""));
        assert!(ok(&[("transfer-encoding", "Chunked")], b"GET / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n"));
        assert!(!ok(&[("transfer-encoding", "chunked")], b"GET / HTTP/1.1\r\nCONTENT-length: 3\r\n"));
        assert!(!ok(&[("transfer-encoding", "gzip, chunked")], b""));
        assert!(!ok(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], b""));
        assert!(!ok(&[("content-length", "2"), ("content-length", "2")], b""));
        assert!(!ok(&[("content-length", "2, 2")], b""));
        assert!(!ok(&[("content-length", "+2")], b""));
        assert!(framing(&map(&[("transfer-encoding", "chunked")]), Version::HTTP_10, b"").is_err());
    }

    #[test]
    fn a_client_s_request_id_is_kept_only_if_fit() {
        assert_eq!(well_formed_id(&map(&[("x-request-id", "abc-1.2_3")])), Some("abc-1.2_3"));
        for bad in ["", "a b", "a\tb", "é"] {
            assert_eq!(well_formed_id(&map(&[("x-request-id", bad)])), None, "{bad:?}");
        }
    }
}
