//! The permission to pass. Only the modules of the policy can make one.

use super::permissions::ScopeLimit;
use crate::authn::{PassthroughCredential, Principal};
use crate::config::PrincipalLimits;
use crate::headers::GatewayHeader;
use crate::json_body::Edits;
use crate::scope::ScopeSet;
use http::HeaderValue;
use std::sync::Arc;

/// Leave to pass: who goes, and with which scopes. Nothing else can write the scopes header.
#[derive(Debug, Clone)]
pub struct Grant {
    pub(super) principal: Option<Arc<Principal>>,
    pub(super) effective: Arc<ScopeSet>,
    pub(super) header: HeaderValue,
    pub(super) gateway_headers: Vec<(GatewayHeader, HeaderValue)>,
    pub(super) user: Option<HeaderValue>,
    pub(super) limits: PrincipalLimits,
    /// How much the app may ask for that calls on its principal's behalf.
    pub(super) app_limits: Option<PrincipalLimits>,
    /// Whether it is a socket's whose client is a node.
    pub(super) node: bool,
    /// The path that is sent, where it is another than came.
    pub(super) path: Option<Box<str>>,
    /// What changes in the body.
    pub(super) body: Option<Edits>,
    /// Whether it cannot be decided without the body.
    pub(super) wants_body: bool,
    /// Whether the answer's id continues the session.
    pub(super) chained: bool,
    /// The client's own credential, where the route passes it on.
    pub(super) passthrough_credential: Option<PassthroughCredential>,
}

impl Grant {
    pub(super) fn under(scope_limit: &ScopeLimit, principal: Option<&Arc<Principal>>) -> Self {
        Self {
            principal: principal.cloned(),
            effective: scope_limit.scopes.clone(),
            header: scope_limit.header.clone(),
            gateway_headers: Vec::new(),
            user: None,
            limits: PrincipalLimits::default(),
            app_limits: None,
            node: false,
            path: None,
            body: None,
            wants_body: false,
            chained: false,
            passthrough_credential: None,
        }
    }

    /// Who was proven; `None` on a public route.
    #[must_use]
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }

    /// The scopes that are sent.
    #[must_use]
    pub fn effective(&self) -> &ScopeSet {
        &self.effective
    }

    /// The scopes that are sent, to be kept.
    #[must_use]
    pub fn shared_scopes(&self) -> Arc<ScopeSet> {
        self.effective.clone()
    }

    /// The scopes header's value.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// The gateway's own headers that are sent, with their values.
    #[must_use]
    pub fn gateway_headers(&self) -> &[(GatewayHeader, HeaderValue)] {
        &self.gateway_headers
    }

    /// The path that is sent, where it is another than came.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// What changes in the body.
    #[must_use]
    pub fn body(&self) -> Option<&Edits> {
        self.body.as_ref()
    }

    /// Whether the request must be decided again with its body before it is sent.
    #[must_use]
    pub fn wants_body(&self) -> bool {
        self.wants_body
    }

    /// The session that a caller continues who names the answer's id.
    #[must_use]
    pub fn chained(&self) -> Option<&HeaderValue> {
        let key = self.gateway_headers.iter().find(|(which, _)| *which == GatewayHeader::SessionKey);
        key.filter(|_| self.chained).map(|(_, key)| key)
    }

    /// The client's own credential, where the route passes it on.
    #[must_use]
    pub fn passthrough_credential(&self) -> Option<&PassthroughCredential> {
        self.passthrough_credential.as_ref()
    }

    /// How much its principal may ask for.
    #[must_use]
    pub fn limits(&self) -> PrincipalLimits {
        self.limits
    }

    /// The app that calls on behalf of the principal, and how much it may ask for.
    #[must_use]
    pub fn app(&self) -> Option<(&Arc<Principal>, PrincipalLimits)> {
        self.principal.as_ref().and_then(|p| p.app()).zip(self.app_limits)
    }

    /// Who the caller is to the gateway, where its mode has it told.
    #[must_use]
    pub fn gateway_user(&self) -> Option<&HeaderValue> {
        self.user.as_ref()
    }
}
