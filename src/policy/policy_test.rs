//! A policy's own tests: who asks for what, and what must come of it.

use super::explain::Explanation;
use super::{Policy, Request, SocketRequest};
use crate::config::{Asks, PolicyTest};
use crate::headers::GatewayHeader;
use crate::json_body::Object;
use crate::request_path::Path;
use jiff::Timestamp;
use std::ops::Range;

impl PolicyTest {
    /// Runs the test. `Err` says what came of it instead.
    ///
    /// # Errors
    /// A sentence.
    pub fn run(&self, policy: &Policy, now: Timestamp) -> Result<(), String> {
        let who = policy.simulate(&self.who, self.peer, now).and_then(|p| policy.on_behalf(p, &self.headers, now));
        let requested = self.requested.as_ref();
        let explained = match &self.asks {
            Asks::WebSocket => {
                let socket = SocketRequest { requested, requested_scopes: None, session: None, peer: self.peer, now };
                policy.explain_socket(Ok(()), &who, socket)
            }
            Asks::Request { method, path } => {
                let path = Path::validate(path.as_bytes()).map_err(|fault| fault.to_string())?;
                let route = &policy.route(method, path);
                let headers =
                    [(GatewayHeader::AgentId, &self.agent_id), (GatewayHeader::SessionKey, &self.session_key)];
                let governed: Vec<_> =
                    headers.into_iter().filter_map(|(which, value)| Some((which, value.clone()?))).collect();
                let body = Object::read(self.body.as_deref().unwrap_or_default().as_bytes());
                let chat = policy.live().chats.read(&self.headers);
                let head = chat.as_ref().map(|_| ()).map_err(Clone::clone);
                let request = Request {
                    requested,
                    chat: chat.as_ref().ok().and_then(Option::as_ref),
                    gateway_headers: &governed,
                    body: body.as_ref().ok(),
                    ..Request::plain(method, path, route, self.peer, now)
                };
                let head = head.and_then(|()| policy.readable(&who, request, body.as_ref()));
                policy.explain(head, &who, request)
            }
        };
        let fits = match self.expect.as_str() {
            "deny" => explained.outcome != "allow",
            code => explained.outcome == code,
        };
        if !fits {
            let why = explained.message.map(|m| format!(" ({m})")).unwrap_or_default();
            return Err(format!("expected `{}`, got `{}`{why}", self.expect, explained.outcome));
        }
        match (&self.sends, &explained.effective) {
            (Some(expected), effective) if Some(expected.to_header()) != *effective => Err(format!(
                "expected the scopes `{expected}` to be sent, got `{}`",
                effective.as_deref().unwrap_or("none")
            )),
            _ => self.sent_session(&explained),
        }
    }
}

impl PolicyTest {
    fn sent_session(&self, explained: &Explanation) -> Result<(), String> {
        let Some(expected) = &self.sends_session else { return Ok(()) };
        let name = GatewayHeader::SessionKey.name();
        let sent = explained.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
        if sent == Some(expected) {
            return Ok(());
        }
        Err(format!("expected the session key `{expected}` to be sent, got `{}`", sent.unwrap_or("none")))
    }
}

/// Runs a policy's own tests. Returns where each one that fails stands, and what came of it.
#[must_use]
pub fn failures(policy: &Policy, now: Timestamp) -> Vec<(Range<usize>, String)> {
    let policy_tests = policy.live().policy_tests.iter();
    policy_tests
        .filter_map(|t| {
            t.run(policy, now).err().map(|came| (t.span.clone(), format!("the test `{}` failed: {came}", t.name)))
        })
        .collect()
}
