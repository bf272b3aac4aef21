//! Harmless questions whose answers tell what a gateway is: GET only, over the real credential.

use super::findings::{Capabilities, Findings, ProbeState};
use crate::config::GatewayAddress;
use crate::headers::{CLIENT_ADDRESS, SCOPES};
use crate::http_client::{ClientRequest, ClientResponse, Server, ask};
use crate::policy::UpstreamCredentials;
use http::{HeaderName, HeaderValue};
use std::time::Duration;

/// How long one question may take. A gateway of 2026.4 can be deaf for 20 s.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Asks for operator.read wherever scopes are enforced (contract §1).
pub(super) const READS: &str = "/v1/models";
/// Needs a credential and operator.read on every release, whatever is enabled.
pub(super) const HISTORY: &str = "/sessions/scopeshim-probe/history";
/// Answers 405 to a GET before it asks for a credential, if it is there at all.
const WRITES: &str = "/v1/chat/completions";

/// Finds out what the gateway is. `user` is named where the mode names callers.
pub async fn probe(address: &GatewayAddress, credentials: &UpstreamCredentials, user: &HeaderValue) -> Findings {
    let probe = Probe { server: Server::Tcp(address.host.clone(), address.port), credentials, user };
    let state = match probe.capabilities().await {
        Ok(capabilities) => ProbeState::Answers(capabilities),
        Err(cause) => ProbeState::Unreachable(cause),
    };
    Findings { mode: credentials.mode(), state }
}

struct Probe<'a> {
    server: Server,
    credentials: &'a UpstreamCredentials,
    user: &'a HeaderValue,
}

impl Probe<'_> {
    /// The error says why it does not answer.
    async fn capabilities(&self) -> Result<Capabilities, String> {
        let mut capabilities = Capabilities::default();
        // Away, or starting: not a word about the rest then.
        let alive = self.ask("/healthz", without_credential()).await?;
        if alive.status == 503 {
            return Err("it is starting or stopping".to_owned());
        }
        let there = self.ask(WRITES, without_credential()).await?;
        capabilities.endpoints_enabled = enabled(&there);

        let mut read = self.ask(READS, self.lines(Some("operator.read"))).await?;
        let lists = read.status == 200 && !read.is_html();
        if read.is_html() || read.status == 404 {
            read = self.ask(HISTORY, self.lines(Some("operator.read"))).await?;
        }
        classify(&mut capabilities, &read);
        if !lists {
            return Ok(capabilities);
        }
        // Held against the same route that was just granted, so that nothing else can be the reason.
        capabilities.enforces_narrowed = refuses(&self.ask(READS, self.lines(Some("operator.approvals"))).await?);
        capabilities.enforces_empty = refuses(&self.ask(READS, self.lines(Some(""))).await?);
        capabilities.absent_means_all = refuses(&self.ask(READS, self.lines(None)).await?).map(|refused| !refused);
        if !self.credentials.names_callers() {
            let mut lines = self.lines(Some("operator.read"));
            lines.push((CLIENT_ADDRESS, HeaderValue::from_static("192.0.2.1")));
            capabilities.refuses_forwarded = refuses(&self.ask(READS, lines).await?);
        }
        Ok(capabilities)
    }

    /// The lines that prove this proxy, and a scopes header.
    fn lines(&self, scopes: Option<&'static str>) -> Vec<(HeaderName, HeaderValue)> {
        let mut lines = self.credentials.lines(Some(self.user), None);
        lines.extend(scopes.map(|scopes| (SCOPES, HeaderValue::from_static(scopes))));
        lines
    }

    async fn ask(&self, path: &str, lines: Vec<(HeaderName, HeaderValue)>) -> Result<ClientResponse, String> {
        ask(&self.server, ClientRequest::get(path, lines), TIMEOUT).await.map_err(|fault| fault.to_string())
    }
}

/// For questions that need no credential: no authority, and the word that there is none.
fn without_credential() -> Vec<(HeaderName, HeaderValue)> {
    vec![(SCOPES, HeaderValue::from_static(""))]
}

/// Whether the OpenAI endpoints are there: 405 to the wrong method, else the web page or 404.
fn enabled(answer: &ClientResponse) -> Option<bool> {
    match answer.status {
        405 => Some(true),
        404 => Some(false),
        200 if answer.is_html() => Some(false),
        _ => None,
    }
}

