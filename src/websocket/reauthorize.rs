//! A WebSocket as the list of open connections sees it: checked again, ended in an orderly way.

use crate::listener::{Ending, OpenRequest};
use crate::policy::{Grant, Policy, SocketRequest};
use crate::refusal::Refusal;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

/// One WebSocket, from its upgrade to its end.
#[derive(Debug)]
pub struct OpenSocket {
    peer: Option<IpAddr>,
    grant: OnceLock<Grant>,
    /// The state of policy and keys under which it was last checked.
    generation: AtomicU64,
    /// Until when that judgement holds, in milliseconds since 1970.
    until: AtomicI64,
    why: OnceLock<Ending>,
    ended: CancellationToken,
}

impl OpenSocket {
    /// A socket whose caller is not authenticated yet.
    #[must_use]
    pub fn new(peer: Option<IpAddr>) -> Self {
        Self {
            peer,
            grant: OnceLock::new(),
            generation: AtomicU64::new(0),
            until: AtomicI64::new(i64::MIN),
            why: OnceLock::new(),
            ended: CancellationToken::new(),
        }
    }

    /// The client may go on, with this; from here on a change of policy may end it.
    pub fn granted(&self, grant: &Grant) {
        let _ = self.grant.set(grant.clone());
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
        // As an event stream: most of thousands can say at once that nothing changed.
        let state = policy.state(principal);
        let in_time = now.as_millisecond() < self.until.load(Ordering::Relaxed);
        if in_time && !policy.is_timed() && self.generation.swap(state, Ordering::Relaxed) == state {
            return None;
        }
        let socket = SocketRequest { requested: None, requested_scopes: None, session: None, peer: self.peer, now };
        match policy.socket_goes_on(grant, socket) {
            Ok(proven) => {
                let until = proven.principal.valid_until().map_or(i64::MAX, jiff::Timestamp::as_millisecond);
                self.until.store(until, Ordering::Relaxed);
                None
            }
            Err(refusal) => Some(refusal),
        }
    }

    fn end(&self, why: Ending) -> bool {
        let _ = self.why.set(why);
        self.ended.cancel();
        true
    }
}
