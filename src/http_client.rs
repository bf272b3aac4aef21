//! A small HTTP/1.1 client for this program's own questions: one connection, one request, and only
//! the header lines it is given. No redirect, no proxy, no retry: what it reports is what happened.
//! It is hyper without reqwest, which adds lines of its own, pools connections, and cannot go on with a
//! connection that is there already; reqwest fetches issuers' keys, where TLS and proxies are needed.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

/// The most of a body that is kept, in bytes.
const KEPT: usize = 64 * 1024;

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// A host, without brackets, and a port; every address of the host is tried.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One question.
#[derive(Debug, Clone)]
pub struct ClientRequest<'a> {
    /// The method.
    pub method: Method,
    /// The path, with a query if there is one.
    pub path: &'a str,
    /// Header lines beside `Host` and the body's length.
    pub lines: Vec<(HeaderName, HeaderValue)>,
    /// The body; empty: none.
    pub body: Bytes,
}

impl<'a> ClientRequest<'a> {
    /// A GET with these lines.
    #[must_use]
    pub fn get(path: &'a str, lines: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { method: Method::GET, path, lines, body: Bytes::new() }
    }
}

/// One answer, its body cut at 64 KiB.
#[derive(Debug, Clone, Default)]
pub struct ClientResponse {
    /// The status.
    pub status: u16,
    /// The header lines.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl ClientResponse {
    /// Whether it is a web page.
    #[must_use]
    pub fn is_html(&self) -> bool {
        self.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|t| t.starts_with("text/html"))
    }

    /// What stands under a JSON pointer in the body, if it is text.
    #[must_use]
    pub fn text_at(&self, pointer: &str) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        body.pointer(pointer)?.as_str().map(str::to_owned)
    }

    /// The status and, of an error, the message: for a person.
    #[must_use]
    pub fn brief(&self) -> String {
        match self.text_at("/error/message") {
            Some(message) => format!("{} {message}", self.status),
            None if self.is_html() => format!("{} with a web page", self.status),
            None => self.status.to_string(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no connection.
    #[error("{0}")]
    Connect(std::io::Error),
    /// The time was over.
    #[error("no answer within {0:?}")]
    Slow(Duration),
    /// The connection broke off, or what came was not HTTP.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

/// Asks and reads the whole answer, all of it within `timeout`.
///
/// # Errors
/// [`Fault`]; whether the request was carried out is then unknown, unless it is [`Fault::Connect`].
pub async fn ask(server: &Server, question: ClientRequest<'_>, timeout: Duration) -> Result<ClientResponse, Fault> {
    whole(open(server, question, timeout), timeout).await
}

/// The same over a connection that is there already.
///
/// # Errors
/// As [`ask`].
pub async fn ask_over(
    stream: TcpStream,
    server: &Server,
    question: ClientRequest<'_>,
    timeout: Duration,
) -> Result<ClientResponse, Fault> {
    whole(send(stream, server, question), timeout).await
}

async fn whole(
    open: impl Future<Output = Result<OpenResponse, Fault>>,
    timeout: Duration,
) -> Result<ClientResponse, Fault> {
    let deadline = Instant::now() + timeout;
    let whole = async {
        let mut open = open.await?;
        let mut body = BytesMut::new();
        while body.len() < KEPT {
            let Some(piece) = open.piece().await? else { break };
            body.extend_from_slice(&piece);
        }
        body.truncate(KEPT);
        Ok(ClientResponse { status: open.status, headers: std::mem::take(&mut open.headers), body: body.freeze() })
    };
    timeout_at(deadline, whole).await.unwrap_or(Err(Fault::Slow(timeout)))
}

/// An answer whose head has come. Dropping it hangs up.
#[derive(Debug)]
pub struct OpenResponse {
    /// The status.
    pub status: u16,
    /// The header lines.
    pub headers: HeaderMap,
    body: Incoming,
    connection: tokio::task::JoinHandle<()>,
}

impl OpenResponse {
    /// The next piece of the body as it comes; `None` at its end.
    ///
    /// # Errors
    /// [`Fault::Broken`] when the connection ends before the body does.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(|e| broken(&e))?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

impl Drop for OpenResponse {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Asks and waits for the answer's head.
///
/// # Errors
/// As [`ask`].
pub async fn open(server: &Server, question: ClientRequest<'_>, timeout: Duration) -> Result<OpenResponse, Fault> {
    let asked = async {
        match server {
            Server::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(Fault::Connect)?;
                let _ = stream.set_nodelay(true);
                send(stream, server, question).await
            }
            Server::Unix(path) => {
                send(UnixStream::connect(path).await.map_err(Fault::Connect)?, server, question).await
            }
        }
    };
    tokio::time::timeout(timeout, asked).await.unwrap_or(Err(Fault::Slow(timeout)))
}

async fn send<S>(stream: S, server: &Server, question: ClientRequest<'_>) -> Result<OpenResponse, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    let connection = tokio::spawn(async move {
        let _ = connection.await;
    });
    let host = match server {
        Server::Tcp(..) => server.to_string(),
        Server::Unix(_) => "localhost".to_owned(),
    };
    let mut request = Request::new(Full::new(question.body));
    *request.method_mut() = question.method;
    *request.uri_mut() = question.path.parse().map_err(|_| Fault::Broken("the path is none".to_owned()))?;
    let host = HeaderValue::from_str(&host).map_err(|_| Fault::Broken("the host is none".to_owned()))?;
    request.headers_mut().insert(HOST, host);
    for (name, value) in question.lines {
        request.headers_mut().append(name, value);
    }
    match sender.send_request(request).await {
        Ok(response) => {
            let (head, body) = response.into_parts();
            Ok(OpenResponse { status: head.status.as_u16(), headers: head.headers, body, connection })
        }
        Err(error) => {
            connection.abort();
            Err(broken(&error))
        }
    }
}

/// The innermost cause: the outer ones say only that something failed.
fn broken(error: &hyper::Error) -> Fault {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Fault::Broken(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_gateway::FakeGateway;

    #[tokio::test]
    async fn it_says_what_it_is_told_and_what_came() {
        let gateway = FakeGateway::new("the-secret-of-the-gateway", Duration::ZERO);
        let address = gateway.start().await.unwrap();
        let server = Server::Tcp(address.ip().to_string(), address.port());
        let lines = vec![(HeaderName::from_static("x-a"), HeaderValue::from_static(""))];
        let answer = ask(&server, ClientRequest::get("/v1/models", lines), Duration::from_secs(5)).await.unwrap();
        assert_eq!(answer.brief(), "401 Unauthorized");
        let seen = gateway.seen();
        let names: Vec<_> = seen[0].headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["host", "x-a"]);
        let answer = ask(&server, ClientRequest::get("/", vec![]), Duration::from_secs(5)).await.unwrap();
        assert_eq!(answer.brief(), "200 with a web page");
    }

    #[tokio::test]
    async fn nobody_there_is_a_fault_of_the_connection() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = Server::Tcp("127.0.0.1".to_owned(), nobody.port());
        let fault = ask(&server, ClientRequest::get("/", vec![]), Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(fault, Fault::Connect(_)), "{fault}");
    }
}
