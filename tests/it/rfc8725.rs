//! RFC 8725, "JSON Web Token Best Current Practices", §3, item by item; then the published attacks.

mod attacks;

use crate::support::signer::{ED25519, HMAC_SECRET, P256, P384, RSA, Signer, b64, claims, claims_with};
use crate::support::{ISS, Judge};
use jiff::Timestamp;
use scopeshim::metric_labels::Label as _;
use serde_json::{Value, json};

fn token(changes: Value) -> String {
    P256.token("ES256", &claims_with(ISS, changes))
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

#[test]
fn s3_1_the_algorithm_is_the_issuer_s_and_never_the_token_s() {
    let pinned = Judge::of(&[&RSA, &P256], "algorithms = [\"RS256\"]");
    assert_eq!(pinned.verdict(&RSA.token("RS256", &claims(ISS))), "ok");
    for other in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        assert_eq!(pinned.verdict(&RSA.token(other, &claims(ISS))), "jwt_algorithm", "{other}");
    }
    assert_eq!(pinned.verdict(&P256.token("ES256", &claims(ISS))), "jwt_algorithm");
    // A key with `alg` serves that one alone, whatever the issuer's list holds.
    let jwks = json!({"keys": [RSA.jwk_with(json!({"alg": "PS256"}))]}).to_string();
    let one = Judge::of_jwks(&jwks, "");
    assert_eq!(one.verdict(&RSA.token("PS256", &claims(ISS))), "ok");
    for other in ["RS256", "RS384", "RS512", "PS384", "PS512"] {
        assert_eq!(one.verdict(&RSA.token(other, &claims(ISS))), "jwt_key_unknown", "{other}");
    }
    // An algorithm that does not fit the kind of the keys is refused with the configuration.
    let hmac = "algorithms = [\"ES256\", \"HS256\"]";
    let table = format!(
        "[[issuer]]\nname = \"a\"\nissuer = \"{ISS}\"\naudiences = [\"x\"]\nkeys = {{ pem_file = \"p.pem\" }}\n{hmac}\n"
    );
    let Err(problems) = Judge::try_of(&[("p.pem", &P256.pem())], &table) else { panic!("HS256 with a public key") };
    assert!(problems.contains("a public key is no secret"), "{problems}");
}

#[test]
fn s3_2_algorithms_that_are_weak_or_none_cannot_be_configured() {
    for name in ["none", "None", "HS1", "RS1", "ES256K", "RSA1_5", "HS256"] {
        let table = format!(
            "[[issuer]]\nname = \"a\"\nissuer = \"{ISS}\"\naudiences = [\"x\"]\nkeys = {{ pem_file = \"p.pem\" }}\nalgorithms = [\"{name}\"]\n"
        );
        assert!(Judge::try_of(&[("p.pem", &RSA.pem())], &table).is_err(), "{name}");
    }
    let judge = Judge::of(&[&RSA, &P256, &P384, &ED25519], "");
    for (signer, algorithm) in [(&RSA, "RS256"), (&P256, "ES256"), (&P384, "ES384"), (&ED25519, "EdDSA")] {
        let text = signer.token(algorithm, &claims(ISS));
        assert_eq!(judge.verdict(&text), "ok", "{algorithm}");
        for weak in ["none", "NONE", "nOnE", "", "HS1", "ES256K", "ES512", "dir", "A128KW"] {
            let header = json!({"alg": weak, "kid": signer.id}).to_string();
            let forged = signer.raw(algorithm, &header, claims(ISS).to_string());
            assert_eq!(judge.verdict(&forged), "jwt_malformed", "{weak}");
        }
    }
}

