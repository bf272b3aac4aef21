//! WebSockets: a client authenticates at the upgrade or in its first frame. Only then is the gateway's own
//! connection opened, under an identity of this proxy that keeps the granted scopes.
//!
//! `connect_frame`, `frame_codec` and `authorize` are pure: values in, values out. `session` runs the handshake
//! with `message_stream` and `upstream`, on sockets taken over from Pingora, and `tunnel` moves the bytes
//! afterwards, unread: the gateway holds a session to the scopes it began with (contract §7).

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
