//! Where the process is asked and told things: a unix socket, and a loopback port for reading.
//!
//! Never the port that clients use. What changes anything goes by the socket alone, and the socket's
//! file mode says who may.

mod endpoint;
mod status;

pub use crate::metric_labels::AdminEndpoint;
pub use endpoint::PLACES;
pub use status::Status;

use crate::gateway_probe::GatewayMonitor;
use crate::host_header::Host;
use crate::jwks_cache::JwksCache;
use crate::listener::Connections;
use crate::metrics::Gauges;
use crate::policy::Policy;
use crate::reload::{Reload, Reloader, Verdict};
use crate::tailscale::Tailnet;
use crate::telemetry::Telemetry;
use arc_swap::ArcSwap;
use bytes::Bytes;
use endpoint::{Budget, HEAD, LIFETIME, MAX_HEAD};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncRead, AsyncWrite};

/// The page for people; everything it needs is in it.
const PAGE: &str = include_str!("admin/page.html");
/// It loads nothing, and connects only to the address it came from.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Everything that is asked for an answer.
#[derive(Debug)]
pub struct AdminState {
    /// For reloads.
    pub reload: Reload,
    /// For how the configuration stands.
    pub reloader: Arc<Reloader>,
    /// For the policy in force.
    pub policy: Arc<ArcSwap<Policy>>,
    /// For the connections.
    pub connections: Arc<Connections>,
    /// For the issuers' keys.
    pub issuers: Arc<JwksCache>,
    /// For how tailscaled is.
    pub tailnet: Arc<Tailnet>,
    /// For metrics and refusals.
    pub telemetry: Arc<Telemetry>,
    /// For what is known of the gateway.
    pub gateway: Arc<GatewayMonitor>,
}

/// What the process can be asked.
#[derive(Debug)]
pub struct Admin {
    admin_state: AdminState,
    budgets: [Arc<Budget>; <AdminEndpoint as strum::VariantArray>::VARIANTS.len()],
}

impl Admin {
    /// Answers for this process.
    #[must_use]
    pub fn new(admin_state: AdminState) -> Self {
        Self { admin_state, budgets: Default::default() }
    }

