//! What the gateway must do for the policy's promises about agents and sessions to hold, and the ports that it
//! shares with this proxy.

use super::Outcome;
use super::context::{Chain, TIMEOUT};
use crate::config::environment::System;
use crate::config::{DynamicConfig, HeaderRule, HeaderRules, ListenAddress};
use crate::gateway_probe::{Advice, Severity, Side};
use crate::headers::{GatewayHeader, SCOPES};
use crate::http_client::{ClientRequest, Server, ask};
use crate::openclaw_config::{OpenClaw, ports};
use crate::session_space::AgentId;
use http::HeaderValue;
use std::collections::BTreeSet;

/// The configuration of the gateway behind this proxy, where it is on this machine and can be read.
pub(super) fn gateway_config(chain: &Chain) -> Option<OpenClaw> {
    OpenClaw::read(None, &System).ok().filter(|found| found.port == chain.fixed.gateway.port)
}

/// Every set of rules in a policy.
fn rules(live: &DynamicConfig) -> impl Iterator<Item = &HeaderRules> {
    live.grants.iter().map(|g| &g.headers).chain([&live.headers])
}

fn binds(rules: &HeaderRules, header: GatewayHeader) -> bool {
    rules.get(header).is_some_and(|rule| *rule != HeaderRule::Pass)
}

/// The agents that the policy names, its default among them.
fn named(live: &DynamicConfig) -> BTreeSet<String> {
    let values = rules(live).flat_map(|rules| match rules.get(GatewayHeader::AgentId) {
        Some(HeaderRule::Pin(value)) => std::slice::from_ref(value),
        Some(HeaderRule::Allow(values)) => values,
        _ => &[],
    });
    let ids = values.filter_map(|v| AgentId::parse(v.to_str().ok()?)).map(|id| id.to_string());
    ids.chain([live.default_agent.to_string()]).collect()
}

/// Does the gateway keep its part of the promise?
pub(super) async fn isolation(chain: &Chain, config: Option<&OpenClaw>) -> Outcome {
    let live = chain.policy.live();
    let own_sessions = rules(live).any(|r| binds(r, GatewayHeader::SessionKey));
    if !own_sessions && !rules(live).any(|r| binds(r, GatewayHeader::AgentId)) {
        return Outcome::NotTested("the policy has no rule for agents or sessions".to_owned());
    }
    let mut advice: Vec<Advice> = visibility(config, own_sessions).into_iter().collect();
    let agents = match config.filter(|c| !c.isolation.agents.is_empty()) {
        Some(config) => config.isolation.agents.iter().cloned().collect(),
        None => told(chain).await,
    };
    let missing: Vec<String> =
        named(live).into_iter().filter(|id| !agents.is_empty() && !agents.contains(id)).collect();
    if !missing.is_empty() {
        let have: Vec<&str> = agents.iter().map(String::as_str).collect();
        advice.push(Advice::new(
            "isolation-agent",
            Severity::Warning,
            Side::Proxy,
            format!("the policy names agents that the gateway does not have: {}", missing.join(", ")),
            "callers who are kept to them get an error of the gateway, or its default agent",
            format!("correct `agent_id` and `[policy] default_agent`; the gateway has: {}", have.join(", ")),
        ));
    }
    let default =
        config.and_then(|c| c.isolation.default_agent.as_ref()).filter(|d| **d != live.default_agent.to_string());
    advice.extend(default.map(|default| {
        Advice::new(
            "isolation-default-agent",
            Severity::Warning,
            Side::Proxy,
            format!("the gateway's default agent is `{default}`, and the policy's is `{}`", live.default_agent),
            "requests of callers with a rule that name no agent run on the policy's",
            format!("set `[policy] default_agent = \"{default}\"`, if that one is meant"),
        )
    }));
    let count = match agents.len() {
        0 => "the gateway's agents are not known".to_owned(),
        n => format!("agents of the gateway: {n}"),
    };
    Outcome::of(count, advice)
}

fn visibility(config: Option<&OpenClaw>, own_sessions: bool) -> Option<Advice> {
    let narrow = if own_sessions { "self" } else { "agent" };
    let set = config.map(|c| c.isolation.visibility.as_deref());
    if matches!((set, own_sessions), (Some(Some("self")), _) | (Some(Some("agent")), false)) {
        return None;
    }
    let (severity, what) = match set {
        None => (Severity::Note, "the gateway's openclaw.json cannot be read from here".to_owned()),
        Some(None) => (Severity::Warning, "the gateway's `tools.sessions.visibility` is not set".to_owned()),
        Some(Some(word)) => (Severity::Warning, format!("the gateway's `tools.sessions.visibility` is `{word}`")),
    };
    Some(Advice::new(
        "isolation-visibility",
        severity,
        Side::Gateway,
        what,
        "what a caller may not name itself, a model may still read for it with the session tools",
        format!("`openclaw config set tools.sessions.visibility {narrow}`, and restart the gateway"),
    ))
}

/// The agents that the gateway lists among its models.
async fn told(chain: &Chain) -> BTreeSet<String> {
    let gateway = &chain.fixed.gateway;
    let mut lines = chain.policy.credentials().lines(Some(chain.policy.probe_user()), None);
    lines.push((SCOPES, HeaderValue::from_static("operator.read")));
    let server = Server::Tcp(gateway.host.clone(), gateway.port);
    let Ok(answer) = ask(&server, ClientRequest::get("/v1/models", lines), TIMEOUT).await else {
        return BTreeSet::new();
    };
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let models = body.get("data").and_then(serde_json::Value::as_array).into_iter().flatten();
    let ids = models.filter_map(|m| m.get("id")?.as_str()?.strip_prefix("openclaw/")).filter(|id| *id != "default");
    ids.map(str::to_ascii_lowercase).collect()
}

/// Does this proxy listen where the gateway wants to?
pub(super) fn ports(chain: &Chain, config: Option<&OpenClaw>) -> Outcome {
    let Some(config) = config else {
        return Outcome::NotTested("the gateway's openclaw.json cannot be read".to_owned());
    };
    let addresses = chain.fixed.listeners.iter().filter_map(|l| match l.address {
        ListenAddress::Tcp(address) => Some(address),
        ListenAddress::Unix { .. } => None,
    });
    let advice: Vec<Advice> = addresses
        .filter_map(|at| Some((at, ports::collision(at.port(), config.port, &config.other_ports)?)))
        .map(|(at, met)| {
            let severity = if met.required { Severity::Error } else { Severity::Warning };
            let why = if met.required {
                "the gateway does not start while it is taken"
            } else {
                "that part of the gateway fails"
            };
            let change =
                "choose another port for `[[listen]] address`, below the gateway's, for example 18780; then restart";
            Advice::new(
                "gateway-port",
                severity,
                Side::Proxy,
                format!("{at} is the gateway's port for {}", met.purpose),
                why,
                change,
            )
        })
        .collect();
    Outcome::of("this proxy takes no port of the gateway", advice)
}
