//! A client's socket, as Pingora wants to see it: a request's head in one piece, and not too large.

use super::Connection;
use super::client_socket::ClientSocket;
use super::handshake::Secured;
use super::head::{Bounds, Scanner, Seen};
use super::lingering_close::Closing;
use crate::refusal::{LimitFault, Refusal};
use async_trait::async_trait;
use bytes::BytesMut;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufWriter, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::ServerConfig;

/// Bytes that gather a response's head and its first chunk into one segment: an Ethernet MTU less
/// the IP and TCP headers.
const WRITE_BUFFER: usize = 1460;
/// Bytes of a head asked of the socket at a time.
const READ: usize = 4096;

/// A client's connection.
#[derive(Debug)]
pub struct ClientStream {
    socket: BufWriter<ClientSocket>,
    connection: Option<Arc<Connection>>,
    /// Whether Pingora's own answer to a malformed head was replaced by ours.
    replaced: bool,
    head: Head,
    /// The end of it: an answer of ours is on its way out.
    closing: Option<Box<Closing>>,
}

/// The head that is coming in.
#[derive(Debug, Default)]
struct Head {
    scanner: Scanner,
    /// What came of it, if it did not come whole; then what was not handed on yet.
    held: BytesMut,
    /// Whether it is whole, and handed on or about to be.
    whole: bool,
}

impl ClientStream {
    fn new(socket: ClientSocket) -> Self {
        Self {
            socket: BufWriter::with_capacity(WRITE_BUFFER, socket),
            connection: None,
            replaced: false,
            head: Head::default(),
            closing: None,
        }
    }

    pub(super) fn tcp(stream: TcpStream) -> Self {
        Self::new(ClientSocket::Tcp(stream))
    }

    pub(super) fn tls(stream: TcpStream, tls: Arc<ServerConfig>) -> Self {
        Self::new(ClientSocket::Tls(Box::new(Secured::begin(stream, tls))))
    }

    pub(super) fn unix(stream: UnixStream) -> Self {
        Self::new(ClientSocket::Unix(stream))
    }

    /// Lets `connection` see when bytes come in.
    pub(super) fn watched_by(mut self, connection: Arc<Connection>) -> Self {
        self.connection = Some(connection);
        self
    }

    /// Waits for the first head, with nothing but the head itself in memory. False: none comes, and
    /// whatever there was to say about it is said.
    pub(crate) async fn first_head(&mut self) -> bool {
        poll_fn(|cx| self.poll_gather(cx)).await.unwrap_or(false)
    }

    /// Answers with a refusal and ends the connection.
    pub(super) async fn turn_away(mut self, refusal: &Refusal) {
        let mut closing = Closing::with(refusal);
        let _ = poll_fn(|cx| closing.poll(cx, &mut self.socket)).await;
    }

    /// The same at once, without waiting for anything: as far as the kernel takes the answer.
    pub(super) fn hang_up(self, refusal: &Refusal) {
        self.socket.get_ref().hang_up(&super::lingering_close::answer(refusal));
    }

