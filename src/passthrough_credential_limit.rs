//! How often callers may send a credential that the gateway refuses, on routes that pass their own on.
//!
//! To the gateway everybody behind this proxy is one address, and after twenty wrong webhook tokens within a
//! minute it refuses all from there (2026.3.28 to 2026.9.6). So each caller's misses are bounded here, and all of
//! them together. A credential that the gateway took before passes whatever others send.

use crate::address_key::AddressKey;
use crate::refusal::Refusal;
use crate::secret::TokenHash;
use http::StatusCode;
use quick_cache::sync::Cache;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many misses an address has.
const PER_ADDRESS: usize = 5;
/// How many misses all addresses have: fewer than lock everybody out.
const ALL: usize = 15;
/// For how long a miss counts: the gateway's minute, and some seconds for the way there.
const WINDOW: Duration = Duration::from_secs(75);
/// Credentials that are remembered as good. Of more, those go that were not used for the longest.
const REMEMBERED: usize = 1024;

/// The misses of the last while, and what was no miss.
#[derive(Debug)]
pub struct PassthroughCredentialLimit {
    open: Mutex<Vec<Attempt>>,
    good: Cache<TokenHash, ()>,
}

#[derive(Debug)]
struct Attempt {
    address: AddressKey,
    /// When it was found to be a miss; `None` while its answer is outstanding.
    missed: Option<Instant>,
    number: u64,
}

/// One credential under way. Dropped without an answer it counts as a miss: the gateway may have seen it.
#[derive(Debug)]
pub struct Tried {
    all: Arc<PassthroughCredentialLimit>,
    credential: Option<TokenHash>,
    /// `None`: it is known to be good.
    number: Option<u64>,
}

impl Default for PassthroughCredentialLimit {
    fn default() -> Self {
        Self { open: Mutex::default(), good: Cache::new(REMEMBERED) }
    }
}

impl PassthroughCredentialLimit {
    /// Lets a caller try a credential; `None` is none at all.
    ///
    /// # Errors
    /// [`Refusal::AuthThrottle`] after too many misses.
    pub fn begin(
        self: &Arc<Self>,
        credential: Option<TokenHash>,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Tried, Refusal> {
        let tried = |number| Tried { all: self.clone(), credential, number };
        if credential.is_some_and(|c| self.good.get(&c).is_some()) {
            return Ok(tried(None));
        }
        let address = AddressKey::of(address);
        let mut open = self.attempts();
        open.retain(|a| a.missed.is_none_or(|at| now.saturating_duration_since(at) < WINDOW));
        let refused = |attempts: &mut dyn Iterator<Item = &Attempt>| {
            let first = attempts.filter_map(|a| a.missed).min();
            let wait = first.map_or(0, |at| WINDOW.saturating_sub(now.saturating_duration_since(at)).as_secs());
            Err(Refusal::AuthThrottle { retry_after: u32::try_from(wait).unwrap_or(u32::MAX).saturating_add(1) })
        };
        let own = || open.iter().filter(|a| a.address == address);
        if own().count() >= PER_ADDRESS {
            return refused(&mut own());
        }
        if open.len() >= ALL {
            return refused(&mut open.iter());
        }
        let number = open.iter().map(|a| a.number).max().map_or(0, |n| n.wrapping_add(1));
        open.push(Attempt { address, missed: None, number });
        Ok(tried(Some(number)))
    }

    fn attempts(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self, number: u64, missed: Option<Instant>) {
        let mut open = self.attempts();
        match missed {
            Some(_) => open.iter_mut().filter(|a| a.number == number).for_each(|a| a.missed = missed),
            None => open.retain(|a| a.number != number),
        }
    }
}

impl Tried {
    /// The gateway has answered.
    pub fn answered(self, status: StatusCode) {
        self.answered_at(status, Instant::now());
    }

    fn answered_at(mut self, status: StatusCode, now: Instant) {
        let missed = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if let Some(credential) = self.credential {
            if status.is_success() {
                self.all.good.insert(credential, ());
            } else if missed {
                self.all.good.remove(&credential);
            }
        }
        if let Some(number) = self.number.take() {
            self.all.ends(number, missed.then_some(now));
        }
    }

    /// It was not sent.
    pub fn never_arrived(mut self) {
        if let Some(number) = self.number.take() {
            self.all.ends(number, None);
        }
    }
}

impl Drop for Tried {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.all.ends(number, Some(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    fn credential(n: u8) -> TokenHash {
        TokenHash::of(&[n])
    }

    #[test]
    fn who_guesses_is_stopped_and_a_known_credential_is_not() {
        let all = Arc::new(PassthroughCredentialLimit::default());
        let now = Instant::now();
        all.begin(Some(credential(0)), Some(address(9)), now).unwrap().answered_at(StatusCode::ACCEPTED, now);
        for n in 0..5 {
            all.begin(Some(credential(n + 1)), Some(address(1)), now)
                .unwrap()
                .answered_at(StatusCode::UNAUTHORIZED, now);
        }
        let refused = all.begin(Some(credential(7)), Some(address(1)), now).unwrap_err();
        assert_eq!(refused, Refusal::AuthThrottle { retry_after: 76 });
        all.begin(Some(credential(0)), Some(address(1)), now).unwrap().answered_at(StatusCode::OK, now);
        all.begin(Some(credential(7)), Some(address(2)), now).unwrap().never_arrived();
        assert!(all.begin(Some(credential(7)), Some(address(1)), now + WINDOW).is_ok());
    }

    #[test]
    fn a_credential_that_was_taken_back_is_no_longer_known() {
        let all = Arc::new(PassthroughCredentialLimit::default());
        let now = Instant::now();
        for status in [StatusCode::OK, StatusCode::UNAUTHORIZED] {
            all.begin(Some(credential(0)), Some(address(1)), now).unwrap().answered_at(status, now);
        }
        for _ in 0..PER_ADDRESS {
            all.begin(Some(credential(0)), Some(address(1)), now).unwrap().answered_at(StatusCode::UNAUTHORIZED, now);
        }
        assert!(all.begin(Some(credential(0)), Some(address(1)), now).is_err());
    }

    proptest! {
        /// Of credentials that it never took, the gateway sees fewer within its minute than lock everybody out.
        #[test]
        fn the_gateway_never_sees_twenty_misses_in_a_minute(
            steps in prop::collection::vec((0_u8..12, 0_u64..20, 0_u8..4), 1..300),
        ) {
            let all = Arc::new(PassthroughCredentialLimit::default());
            let mut now = Instant::now();
            let mut seen: Vec<Instant> = Vec::new();
            for (who, pause, what) in steps {
                now += Duration::from_secs(pause);
                let Ok(tried) = all.begin(Some(credential(who)), Some(address(who)), now) else { continue };
                if what == 0 {
                    tried.never_arrived();
                } else {
                    tried.answered_at(StatusCode::UNAUTHORIZED, now);
                    seen.push(now);
                }
                let recent = seen.iter().filter(|at| now.duration_since(**at) <= Duration::from_secs(60)).count();
                prop_assert!(recent < 20);
            }
        }
    }
}
