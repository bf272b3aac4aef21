//! Which request headers are ours alone to send, and what is sent (laws 2 and 6).
//!
//! Set or strip, never keep: every name that carries identity, origin or authority is taken out of
//! every request, however it is spelled, and what the grant says is put in.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;

/// The header this program is about.
pub const SCOPES: HeaderName = HeaderName::from_static("x-openclaw-scopes");
/// Where the gateway reads the client's address in mode trusted-proxy.
pub const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Correlates a request in every log it passes.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The gateway's own headers that a caller may have a use for; the policy says who.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayHeader {
    /// `x-openclaw-agent-id`.
    AgentId,
    /// `x-openclaw-model`.
    Model,
    /// `x-openclaw-session-key`.
    SessionKey,
    /// `x-openclaw-message-channel`.
    MessageChannel,
    /// `x-openclaw-account-id`.
    AccountId,
    /// `x-openclaw-message-to`.
    MessageTo,
    /// `x-openclaw-thread-id`.
    ThreadId,
}

impl GatewayHeader {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AgentId,
        Self::Model,
        Self::SessionKey,
        Self::MessageChannel,
        Self::AccountId,
        Self::MessageTo,
        Self::ThreadId,
    ];

    /// What all their names begin with.
    pub const PREFIX: &'static str = "x-openclaw-";

    /// The header's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AgentId => "x-openclaw-agent-id",
            Self::Model => "x-openclaw-model",
            Self::SessionKey => "x-openclaw-session-key",
            Self::MessageChannel => "x-openclaw-message-channel",
            Self::AccountId => "x-openclaw-account-id",
            Self::MessageTo => "x-openclaw-message-to",
            Self::ThreadId => "x-openclaw-thread-id",
        }
    }

    /// Another name under which the gateway reads the same. It is read here alike, and sent under the first.
    #[must_use]
    pub const fn alias(self) -> Option<&'static str> {
        match self {
            Self::AgentId => Some("x-openclaw-agent"),
            _ => None,
        }
    }

    /// Both names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name()).chain(self.alias())
    }
}

/// The field of a table that is about one of the gateway's headers, borrowed as the first argument says: all such
/// tables call it the same.
macro_rules! header_field {
    ([$($borrow:tt)+] $table:ident, $header:expr) => {
        match $header {
            $crate::headers::GatewayHeader::AgentId => $($borrow)+ $table.agent_id,
            $crate::headers::GatewayHeader::Model => $($borrow)+ $table.model,
            $crate::headers::GatewayHeader::SessionKey => $($borrow)+ $table.session_key,
            $crate::headers::GatewayHeader::MessageChannel => $($borrow)+ $table.message_channel,
            $crate::headers::GatewayHeader::AccountId => $($borrow)+ $table.account_id,
            $crate::headers::GatewayHeader::MessageTo => $($borrow)+ $table.message_to,
            $crate::headers::GatewayHeader::ThreadId => $($borrow)+ $table.thread_id,
        }
    };
}
pub(crate) use header_field;

/// What a request header is to this proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The client's own affair: passed on.
    Free,
    /// For the policy to say.
    GatewayHeader(GatewayHeader),
    /// A credential, or the scopes header: read here, never passed on.
    Ours,
    /// A claim about identity, origin or authority, or an alias of such a name: taken out.
    Forged,
}

/// What nearly every request has, so that nothing else needs to be asked about it.
const COMMON: &[&str] = &[
    "host",
    "accept",
    "user-agent",
    "content-type",
    "content-length",
    "accept-encoding",
    "accept-language",
    "connection",
    "transfer-encoding",
];

/// What kind of header this is in every mode; the policy's `UpstreamCredentials` knows the mode's own names too.
pub(crate) fn kind(name: &str) -> Kind {
    match name {
        "authorization" | "x-openclaw-scopes" => return Kind::Ours,
        name if COMMON.contains(&name) => return Kind::Free,
        name if name.starts_with(GatewayHeader::PREFIX) => {
            if let Some(gateway_header) = GatewayHeader::ALL.into_iter().find(|g| g.names().any(|n| n == name)) {
                return Kind::GatewayHeader(gateway_header);
            }
        }
        _ => {}
    }
    let folded = fold(name);
    if is_owned(&folded) || is_framing_alias(name, &folded) { Kind::Forged } else { Kind::Free }
}

