//! The connections that are open, and what each is doing.

use super::body_timeout::BodyWatch;
use super::shared_state::Shared;
use super::timers::{NEVER, Timer};
use crate::access_log::AccessRecord;
use crate::authn::tailscale::Caller;
use crate::config::{Limits, ListenerIdentity};
use crate::policy::Policy;
use crate::refusal::{Code, LimitFault, Refusal};
use futures_util::task::AtomicWaker;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a client has to take the answer that ends its connection.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);
/// How long a connection whose time is over has to end by itself.
const OVERTIME: Duration = Duration::from_secs(5);
/// How long a client whose request is ended by the policy may take to be told.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often a body that is waited for is looked at.
const BODY_CHECK: Duration = Duration::from_millis(250);

/// An answer under way that a change of policy may end: enough to check it again.
pub trait OpenRequest: Send + Sync + std::fmt::Debug {
    /// Why it may not go on under this policy, now; `None` if it may.
    fn ends_under(&self, policy: &Policy, now: jiff::Timestamp) -> Option<Refusal>;

    /// Until when it may go on if nothing changes, in microseconds since 1970: then it is checked again.
    fn holds_until(&self) -> i64;

    /// Asks it to end in its own way, and its connection with it. False: it has none; where the policy
    /// ends it, its connection is revoked, and where the process does, it is left alone.
    fn end(&self, _why: Ending) -> bool {
        false
    }
}

/// Why something open has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The policy says so; the code of the refusal a new request would get.
    Judged(Code),
    /// The process stops.
    Draining,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Judged(code) => write!(f, "ended by the policy: {code}"),
            Self::Draining => f.write_str("ended: this process stops"),
        }
    }
}

/// What goes on with a socket once HTTP is done with it.
pub type UpgradeFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One client's connection.
pub struct Connection {
    caller: Caller,
    identity: ListenerIdentity,
    phase: AtomicU8,
    /// Whether its first request is not answered yet.
    fresh: AtomicBool,
    since: AtomicU64,
    cancelled: CancellationToken,
    open: Mutex<Option<Arc<dyn OpenRequest>>>,
    sequel: Mutex<Option<UpgradeFuture>>,
    shared: Arc<Shared>,
    /// When it is looked at for overstaying.
    deadline: Timer,
    /// When what is open is checked again.
    recheck: Timer,
    requests: AtomicU64,
    /// Whether the time for a head is over.
    late: AtomicBool,
    head_reader: AtomicWaker,
    body: BodyWatch,
    /// Why what is open may not go on, and since when.
    revoked: OnceLock<(Refusal, u64)>,
    /// The task that serves it, while it waits for the socket.
    task: AtomicWaker,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

const RESTING: u8 = 0;
const READING_HEAD: u8 = 1;
const BUSY: u8 = 2;
const CLOSING: u8 = 3;

impl Connection {
    /// One that was just accepted, and is expected to speak.
    pub(super) fn begin(caller: Caller, identity: ListenerIdentity, shared: Arc<Shared>) -> Self {
        Self {
            caller,
            identity,
            phase: AtomicU8::new(READING_HEAD),
            fresh: AtomicBool::new(true),
            since: AtomicU64::new(shared.now()),
            cancelled: CancellationToken::new(),
            open: Mutex::default(),
            sequel: Mutex::default(),
            shared,
            deadline: Timer::new(caller.connection),
            recheck: Timer::new(caller.connection),
            requests: AtomicU64::new(0),
            late: AtomicBool::new(false),
            head_reader: AtomicWaker::new(),
            body: BodyWatch::default(),
            revoked: OnceLock::new(),
            task: AtomicWaker::new(),
        }
    }

    /// The peer's address; `None` on a unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.caller.peer.map(|p| p.ip())
    }

    /// Which connection it is.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// Who callers without a credential are, on the listener it came by.
    #[must_use]
    pub fn identity(&self) -> ListenerIdentity {
        self.identity
    }

    /// Whether the process is ending, and takes no further request on an open connection.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Whether the process is ending and this request came too late. The first one of a connection
    /// was on its way when the process was still there for it.
    #[must_use]
    pub fn is_too_late(&self) -> bool {
        self.is_draining() && !self.fresh.load(Ordering::Relaxed)
    }

