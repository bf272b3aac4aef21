//! How much one principal may ask for, and what is said when that is reached.

use std::fmt;
use std::num::NonZeroU32;

/// The limits of one principal; what is `None` is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PrincipalLimits {
    /// Requests over time.
    pub rate: Option<Rate>,
    /// Requests at a time.
    pub requests: Option<u32>,
    /// Answers of an agent at a time.
    pub streams: Option<u32>,
    /// WebSockets at a time.
    pub sockets: Option<u32>,
}

/// So many requests a minute, of which so many may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Requests a minute.
    pub per_minute: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
}

impl PrincipalLimits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// These, and the others where these say nothing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            rate: self.rate.or(others.rate),
            requests: self.requests.or(others.requests),
            streams: self.streams.or(others.streams),
            sockets: self.sockets.or(others.sockets),
        }
    }

    /// The stricter of each.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        Self {
            rate: less(self.rate, other.rate, |a, b| Rate {
                per_minute: a.per_minute.min(b.per_minute),
                burst: a.burst.min(b.burst),
            }),
            requests: less(self.requests, other.requests, u32::min),
            streams: less(self.streams, other.streams, u32::min),
            sockets: less(self.sockets, other.sockets, u32::min),
        }
    }
}

fn less<T>(a: Option<T>, b: Option<T>, both: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(both(a, b)),
        (one, other) => one.or(other),
    }
}

impl Rate {
    /// The seconds in which all of a burst comes back.
    #[must_use]
    pub fn window(self) -> u64 {
        (u64::from(self.burst.get()) * 60).div_ceil(u64::from(self.per_minute.get()))
    }
}

impl Rate {
    /// As `RateLimit-Policy` has it (draft-ietf-httpapi-ratelimit-headers): a burst within its window, in seconds.
    #[must_use]
    pub fn policy_field(self) -> String {
        format!("\"requests\";q={};w={}", self.burst, self.window())
    }
}

impl fmt::Display for PrincipalLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = false;
        let mut part = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            let comma = if std::mem::replace(&mut said, true) { ", " } else { "" };
            write!(f, "{comma}{text}")
        };
        if let Some(rate) = self.rate {
            part(f, format_args!("{} requests a minute (burst {})", rate.per_minute, rate.burst))?;
        }
        let at_once = [(self.requests, "requests"), (self.streams, "streams"), (self.sockets, "sockets")];
        for (limit, what) in at_once {
            if let Some(limit) = limit {
                part(f, format_args!("{limit} concurrent {what}"))?;
            }
        }
        if said { Ok(()) } else { f.write_str("none") }
    }
}

/// Which limit of a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// `requests_per_minute`.
    Rate,
    /// `concurrent_requests`.
    Requests,
    /// `concurrent_streams`.
    Streams,
    /// `concurrent_websockets`.
    Sockets,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rate, Self::Requests, Self::Streams, Self::Sockets];

    /// The key that sets it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Rate => "requests_per_minute",
            Self::Requests => "concurrent_requests",
            Self::Streams => "concurrent_streams",
            Self::Sockets => "concurrent_websockets",
        }
    }
}

/// A limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitReached {
    /// Which.
    pub limit: Limit,
    /// How much it allows.
    pub allowed: u32,
    /// The rate, where that is the limit.
    pub rate: Option<Rate>,
    /// Seconds after which trying again makes sense.
    pub retry_after: u32,
}

impl LimitReached {
    /// Too many at a time.
    #[must_use]
    pub fn count(limit: Limit, allowed: u32) -> Self {
        Self { limit, allowed, rate: None, retry_after: 1 }
    }

    /// `RateLimit-Policy` and `RateLimit`.
    #[must_use]
    pub fn headers(&self) -> (String, String) {
        match self.rate {
            Some(rate) => (rate.policy_field(), format!("\"requests\";r=0;t={}", self.retry_after)),
            None => (
                format!("\"{}\";q={};qu=\"concurrent-requests\"", self.limit.key(), self.allowed),
                format!("\"{}\";r=0", self.limit.key()),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_limits() -> impl Strategy<Value = PrincipalLimits> {
        let rate = (1u32..100, 1u32..100).prop_map(|(per_minute, burst)| Rate {
            per_minute: NonZeroU32::new(per_minute).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        });
        let count = || prop::option::of(0u32..9);
        (prop::option::of(rate), count(), count(), count())
            .prop_map(|(rate, requests, streams, sockets)| PrincipalLimits { rate, requests, streams, sockets })
    }

    proptest! {
        #[test]
        fn the_strictest_does_not_depend_on_the_order_of_grants(a in any_limits(), b in any_limits(), c in any_limits()) {
            prop_assert_eq!(a.strictest(b), b.strictest(a));
            prop_assert_eq!(a.strictest(b).strictest(c), a.strictest(b.strictest(c)));
            prop_assert_eq!(a.strictest(PrincipalLimits::default()), a);
        }

        #[test]
        fn what_is_said_nearer_to_a_principal_wins(own in any_limits(), default in any_limits()) {
            let both = own.or(default);
            prop_assert_eq!(both.rate, own.rate.or(default.rate));
            prop_assert_eq!(both.sockets, own.sockets.or(default.sockets));
        }
    }
}