#[test]
fn s3_3_every_signature_is_validated_and_any_flipped_bit_is_seen() {
    let judge = Judge::of(&[&RSA, &P256, &P384, &ED25519], "");
    for (signer, algorithm) in
        [(&RSA, "RS256"), (&RSA, "PS256"), (&P256, "ES256"), (&P384, "ES384"), (&ED25519, "EdDSA")]
    {
        let text = signer.token(algorithm, &claims(ISS));
        let (message, _) = text.rsplit_once('.').unwrap();
        let signature = signer.sign(algorithm, message.as_bytes());
        for byte in 0..signature.len() {
            let mut forged = signature.clone();
            forged[byte] ^= 1 << (byte % 8);
            let verdict = judge.verdict(&format!("{message}.{}", b64(&forged)));
            assert_eq!(verdict, "jwt_signature", "{algorithm}, byte {byte}");
        }
        for forged in [&signature[..signature.len() - 1], &[&signature[..], &[0]].concat(), &[0; 64], &[0xff; 96]] {
            assert_eq!(judge.verdict(&format!("{message}.{}", b64(forged))), "jwt_signature", "{algorithm}");
        }
        assert_eq!(judge.verdict(&format!("{message}.")), "jwt_malformed", "{algorithm}, no signature");
    }
    // Nobody learns which claims would do before the signature is good.
    let stranger = Signer::p256("p256-1");
    let expired = stranger.token("ES256", &claims_with(ISS, json!({"exp": 1, "aud": "other"})));
    assert_eq!(judge.verdict(&expired), "jwt_signature");
}

#[test]
fn s3_4_keys_off_their_curve_or_of_no_use_verify_nothing() {
    let off = json!({"kty": "EC", "crv": "P-256", "kid": "p256-1", "x": b64([7; 32]), "y": b64([9; 32])});
    let infinity = json!({"kty": "EC", "crv": "P-256", "kid": "p256-1", "x": b64([0; 32]), "y": b64([0; 32])});
    let short = P256.jwk_with(json!({"x": b64([1; 31])}));
    let other_curve = P256.jwk_with(json!({"crv": "P-384"}));
    for bad in [off, infinity, short, other_curve] {
        // A good key beside it, so that the set is not refused as a whole.
        let judge = Judge::of_jwks(&json!({"keys": [bad, ED25519.jwk()]}).to_string(), "");
        let verdict = judge.verdict(&P256.token("ES256", &claims(ISS)));
        assert!(["jwt_signature", "jwt_key_unknown"].contains(&verdict), "{verdict}: {bad}");
        assert_eq!(judge.verdict(&ED25519.token("EdDSA", &claims(ISS))), "ok");
    }
}

#[test]
fn s3_5_keys_with_too_little_entropy_are_refused() {
    let table =
        |keys: &str| format!("[[issuer]]\nname = \"a\"\nissuer = \"{ISS}\"\naudiences = [\"x\"]\nkeys = {keys}\n");
    for (secret, fits) in [("password", false), (&HMAC_SECRET[..31], false), (&HMAC_SECRET[..32], true)] {
        let judge = Judge::try_of(&[("s", secret)], &table("{ secret_file = \"s\" }"));
        assert_eq!(judge.is_ok(), fits, "{}", secret.len());
    }
    let short = include_str!("rfc8725/rsa-1024.pem");
    let Err(problems) = Judge::try_of(&[("p", short)], &table("{ pem_file = \"p\" }")) else { panic!("RSA-1024") };
    assert!(problems.contains("2048 bits"), "{problems}");
    let jwks = json!({"keys": [{"kty": "RSA", "kid": "a", "n": b64([0xab; 128]), "e": "AQAB"}]}).to_string();
    assert!(Judge::try_of(&[("j", &jwks)], &table("{ jwks_file = \"j\" }")).is_err(), "RSA-1024");
    // Zeros in front make no key longer.
    let padded = json!({"keys": [{"kty": "RSA", "n": b64([[0; 128], [0xab; 128]].concat()), "e": "AQAB"}]}).to_string();
    assert!(Judge::try_of(&[("j", &padded)], &table("{ jwks_file = \"j\" }")).is_err(), "RSA-1024 with zeros");
}

