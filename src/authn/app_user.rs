//! Users on whose behalf an app calls: the app's own token, and beside it what the app says of the user.
//!
//! A token of an app proves [`Identity::App`] alone, which holds nothing. Only what is here makes a user
//! of it, and a user is no principal of any other source: whatever a header says, it never stands for more.

use super::issuer::Trusted;
use super::principal::Evidence;
use super::{Authenticator, Identity, Principal, jwt};
use crate::config::{AppUsers, MissingUser};
use crate::headers::{Repeated, single};
use crate::refusal::{JwtFault, Refusal, UserFault};
use crate::scope::ScopeSet;
use crate::secret::TokenHash;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::sync::Arc;

/// The longest name of a user, and the longest other claim in a header, in bytes.
const LONGEST: usize = 256;

/// The token of an app.
#[derive(Debug, Clone)]
pub(super) struct AppToken {
    /// Its place in the policy's list.
    pub(super) index: usize,
    pub(super) hash: TokenHash,
    /// How the app says for whom it calls.
    pub(super) users: Arc<AppUsers>,
}

/// What an app says of the user.
#[derive(Debug)]
pub struct AppUser {
    /// The app.
    pub(super) app: Arc<Principal>,
    pub(super) token: AppToken,
    pub(super) claims: Map<String, Value>,
    /// The scopes that the claims stand for; those of a header stand for none.
    pub(super) scopes: ScopeSet,
    /// The key of the JWT, and when it was verified.
    pub(super) signed: Option<(Option<String>, Timestamp)>,
}