/// How often an encoded name is decoded: deeper than any server goes.
const DECODINGS: usize = 8;

/// A name as the most generous of other parsers may read it: `_`, `.` and their like as a dash, several
/// dashes as one, percent-escapes decoded, and without the prefix of a CGI variable (peers' CVEs, §1j).
pub(crate) fn fold(name: &str) -> Cow<'_, str> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !name.contains("--");
    let folded = if plain { Cow::Borrowed(name) } else { Cow::Owned(folded(name)) };
    match folded {
        Cow::Borrowed(name) => Cow::Borrowed(without_prefix(name)),
        Cow::Owned(name) if without_prefix(&name).len() == name.len() => Cow::Owned(name),
        Cow::Owned(name) => Cow::Owned(without_prefix(&name).to_owned()),
    }
}

fn folded(name: &str) -> String {
    let mut name = Cow::Borrowed(name);
    for _ in 0..DECODINGS {
        match percent_encoding::percent_decode_str(&name).decode_utf8_lossy() {
            Cow::Owned(decoded) if name.contains('%') => name = Cow::Owned(decoded),
            _ => break,
        }
    }
    let mut folded = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            folded.push(c.to_ascii_lowercase());
        } else if !folded.ends_with('-') {
            folded.push('-');
        }
    }
    folded
}

/// Without what CGI puts before a header's name, and the dashes at its ends.
fn without_prefix(name: &str) -> &str {
    let mut name = name.trim_matches('-');
    while let Some(rest) = name.strip_prefix("http-").or_else(|| name.strip_prefix("redirect-")) {
        name = rest.trim_start_matches('-');
    }
    name
}

/// Whether a name is another spelling of one that says where a request ends or whom it is for.
fn is_framing_alias(name: &str, folded: &str) -> bool {
    const NAMES: &[&str] = &[
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    name != folded && NAMES.contains(&folded)
}

/// Names that carry identity, origin or authority, at this gateway or at another server that may
/// stand before or behind it.
fn is_owned(name: &str) -> bool {
    // Most names of a request begin otherwise, and are compared with the few that do too.
    const PREFIXES: &[&str] = &["tailscale-", "cf-access-"];
    const NAMES: &[&str] = &[
        "authorization",
        "proxy-authorization",
        "cookie",
        "cookie2",
        "forwarded",
        "api-key",
        "remote-user",
        "remote-groups",
        "remote-email",
        "remote-name",
        "true-client-ip",
        "cf-connecting-ip",
        "cf-connecting-ipv6",
        "fastly-client-ip",
        "client-ip",
    ];
    const X_PREFIXES: &[&str] = &[
        "openclaw-",
        "forwarded-",
        "auth-request-",
        "authenticated-",
        "pomerium-",
        "webauth-",
        "goog-authenticated-",
        "goog-iap-",
        "ms-client-principal",
        "amzn-oidc-",
        "original-",
        "remote-",
        "envoy-",
    ];
    const X_NAMES: &[&str] = &[
        "forwarded",
        "openclaw",
        "real-ip",
        "client-ip",
        "cluster-client-ip",
        "host",
        "rewrite-url",
        "http-method-override",
        "http-method",
        "method-override",
        "session-key",
        "user",
        "user-id",
        "api-key",
        "auth-token",
        "access-token",
    ];
    let (prefixes, names, rest) = match name.strip_prefix("x-") {
        Some(rest) => (X_PREFIXES, X_NAMES, rest),
        None => (PREFIXES, NAMES, name),
    };
    prefixes.iter().any(|prefix| rest.starts_with(prefix)) || names.contains(&rest)
}

/// A field was sent more than once where two readers could each take another line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated;

/// The value of a field that may be sent once; `None` if it was not sent.
///
/// # Errors
/// [`Repeated`].
pub fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Repeated> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line),
        _ => Err(Repeated),
    }
}

