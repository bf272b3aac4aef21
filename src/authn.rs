//! Who is calling: evidence in, a verified [`Principal`] or a [`Refusal`] out.
//!
//! Only this module makes a [`Principal`]. What a client merely says about itself is evidence and
//! has another type.

use crate::config::{Anonymous, Token};
use crate::refusal::Refusal;
use crate::secret::{Secret, TokenHash};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use ipnet::IpNet;
use jiff::Timestamp;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::IpAddr;
use std::sync::Arc;

/// Somebody who was proven to be who they are.
#[derive(Debug)]
pub struct Principal {
    name: Arc<str>,
    identity: Identity,
    valid_until: Option<Timestamp>,
    /// What proved it, for asking again under another policy.
    proof: Option<TokenHash>,
}

/// By which source a principal was proven, and as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A named token: its place in the policy's list.
    Token(usize),
    /// The gateway's own shared secret.
    GatewaySecret,
    /// Nobody in particular, where the policy lets such in.
    Anonymous,
}

impl Identity {
    /// The identity source's name in logs and metrics.
    #[must_use]
    pub fn source(self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::GatewaySecret => "gateway_secret",
            Self::Anonymous => "anonymous",
        }
    }
}

impl Principal {
    /// The name: a token's name, or the source's where it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
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
}

/// What a request brings as proof.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The bearer token, if one was sent.
    pub bearer: Option<&'a [u8]>,
    /// The address of the peer; `None` on a unix socket.
    pub peer: Option<IpAddr>,
}

/// Reads the bearer token out of a request's headers (RFC 6750 §2.1).
///
/// # Errors
/// When there is more than one `Authorization`, or it is of another scheme. The gateway takes the
/// first of several (contract §4), so several are never allowed to pass.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Refusal::CredentialForm("more than one Authorization header was sent"));
    }
    let line = line.as_bytes().trim_ascii();
    let (scheme, token) = line.split_at(line.iter().position(|b| *b == b' ').unwrap_or(line.len()));
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Refusal::CredentialScheme);
    }
    let token = token.trim_ascii();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(Refusal::CredentialForm("the bearer token is empty or holds white space"));
    }
    Ok(Some(token))
}

/// Everything by which callers prove themselves, compiled for look-up.
#[derive(Debug)]
pub struct Authenticator {
    tokens: HashMap<TokenHash, NamedToken, BuildHasherDefault<Prefix>>,
    gateway_secret: Option<(TokenHash, Arc<Principal>)>,
    anonymous: Option<(Vec<IpNet>, Arc<Principal>)>,
}

#[derive(Debug)]
struct NamedToken {
    principal: Arc<Principal>,
    not_before: Option<Timestamp>,
    cidrs: Vec<IpNet>,
}

impl Authenticator {
    /// Compiles what the configuration says.
    #[must_use]
    pub fn new(tokens: &[Token], gateway_secret: Option<&Secret>, anonymous: Option<&Anonymous>) -> Self {
        let principal = |name: &str, identity| {
            let proof = gateway_secret.filter(|_| identity == Identity::GatewaySecret).map(Secret::hash);
            Arc::new(Principal { name: Arc::from(name), identity, valid_until: None, proof })
        };
        Self {
            tokens: tokens
                .iter()
                .enumerate()
                .map(|(index, token)| {
                    let principal = Principal {
                        name: token.name.clone(),
                        identity: Identity::Token(index),
                        valid_until: token.expires,
                        proof: Some(token.hash),
                    };
                    let named = NamedToken {
                        principal: Arc::new(principal),
                        not_before: token.not_before,
                        cidrs: token.cidrs.clone(),
                    };
                    (token.hash, named)
                })
                .collect(),
            gateway_secret: gateway_secret.map(|s| (s.hash(), principal("gateway-secret", Identity::GatewaySecret))),
            anonymous: anonymous.map(|a| (a.cidrs.clone(), principal("anonymous", Identity::Anonymous))),
        }
    }

    /// Establishes who is calling.
    ///
    /// # Errors
    /// The [`Refusal`] that says why nobody was proven. A bad credential never falls back to a
    /// weaker source.
    pub fn authenticate(&self, evidence: Evidence<'_>, now: Timestamp) -> Result<Arc<Principal>, Refusal> {
        match evidence.bearer {
            Some(bearer) => self.known(TokenHash::of(bearer), evidence.peer, now),
            None => self.anonymous(evidence.peer),
        }
    }

