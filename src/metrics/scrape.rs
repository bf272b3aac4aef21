//! A scrape: what is only known when it is asked for is set, and everything is written as text.

use super::Metrics;
use crate::logging;
use crate::platform::process_metrics;
use crate::principal_limiter::Series;
use prometheus::{Encoder as _, IntGauge, TextEncoder};

/// The state of things, set at each scrape.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// Open connections, and those busy with a request.
    pub connections: (usize, usize),
    /// How many may be open.
    pub most: usize,
    /// The policy in force.
    pub generation: u64,
    /// Whether the last reload came into force, when the policy did, and how many did and did not.
    pub reloads: (bool, i64, u64, u64),
    /// Whether the file in force changes what only a restart applies.
    pub restart_pending: bool,
    /// Each issuer: its name, how many keys, when confirmed in seconds since 1970; `None`: its keys
    /// are not fetched, so they do not age.
    pub issuers: Vec<(String, usize, Option<i64>)>,
    /// When the next token expires, in seconds since 1970; 0: none does.
    pub next_expiry: i64,
    /// What principals use of their limits.
    pub limits: Vec<Series>,
    /// Whether tailscaled does not answer although a listener needs it.
    pub tailnet_silent: bool,
    /// Whether the gateway refuses all work for a while.
    pub gateway_suspended: bool,
}

impl Metrics {
    /// Everything in the text format 0.0.4.
    #[must_use]
    pub fn render(&self, state: &Gauges) -> Vec<u8> {
        let gauge = |gauge: &IntGauge, value: i64| gauge.set(value);
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        gauge(&self.connections, whole(state.connections.0));
        gauge(&self.most, whole(state.most));
        gauge(&self.in_flight, whole(state.connections.1));
        gauge(&self.generation, i64::try_from(state.generation).unwrap_or(i64::MAX));
        gauge(&self.reload_ok, i64::from(state.reloads.0));
        gauge(&self.reload_at, state.reloads.1);
        gauge(&self.restart_pending, i64::from(state.restart_pending));
        for (result, count) in [("success", state.reloads.2), ("failure", state.reloads.3)] {
            let counter = self.reloads.with_label_values(&[result]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        self.issuer_keys.reset();
        self.issuer_confirmed.reset();
        for (issuer, keys, confirmed) in &state.issuers {
            self.issuer_keys.with_label_values(&[issuer]).set(whole(*keys));
            if let Some(confirmed) = confirmed {
                self.issuer_confirmed.with_label_values(&[issuer]).set(*confirmed);
            }
        }
        gauge(&self.next_expiry, state.next_expiry);
        self.limit_allowed.reset();
        self.limit_used.reset();
        for series in &state.limits {
            let labels = [series.source, &series.token, series.limit];
            if let Some(allowed) = series.allowed {
                self.limit_allowed.with_label_values(&labels).set(i64::from(allowed));
            }
            self.limit_used.with_label_values(&labels).set(i64::from(series.used));
            let refused = self.limit_refused.with_label_values(&labels);
            refused.inc_by(series.refused.saturating_sub(refused.get()));
        }
        self.lines_lost.inc_by(logging::lines_lost().saturating_sub(self.lines_lost.get()));
        gauge(&self.tailnet_silent, i64::from(state.tailnet_silent));
        gauge(&self.gateway_suspended, i64::from(state.gateway_suspended));
        let mut out = Vec::with_capacity(64 * 1024);
        let mut families = self.registry.gather();
        families.extend(process_metrics());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        // Writing into memory cannot fail.
        let _ = TextEncoder::new().encode(&families, &mut out);
        out
    }
}
