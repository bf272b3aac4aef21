//! The checks of a request's head, one by one, without a socket. `evaluation` puts them in order.

use crate::authn::Presented;
use crate::chat_session::Chat;
use crate::config::BodySizes;
use crate::cors::Page;
use crate::dns_rebinding::HostNames;
use crate::headers::{self, GatewayHeader, Kind};
use crate::policy::{Policy, Proven};
use crate::refusal::{LimitFault, Refusal};
use crate::route::{Need, Route};
use crate::scope::ScopeSet;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, ORIGIN, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// What a request asks for.
#[derive(Debug, Clone, Default)]
pub struct RequestedHeaders {
    /// The scopes; `None` when the header was not sent at all (law 3).
    pub requested: Option<ScopeSet>,
    /// The gateway's own headers that were sent.
    pub gateway_headers: Vec<(GatewayHeader, HeaderValue)>,
    /// The chat that it belongs to.
    pub chat: Option<Chat>,
    /// The `model` of the body, where the body was read.
    pub model: Option<Box<str>>,
}

/// Reads what a request asks for.
///
/// # Errors
/// When the scopes header cannot be read, or a governed header was sent twice.
pub fn asked(headers: &HeaderMap, policy: &Policy) -> Result<RequestedHeaders, Refusal> {
    let (requested, gateway_headers) = (requested_scopes(headers)?, gateway_headers(headers)?);
    Ok(RequestedHeaders { requested, gateway_headers, chat: policy.live().chats.read(headers)?, model: None })
}

/// How many header fields claim what a client may not: identity, origin or authority.
#[must_use]
pub fn spoofed(headers: &HeaderMap, policy: &Policy) -> usize {
    let is_spoofed = |name: &&HeaderName| policy.credentials().kind(name.as_str()) == Kind::Forged;
    let authenticator = policy.authenticator();
    headers.keys().filter(is_spoofed).filter(|n| !authenticator.reads(n) && !authenticator.describes_user(n)).count()
}

/// Refuses what a web page could send in the name of a caller who is identified by an address, or whose user
/// and password a browser remembers: a page can use both without knowing a secret, unlike a bearer token.
/// Refused are pages of other origins that `[cors]` does not list, and pages whose host name was made to
/// resolve to this machine (DNS rebinding, see [`crate::dns_rebinding`]).
///
/// # Errors
/// [`Refusal::CrossOrigin`], [`Refusal::HostNotAllowed`].
pub fn refuse_foreign_page(
    proven: &Proven,
    presented: Option<&Presented<'_>>,
    headers: &HeaderMap,
    names: &HostNames,
    listed: &[String],
    page: &Page,
) -> Result<(), Refusal> {
    let is_ambient = proven.principal.identity().is_ambient();
    if is_ambient {
        names.refuse_foreign_host(headers, listed)?;
    } else if !presented.is_some_and(Presented::is_ambient) {
        return Ok(());
    }
    if is_cross_origin(headers) && !page.is_listed() { Err(Refusal::CrossOrigin) } else { Ok(()) }
}

/// Methods that the gateway's own routes know, and others that are asked about them.
const METHODS: &[Method] =
    &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
/// Methods that echo a request, our credential in it, or change what the connection is.
const NEVER: &[&str] = &["TRACE", "TRACK", "CONNECT", "PRI"];

/// Refuses methods that are never passed on. Others than the usual ones need a route that lists them.
///
/// # Errors
/// [`Refusal::Method`].
pub fn method(method: &Method, route: &Route) -> Result<(), Refusal> {
    let served = match &route.need {
        Need::Health(_) => matches!(*method, Method::GET | Method::HEAD),
        _ => METHODS.contains(method) || route.methods.contains(method),
    };
    let never = NEVER.iter().any(|name| method.as_str().eq_ignore_ascii_case(name));
    if served && !never { Ok(()) } else { Err(Refusal::Method) }
}

/// Refuses expectations that cannot be met here.
///
/// # Errors
/// [`Refusal::Expectation`].
pub fn expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let met = headers.get_all(EXPECT).iter().all(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if met { Ok(()) } else { Err(Refusal::Expectation) }
}

/// The body that a head announces.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnnouncedBody {
    /// Whether there is one.
    pub expected: bool,
    /// How large it may be, in bytes.
    pub limit: u64,
}

/// Checks what the head says of its body. The form of both length fields was checked before.
///
/// # Errors
/// [`Refusal::Limit`] when there may be none, or it is too large.
pub fn body(method: &Method, headers: &HeaderMap, route: &Route, sizes: &BodySizes) -> Result<AnnouncedBody, Refusal> {
    let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).map(|l| l.parse().unwrap_or(u64::MAX));
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    let body = AnnouncedBody { expected: chunked || length.is_some_and(|l| l > 0), limit: sizes.of(route.label) };
    let none = matches!(*method, Method::GET | Method::HEAD) || matches!(route.need, Need::Health(_));
    if body.expected && none {
        return Err(Refusal::Limit(LimitFault::BodyUnexpected));
    }
    if length.is_some_and(|l| l > body.limit) {
        return Err(Refusal::Limit(LimitFault::BodySize { limit: body.limit }));
    }
    Ok(body)
}

fn gateway_headers(headers: &HeaderMap) -> Result<Vec<(GatewayHeader, HeaderValue)>, Refusal> {
    let mut all = Vec::new();
    // Hardly any request has one: to look for each would take longer than to look at each.
    if !headers.keys().any(|name| name.as_str().starts_with(GatewayHeader::PREFIX)) {
        return Ok(all);
    }
    for which in GatewayHeader::ALL {
        let mut values = which.names().flat_map(|name| headers.get_all(name));
        match (values.next(), values.next()) {
            (None, _) => {}
            (Some(value), None) => all.push((which, value.clone())),
            _ => return Err(Refusal::HeaderDenied { header: which.name(), why: "it was sent more than once" }),
        }
    }
    Ok(all)
}

/// What `x-openclaw-scopes` asks for; `None` when it was not sent at all (law 3).
///
/// # Errors
/// When it cannot be read.
pub fn requested_scopes(headers: &HeaderMap) -> Result<Option<ScopeSet>, Refusal> {
    if !headers.contains_key(headers::SCOPES) {
        return Ok(None);
    }
    let lines = headers.get_all(headers::SCOPES).iter().map(HeaderValue::as_bytes);
    ScopeSet::parse_lines(lines).map(Some).map_err(Refusal::ScopesHeader)
}

/// Whether a browser sent this for a page of another origin.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::map;

    #[test]
    fn a_page_of_another_origin_is_seen() {
        assert!(!is_cross_origin(&map(&[("host", "127.0.0.1:18780")])));
        assert!(!is_cross_origin(&map(&[("host", "a:1"), ("origin", "http://a:1")])));
        assert!(is_cross_origin(&map(&[("host", "a:1"), ("origin", "http://b:1")])));
        assert!(is_cross_origin(&map(&[("host", "a:1"), ("origin", "null")])));
        assert!(is_cross_origin(&map(&[("host", "a:1"), ("sec-fetch-site", "cross-site")])));
        assert!(is_cross_origin(&map(&[("origin", "http://a:1")])));
    }
}
