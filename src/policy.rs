//! What the caller may do: a principal and a request in, a [`Grant`] or a [`Refusal`] out.
//!
//! A [`Policy`] is an immutable snapshot of the live configuration. A request holds one from its
//! first byte to its last log line. Only this module makes a [`Grant`].

mod app_user;
mod cache;
pub mod explanation;
mod grant;
pub mod grants;
mod isolation;
mod permissions;
mod request;
mod upstream_headers;
mod validity;
mod websocket;

pub use grant::Grant;
use isolation::Isolation;
pub use permissions::Permissions;
pub use request::Request;
pub use upstream_headers::{UpstreamCredentials, outbound};
pub use websocket::SocketRequest;

use crate::authn::{Authenticator, Credential, Identity, PassthroughCredential, Principal, tailscale, within};
use crate::config::{DynamicConfig, Excess, GatewayAuth, HeaderRule, PrincipalLimits, SimulatedCaller, Token};
use crate::headers::GatewayHeader;
use crate::jwks::KeySlot;
use crate::metric_labels::RouteLabel;
use crate::refusal::Refusal;
use crate::request_path::{Path, PathFault};
use crate::route::{Need, Route, RouteTable, builtin};
use crate::scope::{ADMIN, Scope, ScopeSet};
use cache::Cache;
use grants::Index;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use permissions::{EffectiveRules, Own, ScopeLimit};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The rules in force.
#[derive(Debug)]
pub struct Policy {
    generation: u64,
    authenticator: Authenticator,
    cache: Cache,
    routes: RouteTable,
    live: Arc<DynamicConfig>,
    index: Index,
    tokens: Vec<Arc<Permissions>>,
    gateway_secret: Arc<Permissions>,
    anonymous: Arc<Permissions>,
    /// Of a caller that no rule names.
    nobody: Arc<Permissions>,
    /// When grants begin and end, in order.
    moments: Box<[Timestamp]>,
    /// Whether any caller is limited.
    limited: bool,
    credentials: UpstreamCredentials,
    /// Where the gateway is told who is calling: the names that no issuer's principal may go by.
    reserved_names: HashSet<Arc<str>>,
    probe_user: HeaderValue,
    nothing: ScopeLimit,
}

/// An authenticated caller, and what it holds under the policy that authenticated it.
#[derive(Debug, Clone)]
pub struct Proven {
    /// Who.
    pub principal: Arc<Principal>,
    /// What.
    pub permissions: Arc<Permissions>,
}

impl Policy {
    /// Compiles the live configuration for a dry run: no key of any issuer is there.
    #[must_use]
    pub fn dry_run(live: DynamicConfig) -> Self {
        let slots: Vec<Arc<KeySlot>> = live.issuers.iter().map(|_| Arc::default()).collect();
        Self::compile(live, &slots, 0)
    }

    /// Compiles the live configuration; `slots` are where the issuers' keys are, in its order.
    #[must_use]
    pub fn compile(live: DynamicConfig, slots: &[Arc<KeySlot>], generation: u64) -> Self {
        let names: Vec<&str> = live.tokens.iter().map(|t| &*t.name).collect();
        let index = Index::new(&live.grants, &names, live.issuers.len());
        let credentials = UpstreamCredentials::new(&live.gateway_auth);
        let permissions = |scopes: ScopeSet, places: Vec<usize>| {
            Arc::new(Permissions::new(Own { scopes, limits: PrincipalLimits::default() }, places, &live))
        };
        let limits = live.tokens.iter().map(|t| t.limits).chain(live.grants.iter().map(|g| g.limits));
        let limits = limits.chain(live.routes.iter().filter_map(|r| match &r.need {
            Need::PassthroughCredential(rule) => Some(rule.limits),
            _ => None,
        }));
        Self {
            generation,
            authenticator: Authenticator::new(&live, slots),
            cache: Cache::new(live.jwt_cache),
            routes: RouteTable::new(live.routes.clone(), live.unlisted_routes.clone()).with_ui(live.websocket.ui),
            tokens: tokens(&live, &index),
            gateway_secret: permissions(live.gateway_secret.clone().unwrap_or_default(), index.gateway_secret()),
            nobody: permissions(ScopeSet::empty(), Vec::new()),
            anonymous: permissions(
                live.anonymous.as_ref().map(|a| a.scopes.clone()).unwrap_or_default(),
                index.anonymous(),
            ),
            index,
            limited: limits.chain([live.limits]).any(|l| !l.is_none()),
            moments: moments(&live),
            reserved_names: if credentials.names_callers() { reserved_names(&live) } else { HashSet::new() },
            probe_user: probe_user(&live),
            credentials,
            live: Arc::new(live),
            nothing: ScopeLimit::new(ScopeSet::empty()),
        }
    }