/// What the answer to a good credential with operator.read says of the credential.
fn classify(capabilities: &mut Capabilities, answer: &ClientResponse) {
    if answer.status == 503 && answer.text_at("/error/code").as_deref() == Some("gateway_unavailable") {
        capabilities.suspended = true;
        return;
    }
    let attribution = answer.text_at("/error/type").as_deref() == Some("proxy_attribution_required");
    (capabilities.credential_accepted, capabilities.attribution_refused) = match answer.status {
        401 => (Some(false), Some(false)),
        403 if attribution => (None, Some(true)),
        // The scope is asked for after the credential (contract §1, "Check order").
        200 | 403 | 404 if !answer.is_html() => (Some(true), Some(false)),
        _ => (None, None),
    };
    capabilities.locked_out = answer.status == 429;
    if answer.status >= 500 {
        capabilities.broken = Some(answer.status);
    }
}

/// Whether a request was refused that differs from a good one in one thing.
fn refuses(answer: &ClientResponse) -> Option<bool> {
    match answer.status {
        403 => Some(true),
        200 => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GatewayAuth;
    use crate::fake_gateway::FakeGateway;
    use crate::secret::Secret;

    const SECRET: &str = "the-secret-of-the-gateway";

    async fn found(secret: &str) -> (Findings, Vec<crate::fake_gateway::Seen>) {
        let gateway = FakeGateway::new(SECRET, Duration::ZERO);
        let at = gateway.start().await.unwrap();
        let address = GatewayAddress {
            host: at.ip().to_string(),
            port: at.port(),
            connect_timeout: Duration::from_secs(1),
            retry_for: Duration::ZERO,
            probe: true,
        };
        let credentials = UpstreamCredentials::new(&GatewayAuth::Token(Secret::parse(secret).unwrap()));
        let found = probe(&address, &credentials, &HeaderValue::from_static("probe")).await;
        (found, gateway.seen())
    }

    #[tokio::test]
    async fn a_release_that_enforces_is_known() {
        let (found, seen) = found(SECRET).await;
        let expected = Capabilities {
            endpoints_enabled: Some(true),
            credential_accepted: Some(true),
            attribution_refused: Some(false),
            enforces_narrowed: Some(true),
            enforces_empty: Some(true),
            absent_means_all: Some(false),
            refuses_forwarded: Some(false),
            ..Capabilities::default()
        };
        assert_eq!(found, Findings { mode: "token", state: ProbeState::Answers(expected) });
        assert!(!found.is_wrong());
        assert!(seen.iter().all(|s| s.method == http::Method::GET));
    }

    #[tokio::test]
    async fn a_wrong_credential_is_tried_once() {
        let (found, seen) = found("another-secret-altogether").await;
        let ProbeState::Answers(capabilities) = &found.state else { panic!("{found:?}") };
        assert_eq!(capabilities.credential_accepted, Some(false));
        assert!(found.is_wrong());
        assert_eq!(seen.iter().filter(|s| s.target == READS).count(), 1, "ten lock a caller out");
    }

    #[test]
    fn answers_are_told_apart() {
        let answer = |status, kind: &'static str, body: &'static str| ClientResponse {
            status,
            headers: [(http::header::CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect(),
            body: body.into(),
        };
        let page = answer(200, "text/html; charset=utf-8", "<!doctype html>");
        assert_eq!(enabled(&page), Some(false));
        assert_eq!(enabled(&answer(404, "text/plain", "")), Some(false));
        assert_eq!(enabled(&answer(405, "text/plain", "")), Some(true));
        assert_eq!(enabled(&answer(500, "text/plain", "")), None);
        let judged = |a: &ClientResponse| {
            let mut capabilities = Capabilities::default();
            classify(&mut capabilities, a);
            capabilities
        };
        let proxy = answer(403, "application/json", r#"{"error":{"type":"proxy_attribution_required"}}"#);
        assert_eq!(judged(&proxy).attribution_refused, Some(true));
        assert_eq!(judged(&page).credential_accepted, None);
        assert_eq!(judged(&answer(404, "application/json", "{}")).credential_accepted, Some(true));
        assert!(judged(&answer(429, "application/json", "{}")).locked_out);
        assert_eq!(judged(&answer(500, "text/plain", "")).broken, Some(500));
        let suspended = judged(&answer(503, "application/json", r#"{"error":{"code":"gateway_unavailable"}}"#));
        assert!(suspended.suspended && suspended.broken.is_none());
        assert_eq!(judged(&answer(503, "application/json", "{}")).broken, Some(503));
    }
}
