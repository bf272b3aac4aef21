//! Asks a running process through its admin socket.

use super::ConfigFile;
use crate::config::environment::{System, default_admin_socket, default_state_dir};
use crate::config::{self};
use crate::last_good::{StateDir, state_dir_in};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// For a whole answer: a reload fetches nothing, but may compile a large policy.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer read, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Which running process is meant.
#[derive(Debug, clap::Args)]
pub(super) struct RunningProcess {
    #[command(flatten)]
    file: ConfigFile,
    /// The admin socket; default: as configured
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Nothing listens there.
    #[error(
        "no answer on {}: {cause}\n  = help: check that scopeshim runs; --socket PATH names another socket", .socket.display()
    )]
    NotRunning { socket: PathBuf, cause: std::io::Error },
    /// It may run, and was not reached.
    #[error("{}: {cause}\n  = help: check that you may open its socket; --socket PATH names another", .socket.display())]
    Unreached { socket: PathBuf, cause: std::io::Error },
    /// It was reached, and something went wrong.
    #[error("{0}")]
    Failed(String),
}

impl RunningProcess {
    /// The process by this file.
    pub(super) fn by(config: &Path) -> Self {
        Self { file: ConfigFile { config: config.to_owned() }, socket: None }
    }

    /// The configuration file.
    pub(super) fn config(&self) -> &Path {
        &self.file.config
    }

    /// Where the latest process by this file said it is asked.
    fn announced(&self) -> Option<PathBuf> {
        let path = &self.file.config;
        let dirs = [state_dir_in(&std::fs::read_to_string(path).unwrap_or_default()), Some(default_state_dir(&System))];
        dirs.into_iter().flatten().find_map(|dir| StateDir::new(&dir).announced(path))
    }

    fn socket(&self) -> PathBuf {
        if let Some(socket) = &self.socket {
            return socket.clone();
        }
        let path = &self.file.config;
        if let Ok(loaded) = config::load(path, &System)
            && let Some(config) = loaded.config
        {
            return config.fixed.admin.socket;
        }
        // The file may be broken: that is when the process is asked most.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let dir = state_dir_in(&text).unwrap_or_else(|| default_state_dir(&System));
        default_admin_socket(&System, &dir)
    }
}

/// Asks, and reads the answer as JSON.
pub(super) fn ask(at: &RunningProcess, method: &Method, path: &str) -> Result<(u16, Value), AskError> {
    let (status, body) = ask_bytes(at, method, path)?;
    let value = serde_json::from_slice(&body).map_err(|e| AskError::Failed(format!("the answer is not JSON: {e}")))?;
    Ok((status, value))
}

/// Asks, and reads the answer as it is.
pub(super) fn ask_bytes(at: &RunningProcess, method: &Method, path: &str) -> Result<(u16, Bytes), AskError> {
    let socket = at.socket();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| AskError::Failed(e.to_string()))?;
    runtime.block_on(async {
        let stream = match connect(&socket).await {
            // The file may name another socket than the process was started with.
            Err(missing @ AskError::NotRunning { .. }) if at.socket.is_none() => match at.announced() {
                Some(announced) if announced != socket => connect(&announced).await.map_err(|error| match error {
                    AskError::NotRunning { .. } => missing,
                    other => other,
                })?,
                _ => return Err(missing),
            },
            other => other?,
        };
        let asked = tokio::time::timeout(TIMEOUT, exchange(stream, method, path)).await;
        asked.map_err(|_| AskError::Failed("the process did not answer in time".to_owned()))?.map_err(AskError::Failed)
    })
}

async fn connect(socket: &Path) -> Result<UnixStream, AskError> {
    UnixStream::connect(socket).await.map_err(|cause| {
        let socket = socket.to_owned();
        match cause.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::NotRunning { socket, cause },
            _ => AskError::Unreached { socket, cause },
        }
    })
}

async fn exchange(stream: UnixStream, method: &Method, path: &str) -> Result<(u16, Bytes), String> {
    let failed = |e: hyper::Error| format!("the process did not answer: {e}");
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "scopeshim")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let answer = send.send_request(request).await.map_err(failed)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|e| e.to_string())?;
    Ok((status, body.to_bytes()))
}
