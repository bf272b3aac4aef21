//! How the process is, in one value: for the page, for `scopeshim status`, for machines.

use super::AdminState;
use crate::gateway_probe::{Advice, Findings, Severity};
use crate::jwks_cache::KeyStatus;
use crate::metric_labels::StreamKind;
use crate::policy::Policy;
use crate::principal_limiter::Usage;
use crate::reload::{ReloadStatus, Verdict};
use crate::telemetry::RecentRefusal;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How the process is.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The version of this program.
    pub version: &'static str,
    /// The present moment, as this process sees it.
    pub now: Timestamp,
    /// For how long it has been up, in seconds.
    pub uptime_s: u64,
    /// The gateway's address.
    pub gateway: String,
    /// What the gateway was found to be.
    pub gateway_findings: Findings,
    /// How this process authenticates itself to the gateway.
    pub mode: &'static str,
    /// How many seconds ago the gateway last answered a request; `None`: not yet.
    pub gateway_answered_s: Option<f64>,
    /// How many seconds ago it last failed to; `None`: never.
    pub gateway_failed_s: Option<f64>,
    /// What it waits for before it is ready; empty when it is.
    pub waiting_for: Vec<String>,
    /// What needs attention.
    pub warnings: Vec<String>,
    /// What could be better.
    pub advice: Vec<String>,
    /// The policy.
    pub policy: PolicyStatus,
    /// The issuers' keys.
    pub issuers: Vec<IssuerStatus>,
    /// What is going on.
    pub traffic: Traffic,
    /// What principals with a limit use of it.
    pub limits: Vec<Usage>,
    /// The last refusals, the newest first.
    pub refusals: Vec<RecentRefusal>,
}

/// The policy in force.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyStatus {
    /// Its number.
    pub generation: u64,
    /// Since when.
    pub since: Timestamp,
    /// Whether it is the last good one, because the present file is broken.
    pub from_last_good: bool,
    /// Tokens of the last good file that are not accepted, because they were revoked since.
    pub withheld: Vec<String>,
    /// Tokens that are accepted although the refused file has no place for them.
    pub still_accepted: Vec<String>,
    /// The keys of the file in force that only a restart applies.
    pub pending_restart: Vec<&'static str>,
    /// When the last reload was, if there was one.
    pub last_reload: Option<Timestamp>,
    /// Whether that came into force.
    pub last_reload_ok: bool,
    /// What it came to, for a person.
    pub last_reload_text: Option<String>,
    /// How many named tokens, issuers and grants there are.
    pub tokens: usize,
    /// See `tokens`.
    pub issuers: usize,
    /// See `tokens`.
    pub grants: usize,
    /// The token that expires next, and when.
    pub next_expiry: Option<(String, Timestamp)>,
}

/// One issuer's keys.
#[derive(Debug, Clone, Serialize)]
pub struct IssuerStatus {
    /// Its name.
    pub name: String,
    /// How many usable keys it has.
    pub keys: usize,
    /// How long ago it confirmed them, in seconds; `None`: never, or they do not come over the network.
    pub age_s: Option<i64>,
}

/// Counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests that came to their end.
    pub requests: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Requests being answered.
    pub in_flight: usize,
    /// Client connections.
    pub connections: usize,
    /// Event streams.
    pub sse: i64,
    /// Sockets.
    pub websockets: i64,
}

