//! What each principal uses at the moment, against what the policy lets them use.
//!
//! The limits come with each request, from the policy in force; what is used is kept here, for as
//! long as the process lives, so that a reload neither gives anything back nor forgets an open
//! stream. Nothing is kept while no table sets a limit, nor of principals who use nothing.

mod leaky_bucket;
mod usage;

pub use usage::{Series, Usage};

use crate::address_key::AddressKey;
use crate::authn::{Identity, Principal};
use crate::metric_labels::SourceLabel;
use crate::principal_limits::{Limit, LimitReached, PrincipalLimits, Rate};
use leaky_bucket::{LeakyBucket, RemainingRate};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Principals that are remembered while they have nothing open. Of more, those go that have used the
/// least, and begin anew.
const REMEMBERED: usize = 16_384;

/// What a permit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedUse {
    /// A request whose answer cannot be a stream, as far as its head says.
    Request,
    /// One that has an agent answer: it counts as a stream until its answer says that it is none.
    Stream,
    /// A WebSocket.
    Socket,
}

/// Who an account is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    source: SourceLabel,
    /// Two issuers may name two people alike, and two apps.
    issuer: Option<Arc<str>>,
    name: Arc<str>,
}

impl Key {
    fn of(principal: &Principal) -> Self {
        Self {
            source: principal.identity().source(),
            issuer: principal.authority().cloned(),
            name: principal.shared_name(),
        }
    }
}

/// What one principal uses.
#[derive(Debug, Default)]
struct Account(Mutex<State>);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    bucket: LeakyBucket,
    requests: u32,
    streams: u32,
    sockets: u32,
    /// As of the last request.
    limits: PrincipalLimits,
}

impl Account {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave to use something. Whatever ends the use drops it, and with it the use is over.
#[derive(Debug)]
pub struct Permit {
    account: Arc<Account>,
    request: bool,
    stream: bool,
    socket: bool,
    left: Option<(Rate, RemainingRate)>,
}

impl Permit {
    /// The answer is a stream.
    ///
    /// # Errors
    /// [`LimitReached`] where it was not foreseen and there are enough.
    pub fn streams(&mut self, limits: PrincipalLimits) -> Result<(), LimitReached> {
        if self.stream {
            return Ok(());
        }
        let mut state = self.account.lock();
        if let Some(allowed) = limits.streams.filter(|allowed| state.streams >= *allowed) {
            return Err(LimitReached::count(Limit::Streams, allowed));
        }
        state.streams += 1;
        self.stream = true;
        Ok(())
    }

    /// The answer is no stream.
    pub fn streams_not(&mut self) {
        if std::mem::take(&mut self.stream) {
            self.account.lock().streams -= 1;
        }
    }

    /// `RateLimit-Policy` and `RateLimit`, where there is a rate.
    #[must_use]
    pub fn headers(&self) -> Option<(String, String)> {
        let (rate, left) = self.left?;
        Some((rate.policy_field(), format!("\"requests\";r={};t={}", left.requests, seconds(left.full_in))))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.account.lock();
        state.requests -= u32::from(self.request);
        state.streams -= u32::from(self.stream);
        state.sockets -= u32::from(self.socket);
    }
}

fn seconds(nanoseconds: u64) -> u64 {
    nanoseconds.div_ceil(1_000_000_000)
}

/// Whose requests are refused, and by which limit: the source and a token's name.
type Refused = (SourceLabel, Option<Arc<str>>, Limit);

/// What all principals use.
#[derive(Debug)]
pub struct PrincipalLimiter {
    accounts: Mutex<HashMap<Key, Arc<Account>>>,
    refused: Mutex<HashMap<Refused, u64>>,
    begun: Instant,
}

impl Default for PrincipalLimiter {
    fn default() -> Self {
        Self { accounts: Mutex::default(), refused: Mutex::default(), begun: Instant::now() }
    }
}

impl PrincipalLimiter {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX / 2)
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<Key, Arc<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// May this principal use this, with these limits?
    ///
    /// # Errors
    /// The limit that was reached.
    pub fn enter(
        &self,
        principal: &Principal,
        limits: PrincipalLimits,
        what: LimitedUse,
    ) -> Result<Permit, LimitReached> {
        let now = self.now();
        let account = self.account(Key::of(principal), now);
        let entered = enter(&account, limits, what, now);
        if let Err(reached) = &entered {
            let token = matches!(principal.identity(), Identity::Token(_) | Identity::App(_));
            let token = token.then(|| principal.shared_name());
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused.entry((principal.identity().source(), token, reached.limit)).or_default() += 1;
        }
        entered
    }

