//! A gateway's WebSocket end, fast, that keeps what it was sent: it challenges, answers `connect`,
//! and echoes every text behind it.

use super::{RUNTIME, SECRET};
use bytes::BytesMut;
use scopeshim::websocket::frame_codec::{Assembler, Bounds, Event, Frame};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tungstenite::handshake::derive_accept_key;

/// What a release does with a connection that has no device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It keeps the scopes of a backend client.
    Modern,
    /// It keeps the scopes of devices only.
    Old,
    /// It wants devices approved first, and keeps those of a backend client.
    Suspicious,
}

pub struct WsGateway {
    address: SocketAddr,
    release: Release,
    pub open: AtomicUsize,
    pub opened: AtomicUsize,
    connects: Mutex<Vec<(String, Value)>>,
}

impl WsGateway {
    pub fn start(release: Release) -> Arc<Self> {
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let gateway = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            release,
            open: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            connects: Mutex::default(),
        });
        let this = gateway.clone();
        RUNTIME.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move {
                    let _ = socket.set_nodelay(true);
                    this.open.fetch_add(1, Ordering::SeqCst);
                    this.opened.fetch_add(1, Ordering::SeqCst);
                    let _ = this.serve(socket).await;
                    this.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        gateway
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The upgrade and the parameters of every `connect` of a client, the proxy's own left out.
    pub fn connects(&self) -> Vec<(String, Value)> {
        let all = self.connects.lock().unwrap();
        all.iter().filter(|(_, p)| p["client"]["displayName"] != "scopeshim").cloned().collect()
    }

    /// As if nobody had connected yet.
    pub fn forget(&self) {
        self.connects.lock().unwrap().clear();
    }

    pub fn pairings(&self) -> usize {
        let all = self.connects.lock().unwrap().len();
        all - self.connects().len()
    }

    async fn serve(&self, mut socket: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let key = head.lines().find_map(|l| l.strip_prefix("sec-websocket-key: ")).unwrap_or_default();
        let accept = derive_accept_key(key.as_bytes());
        let challenge = json!({ "type": "event", "event": "connect.challenge", "payload": { "nonce": "n", "ts": 1 } });
        // In one segment, as a fast gateway does.
        let mut first = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .into_bytes();
        first.extend(Frame::Text(&challenge.to_string()).encode(None));
        socket.write_all(&first).await?;

        let mut input = BytesMut::new();
        let mut assembler = Assembler::new(true, Bounds { message: 64 << 20, frames: usize::MAX });
        let mut connected = false;
        loop {
            while let Some(event) = assembler.next(&mut input).map_err(std::io::Error::other)? {
                match event {
                    Event::Text(text) if connected => {
                        socket.write_all(&Frame::Text(&text).encode(None)).await?;
                        if text == "close" {
                            socket.write_all(&Frame::Close(1012, "service restart").encode(None)).await?;
                        }
                    }
                    Event::Text(text) => {
                        let request: Value = serde_json::from_str(&text).map_err(std::io::Error::other)?;
                        let params = request["params"].clone();
                        let answer = self.answer(&request["id"], &params);
                        self.connects.lock().unwrap().push((head.clone(), params));
                        connected = answer["ok"] == true;
                        let mut bytes = Frame::Text(&answer.to_string()).encode(None);
                        if connected {
                            bytes.extend(Frame::Text("{\"type\":\"event\",\"event\":\"tick\"}").encode(None));
                        } else {
                            bytes.extend(Frame::Close(1008, "refused").encode(None));
                        }
                        socket.write_all(&bytes).await?;
                    }
                    Event::Ping(payload) => socket.write_all(&Frame::Pong(&payload).encode(None)).await?,
                    Event::Pong => {}
                    Event::Close(code) => {
                        return socket.write_all(&Frame::Close(code.unwrap_or(1000), "").encode(None)).await;
                    }
                }
            }
            if socket.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
    }

    fn answer(&self, id: &Value, params: &Value) -> Value {
        let refuse = |code: &str, details: &str| {
            json!({ "type": "res", "id": id, "ok": false,
                "error": { "code": code, "message": "refused", "details": { "code": details, "requestId": "request-1" } } })
        };
        if params["auth"]["token"] != SECRET {
            return refuse("INVALID_REQUEST", "AUTH_TOKEN_MISMATCH");
        }
        let device = params.get("device").is_some();
        if device && self.release == Release::Suspicious {
            return refuse("NOT_PAIRED", "PAIRING_REQUIRED");
        }
        let backend = params["client"]["id"] == "gateway-client" && params["client"]["mode"] == "backend";
        let kept = device || (backend && self.release != Release::Old);
        let scopes = if kept { params["scopes"].clone() } else { json!([]) };
        json!({ "type": "res", "id": id, "ok": true, "payload": { "type": "hello-ok", "protocol": 4,
            "auth": { "role": "operator", "scopes": scopes, "deviceToken": "a-credential-of-the-proxy" } } })
    }
}
