//! Apps that speak for users.

use http::HeaderName;
use std::sync::Arc;

/// How an app says for which of its users it calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppUsers {
    /// By headers that it is believed.
    Headers {
        /// Each header, and which claim about the user it is.
        claims: Vec<(Arc<str>, HeaderName)>,
        /// The claim that names the user.
        name: Arc<str>,
        /// What a request without any of them is.
        missing: MissingUser,
    },
    /// By a JWT of this issuer, and in no other way.
    Issuer {
        /// Its name here.
        name: Arc<str>,
        /// The header that carries the JWT.
        header: HeaderName,
    },
}

/// What an app's request is that names no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingUser {
    /// Refused.
    Refuse,
    /// The app's own.
    App,
}

impl AppUsers {
    /// The headers that it reads.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let (claims, jwt) = match self {
            Self::Headers { claims, .. } => (claims.as_slice(), None),
            Self::Issuer { header, .. } => (&[][..], Some(header)),
        };
        claims.iter().map(|(_, header)| header).chain(jwt)
    }
}
