//! A principal's own agents, sessions and models, wherever a request names one: header, path or body. The one
//! place where they are judged (law 14). docs/isolation.md says which rule is held on which surface.
//!
//! To the gateway the session's key comes first, then the agent's header, then the body's `model`. So who
//! runs is settled here in the same order, and both headers are sent with the outcome.

mod tools;

use super::permissions::EffectiveRules;
use super::{Grant, Proven, Request};
use crate::chat_session::{Background, Chat};
use crate::config::{DynamicConfig, HeaderRule};
use crate::headers::GatewayHeader;
use crate::incognito_session::is_incognito;
use crate::json_body::{BodyFault, Edits, Object};
use crate::metric_labels::{Label as _, RouteLabel};
use crate::refusal::{IsolationFault, Refusal};
use crate::scope::Scope;
use crate::session_space::{AgentId, Sent, Space, is_somebodys};
use http::{HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::cell::OnceCell;

/// What stands for itself in a path's segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The agents that a caller may name.
enum Agents {
    Any,
    Listed(Vec<AgentId>),
    /// None; the gateway's default runs.
    Default,
}

/// The sessions that a caller may name.
enum Sessions<'a> {
    Any,
    Listed(&'a [HeaderValue]),
    /// Those of its own space.
    Own,
    /// None: each call has one of its own.
    Unnamed,
}

/// A caller's own.
pub(super) struct Isolation<'a> {
    agents: Agents,
    sessions: Sessions<'a>,
    rules: &'a EffectiveRules,
    default_agent: &'a AgentId,
    proven: &'a Proven,
    /// Made only for requests that name or need a session: most callers have no rule, and name none.
    space: OnceCell<Space>,
    admin: bool,
}

/// Where a request names something.
const BY_HEADER: &str = "x-openclaw-session-key";
const BY_PATH: &str = "the path";
const BY_MODEL: &str = "`model` in the body";

type Checked<T> = Result<T, Refusal>;

impl<'a> Isolation<'a> {
    pub(super) fn new(proven: &'a Proven, rules: &'a EffectiveRules, config: &'a DynamicConfig, grant: &Grant) -> Self {
        let admin = grant.effective.satisfies(Scope::admin());
        let ids = |values: &[HeaderValue]| {
            Agents::Listed(values.iter().filter_map(|v| AgentId::parse(v.to_str().ok()?)).collect())
        };
        let agents = match rules.rule(GatewayHeader::AgentId) {
            HeaderRule::Pin(value) => ids(std::slice::from_ref(value)),
            HeaderRule::Allow(values) => ids(values),
            HeaderRule::Refuse => Agents::Default,
            HeaderRule::Admin if !admin => Agents::Default,
            HeaderRule::Admin | HeaderRule::Pass | HeaderRule::Prefix => Agents::Any,
        };
        let sessions = match rules.rule(GatewayHeader::SessionKey) {
            HeaderRule::Pin(value) => Sessions::Listed(std::slice::from_ref(value)),
            HeaderRule::Allow(values) => Sessions::Listed(values),
            HeaderRule::Prefix => Sessions::Own,
            HeaderRule::Refuse => Sessions::Unnamed,
            HeaderRule::Admin if !admin => Sessions::Unnamed,
            HeaderRule::Admin | HeaderRule::Pass => Sessions::Any,
        };
        Self { agents, sessions, rules, default_agent: &config.default_agent, proven, space: OnceCell::new(), admin }
    }

    /// The caller's own space of session keys.
    fn space(&self) -> &Space {
        self.space.get_or_init(|| {
            let principal = &self.proven.principal;
            let authority = principal.authority().map(|a| &**a);
            Space::new(principal.identity().source().as_str(), authority, principal.name())
        })
    }

    /// Whether what a session or an agent is named by matters for this caller.
    fn is_bound(&self) -> bool {
        !matches!((&self.agents, &self.sessions), (Agents::Any, Sessions::Any))
    }

    fn has_space(&self) -> bool {
        matches!(self.sessions, Sessions::Own | Sessions::Unnamed)
    }

    /// Whether the client's word about its chat counts.
    fn follows_chat(&self, request: &Request<'_>) -> bool {
        matches!(self.sessions, Sessions::Own) && request.chat.is_some()
    }

