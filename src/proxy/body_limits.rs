//! A request's body: where there may be one, how large, how slow.

use super::context::RequestContext;
use crate::config::BodySizes;
use crate::refusal::{LimitFault, Refusal};
use crate::route::{Need, Route};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use pingora::ErrorType::InternalError;
use pingora::prelude::{Error, Result};

/// The body of a request that was admitted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Body {
    /// Whether there is one.
    pub expected: bool,
    /// How large it may be, in bytes.
    limit: u64,
    /// What came of it.
    came: u64,
}

impl Body {
    /// How large it may be, in bytes.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }
}

/// Checks what the head says of its body.
pub(super) fn announced(
    method: &Method,
    headers: &HeaderMap,
    route: &Route,
    sizes: &BodySizes,
) -> Result<Body, Refusal> {
    // The form of both is checked already.
    let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).map(|l| l.parse().unwrap_or(u64::MAX));
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    let body = Body { expected: chunked || length.is_some_and(|l| l > 0), limit: sizes.of(route.label), came: 0 };
    let none = matches!(*method, Method::GET | Method::HEAD) || matches!(route.need, Need::Health(_));
    if body.expected && none {
        return Err(Refusal::Limit(LimitFault::BodyUnexpected));
    }
    if length.is_some_and(|l| l > body.limit) {
        return Err(Refusal::Limit(LimitFault::BodySize { limit: body.limit }));
    }
    Ok(body)
}

/// The request is sent, and its body is wanted.
pub(super) fn begins(ctx: &mut RequestContext) {
    ctx.body.came = 0;
    if let (true, Some(connection)) = (ctx.body.expected, &ctx.connection) {
        connection.body_begins();
    }
}

/// A part of it is about to be sent on.
pub(super) fn comes(ctx: &mut RequestContext, part: Option<&Bytes>, end: bool) -> Result<()> {
    ctx.body.came += part.map_or(0, |p| p.len() as u64);
    if ctx.body.came > ctx.body.limit {
        ctx.over = Some(LimitFault::BodySize { limit: ctx.body.limit });
        return Error::e_explain(InternalError, "the body is too large");
    }
    if let (true, Some(connection)) = (end, &ctx.connection) {
        connection.body_ends();
    }
    Ok(())
}
