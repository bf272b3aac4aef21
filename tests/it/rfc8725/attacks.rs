//! Attacks on JWT libraries that were published, each against the judgment and then all against the
//! binary: none may reach the gateway.

use crate::support::signer::{ED25519, HMAC_SECRET, P256, RSA, Signer, b64, claims, hash, jwks};
use crate::support::{Capture, ISS, Judge, Shim};
use serde_json::{Value, json};

fn good() -> String {
    claims(ISS).to_string()
}

fn header(more: &Value) -> String {
    let mut header = json!({"alg": "RS256", "kid": "rsa-1"});
    header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    header.to_string()
}

/// An ECDSA signature in DER, as X.509 has it and JWS does not.
fn der(raw: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let bytes: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
        let bytes = if bytes.first().is_some_and(|b| *b >= 0x80) { [vec![0], bytes].concat() } else { bytes };
        [vec![2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    };
    let (r, s) = raw.split_at(raw.len() / 2);
    let both = [integer(r), integer(s)].concat();
    [vec![0x30, u8::try_from(both.len()).unwrap()], both].concat()
}

/// Every forgery, with its name. The issuer's keys are RSA, P-256 and Ed25519.
fn forgeries() -> Vec<(String, String)> {
    [unsigned(), confused(), extended(), degenerate(), spelled()].concat()
}

/// `none`, and signatures of something else.
fn unsigned() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |name: &str, token: String| all.push((name.to_owned(), token));
    let truth = RSA.token("RS256", &claims(ISS));
    let (message, signature) = truth.rsplit_once('.').unwrap();

    for alg in ["none", "None", "NONE", "nOnE", "none ", " none", "", "null"] {
        let unsigned = format!("{}.{}", b64(json!({"alg": alg, "typ": "JWT"}).to_string()), b64(good()));
        add(&format!("alg {alg:?} without a signature"), format!("{unsigned}."));
        add(&format!("alg {alg:?} with a signature"), format!("{unsigned}.{signature}"));
        add(&format!("alg {alg:?} in two parts"), unsigned);
    }
    for alg in [json!(null), json!(0), json!(false), json!(["RS256"]), json!({"RS256": 1})] {
        let forged = format!("{}.{}", b64(json!({"alg": alg}).to_string()), b64(good()));
        add(&format!("alg {alg}"), format!("{forged}.{signature}"));
    }
    add("no signature", format!("{message}."));
    add("another's signature", format!("{}.{}.{signature}", b64(header(&json!({}))), b64(good())));
    all
}

/// Keys that are none of the issuer's: what everybody knows, and what the token brings along.
fn confused() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |name: &str, token: String| all.push((name.to_owned(), token));
    // HMAC under what everybody knows: the public key, in every form it has.
    let pem = RSA.pem();
    let jwk = RSA.jwk();
    for (name, secret) in [
        ("PEM", pem.clone().into_bytes()),
        ("PEM without its last line end", pem.trim_end().as_bytes().to_vec()),
        ("the modulus", jwk["n"].as_str().unwrap().as_bytes().to_vec()),
        ("the JWK", jwk.to_string().into_bytes()),
        ("nothing", Vec::new()),
    ] {
        for alg in ["HS256", "HS384", "HS512"] {
            let header = json!({"alg": alg, "kid": "rsa-1"}).to_string();
            add(&format!("{alg} under {name}"), Signer::hmac(&secret).raw(alg, &header, good()));
        }
    }

    // Keys that the token brings along.
    let own = Signer::rsa("own");
    let x5c = json!([base64::Engine::encode(&base64::engine::general_purpose::STANDARD, own.pem())]);
    for (name, more) in [
        ("jwk", json!({"jwk": own.jwk()})),
        ("jwk without kid", json!({"jwk": own.jwk(), "kid": null})),
        ("jwk, kid its own", json!({"jwk": own.jwk(), "kid": "own"})),
        ("jku", json!({"jku": "http://127.0.0.1:1/jwks"})),
        ("jku, kid its own", json!({"jku": "http://127.0.0.1:1/jwks", "kid": "own"})),
        ("x5u", json!({"x5u": "http://127.0.0.1:1/cert.pem"})),
        ("x5c", json!({"x5c": x5c})),
        ("x5t", json!({"x5t": b64(&hash(b"x")[..20]), "x5t#S256": b64(hash(b"x"))})),
    ] {
        add(&format!("a key in {name}"), own.raw("RS256", &header(&more), good()));
    }
    all
}