    /// Whether the body must be read to decide.
    fn wants_body(&self, request: &Request<'_>) -> bool {
        let chooses = match &self.agents {
            Agents::Any => false,
            Agents::Listed(ids) => ids.len() > 1,
            Agents::Default => true,
        };
        let unpinned = chooses || matches!(self.agents, Agents::Any);
        *request.method == Method::POST
            && match request.route_by_path() {
                RouteLabel::ChatCompletions => chooses || (self.has_space() && unpinned),
                // What continues a response is in the chat that it names, if it names one.
                RouteLabel::Responses => chooses || (self.has_space() && (unpinned || !self.follows_chat(request))),
                RouteLabel::Embeddings => chooses,
                RouteLabel::ToolsInvoke => {
                    self.is_bound() || self.rules.lists_tools() || self.rules.is_bound(GatewayHeader::Model, self.admin)
                }
                _ => false,
            }
    }

    /// The agent that runs, if the caller names this one or none.
    fn agent(&self, named: Option<AgentId>, by: &'static str) -> Checked<AgentId> {
        let denied = |agent: &AgentId| Refusal::Isolation(IsolationFault::Agent { agent: agent.to_string(), by });
        match (named, &self.agents) {
            (None, Agents::Listed(ids)) => ids.first().cloned().ok_or_else(|| denied(self.default_agent)),
            (None, _) => Ok(self.default_agent.clone()),
            (Some(agent), Agents::Any) => Ok(agent),
            (Some(agent), Agents::Listed(ids)) if ids.contains(&agent) => Ok(agent),
            (Some(agent), Agents::Default) if agent == *self.default_agent => Ok(agent),
            (Some(agent), _) => Err(denied(&agent)),
        }
    }

    /// Judges a session key that the caller sends. Gives the key to send instead, and its agent; `None`
    /// where the key can stay as it is. `agent` is whose a key without an agent is.
    fn session(&self, key: &str, agent: Option<&AgentId>, by: &'static str) -> Checked<Option<(String, AgentId)>> {
        let denied = |why| Refusal::Isolation(IsolationFault::Session { by, why });
        let whose = |named: Option<&AgentId>| match named.or(agent) {
            Some(agent) => self.agent(Some(agent.clone()), by),
            None => self.agent(None, by),
        };
        if is_incognito(key) {
            if !self.admin {
                let needed = Scope::admin().clone();
                let held = self.rules.scope_limit.scopes.satisfies(&needed);
                return Err(Refusal::ScopeMissing { needed, held });
            }
            if self.has_space() {
                return Err(denied("an incognito session has no place in a space of its own"));
            }
        }
        let own = self.space().owns(key);
        if is_somebodys(key) && !own && (!self.admin || self.has_space()) {
            return Err(denied("it is somebody else's"));
        }
        if !self.is_bound() {
            return Ok(None);
        }
        let sent = Sent::parse(key).map_err(|_| denied("it does not name its agent plainly"))?;
        let Some(sent) = sent else { return Ok(None) };
        let agent = match &sent {
            Sent::OfAgent(named, _) => whose(Some(named))?,
            Sent::Bare(_) => whose(None)?,
        };
        match (&self.sessions, &sent) {
            (Sessions::Unnamed, _) if !own => Err(denied("this caller may name none")),
            (Sessions::Own | Sessions::Unnamed, _) => Ok(Some((self.space().map(&sent, &agent), agent))),
            (Sessions::Listed(values), _) if !self.lists(values, &sent, &agent) => {
                Err(denied("it is not among those allowed"))
            }
            (_, Sent::OfAgent(_, rest)) => Ok(Some((format!("agent:{agent}:{rest}"), agent))),
            // The gateway puts its default agent in front by itself, which may be called otherwise than here.
            (_, Sent::Bare(_)) if !matches!(self.agents, Agents::Listed(_)) => Ok(None),
            (_, Sent::Bare(rest)) => Ok(Some((format!("agent:{agent}:{rest}"), agent))),
        }
    }

    /// Whether a key is one of those that the policy lists, which name their agent or not.
    fn lists(&self, values: &[HeaderValue], sent: &Sent<'_>, agent: &AgentId) -> bool {
        values.iter().filter_map(|v| Sent::parse(v.to_str().ok()?).ok().flatten()).any(|listed| match (&listed, sent) {
            (Sent::OfAgent(of, a), Sent::OfAgent(_, b)) => of == agent && a.eq_ignore_ascii_case(b),
            (Sent::Bare(a), Sent::Bare(b)) => a.eq_ignore_ascii_case(b),
            (Sent::Bare(a), Sent::OfAgent(_, b)) => {
                let own = match &self.agents {
                    Agents::Listed(ids) => ids.contains(agent),
                    Agents::Any | Agents::Default => agent == self.default_agent,
                };
                own && a.eq_ignore_ascii_case(b)
            }
            (Sent::OfAgent(..), Sent::Bare(_)) => false,
        })
    }

