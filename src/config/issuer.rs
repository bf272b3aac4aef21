//! Issuers whose JWTs are accepted, and where their keys come from.

use crate::scope::ScopeSet;
use crate::secret::Secret;
use http::HeaderName;
use jsonwebtoken::Algorithm;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// An issuer whose JWTs are accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// Its name here.
    pub name: Arc<str>,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Whether its tokens prove the users of apps, and no callers.
    pub proves_users: bool,
    /// The audiences accepted; empty: only tokens without one, of an issuer that proves users.
    pub audiences: Vec<String>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// The algorithms accepted.
    pub algorithms: Vec<Algorithm>,
    /// How far its clock may be off.
    pub leeway: Duration,
    /// The header that carries the token; `None`: `Authorization`.
    pub token_from: Option<HeaderName>,
    /// The `typ` headers accepted, in lower case; empty: none, and those of plain JWTs and access tokens.
    pub typ: Vec<String>,
    /// Whether a token without a subject is let in: Cloudflare's service tokens have none.
    pub empty_subject: bool,
    /// The claims that hold scopes.
    pub scope_claims: Vec<ClaimPath>,
    /// The claim that holds roles.
    pub roles_claim: Option<ClaimPath>,
    /// Which scopes a role stands for.
    pub role_scopes: BTreeMap<String, ScopeSet>,
    /// The most any token may claim.
    pub max_scopes: Option<ScopeSet>,
    /// The claims that may name the principal; the first one present counts.
    pub name_claims: Vec<NameClaim>,
    /// Where it stands, `file:line`.
    pub place: Arc<str>,
}

/// A claim that may name a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameClaim {
    /// The claim.
    pub path: ClaimPath,
    /// Whether it counts only when `email_verified` is true.
    pub verified_email: bool,
}

/// A claim by its path: names separated by dots, or one name that holds dots itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimPath(pub Arc<str>);

/// Where an issuer's keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Over HTTP.
    Remote {
        /// The JWKS itself, or the discovery document that names it.
        url: String,
        /// Whether it is the discovery document.
        discovery: bool,
        /// The authority that vouches for the server, PEM.
        ca: Option<Arc<str>>,
        /// The proxy on the way.
        proxy: Option<String>,
    },
    /// A JWKS, as text.
    Jwks(Arc<str>),
    /// A public key, PEM.
    Pem(Arc<str>),
    /// An HMAC secret.
    Secret(Secret),
}

impl PartialEq for KeySource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Remote { url, discovery, ca, proxy }, Self::Remote { url: u, discovery: d, ca: c, proxy: p }) => {
                (url, discovery, ca, proxy) == (u, d, c, p)
            }
            (Self::Jwks(a), Self::Jwks(b)) | (Self::Pem(a), Self::Pem(b)) => a == b,
            (Self::Secret(a), Self::Secret(b)) => a.hash() == b.hash(),
            _ => false,
        }
    }
}
