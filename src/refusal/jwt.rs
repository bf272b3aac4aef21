//! Why a JWT proves nothing.

use super::Code;
use jiff::Timestamp;

/// The longest token accepted, in bytes: a gateway's request head has 16 KiB in all.
pub const MAX_TOKEN: usize = 12 * 1024;
/// Why a text is no JWT at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`MAX_TOKEN`].
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    /// Not three parts.
    #[error("the token does not have three parts")]
    Parts,
    /// Not base64url, padded, or with bits left over (RFC 7515 §2).
    #[error("a part of the token is not canonical base64url")]
    Base64,
    /// Not a JSON object, nested too deep, or a name twice.
    #[error("a part of the token is not a plain JSON object without repeated names")]
    Json,
    /// `alg` is missing, `none`, or unknown.
    #[error("the token's algorithm is missing, `none` or unknown")]
    Algorithm,
    /// `crit` or `b64`, which ask for what is not done here (RFC 7515 §4.1.11, RFC 7797).
    #[error("the token requires an extension")]
    Critical,
    /// A header of the wrong type or size.
    #[error("a header of the token has the wrong type")]
    Header,
}

/// Why a JWT proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtFault {
    /// It is none.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// No issuer here has its `iss`.
    #[error("the token's issuer is not accepted")]
    Issuer,
    /// Its algorithm is not among those pinned for the issuer.
    #[error("the token's signature cannot be verified")]
    Algorithm,
    /// It names a key the issuer does not have.
    #[error("the token's signature cannot be verified")]
    KeyUnknown,
    /// The signature is wrong.
    #[error("the token's signature cannot be verified")]
    Signature,
    /// The issuer's keys could not be had yet.
    #[error("the issuer's keys are not available yet")]
    KeysUnavailable,
    /// Its `typ` is not accepted.
    #[error("the token's type is not accepted")]
    Type,
    /// A claim that must be there is missing or of the wrong type.
    #[error("the token's `{0}` is missing or has the wrong type")]
    Claim(&'static str),
    /// It was made for another service.
    #[error("the token is for another audience")]
    Audience,
    /// Its time is over.
    #[error("the token expired at {0}")]
    Expired(Timestamp),
    /// Its time has not come.
    #[error("the token is not valid before {0}")]
    NotYetValid(Timestamp),
}

impl JwtFault {
    /// The exact reason, for the log and the metric.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Malformed(_) => Code::JwtMalformed,
            Self::Issuer => Code::JwtIssuer,
            Self::Algorithm => Code::JwtAlgorithm,
            Self::KeyUnknown => Code::JwtKeyUnknown,
            Self::Signature => Code::JwtSignature,
            Self::KeysUnavailable => Code::JwtKeysUnavailable,
            Self::Type => Code::JwtType,
            Self::Claim(_) => Code::JwtClaim,
            Self::Audience => Code::JwtAudience,
            Self::Expired(_) => Code::JwtExpired,
            Self::NotYetValid(_) => Code::JwtNotYetValid,
        }
    }

    /// Whether it is a token that its issuer never gave out, as far as can be told.
    pub(super) fn is_failed_proof(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Issuer | Self::Algorithm | Self::KeyUnknown | Self::Signature)
    }

    /// What can be done about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "send the token as the issuer gave it",
            Self::Issuer => "get a token from an accepted issuer",
            Self::Algorithm | Self::KeyUnknown | Self::Signature => "get a new token from the issuer",
            Self::KeysUnavailable => "try again; operator: check that this machine reaches the issuer",
            Self::Type => "send an access token, not one of another kind",
            Self::Claim(_) => "ask the issuer to put the claim into the token",
            Self::Audience => "ask the issuer for a token with this service's audience",
            Self::Expired(_) => "get a new token from the issuer",
            Self::NotYetValid(_) => "wait, or ask the issuer to correct its clock",
        }
    }
}
