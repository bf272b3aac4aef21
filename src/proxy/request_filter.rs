//! From a request's head to a grant, or to the reason why there is none.

use super::TRACEPARENT;
use super::body_limits::Body;
use super::context::RequestContext;
use crate::authn::{Identity, PassthroughCredential, Principal};
use crate::config::BodySizes;
use crate::cors;
use crate::headers::{REQUEST_ID, single};
use crate::identity_providers::IdentityProviders;
use crate::join_code_limit::JoinCodeLimit;
use crate::passthrough_credential_limit::PassthroughCredentialLimit;
use crate::refusal::Refusal;
use crate::request_evaluation::{Decision, Evaluation, Facts, Head};
use crate::request_path::Path;
use crate::route::{Need, Probe, builtin};
use crate::trace_context::TraceParent;
use crate::websocket::Sockets;
use http::HeaderMap;
use jiff::Timestamp;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// Evaluates a request, and gathers on the way what its evaluation needs.
pub(super) async fn admit(
    session: &Session,
    ctx: &mut RequestContext,
    sources: &IdentityProviders,
    sockets: &Sockets,
    (joins, tried): (&Arc<JoinCodeLimit>, &Arc<PassthroughCredentialLimit>),
    sizes: &BodySizes,
) -> Result<Admitted, Refusal> {
    let head = session.req_header();
    let ServerSession::H1(raw) = &*session.downstream_session else { return Err(Refusal::Internal) };
    let raw = raw.get_headers_raw_bytes();
    ctx.record.method = head.method.clone();
    let policy = ctx.policy.clone();
    if let Some(id) = well_formed_id(&head.headers) {
        ctx.record.request_id = Arc::from(id);
    }
    let parent = head.headers.get(TRACEPARENT).and_then(|v| TraceParent::parse(v.as_bytes()));
    ctx.record.trace = Some(parent.map_or_else(TraceParent::begin, TraceParent::child));
    let facts = Facts {
        method: &head.method,
        version: head.version,
        headers: &head.headers,
        raw: &raw,
        peer: ctx.peer(),
        names: &sources.names,
        body_sizes: sizes,
    };
    let mut evaluation = Evaluation::new(&policy, facts);
    ctx.page = evaluation.page.clone();
    if ctx.connection.as_ref().is_some_and(|c| c.is_too_late()) {
        return Err(Refusal::Draining);
    }
    let kind = evaluation.head();
    // What was found out is logged, whether the request is refused or not.
    ctx.record.path = evaluation.path.map(|path| Arc::from(path.as_str()));
    ctx.record.route.clone_from(&evaluation.route);
    ctx.record.spoofed = evaluation.spoofed;
    ctx.record.place = evaluation.address;
    let body = match kind? {
        Head::Preflight(lines) => return Ok(Admitted::Preflight(lines)),
        Head::Upgrade(upgrade) => {
            ctx.record.route = Some(builtin::websocket());
            let upgrade = super::websocket_upgrade::admit(head, upgrade, ctx, sources, sockets).await?;
            return Ok(Admitted::Socket(Box::new(upgrade)));
        }
        Head::Unauthenticated(grant, body) => {
            ctx.body = Body::announced(body);
            join(&evaluation, None, ctx, joins)?;
            let own = grant.passthrough_credential().map(PassthroughCredential::fingerprint);
            ctx.granted(*grant);
            ctx.enter(&head.headers)?;
            // Last: one that is begun and not sent counts as a miss.
            ctx.tried = own.map(|own| tried.begin(own, ctx.peer(), Instant::now())).transpose()?;
            return Ok(match evaluation.route.as_deref().map(|route| &route.need) {
                Some(Need::Health(probe)) => Admitted::Health(*probe),
                _ => Admitted::Request,
            });
        }
        Head::Request(body) => body,
    };
    ctx.body = Body::announced(body);
    let presented = policy.authenticator().presented(&head.headers)?;
    let credential = policy.authenticator().credential(presented.as_ref())?;
    let asking = ctx.asking(&head.headers);
    let proven = sources.authenticate(&policy, credential, &asking, ctx.place()).await?;
    ctx.record.principal = Some(proven.principal.clone());
    let on_behalf = || evaluation.on_behalf(proven.clone(), Timestamp::now());
    let proven = sources.issuers.with_present_keys(|| proven.principal.issuer_of_users(), on_behalf).await?;
    let now = Timestamp::now();
    ctx.record.principal = Some(proven.principal.clone());
    ctx.record.spoofed = evaluation.spoofed;
    let Decision { asked, result } = evaluation.decide(&proven, presented.as_ref(), None, now);
    ctx.record.requested.clone_from(&asked.requested);
    if let (Err(refusal), Some(request)) = (&result, evaluation.request(&asked, now)) {
        ctx.record.refused(&policy, &proven, request, refusal);
    }
    let grant = result?;
    ctx.asked = asked;
    ctx.undecided = grant.wants_body().then(|| proven.clone());
    ctx.granted(grant);
    ctx.enter(&head.headers)?;
    // Last: one that is begun and not sent counts as a miss.
    join(&evaluation, Some(&proven.principal), ctx, joins)?;
    Ok(Admitted::Request)
}

/// A pairing join takes one of its caller's tries. Who cannot be told apart from others is known by address.
fn join(
    evaluation: &Evaluation<'_>,
    who: Option<&Arc<Principal>>,
    ctx: &mut RequestContext,
    joins: &Arc<JoinCodeLimit>,
) -> Result<(), Refusal> {
    if !evaluation.path.is_some_and(Path::is_join) {
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

/// A request number of the client's own, if it is fit for a log.
fn well_formed_id(headers: &HeaderMap) -> Option<&str> {
    let id = single(headers, &REQUEST_ID).ok()??.to_str().ok()?;
    let fit = (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    fit.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::map;

    #[test]
    fn a_client_s_request_id_is_kept_only_if_fit() {
        assert_eq!(well_formed_id(&map(&[("x-request-id", "abc-1.2_3")])), Some("abc-1.2_3"));
        for bad in ["", "a b", "a\tb", "é"] {
            assert_eq!(well_formed_id(&map(&[("x-request-id", bad)])), None, "{bad:?}");
        }
    }
}
