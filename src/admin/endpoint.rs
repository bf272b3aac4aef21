//! The connections of one admin endpoint: a bounded number for each, so that a flood of one endpoint
//! affects neither the others nor the clients.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Connections at a time to each endpoint. When more arrive, the oldest one that is not being answered is dropped.
pub const PLACES: usize = 32;
/// How long a request's head may take.
pub const HEAD: Duration = Duration::from_secs(5);
/// How long one connection may last.
pub const LIFETIME: Duration = Duration::from_secs(60);
/// The largest head, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;

/// The open connections of one endpoint.
#[derive(Debug, Default)]
pub struct Budget(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    next: u64,
    all: BTreeMap<u64, (Arc<AtomicBool>, CancellationToken)>,
}

/// A place; given back when it goes.
#[derive(Debug)]
pub(super) struct Place {
    budget: Arc<Budget>,
    number: u64,
    busy: Arc<AtomicBool>,
    /// Cancelled when another connection needs the place.
    pub lost: CancellationToken,
}

impl Place {
    /// Whether a request is being answered by it.
    pub fn busy(&self) -> Arc<AtomicBool> {
        self.busy.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.budget.state().all.remove(&self.number);
    }
}

impl Budget {
    fn state(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection, and whether another connection lost its place.
    pub(super) fn take(self: &Arc<Self>) -> (Place, bool) {
        let mut state = self.state();
        let mut lost = None;
        if state.all.len() >= PLACES {
            let idle = state.all.iter().find(|(_, (busy, _))| !busy.load(Ordering::Relaxed));
            let goes = idle.or_else(|| state.all.iter().next()).map(|(number, _)| *number);
            lost = goes.and_then(|number| state.all.remove(&number));
        }
        let (number, busy, place) = (state.next, Arc::new(AtomicBool::new(false)), CancellationToken::new());
        state.next += 1;
        state.all.insert(number, (busy.clone(), place.clone()));
        drop(state);
        if let Some((_, lost)) = &lost {
            lost.cancel();
        }
        (Place { budget: self.clone(), number, busy, lost: place }, lost.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_nothing_goes_first_and_a_newcomer_always_gets_in() {
        let budget = Arc::new(Budget::default());
        let all: Vec<_> = (0..PLACES).map(|_| budget.take().0).collect();
        all[0].busy().store(true, Ordering::Relaxed);
        let (first, somebody) = budget.take();
        assert!(somebody && all[1].lost.is_cancelled() && !all[0].lost.is_cancelled());
        for place in all.iter().chain([&first]) {
            place.busy().store(true, Ordering::Relaxed);
        }
        let (_second, _) = budget.take();
        assert!(all[0].lost.is_cancelled() && !first.lost.is_cancelled());
        assert_eq!(budget.state().all.len(), PLACES);
    }
}
