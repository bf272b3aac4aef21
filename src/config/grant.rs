//! Who is granted what, and what is supposed of whom.

use super::{ClaimPath, Excess, HeaderRules, PrincipalLimits};
use crate::glob::Glob;
use crate::route::PathRule;
use crate::scope::ScopeSet;
use crate::tailscale_whois_answer::WhoisNode;
use http::{HeaderMap, HeaderValue, Method};
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// The tailnet's capability that carries scopes.
#[derive(Debug, Clone, PartialEq)]
pub struct TailnetCapability {
    /// Its name, `example.org/cap/scopeshim`.
    pub name: Arc<str>,
    /// The most it may carry.
    pub max_scopes: ScopeSet,
}

/// What principals may do beside what their own table says.
#[derive(Debug, Clone)]
pub struct GrantRule {
    /// Who.
    pub to: Subject,
    /// What.
    pub scopes: ScopeSet,
    /// Under which conditions.
    pub when: Conditions,
    /// What happens to a request for more.
    pub excess: Option<Excess>,
    /// What becomes of the gateway's headers.
    pub headers: HeaderRules,
    /// How much these principals may ask for.
    pub limits: PrincipalLimits,
    /// Who these principals are to a gateway in mode trusted-proxy; `None`: their own name.
    pub gateway_user: Option<HeaderValue>,
    /// Where it stands, `file:line`.
    pub place: Arc<str>,
}

#[cfg(test)]
impl GrantRule {
    /// A grant that holds always and gives nothing.
    pub(crate) fn plain(to: Subject) -> Self {
        Self {
            to,
            scopes: ScopeSet::empty(),
            when: Conditions::default(),
            excess: None,
            headers: HeaderRules::default(),
            limits: PrincipalLimits::default(),
            gateway_user: None,
            place: Arc::from("x:1"),
        }
    }
}

/// When a grant holds; empty lists and `None` hold always.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// On these paths.
    pub routes: Vec<PathRule>,
    /// With these methods.
    pub methods: Vec<Method>,
    /// From these addresses.
    pub cidrs: Vec<IpNet>,
    /// From this moment.
    pub not_before: Option<Timestamp>,
    /// Until this moment.
    pub expires: Option<Timestamp>,
}

/// To whom something is granted.
#[derive(Debug, Clone)]
pub enum Subject {
    /// Named tokens.
    Token(Vec<Glob>),
    /// Holders of the gateway's secret.
    GatewaySecret,
    /// Callers without a credential.
    Anonymous,
    /// Principals of an issuer.
    Issuer {
        /// The issuer's place in the list.
        issuer: usize,
        /// Claims that must be there, each with the values of which one must match.
        claims: Vec<(ClaimPath, Vec<Glob>)>,
        /// Names of which one must match; empty: any.
        names: Vec<Glob>,
    },
    /// Users of apps.
    AppUser {
        /// The names of the apps' tokens.
        apps: Vec<Glob>,
        /// Claims that must be there, each with the values of which one must match.
        claims: Vec<(ClaimPath, Vec<Glob>)>,
        /// Names of which one must match; empty: any.
        names: Vec<Glob>,
    },
    /// Peers of the tailnet.
    Tailnet(TailnetSubject),
}

/// Peers of the tailnet: each list that is not empty must have one that matches.
#[derive(Debug, Clone, Default)]
pub struct TailnetSubject {
    /// Login names, in lower case.
    pub users: Vec<Glob>,
    /// Tags.
    pub tags: Vec<Glob>,
    /// Capabilities.
    pub capabilities: Vec<Glob>,
}

/// A caller to simulate.
#[derive(Debug, Clone, PartialEq)]
pub enum SimulatedCaller {
    /// The holder of a named token.
    Token(String),
    /// A client that holds the gateway's own secret.
    GatewaySecret,
    /// A caller without a credential.
    Anonymous,
    /// The holder of a JWT of a named issuer that says this. What every token must say (`iss`,
    /// `aud`, `exp`, `sub`) is filled in where it is missing.
    Claims {
        /// The issuer's name here.
        issuer: String,
        /// What the token says.
        claims: Map<String, Value>,
    },
    /// A user of the app with this token, of whom the app says this.
    AppUser {
        /// The token's name.
        app: String,
        /// What the app, or the user's JWT, says.
        claims: Map<String, Value>,
    },
    /// A peer of the tailnet.
    Tailnet(WhoisNode),
}

/// What a test asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asks {
    /// A request.
    Request {
        /// Its method.
        method: Method,
        /// Its path.
        path: String,
    },
    /// A WebSocket.
    WebSocket,
}

/// One test.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyTest {
    /// What it is called.
    pub name: String,
    /// The caller.
    pub who: SimulatedCaller,
    /// For what.
    pub asks: Asks,
    /// With which scopes header; `None`: without.
    pub requested: Option<ScopeSet>,
    /// With which agent.
    pub agent_id: Option<HeaderValue>,
    /// With which session key.
    pub session_key: Option<HeaderValue>,
    /// With which headers beside.
    pub headers: HeaderMap,
    /// With which body.
    pub body: Option<String>,
    /// From which address.
    pub peer: Option<IpAddr>,
    /// What must come of it: `allow`, `deny`, or a refusal's code.
    pub expect: String,
    /// The scopes that must be sent.
    pub sends: Option<ScopeSet>,
    /// The session key that must be sent.
    pub sends_session: Option<String>,
    /// Where it stands.
    pub span: Range<usize>,
}
