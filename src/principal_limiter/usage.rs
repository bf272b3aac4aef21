//! What is used, for people and for metrics.

use super::{Key, Limit, PrincipalLimiter, State};
use crate::config::PrincipalLimits;
use crate::metric_labels::{Label as _, SourceLabel};
use crate::policy::Policy;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError};

const TOKEN: SourceLabel = SourceLabel::Token;
/// Tokens that have their series though they use nothing.
const IDLE: usize = 100;
/// Principals that are shown.
const SHOWN: usize = 50;

/// What one principal uses of what it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Who.
    pub principal: String,
    /// By which identity source.
    pub source: &'static str,
    /// The issuer, where that is the source.
    pub issuer: Option<String>,
    /// Each limit and what is used of it.
    pub limits: Vec<LimitUse>,
}

/// One limit and what is used of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitUse {
    /// The key that sets it.
    pub limit: &'static str,
    /// How much it allows: of the rate, at once.
    pub allowed: u32,
    /// How much is used.
    pub used: u32,
}

/// The series of one token, or of all other principals of a source together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The identity source.
    pub source: &'static str,
    /// The token's name; empty for the others.
    pub token: String,
    /// The limit's key.
    pub limit: &'static str,
    /// How much a token's limit allows.
    pub allowed: Option<u32>,
    /// How much is used of it.
    pub used: u32,
    /// Requests refused by it.
    pub refused: u64,
}

/// The source, the token's name or nothing, the limit.
type Labels = (&'static str, String, Limit);

#[derive(Default)]
struct Sum {
    allowed: Option<u32>,
    used: u32,
    refused: u64,
}

impl State {
    fn used(&self, limits: PrincipalLimits, now: u64) -> impl Iterator<Item = (Limit, u32, u32)> + use<> {
        let rate = limits.rate.map(|rate| {
            let left = self.bucket.left(rate, now).requests;
            (Limit::Rate, rate.burst.get(), rate.burst.get().saturating_sub(left))
        });
        let counted = [
            (Limit::Requests, limits.requests, self.requests),
            (Limit::Streams, limits.streams, self.streams),
            (Limit::Sockets, limits.sockets, self.sockets),
        ];
        let counted = counted.into_iter().filter_map(|(limit, allowed, used)| Some((limit, allowed?, used)));
        rate.into_iter().chain(counted)
    }
}

impl PrincipalLimiter {
    /// What principals with a limit use: those who use something, and tokens that use nothing now.
    #[must_use]
    pub fn usage(&self, policy: &Policy) -> Vec<Usage> {
        let now = self.now();
        let usage = |principal: &str, source, issuer: Option<&Arc<str>>, state: State, limits| Usage {
            principal: principal.to_owned(),
            source,
            issuer: issuer.map(ToString::to_string),
            limits: state
                .used(limits, now)
                .map(|(limit, allowed, used)| LimitUse { limit: limit.key(), allowed, used })
                .collect(),
        };
        let mut all: Vec<Usage> = self
            .states()
            .filter(|(_, state)| !state.limits.is_none())
            .map(|(key, state)| usage(&key.name, key.source.as_str(), key.issuer.as_ref(), state, state.limits))
            .collect();
        all.sort_by(|a, b| (a.source, &a.principal).cmp(&(b.source, &b.principal)));
        all.truncate(SHOWN);
        let idle = policy
            .limited_tokens()
            .filter(|(name, _)| !all.iter().any(|u| u.source == TOKEN.as_str() && *u.principal == ***name));
        let idle: Vec<Usage> = idle
            .take(SHOWN - all.len())
            .map(|(name, limits)| usage(name, TOKEN.as_str(), None, State::default(), limits))
            .collect();
        all.extend(idle);
        all
    }

    /// The series for metrics: one for each limit of each configured token, one for each source.
    #[must_use]
    pub fn series(&self, policy: &Policy) -> Vec<Series> {
        let now = self.now();
        let names: HashSet<&str> = policy.live().tokens.iter().map(|t| &*t.name).collect();
        let mut all: BTreeMap<Labels, Sum> = BTreeMap::new();
        let token = |source, name: &str| {
            if source == TOKEN && names.contains(name) { name.to_owned() } else { String::new() }
        };
        for (key, state) in self.states() {
            let token = token(key.source, &key.name);
            for (limit, allowed, used) in state.used(state.limits, now) {
                let series = all.entry((key.source.as_str(), token.clone(), limit)).or_default();
                series.allowed = (!token.is_empty()).then_some(allowed);
                series.used += used;
            }
        }
        // A token with a limit has its series from the start, as every dashboard expects.
        for (name, limits) in policy.limited_tokens().take(IDLE) {
            for (limit, allowed, _) in State::default().used(limits, now) {
                let series = all.entry((TOKEN.as_str(), name.to_string(), limit)).or_default();
                series.allowed = series.allowed.or(Some(allowed));
            }
        }
        for ((source, name, limit), count) in self.refused.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // A name that is gone from the policy keeps its series: a counter never goes back.
            let token = name.as_deref().unwrap_or_default().to_owned();
            all.entry((source.as_str(), token, *limit)).or_default().refused += count;
        }
        all.into_iter()
            .map(|((source, token, limit), Sum { allowed, used, refused })| Series {
                source,
                token,
                limit: limit.key(),
                allowed,
                used,
                refused,
            })
            .collect()
    }

    fn states(&self) -> impl Iterator<Item = (Key, State)> + use<> {
        let all: Vec<(Key, State)> = self.accounts().iter().map(|(key, a)| (key.clone(), *a.lock())).collect();
        all.into_iter()
    }
}
