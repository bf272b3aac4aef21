//! Places for clients that have not proven themselves. When one is short of them, the oldest goes:
//! who means it has proven itself by then.

use crate::address_key::AddressKey;
use crate::config::UnauthenticatedLimits;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// All such places.
#[derive(Debug)]
pub struct UnauthenticatedLimit {
    limits: UnauthenticatedLimits,
    state: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    next: u64,
    /// In the order in which they were taken.
    all: BTreeMap<u64, (AddressKey, CancellationToken)>,
    groups: HashMap<AddressKey, usize>,
}

impl Slots {
    fn leave(&mut self, number: u64) -> Option<CancellationToken> {
        let (group, place) = self.all.remove(&number)?;
        if let Some(count) = self.groups.get_mut(&group) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.groups.remove(&group);
            }
        }
        Some(place)
    }

    fn oldest_of(&self, group: AddressKey) -> Option<u64> {
        self.all.iter().find(|(_, (of, _))| *of == group).map(|(number, _)| *number)
    }
}

/// One place; given back when it goes.
#[derive(Debug)]
pub struct UnauthenticatedSlot {
    places: Arc<UnauthenticatedLimit>,
    number: u64,
    lost: CancellationToken,
}

impl UnauthenticatedSlot {
    /// Returns when the place is needed for another client.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        self.lost.clone().cancelled_owned()
    }
}

impl Drop for UnauthenticatedSlot {
    fn drop(&mut self) {
        self.places.state().leave(self.number);
    }
}

impl UnauthenticatedLimit {
    /// All of them free.
    #[must_use]
    pub fn new(limits: UnauthenticatedLimits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// How much there is of what.
    #[must_use]
    pub fn limits(&self) -> UnauthenticatedLimits {
        self.limits
    }

    fn state(&self) -> MutexGuard<'_, Slots> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a client from this address; `None` is a unix socket. If it has its share already,
    /// its own oldest goes; if all are taken, the oldest of the address that has most.
    pub fn take(self: &Arc<Self>, peer: Option<IpAddr>) -> UnauthenticatedSlot {
        let group = AddressKey::of(peer);
        let most = self.limits.per_address.filter(|_| !group.is_local());
        let mut state = self.state();
        let own = state.groups.get(&group).copied().unwrap_or_default();
        let from = if most.is_some_and(|most| own >= most) {
            Some(group)
        } else if state.all.len() >= self.limits.sockets {
            state.groups.iter().max_by_key(|(_, count)| **count).map(|(group, _)| *group)
        } else {
            None
        };
        let goes = from.and_then(|group| state.oldest_of(group)).and_then(|number| state.leave(number));
        let (number, lost) = (state.next, CancellationToken::new());
        state.next += 1;
        state.all.insert(number, (group, lost.clone()));
        *state.groups.entry(group).or_default() += 1;
        drop(state);
        if let Some(goes) = goes {
            goes.cancel();
        }
        UnauthenticatedSlot { places: self.clone(), number, lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn places(sockets: usize, per_address: Option<usize>) -> Arc<UnauthenticatedLimit> {
        UnauthenticatedLimit::new(UnauthenticatedLimits { sockets, per_address, timeout: Duration::from_secs(10) })
    }

    fn from(places: &Arc<UnauthenticatedLimit>, address: &str) -> UnauthenticatedSlot {
        places.take(Some(address.parse().unwrap()))
    }

    fn lost(all: &[UnauthenticatedSlot]) -> Vec<usize> {
        all.iter().enumerate().filter(|(_, p)| p.lost.is_cancelled()).map(|(i, _)| i).collect()
    }

    #[test]
    fn an_address_that_has_its_share_loses_its_own_oldest() {
        let places = places(100, Some(2));
        let other = from(&places, "10.0.0.9");
        let all: Vec<_> = (0..4).map(|_| from(&places, "10.0.0.1")).collect();
        assert_eq!(lost(&all), [0, 1]);
        assert!(!other.lost.is_cancelled());
        drop(all);
        assert_eq!(places.state().all.len(), 1);
    }

    #[test]
    fn a_full_pool_takes_from_the_address_that_has_most() {
        let places = places(4, None);
        let good = from(&places, "10.0.0.9");
        let flood: Vec<_> = (0..50).map(|_| from(&places, "127.0.0.1")).collect();
        assert!(!good.lost.is_cancelled());
        assert_eq!(lost(&flood).len(), 47);
        let late = from(&places, "10.0.0.8");
        assert!(!late.lost.is_cancelled() && !good.lost.is_cancelled());
        assert_eq!(places.state().all.len(), 4);
        drop((good, flood, late));
        assert!(places.state().all.is_empty() && places.state().groups.is_empty());
    }
}
