//! Tokens that were verified a moment ago: remembered, and never for too long.

use crate::support::signer::{P256, RSA, Signer, claims, claims_with, jwks};
use crate::support::{ISS, Judge};
use jiff::Timestamp;
use scopeshim::jwks::KeySet;
use scopeshim::metric_labels::Label as _;
use serde_json::json;

/// With and without remembering.
const BOTH: [&str; 2] = ["", "[policy]\njwt_cache = 0"];

fn put(judge: &Judge, signers: &[&Signer]) {
    judge.slot().put(KeySet::jwks(&jwks(signers)).unwrap(), Timestamp::now());
}

#[test]
fn a_token_past_its_end_is_not_remembered() {
    for policy in BOTH {
        let judge = Judge::of(&[&P256], &format!("leeway = \"0s\"\n{policy}"));
        let text = P256.token("ES256", &claims_with(ISS, json!({"exp": 2_000_000_000, "iat": 0})));
        let line = format!("Bearer {text}");
        let at = |second: i64| {
            let moment = Timestamp::from_second(second).unwrap();
            judge.at(&[("authorization", &line)], moment).map_or_else(|r| r.code().as_str(), |_| "ok")
        };
        assert_eq!(at(1_999_999_999), "ok");
        assert_eq!(at(1_999_999_999), "ok");
        assert_eq!(at(2_000_000_000), "jwt_expired", "{policy}");
        assert_eq!(at(1_999_999_999), "ok", "its time again, by a clock that was set back");
    }
}

#[test]
fn a_token_before_its_begin_is_not_remembered_from_later() {
    for policy in BOTH {
        let judge = Judge::of(&[&P256], &format!("leeway = \"0s\"\n{policy}"));
        let text =
            P256.token("ES256", &claims_with(ISS, json!({"nbf": 1_900_000_000, "exp": 2_000_000_000, "iat": 0})));
        let line = format!("Bearer {text}");
        let at = |second: i64| {
            let moment = Timestamp::from_second(second).unwrap();
            judge.at(&[("authorization", &line)], moment).map_or_else(|r| r.code().as_str(), |_| "ok")
        };
        assert_eq!(at(1_950_000_000), "ok");
        assert_eq!(at(1_899_999_999), "jwt_not_yet_valid", "the clock was set back: {policy}");
        assert_eq!(at(1_950_000_000), "ok");
    }
}

#[test]
fn a_token_of_a_key_that_is_gone_is_not_remembered() {
    for policy in BOTH {
        let judge = Judge::of(&[&P256], policy);
        let text = P256.token("ES256", &claims(ISS));
        assert_eq!((judge.verdict(&text), judge.verdict(&text)), ("ok", "ok"));
        put(&judge, &[&RSA]);
        assert_eq!(judge.verdict(&text), "jwt_key_unknown", "{policy}");
        // The same name is not the same key.
        put(&judge, &[&Signer::p256("p256-1")]);
        assert_eq!(judge.verdict(&text), "jwt_signature", "{policy}");
        put(&judge, &[&RSA, &P256]);
        assert_eq!(judge.verdict(&text), "ok", "{policy}");
    }
}

#[test]
fn a_policy_without_the_issuer_or_with_other_rules_remembers_nothing() {
    let text = P256.token("ES256", &claims(ISS));
    let first = Judge::of(&[&P256], "");
    let proven = first.bearer(&text).unwrap();
    let peer = None;
    let without = Judge::of_tables(&[], "[anonymous]\nscopes = [\"operator.read\"]\n");
    // Where there is no issuer, a JWT is a bearer token that nobody knows.
    assert_eq!(without.verdict(&text), "credential_unknown");
    let refused = without.policy.confirm(&proven.principal, peer, Timestamp::now()).unwrap_err();
    assert_eq!(refused.code(), "jwt_issuer");
    let other = Judge::of(&[&P256], "max_scopes = []");
    let confirmed = other.policy.confirm(&proven.principal, peer, Timestamp::now()).unwrap();
    assert!(confirmed.principal.verified().unwrap().scopes.is_empty(), "scopes of the policy before");
    let pinned = Judge::of_jwks(&jwks(&[&RSA]), "");
    let refused = pinned.policy.confirm(&proven.principal, peer, Timestamp::now()).unwrap_err();
    assert_eq!(refused.code(), "jwt_key_unknown");
}

#[test]
fn every_token_is_remembered_for_itself() {
    for policy in BOTH {
        let judge = Judge::of(&[&P256], policy);
        let one = P256.token("ES256", &claims_with(ISS, json!({"sub": "one", "scope": "operator.read"})));
        let two = P256.token("ES256", &claims_with(ISS, json!({"sub": "two", "scope": "operator.write"})));
        for _ in 0..3 {
            assert_eq!((judge.name(&one), judge.scopes(&one)), ("one".into(), "operator.read".into()));
            assert_eq!((judge.name(&two), judge.scopes(&two)), ("two".into(), "operator.write".into()));
        }
        // One's signature under two's claims.
        let (message, _) = two.rsplit_once('.').unwrap();
        let (_, signature) = one.rsplit_once('.').unwrap();
        assert_eq!(judge.verdict(&format!("{message}.{signature}")), "jwt_signature");
        // And what was refused stays refused.
        assert_eq!(judge.verdict(&format!("{message}.{signature}")), "jwt_signature");
    }
}

#[test]
fn more_tokens_than_it_holds_are_all_judged_right() {
    let judge = Judge::of(&[&P256], "[policy]\njwt_cache = 8");
    let all: Vec<String> =
        (0..40).map(|i| P256.token("ES256", &claims_with(ISS, json!({"sub": format!("user-{i}")})))).collect();
    for _ in 0..2 {
        for (i, text) in all.iter().enumerate() {
            assert_eq!(judge.name(text), format!("user-{i}"));
        }
    }
}
