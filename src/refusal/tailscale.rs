//! Why the tailnet proves nothing about a caller.

use super::Code;

/// Why the tailnet proves nothing about a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TailnetFault {
    /// tailscaled did not answer, or not in time.
    #[error("the tailnet cannot be asked now who is calling")]
    Unavailable,
    /// tailscaled answered something that cannot be understood.
    #[error("the tailnet's answer about the caller cannot be understood")]
    Answer,
    /// Nobody in the tailnet has this address.
    #[error("no credential was sent, and the caller's address is no node of the tailnet")]
    UnknownPeer,
    /// The request does not look like one of tailscale serve.
    #[error("no credential was sent, and the request is none of tailscale serve: {0}")]
    Headers(&'static str),
    /// Tailscale-User-Login says another than tailscaled.
    #[error("Tailscale-User-Login is not who the tailnet says is calling")]
    Mismatch,
    /// The node's user, tags or capabilities are others than they were.
    #[error("the tailnet says something else about the caller than before")]
    Changed,
}

impl TailnetFault {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Unavailable | Self::Answer => 503,
            Self::UnknownPeer | Self::Headers(_) | Self::Changed => 401,
            Self::Mismatch => 403,
        }
    }

    /// The exact reason, for the log and the metric.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unavailable => Code::TailnetUnavailable,
            Self::Answer => Code::TailnetAnswer,
            Self::UnknownPeer => Code::TailnetUnknownPeer,
            Self::Headers(_) => Code::TailnetHeaders,
            Self::Mismatch => Code::TailnetMismatch,
            Self::Changed => Code::TailnetChanged,
        }
    }

    /// What can be done about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unavailable => {
                "try again, or send a bearer token; whoever runs this proxy: is tailscaled up, and is tailscale.socket right?"
            }
            Self::Answer => "send a bearer token; whoever runs this proxy: see its log",
            Self::UnknownPeer => "call from a node of the tailnet, or send a bearer token",
            Self::Headers(_) => "call through tailscale serve, or send a bearer token",
            Self::Mismatch => "call through tailscale serve and nothing else in front of this proxy",
            Self::Changed => "connect again",
        }
    }
}
