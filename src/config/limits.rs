//! Limits of bytes, time and places for any client.

use crate::metric_labels::RouteLabel;
use std::time::Duration;

/// The `[limits]` table. `None` stands for no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at a time.
    pub connections: usize,
    /// Of one address, IPv6 by its /64. Loopback and unix sockets have `local_connections`.
    pub connections_per_address: Option<usize>,
    /// From loopback, and by unix sockets: each of the two.
    pub local_connections: Option<usize>,
    /// A request's head, in bytes.
    pub head: usize,
    /// Header lines.
    pub headers: usize,
    /// How long a client may take to send a request's head, from its first byte (or from the
    /// connection's begin) to its last.
    pub head_timeout: Duration,
    /// Idle time of a connection between requests.
    pub keepalive: Duration,
    /// Requests on one connection.
    pub requests_per_connection: Option<u64>,
    /// A request's body, in bytes.
    pub body: BodySizes,
    /// The time spent waiting for a body.
    pub body_pace: Pace,
    /// How long a client may refuse to read.
    pub write_timeout: Duration,
    /// WebSocket clients that have not proven themselves, in all and of one address.
    pub unauthenticated: UnauthenticatedLimits,
}

/// The largest body of each route, in bytes: the gateway's own caps by default (contract §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodySizes {
    /// `POST /v1/chat/completions`.
    pub chat_completions: u64,
    /// `POST /v1/responses`.
    pub responses: u64,
    /// `POST /v1/embeddings`.
    pub embeddings: u64,
    /// `POST /tools/invoke`.
    pub tools_invoke: u64,
    /// Every other route.
    pub other: u64,
}

impl BodySizes {
    /// The bound of the route of this label.
    #[must_use]
    pub fn of(&self, label: RouteLabel) -> u64 {
        match label {
            RouteLabel::ChatCompletions => self.chat_completions,
            RouteLabel::Responses => self.responses,
            RouteLabel::Embeddings => self.embeddings,
            RouteLabel::ToolsInvoke => self.tools_invoke,
            _ => self.other,
        }
    }
}

/// How slowly something may come. Only time spent waiting for it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// For all of it.
    pub deadline: Duration,
    /// Before the rate is looked at.
    pub grace: Duration,
    /// The least rate on average, in bytes a second.
    pub rate: u64,
}

/// WebSocket clients that have not proven themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnauthenticatedLimits {
    /// In all.
    pub sockets: usize,
    /// Of one address, IPv6 by its /64; loopback and unix sockets have no bound of their own.
    pub per_address: Option<usize>,
    /// How long each has to send its `connect` request.
    pub timeout: Duration,
}

const MIB: u64 = 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: Some(1000),
            local_connections: None,
            head: 16 * 1024,
            headers: 100,
            head_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(60),
            requests_per_connection: Some(10_000),
            body: BodySizes {
                chat_completions: 20 * MIB,
                responses: 20 * MIB,
                embeddings: 5 * MIB,
                tools_invoke: 2 * MIB,
                other: 20 * MIB,
            },
            body_pace: Pace { deadline: Duration::from_secs(900), grace: Duration::from_secs(10), rate: 240 },
            write_timeout: Duration::from_secs(60),
            unauthenticated: UnauthenticatedLimits {
                sockets: 256,
                per_address: Some(32),
                timeout: Duration::from_secs(10),
            },
        }
    }
}
