//! What the caller may do: a principal and a request in, a [`Grant`] or a [`Refusal`] out.
//!
//! A [`Policy`] is an immutable snapshot of the live configuration. A request holds one from its
//! first byte to its last log line. Only this module makes a [`Grant`].

use crate::authn::{Authenticator, Identity, Principal};
use crate::config::{Excess, HeaderRule, HeaderRules, Live};
use crate::headers::{self, Governed};
use crate::refusal::Refusal;
use crate::route::{Need, Route, RouteTable};
use crate::scope::{ADMIN, Scope, ScopeSet};
use crate::target::Path;
use http::{HeaderValue, Method};
use std::sync::Arc;

/// The rules in force.
#[derive(Debug)]
pub struct Policy {
    generation: u64,
    authenticator: Authenticator,
    routes: RouteTable,
    tokens: Vec<Ceiling>,
    gateway_secret: Ceiling,
    anonymous: Ceiling,
    excess: Excess,
    headers: HeaderRules,
    credential: Option<HeaderValue>,
    nothing: Ceiling,
}

/// The most a principal may do, with its header value ready.
#[derive(Debug, Clone)]
struct Ceiling {
    scopes: Arc<ScopeSet>,
    header: HeaderValue,
}

impl Ceiling {
    fn new(scopes: ScopeSet) -> Self {
        let header = render(&scopes);
        Self { scopes: Arc::new(scopes), header }
    }
}

/// A scope name holds visible ASCII only, so this cannot fail; and if it did, nothing is granted.
fn render(scopes: &ScopeSet) -> HeaderValue {
    HeaderValue::from_str(&scopes.to_header()).unwrap_or(HeaderValue::from_static(""))
}

/// Leave to pass: who goes, and with which scopes. Nothing else can write the scopes header.
#[derive(Debug, Clone)]
pub struct Grant {
    principal: Option<Arc<Principal>>,
    effective: Arc<ScopeSet>,
    header: HeaderValue,
}

impl Grant {
    fn under(ceiling: &Ceiling, principal: Option<&Arc<Principal>>) -> Self {
        Self { principal: principal.cloned(), effective: ceiling.scopes.clone(), header: ceiling.header.clone() }
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

    /// The scopes header's value.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }
}

/// What a decision is made on, besides the principal.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The route.
    pub route: &'a Route,
    /// The scopes asked for; `None` when the header is absent (law 3).
    pub requested: Option<&'a ScopeSet>,
    /// Which of the governed headers were sent.
    pub governed: &'a [Governed],
}

impl Policy {
    /// Compiles the live configuration.
    #[must_use]
    pub fn compile(live: &Live, generation: u64) -> Self {
        let accepted = live.gateway_secret.as_ref().and_then(|_| live.gateway_auth.secret());
        Self {
            generation,
            authenticator: Authenticator::new(&live.tokens, accepted, live.anonymous.as_ref()),
            routes: RouteTable::new(live.routes.clone(), Need::Scope(live.unlisted_routes.clone())),
            tokens: live.tokens.iter().map(|t| Ceiling::new(t.scopes.clone())).collect(),
            gateway_secret: Ceiling::new(live.gateway_secret.clone().unwrap_or_default()),
            anonymous: Ceiling::new(live.anonymous.as_ref().map(|a| a.scopes.clone()).unwrap_or_default()),
            excess: live.excess,
            headers: live.headers,
            credential: headers::credential(&live.gateway_auth),
            nothing: Ceiling::new(ScopeSet::empty()),
        }
    }

    /// The number of this policy, counted from the process's start.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Who is calling?
    #[must_use]
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// The route a request takes.
    #[must_use]
    pub fn route(&self, method: &Method, path: Path<'_>) -> &Arc<Route> {
        self.routes.find(method, path)
    }

    /// What authenticates this proxy to the gateway.
    #[must_use]
    pub fn credential(&self) -> Option<&HeaderValue> {
        self.credential.as_ref()
    }

    /// Leave for a caller nobody proved, on a route that asks for no proof: no scope at all.
    #[must_use]
    pub fn unproven(&self, route: &Route) -> Option<Grant> {
        match route.need {
            Need::Public | Need::Health(_) => Some(Grant::under(&self.nothing, None)),
            Need::Scope(_) => None,
        }
    }

    /// May this principal do this?
    ///
    /// # Errors
    /// The [`Refusal`] that names what is missing.
    pub fn decide(&self, principal: &Arc<Principal>, request: Request<'_>) -> Result<Grant, Refusal> {
        let ceiling = self.ceiling(principal.identity());
        let grant = match request.requested {
            None => Grant::under(ceiling, Some(principal)),
            Some(requested) => Grant::under(&self.narrowed(ceiling, requested)?, Some(principal)),
        };
        if let Need::Scope(needed) = &request.route.need
            && !grant.effective.satisfies(needed)
        {
            let held = ceiling.scopes.satisfies(needed);
            return Err(Refusal::ScopeMissing { needed: needed.clone(), held });
        }
        self.judge_headers(request.governed, &grant)?;
        Ok(grant)
    }

    fn ceiling(&self, identity: Identity) -> &Ceiling {
        match identity {
            Identity::Token(index) => self.tokens.get(index).unwrap_or(&self.nothing),
            Identity::GatewaySecret => &self.gateway_secret,
            Identity::Anonymous => &self.anonymous,
        }
    }

    fn narrowed(&self, ceiling: &Ceiling, requested: &ScopeSet) -> Result<Ceiling, Refusal> {
        let excess = requested.excess_over(&ceiling.scopes);
        if excess.is_empty() {
            return Ok(Ceiling::new(requested.clone()));
        }
        match self.excess {
            Excess::Refuse => Err(Refusal::ScopeExcess { excess }),
            Excess::Narrow => Ok(Ceiling::new(requested.meet(&ceiling.scopes))),
        }
    }

    fn judge_headers(&self, sent: &[Governed], grant: &Grant) -> Result<(), Refusal> {
        for governed in sent {
            let rule = match governed {
                Governed::AgentId => self.headers.agent_id,
                Governed::Model => self.headers.model,
                Governed::SessionKey => self.headers.session_key,
                Governed::MessageChannel => self.headers.message_channel,
            };
            let why = match rule {
                HeaderRule::Pass => continue,
                HeaderRule::Admin if grant.effective.satisfies(&Scope::known(ADMIN)) => continue,
                HeaderRule::Admin => "it needs operator.admin",
                HeaderRule::Refuse => "the policy refuses it",
            };
            return Err(Refusal::HeaderDenied { header: governed.name(), why });
        }
        Ok(())
    }
}
