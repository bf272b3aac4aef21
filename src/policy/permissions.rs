//! What a principal holds: scopes, and the say over the gateway's own headers.

use super::app_user;
use super::grants::{Reach, RequestFacts, may_rule};
use crate::config::{DynamicConfig, Excess, GrantRule, HeaderRule, HeaderRules, PrincipalLimits};
use crate::glob::Glob;
use crate::headers::GatewayHeader;
use crate::refusal::{Refusal, UserFault};
use crate::request_path::Path;
use crate::scope::{Scope, ScopeSet};
use http::HeaderValue;
use std::sync::Arc;

/// The most a principal may do, with its header value ready.
#[derive(Debug, Clone)]
pub(super) struct ScopeLimit {
    pub(super) scopes: Arc<ScopeSet>,
    pub(super) header: HeaderValue,
}

impl ScopeLimit {
    pub(super) fn new(scopes: ScopeSet) -> Self {
        // A scope's name holds visible ASCII only, so this cannot fail; and if it did, nothing is
        // granted.
        let header = HeaderValue::from_str(&scopes.to_header()).unwrap_or(HeaderValue::from_static(""));
        Self { scopes: Arc::new(scopes), header }
    }
}

/// What applies to one principal's request.
#[derive(Debug, Clone)]
pub(super) struct EffectiveRules {
    pub(super) scope_limit: ScopeLimit,
    pub(super) excess: Excess,
    /// How much the principal may ask for.
    pub(super) limits: PrincipalLimits,
    /// Who the principal is to the gateway, if a grant says so.
    pub(super) gateway_user: Option<HeaderValue>,
    rules: HeaderRules,
    /// Tools that an app's rule lists, beside those of its user's.
    app_tools: Option<Arc<[Glob]>>,
    /// Of what the rules for an app and for its user leave nothing.
    conflict: Option<&'static str>,
}

/// What a principal's own table and its grants say, before `[policy]` fills in the rest.
struct Stated {
    scopes: ScopeSet,
    limits: PrincipalLimits,
    rules: HeaderRules,
    excess: Option<Excess>,
    gateway_user: Option<HeaderValue>,
}

impl Stated {
    fn of<'a>(own: &Own, grants: impl Iterator<Item = &'a GrantRule>) -> Self {
        let mut stated = Self {
            scopes: own.scopes.clone(),
            limits: PrincipalLimits::default(),
            rules: HeaderRules::default(),
            excess: None,
            gateway_user: None,
        };
        for grant in grants {
            stated.scopes = stated.scopes.union(&grant.scopes);
            stated.excess = stated.excess.or(grant.excess);
            stated.gateway_user = stated.gateway_user.or_else(|| grant.gateway_user.clone());
            stated.rules.fill_from(&grant.headers);
            stated.limits = stated.limits.strictest(grant.limits);
        }
        stated
    }

    fn with_defaults(mut self, own: &Own, live: &DynamicConfig) -> EffectiveRules {
        self.rules.fill_from(&live.headers);
        EffectiveRules {
            scope_limit: ScopeLimit::new(self.scopes),
            excess: self.excess.unwrap_or(live.excess),
            limits: own.limits.or(self.limits).or(live.limits),
            gateway_user: self.gateway_user,
            rules: self.rules,
            app_tools: None,
            conflict: None,
        }
    }

    /// What is left of it for a user of an app that may do this: never more than either may.
    fn within(self, app: &Self, own: &Own, live: &DynamicConfig) -> EffectiveRules {
        let app_tools = app_user::tools_beside(&app.rules, &self.rules);
        let (mut rules, conflict) = app_user::meet(&app.rules, &self.rules);
        // Two people of one app are kept apart unless a grant says otherwise: what everybody may do is said of
        // whole clients.
        let everybodys = live.headers.session_key.clone().filter(|rule| *rule != HeaderRule::Pass);
        rules.session_key = rules.session_key.or(everybodys).or(Some(HeaderRule::Prefix));
        rules.fill_from(&live.headers);
        let met = Self { scopes: self.scopes.meet(&app.scopes), rules, excess: self.excess.or(app.excess), ..self };
        EffectiveRules { app_tools, conflict, ..met.with_defaults(own, live) }
    }
}

