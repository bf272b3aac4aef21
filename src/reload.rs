//! The live configuration: a changed file is read, judged and put in force, or changes nothing (law 11).

use crate::config::diagnostic::{Problem, Severity, Source};
use crate::config::surroundings::System;
use crate::config::{self, Config, Fixed, Loaded};
use crate::files::Sighting;
use crate::issuers::Issuers;
use crate::listener::Connections;
use crate::policy::{Policy, trial};
use crate::service;
use crate::state::StateDir;
use crate::telemetry;
use crate::tls::Present;
use crate::watch::Watch;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How often open streams are judged again although the policy did not change: tokens and grants
/// expire too.
const JUDGE: Duration = Duration::from_millis(500);

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The file is in force.
    InForce {
        /// The number of the policy.
        generation: u64,
        /// Open streams that ended because their caller may no longer do what they do.
        streams_ended: usize,
        /// What is legal but unwise, for a person.
        warnings: String,
    },
    /// The file is wrong; what was in force stays so.
    Refused {
        /// The number of the policy that stays in force.
        generation: u64,
        /// What is wrong, for a person.
        problems: String,
    },
    /// The file changes what needs a restart; what was in force stays so.
    NeedsRestart {
        /// The number of the policy that stays in force.
        generation: u64,
        /// The keys.
        keys: Vec<&'static str>,
    },
}

impl Verdict {
    /// Whether the file is in force.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        matches!(self, Self::InForce { .. })
    }

    /// The verdict for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::InForce { generation, streams_ended, warnings } => {
                let ended =
                    if *streams_ended > 0 { format!("; {streams_ended} open streams ended") } else { String::new() };
                format!("{warnings}policy {generation} is in force{ended}")
            }
            Self::Refused { generation, problems } => {
                format!("{problems}the file is wrong; policy {generation} stays in force")
            }
            Self::NeedsRestart { generation, keys } => format!(
                "the file changes {}, which needs a restart; nothing was applied, policy {generation} stays in force",
                keys.join(", ")
            ),
        }
    }
}

/// How the live configuration is, for status and metrics.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// The number of the policy in force.
    pub generation: u64,
    /// When it came into force.
    pub since: Timestamp,
    /// Whether the process was started from the last good file, because the present one is broken.
    pub from_last_good: bool,
    /// What the last reload came to, if there was one.
    pub last: Option<(Timestamp, Verdict)>,
    /// Reloads that came into force, and that did not.
    pub reloads: (u64, u64),
}

impl Standing {
    /// Whether the present file is in force.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.from_last_good && self.last.as_ref().is_none_or(|(_, verdict)| verdict.is_in_force())
    }
}

/// Puts configurations in force.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    fixed: Fixed,
    policy: Arc<ArcSwap<Policy>>,
    issuers: Arc<Issuers>,
    connections: Arc<Connections>,
    state: StateDir,
    standing: Mutex<Standing>,
    shown: Vec<Option<Arc<Present>>>,
}

/// Asks the reloading task for a reload, and waits for the verdict.
#[derive(Debug, Clone)]
pub struct Reload(mpsc::Sender<oneshot::Sender<Verdict>>);

impl Reload {
    /// Reads the file again, changed or not. `None` when the process is ending.
    pub async fn now(&self) -> Option<Verdict> {
        let (send, receive) = oneshot::channel();
        self.0.send(send).await.ok()?;
        receive.await.ok()
    }
}

/// The other end of [`Reload`].
pub type Wishes = mpsc::Receiver<oneshot::Sender<Verdict>>;

/// A way to ask for reloads, and where the wishes arrive.
#[must_use]
pub fn channel() -> (Reload, Wishes) {
    let (send, receive) = mpsc::channel(8);
    (Reload(send), receive)
}

impl Reloader {
    /// A reloader of what `path` says, with `policy` in force.
    #[must_use]
    pub fn new(
        path: &Path,
        fixed: Fixed,
        policy: Arc<ArcSwap<Policy>>,
        issuers: Arc<Issuers>,
        connections: Arc<Connections>,
        from_last_good: bool,
    ) -> Self {
        let standing = Standing {
            generation: policy.load().generation(),
            since: Timestamp::now(),
            from_last_good,
            last: None,
            reloads: (0, 0),
        };
        Self {
            path: path.to_owned(),
            state: StateDir::new(&fixed.state_dir),
            fixed,
            policy,
            issuers,
            connections,
            standing: Mutex::new(standing),
            shown: Vec::new(),
        }
    }

