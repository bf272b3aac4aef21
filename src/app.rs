//! The process: everything bound before anything is served, signals, the drain at the end.

mod drain;

pub use drain::Stopped;

use crate::admin::{Admin, AdminEndpoint, AdminState};
use crate::atomic_file::FileFingerprint;
use crate::auth_throttle::AuthThrottle;
use crate::config::{BootstrapConfig, Config, Limits, Listen, ListenAddress, ListenerIdentity, TokenList};
use crate::dns_rebinding::HostNames;
use crate::file_descriptors;
use crate::gateway_probe::GatewayMonitor;
use crate::identity_providers::IdentityProviders;
use crate::jwks_cache::JwksCache;
use crate::listener::{BindError, ClientStream, Connection, Connections, Listener};
use crate::platform;
use crate::policy::Policy;
use crate::proxy::{CONNECTION, Proxy, Upstream};
use crate::reload::{self, Reload, ReloadRequests, Reloader};
use crate::systemd::{self, Inherited};
use crate::tailscale::Tailnet;
use crate::telemetry::Telemetry;
use crate::tls::{self, CertificateResolver};
use crate::websocket::Sockets;
use arc_swap::ArcSwap;
use pingora::apps::ServerApp as _;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How often connections that overstay are looked for.
const SWEEP: Duration = Duration::from_millis(250);
/// How long no connection is accepted after the process ran out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The gateway's host has no address.
    #[error(transparent)]
    Resolve(#[from] crate::proxy::ResolveError),
    /// The operating system refuses something basic.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// Where a configuration came from, if it can be read again.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// The file.
    pub path: PathBuf,
    /// Its text, as it is in force.
    pub text: String,
    /// Every file whose change matters.
    pub files: Vec<FileFingerprint>,
    /// Set where this is the last good text, because the present one is broken.
    pub last_good: Option<LastGood>,
}

/// What a start from the last good text found.
#[derive(Debug, Clone, Default)]
pub struct LastGood {
    /// The names of the tokens that it did not take over, because they were revoked since.
    pub withheld: Vec<String>,
    /// The tokens that the present file lists, as far as it can be read.
    pub listed: Option<TokenList>,
}

/// A process that is ready to serve: its sockets are bound, its policy compiled.
pub struct App {
    fixed: BootstrapConfig,
    policy: Arc<ArcSwap<Policy>>,
    listeners: Vec<Listener>,
    connections: Arc<Connections>,
    gateway: Arc<GatewayMonitor>,
    proxy: Arc<HttpProxy<Proxy>>,
    issuers: Arc<JwksCache>,
    tailnet: Arc<Tailnet>,
    telemetry: Arc<Telemetry>,
    live: Option<LiveConfig>,
}

/// What a process has whose configuration can be read again.
struct LiveConfig {
    reloader: Arc<Reloader>,
    reload: Reload,
    requests: ReloadRequests,
    files: Vec<FileFingerprint>,
    endpoints: Vec<(Listener, AdminEndpoint)>,
}

