//! One key, ready to verify: a public key is parsed when it comes, not again for each signature.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey};

/// What verifies signatures with one key.
#[derive(Clone)]
pub struct Verifier {
    key: DecodingKey,
    /// The key as each of its algorithms wants it; nothing for HMAC, whose keys need no parsing.
    parsed: Vec<(Algorithm, ParsedPublicKey)>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// A key that a JWK describes.
    pub(super) fn jwk(key: DecodingKey, jwk: &Jwk, algorithms: &[Algorithm]) -> Self {
        match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                let numbers = rsa_numbers(&rsa.n, &rsa.e);
                Self::new(key, algorithms, |of| numbers.as_ref()?.to_parsed_public_key(rsa_parameters(of)?).ok())
            }
            _ => Self::of(key, algorithms),
        }
    }

    /// A key as jsonwebtoken holds it: for RSA in DER, for curves the point.
    pub(super) fn of(key: DecodingKey, algorithms: &[Algorithm]) -> Self {
        let bytes = key.try_get_as_bytes().map(<[u8]>::to_vec);
        Self::new(key, algorithms, |of| ParsedPublicKey::new(parameters(of)?, bytes.as_ref().ok()?).ok())
    }

    fn new(key: DecodingKey, algorithms: &[Algorithm], parse: impl Fn(Algorithm) -> Option<ParsedPublicKey>) -> Self {
        let parsed = algorithms.iter().filter_map(|of| Some((*of, parse(*of)?))).collect();
        Self { key, parsed }
    }

    /// Whether `signature`, in base64url, is this key's signature of `message`.
    #[must_use]
    pub fn verifies(&self, signature: &str, message: &[u8], algorithm: Algorithm) -> bool {
        match self.parsed.iter().find(|(of, _)| *of == algorithm) {
            Some((_, key)) => {
                URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| key.verify_sig(message, &signature).is_ok())
            }
            None => matches!(jsonwebtoken::crypto::verify(signature, message, &self.key, algorithm), Ok(true)),
        }
    }
}

/// Modulus and exponent.
type RsaNumbers = RsaPublicKeyComponents<Vec<u8>>;

/// The numbers of a JWK. Some issuers write them with zeros in front, which RFC 7518 §2 forbids.
fn rsa_numbers(n: &str, e: &str) -> Option<RsaNumbers> {
    let number = |text: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
    };
    Some(RsaPublicKeyComponents { n: number(n)?, e: number(e)? })
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn parameters(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &ED25519,
        _ => rsa_parameters(algorithm)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_public_key_is_parsed_when_it_comes() {
        let n = URL_SAFE_NO_PAD.encode([0xab; 256]);
        let with_zero = URL_SAFE_NO_PAD.encode([&[0][..], &[0xab; 256]].concat());
        let keys = [
            (format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"}}"#), Algorithm::RS256),
            (format!(r#"{{"kty":"RSA","n":"{with_zero}","e":"AQAB"}}"#), Algorithm::PS512),
            (
                r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#
                    .to_owned(),
                Algorithm::ES256,
            ),
            (
                r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#.to_owned(),
                Algorithm::EdDSA,
            ),
        ];
        for (text, algorithm) in keys {
            let jwk: Jwk = serde_json::from_str(&text).unwrap();
            let verifier = Verifier::jwk(DecodingKey::from_jwk(&jwk).unwrap(), &jwk, &[algorithm]);
            assert_eq!(verifier.parsed.len(), 1, "{text}");
            assert!(!verifier.verifies("c2ln", b"a.b", algorithm));
        }
    }
}
