//! From a request's head to a grant, or to the reason why there is none.

use super::ctx::Ctx;
use crate::headers::{self, Governed, Kind, REQUEST_ID};
use crate::issuers::Issuers;
use crate::policy::{Proven, Request};
use crate::refusal::{JwtFault, Refusal};
use crate::route::{Need, Route};
use crate::scope::ScopeSet;
use crate::target::Path;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Version};
use jiff::Timestamp;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use std::sync::Arc;

/// The largest head passed on, in bytes: the gateway takes 16 KiB, our own lines included.
const MAX_HEAD: usize = 15 * 1024;

/// Judges a request. On success the context holds its grant.
pub(super) async fn admit(session: &Session, ctx: &mut Ctx, issuers: &Issuers) -> Result<(), Refusal> {
    let head = session.req_header();
    let ServerSession::H1(raw) = &*session.downstream_session else { return Err(Refusal::Internal) };
    let raw = raw.get_headers_raw_bytes();
    ctx.record.method = head.method.clone();
    if let Some(id) = well_formed_id(&head.headers) {
        ctx.record.request_id = Arc::from(id);
    }
    if raw.len() > MAX_HEAD {
        return Err(Refusal::HeadTooLarge { limit: MAX_HEAD, unit: "bytes" });
    }
    let path = Path::judge(target(&raw)).map_err(Refusal::Target)?;
    path.as_str().clone_into(&mut ctx.record.path);
    framing(&head.headers, head.version, &raw)?;
    nominations(&head.headers)?;
    let route = ctx.policy.route(&head.method, path).clone();
    ctx.record.route = Some(route.clone());
    method(&head.method, &route)?;
    expectation(&head.headers)?;
    if head.headers.get_all(UPGRADE).iter().any(|v| contains_token(v.as_bytes(), b"websocket")) {
        return Err(Refusal::Upgrade);
    }
    let (governed, forged) = survey(&head.headers);
    ctx.record.forged = forged;
    if let Some(grant) = ctx.policy.unproven(&route) {
        ctx.grant(grant);
        return Ok(());
    }
    let proven = authenticate(&head.headers, ctx, issuers).await?;
    ctx.requested = requested(&head.headers)?;
    ctx.governed = governed?;
    let request = Request {
        method: &head.method,
        path,
        route: &route,
        requested: ctx.requested.as_ref(),
        governed: &ctx.governed,
        peer: ctx.peer(),
        now: Timestamp::now(),
    };
    let grant = ctx.policy.decide(&proven, request)?;
    ctx.grant(grant);
    Ok(())
}

/// Who is calling? A token signed with a key not yet known has the issuer asked once.
async fn authenticate(headers: &HeaderMap, ctx: &mut Ctx, issuers: &Issuers) -> Result<Proven, Refusal> {
    let policy = ctx.policy.clone();
    let credential = policy.authenticator().credential(headers)?;
    let mut proven = policy.authenticate(credential, ctx.peer(), Timestamp::now());
    if let Err(Refusal::Jwt(JwtFault::KeyUnknown | JwtFault::KeysUnavailable)) = &proven
        && let Some(issuer) = policy.authenticator().issuer_of(credential)
    {
        // Judged again whatever came of it: another request may have brought the key just before.
        issuers.refresh(issuer).await;
        proven = policy.authenticate(credential, ctx.peer(), Timestamp::now());
    }
    let proven = proven?;
    ctx.record.principal = Some(proven.principal.name().to_owned());
    ctx.record.source = Some(proven.principal.identity().source());
    if proven.principal.identity().is_ambient() && is_cross_origin(headers) {
        return Err(Refusal::CrossOrigin);
    }
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

fn method(method: &Method, route: &Route) -> Result<(), Refusal> {
    let health = matches!(route.need, Need::Health(_)) && !matches!(*method, Method::GET | Method::HEAD);
    // TRACE would echo the gateway's credential to the client.
    if health || matches!(*method, Method::TRACE | Method::CONNECT) { Err(Refusal::Method) } else { Ok(()) }
}

fn expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let met = headers.get_all(EXPECT).iter().all(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if met { Ok(()) } else { Err(Refusal::Expectation) }
}

/// The governed headers that were sent, and how many others claim what they may not.
fn survey(headers: &HeaderMap) -> (Result<Vec<(Governed, HeaderValue)>, Refusal>, usize) {
    let mut governed = Ok(Vec::new());
    let mut forged = 0;
    for name in headers.keys() {
        match headers::kind(name.as_str()) {
            Kind::Governed(which) => {
                let mut values = headers.get_all(name).iter();
                match (&mut governed, values.next(), values.next()) {
                    (Ok(all), Some(value), None) => all.push((which, value.clone())),
                    _ => {
                        governed =
                            Err(Refusal::HeaderDenied { header: which.name(), why: "it was sent more than once" });
                    }
                }
            }
            Kind::Forged => forged += 1,
            Kind::Free | Kind::Ours => {}
        }
    }
    (governed, forged)
}

/// What `x-openclaw-scopes` asks for; `None` when it was not sent at all (law 3).
fn requested(headers: &HeaderMap) -> Result<Option<ScopeSet>, Refusal> {
    if !headers.contains_key(headers::SCOPES) {
        return Ok(None);
    }
    let lines = headers.get_all(headers::SCOPES).iter().map(HeaderValue::as_bytes);
    ScopeSet::parse_lines(lines).map(Some).map_err(Refusal::ScopesHeader)
}

/// Whether a browser sent this for a page of another origin. Asked only of callers whose identity
/// is their place: a page could borrow it, where it cannot borrow a bearer token.
fn is_cross_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let host = headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let own = |scheme: &[u8]| origin.as_bytes().strip_prefix(scheme).is_some_and(|o| o.eq_ignore_ascii_case(host));
    host.is_empty() || !(own(b"http://") || own(b"https://"))
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

/// Whether a comma list holds a token, letters compared without case.
fn contains_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|b| *b == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
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
    fn a_page_of_another_origin_is_seen() {
        assert!(!is_cross_origin(&map(&[("host", "127.0.0.1:18790")])));
        assert!(!is_cross_origin(&map(&[("host", "a:1"), ("origin", "http://a:1")])));
        assert!(is_cross_origin(&map(&[("host", "a:1"), ("origin", "http://b:1")])));
        assert!(is_cross_origin(&map(&[("host", "a:1"), ("origin", "null")])));
        assert!(is_cross_origin(&map(&[("host", "a:1"), ("sec-fetch-site", "cross-site")])));
        assert!(is_cross_origin(&map(&[("origin", "http://a:1")])));
    }

    #[test]
    fn a_client_s_request_id_is_kept_only_if_fit() {
        assert_eq!(well_formed_id(&map(&[("x-request-id", "abc-1.2_3")])), Some("abc-1.2_3"));
        for bad in ["", "a b", "a\tb", "é"] {
            assert_eq!(well_formed_id(&map(&[("x-request-id", bad)])), None, "{bad:?}");
        }
    }
}
