//! How this proxy proves itself to the gateway, in each of its modes (contract §4).

use super::Grant;
use crate::config::GatewayAuth;
use crate::headers::{self, CLIENT_ADDRESS, Kind, SCOPES, fold};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use std::net::IpAddr;

/// What proves this proxy to the gateway, rendered once per policy.
#[derive(Debug, Default)]
pub struct UpstreamCredentials {
    mode: &'static str,
    /// The lines that are the same for every caller.
    lines: Vec<(HeaderName, HeaderValue)>,
    /// In mode trusted-proxy: how callers are named.
    asserts: Option<Asserts>,
    /// The names of `lines` and of the user header, folded: no client may send them.
    owned: Vec<String>,
}

#[derive(Debug)]
struct Asserts {
    user_header: HeaderName,
    local_client: IpAddr,
}

impl UpstreamCredentials {
    /// Renders what a mode sends.
    #[must_use]
    pub fn new(auth: &GatewayAuth) -> Self {
        let mut credentials = Self { mode: auth.mode(), ..Self::default() };
        match auth {
            GatewayAuth::None => {}
            GatewayAuth::Token(secret) | GatewayAuth::Password(secret) => {
                if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", secret.expose())) {
                    value.set_sensitive(true);
                    credentials.lines.push((AUTHORIZATION, value));
                }
            }
            GatewayAuth::TrustedProxy(trusted) => {
                credentials.lines.clone_from(&trusted.required_headers);
                credentials.asserts = Some(Asserts {
                    user_header: trusted.user_header.clone(),
                    local_client: trusted.local_client_address,
                });
                let names = trusted.required_headers.iter().map(|(name, _)| name);
                credentials.owned =
                    names.chain([&trusted.user_header]).map(|n| fold(n.as_str()).into_owned()).collect();
            }
        }
        credentials
    }

    /// The mode's name, as the gateway spells it.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        self.mode
    }

    /// Whether the gateway is told who is calling.
    #[must_use]
    pub fn names_callers(&self) -> bool {
        self.asserts.is_some()
    }

    /// What kind of header this is, those that only this mode reserves among them. `name` is lower
    /// case, as [`HeaderName`] keeps it.
    #[must_use]
    pub fn kind(&self, name: &str) -> Kind {
        let kind = headers::kind(name);
        let reserved = || {
            let folded = fold(name);
            self.owned.iter().any(|owned| *owned == folded)
        };
        if kind == Kind::Free && !self.owned.is_empty() && reserved() { Kind::Forged } else { kind }
    }

    /// The lines that prove a request for `user`, who calls from `peer`. Where the gateway is to be
    /// told who is calling and no name is known, no identity is sent.
    pub(crate) fn lines(&self, user: Option<&HeaderValue>, peer: Option<IpAddr>) -> Vec<(HeaderName, HeaderValue)> {
        let Some(asserts) = &self.asserts else { return self.lines.clone() };
        let (Some(user), Some(address)) = (user, address(peer, asserts.local_client)) else { return Vec::new() };
        let named = [(asserts.user_header.clone(), user.clone()), (CLIENT_ADDRESS, address)];
        self.lines.iter().cloned().chain(named).collect()
    }
}

/// The one address the gateway is told. It refuses its own loopback as a client's (contract §4), so
/// for a client of this machine another stands in.
fn address(peer: Option<IpAddr>, local_client: IpAddr) -> Option<HeaderValue> {
    let peer = peer.map(|p| p.to_canonical()).filter(|p| !p.is_loopback() && !p.is_unspecified());
    HeaderValue::from_str(&peer.unwrap_or(local_client).to_string()).ok()
}

/// A principal's name as the value of a user header: visible ASCII and blanks within, everything
/// else in percent escapes, so that two names never become one. A comma too: the gateway's HTTP
/// parser joins repeated lines with one.
#[must_use]
pub fn user(name: &str) -> HeaderValue {
    const SET: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%').add(b',');
    let mut text = percent_encoding::utf8_percent_encode(name, SET).to_string();
    // The parser trims blanks at the ends.
    if text.starts_with(' ') {
        text.replace_range(..1, "%20");
    }
    if text.ends_with(' ') {
        text.replace_range(text.len() - 1.., "%20");
    }
    // An empty name is no name to the gateway; no principal has one; if one did, this value belongs to no other.
    HeaderValue::from_str(&text).ok().filter(|v| !v.is_empty()).unwrap_or(HeaderValue::from_static("%"))
}

