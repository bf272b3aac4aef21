//! What of the gateway's configuration says who reaches whose agents and sessions.

use serde_json::Value;

/// What a gateway keeps apart by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewayIsolation {
    /// `tools.sessions.visibility`: which sessions the tools of a session reach; `None`: the default, which is
    /// all of them from 2026.9 on, and the session and those it started before.
    pub visibility: Option<String>,
    /// The ids of its agents; empty: it says nothing of agents, and has `main` alone.
    pub agents: Vec<String>,
    /// The one that is marked as default.
    pub default_agent: Option<String>,
}

impl GatewayIsolation {
    pub(super) fn of(document: &Value) -> Self {
        let visibility = document.pointer("/tools/sessions/visibility").and_then(Value::as_str);
        let mut agents = Vec::new();
        let mut default_agent = None;
        let mut add = |id: &str, agent: &Value| {
            let id = id.trim().to_ascii_lowercase();
            if agent.get("default") == Some(&Value::Bool(true)) && default_agent.is_none() {
                default_agent = Some(id.clone());
            }
            agents.push(id);
        };
        // A list until 2026.6, a table from 2026.9 on.
        for agent in document.pointer("/agents/list").and_then(Value::as_array).into_iter().flatten() {
            if let Some(id) = agent.get("id").and_then(Value::as_str) {
                add(id, agent);
            }
        }
        for (id, agent) in document.pointer("/agents/entries").and_then(Value::as_object).into_iter().flatten() {
            add(id, agent);
        }
        Self { visibility: visibility.map(ToOwned::to_owned), agents, default_agent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn agents_are_read_from_either_form() {
        let list = json!({ "agents": { "list": [{ "id": "main" }, { "id": "Home", "default": true }] } });
        let found = GatewayIsolation::of(&list);
        assert_eq!((found.agents.join(" "), found.default_agent.as_deref()), ("main home".to_owned(), Some("home")));
        let entries = json!({ "agents": { "entries": { "main": {}, "other": {} } },
            "tools": { "sessions": { "visibility": "self" } } });
        let found = GatewayIsolation::of(&entries);
        assert_eq!((found.agents.len(), found.default_agent, found.visibility.as_deref()), (2, None, Some("self")));
        assert_eq!(GatewayIsolation::of(&json!({ "agents": 3, "tools": [] })), GatewayIsolation::default());
    }
}
