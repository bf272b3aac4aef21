//! tailscaled's LocalAPI: one request over its unix socket, bounded in time and size.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// For a whole answer: tailscaled answers from memory, in a millisecond or two.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The largest answer read, in bytes; one about a node with many capabilities has a few thousand.
const MAX_ANSWER: usize = 256 * 1024;

/// tailscaled on this machine.
#[derive(Debug)]
pub(super) struct LocalApi {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LocalApiError {
    #[error("its socket cannot be opened: {0}")]
    Connect(String),
    #[error("it did not answer within {TIMEOUT:?}")]
    Slow,
    #[error("it broke off: {0}")]
    Broken(String),
    #[error("it answered {0}")]
    Status(u16),
    #[error("it is not connected to its tailnet, its state is {0}")]
    State(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    backend_state: String,
    #[serde(default, rename = "Self")]
    own: Option<Own>,
}

#[derive(Deserialize)]
struct Own {
    #[serde(default, rename = "DNSName")]
    dns_name: String,
}

impl LocalApi {
    pub(super) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it says of an address, with a port or without; `None`: it knows no node there.
    pub(super) async fn whois(&self, address: &str) -> Result<Option<Bytes>, LocalApiError> {
        match self.get(&format!("/localapi/v0/whois?addr={address}")).await? {
            (StatusCode::OK, body) => Ok(Some(body)),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, _) => Err(LocalApiError::Status(status.as_u16())),
        }
    }

    /// Whether it answers, and is connected; gives this machine's name in the tailnet.
    pub(super) async fn check(&self) -> Result<String, LocalApiError> {
        let (status, body) = self.get("/localapi/v0/status?peers=false").await?;
        if status != StatusCode::OK {
            return Err(LocalApiError::Status(status.as_u16()));
        }
        let state: State = serde_json::from_slice(&body).map_err(|e| LocalApiError::Broken(e.to_string()))?;
        if state.backend_state != "Running" {
            return Err(LocalApiError::State(state.backend_state));
        }
        Ok(state.own.map(|own| own.dns_name).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), LocalApiError> {
        tokio::time::timeout(TIMEOUT, self.exchange(path)).await.map_err(|_| LocalApiError::Slow)?
    }

    async fn exchange(&self, path: &str) -> Result<(StatusCode, Bytes), LocalApiError> {
        let broken = |e: hyper::Error| LocalApiError::Broken(e.to_string());
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| LocalApiError::Connect(e.to_string()))?;
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = Request::get(path)
            // The name by which LocalAPI knows that no web page sent this.
            .header("host", "local-tailscaled.sock")
            .body(Empty::<Bytes>::new())
            .map_err(|e| LocalApiError::Broken(e.to_string()))?;
        let answer = async {
            let answer = send.send_request(request).await.map_err(broken)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|e| LocalApiError::Broken(e.to_string()))?.to_bytes()))
        };
        // Driven here and not in a task of its own: what is given up on leaves nothing behind.
        tokio::pin!(connection);
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = &mut connection => match ended {
                // The connection may be done before the answer is taken from it.
                Ok(()) => answer.await,
                Err(error) => Err(broken(error)),
            },
        }
    }
}
