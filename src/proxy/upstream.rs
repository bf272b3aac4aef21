//! The one gateway behind this proxy: its addresses, its pool, its timeouts and retries.

use super::plain_connector::{self, PlainConnector};
use crate::config::GatewayAddress;
use crate::refusal::Refusal;
use crate::websocket::upstream::Dial;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{HeaderValue, Method};
use pingora::ErrorType;
use pingora::prelude::{Error, HttpPeer};
use pingora::protocols::TcpKeepalive;
use pingora::upstreams::peer::HttpUpstreamRequestPolicy;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Node closes a resting connection after 5 s (contract §9); ours is gone before.
const POOL_IDLE: Duration = Duration::from_secs(4);
/// A gateway that answered within this time is taken to be restarting, not gone.
const RECENT: Duration = Duration::from_secs(60);
/// The first pause between two attempts, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// The gateway.
#[derive(Debug)]
pub struct Upstream {
    gateway: GatewayAddress,
    authority: HeaderValue,
    addresses: ArcSwap<Vec<SocketAddr>>,
    chosen: AtomicUsize,
    fresh: AtomicU64,
    begun: Instant,
    /// Milliseconds since `begun` at the last answer, plus one; 0 when there was none.
    last_answer: AtomicU64,
    reprobe: Arc<Notify>,
    /// This kernel lacks an option that Pingora's own connections set.
    plain: AtomicBool,
}

/// The attempts of one request to connect.
#[derive(Debug, Default)]
pub struct Attempts {
    count: u32,
    first_failure: Option<Instant>,
    waited: bool,
}

impl Attempts {
    /// How many connections were asked for.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether the request waited for a gateway that refused it.
    #[must_use]
    pub fn waited(&self) -> bool {
        self.waited
    }
}

/// The gateway's name leads nowhere.
#[derive(Debug, thiserror::Error)]
#[error("the gateway's host `{host}` cannot be resolved: {cause}")]
pub struct ResolveError {
    host: String,
    cause: String,
}

impl Upstream {
    /// Resolves the gateway's address.
    ///
    /// # Errors
    /// [`ResolveError`] when its host has no address, or no header could name it.
    pub async fn new(gateway: GatewayAddress) -> Result<Self, ResolveError> {
        let failed = |cause: String| ResolveError { host: gateway.host.clone(), cause };
        let addresses = resolve(&gateway).await.map_err(|e| failed(e.to_string()))?;
        let authority = HeaderValue::from_str(&gateway.authority()).map_err(|e| failed(e.to_string()))?;
        Ok(Self {
            gateway,
            authority,
            addresses: ArcSwap::from_pointee(addresses),
            chosen: AtomicUsize::new(0),
            fresh: AtomicU64::new(0),
            begun: Instant::now(),
            last_answer: AtomicU64::new(0),
            reprobe: Arc::new(Notify::new()),
            plain: AtomicBool::new(false),
        })
    }

    /// The gateway's `Host`.
    #[must_use]
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Where the gateway is.
    pub(super) fn address(&self) -> &GatewayAddress {
        &self.gateway
    }

    /// The gateway's host.
    pub(super) fn host(&self) -> &str {
        &self.gateway.host
    }

    /// The gateway's port.
    pub(super) fn port(&self) -> u16 {
        self.gateway.port
    }

    /// Rings whenever the gateway is met away, or refusing this proxy's credential.
    #[must_use]
    pub fn reprobe(&self) -> Arc<Notify> {
        self.reprobe.clone()
    }

