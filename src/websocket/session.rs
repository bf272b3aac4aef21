//! One WebSocket from its upgrade to its end: the handshake, the tunnel, what is said of it.

use super::authorize::{self, ConnectContext};
use super::connect_frame::{self, Connect, Exact};
use super::frame_codec::{self, Bounds, Frame};
use super::message_stream::{Wire, WireError};
use super::reauthorize::OpenSocket;
use super::tunnel::{Ended, Tunnel};
use super::unauthenticated_limit::UnauthenticatedSlot;
use super::upstream::{Authorization, Connected, Failure, Opened};
use super::{Sockets, keepalive};
use crate::access_log::{AccessRecord, WebSocketRecord};
use crate::authn::Credential;
use crate::identity_providers::TailnetQuery;
use crate::listener::{ClientSocket, Ending, OpenRequest as _};
use crate::metric_labels::{Label as _, StreamKind};
use crate::policy::{Grant, Policy, Proven};
use crate::principal_limiter::{LimitedUse, Permit};
use crate::refusal::{Refusal, SocketFault};
use crate::request_evaluation::UpgradeOrigin;
use crate::scope::ScopeSet;
use jiff::Timestamp;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;

/// What a client may send before it is connected (contract §7: the gateway's own bound).
const BOUNDS: Bounds = Bounds { message: 64 * 1024, frames: 64 };

/// A client whose upgrade was answered.
#[derive(Debug)]
pub struct Client {
    /// Its socket.
    pub socket: ClientSocket,
    /// What it sent behind the upgrade.
    pub early: Vec<u8>,
    /// What was checked of the upgrade.
    pub upgrade: Upgraded,
    /// What is remembered of it.
    pub record: AccessRecord,
    /// How it is seen in the list of open connections.
    pub open: Arc<OpenSocket>,
}

/// What an upgrade said.
#[derive(Debug)]
pub struct Upgraded {
    /// The policy it was checked by.
    pub policy: Arc<Policy>,
    /// The caller it authenticated, if it did.
    pub proven: Option<Proven>,
    /// What the tailnet is to be asked, if its first frame holds no credential either.
    pub asking: TailnetQuery,
    /// The scopes its header asked for.
    pub requested: Option<ScopeSet>,
    /// Where it came from.
    pub origin: UpgradeOrigin,
    /// The place a client takes that has not proven itself.
    pub unauthenticated: Option<UnauthenticatedSlot>,
    /// What its principal uses by it, from its proof to its end.
    pub permit: Option<Permit>,
}

/// Has a WebSocket counted with what else its principal uses.
///
/// # Errors
/// The limit that was reached.
pub fn occupy(policy: &Policy, grant: &Grant, record: &mut AccessRecord) -> Result<Option<Permit>, Refusal> {
    let Some(principal) = grant.principal().filter(|_| policy.is_limited()) else { return Ok(None) };
    record.principal_limiter().enter(principal, grant.limits(), LimitedUse::Socket).map(Some).map_err(|reached| {
        let refusal = Refusal::PrincipalLimit(reached);
        record.change = Some(policy.remedy(None, &refusal));
        refusal
    })
}

/// Why there is no connection.
enum Stop {
    /// It is refused, and told so: in an answer to its request, where there was one.
    Refused(Refusal, Option<String>),
    /// The gateway's own answer.
    Answered(String),
    /// It ended by itself.
    Gone(WireError),
    /// It had to end.
    Ending(Ending),
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Frame(fault) => {
                Self::Refused(Refusal::Socket(SocketFault::Frame { close: fault.close, what: fault.what }), None)
            }
            gone => Self::Gone(gone),
        }
    }
}

