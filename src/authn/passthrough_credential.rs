//! The credential that a client has at the gateway itself, for routes that pass it on: a webhook's token, another
//! agent's. Nothing is proven by it here.

use super::{Authenticator, Credential, jwt};
use crate::headers::{Repeated, single};
use crate::refusal::Refusal;
use crate::secret::TokenHash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// Where the gateway's own routes look for one, beside `Authorization`.
const GATEWAY_TOKEN: HeaderName = HeaderName::from_static("x-openclaw-token");

/// A client's own credential, as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PassthroughCredential(Vec<(HeaderName, HeaderValue)>);

impl PassthroughCredential {
    /// Takes it out of a head.
    ///
    /// # Errors
    /// When a line is there twice: the gateway takes the first (contract §4), other servers another.
    pub fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut own = Vec::new();
        for name in [AUTHORIZATION, GATEWAY_TOKEN] {
            let sent = single(headers, &name)
                .map_err(|Repeated| Refusal::CredentialForm("a header that carries the credential was sent twice"))?;
            if let Some(value) = sent {
                let mut value = value.clone();
                value.set_sensitive(true);
                own.push((name, value));
            }
        }
        Ok(Self(own))
    }

    /// The lines that carry it.
    #[must_use]
    pub fn lines(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0
    }

    /// A number for it that tells nothing about it; `None`: there is none.
    #[must_use]
    pub fn fingerprint(&self) -> Option<TokenHash> {
        let all: Vec<&[u8]> = self.0.iter().map(|(_, value)| value.as_bytes()).collect();
        (!all.is_empty()).then(|| TokenHash::of(&Zeroizing::new(all.join(&b'\n'))))
    }
}

impl Authenticator {
    /// Whether a credential is for this proxy: one of its tokens, the gateway's own secret, or a JWT of one of
    /// its issuers, in whatever form.
    #[must_use]
    pub fn is_for_this_proxy(&self, own: &PassthroughCredential) -> bool {
        own.0.iter().any(|(_, value)| self.holds_own(value.as_bytes()))
    }

    fn holds_own(&self, value: &[u8]) -> bool {
        let value = value.trim_ascii();
        let (_, rest) = value.split_at(value.iter().position(u8::is_ascii_whitespace).unwrap_or(0));
        let rest = rest.trim_ascii();
        let pair = STANDARD.decode(rest).map(Zeroizing::new).unwrap_or_default();
        let password = pair.split_at_checked(pair.iter().position(|b| *b == b':').map_or(0, |at| at + 1));
        let password = password.map(|(_, password)| password).unwrap_or_default();
        [value, rest, password].into_iter().filter(|token| !token.is_empty()).any(|token| self.is_own(token))
    }

    fn is_own(&self, token: &[u8]) -> bool {
        let hash = TokenHash::of(token);
        let of_issuer = || {
            let text = std::str::from_utf8(token).ok().filter(|_| jwt::looks_like_jwt(token));
            text.is_some_and(|text| self.issuer_of(Credential::Jwt(text, None)).is_some())
        };
        self.tokens.get(hash).is_some() || self.own_secrets.contains(&hash) || of_issuer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DynamicConfig, GatewayAuth, Token};
    use crate::headers::map;
    use crate::secret::Secret;
    use proptest::prelude::*;

    const TOKEN: &str = "a-token-of-this-proxy";
    const SECRET: &str = "the-secret-of-the-gateway";

    fn authenticator() -> Authenticator {
        let token = Token { expires: Some(jiff::Timestamp::UNIX_EPOCH), ..Token::plain("a", TOKEN) };
        let live = DynamicConfig {
            tokens: vec![token],
            gateway_auth: GatewayAuth::Token(Secret::parse(SECRET).unwrap()),
            ..DynamicConfig::closed()
        };
        Authenticator::new(&live, &[])
    }

    #[test]
    fn a_line_that_is_there_twice_is_refused() {
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert!(PassthroughCredential::read(&map(&twice)).is_err());
        let both = [("authorization", "Bearer a"), ("x-openclaw-token", "b"), ("cookie", "c")];
        let own = PassthroughCredential::read(&map(&both)).unwrap();
        assert_eq!(own.lines().len(), 2);
        assert!(!format!("{own:?}").contains("Bearer a"), "{own:?}");
        assert!(PassthroughCredential::read(&map(&[])).unwrap().fingerprint().is_none());
    }

    proptest! {
        /// Whatever the line is made of, one that holds a secret of ours is known.
        #[test]
        fn no_secret_of_ours_passes_for_a_client_s_own(
            secret in prop::sample::select(&[TOKEN, SECRET]), scheme in "(|Bearer|bearer|Token|Basic)", blanks in "[ \t]{1,3}",
            basic in any::<bool>(), name in prop::sample::select(&["authorization", "x-openclaw-token"]), user in "[a-z]{0,5}",
        ) {
            let token = if basic { STANDARD.encode(format!("{user}:{secret}")) } else { secret.to_owned() };
            let scheme = if basic && scheme.is_empty() { "Basic".to_owned() } else { scheme };
            let line = if scheme.is_empty() { token } else { format!("{scheme}{blanks}{token}") };
            let own = PassthroughCredential::read(&map(&[(name, &line)])).unwrap();
            prop_assert!(authenticator().is_for_this_proxy(&own), "{line}");
        }

        #[test]
        fn any_line_is_looked_at(line in "[ -~\t]{0,60}") {
            let own = PassthroughCredential::read(&map(&[("authorization", line.trim())])).unwrap();
            prop_assert!(!authenticator().is_for_this_proxy(&own) || line.contains(TOKEN) || line.contains(SECRET));
        }
    }
}
