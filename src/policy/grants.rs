//! Which grants are a principal's, found without asking every grant.

mod tailscale;

use crate::authn::{Identity, Principal, within};
use crate::config::{ClaimPath, Conditions, GrantRule, Subject};
use crate::glob::Glob;
use crate::request_path::Path;
use crate::route::{Fit, PathRule, Pattern};
use http::Method;
use jiff::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use tailscale::TailnetIndex;

/// What a condition of a grant is checked on.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// What is reached.
    pub reach: Reach<'a>,
    /// The peer; `None` on a unix socket.
    pub peer: Option<IpAddr>,
    /// The moment.
    pub now: Timestamp,
}

/// How far a decision goes.
#[derive(Debug, Clone, Copy)]
pub enum Reach<'a> {
    /// One request.
    Request {
        /// Its method.
        method: &'a Method,
        /// Its path.
        path: Path<'a>,
    },
    /// Every route and method at once: a WebSocket. It has no path here, since its client picks one
    /// and the gateway takes an upgrade at any.
    Everywhere,
}

impl Conditions {
    /// Whether the grant holds whatever the request is.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.routes.is_empty()
            && self.methods.is_empty()
            && self.cidrs.is_empty()
            && self.not_before.is_none()
            && self.expires.is_none()
    }

    /// Whether the grant holds on every route and with every method.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.on_every_route() && self.methods.is_empty()
    }

    fn on_every_route(&self) -> bool {
        self.routes.is_empty()
            || self.routes.iter().any(|r| matches!(r.pattern(), Pattern::Prefix(prefix) if &**prefix == "/"))
    }

    /// The first condition that does not hold, in words; `None` when all do.
    #[must_use]
    pub fn failing(&self, at: RequestFacts<'_>) -> Option<&'static str> {
        match at.reach {
            Reach::Request { path, .. } if !self.routes.is_empty() => match PathRule::fit(&self.routes, path) {
                Fit::All => {}
                Fit::None => return Some("it is for other routes"),
                Fit::Some => return Some("the path has readings that are not its routes"),
            },
            Reach::Everywhere if !self.on_every_route() => {
                return Some("it is for certain routes, and a WebSocket is all of them");
            }
            Reach::Request { .. } | Reach::Everywhere => {}
        }
        match at.reach {
            Reach::Request { method, .. } if !self.methods.is_empty() && !self.methods.contains(method) => {
                return Some("it is for other methods");
            }
            Reach::Everywhere if !self.methods.is_empty() => {
                return Some("it is for certain methods, and a WebSocket is all of them");
            }
            Reach::Request { .. } | Reach::Everywhere => {}
        }
        self.failing_by_place_or_time(at)
    }

    /// The same of the conditions that the caller cannot choose for a request.
    fn failing_by_place_or_time(&self, at: RequestFacts<'_>) -> Option<&'static str> {
        if !self.cidrs.is_empty() && !at.peer.is_some_and(|p| within(&self.cidrs, p)) {
            return Some("it is for other addresses");
        }
        if self.not_before.is_some_and(|from| at.now < from) {
            return Some("it has not begun");
        }
        if self.expires.is_some_and(|until| at.now >= until) {
            return Some("it has expired");
        }
        None
    }
}

impl Conditions {
    /// Whether the readings of a path differ about the routes.
    pub(super) fn is_spelled_apart(&self, path: Path<'_>) -> bool {
        !self.routes.is_empty() && PathRule::fit(&self.routes, path) == Fit::Some
    }
}

/// Whether what a grant says of headers and of excess can apply: on this request, or on any that its
/// caller could send from here now.
#[must_use]
pub fn may_rule(when: &Conditions, at: RequestFacts<'_>) -> bool {
    match at.reach {
        Reach::Request { .. } => when.failing(at).is_none(),
        Reach::Everywhere => when.failing_by_place_or_time(at).is_none(),
    }
}

impl Subject {
    /// The first thing about a principal that does not fit, in words; `None` when all does.
    #[must_use]
    pub fn failing(&self, principal: &Principal) -> Option<String> {
        match (self, principal.identity()) {
            (Self::Token(names), Identity::Token(_)) => {
                let fits = names.iter().any(|n| n.matches(principal.name()));
                (!fits).then(|| "it is to other tokens".to_owned())
            }
            (Self::GatewaySecret, Identity::GatewaySecret) | (Self::Anonymous, Identity::Anonymous) => None,
            (Self::Issuer { issuer, claims, names }, Identity::Issuer(index)) if *issuer == index => {
                failing_claims(principal, claims, names)
            }
            (Self::AppUser { apps, claims, names }, Identity::AppUser(_)) => {
                let app = principal.app().map(|app| app.name()).unwrap_or_default();
                if !apps.iter().any(|name| name.matches(app)) {
                    return Some("it is to users of other apps".to_owned());
                }
                failing_claims(principal, claims, names)
            }
            (Self::Tailnet(to), Identity::Tailnet) => match principal.tailnet() {
                Some(peer) => to.failing(peer),
                None => Some("the tailnet says nothing".to_owned()),
            },
            _ => Some("it is to another identity source".to_owned()),
        }
    }
}

fn failing_claims(principal: &Principal, claims: &[(ClaimPath, Vec<Glob>)], names: &[Glob]) -> Option<String> {
    if !names.is_empty() && !names.iter().any(|n| n.matches(principal.name())) {
        return Some("it is to other subjects".to_owned());
    }
    claims.iter().find(|(path, wanted)| !principal.claims(path, wanted)).map(|(path, _)| {
        match principal.claim(path).as_slice() {
            [] => format!("the claim `{}` is not there", path.0),
            found => format!("the claim `{}` is {}", path.0, found.join(", ")),
        }
    })
}

/// The places of grants, by what a principal must have to get them.
#[derive(Debug, Default)]
pub(super) struct Index {
    tokens: Vec<Vec<usize>>,
    gateway_secret: Vec<usize>,
    anonymous: Vec<usize>,
    issuers: Vec<IssuerIndex>,
    /// Of the users of every app: which app it is, is checked on each.
    app_users: IssuerIndex,
    tailnet: TailnetIndex,
}

#[derive(Debug, Default)]
struct IssuerIndex {
    by_claim: HashMap<ClaimPath, HashMap<Box<str>, Vec<usize>>>,
    by_name: HashMap<Box<str>, Vec<usize>>,
    /// Grants with nothing exact to look up.
    rest: Vec<usize>,
}

impl Index {
    pub(super) fn new(grants: &[GrantRule], tokens: &[&str], issuers: usize) -> Self {
        let mut index = Self {
            tokens: vec![Vec::new(); tokens.len()],
            issuers: (0..issuers).map(|_| IssuerIndex::default()).collect(),
            ..Self::default()
        };
        // Two entries of one name: a token and the one it takes the place of.
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        let are_named = |g: &GrantRule| matches!(&g.to, Subject::Token(to) if to.iter().any(|n| n.exact().is_some()));
        if grants.iter().any(are_named) {
            tokens.iter().enumerate().for_each(|(i, name)| by_name.entry(name).or_default().push(i));
        }
        for (place, grant) in grants.iter().enumerate() {
            match &grant.to {
                Subject::Token(names) => {
                    for name in names {
                        if let Some(exact) = name.exact() {
                            for i in by_name.get(exact).into_iter().flatten() {
                                index.tokens.get_mut(*i).into_iter().for_each(|held| held.push(place));
                            }
                        } else {
                            let fitting = tokens.iter().zip(&mut index.tokens).filter(|(token, _)| name.matches(token));
                            fitting.for_each(|(_, held)| held.push(place));
                        }
                    }
                }
                Subject::GatewaySecret => index.gateway_secret.push(place),
                Subject::Anonymous => index.anonymous.push(place),
                Subject::Issuer { issuer, claims, names } => {
                    if let Some(of) = index.issuers.get_mut(*issuer) {
                        of.add(place, claims, names);
                    }
                }
                Subject::AppUser { claims, names, .. } => index.app_users.add(place, claims, names),
                Subject::Tailnet(to) => index.tailnet.add(place, to),
            }
        }
        index.tokens.iter_mut().for_each(Vec::dedup);
        index
    }

    pub(super) fn token(&self, token: usize) -> Vec<usize> {
        self.tokens.get(token).cloned().unwrap_or_default()
    }

    pub(super) fn gateway_secret(&self) -> Vec<usize> {
        self.gateway_secret.clone()
    }

    pub(super) fn anonymous(&self) -> Vec<usize> {
        self.anonymous.clone()
    }

    /// The places of a principal's grants, in the order of the file.
    pub(super) fn of(&self, principal: &Principal, grants: &[GrantRule]) -> Vec<usize> {
        let mut places = match principal.identity() {
            Identity::Token(token) => return self.token(token),
            Identity::App(_) => return Vec::new(),
            Identity::AppUser(_) => self.app_users.candidates(principal),
            Identity::GatewaySecret => return self.gateway_secret(),
            Identity::Anonymous => return self.anonymous(),
            Identity::Issuer(issuer) => self.issuers.get(issuer).map(|i| i.candidates(principal)).unwrap_or_default(),
            Identity::Tailnet => principal.tailnet().map(|peer| self.tailnet.candidates(peer)).unwrap_or_default(),
        };
        places.sort_unstable();
        places.dedup();
        places.retain(|place| grants.get(*place).is_some_and(|g| g.to.failing(principal).is_none()));
        places
    }
}

impl IssuerIndex {
    fn add(&mut self, place: usize, claims: &[(ClaimPath, Vec<Glob>)], names: &[Glob]) {
        let exact = |globs: &[Glob]| globs.iter().map(|g| g.exact().map(Box::from)).collect::<Option<Vec<Box<str>>>>();
        if let Some(values) = exact(names).filter(|v| !v.is_empty()) {
            for value in values {
                self.by_name.entry(value).or_default().push(place);
            }
            return;
        }
        for (path, globs) in claims {
            if let Some(values) = exact(globs) {
                let of = self.by_claim.entry(path.clone()).or_default();
                for value in values {
                    of.entry(value).or_default().push(place);
                }
                return;
            }
        }
        self.rest.push(place);
    }

    fn candidates(&self, principal: &Principal) -> Vec<usize> {
        let mut places = self.rest.clone();
        places.extend(self.by_name.get(principal.name()).into_iter().flatten());
        for (path, values) in &self.by_claim {
            for text in principal.claim(path) {
                places.extend(values.get(text.as_str()).into_iter().flatten());
            }
        }
        places
    }
}
