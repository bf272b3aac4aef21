//! Authenticated callers, and what authenticated them.

use super::claims;
use super::issuer::Verified;
use super::tailscale::WhoisResult;
use crate::config::ClaimPath;
use crate::glob::Glob;
use crate::label::SourceLabel;
use crate::secret::TokenHash;
use crate::whois::WhoisNode;
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
            Self::Token(_) => SourceLabel::Token,
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
        let issuer = self.verified().map(|v| &*v.issuer).unwrap_or_default();
        Arc::from(format!("{}\n{issuer}\n{}", self.identity.source(), self.name))
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
            Evidence::Place | Evidence::Hash(_) | Evidence::Tailnet(_) => None,
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
            Evidence::Place | Evidence::Hash(_) | Evidence::Jwt(_) => None,
        }
    }

    /// Whether a claim of its JWT holds one of these.
    #[must_use]
    pub fn claims(&self, path: &ClaimPath, wanted: &[Glob]) -> bool {
        self.claim(path).iter().any(|text| wanted.iter().any(|glob| glob.matches(text)))
    }

    /// The texts a claim of its JWT holds.
    #[must_use]
    pub fn claim(&self, path: &ClaimPath) -> Vec<String> {
        self.verified().and_then(|v| claims::at(&v.claims, path)).map(claims::texts).unwrap_or_default()
    }
}
