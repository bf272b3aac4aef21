//! One request to an issuer, bounded in time and size.

use crate::config::KeySource;
use crate::jwks::{KeyFault, KeySet, MAX_JWKS};
use crate::tls::{ClientFault, issuer_client};
use http::HeaderMap;
use http::header::CACHE_CONTROL;
use serde::Deserialize;
use std::time::Duration;

/// For a whole answer; issuers answer in a fraction of it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Fetches one issuer's keys.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: reqwest::Client,
    url: String,
    /// The `iss` that the discovery document must repeat; `None`: `url` is the JWKS itself.
    discovery: Option<String>,
}

/// What came.
pub(super) struct Fetched {
    pub(super) text: String,
    pub(super) keys: KeySet,
    /// For how long the server says it holds.
    pub(super) max_age: Option<Duration>,
}

/// Why nothing usable came.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{url}: {cause}")]
    Http { url: String, cause: String },
    #[error("{url}: status {status}")]
    Status { url: String, status: u16 },
    #[error("{0}: the answer is larger than {MAX_JWKS} bytes")]
    TooLarge(String),
    #[error("{url}: {fault}")]
    Keys { url: String, fault: KeyFault },
    #[error("{url}: {cause}")]
    Discovery { url: String, cause: String },
    #[error("{0}")]
    Client(ClientFault),
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

impl Fetcher {
    /// A fetcher for keys that come over the network; `None` for others.
    pub(super) fn new(source: &KeySource, iss: &str) -> Result<Option<Self>, FetchError> {
        let KeySource::Remote { url, discovery, ca, proxy } = source else { return Ok(None) };
        let client = issuer_client(ca.as_deref(), proxy.as_deref(), TIMEOUT).map_err(FetchError::Client)?;
        Ok(Some(Self { client, url: url.clone(), discovery: discovery.then(|| iss.to_owned()) }))
    }

    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        let mut url = self.url.clone();
        if let Some(iss) = &self.discovery {
            let (text, _) = self.get(&url).await?;
            url = named_by(&url, &text, iss)?;
        }
        let (text, headers) = self.get(&url).await?;
        let keys = KeySet::jwks(&text).map_err(|fault| FetchError::Keys { url, fault })?;
        Ok(Fetched { text, keys, max_age: max_age(&headers) })
    }

    async fn get(&self, url: &str) -> Result<(String, HeaderMap), FetchError> {
        let failed = |e: reqwest::Error| FetchError::Http { url: url.to_owned(), cause: root(&e) };
        let mut answer = self.client.get(url).header("accept", "application/json").send().await.map_err(failed)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status { url: url.to_owned(), status: answer.status().as_u16() });
        }
        let headers = answer.headers().clone();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > MAX_JWKS {
                return Err(FetchError::TooLarge(url.to_owned()));
            }
            bytes.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| FetchError::Http { url: url.to_owned(), cause: "the answer is no text".to_owned() })?;
        Ok((text, headers))
    }
}

/// The JWKS that a discovery document names (OpenID Connect Discovery §4.3: its issuer must be the
/// one that was asked).
fn named_by(url: &str, text: &str, iss: &str) -> Result<String, FetchError> {
    let wrong = |cause: String| FetchError::Discovery { url: url.to_owned(), cause };
    let document: Document = serde_json::from_str(text).map_err(|e| wrong(format!("not a discovery document: {e}")))?;
    if document.issuer != iss {
        return Err(wrong(format!("it is the document of the issuer `{}`, not of `{iss}`", document.issuer)));
    }
    // What came over TLS may not lead out of it.
    if url.starts_with("https://") && !document.jwks_uri.starts_with("https://") {
        return Err(wrong(format!("its jwks_uri `{}` is not https", document.jwks_uri)));
    }
    Ok(document.jwks_uri)
}

/// RFC 9111 §5.2.2.1, the part that matters here.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|v| v.to_str().ok());
    let mut directives = values.flat_map(|v| v.split(',')).map(str::trim);
    directives
        .find_map(|d| d.strip_prefix("max-age="))
        .and_then(|s| s.trim_matches('"').parse().ok())
        .map(Duration::from_secs)
}

/// The innermost cause, which is the one that says something.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discovery_document_speaks_for_its_own_issuer_only() {
        let document = |iss: &str, uri: &str| format!("{{\"issuer\":\"{iss}\",\"jwks_uri\":\"{uri}\"}}");
        let url = "https://a/.well-known/openid-configuration";
        assert_eq!(named_by(url, &document("https://a", "https://a/jwks"), "https://a").unwrap(), "https://a/jwks");
        assert!(named_by(url, &document("https://b", "https://a/jwks"), "https://a").is_err());
        assert!(named_by(url, &document("https://a", "http://a/jwks"), "https://a").is_err());
        assert!(named_by(url, "{}", "https://a").is_err());
    }

    #[test]
    fn cache_headers_are_read() {
        let of = |value: &str| max_age(&[(CACHE_CONTROL, value.parse().unwrap())].into_iter().collect());
        assert_eq!(of("public, max-age=300, must-revalidate"), Some(Duration::from_secs(300)));
        assert_eq!(of("no-store"), None);
        assert_eq!(of("max-age=soon"), None);
    }
}
