//! The bounded writer: requests leave their lines in memory, one thread writes them.
//!
//! A ready-made one (`tracing-appender`) allocates every line, sends it through a channel and writes
//! it by itself. Here lines are copied into one buffer under a short lock, and whatever came together
//! in a few milliseconds is one write.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most bytes that wait to be written. As many again may be with the reader.
pub const QUEUE: usize = 1024 * 1024;
/// What access lines leave free of it, for the lines that say what is wrong.
const RESERVE: usize = 64 * 1024;
/// How long lines gather before they are written: what a kill loses.
const GATHER: Duration = Duration::from_millis(10);
/// How long a reader that takes nothing for the moment is left alone.
const PAUSE: Duration = Duration::from_millis(5);

/// Which lines may fill the last of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of a request, of which there may be any number.
    Access,
    /// Any other.
    Event,
}

/// Lines on their way to their reader.
#[derive(Debug, Default)]
pub struct Writer {
    queue: Mutex<Queue>,
    wake: Condvar,
    written: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    /// Lines lost since this was last said.
    lost: u64,
    /// Whether the thread waits for a first line.
    asleep: bool,
    /// Whether the thread holds lines that are not written yet.
    writing: bool,
    /// Whether a task waits for the last line.
    flushing: bool,
}

impl Writer {
    /// A writer to `out`, and its thread. `lost` is told how many lines were lost, once lines can be
    /// written again.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(out: impl Write + Send + 'static, lost: fn(u64)) -> std::io::Result<Arc<Self>> {
        let writer = Arc::new(Self::default());
        let this = writer.clone();
        std::thread::Builder::new().name("scopeshim-log".to_owned()).spawn(move || this.run(out, lost))?;
        Ok(writer)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves whole lines to be written. Never waits for the reader: where there is no room, they are
    /// lost and counted.
    pub fn push(&self, kind: Kind, lines: &[u8]) {
        let room = if kind == Kind::Access { QUEUE - RESERVE } else { QUEUE };
        let mut queue = self.lock();
        if queue.lines.len() + lines.len() > room {
            let count = count(lines);
            queue.lost += count;
            self.lost.fetch_add(count, Ordering::Relaxed);
            return;
        }
        queue.lines.extend_from_slice(lines);
        // Awake it looks by itself: one call into the system for many lines, not for each.
        if std::mem::take(&mut queue.asleep) {
            drop(queue);
            self.wake.notify_one();
        }
    }

    /// How many lines were lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, or the reader has taken too long. False: some is left.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut queue = self.lock();
        loop {
            if queue.lines.is_empty() && !queue.writing {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            (queue.flushing, queue.asleep) = (true, false);
            self.wake.notify_one();
            queue = self.written.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run(&self, mut out: impl Write, tell: fn(u64)) {
        let mut batch = Vec::new();
        loop {
            let lost = self.next(&mut batch);
            if write_all(&mut out, &batch).is_err() {
                // There is no way to report it here; it is only counted.
                let mut queue = self.lock();
                let count = count(&batch);
                queue.lost += count + lost;
                self.lost.fetch_add(count, Ordering::Relaxed);
            } else if lost > 0 {
                tell(lost);
            }
            batch.clear();
            self.gather();
        }
    }

    /// Takes what waits, or waits for it; gives the lines lost behind it.
    fn next(&self, batch: &mut Vec<u8>) -> u64 {
        let mut queue = self.lock();
        while queue.lines.is_empty() {
            queue.asleep = true;
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.asleep = false;
        queue.writing = true;
        std::mem::swap(batch, &mut queue.lines);
        std::mem::take(&mut queue.lost)
    }

    /// Lets lines gather, unless a task waits for the last.
    fn gather(&self) {
        let mut queue = self.lock();
        queue.writing = false;
        self.written.notify_all();
        let until = Instant::now() + GATHER;
        while !queue.flushing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.flushing = false;
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|b| **b == b'\n').count() as u64
}

/// As `Write::write_all`, and waits where the descriptor is one that does not block.
fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A reader that takes lines only when it is told to.
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    static TOLD: AtomicU64 = AtomicU64::new(0);

    fn told(lost: u64) {
        TOLD.fetch_add(lost, Ordering::SeqCst);
    }

    #[test]
    fn what_a_blocked_reader_costs_is_bounded_counted_and_said() {
        let (go, gate) = mpsc::channel();
        let (taken, lines) = mpsc::channel();
        let writer = Writer::start(Slow(gate, taken), told).unwrap();
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        for _ in 0..5_000 {
            writer.push(Kind::Access, &line);
        }
        assert!(writer.lock().lines.len() <= QUEUE - RESERVE);
        let lost = writer.lost();
        assert!((2_900..5_000).contains(&lost), "{lost}");
        let full = writer.lock().lines.len();
        writer.push(Kind::Event, b"what is wrong\n");
        assert_eq!(writer.lock().lines.len(), full + 14, "an event has room that access lines leave");
        assert!(!writer.flush(Duration::from_millis(20)), "a blocked reader holds nobody for long");
        drop(go);
        assert!(writer.flush(Duration::from_secs(10)));
        let came: Vec<u8> = lines.try_iter().flatten().collect();
        assert_eq!(count(&came), 5_001 - lost);
        assert!(came.ends_with(b"what is wrong\n"));
        let begun = Instant::now();
        while TOLD.load(Ordering::SeqCst) != lost {
            assert!(begun.elapsed() < Duration::from_secs(10), "{} of {lost}", TOLD.load(Ordering::SeqCst));
            std::thread::yield_now();
        }
    }

    #[test]
    fn lines_of_many_threads_come_whole_and_each_thread_s_in_its_order() {
        let (go, gate) = mpsc::channel();
        let (taken, lines) = mpsc::channel();
        drop(go);
        let writer = Writer::start(Slow(gate, taken), |_| ()).unwrap();
        std::thread::scope(|all| {
            for thread in 0..4 {
                let writer = writer.clone();
                all.spawn(move || {
                    for i in 0..1_000 {
                        writer.push(Kind::Access, format!("{thread} {i}\n").as_bytes());
                    }
                });
            }
        });
        assert!(writer.flush(Duration::from_secs(10)));
        let text = String::from_utf8(lines.try_iter().flatten().collect()).unwrap();
        for thread in 0..4 {
            let of = format!("{thread} ");
            let mine: Vec<usize> =
                text.lines().filter_map(|l| l.strip_prefix(&of)).map(|i| i.parse().unwrap()).collect();
            assert_eq!(mine, (0..1_000).collect::<Vec<_>>());
        }
    }
}
