//! What is remembered of one request, and said of it once at its end: log line and metric together.

mod format;

use crate::authn::Principal;
use crate::logging;
use crate::metric_labels::{Decision, RouteLabel, SourceLabel, StreamKind};
use crate::metrics::{Metrics, OpenStream, RequestEnd};
use crate::policy::{Grant, Policy, Proven, Request};
use crate::principal_limiter::PrincipalLimiter;
use crate::refusal::{Caller, LimitFault, Refusal};
use crate::route::Route;
use crate::scope::ScopeSet;
use crate::telemetry::{LogBucket, RecentRefusal, Telemetry};
use crate::trace_context::TraceParent;
use format::Line;
use http::Method;
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// The facts of one request, gathered as it goes. Whatever ends the request, even a cut, the line
/// is written: on [`AccessRecord::emit`], else on drop.
#[derive(Debug)]
pub struct AccessRecord {
    /// When its head was complete.
    pub begun: Instant,
    /// Its number, as answered.
    pub request_id: Arc<str>,
    /// Its place in a trace.
    pub trace: Option<TraceParent>,
    /// Its method.
    pub method: Method,
    /// Its path, without the query, once it is checked.
    pub path: Option<Arc<str>>,
    /// The route it took.
    pub route: Option<Arc<Route>>,
    /// The peer; `None` on a unix socket.
    pub peer: Option<IpAddr>,
    /// Where the caller is, for conditions on addresses ([`crate::authn::client_address::of`]).
    pub place: Option<IpAddr>,
    /// The policy that checked it.
    pub generation: u64,
    /// Who it was taken for.
    pub principal: Option<Arc<Principal>>,
    /// The scopes that were sent to the gateway.
    pub granted: Option<Arc<ScopeSet>>,
    /// The scopes that were asked for.
    pub requested: Option<ScopeSet>,
    /// The scopes that the policy grants the caller, where it was refused for its scopes.
    pub held: Option<ScopeSet>,
    /// Why it was refused.
    pub refusal: Option<Refusal>,
    /// The change of the policy that would allow it.
    pub change: Option<String>,
    /// The answer's status; 0 until there is one.
    pub status: u16,
    /// When the gateway's answer began.
    pub first_byte: Option<Instant>,
    /// How many headers claimed what they may not.
    pub spoofed: usize,
    /// What went wrong on the way, in the transport's words.
    pub cause: Option<String>,
    /// Connections to the gateway tried.
    pub attempts: u32,
    stream: Option<(StreamKind, OpenStream)>,
    telemetry: Arc<Telemetry>,
    /// What went over it, if it is a WebSocket.
    pub socket: Option<Box<WebSocketRecord>>,
    emitted: bool,
}

/// The facts of one WebSocket.
#[derive(Debug, Default)]
pub struct WebSocketRecord {
    /// The scopes its `connect` asked for.
    pub asked: Option<String>,
    /// What went to the gateway and to the client, once it is known.
    pub passed: Option<(Direction, Direction)>,
    /// The code it was closed with.
    pub close: Option<u16>,
    /// By whom.
    pub closed_by: Option<&'static str>,
}

/// What went through one direction of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Direction {
    /// Frames.
    pub frames: u64,
    /// Bytes.
    pub bytes: u64,
    /// The code of the close frame, if one passed.
    pub close: Option<u16>,
}

impl AccessRecord {
    /// A record that knows nothing yet but its number.
    #[must_use]
    pub fn begin(telemetry: Arc<Telemetry>, request_id: Arc<str>, generation: u64, peer: Option<IpAddr>) -> Self {
        Self {
            begun: Instant::now(),
            request_id,
            trace: None,
            method: Method::GET,
            path: None,
            route: None,
            peer,
            place: peer,
            generation,
            principal: None,
            granted: None,
            requested: None,
            held: None,
            refusal: None,
            change: None,
            status: 0,
            first_byte: None,
            spoofed: 0,
            cause: None,
            attempts: 0,
            stream: None,
            telemetry,
            socket: None,
            emitted: false,
        }
    }

