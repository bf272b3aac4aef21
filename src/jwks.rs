//! Verification keys of JWT issuers, each fit for named algorithms and nothing else.

mod verifier;

pub use verifier::Verifier;

use crate::secret::Secret;
use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest JWKS read, in bytes. Real ones have a few KiB.
pub const MAX_JWKS: usize = 512 * 1024;
/// The most keys kept of one JWKS.
const MAX_KEYS: usize = 100;
/// The shortest RSA modulus, in bytes: 2048 bits (RFC 7518 §3.3).
const MIN_RSA: usize = 256;
/// The most keys tried for a token that names none.
const MAX_TRIED: usize = 8;

const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// One key.
#[derive(Clone)]
pub struct Key {
    id: Option<Box<str>>,
    /// What it may verify: one algorithm where the issuer says which, else its family.
    algorithms: Vec<Algorithm>,
    verifier: Verifier,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

/// The keys of one issuer at one time.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Key>);

/// Why a text gives no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It is no JWKS.
    #[error("this is not a JWKS: {0}")]
    Syntax(String),
    /// It is larger than [`MAX_JWKS`].
    #[error("a JWKS of more than {MAX_JWKS} bytes")]
    TooLarge,
    /// No key in it can verify anything here.
    #[error("none of its {0} keys can verify a signature here")]
    NoneUsable(usize),
    /// It is an RSA key of fewer than 2048 bits.
    #[error("an RSA key of fewer than 2048 bits")]
    Short,
    /// It is no public key in PEM.
    #[error("this is not a public key in PEM")]
    Pem,
}

impl KeySet {
    /// Reads a JWKS (RFC 7517 §5). Keys of other kinds or for other uses are left out.
    ///
    /// # Errors
    /// [`KeyFault`] when it is none, or holds no usable key.
    pub fn jwks(text: &str) -> Result<Self, KeyFault> {
        if text.len() > MAX_JWKS {
            return Err(KeyFault::TooLarge);
        }
        let set: JwkSet = serde_json::from_str(text).map_err(|e| KeyFault::Syntax(e.to_string()))?;
        let keys: Vec<Key> = set.keys.iter().filter_map(usable).take(MAX_KEYS).collect();
        if keys.is_empty() { Err(KeyFault::NoneUsable(set.keys.len())) } else { Ok(Self(keys)) }
    }

    /// Reads one public key in PEM: RSA, P-256, P-384 or Ed25519.
    ///
    /// # Errors
    /// [`KeyFault::Pem`], or [`KeyFault::Short`].
    pub fn pem(text: &str) -> Result<Self, KeyFault> {
        let pem = text.as_bytes();
        let (key, algorithms) = if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
            let modulus = key.try_get_as_bytes().ok().and_then(modulus).ok_or(KeyFault::Pem)?;
            if significant(modulus) < MIN_RSA {
                return Err(KeyFault::Short);
            }
            (key, RSA.to_vec())
        } else if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            // An uncompressed point has 1 + 2 × 32 bytes on P-256, 1 + 2 × 48 on P-384.
            let algorithm = match key.try_get_as_bytes().map(<[u8]>::len) {
                Ok(65) => Algorithm::ES256,
                Ok(97) => Algorithm::ES384,
                _ => return Err(KeyFault::Pem),
            };
            (key, vec![algorithm])
        } else if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            (key, vec![Algorithm::EdDSA])
        } else {
            return Err(KeyFault::Pem);
        };
        Ok(Self(vec![Key { id: None, verifier: Verifier::of(key, &algorithms), algorithms }]))
    }

    /// A shared HMAC secret.
    #[must_use]
    pub fn secret(secret: &Secret) -> Self {
        Self(vec![Key {
            id: None,
            algorithms: vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
            verifier: Verifier::of(DecodingKey::from_secret(secret.expose().as_bytes()), &[]),
        }])
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys to try for a token that names `id` and `algorithm`. A key that names itself serves
    /// only tokens that name it too, or none.
    pub fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Verifier> {
        self.0
            .iter()
            .filter(move |key| match (id, key.id.as_deref()) {
                (Some(asked), Some(own)) => asked == own,
                _ => true,
            })
            .filter(move |key| key.algorithms.contains(&algorithm))
            .take(MAX_TRIED)
            .map(|key| &key.verifier)
    }

    /// Whether a key with this name exists, or one without a name.
    #[must_use]
    pub fn knows(&self, id: Option<&str>) -> bool {
        match id {
            None => !self.0.is_empty(),
            Some(id) => self.0.iter().any(|key| key.id.as_deref().is_none_or(|own| own == id)),
        }
    }
}

