//! The issuers' keys, kept fresh: fetched at the start, again as their server says, and again when a
//! token names a key that is not known yet; kept through an outage and across a restart.

mod fetch;
mod store;

use crate::authn::Credential;
use crate::config::{Issuer, KeySource};
use crate::jwks::{KeySet, KeySlot};
use crate::policy::{Policy, Proven};
use crate::refusal::{JwtFault, Refusal, UserFault};
use fetch::{FetchError, Fetched, Fetcher};
use jiff::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, Notify};

/// The shortest and longest time between two fetches that a server's cache headers can ask for, and
/// what holds where they say nothing.
const FRESH: (Duration, Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(24 * 3600), Duration::from_secs(900));
/// The pause after a fetch that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(15);
/// The first pause while there are no keys at all; each one after it is twice as long.
const WITHOUT_KEYS: Duration = Duration::from_millis(500);
/// The floor between two fetches for unknown keys: clients that send made-up key names cannot go below it.
const FLOOR: Duration = Duration::from_secs(10);
/// How long the start waits for keys.
const AT_START: Duration = Duration::from_secs(5);

/// All issuers of a process, by name.
#[derive(Debug)]
pub struct JwksCache {
    state_dir: PathBuf,
    all: Mutex<HashMap<Arc<str>, Arc<Source>>>,
    changed: Arc<Notify>,
}

/// One issuer's keys and where they come from.
#[derive(Debug)]
struct Source {
    issuer: Arc<str>,
    /// The `iss`, which a discovery document must repeat.
    iss: String,
    keys: KeySource,
    slot: Arc<KeySlot>,
    fetcher: Option<Fetcher>,
    /// Held by the task that fetches; all others wait for its result.
    fetching: AsyncMutex<Last>,
    /// Told when the keys changed.
    changed: Arc<Notify>,
}

/// Issuers that are not in force yet.
#[derive(Debug, Default)]
pub struct Prepared {
    all: HashMap<Arc<str>, Arc<Source>>,
    slots: Vec<Arc<KeySlot>>,
    new: Vec<Arc<Source>>,
}

impl Prepared {
    /// The places of their keys, in their order.
    #[must_use]
    pub fn slots(&self) -> &[Arc<KeySlot>] {
        &self.slots
    }
}

/// When keys were last fetched.
#[derive(Debug, Default)]
struct Last {
    /// For whatever reason.
    any: Option<Instant>,
    /// Because a token named a key that was not known.
    for_token: Option<Instant>,
}

/// Why keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Schedule,
    Token,
}

/// How an issuer's keys are, for people.
#[derive(Debug, Clone)]
pub struct KeyStatus {
    /// The issuer's name.
    pub issuer: Arc<str>,
    /// How many keys there are.
    pub keys: usize,
    /// When the issuer last confirmed them.
    pub confirmed: Option<Timestamp>,
    /// Whether they come over the network.
    pub remote: bool,
}

