//! The running process: whether it runs what the file says. What is said here is what `status` says,
//! since it is asked.

use super::Outcome;
use super::context::{Chain, TIMEOUT};
use crate::gateway_probe::{Advice, Severity, Side};
use crate::http_client::{ClientRequest, Server, ask};
use serde_json::Value;

/// Asks the process how its policy is.
pub(super) async fn reload_status(chain: &Chain) -> Outcome {
    let socket = &chain.fixed.admin.socket;
    let answer = match ask(&Server::Unix(socket.clone()), ClientRequest::get("/status", Vec::new()), TIMEOUT).await {
        Ok(answer) if answer.status == 200 => answer,
        Ok(answer) => return Outcome::Skipped(format!("{} answers {}", socket.display(), answer.brief())),
        Err(fault) => return Outcome::Skipped(format!("{} does not answer: {fault}", socket.display())),
    };
    let status: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    evaluate(&status)
}

fn evaluate(status: &Value) -> Outcome {
    let policy = status.get("policy").unwrap_or(&Value::Null);
    let generation = policy.get("generation").and_then(Value::as_u64).unwrap_or_default();
    let finding = |what: String, change: &'static str| {
        let why = "the running process does not use the file as it is now";
        Outcome::found(Advice::new("process-differs", Severity::Error, Side::Proxy, what, why, change))
    };
    if policy.get("from_last_good") == Some(&Value::Bool(true)) {
        return finding(
            format!("the process started from the last good file; policy {generation} is in force"),
            "fix the file (`scopeshim check`), then `scopeshim reload`",
        );
    }
    if policy.get("last_reload_ok") == Some(&Value::Bool(false)) {
        let said = policy.get("last_reload_text").and_then(Value::as_str).unwrap_or("the last reload was refused");
        return finding(said.trim().to_owned(), "fix the file (`scopeshim check`), then `scopeshim reload`");
    }
    let pending = policy.get("pending_restart").and_then(Value::as_array).into_iter().flatten();
    let pending: Vec<&str> = pending.filter_map(Value::as_str).collect();
    if !pending.is_empty() {
        return finding(
            format!("changes of {} need a restart", pending.join(", ")),
            "restart the process: `systemctl restart scopeshim`",
        );
    }
    Outcome::Good(format!("policy {generation} is in force"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_process_says_is_repeated() {
        let said = |policy: Value| match evaluate(&json!({ "policy": policy })) {
            Outcome::Good(said) => said,
            Outcome::Found(_, advice) => format!("{} -> {}", advice[0].what, advice[0].change),
            Outcome::Skipped(why) | Outcome::NotTested(why) => why,
        };
        assert_eq!(said(json!({"generation": 3, "last_reload_ok": true})), "policy 3 is in force");
        assert!(said(json!({"generation": 1, "from_last_good": true})).contains("scopeshim check"));
        let refused =
            json!({"last_reload_ok": false, "last_reload_text": "the file is wrong; policy 2 stays in force"});
        assert!(said(refused).ends_with("then `scopeshim reload`"));
        let restart = json!({"generation": 2, "last_reload_ok": true, "pending_restart": ["[log] format"]});
        assert!(said(restart).contains("systemctl restart"));
    }
}
