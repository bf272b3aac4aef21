//! The configuration file as it is written: a mirror of the TOML, every value with its place.
//!
//! Nothing here is judged; `validate` does that. The doc comments are the reference: the JSON
//! schema and the manual page are made from them.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
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
    /// Tailscale on this machine, for listeners whose `identity` comes from the tailnet.
    pub tailscale: Tailscale,
    /// The gateway behind this proxy. Restart to change; the content of its secret file is read
    /// again at every reload.
    pub gateway: Option<At<Gateway>>,
    /// The process. Restart to change.
    pub server: Server,
    /// Where the process is asked and told things. Restart to change.
    pub admin: Admin,
    /// What is written to standard error. The level is live; restart to change the format.
    pub log: Log,
    /// Rules for every caller. Live.
    pub policy: PolicyTable,
    /// Clients that hold the gateway's own shared secret. Live.
    pub gateway_secret: Option<At<GatewaySecret>>,
    /// Callers without any credential. Live.
    pub anonymous: Option<At<Anonymous>>,
    /// Named bearer tokens. Live.
    pub token: Vec<At<Token>>,
    /// Issuers whose JWTs are accepted. Live.
    pub issuer: Vec<At<Issuer>>,
    /// What principals may do, beside what their own table says. Live.
    pub grant: Vec<At<Grant>>,
    /// Routes that the gateway serves beside those known here. Live.
    pub route: Vec<At<RouteTable>>,
    /// What the policy must do: run by `check` and at every reload. A policy that fails its own
    /// tests does not come into force.
    pub test: Vec<At<Test>>,
    /// WebSocket clients: apps, command lines, the gateway's own web page. Live.
    pub websocket: WebSocket,
}

/// WebSocket clients.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocket {
    /// Whether they are let in at all. Default `true`.
    pub enabled: Option<At<bool>>,
    /// What becomes of a client's own signed device: `normalise` (this proxy's device takes its
    /// place) or `pass` (its frame goes on unchanged and with no secret of ours, if the client was
    /// proven at the upgrade and asks for no more than is granted). Default `normalise`.
    pub own_device: Option<At<String>>,
    /// Whether a client may connect as a node, with a device of its own. Default `false`.
    pub nodes: Option<At<bool>>,
    /// Who is shown the gateway's web page and its assets: `off` (its paths are like any that is not
    /// listed), `authenticated` (whoever has operator.read) or `open` (anybody). Default `off`.
    pub ui: Option<At<String>>,
    /// Pages of other addresses that may connect, such as `https://panel.example.org`. Pages from this
    /// proxy's own address may if that is a private one. Default: none.
    pub origins: Option<Vec<At<String>>>,
}

/// One listening socket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// `host:port` (`127.0.0.1:18790`, `[::1]:18790`) or `unix:/path/to/socket`.
    pub address: At<String>,
    /// The mode of a unix socket, as octal text. Default `"0660"`.
    pub mode: Option<At<String>>,
    /// Who callers without a bearer token are: `none`; `tailnet` (who the tailnet says is at the other
    /// end of the connection); `tailscale-serve` (who `tailscale serve`, in front, says it speaks for:
    /// on a loopback address or a unix socket only). Default `none`.
    pub identity: Option<At<String>>,
    /// TLS. The files are read again whenever one of them changes; that there is TLS needs a restart.
    pub tls: Option<At<Tls>>,
}

/// The certificate that a listener shows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with the certificate and, behind it, its chain.
    pub certificate: At<String>,
    /// A PEM file with its private key; not readable by others.
    pub key: At<String>,
}

/// Tailscale on this machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tailscale {
    /// The socket of tailscaled's LocalAPI. Default `/run/tailscale/tailscaled.sock`. Restart to
    /// change.
    pub socket: Option<At<String>>,
    /// The app capability whose values, `{ "scopes": […] }`, are granted to the peers that have it.
    /// Live.
    pub capability: Option<At<String>>,
    /// The most that `capability` may carry. Live.
    pub ceiling: Option<At<Vec<At<String>>>>,
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
    /// Whether a few harmless GETs find out what the gateway is, at start and whenever it comes back.
    /// Default `true`.
    pub canaries: Option<At<bool>>,
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
    /// Mode `trusted-proxy`: the client address the gateway is told for clients of this machine,
    /// whose own it refuses; not among the gateway's `trustedProxies`. Default `192.0.2.1`.
    pub stand_in_address: Option<At<String>>,
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

