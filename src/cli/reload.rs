//! `reload`: have a running process read its file again, and wait for the verdict.

use super::admin_client::{self, RunningProcess};
use super::{Exit, complain, say};
use http::Method;

pub(super) fn reload(at: &RunningProcess) -> Exit {
    match admin_client::ask(at, &Method::POST, "/reload") {
        Ok((200, answer)) => {
            say(words(&answer));
            Exit::Ok
        }
        Ok((409, answer)) => {
            complain(words(&answer));
            Exit::Config
        }
        Ok((status, answer)) => {
            complain(format!("error: the process answered {status}: {answer}"));
            Exit::Failed
        }
        Err(error) => {
            complain(format!("error: {error}"));
            Exit::Unavailable
        }
    }
}

fn words(answer: &serde_json::Value) -> &str {
    answer.get("text").and_then(serde_json::Value::as_str).unwrap_or_default()
}
