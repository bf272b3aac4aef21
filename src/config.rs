//! Configuration: [`file::File`] as written, [`Config`] as validated.
//!
//! A [`Config`] holds nothing that could still turn out to be wrong. Its fixed part needs a
//! restart to change; its live part is compiled into a policy whenever the file changes.

pub mod diagnostic;
pub mod file;
mod read;
pub mod surroundings;
mod validate;

use crate::files::Sighting;
use crate::glob::Glob;
use crate::peer::Peer;
use crate::route::{Pattern, Route, Ui};
use crate::scope::{Scope, ScopeSet};
use crate::secret::{Secret, TokenHash};
use crate::tls::Certificate;
use diagnostic::{Problem, Problems, Severity, Source};
use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use surroundings::{Remembering, Surroundings};

/// A validated configuration.
#[derive(Debug)]
pub struct Config {
    /// What needs a restart to change.
    pub fixed: Fixed,
    /// What a reload changes.
    pub live: Live,
}

/// What needs a restart to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// Where clients connect; at least one.
    pub listeners: Vec<Listen>,
    /// The socket of tailscaled's LocalAPI.
    pub tailscaled: PathBuf,
    /// The gateway's address.
    pub gateway: GatewayAddress,
    /// Worker threads.
    pub threads: usize,
    /// Where state is kept.
    pub state_dir: PathBuf,
    /// How long open requests may go on after a stop was asked for.
    pub drain: Duration,
    /// The most client connections at a time.
    pub max_connections: usize,
    /// How long a client may take to send a request's head.
    pub head_timeout: Duration,
    /// How long a connection may rest between requests.
    pub keepalive: Duration,
    /// Where the process is asked and told things.
    pub admin: Admin,
    /// What is logged.
    pub log: Log,
}

impl Fixed {
    /// The keys in which another configuration differs: those that need a restart.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let pairs = [
            ("[[listen]]", self.listeners == other.listeners),
            ("[tailscale] socket", self.tailscaled == other.tailscaled),
            ("[gateway] url, timeouts and canaries", self.gateway == other.gateway),
            ("[server] threads", self.threads == other.threads),
            ("[server] state_dir", self.state_dir == other.state_dir),
            ("[server] drain", self.drain == other.drain),
            ("[server] max_connections", self.max_connections == other.max_connections),
            ("[server] head_timeout", self.head_timeout == other.head_timeout),
            ("[server] keepalive", self.keepalive == other.keepalive),
            ("[admin]", self.admin == other.admin),
            ("[log] format", self.log.format == other.log.format),
        ];
        pairs.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }
}

/// Where the process is asked and told things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The unix socket; its mode says who may change anything.
    pub socket: PathBuf,
    /// The socket's mode.
    pub mode: u32,
    /// A loopback address for reading.
    pub address: Option<SocketAddr>,
    /// An address for metrics and health alone.
    pub metrics: Option<SocketAddr>,
}

/// Where clients connect, and who they are where they present nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: ListenAddress,
    /// Who callers without a credential are.
    pub identity: ListenerIdentity,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// Who callers without a credential are, on one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerIdentity {
    /// Nobody, or anonymous where the policy lets such in.
    None,
    /// Who the tailnet says is at the other end of the connection.
    Tailnet,
    /// Who tailscale serve, which is at the other end, says it speaks for, if the tailnet says so too.
    TailscaleServe,
}

/// A listening address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket and its file mode.
    Unix {
        /// The path.
        path: PathBuf,
        /// The mode.
        mode: u32,
    },
}

/// The gateway's address and the patience with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayAddress {
    /// The host as written, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a request waits for a gateway that refuses connections.
    pub retry_for: Duration,
    /// Whether it is asked what it is.
    pub canaries: bool,
}