impl App {
    /// Binds and compiles. Must be called within a tokio runtime. Without a provenance nothing is
    /// reloaded and no admin socket is opened.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left half-started.
    pub async fn build(config: Config, from: Option<Provenance>) -> Result<Self, StartError> {
        let Config { fixed, live } = config;
        let mut inherited = Inherited::take();
        let shown: Vec<_> =
            live.certificates.iter().map(|c| c.clone().map(|c| Arc::new(CertificateResolver::new(c)))).collect();
        let bind = |(listen, shown): (&Listen, &Option<Arc<CertificateResolver>>)| {
            let tls = shown.clone().map(tls::server_config).transpose().map_err(std::io::Error::other)?;
            let listener = Listener::inherit_or_bind(&listen.address, &mut inherited)?;
            Ok::<_, StartError>(listener.with_identity(listen.identity).with_tls(tls))
        };
        let listeners = fixed.listeners.iter().zip(&shown).map(bind).collect::<Result<Vec<_>, _>>()?;
        for address in inherited.unclaimed() {
            tracing::warn!(address, "systemd passed a socket that no [[listen]] names; it is closed");
        }
        let endpoints = from.as_ref().map(|_| endpoints(&fixed)).transpose()?.unwrap_or_default();
        let upstream = Arc::new(Upstream::new(fixed.gateway.clone()).await?);
        let telemetry = Arc::new(Telemetry::new().map_err(std::io::Error::other)?);
        count_panics(telemetry.clone());
        let issuers = Arc::new(JwksCache::new(&fixed.state_dir));
        let slots = issuers.adopt(&live.issuers);
        let policy = Arc::new(ArcSwap::from_pointee(Policy::compile(live, &slots, 1)));
        for issuer in issuers.ready().await {
            tracing::warn!(issuer = &*issuer, "no keys of this issuer yet: its tokens get 503 until they are fetched");
        }
        let connections = Arc::new(Connections::new(
            Limits { connections: affordable(fixed.limits.connections), ..fixed.limits.clone() },
            telemetry.clone(),
        ));
        let live = from.map(|from| {
            let reloader = Reloader::new(
                &from.path,
                fixed.clone(),
                policy.clone(),
                issuers.clone(),
                connections.clone(),
                from.last_good.is_some(),
            )
            .showing(shown);
            match from.last_good {
                None => reloader.keep(&from.text),
                Some(found) => reloader.started_from_last_good(found.withheld, found.listed),
            }
            reloader.announce();
            let (reload, requests) = reload::channel();
            LiveConfig { reloader: Arc::new(reloader), reload, requests, files: from.files, endpoints }
        });
        let used = fixed.listeners.iter().any(|l| l.identity != ListenerIdentity::None);
        let names = Arc::new(HostNames::of_this_machine());
        let tailnet = Arc::new(Tailnet::new(&fixed.tailscaled, used, names.clone(), telemetry.clone()));
        let sources = Arc::new(IdentityProviders {
            issuers: issuers.clone(),
            tailnet: tailnet.clone(),
            names,
            guessing: AuthThrottle::default(),
        });
        let gateway = Arc::new(GatewayMonitor::new(fixed.gateway.clone(), policy.clone(), upstream.reprobe()));
        let sockets = Sockets::new(
            policy.clone(),
            sources.clone(),
            upstream.clone(),
            fixed.state_dir.clone(),
            fixed.limits.unauthenticated,
        );
        let sockets = Arc::new(sockets);
        let proxy = Proxy::new(policy.clone(), upstream, sources, sockets, telemetry.clone(), fixed.limits.clone());
        let proxy = Arc::new(http_proxy(&Arc::new(ServerConf::default()), proxy));
        Ok(Self { fixed, policy, listeners, connections, gateway, proxy, issuers, tailnet, telemetry, live })
    }

    /// The addresses as bound.
    pub fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter()
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<ArcSwap<Policy>> {
        self.policy.clone()
    }

    /// The gateway, as it is known.
    #[must_use]
    pub fn gateway(&self) -> Arc<GatewayMonitor> {
        self.gateway.clone()
    }

    /// A way to ask for reloads, where there is a file to read again.
    #[must_use]
    pub fn reload(&self) -> Option<Reload> {
        self.live.as_ref().map(|live| live.reload.clone())
    }

    /// Serves until `stop` asks for an end, drains, and returns. A second word on `stop` ends the
    /// drain at once.
    pub async fn serve(self, mut stop: mpsc::Receiver<()>) -> Stopped {
        let (stopping, stopped) = watch::channel(false);
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, self.connections.clone(), self.proxy.clone(), stopped.clone()));
        }
        let mut background = JoinSet::new();
        background.spawn(sweep(self.connections.clone(), self.telemetry.clone()));
        let gateway = self.gateway.clone();
        background.spawn(async move { gateway.watch().await });
        background.spawn(self.tailnet.clone().follow());
        let changed = [self.issuers.changed(), self.tailnet.changed()];
        background.spawn(self.connections.clone().follow(self.policy.clone(), changed));
        if let Some(live) = self.live {
            let admin = Arc::new(Admin::new(AdminState {
                reload: live.reload,
                reloader: live.reloader.clone(),
                policy: self.policy.clone(),
                connections: self.connections.clone(),
                issuers: self.issuers.clone(),
                tailnet: self.tailnet.clone(),
                telemetry: self.telemetry.clone(),
                gateway: self.gateway.clone(),
            }));
            for (listener, endpoint) in live.endpoints {
                background.spawn(answer(listener, endpoint, admin.clone()));
            }
            background.spawn(live.reloader.follow(live.files, live.requests));
        }
        background.spawn(systemd::watchdog());
        systemd::ready(&format!("serving; gateway {}", self.fixed.gateway.authority()));
        let _ = stop.recv().await;

        systemd::stopping(self.fixed.drain);
        self.connections.drain();
        let _ = stopping.send(true);
        while accepting.join_next().await.is_some() {}
        let (_, busy) = self.connections.count();
        tracing::info!(open_requests = busy, "stopping: no new connections; waiting for open requests");
        let outcome = drain::drain(&self.connections, self.fixed.drain, &mut stop).await;
        // Aborted tasks drop their sockets' files.
        background.shutdown().await;
        self.telemetry.sum_up();
        outcome
    }
}

