//! What a reload changes: the callers' tokens, the gateway's credential, the rules.

use super::{AppUsers, GrantRule, Issuer, PolicyTest, PrincipalLimits, TailnetCapability};
use crate::chat_session::ChatHeaders;
use crate::cors::Origins;
use crate::glob::Glob;
use crate::headers::{GatewayHeader, header_field};
use crate::route::{Need, Route, Ui};
use crate::scope::{Scope, ScopeSet};
use crate::secret::{Secret, TokenHash};
use crate::session_space::AgentId;
use crate::tls::Certificate;
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;

/// What a reload changes.
#[derive(Debug, Clone)]
pub struct DynamicConfig {
    /// How this proxy authenticates itself to the gateway.
    pub gateway_auth: GatewayAuth,
    /// What clients that hold the gateway's secret may do; `None`: they are not accepted.
    pub gateway_secret: Option<ScopeSet>,
    /// What callers without a credential may do; `None`: they are refused.
    pub anonymous: Option<Anonymous>,
    /// Named bearer tokens.
    pub tokens: Vec<Token>,
    /// Issuers whose JWTs are accepted.
    pub issuers: Vec<Issuer>,
    /// The tailnet's capability that carries scopes.
    pub tailnet_capability: Option<TailnetCapability>,
    /// What principals may do beside what their own table says.
    pub grants: Vec<GrantRule>,
    /// Routes beside those compiled in.
    pub routes: Vec<Route>,
    /// What other routes need.
    pub unlisted_routes: Need,
    /// What happens to a request for more than is granted.
    pub excess: Excess,
    /// Which of the gateway's own headers callers may send.
    pub headers: HeaderRules,
    /// Where clients say which chat a request belongs to.
    pub chats: ChatHeaders,
    /// The gateway's default agent.
    pub default_agent: AgentId,
    /// How much a principal may ask for of whom nothing else is said.
    pub limits: PrincipalLimits,
    /// Headers beside `Authorization` in which clients may send tokens.
    pub token_headers: Vec<HeaderName>,
    /// How many verified JWTs are remembered.
    pub jwt_cache: usize,
    /// Names of this machine besides those it knows of itself, in lower case.
    pub hosts: Vec<String>,
    /// What the policy must do.
    pub policy_tests: Vec<PolicyTest>,
    /// The certificates of the listeners, one for each.
    pub certificates: Vec<Option<Certificate>>,
    /// What WebSocket clients may do.
    pub websocket: WebSocketRules,
    /// Web pages of other origins that may use this proxy.
    pub cors: Origins,
}

impl DynamicConfig {
    /// The named tokens, each with its present secret. While one is rotated, the previous secret stands behind it in the
    /// list, and ends earlier.
    pub fn present_tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.chunk_by(|a, b| a.name == b.name).filter_map(<[Token]>::first)
    }

    /// A configuration that refuses every caller.
    #[must_use]
    pub fn closed() -> Self {
        Self {
            gateway_auth: GatewayAuth::None,
            gateway_secret: None,
            anonymous: None,
            tokens: Vec::new(),
            issuers: Vec::new(),
            tailnet_capability: None,
            grants: Vec::new(),
            routes: Vec::new(),
            unlisted_routes: Need::Scope(Scope::admin().clone()),
            excess: Excess::Refuse,
            headers: HeaderRules::default(),
            chats: ChatHeaders::default(),
            default_agent: AgentId::main(),
            limits: PrincipalLimits::default(),
            token_headers: Vec::new(),
            jwt_cache: 0,
            hosts: Vec::new(),
            policy_tests: Vec::new(),
            certificates: Vec::new(),
            websocket: WebSocketRules::default(),
            cors: Origins::None,
        }
    }
}

/// What WebSocket clients may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketRules {
    /// Whether there are any.
    pub enabled: bool,
    /// What becomes of a client's own signed device.
    pub own_device: OwnDevice,
    /// The scope that a client needs to connect as a node; `None`: no client may.
    pub nodes: Option<Scope>,
    /// Who is shown the gateway's web page.
    pub ui: Ui,
    /// Pages of other addresses that may connect: origins in lower case.
    pub origins: Vec<String>,
}

impl Default for WebSocketRules {
    fn default() -> Self {
        Self { enabled: true, own_device: OwnDevice::Normalise, nodes: None, ui: Ui::Off, origins: Vec::new() }
    }
}

/// What becomes of a client's own signed device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnDevice {
    /// This proxy's takes its place.
    Normalise,
    /// It is passed as it is, with no secret of ours.
    Pass,
}

