//! Health answers cut down to their verdict.
//!
//! Behind a loopback proxy every caller looks local to the gateway, which tells local callers more
//! than a stranger should know (contract §1, "Unauthenticated").

use super::ctx::Ctx;
use crate::route::{Need, Probe};
use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;

/// Replaces what the answer says of its body.
pub(super) fn head(ctx: &mut Ctx, response: &mut ResponseHeader) -> Result<()> {
    let Some(Need::Health(probe)) = ctx.route().map(|r| r.need.clone()) else {
        return Ok(());
    };
    let well = response.status.is_success();
    let verdict: &'static str = match (probe, well) {
        (Probe::Live, true) => r#"{"ok":true,"status":"live"}"#,
        (Probe::Live, false) => r#"{"ok":false}"#,
        (Probe::Ready, true) => r#"{"ready":true}"#,
        (Probe::Ready, false) => r#"{"ready":false}"#,
    };
    for name in [TRANSFER_ENCODING, CONTENT_ENCODING, ETAG] {
        response.remove_header(&name);
    }
    response.insert_header(CONTENT_TYPE, "application/json; charset=utf-8")?;
    response.insert_header(CONTENT_LENGTH, verdict.len())?;
    if ctx.record.method != Method::HEAD {
        ctx.verdict = Some(Bytes::from_static(verdict.as_bytes()));
    }
    Ok(())
}

/// Replaces the body.
pub(super) fn body(ctx: &mut Ctx, body: &mut Option<Bytes>, end: bool) {
    if !matches!(ctx.route().map(|r| &r.need), Some(Need::Health(_))) {
        return;
    }
    *body = if end { ctx.verdict.take() } else { None };
}
