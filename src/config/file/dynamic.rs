//! The part of the file that is in force as soon as it is saved.

use super::{At, Moment, OneOrMany, Users};
use crate::headers::{GatewayHeader, header_field};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Rules for every caller.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyTable {
    /// What happens when `x-openclaw-scopes` asks for more than is granted: `refuse` (403) or
    /// `narrow` (the granted part is used). Default `refuse`.
    pub excess: Option<At<String>>,
    /// What a route needs that neither the gateway contract nor a `[[route]]` names: a scope, or
    /// `authenticated` for any authenticated caller. Default `operator.admin`.
    pub unlisted_routes: Option<At<String>>,
    /// Who may send `x-openclaw-agent-id`. Default `pass`.
    pub agent_id: Option<At<HeaderRule>>,
    /// Who may send `x-openclaw-model`. Default `admin`, as gateways since 2026.6 have it.
    pub model: Option<At<HeaderRule>>,
    /// Who may send `x-openclaw-session-key`. Default `pass`.
    pub session_key: Option<At<HeaderRule>>,
    /// Who may send `x-openclaw-message-channel`. Default `pass`.
    pub message_channel: Option<At<HeaderRule>>,
    /// Who may send `x-openclaw-account-id`, the account that a tool sends from. Default `pass`; `refuse` or `admin`
    /// where `message_channel` has a rule.
    pub account_id: Option<At<HeaderRule>>,
    /// Who may send `x-openclaw-message-to`, whom a tool sends to. Default as for `account_id`.
    pub message_to: Option<At<HeaderRule>>,
    /// Who may send `x-openclaw-thread-id`, the thread a tool sends to. Default as for `account_id`.
    pub thread_id: Option<At<HeaderRule>>,
    /// Which tools may be called with `POST /tools/invoke`: `{ allow = ["web_search", "memory_*"] }`. Default:
    /// any; for callers with a rule for agents or sessions, those that reach no other's (docs/isolation.md).
    pub tools: Option<At<ToolRule>>,
    /// The gateway's default agent: whose sessions keys without `agent:<id>:` are, for callers with a rule
    /// for agents or sessions. Default `main`.
    pub default_agent: Option<At<String>>,
    /// Host names by which callers without a credential may call this machine, in addition to its addresses,
    /// `localhost`, its host name and its name in the tailnet. A web page could have
    /// pointed any other name at this machine (DNS rebinding).
    pub hosts: Option<Vec<At<String>>>,
    /// Headers in addition to `Authorization` in which clients may send their token, for clients that can set no
    /// other: `x-api-key`, `api-key`, or one of your own. Default: none.
    pub token_headers: Option<Vec<At<String>>>,
    /// How many verified JWTs are remembered; 0 verifies every request. Default 4096.
    pub jwt_cache: Option<At<i64>>,
    /// Limits for each principal. Default: no limit.
    pub limits: Option<At<PrincipalLimits>>,
}

impl PolicyTable {
    /// What the table says of one of the gateway's headers.
    pub fn header_rule(&self, header: GatewayHeader) -> Option<&At<HeaderRule>> {
        header_field!([&] self, header).as_ref()
    }
}

/// How much one principal may ask for; what is left out is not limited. A token's own table wins over
/// grants, grants over `[policy]`, limit by limit; of several grants the strictest counts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrincipalLimits {
    /// Requests a minute, a WebSocket's upgrade among them.
    pub requests_per_minute: Option<At<i64>>,
    /// How many of these may come at once. Default: as many as a minute's.
    pub burst: Option<At<i64>>,
    /// Requests at a time, event streams among them.
    pub concurrent_requests: Option<At<i64>>,
    /// Event streams at a time, and requests to an agent that may still be answered by one.
    pub concurrent_streams: Option<At<i64>>,
    /// WebSockets at a time.
    pub concurrent_websockets: Option<At<i64>>,
}

/// What becomes of one of the gateway's own headers: `"pass"`; `"admin"` (passed only with
/// operator.admin); `"refuse"`; `"prefix"` (session key only: each principal has sessions of its own);
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
    /// The value that is sent, whatever the client sends.
    pub pin: String,
}

/// `{ allow = ["a", "b*"] }`, for tools.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolRule {
    /// Names of tools, `*` for any run of characters. An empty list allows none.
    pub allow: Vec<String>,
}

/// `{ allow = ["a", "b"] }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowRule {
    /// The values that may be sent; the first is sent if the client sends none.
    pub allow: Vec<String>,
}

/// An issuer whose JWTs are accepted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// What the issuer is called in logs and grants.
    pub name: At<String>,
    /// The exact `iss` of its tokens.
    pub issuer: At<String>,
    /// The audiences accepted: a token's `aud` must hold one of them. Required, unless `proves = "users"`: left
    /// out there, tokens with an `aud` are refused.
    pub audiences: Option<At<Vec<At<String>>>>,
    /// What its JWTs prove: `callers`, or `users`: for which of its users an app calls, beside the app's own
    /// token. Default `callers`.
    pub proves: Option<At<String>>,
    /// Settings for `cloudflare-access`, `keycloak`, `auth0`, `entra`, `google`, `okta` or `open-webui`.
    pub preset: Option<At<String>>,
    /// Where its keys come from. Default: `{ discovery = true }`.
    pub keys: Option<At<Keys>>,
    /// The algorithms accepted. Default: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and
    /// EdDSA; with an HMAC secret: HS256.
    pub algorithms: Option<At<Vec<At<String>>>>,
    /// Tolerated difference of the issuer's clock. Default `"30s"`, at most `"5m"`.
    pub leeway: Option<At<String>>,
    /// The header that carries the token. Default `authorization`.
    pub token_from: Option<At<String>>,
    /// The `typ` headers accepted, letters compared without case. Default: none, `JWT` and `at+jwt`.
    pub typ: Option<Vec<At<String>>>,
    /// The claims that hold scopes, as a text or a list. Default `["scope", "scp"]`.
    pub scope_claims: Option<Vec<At<String>>>,
    /// The claim that holds roles or groups, for `role_scopes`.
    pub roles_claim: Option<At<String>>,
    /// The scopes for each role or group.
    #[serde(default)]
    pub role_scopes: BTreeMap<String, Vec<At<String>>>,
    /// The most that any token of this issuer may claim. Default: no limit.
    pub max_scopes: Option<Vec<At<String>>>,
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

