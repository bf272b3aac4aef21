//! The live configuration: a changed file is prepared, checked and committed, or changes nothing (law 11).
//!
//! `candidate` prepares and checks, and is given nothing that it could change; `commit` alone changes
//! what is in force. What needs a restart does not hold the rest up: it is named and waits.
//!
//! A token that the refused file does not list stays valid while the process runs, since nothing can
//! tell a revocation from a file half saved; the verdict, the log and the status name it. By command,
//! [`Reload::revoke`], it ends at once. A start from the last good file takes over neither: see
//! [`crate::last_good::Withheld`].

mod candidate;
#[cfg(test)]
mod tests;
mod verdict;

pub use verdict::{ReloadStatus, Revoked, Verdict};

use crate::atomic_file::FileFingerprint;
use crate::config::diagnostic::{Problem, Severity, Source};
use crate::config::environment::System;
use crate::config::{self, BootstrapConfig, Loaded};
use crate::file_watch::Watch;
use crate::jwks_cache::JwksCache;
use crate::last_good::StateDir;
use crate::listener::Connections;
use crate::logging;
use crate::policy::Policy;
use crate::request_evaluation::policy_test::{self, Failure};
use crate::secret::TokenHash;
use crate::systemd;
use crate::tls::CertificateResolver;
use arc_swap::ArcSwap;
use candidate::{Candidate, InForce, Rejected};
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Puts configurations in force.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    fixed: BootstrapConfig,
    policy: Arc<ArcSwap<Policy>>,
    issuers: Arc<JwksCache>,
    connections: Arc<Connections>,
    state: StateDir,
    reload_status: Mutex<ReloadStatus>,
    shown: Vec<Option<Arc<CertificateResolver>>>,
}

/// Asks the reloading task for something, and waits until it is done.
#[derive(Debug, Clone)]
pub struct Reload(mpsc::Sender<ReloadRequest>);

/// What is asked of the reloading task: one after the other, so that none undoes another.
#[derive(Debug)]
pub enum ReloadRequest {
    /// Read the file again, changed or not.
    Reload(oneshot::Sender<Verdict>),
    /// Accept the tokens of this name no more, whatever the file says.
    Revoke(String, oneshot::Sender<Revoked>),
}

impl Reload {
    /// Reads the file again, changed or not. `None` when the process is ending.
    pub async fn now(&self) -> Option<Verdict> {
        let (send, receive) = oneshot::channel();
        self.0.send(ReloadRequest::Reload(send)).await.ok()?;
        receive.await.ok()
    }

    /// Has the tokens of this name accepted no more, although no file that says so is in force. `None` when
    /// the process is ending.
    pub async fn revoke(&self, name: String) -> Option<Revoked> {
        let (send, receive) = oneshot::channel();
        self.0.send(ReloadRequest::Revoke(name, send)).await.ok()?;
        receive.await.ok()
    }
}

/// The other end of [`Reload`].
pub type ReloadRequests = mpsc::Receiver<ReloadRequest>;

/// A way to ask for reloads, and where the wishes arrive.
#[must_use]
pub fn channel() -> (Reload, ReloadRequests) {
    let (send, receive) = mpsc::channel(8);
    (Reload(send), receive)
}

impl Reloader {
    /// A reloader of what `path` says, with `policy` in force.
    #[must_use]
    pub fn new(
        path: &Path,
        fixed: BootstrapConfig,
        policy: Arc<ArcSwap<Policy>>,
        issuers: Arc<JwksCache>,
        connections: Arc<Connections>,
        from_last_good: bool,
    ) -> Self {
        let reload_status = ReloadStatus::new(policy.load().generation(), from_last_good, Vec::new());
        Self {
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            state: StateDir::new(&fixed.state_dir),
            fixed,
            policy,
            issuers,
            connections,
            reload_status: Mutex::new(reload_status),
            shown: Vec::new(),
        }
    }

