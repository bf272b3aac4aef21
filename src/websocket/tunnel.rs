//! Bytes both ways, as they come, until one side ends or the tunnel has to.
//!
//! One task moves both directions, through a buffer that all tunnels of a thread share: an idle
//! tunnel holds none. Frames are followed, not held back, so that an end of ours can stand between
//! two of them.

use super::frame_codec::{Frame, GOING_AWAY, Tracker};
use super::message_stream::linger;
use crate::access_log::Direction;
use bytes::{Buf as _, BytesMut};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// Bytes moved at a time: a large frame is many reads and writes otherwise.
const SCRATCH: usize = 256 * 1024;
/// How long the other direction may go on when one has ended.
const HALF_CLOSED: Duration = Duration::from_secs(2);
/// How long the frame under way has to come to its end when the tunnel must.
const LAST_FRAME: Duration = Duration::from_secs(2);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// One direction.
#[derive(Debug, Default)]
struct Pipe {
    /// Read and not taken by the writer yet.
    pending: BytesMut,
    tracker: Tracker,
    bytes: u64,
    /// Nothing is read past the end of the frame under way.
    stops: bool,
    done: bool,
}

impl Pipe {
    fn permissions(first: BytesMut) -> Self {
        let mut pipe = Self { bytes: first.len() as u64, ..Self::default() };
        pipe.tracker.follow(&first);
        pipe.pending = first;
        pipe
    }

    /// Moves what can be moved. Ready when this direction is at its end.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            while !self.pending.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.pending))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.pending.advance(written);
            }
            if self.stops && (self.tracker.at_boundary() || self.done) {
                return Poll::Ready(Ok(()));
            }
            let more = BUFFER.with(|buffer| self.poll_through(cx, from, to, &mut buffer.borrow_mut()));
            if more.is_pending() {
                // An idle tunnel holds no memory for what once passed.
                self.pending = BytesMut::new();
            }
            if !ready!(more)? {
                self.done = true;
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads once and writes what the writer takes at once; keeps the rest. False at the end.
    fn poll_through<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        scratch: &mut [u8],
    ) -> Poll<io::Result<bool>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        let mut read = buffer.filled();
        if read.is_empty() {
            return Poll::Ready(Ok(false));
        }
        if self.stops {
            let taken = self.tracker.follow_to_boundary(read);
            read = read.get(..taken).unwrap_or_default();
        } else {
            self.tracker.follow(read);
        }
        self.bytes += read.len() as u64;
        let written = match Pin::new(to).poll_write(cx, read) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        if let Some(rest) = read.get(written..).filter(|rest| !rest.is_empty()) {
            self.pending.extend_from_slice(rest);
        }
        Poll::Ready(Ok(true))
    }
}

/// How a tunnel ended.
#[derive(Debug)]
pub enum Ended {
    /// By its peers.
    Closed,
    /// A socket failed.
    Failed(io::Error),
    /// By us, with this code.
    Told(u16),
}

/// Two sockets with everything that passes between them.
#[derive(Debug)]
pub struct Tunnel<C, G> {
    client: C,
    gateway: G,
    up: Pipe,
    down: Pipe,
}

impl<C, G> Tunnel<C, G>
where
    C: AsyncRead + AsyncWrite + Unpin,
    G: AsyncRead + AsyncWrite + Unpin,
{
    /// Between these two; `up` and `down` are what each is owed already.
    pub fn new(client: C, gateway: G, up: BytesMut, down: BytesMut) -> Self {
        Self { client, gateway, up: Pipe::permissions(up), down: Pipe::permissions(down) }
    }

    /// What went to the gateway, and what to the client.
    pub fn passed(&self) -> (Direction, Direction) {
        let of =
            |pipe: &Pipe| Direction { frames: pipe.tracker.frames(), bytes: pipe.bytes, close: pipe.tracker.close() };
        (of(&self.up), of(&self.down))
    }

    /// Runs until a peer ends it, or until `told` gives a close code and a reason.
    pub async fn run(&mut self, told: impl Future<Output = (u16, &'static str)>) -> Ended {
        let (code, reason) = tokio::select! {
            ended = self.move_bytes() => return ended.map_or_else(Ended::Failed, |()| Ended::Closed),
            told = told => told,
        };
        let _ = tokio::time::timeout(LAST_FRAME, self.part(code, reason)).await;
        Ended::Told(code)
    }

    async fn move_bytes(&mut self) -> io::Result<()> {
        let first = poll_fn(|cx| {
            // Both are asked each time, so that both wait for their sockets.
            let up = self.up.poll(cx, &mut self.client, &mut self.gateway);
            let down = self.down.poll(cx, &mut self.gateway, &mut self.client);
            match (up, down) {
                (Poll::Ready(Err(e)), _) | (_, Poll::Ready(Err(e))) => Poll::Ready(Err(e)),
                (Poll::Ready(Ok(())), _) => Poll::Ready(Ok(true)),
                (_, Poll::Ready(Ok(()))) => Poll::Ready(Ok(false)),
                _ => Poll::Pending,
            }
        })
        .await?;
        let other = async {
            if first {
                self.gateway.shutdown().await?;
                poll_fn(|cx| self.down.poll(cx, &mut self.gateway, &mut self.client)).await?;
                self.client.shutdown().await
            } else {
                self.client.shutdown().await?;
                poll_fn(|cx| self.up.poll(cx, &mut self.client, &mut self.gateway)).await?;
                self.gateway.shutdown().await
            }
        };
        // An end that was seen is not undone by what the other side makes of it.
        let _ = tokio::time::timeout(HALF_CLOSED, other).await;
        Ok(())
    }

    /// Ends both sides with a close frame, each behind the frame that is under way there.
    async fn part(&mut self, code: u16, reason: &str) -> io::Result<()> {
        self.down.stops = true;
        poll_fn(|cx| self.down.poll(cx, &mut self.gateway, &mut self.client)).await?;
        let whole = self.down.tracker.at_boundary();
        if self.up.pending.is_empty() && self.up.tracker.at_boundary() {
            let mut mask = [0; 4];
            getrandom::fill(&mut mask).map_err(io::Error::other)?;
            let farewell = Frame::Close(GOING_AWAY, "").encode(Some(mask));
            let _ = self.gateway.write_all(&farewell).await;
        }
        let _ = self.gateway.shutdown().await;
        if whole {
            self.client.write_all(&Frame::Close(code, reason).encode(None)).await?;
            self.client.flush().await?;
        }
        linger(&mut self.client).await
    }
}
