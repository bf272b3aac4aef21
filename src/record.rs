//! What is remembered of one request, and said of it once at its end.

use crate::policy::Grant;
use crate::refusal::Refusal;
use crate::route::Route;
use http::Method;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// The facts of one request, gathered as it goes. Whatever ends the request, even a cut, the line
/// is written: on [`Record::emit`], else on drop.
#[derive(Debug)]
pub struct Record {
    /// When its head was complete.
    pub begun: Instant,
    /// Its number, as answered.
    pub request_id: Arc<str>,
    /// Its method.
    pub method: Method,
    /// Its path, without the query; empty until judged.
    pub path: String,
    /// The route it took.
    pub route: Option<Arc<Route>>,
    /// The peer; `None` on a unix socket.
    pub peer: Option<IpAddr>,
    /// The policy that judged it.
    pub generation: u64,
    /// Who it was taken for, where nothing was granted.
    pub principal: Option<String>,
    /// By which identity source.
    pub source: Option<&'static str>,
    /// The scopes sent to the gateway.
    pub scopes: Option<String>,
    /// Why it was refused.
    pub refusal: Option<Refusal>,
    /// The answer's status; 0 until there is one.
    pub status: u16,
    /// When the gateway's answer began.
    pub first_byte: Option<Instant>,
    /// Whether the answer is an event stream.
    pub stream: bool,
    /// What was tried to be forged: how many headers.
    pub forged: usize,
    /// What went wrong on the way, in the transport's words.
    pub cause: Option<String>,
    /// Connections to the gateway tried.
    pub attempts: u32,
    emitted: bool,
}

impl Record {
    /// A record that knows nothing yet but its number.
    #[must_use]
    pub fn begin(request_id: Arc<str>, generation: u64, peer: Option<IpAddr>) -> Self {
        Self {
            begun: Instant::now(),
            request_id,
            method: Method::GET,
            path: String::new(),
            route: None,
            peer,
            generation,
            principal: None,
            source: None,
            scopes: None,
            refusal: None,
            status: 0,
            first_byte: None,
            stream: false,
            forged: 0,
            cause: None,
            attempts: 0,
            emitted: false,
        }
    }

    /// Notes who goes, and with what.
    pub fn granted(&mut self, grant: &Grant) {
        if let Some(principal) = grant.principal() {
            self.principal = Some(principal.name().to_owned());
            self.source = Some(principal.identity().source());
        }
        self.scopes = Some(grant.effective().to_header());
    }

    /// Says it, once.
    pub fn emit(&mut self) {
        if std::mem::replace(&mut self.emitted, true) {
            return;
        }
        let decision = match (&self.refusal, self.status) {
            (Some(r), _) if r.status() >= 500 => "error",
            (Some(_), _) => "deny",
            (None, 0) => "cut",
            (None, _) => "allow",
        };
        tracing::info!(
            target: "access",
            request_id = &*self.request_id,
            http.request.method = self.method.as_str(),
            url.path = printable(&self.path),
            http.route = self.route.as_ref().map(|r| r.label),
            http.response.status_code = self.status,
            client.address = self.peer.map(tracing::field::display),
            decision,
            principal = self.principal.as_deref(),
            source = self.source,
            scopes = self.scopes.as_deref(),
            reason = self.refusal.as_ref().map(Refusal::code),
            detail = self.refusal.as_ref().map(tracing::field::display),
            generation = self.generation,
            stream = self.stream,
            forged = self.forged,
            attempts = self.attempts,
            cause = self.cause.as_deref(),
            first_byte_s = self.first_byte.map(|at| (at - self.begun).as_secs_f64()),
            duration_s = self.begun.elapsed().as_secs_f64(),
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.emit();
    }
}

/// A path for a log line: cut to a bearable length. A judged path is visible ASCII already.
fn printable(path: &str) -> &str {
    path.get(..256).unwrap_or(path)
}
