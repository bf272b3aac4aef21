//! Tokens that were verified a moment ago. Each entry lives within its policy and no longer than its
//! token and its issuer's keys; of the time before it was verified (the clock may be set back) it says
//! nothing.

use super::Proven;
use crate::authn::{Authenticator, Identity};
use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderName;
use jiff::Timestamp;
use quick_cache::sync::Cache as Bounded;

/// A token's place: a keyed hash over all of it.
pub(super) type Key = [u8; 32];

/// The tokens of one policy.
pub(super) struct Cache {
    /// `None`: nothing is remembered.
    entries: Option<Bounded<Key, Entry>>,
    secret: [u8; 32],
}

#[derive(Clone)]
struct Entry {
    proven: Proven,
    keys: u64,
    since: Timestamp,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("len", &self.entries.as_ref().map(Bounded::len)).finish_non_exhaustive()
    }
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        let mut secret = [0; 32];
        // Without a secret of its own, a cache whose places could be foretold is none.
        let entries = getrandom::fill(&mut secret).is_ok().then_some(capacity).filter(|c| *c > 0).map(Bounded::new);
        Self { entries, secret }
    }

    pub(super) fn key(&self, token: &str, header: Option<&HeaderName>) -> Key {
        let mut key = [0; 32];
        if self.entries.is_some() {
            let mut hash = Context::new(&SHA256);
            hash.update(&self.secret);
            hash.update(header.map_or("", HeaderName::as_str).as_bytes());
            hash.update(b"\0");
            hash.update(token.as_bytes());
            key.copy_from_slice(hash.finish().as_ref());
        }
        key
    }

    pub(super) fn get(&self, key: &Key, authenticator: &Authenticator, now: Timestamp) -> Option<Proven> {
        let entry = self.entries.as_ref()?.get(key)?;
        let Identity::Issuer(issuer) = entry.proven.principal.identity() else { return None };
        let same_keys = authenticator.slot(issuer)?.version() == entry.keys;
        let in_time = entry.since <= now && entry.proven.principal.valid_until().is_some_and(|until| now < until);
        (same_keys && in_time).then_some(entry.proven)
    }

    pub(super) fn put(&self, key: Key, proven: &Proven, keys: u64, now: Timestamp) {
        if let Some(entries) = &self.entries {
            entries.insert(key, Entry { proven: proven.clone(), keys, since: now });
        }
    }
}
