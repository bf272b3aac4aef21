//! What a principal may do over a WebSocket: decided once, at `connect`, for all that follows.
//!
//! Behind `connect` the gateway itself holds the session to the scopes it was given (contract §7). A
//! socket is every route at once, and the path of its upgrade is the client's to choose: what it may
//! hold is what its principal holds everywhere. Rules about single requests cannot be kept there, so
//! callers with such rules get no socket.

use super::grants::{Reach, RequestFacts};
use super::permissions::{EffectiveRules, ScopeLimit};
use super::{Grant, Policy, Proven, narrowed};
use crate::authn::Identity;
use crate::config::{OwnDevice, WebSocketRules};
use crate::incognito_session;
use crate::refusal::{Refusal, SocketFault};
use crate::scope::{Scope, ScopeSet};
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
    pub requested_scopes: Option<&'a ScopeSet>,
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
        let (effective_rules, scope_limit) = self.websocket_scope_limit(proven, &socket)?;
        let effective = match socket.requested_scopes {
            None => scope_limit.scopes.expanded(),
            Some(requested_scopes) => requested_scopes.meet(&scope_limit.scopes).expanded(),
        };
        self.socket_grant(effective, proven, &effective_rules, &socket)
    }

    /// May this principal connect with exactly the scopes wished? For frames that cannot be changed.
    ///
    /// # Errors
    /// The [`Refusal`] that names what is in the way.
    pub fn decide_socket_as_is(&self, proven: &Proven, socket: SocketRequest<'_>) -> Result<Grant, Refusal> {
        let (effective_rules, scope_limit) = self.websocket_scope_limit(proven, &socket)?;
        let requested_scopes = socket.requested_scopes.cloned().unwrap_or_default();
        let excess = requested_scopes.excess_over(&scope_limit.scopes);
        if !excess.is_empty() {
            return Err(Refusal::ScopeExcess { excess });
        }
        self.socket_grant(requested_scopes, proven, &effective_rules, &socket)
    }

    /// May this principal connect as a node, with exactly the scopes wished? The gateway pairs a node
    /// that comes from its own machine without asking, and this proxy does: so its own rule for the
    /// approval of one is kept here.
    ///
    /// # Errors
    /// The [`Refusal`] that names what is in the way.
    pub fn decide_node(&self, proven: &Proven, socket: SocketRequest<'_>) -> Result<Grant, Refusal> {
        let (_, scope_limit) = self.websocket_scope_limit(proven, &socket)?;
        self.may_be_node(&scope_limit)?;
        Ok(Grant { node: true, ..self.decide_socket_as_is(proven, socket)? })
    }

    /// Whether there is a frame that this caller may have passed on unchanged: as an operator with its own
    /// device, or as a node.
    #[must_use]
    pub fn may_pass_frames(&self, proven: &Proven, socket: SocketRequest<'_>) -> bool {
        let rules = &self.live.websocket;
        self.websocket_scope_limit(proven, &socket).is_ok_and(|(_, scope_limit)| {
            let operator = rules.own_device == OwnDevice::Pass && !scope_limit.scopes.is_empty();
            operator || self.may_be_node(&scope_limit).is_ok()
        })
    }

    fn may_be_node(&self, scope_limit: &ScopeLimit) -> Result<(), Refusal> {
        let Some(needed) = &self.live.websocket.nodes else { return Err(Refusal::Socket(SocketFault::Role)) };
        if scope_limit.scopes.satisfies(needed) {
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
        let effective_rules = self.websocket_rules(&proven, &socket)?;
        let excess = grant.effective().excess_over(&effective_rules.scope_limit.scopes);
        if grant.node {
            self.may_be_node(&effective_rules.scope_limit)?;
        }
        drop(effective_rules);
        if excess.is_empty() { Ok(proven) } else { Err(Refusal::ScopeExcess { excess }) }
    }

    fn socket_grant(
        &self,
        scopes: ScopeSet,
        proven: &Proven,
        effective_rules: &EffectiveRules,
        socket: &SocketRequest<'_>,
    ) -> Result<Grant, Refusal> {
        let admin = Scope::admin().clone();
        if socket.session.is_some_and(incognito_session::is_incognito) && !scopes.satisfies(&admin) {
            let held = effective_rules.scope_limit.scopes.satisfies(&admin);
            return Err(Refusal::ScopeMissing { needed: admin, held });
        }
        let mut grant =
            Grant { limits: effective_rules.limits, ..Grant::under(&ScopeLimit::new(scopes), Some(&proven.principal)) };
        if self.credentials.names_callers() {
            grant.user = Some(effective_rules.gateway_user.clone().unwrap_or_else(|| self.user(&proven.principal)));
        }
        Ok(grant)
    }

    /// The most that a socket may hold: what the principal holds, and what the upgrade asks of it.
    fn websocket_scope_limit<'a>(
        &self,
        proven: &'a Proven,
        socket: &SocketRequest<'_>,
    ) -> Result<(Cow<'a, EffectiveRules>, ScopeLimit), Refusal> {
        let effective_rules = self.websocket_rules(proven, socket)?;
        let scope_limit = match socket.requested {
            None => effective_rules.scope_limit.clone(),
            Some(requested) => narrowed(&effective_rules, requested)?,
        };
        Ok((effective_rules, scope_limit))
    }

    fn websocket_rules<'a>(
        &self,
        proven: &'a Proven,
        socket: &SocketRequest<'_>,
    ) -> Result<Cow<'a, EffectiveRules>, Refusal> {
        if !self.live.websocket.enabled {
            return Err(Refusal::Upgrade);
        }
        if matches!(proven.principal.identity(), Identity::App(_) | Identity::AppUser(_)) {
            return Err(Refusal::Socket(SocketFault::KeptApart { header: "users" }));
        }
        let effective_rules = proven.permissions.effective_rules(socket.at(), &self.live);
        match effective_rules.bound() {
            Some(header) => Err(Refusal::Socket(SocketFault::KeptApart { header })),
            None => Ok(effective_rules),
        }
    }
}

#[cfg(test)]
mod tests;
