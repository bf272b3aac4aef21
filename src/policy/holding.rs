//! What a principal holds: scopes, and the say over the gateway's own headers.

use super::grants::Circumstances;
use crate::config::{Excess, GrantRule, HeaderRule, HeaderRules, Live, PrincipalLimits};
use crate::headers::Governed;
use crate::scope::ScopeSet;
use http::HeaderValue;
use std::sync::Arc;

/// The most a principal may do, with its header value ready.
#[derive(Debug, Clone)]
pub(super) struct Ceiling {
    pub(super) scopes: Arc<ScopeSet>,
    pub(super) header: HeaderValue,
}

impl Ceiling {
    pub(super) fn new(scopes: ScopeSet) -> Self {
        // A scope's name holds visible ASCII only, so this cannot fail; and if it did, nothing is
        // granted.
        let header = HeaderValue::from_str(&scopes.to_header()).unwrap_or(HeaderValue::from_static(""));
        Self { scopes: Arc::new(scopes), header }
    }
}

/// What applies to one principal's request.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) ceiling: Ceiling,
    pub(super) excess: Excess,
    /// How much the principal may ask for.
    pub(super) limits: PrincipalLimits,
    /// Who the principal is to the gateway, if a grant says so.
    pub(super) gateway_user: Option<HeaderValue>,
    rules: HeaderRules,
}

impl Terms {
    /// Adds up what a principal's own table says and its grants; of several that speak of a header,
    /// of an excess or of a name, the first in the file decides. Of several limits the strictest counts.
    fn sum<'a>(own: &Own, grants: impl Iterator<Item = &'a GrantRule>, live: &Live) -> Self {
        let mut scopes = own.scopes.clone();
        let mut limits = PrincipalLimits::default();
        let mut rules = HeaderRules::default();
        let mut first_excess = None;
        let mut gateway_user = None;
        for grant in grants {
            scopes = scopes.union(&grant.scopes);
            first_excess = first_excess.or(grant.excess);
            gateway_user = gateway_user.or_else(|| grant.gateway_user.clone());
            rules.fill_from(&grant.headers);
            limits = limits.strictest(grant.limits);
        }
        rules.fill_from(&live.headers);
        Self {
            ceiling: Ceiling::new(scopes),
            excess: first_excess.unwrap_or(live.excess),
            limits: own.limits.or(limits).or(live.limits),
            gateway_user,
            rules,
        }
    }

    pub(super) fn rule(&self, governed: Governed) -> &HeaderRule {
        let (rule, default) = match governed {
            Governed::AgentId => (&self.rules.agent_id, &HeaderRule::Pass),
            Governed::Model => (&self.rules.model, &HeaderRule::Admin),
            Governed::SessionKey => (&self.rules.session_key, &HeaderRule::Pass),
            Governed::MessageChannel => (&self.rules.message_channel, &HeaderRule::Pass),
        };
        rule.as_ref().unwrap_or(default)
    }
}

impl GrantRule {
    /// Whether it says more than which scopes are granted.
    fn binds(&self) -> bool {
        self.excess.is_some()
            || self.gateway_user.is_some()
            || self.headers != HeaderRules::default()
            || !self.limits.is_none()
    }
}

impl HeaderRules {
    fn fill_from(&mut self, other: &Self) {
        let fill = |own: &mut Option<HeaderRule>, other: &Option<HeaderRule>| {
            if own.is_none() {
                own.clone_from(other);
            }
        };
        fill(&mut self.agent_id, &other.agent_id);
        fill(&mut self.model, &other.model);
        fill(&mut self.session_key, &other.session_key);
        fill(&mut self.message_channel, &other.message_channel);
    }
}

/// What its own table, or its token's claims, say of a principal.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    pub(super) scopes: ScopeSet,
    pub(super) limits: PrincipalLimits,
}

/// What one principal holds under one policy, as far as it does not depend on the request.
#[derive(Debug)]
pub struct Holding {
    /// What its own table, or its token's claims, give it.
    pub(super) own: Own,
    /// The places of its grants.
    pub(super) grants: Vec<usize>,
    /// The sum, where no grant has a condition.
    pub(super) always: Option<Terms>,
}

impl Holding {
    pub(super) fn new(own: Own, places: Vec<usize>, live: &Live) -> Self {
        let mut held = places.iter().filter_map(|p| live.grants.get(*p));
        let always = held.clone().all(|g| g.when.is_always()).then(|| Terms::sum(&own, &mut held, live));
        Self { own, grants: places, always }
    }

    /// Whether a grant that says more than scopes covers some readings of the path and not others:
    /// whether it holds then depends on the gateway.
    pub(super) fn is_spelled_apart(&self, grants: &[GrantRule], at: Circumstances<'_>) -> bool {
        self.always.is_none()
            && self.grants.iter().filter_map(|p| grants.get(*p)).any(|g| g.binds() && g.when.is_spelled_apart(at.path))
    }

    /// What applies to a request in these circumstances.
    pub(super) fn terms(&self, at: Circumstances<'_>, live: &Live) -> std::borrow::Cow<'_, Terms> {
        if let Some(always) = &self.always {
            return std::borrow::Cow::Borrowed(always);
        }
        let held = self.grants.iter().filter_map(|p| live.grants.get(*p)).filter(|g| g.when.failing(at).is_none());
        std::borrow::Cow::Owned(Terms::sum(&self.own, held, live))
    }

    /// The limits that hold whatever the request is.
    pub(super) fn limits(&self, live: &Live) -> PrincipalLimits {
        self.always.as_ref().map_or_else(|| self.own.limits.or(live.limits), |terms| terms.limits)
    }
}