    /// A request's head is complete.
    pub fn request_begins(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.enter(BUSY);
    }

    /// Whether this request is the last that this connection may carry.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.shared.limits.requests_per_connection.is_some_and(|most| self.requests.load(Ordering::Relaxed) >= most)
    }

    /// A request was answered; what is left of its body is not read as another head.
    pub fn request_ends(&self, whole: bool) {
        self.body.ends();
        self.enter(if whole { RESTING } else { CLOSING });
        self.fresh.store(false, Ordering::Relaxed);
        *self.open() = None;
    }

    /// The body of the request is wanted from here on.
    pub fn body_begins(&self) {
        self.body.begins();
    }

    /// It is complete.
    pub fn body_ends(&self) {
        self.body.ends();
    }

    /// What is wrong with how the body comes.
    #[must_use]
    pub fn body_fault(&self) -> Option<LimitFault> {
        self.body.fault(self.shared.limits.body_pace, self.shared.now())
    }

    /// The body is wanted and nothing of it is there. True: it has been waited for too long.
    pub(super) fn body_waits(&self, reader: &Waker) -> bool {
        let now = self.shared.now();
        let late = self.body.waits(reader, now);
        if self.body.is_expected() {
            self.shared.deadlines.set(&self.deadline, time(now, BODY_CHECK));
        }
        late
    }

    /// Bytes came that are no head.
    pub(super) fn body_came(&self, bytes: usize) {
        self.body.came(bytes, self.shared.now());
    }

    /// Whether no request is complete that could be answered.
    pub(super) fn awaits_request(&self) -> bool {
        self.phase() != BUSY
    }

    /// Whether it is between two requests.
    pub(super) fn is_resting(&self) -> bool {
        self.phase() == RESTING
    }

    /// Whether what comes in is a head.
    pub(super) fn expects_head(&self) -> bool {
        matches!(self.phase(), RESTING | READING_HEAD)
    }

    /// Nothing is there of a head. True: it has been waited for too long.
    pub(super) fn head_waits(&self, reader: &Waker) -> bool {
        self.head_reader.register(reader);
        self.late.load(Ordering::Relaxed)
    }

    /// An answer ends it.
    pub(super) fn closes(&self) {
        self.enter(CLOSING);
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Why what is open may not go on, if that is so. It never is again.
    #[must_use]
    pub fn revoked(&self) -> Option<&Refusal> {
        self.revoked.get().map(|(refusal, _)| refusal)
    }

    /// The same for a task that waits for the socket, which is woken when it changes.
    pub(super) fn poll_revoked(&self, task: &Waker) -> bool {
        self.task.register(task);
        self.revoked.get().is_some()
    }

    /// Ends what is open: its socket fails, so that it is answered where it can be. What has not ended
    /// after a while is cut. True when this is new.
    pub(super) fn revoke(&self, refusal: Refusal) -> bool {
        let now = self.shared.now();
        let first = self.revoked.set((refusal, now)).is_ok();
        self.task.wake();
        self.shared.deadlines.set(&self.deadline, time(now, LAST_WORDS));
        first
    }

    /// A head was no request at all; no record was begun for it.
    pub(super) fn malformed(&self, refusal: &Refusal) {
        let mut record = AccessRecord::begin(self.shared.telemetry.clone(), Arc::from("-"), 0, self.peer());
        record.status = refusal.status();
        record.refusal = Some(refusal.clone());
        record.emit();
    }

    /// Bytes came in from the client.
    pub(super) fn bytes_arrived(&self) {
        if self.is_resting() {
            self.enter(READING_HEAD);
        }
    }

    /// An answer is under way that may have to end before its time.
    pub fn reauthorize_with(&self, request: Arc<dyn OpenRequest>) {
        let until = request.holds_until();
        // Behind the lock: whoever walks through what is open sees this, or this sees what has changed.
        *self.open() = Some(request);
        self.recheck_by(until);
    }

    /// Has what is open checked again at this time, in microseconds since 1970, or before.
    pub(super) fn recheck_by(&self, until: i64) {
        self.shared.rechecks.set(&self.recheck, until);
    }

    /// How often something changed that what is open may rest on: policy, keys, what the tailnet says. To
    /// be read before any of them is.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.shared.changes.load(Ordering::SeqCst)
    }

    /// HTTP ends on this connection, and this follows in its place, as the rest of one request.
    pub fn hand_over(&self, request: Arc<dyn OpenRequest>, sequel: UpgradeFuture) {
        self.reauthorize_with(request);
        *self.sequel.lock().unwrap_or_else(PoisonError::into_inner) = Some(sequel);
    }

    /// What follows HTTP, if anything does.
    pub(crate) fn sequel(&self) -> Option<UpgradeFuture> {
        self.sequel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Option<Arc<dyn OpenRequest>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.phase() == BUSY
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Relaxed)
    }

    pub(super) fn cancel(&self) {
        self.cancelled.cancel();
    }

    pub(super) async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    fn enter(&self, phase: u8) {
        let now = self.shared.now();
        self.since.store(now, Ordering::Relaxed);
        let before = self.phase.swap(phase, Ordering::SeqCst);
        match (before == BUSY, phase == BUSY) {
            (false, true) => drop(self.shared.busy.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.shared.busy.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        self.set_deadline(now);
    }

    /// Has it looked at when its present state may last too long.
    pub(super) fn set_deadline(&self, now: u64) {
        self.shared.deadlines.set(&self.deadline, self.deadline(now));
    }

    fn deadline(&self, now: u64) -> i64 {
        if self.cancelled.is_cancelled() {
            return NEVER;
        }
        let since = self.since.load(Ordering::Relaxed);
        let state = match self.phase() {
            RESTING => time(since, self.shared.limits.keepalive),
            READING_HEAD if self.late.load(Ordering::Relaxed) => {
                time(since, self.shared.limits.head_timeout + OVERTIME)
            }
            READING_HEAD => time(since, self.shared.limits.head_timeout),
            CLOSING => time(since, FAREWELL),
            _ if self.body.is_waiting() => time(now, BODY_CHECK),
            _ => NEVER,
        };
        self.revoked.get().map_or(state, |(_, since)| state.min(time(*since, LAST_WORDS)))
    }

    /// Takes it off every list. It ends here, whatever its task was at.
    pub(super) fn leave(&self) {
        if self.phase.swap(CLOSING, Ordering::SeqCst) == BUSY {
            self.shared.busy.fetch_sub(1, Ordering::Relaxed);
        }
        self.shared.deadlines.forget(&self.deadline);
        self.shared.rechecks.forget(&self.recheck);
    }

    /// Its time to be checked again has come: returns what is open.
    pub(super) fn recheck_due(&self, at: i64) -> Option<Arc<dyn OpenRequest>> {
        self.recheck.fired(at);
        self.open().clone()
    }

    /// Its deadline has come. Ends it if it overstays: by its reader, who may have something to say, or at once.
    pub(super) fn deadline_due(&self, at: i64) {
        self.deadline.fired(at);
        let now = self.shared.now();
        let phase = self.phase();
        let stays = Duration::from_millis(now.saturating_sub(self.since.load(Ordering::Relaxed)));
        let limits = &self.shared.limits;
        match phase {
            RESTING if stays > limits.keepalive => self.cancel(),
            READING_HEAD if stays > limits.head_timeout + OVERTIME => self.cancel(),
            READING_HEAD if stays > limits.head_timeout => {
                self.late.store(true, Ordering::Relaxed);
                self.head_reader.wake();
            }
            CLOSING if stays > FAREWELL => self.cancel(),
            BUSY => {
                self.body.check(limits.body_pace, now);
            }
            _ => {}
        }
        let told_for = self.revoked.get().map(|(_, since)| Duration::from_millis(now.saturating_sub(*since)));
        if told_for.is_some_and(|time| time > LAST_WORDS) {
            self.cancel();
        }
        // Never at once again, whatever moved meanwhile.
        self.shared.deadlines.set(&self.deadline, self.deadline(now).max(time(now, Duration::ZERO)));
    }
}

/// The first moment that is more than this long after another.
fn time(since: u64, span: Duration) -> i64 {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    i64::try_from(since.saturating_add(span).saturating_add(1)).unwrap_or(NEVER)
}
