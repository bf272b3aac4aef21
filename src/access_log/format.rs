//! The access line: every field of it, once, for machines and for people.

use super::{AccessRecord, Direction};
use crate::metric_labels::{Decision, RouteLabel, SourceLabel};
use crate::refusal::{Code, Refusal};
use crate::trace_context::TraceParent;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::fmt::Display;

/// What is written of a request: at its end, and when a stream begins. Names as OpenTelemetry has
/// them (semantic conventions, HTTP) where it has some.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    timestamp: Text<Moment>,
    level: &'static str,
    event: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<Text<TraceId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<Text<SpanId>>,
    #[serde(rename = "http.request.method")]
    method: &'a str,
    #[serde(rename = "url.path")]
    path: &'a str,
    #[serde(rename = "http.route", skip_serializing_if = "Option::is_none")]
    route: Option<RouteLabel>,
    #[serde(rename = "http.response.status_code")]
    status: u16,
    #[serde(rename = "client.address", skip_serializing_if = "Option::is_none")]
    peer: Option<Text<std::net::IpAddr>>,
    decision: Decision,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceLabel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Text<&'a crate::scope::ScopeSet>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested: Option<Text<&'a crate::scope::ScopeSet>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Text<&'a Refusal>>,
    generation: u64,
    stream: bool,
    forged: usize,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    socket: Option<Socket<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_s: Option<f64>,
    duration_s: f64,
    target: &'static str,
}

#[derive(Serialize)]
struct Socket<'a> {
    #[serde(rename = "socket.scopes_asked", skip_serializing_if = "Option::is_none")]
    asked: Option<&'a str>,
    #[serde(rename = "socket.frames_up", skip_serializing_if = "Option::is_none")]
    frames_up: Option<u64>,
    #[serde(rename = "socket.frames_down", skip_serializing_if = "Option::is_none")]
    frames_down: Option<u64>,
    #[serde(rename = "socket.bytes_up", skip_serializing_if = "Option::is_none")]
    bytes_up: Option<u64>,
    #[serde(rename = "socket.bytes_down", skip_serializing_if = "Option::is_none")]
    bytes_down: Option<u64>,
    #[serde(rename = "socket.close_code", skip_serializing_if = "Option::is_none")]
    close: Option<u16>,
    #[serde(rename = "socket.closed_by", skip_serializing_if = "Option::is_none")]
    closed_by: Option<&'static str>,
}

/// Written as it is displayed, without a string in between.
struct Text<T>(T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

struct Moment(Timestamp);

impl Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Microseconds, as the other lines have them.
        write!(f, "{:.6}", self.0)
    }
}

struct TraceId(TraceParent);

impl Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0.trace())
    }
}

struct SpanId(TraceParent);

impl Display for SpanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0.span())
    }
}

impl<'a> Line<'a> {
    pub(super) fn of(record: &'a AccessRecord, event: &'static str) -> Self {
        let socket = record.socket.as_deref().map(|socket| {
            let (up, down): (Option<Direction>, Option<Direction>) = socket.passed.unzip();
            Socket {
                asked: socket.asked.as_deref(),
                frames_up: up.map(|p| p.frames),
                frames_down: down.map(|p| p.frames),
                bytes_up: up.map(|p| p.bytes),
                bytes_down: down.map(|p| p.bytes),
                close: socket.close,
                closed_by: socket.closed_by,
            }
        });
        Self {
            timestamp: Text(Moment(Timestamp::now())),
            level: "INFO",
            event,
            request_id: &record.request_id,
            trace_id: record.trace.map(|at| Text(TraceId(at))),
            span_id: record.trace.map(|at| Text(SpanId(at))),
            method: record.method.as_str(),
            path: printable(record.path()),
            route: record.route.as_ref().map(|r| r.label),
            status: record.status,
            peer: record.peer.map(Text),
            decision: record.decision(),
            principal: record.name(),
            source: record.source(),
            app: record.app(),
            scopes: record.granted.as_deref().map(Text),
            requested: record.requested.as_ref().map(Text),
            reason: record.refusal.as_ref().map(Refusal::code),
            detail: record.refusal.as_ref().map(Text),
            generation: record.generation,
            stream: record.is_stream(),
            forged: record.spoofed,
            attempts: record.attempts,
            cause: record.cause.as_deref(),
            socket,
            first_byte_s: record.first_byte.map(|at| (at - record.begun).as_secs_f64()),
            duration_s: record.begun.elapsed().as_secs_f64(),
            target: "access",
        }
    }
}

/// A path for a log line: cut to a bearable length. A checked path is visible ASCII already.
fn printable(path: &str) -> &str {
    path.get(..256).unwrap_or(path)
}
