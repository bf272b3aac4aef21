//! A fake gateway, for the demonstration and for tests without Node.
//!
//! It answers as release 2026.3.28 in token mode does (contract §1 to §3, §8): 401 without its
//! secret, 403 without the right `x-openclaw-scopes`, events at the pace of a model. It remembers
//! the requests it saw.

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, channel::Channel};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

/// Requests remembered at the most.
const REMEMBERED: usize = 10_000;

type Body = BoxBody<Bytes, Infallible>;

/// One request as the fake gateway saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub target: String,
    /// Its header lines.
    pub headers: HeaderMap,
}

/// The fake gateway.
#[derive(Debug)]
pub struct FakeGateway {
    secret: String,
    pause: Duration,
    seen: Mutex<Vec<Seen>>,
    open_streams: AtomicUsize,
}

impl FakeGateway {
    /// A fake gateway with this token and this pause between the events of a stream.
    #[must_use]
    pub fn new(secret: &str, pause: Duration) -> Arc<Self> {
        Arc::new(Self { secret: secret.to_owned(), pause, seen: Mutex::default(), open_streams: AtomicUsize::new(0) })
    }

    /// Serves on a port of 127.0.0.1 that the kernel chooses, until the runtime ends.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(self: &Arc<Self>) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let this = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let this = this.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let this = this.clone();
                        async move { Ok::<_, Infallible>(this.answer(request).await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(address)
    }

    /// Every request seen so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Event streams being written right now.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.open_streams.load(Ordering::SeqCst)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() < REMEMBERED {
                let target = head.uri.to_string();
                seen.push(Seen { method: head.method.clone(), target, headers: head.headers.clone() });
            }
        }
        let path = head.uri.path();
        let (method, needed) = match path {
            "/health" | "/healthz" => return json_answer(200, &json!({"ok": true, "status": "live"})),
            "/ready" | "/readyz" => {
                return json_answer(
                    200,
                    &json!({"ready": true, "uptimeMs": 1234, "channels": ["a detail for local callers"]}),
                );
            }
            "/v1/models" => (Method::GET, "operator.read"),
            p if p.starts_with("/v1/models/") => (Method::GET, "operator.read"),
            p if p.starts_with("/sessions/") && p.ends_with("/history") => (Method::GET, "operator.read"),
            "/v1/chat/completions" | "/v1/responses" => (Method::POST, "operator.write"),
            "/v1/embeddings" | "/tools/invoke" => (Method::POST, ""),
            p if p.starts_with("/sessions/") && p.ends_with("/kill") => (Method::POST, ""),
            _ => return html(),
        };
        if head.method != method {
            let mut answer = text(405, "Method Not Allowed");
            if let Ok(allow) = HeaderValue::from_str(method.as_str()) {
                answer.headers_mut().insert(ALLOW, allow);
            }
            return answer;
        }
        if bearer(&head.headers) != Some(self.secret.as_str()) {
            return json_answer(401, &json!({"error": {"message": "Unauthorized", "type": "unauthorized"}}));
        }
        if !needed.is_empty() && !scopes_satisfy(&head.headers, needed) {
            let message = format!("missing scope: {needed}");
            return json_answer(403, &json!({"ok": false, "error": {"type": "forbidden", "message": message}}));
        }
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        self.work(path, &head.headers, &body)
    }

    fn work(self: Arc<Self>, path: &str, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
        if path == "/v1/models" {
            return json_answer(
                200,
                &json!({"object": "list", "data": [{"id": "openclaw", "object": "model", "owned_by": "openclaw"}]}),
            );
        }
        if path.ends_with("/history") && headers.get("accept").is_some_and(|a| a == "text/event-stream") {
            return self
                .stream(vec!["event: history\ndata: {\"items\":[]}\n\n".to_owned(), ": keepalive\n\n".to_owned()]);
        }
        if path != "/v1/chat/completions" && path != "/v1/responses" {
            return json_answer(200, &json!({"ok": true, "path": path, "bytes": body.len()}));
        }
        let Ok(asked) = serde_json::from_slice::<Value>(body) else {
            return json_answer(400, &json!({"error": {"message": "Invalid JSON", "type": "invalid_request_error"}}));
        };
        let words = ["Old ", "clients ", "work ", "unchanged", "."];
        if asked.get("stream").and_then(Value::as_bool) != Some(true) {
            let content = words.concat();
            return json_answer(
                200,
                &json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "openclaw",
                    "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]}),
            );
        }
        let chat = path == "/v1/chat/completions";
        let event = |word: &str| {
            if chat {
                let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "openclaw",
                    "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": null}]});
                format!("data: {chunk}\n\n")
            } else {
                let delta = json!({"type": "response.output_text.delta", "delta": word});
                format!("event: response.output_text.delta\ndata: {delta}\n\n")
            }
        };
        let mut events: Vec<String> = words.iter().map(|w| event(w)).collect();
        events.push("data: [DONE]\n\n".to_owned());
        self.stream(events)
    }

    fn stream(self: Arc<Self>, events: Vec<String>) -> Response<Body> {
        let (mut send, body) = Channel::<Bytes, Infallible>::new(1);
        let open = Open::new(self.clone());
        tokio::spawn(async move {
            for event in events {
                if send.send_data(Bytes::from(event)).await.is_err() {
                    break;
                }
                tokio::time::sleep(self.pause).await;
            }
            drop(open);
        });
        let mut answer = Response::new(body.boxed());
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer
    }
}

/// Counts an open stream.
struct Open(Arc<FakeGateway>);

impl Open {
    fn new(of: Arc<FakeGateway>) -> Self {
        of.open_streams.fetch_add(1, Ordering::SeqCst);
        Self(of)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open_streams.fetch_sub(1, Ordering::SeqCst);
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// The gateway's own reading of the header: commas only, exact names (contract §2).
fn scopes_satisfy(headers: &HeaderMap, needed: &str) -> bool {
    headers
        .get_all("x-openclaw-scopes")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .any(|s| s == needed || s == "operator.admin" || (needed == "operator.read" && s == "operator.write"))
}

fn answer(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Full::new(body.into()).boxed());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn json_answer(status: u16, body: &Value) -> Response<Body> {
    answer(status, "application/json; charset=utf-8", body.to_string())
}

fn text(status: u16, body: &'static str) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", body)
}

/// What the gateway answers to every path it does not know: its web page.
fn html() -> Response<Body> {
    answer(200, "text/html; charset=utf-8", "<!doctype html><title>OpenClaw Control</title>")
}
