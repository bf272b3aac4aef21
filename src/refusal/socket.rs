//! What is particular to WebSockets.

use super::Code;

/// Why a WebSocket does not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SocketFault {
    /// The upgrade request is not one.
    #[error("not a WebSocket upgrade: {0}")]
    Form(&'static str),
    /// A path at which the gateway takes upgrades of another protocol.
    #[error("no WebSocket is served at this path: the gateway speaks another protocol there")]
    Path,
    /// Another version of the protocol.
    #[error("only version 13 of the WebSocket protocol is supported")]
    Version,
    /// A page of another origin.
    #[error("pages of this origin may not connect")]
    Origin,
    /// Too many sockets wait for their `connect` request.
    #[error("too many WebSocket connections have not sent their connect request yet")]
    Crowded,
    /// No `connect` request came.
    #[error("no connect request arrived in time")]
    Late,
    /// Frames that break the protocol.
    #[error("WebSocket protocol error: {what}")]
    Frame {
        /// The close code.
        close: u16,
        /// What was wrong.
        what: &'static str,
    },
    /// A `connect` request that cannot be read.
    #[error("{0}")]
    Connect(String),
    /// A role that no caller is given.
    #[error("this role is not allowed for this caller")]
    Role,
    /// A caller with a rule that can be kept on single requests only.
    #[error("the policy has a rule for this caller's {header}, which a WebSocket cannot be held to")]
    KeptApart {
        /// The header.
        header: &'static str,
    },
    /// The gateway refused this proxy.
    #[error("the gateway refused the connection: {0}")]
    GatewayRefused(String),
    /// The gateway wants this proxy's device approved.
    #[error("the gateway wants this proxy's device approved first")]
    PairingRequired,
}

impl SocketFault {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Form(_) | Self::Frame { .. } | Self::Connect(_) => 400,
            Self::Path => 404,
            Self::Version => 426,
            Self::Origin | Self::Role | Self::KeptApart { .. } => 403,
            Self::Late => 408,
            Self::Crowded => 503,
            Self::GatewayRefused(_) | Self::PairingRequired => 502,
        }
    }

    pub(super) fn code(&self) -> Code {
        match self {
            Self::Form(_) => Code::InvalidUpgrade,
            Self::Path => Code::WebsocketPath,
            Self::Version => Code::WebsocketVersion,
            Self::Origin => Code::OriginNotAllowed,
            Self::Crowded => Code::TooManyUnauthenticatedWebsockets,
            Self::Late => Code::ConnectTimeout,
            Self::Frame { .. } => Code::MalformedFrame,
            Self::Connect(_) => Code::InvalidConnect,
            Self::Role => Code::RoleNotAllowed,
            Self::KeptApart { .. } => Code::SessionsKeptApart,
            Self::GatewayRefused(_) => Code::GatewayRefused,
            Self::PairingRequired => Code::PairingRequired,
        }
    }

    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Form(_) | Self::Version | Self::Frame { .. } => "connect with an ordinary WebSocket client",
            Self::Path => "connect at `/`; desktops, portals and workers attach to the gateway itself",
            Self::Origin => {
                "open the page from this proxy's own address, or ask the operator to add the origin to `[websocket] origins`"
            }
            Self::Crowded => "try again in a few seconds",
            Self::Late | Self::Connect(_) => {
                "send {\"type\":\"req\",\"id\":…,\"method\":\"connect\",\"params\":{…}} first"
            }
            Self::Role => {
                "connect as operator; for a node, ask the operator to turn `[websocket] nodes` on, send a bearer token with the upgrade, and the gateway's own token in the frame"
            }
            Self::KeptApart { .. } => "use the HTTP endpoints",
            Self::GatewayRefused(_) => "operator: see the log for the gateway's answer",
            Self::PairingRequired => "operator: `openclaw devices list`, then `openclaw devices approve <request>`",
        }
    }
}
