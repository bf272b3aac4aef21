//! What all connections of a process have in common.

use super::timers::Timers;
use crate::config::Limits;
use crate::telemetry::Telemetry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) draining: AtomicBool,
    epoch: Instant,
    /// When connections may have overstayed, in milliseconds of [`Self::now`].
    pub(super) deadlines: Timers,
    /// When what is open has to be checked again, in microseconds since 1970: proofs end by the calendar.
    pub(super) rechecks: Timers,
    /// How often something changed that what is open may rest on.
    pub(super) changes: AtomicU64,
    /// How many connections are busy with a request.
    pub(super) busy: AtomicUsize,
}

impl Shared {
    pub(super) fn new(limits: Limits, telemetry: Arc<Telemetry>) -> Self {
        Self {
            limits,
            telemetry,
            draining: AtomicBool::new(false),
            epoch: Instant::now(),
            deadlines: Timers::default(),
            rechecks: Timers::default(),
            changes: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
        }
    }

    /// Milliseconds since the process began to serve.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
