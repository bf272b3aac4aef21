//! What needs a restart to change.

use super::Limits;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What needs a restart to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapConfig {
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
    /// How long open requests may continue after a stop.
    pub drain: Duration,
    /// How much of everything.
    pub limits: Limits,
    /// The admin endpoints.
    pub admin: Admin,
    /// What is logged.
    pub log: Log,
}

impl BootstrapConfig {
    /// The keys in which another configuration differs: those that need a restart.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let pairs = [
            ("[[listen]]", self.listeners == other.listeners),
            ("[tailscale] socket", self.tailscaled == other.tailscaled),
            ("[gateway] url, timeouts and probe", self.gateway == other.gateway),
            ("[server] threads", self.threads == other.threads),
            ("[server] state_dir", self.state_dir == other.state_dir),
            ("[server] drain", self.drain == other.drain),
            ("[limits]", self.limits == other.limits),
            ("[admin]", self.admin == other.admin),
            ("[log] format", self.log.format == other.log.format),
        ];
        pairs.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }
}

/// The admin endpoints.
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
    /// No identity, or anonymous where the policy admits such.
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

/// The gateway's address, and how long to wait for it.
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
    pub probe: bool,
}

impl GatewayAddress {
    /// Whether both lead to the same gateway.
    #[must_use]
    pub fn is_same_gateway(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }

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
