//! What the targets share: a world without files, and an authenticator with fixed keys.

use jiff::Timestamp;
use scopeshim::authn::Authenticator;
use scopeshim::config::diagnostic::Source;
use scopeshim::config::environment::{Environment, SecretFileFault};
use scopeshim::config::{self, DynamicConfig, KeySource, Loaded};
use scopeshim::jwks::{KeySet, KeySlot};
use std::path::Path;
use std::sync::Arc;

/// Every secret file holds this.
pub const SECRET: &str = "an-hmac-secret-of-more-than-32-bytes-0123456789";

/// A world without files, in which it is always the same moment.
pub struct Stub;

impl Environment for Stub {
    fn secret_file(&self, path: &Path) -> Result<String, SecretFileFault> {
        match path.file_name().and_then(|n| n.to_str()) {
            Some("absent") => Err(SecretFileFault::Unreadable("absent".to_owned())),
            _ => Ok(SECRET.to_owned()),
        }
    }
    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/nobody".to_owned())
    }
    fn now(&self) -> Timestamp {
        now()
    }
}

/// The moment at which everything is judged.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// Judges a configuration text.
pub fn parse(text: &str) -> Loaded {
    config::parse(Source::new("config.toml", text), &Stub)
}

/// The live part of a configuration that is right, with its keys in place.
pub fn live(text: &str) -> (DynamicConfig, Vec<Arc<KeySlot>>) {
    let loaded = parse(text);
    let rendered = loaded.render();
    let live = loaded.config.unwrap_or_else(|| panic!("{rendered}")).live;
    let slots = live
        .issuers
        .iter()
        .map(|issuer| match &issuer.keys {
            KeySource::Secret(secret) => Arc::new(KeySlot::fixed(KeySet::secret(secret))),
            // Public keys whose private halves nobody has.
            _ => Arc::new(KeySlot::fixed(KeySet::jwks(include_str!("../seeds/jwks/families")).unwrap())),
        })
        .collect();
    (live, slots)
}

/// Accepts HMAC tokens under [`SECRET`] from one issuer, signatures of lost keys from another, in two
/// places.
pub fn authenticator() -> Authenticator {
    let (live, slots) = live(
        r#"
[[listen]]
address = "127.0.0.1:1"
[gateway]
url = "http://127.0.0.1:2"
auth = { kind = "none" }
[[issuer]]
name = "shared"
issuer = "https://hmac"
audiences = ["openclaw"]
keys = { secret_file = "secret" }
algorithms = ["HS256", "HS384", "HS512"]
roles_claim = "realm_access.roles"
role_scopes = { ops = ["operator.admin"] }
[[issuer]]
name = "public"
issuer = "https://public"
audiences = ["openclaw"]
keys = { url = "http://127.0.0.1:3/jwks" }
[[issuer]]
name = "cloudflare"
issuer = "https://team.cloudflareaccess.com"
audiences = ["openclaw"]
preset = "cloudflare-access"
"#,
    );
    Authenticator::new(&live, &slots)
}
