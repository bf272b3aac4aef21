//! The running process: whether it runs what the file says. What is said here is what `status` says,
//! since it is asked.

use super::Outcome;
use super::chain::{Chain, PATIENCE};
use crate::client::{Question, Server, ask};
use crate::gateway::{Advice, Severity, Side};
use serde_json::Value;

/// Asks the process how its policy is.
pub(super) async fn standing(chain: &Chain) -> Outcome {
    let socket = &chain.fixed.admin.socket;
    let answer = match ask(&Server::Unix(socket.clone()), Question::get("/status", Vec::new()), PATIENCE).await {
        Ok(answer) if answer.status == 200 => answer,
        Ok(answer) => return Outcome::Skipped(format!("{} answers {}", socket.display(), answer.brief())),
        Err(fault) => return Outcome::Skipped(format!("{} cannot be asked: {fault}", socket.display())),
    };
    let status: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    judge(&status)
}

fn judge(status: &Value) -> Outcome {
    let policy = status.get("policy").unwrap_or(&Value::Null);
    let generation = policy.get("generation").and_then(Value::as_u64).unwrap_or_default();
    let finding = |what: String, change: &'static str| {
        let why = "the file says one thing, the process does another";
        Outcome::found(Advice::new("process-differs", Severity::Error, Side::Proxy, what, why, change))
    };
    if policy.get("from_last_good") == Some(&Value::Bool(true)) {
        return finding(
            format!("the process started from the last good file; policy {generation} is in force"),
            "mend the file (`scopeshim check`), then `scopeshim reload`",
        );
    }
    let verdict = policy.pointer("/last/1");
    match verdict.and_then(|v| v.get("verdict")).and_then(Value::as_str) {
        Some("refused") => finding(
            format!("the last reload was refused; policy {generation} stays in force"),
            "mend the file (`scopeshim check`), then `scopeshim reload`",
        ),
        Some("needs_restart") => {
            let keys = verdict.and_then(|v| v.get("keys")).and_then(Value::as_array);
            let keys: Vec<&str> = keys.into_iter().flatten().filter_map(Value::as_str).collect();
            finding(
                format!("the file changes {}; policy {generation} stays in force", keys.join(", ")),
                "restart the process: `systemctl restart scopeshim`",
            )
        }
        _ => Outcome::Good(format!("policy {generation} is in force")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_process_says_is_repeated() {
        let said = |policy: Value| match judge(&json!({ "policy": policy })) {
            Outcome::Good(said) => said,
            Outcome::Found(_, advice) => format!("{} -> {}", advice[0].what, advice[0].change),
            Outcome::Skipped(why) => why,
        };
        assert_eq!(said(json!({"generation": 3, "last": null})), "policy 3 is in force");
        assert!(said(json!({"generation": 1, "from_last_good": true})).contains("scopeshim check"));
        let refused = json!({"generation": 2, "last": ["2026-01-01T00:00:00Z", {"verdict": "refused"}]});
        assert!(said(refused).contains("policy 2 stays in force"));
        let restart =
            json!({"generation": 2, "last": ["2026-01-01T00:00:00Z", {"verdict": "needs_restart", "keys": ["[log]"]}]});
        assert!(said(restart).contains("the file changes [log]"));
    }
}
