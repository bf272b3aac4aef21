//! Where an issuer's keys come from.

use super::preset::Preset;
use crate::config::KeySource;
use crate::config::diagnostic::{Problems, Source};
use crate::config::environment::{Environment, credential};
use crate::config::file::{self, At};
use crate::jwks::KeySet;
use crate::secret::Secret;
use crate::tls::issuer_client;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The shortest HMAC secret, in bytes: as long as the shortest hash (RFC 7518 §3.2).
const MIN_SECRET: usize = 32;

pub(super) fn source(
    at: &At<file::Issuer>,
    preset: &Preset,
    source: &Source,
    around: &dyn Environment,
    problems: &mut Problems,
) -> Option<KeySource> {
    let issuer = &at.get().issuer;
    let base = issuer.get().trim_end_matches('/');
    let Some(keys) = &at.get().keys else {
        let (url, discovery) = match preset.jwks_path {
            Some(path) => (format!("{base}{path}"), false),
            None => (format!("{base}/.well-known/openid-configuration"), true),
        };
        return remote(url, discovery, issuer, None, source, around, problems);
    };
    let table = keys.get();
    let discovery = table.discovery.as_ref().filter(|d| *d.get());
    let given = [
        table.url.is_some(),
        discovery.is_some(),
        table.jwks_file.is_some(),
        table.pem_file.is_some(),
        table.secret_file.is_some(),
        table.secret_credential.is_some(),
    ];
    if given.iter().filter(|g| **g).count() != 1 {
        problems.error(
            "keys",
            keys.span(),
            "`keys` needs exactly one source",
            "write one of `url`, `discovery = true`, `jwks_file`, `pem_file`, `secret_file`, `secret_credential`",
        );
        return None;
    }
    if let Some(url) = &table.url {
        return remote(url.get().clone(), false, url, Some(table), source, around, problems);
    }
    if discovery.is_some() {
        return remote(
            format!("{base}/.well-known/openid-configuration"),
            true,
            issuer,
            Some(table),
            source,
            around,
            problems,
        );
    }
    if let Some(file) = &table.secret_file {
        return secret(&beside(source, file), file, around, problems);
    }
    if let Some(name) = &table.secret_credential {
        return match credential(around, name.get()) {
            Ok(path) => secret(&path, name, around, problems),
            Err((message, hint)) => {
                problems.error("secret", name.span(), message, hint);
                None
            }
        };
    }
    let (file, pem) = table.jwks_file.as_ref().map(|f| (f, false)).or(table.pem_file.as_ref().map(|f| (f, true)))?;
    let text: Arc<str> = text(file, source, around, problems)?.into();
    if let Err(fault) = if pem { KeySet::pem(&text) } else { KeySet::jwks(&text) } {
        problems.error(
            "keys",
            file.span(),
            format!("no usable key in it: {fault}"),
            "a JWKS or a PEM public key: RSA of 2048 bits or more, P-256, P-384 or Ed25519",
        );
        return None;
    }
    Some(if pem { KeySource::Pem(text) } else { KeySource::Jwks(text) })
}

fn remote(
    url: String,
    discovery: bool,
    at: &At<String>,
    table: Option<&file::Keys>,
    source: &Source,
    around: &dyn Environment,
    problems: &mut Problems,
) -> Option<KeySource> {
    let parsed = url.parse::<http::Uri>().ok();
    let host = parsed.as_ref().and_then(http::Uri::host).unwrap_or_default();
    let local = host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match parsed.as_ref().and_then(http::Uri::scheme_str) {
        Some("https") if !host.is_empty() => {}
        Some("http") if local => {}
        Some("http") => {
            problems.error(
                "keys",
                at.span(),
                format!("keys from `{url}` could be replaced on the way"),
                "use https; http is for this machine only",
            );
            return None;
        }
        _ => {
            problems.error(
                "keys",
                at.span(),
                format!("`{url}` is not an address to fetch keys from"),
                "write `keys = { url = \"https://…\" }`",
            );
            return None;
        }
    }
    let ca = match table.and_then(|t| t.ca_file.as_ref()) {
        None => None,
        Some(file) => Some(text(file, source, around, problems)?.into()),
    };
    let proxy = table.and_then(|t| t.proxy.as_ref());
    if let Some(proxy) = proxy
        && !proxy
            .get()
            .parse::<http::Uri>()
            .is_ok_and(|u| u.host().is_some() && matches!(u.scheme_str(), Some("http" | "https")))
    {
        problems.error(
            "proxy",
            proxy.span(),
            format!("`{}` is not a proxy's address", proxy.get()),
            "for example `http://proxy.example.org:3128`",
        );
    }
    // Nothing else can go wrong before the issuer is asked.
    if let Some(file) = table.and_then(|t| t.ca_file.as_ref())
        && let Err(fault) = issuer_client(ca.as_deref(), None, Duration::ZERO)
    {
        problems.error("keys", file.span(), fault.to_string(), "the certificate of the authority, in PEM");
        return None;
    }
    Some(KeySource::Remote { url, discovery, ca, proxy: proxy.map(|p| p.get().clone()) })
}

fn secret(path: &Path, at: &At<String>, around: &dyn Environment, problems: &mut Problems) -> Option<KeySource> {
    let text = match around.secret_file(path) {
        Ok(text) => text,
        Err(fault) => {
            problems.error(
                "secret",
                at.span(),
                format!("{} {fault}", path.display()),
                "write the issuer's secret into it and `chmod 0600` it",
            );
            return None;
        }
    };
    match Secret::parse(&text) {
        Ok(secret) if secret.expose().len() >= MIN_SECRET => Some(KeySource::Secret(secret)),
        Ok(_) => {
            problems.error(
                "secret",
                at.span(),
                format!("an HMAC secret has {MIN_SECRET} characters at least"),
                "have the issuer make a longer one",
            );
            None
        }
        Err(fault) => {
            problems.error("secret", at.span(), fault.to_string(), "put the issuer's secret there, as text");
            None
        }
    }
}

fn text(file: &At<String>, source: &Source, around: &dyn Environment, problems: &mut Problems) -> Option<String> {
    let path = beside(source, file);
    match around.text_file(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            problems.error(
                "file",
                file.span(),
                format!("{} cannot be read: {error}", path.display()),
                "check the path; it is relative to the configuration file",
            );
            None
        }
    }
}

/// A relative path is meant from the file it stands in.
fn beside(source: &Source, file: &At<String>) -> PathBuf {
    Path::new(&source.name).parent().unwrap_or(Path::new("")).join(file.get())
}