    /// The number of this policy, counted from the process's start.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What the policy was compiled from.
    #[must_use]
    pub fn live(&self) -> &DynamicConfig {
        &self.live
    }

    /// Every route.
    #[must_use]
    pub fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// Who a caller would be, and what it would hold.
    ///
    /// # Errors
    /// The [`Refusal`] that a true proof of the same would get.
    pub fn simulate(&self, who: &SimulatedCaller, peer: Option<IpAddr>, now: Timestamp) -> Result<Proven, Refusal> {
        self.authenticator.simulate(who, peer, now).map(|p| self.proven(p))
    }

    /// Who proves whom.
    #[must_use]
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// The route a request takes.
    #[must_use]
    pub fn route(&self, method: &Method, path: Path<'_>) -> Arc<Route> {
        self.routes.find(method, path)
    }

    /// What authenticates this proxy to the gateway.
    #[must_use]
    pub fn credentials(&self) -> &UpstreamCredentials {
        &self.credentials
    }

    /// In whose name this proxy asks its own questions.
    #[must_use]
    pub fn probe_user(&self) -> &HeaderValue {
        &self.probe_user
    }

    /// Who is calling, and what do they hold?
    ///
    /// # Errors
    /// The [`Refusal`] that says why the caller is not authenticated.
    pub fn authenticate(
        &self,
        credential: Credential<'_>,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Proven, Refusal> {
        let Credential::Jwt(token, header) = credential else {
            return self.authenticator.authenticate(credential, peer, now).map(|p| self.proven(p));
        };
        let key = self.cache.key(token, header);
        if let Some(proven) = self.cache.get(&key, &self.authenticator, now) {
            return Ok(proven);
        }
        let principal = self.authenticator.authenticate(credential, peer, now)?;
        let keys = principal.verified().map(|v| v.keys).unwrap_or_default();
        let proven = self.proven(principal);
        self.cache.put(key, &proven, keys, now);
        Ok(proven)
    }

    /// Whether a principal of an earlier policy is still one under this.
    ///
    /// # Errors
    /// The [`Refusal`] a new request with the same proof would get.
    pub fn confirm(&self, principal: &Arc<Principal>, peer: Option<IpAddr>, now: Timestamp) -> Result<Proven, Refusal> {
        self.authenticator.confirm(principal, peer, now).map(|p| self.proven(p))
    }

    fn proven(&self, principal: Arc<Principal>) -> Proven {
        let permissions = match principal.identity() {
            Identity::Token(token) => self.tokens.get(token).cloned(),
            // Whoever it calls for is still to be told; until then it holds nothing.
            Identity::App(_) => Some(self.nobody.clone()),
            Identity::GatewaySecret => Some(self.gateway_secret.clone()),
            Identity::Anonymous => Some(self.anonymous.clone()),
            Identity::AppUser(_) | Identity::Issuer(_) | Identity::Tailnet => None,
        };
        let permissions = permissions.unwrap_or_else(|| {
            let own = Own { scopes: self.own(&principal), limits: PrincipalLimits::default() };
            let places = self.index.of(&principal, &self.live.grants);
            match principal.identity() {
                Identity::AppUser(app) => {
                    let app = self.tokens.get(app).unwrap_or(&self.nobody);
                    Arc::new(Permissions::within(app, own, places))
                }
                _ => Arc::new(Permissions::new(own, places, &self.live)),
            }
        });
        Proven { principal, permissions }
    }

    /// On whose behalf does a caller ask? Itself, unless its token is an app's, which says so beside.
    ///
    /// # Errors
    /// The [`Refusal`] of an app that does not say it, or not so that it counts.
    pub fn on_behalf(&self, caller: Proven, headers: &HeaderMap, now: Timestamp) -> Result<Proven, Refusal> {
        match caller.principal.identity() {
            Identity::App(_) => self.authenticator.on_behalf(&caller.principal, headers, now).map(|p| self.proven(p)),
            _ => Ok(caller),
        }
    }

    /// Whether the gateway gets no header of this name, beside those that are the gateway's own: the client's
    /// tokens, chats and users are for this proxy.
    #[must_use]
    pub fn keeps(&self, name: &HeaderName) -> bool {
        self.authenticator.carries_token(name) || self.authenticator.describes_user(name) || self.live.chats.owns(name)
    }

