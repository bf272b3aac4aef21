//! Which request headers are ours alone to send, and what is sent (laws 2 and 6).
//!
//! Set or strip, never keep: every name that carries identity, origin or authority is taken out of
//! every request, however it is spelled, and what the grant says is put in.

use http::HeaderName;
use std::borrow::Cow;

/// The header this program is about.
pub const SCOPES: HeaderName = HeaderName::from_static("x-openclaw-scopes");
/// Where the gateway reads the client's address in mode trusted-proxy.
pub const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Correlates a request in every log it passes.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The gateway's own headers that a caller may have a use for; the policy says who.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Governed {
    /// `x-openclaw-agent-id`.
    AgentId,
    /// `x-openclaw-model`.
    Model,
    /// `x-openclaw-session-key`.
    SessionKey,
    /// `x-openclaw-message-channel`.
    MessageChannel,
}

impl Governed {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AgentId, Self::Model, Self::SessionKey, Self::MessageChannel];

    /// The header's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AgentId => "x-openclaw-agent-id",
            Self::Model => "x-openclaw-model",
            Self::SessionKey => "x-openclaw-session-key",
            Self::MessageChannel => "x-openclaw-message-channel",
        }
    }
}

/// What a request header is to this proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The client's own affair: passed on.
    Free,
    /// For the policy to say.
    Governed(Governed),
    /// A credential, or the scopes header: read here, never passed on.
    Ours,
    /// A claim about identity, origin or authority, or an alias of such a name: taken out.
    Forged,
}

/// What kind of header this is in every mode; [`Proof::kind`] knows the mode's own names too.
pub(crate) fn kind(name: &str) -> Kind {
    match name {
        "authorization" | "x-openclaw-scopes" => return Kind::Ours,
        _ => {}
    }
    if let Some(governed) = Governed::ALL.into_iter().find(|g| g.name() == name) {
        return Kind::Governed(governed);
    }
    if is_owned(&fold(name)) { Kind::Forged } else { Kind::Free }
}

/// `_` and `.` and their like as the dash that other parsers fold them into (peers' CVEs, §1j).
pub(crate) fn fold(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Cow::Borrowed(name);
    }
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(kind(name), Kind::Free, "{name}");
        }
    }

    #[test]
    fn governed_and_read_headers_have_their_kind() {
        assert_eq!(kind("x-openclaw-scopes"), Kind::Ours);
        assert_eq!(kind("authorization"), Kind::Ours);
        for governed in Governed::ALL {
            assert_eq!(kind(governed.name()), Kind::Governed(governed));
        }
    }
}
