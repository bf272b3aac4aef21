//! `token revoke`: its success means that the token is no longer accepted (law 11).

use super::super::admin_client::RunningProcess;
use super::super::await_reload::{ReloadOutcome, RevocationOutcome, end, settle};
use super::super::{Exit, complain};
use super::edit::{self, EditError, EditRequirement};

pub(super) fn revoke(at: &RunningProcess, name: &str, force: bool) -> Exit {
    if !crate::config::is_name(name) {
        complain(format!("error: `{name}` is not a name: 1 to 64 letters, digits and . _ - @"));
        return Exit::Usage;
    }
    let edited = edit::edit(at.config(), EditRequirement::NoWorse, |document| {
        edit::revoke(document, name)?;
        Ok(if force { edit::drop_tests(document, name) } else { Vec::new() })
    });
    let file = at.config().display();
    match edited {
        Ok(edited) => {
            complain(format!("{file} is written, without `{name}`"));
            for test in edited.value {
                complain(format!("the policy's own test `{test}` named it, and is removed too"));
            }
            settled(at, name, &edited.wrong)
        }
        Err(EditError::Missing(_)) => missing(at, name),
        Err(EditError::Wrong(problems)) => {
            complain(format!(
                "{problems}\n\nerror: `{name}` is NOT revoked: {file} would have errors without it; nothing \
                 was written, and the token still works\n  = help: change the test or the rule above, or run it with \
                 --force, which also removes the tests that name `{name}`"
            ));
            Exit::Failed
        }
        Err(EditError::Syntax(error)) => unreadable(at, name, &error),
        // What cannot be written down would not last: nothing is half done.
        Err(error) => {
            complain(format!("error: `{name}` is NOT revoked, and nothing was changed: {error}"));
            Exit::Failed
        }
    }
}

/// The file is written. Is it in force?
fn settled(at: &RunningProcess, name: &str, wrong: &str) -> Exit {
    match settle(at) {
        ReloadOutcome::InForce(said) => {
            complain(format!("`{name}` is revoked: {said}"));
            Exit::Ok
        }
        ReloadOutcome::NotRunning(error) => {
            if !wrong.is_empty() {
                complain(wrong.trim_end());
            }
            complain(format!("no process runs, so it takes effect at the next start\n  ({error})"));
            if !wrong.is_empty() {
                complain(format!(
                    "warning: the file has other errors, above: a start from the last good configuration does \
                     not accept `{name}`"
                ));
            }
            Exit::Ok
        }
        ReloadOutcome::Refused(said) => {
            complain(said);
            match end(at, name) {
                RevocationOutcome::InForce(generation) => {
                    complain(format!(
                        "`{name}` is revoked: policy {generation}, without it, is in force\n\
                         warning: the file is refused for other errors, above; fix it, then `scopeshim reload`"
                    ));
                    Exit::Ok
                }
                RevocationOutcome::Absent => {
                    complain(format!(
                        "`{name}` is revoked: no token of that name was in force\n\
                         warning: the file is refused for other errors, above; fix it, then `scopeshim reload`"
                    ));
                    Exit::Ok
                }
                other => unended(name, other),
            }
        }
        ReloadOutcome::Unknown(why) => {
            complain(format!(
                "error: the file is written, but it is unknown whether `{name}` is revoked: {why}\n  \
                 = help: `scopeshim reload` tries again; until it reports the file in force, assume that the token works"
            ));
            Exit::Unavailable
        }
    }
}

/// The file does not list it. The process may accept it still, if it refused that file.
fn missing(at: &RunningProcess, name: &str) -> Exit {
    match end(at, name) {
        RevocationOutcome::InForce(generation) => {
            complain(format!(
                "{} did not list it; `{name}` is revoked: policy {generation}, without it, is in force",
                at.config().display()
            ));
            Exit::Ok
        }
        RevocationOutcome::Absent | RevocationOutcome::NotRunning => {
            complain(format!("error: no token is named `{name}`"));
            Exit::Failed
        }
        other => unended(name, other),
    }
}

/// Only a person can edit the file. The process revokes the token all the same, and the person must check
/// the file, which may list it.
fn unreadable(at: &RunningProcess, name: &str, error: &str) -> Exit {
    let file = at.config().display();
    complain(format!("error: {error}\nnothing was written"));
    match end(at, name) {
        RevocationOutcome::InForce(generation) => complain(format!(
            "the running process does not accept `{name}` for now: policy {generation}, without it, is in force\n\
             warning: {file} may list it, and brings it back once the file is valid again: remove its table"
        )),
        RevocationOutcome::Absent => {
            complain(format!("the running process accepts no token named `{name}`; {file} may list it"));
        }
        RevocationOutcome::NotRunning => {
            complain(format!("no process runs; `{name}` is NOT revoked: remove its table from {file}"));
        }
        other => return unended(name, other),
    }
    Exit::Failed
}

fn unended(name: &str, ended: RevocationOutcome) -> Exit {
    match ended {
        RevocationOutcome::UntilRestart(why) => complain(format!(
            "error: the running process no longer accepts `{name}`, but cannot save that for the next start ({why})\n  \
             = help: fix the file before you start the process again"
        )),
        RevocationOutcome::Unknown(why) => complain(format!(
            "error: `{name}` is NOT revoked, as far as is known: {why}\n  \
             = help: fix the file, then `scopeshim reload`; or stop the process"
        )),
        _ => complain(format!("error: `{name}` is NOT revoked: the process ended\n  = help: try again")),
    }
    Exit::Unavailable
}
