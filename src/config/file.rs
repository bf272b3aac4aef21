//! The configuration file as it is written: a mirror of the TOML, every value with its place.
//!
//! Nothing is checked here; `validate` does that. The doc comments are the reference: the JSON
//! schema and the manual page are made from them.

mod apps;
mod dynamic;
mod limits;
mod value;

pub use apps::{Sessions, Users};
pub use dynamic::*;
pub use limits::{Limits, MaxBody};
pub(crate) use value::placed;
pub use value::{At, Moment, OneOrMany};

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The whole file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Where clients connect. Restart to change.
    pub listen: Vec<At<Listen>>,
    /// Tailscale on this machine, for listeners whose `identity` comes from the tailnet.
    pub tailscale: Tailscale,
    /// The gateway behind this proxy. Restart to change; the content of its secret file is read
    /// again at every reload.
    pub gateway: Option<At<Gateway>>,
    /// The process. Restart to change.
    pub server: Server,
    /// Limits of bytes, time and places for any client. Restart to change.
    pub limits: Limits,
    /// The admin endpoints. Restart to change.
    pub admin: Admin,
    /// What is written to standard error. The level is reloadable; restart to change the format.
    pub log: Log,
    /// Rules for every caller. Reloadable.
    pub policy: PolicyTable,
    /// Clients that hold the gateway's own shared secret. Reloadable.
    pub gateway_secret: Option<At<GatewaySecret>>,
    /// Callers without any credential. Reloadable.
    pub anonymous: Option<At<Anonymous>>,
    /// Named bearer tokens. Reloadable.
    pub token: Vec<At<Token>>,
    /// Issuers whose JWTs are accepted. Reloadable.
    pub issuer: Vec<At<Issuer>>,
    /// What principals may do in addition to their own table. Reloadable.
    pub grant: Vec<At<Grant>>,
    /// Routes in addition to the built-in ones. Reloadable.
    pub route: Vec<At<RouteTable>>,
    /// What the policy must do: run by `check` and at every reload. A policy that fails its own
    /// tests does not come into force.
    pub test: Vec<At<Test>>,
    /// Sessions of the gateway by the chats of clients. Reloadable.
    pub sessions: Sessions,
    /// WebSocket clients: apps, command lines, the gateway's own web page. Reloadable.
    pub websocket: WebSocket,
    /// Web pages of other origins that may use this proxy. Reloadable.
    pub cors: Cors,
}

/// Web pages of other origins that may use this proxy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// The origins, such as `https://panel.example.org`; or `["*"]`: any page, with a token that it
    /// sends itself. Default: none.
    pub origins: Option<Vec<At<String>>>,
}

/// WebSocket clients.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocket {
    /// Whether WebSockets are accepted. Default `true`.
    pub enabled: Option<At<bool>>,
    /// What happens to a client's own signed device: `normalise` (this proxy's device takes its
    /// place) or `pass` (its frame is passed unchanged, without this proxy's secrets, if the client was
    /// authenticated at the upgrade and requests no more than is granted). Default `normalise`.
    pub own_device: Option<At<String>>,
    /// Whether a client may connect as a node, with a device of its own. Default `false`.
    pub nodes: Option<At<bool>>,
    /// The scope that a client needs to connect as a node; a name of your own is fine, such as
    /// `node.connect`. Default `operator.admin`, which the gateway asks for to approve a node.
    pub nodes_need: Option<At<String>>,
    /// Who may load the gateway's web page and its assets: `off` (its paths are like any that is not
    /// listed), `authenticated` (callers with operator.read) or `open` (everybody). Default `off`.
    pub ui: Option<At<String>>,
    /// Pages of other addresses that may connect, such as `https://panel.example.org`. Pages from this
    /// proxy's own address may if that is a private one. Default: none.
    pub origins: Option<Vec<At<String>>>,
}

/// One listening socket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// `host:port` (`127.0.0.1:18780`, `[::1]:18780`) or `unix:/path/to/socket`.
    pub address: At<String>,
    /// The mode of a unix socket, as octal text. Default `"0660"`.
    pub mode: Option<At<String>>,
    /// How callers without a bearer token are identified: `none`; `tailnet` (tailscaled is asked about the
    /// address of the connection); `tailscale-serve` (by the headers of `tailscale serve` in front, which
    /// tailscaled must confirm: on a loopback address or a unix socket only). Default `none`.
    pub identity: Option<At<String>>,
    /// TLS. The files are read again whenever one of them changes; turning TLS on or off needs a restart.
    pub tls: Option<At<Tls>>,
}

