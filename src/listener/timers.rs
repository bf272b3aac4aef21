//! One time for each of many connections. What is due is found without a look at the rest.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A time that never comes.
pub(super) const NEVER: i64 = i64::MAX;
/// The timer of a connection that is gone.
const GONE: i64 = i64::MIN;

/// The times of all connections, by one clock.
#[derive(Debug)]
pub(super) struct Timers {
    due: Mutex<BTreeSet<(i64, u64)>>,
    /// When the waiting task looks again by itself. What is due earlier wakes it.
    next_look: AtomicI64,
    wake: Notify,
}

/// The time of one connection.
#[derive(Debug)]
pub(super) struct Timer {
    id: u64,
    at: AtomicI64,
}

impl Timer {
    /// Of the connection with this number; not set.
    pub(super) fn new(id: u64) -> Self {
        Self { id, at: AtomicI64::new(NEVER) }
    }

    /// It was found to be due at this time. To be called before what depends on it is looked at: who
    /// changes that afterwards sets the timer anew.
    pub(super) fn fired(&self, at: i64) {
        let _ = self.at.compare_exchange(at, NEVER, Ordering::SeqCst, Ordering::SeqCst);
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self { due: Mutex::default(), next_look: AtomicI64::new(GONE), wake: Notify::new() }
    }
}

impl Timers {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<(i64, u64)>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the connection looked at by this time. If it is looked at earlier anyway, nothing is done: it is
    /// set anew then. That is one load for most requests.
    pub(super) fn set(&self, timer: &Timer, at: i64) {
        if timer.at.load(Ordering::SeqCst) <= at {
            return;
        }
        let mut due = self.lock();
        let before = timer.at.load(Ordering::SeqCst);
        if before <= at {
            return;
        }
        due.remove(&(before, timer.id));
        due.insert((at, timer.id));
        timer.at.store(at, Ordering::SeqCst);
        drop(due);
        if at < self.next_look.load(Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    /// The connection is gone; its timer is never set again.
    pub(super) fn forget(&self, timer: &Timer) {
        let mut due = self.lock();
        let before = timer.at.swap(GONE, Ordering::SeqCst);
        due.remove(&(before, timer.id));
    }

    /// Some of what is due: times and connections, `most` at a time.
    pub(super) fn take_due(&self, now: i64, most: usize) -> Vec<(i64, u64)> {
        let mut due = self.lock();
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(first) = due.first().copied().filter(|(at, _)| *at <= now)
        {
            due.remove(&first);
            taken.push(first);
        }
        taken
    }

    /// Says when the waiting task looks again by itself, and how long there is to wait: until the first is due,
    /// and not beyond that.
    pub(super) fn until_next(&self, now: i64, look: i64) -> i64 {
        self.next_look.store(look, Ordering::SeqCst);
        let first = self.lock().first().map_or(NEVER, |(at, _)| *at);
        first.min(look).saturating_sub(now).max(0)
    }

    /// Returns when something is due earlier than the waiting task would look.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone)]
    enum Step {
        Set(usize, i64),
        Forget(usize),
        Pass(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..6usize, 0..60i64).prop_map(|(one, at)| Step::Set(one, at)),
            1 => (0..6usize).prop_map(Step::Forget),
            2 => (1..20i64).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Each is due at the earliest time it was set to since it was last due, and there is one entry for it.
        #[test]
        fn each_is_due_at_the_earliest_time_asked_for(steps in prop::collection::vec(step(), 0..80), most in 1..5usize) {
            let timers = Timers::default();
            let all: Vec<Timer> = (0..6).map(Timer::new).collect();
            let (mut model, mut gone, mut now) = (BTreeMap::<usize, i64>::new(), Vec::new(), 0);
            for step in steps {
                match step {
                    Step::Set(one, at) => {
                        timers.set(&all[one], at);
                        if !gone.contains(&one) {
                            let before = model.entry(one).or_insert(at);
                            *before = (*before).min(at);
                        }
                    }
                    Step::Forget(one) => {
                        timers.forget(&all[one]);
                        model.remove(&one);
                        gone.push(one);
                    }
                    Step::Pass(by) => {
                        now += by;
                        let mut found = Vec::new();
                        loop {
                            let taken = timers.take_due(now, most);
                            if taken.is_empty() {
                                break;
                            }
                            for (at, id) in taken {
                                let one = usize::try_from(id).unwrap();
                                all[one].fired(at);
                                found.push((one, at));
                            }
                        }
                        found.sort_unstable();
                        let expected: Vec<_> = model.iter().map(|(one, at)| (*one, *at)).filter(|(_, at)| *at <= now).collect();
                        model.retain(|_, at| *at > now);
                        prop_assert_eq!(found, expected);
                    }
                }
                prop_assert_eq!(timers.len(), model.len());
            }
        }
    }

    #[tokio::test]
    async fn what_is_due_before_the_next_look_wakes_and_what_is_due_later_does_not() {
        let timers = Timers::default();
        let (soon, late) = (Timer::new(1), Timer::new(2));
        assert_eq!(timers.until_next(0, 500), 500);
        timers.set(&late, 900);
        assert!(futures_util::FutureExt::now_or_never(timers.woken()).is_none());
        timers.set(&soon, 20);
        timers.woken().await;
        assert_eq!(timers.until_next(5, 505), 15);
        assert_eq!(timers.take_due(20, 9), [(20, 1)]);
        soon.fired(20);
        assert_eq!(timers.until_next(20, 520), 500);
    }
}
