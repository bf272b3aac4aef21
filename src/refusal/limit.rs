//! What is over a limit: bytes, seconds, places (docs/limits.md).

use super::Code;

/// Which limit was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitFault {
    /// A head that was begun and not ended.
    #[error("the request head did not arrive in time")]
    HeadTime,
    /// A body larger than its route takes.
    #[error("the request body is larger than {limit} bytes, the most this route takes")]
    BodySize {
        /// How much is allowed.
        limit: u64,
    },
    /// A body where none is expected.
    #[error("this request takes no body")]
    BodyUnexpected,
    /// A body that took too long as a whole.
    #[error("the request body did not arrive in time")]
    BodyTime,
    /// A body that trickles.
    #[error("the request body arrived too slowly")]
    BodyRate,
    /// A client that does not take its answer.
    #[error("the client did not read the answer in time")]
    SlowReader,
    /// Every place for a connection is taken.
    #[error("too many connections are open")]
    Connections,
    /// Every place of this address is taken.
    #[error("too many connections are open from this address")]
    AddressConnections,
}

impl LimitFault {
    pub(super) fn status(self) -> u16 {
        match self {
            Self::HeadTime | Self::BodyTime | Self::BodyRate | Self::SlowReader => 408,
            Self::BodySize { .. } => 413,
            Self::BodyUnexpected => 400,
            Self::Connections => 503,
            Self::AddressConnections => 429,
        }
    }

    pub(super) fn code(self) -> Code {
        match self {
            Self::HeadTime => Code::HeadTimeout,
            Self::BodySize { .. } => Code::BodyTooLarge,
            Self::BodyUnexpected => Code::BodyNotExpected,
            Self::BodyTime => Code::BodyTimeout,
            Self::BodyRate => Code::BodyTooSlow,
            Self::SlowReader => Code::ClientTooSlow,
            Self::Connections => Code::TooManyConnections,
            Self::AddressConnections => Code::TooManyConnectionsFromAddress,
        }
    }

    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::HeadTime => "send the whole head at once",
            Self::BodySize { .. } => {
                "send less, or ask the operator to raise `max_body` in `[limits]` and in the gateway"
            }
            Self::BodyUnexpected => "send the request without a body",
            Self::BodyTime => "send less or faster, or ask the operator to raise `body_timeout` in `[limits]`",
            Self::BodyRate => "send faster, or ask the operator to lower `min_body_rate` in `[limits]`",
            Self::SlowReader => "read the answer as it comes",
            Self::Connections => "try again in a moment; operator: see `max_connections` in `[limits]`",
            Self::AddressConnections => {
                "use fewer connections, or ask the operator to raise `max_connections_per_address` in `[limits]`"
            }
        }
    }
}
