//! The connections that are open, and what each is doing.

use super::body_timeout::BodyWatch;
use crate::access_log::AccessRecord;
use crate::authn::tailscale::Caller;
use crate::config::{Limits, ListenerIdentity};
use crate::policy::Policy;
use crate::refusal::{Code, LimitFault, Refusal};
use crate::telemetry::Telemetry;
use futures_util::task::AtomicWaker;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long a client has to take the answer that ends its connection.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);
/// How long a connection whose time is over has to end by itself.
const OVERTIME: Duration = Duration::from_secs(5);
/// How long a client whose request is ended by the policy may take to be told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// An answer under way that a change of policy may end: enough to check it again.
pub trait OpenRequest: Send + Sync + std::fmt::Debug {
    /// Why it may not go on under this policy, now; `None` if it may.
    fn ends_under(&self, policy: &Policy, now: jiff::Timestamp) -> Option<Refusal>;

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
    born: Instant,
    cancelled: CancellationToken,
    open: Mutex<Option<Arc<dyn OpenRequest>>>,
    telemetry: Arc<Telemetry>,
    draining: Arc<AtomicBool>,
    sequel: Mutex<Option<UpgradeFuture>>,
    limits: Arc<Limits>,
    requests: AtomicU64,
    /// Whether the time for a head is over.
    late: AtomicBool,
    head_reader: AtomicWaker,
    body: BodyWatch,
    /// Why what is open may not go on, and since when.
    revoked: OnceLock<(Refusal, Instant)>,
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
    pub(super) fn begin(
        caller: Caller,
        identity: ListenerIdentity,
        limits: Arc<Limits>,
        telemetry: Arc<Telemetry>,
        draining: Arc<AtomicBool>,
    ) -> Self {
        Self {
            caller,
            identity,
            phase: AtomicU8::new(READING_HEAD),
            fresh: AtomicBool::new(true),
            since: AtomicU64::new(0),
            born: Instant::now(),
            cancelled: CancellationToken::new(),
            open: Mutex::default(),
            telemetry,
            draining,
            sequel: Mutex::default(),
            limits,
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
        self.draining.load(Ordering::Relaxed)
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
        self.limits.requests_per_connection.is_some_and(|most| self.requests.load(Ordering::Relaxed) >= most)
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
        self.body.fault(self.limits.body_pace, self.age())
    }

    /// The body is wanted and nothing of it is there. True: it has been waited for too long.
    pub(super) fn body_waits(&self, reader: &Waker) -> bool {
        self.body.waits(reader, self.age())
    }

    /// Bytes came that are no head.
    pub(super) fn body_came(&self, bytes: usize) {
        self.body.came(bytes, self.age());
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
        &self.limits
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
        let now = Instant::now();
        let first = self.revoked.set((refusal, now)).is_ok();
        self.task.wake();
        if self.revoked.get().is_some_and(|(_, since)| now.saturating_duration_since(*since) > LAST_WORDS) {
            self.cancel();
        }
        first
    }

    /// A head was no request at all; no record was begun for it.
    pub(super) fn malformed(&self, refusal: &Refusal) {
        let mut record = AccessRecord::begin(self.telemetry.clone(), Arc::from("-"), 0, self.peer());
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
        *self.open() = Some(request);
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

    /// Milliseconds since it was accepted.
    fn age(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn enter(&self, phase: u8) {
        self.since.store(self.age(), Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    /// Ends it if it overstays: by its reader, who may have something to say, or at once.
    pub(super) fn sweep(&self) {
        let stays = Duration::from_millis(self.age().saturating_sub(self.since.load(Ordering::Relaxed)));
        match self.phase() {
            RESTING if stays > self.limits.keepalive => self.cancel(),
            READING_HEAD if stays > self.limits.head_timeout + OVERTIME => self.cancel(),
            READING_HEAD if stays > self.limits.head_timeout => {
                self.late.store(true, Ordering::Relaxed);
                self.head_reader.wake();
            }
            CLOSING if stays > FAREWELL => self.cancel(),
            BUSY => {
                self.body.check(self.limits.body_pace, self.age());
            }
            _ => {}
        }
    }
}