/// Serves one client to its end.
pub async fn serve(client: Client, sockets: Arc<Sockets>) {
    let Client { socket, early, mut upgrade, mut record, open } = client;
    record.socket = Some(Box::default());
    let mut wire = Wire::of_client(socket, &early, BOUNDS);
    let lost = upgrade.unauthenticated.as_ref().map(UnauthenticatedSlot::lost);
    let lost = async {
        match lost {
            Some(lost) => lost.await,
            None => std::future::pending().await,
        }
    };
    let connected = tokio::select! {
        biased;
        ending = open.ending() => Err(Stop::Ending(ending)),
        () = lost => Err(Stop::Refused(Refusal::Socket(SocketFault::Crowded), None)),
        // On the heap, so that its room is given back: thousands of tunnels only wait.
        outcome = Box::pin(handshake(&mut wire, &mut upgrade, &mut record, &open, &sockets)) => outcome,
    };
    // Nothing of the handshake stays for the tunnel's life, but that it is counted.
    let _permit = upgrade.permit.take();
    drop(upgrade);
    match connected {
        Ok(connected) => tunnel(wire, connected, &mut record, &open, &sockets).await,
        Err(stop) => turn_away(wire, stop, &mut record).await,
    }
    record.emit();
}

async fn handshake(
    wire: &mut Wire<ClientSocket>,
    upgrade: &mut Upgraded,
    record: &mut AccessRecord,
    open: &Arc<OpenSocket>,
    sockets: &Sockets,
) -> Result<Connected, Stop> {
    let late = Stop::Refused(Refusal::Socket(SocketFault::Late), None);
    let (text, opened) =
        tokio::time::timeout(sockets.unauthenticated.limits().timeout, first_message(wire, upgrade, record, sockets))
            .await
            .map_err(|_| late)??;
    let refused = |refusal| Stop::Refused(refusal, connect_frame::id_of(&text));
    let connect =
        Connect::parse(&text).map_err(|error| refused(Refusal::Socket(SocketFault::Connect(error.to_string()))))?;
    note(record, |socket| socket.asked = connect.requested_scopes().map(ToString::to_string));

    // The client is watched during the waits: for a client that hangs up, no connection to the gateway is made.
    let work = async {
        let (grant, exact) = authorized(&connect, upgrade, record, opened.is_some(), sockets).await?;
        // Proven: the place is free for the next.
        upgrade.unauthenticated = None;
        record.granted(&grant);
        open.granted(&grant);
        // A policy may have come since the upgrade; from now on it is the list's to ask again.
        let now = sockets.policy.load();
        if now.generation() != upgrade.policy.generation()
            && let Some(refusal) = open.ends_under(&now, Timestamp::now())
        {
            return Ok(Err(Ending::Judged(refusal.code())));
        }
        let leave = Authorization { grant: &grant, policy: &upgrade.policy, peer: record.peer };
        match (opened, exact) {
            (Some(opened), Some(exact)) => sockets.gateway.pass(exact, opened).await,
            (opened, _) => sockets.gateway.connect(&connect, leave, opened).await,
        }
        .map(Ok)
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        gone = wire.gone() => return Err(Stop::Gone(WireError::Gone(gone))),
    };
    match outcome {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(ending)) => Err(Stop::Ending(ending)),
        Err(Failure::Answered(text)) => Err(Stop::Answered(text)),
        Err(Failure::Refused(refusal)) => {
            if matches!(refusal, Refusal::GatewayBroken | Refusal::GatewayUnreachable | Refusal::GatewayRestarting) {
                sockets.gateway.reprobe();
            }
            Err(refused(refusal))
        }
    }
}