/// How this proxy authenticates itself to the gateway.
#[derive(Debug, Clone)]
pub enum GatewayAuth {
    /// `gateway.auth.mode = "token"`.
    Token(Secret),
    /// `gateway.auth.mode = "password"`.
    Password(Secret),
    /// `gateway.auth.mode = "none"`.
    None,
    /// `gateway.auth.mode = "trusted-proxy"`.
    TrustedProxy(Box<TrustedProxy>),
}

/// What a gateway in mode trusted-proxy is told (contract §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxy {
    /// Its `gateway.auth.trustedProxy.userHeader`.
    pub user_header: HeaderName,
    /// Its `requiredHeaders`, with the values they are sent with.
    pub required_headers: Vec<(HeaderName, HeaderValue)>,
    /// The address given for a client of this machine; never loopback.
    pub local_client_address: IpAddr,
}

impl GatewayAuth {
    /// The shared secret, where the mode has one.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Token(secret) | Self::Password(secret) => Some(secret),
            Self::None | Self::TrustedProxy(_) => None,
        }
    }

    /// Whether the same is presented to the gateway.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let told = |auth: &Self| match auth {
            Self::TrustedProxy(told) => Some((**told).clone()),
            _ => None,
        };
        self.mode() == other.mode()
            && self.secret().map(Secret::hash) == other.secret().map(Secret::hash)
            && told(self) == told(other)
    }

    /// The mode's name, as the gateway spells it.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Password(_) => "password",
            Self::None => "none",
            Self::TrustedProxy(_) => "trusted-proxy",
        }
    }
}

/// Callers without a credential.
#[derive(Debug, Clone)]
pub struct Anonymous {
    /// What they may do.
    pub scopes: ScopeSet,
    /// Where they may come from.
    pub cidrs: Vec<IpNet>,
}

/// One named bearer token.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its name.
    pub name: Arc<str>,
    /// Its hash.
    pub hash: TokenHash,
    /// What it may do.
    pub scopes: ScopeSet,
    /// From when.
    pub not_before: Option<Timestamp>,
    /// Until when.
    pub expires: Option<Timestamp>,
    /// From where; empty: from anywhere.
    pub cidrs: Vec<IpNet>,
    /// How it says for which user it calls, if it is an app's.
    pub users: Option<Arc<AppUsers>>,
    /// Limits for its holder.
    pub limits: PrincipalLimits,
    /// Where it stands, `file:line`.
    pub place: Arc<str>,
}

/// What happens to a request for more than is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// 403, naming the excess.
    Refuse,
    /// The granted part is used.
    Narrow,
}

/// What becomes of one of the gateway's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderRule {
    /// Any principal may send it.
    Pass,
    /// Only with `operator.admin` among the effective scopes.
    Admin,
    /// No caller may send it.
    Refuse,
    /// This value is sent, whatever the client sends.
    Pin(HeaderValue),
    /// One of these values may be sent; the first is sent when the client sends none.
    Allow(Vec<HeaderValue>),
    /// Each principal has a space of session keys of its own.
    Prefix,
}

/// The rule for each of the gateway's headers that a caller may have a use for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderRules {
    /// `x-openclaw-agent-id`.
    pub agent_id: Option<HeaderRule>,
    /// `x-openclaw-model`.
    pub model: Option<HeaderRule>,
    /// `x-openclaw-session-key`.
    pub session_key: Option<HeaderRule>,
    /// `x-openclaw-message-channel`.
    pub message_channel: Option<HeaderRule>,
    /// `x-openclaw-account-id`.
    pub account_id: Option<HeaderRule>,
    /// `x-openclaw-message-to`.
    pub message_to: Option<HeaderRule>,
    /// `x-openclaw-thread-id`.
    pub thread_id: Option<HeaderRule>,
    /// The tools that may be called directly; `None`: nothing is said of them.
    pub tools: Option<Arc<[Glob]>>,
}

#[cfg(test)]
impl Token {
    /// A token that is valid always and everywhere and may do nothing.
    pub(crate) fn plain(name: &str, secret: &str) -> Self {
        Self {
            name: Arc::from(name),
            hash: TokenHash::of(secret.as_bytes()),
            scopes: ScopeSet::empty(),
            not_before: None,
            expires: None,
            cidrs: Vec::new(),
            users: None,
            limits: PrincipalLimits::default(),
            place: Arc::from("x:1"),
        }
    }
}

impl HeaderRules {
    /// The rule for one of them, where there is one.
    #[must_use]
    pub fn get(&self, header: GatewayHeader) -> Option<&HeaderRule> {
        header_field!([&] self, header).as_ref()
    }

    /// Where the rule for one of them stands.
    pub fn slot(&mut self, header: GatewayHeader) -> &mut Option<HeaderRule> {
        header_field!([&mut] self, header)
    }
}
