//! Who counts as one where places are shared out by address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A client's address, as far as it tells one client from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressKey {
    /// By a unix socket.
    Unix,
    /// From this machine: behind a tunnel or a proxy here, every client is.
    Loopback,
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 network: the first 64 bits, for one machine has the rest to itself (RFC 4291 §2.5.4).
    V6(u64),
}

impl AddressKey {
    /// The group of an address; `None` is a unix socket.
    #[must_use]
    pub fn of(peer: Option<IpAddr>) -> Self {
        match peer.map(|peer| peer.to_canonical()) {
            None => Self::Unix,
            Some(ip) if ip.is_loopback() => Self::Loopback,
            Some(IpAddr::V4(ip)) => Self::V4(ip),
            Some(IpAddr::V6(ip)) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(self) -> bool {
        matches!(self, Self::Unix | Self::Loopback)
    }
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str("unix socket"),
            Self::Loopback => f.write_str("this machine"),
            Self::V4(ip) => write!(f, "{ip}"),
            Self::V6(net) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*net) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_and_an_ipv4_address_is_one() {
        let of = |text: &str| AddressKey::of(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert!([of("127.0.0.1"), of("127.9.9.9"), of("::1"), AddressKey::of(None)].iter().all(|g| g.is_local()));
        assert_ne!(of("127.0.0.1"), AddressKey::of(None));
    }
}
