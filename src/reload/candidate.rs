//! What a file would put in force: prepared and checked, and nothing in force touched (law 11).

use super::dry_run;
use crate::config::{BootstrapConfig, Config, DynamicConfig, Loaded};
use crate::jwks_cache::{JwksCache, Prepared};
use crate::policy::Policy;
use crate::tls::Certificate;
use std::path::PathBuf;
use tracing::level_filters::LevelFilter;

/// What is in force.
pub(super) struct InForce<'a> {
    pub fixed: &'a BootstrapConfig,
    pub policy: &'a Policy,
    pub issuers: &'a JwksCache,
}

/// What has passed every test and waits to be committed.
pub(super) struct Candidate {
    pub policy: Policy,
    pub issuers: Prepared,
    /// For each listener that is open: the certificate it shows from now on; `None`: as before.
    pub certificates: Vec<Option<Certificate>>,
    pub level: LevelFilter,
    /// The keys that wait for a restart.
    pub pending: Vec<&'static str>,
    /// Where the next start looks for state, if that is elsewhere.
    pub next_state_dir: Option<PathBuf>,
    pub text: String,
    pub warnings: String,
}

/// A file that does not come into force.
pub(super) struct Rejected {
    /// What is wrong with it, for a person.
    pub problems: String,
    pub text: String,
}

impl Candidate {
    /// Prepares what the file says, as far as it can come into force while the process runs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn prepare(loaded: Loaded, running: &InForce<'_>) -> Result<Self, Rejected> {
        let mut warnings = loaded.render();
        let Loaded { config, source, .. } = loaded;
        let Some(Config { fixed, mut live }) = config else {
            return Err(Rejected { problems: warnings, text: source.text });
        };
        let mut pending = running.fixed.differences(&fixed);
        let auth = &running.policy.live().gateway_auth;
        let held_back = !fixed.gateway.is_same_gateway(&running.fixed.gateway) && !live.gateway_auth.is_same(auth);
        if held_back {
            // The next start runs by the file as it stands.
            let next = Policy::dry_run(live.clone());
            if let Err(problems) = dry_run(&next, &source) {
                return Err(Rejected { problems, text: source.text });
            }
            // A secret is for the gateway it belongs to, and for no other.
            live.gateway_auth = auth.clone();
            pending.push("[gateway] auth");
        }
        let certificates = certificates(running.fixed, &fixed, &live);
        let issuers = running.issuers.prepare(&live.issuers);
        let policy = Policy::compile(live, issuers.slots(), running.policy.generation() + 1);
        match dry_run(&policy, &source) {
            Ok(more) => warnings += &more,
            Err(problems) => return Err(Rejected { problems, text: source.text }),
        }
        let next_state_dir = (fixed.state_dir != running.fixed.state_dir).then_some(fixed.state_dir);
        let level = fixed.log.level;
        Ok(Self { policy, issuers, certificates, level, pending, next_state_dir, text: source.text, warnings })
    }
}

/// The file's certificate for each listener that is open: listeners are told apart by their address, for
/// the file may have them in another order, or fewer, or more.
fn certificates(running: &BootstrapConfig, file: &BootstrapConfig, live: &DynamicConfig) -> Vec<Option<Certificate>> {
    let mut offered: Vec<_> = file.listeners.iter().zip(&live.certificates).map(Some).collect();
    let mut take = |address| {
        let place = offered.iter_mut().find(|o| o.is_some_and(|(listen, _)| listen.address == address));
        place.and_then(Option::take).and_then(|(_, certificate)| certificate.clone())
    };
    running.listeners.iter().map(|listen| take(listen.address.clone())).collect()
}