#[test]
fn s3_6_nothing_compressed_or_encrypted_is_taken() {
    let judge = Judge::of(&[&P256], "");
    let jwe = format!("{}.{}.{}.{}.{}", b64(r#"{"alg":"dir","enc":"A128GCM","zip":"DEF"}"#), "", "AA", "AA", "AA");
    assert_eq!(judge.verdict(&jwe), "credential_unknown");
    // `zip` means nothing in a JWS: the claims must be plain.
    let header = r#"{"alg":"ES256","kid":"p256-1","zip":"DEF"}"#;
    let deflated = [0x03, 0x00];
    assert_eq!(judge.verdict(&P256.raw("ES256", header, deflated)), "jwt_malformed");
}

#[test]
fn s3_7_header_and_claims_are_utf_8() {
    let judge = Judge::of(&[&P256], "");
    let header = r#"{"alg":"ES256","kid":"p256-1"}"#;
    let good = claims(ISS).to_string();
    assert_eq!(judge.verdict(&P256.raw("ES256", header, &good)), "ok");
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin1 = [&b"{\"name\":\"J\xfcrgen\","[..], &good.as_bytes()[1..]].concat();
    let overlong = [&b"{\"name\":\"\xc0\xaf\","[..], &good.as_bytes()[1..]].concat();
    let surrogate = good.replacen('{', r#"{"name":"\ud800","#, 1);
    let bom = [&b"\xef\xbb\xbf"[..], good.as_bytes()].concat();
    for (what, bad) in [("UTF-16", &utf16), ("latin-1", &latin1), ("overlong", &overlong), ("a BOM", &bom)] {
        assert_eq!(judge.verdict(&P256.raw("ES256", header, bad)), "jwt_malformed", "{what}");
    }
    assert_eq!(judge.verdict(&P256.raw("ES256", header, surrogate)), "jwt_malformed", "half a surrogate");
}

#[test]
fn s3_8_issuer_and_subject_are_validated() {
    let judge = Judge::of(&[&P256], "");
    for iss in [
        json!(null),
        json!(""),
        json!("https://other.example"),
        json!("https://issuer.example/"),
        json!("HTTPS://ISSUER.EXAMPLE"),
        json!([ISS]),
        json!({"iss": ISS}),
        json!(7),
    ] {
        assert_eq!(judge.verdict(&token(json!({"iss": iss}))), "jwt_issuer", "{iss}");
    }
    for sub in [json!(null), json!(""), json!(7), json!(["alice"]), json!(true)] {
        assert_eq!(judge.verdict(&token(json!({"sub": sub}))), "jwt_claim", "{sub}");
    }
    for sub in ["a\r\nx-openclaw-scopes: operator.admin", "a\u{0}b", "\u{1b}[2J"] {
        assert_eq!(judge.verdict(&token(json!({"sub": sub}))), "jwt_claim", "{sub:?}");
    }
    assert_eq!(judge.verdict(&token(json!({"sub": "x".repeat(257)}))), "jwt_claim");
    // One issuer's key signs for nobody else.
    let files =
        [("a.json", json!({"keys": [P256.jwk()]}).to_string()), ("b.json", json!({"keys": [RSA.jwk()]}).to_string())];
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
    let table = |name: &str| {
        format!(
            "[[issuer]]\nname = \"{name}\"\nissuer = \"https://{name}\"\naudiences = [\"openclaw\"]\nkeys = {{ jwks_file = \"{name}.json\" }}\n"
        )
    };
    let two = Judge::of_tables(&files, &(table("a") + &table("b")));
    assert_eq!(two.verdict(&P256.token("ES256", &claims("https://a"))), "ok");
    assert_eq!(two.verdict(&RSA.token("RS256", &claims("https://b"))), "ok");
    assert_eq!(two.verdict(&P256.token("ES256", &claims("https://b"))), "jwt_key_unknown");
    assert_eq!(two.verdict(&RSA.token("RS256", &claims("https://a"))), "jwt_key_unknown");
}

#[test]
fn s3_9_an_audience_is_required_and_validated() {
    let judge = Judge::of(&[&P256], "");
    for aud in [json!("openclaw"), json!(["openclaw"]), json!(["other", "openclaw"])] {
        assert_eq!(judge.verdict(&token(json!({"aud": aud}))), "ok", "{aud}");
    }
    for aud in [json!("other"), json!(""), json!([]), json!(["other"]), json!("OpenClaw"), json!("openclaw,other")] {
        assert_eq!(judge.verdict(&token(json!({"aud": aud}))), "jwt_audience", "{aud}");
    }
    for aud in [json!(null), json!(7), json!({"openclaw": 1}), json!(["openclaw", 7]), json!([["openclaw"]])] {
        assert_eq!(judge.verdict(&token(json!({"aud": aud}))), "jwt_claim", "{aud}");
    }
    let table =
        format!("[[issuer]]\nname = \"a\"\nissuer = \"{ISS}\"\naudiences = []\nkeys = {{ pem_file = \"p\" }}\n");
    assert!(Judge::try_of(&[("p", &P256.pem())], &table).is_err(), "no audience");
}

#[test]
fn s3_10_received_claims_are_only_compared_never_used() {
    let judge = Judge::of(&[&P256], "");
    let huge = "x".repeat(257);
    for kid in
        ["../../../../dev/null", "/dev/null", "' OR '1'='1", "\"; DROP TABLE keys; --", "$(id)", "%00", "p256-1\0"]
    {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        assert_eq!(judge.verdict(&P256.raw("ES256", &header, claims(ISS).to_string())), "jwt_key_unknown", "{kid}");
    }
    for kid in [json!(huge), json!(7), json!(["p256-1"]), json!(null)] {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        assert_eq!(judge.verdict(&P256.raw("ES256", &header, claims(ISS).to_string())), "jwt_malformed", "{kid}");
    }
    // A claim never becomes header syntax.
    let scope = "operator.read operator.admin,operator.pairing operator.write\r\nx-evil:1 \"quoted\" operator.é";
    assert_eq!(judge.scopes(&token(json!({"scope": scope}))), "operator.read,operator.write");
}

#[test]
fn s3_11_the_type_is_checked_where_one_is_configured() {
    let judge = Judge::of(&[&P256], "typ = [\"at+jwt\"]");
    for (typ, verdict) in [
        (json!("at+jwt"), "ok"),
        (json!("AT+JWT"), "ok"),
        (json!("application/at+jwt"), "ok"),
        (json!("JWT"), "jwt_type"),
        (json!("id+jwt"), "jwt_type"),
        (json!("secevent+jwt"), "jwt_type"),
        (json!(""), "jwt_type"),
        (json!(7), "jwt_malformed"),
        (json!(["at+jwt"]), "jwt_malformed"),
    ] {
        let header = json!({"alg": "ES256", "kid": "p256-1", "typ": typ}).to_string();
        assert_eq!(judge.verdict(&P256.raw("ES256", &header, claims(ISS).to_string())), verdict, "{typ}");
    }
    let none = P256.raw("ES256", r#"{"alg":"ES256","kid":"p256-1"}"#, claims(ISS).to_string());
    assert_eq!(judge.verdict(&none), "jwt_type");
    assert_eq!(Judge::of(&[&P256], "").verdict(&none), "ok");
}

#[test]
fn s3_11_a_token_of_another_kind_is_no_access_token_even_where_no_type_is_configured() {
    let judge = Judge::of(&[&P256], "");
    let verdict = |typ: Value| {
        let header = json!({"alg": "ES256", "kid": "p256-1", "typ": typ}).to_string();
        judge.verdict(&P256.raw("ES256", &header, claims(ISS).to_string()))
    };
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt", "JOSE"] {
        assert_eq!(verdict(json!(typ)), "ok", "{typ}");
    }
    for typ in ["logout+jwt", "application/logout+jwt", "secevent+jwt", "dpop+jwt", "token-introspection+jwt", "x", ""]
    {
        assert_eq!(verdict(json!(typ)), "jwt_type", "{typ}");
    }
    let none = P256.raw("ES256", r#"{"alg":"ES256","kid":"p256-1"}"#, claims(ISS).to_string());
    assert_eq!(judge.verdict(&none), "ok");
}

#[test]
fn a_token_that_says_it_was_made_in_the_future_is_refused() {
    let judge = Judge::of(&[&P256], "leeway = \"30s\"");
    let now = Timestamp::now().as_second();
    let verdict =
        |iat: i64| judge.verdict(&P256.token("ES256", &claims_with(ISS, json!({"iat": iat, "exp": now + 99_999}))));
    assert_eq!(verdict(now - 3600), "ok");
    assert_eq!(verdict(now + 10), "ok");
    assert_eq!(verdict(now + 600), "jwt_not_yet_valid");
    assert_eq!(verdict(now + 9_999), "jwt_not_yet_valid");
}

#[test]
fn s3_12_kinds_of_tokens_are_told_apart_by_issuer_audience_type_and_place() {
    // The same issuer may have two tables only where the tokens come in different places.
    let jwks = json!({"keys": [P256.jwk()]}).to_string();
    let table = |name: &str, audience: &str, more: &str| {
        format!(
            "[[issuer]]\nname = \"{name}\"\nissuer = \"{ISS}\"\naudiences = [\"{audience}\"]\nkeys = {{ jwks_file = \"j\" }}\n{more}\n"
        )
    };
    assert!(Judge::try_of(&[("j", &jwks)], &(table("a", "x", "") + &table("b", "y", ""))).is_err(), "two alike");
    let judge = Judge::of_tables(
        &[("j", &jwks)],
        &(table("api", "api", "typ = [\"at+jwt\"]") + &table("edge", "edge", "token_from = \"x-edge-token\"")),
    );
    let made_for = |audience: &str, typ: &str| {
        let header = json!({"alg": "ES256", "kid": "p256-1", "typ": typ}).to_string();
        P256.raw("ES256", &header, claims_with(ISS, json!({"aud": audience})).to_string())
    };
    let bearer = |token: &str| judge.verdict(token);
    let edge = |token: &str| {
        judge.at(&[("x-edge-token", token)], Timestamp::now()).map_or_else(|r| r.code().as_str(), |_| "ok")
    };
    assert_eq!(bearer(&made_for("api", "at+jwt")), "ok");
    assert_eq!(bearer(&made_for("edge", "at+jwt")), "jwt_audience");
    assert_eq!(bearer(&made_for("api", "JWT")), "jwt_type");
    assert_eq!(edge(&made_for("edge", "JWT")), "ok");
    assert_eq!(edge(&made_for("api", "at+jwt")), "jwt_audience");
}

#[test]
fn times_are_required_numbers_within_the_leeway() {
    let judge = Judge::of(&[&P256], "leeway = \"10s\"");
    let at = now();
    let verdict = |claims: Value| judge.verdict(&token(claims));
    assert_eq!(verdict(json!({"exp": at - 5})), "ok");
    assert_eq!(verdict(json!({"exp": at - 11})), "jwt_expired");
    assert_eq!(verdict(json!({"nbf": at + 5})), "ok");
    assert_eq!(verdict(json!({"nbf": at + 20})), "jwt_not_yet_valid");
    let halves = format!(r#"{{"iss":"{ISS}","aud":"openclaw","sub":"a","exp":{}.5,"nbf":{at}.5}}"#, at + 30);
    assert_eq!(judge.verdict(&P256.raw("ES256", r#"{"alg":"ES256","kid":"p256-1"}"#, halves)), "ok");
    for exp in [json!(null), json!("9999999999"), json!(-1), json!(true), json!([at + 60]), json!(1e300), json!({})] {
        assert_eq!(verdict(json!({"exp": exp})), "jwt_claim", "{exp}");
    }
    for name in ["nbf", "iat"] {
        for bad in [json!("0"), json!(-5), json!([0]), json!(1e300)] {
            let mut changes = json!({});
            changes[name] = bad.clone();
            assert_eq!(verdict(changes), "jwt_claim", "{name} {bad}");
        }
    }
    // What JSON has no number for.
    let header = r#"{"alg":"ES256","kid":"p256-1"}"#;
    for exp in ["1e400", "NaN", "Infinity", "-Infinity", "0x7fffffff", "+1", "01", "1e", ""] {
        let text = format!(r#"{{"iss":"{ISS}","aud":"openclaw","sub":"a","exp":{exp}}}"#);
        assert_eq!(judge.verdict(&P256.raw("ES256", header, text)), "jwt_malformed", "{exp}");
    }
    // To the second, at a moment of the test's own.
    let text = P256.token("ES256", &claims_with(ISS, json!({"exp": 2_000_000_000, "nbf": 1_900_000_000, "iat": 0})));
    let line = format!("Bearer {text}");
    let at = |second: i64| {
        let moment = Timestamp::from_second(second).unwrap();
        judge.at(&[("authorization", &line)], moment).map_or_else(|r| r.code().as_str(), |_| "ok")
    };
    assert_eq!(at(1_899_999_989), "jwt_not_yet_valid");
    assert_eq!(at(1_899_999_990), "ok");
    assert_eq!(at(2_000_000_009), "ok");
    assert_eq!(at(2_000_000_010), "jwt_expired");
    assert_eq!(at(1_950_000_000), "ok");
}