impl EffectiveRules {
    /// Adds up what a principal's own table says and its grants; of several that speak of a header,
    /// of an excess or of a name, the first in the file decides. Of several limits the strictest counts.
    fn sum<'a>(own: &Own, grants: impl Iterator<Item = &'a GrantRule>, live: &DynamicConfig) -> Self {
        Stated::of(own, grants).with_defaults(own, live)
    }

    /// The same for every route at once. Only grants that hold on all of them give scopes and a name;
    /// of what they say of a header, of an excess and of limits, the strictest counts that could decide on some
    /// route: the path is the client's to choose.
    fn everywhere<'a>(own: &Own, grants: impl Iterator<Item = &'a GrantRule>, live: &DynamicConfig) -> Self {
        let mut scopes = own.scopes.clone();
        let mut limits = PrincipalLimits::default();
        let mut gateway_user = None;
        let mut rules = [const { Strictest::new() }; GatewayHeader::ALL.len()];
        let mut tools = Strictest::new();
        let mut strictest_excess = Strictest::new();
        let mut hear = |headers: &HeaderRules, everywhere| {
            let said = GatewayHeader::ALL.into_iter().map(|header| headers.get(header).cloned());
            rules.iter_mut().zip(said).for_each(|(rule, said)| rule.hear(said, everywhere, strictness));
            tools.hear(headers.tools.clone(), everywhere, |_| 1);
        };
        for grant in grants {
            let everywhere = grant.when.is_everywhere();
            if everywhere {
                scopes = scopes.union(&grant.scopes);
                gateway_user = gateway_user.or_else(|| grant.gateway_user.clone());
            }
            limits = limits.strictest(grant.limits);
            hear(&grant.headers, everywhere);
            strictest_excess.hear(grant.excess, everywhere, |e| u8::from(*e == Excess::Refuse));
        }
        hear(&live.headers, true);
        strictest_excess.hear(Some(live.excess), true, |e| u8::from(*e == Excess::Refuse));
        let mut found = HeaderRules { tools: tools.found, ..HeaderRules::default() };
        GatewayHeader::ALL.into_iter().zip(rules).for_each(|(header, rule)| *found.slot(header) = rule.found);
        Self {
            scope_limit: ScopeLimit::new(scopes),
            excess: strictest_excess.found.unwrap_or(live.excess),
            limits: own.limits.or(limits).or(live.limits),
            gateway_user,
            rules: found,
            app_tools: None,
            conflict: None,
        }
    }

    pub(super) fn rule(&self, gateway_headers: GatewayHeader) -> &HeaderRule {
        let default = match gateway_headers {
            GatewayHeader::Model => &HeaderRule::Admin,
            GatewayHeader::AgentId | GatewayHeader::SessionKey | GatewayHeader::MessageChannel => &HeaderRule::Pass,
            // Where on a channel a message goes is not left to whom the channel is not left.
            GatewayHeader::AccountId | GatewayHeader::MessageTo | GatewayHeader::ThreadId => {
                match self.stated(GatewayHeader::MessageChannel) {
                    None | Some(HeaderRule::Pass) => &HeaderRule::Pass,
                    Some(HeaderRule::Admin) => &HeaderRule::Admin,
                    Some(_) => &HeaderRule::Refuse,
                }
            }
        };
        self.stated(gateway_headers).unwrap_or(default)
    }

    /// The rule that the policy states; `None` where it leaves the header to the default.
    fn stated(&self, gateway_headers: GatewayHeader) -> Option<&HeaderRule> {
        self.rules.get(gateway_headers)
    }

    /// Whether the policy says which tools may be called directly.
    pub(super) fn lists_tools(&self) -> bool {
        self.rules.tools.is_some()
    }

    /// Whether this tool may be called directly, as far as the policy says which may.
    pub(super) fn allows_tool(&self, tool: &str) -> bool {
        let listed = |tools: &Option<Arc<[Glob]>>| {
            tools.as_ref().is_none_or(|tools| tools.iter().any(|name| name.matches(tool)))
        };
        listed(&self.rules.tools) && listed(&self.app_tools)
    }

    /// Refuses where the rules for an app and for its user have nothing in common.
    pub(super) fn common(&self) -> Result<(), Refusal> {
        self.conflict.map_or(Ok(()), |header| Err(Refusal::User(UserFault::NothingCommon { header })))
    }

    /// Whether the policy states a rule for this header that not every caller meets; `admin`: whether this
    /// one holds `operator.admin`.
    pub(super) fn is_bound(&self, governed: GatewayHeader, admin: bool) -> bool {
        match self.stated(governed) {
            Some(HeaderRule::Pin(_) | HeaderRule::Allow(_) | HeaderRule::Prefix | HeaderRule::Refuse) => true,
            Some(HeaderRule::Admin) => !admin,
            Some(HeaderRule::Pass) | None => false,
        }
    }

    /// Of what this principal has a rule that can be kept on single requests only.
    pub(super) fn bound(&self) -> Option<&'static str> {
        let admin = self.scope_limit.scopes.satisfies(Scope::admin());
        let header = GatewayHeader::ALL.into_iter().find(|header| self.is_bound(*header, admin));
        header.map(GatewayHeader::name).or_else(|| self.rules.tools.is_some().then_some("tools"))
    }
}

/// The strictest of what may decide somewhere. The first in the file decides where several speak, so
/// nothing counts behind one that speaks everywhere.
struct Strictest<T> {
    found: Option<T>,
    settled: bool,
}