fn usable(jwk: &Jwk) -> Option<Key> {
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|u| *u != PublicKeyUse::Signature) {
        return None;
    }
    if common.key_operations.as_ref().is_some_and(|ops| !ops.contains(&KeyOperations::Verify)) {
        return None;
    }
    let family: Vec<Algorithm> = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
            if significant(&modulus) < MIN_RSA {
                return None;
            }
            RSA.to_vec()
        }
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
        // A symmetric key in a public document is no key.
        _ => return None,
    };
    let algorithms = match common.key_algorithm {
        None => family,
        Some(named) => vec![family.into_iter().find(|a| of(*a) == Some(named))?],
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    let verifier = Verifier::jwk(key, jwk, &algorithms);
    Some(Key { id: common.key_id.as_deref().map(Into::into), algorithms, verifier })
}

/// How long a number is without the zeros in front.
fn significant(number: &[u8]) -> usize {
    number.iter().skip_while(|byte| **byte == 0).count()
}

/// The first number of an RSAPublicKey in DER (RFC 8017 §A.1.1). In a private key that is its version,
/// which is a short one.
fn modulus(der: &[u8]) -> Option<&[u8]> {
    element(0x02, element(0x30, der)?)
}

/// The content of the element of this type that stands first.
fn element(tag: u8, der: &[u8]) -> Option<&[u8]> {
    let (found, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    (*found == tag).then(|| rest.get(..length))?
}

/// A JWK's name for an algorithm.
fn of(algorithm: Algorithm) -> Option<KeyAlgorithm> {
    Some(match algorithm {
        Algorithm::HS256 => KeyAlgorithm::HS256,
        Algorithm::HS384 => KeyAlgorithm::HS384,
        Algorithm::HS512 => KeyAlgorithm::HS512,
        Algorithm::RS256 => KeyAlgorithm::RS256,
        Algorithm::RS384 => KeyAlgorithm::RS384,
        Algorithm::RS512 => KeyAlgorithm::RS512,
        Algorithm::PS256 => KeyAlgorithm::PS256,
        Algorithm::PS384 => KeyAlgorithm::PS384,
        Algorithm::PS512 => KeyAlgorithm::PS512,
        Algorithm::ES256 => KeyAlgorithm::ES256,
        Algorithm::ES384 => KeyAlgorithm::ES384,
        Algorithm::EdDSA => KeyAlgorithm::EdDSA,
        _ => return None,
    })
}

/// The place where an issuer's present keys are found; filled from outside.
#[derive(Debug, Default)]
pub struct KeySlot {
    keys: ArcSwapOption<KeySet>,
    /// Counts every change, so that what was verified with older keys can be told.
    version: AtomicU64,
    /// Seconds since 1970 when the keys were last confirmed; 0: never.
    confirmed: AtomicU64,
}

impl KeySlot {
    /// A slot with keys that never change.
    #[must_use]
    pub fn fixed(keys: KeySet) -> Self {
        let slot = Self::default();
        slot.put(keys, Timestamp::now());
        slot
    }

    /// The present keys; `None` until there are any.
    #[must_use]
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    /// The number of the present keys.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// When the issuer last confirmed them.
    #[must_use]
    pub fn confirmed(&self) -> Option<Timestamp> {
        let at = i64::try_from(self.confirmed.load(Ordering::Relaxed)).ok().filter(|at| *at > 0)?;
        Timestamp::from_second(at).ok()
    }

    /// Puts new keys in place.
    pub fn put(&self, keys: KeySet, now: Timestamp) {
        self.keys.store(Some(Arc::new(keys)));
        self.version.fetch_add(1, Ordering::AcqRel);
        self.confirm(now);
    }

    /// The keys are still the right ones.
    pub fn confirm(&self, now: Timestamp) {
        self.confirmed.store(u64::try_from(now.as_second()).unwrap_or_default(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;

    fn set(keys: &[String]) -> Result<KeySet, KeyFault> {
        KeySet::jwks(&format!("{{\"keys\":[{}]}}", keys.join(",")))
    }

    #[test]
    fn keys_for_other_uses_are_left_out() {
        for extra in [r#","use":"enc"}"#, r#","key_ops":["sign"]}"#, r#","alg":"ES384"}"#, r#","alg":"RS256"}"#] {
            assert_eq!(set(&[format!("{EC}{extra}")]).unwrap_err(), KeyFault::NoneUsable(1), "{extra}");
        }
        for extra in ["}", r#","use":"sig"}"#, r#","key_ops":["verify"]}"#, r#","alg":"ES256","kid":"a"}"#] {
            assert_eq!(set(&[format!("{EC}{extra}")]).unwrap().len(), 1, "{extra}");
        }
    }

    #[test]
    fn symmetric_short_and_unknown_keys_are_left_out_and_the_rest_kept() {
        let keys = [
            r#"{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0","alg":"HS256"}"#.to_owned(),
            format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, "q".repeat(172)),
            r#"{"kty":"OKP","crv":"X25519","x":"hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"}"#.to_owned(),
            r#"{"kty":"brand-new","crv":"Q-1"}"#.to_owned(),
            format!("{EC}}}"),
        ];
        assert_eq!(set(&keys).unwrap().len(), 1);
    }

    #[test]
    fn a_short_rsa_key_is_refused_in_every_clothing() {
        let short = include_str!("../tests/it/rfc8725/rsa-1024.pem");
        assert_eq!(KeySet::pem(short).unwrap_err(), KeyFault::Short);
        let padded = URL_SAFE_NO_PAD.encode([[0; 128], [0xab; 128]].concat());
        let jwk = format!(r#"{{"kty":"RSA","n":"{padded}","e":"AQAB"}}"#);
        assert_eq!(set(&[jwk]).unwrap_err(), KeyFault::NoneUsable(1));
        assert_eq!(modulus(&[0x30, 0x82, 0xff, 0xff, 2, 1, 1]), None);
        assert_eq!(modulus(&[0x30, 3, 2, 0x84, 1]), None);
        assert_eq!(modulus(&[0x30, 6, 2, 0x81, 2, 5, 6, 7]), Some(&[5, 6][..]));
    }

    #[test]
    fn a_key_serves_only_what_it_is_for() {
        let keys = set(&[format!(r#"{EC},"kid":"a"}}"#), format!(r#"{EC},"kid":"b"}}"#)]).unwrap();
        assert_eq!(keys.candidates(Some("a"), Algorithm::ES256).count(), 1);
        assert_eq!(keys.candidates(Some("c"), Algorithm::ES256).count(), 0);
        assert_eq!(keys.candidates(None, Algorithm::ES256).count(), 2);
        assert_eq!(keys.candidates(Some("a"), Algorithm::HS256).count(), 0);
        assert!(keys.knows(Some("a")) && !keys.knows(Some("c")));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = KeySet::jwks(&text);
            let _ = KeySet::pem(&text);
        }

        #[test]
        fn any_bytes_are_measured_or_not(der in prop::collection::vec(any::<u8>(), 0..40)) {
            let found = modulus(&der);
            prop_assert!(found.is_none_or(|n| n.len() < der.len()));
        }
    }
}
