//! What users of an app get: never more than the app, and never more than themselves.

use super::*;
use crate::authn::Credential;
use crate::chat_session::Chat;
use crate::config::{
    AppUsers, Conditions, DynamicConfig, GatewayAuth, GrantRule, MissingUser, SimulatedCaller, Subject, Token,
    TrustedProxy,
};
use crate::headers::GatewayHeader;
use crate::json_body::Object;
use crate::policy::{Grant, Policy, Request, SocketRequest};
use crate::request_path::Path;
use crate::scope::{Scope, ScopeSet};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use proptest::prelude::*;
use std::net::IpAddr;

const EMAIL: HeaderName = HeaderName::from_static("x-openwebui-user-email");
const ROLE: HeaderName = HeaderName::from_static("x-openwebui-user-role");
const APP: &str = "open-webui";
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn users(missing: MissingUser) -> Arc<AppUsers> {
    let claims = vec![("email".into(), EMAIL), ("role".into(), ROLE)];
    Arc::new(AppUsers::Headers { claims, name: "email".into(), missing })
}

fn token(name: &str, scopes: &[&'static str], users: Option<Arc<AppUsers>>) -> Token {
    Token { scopes: scopes.iter().map(|s| Scope::known(s)).collect(), users, ..Token::plain(name, name) }
}

fn grant(to: Subject, scopes: ScopeSet, headers: HeaderRules) -> GrantRule {
    GrantRule { scopes, headers, ..GrantRule::plain(to) }
}

fn user(name: &str) -> Subject {
    Subject::AppUser { apps: vec![Glob::new(APP)], claims: Vec::new(), names: vec![Glob::new(name)] }
}

fn scopes(names: &[&'static str]) -> ScopeSet {
    names.iter().map(|s| Scope::known(s)).collect()
}

fn config() -> DynamicConfig {
    DynamicConfig {
        tokens: vec![
            token(APP, &["operator.read", "operator.write"], Some(users(MissingUser::Refuse))),
            token("other-app", &["operator.admin"], Some(users(MissingUser::App))),
            token("alice", &["operator.admin"], None),
        ],
        grants: vec![
            grant(user("alice"), scopes(&["operator.write"]), HeaderRules::default()),
            grant(user("reader"), scopes(&["operator.read"]), HeaderRules::default()),
            grant(user("boss"), scopes(&["operator.admin"]), HeaderRules::default()),
        ],
        ..DynamicConfig::closed()
    }
}

fn lines(said: &[(HeaderName, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in said {
        map.append(name.clone(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn proven(policy: &Policy, token: &str, headers: &HeaderMap) -> Result<Proven, Refusal> {
    let caller = policy.authenticate(Credential::Opaque(token.as_bytes()), None, NOW)?;
    policy.on_behalf(caller, headers, NOW)
}

struct Ask<'a> {
    line: &'a str,
    key: Option<&'a str>,
    chat: Option<Chat>,
}

fn decide(policy: &Policy, proven: &Proven, ask: &Ask<'_>) -> Result<Grant, Refusal> {
    let (method, path) = ask.line.split_once(' ').unwrap();
    let (method, path) = (Method::from_bytes(method.as_bytes()).unwrap(), Path::validate(path.as_bytes()).unwrap());
    let route = policy.route(&method, path);
    let key = ask.key.map(|key| (GatewayHeader::SessionKey, HeaderValue::from_str(key).unwrap()));
    let governed: Vec<_> = key.into_iter().collect();
    let body = Object::read(b"{}").unwrap();
    let chat = ask.chat.as_ref();
    let plain = Request::plain(&method, path, &route, None, NOW);
    policy.decide(proven, Request { gateway_headers: &governed, chat, body: Some(&body), ..plain })
}

fn ask(line: &str) -> Ask<'_> {
    Ask { line, key: None, chat: None }
}

fn outcome(policy: &Policy, token: &str, said: &[(HeaderName, &str)], line: &str) -> Result<String, String> {
    let grant = proven(policy, token, &lines(said)).and_then(|p| decide(policy, &p, &ask(line)));
    grant.map(|g| g.effective().to_header()).map_err(|r| r.code().to_string())
}

const MODELS: &str = "GET /v1/models";
const CHAT: &str = "POST /v1/chat/completions";

#[test]
fn a_user_holds_what_both_the_app_and_its_own_grants_give() {
    let policy = Policy::dry_run(config());
    let of = |name, line| outcome(&policy, APP, &[(EMAIL, name)], line);
    assert_eq!(of("alice", CHAT), Ok("operator.read,operator.write".into()));
    assert_eq!(of("reader", MODELS), Ok("operator.read".into()));
    assert_eq!(of("reader", CHAT), Err("missing_scope".into()));
    // The app holds no admin, so none of its users does.
    assert_eq!(of("boss", CHAT), Ok("operator.read,operator.write".into()));
    assert_eq!(of("boss", "POST /sessions/x/kill"), Err("missing_scope".into()));
    assert_eq!(of("stranger", MODELS), Err("user_unknown".into()));
    assert_eq!(outcome(&policy, APP, &[], MODELS), Err("user_missing".into()));
    assert_eq!(outcome(&policy, APP, &[(EMAIL, "alice"), (EMAIL, "boss")], MODELS), Err("invalid_user_header".into()));
    // Users of one app are not those of another, and no word about a user makes one of anybody else.
    assert_eq!(outcome(&policy, "other-app", &[(EMAIL, "alice")], MODELS), Err("user_unknown".into()));
    assert_eq!(outcome(&policy, "alice", &[(EMAIL, "reader")], MODELS), Ok("operator.admin".into()));
    assert_eq!(outcome(&policy, "other-app", &[], MODELS), Ok("operator.admin".into()));
}

#[test]
fn a_token_that_speaks_for_users_holds_nothing_by_itself_on_any_surface() {
    let policy = Policy::dry_run(config());
    let app = policy.authenticate(Credential::Opaque(APP.as_bytes()), None, NOW).unwrap();
    for line in [MODELS, CHAT, "GET /sessions/x/history", "POST /tools/invoke"] {
        assert_eq!(decide(&policy, &app, &ask(line)).unwrap_err(), Refusal::User(UserFault::Missing), "{line}");
    }
    let socket = SocketRequest { requested: None, requested_scopes: None, session: None, peer: None, now: NOW };
    let alice = proven(&policy, APP, &lines(&[(EMAIL, "alice")])).unwrap();
    for caller in [&app, &alice] {
        assert!(matches!(policy.decide_socket(caller, socket), Err(Refusal::Socket(_))));
        assert!(matches!(policy.decide_node(caller, socket), Err(Refusal::Socket(_))));
    }
}

#[test]
fn an_open_stream_goes_on_as_long_as_the_user_may_by_the_policy_in_force() {
    let alice = proven(&Policy::dry_run(config()), APP, &lines(&[(EMAIL, "alice"), (ROLE, "user")])).unwrap();
    let still = |change: &dyn Fn(&mut DynamicConfig)| {
        let mut live = config();
        change(&mut live);
        let policy = Policy::dry_run(live);
        let confirmed = policy.confirm(&alice.principal, None, NOW).and_then(|p| decide(&policy, &p, &ask(CHAT)));
        confirmed.map(|_| ()).map_err(|r| r.code().to_string())
    };
    assert_eq!(still(&|_| ()), Ok(()));
    // Its place in the list is another one.
    assert_eq!(still(&|live| live.tokens.reverse()), Ok(()));
    assert_eq!(still(&|live| live.grants.remove(0).when = Conditions::default()), Err("user_unknown".into()));
    assert_eq!(still(&|live| live.tokens[0].scopes = scopes(&["operator.read"])), Err("missing_scope".into()));
    assert_eq!(still(&|live| live.tokens[0].users = Some(users(MissingUser::App))), Err("user_changed".into()));
    assert_eq!(still(&|live| live.tokens[0].users = None), Err("user_changed".into()));
    assert_eq!(still(&|live| drop(live.tokens.remove(0))), Err("credential_unknown".into()));
}

#[test]
fn the_gateway_is_told_the_user_and_never_takes_one_for_a_token_of_that_name() {
    let mut live = config();
    live.gateway_auth = GatewayAuth::TrustedProxy(Box::new(TrustedProxy {
        user_header: HeaderName::from_static("x-home-user"),
        required_headers: Vec::new(),
        local_client_address: IpAddr::from([192, 0, 2, 1]),
    }));
    let policy = Policy::dry_run(live);
    let told = |name| {
        let proven = proven(&policy, APP, &lines(&[(EMAIL, name)])).unwrap();
        decide(&policy, &proven, &ask(MODELS)).unwrap().gateway_user().unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(told("reader"), "reader");
    assert_eq!(told("alice"), "open-webui/alice");
}

#[test]
fn a_user_has_sessions_of_its_own_by_chat_and_by_name() {
    let policy = Policy::dry_run(config());
    let key = |user, key: Option<&'static str>, chat: Option<&str>| {
        let proven = proven(&policy, APP, &lines(&[(EMAIL, user)])).unwrap();
        let chat = chat.map(|name| Chat::Named(name.into()));
        let grant = decide(&policy, &proven, &Ask { line: CHAT, key, chat }).unwrap();
        let sent = grant.gateway_headers().iter().find(|(which, _)| *which == GatewayHeader::SessionKey);
        sent.map(|(_, key)| key.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert_eq!(key("alice", None, Some("c1")), "agent:main:scopeshim.app_user.open-webui:alice:c1");
    assert_eq!(key("alice", Some("c1"), None), key("alice", None, Some("c1")));
    assert_eq!(key("boss", None, Some("c1")), "agent:main:scopeshim.app_user.open-webui:boss:c1");
    // The key that the client names goes before its chat.
    assert_eq!(key("alice", Some("c2"), Some("c1")), key("alice", Some("c2"), None));
    assert_ne!(key("alice", None, None), key("alice", None, None));
}

#[test]
fn simulated_users_are_those_that_the_app_would_name() {
    let policy = Policy::dry_run(config());
    let simulated = |claims: serde_json::Value| {
        let claims = claims.as_object().cloned().unwrap_or_default();
        policy.simulate(&SimulatedCaller::AppUser { app: APP.to_owned(), claims }, None, NOW)
    };
    let alice = simulated(serde_json::json!({ "email": "alice" })).unwrap();
    assert_eq!(
        alice.principal.identity(),
        proven(&policy, APP, &lines(&[(EMAIL, "alice")])).unwrap().principal.identity()
    );
    assert_eq!(decide(&policy, &alice, &ask(CHAT)).unwrap().effective().to_header(), "operator.read,operator.write");
    assert!(simulated(serde_json::json!({ "role": "admin" })).is_err());
}

const VALUES: [&str; 3] = ["main", "home", "other"];
const ALL: [&str; 5] =
    ["operator.read", "operator.write", "operator.admin", "operator.approvals", "operator.talk.secrets"];

fn any_scopes() -> impl Strategy<Value = ScopeSet> {
    prop::collection::vec(prop::sample::select(&ALL[..]), 0..4).prop_map(|names| scopes(&names))
}

fn any_rule(prefix: bool) -> impl Strategy<Value = Option<HeaderRule>> {
    let value = || prop::sample::select(&VALUES[..]).prop_map(HeaderValue::from_static);
    let own = if prefix { HeaderRule::Prefix } else { HeaderRule::Refuse };
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(HeaderRule::Pass)),
        1 => Just(Some(HeaderRule::Admin)),
        1 => Just(Some(HeaderRule::Refuse)),
        1 => Just(Some(own)),
        1 => value().prop_map(|v| Some(HeaderRule::Pin(v))),
        1 => prop::collection::vec(value(), 1..3).prop_map(|v| Some(HeaderRule::Allow(v))),
    ]
}

fn any_rules() -> impl Strategy<Value = HeaderRules> {
    (any_rule(false), any_rule(true)).prop_map(|(agent_id, session_key)| HeaderRules {
        agent_id,
        session_key,
        ..HeaderRules::default()
    })
}

fn any_subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        Just(Subject::Token(vec![Glob::new("*")])),
        Just(Subject::Token(vec![Glob::new(APP)])),
        Just(user("alice")),
        Just(user("*")),
        Just(user("bob")),
    ]
}

/// What a rule may have leave, whatever the client sends: `-` is nothing, `own` a space of one's own.
fn leaves(rule: &HeaderRule, admin: bool) -> Vec<String> {
    let every = || VALUES.iter().map(ToString::to_string).chain(["-".to_owned(), "own".to_owned()]).collect();
    let text = |v: &HeaderValue| v.to_str().unwrap().to_owned();
    match rule {
        HeaderRule::Pass => every(),
        HeaderRule::Admin if admin => every(),
        HeaderRule::Admin | HeaderRule::Refuse => vec!["-".to_owned()],
        HeaderRule::Pin(value) => vec![text(value)],
        HeaderRule::Allow(values) => values.iter().map(text).collect(),
        HeaderRule::Prefix => vec!["-".to_owned(), "own".to_owned()],
    }
}

proptest! {
    #[test]
    fn what_is_sent_is_within_the_app_and_within_the_user_whatever_the_policy_and_the_headers(
        own in any_scopes(),
        grants in prop::collection::vec((any_subject(), any_scopes(), any_rules()), 0..5),
        asked in prop::option::of(any_scopes()),
        said in prop::collection::vec((any::<bool>(), prop::sample::select(&["alice", "bob", "admin", "", "alice,bob"][..])), 0..3),
        line in prop::sample::select(&[MODELS, CHAT, "POST /tools/invoke", "POST /sessions/x/kill"][..]),
    ) {
        let mut live = config();
        live.tokens[0].scopes = own;
        live.grants = grants.into_iter().map(|(to, scopes, headers)| grant(to, scopes, headers)).collect();
        // The same app without users, and the sum of what names the user: what either may do alone.
        let mut alone = live.clone();
        alone.tokens[0].users = None;
        let (policy, alone) = (Policy::dry_run(live.clone()), Policy::dry_run(alone));
        let headers = lines(&said.iter().map(|(email, value)| (if *email { EMAIL } else { ROLE }, *value)).collect::<Vec<_>>());
        let Ok(user) = proven(&policy, APP, &headers) else { return Ok(()) };
        let Identity::AppUser(_) = user.principal.identity() else {
            return Err(TestCaseError::fail("not a user"));
        };
        let (method, path) = line.split_once(' ').unwrap();
        let (method, path) = (Method::from_bytes(method.as_bytes()).unwrap(), Path::validate(path.as_bytes()).unwrap());
        let route = policy.route(&method, path);
        let request = Request { requested: asked.as_ref(), ..Request::plain(&method, path, &route, None, NOW) };
        if let Ok(granted) = policy.decide(&user, request) {
            let app = proven(&alone, APP, &HeaderMap::new()).unwrap();
            let most = alone.held(&app, request);
            let named = live.grants.iter().filter(|g| g.to.failing(&user.principal).is_none());
            let own = named.fold(ScopeSet::empty(), |all, g| all.union(&g.scopes));
            for scope in granted.effective().iter() {
                prop_assert!(most.satisfies(scope), "{scope} is not the app's {most}");
                prop_assert!(own.satisfies(scope), "{scope} is not the user's {own}");
                prop_assert!(asked.as_ref().is_none_or(|asked| asked.satisfies(scope)));
            }
        }
    }

    #[test]
    fn what_two_rules_let_through_together_each_lets_through(
        app in any_rule(true), user in any_rule(true), admin in any::<bool>()
    ) {
        let rules = |rule| HeaderRules { session_key: rule, ..HeaderRules::default() };
        let (met, conflict) = meet(&rules(app.clone()), &rules(user.clone()));
        let Some(met) = met.session_key.filter(|_| conflict.is_none()) else { return Ok(()) };
        for value in leaves(&met, admin) {
            for rule in [&app, &user].into_iter().flatten() {
                prop_assert!(leaves(rule, admin).contains(&value), "{met:?} of {app:?} and {user:?}: {value}");
            }
        }
    }

    #[test]
    fn no_two_chats_no_two_users_and_no_two_apps_meet(
        a in (prop::sample::select(&["alice", "Alice", "boss", "a:b", "a"][..]), "\\PC{0,20}"),
        b in (prop::sample::select(&["alice", "Alice", "boss", "a:b", "a"][..]), "\\PC{0,20}"),
        apps in prop::sample::select(&[("app", "app"), ("app", "App"), ("a", "a.b")][..]),
    ) {
        use crate::session_space::{AgentId, Space};
        let key = |app: &str, (name, chat): &(&str, String)| {
            Space::new("app_user", Some(app), name).key(&AgentId::main(), chat).to_lowercase()
        };
        let same = apps.0 == apps.1 && a == b;
        prop_assert_eq!(key(apps.0, &a) == key(apps.1, &b), same);
        prop_assert_ne!(key(apps.0, &a), Space::new("app_user", Some(apps.1), b.0).background(&AgentId::main()));
    }
}
