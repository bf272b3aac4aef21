//! All connections of a process: who is let in, and when each has to end.

use super::connection::FAREWELL;
use super::{ClientStream, Connection, Ending, Listener, OpenRequest};
use crate::authn::tailscale::Caller;
use crate::config::{Limits, ListenerIdentity};
use crate::label::Label as _;
use crate::peer_group::PeerGroup;
use crate::policy::Policy;
use crate::refusal::{LimitFault, Refusal};
use crate::telemetry::Telemetry;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Clients at a time that are told there is no room and waited for; the rest are told and not waited for.
const TURNED_AWAY: usize = 64;
/// How often the log says that clients are turned away.
const SAID: Duration = Duration::from_secs(10);

/// All open connections of a process.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<Open>,
    next: AtomicU64,
    limits: Arc<Limits>,
    turning_away: Arc<Semaphore>,
    turned_away: Mutex<(Option<Instant>, u64)>,
    telemetry: Arc<Telemetry>,
    draining: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Open {
    all: HashMap<u64, Arc<Connection>>,
    groups: HashMap<PeerGroup, usize>,
}

/// Takes a connection out of the list when its task ends, however it ends.
struct ConnectionGuard<'a>(&'a Connections, u64, Option<IpAddr>);

impl Drop for ConnectionGuard<'_> {
    fn drop(&mut self) {
        let mut open = self.0.list();
        open.all.remove(&self.1);
        let group = PeerGroup::of(self.2);
        if let Some(count) = open.groups.get_mut(&group) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.groups.remove(&group);
            }
        }
    }
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new(limits: Limits, telemetry: Arc<Telemetry>) -> Self {
        Self {
            open: Mutex::default(),
            next: AtomicU64::new(0),
            limits: Arc::new(limits),
            turning_away: Arc::new(Semaphore::new(TURNED_AWAY)),
            turned_away: Mutex::default(),
            telemetry,
            draining: Arc::default(),
        }
    }

    fn list(&self) -> MutexGuard<'_, Open> {
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
        let busy = list.all.values().filter(|c| c.is_busy()).count();
        (list.all.len(), busy)
    }

    /// How many may be open.
    #[must_use]
    pub fn most(&self) -> usize {
        self.limits.connections
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
        let group = PeerGroup::of(peer.map(|p| p.ip()));
        let most = if group.is_local() { self.limits.local_connections } else { self.limits.connections_per_address };
        let mut open = self.list();
        if open.all.len() >= self.limits.connections {
            return Err(LimitFault::Connections);
        }
        if most.is_some_and(|most| open.groups.get(&group).is_some_and(|count| *count >= most)) {
            return Err(LimitFault::AddressConnections);
        }
        *open.groups.entry(group).or_default() += 1;
        let caller = Caller { connection: self.next.fetch_add(1, Ordering::Relaxed), peer };
        let (limits, telemetry, draining) = (self.limits.clone(), self.telemetry.clone(), self.draining.clone());
        let connection = Arc::new(Connection::begin(caller, identity, limits, telemetry, draining));
        open.all.insert(caller.connection, connection.clone());
        Ok(connection)
    }

    /// Says no, to as many at a time as costs nothing; hangs up on the rest.
    fn turn_away(&self, stream: ClientStream, peer: Option<SocketAddr>, fault: LimitFault) {
        let refusal = Refusal::Limit(fault);
        self.telemetry.metrics().refused(refusal.code());
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
            tracing::warn!(clients, reason, last = peer, most = self.limits.connections, "connections are turned away");
        }
    }

    /// Runs what serves an accepted connection until it is done or the connection is ended.
    pub(crate) async fn run(&self, connection: Arc<Connection>, serve: impl Future<Output = ()>) {
        let _leave = ConnectionGuard(self, connection.caller().connection, connection.peer());
        tokio::select! {
            biased;
            () = serve => {}
            () = connection.cancelled() => {}
        }
    }

    /// Ends every connection that overstays: a head that never completes, a body that trickles, a
    /// rest too long.
    pub(crate) fn sweep(&self) {
        self.list().all.values().for_each(|connection| connection.sweep());
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

    /// Checks everything open again, and ends what may not go on. Returns how much of it is new.
    pub fn reauthorize(&self, policy: &Policy, now: jiff::Timestamp) -> usize {
        let ended: Vec<_> = self
            .list()
            .all
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
