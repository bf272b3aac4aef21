//! `POST /tools/invoke`: which tool, in whose name, on whose sessions.
//!
//! The gateway takes the session and the agent of the call from the body, and tools take more of them from
//! their arguments. A tool passes for a bound caller if it is known to reach no sessions, or if what
//! it reaches is judged here, or if the policy names it and it is no session tool.

use super::{Agents, Checked, Isolation, Sessions, unreadable};
use crate::config::HeaderRule;
use crate::headers::GatewayHeader;
use crate::json_body::{BodyFault, Edits, Object};
use crate::policy::Grant;
use crate::refusal::{IsolationFault, Refusal};
use crate::session_space::{AgentId, trim};

/// Tools of the gateway that reach no session and no agent but the call's own (2026.6.11, 2026.9.6).
const FREE: &[&str] = &[
    "web_search",
    "web_fetch",
    "x_search",
    "image",
    "image_generate",
    "music_generate",
    "video_generate",
    "tts",
    "get_goal",
    "create_goal",
    "update_goal",
    "update_plan",
];

/// Tools whose target is one session, with the arguments that name no other.
const KEYED: &[(&str, &[&str])] = &[
    ("sessions_history", &["sessionKey", "limit", "offset", "includeTools"]),
    ("session_status", &["sessionKey", "model"]),
];

const BY_KEY: &str = "`sessionKey` in the body";
const BY_AGENT: &str = "`agentId` in the body";
const BY_ARGUMENT: &str = "`args.sessionKey` in the body";