    /// Gathers a head. True: it is whole, or nothing more comes of it.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(connection) = self.connection.clone() else { return Poll::Ready(Ok(true)) };
        loop {
            if let Some(closing) = &mut self.closing {
                let _ = ready!(closing.poll(cx, &mut self.socket));
                return Poll::Ready(Ok(false));
            }
            let mut scratch = [const { MaybeUninit::uninit() }; READ];
            let mut buf = ReadBuf::uninit(&mut scratch);
            if Pin::new(self.socket.get_mut()).poll_read(cx, &mut buf)?.is_pending() {
                if !connection.head_waits(cx.waker()) {
                    return Poll::Pending;
                }
                if self.head.held.is_empty() {
                    return Poll::Ready(Ok(false));
                }
                self.refuse(&connection, &Refusal::Limit(LimitFault::HeadTime));
                continue;
            }
            if buf.filled().is_empty() {
                if self.head.held.is_empty() {
                    return Poll::Ready(Ok(false));
                }
                self.refuse(&connection, &Refusal::Malformed);
                continue;
            }
            self.head.held.extend_from_slice(buf.filled());
            if self.check(&connection, buf.filled()) {
                return Poll::Ready(Ok(true));
            }
        }
    }

    /// Takes these bytes of a head into account. True: it may be handed on.
    fn check(&mut self, connection: &Arc<Connection>, bytes: &[u8]) -> bool {
        connection.bytes_arrived();
        let limits = connection.limits();
        let bounds = Bounds { bytes: limits.head, lines: limits.headers };
        let refusal = match self.head.scanner.follow(bytes, bounds) {
            Seen::Part => return false,
            Seen::Whole | Seen::Odd => {
                self.head.whole = true;
                return true;
            }
            Seen::TooManyBytes => Refusal::HeadTooLarge { limit: bounds.bytes, unit: "bytes" },
            Seen::TooManyLines => Refusal::HeadTooLarge { limit: bounds.lines, unit: "headers" },
        };
        self.refuse(connection, &refusal);
        false
    }

    fn refuse(&mut self, connection: &Arc<Connection>, refusal: &Refusal) {
        connection.closes();
        connection.malformed(refusal);
        self.head = Head::default();
        // Whatever Pingora makes of this is not for the client.
        self.replaced = true;
        self.closing = Some(Box::new(Closing::with(refusal)));
    }

    /// A head for a reader that has a buffer of its own: as a rule it comes whole, and is read into that.
    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(connection) = self.connection.clone() else { return Poll::Ready(Ok(())) };
        if connection.is_resting() {
            self.head = Head::default();
        } else if self.head.whole {
            // The parser wants more of a head that was whole: they do not agree where it ends.
            self.refuse(&connection, &Refusal::Malformed);
        }
        if self.closing.is_none() && self.head.held.is_empty() {
            let before = buf.filled().len();
            if Pin::new(self.socket.get_mut()).poll_read(cx, buf)?.is_pending() {
                // With nothing of it here there is nothing to answer.
                return if connection.head_waits(cx.waker()) { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            let new = buf.filled().get(before..).unwrap_or_default();
            if new.is_empty() || self.check(&connection, new) {
                return Poll::Ready(Ok(()));
            }
            if self.closing.is_none() {
                self.head.held.extend_from_slice(new);
            }
            buf.set_filled(before);
        }
        if ready!(self.poll_gather(cx))? {
            self.hand_on(buf);
        }
        Poll::Ready(Ok(()))
    }

    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) {
        let held = &mut self.head.held;
        buf.put_slice(&held.split_to(held.len().min(buf.remaining())));
        if held.is_empty() {
            *held = BytesMut::new();
        }
    }

    /// What Pingora writes before a request's head is complete is its own answer to a malformed one:
    /// an empty page that no filter sees. Ours says why.
    fn replace(mut self: Pin<&mut Self>, cx: &mut Context<'_>, page: &[u8]) -> Poll<io::Result<usize>> {
        if !self.replaced {
            let refusal = if page.starts_with(b"HTTP/1.1 405") { Refusal::Method } else { Refusal::Malformed };
            // Less than the write buffer holds: it is taken whole.
            ready!(Pin::new(&mut self.socket).poll_write(cx, &super::lingering_close::answer(&refusal)))?;
            if let Some(connection) = &self.connection {
                connection.malformed(&refusal);
            }
            self.replaced = true;
        }
        Poll::Ready(Ok(page.len()))
    }

    /// The socket alone, and what came in by it and was not read. Nothing may be left to write.
    #[must_use]
    pub fn into_raw(self) -> (ClientSocket, BytesMut) {
        (self.socket.into_inner(), self.head.held)
    }
}

/// What a socket fails with whose caller may not go on.
fn revoked() -> io::Error {
    io::Error::other("the policy ended it")
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // A read means that there is nothing more to write for now: what was gathered is sent.
        if !self.socket.buffer().is_empty() {
            let _ = Pin::new(&mut self.socket).poll_flush(cx)?;
        }
        if self.head.whole && !self.head.held.is_empty() {
            self.hand_on(buf);
            return Poll::Ready(Ok(()));
        }
        let Some(connection) = &self.connection else {
            return Pin::new(self.socket.get_mut()).poll_read(cx, buf);
        };
        if connection.expects_head() {
            return self.poll_head(cx, buf);
        }
        let connection = connection.clone();
        let before = buf.filled().len();
        // Past the write buffer: reads have buffers of their own further up.
        match Pin::new(self.socket.get_mut()).poll_read(cx, buf) {
            Poll::Pending if connection.body_waits(cx.waker()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending if connection.poll_revoked(cx.waker()) => Poll::Ready(Err(revoked())),
            Poll::Pending => Poll::Pending,
            Poll::Ready(read) => {
                connection.body_came(buf.filled().len() - before);
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.replaced || self.connection.as_ref().is_some_and(|c| c.awaits_request()) {
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
            ClientSocket::Tcp(s) => s.as_raw_fd(),
            ClientSocket::Unix(s) => s.as_raw_fd(),
            ClientSocket::Tls(s) => s.socket().map_or(-1, TcpStream::as_raw_fd),
        }
    }
}

// The peer's address is kept by the `Connection`; the rest is not needed.
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
