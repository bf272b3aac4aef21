//! The drain at the end of the process: what is open has `[server] drain` to finish.

use crate::listener::Connections;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often the end of a drain is looked for.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// How long a stop waits for the first request of those who have just connected.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every request came to its end.
    Drained,
    /// Some were cut: the time was over, or a second signal came.
    Cut(usize),
}

/// Waits until nothing is open, at most for `timeout`; a message on `stop` ends the wait at once.
pub(super) async fn drain(connections: &Connections, timeout: Duration, stop: &mut mpsc::Receiver<()>) -> Stopped {
    let begun = tokio::time::Instant::now();
    let deadline = begun + timeout;
    loop {
        connections.end_resting(begun.elapsed() >= FIRST_REQUEST.min(timeout));
        let (open, busy) = connections.count();
        if open == 0 {
            return Stopped::Drained;
        }
        tokio::select! {
            () = tokio::time::sleep(DRAIN_POLL) => {}
            _ = stop.recv() => return Stopped::Cut(busy),
        }
        if tokio::time::Instant::now() >= deadline {
            return if busy == 0 { Stopped::Drained } else { Stopped::Cut(busy) };
        }
    }
}
