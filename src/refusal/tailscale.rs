//! Why the tailnet proves nothing about a caller.

use super::Code;

/// Why the tailnet proves nothing about a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TailnetFault {
    /// tailscaled did not answer, or not in time.
    #[error("tailscaled does not answer, so the caller cannot be identified")]
    Unavailable,
    /// tailscaled answered something that cannot be understood.
    #[error("tailscaled's answer about the caller cannot be read")]
    Answer,
    /// No node of the tailnet has this address.
    #[error("no credential was sent, and the caller's address is not a node of the tailnet")]
    UnknownPeer,
    /// The request does not look like one of tailscale serve.
    #[error("no credential was sent, and the request does not come from tailscale serve: {0}")]
    Headers(&'static str),
    /// Tailscale-User-Login says another than tailscaled.
    #[error("Tailscale-User-Login does not match tailscaled's answer")]
    Mismatch,
    /// The node's user, tags or capabilities are others than they were.
    #[error("the caller's tailnet identity has changed")]
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
                "try again, or send a bearer token; operator: check that tailscaled runs and that `[tailscale] socket` is right"
            }
            Self::Answer => "send a bearer token; operator: see the log",
            Self::UnknownPeer => "call from a node of the tailnet, or send a bearer token",
            Self::Headers(_) => "call through tailscale serve, or send a bearer token",
            Self::Mismatch => "call through tailscale serve and nothing else in front of this proxy",
            Self::Changed => "connect again",
        }
    }
}
