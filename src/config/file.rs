//! The configuration file as it is written: a mirror of the TOML, every value with its place.
//!
//! Nothing here is judged; `validate` does that. The doc comments are the reference: the JSON
//! schema and the manual page are made from them.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use std::borrow::Cow;
use std::ops::Range;
use toml::Spanned;
use toml::value::Datetime;

/// A value and the bytes of the file it stands in.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct At<T>(Spanned<T>);

impl<T> At<T> {
    /// The value.
    pub fn get(&self) -> &T {
        self.0.get_ref()
    }

    /// Where it stands, as a byte range.
    pub fn span(&self) -> Range<usize> {
        self.0.span()
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

/// A moment: `2027-01-31T12:00:00Z`, with an offset; quoted or bare.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "MomentForm")]
pub struct Moment(pub String);

#[derive(Deserialize)]
#[serde(untagged, expecting = "a date and time such as 2027-01-31T12:00:00Z")]
enum MomentForm {
    Bare(Datetime),
    Quoted(String),
}

impl From<MomentForm> for Moment {
    fn from(form: MomentForm) -> Self {
        Self(match form {
            MomentForm::Bare(datetime) => datetime.to_string(),
            MomentForm::Quoted(text) => text,
        })
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// The whole file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Where clients connect. Restart to change.
    pub listen: Vec<At<Listen>>,
    /// The gateway behind this proxy. Restart to change; the content of its secret file is read
    /// again at every reload.
    pub gateway: Option<At<Gateway>>,
    /// The process. Restart to change.
    pub server: Server,
    /// What is written to standard error. Restart to change.
    pub log: Log,
    /// Rules for every caller. Live.
    pub policy: PolicyTable,
    /// Clients that hold the gateway's own shared secret. Live.
    pub gateway_secret: Option<At<GatewaySecret>>,
    /// Callers without any credential. Live.
    pub anonymous: Option<At<Anonymous>>,
    /// Named bearer tokens. Live.
    pub token: Vec<At<Token>>,
    /// Routes that the gateway serves beside those known here. Live.
    pub route: Vec<At<RouteTable>>,
}

/// One listening socket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// `host:port` (`127.0.0.1:18790`, `[::1]:18790`) or `unix:/path/to/socket`.
    pub address: At<String>,
    /// The mode of a unix socket, as octal text. Default `"0660"`.
    pub mode: Option<At<String>>,
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
    /// How long a request waits for a gateway that refuses connections, as one that restarts does.
    /// Default `"3s"`.
    pub retry_for: Option<At<String>>,
}

/// How this proxy authenticates itself to the gateway: the gateway's `gateway.auth.mode`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayAuth {
    /// `token`, `password` or `none`.
    pub kind: At<String>,
    /// A file that holds the secret; not readable by others.
    pub file: Option<At<String>>,
    /// An environment variable that holds the secret.
    pub env: Option<At<String>>,
    /// A systemd credential (`LoadCredential=`) that holds the secret.
    pub credential: Option<At<String>>,
}

/// The process.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Worker threads. Default: one for each processor, four at most.
    pub threads: Option<At<i64>>,
    /// Where state is kept: the last good policy and the like. Default: `$STATE_DIRECTORY`, else
    /// `$XDG_STATE_HOME/scopeshim`, else `~/.local/state/scopeshim`.
    pub state_dir: Option<At<String>>,
    /// How long open requests may go on after a stop was asked for. Default `"30s"`.
    pub drain: Option<At<String>>,
    /// The most client connections at a time. Default 10000.
    pub max_connections: Option<At<i64>>,
    /// How long a client may take to send a request's head. Default `"30s"`.
    pub head_timeout: Option<At<String>>,
    /// How long a connection may rest between requests. Default `"60s"`.
    pub keepalive: Option<At<String>>,
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

/// Rules for every caller.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyTable {
    /// What happens when `x-openclaw-scopes` asks for more than is granted: `refuse` (403) or
    /// `narrow` (the granted part is used). Default `refuse`.
    pub excess: Option<At<String>>,
    /// The scope a route needs that neither the gateway's contract nor a `[[route]]` names.
    /// Default `operator.admin`.
    pub unlisted_routes: Option<At<String>>,
    /// Who may send `x-openclaw-agent-id`: `pass`, `admin` (only with operator.admin) or `refuse`.
    /// Default `pass`.
    pub agent_id: Option<At<String>>,
    /// The same for `x-openclaw-model`. Default `admin`, as gateways since 2026.6 have it.
    pub model: Option<At<String>>,
    /// The same for `x-openclaw-session-key`. Default `pass`.
    pub session_key: Option<At<String>>,
    /// The same for `x-openclaw-message-channel`. Default `pass`.
    pub message_channel: Option<At<String>>,
}

/// Clients that hold the gateway's own shared secret.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewaySecret {
    /// Whether the gateway's token or password is accepted from clients. Default `true`.
    pub accept: Option<At<bool>>,
    /// What such a client may do. Default: what the gateway itself grants its secret.
    pub scopes: Option<Vec<At<String>>>,
}

/// Callers without any credential.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Anonymous {
    /// What anybody may do.
    pub scopes: Vec<At<String>>,
    /// The addresses such a caller may come from. Default: this machine only.
    pub cidrs: Option<Vec<At<String>>>,
}

/// One named bearer token. `scopeshim token new` makes one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Who this is, in logs and grants: letters, digits and `. _ - @`, 64 at most.
    pub name: At<String>,
    /// SHA-256 of the token, 64 hexadecimal digits.
    pub sha256: At<String>,
    /// What the token may do.
    #[serde(default)]
    pub scopes: Vec<At<String>>,
    /// From when it is valid.
    pub not_before: Option<At<Moment>>,
    /// Until when it is valid.
    pub expires: Option<At<Moment>>,
    /// The addresses it may be used from. Default: any.
    pub cidrs: Option<Vec<At<String>>>,
}

/// One route that the gateway serves beside those known here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// This path and no other.
    pub path: Option<At<String>>,
    /// Every path that begins so; ends with a slash.
    pub prefix: Option<At<String>>,
    /// The methods it covers. Default: all.
    pub methods: Option<Vec<At<String>>>,
    /// The scope it needs.
    pub needs: Option<At<String>>,
    /// Whether anybody may use it, unproven. No credential and no scope is sent along.
    pub public: Option<At<bool>>,
}