/// True signatures over headers and claims that are not to be had.
fn extended() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |name: &str, token: String| all.push((name.to_owned(), token));
    // Extensions that must be understood, and are not; truly signed.
    for (name, more) in [
        ("crit", json!({"crit": ["exp"], "exp": 1})),
        ("crit unknown", json!({"crit": ["x"], "x": 1})),
        ("crit empty", json!({"crit": []})),
        ("crit null", json!({"crit": null})),
        ("b64 false", json!({"b64": false, "crit": ["b64"]})),
        ("b64 false without crit", json!({"b64": false})),
        ("b64 true", json!({"b64": true})),
    ] {
        add(name, RSA.raw("RS256", &header(&more), good()));
    }
    let header_text = header(&json!({"b64": false, "crit": ["b64"]}));
    add("b64 false, payload plain", RSA.over("RS256", &format!("{}.{}", b64(header_text), "plain")));

    // Names that are there twice; truly signed.
    for (name, header, claims) in [
        ("alg twice", r#"{"alg":"none","alg":"RS256","kid":"rsa-1"}"#.to_owned(), good()),
        ("alg twice, escaped", r#"{"alg":"none","\u0061lg":"RS256","kid":"rsa-1"}"#.to_owned(), good()),
        ("kid twice", r#"{"alg":"RS256","kid":"x","kid":"rsa-1"}"#.to_owned(), good()),
        ("sub twice", header(&json!({})), good().replacen('{', r#"{"sub":"root","#, 1)),
        ("scope twice", header(&json!({})), good().replacen('{', r#"{"scope":"operator.admin","#, 1)),
        ("a nested name twice", header(&json!({})), good().replacen('{', r#"{"a":{"b":1,"b":2},"#, 1)),
    ] {
        add(name, RSA.raw("RS256", &header, claims));
    }
    all
}

/// "Psychic" and degenerate ECDSA and EdDSA signatures.
fn degenerate() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |name: &str, token: String| all.push((name.to_owned(), token));
    let ec = |more: &[u8]| {
        let message = format!("{}.{}", b64(r#"{"alg":"ES256","kid":"p256-1"}"#), b64(good()));
        format!("{message}.{}", b64(more))
    };
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    add("ES256, r = s = 0", ec(&[0; 64]));
    add("ES256, r = s = n", ec(&[order, order].concat()));
    add("ES256, r = n, s = 1", ec(&[&order[..], &[0; 31], &[1]].concat()));
    add("ES256, empty DER", ec(&[0x30, 6, 2, 1, 0, 2, 1, 0]));
    let message = format!("{}.{}", b64(r#"{"alg":"ES256","kid":"p256-1"}"#), b64(good()));
    let raw = P256.sign("ES256", message.as_bytes());
    add("ES256 in DER", format!("{message}.{}", b64(der(&raw))));
    let padded = [&[0][..], &raw[..32], &[0], &raw[32..]].concat();
    add("ES256 with zeros in front", format!("{message}.{}", b64(padded)));
    add("ES256, s and r exchanged", format!("{message}.{}", b64([&raw[32..], &raw[..32]].concat())));
    let ed = format!("{}.{}", b64(r#"{"alg":"EdDSA","kid":"ed-1"}"#), b64(good()));
    add("EdDSA, all zero", format!("{ed}.{}", b64([0; 64])));
    let mut high = ED25519.sign("EdDSA", ed.as_bytes());
    high[63] |= 0xe0;
    add("EdDSA, s too large", format!("{ed}.{}", b64(high)));
    all
}

/// Other spellings of a true token, and true signatures over what is no token.
fn spelled() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |name: &str, token: String| all.push((name.to_owned(), token));
    let truth = RSA.token("RS256", &claims(ISS));
    let (message, signature) = truth.rsplit_once('.').unwrap();
    for (name, spelled) in [
        ("padding", format!("{truth}==")),
        ("line end in the signature", truth.replace('.', ".\n")),
        ("standard alphabet", format!("{message}.{}", signature.replace('-', "+").replace('_', "/") + "+/")),
        ("a part more", format!("{truth}.e30")),
        ("a part less", message.to_owned()),
        ("an empty part", format!("{message}..{signature}")),
        ("nested: a token as the claims", RSA.raw("RS256", &header(&json!({"cty": "JWT"})), truth.as_bytes())),
        ("five parts", format!("{truth}.AA.AA")),
        ("JSON serialisation", json!({"payload": b64(good()), "signatures": []}).to_string().replace(' ', "")),
        ("claims that are a list", RSA.raw("RS256", &header(&json!({})), format!("[{}]", good()))),
        ("claims with more behind", RSA.raw("RS256", &header(&json!({})), good() + "{}")),
        ("header with more behind", RSA.raw("RS256", &(header(&json!({})) + "x"), good())),
        ("claims nested deep", RSA.raw("RS256", &header(&json!({})), deep(200))),
        ("claims nested too deep for a stack", RSA.raw("RS256", &header(&json!({})), deep(4000))),
        ("a huge token", RSA.raw("RS256", &header(&json!({})), good().replacen('{', &huge(), 1))),
    ] {
        add(name, spelled);
    }
    // Bits that base64url leaves over: the same bytes, another text.
    let last = signature.chars().last().unwrap();
    let near = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = near.find(last).unwrap();
    let other = near.chars().nth(place | 1).unwrap();
    add("bits left over", format!("{message}.{}{other}", &signature[..signature.len() - 1]));
    all
}

fn deep(levels: usize) -> String {
    good().replacen('{', &format!("{{\"a\":{}1{},", "[".repeat(levels), "]".repeat(levels)), 1)
}

fn huge() -> String {
    format!("{{\"a\":\"{}\",", "x".repeat(12 * 1024))
}

#[test]
fn no_published_forgery_is_believed() {
    let judge = Judge::of(&[&RSA, &P256, &ED25519], "");
    assert_eq!(judge.verdict(&RSA.token("RS256", &claims(ISS))), "ok");
    for (name, forged) in forgeries() {
        if !forged.bytes().all(|b| b.is_ascii_graphic()) {
            // The header cannot even hold it; what it can hold is tried below.
            continue;
        }
        let verdict = judge.verdict(&forged);
        assert_ne!(verdict, "ok", "{name}: {forged}");
        // It was refused for what it is.
        let expected = match name.as_str() {
            n if n.starts_with("HS") => "jwt_algorithm",
            n if n.starts_with("crit") || n.starts_with("b64") || n.contains("twice") => "jwt_malformed",
            n if n.starts_with("ES256") || n.starts_with("EdDSA") => "jwt_signature",
            n if n.starts_with("claims") || n.starts_with("header") || n.contains("huge") => "jwt_malformed",
            "bits left over" | "padding" | "standard alphabet" => "jwt_malformed",
            _ => verdict,
        };
        assert_eq!(verdict, expected, "{name}");
    }
}

#[test]
fn nothing_forged_reaches_the_gateway() {
    let gateway = Capture::start();
    let table = format!(
        "[[issuer]]\nname = \"test\"\nissuer = \"{ISS}\"\naudiences = [\"openclaw\"]\nkeys = {{ jwks_file = \"jwks.json\" }}\n\n[anonymous]\nscopes = [\"operator.read\"]\n"
    );
    let shim = Shim::start_with_files(gateway.address(), &[("jwks.json", &jwks(&[&RSA, &P256, &ED25519]))], &table);
    let mut tried = 0;
    for (name, forged) in forgeries() {
        let answer = shim.client().ask("GET /v1/models", &forged, &[], "");
        assert!([400, 401, 431].contains(&answer.status), "{name}: {answer:?}");
        if answer.status == 401 {
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(challenge.starts_with("Bearer "), "{name}: {challenge}");
            // A forger is not told whether key, algorithm or signature was wrong.
            assert!(!answer.body.contains("jwt_key") || !answer.body.contains("kid"), "{name}: {answer:?}");
        }
        tried += 1;
    }
    assert!(tried > 70, "{tried}");
    let seen = gateway.seen();
    assert!(!seen.iter().any(|s| s.contains("/v1/")), "{seen:?}");
    let truth = RSA.token("RS256", &claims(ISS));
    assert_eq!(shim.client().ask("GET /v1/models", &truth, &[], "").status, 200);
}

#[test]
fn a_cut_hmac_and_an_hmac_under_another_key_are_not_believed() {
    let judge = Judge::of_secret();
    let signer = Signer::hmac(HMAC_SECRET);
    for (alg, size) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        let truth = signer.token(alg, &claims(ISS));
        assert_eq!(judge.verdict(&truth), "ok", "{alg}");
        let (message, _) = truth.rsplit_once('.').unwrap();
        let tag = signer.sign(alg, message.as_bytes());
        for cut in [0, 1, size / 2, size - 1] {
            assert_ne!(judge.verdict(&format!("{message}.{}", b64(&tag[..cut]))), "ok", "{alg} cut to {cut}");
        }
        assert_eq!(judge.verdict(&format!("{message}.{}", b64([&tag[..], &[0]].concat()))), "jwt_signature");
        let other = Signer::hmac(format!("{HMAC_SECRET}x")).token(alg, &claims(ISS));
        assert_eq!(judge.verdict(&other), "jwt_signature", "{alg}");
    }
    // Families are never mixed the other way either.
    assert_eq!(judge.verdict(&RSA.token("RS256", &claims(ISS))), "jwt_algorithm");
    assert_eq!(judge.verdict(&P256.token("ES256", &claims(ISS))), "jwt_algorithm");
}

#[test]
fn a_symmetric_key_in_a_jwks_is_no_key() {
    let oct = Signer::hmac(HMAC_SECRET);
    let judge = Judge::of(&[&oct, &RSA], "");
    assert_eq!(judge.verdict(&oct.token("HS256", &claims(ISS))), "jwt_algorithm");
    assert_eq!(judge.verdict(&RSA.token("RS256", &claims(ISS))), "ok");
}
