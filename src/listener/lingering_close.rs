//! The end of a connection that is answered without Pingora: what is said, and that it arrives.

use super::client_socket::ClientSocket;
use crate::refusal::Refusal;
use http::StatusCode;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};

/// The most that is read after the answer, in bytes: a socket that is closed with something unread
/// is reset, and the reset may overtake the answer.
const UNREAD: usize = 1024 * 1024;

/// An answer, then the end. How long that may take is the connection's to say.
#[derive(Debug)]
pub(super) struct Closing {
    answer: Vec<u8>,
    written: usize,
    shut: bool,
    read: usize,
}

impl Closing {
    pub(super) fn with(refusal: &Refusal) -> Self {
        Self { answer: answer(refusal), written: 0, shut: false, read: 0 }
    }

    /// Ready when the client has had its answer, or does not want it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, socket: &mut BufWriter<ClientSocket>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.answer.get(self.written..).filter(|rest| !rest.is_empty()) {
            self.written += ready!(Pin::new(&mut *socket).poll_write(cx, rest))?;
        }
        if !self.shut {
            ready!(Pin::new(&mut *socket).poll_shutdown(cx))?;
            self.shut = true;
        }
        while self.read < UNREAD {
            let mut scratch = [const { MaybeUninit::uninit() }; 4096];
            let mut buf = ReadBuf::uninit(&mut scratch);
            ready!(Pin::new(socket.get_mut()).poll_read(cx, &mut buf))?;
            match buf.filled().len() {
                0 => break,
                read => self.read += read,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A refusal as the bytes of an answer that ends its connection.
pub(super) fn answer(refusal: &Refusal) -> Vec<u8> {
    let body = refusal.body(None, "-");
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let again = refusal.retry_after().map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\n{again}Connection: close\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len()
    );
    [head.into_bytes(), body].concat()
}
