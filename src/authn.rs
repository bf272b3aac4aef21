//! Who is calling: evidence in, a verified [`Principal`] or a [`Refusal`] out.
//!
//! Only this module makes a [`Principal`]. What a client merely says about itself is evidence and
//! has another type.

mod app_user;
mod claims;
pub mod client_address;
mod issuer;
pub mod jwt;
mod passthrough_credential;
pub mod presented;
mod principal;
mod simulated_caller;
pub mod tailscale;
mod token_table;

pub use app_user::AppUser;
pub use issuer::Verified;
pub use passthrough_credential::PassthroughCredential;
pub use presented::Presented;
pub use principal::{Identity, Principal};

use crate::config::{DynamicConfig, GatewayAuth};
use crate::headers::fold;
use crate::jwks::KeySlot;
use crate::refusal::{JwtFault, Refusal, TailnetFault};
use crate::secret::{Secret, TokenHash};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use issuer::Trusted;
use jiff::Timestamp;
use principal::Evidence;
use std::net::IpAddr;
use std::sync::Arc;
use tailscale::WhoisResult;
use token_table::TokenTable;

/// Everything by which callers prove themselves, compiled for look-up.
#[derive(Debug)]
pub struct Authenticator {
    tokens: TokenTable,
    gateway_secret: Option<(TokenHash, Arc<Principal>)>,
    /// What proves this proxy to the gateway, whether clients may send it or not.
    own_secrets: Vec<TokenHash>,
    anonymous: Option<(Vec<IpNet>, Arc<Principal>)>,
    issuers: Vec<Trusted>,
    /// Headers beside `Authorization` in which clients may send tokens.
    token_headers: Vec<HeaderName>,
    /// Headers that carry issuers' JWTs.
    assertions: Vec<HeaderName>,
    /// Headers by which apps describe their users.
    user_headers: Vec<HeaderName>,
}

