//! Headers that carry tokens.

use crate::config::Issuer;
use crate::config::diagnostic::Problems;
use crate::config::file::File;
use crate::headers::{self, GatewayHeader};
use http::HeaderName;
use std::ops::Range;

/// `[policy] token_headers`.
pub(super) fn token_headers(file: &File, issuers: &[Issuer], problems: &mut Problems) -> Vec<HeaderName> {
    const CODE: &str = "token-headers";
    let mut names: Vec<HeaderName> = Vec::new();
    for at in file.policy.token_headers.iter().flatten() {
        if at.get().eq_ignore_ascii_case("authorization") {
            problems.error(CODE, at.span(), "`authorization` is always read", "remove it from the list");
            continue;
        }
        let example = "for example `x-api-key`";
        let Some(name) = carrier(at.get(), at.span(), "a token", CODE, example, problems) else { continue };
        if let Some(issuer) = issuers.iter().find(|i| i.token_from.as_ref() == Some(&name)) {
            let message = format!("`{name}` carries the tokens of the issuer `{}` already", issuer.name);
            problems.error(CODE, at.span(), message, "remove it here, or `token_from` there");
        } else if names.contains(&name) {
            problems.error(CODE, at.span(), format!("`{name}` is listed twice"), "remove one of them");
        } else {
            names.push(name);
        }
    }
    names
}

/// A header that can carry something of ours, such as a token: none that is read for something else.
pub(super) fn carrier(
    name: &str,
    span: Range<usize>,
    what: &str,
    code: &'static str,
    example: &'static str,
    problems: &mut Problems,
) -> Option<HeaderName> {
    const READ: &[&str] = &[
        "accept",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "origin",
        "te",
        "trailer",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    ];
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        problems.error(code, span, format!("`{name}` is not a header's name"), example);
        return None;
    };
    let is_read = name == headers::SCOPES
        || READ.contains(&name.as_str())
        || ["sec-", "access-control-", "tailscale-"].iter().any(|prefix| name.as_str().starts_with(prefix))
        || GatewayHeader::ALL.iter().any(|h| h.names().any(|n| name == n));
    if is_read {
        problems.error(code, span, format!("`{name}` cannot carry {what}"), example);
        return None;
    }
    Some(name)
}
