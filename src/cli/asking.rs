//! Asking a running process through its admin socket.

use super::ConfigFile;
use crate::config::surroundings::{System, default_admin_socket, default_state_dir};
use crate::config::{self};
use crate::state::state_dir_in;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;

/// For a whole answer: a reload fetches nothing, but may compile a large policy.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer read, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Which running process is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Running {
    #[command(flatten)]
    file: ConfigFile,
    /// Its admin socket; default: where the configuration file has it
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Running {
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
pub(super) fn ask(at: &Running, method: &Method, path: &str) -> Result<(u16, Value), String> {
    let (status, body) = ask_bytes(at, method, path)?;
    let value = serde_json::from_slice(&body).map_err(|e| format!("the answer is no JSON: {e}"))?;
    Ok((status, value))
}

/// Asks, and reads the answer as it is.
pub(super) fn ask_bytes(at: &Running, method: &Method, path: &str) -> Result<(u16, Bytes), String> {
    let socket = at.socket();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let asked = tokio::time::timeout(PATIENCE, exchange(&socket, method, path)).await;
        asked.map_err(|_| "the process did not answer in time".to_owned())?
    })
}

async fn exchange(socket: &PathBuf, method: &Method, path: &str) -> Result<(u16, Bytes), String> {
    let stream = UnixStream::connect(socket).await.map_err(|e| {
        format!(
            "nobody answers on {}: {e}\n  = help: is it running, and may you open its socket? --socket PATH names another",
            socket.display()
        )
    })?;
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
