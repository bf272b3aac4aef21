//! All connections of a process: who is let in, and when each has to end.

use super::connection::FAREWELL;
use super::shared_state::Shared;
use super::{ClientStream, Connection, Ending, Listener};
use crate::address_key::AddressKey;
use crate::authn::tailscale::Caller;
use crate::config::{Limits, ListenerIdentity};
use crate::metric_labels::Label as _;
use crate::refusal::{LimitFault, Refusal};
use crate::telemetry::Telemetry;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Clients at a time that are told there is no room and waited for; the rest are told and not waited for.
const TURNED_AWAY: usize = 64;
/// How often the log says that clients are turned away.
const SAID: Duration = Duration::from_secs(10);
/// Connections looked at in one go, before others have their turn.
pub(super) const SLICE: usize = 64;

/// All open connections of a process.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<Open>,
    next: AtomicU64,
    turning_away: Arc<Semaphore>,
    turned_away: Mutex<(Option<Instant>, u64)>,
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Open {
    /// By number, so that a walk through them can be interrupted and go on.
    all: BTreeMap<u64, Arc<Connection>>,
    groups: HashMap<AddressKey, usize>,
}

/// Takes a connection out of the list when its task ends, however it ends.
struct ConnectionGuard<'a>(&'a Connections, Arc<Connection>);

impl Drop for ConnectionGuard<'_> {
    fn drop(&mut self) {
        let mut open = self.0.list();
        open.all.remove(&self.1.caller().connection);
        let group = AddressKey::of(self.1.peer());
        if let Some(count) = open.groups.get_mut(&group) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.groups.remove(&group);
            }
        }
        drop(open);
        self.1.leave();
    }
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new(limits: Limits, telemetry: Arc<Telemetry>) -> Self {
        Self {
            open: Mutex::default(),
            next: AtomicU64::new(0),
            turning_away: Arc::new(Semaphore::new(TURNED_AWAY)),
            turned_away: Mutex::default(),
            shared: Arc::new(Shared::new(limits, telemetry)),
        }
    }

    fn list(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, requests on connections that are open already are refused.
    pub(crate) fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// How many are open, and how many of them are busy with a request.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.list().all.len(), self.shared.busy.load(Ordering::Relaxed))
    }

    /// How many may be open.
    #[must_use]
    pub fn most(&self) -> usize {
        self.shared.limits.connections
    }

    /// The next connection of a listener that there is room for. Others are told that there is none.
    pub(crate) async fn accept(&self, listener: &Listener) -> std::io::Result<(ClientStream, Arc<Connection>)> {
        loop {
            let (stream, peer) = listener.accept().await?;
            match self.enter(peer, listener.identity) {
                Ok(connection) => return Ok((stream.watched_by(connection.clone()), connection)),
                Err(fault) => self.turn_away(stream, peer, fault),
            }
        }
    }

    /// Takes a place. Here and not where the connection is served, which a stop might not wait for.
    fn enter(&self, peer: Option<SocketAddr>, identity: ListenerIdentity) -> Result<Arc<Connection>, LimitFault> {
        let group = AddressKey::of(peer.map(|p| p.ip()));
        let most = if group.is_local() {
            self.shared.limits.local_connections
        } else {
            self.shared.limits.connections_per_address
        };
        let mut open = self.list();
        if open.all.len() >= self.shared.limits.connections {
            return Err(LimitFault::Connections);
        }
        if most.is_some_and(|most| open.groups.get(&group).is_some_and(|count| *count >= most)) {
            return Err(LimitFault::AddressConnections);
        }
        *open.groups.entry(group).or_default() += 1;
        let caller = Caller { connection: self.next.fetch_add(1, Ordering::Relaxed), peer };
        let connection = Arc::new(Connection::begin(caller, identity, self.shared.clone()));
        open.all.insert(caller.connection, connection.clone());
        drop(open);
        connection.set_deadline(self.shared.now());
        Ok(connection)
    }

    /// Says no, to as many at a time as costs nothing; hangs up on the rest.
    fn turn_away(&self, stream: ClientStream, peer: Option<SocketAddr>, fault: LimitFault) {
        let refusal = Refusal::Limit(fault);
        self.shared.telemetry.metrics().refused(refusal.code());
        self.say(&refusal, peer);
        let Ok(place) = self.turning_away.clone().try_acquire_owned() else { return stream.hang_up(&refusal) };
        tokio::spawn(async move {
            let _ = tokio::time::timeout(FAREWELL, stream.turn_away(&refusal)).await;
            drop(place);
        });
    }

    /// One line for all that were turned away in a while.
    fn say(&self, refusal: &Refusal, peer: Option<SocketAddr>) {
        let mut said = self.turned_away.lock().unwrap_or_else(PoisonError::into_inner);
        said.1 += 1;
        if said.0.is_none_or(|at| at.elapsed() >= SAID) {
            let (clients, reason) = (said.1, refusal.code().as_str());
            *said = (Some(Instant::now()), 0);
            drop(said);
            let peer = peer.map(|p| p.ip().to_string());
            tracing::warn!(
                clients,
                reason,
                last = peer,
                most = self.shared.limits.connections,
                "connections are turned away"
            );
        }
    }

    /// Runs what serves an accepted connection until it is done or the connection is ended.
    pub(crate) async fn run(&self, connection: Arc<Connection>, serve: impl Future<Output = ()>) {
        let _leave = ConnectionGuard(self, connection.clone());
        tokio::select! {
            biased;
            () = serve => {}
            () = connection.cancelled() => {}
        }
    }

    /// Ends connections that overstay: a head that never completes, a body that trickles, a rest too
    /// long. False: there may be more.
    pub(crate) fn sweep(&self) -> bool {
        let due = self.shared.deadlines.take_due(self.now(), SLICE);
        self.named(&due).iter().for_each(|(at, connection)| connection.deadline_due(*at));
        due.len() < SLICE
    }

    fn now(&self) -> i64 {
        i64::try_from(self.shared.now()).unwrap_or(i64::MAX)
    }

    /// The connections that timers are of, as far as they are still there.
    pub(super) fn named(&self, due: &[(i64, u64)]) -> Vec<(i64, Arc<Connection>)> {
        let open = self.list();
        due.iter().filter_map(|(at, id)| Some((*at, open.all.get(id)?.clone()))).collect()
    }

    /// The next of all connections behind the one with this number.
    pub(super) fn behind(&self, last: Option<u64>) -> Vec<Arc<Connection>> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.list().all.range((from, Bound::Unbounded)).take(SLICE).map(|(_, c)| c.clone()).collect()
    }

    /// Ends the connections that are not busy, and asks those to end that would not by themselves.
    /// A client that has just connected may still send its request, unless `all` must go.
    pub(crate) fn end_resting(&self, all: bool) {
        for connection in self.list().all.values() {
            if !connection.is_busy() {
                if all || !connection.is_fresh() {
                    connection.cancel();
                }
            } else if let Some(request) = connection.open().as_ref() {
                request.end(Ending::Draining);
            }
        }
    }

    /// A connection that was just accepted.
    #[cfg(test)]
    pub(crate) fn accepted(&self) -> Arc<Connection> {
        self.enter(None, ListenerIdentity::None).unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    /// Its task has ended.
    #[cfg(test)]
    pub(crate) fn ended(&self, connection: Arc<Connection>) {
        drop(ConnectionGuard(self, connection));
    }

    /// How many timers are set: for overstaying, and for what is open.
    #[cfg(test)]
    pub(crate) fn timers(&self) -> [usize; 2] {
        [self.shared.deadlines.len(), self.shared.rechecks.len()]
    }
}
