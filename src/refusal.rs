//! Every refusal: status, public code, metric label, and what to do about it (law 13).

mod answer;
mod caller;
mod code;
mod isolation;
mod jwt;
mod limit;
mod socket;
mod tailscale;
mod user;

pub use caller::Caller;
pub use code::Code;
pub use isolation::IsolationFault;
pub use jwt::{JwtFault, MAX_TOKEN, Malformed};
pub use limit::LimitFault;
pub use socket::SocketFault;
pub use tailscale::TailnetFault;
pub use user::UserFault;

use crate::cors::Denied;
use crate::principal_limits::{Limit, LimitReached};
use crate::request_path::PathFault;
use crate::scope::{Scope, ScopeSet, ScopeSyntax};
/// Why a request does not pass, or could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The target could mean another path to the gateway (law 7).
    #[error("{0}")]
    Target(PathFault),
    /// Where the body ends is ambiguous (law 8).
    #[error("ambiguous request: {0}")]
    Framing(&'static str),
    /// Whom the request is for is missing or malformed.
    #[error("the Host header cannot be used: {0}")]
    Host(&'static str),
    /// The head is no HTTP request at all.
    #[error("the request head is malformed")]
    Malformed,
    /// A head larger than the gateway takes.
    #[error("the request head is larger than {limit} {unit}")]
    HeadTooLarge {
        /// How much is allowed.
        limit: usize,
        /// Of what: `bytes` or `headers`.
        unit: &'static str,
    },
    /// An `Expect` that is not `100-continue`.
    #[error("this expectation cannot be met: only `100-continue` is understood")]
    Expectation,
    /// `x-openclaw-scopes` cannot be read.
    #[error("x-openclaw-scopes cannot be read: {0}")]
    ScopesHeader(ScopeSyntax),
    /// More than one credential, or one that is not text.
    #[error("{0}")]
    CredentialForm(&'static str),
    /// Several credentials that are not the same.
    #[error("two different credentials were sent in one request")]
    CredentialConflict,
    /// No credential, and callers without one are refused.
    #[error("no credential was sent: `Authorization: Bearer <token>` is needed")]
    CredentialMissing,
    /// A credential of another scheme than Bearer and Basic.
    #[error("only the schemes Bearer and Basic are understood")]
    CredentialScheme,
    /// An unknown credential.
    #[error("the bearer token is unknown")]
    CredentialUnknown,
    /// A named token past its day.
    #[error("the token `{name}` expired at {at}")]
    TokenExpired {
        /// The token's name.
        name: String,
        /// When, RFC 3339.
        at: String,
    },
    /// A named token before its day.
    #[error("the token `{name}` is not valid before {at}")]
    TokenNotYetValid {
        /// The token's name.
        name: String,
        /// When, RFC 3339.
        at: String,
    },
    /// A named token from an address it is not meant for.
    #[error("the token `{name}` may not be used from this address")]
    TokenAddress {
        /// The token's name.
        name: String,
    },
    /// A JWT that proves nothing.
    #[error("{0}")]
    Jwt(JwtFault),
    /// An app that does not say for whom it calls, or a user who may not.
    #[error("{0}")]
    User(UserFault),
    /// A caller whom the tailnet does not prove.
    #[error("{0}")]
    Tailnet(TailnetFault),
    /// The effective scopes do not satisfy the route (law 5).
    #[error("missing scope: {needed}")]
    ScopeMissing {
        /// What the route needs.
        needed: Scope,
        /// Whether the caller holds it and left it out of its own header.
        held: bool,
    },
    /// A path that no route serves, from a caller without the scope that such paths need. Most are mistyped.
    #[error("unknown route {path}{}", likely.map(|l| format!("; did you mean {l}?")).unwrap_or_default())]
    RouteUnknown {
        /// The path, as far as it fits a message.
        path: String,
        /// A route that the client may have meant.
        likely: Option<&'static str>,
    },
    /// The request asks for more than is granted (law 3).
    #[error("scope not granted: {excess}")]
    ScopeExcess {
        /// What was asked and is not granted.
        excess: ScopeSet,
    },
    /// A header of the gateway that this caller may not send.
    #[error("{header} is not allowed for this caller: {why}")]
    HeaderDenied {
        /// The header's name.
        header: &'static str,
        /// What the policy says.
        why: &'static str,
    },
    /// Something that is not the caller's own.
    #[error("{0}")]
    Isolation(IsolationFault),
    /// A caller of a route that passes its own credential on, from an address that it is not for.
    #[error("this route may not be called from this address")]
    RouteAddress,
    /// A credential of this proxy, on a route that passes the client's own on.
    #[error(
        "this route passes the client's own credential to the gateway, and the one that was sent is for this proxy"
    )]
    CredentialForProxy,
    /// A page of another origin, where a browser identifies the caller without the page's doing.
    #[error("requests from other web origins need a credential of their own")]
    CrossOrigin,
    /// A preflight for a page of another origin that may not call.
    #[error("{0}")]
    Preflight(Denied),
    /// A name that could have been made to lead here, where callers need no credential.
    #[error("`{host}` is not a known name of this machine, and no credential was sent")]
    HostNotAllowed {
        /// The `Host` of the request.
        host: String,
    },
    /// Too many wrong join codes, of this caller or of all.
    #[error("too many wrong join codes: with more, the gateway would refuse all join codes for five minutes")]
    JoinMisses {
        /// Seconds after which another is taken.
        wait: u32,
    },
    /// A method that is never passed on.
    #[error("this method is not supported")]
    Method,
    /// A WebSocket upgrade where none is served.
    #[error("WebSocket connections are not served here")]
    Upgrade,
    /// A WebSocket that does not come about.
    #[error("{0}")]
    Socket(SocketFault),
    /// Something is over a limit.
    #[error("{0}")]
    Limit(LimitFault),
    /// A principal asks for more than it may at the moment.
    #[error("{}", over(.0))]
    PrincipalLimit(LimitReached),
    /// Too many wrong credentials from one address.
    #[error("too many wrong credentials from this address")]
    AuthThrottle {
        /// Seconds after which the next is looked at.
        retry_after: u32,
    },
    /// The gateway cannot be connected to.
    #[error("the gateway cannot be reached")]
    GatewayUnreachable,
    /// The gateway was there a moment ago and did not come back in time.
    #[error("the gateway is restarting and did not come back in time")]
    GatewayRestarting,
    /// The gateway broke the connection before its answer was whole.
    #[error("the gateway closed the connection before it answered")]
    GatewayBroken,
    /// The gateway answered with what no client may be given.
    #[error("the gateway's answer cannot be passed on: {0}")]
    GatewayInvalid(&'static str),
    /// The gateway let a connection time out.
    #[error("the gateway did not accept the connection in time")]
    GatewayTimeout,
    /// The gateway does not take what proves this proxy: the caller's own credential is right.
    #[error("the gateway refused scopeshim's own credential (mode {mode}), not yours")]
    GatewayCredential {
        /// How this proxy proves itself to it.
        mode: &'static str,
    },
    /// The client's request broke off or was malformed past the head.
    #[error("the request body is malformed or incomplete")]
    ClientBroken,
    /// This process is stopping.
    #[error("this proxy is shutting down")]
    Draining,
    /// A fault of this program.
    #[error("internal error")]
    Internal,
}

fn over(reached: &LimitReached) -> String {
    let LimitReached { limit, allowed, rate, retry_after } = reached;
    match limit {
        Limit::Rate => {
            let burst = rate.map(|r| r.burst.get()).unwrap_or_default();
            format!("more than {allowed} requests a minute ({burst} at once); the next in {retry_after} s")
        }
        Limit::Requests => format!("more than {allowed} requests at a time"),
        Limit::Streams => format!("more than {allowed} streams at a time"),
        Limit::Sockets => format!("more than {allowed} WebSockets at a time"),
    }
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Target(PathFault::TooLong) => 414,
            Self::Target(_)
            | Self::Malformed
            | Self::Framing(_)
            | Self::Host(_)
            | Self::ScopesHeader(_)
            | Self::CredentialForm(_)
            | Self::CredentialConflict
            | Self::Preflight(Denied::Form(_))
            | Self::ClientBroken => 400,
            Self::HeadTooLarge { .. } => 431,
            Self::Expectation => 417,
            Self::Jwt(JwtFault::KeysUnavailable) => 503,
            Self::Tailnet(fault) => fault.status(),
            Self::User(fault) => fault.status(),
            Self::Isolation(fault) => fault.status(),
            Self::CredentialMissing
            | Self::Jwt(_)
            | Self::CredentialScheme
            | Self::CredentialUnknown
            | Self::TokenExpired { .. }
            | Self::TokenNotYetValid { .. } => 401,
            Self::TokenAddress { .. }
            | Self::RouteAddress
            | Self::CredentialForProxy
            | Self::CrossOrigin
            | Self::Preflight(Denied::Origin(_))
            | Self::HostNotAllowed { .. }
            | Self::ScopeMissing { .. }
            | Self::RouteUnknown { .. }
            | Self::ScopeExcess { .. }
            | Self::HeaderDenied { .. } => 403,
            Self::JoinMisses { .. } | Self::PrincipalLimit(_) | Self::AuthThrottle { .. } => 429,
            Self::Method => 405,
            Self::Upgrade => 501,
            Self::Socket(fault) => fault.status(),
            Self::Limit(fault) => fault.status(),
            Self::GatewayUnreachable
            | Self::GatewayBroken
            | Self::GatewayInvalid(_)
            | Self::GatewayCredential { .. } => 502,
            Self::GatewayTimeout => 504,
            Self::GatewayRestarting | Self::Draining => 503,
            Self::Internal => 500,
        }
    }

    /// The stable public code, which is the metric label too.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Target(_) => Code::AmbiguousTarget,
            Self::Framing(_) => Code::AmbiguousFraming,
            Self::Host(_) => Code::InvalidHost,
            Self::Malformed => Code::MalformedHead,
            Self::HeadTooLarge { .. } => Code::HeadTooLarge,
            Self::Expectation => Code::ExpectationFailed,
            Self::ScopesHeader(_) => Code::InvalidScopesHeader,
            Self::CredentialForm(_) => Code::InvalidCredentialForm,
            Self::CredentialConflict => Code::CredentialConflict,
            Self::CredentialMissing => Code::CredentialMissing,
            Self::CredentialScheme => Code::CredentialScheme,
            Self::CredentialUnknown => Code::CredentialUnknown,
            Self::TokenExpired { .. } => Code::TokenExpired,
            Self::TokenNotYetValid { .. } => Code::TokenNotYetValid,
            Self::TokenAddress { .. } => Code::TokenAddress,
            Self::Jwt(fault) => fault.code(),
            Self::Tailnet(fault) => fault.code(),
            Self::User(fault) => fault.code(),
            Self::ScopeMissing { .. } => Code::MissingScope,
            Self::RouteUnknown { .. } => Code::UnknownRoute,
            Self::ScopeExcess { .. } => Code::ScopeNotGranted,
            Self::HeaderDenied { .. } => Code::HeaderNotAllowed,
            Self::Isolation(fault) => fault.code(),
            Self::RouteAddress => Code::RouteAddress,
            Self::CredentialForProxy => Code::CredentialForProxy,
            Self::CrossOrigin => Code::CrossOrigin,
            Self::Preflight(Denied::Origin(_)) => Code::CorsOriginNotAllowed,
            Self::Preflight(Denied::Form(_)) => Code::InvalidPreflight,
            Self::HostNotAllowed { .. } => Code::HostNotAllowed,
            Self::JoinMisses { .. } => Code::JoinMisses,
            Self::PrincipalLimit(reached) => match reached.limit {
                Limit::Rate => Code::RateLimitExceeded,
                Limit::Requests => Code::TooManyConcurrentRequests,
                Limit::Streams => Code::TooManyConcurrentStreams,
                Limit::Sockets => Code::TooManyConcurrentWebsockets,
            },
            Self::AuthThrottle { .. } => Code::TooManyFailedAttempts,
            Self::Method => Code::MethodNotServed,
            Self::Upgrade => Code::UpgradeNotServed,
            Self::Socket(fault) => fault.code(),
            Self::Limit(fault) => fault.code(),
            Self::GatewayRestarting => Code::GatewayRestarting,
            Self::GatewayUnreachable => Code::GatewayUnreachable,
            Self::GatewayBroken => Code::GatewayBroken,
            Self::GatewayInvalid(_) => Code::GatewayInvalidResponse,
            Self::GatewayTimeout => Code::GatewayTimeout,
            Self::GatewayCredential { .. } => Code::GatewayCredentialRefused,
            Self::ClientBroken => Code::ClientBroken,
            Self::Draining => Code::Draining,
            Self::Internal => Code::Internal,
        }
    }

    /// What the caller, or the operator, can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Target(PathFault::Spelling) => "send the path in lower case, with nothing encoded that need not be",
            Self::Target(_) => "send the plain path, for example /v1/models",
            Self::Malformed => "send a well-formed HTTP/1.1 request with a plain path",
            Self::Framing(_) | Self::ClientBroken => "send either one Content-Length or Transfer-Encoding: chunked",
            Self::Host(_) => "send exactly one header `Host: name[:port]`",
            Self::HeadTooLarge { .. } => "send fewer or smaller headers",
            Self::Expectation => "omit the Expect header",
            Self::ScopesHeader(_) => "send scope names separated by commas, or omit the header",
            Self::CredentialForm(_) | Self::CredentialMissing | Self::CredentialScheme => {
                "send exactly one header `Authorization: Bearer <token>`"
            }
            Self::CredentialConflict => "send one token, in one header",
            Self::CredentialUnknown => "check the token, or ask the operator for one (`scopeshim token new`)",
            Self::TokenExpired { .. } => "ask the operator to rotate the token or to change its `expires`",
            Self::TokenNotYetValid { .. } => "wait, or ask the operator to change its `not_before`",
            Self::TokenAddress { .. } => {
                "call from an allowed address, or ask the operator to change the token's `cidrs`"
            }
            Self::Jwt(fault) => fault.advice(),
            Self::Tailnet(fault) => fault.advice(),
            Self::User(fault) => fault.advice(),
            Self::RouteUnknown { .. } => {
                "check the path and the client's base URL (for OpenAI clients it ends with /v1); a route of a plugin needs a [[route]]"
            }
            Self::ScopeMissing { held: true, .. } => "add the scope to x-openclaw-scopes, or omit that header",
            Self::ScopeMissing { held: false, .. } => {
                "ask the operator to grant this scope to this caller in the policy"
            }
            Self::ScopeExcess { .. } => "request less in x-openclaw-scopes, or ask the operator to grant the scope",
            Self::HeaderDenied { .. } => "omit the header, or ask the operator to allow it in the policy",
            Self::Isolation(fault) => fault.advice(),
            Self::RouteAddress => "call from an allowed address, or ask the operator to change the route's `cidrs`",
            Self::CredentialForProxy => {
                "send the credential of the gateway's own route, such as `hooks.token`, and keep this proxy's for its other routes"
            }
            Self::CrossOrigin => {
                "send a bearer token, or ask the operator to add the page's origin to `[cors] origins`"
            }
            Self::Preflight(Denied::Origin(_)) => "ask the operator to add the page's origin to `[cors] origins`",
            Self::Preflight(Denied::Form(_)) => "call from a page in an ordinary browser",
            Self::HostNotAllowed { .. } => {
                "call by an address or by this machine's own name, send a bearer token, or ask the operator to add the name to `[policy] hosts`"
            }
            Self::JoinMisses { .. } => "make a new code (`openclaw devices`), and try it once, after Retry-After",
            Self::PrincipalLimit(_) => "try again later, or ask the operator to raise this caller's `limits`",
            Self::AuthThrottle { .. } => "check the credential; a valid one is served at once",
            Self::Method => "use GET or POST",
            Self::Upgrade => "use the HTTP endpoints, for example POST /v1/chat/completions",
            Self::Socket(fault) => fault.advice(),
            Self::Limit(fault) => fault.advice(),
            Self::GatewayUnreachable | Self::GatewayRestarting | Self::GatewayBroken | Self::GatewayTimeout => {
                "try again; operator: check that the gateway runs and that `[gateway] url` is right"
            }
            Self::GatewayInvalid(_) => {
                "operator: check that `[gateway] url` is an OpenClaw gateway, with nothing in between"
            }
            Self::GatewayCredential { mode: "trusted-proxy" } => {
                "operator: compare `[gateway] auth` with gateway.auth and gateway.trustedProxies in openclaw.json (`allowUsers` too); `scopeshim doctor` says more"
            }
            Self::GatewayCredential { .. } => {
                "operator: put the gateway's present secret where `[gateway] auth` reads it; it counts at once. `scopeshim doctor` says more"
            }
            Self::Draining => "try again at once, on a new connection",
            Self::Internal => "try again; operator: see the log",
        }
    }

    /// Whether the scopes that the caller holds are why.
    #[must_use]
    pub fn is_about_scopes(&self) -> bool {
        matches!(self, Self::ScopeMissing { held: false, .. } | Self::ScopeExcess { .. })
    }

    /// Whether the credential was never issued: a guess, as far as can be told.
    #[must_use]
    pub fn is_failed_proof(&self) -> bool {
        match self {
            Self::CredentialUnknown => true,
            Self::Jwt(fault) => fault.is_failed_proof(),
            _ => false,
        }
    }

    /// Seconds after which trying again makes sense.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::JoinMisses { wait } => Some(*wait),
            Self::PrincipalLimit(reached) => Some(reached.retry_after),
            Self::AuthThrottle { retry_after } => Some(*retry_after),
            Self::GatewayUnreachable
            | Self::GatewayRestarting
            | Self::GatewayTimeout
            | Self::Draining
            | Self::Socket(SocketFault::Crowded)
            | Self::Isolation(IsolationFault::Crowded)
            | Self::Limit(LimitFault::Connections | LimitFault::AddressConnections)
            | Self::Jwt(JwtFault::KeysUnavailable)
            | Self::User(UserFault::Jwt(JwtFault::KeysUnavailable))
            | Self::Tailnet(TailnetFault::Unavailable | TailnetFault::Answer) => Some(1),
            _ => None,
        }
    }

    /// Whether no connection to the gateway came about.
    #[must_use]
    pub fn gateway_saw_nothing(&self) -> bool {
        matches!(self, Self::GatewayUnreachable | Self::GatewayRestarting | Self::GatewayTimeout)
    }
}