/// A credential as it was presented.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'a> {
    /// None at all.
    Absent,
    /// An opaque bearer token.
    Opaque(&'a [u8]),
    /// A JWT, and the header it came in, where that is not `Authorization`.
    Jwt(&'a str, Option<&'a HeaderName>),
    /// None, and this is what the tailnet says of the caller.
    Tailnet(&'a Arc<WhoisResult>),
}

impl Authenticator {
    /// Compiles what the configuration says; `slots` are where the issuers' keys are, in its order.
    #[must_use]
    pub fn new(live: &DynamicConfig, slots: &[Arc<KeySlot>]) -> Self {
        let principal =
            |name: &str, identity, evidence| Principal { name: Arc::from(name), identity, valid_until: None, evidence };
        let accepted = live.gateway_secret.as_ref().and(live.gateway_auth.secret()).map(Secret::hash);
        let mut assertions: Vec<HeaderName> =
            live.issuers.iter().filter(|i| !i.proves_users).filter_map(|i| i.token_from.clone()).collect();
        assertions.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        assertions.dedup();
        let said = live.tokens.iter().filter_map(|t| t.users.as_ref()).flat_map(|users| users.headers());
        let mut user_headers: Vec<HeaderName> = said.cloned().collect();
        user_headers.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        user_headers.dedup();
        Self {
            tokens: TokenTable::new(&live.tokens),
            gateway_secret: accepted.map(|hash| {
                (hash, Arc::new(principal("gateway-secret", Identity::GatewaySecret, Evidence::Hash(hash))))
            }),
            own_secrets: own_secrets(&live.gateway_auth),
            anonymous: live
                .anonymous
                .as_ref()
                .map(|a| (a.cidrs.clone(), Arc::new(principal("anonymous", Identity::Anonymous, Evidence::Place)))),
            issuers: live
                .issuers
                .iter()
                .zip(slots)
                .map(|(issuer, slot)| Trusted { issuer: issuer.clone(), slot: slot.clone() })
                .collect(),
            token_headers: live.token_headers.clone(),
            assertions,
            user_headers,
        }
    }

    /// Reads the one credential a request presents. An issuer's own header, which a server in front may add
    /// to every request, is read where nothing else is.
    ///
    /// # Errors
    /// When there are several where one is meant, or its form is wrong.
    pub fn presented<'a>(&'a self, headers: &'a HeaderMap) -> Result<Option<Presented<'a>>, Refusal> {
        match presented::read(headers, &self.token_headers)? {
            None => presented::assertion(headers, &self.assertions),
            found => Ok(found),
        }
    }

    /// Reads the one credential that a WebSocket's upgrade presents, and the subprotocol to speak then.
    ///
    /// # Errors
    /// As [`Self::presented`].
    pub fn presented_by_upgrade<'a>(
        &'a self,
        headers: &'a HeaderMap,
    ) -> Result<(Option<Presented<'a>>, Option<HeaderValue>), Refusal> {
        match presented::read_upgrade(headers, &self.token_headers)? {
            (None, spoken) => Ok((presented::assertion(headers, &self.assertions)?, spoken)),
            found => Ok(found),
        }
    }

    /// What was presented, by its kind.
    ///
    /// # Errors
    /// When its form is wrong.
    pub fn credential<'a>(&self, presented: Option<&'a Presented<'a>>) -> Result<Credential<'a>, Refusal> {
        let Some(presented) = presented else { return Ok(Credential::Absent) };
        match presented.issuers_header() {
            None => self.bearer(presented.token()),
            Some(name) => std::str::from_utf8(presented.token())
                .map(|text| Credential::Jwt(text, Some(name)))
                .map_err(|_| Refusal::CredentialForm("the header that carries the token is no text")),
        }
    }

    /// Reads a bearer token, wherever it came in.
    ///
    /// # Errors
    /// When its form is wrong.
    pub fn bearer<'a>(&self, token: &'a [u8]) -> Result<Credential<'a>, Refusal> {
        if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
            return Err(Refusal::CredentialForm("the token is empty or holds white space"));
        }
        Ok(match std::str::from_utf8(token) {
            Ok(text) if !self.issuers.is_empty() && jwt::looks_like_jwt(token) => Credential::Jwt(text, None),
            _ => Credential::Opaque(token),
        })
    }

    /// Whether tokens are read from this header, beside `Authorization`.
    #[must_use]
    pub fn reads(&self, name: &HeaderName) -> bool {
        self.token_headers.contains(name) || self.assertions.contains(name)
    }

    /// Whether this is a header by which apps describe their users, or another spelling of one.
    #[must_use]
    pub fn describes_user(&self, name: &HeaderName) -> bool {
        self.user_headers.iter().any(|own| own == name || fold(own.as_str()) == fold(name.as_str()))
    }

    /// Whether tokens are read from this header, or from one of which this is another spelling, beside
    /// `Authorization`.
    #[must_use]
    pub fn carries_token(&self, name: &HeaderName) -> bool {
        let is_alias = |own: &HeaderName| own == name || fold(own.as_str()) == fold(name.as_str());
        self.reads(name) || self.token_headers.iter().chain(&self.assertions).any(is_alias)
    }

    /// Establishes who is calling.
    ///
    /// # Errors
    /// The [`Refusal`] that says why the caller is not authenticated. A bad credential never falls back to a
    /// weaker source.
    pub fn authenticate(
        &self,
        credential: Credential<'_>,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Refusal> {
        match credential {
            Credential::Absent => self.anonymous(peer),
            Credential::Opaque(token) => self.known(TokenHash::of(token), peer, now),
            Credential::Jwt(token, header) => self.jwt(token, header, now).map(Arc::new).map_err(Refusal::Jwt),
            Credential::Tailnet(seen) => Ok(Self::tailnet(seen.clone())),
        }
    }

    /// The issuer's keys, by its place in the list.
    #[must_use]
    pub fn slot(&self, issuer: usize) -> Option<&Arc<KeySlot>> {
        self.issuers.get(issuer).map(|t| &t.slot)
    }

    /// The number of an issuer's present keys.
    #[must_use]
    pub fn keys_of(&self, issuer: &str) -> Option<u64> {
        self.issuers.iter().find(|t| *t.issuer.name == *issuer).map(|t| t.slot.version())
    }

    /// The name of the issuer that a JWT says it is from, if that is one of ours.
    #[must_use]
    pub fn issuer_of(&self, credential: Credential<'_>) -> Option<&Arc<str>> {
        let Credential::Jwt(token, header) = credential else { return None };
        let token = jwt::parse(token).ok()?;
        self.trusted(&token, header).map(|(_, t)| &t.issuer.name)
    }

    fn trusted(&self, token: &jwt::Unverified<'_>, header: Option<&HeaderName>) -> Option<(usize, &Trusted)> {
        let iss = token.claims.get("iss")?.as_str()?;
        let theirs =
            |t: &Trusted| !t.issuer.proves_users && t.issuer.issuer == iss && t.issuer.token_from.as_ref() == header;
        self.issuers.iter().enumerate().find(|(_, t)| theirs(t))
    }

    fn jwt(&self, token: &str, header: Option<&HeaderName>, now: Timestamp) -> Result<Principal, JwtFault> {
        let token = jwt::parse(token)?;
        let (index, trusted) = self.trusted(&token, header).ok_or(JwtFault::Issuer)?;
        let (verified, name, valid_until) = trusted.verify(token, now)?;
        Ok(Principal {
            name: Arc::from(name),
            identity: Identity::Issuer(index),
            valid_until: Some(valid_until),
            evidence: Evidence::Jwt(Box::new(verified)),
        })
    }

    /// Is a principal that an earlier policy proved still one under this?
    ///
    /// # Errors
    /// The [`Refusal`] a new request with the same proof would get.
    pub fn confirm(
        &self,
        principal: &Arc<Principal>,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Refusal> {
        match &principal.evidence {
            Evidence::Place => self.anonymous(peer),
            Evidence::Hash(hash) => self.known(*hash, peer, now),
            Evidence::App(token) => self.known(token.hash, peer, now),
            Evidence::AppItself(hash) => self.confirm_app(*hash, peer, now),
            Evidence::AppUser(said) => self.confirm_user(said, principal.name(), peer, now),
            Evidence::Tailnet(seen) if seen.is_outdated() => Err(Refusal::Tailnet(TailnetFault::Changed)),
            Evidence::Tailnet(_) => Ok(principal.clone()),
            Evidence::Jwt(said) => {
                let theirs = |t: &Trusted| !t.issuer.proves_users && t.issuer.name == said.issuer;
                let (index, trusted) =
                    self.issuers.iter().enumerate().find(|(_, t)| theirs(t)).ok_or(Refusal::Jwt(JwtFault::Issuer))?;
                let until = trusted.validate_claims(&said.claims, now).map_err(Refusal::Jwt)?;
                if !trusted.slot.keys().is_some_and(|keys| keys.knows(said.key_id.as_deref())) {
                    return Err(Refusal::Jwt(JwtFault::KeyUnknown));
                }
                // Claims mean what this policy says they mean.
                let again = Verified {
                    issuer: said.issuer.clone(),
                    key_id: said.key_id.clone(),
                    keys: said.keys,
                    claims: said.claims.clone(),
                    scopes: trusted.scopes(&said.claims),
                };
                Ok(Arc::new(Principal {
                    name: principal.name.clone(),
                    identity: Identity::Issuer(index),
                    valid_until: Some(until),
                    evidence: Evidence::Jwt(Box::new(again)),
                }))
            }
        }
    }

    fn tailnet(seen: Arc<WhoisResult>) -> Arc<Principal> {
        Arc::new(Principal {
            name: Arc::from(seen.peer().name()),
            identity: Identity::Tailnet,
            valid_until: None,
            evidence: Evidence::Tailnet(seen),
        })
    }

    fn known(&self, hash: TokenHash, peer: Option<IpAddr>, now: Timestamp) -> Result<Arc<Principal>, Refusal> {
        if let Some(token) = self.tokens.get(hash) {
            return token.validate(peer, now);
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

fn own_secrets(auth: &GatewayAuth) -> Vec<TokenHash> {
    let required = match auth {
        GatewayAuth::TrustedProxy(told) => told.required_headers.as_slice(),
        GatewayAuth::Token(_) | GatewayAuth::Password(_) | GatewayAuth::None => &[],
    };
    let required = required.iter().map(|(_, value)| TokenHash::of(value.as_bytes()));
    auth.secret().map(Secret::hash).into_iter().chain(required).collect()
}

/// Whether an address is in one of the networks; an IPv4 address in IPv6 clothes counts as IPv4.
pub(crate) fn within(nets: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    nets.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Anonymous, Token};
    use crate::scope::ScopeSet;

    fn token(name: &str, secret: &str) -> Token {
        Token { place: Arc::from("config.toml:1"), ..Token::plain(name, secret) }
    }

    #[test]
    fn a_token_is_graphic_text() {
        let authn = Authenticator::new(&DynamicConfig::closed(), &[]);
        assert!(matches!(authn.bearer(b"abc"), Ok(Credential::Opaque(b"abc"))));
        for bad in [&b""[..], b"a b", b"a\tb", b"a\x7f", b"\xc3\xa9"] {
            assert!(authn.bearer(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_bad_bearer_never_becomes_anonymous() {
        let mut live = DynamicConfig::closed();
        live.anonymous = Some(Anonymous { scopes: ScopeSet::empty(), cidrs: vec!["0.0.0.0/0".parse().unwrap()] });
        live.tokens = vec![token("a", "secret-a")];
        let authn = Authenticator::new(&live, &[]);
        let peer = Some("10.0.0.1".parse().unwrap());
        let now = Timestamp::UNIX_EPOCH;
        let got = |bearer: Option<&'static [u8]>| {
            authn.authenticate(bearer.map_or(Credential::Absent, Credential::Opaque), peer, now)
        };
        assert_eq!(got(Some(b"wrong")).unwrap_err(), Refusal::CredentialUnknown);
        assert_eq!(got(None).unwrap().name(), "anonymous");
        assert_eq!(got(Some(b"secret-a")).unwrap().name(), "a");
    }
}
