//! `status` and `top`: what the status page says, in the terminal.

use super::admin_client::{self, RunningProcess};
use super::{Exit, complain, say};
use http::Method;
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// How often `top` asks.
const EVERY: Duration = Duration::from_secs(2);
/// The refusals that fit on a screen.
const SHOWN: usize = 10;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    at: RunningProcess,
    /// Print the status as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    at: RunningProcess,
    /// Stop after this many refreshes; 0: never
    #[arg(long, default_value_t = 0)]
    looks: u32,
}

pub(super) fn status(args: &Args) -> Exit {
    match ask(&args.at) {
        Ok(status) if args.json => {
            say(status.to_string());
            exit_of(&status)
        }
        Ok(status) => {
            say(text(&status, None));
            exit_of(&status)
        }
        Err(error) => {
            complain(format!("error: {error}"));
            Exit::Unavailable
        }
    }
}

pub(super) fn top(args: &TopArgs) -> Exit {
    let mut before: Option<(u64, u64)> = None;
    let mut looks = 0;
    loop {
        let status = match ask(&args.at) {
            Ok(status) => status,
            Err(error) => {
                complain(format!("error: {error}"));
                return Exit::Unavailable;
            }
        };
        let count =
            |name: &str| status.pointer(&format!("/traffic/{name}")).and_then(Value::as_u64).unwrap_or_default();
        let now = (count("requests"), count("refused"));
        let rates = before.map(|b| {
            let a_second = |now: u64, was: u64| now.saturating_sub(was) / EVERY.as_secs();
            (a_second(now.0, b.0), a_second(now.1, b.1))
        });
        before = Some(now);
        // Home, and clear to the end: no flicker.
        say(format!("\x1b[H\x1b[J{}", text(&status, rates)));
        looks += 1;
        if looks == args.looks {
            return Exit::Ok;
        }
        std::thread::sleep(EVERY);
    }
}

fn ask(at: &RunningProcess) -> Result<Value, String> {
    match admin_client::ask(at, &Method::GET, "/status").map_err(|e| e.to_string())? {
        (200, status) => Ok(status),
        (status, answer) => Err(format!("the process answered {status}: {answer}")),
    }
}

/// 0 when all is well, 1 when something needs attention.
fn exit_of(status: &Value) -> Exit {
    let empty = |name: &str| status.get(name).and_then(Value::as_array).is_none_or(Vec::is_empty);
    if empty("waiting_for") && empty("warnings") { Exit::Ok } else { Exit::Failed }
}

fn text(status: &Value, rates: Option<(u64, u64)>) -> String {
    let at = |pointer: &str| match status.pointer(pointer) {
        Some(Value::String(text)) => printable(text),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let mut out = String::new();
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    line(format!(
        "scopeshim {}  up {} s  gateway {} (mode {})",
        at("/version"),
        at("/uptime_s"),
        at("/gateway"),
        at("/mode")
    ));
    for (name, what) in [("waiting_for", "waiting for"), ("warnings", "warning:"), ("advice", "advice:")] {
        for item in status.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            line(format!("  {what} {}", printable(item)));
        }
    }
    line(format!(
        "policy    generation {}, {} tokens, {} issuers, {} grants",
        at("/policy/generation"),
        at("/policy/tokens"),
        at("/policy/issuers"),
        at("/policy/grants")
    ));
    let last = at("/policy/last_reload_text");
    line(format!(
        "reload    {}",
        if last == "-" { "none since the start" } else { last.lines().last().unwrap_or_default() }
    ));
    for issuer in status.get("issuers").and_then(Value::as_array).into_iter().flatten() {
        let of = |name: &str| issuer.get(name).map(ToString::to_string).unwrap_or_default();
        line(format!("issuer    {}: {} keys", printable(&of("name")), of("keys")));
    }
    let rates = rates.map(|(all, refused)| format!("  ({all}/s, {refused}/s refused)")).unwrap_or_default();
    line(format!(
        "traffic   {} requests, {} refused{rates}; {} in flight, {} streams, {} sockets",
        at("/traffic/requests"),
        at("/traffic/refused"),
        at("/traffic/in_flight"),
        at("/traffic/sse"),
        at("/traffic/websockets")
    ));
    for usage in status.get("limits").and_then(Value::as_array).into_iter().flatten() {
        let of = |value: &Value, name: &str| match value.get(name) {
            Some(Value::String(text)) => printable(text),
            other => other.map(ToString::to_string).unwrap_or_default(),
        };
        let used = usage.get("limits").and_then(Value::as_array).into_iter().flatten();
        let used: Vec<String> =
            used.map(|u| format!("{} {} of {}", of(u, "limit"), of(u, "used"), of(u, "allowed"))).collect();
        line(format!("limits    {} ({}): {}", of(usage, "principal"), of(usage, "source"), used.join(", ")));
    }
    for refusal in status.get("refusals").and_then(Value::as_array).into_iter().flatten().take(SHOWN) {
        let of = |name: &str| {
            refusal.get(name).and_then(Value::as_str).map_or_else(|| "unauthenticated".to_owned(), printable)
        };
        line(format!("refused   {} {}: {}", of("principal"), of("request"), of("message")));
        line(format!("          to fix: {}", of("change")));
    }
    out.trim_end().to_owned()
}

/// A text that can neither move the cursor nor turn the line around.
fn printable(text: &str) -> String {
    let turns = |c| matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars().map(|c| if turns(c) || c.is_control() && c != '\n' { '?' } else { c }).collect()
}
