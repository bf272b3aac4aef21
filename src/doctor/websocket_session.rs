//! A session over a WebSocket, from the client's side: which calls it may make of those that each scope
//! allows. What a gateway says of a session's scopes is not always what it holds it to (contract §7).

use crate::scope::ScopeSet;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

/// For each step; a busy gateway takes its time.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// For each scope a call that needs it and does nothing: it reads, or is refused for its parameters. A
/// release that does not know the call, or asks another scope for it, says so in other words than
/// [`missing`] looks for.
const CALLS: &[(&str, &str)] = &[
    ("operator.read", "status"),
    ("operator.read", "sessions.list"),
    ("operator.write", "chat.send"),
    ("operator.admin", "config.patch"),
    ("operator.approvals", "exec.approval.list"),
    ("operator.pairing", "device.pair.list"),
    ("operator.questions", "question.list"),
    ("operator.talk", "talk.voice.set"),
    ("operator.sessions.read", "chat.history"),
    ("operator.sessions.write", "chat.send"),
];

/// Which of these scopes the session lacks, by the first call that says so: `operator.talk (talk.voice.set)`.
pub(super) fn lacks<S: Read + Write>(socket: &mut WebSocket<S>, held: &ScopeSet) -> Result<Vec<String>, String> {
    let mut lacking = Vec::new();
    for (scope, method) in CALLS.iter().filter(|(scope, _)| held.iter().any(|s| s.as_str() == *scope)) {
        let answer = call(socket, method, &json!({}))?;
        if missing(&answer, scope) {
            lacking.push(format!("{scope} (`{method}`)"));
        }
    }
    Ok(lacking)
}

fn missing(answer: &Value, scope: &str) -> bool {
    let said = answer.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
    said.split_once("missing scope: ").is_some_and(|(_, rest)| rest.split([' ', ',', ')']).next() == Some(scope))
}

/// Sends a request and waits for its answer; events in between are passed over.
pub(super) fn call<S: Read + Write>(socket: &mut WebSocket<S>, method: &str, params: &Value) -> Result<Value, String> {
    let request = json!({ "type": "req", "id": method, "method": method, "params": params });
    socket.send(Message::text(request.to_string())).map_err(|e| e.to_string())?;
    let begun = Instant::now();
    while begun.elapsed() < TIMEOUT {
        match socket.read().map_err(|e| e.to_string())? {
            Message::Text(text) => {
                let answer: Value = serde_json::from_str(&text).unwrap_or_default();
                if answer.get("type") == Some(&json!("res")) && answer.get("id") == Some(&json!(method)) {
                    return Ok(answer);
                }
            }
            Message::Close(why) => {
                return Err(why.map_or_else(|| "closed".to_owned(), |w| format!("closed: {} {}", w.code, w.reason)));
            }
            _ => {}
        }
    }
    Err(format!("no answer to `{method}` within {TIMEOUT:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::KNOWN;

    #[test]
    fn only_the_scope_that_was_asked_counts_as_missing() {
        let answer = |message: &str| json!({ "ok": false, "error": { "message": message } });
        assert!(missing(&answer("missing scope: operator.talk"), "operator.talk"));
        assert!(missing(&answer("missing scope: operator.read (scopeshim: …)"), "operator.read"));
        assert!(!missing(&answer("missing scope: operator.talk.secrets"), "operator.talk"));
        assert!(!missing(&answer("missing scope: operator.admin"), "operator.write"));
        assert!(!missing(&answer("invalid chat.send params"), "operator.write"));
        assert!(!missing(&json!({ "ok": true }), "operator.read"));
    }

    #[test]
    fn every_scope_that_a_call_asks_for_is_tried() {
        // No release has a call that asks for it and does nothing.
        const UNTRIED: &[&str] = &["operator.talk.secrets"];
        for scope in KNOWN.iter().filter(|scope| !UNTRIED.contains(scope)) {
            assert!(CALLS.iter().any(|(tried, _)| tried == scope), "{scope}");
        }
    }
}
