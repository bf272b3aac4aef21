//! WebSocket frames (RFC 6455 §5) as far as the handshake and the tunnel need them: messages put
//! together within bounds, frames written, frames counted as they pass. No I/O.
//!
//! Headers are read and written by tungstenite; no extension is ever negotiated.

use bytes::{Buf as _, BytesMut};
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Nothing is wrong, the endpoint goes away: the client's word to the gateway when it is cut off.
pub const GOING_AWAY: u16 = 1001;
/// The peer broke the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// The peer sent a kind of message that is not understood.
pub const UNSUPPORTED: u16 = 1003;
/// A text that is no UTF-8.
pub const NOT_TEXT: u16 = 1007;
/// The policy says no.
pub const POLICY: u16 = 1008;
/// A message that is too large.
pub const TOO_BIG: u16 = 1009;
/// The service restarts: connect again.
pub const RESTARTING: u16 = 1012;
/// The service is not there now: try again.
pub const TRY_AGAIN: u16 = 1013;

/// The longest header: two bytes, eight of length, four of mask.
const HEADER: usize = 14;
/// RFC 6455 §5.5.
const CONTROL_PAYLOAD: usize = 125;

/// What breaks the protocol, and the code to close with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct FrameFault {
    /// The close code.
    pub close: u16,
    /// What was wrong.
    pub what: &'static str,
}

const fn fault(close: u16, what: &'static str) -> FrameFault {
    FrameFault { close, what }
}

/// Something whole that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A text message.
    Text(String),
    /// A ping with its payload.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// A close frame and its code.
    Close(Option<u16>),
}

/// The most that is taken before a connection is established.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of one message.
    pub message: usize,
    /// Frames of any kind.
    pub frames: usize,
}

/// Puts frames together to messages, within bounds.
#[derive(Debug)]
pub struct Assembler {
    masked: bool,
    bounds: Bounds,
    frames: usize,
    /// The message begun, where one is.
    begun: Option<Vec<u8>>,
}

impl Assembler {
    /// `masked`: whether the peer is a client, whose frames are masked.
    #[must_use]
    pub fn new(masked: bool, bounds: Bounds) -> Self {
        Self { masked, bounds, frames: 0, begun: None }
    }

    /// The next whole thing in `input`, taken out of it; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`FrameFault`] when the peer breaks the protocol or a bound. Nothing more can be read then.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Event>, FrameFault> {
        loop {
            let mut cursor = Cursor::new(&input[..]);
            let header = FrameHeader::parse(&mut cursor).map_err(|_| fault(PROTOCOL_ERROR, "a reserved opcode"))?;
            let Some((header, length)) = header else { return Ok(None) };
            let length = self.check(&header, length)?;
            let start = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
            if input.len() < start.saturating_add(length) {
                return Ok(None);
            }
            self.frames += 1;
            if self.frames > self.bounds.frames {
                return Err(fault(POLICY, "too many frames before the connection was established"));
            }
            input.advance(start);
            let mut payload = input.split_to(length);
            if let Some(mask) = header.mask {
                unmask(&mut payload, mask);
            }
            if let Some(event) = self.take(&header, &payload)? {
                return Ok(Some(event));
            }
        }
    }

    /// Whether a frame may come now, before its payload is waited for.
    fn check(&self, header: &FrameHeader, length: u64) -> Result<usize, FrameFault> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(fault(PROTOCOL_ERROR, "a reserved bit is set"));
        }
        if header.mask.is_some() != self.masked {
            return Err(fault(PROTOCOL_ERROR, "a client's frames are masked, a server's are not"));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match header.opcode {
            OpCode::Control(_) if !header.is_final || length > CONTROL_PAYLOAD => {
                Err(fault(PROTOCOL_ERROR, "a control frame is fragmented or longer than 125 bytes"))
            }
            OpCode::Control(_) => Ok(length),
            OpCode::Data(Data::Binary) => Err(fault(UNSUPPORTED, "a binary message")),
            OpCode::Data(Data::Text) if self.begun.is_some() => {
                Err(fault(PROTOCOL_ERROR, "a message begins within another"))
            }
            OpCode::Data(Data::Continue) if self.begun.is_none() => {
                Err(fault(PROTOCOL_ERROR, "a continuation of nothing"))
            }
            OpCode::Data(_) => {
                let whole = self.begun.as_ref().map_or(0, Vec::len).saturating_add(length);
                if whole > self.bounds.message {
                    return Err(fault(TOO_BIG, "a message is too large for one before the connection is established"));
                }
                Ok(length)
            }
        }
    }

    fn take(&mut self, header: &FrameHeader, payload: &[u8]) -> Result<Option<Event>, FrameFault> {
        match header.opcode {
            OpCode::Control(Control::Ping) => Ok(Some(Event::Ping(payload.to_vec()))),
            OpCode::Control(Control::Pong) => Ok(Some(Event::Pong)),
            OpCode::Control(_) => match payload {
                [] => Ok(Some(Event::Close(None))),
                [high, low, ..] => Ok(Some(Event::Close(Some(u16::from_be_bytes([*high, *low]))))),
                [_] => Err(fault(PROTOCOL_ERROR, "a close frame with half a code")),
            },
            OpCode::Data(_) => {
                let mut message = self.begun.take().unwrap_or_default();
                message.extend_from_slice(payload);
                if !header.is_final {
                    self.begun = Some(message);
                    return Ok(None);
                }
                let text =
                    String::from_utf8(message).map_err(|_| fault(NOT_TEXT, "a text message that is no UTF-8"))?;
                Ok(Some(Event::Text(text)))
            }
        }
    }
}

