//! From a request's head to a grant, or to the reason why there is none.

use super::body_limits;
use super::context::RequestContext;
use crate::authn::{ClientCredential, Identity, Principal, ambient};
use crate::client_credential_limit::ClientCredentialLimit;
use crate::config::BodySizes;
use crate::cors;
use crate::framing;
use crate::headers::{self, Kind, REQUEST_ID};
use crate::identity_providers::IdentityProviders;
use crate::join_code_limit::JoinCodeLimit;
use crate::policy::{Proven, Request};
use crate::refusal::{Refusal, SocketFault};
use crate::request_checks;
use crate::request_path::Path;
use crate::route::{Need, Probe};
use crate::trace_context::TraceParent;
use crate::websocket::{Sockets, upgrade};
use http::{HeaderMap, HeaderName};
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
    /// One about the gateway's health.
    Health(Probe),
    /// A browser's question whether a page of another origin may ask, and the answer.
    Preflight(cors::Lines),
    /// One to become a WebSocket.
    Socket(Box<super::websocket_upgrade::Upgrade>),
}

/// Checks a request.
pub(super) async fn admit(
    session: &Session,
    ctx: &mut RequestContext,
    sources: &IdentityProviders,
    sockets: &Sockets,
    (joins, tried): (&Arc<JoinCodeLimit>, &Arc<ClientCredentialLimit>),
    sizes: &BodySizes,
) -> Result<Admitted, Refusal> {
    let head = session.req_header();
    let ServerSession::H1(raw) = &*session.downstream_session else { return Err(Refusal::Internal) };
    let raw = raw.get_headers_raw_bytes();
    ctx.record.method = head.method.clone();
    let policy = ctx.policy.clone();
    let origins = &policy.live().cors;
    ctx.page = origins.page(&head.headers);
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
    framing::validate(&head.headers, head.version, &raw)?;
    let path = Path::validate(target(&raw)).map_err(Refusal::Target)?;
    ctx.record.path = Some(Arc::from(path.as_str()));
    let route = ctx.policy.route(&head.method, path);
    ctx.record.route = Some(route.clone());
    let is_preflight = origins.is_preflight(&head.method, &head.headers);
    if !is_preflight {
        request_checks::method(&head.method, &route)?;
    }
    request_checks::expectation(&head.headers)?;
    if upgrade::is_wanted(&head.headers) {
        if path.is_upgrade_without_connect() {
            return Err(Refusal::Socket(SocketFault::Path));
        }
        return super::websocket_upgrade::admit(head, ctx, sources, sockets).await.map(Box::new).map(Admitted::Socket);
    }
    ctx.record.forged = request_checks::forged(&head.headers, &ctx.policy);
    ctx.record.place = ambient::of(ctx.peer(), &head.headers);
    ctx.body = body_limits::announced(&head.method, &head.headers, &route, sizes)?;
    if is_preflight {
        return origins.preflight(&head.headers).map(Admitted::Preflight).map_err(Refusal::Preflight);
    }
    let own = match route.need {
        Need::ClientCredential(_) => ClientCredential::read(&head.headers)?,
        _ => ClientCredential::default(),
    };
    let passed = |(name, _): &&(_, _)| headers::kind(HeaderName::as_str(name)) == Kind::Forged;
    ctx.record.forged = ctx.record.forged.saturating_sub(own.lines().iter().filter(passed).count());
    if let Some(grant) = ctx.policy.unauthenticated(&route, &own, ctx.place())? {
        join(path, None, ctx, joins)?;
        let own = grant.client_credential().map(ClientCredential::fingerprint);
        ctx.granted(grant);
        ctx.enter(&head.headers)?;
        // Last: one that is begun and not sent counts as a miss.
        ctx.tried = own.map(|own| tried.begin(own, ctx.peer(), Instant::now())).transpose()?;
        return Ok(match route.need {
            Need::Health(probe) => Admitted::Health(probe),
            _ => Admitted::Request,
        });
    }
    let proven = authenticate(&head.headers, ctx, sources).await?;
    ctx.asked = request_checks::asked(&head.headers, &policy)?;
    ctx.record.requested.clone_from(&ctx.asked.requested);
    let request = Request {
        requested: ctx.asked.requested.as_ref(),
        gateway_headers: &ctx.asked.gateway_headers,
        chat: ctx.asked.chat.as_ref(),
        body: None,
        ..Request::plain(&head.method, path, &route, ctx.place(), Timestamp::now())
    };
    let grant = ctx.policy.decide(&proven, request).inspect_err(|refusal| {
        ctx.record.refused(&ctx.policy, &proven, request, refusal);
    })?;
    ctx.undecided = grant.wants_body().then(|| proven.clone());
    ctx.granted(grant);
    ctx.enter(&head.headers)?;
    // Last: one that is begun and not sent counts as a miss.
    join(path, Some(&proven.principal), ctx, joins)?;
    Ok(Admitted::Request)
}

