//! The gateway's end: its socket opened, its challenge answered, this proxy's device made known.

mod pairing;
mod silent_hello;

use super::connect_frame::{self, ClientIdentity, Connect, Exact, Reply};
use super::device_identity::Device;
use super::frame_codec::{Bounds, Frame};
use super::message_stream::{Wire, WireError};
use super::pending_limit::{PendingLimit, PendingSlot};
use super::upstream_upgrade;
use crate::headers::CLIENT_ADDRESS;
use crate::policy::{self, Grant, Policy};
use crate::refusal::{Refusal, SocketFault};
use crate::scope::ScopeSet;
use async_trait::async_trait;
use bytes::BytesMut;
use http::HeaderValue;
use pairing::{Approach, Pairing};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex as Lock, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};

/// The gateway allows 32 sockets that are not connected yet per address (contract §3): half of it,
/// so that another client on this machine finds room too.
const UNCONNECTED: usize = 16;
/// And those that are opened for a client whose `connect` has yet to come, in all and for one principal.
const EARLY: usize = 8;
const EARLY_EACH: usize = 4;
/// How long the gateway has to take a connection in. Releases of spring 2026 can be busy for 20 s
/// (contract §9).
const TIMEOUT: Duration = Duration::from_secs(30);
/// hello-ok holds a snapshot of the gateway's state.
const BOUNDS: Bounds = Bounds { message: 8 * 1024 * 1024, frames: 1024 };

/// What `UpstreamWebSocket::last` holds.
const WITH_DEVICE: u8 = 1;
const BACKEND: u8 = 2;

/// Where the gateway is.
#[async_trait]
pub trait Dial: Send + Sync + std::fmt::Debug {
    /// A new connection to it.
    async fn dial(&self) -> Result<TcpStream, Refusal>;
    /// It answered.
    fn answered(&self);
    /// Its `Host`.
    fn authority(&self) -> &HeaderValue;
}

/// The gateway, as far as sockets are concerned.
#[derive(Debug)]
pub struct UpstreamWebSocket {
    dial: Arc<dyn Dial>,
    state_dir: PathBuf,
    /// Made or read when the first socket is opened.
    device: OnceLock<Device>,
    /// Held while the device key is read or made, so that one is made.
    opening: Lock<()>,
    pairing: Mutex<Pairing>,
    /// The gateway's request for an approval of this proxy's device, while it waits for one.
    approval: Lock<Option<String>>,
    /// The form that connected last is tried first.
    last: AtomicU8,
    /// Whether sessions keep their scopes where the gateway's hello says nothing of them.
    silent: AtomicU8,
    room: Semaphore,
    early: Arc<PendingLimit>,
}

/// For whom a socket is opened: what writes the lines of its upgrade.
#[derive(Debug, Clone, Copy)]
pub struct Authorization<'a> {
    /// What was granted.
    pub grant: &'a Grant,
    /// By which policy.
    pub policy: &'a Policy,
    /// The client's address; `None` on a unix socket.
    pub peer: Option<IpAddr>,
}

/// A socket that is open and challenged, not connected yet.
#[derive(Debug)]
pub struct Opened {
    wire: Wire<TcpStream>,
    nonce: String,
    place: Option<PendingSlot>,
}

impl Opened {
    /// The gateway's challenge.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Waits for the client's answer to the challenge, as long as its place is not needed for others.
    ///
    /// # Errors
    /// [`SocketFault::Crowded`].
    pub async fn awaiting<T>(&self, answer: impl Future<Output = T>) -> Result<T, Refusal> {
        let crowded = Refusal::Socket(SocketFault::Crowded);
        let Some(place) = &self.place else { return Ok(answer.await) };
        tokio::select! {
            biased;
            () = place.displaced() => Err(crowded),
            said = answer => if place.answered() { Ok(said) } else { Err(crowded) },
        }
    }
}

/// A socket that is connected.
#[derive(Debug)]
pub struct Connected {
    /// The socket.
    pub socket: TcpStream,
    /// What the client is told.
    pub hello: String,
    /// What the gateway sent behind its hello.
    pub rest: BytesMut,
}

/// Why the gateway did not take a connection in.
#[derive(Debug)]
pub enum Failure {
    /// A reason of ours.
    Refused(Refusal),
    /// The gateway's own answer, which the client is told: its client or its protocol do not suit.
    Answered(String),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What an attempt came to.
enum Attempt {
    Connected(Connected),
    PairingRequired(String),
    Refused {
        text: String,
        code: String,
        message: String,
    },
    /// The gateway took the connection in and took its scopes away.
    Stripped,
}

impl UpstreamWebSocket {
    /// The gateway that `dial` leads to; `state_dir` is where the device key is kept.
    #[must_use]
    pub fn new(dial: Arc<dyn Dial>, state_dir: PathBuf) -> Self {
        Self {
            dial,
            state_dir,
            device: OnceLock::new(),
            opening: Lock::default(),
            pairing: Mutex::default(),
            approval: Lock::default(),
            last: AtomicU8::new(0),
            silent: AtomicU8::new(0),
            room: Semaphore::new(UNCONNECTED),
            early: PendingLimit::new(EARLY, EARLY_EACH),
        }
    }

