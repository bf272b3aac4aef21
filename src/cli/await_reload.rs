//! What became of an edit of the file: the running process is asked, and its verdict is waited for.

use super::admin_client::{self, AskError, Running};
use http::Method;
use serde_json::Value;
use std::path::Path;

/// Whether what was written is in force.
pub(super) enum Settled {
    /// It is; this is what the process says.
    InForce(String),
    /// The process refused the file; this is why.
    Refused(String),
    /// No process runs by this file: it counts from the next start.
    NotRunning(AskError),
    /// Nobody knows.
    Unknown(String),
}

/// Has the running process read the file, and waits for its verdict.
pub(super) fn settle(at: &Running) -> Settled {
    let (status, answer) = match admin_client::ask(at, &Method::POST, "/reload") {
        Ok(answer) => answer,
        Err(error @ AskError::NotRunning { .. }) => return Settled::NotRunning(error),
        Err(error) => return Settled::Unknown(error.to_string()),
    };
    if let Some(other) = another_file(at.config(), &answer) {
        return Settled::Unknown(format!(
            "the process that answered runs by {other}, not by {}\n  = help: --socket PATH names the right one",
            at.config().display()
        ));
    }
    let text = answer.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    match status {
        200 => Settled::InForce(text),
        409 => Settled::Refused(text),
        _ => Settled::Unknown(format!("the process answered {status}: {answer}")),
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
pub(super) enum Ended {
    /// The process accepts the token no more, nor does the next start.
    InForce(u64),
    /// The process accepts it no more; a start from the last good configuration might.
    UntilRestart(String),
    /// The process accepted no such token.
    Absent,
    /// No process runs by this file.
    NotRunning,
    /// Nobody knows.
    Unknown(String),
}

/// Has the running process accept a token no more, whatever becomes of the file.
pub(super) fn end(at: &Running, name: &str) -> Ended {
    match admin_client::ask(at, &Method::POST, &format!("/revoke?name={name}")) {
        Ok((200, answer)) => match answer.get("not_kept").and_then(Value::as_str) {
            Some(why) => Ended::UntilRestart(why.to_owned()),
            None => Ended::InForce(answer.get("generation").and_then(Value::as_u64).unwrap_or_default()),
        },
        Ok((404, _)) => Ended::Absent,
        Ok((status, answer)) => Ended::Unknown(format!("the process answered {status}: {answer}")),
        Err(AskError::NotRunning { .. }) => Ended::NotRunning,
        Err(error) => Ended::Unknown(error.to_string()),
    }
}