    /// Where to send a request with this method.
    ///
    /// What may not be sent twice goes over a connection of its own: a pooled one could turn out to
    /// be closed only after the request is written, and it would be unknown whether it was carried out.
    pub(super) fn peer(&self, method: &Method) -> Box<HttpPeer> {
        let addresses = self.addresses.load();
        let index = self.chosen.load(Ordering::Relaxed) % addresses.len().max(1);
        let address = addresses.get(index).copied().unwrap_or(SocketAddr::from(([127, 0, 0, 1], self.gateway.port)));
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.connection_timeout = Some(self.gateway.connect_timeout);
        peer.options.total_connection_timeout = Some(self.gateway.connect_timeout);
        peer.options.idle_timeout = Some(POOL_IDLE);
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        // A gateway machine that vanishes is noticed although no read ever times out.
        peer.options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(15),
            count: 4,
            #[cfg(target_os = "linux")]
            user_timeout: Duration::ZERO,
        });
        if self.plain.load(Ordering::Relaxed) {
            peer.options.custom_l4 = Some(Arc::new(PlainConnector));
        }
        if !is_repeatable(method) {
            peer.group_key = self.fresh.fetch_add(1, Ordering::Relaxed) + 1;
        }
        Box::new(peer)
    }

    /// Waits before another attempt, as long as there were attempts already.
    pub(super) async fn backoff(&self, attempts: &mut Attempts) {
        // Another address of the same gateway is tried at once.
        if attempts.first_failure.is_some() && attempts.count as usize >= self.addresses.load().len() {
            attempts.waited = true;
            let (first, longest) = BACK_OFF;
            let pause = first.saturating_mul(1 << attempts.count.min(6)).min(longest);
            tokio::time::sleep(pause).await;
            if let Ok(addresses) = resolve(&self.gateway).await {
                self.addresses.store(Arc::new(addresses));
            }
        }
        attempts.count += 1;
    }

    /// Whether a request whose connection failed may try another.
    pub(super) fn try_again(&self, attempts: &mut Attempts, error: &Error) -> bool {
        if plain_connector::is_needed(error) {
            if !self.plain.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "this kernel has no IP_BIND_ADDRESS_NO_PORT; connections to the gateway are made without it"
                );
            }
            return true;
        }
        self.chosen.fetch_add(1, Ordering::Relaxed);
        self.reprobe.notify_one();
        let since = *attempts.first_failure.get_or_insert_with(Instant::now);
        if (attempts.count as usize) < self.addresses.load().len() {
            return true;
        }
        let refused = matches!(error.etype(), ErrorType::ConnectRefused | ErrorType::ConnectError);
        if !refused || !self.answered_within(RECENT) {
            return false;
        }
        let patient = since.elapsed() < self.gateway.retry_for;
        if !patient {
            // It did not come back: the next requests are told so at once.
            self.last_answer.store(0, Ordering::Relaxed);
        }
        patient
    }

    /// A connection for a WebSocket, with the same timeouts and retries as a request's.
    async fn dial_patiently(&self) -> Result<TcpStream, Refusal> {
        let begun = Instant::now();
        let mut pause = BACK_OFF.0;
        let mut waited = false;
        loop {
            let addresses = self.addresses.load_full();
            let mut refused = Refusal::GatewayUnreachable;
            for _ in 0..addresses.len().max(1) {
                let index = self.chosen.load(Ordering::Relaxed) % addresses.len().max(1);
                let Some(address) = addresses.get(index) else { break };
                match tokio::time::timeout(self.gateway.connect_timeout, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => {
                        // Small frames must not wait for one another.
                        let _ = stream.set_nodelay(true);
                        return Ok(stream);
                    }
                    Ok(Err(_)) => {}
                    Err(_) => refused = Refusal::GatewayTimeout,
                }
                self.chosen.fetch_add(1, Ordering::Relaxed);
            }
            if refused == Refusal::GatewayTimeout || !self.answered_within(RECENT) {
                return Err(if waited { Refusal::GatewayRestarting } else { refused });
            }
            if begun.elapsed() >= self.gateway.retry_for {
                self.last_answer.store(0, Ordering::Relaxed);
                self.reprobe.notify_one();
                return Err(Refusal::GatewayRestarting);
            }
            waited = true;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACK_OFF.1);
            if let Ok(addresses) = resolve(&self.gateway).await {
                self.addresses.store(Arc::new(addresses));
            }
        }
    }

    /// The gateway answered; `refused` when it did not take our credential, or refused all work.
    pub(super) fn answered(&self, refused: bool) {
        if refused {
            self.reprobe.notify_one();
        }
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.last_answer.store(now + 1, Ordering::Relaxed);
    }

    fn answered_within(&self, span: Duration) -> bool {
        match self.last_answer.load(Ordering::Relaxed) {
            0 => false,
            at => self.begun.elapsed().saturating_sub(Duration::from_millis(at - 1)) < span,
        }
    }
}

#[async_trait]
impl Dial for Upstream {
    async fn dial(&self) -> Result<TcpStream, Refusal> {
        self.dial_patiently().await
    }
    fn answered(&self) {
        Self::answered(self, false);
    }
    fn authority(&self) -> &HeaderValue {
        Self::authority(self)
    }
}

/// RFC 9110 §9.2.2: methods whose repetition does no harm.
pub(super) fn is_repeatable(method: &Method) -> bool {
    method.is_idempotent()
}

async fn resolve(gateway: &GatewayAddress) -> std::io::Result<Vec<SocketAddr>> {
    let all: Vec<SocketAddr> = tokio::net::lookup_host((gateway.host.as_str(), gateway.port)).await?.collect();
    if all.is_empty() {
        return Err(std::io::Error::other("no address"));
    }
    Ok(all)
}