/// The certificate that a listener shows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with the certificate, followed by its chain.
    pub certificate: At<String>,
    /// A PEM file with its private key; not readable by others.
    pub key: At<String>,
}

/// Tailscale on this machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tailscale {
    /// The socket of tailscaled's LocalAPI. Default `/run/tailscale/tailscaled.sock`, on
    /// macOS `/var/run/tailscaled.socket`. Restart to change.
    pub socket: Option<At<String>>,
    /// The app capability whose values, `{ "scopes": […] }`, are granted to the peers that have it.
    /// Reloadable.
    pub capability: Option<At<String>>,
    /// The most that `capability` may grant. Reloadable.
    pub max_scopes: Option<At<Vec<At<String>>>>,
}

/// The gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// `http://host:port`, without a path.
    pub url: At<String>,
    /// How this proxy authenticates itself to the gateway.
    pub auth: At<GatewayAuth>,
    /// How long a connection to the gateway may take. Default `"2s"`.
    pub connect_timeout: Option<At<String>>,
    /// How long a request waits for a gateway that refuses connections because it restarts.
    /// Default `"3s"`.
    pub retry_for: Option<At<String>>,
    /// Whether to send a few harmless GETs to find out what the gateway enforces, at start and whenever it comes back.
    /// Default `true`.
    pub probe: Option<At<bool>>,
}

/// How this proxy authenticates itself to the gateway: the gateway's `gateway.auth.mode`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayAuth {
    /// `token`, `password`, `none` or `trusted-proxy`.
    pub kind: At<String>,
    /// A file that holds the secret; not readable by others.
    pub file: Option<At<String>>,
    /// An environment variable that holds the secret.
    pub env: Option<At<String>>,
    /// A systemd credential (`LoadCredential=`) that holds the secret.
    pub credential: Option<At<String>>,
    /// Mode `trusted-proxy`: the gateway's `trustedProxy.userHeader`, which gets the caller's name.
    /// Default `x-forwarded-user`.
    pub user_header: Option<At<String>>,
    /// Mode `trusted-proxy`: the gateway's `trustedProxy.requiredHeaders` and their values, each a
    /// text or, for a secret, `{ file = "…" }`, `{ env = "…" }` or `{ credential = "…" }`.
    #[serde(default)]
    pub required_headers: BTreeMap<String, At<RequiredHeader>>,
    /// Mode `trusted-proxy`: the client address that the gateway gets for clients of this machine,
    /// whose own it refuses; not among the gateway's `trustedProxies`. Default `192.0.2.1`.
    pub local_client_address: Option<At<String>>,
}

/// The value of a required header: a text, or where a secret is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text, or one of { file = \"…\" }, { env = \"…\" }, { credential = \"…\" }")]
pub enum RequiredHeader {
    /// As it is sent.
    Text(String),
    /// From somewhere else.
    Secret(SecretPlace),
}

/// Where a secret is: one of these.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretPlace {
    /// A file; not readable by others.
    pub file: Option<String>,
    /// An environment variable.
    pub env: Option<String>,
    /// A systemd credential.
    pub credential: Option<String>,
}

/// The process.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Worker threads. Default: one for each processor, four at most.
    pub threads: Option<At<i64>>,
    /// The directory for state: the last good policy, keys and the like. Default: `$STATE_DIRECTORY`, else
    /// `$XDG_STATE_HOME/scopeshim`, else `~/.local/state/scopeshim`.
    pub state_dir: Option<At<String>>,
    /// How long open requests may continue after a stop. Default `"30s"`.
    pub drain: Option<At<String>>,
}

/// Where the process is asked and told things: never the port that clients use.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// A unix socket, for `scopeshim reload` and `status`; everybody who can open it can change things.
    /// Default: `$RUNTIME_DIRECTORY/admin.sock`, else `admin.sock` in the state directory.
    pub socket: Option<At<String>>,
    /// The socket's mode, as octal text. Default `"0600"`.
    pub socket_mode: Option<At<String>>,
    /// A loopback address for reading: metrics, health, status. Default: none.
    pub address: Option<At<String>>,
    /// An address, not of loopback alone, for a Prometheus or a kubelet elsewhere: `/metrics`, `/livez`
    /// and `/readyz`, nothing else. Default: none.
    pub metrics_address: Option<At<String>>,
}

/// What is written to standard error.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`. Default `info`.
    pub level: Option<At<String>>,
    /// `text`, `json`, or `auto`: text on a terminal, JSON otherwise. Default `auto`.
    pub format: Option<At<String>>,
}