impl Authenticator {
    /// For whom a caller calls: itself, unless its token is an app's.
    ///
    /// # Errors
    /// [`UserFault`]: the app says nothing of its user, or nothing that counts.
    pub fn on_behalf(
        &self,
        caller: &Arc<Principal>,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Refusal> {
        let Evidence::App(token) = &caller.evidence else { return Ok(caller.clone()) };
        let user = |name, claims, scopes, signed| {
            AppUser { app: caller.clone(), token: token.clone(), claims, scopes, signed }.principal(name)
        };
        match &*token.users {
            AppUsers::Headers { claims, name, missing } => match read(headers, claims, name)? {
                Some((name, claims)) => Ok(user(name, claims, ScopeSet::empty(), None)),
                None if *missing == MissingUser::App => Ok(itself(caller, token)),
                None => Err(fault(UserFault::Missing)),
            },
            AppUsers::Issuer { name, header } => {
                let sent = one(headers, header)?.ok_or(fault(UserFault::Missing))?;
                let sent = std::str::from_utf8(sent).map_err(|_| form(header, "is not a JWT"))?;
                let trusted = self.prover(name).ok_or(fault(UserFault::Changed))?;
                let verified = jwt::parse(sent).map_err(JwtFault::from).and_then(|t| trusted.verify(t, now));
                let (verified, name, _) = verified.map_err(|why| fault(UserFault::Jwt(why)))?;
                Ok(user(name, verified.claims, verified.scopes, Some((verified.key_id, now))))
            }
        }
    }

    /// Whether the app may still call for this user. A JWT proved who asked when it was asked, so its own end
    /// does not count here; the app's token, the issuer and its key do.
    pub(super) fn confirm_user(
        &self,
        said: &AppUser,
        name: &str,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Refusal> {
        let app = self.known(said.token.hash, peer, now)?;
        let Evidence::App(token) = &app.evidence else { return Err(fault(UserFault::Changed)) };
        if token.users != said.token.users {
            return Err(fault(UserFault::Changed));
        }
        let scopes = match (&*token.users, &said.signed) {
            (AppUsers::Issuer { name, .. }, Some((key, seen))) => {
                let trusted = self.prover(name).ok_or(fault(UserFault::Changed))?;
                let claims = trusted.validate_claims(&said.claims, *seen);
                claims.map_err(|why| fault(UserFault::Jwt(why)))?;
                if !trusted.slot.keys().is_some_and(|keys| keys.knows(key.as_deref())) {
                    return Err(fault(UserFault::Jwt(JwtFault::KeyUnknown)));
                }
                trusted.scopes(&said.claims)
            }
            _ => ScopeSet::empty(),
        };
        let (token, claims, signed) = (token.clone(), said.claims.clone(), said.signed.clone());
        Ok(AppUser { app: app.clone(), token, claims, scopes, signed }.principal(name.to_owned()))
    }

    /// The app itself, which called without a user and may.
    pub(super) fn confirm_app(
        &self,
        hash: TokenHash,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Refusal> {
        let app = self.known(hash, peer, now)?;
        match &app.evidence {
            Evidence::App(token) if token.users.missing() == MissingUser::App => Ok(itself(&app, token)),
            Evidence::App(_) => Err(fault(UserFault::Missing)),
            _ => Ok(app),
        }
    }

    /// A user of an app, of whom it says this.
    pub(super) fn simulate_user(
        &self,
        app: &Arc<Principal>,
        mut claims: Map<String, Value>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Refusal> {
        let Evidence::App(token) = &app.evidence else { return Err(fault(UserFault::Changed)) };
        let (name, scopes, signed) = match &*token.users {
            AppUsers::Headers { name, .. } => {
                let Some(name) = claims.get(&**name).and_then(Value::as_str) else {
                    return Err(fault(UserFault::Missing));
                };
                (name.to_owned(), ScopeSet::empty(), None)
            }
            AppUsers::Issuer { name, .. } => {
                let trusted = self.prover(name).ok_or(fault(UserFault::Changed))?;
                trusted.fill(&mut claims, now);
                let named = trusted.validate_claims(&claims, now).and_then(|_| trusted.name(&claims));
                let name = named.map_err(|why| fault(UserFault::Jwt(why)))?;
                (name, trusted.scopes(&claims), Some((None, now)))
            }
        };
        Ok(AppUser { app: app.clone(), token: token.clone(), claims, scopes, signed }.principal(name))
    }

    /// The issuer that proves users.
    fn prover(&self, name: &str) -> Option<&Trusted> {
        self.issuers.iter().find(|t| t.issuer.proves_users && *t.issuer.name == *name)
    }
}

impl Principal {
    /// The issuer that proves for whom an app calls.
    #[must_use]
    pub fn issuer_of_users(&self) -> Option<&str> {
        let Evidence::App(token) = &self.evidence else { return None };
        match &*token.users {
            AppUsers::Issuer { name, .. } => Some(name),
            AppUsers::Headers { .. } => None,
        }
    }
}

impl AppUsers {
    fn missing(&self) -> MissingUser {
        match self {
            Self::Headers { missing, .. } => *missing,
            Self::Issuer { .. } => MissingUser::Refuse,
        }
    }
}

impl AppUser {
    fn principal(self, name: String) -> Arc<Principal> {
        Arc::new(Principal {
            name: Arc::from(name),
            identity: Identity::AppUser(self.token.index),
            valid_until: self.app.valid_until,
            evidence: Evidence::AppUser(Box::new(self)),
        })
    }
}

/// The app under its own name.
fn itself(app: &Principal, token: &AppToken) -> Arc<Principal> {
    Arc::new(Principal {
        name: app.name.clone(),
        identity: Identity::Token(token.index),
        valid_until: app.valid_until,
        evidence: Evidence::AppItself(token.hash),
    })
}

/// The user's name and the claims that headers are; `None`: none of them is there.
type Said = Option<(String, Map<String, Value>)>;

fn read(headers: &HeaderMap, known: &[(Arc<str>, HeaderName)], name: &str) -> Result<Said, Refusal> {
    let mut claims = Map::new();
    for (claim, header) in known {
        let Some(value) = one(headers, header)? else { continue };
        let text = std::str::from_utf8(value).map_err(|_| form(header, "is not UTF-8"))?;
        // Repeated lines are joined by commas on the way, and a list names nobody.
        if **claim == *name && text.contains(',') {
            return Err(form(header, "names several"));
        }
        if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
            return Err(form(header, "is empty, or holds blanks at its ends or control characters"));
        }
        if text.len() > LONGEST {
            return Err(form(header, "is longer than 256 bytes"));
        }
        claims.insert(claim.to_string(), Value::from(text));
    }
    let named = claims.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    match (named, known.iter().find(|(claim, _)| **claim == *name)) {
        (Some(name), _) => Ok(Some((name, claims))),
        (None, Some((_, header))) if !claims.is_empty() => Err(form(header, "is missing beside others")),
        (None, _) => Ok(None),
    }
}

/// The one line of a header.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, Refusal> {
    let sent = single(headers, name).map_err(|Repeated| form(name, "was sent more than once"))?;
    Ok(sent.map(http::HeaderValue::as_bytes))
}

fn fault(fault: UserFault) -> Refusal {
    Refusal::User(fault)
}

fn form(header: &HeaderName, why: &'static str) -> Refusal {
    fault(UserFault::Form { header: header.to_string(), why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const EMAIL: HeaderName = HeaderName::from_static("x-openwebui-user-email");
    const ROLE: HeaderName = HeaderName::from_static("x-openwebui-user-role");

    fn known() -> Vec<(Arc<str>, HeaderName)> {
        vec![("email".into(), EMAIL), ("role".into(), ROLE)]
    }

    fn map(lines: &[(HeaderName, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name.clone(), HeaderValue::from_bytes(value).unwrap());
        }
        map
    }

    fn said(lines: &[(HeaderName, &[u8])]) -> Result<Option<String>, Refusal> {
        read(&map(lines), &known(), "email").map(|said| said.map(|(name, _)| name))
    }

    #[test]
    fn one_plain_name_is_a_user_and_anything_else_is_refused() {
        assert_eq!(said(&[(EMAIL, b"alice@example.org"), (ROLE, b"user")]), Ok(Some("alice@example.org".to_owned())));
        assert_eq!(said(&[(EMAIL, "zoë@example.org".as_bytes())]), Ok(Some("zoë@example.org".to_owned())));
        assert_eq!(said(&[]), Ok(None));
        let long = "a".repeat(257);
        let bad: &[&[(HeaderName, &[u8])]] = &[
            &[(EMAIL, b"alice"), (EMAIL, b"alice")],
            &[(EMAIL, b"alice"), (EMAIL, b"bob")],
            &[(EMAIL, b"alice, bob")],
            &[(EMAIL, b"")],
            &[(EMAIL, b"al\xff")],
            &[(EMAIL, b"a\tb")],
            &[(EMAIL, "\u{a0}alice".as_bytes())],
            &[(EMAIL, long.as_bytes())],
            &[(ROLE, b"admin")],
            &[(EMAIL, b"alice"), (ROLE, b"user"), (ROLE, b"admin")],
        ];
        for lines in bad {
            assert!(matches!(said(lines), Err(Refusal::User(UserFault::Form { .. }))), "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_lines_name_the_one_user_they_hold_or_nobody(
            lines in prop::collection::vec((any::<bool>(), prop::collection::vec(0x20u8..=0xff, 0..20)), 0..4)
        ) {
            let mut headers = HeaderMap::new();
            for (email, value) in &lines {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    headers.append(if *email { EMAIL } else { ROLE }, value);
                }
            }
            if let Ok(Some((name, claims))) = read(&headers, &known(), "email") {
                prop_assert_eq!(headers.get_all(EMAIL).iter().count(), 1);
                prop_assert_eq!(headers.get(EMAIL).unwrap().as_bytes(), name.as_bytes());
                prop_assert_eq!(claims.len(), headers.len());
                prop_assert!(!name.is_empty() && !name.contains(',') && name.len() <= LONGEST);
            }
        }
    }
}