    /// The device key. Where there is none, the next one who asks tries again: a disk that is full is not
    /// full for ever.
    fn device(&self) -> Option<&Device> {
        if let Some(device) = self.device.get() {
            return Some(device);
        }
        let _one = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = self.device.get() {
            return Some(device);
        }
        match Device::open(&self.state_dir) {
            Ok(device) => Some(self.device.get_or_init(|| device)),
            Err(error) => {
                tracing::error!(%error, "no device key: WebSocket clients keep their scopes on gateways since 2026.4 only");
                None
            }
        }
    }

    /// Opens a socket and waits for its challenge.
    async fn open(&self, leave: Authorization<'_>, approach: Approach) -> Result<Opened, Refusal> {
        let mut socket = self.dial.dial().await?;
        let ours = policy::outbound(leave.grant, leave.policy.credentials(), leave.peer)
            .filter(|(name, _)| approach != Approach::Local || *name != CLIENT_ADDRESS);
        let lines = approach.host(self.dial.authority()).chain(ours);
        let early = upstream_upgrade::protocol(&mut socket, lines).await?;
        self.dial.answered();
        let mut wire = Wire::of_server(socket, &early, BOUNDS);
        loop {
            let text = wire.text().await.map_err(|error| lost(&error))?;
            if let Some(nonce) = connect_frame::nonce_of(&text) {
                return Ok(Opened { wire, nonce, place: None });
            }
        }
    }

    /// Opens a socket before the client's `connect` came, for a client that signs the gateway's own
    /// challenge.
    ///
    /// # Errors
    /// The [`Refusal`] a client is given.
    pub async fn open_early(&self, leave: Authorization<'_>) -> Result<Opened, Refusal> {
        let crowded = Refusal::Socket(SocketFault::Crowded);
        let Some(place) = leave.grant.principal().and_then(|p| self.early.take(&p.key())) else { return Err(crowded) };
        let opened = tokio::select! {
            biased;
            () = place.displaced() => return Err(crowded),
            opened = self.open(leave, Approach::Plain) => opened?,
        };
        Ok(Opened { place: Some(place), ..opened })
    }

    /// Connects for a client that was let in.
    ///
    /// # Errors
    /// [`Failure`], with what the client is to be told.
    pub async fn connect(
        &self,
        client: &Connect,
        leave: Authorization<'_>,
        opened: Option<Opened>,
    ) -> Result<Connected, Failure> {
        let work = async {
            let _room = self.room.acquire().await.map_err(|_| Refusal::Internal)?;
            let mut opened = opened;
            let mut waiting = None;
            for with_device in self.forms(leave.policy) {
                if with_device {
                    self.make_known(leave).await?;
                }
                let socket = match opened.take() {
                    Some(opened) => opened,
                    None => self.open(leave, Approach::Plain).await?,
                };
                match self.attempt(client, leave, socket, with_device).await? {
                    Attempt::Connected(connected) => {
                        self.last.store(if with_device { WITH_DEVICE } else { BACKEND }, Ordering::Relaxed);
                        return Ok(connected);
                    }
                    Attempt::PairingRequired(request) => {
                        let mut pairing = self.pairing.lock().await;
                        if let Pairing::Known(_) = *pairing {
                            *pairing = Pairing::Unknown;
                        }
                        waiting = Some(request);
                    }
                    Attempt::Stripped => {}
                    Attempt::Refused { text, code, message } => {
                        tracing::warn!(code, message, "the gateway refused a WebSocket connection");
                        return Err(refused(text, &code, leave.policy.credentials().mode()));
                    }
                }
            }
            if let Some(request) = waiting {
                let request = self.ask_for_approval(leave).await.unwrap_or(request);
                tracing::error!(
                    request,
                    device = self.device().map(Device::id),
                    "the gateway wants this proxy's device approved: `openclaw devices approve <request>`; `scopeshim doctor` says more"
                );
                *self.approval.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
            }
            Err(Failure::Refused(Refusal::Socket(SocketFault::PairingRequired)))
        };
        tokio::time::timeout(TIMEOUT, work).await.unwrap_or(Err(Refusal::GatewayTimeout.into()))
    }