/// The header lines the gateway gets from us, and in no other way: it takes a grant to make them.
/// `peer` is the client's address, `None` on a unix socket.
pub fn outbound(
    grant: &Grant,
    credentials: &UpstreamCredentials,
    peer: Option<IpAddr>,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
    // An unauthenticated caller gets none of our authority: only an empty scopes header.
    let proven = grant.principal().map(|_| credentials.lines(grant.gateway_user(), peer)).unwrap_or_default();
    let gateway_headers =
        grant.gateway_headers().iter().map(|(which, value)| (HeaderName::from_static(which.name()), value.clone()));
    let gateway_headers: Vec<_> = gateway_headers.collect();
    // A grant that passes a client's own credential has no principal, so nothing of ours is beside it.
    let own = grant.passthrough_credential().map(|own| own.lines().to_vec()).unwrap_or_default();
    std::iter::once((SCOPES, grant.header().clone())).chain(proven).chain(own).chain(gateway_headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrustedProxy;

    fn trusted() -> UpstreamCredentials {
        UpstreamCredentials::new(&GatewayAuth::TrustedProxy(Box::new(TrustedProxy {
            user_header: HeaderName::from_static("x-home-user"),
            required_headers: vec![(
                HeaderName::from_static("x_proxy_secret"),
                HeaderValue::from_static("a-secret-word"),
            )],
            local_client_address: IpAddr::from([192, 0, 2, 1]),
        })))
    }

    fn sent(credentials: &UpstreamCredentials, peer: Option<&str>) -> Vec<(String, String)> {
        let user = user("alice");
        let lines = credentials.lines(Some(&user), peer.map(|p| p.parse().unwrap()));
        lines.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn the_configured_names_and_their_aliases_are_forged() {
        let credentials = trusted();
        for name in ["x-home-user", "x_home_user", "x.home-user", "x-proxy-secret", "x_proxy_secret"] {
            assert_eq!(credentials.kind(name), Kind::Forged, "{name}");
            assert_eq!(UpstreamCredentials::default().kind(name), Kind::Free, "{name}");
        }
        assert_eq!(credentials.kind("x-home-users"), Kind::Free);
        assert_eq!(credentials.kind("x-openclaw-scopes"), Kind::Ours);
        assert_eq!(credentials.kind("x-forwarded-for"), Kind::Forged);
    }

    #[test]
    fn the_client_s_address_is_one_and_never_loopback() {
        let credentials = trusted();
        for (peer, address) in [
            (None, "192.0.2.1"),
            (Some("127.0.0.1"), "192.0.2.1"),
            (Some("127.9.9.9"), "192.0.2.1"),
            (Some("::1"), "192.0.2.1"),
            (Some("::ffff:127.0.0.1"), "192.0.2.1"),
            (Some("::ffff:10.0.0.5"), "10.0.0.5"),
            (Some("2001:db8::5"), "2001:db8::5"),
        ] {
            let expected =
                [("x_proxy_secret", "a-secret-word"), ("x-home-user", "alice"), ("x-forwarded-for", address)];
            assert_eq!(sent(&credentials, peer), expected.map(|(n, v)| (n.to_owned(), v.to_owned())), "{peer:?}");
        }
    }

    #[test]
    fn nobody_is_proven_without_a_name() {
        assert!(trusted().lines(None, None).is_empty());
    }

    #[test]
    fn a_name_is_made_fit_for_a_header_and_stays_its_own() {
        for (name, value) in [
            ("alice@example.org", "alice@example.org"),
            ("Alice Smith", "Alice Smith"),
            (" alice", "%20alice"),
            ("alice ", "alice%20"),
            (" ", "%20"),
            ("a, b", "a%2C b"),
            ("100%", "100%25"),
            ("zoë", "zo%C3%AB"),
            ("a\r\nx-openclaw-scopes: operator.admin", "a%0D%0Ax-openclaw-scopes: operator.admin"),
            ("", "%"),
        ] {
            assert_eq!(user(name), value, "{name:?}");
        }
    }
}