/// As many connections as there are descriptors for, where the configuration wants more.
fn affordable(wanted: usize) -> usize {
    let Some(limit) = platform::raise_descriptor_limit() else { return wanted };
    let most = file_descriptors::clients(limit);
    if most < wanted {
        tracing::warn!(
            max_connections = wanted,
            descriptors = limit,
            most,
            "the system allows too few descriptors for that many connections; raise the limit (LimitNOFILE= of the \
             unit, `ulimit -n`) or lower `max_connections` in `[limits]`"
        );
    }
    wanted.min(most)
}

fn endpoints(fixed: &BootstrapConfig) -> Result<Vec<(Listener, AdminEndpoint)>, StartError> {
    if let Some(dir) = fixed.admin.socket.parent() {
        std::fs::create_dir_all(dir)
            .map_err(|e| std::io::Error::new(e.kind(), format!("{} cannot be made: {e}", dir.display())))?;
    }
    let socket = ListenAddress::Unix { path: fixed.admin.socket.clone(), mode: fixed.admin.mode };
    let mut endpoints = vec![(Listener::bind(&socket)?, AdminEndpoint::Socket)];
    if let Some(address) = fixed.admin.address {
        endpoints.push((Listener::bind(&ListenAddress::Tcp(address))?, AdminEndpoint::Address));
    }
    if let Some(address) = fixed.admin.metrics {
        endpoints.push((Listener::bind(&ListenAddress::Tcp(address))?, AdminEndpoint::MetricsAddress));
    }
    Ok(endpoints)
}

async fn accept(
    listener: Listener,
    connections: Arc<Connections>,
    proxy: Arc<HttpProxy<Proxy>>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = connections.accept(&listener) => accepted,
            _ = stopped.changed() => return,
        };
        match accepted {
            Ok((stream, connection)) => {
                let (connections, proxy, stopped) = (connections.clone(), proxy.clone(), stopped.clone());
                tokio::spawn(async move {
                    let serve = serve(stream, &connection, proxy, stopped);
                    connections.run(connection.clone(), serve).await;
                });
            }
            Err(error) => {
                // Out of descriptors, mostly: without a pause this would spin.
                tracing::error!(listener = %listener, %error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(
    mut stream: ClientStream,
    connection: &Arc<Connection>,
    proxy: Arc<HttpProxy<Proxy>>,
    stopped: watch::Receiver<bool>,
) {
    // A client that sends half a head and waits costs no more than the half.
    if !stream.first_head().await {
        return;
    }
    // On the heap, so that what only waits does not hold the room for it.
    Box::pin(CONNECTION.scope(connection.clone(), async {
        drop(proxy.process_new(Box::new(stream), &stopped).await);
    }))
    .await;
    if let Some(sequel) = connection.sequel() {
        sequel.await;
    }
}

async fn answer(listener: Listener, endpoint: AdminEndpoint, admin: Arc<Admin>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(admin.clone().serve(stream.into_raw().0, endpoint))),
            Err(error) => {
                tracing::error!(listener = %listener, %error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn sweep(connections: Arc<Connections>, telemetry: Arc<Telemetry>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        while !connections.sweep() {
            tokio::task::yield_now().await;
        }
        telemetry.sum_up();
        telemetry.principal_limiter().sweep();
    }
}

/// A panic ends one request and not the process; it is counted, and said.
fn count_panics(telemetry: Arc<Telemetry>) {
    std::panic::set_hook(Box::new(move |panic| {
        telemetry.metrics().panicked();
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic while handling a request: {}", panic.payload_as_str().unwrap_or_default());
    }));
}
