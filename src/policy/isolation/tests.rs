//! What bound callers get: each row is a way that was open.

use crate::chat_session::Chat;
use crate::config::{DynamicConfig, GrantRule, HeaderRule, HeaderRules, SimulatedCaller, Subject, Token};
use crate::glob::Glob;
use crate::headers::GatewayHeader;
use crate::json_body::Object;
use crate::policy::{Grant, Policy, Request};
use crate::refusal::Refusal;
use crate::request_path::Path;
use crate::scope::Scope;
use http::{HeaderValue, Method};
use jiff::Timestamp;
use std::sync::Arc;

const CHAT: &str = "POST /v1/chat/completions";
const RESPONSES: &str = "POST /v1/responses";
const EMBEDDINGS: &str = "POST /v1/embeddings";
const TOOLS: &str = "POST /tools/invoke";

/// A policy with one set of rules for everybody.
fn policy(headers: HeaderRules) -> Policy {
    let token = |name: &str, scope: &'static str| Token {
        scopes: [Scope::known(scope)].into_iter().collect(),
        ..Token::plain(name, name)
    };
    let names = ["alice", "Alice", "bob", "agent"];
    let tokens = names.iter().map(|name| token(name, "operator.write"));
    Policy::dry_run(DynamicConfig {
        tokens: tokens.chain([token("admin", "operator.admin")]).collect(),
        grants: vec![GrantRule { headers, ..GrantRule::plain(Subject::Token(vec![Glob::new("*")])) }],
        ..DynamicConfig::closed()
    })
}

fn value(text: &'static str) -> HeaderValue {
    HeaderValue::from_static(text)
}

fn own_sessions() -> HeaderRules {
    HeaderRules { session_key: Some(HeaderRule::Prefix), ..HeaderRules::default() }
}

fn agents(rule: HeaderRule) -> HeaderRules {
    HeaderRules { agent_id: Some(rule), ..HeaderRules::default() }
}

fn allowed(names: &[&'static str]) -> HeaderRule {
    HeaderRule::Allow(names.iter().map(|n| value(n)).collect())
}

/// What somebody asks for.
#[derive(Default)]
struct Ask<'a> {
    agent: Option<&'static str>,
    key: Option<&'static str>,
    body: &'a str,
    continues: Option<&'a str>,
    chat: Option<&'a Chat>,
}

fn decide(policy: &Policy, who: &str, line: &str, ask: &Ask<'_>) -> Result<Grant, Refusal> {
    let (method, path) = line.split_once(' ').unwrap();
    let (method, path) = (Method::from_bytes(method.as_bytes()).unwrap(), Path::validate(path.as_bytes()).unwrap());
    let proven = policy.simulate(&SimulatedCaller::Token(who.to_owned()), None, Timestamp::UNIX_EPOCH)?;
    let headers = [(GatewayHeader::AgentId, ask.agent), (GatewayHeader::SessionKey, ask.key)];
    let governed: Vec<_> = headers.into_iter().filter_map(|(g, v)| Some((g, value(v?)))).collect();
    let body = Object::read(ask.body.as_bytes()).unwrap();
    let route = policy.route(&method, path);
    let request = Request {
        method: &method,
        path,
        route: &route,
        requested: None,
        gateway_headers: &governed,
        chat: ask.chat,
        body: Some(&body),
        continues: ask.continues,
        peer: None,
        now: Timestamp::UNIX_EPOCH,
    };
    policy.decide(&proven, request)
}

fn sent(grant: &Grant, which: GatewayHeader) -> Option<String> {
    grant.gateway_headers().iter().find(|(g, _)| *g == which).map(|(_, v)| v.to_str().unwrap().to_owned())
}

/// The session's key and the agent that are sent.
fn run(policy: &Policy, who: &str, line: &str, ask: &Ask<'_>) -> Result<(String, String), String> {
    let grant = decide(policy, who, line, ask).map_err(|r| r.code().to_string())?;
    let header = |which| sent(&grant, which).unwrap_or_default();
    Ok((header(GatewayHeader::SessionKey), header(GatewayHeader::AgentId)))
}

