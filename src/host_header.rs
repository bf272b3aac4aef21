//! The `Host` of a request (RFC 9112 §3.2), read strictly: a name or an address, and a port.
//!
//! RFC 3986 allows more in a registered name than any resolver takes (`a,b`, `%41`, an empty port).
//! What two servers could read differently is refused here.

use crate::headers::single;
use http::HeaderMap;
use http::header::HOST;
use std::net::{IpAddr, Ipv6Addr};

/// The longest name that DNS knows, and the longest label of one.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A host that is well-formed. Only [`Host::parse`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host<'a> {
    name: &'a str,
    port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads a field's value; `None` when it is malformed.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (name, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (address, port)
        } else {
            let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
            is_name(name).then_some((name, port))?
        };
        let port = match port {
            None => None,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some(port.parse().ok().filter(|p| *p > 0)?),
            Some(_) => return None,
        };
        Some(Self { name, port })
    }

    /// The one host of a head; `None` when there is none, or a malformed one, or several.
    #[must_use]
    pub fn of(headers: &'a HeaderMap) -> Option<Self> {
        Self::parse(single(headers, &HOST).ok()??.as_bytes())
    }

    /// The name or address, without brackets.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.name
    }

    /// The port, if one is named.
    #[must_use]
    pub fn port(self) -> Option<u16> {
        self.port
    }

    /// The address, if it is one.
    #[must_use]
    pub fn ip(self) -> Option<IpAddr> {
        self.name.parse().ok()
    }
}

/// Letters, digits, dashes and the underscore of container names, in labels; one dot may follow.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= MAX_NAME && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_addresses_and_ports_are_read() {
        for (value, name, port) in [
            ("gw", "gw", None),
            ("gw.example.org:18780", "gw.example.org", Some(18780)),
            ("gw.example.org.", "gw.example.org.", None),
            ("open_claw-1:1", "open_claw-1", Some(1)),
            ("127.0.0.1:18780", "127.0.0.1", Some(18780)),
            ("[::1]", "::1", None),
            ("[fd7a:115c::1]:65535", "fd7a:115c::1", Some(65535)),
        ] {
            assert_eq!(Host::parse(value.as_bytes()), Some(Host { name, port }), "{value}");
        }
    }

    #[test]
    fn whatever_two_servers_could_read_differently_is_none() {
        for value in [
            "",
            " ",
            "gw test",
            "a,b",
            "a/b",
            "user@gw",
            "user:pass@gw",
            "gw:port",
            "gw:",
            "gw:0",
            "gw:65536",
            "gw:-1",
            "gw:+1",
            "gw:1:2",
            "::1",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]:",
            "[::1%25eth0]",
            "[127.0.0.1]",
            "[v1.x]",
            "[]",
            "a..b",
            ".",
            ".a",
            "a.:x",
            "gw%2f",
            "gw#",
            "gw?x",
            "gw\\x",
            "g\u{f6}",
            "gw;x",
            "*",
            "gw\t",
        ] {
            assert_eq!(Host::parse(value.as_bytes()), None, "{value:?}");
        }
        assert_eq!(Host::parse(b"gw\xff"), None);
        assert_eq!(Host::parse("a".repeat(64).as_bytes()), None);
        assert_eq!(Host::parse(["a"; 200].join(".").as_bytes()), None);
    }

    proptest! {
        #[test]
        fn a_host_that_is_read_is_what_a_url_would_hold(value in "[a-z0-9.:@,/_\\[\\]% -]{0,24}") {
            if let Some(host) = Host::parse(value.as_bytes()) {
                let uri: http::Uri = format!("http://{value}/").parse().unwrap();
                prop_assert_eq!(uri.host().unwrap().trim_matches(['[', ']']), host.name());
                prop_assert_eq!(uri.port_u16(), host.port());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Host::parse(&value);
        }
    }
}
