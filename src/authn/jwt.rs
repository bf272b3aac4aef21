//! A compact JWT taken apart, strictly (RFC 7515, RFC 7519, RFC 8725). Nothing here is verified yet.

use crate::refusal::{MAX_TOKEN, Malformed};
use crate::strict_json::strict;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

/// The deepest nesting of header or claims.
const MAX_DEPTH: usize = 12;
/// The longest key name accepted, in bytes.
const MAX_KID: usize = 256;

/// A token as it claims to be.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// What was signed.
    pub message: &'a str,
    /// The signature, base64url.
    pub signature: &'a str,
    /// The algorithm it says it was signed with.
    pub algorithm: Algorithm,
    /// The name of the key it says it was signed with.
    pub key_id: Option<String>,
    /// Its type, in lower case.
    pub typ: Option<String>,
    /// What it claims.
    pub claims: Map<String, Value>,
}

/// Whether a bearer token has the form of a compact JWS, so that it is checked as one.
#[must_use]
pub fn looks_like_jwt(token: &[u8]) -> bool {
    token.starts_with(b"ey") && token.iter().filter(|b| **b == b'.').count() == 2
}

/// Takes a token apart.
///
/// # Errors
/// [`Malformed`], with the first fault found.
pub fn parse(token: &str) -> Result<Unverified<'_>, Malformed> {
    if token.len() > MAX_TOKEN {
        return Err(Malformed::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Malformed::Parts)?;
    let (header, claims) = message.split_once('.').ok_or(Malformed::Parts)?;
    if claims.contains('.') || signature.is_empty() {
        return Err(Malformed::Parts);
    }
    URL_SAFE_NO_PAD.decode(signature).map_err(|_| Malformed::Base64)?;
    let header = object(header)?;
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(Malformed::Critical);
    }
    let text = |name: &str| match header.get(name) {
        None => Ok(None),
        Some(Value::String(s)) if s.len() <= MAX_KID => Ok(Some(s.clone())),
        Some(_) => Err(Malformed::Header),
    };
    let algorithm = text("alg")?.and_then(|a| a.parse().ok()).ok_or(Malformed::Algorithm)?;
    // `jku`, `x5u`, `jwk` and `x5c` are not looked at: a token does not bring its own keys.
    Ok(Unverified {
        message,
        signature,
        algorithm,
        key_id: text("kid")?,
        typ: text("typ")?.map(|t| t.to_ascii_lowercase()),
        claims: object(claims)?,
    })
}

fn object(part: &str) -> Result<Map<String, Value>, Malformed> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed::Base64)?;
    match strict(&bytes, MAX_DEPTH) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(Malformed::Json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    fn fault(header: &str, claims: &str) -> Option<Malformed> {
        parse(&token(header, claims)).err()
    }

    #[test]
    fn a_plain_token_is_taken_apart() {
        let text = token(r#"{"alg":"RS256","kid":"k","typ":"JWT"}"#, r#"{"sub":"a","n":1.5,"l":[null,true]}"#);
        let t = parse(&text).unwrap();
        assert_eq!((t.algorithm, t.key_id.as_deref(), t.typ.as_deref()), (Algorithm::RS256, Some("k"), Some("jwt")));
        assert_eq!(t.claims["sub"], "a");
        assert!(looks_like_jwt(text.as_bytes()));
        assert!(!looks_like_jwt(b"scs_abc.def.ghi"));
    }

    #[test]
    fn what_a_library_would_let_pass_is_refused() {
        let good = r#"{"sub":"a"}"#;
        assert_eq!(fault(r#"{"alg":"none"}"#, good), Some(Malformed::Algorithm));
        assert_eq!(fault(r#"{"alg":"nOnE"}"#, good), Some(Malformed::Algorithm));
        assert_eq!(fault("{}", good), Some(Malformed::Algorithm));
        assert_eq!(fault(r#"{"alg":["RS256"]}"#, good), Some(Malformed::Header));
        assert_eq!(fault(r#"{"alg":"RS256","crit":["exp"]}"#, good), Some(Malformed::Critical));
        assert_eq!(fault(r#"{"alg":"RS256","crit":[]}"#, good), Some(Malformed::Critical));
        assert_eq!(fault(r#"{"alg":"RS256","b64":false}"#, good), Some(Malformed::Critical));
        assert_eq!(fault(r#"{"alg":"RS256","alg":"HS256"}"#, good), Some(Malformed::Json));
        assert_eq!(fault(r#"{"alg":"RS256"}"#, r#"{"exp":1,"exp":9999999999}"#), Some(Malformed::Json));
        assert_eq!(fault(r#"{"alg":"RS256"}"#, r#"{"a":{"b":1,"b":2}}"#), Some(Malformed::Json));
        assert_eq!(fault(r#"{"alg":"RS256"}"#, r#"["a"]"#), Some(Malformed::Json));
        assert_eq!(fault(r#"{"alg":"RS256"}"#, r#"{"a":1} "#), None);
        assert_eq!(fault(r#"{"alg":"RS256"}"#, r#"{"a":1}x"#), Some(Malformed::Json));
        assert_eq!(fault(r#"{"alg":"RS256","kid":7}"#, good), Some(Malformed::Header));
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(20), "]".repeat(20));
        assert_eq!(fault(r#"{"alg":"RS256"}"#, &deep), Some(Malformed::Json));
    }

    #[test]
    fn one_spelling_of_each_token_is_accepted() {
        let good = token(r#"{"alg":"RS256"}"#, r#"{"sub":"a"}"#);
        for bad in [
            format!("{good}="),
            good.replace("c2ln", "c2lo+/8"),
            good.replace("c2ln", "c2l"),
            good.replace("c2ln", "c2li\n"),
            good.replace("c2ln", ""),
            format!("{good}.x"),
            good.replace('.', "..").clone(),
            format!(" {good}"),
            // Bits left over: `YR` and `YQ` decode to the same byte.
            good.replace("c2ln", "YR"),
            "a.b".to_owned(),
            "..".to_owned(),
            "a".repeat(MAX_TOKEN + 1),
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_or_refused(text in "[a-zA-Z0-9._=-]{0,120}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_json_is_taken_apart_or_refused(header in ".{0,60}", claims in ".{0,60}") {
            let _ = parse(&token(&header, &claims));
        }
    }
}