/// What principals may do in addition to their own table.
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
    /// As in `[policy]`, for these principals.
    pub account_id: Option<At<HeaderRule>>,
    /// As in `[policy]`, for these principals.
    pub message_to: Option<At<HeaderRule>>,
    /// As in `[policy]`, for these principals.
    pub thread_id: Option<At<HeaderRule>>,
    /// As in `[policy]`, for these principals.
    pub tools: Option<At<ToolRule>>,
    /// Limits for each of these principals.
    pub limits: Option<At<PrincipalLimits>>,
    /// Their name at a gateway in mode `trusted-proxy`. Default: the principal's own name.
    pub gateway_user: Option<At<String>>,
}

impl Grant {
    /// What the table says of one of the gateway's headers.
    pub fn header_rule(&self, header: GatewayHeader) -> Option<&At<HeaderRule>> {
        header_field!([&] self, header).as_ref()
    }
}

/// What the policy must do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The name of the test.
    pub name: At<String>,
    /// The caller.
    #[serde(rename = "as")]
    pub who: At<As>,
    /// The method and the path, for example `POST /v1/chat/completions`; or `websocket`.
    pub request: At<String>,
    /// The client's `x-openclaw-scopes`; absent: not sent.
    pub scopes_header: Option<At<String>>,
    /// The client's `x-openclaw-agent-id`.
    pub agent_id: Option<At<String>>,
    /// The client's `x-openclaw-session-key`.
    pub session_key: Option<At<String>>,
    /// Further headers of the request: the chat's, or those of an app's user.
    #[serde(default)]
    pub headers: BTreeMap<String, At<String>>,
    /// The request's body, as JSON.
    pub body: Option<At<String>>,
    /// The client's address. Default `127.0.0.1`.
    pub from: Option<At<String>>,
    /// `allow`, `deny`, or a refusal's code such as `missing_scope`.
    pub expect: At<String>,
    /// The scopes that must be sent to the gateway.
    pub sends: Option<Vec<At<String>>>,
    /// The session key that must be sent to the gateway.
    pub sends_session: Option<At<String>>,
}

/// The caller of a test: one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct As {
    /// The holder of a named token.
    pub token: Option<At<String>>,
    /// A client that holds the gateway's own secret.
    pub gateway_secret: Option<bool>,
    /// A caller without a credential.
    pub anonymous: Option<bool>,
    /// The holder of a JWT of this issuer.
    pub issuer: Option<At<String>>,
    /// A user of the app with this token.
    pub app: Option<At<String>>,
    /// With `issuer` or `app`: the claims of the JWT, or those that the app's headers are; `iss`, `aud`, `exp` and
    /// `sub` are filled in.
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
    /// Principals authenticated by this issuer.
    pub issuer: Option<At<String>>,
    /// Users of the apps with these tokens.
    pub app: Option<At<OneOrMany>>,
    /// With `app`: the user's name.
    pub user: Option<At<OneOrMany>>,
    /// With `issuer` or `app`: claims by path (`groups`, `realm_access.roles`), each with one value or a list
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
    /// What such a caller may do.
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
    /// For an app that speaks for users: how it says for which one. What the token and its grants give is then
    /// the most that any of them may do.
    pub users: Option<At<Users>>,
    /// Limits for its holder.
    pub limits: Option<At<PrincipalLimits>>,
    /// The token that it replaces, while both are accepted. `scopeshim token rotate`
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

/// A route in addition to the built-in ones, or a built-in one that is to need something
/// else. Where several cover a request, the most specific counts, whatever their order: a `path` before
/// a `prefix`, a longer prefix before a shorter one, one that names the method before one that does not.
/// Paths are compared as the gateway may read them, decoded and in lower case too; where the readings
/// need different things, the strictest counts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// This path and no other.
    pub path: Option<At<String>>,
    /// Every path that begins so; ends with a slash.
    pub prefix: Option<At<String>>,
    /// The methods it covers; `GET` covers HEAD too. Default: all.
    pub methods: Option<Vec<At<String>>>,
    /// The scope it needs, or `authenticated`: any authenticated caller, whatever its scopes.
    pub needs: Option<At<String>>,
    /// Whether it needs no authentication. Requests are sent without a credential and without a scope.
    pub public: Option<At<bool>>,
    /// Whose credential the gateway gets: `proxy`, this proxy's; or `client`, the caller's own (`Authorization` and
    /// `x-openclaw-token`) and none of this proxy's, for routes with credentials of their own such as `/hooks/`.
    /// In place of `needs` and `public`. Default `proxy`.
    pub credentials: Option<At<String>>,
    /// With `credentials = "client"`: where callers may come from. Default: anywhere.
    pub cidrs: Option<Vec<At<String>>>,
    /// With `credentials = "client"`: limits for each address. Default: those of `[policy]`.
    pub limits: Option<At<PrincipalLimits>>,
    /// Whether it may need less than the built-in routes that it covers. Without this,
    /// such a route is an error.
    pub overrides_builtin: Option<At<bool>>,
}
