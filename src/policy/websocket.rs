//! What a principal may do over a WebSocket: decided once, at `connect`, for all that follows.
//!
//! Behind `connect` the gateway itself holds the session to the scopes it was given (contract §7). A
//! socket is every route at once, and the path of its upgrade is the client's to choose: what it may
//! hold is what its principal holds everywhere. Rules about single requests cannot be kept there, so
//! callers with such rules get no socket.

use super::grants::{Reach, RequestFacts};
use super::permissions::{EffectiveRules, ScopeLimit};
use super::{Grant, Policy, Proven, narrowed};
use crate::config::{OwnDevice, WebSocketRules};
use crate::refusal::{Refusal, SocketFault};
use crate::scope::{ADMIN, Scope, ScopeSet};
use crate::session_key;
use jiff::Timestamp;
use std::borrow::Cow;
use std::net::IpAddr;

/// What a decision about a socket is made on, besides the principal. The path of the upgrade is not
/// among it.
#[derive(Debug, Clone, Copy)]
pub struct SocketRequest<'a> {
    /// `x-openclaw-scopes` of the upgrade; `None` when it was not sent (law 3).
    pub requested: Option<&'a ScopeSet>,
    /// The scopes in the `connect` frame, a program's wish list; `None` when it has none.
    pub wished: Option<&'a ScopeSet>,
    /// The session that the `connect` frame names.
    pub session: Option<&'a str>,
    /// The peer; `None` on a unix socket.
    pub peer: Option<IpAddr>,
    /// The moment.
    pub now: Timestamp,
}

impl SocketRequest<'_> {
    pub(super) fn at(&self) -> RequestFacts<'static> {
        RequestFacts { reach: Reach::Everywhere, peer: self.peer, now: self.now }
    }
}

impl Policy {
    /// The rules for WebSockets.
    #[must_use]
    pub fn websocket(&self) -> &WebSocketRules {
        &self.live.websocket
    }

    /// How this proxy authenticates itself to the gateway.
    #[must_use]
    pub fn gateway_auth(&self) -> &crate::config::GatewayAuth {
        &self.live.gateway_auth
    }

    /// With which scopes may this principal connect? All implied scopes are spelled out, since
    /// releases differ in what they imply.
    ///
    /// # Errors
    /// The [`Refusal`] that names what is in the way.
    pub fn decide_socket(&self, proven: &Proven, socket: SocketRequest<'_>) -> Result<Grant, Refusal> {
        let (terms, ceiling) = self.socket_ceiling(proven, &socket)?;
        let effective = match socket.wished {
            None => ceiling.scopes.expanded(),
            Some(wished) => wished.meet(&ceiling.scopes).expanded(),
        };
        self.socket_grant(effective, proven, &terms, &socket)
    }

    /// May this principal connect with exactly the scopes wished? For frames that cannot be changed.
    ///
    /// # Errors
    /// The [`Refusal`] that names what is in the way.
    pub fn decide_socket_as_is(&self, proven: &Proven, socket: SocketRequest<'_>) -> Result<Grant, Refusal> {
        let (terms, ceiling) = self.socket_ceiling(proven, &socket)?;
        let wished = socket.wished.cloned().unwrap_or_default();
        let excess = wished.excess_over(&ceiling.scopes);
        if !excess.is_empty() {
            return Err(Refusal::ScopeExcess { excess });
        }
        self.socket_grant(wished, proven, &terms, &socket)
    }

    /// May this principal connect as a node, with exactly the scopes wished? The gateway pairs a node
    /// that comes from its own machine without asking, and this proxy does: so its own rule for the
    /// approval of one is kept here.
    ///
    /// # Errors
    /// The [`Refusal`] that names what is in the way.
    pub fn decide_node(&self, proven: &Proven, socket: SocketRequest<'_>) -> Result<Grant, Refusal> {
        let (_, ceiling) = self.socket_ceiling(proven, &socket)?;
        self.may_be_node(&ceiling)?;
        Ok(Grant { node: true, ..self.decide_socket_as_is(proven, socket)? })
    }