/// A pairing join takes one of its caller's tries. Who cannot be told apart from others is known by address.
fn join(
    path: Path<'_>,
    who: Option<&Arc<Principal>>,
    ctx: &mut RequestContext,
    joins: &Arc<JoinCodeLimit>,
) -> Result<(), Refusal> {
    if !path.is_join() {
        return Ok(());
    }
    let caller = match who.filter(|p| p.identity() != Identity::Anonymous) {
        Some(p) => {
            let authority = p.authority().map(|a| &**a).unwrap_or_default();
            format!("{} {authority} {}", p.identity().source(), p.name())
        }
        None => ctx.peer().map(|ip| ip.to_string()).unwrap_or_default(),
    };
    let waited = |wait: Duration| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    let begun = joins.begin(&caller, Instant::now());
    ctx.join = Some(begun.map_err(|wait| Refusal::JoinMisses { wait: waited(wait) })?);
    Ok(())
}

/// Who is calling?
async fn authenticate(
    headers: &HeaderMap,
    ctx: &mut RequestContext,
    sources: &IdentityProviders,
) -> Result<Proven, Refusal> {
    let policy = ctx.policy.clone();
    let presented = policy.authenticator().presented(headers)?;
    let credential = policy.authenticator().credential(presented.as_ref())?;
    let asking = ctx.asking(headers);
    let proven = sources.authenticate(&policy, credential, &asking, ctx.place()).await?;
    ctx.record.principal = Some(proven.principal.clone());
    let proven = policy.on_behalf(proven, headers, Timestamp::now())?;
    ctx.record.principal = Some(proven.principal.clone());
    if proven.principal.app().is_none() {
        // Nobody else's word about a user counts.
        ctx.record.forged += headers.keys().filter(|name| policy.authenticator().describes_user(name)).count();
    }
    request_checks::not_borrowed(
        &proven,
        presented.as_ref(),
        headers,
        &sources.names,
        &policy.live().hosts,
        &ctx.page,
    )?;
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
    use crate::headers::map;

    #[test]
    fn the_target_is_what_stands_between_the_outer_blanks() {
        assert_eq!(target(b"GET /a?b HTTP/1.1\r\nHost: x\r\n"), b"/a?b");
        assert_eq!(target(b"GET  /a HTTP/1.1\r\n"), b" /a");
        assert_eq!(target(b"GET /a#f HTTP/1.1\n"), b"/a#f");
        assert_eq!(target(b"GET"), b"");
        assert_eq!(target(b""), b"");
    }

    #[test]
    fn a_client_s_request_id_is_kept_only_if_fit() {
        assert_eq!(well_formed_id(&map(&[("x-request-id", "abc-1.2_3")])), Some("abc-1.2_3"));
        for bad in ["", "a b", "a\tb", "é"] {
            assert_eq!(well_formed_id(&map(&[("x-request-id", bad)])), None, "{bad:?}");
        }
    }
}
