//! Where a caller is: what conditions on addresses, and identity without a credential, rest on. Behind a
//! local tunnel or reverse proxy every caller has a loopback address, which proves nothing.

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

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

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
}
