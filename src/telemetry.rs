//! What a process knows of itself: its metrics, its last refusals, and how much it may write.

use crate::metric_labels::SourceLabel;
use crate::metrics::Metrics;
use crate::principal_limiter::PrincipalLimiter;
use crate::refusal::Code;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Refusals that are remembered for the status page.
const REMEMBERED: usize = 50;
/// Access lines a second of unauthenticated callers, admitted or not.
const UNAUTHENTICATED_LINES: u64 = 20;
/// The same of refused requests whose caller is known; good requests of theirs have no such limit.
const REFUSED_LINES: u64 = 200;

/// Whose access lines are bounded together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogBucket {
    /// Unauthenticated callers.
    Unauthenticated,
    /// Known callers who are refused.
    Refused,
}

/// One refusal, as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct RecentRefusal {
    /// When.
    pub at: Timestamp,
    /// Its number.
    pub request_id: String,
    /// Its method and path, cut to a bearable length.
    pub request: String,
    /// The client's address.
    pub from: Option<String>,
    /// Who it was taken for.
    pub principal: Option<String>,
    /// By which identity source.
    pub source: Option<SourceLabel>,
    /// The status.
    pub status: u16,
    /// The reason's code.
    pub reason: Code,
    /// The reason in words.
    pub message: String,
    /// What would have to change.
    pub change: String,
}

/// What a process knows of itself.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
    principal_limiter: PrincipalLimiter,
    refusals: Mutex<VecDeque<RecentRefusal>>,
    begun: Instant,
    /// The present second and the lines written in it, of unauthenticated callers and of refused ones.
    lines: [AtomicU64; 2],
    /// The lines of either that were left out since this was last said.
    left_out: [AtomicU64; 2],
    /// When the gateway last began an answer and when it last failed to, in milliseconds since the
    /// start and 1; 0: never.
    gateway: [AtomicU64; 2],
}

impl Telemetry {
    /// Nothing has happened yet.
    ///
    /// # Errors
    /// Never, unless a metric's name is wrong.
    pub fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            metrics: Metrics::new()?,
            principal_limiter: PrincipalLimiter::default(),
            refusals: Mutex::default(),
            begun: Instant::now(),
            lines: Default::default(),
            left_out: Default::default(),
            gateway: Default::default(),
        })
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What each principal uses at the moment.
    #[must_use]
    pub fn principal_limiter(&self) -> &PrincipalLimiter {
        &self.principal_limiter
    }

    /// How long the process has been up.
    #[must_use]
    pub fn uptime(&self) -> std::time::Duration {
        self.begun.elapsed()
    }

    /// The gateway answered a request at that time, or failed to.
    pub(crate) fn gateway(&self, answered: bool, at: Instant) {
        let at = u64::try_from((at - self.begun).as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let [good, bad] = &self.gateway;
        // A stream that began long ago may be told of after a request that failed since.
        (if answered { good } else { bad }).fetch_max(at, Ordering::Relaxed);
    }

    /// How many seconds ago the gateway last began an answer, and last failed to.
    #[must_use]
    pub fn gateway_ages(&self) -> [Option<f64>; 2] {
        let now = self.begun.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of years fit")]
        let age = |at: u64| (at > 0).then(|| (now - at as f64 / 1000.0).max(0.0));
        self.gateway.each_ref().map(|at| age(at.load(Ordering::Relaxed)))
    }

    /// The last refusals, the newest first.
    #[must_use]
    pub fn refusals(&self) -> Vec<RecentRefusal> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    /// Remembers a refusal.
    pub(crate) fn refused(&self, shown: RecentRefusal) {
        let mut all = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(shown);
    }

    /// Whether one more line of this kind may be written in this second; if not, it is counted.
    pub(crate) fn may_write(&self, whose: LogBucket) -> bool {
        let (lines, left_out, most) = match (whose, &self.lines, &self.left_out) {
            (LogBucket::Unauthenticated, [lines, _], [left_out, _]) => (lines, left_out, UNAUTHENTICATED_LINES),
            (LogBucket::Refused, [_, lines], [_, left_out]) => (lines, left_out, REFUSED_LINES),
        };
        let second = self.begun.elapsed().as_secs() & 0xffff_ffff;
        let updated = lines.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
            let (at, written) = (packed >> 32, packed & 0xffff_ffff);
            if at != second {
                return Some((second << 32) | 1);
            }
            (written < most).then_some((at << 32) | (written + 1))
        });
        if updated.is_err() {
            left_out.fetch_add(1, Ordering::Relaxed);
            self.metrics.line_suppressed();
        }
        updated.is_ok()
    }

    /// Says how many lines were left out since it last did. Called once a second.
    pub(crate) fn sum_up(&self) {
        let [unauthenticated, refused] = self.left_out.each_ref().map(|n| n.swap(0, Ordering::Relaxed));
        if unauthenticated > 0 {
            tracing::info!(
                lines = unauthenticated,
                "{unauthenticated} more access lines like these, of unauthenticated callers"
            );
        }
        if refused > 0 {
            tracing::info!(lines = refused, "{refused} more access lines like these, of refused requests");
        }
    }
}