impl JwksCache {
    /// None yet. Keys that were fetched are kept below `state_dir`.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.join("keys"), all: Mutex::default(), changed: Arc::default() }
    }

    /// Tells that some issuer's keys are others now. For one who waits.
    #[must_use]
    pub fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// Issuers as they would be. One whose source has not changed keeps its keys; one that is new has
    /// none yet. Nothing is fetched and nothing that is in force changes: that is what
    /// [`Self::commit`] does, and a preparation that is dropped leaves no trace (law 11).
    #[must_use]
    pub fn prepare(&self, issuers: &[Issuer]) -> Prepared {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut prepared = Prepared::default();
        for issuer in issuers {
            let same = |s: &&Arc<Source>| s.keys == issuer.keys && s.iss == issuer.issuer;
            let source = all.get(&issuer.name).filter(same).cloned().unwrap_or_else(|| {
                let new = Arc::new(Source::new(issuer, self.changed.clone()));
                prepared.new.push(new.clone());
                new
            });
            prepared.slots.push(source.slot.clone());
            prepared.all.insert(issuer.name.clone(), source);
        }
        prepared
    }

    /// Puts prepared issuers in force: new ones have their keys fetched, or taken from the last run, in
    /// the background; one that is gone is forgotten.
    ///
    /// Must be called within a tokio runtime.
    pub fn commit(&self, prepared: Prepared) {
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = prepared.all;
        for source in prepared.new.iter().filter(|s| s.fetcher.is_some()) {
            tokio::spawn(keep_fresh(Arc::downgrade(source), self.state_dir.clone()));
        }
    }

    /// Both at once, where there is nothing that could still be refused. Returns the places of the
    /// issuers' keys, in their order.
    ///
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn adopt(&self, issuers: &[Issuer]) -> Vec<Arc<KeySlot>> {
        let prepared = self.prepare(issuers);
        let slots = prepared.slots.clone();
        self.commit(prepared);
        slots
    }

    /// Waits until every issuer has keys, for five seconds at the most. Returns the names of those
    /// that have none.
    pub async fn ready(&self) -> Vec<Arc<str>> {
        let begun = Instant::now();
        loop {
            let missing = self.without_keys();
            if missing.is_empty() || begun.elapsed() > AT_START {
                return missing;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The issuers that have no keys.
    #[must_use]
    pub fn without_keys(&self) -> Vec<Arc<str>> {
        self.status().into_iter().filter(|s| s.keys == 0).map(|s| s.issuer).collect()
    }

    /// How each issuer's keys are.
    #[must_use]
    pub fn status(&self) -> Vec<KeyStatus> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut status: Vec<KeyStatus> = all
            .values()
            .map(|s| KeyStatus {
                issuer: s.issuer.clone(),
                keys: s.slot.keys().map_or(0, |k| k.len()),
                confirmed: s.slot.confirmed(),
                remote: s.fetcher.is_some(),
            })
            .collect();
        status.sort_by(|a, b| a.issuer.cmp(&b.issuer));
        status
    }

    /// Asks an issuer for its present keys, because a token names one that is not known. At most one
    /// request is under way, and a floor lies between two for this cause: an issuer that changes its keys
    /// right behind a scheduled fetch is asked again at once.
    pub async fn refresh(&self, issuer: &str) {
        let source = self.all.lock().unwrap_or_else(PoisonError::into_inner).get(issuer).cloned();
        if let Some(source) = source {
            source.fetch(&self.state_dir, Cause::Token).await;
        }
    }
}

#[cfg(test)]
impl JwksCache {
    /// Which sources are in force, each with the place of its keys: what keeps them fresh lives as long.
    pub(crate) fn identities(&self) -> Vec<(Arc<str>, [usize; 2])> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |source: &Arc<Source>| [Arc::as_ptr(source) as usize, Arc::as_ptr(&source.slot) as usize];
        all.iter().map(|(name, source)| (name.clone(), of(source))).collect()
    }
}

impl JwksCache {
    /// Who is calling? A token signed with a key not yet known has its issuer asked once.
    ///
    /// # Errors
    /// The [`Refusal`] that says why the caller is not authenticated.
    pub async fn authenticate(
        &self,
        policy: &Policy,
        credential: Credential<'_>,
        peer: Option<IpAddr>,
    ) -> Result<Proven, Refusal> {
        let authenticate = || policy.authenticate(credential, peer, Timestamp::now());
        self.with_present_keys(|| policy.authenticator().issuer_of(credential).map(|name| &**name), authenticate).await
    }

    /// Verifies a JWT: where its key is not known, the issuer is asked once.
    ///
    /// # Errors
    /// Those of `verify`.
    pub async fn with_present_keys<'i, T>(
        &self,
        issuer: impl FnOnce() -> Option<&'i str>,
        mut verify: impl FnMut() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let verified = verify();
        let Err(Refusal::Jwt(fault) | Refusal::User(UserFault::Jwt(fault))) = &verified else { return verified };
        if !matches!(fault, JwtFault::KeyUnknown | JwtFault::KeysUnavailable) {
            return verified;
        }
        let Some(issuer) = issuer() else { return verified };
        // Verified again whatever came of it: another request may have brought the key just before.
        self.refresh(issuer).await;
        verify()
    }
}

