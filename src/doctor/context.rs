//! What every check of `doctor` needs: the configuration, a caller to test as, the findings about the gateway.

use crate::config::{BootstrapConfig, Config, ListenAddress, ListenerIdentity};
use crate::gateway_probe::{Findings, probe};
use crate::http_client::{ClientRequest, ClientResponse, Fault, Server, ask};
use crate::jwks_cache::JwksCache;
use crate::policy::{Policy, Proven, SocketRequest};
use crate::refusal::Refusal;
use crate::request_evaluation::{self, DryRun, SimulatedHead};
use crate::scope::ScopeSet;
use crate::secret::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// For one answer; a cold gateway takes its time.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// A target that this proxy refuses before anything else, and in words of its own.
pub(super) const AMBIGUOUS: &str = "/scopeshim//doctor";

pub(super) type Lines = Vec<(HeaderName, HeaderValue)>;

/// The chain as far as it can be seen from here.
pub(super) struct Chain {
    pub fixed: BootstrapConfig,
    pub policy: Policy,
    /// Issuers that have no keys.
    pub keyless: Vec<Arc<str>>,
    /// Where this proxy is asked.
    pub server: Server,
    /// Whether callers there can be identified without a credential: nodes of the tailnet.
    pub places_prove: bool,
    /// Whether it answers there, it and not something else.
    pub answers: bool,
    /// From where, as this proxy sees it.
    pub peer: Option<IpAddr>,
    /// The caller to test as, or why there is none.
    pub caller: Result<Caller, NoCaller>,
    /// The gateway, asked directly.
    pub gateway: Findings,
}

/// A caller that the policy knows.
pub(super) struct Caller {
    pub name: String,
    /// What proves them.
    pub lines: Lines,
    proven: Proven,
}

/// Why there is no caller to test as.
pub(super) enum NoCaller {
    /// No credential is known here: the policy holds hashes only.
    Unknown,
    /// The one that was given is refused.
    Refused(Refusal),
}

impl Chain {
    pub(super) async fn new(config: Config, token: Option<Secret>) -> Self {
        let Config { fixed, live } = config;
        let issuers = JwksCache::new(&fixed.state_dir);
        let slots = issuers.adopt(&live.issuers);
        let keyless = issuers.ready().await;
        let policy = Policy::compile(live, &slots, 0);
        // Where no caller is identified by its address, a credential makes the difference.
        let clear = || fixed.listeners.iter().filter(|l| !l.tls);
        let plain = clear().find(|l| l.identity == ListenerIdentity::None);
        let listener = plain.or(clear().next()).or(fixed.listeners.first());
        let server = listener.map_or(Server::Tcp("127.0.0.1".to_owned(), 0), |l| server(&l.address));
        let places_prove = listener.is_none_or(|l| l.identity != ListenerIdentity::None);
        let answers = is_ours(&ask(&server, ClientRequest::get(AMBIGUOUS, Vec::new()), TIMEOUT).await);
        let peer = matches!(server, Server::Tcp(..)).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let caller = caller(&policy, token, peer);
        let gateway = probe(&fixed.gateway, policy.credentials(), policy.probe_user()).await;
        Self { fixed, policy, keyless, server, places_prove, answers, peer, caller, gateway }
    }

    /// Asks this proxy, through its first listener.
    pub(super) async fn get(&self, path: &str, lines: Lines) -> Result<ClientResponse, Fault> {
        ask(&self.server, ClientRequest::get(path, lines), TIMEOUT).await
    }

    /// Posts an empty object to this proxy: every route refuses it, after the scope and before any work.
    pub(super) async fn post(&self, path: &str, mut lines: Lines) -> Result<ClientResponse, Fault> {
        lines.push((http::header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
        let question = ClientRequest { method: Method::POST, path, lines, body: "{}".into() };
        ask(&self.server, question, TIMEOUT).await
    }

    /// Whether the policy lets the caller do this.
    pub(super) fn may(&self, caller: &Caller, method: &Method, path: &str) -> bool {
        let head = SimulatedHead::new(method, path, caller.lines.iter().cloned().collect(), "");
        let run = DryRun {
            policy: &self.policy,
            head: &head,
            body: "",
            caller: request_evaluation::Caller::Presented,
            peer: self.peer,
            body_sizes: &self.fixed.limits.body,
            now: Timestamp::now(),
        };
        run.decide().is_ok()
    }
}

impl Chain {
    /// What the policy lets the caller hold over a WebSocket.
    pub(super) fn websocket_scopes(&self, caller: &Caller) -> Result<ScopeSet, Refusal> {
        let now = Timestamp::now();
        let request = SocketRequest { requested: None, requested_scopes: None, session: None, peer: self.peer, now };
        self.policy.decide_socket(&caller.proven, request).map(|grant| grant.effective().clone())
    }
}

impl Caller {
    /// The caller's lines and more.
    pub(super) fn with(&self, more: &[(&'static str, &'static str)]) -> Lines {
        self.lines.iter().cloned().chain(lines(more)).collect()
    }
}

/// Whether an answer to [`AMBIGUOUS`] is this proxy's.
pub(super) fn is_ours(answer: &Result<ClientResponse, Fault>) -> bool {
    answer.as_ref().is_ok_and(|a| a.text_at("/error/request_id").is_some())
}

pub(super) fn lines(all: &[(&'static str, &'static str)]) -> Lines {
    all.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// The token that was given, else the gateway's secret, else an anonymous caller: the first that the
/// policy accepts.
fn caller(policy: &Policy, token: Option<Secret>, peer: Option<IpAddr>) -> Result<Caller, NoCaller> {
    let bearer = |secret: &Secret| {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.expose())).ok()?;
        value.set_sensitive(true);
        Some(vec![(AUTHORIZATION, value)])
    };
    if let Some(token) = token {
        return prove(policy, bearer(&token).unwrap_or_default(), peer).map_err(NoCaller::Refused);
    }
    let secret = policy.live().gateway_auth.secret().and_then(bearer);
    secret.into_iter().chain([Lines::new()]).find_map(|lines| prove(policy, lines, peer).ok()).ok_or(NoCaller::Unknown)
}

fn prove(policy: &Policy, lines: Lines, peer: Option<IpAddr>) -> Result<Caller, Refusal> {
    let headers: HeaderMap = lines.iter().cloned().collect();
    let presented = policy.authenticator().presented(&headers)?;
    let credential = policy.authenticator().credential(presented.as_ref())?;
    let proven = policy.authenticate(credential, peer, Timestamp::now())?;
    Ok(Caller { name: proven.principal.name().to_owned(), lines, proven })
}

/// An address to connect to, of one to listen on.
pub(super) fn server(listener: &ListenAddress) -> Server {
    match listener {
        ListenAddress::Unix { path, .. } => Server::Unix(path.clone()),
        ListenAddress::Tcp(address) => {
            let ip = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
                ip => ip,
            };
            Server::Tcp(ip.to_string(), address.port())
        }
    }
}
