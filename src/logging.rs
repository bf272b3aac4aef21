//! Log lines: to standard error, text for people, JSON for machines.

mod writer;

use crate::config::{Log, LogFormat};
use serde::Serialize;
use std::cell::RefCell;
use std::io::{IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};
use writer::{Kind, Writer};

static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// What writes the lines; none: the system had no thread for it, and every line is written at once.
static WRITER: OnceLock<Arc<Writer>> = OnceLock::new();
/// How long the end of the process waits for a reader to take the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Whether lines are for people.
static FOR_PEOPLE: AtomicBool = AtomicBool::new(false);

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes a line that every request has, in one piece, without waiting for its reader. Events of the
/// kind that are rare go through `tracing`, which takes ten times as long.
pub fn write(line: &impl Serialize) {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        let made = if FOR_PEOPLE.load(Ordering::Relaxed) {
            for_people(line, buffer)
        } else {
            serde_json::to_writer(&mut *buffer, line)
        };
        if made.is_ok() {
            buffer.push(b'\n');
            put(Kind::Access, buffer);
        }
    });
}

fn put(kind: Kind, lines: &[u8]) {
    match WRITER.get() {
        Some(writer) => writer.push(kind, lines),
        // A log that cannot be written is no reason to stop.
        None => drop(std::io::stderr().lock().write_all(lines)),
    }
}

/// Where `tracing` writes its events, each as a whole.
#[derive(Debug, Clone, Copy)]
struct Events;

impl Write for Events {
    fn write(&mut self, lines: &[u8]) -> std::io::Result<usize> {
        put(Kind::Event, lines);
        Ok(lines.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How many lines were lost because the reader was too slow.
#[must_use]
pub fn lines_lost() -> u64 {
    WRITER.get().map_or(0, |writer| writer.lost())
}

/// Waits for the lines so far to be written, not for ever.
pub fn flush() {
    if let Some(writer) = WRITER.get() {
        writer.flush(LAST_LINES);
    }
}

/// The log of a process, from its begin to its end: with it the last lines are written.
#[derive(Debug)]
pub struct LogGuard(());

impl Drop for LogGuard {
    fn drop(&mut self) {
        flush();
    }
}

/// `name=value`, with nothing in it that a terminal would obey.
fn for_people(line: &impl Serialize, into: &mut Vec<u8>) -> serde_json::Result<()> {
    use serde_json::Value;
    let Value::Object(fields) = serde_json::to_value(line)? else { return Ok(()) };
    for (number, (name, value)) in fields.iter().enumerate() {
        let blank = if number == 0 { "" } else { " " };
        let bare = matches!(name.as_str(), "timestamp" | "level" | "event");
        let _ = match value {
            Value::String(text) if bare => write!(into, "{blank}{text}"),
            Value::String(text) => write!(into, "{blank}{name}={text:?}"),
            other => write!(into, "{blank}{name}={other}"),
        };
    }
    Ok(())
}

/// Begins logging. A second call changes nothing.
#[must_use]
pub fn start(log: &Log) -> LogGuard {
    let text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    FOR_PEOPLE.store(text, Ordering::Relaxed);
    // Separate, because the holder of the standard library's lock may wait for the reader.
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from);
    if let (None, Ok(writer)) = (WRITER.get(), stderr.and_then(|out| Writer::start(out, say_lost))) {
        let _ = WRITER.set(writer);
    }
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let layer = if text {
        let colours = std::io::stderr().is_terminal();
        fmt::layer().with_writer(|| Events).with_target(false).with_ansi(colours).boxed()
    } else {
        let json = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
        json.with_writer(|| Events).boxed()
    };
    if tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_ok() {
        let _ = LEVEL.set(handle);
    }
    LogGuard(())
}

fn say_lost(lines: u64) {
    tracing::warn!(lines, "log lines were lost: the reader of standard error was too slow");
}

/// Changes the level while the process runs.
pub fn set_level(level: LevelFilter) {
    if let Some(handle) = LEVEL.get() {
        let _ = handle.reload(filter(level));
    }
}

fn filter(level: LevelFilter) -> Targets {
    // Our own lines alone have a level. What libraries write in detail are whole heads, with the
    // secrets in them; and the one that watches files would tell a log beside the configuration of
    // itself, for ever. The framework also reports every client that hangs up as an error: our access
    // line says it better.
    let targets = Targets::new().with_default(level.min(LevelFilter::WARN));
    let targets = ["scopeshim", "access"].into_iter().fold(targets, |t, name| t.with_target(name, level));
    ["pingora_core", "pingora_proxy", "pingora_pool"]
        .into_iter()
        .fold(targets, |t, name| t.with_target(name, LevelFilter::OFF))
}