    /// Serves one connection.
    pub(crate) async fn serve(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        endpoint: AdminEndpoint,
    ) {
        let [socket, port, metrics] = &self.budgets;
        let budget = match endpoint {
            AdminEndpoint::Socket => socket,
            AdminEndpoint::Address => port,
            AdminEndpoint::MetricsAddress => metrics,
        };
        let (place, lost) = budget.take();
        if lost {
            self.admin_state.telemetry.metrics().admin_refused(endpoint);
        }
        let busy = place.busy();
        let service = service_fn(move |request: Request<Incoming>| {
            let (this, busy) = (self.clone(), busy.clone());
            async move {
                busy.store(true, Ordering::Relaxed);
                let answer = this.answer(&request, endpoint).await;
                busy.store(false, Ordering::Relaxed);
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            _ = tokio::time::timeout(LIFETIME, connection) => {}
            () = place.lost.cancelled() => {}
        }
    }

    async fn answer(&self, request: &Request<Incoming>, endpoint: AdminEndpoint) -> Response<Full<Bytes>> {
        if !is_plain(request) {
            return json_answer(400, &json!({"error": "send a plain path and one Host header"}));
        }
        if endpoint == AdminEndpoint::Address && !is_named_locally(request.headers()) {
            return json_answer(403, &json!({"error": "this is asked by its loopback address"}));
        }
        let watched = ["/livez", "/readyz", "/metrics"];
        if endpoint == AdminEndpoint::MetricsAddress && !watched.contains(&request.uri().path()) {
            return json_answer(404, &json!({"error": "there is nothing here", "paths": watched}));
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/livez") => json_answer(200, &json!({"ok": true})),
            (&Method::GET | &Method::HEAD, "/readyz") => self.ready(endpoint),
            (&Method::GET | &Method::HEAD, "/metrics") => self.metrics(),
            (&Method::GET | &Method::HEAD, "/" | "/status") => self.status(request.headers()),
            (&Method::POST, "/reload") if endpoint == AdminEndpoint::Socket => {
                match self.admin_state.reload.now().await {
                    Some(verdict) => json_answer(if verdict.is_in_force() { 200 } else { 409 }, &self.told(&verdict)),
                    None => json_answer(503, &json!({"error": "the process is ending"})),
                }
            }
            (&Method::POST, "/revoke") if endpoint == AdminEndpoint::Socket => self.revoke(request.uri().query()).await,
            (&Method::POST, "/reload" | "/revoke") => {
                json_answer(403, &json!({"error": "what changes anything is asked for on the unix socket"}))
            }
            _ => json_answer(
                404,
                &json!({"error": "there is nothing here", "paths": ["/status", "/metrics", "/livez", "/readyz", "/reload", "/revoke"]}),
            ),
        }
    }

    /// Revokes the token that a query names, `name=…`.
    async fn revoke(&self, query: Option<&str>) -> Response<Full<Bytes>> {
        let name = query.and_then(|q| q.strip_prefix("name=")).filter(|name| crate::config::is_name(name));
        let Some(name) = name else {
            return json_answer(400, &json!({"error": "name the token: POST /revoke?name=NAME"}));
        };
        match self.admin_state.reload.revoke(name.to_owned()).await {
            Some(revoked) if revoked.tokens == 0 => {
                json_answer(404, &json!({"error": format!("no token named `{name}` is in force")}))
            }
            Some(revoked) => json_answer(200, &json!(revoked)),
            None => json_answer(503, &json!({"error": "the process is ending"})),
        }
    }

    /// A verdict with its words, and the file it is about.
    fn told(&self, verdict: &Verdict) -> Value {
        let mut value = serde_json::to_value(verdict).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            map.insert("text".to_owned(), json!(verdict.describe()));
            map.insert("config".to_owned(), json!(self.admin_state.reloader.path()));
        }
        value
    }

    fn ready(&self, endpoint: AdminEndpoint) -> Response<Full<Bytes>> {
        let waiting = Status::of(&self.admin_state).waiting_for;
        let ready = waiting.is_empty();
        let said = match endpoint {
            AdminEndpoint::MetricsAddress => json!({"ready": ready}),
            _ => json!({"ready": ready, "waiting_for": waiting}),
        };
        json_answer(if ready { 200 } else { 503 }, &said)
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let reload_status = self.admin_state.reloader.reload_status();
        let policy = self.admin_state.policy.load();
        let state = Gauges {
            connections: self.admin_state.connections.count(),
            most: self.admin_state.connections.most(),
            generation: reload_status.generation,
            reloads: (
                reload_status.is_good(),
                reload_status.since.as_second(),
                reload_status.reloads.0,
                reload_status.reloads.1,
            ),
            restart_pending: !reload_status.pending_restart.is_empty(),
            issuers: self
                .admin_state
                .issuers
                .status()
                .into_iter()
                .map(|s| {
                    let confirmed = s.confirmed.map_or(0, jiff::Timestamp::as_second);
                    (s.issuer.to_string(), s.keys, s.remote.then_some(confirmed))
                })
                .collect(),
            next_expiry: status::next_expiry(&policy).map_or(0, |(_, at)| at.as_second()),
            limits: self.admin_state.telemetry.principal_limiter().series(&policy),
            tailnet_silent: self.admin_state.tailnet.trouble().is_some(),
            gateway_suspended: self.admin_state.gateway.findings().is_suspended(),
        };
        answer(200, "text/plain; version=0.0.4; charset=utf-8", self.admin_state.telemetry.metrics().render(&state))
    }

    fn status(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let wants_page = headers.get(ACCEPT).and_then(|a| a.to_str().ok()).is_some_and(|a| a.contains("text/html"));
        if wants_page {
            let mut page = answer(200, "text/html; charset=utf-8", PAGE);
            page.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
            return page;
        }
        json_answer(200, &serde_json::to_value(Status::of(&self.admin_state)).unwrap_or_default())
    }
}

/// Whether a request on the loopback port was made by an address of this machine, and not by a name
/// that a web page has pointed here.
fn is_named_locally(headers: &HeaderMap) -> bool {
    Host::of(headers).is_some_and(|host| {
        host.name().eq_ignore_ascii_case("localhost") || host.ip().is_some_and(|ip| ip.is_loopback())
    })
}

/// Whether a request says once for whom it is: one `Host`, and a plain path as its target.
fn is_plain(request: &Request<Incoming>) -> bool {
    request.uri().authority().is_none()
        && request.uri().path().starts_with('/')
        && request.headers().get_all(HOST).iter().count() <= 1
}

fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    answer(status, "application/json; charset=utf-8", body.to_string())
}

fn answer(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_names_are_answered_on_the_port() {
        let named = |host: &str| is_named_locally(&[(HOST, host.parse().unwrap())].into_iter().collect());
        for good in ["127.0.0.1:18781", "localhost:18781", "localhost", "[::1]:18781", "127.0.0.1", "LOCALHOST"] {
            assert!(named(good), "{good}");
        }
        for bad in
            ["evil.example:18781", "192.168.1.1:18781", "localhost.evil.example", "", "localhost:x", "[127.0.0.1]"]
        {
            assert!(!named(bad), "{bad}");
        }
    }
}
