//! WebSockets: a client proves itself at the upgrade or in its first frame, and only then is the
//! gateway's own socket opened, under an identity of this proxy that keeps the scopes granted.
//!
//! `upgrade`, `frames`, `connect` and `admit` decide: values in, values out. `wire`, `gateway`, `tunnel` and
//! `session` carry it out, on sockets that Pingora has let go of. Behind the handshake bytes pass
//! as they come: the gateway holds a session to the scopes it began with (contract §7).

pub mod admit;
pub mod connect;
pub mod device;
mod early;
pub mod frames;
pub mod gateway;
mod keepalive;
mod open;
mod session;
mod switch;
pub mod tunnel;
pub mod unproven;
pub mod upgrade;
mod wire;

pub use open::OpenSocket;
pub use session::{Client, Upgraded, occupy, serve};

use crate::config::Unproven;
use crate::policy::Policy;
use crate::sources::Sources;
use arc_swap::ArcSwap;
use gateway::{Dial, Gateway};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use unproven::{Place, Places};

/// What all WebSockets share.
#[derive(Debug)]
pub struct Sockets {
    policy: Arc<ArcSwap<Policy>>,
    sources: Arc<Sources>,
    gateway: Gateway,
    unproven: Arc<Places>,
}

impl Sockets {
    /// None open yet.
    #[must_use]
    pub fn new(
        policy: Arc<ArcSwap<Policy>>,
        sources: Arc<Sources>,
        dial: Arc<dyn Dial>,
        state_dir: PathBuf,
        unproven: Unproven,
    ) -> Self {
        Self { policy, sources, gateway: Gateway::new(dial, state_dir), unproven: Places::new(unproven) }
    }

    /// A place for one more client that has not proven itself.
    #[must_use]
    pub fn place(&self, peer: Option<IpAddr>) -> Place {
        self.unproven.take(peer)
    }
}