    /// Whether any caller is limited in how much they may ask for.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// The tokens that are limited, and how.
    pub fn limited_tokens(&self) -> impl Iterator<Item = (&Arc<str>, PrincipalLimits)> {
        let all = self.live.tokens.iter().zip(&self.tokens);
        all.map(|(token, held)| (&token.name, held.limits(&self.live))).filter(|(_, limits)| !limits.is_none())
    }

    /// The scopes that a principal brings along: its token's claims, or its tailnet's capabilities.
    fn own(&self, principal: &Principal) -> ScopeSet {
        if let Some(scopes) = principal.claimed_scopes() {
            return scopes.clone();
        }
        let capability = self.live.tailnet_capability.as_ref();
        principal
            .tailnet()
            .zip(capability)
            .map(|(peer, c)| tailscale::scopes(peer, &c.name, &c.max_scopes))
            .unwrap_or_default()
    }

    /// Permission for a caller that is not authenticated here: no scope at all, and with it the credential of
    /// its own that the route passes on. `None`: the route wants a principal.
    ///
    /// # Errors
    /// The [`Refusal`] of one who may not come from there, or whose credential is for this proxy.
    pub fn unauthenticated(
        &self,
        route: &Route,
        own: &PassthroughCredential,
        peer: Option<IpAddr>,
    ) -> Result<Option<Grant>, Refusal> {
        let Need::PassthroughCredential(rule) = &route.need else {
            return Ok(route.need.is_public().then(|| Grant::under(&self.nothing, None)));
        };
        if !rule.cidrs.is_empty() && !peer.is_some_and(|peer| within(&rule.cidrs, peer)) {
            return Err(Refusal::RouteAddress);
        }
        if self.authenticator.is_for_this_proxy(own) {
            return Err(Refusal::CredentialForProxy);
        }
        let grant = Grant::under(&self.nothing, None);
        Ok(Some(Grant { passthrough_credential: Some(own.clone()), limits: rule.limits.or(self.live.limits), ..grant }))
    }

    /// May this principal do this?
    ///
    /// # Errors
    /// The [`Refusal`] that names what is missing.
    pub fn decide(&self, proven: &Proven, request: Request<'_>) -> Result<Grant, Refusal> {
        let at = request.at();
        if proven.permissions.is_spelled_apart(&self.live.grants, request.path) {
            return Err(Refusal::Target(PathFault::Spelling));
        }
        app_user::is_named(proven)?;
        let effective_rules = proven.permissions.effective_rules(at, &self.live);
        effective_rules.common()?;
        let mut grant = match request.requested {
            None => Grant::under(&effective_rules.scope_limit, Some(&proven.principal)),
            Some(requested) => Grant::under(&narrowed(&effective_rules, requested)?, Some(&proven.principal)),
        };
        if let Some(needed) = request.route.need.missing(&grant.effective) {
            let held = effective_rules.scope_limit.scopes.satisfies(&needed);
            return Err(not_served(request, needed, held));
        }
        let session = govern(&effective_rules, request, &mut grant)?;
        Isolation::new(proven, &effective_rules, &self.live, &grant).check(&request, session.as_ref(), &mut grant)?;
        grant.limits = effective_rules.limits;
        grant.app_limits = proven.permissions.app_limits(at, &self.live);
        if self.credentials.names_callers() {
            grant.user = Some(effective_rules.gateway_user.clone().unwrap_or_else(|| self.user(&proven.principal)));
        }
        Ok(grant)
    }

    /// Whether a request to this path names a model that the gateway may refuse: from 2026.6 on it takes one from
    /// `operator.admin` alone, in the modes in which it knows its callers' scopes.
    #[must_use]
    pub fn sends_model_without_admin(&self, grant: &Grant, path: &str) -> bool {
        matches!(path, "/v1/chat/completions" | "/v1/responses" | "/v1/embeddings")
            && matches!(self.live.gateway_auth, GatewayAuth::None | GatewayAuth::TrustedProxy(_))
            && grant.gateway_headers().iter().any(|(header, _)| *header == GatewayHeader::Model)
            && !grant.effective().satisfies(Scope::admin())
    }

    /// The scopes that a principal holds for a request, before it is narrowed.
    #[must_use]
    pub fn held(&self, proven: &Proven, request: Request<'_>) -> ScopeSet {
        (*proven.permissions.effective_rules(request.at(), &self.live).scope_limit.scopes).clone()
    }

    /// A principal's name as the gateway is told it. An issuer chooses its subjects' names freely, and an app its
    /// users', so one that is a token's here too goes by the issuer's or the app's name in front.
    fn user(&self, principal: &Principal) -> HeaderValue {
        match principal.authority() {
            Some(authority) if self.reserved_names.contains(principal.name()) => {
                upstream_headers::user(&format!("{authority}/{}", principal.name()))
            }
            _ => upstream_headers::user(principal.name()),
        }
    }
}

