//! How often callers may miss a pairing join code.
//!
//! The gateway answers every wrong code with 404, and after ten of them within a minute from one
//! address it refuses all joins from there for five minutes (2026.9.6). To it, every caller behind this
//! proxy is one address: so each caller's misses are bounded here, and all of them together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many misses a caller has.
const PER_CALLER: usize = 3;
/// How many misses all callers have: one fewer than lock all callers out.
const ALL: usize = 9;
/// For how long a miss counts: the gateway's minute, and some seconds for the way there.
const WINDOW: Duration = Duration::from_secs(75);
/// When to try again where nothing but answers is waited for.
const SOON: Duration = Duration::from_secs(1);

/// The misses of the last while.
#[derive(Debug, Default)]
pub struct JoinCodeLimit {
    open: Mutex<Vec<Attempt>>,
}

#[derive(Debug)]
struct Attempt {
    caller: Arc<str>,
    /// When it was found to be a miss; `None` while its answer is outstanding.
    missed: Option<Instant>,
    number: u64,
}

/// One join under way. Dropped without an answer it counts as a miss: the gateway may have seen it.
#[derive(Debug)]
pub struct Join {
    joins: Arc<JoinCodeLimit>,
    number: u64,
    missed: bool,
}

impl JoinCodeLimit {
    /// Lets a caller try a code.
    ///
    /// # Errors
    /// How long to wait, after too many misses.
    pub fn begin(self: &Arc<Self>, caller: &str, now: Instant) -> Result<Join, Duration> {
        let mut open = self.attempts();
        open.retain(|a| a.missed.is_none_or(|at| now.saturating_duration_since(at) < WINDOW));
        let wait = |attempts: &mut dyn Iterator<Item = &Attempt>| {
            let first = attempts.filter_map(|a| a.missed).min();
            first.map_or(SOON, |at| WINDOW.saturating_sub(now.saturating_duration_since(at)))
        };
        let own = || open.iter().filter(|a| *a.caller == *caller);
        if own().count() >= PER_CALLER {
            return Err(wait(&mut own()));
        }
        if open.len() >= ALL {
            return Err(wait(&mut open.iter()));
        }
        let number = open.iter().map(|a| a.number).max().map_or(0, |n| n.wrapping_add(1));
        open.push(Attempt { caller: Arc::from(caller), missed: None, number });
        Ok(Join { joins: self.clone(), number, missed: true })
    }
}

impl JoinCodeLimit {
    fn attempts(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Join {
    /// It was no miss: the gateway answered something else, or was not reached.
    pub fn is_no_miss(mut self) {
        self.missed = false;
    }
}

impl Drop for Join {
    fn drop(&mut self) {
        let mut open = self.joins.attempts();
        if self.missed {
            open.iter_mut().filter(|a| a.number == self.number).for_each(|a| a.missed = Some(Instant::now()));
        } else {
            open.retain(|a| a.number != self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_caller_who_misses_too_often_waits_and_others_do_not() {
        let joins = Arc::new(JoinCodeLimit::default());
        let now = Instant::now();
        for _ in 0..PER_CALLER {
            drop(joins.begin("a", now).unwrap());
        }
        let wait = joins.begin("a", now).unwrap_err();
        assert!(wait > Duration::from_secs(60) && wait <= WINDOW + SOON, "{wait:?}");
        drop(joins.begin("b", now).unwrap());
        assert!(joins.begin("a", Instant::now() + WINDOW).is_ok());
    }

    #[test]
    fn answers_that_are_outstanding_count() {
        let joins = Arc::new(JoinCodeLimit::default());
        let now = Instant::now();
        let open: Vec<Join> = (0..PER_CALLER).map(|_| joins.begin("a", now).unwrap()).collect();
        assert_eq!(joins.begin("a", now).unwrap_err(), SOON);
        open.into_iter().for_each(Join::is_no_miss);
        assert!(joins.begin("a", now).is_ok());
    }

    proptest! {
        /// What the gateway sees within its minute never reaches its ten.
        #[test]
        fn the_gateway_never_sees_ten_misses_in_a_minute(
            steps in prop::collection::vec((0_u8..6, 0_u64..30, any::<bool>()), 1..200),
        ) {
            let joins = Arc::new(JoinCodeLimit::default());
            let mut now = Instant::now();
            let mut seen: Vec<Instant> = Vec::new();
            for (caller, pause, missed) in steps {
                now += Duration::from_secs(pause);
                if let Ok(join) = joins.begin(&caller.to_string(), now) {
                    if missed {
                        join.end_at(now);
                        seen.push(now);
                    } else {
                        join.is_no_miss();
                    }
                }
                let recent = seen.iter().filter(|at| now.duration_since(**at) <= Duration::from_secs(60)).count();
                prop_assert!(recent < 10);
            }
        }
    }

    impl Join {
        fn end_at(self, now: Instant) {
            let joins = self.joins.clone();
            let number = self.number;
            drop(self);
            joins.attempts().iter_mut().filter(|a| a.number == number).for_each(|a| a.missed = Some(now));
        }
    }
}
