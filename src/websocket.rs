//! WebSockets: a client proves itself at the upgrade or in its first frame, and only then is the
//! gateway's own socket opened, under an identity of this proxy that keeps the scopes granted.
//!
//! `upgrade`, `frames` and `connect` decide: values in, values out. `wire`, `gateway`, `tunnel` and
//! `session` carry it out, on sockets that Pingora has let go of. Behind the handshake bytes pass
//! as they come: the gateway holds a session to the scopes it began with (contract §7).

pub mod connect;
pub mod device;
pub mod frames;
pub mod gateway;
mod keepalive;
mod open;
mod session;
mod switch;
pub mod tunnel;
pub mod upgrade;
mod wire;

pub use open::OpenSocket;
pub use session::{Client, Upgraded, occupy, serve};

use crate::policy::Policy;
use crate::sources::Sources;
use arc_swap::ArcSwap;
use gateway::{Dial, Gateway};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Clients at a time that have not proven themselves. Each may hold 64 KiB for 10 s.
const UNPROVEN: usize = 256;

/// What all WebSockets share.
#[derive(Debug)]
pub struct Sockets {
    policy: Arc<ArcSwap<Policy>>,
    sources: Arc<Sources>,
    gateway: Gateway,
    unproven: Arc<Semaphore>,
}

impl Sockets {
    /// None open yet.
    #[must_use]
    pub fn new(policy: Arc<ArcSwap<Policy>>, sources: Arc<Sources>, dial: Arc<dyn Dial>, state_dir: PathBuf) -> Self {
        Self { policy, sources, gateway: Gateway::new(dial, state_dir), unproven: Arc::new(Semaphore::new(UNPROVEN)) }
    }

    /// Room for one more client that has not proven itself, if there is any.
    #[must_use]
    pub fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.unproven.clone().try_acquire_owned().ok()
    }
}
