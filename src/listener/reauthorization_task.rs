//! What is open ends when it may no longer go on (law 9).
//!
//! Something has to happen for that: a policy comes into force, an issuer's keys or a tailnet's answer
//! change, or a moment comes at which a proof or a grant ends. Each open request says when it has to be
//! checked for the last reason, and one set of timers holds those moments. For the others everything open
//! is walked through, in slices. While nothing happens, nothing is looked at.

use super::connections::SLICE;
use super::{Connection, Connections, Ending, OpenRequest};
use crate::policy::Policy;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How often the clock is read although nothing is due: it may have been set.
const LOOK: Duration = Duration::from_millis(500);
/// How far the clock may go back before all is checked again, in microseconds: a correction of the usual
/// kind is no news.
const SET_BACK: i64 = 1_000_000;

/// When and under what something open was last checked, and until when that holds.
#[derive(Debug)]
pub struct LastCheck {
    state: AtomicU64,
    at: AtomicI64,
    until: AtomicI64,
}

impl LastCheck {
    /// A check made just now, under this state of policy and keys ([`Policy::state`]).
    #[must_use]
    pub fn new(state: u64, at: Timestamp, until: i64) -> Self {
        Self { state: AtomicU64::new(state), at: AtomicI64::new(at.as_microsecond()), until: AtomicI64::new(until) }
    }

    /// None yet.
    #[must_use]
    pub fn none() -> Self {
        Self { state: AtomicU64::new(0), at: AtomicI64::new(i64::MAX), until: AtomicI64::new(i64::MIN) }
    }

    /// Whether there is nothing to check again: the same state, and a moment between the check and its end.
    #[must_use]
    pub fn holds(&self, state: u64, now: Timestamp) -> bool {
        let now = now.as_microsecond();
        self.at.load(Ordering::Relaxed) <= now && now < self.until() && self.state.load(Ordering::Relaxed) == state
    }

    /// It was checked again.
    pub fn note(&self, state: u64, now: Timestamp, until: i64) {
        self.at.store(now.as_microsecond(), Ordering::Relaxed);
        self.until.store(until, Ordering::Relaxed);
        self.state.store(state, Ordering::Relaxed);
    }

    /// What it rests on may have changed while it was made: it holds no longer.
    pub fn doubt(&self) {
        self.until.store(i64::MIN, Ordering::Relaxed);
    }

    /// Until when it holds, in microseconds since 1970.
    #[must_use]
    pub fn until(&self) -> i64 {
        self.until.load(Ordering::Relaxed)
    }
}

impl Connections {
    /// Ends what may not go on, when that is so. `changed` tells of keys and tailnet; the code that puts a policy
    /// in force calls [`Self::reauthorize`].
    pub async fn follow(self: Arc<Self>, policy: Arc<ArcSwap<Policy>>, changed: [Arc<Notify>; 2]) {
        let [keys, tailnet] = changed;
        let mut seen = Timestamp::now().as_microsecond();
        loop {
            let now = Timestamp::now().as_microsecond();
            let look = i64::try_from(LOOK.as_micros()).unwrap_or(i64::MAX);
            let pause = self.shared.rechecks.until_next(now, now.saturating_add(look));
            let pause = Duration::from_micros(u64::try_from(pause).unwrap_or_default());
            let walk = tokio::select! {
                () = keys.notified() => true,
                () = tailnet.notified() => true,
                () = self.shared.rechecks.woken() => false,
                () = tokio::time::sleep(pause) => false,
            };
            let now = Timestamp::now().as_microsecond();
            let set_back = now < seen.saturating_sub(SET_BACK);
            seen = now;
            if walk || set_back {
                let (this, policy) = (self.clone(), policy.clone());
                // Not on a worker: thousands may have to be checked.
                let walked = tokio::task::spawn_blocking(move || this.reauthorize(&policy.load(), Timestamp::now()));
                if let Ok(ended @ 1..) = walked.await {
                    tracing::info!(
                        streams_ended = ended,
                        "what was open was checked again: keys, tailnet or clock changed"
                    );
                }
            }
            while !self.recheck_due(&policy.load(), Timestamp::now()) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Checks what is due, a slice at a time. False: there may be more.
    pub(crate) fn recheck_due(&self, policy: &Policy, now: Timestamp) -> bool {
        let due = self.shared.rechecks.take_due(now.as_microsecond(), SLICE);
        for (at, connection) in self.named(&due) {
            if let Some(request) = connection.recheck_due(at) {
                end(&connection, request.as_ref(), policy, now);
            }
        }
        due.len() < SLICE
    }

    /// Checks everything open again, because something changed that it may rest on, and ends what may not
    /// go on. Returns how much of it is new.
    pub fn reauthorize(&self, policy: &Policy, now: Timestamp) -> usize {
        self.shared.changes.fetch_add(1, Ordering::SeqCst);
        let (mut ended, mut last) = (0, None);
        loop {
            let slice = self.behind(last);
            for connection in &slice {
                let request = connection.open().clone();
                ended += usize::from(request.is_some_and(|r| end(connection, r.as_ref(), policy, now)));
            }
            match slice.last() {
                Some(connection) => last = Some(connection.caller().connection),
                None => return ended,
            }
            std::thread::yield_now();
        }
    }
}

/// Checks what is open on a connection, and ends it or says when to check it again. True: it ends, and that
/// is new.
fn end(connection: &Connection, request: &dyn OpenRequest, policy: &Policy, now: Timestamp) -> bool {
    if let Some(refusal) = request.ends_under(policy, now) {
        return request.end(Ending::Judged(refusal.code())) || connection.revoke(refusal);
    }
    connection.recheck_by(request.holds_until().max(now.as_microsecond().saturating_add(1)));
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DynamicConfig, Limits};
    use crate::refusal::Refusal;
    use crate::telemetry::Telemetry;
    use std::sync::atomic::AtomicUsize;

    /// Counts how often it is asked.
    #[derive(Debug)]
    struct Counted(Arc<AtomicUsize>, i64);

    impl OpenRequest for Counted {
        fn ends_under(&self, _: &Policy, _: Timestamp) -> Option<Refusal> {
            self.0.fetch_add(1, Ordering::Relaxed);
            None
        }

        fn holds_until(&self) -> i64 {
            self.1
        }
    }

    #[test]
    fn while_nothing_happens_nothing_is_looked_at() {
        let connections = Connections::new(Limits::default(), Arc::new(Telemetry::new().unwrap()));
        let policy = Policy::dry_run(DynamicConfig::closed());
        let asked: Arc<AtomicUsize> = Arc::default();
        let moment = |second| Timestamp::from_second(second).unwrap();
        let all: Vec<_> = (0..1000)
            .map(|i| {
                let connection = connections.accepted();
                let until = if i % 10 == 0 { moment(5_000 + i).as_microsecond() } else { i64::MAX };
                connection.request_begins();
                connection.reauthorize_with(Arc::new(Counted(asked.clone(), until)));
                connection
            })
            .collect();
        assert_eq!(connections.count(), (1000, 1000));
        let pass = |second| {
            while !connections.recheck_due(&policy, moment(second)) {}
            asked.swap(0, Ordering::Relaxed)
        };
        assert_eq!((pass(1), pass(4_999), pass(5_000), pass(5_009), pass(5_010)), (0, 0, 1, 1, 2));
        assert_eq!(connections.reauthorize(&policy, moment(5_010)), 0);
        assert_eq!(asked.load(Ordering::Relaxed), 1000);
        for connection in all {
            connections.ended(connection);
        }
        assert_eq!((connections.count(), connections.timers()), ((0, 0), [0, 0]));
    }
}