    /// The metrics it counts in.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.telemetry.metrics()
    }

    /// What its principal, and every other, uses at the moment.
    #[must_use]
    pub fn principal_limiter(&self) -> &PrincipalLimiter {
        self.telemetry.principal_limiter()
    }

    /// Takes the record to where the rest of it is known; nothing is said here any more.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let mut silent = Self::begin(self.telemetry.clone(), self.request_id.clone(), self.generation, self.peer);
        silent.emitted = true;
        std::mem::replace(self, silent)
    }

    /// Notes who goes, and with what.
    pub fn granted(&mut self, grant: &Grant) {
        if let Some(principal) = grant.principal() {
            self.principal = Some(principal.clone());
        }
        self.granted = Some(grant.shared_scopes());
    }

    /// Notes why the policy refuses a principal, and what would change that.
    pub fn refused(&mut self, policy: &Policy, proven: &Proven, request: Request<'_>, refusal: &Refusal) {
        self.change = Some(policy.remedy(Some(proven), refusal));
        self.held = refusal.is_about_scopes().then(|| policy.held(proven, request));
    }

    /// Its path, without the query; empty until checked.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }

    /// The name of who it was taken for.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.principal.as_ref().map(|p| p.name())
    }

    /// Who it was taken for, as a refusal says it.
    #[must_use]
    pub fn caller(&self) -> Option<Caller<'_>> {
        let principal = self.principal.as_ref()?;
        let app = self.app();
        Some(Caller { source: principal.identity().source(), name: principal.name(), app, holds: self.held.as_ref() })
    }

    /// The app that calls on behalf of its user.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        self.principal.as_ref().and_then(|p| p.app()).map(|app| app.name())
    }

    /// By which identity source.
    #[must_use]
    pub fn source(&self) -> Option<SourceLabel> {
        self.principal.as_ref().map(|p| p.identity().source())
    }

    /// The answer is a stream of this kind, and begins.
    pub fn stream_begins(&mut self, kind: StreamKind) {
        self.stream = Some((kind, self.telemetry.metrics().stream(kind)));
        if self.may_write(false) {
            self.say("stream begins");
        }
    }

    /// Neither unauthenticated callers nor callers that are refused all the time may fill the log.
    fn may_write(&self, refused: bool) -> bool {
        match &self.principal {
            None => self.telemetry.may_write(LogBucket::Unauthenticated),
            Some(_) => !refused || self.telemetry.may_write(LogBucket::Refused),
        }
    }

    /// Whether the answer is a stream.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    fn decision(&self) -> Decision {
        match (&self.refusal, self.status) {
            (Some(Refusal::Limit(LimitFault::SlowReader)), _) | (None, 0) => Decision::Cut,
            (Some(r), _) if r.status() >= 500 && r.status() != 501 => Decision::Error,
            (Some(_), _) => Decision::Deny,
            (None, _) => Decision::Allow,
        }
    }

    /// Says it, once.
    pub fn emit(&mut self) {
        if std::mem::replace(&mut self.emitted, true) {
            return;
        }
        let decision = self.decision();
        self.telemetry.metrics().ended(RequestEnd {
            route: self.route.as_ref().map_or(RouteLabel::None, |r| r.label),
            decision,
            source: self.source().unwrap_or(SourceLabel::None),
            status: self.status,
            refusal: self.refusal.as_ref().map(Refusal::code),
            duration: self.begun.elapsed(),
            first_byte: self.first_byte.map(|at| at - self.begun),
            stream: self.stream.as_ref().map(|(kind, _)| *kind),
            spoofed: self.spoofed,
            granted: self.granted.as_deref(),
            requested: self.requested.as_ref(),
        });
        if let Some(refusal) = &self.refusal {
            self.telemetry.refused(self.shown(refusal));
        }
        if self.refusal.as_ref().is_some_and(|r| r.code().is_gateway_failure()) {
            self.telemetry.gateway(false, Instant::now());
        } else if let Some(at) = self.first_byte {
            self.telemetry.gateway(true, at);
        }
        if self.may_write(decision == Decision::Deny) {
            self.say("request ends");
        }
    }

    /// What is remembered of it, refused as it was.
    fn shown(&self, refusal: &Refusal) -> RecentRefusal {
        let path: String = self.path().chars().take(120).collect();
        RecentRefusal {
            at: Timestamp::now(),
            request_id: self.request_id.to_string(),
            request: format!("{} {}", self.method, if path.is_empty() { "(not checked)" } else { &path }),
            from: self.peer.map(|p| p.to_string()),
            principal: self.name().map(str::to_owned),
            source: self.source(),
            status: refusal.status(),
            reason: refusal.code(),
            message: refusal.to_string(),
            change: self.change.clone().unwrap_or_else(|| refusal.advice().to_owned()),
        }
    }

    fn say(&self, event: &'static str) {
        if tracing::enabled!(target: "access", tracing::Level::INFO) {
            logging::write(&Line::of(self, event));
        }
    }
}

impl Drop for AccessRecord {
    fn drop(&mut self) {
        self.emit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_storm_of_refusals_is_bounded_in_memory_and_lines() {
        let telemetry = Arc::new(Telemetry::new().unwrap());
        for i in 0..10_000 {
            let mut record = AccessRecord::begin(telemetry.clone(), Arc::from(format!("{i}")), 1, None);
            record.refusal = Some(Refusal::CredentialMissing);
            record.status = 401;
        }
        assert_eq!(telemetry.refusals().len(), 50);
        assert_eq!(telemetry.refusals()[0].request_id, "9999");
        let text = String::from_utf8(telemetry.metrics().render(&crate::metrics::Gauges::default())).unwrap();
        assert!(text.contains("scopeshim_refusals_total{reason=\"credential_missing\"} 10000"));
        let suppressed = text.lines().find(|l| l.starts_with("scopeshim_access_lines_suppressed_total")).unwrap();
        assert!(!suppressed.ends_with(" 0"), "{suppressed}");
    }
}
