//! What a principal may do over a WebSocket: decided once, at `connect`, for all that follows.
//!
//! Behind `connect` the gateway itself holds the session to the scopes it was given (contract §7).
//! Rules about single requests cannot be kept there, so whoever has such rules gets no socket.

use super::grants::Circumstances;
use super::holding::{Ceiling, Terms};
use super::{Grant, Policy, Proven, narrowed};
use crate::config::{HeaderRule, WebSocketRules};
use crate::headers::Governed;
use crate::refusal::{Refusal, SocketFault};
use crate::scope::ScopeSet;
use crate::target::Path;
use http::Method;
use jiff::Timestamp;
use std::net::IpAddr;

/// What a decision about a socket is made on, besides the principal.
#[derive(Debug, Clone, Copy)]
pub struct SocketRequest<'a> {
    /// The path of the upgrade.
    pub path: Path<'a>,
    /// `x-openclaw-scopes` of the upgrade; `None` when it was not sent (law 3).
    pub requested: Option<&'a ScopeSet>,
    /// The scopes in the `connect` frame, a program's wish list; `None` when it has none.
    pub wished: Option<&'a ScopeSet>,
    /// The peer; `None` on a unix socket.
    pub peer: Option<IpAddr>,
    /// The moment.
    pub now: Timestamp,
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
        let terms = self.socket_terms(proven, &socket)?;
        let ceiling = match socket.requested {
            None => terms.ceiling.clone(),
            Some(requested) => narrowed(&terms, requested)?,
        };
        let effective = match socket.wished {
            None => ceiling.scopes.expanded(),
            Some(wished) => wished.meet(&ceiling.scopes).expanded(),
        };
        Ok(self.socket_grant(effective, proven, &terms))
    }

    /// May this principal connect with exactly the scopes wished? For frames that cannot be changed.
    ///
    /// # Errors
    /// The [`Refusal`] that names what is in the way.
    pub fn decide_socket_as_is(&self, proven: &Proven, socket: SocketRequest<'_>) -> Result<Grant, Refusal> {
        let terms = self.socket_terms(proven, &socket)?;
        let ceiling = match socket.requested {
            None => terms.ceiling.clone(),
            Some(requested) => narrowed(&terms, requested)?,
        };
        let wished = socket.wished.cloned().unwrap_or_default();
        let excess = wished.excess_over(&ceiling.scopes);
        if !excess.is_empty() {
            return Err(Refusal::ScopeExcess { excess });
        }
        Ok(self.socket_grant(wished, proven, &terms))
    }

    /// The leave under which this proxy makes its own device known, on behalf of a caller that was let
    /// in: every scope it may ever pass on. A gateway that is told who is calling is told the caller.
    #[must_use]
    pub fn own_device(&self, caller: &Grant) -> Grant {
        let all = crate::scope::KNOWN.iter().map(|name| crate::scope::Scope::known(name)).collect();
        Grant { user: caller.user.clone(), ..Grant::under(&Ceiling::new(all), caller.principal.as_ref()) }
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
        drop(terms);
        if excess.is_empty() { Ok(proven) } else { Err(Refusal::ScopeExcess { excess }) }
    }

    fn socket_grant(&self, scopes: ScopeSet, proven: &Proven, terms: &Terms) -> Grant {
        let mut grant = Grant { limits: terms.limits, ..Grant::under(&Ceiling::new(scopes), Some(&proven.principal)) };
        if self.proof.names_callers() {
            grant.user = Some(terms.gateway_user.clone().unwrap_or_else(|| self.user(&proven.principal)));
        }
        grant
    }

    fn socket_terms<'a>(
        &self,
        proven: &'a Proven,
        socket: &SocketRequest<'_>,
    ) -> Result<std::borrow::Cow<'a, Terms>, Refusal> {
        if !self.live.websocket.enabled {
            return Err(Refusal::Upgrade);
        }
        let at = Circumstances { method: &Method::GET, path: socket.path, peer: socket.peer, now: socket.now };
        let terms = proven.holding.terms(at, &self.live);
        let bound = |which| matches!(terms.rule(which), HeaderRule::Pin(_) | HeaderRule::Allow(_) | HeaderRule::Prefix);
        if bound(Governed::SessionKey) || bound(Governed::AgentId) {
            return Err(Refusal::Socket(SocketFault::KeptApart));
        }
        Ok(terms)
    }
}
