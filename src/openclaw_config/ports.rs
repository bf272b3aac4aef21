//! The ports of a gateway beside its own, of 2026.3.28 to 2026.9.6: what listens there must not be ours.

use serde_json::Value;

/// A port and what the gateway wants it for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedPort {
    /// The first of them.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// For what.
    pub purpose: &'static str,
    /// Whether the gateway does not start without it.
    pub required: bool,
}

/// How far above the gateway's own the browsers' ports begin and end.
const BROWSERS: (u16, u16) = (11, 110);

/// The ports beside `port`, its own.
pub(super) fn beside(port: u16, document: &Value) -> Vec<UsedPort> {
    let above = |by: u16| port.checked_add(by);
    let apps = document.pointer("/mcp/apps/enabled") == Some(&Value::Bool(true));
    let set = document.pointer("/mcp/apps/sandboxPort").and_then(Value::as_u64).and_then(|p| u16::try_from(p).ok());
    let one = |at: Option<u16>, purpose, required| at.map(|p| UsedPort { first: p, last: p, purpose, required });
    let browsers = above(BROWSERS.0).zip(above(BROWSERS.1));
    [
        one(set.or(above(1)), "the sandbox of MCP apps (`mcp.apps.sandboxPort`)", apps),
        one(above(2), "browser control", false),
        one(above(3), "the browser relay", false),
        one(above(4), "its canvas", false),
        browsers.map(|(first, last)| UsedPort { first, last, purpose: "browsers", required: false }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What of a gateway on `port` is where this proxy is to listen.
#[must_use]
pub fn collision(listen: u16, port: u16, others: &[UsedPort]) -> Option<UsedPort> {
    let own = UsedPort { first: port, last: port, purpose: "its clients (`gateway.port`)", required: true };
    std::iter::once(&own).chain(others).find(|p| (p.first..=p.last).contains(&listen)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_ports_above_the_gateway_s_are_its_own() {
        let others = beside(18789, &json!({ "mcp": { "apps": { "enabled": true } } }));
        let met = |listen| collision(listen, 18789, &others).map(|p| p.required);
        assert_eq!(met(18789), Some(true));
        assert_eq!(met(18790), Some(true), "it does not start");
        assert_eq!(met(18791), Some(false));
        assert_eq!(met(18800), Some(false));
        assert_eq!([18780, 18781, 18782, 18788, 18795, 18900].map(met), [None; 6]);
        let moved = beside(18789, &json!({ "mcp": { "apps": { "sandboxPort": 18795 } } }));
        assert_eq!(collision(18790, 18789, &moved), None);
        assert_eq!(collision(18795, 18789, &moved).map(|p| p.required), Some(false));
        assert!(beside(65535, &json!({})).is_empty());
    }
}