    /// Whether there is a frame that this caller may have passed on unchanged: as an operator with its own
    /// device, or as a node.
    #[must_use]
    pub fn may_pass_frames(&self, proven: &Proven, socket: SocketRequest<'_>) -> bool {
        let rules = &self.live.websocket;
        self.socket_ceiling(proven, &socket).is_ok_and(|(_, ceiling)| {
            let operator = rules.own_device == OwnDevice::Pass && !ceiling.scopes.is_empty();
            operator || self.may_be_node(&ceiling).is_ok()
        })
    }

    fn may_be_node(&self, ceiling: &ScopeLimit) -> Result<(), Refusal> {
        let Some(needed) = &self.live.websocket.nodes else { return Err(Refusal::Socket(SocketFault::Role)) };
        if ceiling.scopes.satisfies(needed) {
            Ok(())
        } else {
            Err(Refusal::ScopeMissing { needed: needed.clone(), held: false })
        }
    }

    /// The leave under which this proxy makes its own device known, on behalf of a caller that was let
    /// in: every scope it may ever pass on. A gateway that is told who is calling is told the caller.
    #[must_use]
    pub fn own_device(&self, caller: &Grant) -> Grant {
        let all = crate::scope::KNOWN.iter().map(|name| crate::scope::Scope::known(name)).collect();
        Grant { user: caller.user.clone(), ..Grant::under(&ScopeLimit::new(all), caller.principal.as_ref()) }
    }

    /// May a connection that was let in with this grant go on under this policy? Gives its principal
    /// as the policy has it.
    ///
    /// # Errors
    /// The [`Refusal`] that says why not.
    pub fn socket_goes_on(&self, grant: &Grant, socket: SocketRequest<'_>) -> Result<Proven, Refusal> {
        let principal = grant.principal().ok_or(Refusal::CredentialMissing)?;
        let proven = self.confirm(principal, socket.peer, socket.now)?;
        let terms = self.socket_terms(&proven, &socket)?;
        let excess = grant.effective().excess_over(&terms.ceiling.scopes);
        if grant.node {
            self.may_be_node(&terms.ceiling)?;
        }
        drop(terms);
        if excess.is_empty() { Ok(proven) } else { Err(Refusal::ScopeExcess { excess }) }
    }

    fn socket_grant(
        &self,
        scopes: ScopeSet,
        proven: &Proven,
        terms: &EffectiveRules,
        socket: &SocketRequest<'_>,
    ) -> Result<Grant, Refusal> {
        let admin = Scope::known(ADMIN);
        if socket.session.is_some_and(session_key::is_incognito) && !scopes.satisfies(&admin) {
            let held = terms.ceiling.scopes.satisfies(&admin);
            return Err(Refusal::ScopeMissing { needed: admin, held });
        }
        let mut grant =
            Grant { limits: terms.limits, ..Grant::under(&ScopeLimit::new(scopes), Some(&proven.principal)) };
        if self.proof.names_callers() {
            grant.user = Some(terms.gateway_user.clone().unwrap_or_else(|| self.user(&proven.principal)));
        }
        Ok(grant)
    }

    /// The most that a socket may hold: what the principal holds, and what the upgrade asks of it.
    fn socket_ceiling<'a>(
        &self,
        proven: &'a Proven,
        socket: &SocketRequest<'_>,
    ) -> Result<(Cow<'a, EffectiveRules>, ScopeLimit), Refusal> {
        let terms = self.socket_terms(proven, socket)?;
        let ceiling = match socket.requested {
            None => terms.ceiling.clone(),
            Some(requested) => narrowed(&terms, requested)?,
        };
        Ok((terms, ceiling))
    }

    fn socket_terms<'a>(
        &self,
        proven: &'a Proven,
        socket: &SocketRequest<'_>,
    ) -> Result<Cow<'a, EffectiveRules>, Refusal> {
        if !self.live.websocket.enabled {
            return Err(Refusal::Upgrade);
        }
        let terms = proven.holding.terms(socket.at(), &self.live);
        match terms.bound_header() {
            Some(header) => Err(Refusal::Socket(SocketFault::KeptApart { header: header.name() })),
            None => Ok(terms),
        }
    }
}

#[cfg(test)]
mod tests;