type Run = Result<(String, String), String>;

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what may be refused")]
fn both(key: &str, agent: &str) -> Run {
    Ok((key.to_owned(), agent.to_owned()))
}

fn refused(code: &str) -> Run {
    Err(code.to_owned())
}

/// The body that is sent.
fn tool(policy: &Policy, who: &str, body: &str) -> Result<String, String> {
    let grant = decide(policy, who, TOOLS, &Ask { body, ..Ask::default() }).map_err(|r| r.code().to_string())?;
    let edited = grant.body().map(|edits| edits.clone().apply(body.as_bytes()));
    Ok(String::from_utf8(edited.unwrap_or_else(|| body.as_bytes().to_vec())).unwrap())
}

fn path(policy: &Policy, who: &str, line: &str) -> Result<String, String> {
    let grant = decide(policy, who, line, &Ask::default()).map_err(|r| r.code().to_string())?;
    Ok(grant.path().unwrap_or(line.split_once(' ').unwrap().1).to_owned())
}

#[test]
fn the_user_in_the_body_selects_no_session_of_a_principal_with_its_own() {
    let policy = policy(own_sessions());
    let ask = Ask { body: r#"{"user":"x"}"#, ..Ask::default() };
    let keys: Vec<String> =
        ["alice", "bob", "alice"].iter().map(|who| run(&policy, who, CHAT, &ask).unwrap().0).collect();
    assert!(keys[0].starts_with("agent:main:scopeshim.token:alice:~."), "{keys:?}");
    assert!(keys[1].starts_with("agent:main:scopeshim.token:bob:~."), "{keys:?}");
    assert_ne!(keys[0], keys[2]);
}

#[test]
fn a_foreign_response_is_not_continued_and_one_s_own_is() {
    let policy = policy(own_sessions());
    let alices = run(&policy, "alice", RESPONSES, &Ask::default()).unwrap().0;
    let body = r#"{"previous_response_id":"resp_1"}"#;
    let continuing = Ask { body, continues: Some(&alices), ..Ask::default() };
    assert_eq!(run(&policy, "alice", RESPONSES, &continuing), both(&alices, "main"));
    let bobs = run(&policy, "bob", RESPONSES, &continuing).unwrap().0;
    assert!(bobs.starts_with("agent:main:scopeshim.token:bob:~."), "{bobs}");
    // A key that the client names goes before it.
    let named = Ask { key: Some("x"), ..continuing };
    assert_eq!(run(&policy, "alice", RESPONSES, &named), both("agent:main:scopeshim.token:alice:x", "main"));
}

#[test]
fn a_key_names_the_agent_that_the_client_means_and_no_principal_s_name_escapes() {
    let policy = policy(own_sessions());
    let key = |who, key| run(&policy, who, CHAT, &Ask { key: Some(key), ..Ask::default() });
    assert_eq!(key("alice", "agent:home:x"), both("agent:home:scopeshim.token:alice:x", "home"));
    assert_eq!(
        key("agent", "other:x"),
        both("agent:main:scopeshim.token:agent:other~3ax".replace("token:agent", "token:~61gent").as_str(), "main")
    );
    assert_ne!(key("alice", "x"), key("Alice", "x"));
    assert_eq!(key("alice", "agent:main:scopeshim.token:alice:x"), both("agent:main:scopeshim.token:alice:x", "main"));
    assert_eq!(key("bob", "agent:main:scopeshim.token:alice:x"), refused("session_not_allowed"));
    assert_eq!(key("alice", "agent:main:agent:other:x"), refused("session_not_allowed"));
    assert_eq!(key("alice", "incognito-1"), refused("missing_scope"));
    assert_eq!(key("admin", "incognito-1"), refused("session_not_allowed"));
    let other = Ask { body: r#"{"model":"OpenClaw/Other"}"#, ..Ask::default() };
    assert_eq!(run(&policy, "alice", CHAT, &other).unwrap().1, "other");
}

#[test]
fn a_pinned_agent_is_not_left_by_a_session_key() {
    let policy = policy(agents(HeaderRule::Pin(value("main"))));
    let key = |key| run(&policy, "alice", CHAT, &Ask { key: Some(key), agent: Some("other"), ..Ask::default() });
    assert_eq!(key("agent:other:x"), refused("agent_not_allowed"));
    assert_eq!(key(" AGENT:Other:x"), refused("agent_not_allowed"));
    assert_eq!(key("agent:main:x"), both("agent:main:x", "main"));
    assert_eq!(key("x"), both("agent:main:x", "main"));
    for history in ["GET /sessions/agent:other:x/history", "GET /sessions/%61gent%3Aother%3ax/history"] {
        assert_eq!(path(&policy, "alice", history), Err("agent_not_allowed".into()), "{history}");
    }
    assert_eq!(path(&policy, "alice", "GET /sessions/x/history").unwrap(), "/sessions/agent%3Amain%3Ax/history");
}

#[test]
fn one_of_several_agents_is_chosen_by_key_header_or_model_and_no_other() {
    let policy = policy(agents(allowed(&["main", "home"])));
    let model = |model| Ask { body: model, ..Ask::default() };
    for line in [CHAT, RESPONSES, EMBEDDINGS] {
        let agent = |ask: &Ask<'_>| run(&policy, "alice", line, ask).map(|(_, agent)| agent);
        assert_eq!(agent(&model(r#"{"model":"openclaw"}"#)), Ok("main".into()));
        assert_eq!(agent(&model(r#"{"model":"openclaw/home"}"#)), Ok("home".into()));
        assert_eq!(agent(&model(r#"{"model":" agent:Home "}"#)), Ok("home".into()));
        assert_eq!(agent(&model(r#"{"model":"openclaw:other"}"#)), Err("agent_not_allowed".into()));
        assert_eq!(agent(&model(r#"{"mod\u0065l":"openclaw/other"}"#)), Err("agent_not_allowed".into()));
        let header = Ask { agent: Some("home"), body: r#"{"model":"openclaw/other"}"#, ..Ask::default() };
        assert_eq!(agent(&header), Ok("home".into()));
    }
    let keyed = Ask { key: Some("agent:home:x"), body: r#"{"model":"openclaw/main"}"#, ..Ask::default() };
    assert_eq!(run(&policy, "alice", CHAT, &keyed), both("agent:home:x", "home"));
}

#[test]
fn whoever_may_name_no_agent_names_none_by_key_path_model_or_tool() {
    for rule in [HeaderRule::Refuse, HeaderRule::Admin] {
        let policy = policy(agents(rule));
        let chat = |ask| run(&policy, "alice", CHAT, &ask).map(|(key, _)| key);
        assert_eq!(chat(Ask { key: Some("agent:other:x"), ..Ask::default() }), Err("agent_not_allowed".into()));
        assert_eq!(
            chat(Ask { body: r#"{"model":"openclaw/other"}"#, ..Ask::default() }),
            Err("agent_not_allowed".into())
        );
        assert_eq!(chat(Ask { key: Some("x"), ..Ask::default() }), Ok("x".into()));
        assert_eq!(path(&policy, "alice", "GET /sessions/agent:other:x/history"), Err("agent_not_allowed".into()));
        assert_eq!(tool(&policy, "alice", r#"{"tool":"tts","agentId":"other"}"#), Err("agent_not_allowed".into()));
    }
    let policy = policy(agents(HeaderRule::Admin));
    let ask = Ask { key: Some("agent:other:x"), ..Ask::default() };
    assert_eq!(run(&policy, "admin", CHAT, &ask).unwrap().0, "agent:other:x");
}

#[test]
fn history_and_kill_find_a_session_by_the_name_the_client_used() {
    let policy = policy(own_sessions());
    let key = "/sessions/agent%3Amain%3Ascopeshim.token%3Aalice%3Achat";
    for name in ["chat", "%63hat", "agent:main:chat", "agent%3Amain%3Ascopeshim.token%3Aalice%3Achat"] {
        let asked = format!("GET /sessions/{name}/history");
        assert_eq!(path(&policy, "alice", &asked).unwrap(), format!("{key}/history"), "{name}");
    }
    let foreign = "GET /sessions/agent:main:scopeshim.token:bob:chat/history";
    assert_eq!(path(&policy, "alice", foreign), Err("session_not_allowed".into()));
    assert_eq!(path(&policy, "alice", "POST /sessions/chat/kill"), Err("missing_scope".into()));
    let killed = path(&policy, "admin", "POST /sessions/chat/kill").unwrap();
    assert_eq!(killed, "/sessions/agent%3Amain%3Ascopeshim.token%3Aadmin%3Achat/kill");
}

#[test]
fn tools_are_called_in_the_caller_s_own_session_and_reach_no_other() {
    let policy = policy(own_sessions());
    let own = "agent:main:scopeshim.token:alice";
    let call = |body: &str| tool(&policy, "alice", body);
    assert_eq!(call(r#"{"tool":"tts"}"#).unwrap(), format!(r#"{{"sessionKey":"{own}:main","tool":"tts"}}"#));
    assert_eq!(
        call(r#"{"tool":"sessions_history","args":{"sessionKey":"agent:other:x"},"sessionKey":"y","agentId":"other"}"#)
            .unwrap(),
        r#"{"tool":"sessions_history","args":{"sessionKey":"agent:other:scopeshim.token:alice:x"},"sessionKey":"agent:other:scopeshim.token:alice:y","agentId":"other"}"#
    );
    assert_eq!(
        call(r#"{"name":"session_status","args":{"sessionKey":"current"}}"#).unwrap(),
        format!(r#"{{"sessionKey":"{own}:main","name":"session_status","args":{{"sessionKey":"{own}:main"}}}}"#)
    );
    for body in [
        r#"{"tool":"sessions_list"}"#,
        r#"{"name":"sessions_list","args":{}}"#,
        r#"{"tool":" sessions_list "}"#,
        r#"{"tool":"sessions_history","args":{"session_key":"agent:main:main"}}"#,
        r#"{"tool":"sessions_history","args":{"sessionKey":"x","sessionId":"1"}}"#,
        r#"{"tool":"sessions_send","args":{"sessionKey":"x"}}"#,
        r#"{"tool":"subagents"}"#,
        r#"{"tool":"agents_list"}"#,
        r#"{"tool":"memory_search"}"#,
        r#"{"tool":"a-plugin-s"}"#,
    ] {
        assert_eq!(call(body), Err("tool_not_allowed".into()), "{body}");
    }
    let bobs = r#"{"tool":"sessions_history","args":{"sessionKey":"agent:main:scopeshim.token:bob:x"}}"#;
    assert_eq!(call(bobs), Err("session_not_allowed".into()));
    assert_eq!(call(r#"{"tool":"tts","name":"sessions_list"}"#), Err("invalid_body".into()));
    assert_eq!(call(r#"{"tool":"tts","sessionKey":7}"#), Err("invalid_body".into()));
    let model = r#"{"tool":"session_status","args":{"model":"big"}}"#;
    assert_eq!(call(model), Err("model_not_allowed".into()));
    assert!(tool(&policy, "admin", model).is_ok());
}

#[test]
fn listed_tools_are_the_only_ones_for_bound_and_unbound_callers() {
    let tools: Option<Arc<[Glob]>> = Some([Glob::new("web_*"), Glob::new("sessions_list"), Glob::new("plug")].into());
    let listed = policy(HeaderRules { tools: tools.clone(), ..HeaderRules::default() });
    assert_eq!(tool(&listed, "alice", r#"{"tool":"web_search"}"#).unwrap(), r#"{"tool":"web_search"}"#);
    assert!(tool(&listed, "alice", r#"{"tool":"sessions_list"}"#).is_ok());
    assert_eq!(tool(&listed, "alice", r#"{"tool":"tts"}"#), Err("tool_not_allowed".into()));
    let bound = policy(HeaderRules { tools, ..own_sessions() });
    assert!(tool(&bound, "alice", r#"{"tool":"plug"}"#).is_ok());
    assert_eq!(tool(&bound, "alice", r#"{"tool":"sessions_list"}"#), Err("tool_not_allowed".into()));
}

#[test]
fn a_pinned_session_is_the_only_one_on_every_surface() {
    let policy = policy(HeaderRules { session_key: Some(HeaderRule::Pin(value("shared"))), ..HeaderRules::default() });
    let ask = Ask { body: r#"{"user":"x"}"#, key: Some("y"), ..Ask::default() };
    assert_eq!(run(&policy, "alice", CHAT, &ask).unwrap().0, "shared");
    assert!(path(&policy, "alice", "GET /sessions/shared/history").is_ok());
    assert!(path(&policy, "alice", "GET /sessions/agent:main:Shared/history").is_ok());
    for other in ["x", "agent:other:shared", "agent:main:main"] {
        assert_eq!(
            path(&policy, "alice", &format!("GET /sessions/{other}/history")),
            Err("session_not_allowed".into())
        );
        let body = format!(r#"{{"tool":"tts","sessionKey":"{other}"}}"#);
        assert_eq!(tool(&policy, "alice", &body), Err("session_not_allowed".into()));
    }
}

#[test]
fn whoever_may_name_no_session_names_none_by_user_path_or_tool() {
    let policy = policy(HeaderRules { session_key: Some(HeaderRule::Refuse), ..HeaderRules::default() });
    let ask = Ask { body: r#"{"user":"x"}"#, ..Ask::default() };
    assert_ne!(run(&policy, "alice", CHAT, &ask).unwrap().0, run(&policy, "alice", CHAT, &ask).unwrap().0);
    assert_eq!(path(&policy, "alice", "GET /sessions/main/history"), Err("session_not_allowed".into()));
    assert_eq!(tool(&policy, "alice", r#"{"tool":"tts","sessionKey":"main"}"#), Err("session_not_allowed".into()));
    assert_eq!(tool(&policy, "alice", r#"{"tool":"sessions_list"}"#), Err("tool_not_allowed".into()));
}

#[test]
fn nobody_unbound_writes_into_somebody_s_space_and_their_bodies_are_not_asked_for() {
    let policy = policy(HeaderRules::default());
    let key = Some("agent:main:scopeshim.token:bob:x");
    let chat = |who| run(&policy, who, CHAT, &Ask { key, ..Ask::default() }).map(|(key, _)| key);
    assert_eq!(chat("alice"), Err("session_not_allowed".into()));
    assert_eq!(chat("admin"), Ok("agent:main:scopeshim.token:bob:x".into()));
    let history = "GET /sessions/agent:main:scopeshim.token:bob:x/history";
    assert_eq!(path(&policy, "alice", history), Err("session_not_allowed".into()));
    let other = Ask { key: Some("agent:other:x"), agent: Some("main"), body: r#"{"user":"x"}"#, ..Ask::default() };
    assert_eq!(run(&policy, "alice", CHAT, &other), both("agent:other:x", "main"));
    assert_eq!(tool(&policy, "alice", r#"{"tool":"sessions_list"}"#).unwrap(), r#"{"tool":"sessions_list"}"#);
}

#[test]
fn a_chat_is_one_session_and_prompts_of_the_client_s_own_go_elsewhere() {
    use crate::chat_session::Background;
    let policy = policy(own_sessions());
    let chat = Chat::Named("c1".into());
    let of = |who, line, chat: &Chat, body| run(&policy, who, line, &Ask { chat: Some(chat), body, ..Ask::default() });
    for line in [CHAT, RESPONSES] {
        let first = of("alice", line, &chat, "{}").unwrap();
        assert_eq!(first, both("agent:main:scopeshim.token:alice:c1", "main").unwrap());
        assert_eq!(of("alice", line, &chat, r#"{"user":"x"}"#).unwrap(), first);
        assert_ne!(of("alice", line, &Chat::Named("c2".into()), "{}").unwrap(), first);
        assert_ne!(of("bob", line, &chat, "{}").unwrap(), first);
    }
    // The agent that the client chose runs.
    let other = of("alice", CHAT, &chat, r#"{"model":"openclaw/other"}"#).unwrap();
    assert_eq!(other, both("agent:other:scopeshim.token:alice:c1", "other").unwrap());
    // A chat's name is a name: no agent, no other space, nothing incognito.
    for name in ["agent:other:x", "agent:main:scopeshim.token:bob:c1", "incognito-1", "a b"] {
        let (key, agent) = of("alice", CHAT, &Chat::Named(name.into()), "{}").unwrap();
        assert!(key.starts_with("agent:main:scopeshim.token:alice:") && agent == "main", "{name}: {key}");
        assert_eq!(key.split(':').count(), 5, "{key}");
    }
    let background = |background| of("alice", CHAT, &Chat::Background(background), "{}").unwrap().0;
    let shared = background(Background::Shared);
    assert_eq!(shared, "agent:main:scopeshim.token:alice:~-background");
    assert_eq!(background(Background::Shared), shared);
    assert_ne!(background(Background::Fresh), background(Background::Fresh));
    assert_ne!(of("alice", CHAT, &Chat::Named("~-background".into()), "{}").unwrap().0, shared);
    // It is its own, by that key.
    let asked = format!("GET /sessions/{shared}/history");
    assert!(path(&policy, "alice", &asked).is_ok() && path(&policy, "bob", &asked).is_err());
}

#[test]
fn a_chat_counts_for_nobody_without_sessions_of_its_own_and_behind_what_the_client_names() {
    let chat = Chat::Named("c1".into());
    let ask = |key| Ask { chat: Some(&chat), key, ..Ask::default() };
    let rules = |rule| HeaderRules { session_key: Some(rule), ..HeaderRules::default() };
    let sent = |rule, who, key| run(&policy(rules(rule)), who, CHAT, &ask(key)).map(|(key, _)| key);
    assert_eq!(sent(HeaderRule::Pass, "alice", None), Ok(String::new()));
    assert_eq!(sent(HeaderRule::Pin(value("pinned")), "alice", None), Ok("pinned".into()));
    assert!(sent(HeaderRule::Refuse, "alice", None).unwrap().contains(":~."), "each call has a session of its own");
    assert!(sent(HeaderRule::Admin, "alice", None).unwrap().contains(":~."));
    assert_eq!(sent(HeaderRule::Prefix, "alice", Some("k")), Ok("agent:main:scopeshim.token:alice:k".into()));
}

#[test]
fn a_chat_with_one_agent_is_decided_without_its_body() {
    let rules = HeaderRules { agent_id: Some(HeaderRule::Pin(value("home"))), ..own_sessions() };
    let policy = policy(rules);
    let chat = Chat::Named("c1".into());
    let proven = policy.simulate(&SimulatedCaller::Token("alice".to_owned()), None, Timestamp::UNIX_EPOCH).unwrap();
    for (line, chat, wants) in [
        ("/v1/chat/completions", Some(&chat), false),
        ("/v1/responses", Some(&chat), false),
        ("/v1/responses", None, true),
    ] {
        let path = Path::validate(line.as_bytes()).unwrap();
        let route = policy.route(&Method::POST, path);
        let plain = Request::plain(&Method::POST, path, &route, None, Timestamp::UNIX_EPOCH);
        let grant = policy.decide(&proven, Request { chat, body: None, ..plain }).unwrap();
        assert_eq!(grant.wants_body(), wants, "{line} {chat:?}");
        if !wants {
            assert_eq!(sent(&grant, GatewayHeader::SessionKey).unwrap(), "agent:home:scopeshim.token:alice:c1");
        }
    }
}