/// Where the process is asked and told things: never the port that clients use.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// A unix socket, for `scopeshim reload` and `status`; whoever may open it may change things.
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
    /// Who may send `x-openclaw-agent-id`. Default `pass`.
    pub agent_id: Option<At<HeaderRule>>,
    /// Who may send `x-openclaw-model`. Default `admin`, as gateways since 2026.6 have it.
    pub model: Option<At<HeaderRule>>,
    /// Who may send `x-openclaw-session-key`. Default `pass`.
    pub session_key: Option<At<HeaderRule>>,
    /// Who may send `x-openclaw-message-channel`. Default `pass`.
    pub message_channel: Option<At<HeaderRule>>,
    /// How many verified JWTs are remembered; 0 verifies every request anew. Default 4096.
    pub jwt_cache: Option<At<i64>>,
}

/// What becomes of one of the gateway's own headers: `"pass"`; `"admin"` (passed only with
/// operator.admin); `"refuse"`; `"prefix"` (session key only: the principal's name goes in front);
/// `{ pin = "value" }`; `{ allow = ["a", "b"] }` (the first is sent when the client sends none).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "`pass`, `admin`, `refuse`, `prefix`, { pin = \"…\" } or { allow = [\"…\"] }")]
pub enum HeaderRule {
    /// A word.
    Word(String),
    /// One value for all.
    Pin(PinRule),
    /// One of several values.
    Allow(AllowRule),
}

/// `{ pin = "value" }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PinRule {
    /// What is sent, whatever the client sends.
    pub pin: String,
}

/// `{ allow = ["a", "b"] }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowRule {
    /// What may be sent; the first is sent when the client sends none.
    pub allow: Vec<String>,
}

/// One value or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text, or a list of texts")]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// An issuer whose JWTs are accepted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// What the issuer is called in logs and grants.
    pub name: At<String>,
    /// The `iss` of its tokens, to the letter.
    pub issuer: At<String>,
    /// The audiences accepted: a token's `aud` must hold one of them.
    pub audiences: At<Vec<At<String>>>,
    /// Fills in what is particular to `cloudflare-access`, `keycloak`, `auth0`, `entra`, `google`
    /// or `okta`.
    pub preset: Option<At<String>>,
    /// Where its keys come from. Default: `{ discovery = true }`.
    pub keys: Option<At<Keys>>,
    /// The algorithms accepted. Default: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and
    /// EdDSA; with an HMAC secret: HS256.
    pub algorithms: Option<At<Vec<At<String>>>>,
    /// How far the issuer's clock may be off. Default `"30s"`, at most `"5m"`.
    pub leeway: Option<At<String>>,
    /// The header that carries the token. Default `authorization`.
    pub token_from: Option<At<String>>,
    /// The `typ` headers accepted, letters compared without case. Default: any.
    pub typ: Option<Vec<At<String>>>,
    /// The claims that hold scopes, as a text or a list. Default `["scope", "scp"]`.
    pub scope_claims: Option<Vec<At<String>>>,
    /// The claim that holds roles or groups, for `role_scopes`.
    pub roles_claim: Option<At<String>>,
    /// Which scopes a role or group stands for.
    #[serde(default)]
    pub role_scopes: BTreeMap<String, Vec<At<String>>>,
    /// The most any token of this issuer may claim. Default: no bound.
    pub ceiling: Option<Vec<At<String>>>,
    /// The claim that names the principal; `email` counts only with `email_verified`. Default `sub`.
    pub name_claim: Option<At<String>>,
}

/// Where an issuer's keys come from: one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// A JWKS address, https (http to this machine only).
    pub url: Option<At<String>>,
    /// `true`: the JWKS that `<issuer>/.well-known/openid-configuration` names.
    pub discovery: Option<At<bool>>,
    /// A JWKS file.
    pub jwks_file: Option<At<String>>,
    /// A PEM file with one public key.
    pub pem_file: Option<At<String>>,
    /// A file with an HMAC secret of 32 bytes or more; not readable by others.
    pub secret_file: Option<At<String>>,
    /// The same as a systemd credential (`LoadCredential=`), by its name.
    pub secret_credential: Option<At<String>>,
    /// A PEM file with the authority that vouches for the issuer's TLS certificate.
    pub ca_file: Option<At<String>>,
    /// A proxy through which the issuer is reached, `http://host:port`.
    pub proxy: Option<At<String>>,
}