impl GatewayAddress {
    /// `host:port`, an IPv6 host in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least severe level written.
    pub level: tracing::level_filters::LevelFilter,
    /// The form.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// What a reload changes.
#[derive(Debug, Clone)]
pub struct Live {
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
    pub unlisted_routes: Scope,
    /// What happens to a request for more than is granted.
    pub excess: Excess,
    /// Which of the gateway's own headers callers may send.
    pub headers: HeaderRules,
    /// How many verified JWTs are remembered.
    pub jwt_cache: usize,
    /// What the policy must do.
    pub trials: Vec<Trial>,
    /// The certificates of the listeners, one for each.
    pub certificates: Vec<Option<Certificate>>,
    /// What WebSocket clients may do.
    pub websocket: WebSocketRules,
}

impl Live {
    /// A configuration that lets nobody in.
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
            unlisted_routes: Scope::known(crate::scope::ADMIN),
            excess: Excess::Refuse,
            headers: HeaderRules::default(),
            jwt_cache: 0,
            trials: Vec::new(),
            certificates: Vec::new(),
            websocket: WebSocketRules::default(),
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
    /// Whether a client may connect as a node.
    pub nodes: bool,
    /// Who is shown the gateway's web page.
    pub ui: Ui,
    /// Pages of other addresses that may connect: origins in lower case.
    pub origins: Vec<String>,
}

impl Default for WebSocketRules {
    fn default() -> Self {
        Self { enabled: true, own_device: OwnDevice::Normalise, nodes: false, ui: Ui::Off, origins: Vec::new() }
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
#[derive(Debug, Clone)]
pub struct TrustedProxy {
    /// Its `gateway.auth.trustedProxy.userHeader`.
    pub user_header: HeaderName,
    /// Its `requiredHeaders`, with the values they are sent with.
    pub required_headers: Vec<(HeaderName, HeaderValue)>,
    /// The address given for a client of this machine; never loopback.
    pub stand_in_address: IpAddr,
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
    /// Nobody may send it.
    Refuse,
    /// This value is sent, whatever the client sends.
    Pin(HeaderValue),
    /// One of these values may be sent; the first is sent when the client sends none.
    Allow(Vec<HeaderValue>),
    /// The principal's name and a colon go in front of what the client sends.
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
}

/// An issuer whose JWTs are accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// Its name here.
    pub name: Arc<str>,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The audiences accepted.
    pub audiences: Vec<String>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// The algorithms accepted.
    pub algorithms: Vec<Algorithm>,
    /// How far its clock may be off.
    pub leeway: Duration,
    /// The header that carries the token; `None`: `Authorization`.
    pub token_from: Option<HeaderName>,
    /// The `typ` headers accepted, in lower case; empty: any.
    pub typ: Vec<String>,
    /// Whether a token without a subject is let in: Cloudflare's service tokens have none.
    pub empty_subject: bool,
    /// The claims that hold scopes.
    pub scope_claims: Vec<ClaimPath>,
    /// The claim that holds roles.
    pub roles_claim: Option<ClaimPath>,
    /// Which scopes a role stands for.
    pub role_scopes: BTreeMap<String, ScopeSet>,
    /// The most any token may claim.
    pub ceiling: Option<ScopeSet>,
    /// The claims that may name the principal, the first that is there.
    pub name_claims: Vec<NameClaim>,
    /// Where it stands, `file:line`.
    pub place: Arc<str>,
}

/// A claim that may name a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameClaim {
    /// The claim.
    pub path: ClaimPath,
    /// Whether it counts only when `email_verified` is true.
    pub verified_email: bool,
}

/// A claim by its path: names separated by dots, or one name that holds dots itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimPath(pub Arc<str>);

/// Where an issuer's keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Over HTTP.
    Remote {
        /// The JWKS itself, or the discovery document that names it.
        url: String,
        /// Whether it is the discovery document.
        discovery: bool,
        /// The authority that vouches for the server, PEM.
        ca: Option<Arc<str>>,
        /// The proxy on the way.
        proxy: Option<String>,
    },
    /// A JWKS, as text.
    Jwks(Arc<str>),
    /// A public key, PEM.
    Pem(Arc<str>),
    /// An HMAC secret.
    Secret(Secret),
}

impl PartialEq for KeySource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Remote { url, discovery, ca, proxy }, Self::Remote { url: u, discovery: d, ca: c, proxy: p }) => {
                (url, discovery, ca, proxy) == (u, d, c, p)
            }
            (Self::Jwks(a), Self::Jwks(b)) | (Self::Pem(a), Self::Pem(b)) => a == b,
            (Self::Secret(a), Self::Secret(b)) => a.hash() == b.hash(),
            _ => false,
        }
    }
}