/// Why a route is not open to a caller. A path that no route serves is mostly a mistyped one: no one is to
/// be given `operator.admin` for it.
fn not_served(request: Request<'_>, needed: Scope, held: bool) -> Refusal {
    if request.route.label == RouteLabel::Unlisted && needed.as_str() == ADMIN && !held {
        let path: String = request.path.as_str().split('?').next().unwrap_or_default().chars().take(64).collect();
        return Refusal::RouteUnknown { likely: builtin::likely(&path), path };
    }
    Refusal::ScopeMissing { needed, held }
}

/// What each token holds: in memory once for all that hold the same.
fn tokens(live: &DynamicConfig, index: &Index) -> Vec<Arc<Permissions>> {
    let mut known: HashMap<(ScopeSet, PrincipalLimits, Vec<usize>), Arc<Permissions>> = HashMap::new();
    let held = |(i, token): (usize, &Token)| {
        let (scopes, limits, places) = (&token.scopes, token.limits, index.token(i));
        let of = |places| Permissions::new(Own { scopes: scopes.clone(), limits }, places, live);
        let entry = known.entry((scopes.clone(), limits, places.clone()));
        entry.or_insert_with(|| Arc::new(of(places))).clone()
    };
    live.tokens.iter().enumerate().map(held).collect()
}

/// When grants begin and end, in order.
fn moments(live: &DynamicConfig) -> Box<[Timestamp]> {
    let mut moments: Vec<_> = live.grants.iter().flat_map(|g| [g.when.not_before, g.when.expires]).flatten().collect();
    moments.sort_unstable();
    moments.dedup();
    moments.into_boxed_slice()
}

/// The names of principals that no issuer names.
fn reserved_names(live: &DynamicConfig) -> HashSet<Arc<str>> {
    let own = ["anonymous", "gateway-secret"].map(Arc::from);
    live.tokens.iter().map(|t| t.name.clone()).chain(own).collect()
}

/// A principal's name: the gateway may know no others.
fn probe_user(live: &DynamicConfig) -> HeaderValue {
    let mapped = live.grants.iter().find_map(|g| g.gateway_user.clone());
    let named = || live.tokens.first().map(|t| upstream_headers::user(&t.name));
    mapped.or_else(named).unwrap_or(HeaderValue::from_static("scopeshim"))
}

fn narrowed(effective_rules: &EffectiveRules, requested: &ScopeSet) -> Result<ScopeLimit, Refusal> {
    let excess = requested.excess_over(&effective_rules.scope_limit.scopes);
    if excess.is_empty() {
        return Ok(ScopeLimit::new(requested.clone()));
    }
    match effective_rules.excess {
        Excess::Refuse => Err(Refusal::ScopeExcess { excess }),
        Excess::Narrow => Ok(ScopeLimit::new(requested.meet(&effective_rules.scope_limit.scopes))),
    }
}

/// Settles which of the gateway's own headers are sent, and with which values. The session's key is given
/// back: whether it may be sent as it is depends on more.
fn govern(
    effective_rules: &EffectiveRules,
    request: Request<'_>,
    grant: &mut Grant,
) -> Result<Option<HeaderValue>, Refusal> {
    let mut session = None;
    for header in GatewayHeader::ALL {
        let sent = request.gateway_headers.iter().find(|(h, _)| *h == header).map(|(_, value)| value);
        let denied = |why| Err(Refusal::HeaderDenied { header: header.name(), why });
        let value = match (effective_rules.rule(header), sent) {
            (HeaderRule::Pin(value), _) => Some(value.clone()),
            (HeaderRule::Allow(values), None) => values.first().cloned(),
            (_, None) => None,
            (HeaderRule::Pass | HeaderRule::Prefix, Some(value)) => Some(value.clone()),
            (HeaderRule::Allow(values), Some(value)) if values.contains(value) => Some(value.clone()),
            (HeaderRule::Admin, Some(value)) if grant.effective.satisfies(Scope::admin()) => Some(value.clone()),
            (HeaderRule::Admin, Some(_)) => return denied("it needs operator.admin"),
            (HeaderRule::Allow(_), Some(_)) => return denied("its value is not among those allowed"),
            (HeaderRule::Refuse, Some(_)) => return denied("the policy refuses it"),
        };
        match header {
            GatewayHeader::SessionKey => session = value,
            _ => grant.gateway_headers.extend(value.map(|v| (header, v))),
        }
    }
    Ok(session)
}
