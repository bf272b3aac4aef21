//! Authenticated callers, and what authenticated them.

use super::app_user::{AppToken, AppUser};
use super::claims;
use super::issuer::Verified;
use super::tailscale::WhoisResult;
use crate::config::{AppUsers, ClaimPath};
use crate::glob::Glob;
use crate::metric_labels::SourceLabel;
use crate::scope::ScopeSet;
use crate::secret::TokenHash;
use crate::tailscale_whois_answer::WhoisNode;
use jiff::Timestamp;
use std::sync::Arc;

/// An authenticated caller.
#[derive(Debug)]
pub struct Principal {
    pub(super) name: Arc<str>,
    pub(super) identity: Identity,
    pub(super) valid_until: Option<Timestamp>,
    pub(super) evidence: Evidence,
}

/// What proved a principal, for asking again under another policy.
#[derive(Debug)]
pub(super) enum Evidence {
    /// It came from an address that no source identifies.
    Place,
    /// A token or a secret with this hash.
    Hash(TokenHash),
    /// An app's token, and how the app names its users.
    App(AppToken),
    /// An app's token, in a request that names no user and need not.
    AppItself(TokenHash),
    /// What an app said of its user.
    AppUser(Box<AppUser>),
    /// A JWT that said this.
    Jwt(Box<Verified>),
    /// What the tailnet says.
    Tailnet(Arc<WhoisResult>),
}

/// By which source a principal was proven, and as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A named token: its place in the policy's list.
    Token(usize),
    /// The token of an app that speaks for users, as long as it is not known for which: its place in the
    /// policy's list. It holds nothing.
    App(usize),
    /// A user of the app whose token has this place.
    AppUser(usize),
    /// The gateway's own shared secret.
    GatewaySecret,
    /// An anonymous caller, where the policy admits such.
    Anonymous,
    /// A JWT of an issuer: its place in the policy's list.
    Issuer(usize),
    /// A peer of the tailnet.
    Tailnet,
}

impl Identity {
    /// The identity source's name in logs and metrics.
    #[must_use]
    pub fn source(self) -> SourceLabel {
        match self {
            Self::Token(_) | Self::App(_) => SourceLabel::Token,
            Self::AppUser(_) => SourceLabel::AppUser,
            Self::GatewaySecret => SourceLabel::GatewaySecret,
            Self::Anonymous => SourceLabel::Anonymous,
            Self::Issuer(_) => SourceLabel::Issuer,
            Self::Tailnet => SourceLabel::Tailnet,
        }
    }

    /// Whether it is the caller's place that proves it and not a credential, which a web page in the
    /// caller's browser could borrow.
    #[must_use]
    pub fn is_ambient(self) -> bool {
        matches!(self, Self::Anonymous | Self::Tailnet)
    }
}

impl Principal {
    /// The name: a token's name, or the source's where it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What tells it from every other principal, whatever its source lets it be called.
    #[must_use]
    pub fn key(&self) -> Arc<str> {
        let authority = self.authority().map(|a| &**a).unwrap_or_default();
        Arc::from(format!("{}\n{authority}\n{}", self.identity.source(), self.name))
    }

    /// Which one of its source says so, where there are several that may call people alike: the issuer's name, or
    /// that of an app's token.
    #[must_use]
    pub fn authority(&self) -> Option<&Arc<str>> {
        match &self.evidence {
            Evidence::Jwt(verified) => Some(&verified.issuer),
            Evidence::AppUser(said) => Some(&said.app.name),
            _ => None,
        }
    }

    /// The app that calls on behalf of this user.
    #[must_use]
    pub fn app(&self) -> Option<&Arc<Principal>> {
        self.app_user().map(|said| &said.app)
    }

    /// What an app said that made it this user.
    #[must_use]
    pub fn app_user(&self) -> Option<&AppUser> {
        match &self.evidence {
            Evidence::AppUser(said) => Some(said),
            _ => None,
        }
    }

    /// The scopes that what it says of itself stands for.
    #[must_use]
    pub fn claimed_scopes(&self) -> Option<&ScopeSet> {
        match &self.evidence {
            Evidence::Jwt(verified) => Some(&verified.scopes),
            Evidence::AppUser(said) => Some(&said.scopes),
            _ => None,
        }
    }

    /// The issuer whose keys its proof depends on.
    #[must_use]
    pub fn prover(&self) -> Option<&Arc<str>> {
        match &self.evidence {
            Evidence::Jwt(verified) => Some(&verified.issuer),
            Evidence::AppUser(said) => match &*said.token.users {
                AppUsers::Issuer { name, .. } => Some(name),
                AppUsers::Headers { .. } => None,
            },
            _ => None,
        }
    }

    /// The name, to be kept.
    #[must_use]
    pub fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// By which source, and as whom.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// When the proof runs out, if it does.
    #[must_use]
    pub fn valid_until(&self) -> Option<Timestamp> {
        self.valid_until
    }

    /// What the JWT said that proved it.
    #[must_use]
    pub fn verified(&self) -> Option<&Verified> {
        match &self.evidence {
            Evidence::Jwt(verified) => Some(verified),
            _ => None,
        }
    }

    /// Whether the source that proved it says something else by now.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        matches!(&self.evidence, Evidence::Tailnet(seen) if seen.is_outdated())
    }

    /// What the tailnet said that proved it.
    #[must_use]
    pub fn tailnet(&self) -> Option<&WhoisNode> {
        match &self.evidence {
            Evidence::Tailnet(seen) => Some(seen.peer()),
            _ => None,
        }
    }

    /// Whether a claim about it holds one of these.
    #[must_use]
    pub fn claims(&self, path: &ClaimPath, wanted: &[Glob]) -> bool {
        self.claim(path).iter().any(|text| wanted.iter().any(|glob| glob.matches(text)))
    }

    /// The texts that a claim about it holds.
    #[must_use]
    pub fn claim(&self, path: &ClaimPath) -> Vec<String> {
        let claims = match &self.evidence {
            Evidence::Jwt(verified) => &verified.claims,
            Evidence::AppUser(said) => &said.claims,
            _ => return Vec::new(),
        };
        claims::at(claims, path).map(claims::texts).unwrap_or_default()
    }
}