/// What principals may do, beside what their own table says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Who: every condition named must hold.
    pub to: At<To>,
    /// What they may do.
    #[serde(default)]
    pub scopes: Vec<At<String>>,
    /// Only on these paths: exact, or everything below one that ends with `/`.
    pub routes: Option<Vec<At<String>>>,
    /// Only with these methods.
    pub methods: Option<Vec<At<String>>>,
    /// Only from these addresses.
    pub cidrs: Option<Vec<At<String>>>,
    /// Only from this moment.
    pub not_before: Option<At<Moment>>,
    /// Only until this moment.
    pub expires: Option<At<Moment>>,
    /// As in `[policy]`, for these principals.
    pub excess: Option<At<String>>,
    /// As in `[policy]`, for these principals.
    pub agent_id: Option<At<HeaderRule>>,
    /// As in `[policy]`, for these principals.
    pub model: Option<At<HeaderRule>>,
    /// As in `[policy]`, for these principals.
    pub session_key: Option<At<HeaderRule>>,
    /// As in `[policy]`, for these principals.
    pub message_channel: Option<At<HeaderRule>>,
    /// Who they are to a gateway in mode `trusted-proxy`. Default: the principal's own name.
    pub gateway_user: Option<At<String>>,
}

/// What the policy must do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What the test is called.
    pub name: At<String>,
    /// Who asks.
    #[serde(rename = "as")]
    pub who: At<As>,
    /// The method and the path, for example `POST /v1/chat/completions`.
    pub request: At<String>,
    /// The client's `x-openclaw-scopes`; absent: not sent.
    pub scopes_header: Option<At<String>>,
    /// The client's address. Default `127.0.0.1`.
    pub from: Option<At<String>>,
    /// `allow`, `deny`, or a refusal's code such as `missing_scope`.
    pub expect: At<String>,
    /// The scopes that must be sent to the gateway.
    pub sends: Option<Vec<At<String>>>,
}

/// Who asks, in a test: one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct As {
    /// The holder of a named token.
    pub token: Option<At<String>>,
    /// A client that holds the gateway's own secret.
    pub gateway_secret: Option<bool>,
    /// Somebody without a credential.
    pub anonymous: Option<bool>,
    /// The holder of a JWT of this issuer.
    pub issuer: Option<At<String>>,
    /// With `issuer`: what the JWT says; `iss`, `aud`, `exp` and `sub` are filled in.
    #[serde(default)]
    pub claims: BTreeMap<String, serde_json::Value>,
    /// A user of the tailnet, by login name.
    pub tailnet_user: Option<At<String>>,
    /// A tagged node of the tailnet, by its tag or tags.
    pub tailnet_tag: Option<At<OneOrMany>>,
    /// With one of these: the app capabilities it has, each with its values.
    #[serde(default)]
    pub tailnet_cap: BTreeMap<String, serde_json::Value>,
}

/// To whom something is granted. One identity source; `*` in a text stands for anything.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct To {
    /// Named tokens.
    pub token: Option<At<OneOrMany>>,
    /// Clients that hold the gateway's own secret.
    pub gateway_secret: Option<At<bool>>,
    /// Callers without a credential.
    pub anonymous: Option<At<bool>>,
    /// Principals proven by this issuer.
    pub issuer: Option<At<String>>,
    /// With `issuer`: claims by path (`groups`, `realm_access.roles`), each with one value or a list
    /// of which one must be there.
    #[serde(default)]
    pub claim: BTreeMap<String, At<OneOrMany>>,
    /// With `issuer`: the principal's name.
    pub subject: Option<At<OneOrMany>>,
    /// Users of the tailnet, by login name; letters compared without case.
    pub tailnet_user: Option<At<OneOrMany>>,
    /// Tagged nodes of the tailnet: `tag:name`.
    pub tailnet_tag: Option<At<OneOrMany>>,
    /// Peers of the tailnet that have this app capability.
    pub tailnet_cap: Option<At<OneOrMany>>,
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
    /// The token it takes the place of, for as long as both are accepted. `scopeshim token rotate`
    /// writes it.
    pub previous: Option<At<Previous>>,
}

/// A token that was rotated.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    /// SHA-256 of the old token.
    pub sha256: At<String>,
    /// Until when it is accepted.
    pub until: At<Moment>,
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
