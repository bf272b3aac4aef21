//! A policy's own tests.

use super::headers;
use super::routes::valid_path;
use super::tailscale;
use super::values::scopes;
use crate::config::diagnostic::{Problems, did_you_mean};
use crate::config::file::{self, At, File};
use crate::config::{Asks, PolicyTest, SimulatedCaller};
use crate::metric_labels::Label as _;
use crate::refusal::Code;
use crate::scope::ScopeSet;
use http::{HeaderMap, HeaderName, Method};
use std::net::{IpAddr, Ipv4Addr};
use strum::VariantArray as _;

pub(super) fn policy_tests(file: &File, problems: &mut Problems) -> Vec<PolicyTest> {
    file.test.iter().filter_map(|t| trial(t, problems)).collect()
}

fn trial(at: &At<file::Test>, problems: &mut Problems) -> Option<PolicyTest> {
    let table = at.get();
    let who = who(&table.who, problems);
    let asks = asks(&table.request, problems)?;
    let requested = match table.scopes_header.as_ref().map(|h| (h, ScopeSet::parse_lines([h.get().as_bytes()]))) {
        None => None,
        Some((_, Ok(set))) => Some(set),
        Some((header, Err(fault))) => {
            problems.error("test", header.span(), fault.to_string(), "names separated by commas");
            None
        }
    };
    let peer = match &table.from {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(from) => from.get().parse().unwrap_or_else(|_| {
            problems.error(
                "test",
                from.span(),
                format!("`{}` is not an address", from.get()),
                "for example `192.168.1.7`",
            );
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        }),
    };
    let expect = table.expect.get();
    let words = || ["allow", "deny"].into_iter().chain(Code::VARIANTS.iter().map(|code| code.as_str()));
    if !words().any(|word| word == expect) {
        let hint = did_you_mean(expect, words()).map_or_else(
            || "`allow`, `deny`, or a refusal's code".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        problems.error("test", table.expect.span(), format!("`{expect}` is no outcome"), hint);
    }
    Some(PolicyTest {
        name: table.name.get().clone(),
        who: who?,
        asks,
        requested,
        agent_id: table.agent_id.as_ref().and_then(|v| headers::text(v.get(), v.span(), problems)),
        session_key: table.session_key.as_ref().and_then(|v| headers::text(v.get(), v.span(), problems)),
        headers: further(table, problems),
        body: table.body.as_ref().map(|b| b.get().clone()),
        peer: Some(peer),
        expect: expect.clone(),
        sends: table.sends.as_ref().map(|s| scopes(s, problems)),
        sends_session: table.sends_session.as_ref().map(|s| s.get().clone()),
        span: at.span(),
    })
}

/// Headers by any name.
fn further(table: &file::Test, problems: &mut Problems) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &table.headers {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            let message = format!("`{name}` is not a header's name");
            problems.error("test", value.span(), message, "for example `x-openwebui-chat-id`");
            continue;
        };
        if let Some(value) = headers::text(value.get(), value.span(), problems) {
            headers.insert(name, value);
        }
    }
    headers
}

fn asks(at: &At<String>, problems: &mut Problems) -> Option<Asks> {
    if at.get() == "websocket" {
        return Some(Asks::WebSocket);
    }
    let Some((method, path)) = at.get().split_once(' ') else {
        problems.error(
            "test",
            at.span(),
            "a request is a method and a path, or `websocket`",
            "for example `GET /v1/models`",
        );
        return None;
    };
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    valid_path(path, at, problems).then(|| Asks::Request { method, path: path.to_owned() })
}

fn who(at: &At<file::As>, problems: &mut Problems) -> Option<SimulatedCaller> {
    let who = at.get();
    let mut given = Vec::new();
    given.extend(who.token.as_ref().map(|t| SimulatedCaller::Token(t.get().clone())));
    given.extend(who.gateway_secret.filter(|g| *g).map(|_| SimulatedCaller::GatewaySecret));
    given.extend(who.anonymous.filter(|a| *a).map(|_| SimulatedCaller::Anonymous));
    given.extend(who.issuer.as_ref().map(|i| SimulatedCaller::Claims {
        issuer: i.get().clone(),
        claims: who.claims.clone().into_iter().collect(),
    }));
    given.extend(who.app.as_ref().map(|app| SimulatedCaller::AppUser {
        app: app.get().clone(),
        claims: who.claims.clone().into_iter().collect(),
    }));
    given.extend(tailscale::simulated(who).map(SimulatedCaller::Tailnet));
    let one = if given.len() == 1 { given.pop() } else { None };
    if one.is_none() {
        problems.error(
            "test",
            at.span(),
            "a test needs exactly one caller",
            "one of `token = \"…\"`, `gateway_secret = true`, `anonymous = true`, `issuer = \"…\"`, `app = \"…\"`, `tailnet_user = \"…\"`, `tailnet_tag = \"…\"`",
        );
    }
    one
}