impl Source {
    fn new(issuer: &Issuer, changed: Arc<Notify>) -> Self {
        let fixed = match &issuer.keys {
            KeySource::Remote { .. } => None,
            KeySource::Jwks(text) => KeySet::jwks(text).ok(),
            KeySource::Pem(text) => KeySet::pem(text).ok(),
            KeySource::Secret(secret) => Some(KeySet::secret(secret)),
        };
        let fetcher = Fetcher::new(&issuer.keys, &issuer.issuer).unwrap_or_else(|error| {
            tracing::error!(issuer = &*issuer.name, %error, "the keys of this issuer cannot be fetched");
            None
        });
        Self {
            issuer: issuer.name.clone(),
            iss: issuer.issuer.clone(),
            keys: issuer.keys.clone(),
            slot: Arc::new(fixed.map_or_else(KeySlot::default, KeySlot::fixed)),
            fetcher,
            fetching: AsyncMutex::default(),
            changed,
        }
    }

    /// Other keys are in force from here on.
    fn put(&self, keys: KeySet, confirmed: Timestamp) {
        self.slot.put(keys, confirmed);
        self.changed.notify_one();
    }

    /// Fetches, unless that is for a token and need not or may not be done again. Returns when to do so
    /// again.
    async fn fetch(&self, state_dir: &Path, cause: Cause) -> Duration {
        let Some(fetcher) = &self.fetcher else { return FRESH.1 };
        let asked = Instant::now();
        let mut last = self.fetching.lock().await;
        let done = last.any.is_some_and(|at| at > asked) || last.for_token.is_some_and(|at| at.elapsed() < FLOOR);
        if cause == Cause::Token && done {
            return FLOOR;
        }
        let fetched = fetcher.fetch().await;
        last.any = Some(Instant::now());
        if cause == Cause::Token {
            last.for_token = last.any;
        }
        match fetched {
            Ok(Fetched { text, keys, max_age }) => {
                let known = store::read(state_dir, &self.issuer, &self.iss);
                if known.as_deref() == Some(&*text) && self.slot.keys().is_some() {
                    self.slot.confirm(Timestamp::now());
                } else {
                    tracing::info!(issuer = &*self.issuer, keys = keys.len(), "the issuer's keys are in force");
                    self.put(keys, Timestamp::now());
                    store::write(state_dir, &self.issuer, &self.iss, &text);
                }
                max_age.map_or(FRESH.2, |age| age.clamp(FRESH.0, FRESH.1))
            }
            Err(error) => {
                self.failed(&error);
                AFTER_FAILURE
            }
        }
    }

    fn failed(&self, error: &FetchError) {
        let kept = self.slot.keys().map_or(0, |k| k.len());
        tracing::warn!(issuer = &*self.issuer, %error, keys_kept = kept, "the issuer's keys cannot be fetched; the last ones stay in force");
    }
}

/// Fetches for as long as the issuer is known.
async fn keep_fresh(source: std::sync::Weak<Source>, state_dir: PathBuf) {
    let mut first = true;
    let mut pause = WITHOUT_KEYS;
    loop {
        let Some(strong) = source.upgrade() else { return };
        let mut next = strong.fetch(&state_dir, Cause::Schedule).await;
        // The keys of the last run are better than none, and not better than fresh ones.
        if std::mem::take(&mut first)
            && strong.slot.keys().is_none()
            && let Some(keys) = store::read(&state_dir, &strong.issuer, &strong.iss).and_then(|t| KeySet::jwks(&t).ok())
        {
            tracing::warn!(issuer = &*strong.issuer, keys = keys.len(), "using the keys of the last run");
            strong.put(keys, Timestamp::UNIX_EPOCH);
        }
        if strong.slot.keys().is_none() {
            next = pause;
            pause = (pause * 2).min(AFTER_FAILURE);
        }
        drop(strong);
        tokio::time::sleep(next).await;
    }
}
