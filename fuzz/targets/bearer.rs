//! Header lines that carry credentials: one a line, `a` before those of `Authorization`.
#![no_main]

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use scopeshim::authn::{Authenticator, Credential};
use scopeshim_fuzz::{authenticator, now};
use std::sync::LazyLock;

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(authenticator);

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n').take(8) {
        let (name, value) = match line.split_first() {
            Some((b'a', value)) => (AUTHORIZATION, value),
            Some((_, value)) => (HeaderName::from_static("cf-access-jwt-assertion"), value),
            None => continue,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let several = headers.get_all(AUTHORIZATION).iter().count() > 1;
    let Ok((presented, _)) = AUTHENTICATOR.presented_by_upgrade(&headers) else { return };
    let Ok(credential) = AUTHENTICATOR.credential(presented.as_ref()) else { return };
    assert!(!several, "one of several was chosen");
    match credential {
        Credential::Absent => assert!(headers.is_empty(), "a credential was overlooked"),
        Credential::Opaque(token) => assert!(!token.is_empty() && token.iter().all(u8::is_ascii_graphic)),
        Credential::Jwt(..) => {}
        Credential::Tailnet(_) => panic!("no header names a tailnet caller"),
    }
    assert!(AUTHENTICATOR.authenticate(credential, None, now()).is_err(), "nobody was proven");
});