/// The tailnet's capability that carries scopes.
#[derive(Debug, Clone, PartialEq)]
pub struct TailnetCapability {
    /// Its name, `example.org/cap/scopeshim`.
    pub name: Arc<str>,
    /// The most it may carry.
    pub ceiling: ScopeSet,
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
    /// Who these principals are to a gateway in mode trusted-proxy; `None`: their own name.
    pub gateway_user: Option<HeaderValue>,
    /// Where it stands, `file:line`.
    pub place: Arc<str>,
}

/// When a grant holds; empty lists and `None` hold always.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// On these paths.
    pub routes: Vec<Pattern>,
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

/// Somebody to suppose.
#[derive(Debug, Clone, PartialEq)]
pub enum Supposition {
    /// The holder of a named token.
    Token(String),
    /// A client that holds the gateway's own secret.
    GatewaySecret,
    /// Somebody without a credential.
    Anonymous,
    /// The holder of a JWT of a named issuer that says this. What every token must say (`iss`,
    /// `aud`, `exp`, `sub`) is filled in where it is missing.
    Claims {
        /// The issuer's name here.
        issuer: String,
        /// What the token says.
        claims: Map<String, Value>,
    },
    /// A peer of the tailnet.
    Tailnet(Peer),
}

/// One test.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// What it is called.
    pub name: String,
    /// Who asks.
    pub who: Supposition,
    /// With which method.
    pub method: Method,
    /// For which path.
    pub path: String,
    /// With which scopes header; `None`: without.
    pub requested: Option<ScopeSet>,
    /// From which address.
    pub peer: Option<IpAddr>,
    /// What must come of it: `allow`, `deny`, or a refusal's code.
    pub expect: String,
    /// The scopes that must be sent.
    pub sends: Option<ScopeSet>,
    /// Where it stands.
    pub span: Range<usize>,
}

/// A configuration file that was read: its text, what is wrong with it, and what it says if
/// nothing serious is.
#[derive(Debug)]
pub struct Loaded {
    /// The file.
    pub source: Source,
    /// Everything wrong with it, in the order of the file.
    pub problems: Vec<Problem>,
    /// What it says; `None` if there is an error among the problems.
    pub config: Option<Config>,
    /// The files it was read from, as they looked before.
    pub files: Vec<Sighting>,
}

impl Loaded {
    /// Every problem, rendered for a person.
    #[must_use]
    pub fn render(&self) -> String {
        self.problems.iter().map(|p| self.source.render(p) + "\n").collect()
    }

    /// Notes an error that was found later than by reading.
    pub fn fail(&mut self, code: &'static str, span: Range<usize>, message: String, hint: &str) {
        let hint = hint.to_owned();
        self.problems.push(Problem { severity: Severity::Error, code, message, hint, span: Some(span) });
        self.config = None;
    }

    /// How many errors and how many warnings.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.problems.iter().filter(|p| p.severity == Severity::Error).count();
        (errors, self.problems.len() - errors)
    }
}

/// Reads and validates a configuration file.
///
/// # Errors
/// When the file itself cannot be read.
pub fn load(path: &Path, surroundings: &dyn Surroundings) -> std::io::Result<Loaded> {
    let before = Sighting::of(path);
    let text = std::fs::read_to_string(path)?;
    let mut loaded = parse(Source::new(path.display().to_string(), text), surroundings);
    loaded.files.push(before);
    Ok(loaded)
}

/// Validates a configuration text.
#[must_use]
pub fn parse(source: Source, surroundings: &dyn Surroundings) -> Loaded {
    let mut problems = Problems::default();
    let surroundings = Remembering::new(surroundings);
    let config = read::read(&source.text, &mut problems)
        .and_then(|file| validate::validate(&file, &source, &surroundings, &mut problems));
    let config = if problems.any_error() { None } else { config };
    Loaded { source, problems: problems.into_sorted(), config, files: surroundings.into_files() }
}

/// Whether a text can be the name of a token: 1 to 64 letters, digits and `. _ - @`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@'))
}
