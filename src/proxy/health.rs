//! Health answers: asked of the gateway once a second at most, and cut down to their verdict.
//!
//! Health needs no authentication, so these requests must cost the gateway nothing. And behind a
//! loopback proxy every caller looks local to the gateway, which tells local callers more than an
//! unauthenticated caller should know (contract §1, "Unauthenticated").

use super::Upstream;
use crate::headers::SCOPES;
use crate::http_client::{self, ClientRequest, Server};
use crate::refusal::Refusal;
use crate::route::Probe;
use crate::telemetry::Telemetry;
use crate::websocket::upstream::Dial as _;
use http::HeaderValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(1);
/// How long the gateway has to give one.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the gateway said: its status, or why there is none.
type Answer = Result<u16, Refusal>;

/// The gateway's health as it was last told.
#[derive(Debug)]
pub(super) struct Health {
    upstream: Arc<Upstream>,
    telemetry: Arc<Telemetry>,
    live: Arc<Slot>,
    ready: Arc<Slot>,
    startup: Arc<Slot>,
}

#[derive(Debug)]
struct Slot {
    told: watch::Sender<Option<(Instant, Answer)>>,
    asking: AtomicBool,
}

/// One question under way. However it ends, those who wait for it are told something.
struct PendingQuestion(Arc<Slot>);

impl Drop for PendingQuestion {
    fn drop(&mut self) {
        self.0.told.send_if_modified(|told| {
            let untold = fresh(told.as_ref()).is_none();
            if untold {
                *told = Some((Instant::now(), Err(Refusal::GatewayBroken)));
            }
            untold
        });
        self.0.asking.store(false, Ordering::Release);
    }
}

fn fresh(told: Option<&(Instant, Answer)>) -> Option<Answer> {
    told.filter(|(at, _)| at.elapsed() < FRESH).map(|(_, answer)| answer.clone())
}

impl Health {
    pub(super) fn new(upstream: Arc<Upstream>, telemetry: Arc<Telemetry>) -> Self {
        let slot = || Arc::new(Slot { told: watch::Sender::new(None), asking: AtomicBool::new(false) });
        Self { upstream, telemetry, live: slot(), ready: slot(), startup: slot() }
    }

    /// The gateway's answer, a second old at most. Requests in the meantime wait for the same one,
    /// and a client that hangs up ends nothing but its own waiting.
    pub(super) async fn answer(&self, probe: Probe) -> Answer {
        let (slot, path) = match probe {
            Probe::Live => (&self.live, "/healthz"),
            Probe::Ready => (&self.ready, "/readyz"),
            Probe::Startup => (&self.startup, "/startupz"),
        };
        let mut told = slot.told.subscribe();
        loop {
            if let Some(answer) = fresh(told.borrow_and_update().as_ref()) {
                return answer;
            }
            if !slot.asking.swap(true, Ordering::AcqRel) {
                let asking = PendingQuestion(slot.clone());
                let (upstream, telemetry) = (self.upstream.clone(), self.telemetry.clone());
                tokio::spawn(async move {
                    let answer = ask(&upstream, path).await;
                    if answer.is_ok() {
                        telemetry.gateway(true, Instant::now());
                    }
                    asking.0.told.send_replace(Some((Instant::now(), answer)));
                });
            }
            // The sender is in `self`.
            let _ = told.changed().await;
        }
    }
}

async fn ask(upstream: &Upstream, path: &str) -> Answer {
    let stream = upstream.dial().await?;
    let server = Server::Tcp(upstream.host().to_owned(), upstream.port());
    // No authority, and the word that there is none.
    let question = ClientRequest::get(path, vec![(SCOPES, HeaderValue::from_static(""))]);
    match http_client::ask_over(stream, &server, question, TIMEOUT).await {
        Ok(answer) if (200..600).contains(&answer.status) => {
            upstream.answered(false);
            Ok(answer.status)
        }
        Ok(_) => Err(Refusal::GatewayInvalid("it has no final status")),
        Err(http_client::Fault::Slow(_)) => Err(Refusal::GatewayTimeout),
        Err(_) => Err(Refusal::GatewayBroken),
    }
}

/// What is left of an answer.
pub(super) fn verdict(probe: Probe, status: u16) -> &'static str {
    match (probe, (200..300).contains(&status)) {
        (Probe::Live, true) => r#"{"ok":true,"status":"live"}"#,
        (Probe::Live, false) => r#"{"ok":false}"#,
        (Probe::Startup, true) => r#"{"ok":true,"status":"started"}"#,
        (Probe::Startup, false) => r#"{"ok":false,"status":"starting"}"#,
        (Probe::Ready, true) => r#"{"ready":true}"#,
        (Probe::Ready, false) => r#"{"ready":false}"#,
    }
}
