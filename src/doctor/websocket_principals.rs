//! What the policy's principals would hold over a WebSocket: the gateway is asked as the running process
//! asks it, for each of them, without their secrets.

use super::Outcome;
use super::context::Chain;
use super::websocket_session::{TIMEOUT, lacks};
use crate::config::SimulatedCaller;
use crate::gateway_probe::{Advice, ProbeState, Severity, Side, config_snippets};
use crate::policy::{Grant, SocketRequest};
use crate::proxy::Upstream;
use crate::refusal::{Refusal, SocketFault};
use crate::scope::ScopeSet;
use crate::websocket::connect_frame::Connect;
use crate::websocket::device_identity;
use crate::websocket::upstream::{Authorization, Connected, Failure, UpstreamWebSocket};
use jiff::Timestamp;
use serde_json::{Map, json};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use tungstenite::WebSocket;
use tungstenite::protocol::Role;

/// At most so many different sets of scopes are tried, the largest first: each is a session of the gateway.
const MOST: usize = 12;

/// Those who hold the same.
struct Group {
    grant: Grant,
    names: Vec<String>,
}

/// Does the gateway let each principal's session hold what the policy grants it?
pub(super) async fn scopes(chain: &Chain) -> Outcome {
    if !chain.policy.websocket().enabled {
        return Outcome::NotTested("WebSockets are disabled here".to_owned());
    }
    if !matches!(chain.gateway.state, ProbeState::Answers(_)) || chain.gateway.is_wrong() {
        return Outcome::Skipped("the gateway's stages say why".to_owned());
    }
    let groups = groups(chain);
    if groups.is_empty() {
        return Outcome::NotTested("the policy names nobody who gets a WebSocket".to_owned());
    }
    let state_dir = &chain.fixed.state_dir;
    if let Err(why) = may_use_device(state_dir) {
        return Outcome::Skipped(format!("{why}: run doctor as the user who runs scopeshim"));
    }
    let upstream = match Upstream::new(chain.fixed.gateway.clone()).await {
        Ok(upstream) => Arc::new(upstream),
        Err(error) => return Outcome::Skipped(error.to_string()),
    };
    let gateway = UpstreamWebSocket::new(upstream, state_dir.clone());
    let untried = groups.len().saturating_sub(MOST);
    let mut said = Vec::new();
    for group in groups.into_iter().take(MOST) {
        let names = group.names.join(", ");
        match session(chain, &gateway, &group.grant).await {
            Ok(lacking) if lacking.is_empty() => said.push(names),
            Ok(lacking) => return Outcome::found(gap(&names, &lacking)),
            Err(Failure::Refused(Refusal::Socket(SocketFault::PairingRequired))) => {
                return Outcome::found(pairing(&names, group.grant.effective(), gateway.awaits_approval()));
            }
            Err(failure) => return Outcome::found(refused(&names, &failure)),
        }
    }
    let more = if untried > 0 { format!("; {untried} more sets of scopes were not tried") } else { String::new() };
    Outcome::Good(format!("a session of each may do what the policy grants: {}{more}", said.join(", ")))
}

/// Whether the device key of the running process can be used from here, or made as it would make it.
fn may_use_device(state_dir: &Path) -> Result<(), String> {
    let path = state_dir.join(device_identity::FILE);
    match std::fs::File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let owner = std::fs::metadata(state_dir).map_err(|e| format!("{}: {e}", state_dir.display()))?.uid();
            if owner == nix::unistd::geteuid().as_raw() {
                Ok(())
            } else {
                Err(format!("this proxy has no device key in {} yet", state_dir.display()))
            }
        }
        opened => opened.map(|_| ()).map_err(|e| format!("{}: {e}", path.display())),
    }
}