impl Status {
    pub(super) fn of(admin_state: &AdminState) -> Self {
        let policy = admin_state.policy.load();
        let keys = admin_state.issuers.status();
        let reload_status = admin_state.reloader.reload_status();
        let (connections, in_flight) = admin_state.connections.count();
        let (requests, refused) = admin_state.telemetry.metrics().totals();
        let open = |kind| admin_state.telemetry.metrics().streams_open(kind);
        let live = policy.live();
        let [answered, failed] = admin_state.telemetry.gateway_ages();
        let mut warnings = Vec::new();
        if failed.is_some_and(|failed| answered.is_none_or(|answered| failed < answered)) {
            warnings.push(format!("the gateway did not answer the last request: {}", admin_state.gateway.authority()));
        }
        warnings.extend(of_the_file(&reload_status));
        let found = admin_state.gateway.findings();
        // What works and could work better must not hide what does not work.
        let (trouble, advice): (Vec<_>, Vec<_>) =
            found.advice().into_iter().partition(|a| a.severity == Severity::Error);
        let told = |all: Vec<Advice>| all.into_iter().map(|a| format!("{}: {}", a.what, a.change));
        warnings.extend(told(trouble));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            now: Timestamp::now(),
            uptime_s: admin_state.telemetry.uptime().as_secs(),
            gateway: admin_state.gateway.authority(),
            gateway_findings: (*found).clone(),
            mode: live.gateway_auth.mode(),
            gateway_answered_s: answered,
            gateway_failed_s: failed,
            waiting_for: keys
                .iter()
                .filter(|k| k.keys == 0)
                .map(|k| format!("keys of the issuer {}", k.issuer))
                .chain(admin_state.tailnet.trouble())
                .collect(),
            warnings,
            advice: told(advice).collect(),
            policy: PolicyStatus {
                generation: reload_status.generation,
                since: reload_status.since,
                from_last_good: reload_status.from_last_good,
                withheld: reload_status.withheld.clone(),
                still_accepted: reload_status.still_accepted().to_vec(),
                pending_restart: reload_status.pending_restart.clone(),
                last_reload: reload_status.last.as_ref().map(|(at, _)| *at),
                last_reload_ok: reload_status.is_good(),
                last_reload_text: reload_status.last.as_ref().map(|(_, verdict)| Verdict::describe(verdict)),
                tokens: live.tokens.len(),
                issuers: live.issuers.len(),
                grants: live.grants.len(),
                next_expiry: next_expiry(&policy).map(|(name, at)| (name.to_owned(), at)),
            },
            issuers: keys.iter().map(issuer).collect(),
            traffic: Traffic {
                requests,
                refused,
                in_flight,
                connections,
                sse: open(StreamKind::Sse),
                websockets: open(StreamKind::Websocket),
            },
            limits: admin_state.telemetry.principal_limiter().usage(&policy),
            refusals: admin_state.telemetry.refusals(),
        }
    }
}

/// What the file says and the process does not do.
fn of_the_file(reload_status: &ReloadStatus) -> Vec<String> {
    let mut warnings = Vec::new();
    if reload_status.from_last_good {
        warnings.push("the configuration file is broken: the last good one is in force".to_owned());
    } else if !reload_status.is_good() {
        warnings.push("the last reload was refused: the policy from before stays in force".to_owned());
    }
    if !reload_status.withheld.is_empty() {
        let names = reload_status.withheld.join(", ");
        warnings.push(format!("tokens of the last good file that were revoked since, and are not accepted: {names}"));
    }
    if !reload_status.still_accepted().is_empty() {
        let names = reload_status.still_accepted().join(", ");
        warnings.push(format!(
            "tokens still accepted, although the refused file does not list them: {names}; `scopeshim token revoke NAME` revokes one now"
        ));
    }
    if !reload_status.pending_restart.is_empty() {
        let keys = reload_status.pending_restart.join(", ");
        warnings.push(format!("changes of {keys} need a restart"));
    }
    warnings
}

fn issuer(keys: &KeyStatus) -> IssuerStatus {
    let age = keys.confirmed.filter(|_| keys.remote).map(|at| Timestamp::now().as_second() - at.as_second());
    IssuerStatus { name: keys.issuer.to_string(), keys: keys.keys, age_s: age }
}

/// The token that expires next.
pub(super) fn next_expiry(policy: &Policy) -> Option<(&str, Timestamp)> {
    let now = Timestamp::now();
    let coming = policy.live().present_tokens().filter_map(|t| Some((&*t.name, t.expires?)));
    coming.filter(|(_, at)| *at > now).min_by_key(|(_, at)| *at)
}
