//! Health answers cut down to their verdict.
//!
//! Behind a loopback proxy every caller looks local to the gateway, which tells local callers more
//! than a stranger should know (contract §1, "Unauthenticated").

use super::ctx::Ctx;
use crate::route::{Need, Probe};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, Method};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::Result;

/// Leaves of a probe what the gateway needs to answer it: anybody may send one.
pub(super) fn question(ctx: &Ctx, request: &mut RequestHeader) -> Result<()> {
    if !ctx.is_probe() {
        return Ok(());
    }
    let names: Vec<HeaderName> = request.headers.keys().cloned().collect();
    for name in &names {
        request.remove_header(name);
    }
    request.set_raw_path(ctx.record.path().as_bytes())
}

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
    // Of its fields nothing is needed but what is put in here.
    *response = ResponseHeader::build(response.status, Some(4))?;
    response.insert_header(CACHE_CONTROL, "no-store")?;
    response.insert_header(CONTENT_TYPE, "application/json; charset=utf-8")?;
    response.insert_header(CONTENT_LENGTH, verdict.len())?;
    if ctx.record.method != Method::HEAD {
        ctx.verdict = Some(Bytes::from_static(verdict.as_bytes()));
    }
    Ok(())
}

/// Replaces the body.
pub(super) fn body(ctx: &mut Ctx, body: &mut Option<Bytes>, end: bool) {
    if !ctx.is_probe() {
        return;
    }
    *body = if end { ctx.verdict.take() } else { None };
}