impl<T> Strictest<T> {
    const fn new() -> Self {
        Self { found: None, settled: false }
    }

    fn hear(&mut self, said: Option<T>, everywhere: bool, strictness: impl Fn(&T) -> u8) {
        let Some(said) = said.filter(|_| !self.settled) else { return };
        if self.found.as_ref().is_none_or(|found| strictness(&said) > strictness(found)) {
            self.found = Some(said);
        }
        self.settled = everywhere;
    }
}

fn strictness(rule: &HeaderRule) -> u8 {
    match rule {
        HeaderRule::Pass => 0,
        HeaderRule::Admin => 1,
        HeaderRule::Refuse | HeaderRule::Pin(_) | HeaderRule::Allow(_) | HeaderRule::Prefix => 2,
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
        for header in GatewayHeader::ALL {
            let own = self.slot(header);
            if own.is_none() {
                *own = other.get(header).cloned();
            }
        }
        if self.tools.is_none() {
            self.tools.clone_from(&other.tools);
        }
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
pub struct Permissions {
    /// What its own table, or its token's claims, give it.
    pub(super) own: Own,
    /// The places of its grants.
    pub(super) grants: Vec<usize>,
    /// The sum, where no grant has a condition.
    pub(super) always: Option<EffectiveRules>,
    /// What the app may do that calls on its behalf: none of it more.
    app: Option<Arc<Permissions>>,
}

impl Permissions {
    pub(super) fn new(own: Own, places: Vec<usize>, live: &DynamicConfig) -> Self {
        let mut held = places.iter().filter_map(|p| live.grants.get(*p));
        let always = held.clone().all(|g| g.when.is_always()).then(|| EffectiveRules::sum(&own, &mut held, live));
        Self { own, grants: places, always, app: None }
    }

    /// What a user holds of what its app may do.
    pub(super) fn within(app: &Arc<Self>, own: Own, places: Vec<usize>) -> Self {
        Self { own, grants: places, always: None, app: Some(app.clone()) }
    }

    /// The places of its grants, and of those of the app that calls on its behalf.
    pub(super) fn grants_and_app_s(&self) -> impl Iterator<Item = usize> {
        self.grants.iter().chain(self.app.iter().flat_map(|app| &app.grants)).copied()
    }

    /// Whether no rule gives it anything or names it.
    pub(super) fn is_nothing(&self) -> bool {
        self.grants.is_empty() && self.own.scopes.is_empty()
    }

    /// The scopes of the app that calls on its behalf.
    pub(super) fn app_scopes(&self, at: RequestFacts<'_>, live: &DynamicConfig) -> Option<ScopeSet> {
        self.app.as_ref().map(|app| (*app.effective_rules(at, live).scope_limit.scopes).clone())
    }

    /// The limits of the app that calls on its behalf.
    pub(super) fn app_limits(&self, at: RequestFacts<'_>, live: &DynamicConfig) -> Option<PrincipalLimits> {
        self.app.as_ref().map(|app| app.effective_rules(at, live).limits)
    }

    fn held<'a>(&'a self, at: RequestFacts<'_>, live: &'a DynamicConfig) -> impl Iterator<Item = &'a GrantRule> {
        self.grants.iter().filter_map(|p| live.grants.get(*p)).filter(move |g| may_rule(&g.when, at))
    }

    /// Whether a grant that says more than scopes covers some readings of the path and not others:
    /// whether it holds then depends on the gateway.
    pub(super) fn is_spelled_apart(&self, grants: &[GrantRule], path: Path<'_>) -> bool {
        self.app.as_ref().is_some_and(|app| app.is_spelled_apart(grants, path))
            || self.always.is_none()
                && self.grants.iter().filter_map(|p| grants.get(*p)).any(|g| g.binds() && g.when.is_spelled_apart(path))
    }

    /// What applies in these circumstances.
    pub(super) fn effective_rules(
        &self,
        at: RequestFacts<'_>,
        live: &DynamicConfig,
    ) -> std::borrow::Cow<'_, EffectiveRules> {
        if let Some(always) = &self.always {
            return std::borrow::Cow::Borrowed(always);
        }
        let held = self.held(at, live);
        if let Some(app) = &self.app {
            let most = Stated::of(&app.own, app.held(at, live));
            return std::borrow::Cow::Owned(Stated::of(&self.own, held).within(&most, &self.own, live));
        }
        std::borrow::Cow::Owned(match at.reach {
            Reach::Request { .. } => EffectiveRules::sum(&self.own, held, live),
            Reach::Everywhere => EffectiveRules::everywhere(&self.own, held, live),
        })
    }

    /// The limits that hold whatever the request is.
    pub(super) fn limits(&self, live: &DynamicConfig) -> PrincipalLimits {
        self.always.as_ref().map_or_else(|| self.own.limits.or(live.limits), |effective_rules| effective_rules.limits)
    }
}