/// What can be written.
#[derive(Debug, Clone, Copy)]
pub enum Frame<'a> {
    /// A text message, whole.
    Text(&'a str),
    /// The answer to a ping.
    Pong(&'a [u8]),
    /// The end, with a code and a reason, which is cut to what fits.
    Close(u16, &'a str),
}

impl Frame<'_> {
    /// The frame's bytes; `mask`: as a client sends it.
    #[must_use]
    pub fn encode(&self, mask: Option<[u8; 4]>) -> Vec<u8> {
        let (opcode, payload) = match self {
            Self::Text(text) => (OpCode::Data(Data::Text), text.as_bytes().to_vec()),
            Self::Pong(payload) => (OpCode::Control(Control::Pong), payload.to_vec()),
            Self::Close(code, reason) => {
                let mut payload = code.to_be_bytes().to_vec();
                let end = (0..=reason.len().min(CONTROL_PAYLOAD - 2)).rev().find(|i| reason.is_char_boundary(*i));
                payload.extend_from_slice(reason.get(..end.unwrap_or(0)).unwrap_or_default().as_bytes());
                (OpCode::Control(Control::Close), payload)
            }
        };
        let header = FrameHeader { opcode, mask, ..FrameHeader::default() };
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        // Writing to memory does not fail.
        let _ = header.format(payload.len() as u64, &mut bytes);
        let start = bytes.len();
        bytes.extend_from_slice(&payload);
        if let Some(mask) = mask {
            unmask(bytes.get_mut(start..).unwrap_or_default(), mask);
        }
        bytes
    }
}

/// RFC 6455 §5.3; the same both ways.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// Follows the frames of a stream of bytes that it does not hold back: where one ends, how many
/// there were, and which code closed it.
#[derive(Debug, Default)]
pub struct Tracker {
    head: [u8; HEADER],
    held: u8,
    left: u64,
    frames: u64,
    /// The mask and the bytes seen of a close frame's code.
    closing: Option<([u8; 4], Vec<u8>)>,
    close: Option<u16>,
    lost: bool,
}

impl Tracker {
    /// How many frames began.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The code of the close frame that passed; 1005 for one without.
    #[must_use]
    pub fn close(&self) -> Option<u16> {
        self.close
    }

    /// Whether a frame of another's making may stand here.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.left == 0 && self.held == 0 && !self.lost
    }

    /// Follows all of `bytes`.
    pub fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.lost {
            bytes = self.step(bytes);
        }
    }

    /// Follows `bytes` to the end of the frame that is under way, and says how many those were.
    pub fn follow_to_boundary(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && !self.lost && !self.at_boundary() {
            rest = self.step(rest);
        }
        bytes.len() - rest.len()
    }

    /// Takes some bytes off: of a payload, or a header's.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.left > 0 {
            let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(taken);
            self.left -= taken as u64;
            self.see_close(payload);
            return rest;
        }
        let held = usize::from(self.held);
        let room = self.head.get_mut(held..).unwrap_or_default();
        let taken = room.len().min(bytes.len());
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        let mut cursor = Cursor::new(self.head.get(..held + taken).unwrap_or_default());
        match FrameHeader::parse(&mut cursor) {
            Ok(Some((header, length))) => {
                let used = usize::try_from(cursor.position()).unwrap_or(0).saturating_sub(held);
                self.held = 0;
                self.left = length;
                self.frames += 1;
                if header.opcode == OpCode::Control(Control::Close) {
                    self.closing = Some((header.mask.unwrap_or_default(), Vec::new()));
                    self.see_close(&[]);
                }
                bytes.get(used..).unwrap_or_default()
            }
            Ok(None) => {
                self.held = u8::try_from(held + taken).unwrap_or(u8::MAX);
                &[]
            }
            // The endpoints check it; there is nothing left to follow.
            Err(_) => {
                self.lost = true;
                &[]
            }
        }
    }

    fn see_close(&mut self, payload: &[u8]) {
        let Some((mask, code)) = &mut self.closing else { return };
        code.extend(payload.iter().take(2 - code.len().min(2)));
        if code.len() == 2 || self.left == 0 {
            unmask(code, *mask);
            self.close = Some(<[u8; 2]>::try_from(code.as_slice()).map_or(1005, u16::from_be_bytes));
            self.closing = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { message: 1024, frames: 8 };
    const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

    fn read(bytes: &[u8]) -> Result<Option<Event>, FrameFault> {
        Assembler::new(true, BOUNDS).next(&mut BytesMut::from(bytes))
    }

    /// A frame by its first byte, as a client sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn each_break_of_the_protocol_has_its_code() {
        for (bytes, close) in [
            (frame(0x82, b"x"), UNSUPPORTED),
            (frame(0xc1, b"x"), PROTOCOL_ERROR),
            (frame(0x83, b"x"), PROTOCOL_ERROR),
            (frame(0x80, b"x"), PROTOCOL_ERROR),
            (frame(0x09, b"x"), PROTOCOL_ERROR),
            (frame(0x88, b"x"), PROTOCOL_ERROR),
            (frame(0x81, b"\xff"), NOT_TEXT),
            ([frame(0x01, b"x"), frame(0x81, b"x")].concat(), PROTOCOL_ERROR),
            (vec![0x81, 0x01, b'x'], PROTOCOL_ERROR),
            (vec![0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], TOO_BIG),
            (vec![0x81, 0xfe, 0x04, 0x01, 0, 0, 0, 0], TOO_BIG),
            (vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0], PROTOCOL_ERROR),
        ] {
            assert_eq!(read(&bytes).unwrap_err().close, close, "{bytes:x?}");
        }
        let flood: Vec<u8> = (0..9).flat_map(|_| frame(0x8a, b"")).collect();
        let mut input = BytesMut::from(&flood[..]);
        let mut assembler = Assembler::new(true, BOUNDS);
        let last = std::iter::repeat_with(|| assembler.next(&mut input)).find(Result::is_err).unwrap();
        assert_eq!(last.unwrap_err().close, POLICY);
    }

    #[test]
    fn a_ping_may_stand_within_a_fragmented_message() {
        let bytes = [frame(0x01, b"he"), frame(0x89, b"p"), frame(0x80, b"llo"), frame(0x81, b"next")].concat();
        let mut input = BytesMut::from(&bytes[..]);
        let mut assembler = Assembler::new(true, BOUNDS);
        assert_eq!(assembler.next(&mut input), Ok(Some(Event::Ping(b"p".to_vec()))));
        assert_eq!(assembler.next(&mut input), Ok(Some(Event::Text("hello".into()))));
        assert_eq!(&input[..], frame(0x81, b"next"), "what stands behind is left");
    }

    #[test]
    fn a_reason_is_cut_to_what_a_close_frame_holds() {
        let bytes = Frame::Close(POLICY, &"é".repeat(100)).encode(None);
        assert_eq!(bytes.len(), 2 + 2 + 122);
        assert_eq!(&bytes[..4], [0x88, 124, 0x03, 0xf0]);
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(text in ".{0,300}", cuts in prop::collection::vec(1usize..9, 1..400)) {
            let bytes = Frame::Text(&text).encode(MASK);
            let mut assembler = Assembler::new(true, Bounds { message: 4096, frames: 1 });
            let mut input = BytesMut::new();
            let mut seen = None;
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                input.extend_from_slice(now);
                rest = later;
                seen = seen.or(assembler.next(&mut input).unwrap());
                if rest.is_empty() { break }
            }
            prop_assert_eq!(seen, Some(Event::Text(text)));
        }

        #[test]
        fn any_bytes_are_read_within_bounds(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut assembler = Assembler::new(true, BOUNDS);
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(event)) = assembler.next(&mut input) {
                if let Event::Text(text) = event { prop_assert!(text.len() <= BOUNDS.message) }
            }
        }

        #[test]
        fn a_tracker_finds_the_same_boundaries_however_the_bytes_come(
            payloads in prop::collection::vec(0usize..70_000, 1..5),
            cuts in prop::collection::vec(1usize..40_000, 1..20),
        ) {
            let mut bytes = Vec::new();
            for (i, n) in payloads.iter().enumerate() {
                bytes.extend(Frame::Text(&"x".repeat(*n)).encode(if i % 2 == 0 { MASK } else { None }));
            }
            bytes.extend(Frame::Close(RESTARTING, "bye").encode(MASK));
            let mut tracker = Tracker::default();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                tracker.follow(now);
                rest = later;
                if rest.is_empty() { break }
            }
            prop_assert!(tracker.at_boundary());
            prop_assert_eq!(tracker.frames(), payloads.len() as u64 + 1);
            prop_assert_eq!(tracker.close(), Some(RESTARTING));
        }

        #[test]
        fn a_cut_stands_at_a_boundary(n in 0usize..70_000, at in 0usize..70_000) {
            let first = Frame::Text(&"x".repeat(n)).encode(None);
            let second = Frame::Text("next").encode(None);
            let bytes = [first.clone(), second].concat();
            let (before, after) = bytes.split_at(at.min(first.len()));
            let mut tracker = Tracker::default();
            tracker.follow(before);
            let taken = tracker.follow_to_boundary(after);
            prop_assert!(tracker.at_boundary());
            prop_assert_eq!(before.len() + taken, if before.is_empty() { 0 } else { first.len() });
        }

        #[test]
        fn a_tracker_follows_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut tracker = Tracker::default();
            tracker.follow(&bytes);
            let _ = tracker.follow_to_boundary(&bytes);
        }
    }
}
