//! A client's `connect` checked: with which scopes it may connect, and whether its own frame leaves.

use super::connect_frame::{Connect, Exact, Inexact, Role};
use crate::config::OwnDevice;
use crate::policy::{Grant, Policy, Proven, SocketRequest};
use crate::refusal::{Refusal, SocketFault};
use crate::scope::ScopeSet;
use jiff::Timestamp;
use std::net::IpAddr;

/// What is known of a client beside who it is and what its `connect` says.
#[derive(Debug, Clone, Copy)]
pub struct ConnectContext<'a> {
    /// The scopes that the header of its upgrade asked for.
    pub requested: Option<&'a ScopeSet>,
    /// Its address.
    pub peer: Option<IpAddr>,
    /// The moment.
    pub now: Timestamp,
    /// Whether it was given the gateway's own challenge, which its device may have signed.
    pub challenged: bool,
}

impl<'a> ConnectContext<'a> {
    /// What is decided on: before the client's `connect` came, or with it.
    #[must_use]
    pub fn request(self, connect: Option<&'a Connect>) -> SocketRequest<'a> {
        SocketRequest {
            requested: self.requested,
            requested_scopes: connect.and_then(Connect::requested_scopes),
            session: connect.and_then(Connect::session),
            peer: self.peer,
            now: self.now,
        }
    }
}

/// What is granted, and the client's own frame where it is to leave as it is.
///
/// # Errors
/// The [`Refusal`] that names what is in the way.
pub fn decide<'a>(
    policy: &Policy,
    proven: &Proven,
    connect: &'a Connect,
    at: ConnectContext<'_>,
) -> Result<(Grant, Option<Exact<'a>>), Refusal> {
    let request = at.request(Some(connect));
    let passable = at.challenged && connect.has_device();
    let fault = |fault: Inexact| Refusal::Socket(SocketFault::Connect(fault.to_string()));
    let exact = || connect.exact(policy.gateway_auth().secret()).map_err(fault);
    match connect.role() {
        Role::Operator if passable && policy.websocket().own_device == OwnDevice::Pass => match exact()? {
            Some(exact) => Ok((policy.decide_socket_as_is(proven, request)?, Some(exact))),
            None => Ok((policy.decide_socket(proven, request)?, None)),
        },
        Role::Operator => Ok((policy.decide_socket(proven, request)?, None)),
        Role::Node => {
            let exact = if passable { Some(exact()?) } else { None };
            let grant = policy.decide_node(proven, request)?;
            match exact {
                None => Err(Refusal::Socket(SocketFault::Role)),
                Some(None) => Err(fault(Inexact::Secret)),
                Some(Some(exact)) => Ok((grant, Some(exact))),
            }
        }
        Role::Other => Err(Refusal::Socket(SocketFault::Role)),
    }
}