impl Isolation<'_> {
    pub(super) fn check_tool(&self, body: &Object<'_>, grant: &mut Grant) -> Checked<()> {
        let denied =
            |tool: &str, why| Refusal::Isolation(IsolationFault::Tool { tool: tool.chars().take(64).collect(), why });
        let read = |name| body.text(name).map_err(unreadable);
        let (name, tool) = (read("name")?, read("tool")?);
        if name.is_some() && tool.is_some() && name != tool {
            return Err(unreadable(BodyFault::Repeated("tool` and `name".to_owned())));
        }
        let Some(tool) = name.or(tool) else { return Ok(()) };
        let tool = trim(&tool);
        if tool.is_empty() {
            // The gateway refuses it.
            return Ok(());
        }
        if !self.rules.allows_tool(tool) {
            return Err(denied(tool, "it is not among those allowed"));
        }
        let mut edits = Edits::default();
        let args = body.object("args").map_err(unreadable)?;
        self.check_model(tool, args.as_ref())?;
        if self.is_bound() {
            let (mut key, agent) = self.check_call(body, &mut edits)?;
            match KEYED.iter().find(|(name, _)| *name == tool) {
                Some((_, known)) => {
                    // Without arguments it is about the call's own session.
                    if let Some(args) = &args {
                        let own = (key.as_deref(), agent.as_ref());
                        let target = self.check_arguments(tool, args, known, own, &mut edits)?;
                        // 2026.6.11 shows a session to calls made in it alone.
                        if !body.has("sessionKey") {
                            key = target.or(key);
                        }
                    }
                }
                None if is_about_sessions(tool) => {
                    return Err(denied(tool, "it reaches sessions or agents of others"));
                }
                None if FREE.contains(&tool) || self.rules.lists_tools() => {}
                None => {
                    return Err(denied(
                        tool,
                        "it may reach sessions of others, and the policy does not name it in `tools`",
                    ));
                }
            }
            if let Some(key) = key {
                body.set("sessionKey", &key, &mut edits);
            }
        }
        grant.changed(edits);
        Ok(())
    }

    /// In whose session and as whose agent a tool is called. Gives the key to send.
    fn check_call(&self, body: &Object<'_>, edits: &mut Edits) -> Checked<(Option<String>, Option<AgentId>)> {
        let read = |name| body.text(name).map_err(unreadable);
        let (sent, named) = (read("sessionKey")?, read("agentId")?);
        let sent = sent.as_deref().map(trim).filter(|key| !key.is_empty());
        let named = match named.as_deref().map(trim).filter(|id| !id.is_empty()) {
            None => None,
            Some(id) => {
                let unknown = || IsolationFault::Agent { agent: id.chars().take(64).collect(), by: BY_AGENT };
                let id = AgentId::parse(id).ok_or_else(|| Refusal::Isolation(unknown()))?;
                Some(self.agent(Some(id), BY_AGENT)?)
            }
        };
        let judged = match sent {
            Some(key) => self.session(key, named.as_ref(), BY_KEY)?,
            None => self.own_call(named.clone())?,
        };
        let agent = judged.as_ref().map(|(_, agent)| agent.clone()).or_else(|| named.clone());
        if let (Some(named), Some(agent)) = (&named, &agent) {
            if named != agent {
                let agent = agent.to_string();
                return Err(Refusal::Isolation(IsolationFault::Agent { agent, by: BY_KEY }));
            }
            // As it is compared by the gateway: to the letter.
            body.set("agentId", named.as_str(), edits);
        }
        Ok((judged.map(|(key, _)| key), agent))
    }

    /// The session of a call that names none; to the gateway it is the agent's main one.
    fn own_call(&self, named: Option<AgentId>) -> Checked<Option<(String, AgentId)>> {
        let agent = self.agent(named, BY_AGENT)?;
        match self.sessions {
            Sessions::Own | Sessions::Unnamed => Ok(Some((self.space().key(&agent, "main"), agent))),
            Sessions::Listed(values) => {
                let first = values.first().and_then(|v| v.to_str().ok()).unwrap_or_default();
                Ok(self.session(first, Some(&agent), BY_KEY)?.or_else(|| Some((first.to_owned(), agent))))
            }
            Sessions::Any if matches!(self.agents, Agents::Listed(_)) => {
                Ok(Some((format!("agent:{agent}:main"), agent)))
            }
            Sessions::Any => Ok(None),
        }
    }

    /// The arguments of a tool whose target is one session: nothing else in them may name one.
    fn check_arguments(
        &self,
        tool: &str,
        args: &Object<'_>,
        known: &[&str],
        (own, agent): (Option<&str>, Option<&AgentId>),
        edits: &mut Edits,
    ) -> Checked<Option<String>> {
        if args.names().any(|name| !known.contains(&name)) {
            let why = "it has an argument that this proxy does not know";
            return Err(Refusal::Isolation(IsolationFault::Tool { tool: tool.to_owned(), why }));
        }
        let Some(key) = args.text("sessionKey").map_err(unreadable)? else { return Ok(None) };
        let key = trim(&key);
        // The tools' own name for the session of the call, which none of the caller's is called.
        let target = if key.is_empty() || key == "current" {
            own.map(ToOwned::to_owned)
        } else if let Some((key, _)) = self.session(key, agent, BY_ARGUMENT)? {
            Some(key)
        } else if matches!(self.agents, Agents::Default) {
            // Tools look a key up among every agent's that the caller did not name.
            Some(format!("agent:{}:{key}", self.default_agent))
        } else {
            None
        };
        if let Some(key) = &target {
            args.set("sessionKey", key, edits);
        }
        Ok(target)
    }

    /// `session_status` with a model changes the model of the session's next turn.
    fn check_model(&self, tool: &str, args: Option<&Object<'_>>) -> Checked<()> {
        let chosen = args.filter(|_| tool == "session_status");
        let chosen = chosen.map(|a| a.text("model").map_err(unreadable)).transpose()?.flatten();
        let Some(model) = chosen else { return Ok(()) };
        let may = match self.rules.rule(GatewayHeader::Model) {
            HeaderRule::Pass => true,
            HeaderRule::Admin => self.admin,
            HeaderRule::Allow(values) => values.iter().any(|v| v.as_bytes() == trim(&model).as_bytes()),
            HeaderRule::Pin(_) | HeaderRule::Refuse | HeaderRule::Prefix => false,
        };
        if may { Ok(()) } else { Err(Refusal::Isolation(IsolationFault::Model)) }
    }
}

/// Whether a tool's name says that it is about sessions, conversations or agents: those are kept from bound
/// callers whatever `tools` says.
fn is_about_sessions(tool: &str) -> bool {
    let tool = tool.to_ascii_lowercase();
    ["session", "conversation", "agent"].iter().any(|word| tool.contains(word))
}
