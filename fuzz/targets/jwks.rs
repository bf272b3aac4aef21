//! A JWKS, or a public key in PEM.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scopeshim::jwks::KeySet;

fuzz_target!(|text: &str| {
    for keys in [KeySet::jwks(text), KeySet::pem(text)].into_iter().flatten() {
        assert!(!keys.is_empty() && keys.len() <= 100);
        assert!(keys.knows(None));
    }
});
