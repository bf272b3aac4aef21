//! A request's body: where there may be one, how large, how slow.

use super::context::RequestContext;
use crate::refusal::LimitFault;
use crate::request_evaluation::AnnouncedBody;
use bytes::Bytes;
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
    /// The body that a checked head announces.
    pub(super) fn announced(body: AnnouncedBody) -> Self {
        Self { expected: body.expected, limit: body.limit, came: 0 }
    }

    /// How large it may be, in bytes.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }
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
