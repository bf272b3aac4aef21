//! Places at the gateway for clients whose `connect` has yet to come: few, since the gateway counts
//! them, and shared fairly, so that one caller's silence does not keep others out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// All places.
#[derive(Debug)]
pub(super) struct PendingLimit {
    limit: usize,
    /// How many one principal may have.
    each: usize,
    state: Mutex<Slots>,
}

/// Who has a place, the oldest first.
#[derive(Debug, Default)]
struct Slots {
    next: u64,
    all: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    who: Arc<str>,
    /// Its `connect` came: it is no longer waited for, and keeps its place to the end.
    answered: bool,
    displaced: CancellationToken,
}

/// One place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct PendingSlot {
    places: Arc<PendingLimit>,
    number: u64,
    displaced: CancellationToken,
}

impl PendingLimit {
    pub(super) fn new(limit: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { limit, each, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for this principal. Where there is none left, its own oldest connection that is still
    /// silent makes room, or that of the principal who has the most; `None` if none is silent.
    pub(super) fn take(self: &Arc<Self>, who: &Arc<str>) -> Option<PendingSlot> {
        let mut state = self.lock();
        if state.count(who) >= self.each {
            state.displace(who)?;
        } else if state.all.len() >= self.limit {
            let most = state.most()?;
            state.displace(&most)?;
        }
        let number = state.next;
        state.next += 1;
        let displaced = CancellationToken::new();
        state.all.push(Entry { number, who: who.clone(), answered: false, displaced: displaced.clone() });
        Some(PendingSlot { places: self.clone(), number, displaced })
    }
}

impl Slots {
    fn count(&self, who: &Arc<str>) -> usize {
        self.all.iter().filter(|e| e.who == *who).count()
    }

    /// The principal with the most places of those that have a silent one; the oldest of several.
    fn most(&self) -> Option<Arc<str>> {
        let silent = self.all.iter().rev().filter(|e| !e.answered);
        silent.max_by_key(|e| self.count(&e.who)).map(|e| e.who.clone())
    }

    fn displace(&mut self, who: &Arc<str>) -> Option<()> {
        let oldest = self.all.iter().position(|e| e.who == *who && !e.answered)?;
        self.all.remove(oldest).displaced.cancel();
        Some(())
    }
}

impl PendingSlot {
    /// Returns once the place was given to another client.
    pub(super) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }

    /// The client's `connect` came. False: it came too late, the place is taken.
    #[must_use]
    pub(super) fn answered(&self) -> bool {
        let mut state = self.places.lock();
        let own = state.all.iter_mut().find(|e| e.number == self.number);
        own.map(|e| e.answered = true).is_some()
    }
}

impl Drop for PendingSlot {
    fn drop(&mut self) {
        self.places.lock().all.retain(|e| e.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn who(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[test]
    fn a_caller_who_takes_places_and_says_nothing_loses_them_to_others() {
        let places = PendingLimit::new(8, 4);
        let weak: Vec<PendingSlot> = (0..100).filter_map(|_| places.take(&who("weak"))).collect();
        assert_eq!(weak.iter().filter(|p| !p.displaced.is_cancelled()).count(), 4);
        let other: Vec<PendingSlot> = (0..100).filter_map(|_| places.take(&who("other"))).collect();
        assert_eq!(other.iter().filter(|p| !p.displaced.is_cancelled()).count(), 4);
        let strong = places.take(&who("strong")).unwrap();
        let again = places.take(&who("strong")).unwrap();
        assert!(strong.answered() && again.answered());
        assert_eq!(places.lock().all.len(), 8);
        drop((weak, other, strong, again));
        assert!(places.lock().all.is_empty());
    }

    #[test]
    fn whoever_answered_keeps_its_place() {
        let places = PendingLimit::new(2, 2);
        let (a, b) = (places.take(&who("a")).unwrap(), places.take(&who("b")).unwrap());
        assert!(a.answered() && b.answered());
        assert!(places.take(&who("c")).is_none() && places.take(&who("a")).is_none());
        drop(a);
        let c = places.take(&who("c")).unwrap();
        let d = places.take(&who("d")).unwrap();
        assert!(!c.answered(), "it was displaced");
        assert!(d.answered() && b.answered());
    }

    proptest! {
        #[test]
        fn nobody_has_more_than_a_share_and_a_newcomer_finds_room_beside_silence(
            steps in prop::collection::vec((0..5usize, 0..3u8), 0..60),
        ) {
            let places = PendingLimit::new(4, 2);
            let mut held: Vec<PendingSlot> = Vec::new();
            for (which, step) in steps {
                match step {
                    0 => { held.pop(); }
                    1 => { if let Some(place) = held.get(which) { let _ = place.answered(); } }
                    _ => held.extend(places.take(&who(&which.to_string()))),
                }
                let state = places.lock();
                prop_assert!(state.all.len() <= 4);
                prop_assert!(state.all.iter().all(|e| state.count(&e.who) <= 2));
                let silent = state.all.iter().any(|e| !e.answered);
                let room = silent || state.all.len() < 4;
                drop(state);
                prop_assert_eq!(places.take(&who("newcomer")).is_some(), room);
            }
        }
    }
}
