//! Wrong credentials: answered ever more slowly, and beyond that turned away, by address.
//!
//! A credential is always checked first, so a good one is served at once whatever else comes from
//! its address. What is bounded is how many wrong ones are answered for what they are, how many
//! answers are held back meanwhile, and how many addresses are remembered.

use crate::refusal::Refusal;
use quick_cache::sync::Cache;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Addresses that are remembered. Of more, those go first that came once: the cache keeps what is
/// asked for again, so a spray of addresses does not push out one that goes on guessing. One that
/// was forgotten begins anew.
pub const ADDRESSES: usize = 16_384;
/// Wrong credentials of one address that are answered at once or soon.
const BURST: u64 = DELAYS.len() as u64;
/// The time after which one of these is forgotten: two a second, so that no second sees more than ten.
const INTERVAL: u64 = 500;
/// How long the answer is held back, by how many wrong ones came before.
const DELAYS: [u64; 8] = [0, 0, 0, 100, 200, 400, 800, 1000];
/// Answers held back at a time, of all addresses.
const HELD: usize = 256;

/// An address, or the network that one household is given of IPv6; `None` on a unix socket.
type Block = Option<IpAddr>;

/// What is to be done about a wrong credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is said what was wrong, after a while.
    Answer(Duration),
    /// It is not, for so many seconds.
    TurnAway(u32),
}

/// The wrong credentials of late, by address.
#[derive(Debug)]
pub struct AuthThrottle {
    /// For each address, when all its wrong credentials will be forgotten, in milliseconds.
    addresses: Cache<Block, Arc<AtomicU64>>,
    held: Semaphore,
    begun: Instant,
}

impl Default for AuthThrottle {
    fn default() -> Self {
        Self { addresses: Cache::new(ADDRESSES), held: Semaphore::new(HELD), begun: Instant::now() }
    }
}

impl AuthThrottle {
    /// Passes on why a caller was not proven, later or not at all where that was a guess like many
    /// before it.
    pub async fn answer(&self, refusal: Refusal, peer: Option<IpAddr>) -> Refusal {
        if !refusal.is_failed_proof() {
            return refusal;
        }
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX / 2);
        match self.admit(peer, now) {
            Verdict::Answer(Duration::ZERO) => refusal,
            Verdict::Answer(delay) => match self.held.try_acquire() {
                Ok(_held) => {
                    tokio::time::sleep(delay).await;
                    refusal
                }
                Err(_) => Refusal::AuthThrottle { retry_after: 1 },
            },
            Verdict::TurnAway(retry_after) => Refusal::AuthThrottle { retry_after },
        }
    }

    fn admit(&self, peer: Option<IpAddr>, now: u64) -> Verdict {
        let new = || Ok::<_, Infallible>(Arc::default());
        let Ok(until) = self.addresses.get_or_insert_with(&block(peer), new);
        let counted = until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| {
            let until = until.max(now) + INTERVAL;
            (until - now <= BURST * INTERVAL).then_some(until)
        });
        match counted {
            Ok(before) => {
                let wrong = before.saturating_sub(now).div_ceil(INTERVAL);
                let delay = usize::try_from(wrong).ok().and_then(|n| DELAYS.get(n)).copied().unwrap_or_default();
                Verdict::Answer(Duration::from_millis(delay))
            }
            Err(until) => {
                let wait = (until + INTERVAL).saturating_sub(now + BURST * INTERVAL);
                Verdict::TurnAway(u32::try_from(wait.div_ceil(1000)).unwrap_or(u32::MAX).max(1))
            }
        }
    }
}

fn block(peer: Option<IpAddr>) -> Block {
    peer.map(|ip| match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        ip @ IpAddr::V4(_) => ip,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(n))
    }

    #[test]
    fn answers_are_held_back_ever_longer_and_then_not_given() {
        let guessing = AuthThrottle::default();
        let all: Vec<Verdict> = (0..9).map(|_| guessing.admit(Some(v4(1)), 0)).collect();
        let delays: Vec<Verdict> = DELAYS.iter().map(|ms| Verdict::Answer(Duration::from_millis(*ms))).collect();
        assert_eq!(all[..8], delays);
        assert_eq!(all[8], Verdict::TurnAway(1));
        assert_eq!(
            guessing.admit(Some(v4(2)), 0),
            Verdict::Answer(Duration::ZERO),
            "another address is another matter"
        );
        assert_eq!(
            guessing.admit(Some(v4(1)), 60_000),
            Verdict::Answer(Duration::ZERO),
            "after a minute all is forgotten"
        );
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let in_net = |host: u16| Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host)));
        assert_eq!(block(in_net(1)), block(in_net(2)));
        assert_ne!(block(in_net(1)), block(Some("2001:db8:0:2::1".parse().unwrap())));
        assert_eq!(block(Some("::ffff:192.0.2.1".parse().unwrap())), block(Some("192.0.2.1".parse().unwrap())));
        assert_ne!(block(Some(v4(1))), block(Some(v4(2))));
    }

    #[test]
    fn a_spray_of_addresses_is_bounded_and_does_not_help_who_goes_on_guessing() {
        let guessing = AuthThrottle::default();
        let mut answered = 0;
        for n in 0..200_000u32 {
            guessing.admit(Some(v4(1_000_000 + n)), 0);
            if n % 1000 == 0 && matches!(guessing.admit(Some(v4(7)), 0), Verdict::Answer(_)) {
                answered += 1;
            }
        }
        assert!(guessing.addresses.len() <= ADDRESSES, "{}", guessing.addresses.len());
        assert!(answered <= 2 * BURST, "{answered} of 200 were answered: it was forgotten in between");
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_ten_answers(pauses in prop::collection::vec(0u64..400, 1..400)) {
            let guessing = AuthThrottle::default();
            let (mut now, mut answered) = (0, Vec::new());
            for pause in pauses {
                now += pause;
                match guessing.admit(Some(v4(1)), now) {
                    Verdict::Answer(delay) => prop_assert!(delay <= Duration::from_secs(1)),
                    Verdict::TurnAway(seconds) => {
                        prop_assert!((1..=4).contains(&seconds));
                        continue;
                    }
                }
                answered.push(now);
            }
            for (i, from) in answered.iter().enumerate() {
                let within = answered.iter().skip(i).filter(|to| **to - from < 1000).count();
                prop_assert!(within <= 10, "{within}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn the_table_is_bounded_whatever_comes(seed in any::<u64>(), many in 17_000usize..40_000) {
            let guessing = AuthThrottle::default();
            let mut x = seed | 1;
            for _ in 0..many {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let ip = IpAddr::V6((u128::from(x) << 64 | u128::from(x)).into());
                guessing.admit(Some(ip), x >> 50);
            }
            prop_assert!(guessing.addresses.len() <= ADDRESSES);
        }
    }
}
