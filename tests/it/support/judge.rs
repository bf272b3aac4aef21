//! The judgment of credentials alone, in this process: no socket, and the moment is the test's.

use super::signer::{HMAC_SECRET, Signer, jwks};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use scopeshim::config::diagnostic::Source;
use scopeshim::config::{self, environment::System};
use scopeshim::jwks::KeySlot;
use scopeshim::jwks_cache::JwksCache;
use scopeshim::metric_labels::Label as _;
use scopeshim::policy::{Policy, Proven};
use scopeshim::refusal::Refusal;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

/// The issuer whose tokens a judge accepts.
pub const ISS: &str = "https://issuer.example";

/// One who judges by a policy.
pub struct Judge {
    pub policy: Policy,
    _dir: TempDir,
}

impl Judge {
    /// Accepts [`ISS`] by the public halves of these keys; `more` goes into its table.
    pub fn of(signers: &[&Signer], more: &str) -> Self {
        Self::of_jwks(&jwks(signers), more)
    }

    /// The same by the text of a JWKS.
    pub fn of_jwks(text: &str, more: &str) -> Self {
        let table = format!(
            "[[issuer]]\nname = \"test\"\nissuer = \"{ISS}\"\naudiences = [\"openclaw\"]\nkeys = {{ jwks_file = \"jwks.json\" }}\n{more}\n"
        );
        Self::of_tables(&[("jwks.json", text)], &table)
    }

    /// Accepts [`ISS`] by the HMAC secret, with every HS algorithm.
    pub fn of_secret() -> Self {
        let table = format!(
            "[[issuer]]\nname = \"test\"\nissuer = \"{ISS}\"\naudiences = [\"openclaw\"]\nkeys = {{ secret_file = \"secret\" }}\nalgorithms = [\"HS256\", \"HS384\", \"HS512\"]\n"
        );
        Self::of_tables(&[("secret", HMAC_SECRET)], &table)
    }

    /// Judges by these tables, with these files beside them.
    pub fn of_tables(files: &[(&str, &str)], tables: &str) -> Self {
        Self::try_of(files, tables).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The same, or what is wrong with the tables.
    pub fn try_of(files: &[(&str, &str)], tables: &str) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:1\"\n[gateway]\nurl = \"http://127.0.0.1:2\"\nauth = {{ kind = \"none\" }}\n{tables}"
        );
        let name = dir.path().join("config.toml").display().to_string();
        let loaded = config::parse(Source::new(name, text), &System);
        let rendered = loaded.render();
        let live = loaded.config.ok_or(rendered)?.live;
        let slots = JwksCache::new(dir.path()).adopt(&live.issuers);
        Ok(Self { policy: Policy::compile(live, &slots, 1), _dir: dir })
    }

    /// Who sends these header lines at this moment?
    pub fn at(&self, lines: &[(&str, &str)], now: Timestamp) -> Result<Proven, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value);
        }
        let presented = self.policy.authenticator().presented(&headers)?;
        let credential = self.policy.authenticator().credential(presented.as_ref())?;
        self.policy.authenticate(credential, None, now)
    }

    /// Who holds this token now?
    pub fn bearer(&self, token: &str) -> Result<Proven, Refusal> {
        self.at(&[("authorization", &format!("Bearer {token}"))], Timestamp::now())
    }

    /// The place of the first issuer's keys.
    pub fn slot(&self) -> &KeySlot {
        self.policy.authenticator().slot(0).unwrap()
    }

    /// `ok`, or the code of the refusal.
    pub fn verdict(&self, token: &str) -> &'static str {
        self.bearer(token).map_or_else(|refusal| refusal.code().as_str(), |_| "ok")
    }

    /// The scopes that a token's claims stand for.
    pub fn scopes(&self, token: &str) -> String {
        self.bearer(token).unwrap().principal.verified().unwrap().scopes.to_header()
    }

    /// The principal's name.
    pub fn name(&self, token: &str) -> String {
        self.bearer(token).unwrap().principal.name().to_owned()
    }
}
