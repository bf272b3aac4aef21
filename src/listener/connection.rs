//! The connections that are open, and what each is doing.

use super::{ClientStream, Listener};
use crate::authn::tailnet::Caller;
use crate::config::ListenerIdentity;
use crate::policy::Policy;
use crate::record::Record;
use crate::refusal::{Code, Refusal};
use crate::watchtower::Watchtower;
use futures_util::task::AtomicWaker;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long a client whose request is ended by the policy may take to be told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long, and how many.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// For a request's head, from its first byte (or from the connection's begin) to its last.
    pub head: Duration,
    /// For a rest between requests.
    pub rest: Duration,
}

/// An answer under way that a change of policy may end: enough to judge it again.
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
pub type Sequel = Pin<Box<dyn Future<Output = ()> + Send>>;

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
    tower: Arc<Watchtower>,
    draining: Arc<AtomicBool>,
    sequel: Mutex<Option<Sequel>>,
    /// Why what is open may not go on, and since when.
    revoked: OnceLock<(Refusal, Instant)>,
    /// The task that serves it, while it waits for the socket.
    task: AtomicWaker,
    _permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

const RESTING: u8 = 0;
const READING_HEAD: u8 = 1;
const BUSY: u8 = 2;

impl Connection {
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
        self.enter(BUSY);
    }

    /// A request was answered.
    pub fn request_ends(&self) {
        self.enter(RESTING);
        self.fresh.store(false, Ordering::Relaxed);
        *self.open() = None;
    }

    /// Whether no request is complete that could be answered.
    pub(super) fn awaits_request(&self) -> bool {
        self.phase.load(Ordering::Relaxed) != BUSY
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
    fn revoke(&self, refusal: Refusal) -> bool {
        let now = Instant::now();
        let first = self.revoked.set((refusal, now)).is_ok();
        self.task.wake();
        if self.revoked.get().is_some_and(|(_, since)| now.saturating_duration_since(*since) > LAST_WORDS) {
            self.cancelled.cancel();
        }
        first
    }

    /// A head was no request at all; no record was begun for it.
    pub(super) fn malformed(&self, refusal: &Refusal) {
        let mut record = Record::begin(self.tower.clone(), Arc::from("-"), 0, self.peer());
        record.status = refusal.status();
        record.refusal = Some(refusal.clone());
        record.emit();
    }

    /// Bytes came in from the client.
    pub(super) fn bytes_arrived(&self) {
        if self.phase.load(Ordering::Relaxed) == RESTING {
            self.enter(READING_HEAD);
        }
    }

    /// An answer is under way that may have to end before its time.
    pub fn judged_again(&self, request: Arc<dyn OpenRequest>) {
        *self.open() = Some(request);
    }

    /// HTTP ends on this connection, and this follows in its place, as the rest of one request.
    pub fn hand_over(&self, request: Arc<dyn OpenRequest>, sequel: Sequel) {
        self.judged_again(request);
        *self.sequel.lock().unwrap_or_else(PoisonError::into_inner) = Some(sequel);
    }

    /// What follows HTTP, if anything does.
    pub(crate) fn sequel(&self) -> Option<Sequel> {
        self.sequel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn open(&self) -> MutexGuard<'_, Option<Arc<dyn OpenRequest>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: u8) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.store(now, Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn overstays(&self, limits: Limits) -> bool {
        let limit = match self.phase.load(Ordering::Relaxed) {
            RESTING => limits.rest,
            READING_HEAD => limits.head,
            _ => return false,
        };
        let since = Duration::from_millis(self.since.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(since) > limit
    }
}

/// All open connections of a process.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    room: Arc<Semaphore>,
    limits: Limits,
    tower: Arc<Watchtower>,
    draining: Arc<AtomicBool>,
}

/// Takes a connection out of the list when its task ends, however it ends.
struct Leave<'a>(&'a Connections, u64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.list().remove(&self.1);
    }
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new(limits: Limits, tower: Arc<Watchtower>) -> Self {
        Self {
            open: Mutex::default(),
            next: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(limits.connections)),
            limits,
            tower,
            draining: Arc::default(),
        }
    }

    fn list(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, requests on connections that are open already are refused.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// How many are open, and how many of them are busy with a request.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let list = self.list();
        let busy = list.values().filter(|c| c.phase.load(Ordering::Relaxed) == BUSY).count();
        (list.len(), busy)
    }

    /// The next connection of a listener, once there is room for it.
    pub(crate) async fn accept(&self, listener: &Listener) -> std::io::Result<(ClientStream, Arc<Connection>)> {
        let permit = self.room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        let caller = Caller { connection: self.next.fetch_add(1, Ordering::Relaxed), peer };
        let connection = Arc::new(Connection {
            caller,
            identity: listener.identity,
            // Whoever connects is expected to speak.
            phase: AtomicU8::new(READING_HEAD),
            fresh: AtomicBool::new(true),
            since: AtomicU64::new(0),
            born: Instant::now(),
            cancelled: CancellationToken::new(),
            open: Mutex::default(),
            tower: self.tower.clone(),
            draining: self.draining.clone(),
            sequel: Mutex::default(),
            revoked: OnceLock::new(),
            task: AtomicWaker::new(),
            _permit: permit,
        });
        // Here and not where it is served, which a stop might not wait for.
        self.list().insert(caller.connection, connection.clone());
        Ok((stream.watched_by(connection.clone()), connection))
    }

    /// Runs what serves an accepted connection until it is done or the connection is ended.
    pub(crate) async fn run(&self, connection: Arc<Connection>, serve: impl Future<Output = ()>) {
        let _leave = Leave(self, connection.caller.connection);
        tokio::select! {
            biased;
            () = serve => {}
            () = connection.cancelled.cancelled() => {}
        }
    }

    /// Ends every connection that overstays: a head that never completes, a rest too long.
    pub(crate) fn sweep(&self) {
        for connection in self.list().values().filter(|c| c.overstays(self.limits)) {
            connection.cancelled.cancel();
        }
    }

    /// Ends the connections that are not busy, and asks those to end that would not by themselves.
    /// Whoever has just connected is left the chance to say what for, unless `all` must go.
    pub(crate) fn end_resting(&self, all: bool) {
        for connection in self.list().values() {
            if connection.phase.load(Ordering::Relaxed) != BUSY {
                if all || !connection.fresh.load(Ordering::Relaxed) {
                    connection.cancelled.cancel();
                }
            } else if let Some(request) = connection.open().as_ref() {
                request.end(Ending::Draining);
            }
        }
    }

    /// Judges everything open again, and ends what may not go on. Returns how much of it is new.
    pub fn judge_again(&self, policy: &Policy, now: jiff::Timestamp) -> usize {
        let ended: Vec<_> = self
            .list()
            .values()
            .filter_map(|c| {
                let request = c.open().clone()?;
                let refusal = request.ends_under(policy, now)?;
                Some((c.clone(), request, refusal))
            })
            .collect();
        let end = |(connection, request, refusal): (Arc<Connection>, Arc<dyn OpenRequest>, Refusal)| {
            request.end(Ending::Judged(refusal.code())) || connection.revoke(refusal)
        };
        ended.into_iter().map(end).filter(|new| *new).count()
    }
}