    /// Connects with a client's own signed frame, which is not changed. `opened` is the socket whose
    /// challenge it signed.
    ///
    /// # Errors
    /// [`Failure`], with what the client is to be told.
    pub async fn pass(&self, client: Exact<'_>, opened: Opened) -> Result<Connected, Failure> {
        let Opened { mut wire, place: _place, .. } = opened;
        let work = async {
            wire.send(Frame::Text(&client.frame())).await.map_err(|_| Refusal::GatewayBroken)?;
            match answer(&mut wire, client.id(), &ScopeSet::empty()).await? {
                // The device token is the client's own device's.
                (Reply::Hello { .. }, text) => Ok(text),
                (Reply::Error { text, .. }, _) => Err(Failure::Answered(text)),
            }
        };
        let hello = tokio::time::timeout(TIMEOUT, work).await.unwrap_or(Err(Refusal::GatewayTimeout.into()))?;
        let (socket, rest) = wire.into_parts();
        Ok(Connected { socket, hello, rest })
    }

    /// The forms to try, in order; true is with the device.
    fn forms(&self, policy: &Policy) -> impl Iterator<Item = bool> + use<> {
        let device_first = match self.last.load(Ordering::Relaxed) {
            WITH_DEVICE => true,
            BACKEND => false,
            // A gateway that is told who is calling may know what they hold (`identityScopes`).
            _ => !policy.credentials().names_callers(),
        };
        let has_device = self.device().is_some();
        [device_first, !device_first].into_iter().filter(move |with_device| has_device || !with_device)
    }

    /// The request that the gateway last wanted approved before this proxy's device may hold what it asks.
    #[must_use]
    pub fn awaits_approval(&self) -> Option<String> {
        self.approval.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A socket of this gateway ended from its side: it may have restarted without its state.
    pub fn reprobe(&self) {
        self.silent.store(0, Ordering::Relaxed);
        // The holder of the lock is looking at this moment.
        if let Ok(mut pairing) = self.pairing.try_lock() {
            *pairing = Pairing::Unknown;
        }
    }

    async fn attempt(
        &self,
        client: &Connect,
        leave: Authorization<'_>,
        opened: Opened,
        with_device: bool,
    ) -> Result<Attempt, Refusal> {
        let Opened { mut wire, nonce, place: _place } = opened;
        let grant = leave.grant;
        let now = jiff::Timestamp::now().as_millisecond();
        let form = match self.device().filter(|_| with_device) {
            Some(device) => ClientIdentity::Device { device, nonce: &nonce, now },
            None => ClientIdentity::Backend,
        };
        let frame = connect_frame::leaving(client, grant, leave.policy.gateway_auth(), &form);
        wire.send(Frame::Text(&frame)).await.map_err(|_| Refusal::GatewayBroken)?;
        Ok(match answer(&mut wire, client.id(), grant.effective()).await?.0 {
            Reply::Hello { text, scopes } => {
                let kept = match scopes {
                    _ if with_device => true,
                    Some(scopes) => grant.effective().excess_over(&scopes).is_empty(),
                    None => leave.policy.credentials().names_callers() && self.keeps_silently(leave).await?,
                };
                if kept {
                    let (socket, rest) = wire.into_parts();
                    Attempt::Connected(Connected { socket, hello: text, rest })
                } else {
                    Attempt::Stripped
                }
            }
            Reply::Error { pairing: Some(request), .. } => Attempt::PairingRequired(request),
            Reply::Error { text, code, message, .. } => Attempt::Refused { text, code, message },
        })
    }
}

/// The gateway's answer to a request, and its text as it came.
async fn answer(wire: &mut Wire<TcpStream>, id: &str, sent: &ScopeSet) -> Result<(Reply, String), Refusal> {
    loop {
        let text = wire.text().await.map_err(|error| lost(&error))?;
        if let Some(reply) = Reply::parse(&text, id, sent) {
            return Ok((reply, text));
        }
    }
}

/// What the gateway says of our own credential is nothing for the client; what it says of the
/// client's protocol or parameters is.
fn refused(text: String, code: &str, mode: &'static str) -> Failure {
    if is_about_our_credential(code) {
        Failure::Refused(Refusal::GatewayCredential { mode })
    } else if code.starts_with("AUTH_") || code.starts_with("DEVICE_") || code.starts_with("PROXY_") {
        Failure::Refused(Refusal::Socket(SocketFault::GatewayRefused(code.to_owned())))
    } else {
        Failure::Answered(text)
    }
}

/// Whether a code says that the token, the password or the identity in the frame or its upgrade is wrong, as
/// opposed to the device, or to too many attempts.
fn is_about_our_credential(code: &str) -> bool {
    let what = code.strip_prefix("AUTH_").unwrap_or_default();
    let which = ["TOKEN_", "PASSWORD_", "TRUSTED_PROXY_"].iter().any(|which| what.starts_with(which));
    which || matches!(what, "REQUIRED" | "UNAUTHORIZED")
}

fn lost(error: &WireError) -> Refusal {
    match error {
        WireError::Closed(Some(super::frame_codec::RESTARTING)) => Refusal::GatewayRestarting,
        WireError::Closed(code) => {
            Refusal::Socket(SocketFault::GatewayRefused(format!("it closed with code {}", code.unwrap_or(1005))))
        }
        WireError::Gone(_) | WireError::Frame(_) => Refusal::GatewayBroken,
    }
}