/// Whether a comma list holds a token, letters compared without case.
#[must_use]
pub fn contains_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|b| *b == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// These lines as a map, for tests.
#[cfg(test)]
pub(crate) fn map(lines: &[(&'static str, &str)]) -> http::HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).fold(
        http::HeaderMap::new(),
        |mut map, (name, value): (_, http::HeaderValue)| {
            map.append(name, value);
            map
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_alias_of_an_owned_name_is_forged() {
        for name in [
            "x_openclaw_scopes",
            "x.openclaw.scopes",
            "x-openclaw_scopes",
            "x-openclaw-client-id",
            "x-openclaw-token",
            "x_openclaw_model",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded-user",
            "forwarded",
            "x-real-ip",
            "x_real.ip",
            "tailscale-user-login",
            "tailscale_user_login",
            "cf-access-jwt-assertion",
            "cookie",
            "proxy-authorization",
            "x-api-key",
            "x|openclaw|scopes",
            "http_authorization",
            "http-authorization",
            "redirect_http_authorization",
            "http_x_forwarded_user",
            "http_cookie",
            "x%2dforwarded%2duser",
            "x%252dforwarded%252duser",
            "x%5fopenclaw%5fscopes",
            "%58-openclaw-scopes",
            "x--openclaw--scopes",
            "_authorization",
            "authorization_",
            "http_host",
            "content_length",
            "transfer%2dencoding",
        ] {
            assert_eq!(kind(name), Kind::Forged, "{name}");
        }
    }

    #[test]
    fn the_client_s_own_headers_pass() {
        for name in [
            "content-type",
            "accept",
            "user-agent",
            "traceparent",
            "openai-organization",
            "x-stainless-lang",
            "idempotency-key",
            "x_custom",
            "http-referer",
            "content-length",
            "transfer-encoding",
            "connection",
        ] {
            assert_eq!(kind(name), Kind::Free, "{name}");
        }
    }

    #[test]
    fn what_is_not_looked_into_would_be_free_if_it_were() {
        for name in COMMON {
            assert!(!is_owned(&fold(name)) && !is_framing_alias(name, &fold(name)), "{name}");
        }
        for header in GatewayHeader::ALL {
            assert!(header.names().all(|name| name.starts_with(GatewayHeader::PREFIX)), "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn no_spelling_of_an_owned_name_is_free(
            name in prop::sample::select(&["authorization", "cookie", "x-openclaw-scopes", "x-forwarded-user", "x-real-ip",
                "tailscale-user-login", "cf-access-jwt-assertion", "x-openclaw-model", "remote-user", "x-openclaw-token"]),
            dashes in prop::collection::vec(prop::sample::select(&["-", "_", ".", "|", "~", "--", "%2d", "%5F", "%252d"]), 8),
            prefix in prop::sample::select(&["", "http_", "HTTP-", "redirect_http_", "http%5f", "_"]),
            escaped in any::<prop::sample::Index>(),
            escape in any::<bool>(),
        ) {
            let mut dashes = dashes.iter();
            let at = escaped.index(name.len());
            let spelled: String = name.char_indices().map(|(i, c)| match c {
                '-' => (*dashes.next().unwrap()).to_owned(),
                c if escape && i == at => format!("%{:02x}", u32::from(c)),
                c => c.to_string(),
            }).collect();
            let spelled = HeaderName::from_bytes(format!("{prefix}{spelled}").as_bytes()).unwrap();
            prop_assert_ne!(kind(spelled.as_str()), Kind::Free, "{}", spelled);
        }

        #[test]
        fn a_folded_name_is_folded(name in "[a-z0-9_.%|~^-]{1,40}") {
            let once = fold(&name).into_owned();
            prop_assert_eq!(fold(&once).into_owned(), once.clone());
            prop_assert!(once.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        }
    }

    #[test]
    fn governed_and_read_headers_have_their_kind() {
        assert_eq!(kind("x-openclaw-scopes"), Kind::Ours);
        assert_eq!(kind("authorization"), Kind::Ours);
        for gateway_headers in GatewayHeader::ALL {
            for name in gateway_headers.names() {
                assert_eq!(kind(name), Kind::GatewayHeader(gateway_headers));
            }
        }
    }
}
