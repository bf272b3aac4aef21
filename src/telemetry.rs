//! Log lines: to standard error, text for people, JSON for machines.

use crate::config::{Log, LogFormat};
use serde::Serialize;
use std::cell::RefCell;
use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Whether lines are for people.
static FOR_PEOPLE: AtomicBool = AtomicBool::new(false);

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes a line that every request has, in one piece. Events of the kind that are rare go through
/// `tracing`, which takes ten times as long.
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
            // A log that cannot be written is no reason to stop.
            let _ = std::io::stderr().lock().write_all(buffer);
        }
    });
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
pub fn start(log: &Log) {
    let text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    FOR_PEOPLE.store(text, Ordering::Relaxed);
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let layer = if text {
        let colours = std::io::stderr().is_terminal();
        fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colours).boxed()
    } else {
        let json = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
        json.with_writer(std::io::stderr).boxed()
    };
    if tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_ok() {
        let _ = LEVEL.set(handle);
    }
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
