//! A token as it comes, and a token whose header and claims are as they come but truly signed.
#![no_main]

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use libfuzzer_sys::fuzz_target;
use scopeshim::authn::{Authenticator, Credential, jwt};
use scopeshim_fuzz::{SECRET, authenticator, now};
use std::sync::LazyLock;

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(authenticator);

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = AUTHENTICATOR.issuer_of(Credential::Jwt(text, None));
        if let Ok(token) = jwt::parse(text) {
            // One spelling: what was read can be written in no other way.
            assert!(!text.contains('=') && text.split('.').count() == 3);
            assert!(token.key_id.is_none_or(|k| k.len() <= 256));
        }
        assert!(AUTHENTICATOR.authenticate(Credential::Jwt(text, None), None, now()).is_err(), "a forgery");
    }
    let (header, claims) = data.split_at(data.iter().position(|b| *b == 0).unwrap_or(0));
    let claims = claims.strip_prefix(&[0]).unwrap_or(claims);
    let message = format!("{}.{}", B64.encode(header), B64.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let token = format!("{message}.{}", B64.encode(hmac::sign(&key, message.as_bytes())));
    let Ok(principal) = AUTHENTICATOR.authenticate(Credential::Jwt(&token, None), None, now()) else { return };
    // Whatever is accepted says all that must be said, and nothing that a header could not carry.
    let said = &principal.verified().unwrap().claims;
    assert_eq!(said["iss"], "https://hmac");
    assert!(said["sub"].as_str().is_some_and(|s| !s.is_empty()));
    assert!(said["exp"].as_f64().is_some_and(|e| e > 1_799_999_969.0));
    assert!(said["aud"] == "openclaw" || said["aud"].as_array().unwrap().contains(&"openclaw".into()));
    assert!(principal.valid_until().unwrap() > now());
    assert!(!principal.name().is_empty() && !principal.name().chars().any(char::is_control));
    let scopes = principal.verified().unwrap().scopes.to_header();
    assert!(scopes.bytes().all(|b| b.is_ascii_graphic()), "{scopes}");
    http::HeaderValue::from_str(&scopes).unwrap();
});
