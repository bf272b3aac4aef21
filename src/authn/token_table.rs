//! Where a presented bearer token is looked up: the named tokens by the SHA-256 of their secret.

use super::app_user::AppToken;
use super::principal::Evidence;
use super::{Identity, Principal, within};
use crate::config::Token;
use crate::refusal::Refusal;
use crate::secret::TokenHash;
use ipnet::IpNet;
use jiff::Timestamp;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::IpAddr;
use std::sync::Arc;

/// The named tokens of one policy.
#[derive(Debug)]
pub(super) struct TokenTable(HashMap<TokenHash, NamedToken, BuildHasherDefault<HashPrefix>>);

#[derive(Debug)]
pub(super) struct NamedToken {
    principal: Arc<Principal>,
    /// Its place in the list.
    index: usize,
    not_before: Option<Timestamp>,
    cidrs: Vec<IpNet>,
}

impl TokenTable {
    pub(super) fn new(tokens: &[Token]) -> Self {
        Self(tokens.iter().enumerate().map(|(index, token)| NamedToken::new(index, token)).collect())
    }

    pub(super) fn get(&self, hash: TokenHash) -> Option<&NamedToken> {
        self.0.get(&hash)
    }

    /// The one of this name, by its present secret: while it is rotated, the previous one stands behind it.
    pub(super) fn named(&self, name: &str) -> Option<&NamedToken> {
        let of_that_name = self.0.values().filter(|token| token.principal.name() == name);
        of_that_name.min_by_key(|token| token.index)
    }
}

impl NamedToken {
    fn new(index: usize, token: &Token) -> (TokenHash, Self) {
        // For itself the token of an app proves nobody.
        let (identity, evidence) = match &token.users {
            None => (Identity::Token(index), Evidence::Hash(token.hash)),
            Some(users) => {
                let app = AppToken { index, hash: token.hash, users: users.clone() };
                (Identity::App(index), Evidence::App(app))
            }
        };
        let principal = Principal { name: token.name.clone(), identity, valid_until: token.expires, evidence };
        (
            token.hash,
            Self { principal: Arc::new(principal), index, not_before: token.not_before, cidrs: token.cidrs.clone() },
        )
    }

    /// Whether it counts now, from there.
    ///
    /// # Errors
    /// [`Refusal::TokenExpired`], [`Refusal::TokenNotYetValid`], [`Refusal::TokenAddress`].
    pub(super) fn validate(&self, peer: Option<IpAddr>, now: Timestamp) -> Result<Arc<Principal>, Refusal> {
        let name = || self.principal.name().to_owned();
        if let Some(at) = self.principal.valid_until
            && now >= at
        {
            return Err(Refusal::TokenExpired { name: name(), at: at.to_string() });
        }
        if let Some(at) = self.not_before
            && now < at
        {
            return Err(Refusal::TokenNotYetValid { name: name(), at: at.to_string() });
        }
        // A peer without an address, on a unix socket, cannot be within a network.
        if !self.cidrs.is_empty() && !peer.is_some_and(|p| within(&self.cidrs, p)) {
            return Err(Refusal::TokenAddress { name: name() });
        }
        Ok(self.principal.clone())
    }
}

/// The hasher of keys that are hashes already: their first eight bytes.
#[derive(Debug, Default)]
struct HashPrefix(u64);

impl std::hash::Hasher for HashPrefix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::{Authenticator, Credential};
    use crate::config::DynamicConfig;

    #[test]
    fn a_token_has_its_time_and_place() {
        let mut t = Token { place: Arc::from("config.toml:1"), ..Token::plain("a", "secret-a") };
        t.not_before = Some("2026-01-01T00:00:00Z".parse().unwrap());
        t.expires = Some("2026-02-01T00:00:00Z".parse().unwrap());
        t.cidrs = vec!["10.0.0.0/8".parse().unwrap()];
        let mut live = DynamicConfig::closed();
        live.tokens = vec![t];
        let authn = Authenticator::new(&live, &[]);
        let at = |now: &str, peer: Option<&str>| {
            let peer = peer.map(|p| p.parse().unwrap());
            authn.authenticate(Credential::Opaque(b"secret-a"), peer, now.parse().unwrap()).map(|_| ())
        };
        assert!(matches!(at("2025-12-31T23:59:59Z", Some("10.1.1.1")), Err(Refusal::TokenNotYetValid { .. })));
        assert_eq!(at("2026-01-01T00:00:00Z", Some("10.1.1.1")), Ok(()));
        assert_eq!(at("2026-01-01T00:00:00Z", Some("::ffff:10.1.1.1")), Ok(()));
        assert!(matches!(at("2026-01-15T00:00:00Z", Some("11.1.1.1")), Err(Refusal::TokenAddress { .. })));
        assert!(matches!(at("2026-01-15T00:00:00Z", None), Err(Refusal::TokenAddress { .. })));
        assert!(matches!(at("2026-02-01T00:00:00Z", Some("10.1.1.1")), Err(Refusal::TokenExpired { .. })));
    }
}
