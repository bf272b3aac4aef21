//! One end of a WebSocket before it is established: bytes in, messages out.

use super::frame_codec::{Assembler, Bounds, Event, Frame, FrameFault};
use bytes::BytesMut;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// How much is asked of the socket at a time, in bytes.
const READ: usize = 4096;
/// How long a peer has to read the close frame before its socket goes.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The peer is gone.
    #[error("the connection ended: {0}")]
    Gone(io::Error),
    /// The peer said goodbye, with this code.
    #[error("closed by the peer, code {0:?}")]
    Closed(Option<u16>),
    /// The peer broke the protocol.
    #[error(transparent)]
    Frame(#[from] FrameFault),
}

/// A socket, what came in and is not read yet, and who is at the other end.
#[derive(Debug)]
pub struct Wire<S> {
    socket: S,
    input: BytesMut,
    assembler: Assembler,
    /// Whether our frames are masked: the peer is a server.
    masks: bool,
    limit: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// The socket of a client; `early` is what came with its request.
    pub fn of_client(socket: S, early: &[u8], bounds: Bounds) -> Self {
        Self::new(socket, early, bounds, true)
    }

    /// The socket of a server; `early` is what came with its answer.
    pub fn of_server(socket: S, early: &[u8], bounds: Bounds) -> Self {
        Self::new(socket, early, bounds, false)
    }

    fn new(socket: S, early: &[u8], bounds: Bounds, from_client: bool) -> Self {
        Self {
            socket,
            input: BytesMut::from(early),
            assembler: Assembler::new(from_client, bounds),
            masks: !from_client,
            // A message, its header, and what may follow in the same read.
            limit: bounds.message + READ,
        }
    }

    /// The next text message; pings are answered.
    ///
    /// # Errors
    /// [`WireError`] when none comes.
    pub async fn text(&mut self) -> Result<String, WireError> {
        loop {
            match self.assembler.next(&mut self.input)? {
                Some(Event::Text(text)) => return Ok(text),
                Some(Event::Ping(payload)) => {
                    self.send(Frame::Pong(&payload)).await.map_err(WireError::Gone)?;
                }
                Some(Event::Pong) => {}
                Some(Event::Close(code)) => return Err(WireError::Closed(code)),
                None => self.fill().await.map_err(WireError::Gone)?,
            }
        }
    }

    /// Returns when the peer is gone. What it sends is kept, up to the bound.
    pub async fn gone(&mut self) -> io::Error {
        loop {
            if self.input.len() >= self.limit {
                std::future::pending::<()>().await;
            }
            if let Err(error) = self.fill().await {
                return error;
            }
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.input.reserve(READ);
        match self.socket.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let mut mask = [0; 4];
        let mask = if self.masks {
            getrandom::fill(&mut mask).map_err(io::Error::other)?;
            Some(mask)
        } else {
            None
        };
        self.socket.write_all(&frame.encode(mask)).await?;
        self.socket.flush().await
    }

    /// Says goodbye and lets the peer read it: a socket dropped with unread input would be reset,
    /// and the reset may overtake the close frame.
    pub async fn close(mut self, code: u16, reason: &str) {
        let farewell = async {
            self.send(Frame::Close(code, reason)).await?;
            linger(&mut self.socket).await
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }

    /// The socket, and what came in and was not read.
    pub fn into_parts(self) -> (S, BytesMut) {
        (self.socket, self.input)
    }
}

/// Ends our side of a socket and reads until the peer ends its own.
pub(super) async fn linger(socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    socket.shutdown().await?;
    let mut scratch = [0; 1024];
    while socket.read(&mut scratch).await? > 0 {}
    Ok(())
}
