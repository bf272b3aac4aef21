//! What became of an edit of the file: the running process is asked, and its verdict is waited for.

use super::admin_client::{self, AskError, RunningProcess};
use http::Method;
use serde_json::Value;
use std::path::Path;

/// Whether what was written is in force.
pub(super) enum ReloadOutcome {
    /// It is; this is what the process says.
    InForce(String),
    /// The process refused the file; this is why.
    Refused(String),
    /// No process runs by this file: it counts from the next start.
    NotRunning(AskError),
    /// It is unknown.
    Unknown(String),
}

/// Has the running process read the file, and waits for its verdict.
pub(super) fn settle(at: &RunningProcess) -> ReloadOutcome {
    let (status, answer) = match admin_client::ask(at, &Method::POST, "/reload") {
        Ok(answer) => answer,
        Err(error @ AskError::NotRunning { .. }) => return ReloadOutcome::NotRunning(error),
        Err(error) => return ReloadOutcome::Unknown(error.to_string()),
    };
    if let Some(other) = another_file(at.config(), &answer) {
        return ReloadOutcome::Unknown(format!(
            "the process that answered uses {other}, not {}\n  = help: --socket PATH names the right one",
            at.config().display()
        ));
    }
    let text = answer.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    match status {
        200 => ReloadOutcome::InForce(text),
        409 => ReloadOutcome::Refused(text),
        _ => ReloadOutcome::Unknown(format!("the process answered {status}: {answer}")),
    }
}

/// The file of the process that answered, where that is not the one that was edited.
fn another_file<'a>(edited: &Path, answer: &'a Value) -> Option<&'a str> {
    let theirs = answer.get("config")?.as_str()?;
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let (ours, of_theirs) = (real(edited)?, real(Path::new(theirs)));
    (of_theirs != Some(ours)).then_some(theirs)
}

/// What came of a revocation by command.
pub(super) enum RevocationOutcome {
    /// The process accepts the token no more, nor does the next start.
    InForce(u64),
    /// The process accepts it no more; a start from the last good configuration might.
    UntilRestart(String),
    /// The process accepted no such token.
    Absent,
    /// No process runs by this file.
    NotRunning,
    /// It is unknown.
    Unknown(String),
}

/// Has the running process accept a token no more, whatever becomes of the file.
pub(super) fn end(at: &RunningProcess, name: &str) -> RevocationOutcome {
    match admin_client::ask(at, &Method::POST, &format!("/revoke?name={name}")) {
        Ok((200, answer)) => match answer.get("not_kept").and_then(Value::as_str) {
            Some(why) => RevocationOutcome::UntilRestart(why.to_owned()),
            None => RevocationOutcome::InForce(answer.get("generation").and_then(Value::as_u64).unwrap_or_default()),
        },
        Ok((404, _)) => RevocationOutcome::Absent,
        Ok((status, answer)) => RevocationOutcome::Unknown(format!("the process answered {status}: {answer}")),
        Err(AskError::NotRunning { .. }) => RevocationOutcome::NotRunning,
        Err(error) => RevocationOutcome::Unknown(error.to_string()),
    }
}