    /// The file that is read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same, which replaces these listeners' certificates too.
    #[must_use]
    pub fn showing(self, shown: Vec<Option<Arc<CertificateResolver>>>) -> Self {
        Self { shown, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, ReloadStatus> {
        self.reload_status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the live configuration is.
    #[must_use]
    pub fn reload_status(&self) -> ReloadStatus {
        self.lock().clone()
    }

    /// Follows the file and the wishes for as long as the process serves.
    pub async fn follow(self: Arc<Self>, files: Vec<FileFingerprint>, mut requests: ReloadRequests) {
        let mut watch = Watch::new(files);
        loop {
            let request = tokio::select! {
                () = watch.changed() => None,
                Some(request) = requests.recv() => Some(request),
            };
            let request = match request {
                Some(ReloadRequest::Revoke(name, answer)) => {
                    let this = self.clone();
                    if let Ok(revoked) = tokio::task::spawn_blocking(move || this.revoke(&name)).await {
                        let _ = answer.send(revoked);
                    }
                    continue;
                }
                Some(ReloadRequest::Reload(answer)) => Some(answer),
                None => None,
            };
            systemd::reloading();
            // A large policy takes a while, which no request should wait for.
            let this = self.clone();
            let (verdict, files) = match tokio::task::spawn_blocking(move || this.reload()).await {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!(%error, generation = self.generation(), "the reload failed; the policy from before stays in force");
                    systemd::ready("serving; the last reload failed");
                    continue;
                }
            };
            systemd::ready(&format!("serving; {}", verdict.describe().lines().last().unwrap_or_default()));
            if let Some(files) = files {
                watch.follow(files);
            }
            if let Some(request) = request {
                let _ = request.send(verdict);
            }
        }
    }

    /// Reads the file and puts it in force, if it is right. Returns the verdict, and the files to
    /// watch from now on if they changed.
    fn reload(&self) -> (Verdict, Option<Vec<FileFingerprint>>) {
        let begun = Instant::now();
        let (verdict, files) = match config::load(&self.path, &System) {
            Ok(mut loaded) => {
                let files = std::mem::take(&mut loaded.files);
                (self.decide(loaded), Some(files))
            }
            Err(error) => {
                let problems = format!("{} cannot be read: {error}\n", self.path.display());
                (Verdict::Refused { generation: self.generation(), still_accepted: Vec::new(), problems }, None)
            }
        };
        let took = begun.elapsed().as_secs_f64();
        match &verdict {
            Verdict::InForce { generation, streams_ended, pending_restart, .. } => {
                tracing::info!(generation, streams_ended, took_s = took, "a new policy is in force");
                if !pending_restart.is_empty() {
                    let keys = pending_restart.join(", ");
                    tracing::warn!(generation, keys, "the file changes keys that need a restart");
                }
            }
            refused @ Verdict::Refused { .. } => {
                tracing::error!(generation = self.generation(), "{}", refused.describe());
            }
        }
        self.lock().note(&verdict);
        (verdict, files)
    }

    /// Puts a file in force, or finds it wrong and touches nothing.
    fn decide(&self, loaded: Loaded) -> Verdict {
        let policy = self.policy.load_full();
        let running = InForce { fixed: &self.fixed, policy: &policy, issuers: &self.issuers };
        match Candidate::prepare(loaded, &running) {
            Ok(candidate) => self.commit(candidate),
            Err(Rejected { problems, text }) => {
                let listed = config::listed(&text);
                let still_accepted =
                    listed.as_ref().map(|listed| without_place(&policy, listed, Timestamp::now())).unwrap_or_default();
                // For a start from the last good file; this process goes on as before.
                if let Err(error) = self.state.note_listed(&self.path, listed) {
                    tracing::warn!(dir = %self.state.path().display(), %error, "cannot save for the next start which tokens the refused file lists");
                }
                Verdict::Refused { generation: policy.generation(), still_accepted, problems }
            }
        }
    }

    /// The one place where what is in force changes by a file.
    fn commit(&self, candidate: Candidate) -> Verdict {
        let Candidate { policy, issuers, certificates, level, pending, next_state_dir, text, warnings } = candidate;
        let generation = policy.generation();
        self.issuers.commit(issuers);
        self.policy.store(Arc::new(policy));
        for (shown, certificate) in self.shown.iter().zip(certificates) {
            if let (Some(shown), Some(certificate)) = (shown, certificate) {
                shown.replace(certificate);
            }
        }
        logging::set_level(level);
        let streams_ended = self.connections.reauthorize(&self.policy.load(), Timestamp::now());
        self.keep(&text);
        if let Some(dir) = next_state_dir {
            self.keep_in(&StateDir::new(&dir), &text);
        }
        Verdict::InForce { generation, streams_ended, pending_restart: pending, warnings }
    }

    /// Accepts the tokens of this name no more, and has the next start know it.
    fn revoke(&self, name: &str) -> Revoked {
        let policy = self.policy.load_full();
        let mut live = policy.live().clone();
        let (gone, stay): (Vec<_>, Vec<_>) = live.tokens.into_iter().partition(|token| *token.name == *name);
        live.tokens = stay;
        let hashes: Vec<TokenHash> = gone.iter().map(|token| token.hash).collect();
        if hashes.is_empty() {
            return Revoked { generation: policy.generation(), tokens: 0, streams_ended: 0, not_kept: None };
        }
        let generation = policy.generation() + 1;
        let authenticator = policy.authenticator();
        let slots: Vec<_> = (0..live.issuers.len()).filter_map(|i| authenticator.slot(i).cloned()).collect();
        self.policy.store(Arc::new(Policy::compile(live, &slots, generation)));
        let streams_ended = self.connections.reauthorize(&self.policy.load(), Timestamp::now());
        let kept = self.state.note_revoked(&self.path, &hashes);
        // Better no last good configuration than one that lets it in again.
        let kept = kept.or_else(|error| self.state.forget(&self.path).map_err(|_| error));
        let not_kept = kept.err().map(|error| format!("{}: {error}", self.state.path().display()));
        self.lock().note_revoked(generation, name);
        tracing::warn!(
            generation,
            token = name,
            streams_ended,
            not_kept,
            "a token was revoked by command: a policy without it is in force, although the file still lists it"
        );
        Revoked { generation, tokens: hashes.len(), streams_ended, not_kept }
    }

    fn generation(&self) -> u64 {
        self.policy.load().generation()
    }

    /// Keeps a configuration that is in force for the next start.
    pub fn keep(&self, text: &str) {
        self.keep_in(&self.state, text);
    }

    fn keep_in(&self, state: &StateDir, text: &str) {
        let Err(error) = state.keep(&self.path, text) else { return };
        tracing::warn!(dir = %state.path().display(), %error, "cannot save the last good configuration for the next start");
        // The older one stays only if it accepts no token that this one does not.
        let tokens = |text: &str| config::listed(text).unwrap_or_default();
        let (old, new) = (tokens(&state.recall(&self.path).unwrap_or_default()), tokens(text));
        if old.keys().all(|hash| new.contains_key(hash)) {
            return;
        }
        match state.forget(&self.path) {
            Ok(()) => tracing::error!(
                "the last good configuration was removed: it accepts tokens that were revoked since, and cannot be replaced"
            ),
            Err(error) => tracing::error!(%error, "the last good configuration accepts tokens that were revoked since"),
        }
    }

    /// Notes what a start from the last good file found: the tokens it did not take over, and which the
    /// present file lists.
    pub fn started_from_last_good(&self, withheld: Vec<String>, listed: Option<config::TokenList>) {
        if let Err(error) = self.state.note_listed(&self.path, listed) {
            tracing::warn!(dir = %self.state.path().display(), %error, "cannot save for the next start which tokens the broken file lists");
        }
        self.lock().withheld = withheld;
    }

    /// Says where this process is asked, for commands that cannot tell it from the file.
    pub fn announce(&self) {
        let socket = std::path::absolute(&self.fixed.admin.socket);
        if let Err(error) = socket.and_then(|socket| self.state.announce(&self.path, &socket)) {
            tracing::warn!(dir = %self.state.path().display(), %error, "commands may not find this process's socket if the file names another");
        }
    }
}

/// The tokens that are in force and that a file has no place for: not listed, or ended.
fn without_place(policy: &Policy, listed: &config::TokenList, now: Timestamp) -> Vec<String> {
    let accepted = policy.live().tokens.iter().filter(|t| t.expires.is_none_or(|at| at > now));
    let gone = accepted.filter(|t| match listed.get(&t.hash.to_hex()) {
        None => true,
        Some(ends) => ends.is_some_and(|at| at <= now),
    });
    let names: std::collections::BTreeSet<String> = gone.map(|t| t.name.to_string()).collect();
    names.into_iter().collect()
}

/// Runs a policy's own tests. Returns the warnings, rendered.
///
/// # Errors
/// What they have against it, rendered.
fn dry_run(policy: &Policy, source: &Source) -> Result<String, String> {
    let failures = policy_test::failures(policy, Timestamp::now()).into_iter().map(Failure::problem);
    let (errors, warnings): (Vec<_>, Vec<_>) = failures.partition(|problem| problem.severity == Severity::Error);
    let render = |problems: Vec<Problem>| problems.iter().map(|p| source.render(p) + "\n").collect();
    if errors.is_empty() { Ok(render(warnings)) } else { Err(render(errors)) }
}
