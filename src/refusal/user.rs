//! What is particular to the users on whose behalf an app calls.

use super::{Code, JwtFault};

/// Why an app's request is not taken for a user's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserFault {
    /// The app names nobody.
    #[error("this token is of an app that speaks for users, and the request names none")]
    Missing,
    /// A header that describes the user and cannot be read.
    #[error("{header}, which describes the user, {why}")]
    Form {
        /// Its name.
        header: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The JWT that should prove the user proves nothing.
    #[error("the JWT that should prove the app's user: {0}")]
    Jwt(JwtFault),
    /// Nobody that a rule names.
    #[error("no rule names the user `{user}` of the app `{app}`")]
    Unknown {
        /// Who.
        user: String,
        /// The app's token.
        app: String,
    },
    /// The policy has it otherwise by now.
    #[error("the policy no longer has this app speak for its users in this way")]
    Changed,
    /// A rule for the app and one for the user that cannot both be kept.
    #[error("the rules for the app and for its user leave no {header} that both allow")]
    NothingCommon {
        /// Of what.
        header: &'static str,
    },
}

impl UserFault {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Form { .. } => 400,
            Self::Jwt(JwtFault::KeysUnavailable) => 503,
            Self::Missing | Self::Jwt(_) | Self::Unknown { .. } | Self::Changed | Self::NothingCommon { .. } => 403,
        }
    }

    pub(super) fn code(&self) -> Code {
        match self {
            Self::Missing => Code::UserMissing,
            Self::Form { .. } => Code::InvalidUserHeader,
            Self::Jwt(_) => Code::UserNotProven,
            Self::Unknown { .. } => Code::UserUnknown,
            Self::Changed => Code::UserChanged,
            Self::NothingCommon { .. } => Code::UserRulesConflict,
        }
    }

    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Missing => {
                "have the app send its user (Open WebUI: ENABLE_FORWARD_USER_INFO_HEADERS=true), or set `users.missing`"
            }
            Self::Form { .. } => "have the app send each header about its user once, as plain text",
            Self::Jwt(JwtFault::Expired(_) | JwtFault::NotYetValid(_)) => {
                "have the app make a JWT for each request, and compare the two machines' clocks"
            }
            Self::Jwt(JwtFault::KeysUnavailable) => "try again; operator: check that this machine reaches the issuer",
            Self::Jwt(_) => {
                "compare the app's secret (Open WebUI: FORWARD_USER_INFO_HEADER_JWT_SECRET) with the issuer's `keys`"
            }
            Self::Unknown { .. } => {
                "add a [[grant]] with `to = { app = …, user = … }`, or with `app` alone for everybody"
            }
            Self::Changed => "send the request again",
            Self::NothingCommon { .. } => "have one of the two rules allow what the other one does",
        }
    }
}