    /// Judges everything of a request that names agents or sessions. `session` is the session key that the
    /// rule for its header lets through.
    pub(super) fn check(&self, request: &Request<'_>, session: Option<&HeaderValue>, grant: &mut Grant) -> Checked<()> {
        self.check_path(request, grant)?;
        let body = match request.body {
            None if self.wants_body(request) => {
                grant.wants_body = true;
                return Ok(());
            }
            Some(body) if self.wants_body(request) => Some(body),
            _ => None,
        };
        match request.route_by_path() {
            RouteLabel::ToolsInvoke => {
                self.send_session(session, grant)?;
                body.map_or(Ok(()), |body| self.check_tool(body, grant))
            }
            RouteLabel::ChatCompletions | RouteLabel::Responses => self.check_run(request, session, body, grant),
            RouteLabel::Embeddings => {
                if body.is_some()
                    && let Some((agent, by)) = named_agent(request, body)?
                {
                    let agent = self.agent(Some(agent), by)?;
                    grant.send(GatewayHeader::AgentId, agent.as_str());
                }
                self.send_session(session, grant)
            }
            _ => self.send_session(session, grant),
        }
    }

    /// The session's header where it decides nothing: only the caller's own key is sent.
    fn send_session(&self, session: Option<&HeaderValue>, grant: &mut Grant) -> Checked<()> {
        let Some(value) = session else { return Ok(()) };
        let key = if self.is_bound() { text(value)?.into() } else { String::from_utf8_lossy(value.as_bytes()) };
        match self.session(&key, None, BY_HEADER)? {
            Some((key, _)) => grant.send(GatewayHeader::SessionKey, &key),
            None => grant.gateway_headers.push((GatewayHeader::SessionKey, value.clone())),
        }
        Ok(())
    }

    /// `/sessions/<key>/…`: the key is the caller's, and what the gateway is asked for is the key it keeps.
    fn check_path(&self, request: &Request<'_>, grant: &mut Grant) -> Checked<()> {
        let Some(segment) = request.path.session_key() else { return Ok(()) };
        let denied = |why| Err(Refusal::Isolation(IsolationFault::Session { by: BY_PATH, why }));
        let Ok(key) = percent_decode_str(segment).decode_utf8() else {
            return if self.is_bound() { denied("it is not UTF-8") } else { Ok(()) };
        };
        // The header's rule settles which agent a key without one is of, as it does for a chat.
        let agent = grant.sent(GatewayHeader::AgentId).and_then(|v| AgentId::parse(v.to_str().ok()?));
        if let Some((key, _)) = self.session(&key, agent.as_ref(), BY_PATH)? {
            let rest = request.path.as_str().get("/sessions/".len() + segment.len()..).unwrap_or_default();
            grant.path = Some(format!("/sessions/{}{rest}", utf8_percent_encode(&key, SEGMENT)).into());
        } else if matches!(self.agents, Agents::Default) && self.is_bound() {
            // A query could name another agent for a key that names none.
            let bare = matches!(Sent::parse(&key), Ok(Some(Sent::Bare(_))));
            if bare && request.route_by_path() == RouteLabel::SessionKill {
                let key = format!("agent:{}:{key}", self.default_agent);
                grant.path = Some(format!("/sessions/{}/kill", utf8_percent_encode(&key, SEGMENT)).into());
            }
        }
        Ok(())
    }

    /// A chat or a response: which agent runs, in which session.
    fn check_run(
        &self,
        request: &Request<'_>,
        session: Option<&HeaderValue>,
        body: Option<&Object<'_>>,
        grant: &mut Grant,
    ) -> Checked<()> {
        if !self.is_bound() {
            return self.send_session(session, grant);
        }
        // What the rule for the header sends goes before what the body names; a pinned agent always does.
        let named = match &self.agents {
            Agents::Listed(ids) if ids.len() == 1 => ids.first().cloned(),
            _ => match named_agent(request, body)? {
                Some((agent, by)) => Some(self.agent(Some(agent), by)?),
                None => None,
            },
        };
        let sent = session.map(text).transpose()?.filter(|key| !key.trim().is_empty());
        let judged = sent.map(|key| self.session(key, named.as_ref(), BY_HEADER)).transpose()?.flatten();
        let (key, agent) = match judged {
            Some((key, agent)) => (Some(key), Some(agent)),
            None if sent.is_some() => (sent.map(ToOwned::to_owned), named),
            None if self.has_space() => {
                let (key, agent) = self.unnamed_session(request, named)?;
                (Some(key), Some(agent))
            }
            None => (None, named),
        };
        if let Some(agent) = agent {
            grant.send(GatewayHeader::AgentId, agent.as_str());
        }
        if let Some(key) = key {
            grant.chained = request.route_by_path() == RouteLabel::Responses && self.has_space();
            grant.send(GatewayHeader::SessionKey, &key);
        }
        Ok(())
    }

