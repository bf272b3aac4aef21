//! How long a client is waited for within its request.

use crate::config::Pace;
use crate::refusal::LimitFault;
use futures_util::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

/// The wait for one body. Only time in which bytes are wanted and none are there counts: a
/// gateway that takes them slowly is not the client's fault.
#[derive(Debug, Default)]
pub(super) struct BodyWatch {
    expected: AtomicBool,
    /// Since when it is waited for, in milliseconds and 1; 0: it is not.
    waiting: AtomicU64,
    /// Milliseconds waited before that.
    waited: AtomicU64,
    bytes: AtomicU64,
    late: AtomicBool,
    reader: AtomicWaker,
}

impl BodyWatch {
    /// A body is to come.
    pub(super) fn begins(&self) {
        for count in [&self.waiting, &self.waited, &self.bytes] {
            count.store(0, Ordering::Relaxed);
        }
        self.late.store(false, Ordering::Relaxed);
        self.expected.store(true, Ordering::Relaxed);
    }

    /// It is complete, or no longer wanted.
    pub(super) fn ends(&self) {
        self.expected.store(false, Ordering::Relaxed);
    }

    /// Bytes came in.
    pub(super) fn came(&self, bytes: usize, now: u64) {
        let since = self.waiting.swap(0, Ordering::Relaxed);
        if since > 0 {
            self.waited.fetch_add((now + 1).saturating_sub(since), Ordering::Relaxed);
        }
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes are wanted and none have arrived. True: they have been waited for too long.
    pub(super) fn waits(&self, reader: &Waker, now: u64) -> bool {
        if !self.expected.load(Ordering::Relaxed) {
            return false;
        }
        let _ = self.waiting.compare_exchange(0, now + 1, Ordering::Relaxed, Ordering::Relaxed);
        self.reader.register(reader);
        self.late.load(Ordering::Relaxed)
    }

    /// Whether one is to come, or to go on.
    pub(super) fn is_expected(&self) -> bool {
        self.expected.load(Ordering::Relaxed)
    }

    /// Whether bytes are wanted and none are there.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_expected() && self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Wakes the reader if the wait is over. The reader looks once more: bytes may have come.
    pub(super) fn check(&self, pace: Pace, now: u64) -> bool {
        let late = self.fault(pace, now).is_some();
        self.late.store(late, Ordering::Relaxed);
        if late {
            self.reader.wake();
        }
        late
    }

    /// What is wrong with how it comes.
    pub(super) fn fault(&self, pace: Pace, now: u64) -> Option<LimitFault> {
        let since = self.waiting.load(Ordering::Relaxed);
        if since == 0 || !self.expected.load(Ordering::Relaxed) {
            return None;
        }
        let waited = self.waited.load(Ordering::Relaxed) + (now + 1).saturating_sub(since);
        check(Duration::from_millis(waited), self.bytes.load(Ordering::Relaxed), pace)
    }
}

/// Checks a body by what came of it in how much waiting.
fn check(waited: Duration, bytes: u64, pace: Pace) -> Option<LimitFault> {
    if waited > pace.deadline {
        return Some(LimitFault::BodyTime);
    }
    let counted = waited.checked_sub(pace.grace).filter(|t| !t.is_zero())?;
    let least = u128::from(pace.rate) * counted.as_millis() / 1000;
    (u128::from(bytes) < least).then_some(LimitFault::BodyRate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { deadline: Duration::from_secs(100), grace: Duration::from_secs(10), rate: 240 };

    #[test]
    fn a_body_is_too_slow_after_its_grace_and_too_long_at_its_deadline() {
        let check = |seconds, bytes| check(Duration::from_secs(seconds), bytes, PACE);
        assert_eq!(check(10, 0), None);
        assert_eq!(check(11, 0), Some(LimitFault::BodyRate));
        assert_eq!(check(11, 240), None);
        assert_eq!(check(60, 11_999), Some(LimitFault::BodyRate));
        assert_eq!(check(60, 12_000), None);
        assert_eq!(check(101, u64::MAX), Some(LimitFault::BodyTime));
    }

    #[test]
    fn only_time_spent_waiting_for_the_client_counts() {
        let watch = BodyWatch::default();
        let waker = Waker::noop();
        watch.begins();
        assert!(!watch.waits(waker, 1000));
        watch.came(1, 3000);
        // The gateway takes a minute over it.
        assert_eq!(watch.fault(PACE, 63_000), None);
        assert!(!watch.waits(waker, 63_000));
        assert_eq!(watch.fault(PACE, 71_000), None, "2 s and 8 s were waited");
        assert_eq!(watch.fault(PACE, 72_000), Some(LimitFault::BodyRate));
        assert!(watch.check(PACE, 72_000) && watch.waits(waker, 72_000));
        watch.ends();
        assert!(!watch.waits(waker, 90_000) && watch.fault(PACE, 90_000).is_none());
    }
}
