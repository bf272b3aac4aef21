//! Keys that live for one run, and tokens signed with them, every byte as the test wants it.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::sync::LazyLock;

pub static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("rsa-1"));
pub static P256: LazyLock<Signer> = LazyLock::new(|| Signer::p256("p256-1"));
pub static P384: LazyLock<Signer> = LazyLock::new(|| Signer::p384("p384-1"));
pub static ED25519: LazyLock<Signer> = LazyLock::new(|| Signer::ed25519("ed-1"));
/// An HMAC secret, long enough for every HS algorithm.
pub const HMAC_SECRET: &str = "an-hmac-secret-with-64-characters-0123456789-abcdefghijklmnopqrst";

/// Base64url without padding.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The claims of an ordinary token of `iss`, good for ten minutes.
pub fn claims(iss: &str) -> Value {
    let now = jiff::Timestamp::now().as_second();
    json!({"iss": iss, "aud": "openclaw", "sub": "alice", "iat": now, "exp": now + 600, "scope": "operator.read"})
}

/// The same with some claims changed; `null` takes one out.
pub fn claims_with(iss: &str, changes: Value) -> Value {
    let mut all = claims(iss);
    let map = all.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            map.remove(name);
        } else {
            map.insert(name.clone(), value.clone());
        }
    }
    all
}

enum Private {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed25519(Ed25519KeyPair),
    Hmac(Vec<u8>),
}

/// Somebody who signs.
pub struct Signer {
    pub id: &'static str,
    private: Private,
}

impl Signer {
    pub fn rsa(id: &'static str) -> Self {
        Self { id, private: Private::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()) }
    }

    pub fn p256(id: &'static str) -> Self {
        let key = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { id, private: Private::Ec(key, "P-256") }
    }

    pub fn p384(id: &'static str) -> Self {
        let key = EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Self { id, private: Private::Ec(key, "P-384") }
    }

    pub fn ed25519(id: &'static str) -> Self {
        Self { id, private: Private::Ed25519(Ed25519KeyPair::generate().unwrap()) }
    }

    pub fn hmac(secret: impl AsRef<[u8]>) -> Self {
        Self { id: "shared", private: Private::Hmac(secret.as_ref().to_vec()) }
    }

    /// The public half, as a JWKS has it.
    pub fn jwk(&self) -> Value {
        match &self.private {
            Private::Rsa(key) => {
                let n = key.public_key().modulus().big_endian_without_leading_zero().to_vec();
                let e = key.public_key().exponent().big_endian_without_leading_zero().to_vec();
                json!({"kty": "RSA", "kid": self.id, "n": b64(n), "e": b64(e)})
            }
            Private::Ec(key, curve) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at((key.public_key().as_ref().len() - 1) / 2);
                json!({"kty": "EC", "kid": self.id, "crv": curve, "x": b64(x), "y": b64(y)})
            }
            Private::Ed25519(key) => {
                json!({"kty": "OKP", "kid": self.id, "crv": "Ed25519", "x": b64(key.public_key())})
            }
            Private::Hmac(secret) => json!({"kty": "oct", "kid": self.id, "k": b64(secret)}),
        }
    }

    /// The same with members added.
    pub fn jwk_with(&self, more: Value) -> Value {
        let mut jwk = self.jwk();
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    }

    /// The public half in PEM.
    pub fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match &self.private {
            Private::Rsa(key) => key.public_key().as_der(),
            Private::Ec(key, _) => key.public_key().as_der(),
            Private::Ed25519(key) => key.public_key().as_der(),
            Private::Hmac(_) => panic!("a secret has no public half"),
        }
        .unwrap();
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// A signature as `algorithm` has it. Of EC keys: that of the curve.
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Rsa(key) => {
                let padding: &dyn signature::RsaEncoding = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    other => panic!("RSA does no {other}"),
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Private::Ec(key, _) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Private::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Private::Hmac(secret) => {
                let hash = match algorithm {
                    "HS256" => hmac::HMAC_SHA256,
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    other => panic!("HMAC does no {other}"),
                };
                hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
            }
        }
    }

    /// A token with an ordinary header.
    pub fn token(&self, algorithm: &str, claims: &Value) -> String {
        let header = json!({"alg": algorithm, "kid": self.id, "typ": "JWT"});
        self.raw(algorithm, &header.to_string(), claims.to_string())
    }

    /// A token with this header and these claims, byte for byte, signed as `algorithm` has it.
    pub fn raw(&self, algorithm: &str, header: &str, claims: impl AsRef<[u8]>) -> String {
        self.over(algorithm, &format!("{}.{}", b64(header), b64(claims)))
    }

    /// This message and its signature.
    pub fn over(&self, algorithm: &str, message: &str) -> String {
        format!("{message}.{}", b64(self.sign(algorithm, message.as_bytes())))
    }
}

/// A JWKS of these keys.
pub fn jwks(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|s| s.jwk()).collect::<Vec<_>>()}).to_string()
}

/// SHA-256, for `x5t#S256` and the like.
pub fn hash(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}