/// Challenges the client and waits for its answer. A client that may bring a device of its own, and
/// was proven already, is given the gateway's challenge instead of ours.
async fn first_message(
    wire: &mut Wire<ClientSocket>,
    upgrade: &Upgraded,
    record: &mut AccessRecord,
    sockets: &Sockets,
) -> Result<(String, Option<Opened>), Stop> {
    let refused = |refusal| Stop::Refused(refusal, None);
    let mut opened = None;
    if let Some(proven) = &upgrade.proven
        && let request = circumstances(upgrade, record.place, false).request(None)
        && upgrade.policy.may_pass_frames(proven, request)
    {
        let grant = upgrade.policy.decide_socket(proven, request).map_err(refused)?;
        let leave = Authorization { grant: &grant, policy: &upgrade.policy, peer: record.peer };
        opened = Some(sockets.gateway.open_early(leave).await.map_err(refused)?);
    }
    let mut ours = [0; 16];
    getrandom::fill(&mut ours).map_err(|_| Stop::Refused(Refusal::Internal, None))?;
    let ours = format!("{:032x}", u128::from_be_bytes(ours));
    let nonce = opened.as_ref().map_or(ours.as_str(), Opened::nonce);
    let challenge = connect_frame::challenge(nonce, Timestamp::now().as_millisecond());
    wire.send(Frame::Text(&challenge)).await.map_err(|error| Stop::Gone(WireError::Gone(error)))?;
    let text = match &opened {
        Some(opened) => opened.awaiting(wire.text()).await.map_err(refused)?,
        None => wire.text().await,
    };
    Ok((text?, opened))
}

/// Who is it, and with which scopes may they connect? With their own frame as it is, where it is given.
async fn authorized<'a>(
    connect: &'a Connect,
    upgrade: &mut Upgraded,
    record: &mut AccessRecord,
    opened: bool,
    sockets: &Sockets,
) -> Result<(Grant, Option<Exact<'a>>), Refusal> {
    upgrade.origin.check_page(connect.is_browser())?;
    let proven = if let Some(proven) = &upgrade.proven {
        proven.clone()
    } else {
        let authenticator = upgrade.policy.authenticator();
        let credential = connect.secret().map_or(Ok(Credential::Absent), |s| authenticator.bearer(s.as_bytes()))?;
        sockets.sources.authenticate(&upgrade.policy, credential, &upgrade.asking, record.place).await?
    };
    upgrade.origin.check_caller(&proven)?;
    record.principal = Some(proven.principal.clone());
    let decided = authorize::decide(&upgrade.policy, &proven, connect, circumstances(upgrade, record.place, opened))?;
    if upgrade.permit.is_none() {
        upgrade.permit = occupy(&upgrade.policy, &decided.0, record)?;
    }
    Ok(decided)
}

fn circumstances(upgrade: &Upgraded, peer: Option<IpAddr>, challenged: bool) -> ConnectContext<'_> {
    ConnectContext { requested: upgrade.requested.as_ref(), peer, now: Timestamp::now(), challenged }
}

async fn tunnel(
    wire: Wire<ClientSocket>,
    connected: Connected,
    record: &mut AccessRecord,
    open: &OpenSocket,
    sockets: &Sockets,
) {
    let (client, up) = wire.into_parts();
    keepalive::watch(&client, &connected.socket);
    let mut down = bytes::BytesMut::from(&Frame::Text(&connected.hello).encode(None)[..]);
    down.extend_from_slice(&connected.rest);
    record.first_byte = Some(std::time::Instant::now());
    record.stream_begins(StreamKind::Websocket);
    let mut tunnel = Tunnel::new(client, connected.socket, up, down);
    let mut told = None;
    let ended = tunnel
        .run(async {
            let ending = open.ending().await;
            told = Some(ending);
            goodbye(ending)
        })
        .await;
    let (up, down) = tunnel.passed();
    if up.close.is_none() {
        sockets.gateway.reprobe();
    }
    note(record, |socket| {
        socket.passed = Some((up, down));
        (socket.close, socket.closed_by) = match (&ended, up.close, down.close) {
            (Ended::Told(code), ..) => (Some(*code), Some("proxy")),
            (_, Some(code), _) => (Some(code), Some("client")),
            (_, None, Some(code)) => (Some(code), Some("gateway")),
            _ => (None, None),
        };
    });
    record.cause = match (told, ended) {
        (Some(ending), _) => Some(ending.to_string()),
        (None, Ended::Failed(error)) => Some(error.to_string()),
        _ => None,
    };
}