    /// The same of a caller who is known by address alone.
    ///
    /// # Errors
    /// The limit that was reached.
    pub fn enter_address(
        &self,
        address: Option<IpAddr>,
        limits: PrincipalLimits,
        what: LimitedUse,
    ) -> Result<Permit, LimitReached> {
        let now = self.now();
        let name = Arc::from(AddressKey::of(address).to_string());
        let account = self.account(Key { source: SourceLabel::None, issuer: None, name }, now);
        let entered = enter(&account, limits, what, now);
        if let Err(reached) = &entered {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused.entry((SourceLabel::None, None, reached.limit)).or_default() += 1;
        }
        entered
    }

    fn account(&self, key: Key, now: u64) -> Arc<Account> {
        let mut accounts = self.accounts();
        if let Some(account) = accounts.get(&key) {
            return account.clone();
        }
        if accounts.len() >= REMEMBERED {
            forget_idle(&mut accounts, now);
            // Still too many: one of those that have nothing open, the least used of a few.
            while accounts.len() >= REMEMBERED {
                let closed = accounts.iter().filter(|(_, a)| Arc::strong_count(a) == 1).take(16);
                let Some(least) = closed.min_by_key(|(_, a)| a.lock().bucket.until()).map(|(key, _)| key.clone())
                else {
                    break;
                };
                accounts.remove(&least);
            }
        }
        accounts.entry(key).or_default().clone()
    }

    /// Forgets those who use nothing. Called once a second.
    pub(crate) fn sweep(&self) {
        forget_idle(&mut self.accounts(), self.now());
    }
}

fn forget_idle(accounts: &mut HashMap<Key, Arc<Account>>, now: u64) {
    // A clone is only ever made under this lock.
    accounts.retain(|_, account| Arc::strong_count(account) > 1 || !account.lock().bucket.is_full(now));
    if accounts.capacity() > 4 * (accounts.len() + 64) {
        accounts.shrink_to_fit();
    }
}

fn enter(account: &Arc<Account>, limits: PrincipalLimits, what: LimitedUse, now: u64) -> Result<Permit, LimitReached> {
    let mut state = account.lock();
    state.limits = limits;
    let (request, stream, socket) =
        (what != LimitedUse::Socket, what == LimitedUse::Stream, what == LimitedUse::Socket);
    let full = |counts: bool, limit, used: u32, allowed: Option<u32>| match allowed {
        Some(allowed) if counts && used >= allowed => Err(LimitReached::count(limit, allowed)),
        _ => Ok(()),
    };
    full(request, Limit::Requests, state.requests, limits.requests)?;
    full(stream, Limit::Streams, state.streams, limits.streams)?;
    full(socket, Limit::Sockets, state.sockets, limits.sockets)?;
    let mut left = None;
    if let Some(rate) = limits.rate {
        let taken = state.bucket.take(rate, now).map_err(|wait| LimitReached {
            limit: Limit::Rate,
            allowed: rate.per_minute.get(),
            rate: Some(rate),
            retry_after: u32::try_from(seconds(wait)).unwrap_or(u32::MAX),
        })?;
        left = Some((rate, taken));
    }
    state.requests += u32::from(request);
    state.streams += u32::from(stream);
    state.sockets += u32::from(socket);
    drop(state);
    Ok(Permit { account: account.clone(), request, stream, socket, left })
}

#[cfg(test)]
mod tests;
