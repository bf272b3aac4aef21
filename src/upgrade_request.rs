//! The request that asks to become a WebSocket: whether it is one, and from which page it comes.

use crate::headers::single;
use crate::refusal::{Refusal, SocketFault};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::header::{SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use http::{HeaderMap, HeaderName, Method, Version};
use tungstenite::handshake::derive_accept_key;

/// Checks the form of an upgrade (RFC 6455 §4.2.1) and gives the `Sec-WebSocket-Accept` it is
/// answered with.
///
/// # Errors
/// [`Refusal::Socket`] when it is none.
pub fn accept_key(method: &Method, version: Version, headers: &HeaderMap) -> Result<String, Refusal> {
    let form = |what| Err(Refusal::Socket(SocketFault::Form(what)));
    if *method != Method::GET || version != Version::HTTP_11 {
        return form("it must be GET in HTTP/1.1");
    }
    if headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|l| l != "0") {
        return form("it has a body");
    }
    if !has_token(headers, &CONNECTION, b"upgrade")
        || !only(headers, &UPGRADE).is_some_and(|u| u.eq_ignore_ascii_case(b"websocket"))
    {
        return form("`Connection: Upgrade` and `Upgrade: websocket` belong together");
    }
    if only(headers, &SEC_WEBSOCKET_VERSION) != Some(b"13") {
        return Err(Refusal::Socket(SocketFault::Version));
    }
    match only(headers, &SEC_WEBSOCKET_KEY) {
        Some(key) if STANDARD.decode(key).is_ok_and(|k| k.len() == 16) => Ok(derive_accept_key(key)),
        _ => form("`Sec-WebSocket-Key` is not 16 bytes in base64"),
    }
}

/// Whether a request wants to become a WebSocket.
#[must_use]
pub fn is_wanted(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, b"websocket")
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|v| v.as_bytes().split(|b| *b == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    Some(single(headers, name).ok()??.as_bytes().trim_ascii())
}

/// The page a WebSocket was opened from. The gateway is not told, so it is checked here, more strictly
/// than release 2026.9.6 does, which takes any page of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginPage {
    /// None: no browser sends no `Origin`.
    None,
    /// One that may connect.
    Allowed,
    /// One that may not.
    Foreign,
}

/// Checks `Origin`: a page served from the address it calls, or one of `allowed`. `own_host`: whether the
/// `Host` cannot have been made to lead here by a stranger ([`crate::dns_rebinding`]).
#[must_use]
pub fn page(headers: &HeaderMap, allowed: &[String], own_host: bool) -> OriginPage {
    if !headers.contains_key(ORIGIN) {
        return OriginPage::None;
    }
    let Some(origin) = only(headers, &ORIGIN).and_then(|o| std::str::from_utf8(o).ok()) else {
        return OriginPage::Foreign;
    };
    let origin = origin.to_ascii_lowercase();
    if allowed.contains(&origin) {
        return OriginPage::Allowed;
    }
    let host = only(headers, &HOST).and_then(|h| std::str::from_utf8(h).ok()).unwrap_or_default().to_ascii_lowercase();
    let same = ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme) == Some(&host));
    if same && own_host { OriginPage::Allowed } else { OriginPage::Foreign }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map
    }

    const GOOD: &[(&str, &str)] = &[
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_rfc_s_own_example_is_accepted() {
        let accepted = accept_key(&Method::GET, Version::HTTP_11, &map(GOOD)).unwrap();
        assert_eq!(accepted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn whatever_is_no_upgrade_is_refused() {
        let check = |method: &Method, lines: &[(&str, &str)]| accept_key(method, Version::HTTP_11, &map(lines));
        assert!(check(&Method::POST, GOOD).is_err());
        assert!(accept_key(&Method::GET, Version::HTTP_10, &map(GOOD)).is_err());
        for i in 0..GOOD.len() {
            let without: Vec<_> = GOOD.iter().enumerate().filter(|(at, _)| *at != i).map(|(_, l)| *l).collect();
            assert!(check(&Method::GET, &without).is_err(), "{without:?}");
        }
        for more in [
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "8"),
        ] {
            assert!(check(&Method::GET, &[GOOD, &[more]].concat()).is_err(), "{more:?}");
        }
        let mut old = GOOD.to_vec();
        old[2].1 = "8";
        assert_eq!(check(&Method::GET, &old), Err(Refusal::Socket(SocketFault::Version)));
    }

    #[test]
    fn a_page_may_connect_from_the_address_it_calls_or_where_it_is_listed() {
        let allowed = ["https://ui.example.org".to_owned()];
        let own = |host: &str| {
            crate::host_header::Host::parse(host.as_bytes())
                .is_some_and(|host| crate::dns_rebinding::is_own(host, ["box.tail1.ts.net"]))
        };
        let of = |origin: &str, host: &str| page(&map(&[("origin", origin), ("host", host)]), &allowed, own(host));
        assert_eq!(page(&map(&[("host", "a")]), &allowed, false), OriginPage::None);
        for (origin, host) in [
            ("http://127.0.0.1:18780", "127.0.0.1:18780"),
            ("http://localhost:18780", "LOCALHOST:18780"),
            ("http://[::1]:18780", "[::1]:18780"),
            ("http://192.168.1.2:18780", "192.168.1.2:18780"),
            ("https://box.tail1.ts.net", "box.tail1.ts.net"),
            ("https://UI.example.org", "evil.example"),
        ] {
            assert_eq!(of(origin, host), OriginPage::Allowed, "{origin} {host}");
        }
        for (origin, host) in [
            ("http://127.0.0.1:3000", "127.0.0.1:18780"),
            ("http://evil.example:18780", "evil.example:18780"),
            ("http://evil.local:18780", "evil.local:18780"),
            ("https://evil.tail2.ts.net", "evil.tail2.ts.net"),
            ("null", "127.0.0.1:18780"),
            ("file://", ""),
            ("", ""),
            ("http://", ""),
            ("http://127.0.0.1:18780/x", "127.0.0.1:18780"),
        ] {
            assert_eq!(of(origin, host), OriginPage::Foreign, "{origin} {host}");
        }
        let two = map(&[("origin", "http://127.0.0.1"), ("origin", "http://127.0.0.1"), ("host", "127.0.0.1")]);
        assert_eq!(page(&two, &allowed, true), OriginPage::Foreign);
    }
}
