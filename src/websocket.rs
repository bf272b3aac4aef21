//! WebSockets: a client proves itself at the upgrade or in its first frame, and only then is the
//! gateway's own socket opened, under an identity of this proxy that keeps the scopes granted.
//!
//! `upgrade`, `frames`, `connect` and `admit` decide: values in, values out. `wire`, `gateway`, `tunnel` and
//! `session` carry it out, on sockets that Pingora has let go of. Behind the handshake bytes pass
//! as they come: the gateway holds a session to the scopes it began with (contract §7).

pub mod authorize;
pub mod connect_frame;
pub mod device_identity;
pub mod frame_codec;
mod keepalive;
mod message_stream;
mod pending_limit;
mod reauthorize;
mod session;
pub mod tunnel;
pub mod unauthenticated_limit;
pub mod upgrade;
pub mod upstream;
mod upstream_upgrade;

pub use reauthorize::OpenSocket;
pub use session::{Client, Upgraded, occupy, serve};

use crate::config::UnauthenticatedLimits;
use crate::identity_providers::IdentityProviders;
use crate::policy::Policy;
use arc_swap::ArcSwap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use unauthenticated_limit::{UnauthenticatedLimit, UnauthenticatedSlot};
use upstream::{Dial, UpstreamWebSocket};

/// What all WebSockets share.
#[derive(Debug)]
pub struct Sockets {
    policy: Arc<ArcSwap<Policy>>,
    sources: Arc<IdentityProviders>,
    gateway: UpstreamWebSocket,
    unauthenticated: Arc<UnauthenticatedLimit>,
}

impl Sockets {
    /// None open yet.
    #[must_use]
    pub fn new(
        policy: Arc<ArcSwap<Policy>>,
        sources: Arc<IdentityProviders>,
        dial: Arc<dyn Dial>,
        state_dir: PathBuf,
        unauthenticated: UnauthenticatedLimits,
    ) -> Self {
        Self {
            policy,
            sources,
            gateway: UpstreamWebSocket::new(dial, state_dir),
            unauthenticated: UnauthenticatedLimit::new(unauthenticated),
        }
    }

    /// A place for one more client that has not proven itself.
    #[must_use]
    pub fn place(&self, peer: Option<IpAddr>) -> UnauthenticatedSlot {
        self.unauthenticated.take(peer)
    }
}
