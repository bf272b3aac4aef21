//! `[limits]`.

use super::At;
use schemars::JsonSchema;
use serde::Deserialize;

/// Limits of bytes, time and places for any client. docs/limits.md gives the reasons, and what a
/// client sees. Sizes are written `"16KiB"`, `"20MiB"`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Client connections at a time; more get 503 at once. Default 10000.
    pub max_connections: Option<At<i64>>,
    /// The most of one address, IPv6 by its /64; 0: no limit. Loopback and unix sockets are not
    /// meant. Default 1000.
    pub max_connections_per_address: Option<At<i64>>,
    /// The most from loopback, and the most by unix sockets; 0: no bound but `max_connections`,
    /// because behind a proxy on this machine everybody is local. Default 0.
    pub max_local_connections: Option<At<i64>>,
    /// The largest head of a request, counted while it is read. Default `"16KiB"`, which is the most.
    pub max_head: Option<At<String>>,
    /// The most header lines of a request. Default 100.
    pub max_headers: Option<At<i64>>,
    /// How long a client may take to send a request's head. Default `"30s"`.
    pub head_timeout: Option<At<String>>,
    /// Idle time of a connection between requests. Default `"60s"`.
    pub keepalive: Option<At<String>>,
    /// The most requests on one connection; the last is answered with `Connection: close`; 0: no limit.
    /// Default 10000.
    pub max_requests_per_connection: Option<At<i64>>,
    /// The largest body of a request, by route.
    pub max_body: MaxBody,
    /// How long this proxy waits for a body in all. Time in which the gateway does not take it is not
    /// counted. Default `"15m"`.
    pub body_timeout: Option<At<String>>,
    /// How long it waits before the rate of a body is looked at. Default `"10s"`.
    pub body_grace: Option<At<String>>,
    /// The least that must come in each second of waiting, on average. Default `"240B"`.
    pub min_body_rate: Option<At<String>>,
    /// How long a client may refuse to read. Default `"60s"`.
    pub write_timeout: Option<At<String>>,
    /// The most WebSocket clients at a time that have not authenticated yet; when there are more, the
    /// oldest of the address that has most goes. Default 256.
    pub max_unauthenticated_websockets: Option<At<i64>>,
    /// The most of one address, IPv6 by its /64; 0: no limit. Not applied to loopback and unix sockets.
    /// Default 32.
    pub max_unauthenticated_websockets_per_address: Option<At<i64>>,
    /// How long a WebSocket client may take to send its `connect` request. Default `"10s"`.
    pub websocket_connect_timeout: Option<At<String>>,
}

/// The largest body of a request, by route; by default what the gateway itself takes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaxBody {
    /// `POST /v1/chat/completions`. Default `"20MiB"`.
    pub chat_completions: Option<At<String>>,
    /// `POST /v1/responses`. Default `"20MiB"`.
    pub responses: Option<At<String>>,
    /// `POST /v1/embeddings`. Default `"5MiB"`.
    pub embeddings: Option<At<String>>,
    /// `POST /tools/invoke`. Default `"2MiB"`.
    pub tools_invoke: Option<At<String>>,
    /// Every other route. Default `"20MiB"`.
    pub other: Option<At<String>>,
}
