//! Knowing the gateway: what it is, found out by asking it, and what should be changed.
//!
//! Releases differ in what they enforce (contract §2), and operators should not have to know. Nothing found
//! here changes what is sent: the scopes header is always explicit and the edge always enforces.

pub mod config_snippets;
mod credential;
mod findings;
mod requests;

pub use credential::CredentialCheck;
pub use findings::{Advice, Capabilities, Findings, ProbeState, Severity, Side};
pub use requests::probe;

use crate::config::GatewayAddress;
use crate::policy::Policy;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// The first pause between two questions to a gateway that is away, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long after a finding that calls for a change it is looked for again before it is said: a
/// gateway that just started does not serve all its routes yet.
const CONFIRM: Duration = Duration::from_secs(5);
/// The least time between two rounds of questions to a gateway that answers.
const REST: Duration = Duration::from_secs(30);
/// How often a new policy, which may hold another secret, is looked for.
const LOOK: Duration = Duration::from_secs(5);

/// The gateway as it is known.
#[derive(Debug)]
pub struct GatewayMonitor {
    address: GatewayAddress,
    policy: Arc<ArcSwap<Policy>>,
    reprobe: Arc<Notify>,
    findings: ArcSwap<Findings>,
}

impl GatewayMonitor {
    /// A gateway nothing is known of yet. `reprobe` is notified by every request that meets a gateway that is away or
    /// refuses this proxy's credential.
    #[must_use]
    pub fn new(address: GatewayAddress, policy: Arc<ArcSwap<Policy>>, reprobe: Arc<Notify>) -> Self {
        Self { address, policy, reprobe, findings: ArcSwap::default() }
    }

    /// Its address, `host:port`.
    #[must_use]
    pub fn authority(&self) -> String {
        self.address.authority()
    }

    /// What is known now.
    #[must_use]
    pub fn findings(&self) -> Arc<Findings> {
        self.findings.load_full()
    }

    /// Finds out at once, again whenever it is asked to, and says what changed; for ever, unless the
    /// configuration sets `probe = false`.
    pub async fn watch(&self) {
        if !self.address.probe {
            return;
        }
        let mut said = Findings::default();
        let mut pause = RETRY.0;
        loop {
            let policy = self.policy.load_full();
            let mut found = probe(&self.address, policy.credentials(), policy.probe_user()).await;
            if found != said && found.is_wrong() {
                sleep(CONFIRM).await;
                found = probe(&self.address, policy.credentials(), policy.probe_user()).await;
            }
            if found != said {
                say(&self.address, &found);
                said = found.clone();
            }
            // What is suspended now is not soon.
            let answers = matches!(found.state, ProbeState::Answers(_)) && !found.is_suspended();
            self.findings.store(Arc::new(found));
            if answers {
                pause = RETRY.0;
                self.reprobe_requested(policy.generation()).await;
            } else {
                sleep(pause).await;
                pause = (pause * 2).min(RETRY.1);
            }
        }
    }

    /// Waits until there is reason to ask again.
    async fn reprobe_requested(&self, generation: u64) {
        let rested = Instant::now() + REST;
        let reload = async {
            while self.policy.load().generation() == generation {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = self.reprobe.notified() => sleep_until(rested).await,
            () = reload => {}
        }
    }
}

fn say(address: &GatewayAddress, found: &Findings) {
    let gateway = address.authority();
    if let ProbeState::Answers(capabilities) = &found.state {
        tracing::info!(
            gateway,
            mode = found.mode,
            endpoints = capabilities.endpoints_enabled,
            credential_accepted = capabilities.credential_accepted,
            enforces_narrowed = capabilities.enforces_narrowed,
            enforces_empty = capabilities.enforces_empty,
            absent_means_all = capabilities.absent_means_all,
            refuses_forwarded = capabilities.refuses_forwarded,
            "the gateway is known"
        );
    }
    for advice in found.advice() {
        let Advice { code, what, .. } = &advice;
        let (why, change) = (&*advice.why, &*advice.change);
        match advice.severity {
            Severity::Note => tracing::info!(gateway, code, why, change, "{what}"),
            Severity::Warning | Severity::Error => tracing::warn!(gateway, code, why, change, "{what}"),
        }
    }
}
