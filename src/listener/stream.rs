//! A client's socket, as Pingora wants to see it.

use super::Connection;
use super::handshake::Secured;
use crate::refusal::Refusal;
use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use std::io;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufWriter, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::ServerConfig;

/// Bytes that gather a response's head and its first chunk into one segment: an Ethernet MTU less
/// the IP and TCP headers.
const WRITE_BUFFER: usize = 1460;

/// A client's connection.
#[derive(Debug)]
pub struct ClientStream {
    socket: BufWriter<Raw>,
    connection: Option<Arc<Connection>>,
    /// Whether Pingora's own answer to a malformed head was replaced by ours.
    replaced: bool,
}

/// The socket itself.
#[derive(Debug)]
pub enum Raw {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<Secured>),
}

impl Raw {
    /// The TCP socket beneath, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Unix(_) => None,
            Self::Tls(secured) => secured.socket(),
        }
    }
}

impl ClientStream {
    pub(super) fn tcp(stream: TcpStream) -> Self {
        Self { socket: BufWriter::with_capacity(WRITE_BUFFER, Raw::Tcp(stream)), connection: None, replaced: false }
    }

    pub(super) fn tls(stream: TcpStream, tls: Arc<ServerConfig>) -> Self {
        let secured = Raw::Tls(Box::new(Secured::begin(stream, tls)));
        Self { socket: BufWriter::with_capacity(WRITE_BUFFER, secured), connection: None, replaced: false }
    }

    pub(super) fn unix(stream: UnixStream) -> Self {
        Self { socket: BufWriter::with_capacity(WRITE_BUFFER, Raw::Unix(stream)), connection: None, replaced: false }
    }

    /// Lets `connection` see when bytes come in.
    pub(super) fn watched_by(mut self, connection: Arc<Connection>) -> Self {
        self.connection = Some(connection);
        self
    }

    /// What Pingora writes before a request's head is complete is its own answer to a malformed one:
    /// an empty page that no filter sees. Ours says why.
    fn replace(mut self: Pin<&mut Self>, cx: &mut Context<'_>, page: &[u8]) -> Poll<io::Result<usize>> {
        if !self.replaced {
            let refusal = if page.starts_with(b"HTTP/1.1 405") { Refusal::Method } else { Refusal::Malformed };
            let body = refusal.body(None, "-");
            let answer = format!(
                "HTTP/1.1 {} {}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\
                 Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                refusal.status(),
                if refusal.status() == 405 { "Method Not Allowed" } else { "Bad Request" },
                body.len()
            );
            // Less than the write buffer holds: it is taken whole.
            let answer = [answer.into_bytes(), body].concat();
            std::task::ready!(Pin::new(&mut self.socket).poll_write(cx, &answer))?;
            if let Some(connection) = &self.connection {
                connection.malformed(&refusal);
            }
            self.replaced = true;
        }
        Poll::Ready(Ok(page.len()))
    }

    /// The socket alone. Nothing may be left to write.
    #[must_use]
    pub fn into_raw(self) -> Raw {
        self.socket.into_inner()
    }
}

/// What a socket fails with whose caller may not go on.
fn revoked() -> io::Error {
    io::Error::other("the policy ended it")
}

impl AsyncRead for Raw {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Raw {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_flush(cx),
            Self::Unix(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Self::Unix(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Self::Unix(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Self::Tls(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        }
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Whoever reads has nothing more to write for now: what was gathered goes on its way.
        if !self.socket.buffer().is_empty() {
            let _ = Pin::new(&mut self.socket).poll_flush(cx)?;
        }
        let before = buf.filled().len();
        // Past the write buffer: reads have buffers of their own further up.
        let result = Pin::new(self.socket.get_mut()).poll_read(cx, buf);
        if let Some(connection) = &self.connection {
            if buf.filled().len() > before {
                connection.bytes_arrived();
            }
            if result.is_pending() && connection.poll_revoked(cx.waker()) {
                return Poll::Ready(Err(revoked()));
            }
        }
        result
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.connection.as_ref().is_some_and(|c| c.awaits_request()) {
            return self.replace(cx, buf);
        }
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        if result.is_pending() && self.connection.as_ref().is_some_and(|c| c.poll_revoked(cx.waker())) {
            return Poll::Ready(Err(revoked()));
        }
        result
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        let _ = self.socket.shutdown().await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        match self.socket.get_ref() {
            Raw::Tcp(s) => s.as_raw_fd(),
            Raw::Unix(s) => s.as_raw_fd(),
            Raw::Tls(s) => s.socket().map_or(-1, TcpStream::as_raw_fd),
        }
    }
}

// The peer's address is kept by the `Connection`, and nobody asks for the rest.
impl Ssl for ClientStream {}
impl Peek for ClientStream {}
impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}
impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}
impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}