/// The principals that the policy names, by what they hold.
fn groups(chain: &Chain) -> Vec<Group> {
    let live = chain.policy.live();
    let now = Timestamp::now();
    let tokens = live.tokens.iter().map(|t| SimulatedCaller::Token(t.name.to_string()));
    let secret = live.gateway_secret.is_some().then_some(SimulatedCaller::GatewaySecret);
    let anonymous = live.anonymous.is_some().then_some(SimulatedCaller::Anonymous);
    let issuers =
        live.issuers.iter().map(|i| SimulatedCaller::Claims { issuer: i.name.to_string(), claims: Map::new() });
    let mut groups: Vec<Group> = Vec::new();
    for who in tokens.chain(secret).chain(anonymous).chain(issuers) {
        // Expired, or held elsewhere: there is nothing to ask the gateway.
        let Ok(proven) = chain.policy.simulate(&who, chain.peer, now) else { continue };
        let request = SocketRequest { requested: None, requested_scopes: None, session: None, peer: chain.peer, now };
        let Ok(grant) = chain.policy.decide_socket(&proven, request) else { continue };
        if grant.effective().is_empty() {
            continue;
        }
        let name = match &who {
            SimulatedCaller::Claims { issuer, .. } => format!("any caller of `{issuer}`"),
            _ => proven.principal.name().to_owned(),
        };
        // A gateway that is told who is calling may hold each to something else.
        let named = chain.policy.credentials().names_callers();
        let alike = |g: &&mut Group| !named && g.grant.effective() == grant.effective();
        match groups.iter_mut().find(alike) {
            Some(group) => group.names.push(name),
            None => groups.push(Group { grant, names: vec![name] }),
        }
    }
    groups.sort_by_key(|g| std::cmp::Reverse(g.grant.effective().iter().count()));
    groups
}

/// The scopes that a session of this grant lacks.
async fn session(chain: &Chain, gateway: &UpstreamWebSocket, grant: &Grant) -> Result<Vec<String>, Failure> {
    let leave = Authorization { grant, policy: &chain.policy, peer: chain.peer };
    let request = json!({ "type": "req", "id": "doctor", "method": "connect", "params": {
        "minProtocol": 3, "maxProtocol": 4, "role": "operator", "caps": [],
        "client": { "id": "gateway-client", "mode": "backend", "version": env!("CARGO_PKG_VERSION"), "platform": "linux" },
    } });
    let connect = Connect::parse(&request.to_string()).map_err(|_| Refusal::Internal)?;
    let Connected { socket, rest, .. } = gateway.connect(&connect, leave, None).await?;
    let held = grant.effective().clone();
    let asked = tokio::task::spawn_blocking(move || ask(socket, &rest, &held));
    asked.await.map_err(|_| Refusal::Internal)?.map_err(|_| Refusal::GatewayBroken.into())
}

fn ask(socket: tokio::net::TcpStream, rest: &[u8], held: &ScopeSet) -> Result<Vec<String>, String> {
    let text = |e: std::io::Error| e.to_string();
    let socket = socket.into_std().map_err(text)?;
    socket.set_nonblocking(false).map_err(text)?;
    socket.set_read_timeout(Some(TIMEOUT)).map_err(text)?;
    let mut socket = WebSocket::from_partially_read(socket, rest.to_vec(), Role::Client, None);
    let lacking = lacks(&mut socket, held)?;
    let _ = socket.close(None);
    Ok(lacking)
}

fn gap(names: &str, lacking: &[String]) -> Advice {
    Advice::new(
        "scope-gap",
        Severity::Error,
        Side::Gateway,
        format!("a session of {names} connects, and the gateway says `missing scope` of {}", lacking.join(", ")),
        "the policy grants it, and the gateway takes it away: calls of control UIs and chat clients fail",
        "see whether `gateway.roles` or `identityScopes` in openclaw.json name this caller with less; \
         `scopeshim explain --as token:NAME --websocket` shows what the policy grants",
    )
}

fn pairing(names: &str, held: &ScopeSet, request: Option<String>) -> Advice {
    let approve = match request.filter(|r| !r.is_empty()) {
        Some(request) => format!("`openclaw devices approve {request}`"),
        None => "`openclaw devices list`, then `openclaw devices approve <requestId>`".to_owned(),
    };
    Advice::new(
        "websocket-pairing",
        Severity::Error,
        Side::Gateway,
        format!("the gateway wants this proxy's device approved before a session of {names} may hold {held}"),
        "control UIs and chat clients of these callers cannot connect; requests over HTTP are not concerned",
        format!("{approve}; {}", config_snippets::APPROVAL),
    )
}

fn refused(names: &str, failure: &Failure) -> Advice {
    let said = match failure {
        Failure::Refused(refusal) => refusal.to_string(),
        Failure::Answered(text) => text.chars().take(300).collect(),
    };
    Advice::new(
        "websocket-connect",
        Severity::Error,
        Side::Gateway,
        format!("a session of {names} is refused: {said}"),
        "control UIs and chat clients of these callers cannot connect",
        "see the gateway's log, and the stage `websocket`",
    )
}
