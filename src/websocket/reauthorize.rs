//! A WebSocket as the list of open connections sees it: checked again, ended in an orderly way.

use crate::listener::{Connection, Ending, LastCheck, OpenRequest};
use crate::policy::{Grant, Policy, SocketRequest};
use crate::refusal::Refusal;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock, Weak};
use tokio_util::sync::CancellationToken;

/// One WebSocket, from its upgrade to its end.
#[derive(Debug)]
pub struct OpenSocket {
    peer: Option<IpAddr>,
    connection: Weak<Connection>,
    grant: OnceLock<Grant>,
    checked: LastCheck,
    why: OnceLock<Ending>,
    ended: CancellationToken,
}

impl OpenSocket {
    /// A socket whose caller is not authenticated yet.
    #[must_use]
    pub fn new(peer: Option<IpAddr>, connection: Weak<Connection>) -> Self {
        Self {
            peer,
            connection,
            grant: OnceLock::new(),
            checked: LastCheck::none(),
            why: OnceLock::new(),
            ended: CancellationToken::new(),
        }
    }

    /// The client may go on, with this; from here on a change of policy may end it.
    pub fn granted(self: &Arc<Self>, grant: &Grant) {
        let _ = self.grant.set(grant.clone());
        // It was decided a while ago, so it is due at once.
        if let Some(connection) = self.connection.upgrade() {
            connection.reauthorize_with(self.clone());
        }
    }

    /// Returns once it has to end.
    pub async fn ending(&self) -> Ending {
        self.ended.cancelled().await;
        *self.why.get_or_init(|| Ending::Draining)
    }
}

impl OpenRequest for OpenSocket {
    fn ends_under(&self, policy: &Policy, now: jiff::Timestamp) -> Option<Refusal> {
        let grant = self.grant.get()?;
        let principal = grant.principal()?;
        let state = policy.state(Some(principal));
        if self.checked.holds(state, now) {
            return None;
        }
        let socket = SocketRequest { requested: None, requested_scopes: None, session: None, peer: self.peer, now };
        match policy.socket_goes_on(grant, socket) {
            Ok(proven) => {
                self.checked.note(state, now, policy.holds_until(&proven, now));
                None
            }
            Err(refusal) => Some(refusal),
        }
    }

    fn holds_until(&self) -> i64 {
        // A caller who is not proven yet has nothing that could be taken back.
        if self.grant.get().is_some() { self.checked.until() } else { i64::MAX }
    }

    fn end(&self, why: Ending) -> bool {
        let _ = self.why.set(why);
        self.ended.cancel();
        true
    }
}
