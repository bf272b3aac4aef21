//! Where the process is asked and told things: a unix socket, and a loopback port for reading.
//!
//! Never the port that clients use. What changes anything goes by the socket alone, and the socket's
//! file mode says who may.

use crate::reload::{Reload, Reloader, Verdict};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

/// Connections at a time; more wait.
const CONNECTIONS: usize = 32;
/// How long one connection may last.
const LIFETIME: Duration = Duration::from_secs(60);

/// What the process can be asked.
#[derive(Debug)]
pub struct Admin {
    reload: Reload,
    reloader: Arc<Reloader>,
    room: Arc<Semaphore>,
}

/// Which door a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The unix socket: whoever may open it may change things.
    Socket,
    /// The loopback port: for reading.
    Port,
}

impl Admin {
    /// Answers for this process.
    #[must_use]
    pub fn new(reload: Reload, reloader: Arc<Reloader>) -> Self {
        Self { reload, reloader, room: Arc::new(Semaphore::new(CONNECTIONS)) }
    }

    /// Serves one connection.
    pub(crate) async fn serve(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        door: Door,
    ) {
        let Ok(_room) = self.room.clone().acquire_owned().await else { return };
        let service = service_fn(move |request: Request<Incoming>| {
            let this = self.clone();
            async move { Ok::<_, Infallible>(this.answer(request.method(), request.uri().path(), door).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let _ = tokio::time::timeout(LIFETIME, connection).await;
    }

    async fn answer(&self, method: &Method, path: &str, door: Door) -> Response<Full<Bytes>> {
        match (method, path) {
            (&Method::GET | &Method::HEAD, "/livez") => json_answer(200, &json!({"ok": true})),
            (&Method::GET | &Method::HEAD, "/status") => json_answer(200, &self.status()),
            (&Method::POST, "/reload") if door == Door::Socket => match self.reload.now().await {
                Some(verdict) => json_answer(if verdict.is_in_force() { 200 } else { 409 }, &told(&verdict)),
                None => json_answer(503, &json!({"error": "the process is ending"})),
            },
            (&Method::POST, "/reload") => {
                json_answer(403, &json!({"error": "reloads are asked for on the unix socket"}))
            }
            _ => {
                json_answer(404, &json!({"error": "there is nothing here", "paths": ["/livez", "/status", "/reload"]}))
            }
        }
    }

    fn status(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "policy": self.reloader.standing(),
        })
    }
}

/// A verdict with its words.
fn told(verdict: &Verdict) -> Value {
    let mut value = serde_json::to_value(verdict).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("text".to_owned(), json!(verdict.describe()));
    }
    value
}

fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
