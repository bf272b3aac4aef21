//! Where a caller is, and under which name they call: what identity without a credential rests on.
//!
//! Any web page can make a browser call this machine under a host name of its own (DNS rebinding),
//! and behind a local tunnel or reverse proxy every caller has a loopback address. Neither is proof.

use crate::host::Host;
use http::HeaderMap;
use std::net::{IpAddr, Ipv4Addr};

/// The address of a caller whose true address is not known. Only a network that holds every address
/// holds this one.
pub const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Where a caller is, for conditions on addresses: the peer, unless that is this machine and the
/// request says that it was relayed from elsewhere. `None` is a unix socket.
#[must_use]
pub fn of(peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    let local = peer.is_none_or(|p| p.to_canonical().is_loopback());
    if local && headers.keys().any(|name| is_of_a_relay(name.as_str())) { Some(UNKNOWN) } else { peer }
}

/// Whether a field is one that proxies, tunnels and CDNs add to what they pass on.
fn is_of_a_relay(name: &str) -> bool {
    const PREFIXES: &[&str] = &[
        "x-forwarded",
        "cf-",
        "tailscale-",
        "ngrok-",
        "fastly-",
        "fly-",
        "x-envoy-",
        "x-amzn-",
        "x-amz-cf-",
        "x-azure-",
    ];
    const NAMES: &[&str] = &[
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-forwarded-for",
        "x-originating-ip",
        "x-remote-ip",
        "x-remote-addr",
        "x-appengine-user-ip",
        "true-client-ip",
        "client-ip",
        "cdn-loop",
        "x-proxyuser-ip",
        "x-vercel-forwarded-for",
    ];
    // Most names of a request begin otherwise.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'c' | b'f' | b'v' | b't' | b'n')) {
        return false;
    }
    let folded = crate::headers::fold(name);
    PREFIXES.iter().any(|prefix| folded.starts_with(prefix)) || NAMES.contains(&&*folded)
}

/// Whether a host is a name that no third party can point at this machine: an address, `localhost`, or one of `names`,
/// which are in lower case.
#[must_use]
pub fn is_own<'a>(host: Host<'_>, names: impl IntoIterator<Item = &'a str>) -> bool {
    if host.ip().is_some() || host.name().eq_ignore_ascii_case("localhost") {
        return true;
    }
    let name = host.name().strip_suffix('.').unwrap_or(host.name());
    names.into_iter().any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn with(name: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("203.0.113.9"));
        map.insert("user-agent", HeaderValue::from_static("curl"));
        map.insert("content-type", HeaderValue::from_static("application/json"));
        map.insert("x-request-id", HeaderValue::from_static("a"));
        map
    }

    #[test]
    fn a_relayed_request_of_this_machine_has_no_known_address() {
        let here: Option<IpAddr> = Some("127.0.0.1".parse().unwrap());
        let away: Option<IpAddr> = Some("192.168.1.9".parse().unwrap());
        for name in [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x_forwarded_for",
            "forwarded",
            "via",
            "cf-connecting-ip",
            "cf-ray",
            "cdn-loop",
            "x-real-ip",
            "true-client-ip",
            "tailscale-user-login",
            "ngrok-trace-id",
            "fly-client-ip",
        ] {
            assert_eq!(of(here, &with(name)), Some(UNKNOWN), "{name}");
            assert_eq!(of(None, &with(name)), Some(UNKNOWN), "{name}");
            assert_eq!(of(Some("::1".parse().unwrap()), &with(name)), Some(UNKNOWN), "{name}");
            assert_eq!(of(Some("::ffff:127.0.0.1".parse().unwrap()), &with(name)), Some(UNKNOWN), "{name}");
            // Another machine's address is a fact, whatever it says of its own callers.
            assert_eq!(of(away, &with(name)), away, "{name}");
        }
        assert_eq!(of(here, &with("accept")), here);
        assert_eq!(of(None, &with("traceparent")), None);
    }

    fn own(host: &str, names: [&str; 3]) -> bool {
        Host::parse(host.as_bytes()).is_some_and(|host| is_own(host, names))
    }

    #[test]
    fn only_names_that_no_stranger_can_point_here_are_own() {
        let names = ["box", "box.local", "box.tail1.ts.net"];
        for host in [
            "127.0.0.1:18780",
            "127.0.0.1",
            "192.168.1.2:1",
            "[::1]:18780",
            "[fd00::1]",
            "localhost",
            "LOCALHOST:18780",
            "box:18780",
            "Box.Local",
            "box.tail1.ts.net:443",
            "box.tail1.ts.net.",
        ] {
            assert!(own(host, names), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:18780",
            "other.local",
            "evil.tail1.ts.net",
            "localhost.evil.example",
            "",
            ":80",
            ".",
            "127.0.0.1.evil.example",
            "[::1",
            "[::1]x.evil",
            "127.1",
            "0x7f000001",
            "boxx",
            "box.evil",
            "x:box",
            "box:x",
            "box:1:2",
        ] {
            assert!(!own(host, names), "{host}");
        }
    }

    proptest! {
        #[test]
        fn a_registrable_name_is_never_own(label in "[a-z0-9-]{1,20}", tld in "(com|net|example|local|localhost)", port in proptest::option::of(0u16..)) {
            let host = format!("{label}.{tld}{}", port.map(|p| format!(":{p}")).unwrap_or_default());
            prop_assert!(!own(&host, ["box", "box.local", "box.tail1.ts.net"]));
        }
    }
}
