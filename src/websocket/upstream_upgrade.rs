//! From HTTP to WebSocket on a connection to the gateway (RFC 6455 §4.1).
//!
//! httparse reads the answer and tungstenite computes the key. The rest is written here because the socket is
//! spliced afterwards: hyper's upgrade would put its own reader, and a task, between the two.

use crate::refusal::{Refusal, SocketFault};
use bytes::BytesMut;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderName, HeaderValue};
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

/// The longest answer to an upgrade, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Asks for the protocol, with these lines; gives what the gateway sent behind its answer.
pub(super) async fn protocol(
    socket: &mut TcpStream,
    lines: impl Iterator<Item = (HeaderName, HeaderValue)>,
) -> Result<BytesMut, Refusal> {
    let key = generate_key();
    let mut head = format!(
        "GET / HTTP/1.1\r\n{CONNECTION}: Upgrade\r\n{UPGRADE}: websocket\r\n{SEC_WEBSOCKET_VERSION}: 13\r\n{SEC_WEBSOCKET_KEY}: {key}\r\n"
    )
    .into_bytes();
    for (name, value) in lines {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    socket.write_all(&head).await.map_err(|_| Refusal::GatewayBroken)?;
    switched(socket, &key).await
}

/// Reads the answer; gives what came behind it.
async fn switched(socket: &mut TcpStream, key: &str) -> Result<BytesMut, Refusal> {
    let mut input = BytesMut::with_capacity(1024);
    loop {
        let read = socket
            .read_buf(&mut input)
            .await
            .and_then(|n| if n == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(n) });
        read.map_err(|_| Refusal::GatewayBroken)?;
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut lines);
        match answer.parse(&input) {
            Ok(httparse::Status::Complete(length)) => {
                let status = answer.code.unwrap_or_default();
                if status != 101 {
                    return Err(Refusal::Socket(SocketFault::GatewayRefused(format!("it answered {status}"))));
                }
                let accepted = answer.headers.iter().any(|h| {
                    h.name.eq_ignore_ascii_case(SEC_WEBSOCKET_ACCEPT.as_str())
                        && h.value == derive_accept_key(key.as_bytes()).as_bytes()
                });
                return if accepted { Ok(input.split_off(length)) } else { Err(Refusal::GatewayBroken) };
            }
            Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => {}
            _ => return Err(Refusal::GatewayBroken),
        }
    }
}