/// The close code and the reason for an end of ours.
fn goodbye(ending: Ending) -> (u16, &'static str) {
    match ending {
        Ending::Judged(code) => (frame_codec::POLICY, code.as_str()),
        Ending::Draining => (frame_codec::RESTARTING, "service restart"),
    }
}

async fn turn_away(mut wire: Wire<ClientSocket>, stop: Stop, record: &mut AccessRecord) {
    let (code, reason) = match stop {
        Stop::Gone(error) => {
            record.cause = Some(error.to_string());
            if let WireError::Closed(code) = error {
                let code = code.unwrap_or(1005);
                note(record, |socket| (socket.close, socket.closed_by) = (Some(code), Some("client")));
                // 1005 says that there was no code, and is never sent.
                wire.close(if code == 1005 { 1000 } else { code }, "").await;
            }
            return;
        }
        Stop::Ending(ending) => {
            record.cause = Some(ending.to_string());
            let (code, reason) = goodbye(ending);
            (code, reason.to_owned())
        }
        Stop::Answered(text) => {
            let _ = wire.send(Frame::Text(&text)).await;
            record.refusal = Some(Refusal::Socket(SocketFault::GatewayRefused("its answer was passed on".to_owned())));
            (frame_codec::POLICY, "refused by the gateway".to_owned())
        }
        Stop::Refused(refusal, id) => {
            if let Some(id) = id {
                let answer = error_answer(&id, &refusal, record);
                let _ = wire.send(Frame::Text(&answer)).await;
            }
            let said = (close_code(&refusal), refusal.to_string());
            record.refusal = Some(refusal);
            said
        }
    };
    note(record, |socket| (socket.close, socket.closed_by) = (Some(code), Some("proxy")));
    wire.close(code, &reason).await;
}

fn close_code(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::Socket(SocketFault::Frame { close, .. }) => *close,
        refusal if is_passing(refusal) => frame_codec::TRY_AGAIN,
        _ => frame_codec::POLICY,
    }
}

/// Whether the same may be taken at another time.
fn is_passing(refusal: &Refusal) -> bool {
    refusal.status() >= 500 || refusal.status() == 429
}

/// A refusal in the shape of the gateway's own answers to `connect` (contract §3), with the codes
/// its clients know where they mean the same.
fn error_answer(id: &str, refusal: &Refusal, record: &AccessRecord) -> String {
    let code = match refusal {
        Refusal::CredentialMissing => "AUTH_TOKEN_MISSING",
        Refusal::CredentialUnknown => "AUTH_TOKEN_MISMATCH",
        Refusal::Socket(SocketFault::Origin) => "CONTROL_UI_ORIGIN_NOT_ALLOWED",
        Refusal::AuthThrottle { .. } => "AUTH_RATE_LIMITED",
        refusal if refusal.status() == 401 => "AUTH_UNAUTHORIZED",
        refusal => refusal.code().as_str(),
    };
    let unavailable = is_passing(refusal);
    let mut error = json!({
        "code": if unavailable { "UNAVAILABLE" } else { "INVALID_REQUEST" },
        "message": refusal.told_to(record.caller().as_ref()),
        "details": { "code": code, "reason": refusal.code().as_str(), "hint": refusal.advice(),
            "request_id": &*record.request_id },
    });
    if let (true, Some(error)) = (unavailable, error.as_object_mut()) {
        error.insert("retryable".to_owned(), json!(true));
        error.insert("retryAfterMs".to_owned(), json!(refusal.retry_after().unwrap_or(1).saturating_mul(1000)));
    }
    json!({ "type": "res", "id": id, "ok": false, "error": error }).to_string()
}

fn note(record: &mut AccessRecord, say: impl FnOnce(&mut WebSocketRecord)) {
    if let Some(socket) = &mut record.socket {
        say(socket);
    }
}
