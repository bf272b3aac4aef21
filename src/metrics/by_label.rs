//! Metrics by the values of their labels: looked up once at the start, not for every request.

use crate::metric_labels::{Decision, Label, RouteLabel, SourceLabel};
use crate::scope::{KNOWN, ScopeSet};
use prometheus::{IntCounter, IntCounterVec};
use std::marker::PhantomData;
use strum::VariantArray as _;

/// The counters of these label values, in their order: looked up once, not for every request.
pub(super) fn each(counters: &IntCounterVec, values: &[&str]) -> Vec<IntCounter> {
    values.iter().map(|value| counters.with_label_values(&[value])).collect()
}

/// A metric for every value of a label: looked up once, not for every request.
#[derive(Debug)]
pub(super) struct PerLabel<L, M>(Vec<M>, PhantomData<L>);

impl<L: Label, M> PerLabel<L, M> {
    pub(super) fn new(of: impl FnMut(L) -> M) -> Self {
        Self(L::VARIANTS.iter().copied().map(of).collect(), PhantomData)
    }

    /// The one of this value, as an iterator over one.
    pub(super) fn of(&self, label: L) -> std::option::IntoIter<&M> {
        self.0.get(label.index()).into_iter()
    }
}

/// The counters of every route, decision and source.
#[derive(Debug)]
pub(super) struct Table(Vec<IntCounter>);

impl Table {
    pub(super) fn new(counters: &IntCounterVec) -> Self {
        let one = |(r, d, s): (RouteLabel, Decision, SourceLabel)| {
            counters.with_label_values(&[r.as_str(), d.as_str(), s.as_str()])
        };
        Self(Self::all().map(one).collect())
    }

    /// Every combination, in the order in which the counters are kept.
    pub(super) fn all() -> impl Iterator<Item = (RouteLabel, Decision, SourceLabel)> {
        let sources = |r, d| SourceLabel::VARIANTS.iter().map(move |s| (r, d, *s));
        let decisions = move |r| Decision::VARIANTS.iter().flat_map(move |d| sources(r, *d));
        RouteLabel::VARIANTS.iter().flat_map(move |r| decisions(*r))
    }

    pub(super) fn of(&self, route: RouteLabel, decision: Decision, source: SourceLabel) -> Option<&IntCounter> {
        let (decisions, sources) = (Decision::VARIANTS.len(), SourceLabel::VARIANTS.len());
        self.0.get((route.index() * decisions + decision.index()) * sources + source.index())
    }
}

/// The counters of every known scope, and one for the others.
#[derive(Debug)]
pub(super) struct Scopes(Vec<IntCounter>);

impl Scopes {
    pub(super) fn new(counters: &IntCounterVec) -> Self {
        let values: Vec<&str> = KNOWN.iter().copied().chain(["other"]).collect();
        Self(each(counters, &values))
    }

    pub(super) fn count(&self, scopes: Option<&ScopeSet>) {
        for scope in scopes.into_iter().flat_map(ScopeSet::iter) {
            let place = KNOWN.iter().position(|known| *known == scope.as_str()).unwrap_or(KNOWN.len());
            self.0.get(place).into_iter().for_each(IntCounter::inc);
        }
    }
}
