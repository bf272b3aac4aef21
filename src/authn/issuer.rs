//! One issuer: from a token that claims to be its, to what it truly says.

use super::claims;
use super::jwt::Unverified;
use crate::config::Issuer;
use crate::jwks::KeySlot;
use crate::refusal::JwtFault;
use crate::scope::ScopeSet;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The latest moment a claim may name, in seconds since 1970: the year 9999.
const LATEST: f64 = 253_402_300_799.0;

/// An issuer and where its present keys are.
#[derive(Debug)]
pub(crate) struct Trusted {
    pub(crate) issuer: Issuer,
    pub(crate) slot: Arc<KeySlot>,
}

/// What a token truly says.
#[derive(Debug)]
pub struct Verified {
    /// The issuer's name here.
    pub issuer: Arc<str>,
    /// The key it was signed with, if it says so.
    pub key_id: Option<String>,
    /// The number of the issuer's keys that verified it.
    pub keys: u64,
    /// Its claims.
    pub claims: Map<String, Value>,
    /// The scopes its claims stand for, within the issuer's `max_scopes`.
    pub scopes: ScopeSet,
}

impl Trusted {
    /// Verifies a token and checks its claims. The signature comes first: only who holds a true
    /// token is told what is wrong with it.
    pub(crate) fn verify(
        &self,
        token: Unverified<'_>,
        now: Timestamp,
    ) -> Result<(Verified, String, Timestamp), JwtFault> {
        // Read before the keys are: keys that change meanwhile make this stale, not wrong.
        let keys = self.slot.version();
        self.verify_signature(&token)?;
        if !self.accepts_type(token.typ.as_deref()) {
            return Err(JwtFault::Type);
        }
        let valid_until = self.validate_claims(&token.claims, now)?;
        let name = self.name(&token.claims)?;
        let scopes = self.scopes(&token.claims);
        let verified =
            Verified { issuer: self.issuer.name.clone(), key_id: token.key_id, keys, claims: token.claims, scopes };
        Ok((verified, name, valid_until))
    }

    fn verify_signature(&self, token: &Unverified<'_>) -> Result<(), JwtFault> {
        if !self.issuer.algorithms.contains(&token.algorithm) {
            return Err(JwtFault::Algorithm);
        }
        let keys = self.slot.keys().ok_or(JwtFault::KeysUnavailable)?;
        let mut tried = false;
        for key in keys.candidates(token.key_id.as_deref(), token.algorithm) {
            tried = true;
            if key.verifies(token.signature, token.message.as_bytes(), token.algorithm) {
                return Ok(());
            }
        }
        Err(if tried { JwtFault::Signature } else { JwtFault::KeyUnknown })
    }

    /// RFC 9068 and others write `application/at+jwt` or `at+jwt` for the same. Where the policy names no
    /// types, a token of a kind of its own (`logout+jwt`, `secevent+jwt`, `dpop+jwt`) is no access token
    /// (RFC 8725 §3.11).
    fn accepts_type(&self, typ: Option<&str>) -> bool {
        let short = |t: &str| t.strip_prefix("application/").unwrap_or(t).to_owned();
        match typ {
            None => self.issuer.typ.is_empty(),
            Some(typ) if self.issuer.typ.is_empty() => matches!(&*short(typ), "jwt" | "at+jwt" | "jose"),
            Some(typ) => self.issuer.typ.iter().any(|accepted| short(accepted) == short(typ)),
        }
    }

    /// `iss`, `aud`, `exp` and `sub` must be there and of the right type; `nbf` and `iat` where they
    /// are. Returns until when the token is good.
    pub(crate) fn validate_claims(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, JwtFault> {
        let leeway = jiff::SignedDuration::try_from(self.issuer.leeway).unwrap_or_default();
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer.issuer) {
            return Err(JwtFault::Issuer);
        }
        if !self.is_for_us(claims.get("aud"))? {
            return Err(JwtFault::Audience);
        }
        let expires = moment(claims, "exp")?.ok_or(JwtFault::Claim("exp"))?;
        let until = expires.saturating_add(leeway).unwrap_or(expires);
        if now >= until {
            return Err(JwtFault::Expired(expires));
        }
        if let Some(from) = moment(claims, "nbf")?
            && now < from.saturating_sub(leeway).unwrap_or(from)
        {
            return Err(JwtFault::NotYetValid(from));
        }
        // A token that will only be made: its issuer's clock is wrong, or it was not made by the issuer.
        if let Some(made) = moment(claims, "iat")?
            && now < made.saturating_sub(leeway).unwrap_or(made)
        {
            return Err(JwtFault::NotYetValid(made));
        }
        match claims.get("sub") {
            Some(Value::String(sub)) if !sub.is_empty() || self.issuer.empty_subject => Ok(until),
            None if self.issuer.empty_subject => Ok(until),
            _ => Err(JwtFault::Claim("sub")),
        }
    }

    fn is_for_us(&self, aud: Option<&Value>) -> Result<bool, JwtFault> {
        if self.issuer.proves_users && self.issuer.audiences.is_empty() {
            return Ok(aud.is_none());
        }
        let ours = |a: &str| self.issuer.audiences.iter().any(|own| own == a);
        match aud {
            Some(Value::String(one)) => Ok(ours(one)),
            Some(Value::Array(all)) if all.iter().all(Value::is_string) => {
                Ok(all.iter().filter_map(Value::as_str).any(ours))
            }
            _ => Err(JwtFault::Claim("aud")),
        }
    }

    pub(crate) fn name(&self, claims: &Map<String, Value>) -> Result<String, JwtFault> {
        let verified = claims.get("email_verified") == Some(&Value::Bool(true));
        let candidates = self.issuer.name_claims.iter().filter_map(|name| {
            let text = claims::at(claims, &name.path).and_then(Value::as_str)?;
            let fits = !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control);
            fits.then_some((text, name.verified_email && !verified))
        });
        let mut missing = "name";
        for (text, is_unverified) in candidates {
            if !is_unverified {
                return Ok(text.to_owned());
            }
            missing = "email_verified";
        }
        Err(JwtFault::Claim(missing))
    }

    pub(crate) fn scopes(&self, claims: &Map<String, Value>) -> ScopeSet {
        let named =
            self.issuer.scope_claims.iter().filter_map(|path| claims::at(claims, path)).flat_map(claims::scopes);
        let roles = self.issuer.roles_claim.iter().filter_map(|path| claims::at(claims, path)).flat_map(claims::texts);
        let mapped = roles.filter_map(|role| self.issuer.role_scopes.get(&role)).flat_map(ScopeSet::iter).cloned();
        let bounded = |scope: &crate::scope::Scope| match &self.issuer.max_scopes {
            Some(scope_limit) => scope_limit.satisfies(scope),
            // `openid`, `profile` and the like are the issuer's own affair.
            None => scope.as_str().starts_with("operator."),
        };
        named.filter(bounded).chain(mapped.filter(bounded)).collect()
    }
}

/// A NumericDate (RFC 7519 §2): a number, not a text; fractions are cut off.
fn moment(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, JwtFault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|s| (0.0..=LATEST).contains(s)).ok_or(JwtFault::Claim(name))?;
    #[expect(clippy::cast_possible_truncation, reason = "bounded above, and fractions are meant to go")]
    Timestamp::from_second(seconds as i64).map(Some).map_err(|_| JwtFault::Claim(name))
}