    /// Is a principal that an earlier policy proved still one under this?
    ///
    /// # Errors
    /// The [`Refusal`] a new request with the same proof would get.
    pub fn confirm(
        &self,
        principal: &Principal,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Refusal> {
        match (principal.identity, principal.proof) {
            (Identity::Anonymous, _) => self.anonymous(peer),
            (_, Some(proof)) => self.known(proof, peer, now),
            (_, None) => Err(Refusal::CredentialUnknown),
        }
    }

    fn known(&self, hash: TokenHash, peer: Option<IpAddr>, now: Timestamp) -> Result<Arc<Principal>, Refusal> {
        if let Some(token) = self.tokens.get(&hash) {
            return token.judge(peer, now);
        }
        match &self.gateway_secret {
            Some((secret, principal)) if *secret == hash => Ok(principal.clone()),
            _ => Err(Refusal::CredentialUnknown),
        }
    }

    fn anonymous(&self, peer: Option<IpAddr>) -> Result<Arc<Principal>, Refusal> {
        match &self.anonymous {
            // A unix socket is local by nature.
            Some((cidrs, principal)) if peer.is_none_or(|p| within(cidrs, p)) => Ok(principal.clone()),
            _ => Err(Refusal::CredentialMissing),
        }
    }
}

impl NamedToken {
    fn judge(&self, peer: Option<IpAddr>, now: Timestamp) -> Result<Arc<Principal>, Refusal> {
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

/// Whether an address is in one of the networks; an IPv4 address in IPv6 clothes counts as IPv4.
fn within(nets: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    nets.iter().any(|net| net.contains(&address))
}

/// The hasher of keys that are hashes already: their first eight bytes.
#[derive(Debug, Default)]
pub struct Prefix(u64);

impl std::hash::Hasher for Prefix {
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
    use crate::scope::ScopeSet;
    use proptest::prelude::*;

    fn token(name: &str, secret: &str) -> Token {
        Token {
            name: Arc::from(name),
            hash: TokenHash::of(secret.as_bytes()),
            scopes: ScopeSet::empty(),
            not_before: None,
            expires: None,
            cidrs: Vec::new(),
            place: Arc::from("config.toml:1"),
        }
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append(AUTHORIZATION, http::HeaderValue::from_str(line).unwrap());
        }
        map
    }

    #[test]
    fn only_one_bearer_is_read() {
        assert_eq!(bearer(&headers(&[])).unwrap(), None);
        assert_eq!(bearer(&headers(&["bEaReR   abc "])).unwrap(), Some(&b"abc"[..]));
        for bad in [&["Basic abc"][..], &["Bearer"], &["Bearer a b"], &["Bearer a", "Bearer a"], &[""], &["abc"]] {
            assert!(bearer(&headers(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_bad_bearer_never_becomes_anonymous() {
        let anyone = Anonymous { scopes: ScopeSet::empty(), cidrs: vec!["0.0.0.0/0".parse().unwrap()] };
        let authn = Authenticator::new(&[token("a", "secret-a")], None, Some(&anyone));
        let peer = Some("10.0.0.1".parse().unwrap());
        let now = Timestamp::UNIX_EPOCH;
        let got = |bearer: Option<&'static [u8]>| authn.authenticate(Evidence { bearer, peer }, now);
        assert_eq!(got(Some(b"wrong")).unwrap_err(), Refusal::CredentialUnknown);
        assert_eq!(got(None).unwrap().name(), "anonymous");
        assert_eq!(got(Some(b"secret-a")).unwrap().name(), "a");
    }

    #[test]
    fn a_token_has_its_time_and_place() {
        let mut t = token("a", "secret-a");
        t.not_before = Some("2026-01-01T00:00:00Z".parse().unwrap());
        t.expires = Some("2026-02-01T00:00:00Z".parse().unwrap());
        t.cidrs = vec!["10.0.0.0/8".parse().unwrap()];
        let authn = Authenticator::new(&[t], None, None);
        let at = |now: &str, peer: Option<&str>| {
            let peer = peer.map(|p| p.parse().unwrap());
            authn.authenticate(Evidence { bearer: Some(b"secret-a"), peer }, now.parse().unwrap()).map(|_| ())
        };
        assert!(matches!(at("2025-12-31T23:59:59Z", Some("10.1.1.1")), Err(Refusal::TokenNotYetValid { .. })));
        assert_eq!(at("2026-01-01T00:00:00Z", Some("10.1.1.1")), Ok(()));
        assert_eq!(at("2026-01-01T00:00:00Z", Some("::ffff:10.1.1.1")), Ok(()));
        assert!(matches!(at("2026-01-15T00:00:00Z", Some("11.1.1.1")), Err(Refusal::TokenAddress { .. })));
        assert!(matches!(at("2026-01-15T00:00:00Z", None), Err(Refusal::TokenAddress { .. })));
        assert!(matches!(at("2026-02-01T00:00:00Z", Some("10.1.1.1")), Err(Refusal::TokenExpired { .. })));
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(line in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = http::HeaderValue::from_bytes(&line) {
                let mut map = HeaderMap::new();
                map.insert(AUTHORIZATION, value);
                let _ = bearer(&map);
            }
        }
    }
}
