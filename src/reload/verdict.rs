//! What became of a wish: the words for people, the fields for machines.

use jiff::Timestamp;
use serde::Serialize;

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
        /// The keys of the file that only a restart puts in force; what they said before holds until then.
        pending_restart: Vec<&'static str>,
        /// What is legal but unwise, for a person.
        warnings: String,
    },
    /// The file is wrong; what was in force stays so.
    Refused {
        /// The number of the policy that stays in force.
        generation: u64,
        /// Tokens that stay good although the refused file does not list them, or has them ended.
        still_accepted: Vec<String>,
        /// What is wrong, for a person.
        problems: String,
    },
}

impl Verdict {
    /// Whether the file is in force.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        matches!(self, Self::InForce { .. })
    }

    /// The keys that wait for a restart.
    #[must_use]
    pub fn pending_restart(&self) -> &[&'static str] {
        match self {
            Self::InForce { pending_restart, .. } => pending_restart,
            Self::Refused { .. } => &[],
        }
    }

    /// The verdict for a person; its last line says it all in short.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::InForce { generation, streams_ended, pending_restart, warnings } => {
                let ended =
                    if *streams_ended > 0 { format!("; {streams_ended} open streams ended") } else { String::new() };
                let pending = match pending_restart.as_slice() {
                    [] => String::new(),
                    keys => format!("; changes of {} need a restart", keys.join(", ")),
                };
                format!("{warnings}policy {generation} is in force{ended}{pending}")
            }
            Self::Refused { generation, still_accepted, problems } => {
                let accepted = match still_accepted.as_slice() {
                    [] => String::new(),
                    names => format!(
                        "the refused file does not list {}, which policy {generation} still accepts; to revoke one now: \
                         scopeshim token revoke NAME\n",
                        names.join(", ")
                    ),
                };
                format!("{problems}{accepted}the file is wrong; policy {generation} stays in force")
            }
        }
    }
}

/// What a revocation by command came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revoked {
    /// The number of the policy in force.
    pub generation: u64,
    /// How many secrets it no longer accepts: a token that was rotated has two. 0: it accepted none.
    pub tokens: usize,
    /// Open streams that ended.
    pub streams_ended: usize,
    /// Why a start from the last good configuration could accept it again, if that is so.
    pub not_kept: Option<String>,
}

/// How the live configuration is, for status and metrics.
#[derive(Debug, Clone, Serialize)]
pub struct ReloadStatus {
    /// The number of the policy in force.
    pub generation: u64,
    /// When it came into force.
    pub since: Timestamp,
    /// Whether the process was started from the last good file, because the present one is broken.
    pub from_last_good: bool,
    /// Tokens of the last good file that this start did not take over, because they were revoked since.
    pub withheld: Vec<String>,
    /// The keys of the file in force that only a restart applies.
    pub pending_restart: Vec<&'static str>,
    /// What the last reload came to, if there was one.
    pub last: Option<(Timestamp, Verdict)>,
    /// Reloads that came into force, and that did not.
    pub reloads: (u64, u64),
}

impl ReloadStatus {
    pub(super) fn new(generation: u64, from_last_good: bool, withheld: Vec<String>) -> Self {
        let since = Timestamp::now();
        let pending_restart = Vec::new();
        Self { generation, since, from_last_good, withheld, pending_restart, last: None, reloads: (0, 0) }
    }

    /// Whether the present file is in force.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.from_last_good && self.last.as_ref().is_none_or(|(_, verdict)| verdict.is_in_force())
    }

    /// Tokens that are accepted although the refused file has no place for them.
    #[must_use]
    pub fn still_accepted(&self) -> &[String] {
        match &self.last {
            Some((_, Verdict::Refused { still_accepted, .. })) => still_accepted,
            _ => &[],
        }
    }

    /// Notes a reload: the only trace that a refused one leaves.
    pub(super) fn note(&mut self, verdict: &Verdict) {
        let now = Timestamp::now();
        match verdict {
            Verdict::InForce { generation, pending_restart, .. } => {
                self.generation = *generation;
                self.since = now;
                self.from_last_good = false;
                self.withheld = Vec::new();
                self.pending_restart.clone_from(pending_restart);
                self.reloads.0 += 1;
            }
            Verdict::Refused { .. } => self.reloads.1 += 1,
        }
        self.last = Some((now, verdict.clone()));
    }

    /// Notes a revocation by command.
    pub(super) fn note_revoked(&mut self, generation: u64, name: &str) {
        self.generation = generation;
        self.since = Timestamp::now();
        if let Some((_, Verdict::Refused { still_accepted, .. })) = &mut self.last {
            still_accepted.retain(|accepted| accepted != name);
        }
    }
}
