//! The stable public codes of refusals.

use crate::metric_labels::Label;
use serde::Serialize;
use std::fmt;
use strum::{IntoStaticStr, VariantArray};

/// The stable public code of a refusal, which is its metric label too. What each means stands at the
/// variant of [`super::Refusal`] that carries it.
#[expect(missing_docs, reason = "the variants of `Refusal` say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Code {
    AmbiguousTarget,
    AmbiguousFraming,
    InvalidHost,
    MalformedHead,
    HeadTooLarge,
    ExpectationFailed,
    InvalidScopesHeader,
    InvalidCredentialForm,
    CredentialConflict,
    CredentialMissing,
    CredentialScheme,
    CredentialUnknown,
    TokenExpired,
    TokenNotYetValid,
    TokenAddress,
    UserMissing,
    InvalidUserHeader,
    UserNotProven,
    UserUnknown,
    UserChanged,
    UserRulesConflict,
    MissingScope,
    UnknownRoute,
    ScopeNotGranted,
    HeaderNotAllowed,
    AgentNotAllowed,
    SessionNotAllowed,
    ToolNotAllowed,
    ModelNotAllowed,
    ModelNotTaken,
    InvalidBody,
    InvalidChatHeader,
    TooManyBodies,
    RouteAddress,
    CredentialForProxy,
    CrossOrigin,
    CorsOriginNotAllowed,
    InvalidPreflight,
    HostNotAllowed,
    JoinMisses,
    RateLimitExceeded,
    TooManyConcurrentRequests,
    TooManyConcurrentStreams,
    TooManyConcurrentWebsockets,
    TooManyFailedAttempts,
    MethodNotServed,
    UpgradeNotServed,
    HeadTimeout,
    BodyTooLarge,
    BodyNotExpected,
    BodyTimeout,
    BodyTooSlow,
    ClientTooSlow,
    TooManyConnections,
    TooManyConnectionsFromAddress,
    GatewayRestarting,
    GatewayUnreachable,
    GatewayBroken,
    GatewayInvalidResponse,
    GatewayTimeout,
    GatewayCredentialRefused,
    ClientBroken,
    Draining,
    Internal,
    JwtMalformed,
    JwtIssuer,
    JwtAlgorithm,
    JwtKeyUnknown,
    JwtSignature,
    JwtKeysUnavailable,
    JwtType,
    JwtClaim,
    JwtAudience,
    JwtExpired,
    JwtNotYetValid,
    TailnetUnavailable,
    TailnetAnswer,
    TailnetUnknownPeer,
    TailnetHeaders,
    TailnetMismatch,
    TailnetChanged,
    InvalidUpgrade,
    WebsocketPath,
    WebsocketVersion,
    OriginNotAllowed,
    TooManyUnauthenticatedWebsockets,
    ConnectTimeout,
    MalformedFrame,
    InvalidConnect,
    RoleNotAllowed,
    SessionsKeptApart,
    GatewayRefused,
    PairingRequired,
}

impl Label for Code {
    fn index(self) -> usize {
        self as usize
    }
}

impl Code {
    /// The code that is written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|code| code.as_str() == text)
    }

    /// Whether it says that the gateway failed, as opposed to the caller or this proxy.
    #[must_use]
    pub fn is_gateway_failure(self) -> bool {
        matches!(
            self,
            Self::GatewayRestarting
                | Self::GatewayUnreachable
                | Self::GatewayBroken
                | Self::GatewayInvalidResponse
                | Self::GatewayTimeout
                | Self::GatewayCredentialRefused
                | Self::GatewayRefused
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Label::as_str(*self))
    }
}

impl PartialEq<str> for Code {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Code {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}