    /// The same, which replaces these listeners' certificates too.
    #[must_use]
    pub fn showing(self, shown: Vec<Option<Arc<Present>>>) -> Self {
        Self { shown, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the live configuration is.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.lock().clone()
    }

    /// Follows the file, the wishes and the clock for as long as the process serves.
    pub async fn follow(self: Arc<Self>, files: Vec<Sighting>, mut wishes: Wishes) {
        let mut watch = Watch::new(files);
        let mut clock = tokio::time::interval(JUDGE);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wish = tokio::select! {
                () = watch.changed() => None,
                Some(wish) = wishes.recv() => Some(wish),
                _ = clock.tick() => {
                    self.connections.judge_again(&self.policy.load(), Timestamp::now());
                    continue;
                }
            };
            service::reloading();
            // A large policy takes a while, which no request should wait for.
            let this = self.clone();
            let (verdict, files) = match tokio::task::spawn_blocking(move || this.reload()).await {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!(%error, generation = self.generation(), "the reload broke off; what is in force stays");
                    service::ready("serving; the last reload broke off");
                    continue;
                }
            };
            service::ready(&format!("serving; {}", verdict.describe().lines().last().unwrap_or_default()));
            if let Some(files) = files {
                watch.follow(files);
            }
            if let Some(wish) = wish {
                let _ = wish.send(verdict);
            }
        }
    }

    /// Reads the file and puts it in force, if it is right. Returns the verdict, and the files to
    /// watch from now on if they changed.
    fn reload(&self) -> (Verdict, Option<Vec<Sighting>>) {
        let begun = Instant::now();
        let (verdict, files) = match config::load(&self.path, &System) {
            Ok(loaded) => self.judge(loaded),
            Err(error) => {
                let problems = format!("{} cannot be read: {error}\n", self.path.display());
                (Verdict::Refused { generation: self.generation(), problems }, None)
            }
        };
        let took = begun.elapsed().as_secs_f64();
        match &verdict {
            Verdict::InForce { generation, streams_ended, .. } => {
                tracing::info!(generation, streams_ended, took_s = took, "a new policy is in force");
            }
            refused => tracing::error!(generation = self.generation(), "{}", refused.describe()),
        }
        let mut standing = self.lock();
        if let Verdict::InForce { generation, .. } = &verdict {
            standing.generation = *generation;
            standing.since = Timestamp::now();
            standing.from_last_good = false;
            standing.reloads.0 += 1;
        } else {
            standing.reloads.1 += 1;
        }
        standing.last = Some((Timestamp::now(), verdict.clone()));
        (verdict, files)
    }

    fn judge(&self, loaded: Loaded) -> (Verdict, Option<Vec<Sighting>>) {
        let text = loaded.render();
        let Loaded { config, source, files, .. } = loaded;
        let Some(Config { fixed, live }) = config else {
            return (Verdict::Refused { generation: self.generation(), problems: text }, Some(files));
        };
        let keys = self.fixed.differences(&fixed);
        if !keys.is_empty() {
            return (Verdict::NeedsRestart { generation: self.generation(), keys }, Some(files));
        }
        let generation = self.generation() + 1;
        let slots = self.issuers.adopt(&live.issuers);
        let certificates = live.certificates.clone();
        let policy = Policy::compile(live, &slots, generation);
        if let Some(failed) = rehearsed(&policy, &source) {
            return (Verdict::Refused { generation: self.generation(), problems: failed }, Some(files));
        }
        self.policy.store(Arc::new(policy));
        for (shown, certificate) in self.shown.iter().zip(certificates) {
            if let (Some(shown), Some(certificate)) = (shown, certificate) {
                shown.replace(certificate);
            }
        }
        telemetry::set_level(fixed.log.level);
        let streams_ended = self.connections.judge_again(&self.policy.load(), Timestamp::now());
        self.keep(&source.text);
        (Verdict::InForce { generation, streams_ended, warnings: text }, Some(files))
    }

    fn generation(&self) -> u64 {
        self.policy.load().generation()
    }

    /// Keeps a configuration that is in force for the next start.
    pub fn keep(&self, text: &str) {
        if let Err(error) = self.state.keep(&self.path, text) {
            tracing::warn!(dir = %self.state.path().display(), %error, "the last good configuration cannot be kept for the next start");
        }
    }
}

/// What a policy's own tests have against it, rendered; `None` if nothing.
#[must_use]
pub fn rehearsed(policy: &Policy, source: &Source) -> Option<String> {
    let failures = trial::failures(policy, Timestamp::now());
    let render = |(span, message): (std::ops::Range<usize>, String)| {
        let hint = "mend the policy, or the test".to_owned();
        source.render(&Problem { severity: Severity::Error, code: "test-failed", message, hint, span: Some(span) })
            + "\n"
    };
    (!failures.is_empty()).then(|| failures.into_iter().map(render).collect())
}