    /// The session of a call that names none: that of its chat, that of the caller's own response which it
    /// continues, or a new one.
    fn unnamed_session(&self, request: &Request<'_>, named: Option<AgentId>) -> Checked<(String, AgentId)> {
        if let Some(chat) = request.chat.filter(|_| self.follows_chat(request)) {
            let agent = self.agent(named, BY_HEADER)?;
            let key = match chat {
                Chat::Named(name) => self.space().key(&agent, name),
                Chat::Background(Background::Shared) => self.space().background(&agent),
                Chat::Background(Background::Fresh | Background::Chat) => self.space().fresh(&agent),
            };
            return Ok((key, agent));
        }
        if let Some(key) = request.continues.filter(|key| self.space().owns(key))
            && let Ok(Some(Sent::OfAgent(agent, _))) = Sent::parse(key)
            && named.as_ref().is_none_or(|named| *named == agent)
            && self.agent(Some(agent.clone()), BY_HEADER).is_ok()
        {
            return Ok((key.to_owned(), agent));
        }
        let agent = self.agent(named, BY_HEADER)?;
        Ok((self.space().fresh(&agent), agent))
    }
}

/// The agent that a request names beside its session key, and where.
fn named_agent(request: &Request<'_>, body: Option<&Object<'_>>) -> Checked<Option<(AgentId, &'static str)>> {
    let header = request.gateway_headers.iter().find(|(which, _)| *which == GatewayHeader::AgentId);
    if let Some((_, value)) = header.filter(|(_, v)| !v.is_empty()) {
        let by = GatewayHeader::AgentId.name();
        let named = String::from_utf8_lossy(value.as_bytes());
        let unknown = || IsolationFault::Agent { agent: named.chars().take(64).collect(), by };
        return AgentId::parse(named.trim()).map(|a| Some((a, by))).ok_or_else(|| Refusal::Isolation(unknown()));
    }
    let model = body.map(|b| b.text("model")).transpose().map_err(unreadable)?.flatten();
    Ok(model.as_deref().and_then(agent_of_model).map(|agent| (agent, BY_MODEL)))
}

/// The agent that `model` names: `openclaw/<id>`, `openclaw:<id>` or `agent:<id>`. `openclaw` and
/// `openclaw/default` name the default, other texts none: the gateway refuses them.
fn agent_of_model(model: &str) -> Option<AgentId> {
    let model = crate::session_space::trim(model).to_ascii_lowercase();
    let id = ["openclaw/", "openclaw:", "agent:"].into_iter().find_map(|head| model.strip_prefix(head))?;
    if model == "openclaw/default" { None } else { AgentId::parse(id) }
}

fn unreadable(fault: BodyFault) -> Refusal {
    Refusal::Isolation(IsolationFault::Body(fault))
}

fn text(value: &HeaderValue) -> Checked<&str> {
    let why = "its value is not plain text";
    value.to_str().map_err(|_| Refusal::HeaderDenied { header: BY_HEADER, why })
}

impl Grant {
    /// Has a header be this, whatever it was.
    fn send(&mut self, which: GatewayHeader, value: &str) {
        self.gateway_headers.retain(|(sent, _)| *sent != which);
        // What is sent here holds visible ASCII only.
        self.gateway_headers.extend(HeaderValue::from_str(value).ok().map(|value| (which, value)));
    }

    fn sent(&self, which: GatewayHeader) -> Option<&HeaderValue> {
        self.gateway_headers.iter().find(|(sent, _)| *sent == which).map(|(_, value)| value)
    }

    fn changed(&mut self, edits: Edits) {
        self.body = (!edits.is_empty()).then_some(edits);
    }
}

impl Request<'_> {
    /// Which of the gateway's own routes the path is, whatever the policy's table calls it.
    fn route_by_path(&self) -> RouteLabel {
        match self.path.as_str() {
            "/v1/chat/completions" => RouteLabel::ChatCompletions,
            "/v1/responses" => RouteLabel::Responses,
            "/v1/embeddings" => RouteLabel::Embeddings,
            "/tools/invoke" => RouteLabel::ToolsInvoke,
            path if path.starts_with("/sessions/") && path.ends_with("/kill") => RouteLabel::SessionKill,
            _ => RouteLabel::Unlisted,
        }
    }
}

#[cfg(test)]
mod tests;
