//! Bytes of a WebSocket client before it is connected: bounded, and read alike however they come.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use scopeshim::websocket::frame_codec::{Assembler, Bounds, Event, Tracker};

const BOUNDS: Bounds = Bounds { message: 4096, frames: 16 };

fn read(pieces: &[&[u8]]) -> (Vec<Event>, bool) {
    let mut assembler = Assembler::new(true, BOUNDS);
    let (mut input, mut events) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match assembler.next(&mut input) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => return (events, true),
            }
        }
    }
    (events, false)
}

fuzz_target!(|data: &[u8]| {
    let whole = read(&[data]);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(whole, read(&bytes), "cuts change what is read");
    assert!(whole.0.len() <= BOUNDS.frames);
    for event in &whole.0 {
        if let Event::Text(text) = event {
            assert!(text.len() <= BOUNDS.message);
        }
    }
    let (mut once, mut slowly) = (Tracker::default(), Tracker::default());
    once.follow(data);
    bytes.iter().for_each(|b| slowly.follow(b));
    assert_eq!(
        (once.frames(), once.close(), once.at_boundary()),
        (slowly.frames(), slowly.close(), slowly.at_boundary())
    );
});
