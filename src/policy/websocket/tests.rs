use super::*;
use crate::config::{
    Conditions, DynamicConfig, Excess, GatewayAuth, GrantRule, HeaderRule, HeaderRules, OwnDevice, Subject, Token,
};
use crate::glob::Glob;
use crate::headers::GatewayHeader;
use crate::request_path::Path;
use crate::route::PathRule;
use crate::scope::KNOWN;
use crate::secret::Secret;
use crate::websocket::authorize;
use crate::websocket::connect_frame::{ClientIdentity, Connect, leaving};
use http::{HeaderValue, Method};
use proptest::prelude::*;
use serde_json::{Value, json};

const TOKEN: &str = "a-token-of-the-proxy-s-own";
const SECRET: &str = "the-gateway-s-own-secret";
const PATHS: &[&str] =
    &["/", "/tools/invoke", "/v1/models", "/v1/chat/completions", "/sessions/a/history", "/ws", "/x"];
const NOW: i64 = 1_000;

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn exact(path: &str) -> PathRule {
    PathRule::exact(Path::validate(path.as_bytes()).unwrap())
}

fn prefix(path: &str) -> PathRule {
    PathRule::prefix(Path::validate(path.as_bytes()).unwrap())
}

fn route() -> impl Strategy<Value = PathRule> {
    prop_oneof![
        prop::sample::select(PATHS).prop_map(exact),
        prop::sample::select(&["/", "/tools/", "/v1/", "/v1/chat/"][..]).prop_map(prefix),
    ]
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![Method::GET, Method::POST, Method::DELETE])
}

fn scopes() -> impl Strategy<Value = ScopeSet> {
    let name = prop_oneof![4 => prop::sample::select(KNOWN), 1 => Just("operator.invented")];
    prop::collection::vec(name, 0..3).prop_map(|names| names.into_iter().map(Scope::known).collect())
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let cidr = prop::sample::select(&["10.0.0.0/8", "192.168.1.0/24"][..]).prop_map(|c| c.parse().unwrap());
    let bound = prop_oneof![Just(None), (0..2 * NOW).prop_map(|s| Some(moment(s)))];
    (
        prop_oneof![Just(vec![]), prop::collection::vec(route(), 1..3)],
        prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(method(), 1..3)],
        prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(cidr, 1..2)],
        bound.clone(),
        bound,
    )
        .prop_map(|(routes, methods, cidrs, not_before, expires)| Conditions {
            routes,
            methods,
            cidrs,
            not_before,
            expires,
        })
}

fn rule() -> impl Strategy<Value = Option<HeaderRule>> {
    let value = HeaderValue::from_static("main");
    prop_oneof![
        12 => Just(None),
        2 => Just(Some(HeaderRule::Pass)),
        1 => Just(Some(HeaderRule::Admin)),
        1 => Just(Some(HeaderRule::Refuse)),
        1 => Just(Some(HeaderRule::Prefix)),
        1 => Just(Some(HeaderRule::Pin(value.clone()))),
        1 => Just(Some(HeaderRule::Allow(vec![value]))),
    ]
}

fn rules() -> impl Strategy<Value = HeaderRules> {
    let some = prop::collection::vec(rule(), GatewayHeader::ALL.len()).prop_map(|said| {
        let mut rules = HeaderRules::default();
        GatewayHeader::ALL.into_iter().zip(said).for_each(|(header, rule)| *rules.slot(header) = rule);
        rules
    });
    prop_oneof![6 => Just(HeaderRules::default()), 1 => some]
}

fn excess() -> impl Strategy<Value = Excess> {
    prop_oneof![Just(Excess::Refuse), Just(Excess::Narrow)]
}

fn grant() -> impl Strategy<Value = GrantRule> {
    (scopes(), conditions(), prop::option::of(excess()), rules()).prop_map(|(scopes, when, excess, headers)| {
        GrantRule { scopes, when, excess, headers, ..GrantRule::plain(Subject::Token(vec![Glob::new("t")])) }
    })
}

fn live() -> impl Strategy<Value = DynamicConfig> {
    let nodes = prop::option::of(prop::sample::select(&["operator.admin", "node.connect"][..]));
    (scopes(), prop::collection::vec(grant(), 0..5), rules(), excess(), nodes).prop_map(
        |(scopes, grants, headers, excess, nodes)| {
            let mut live = DynamicConfig::closed();
            live.gateway_auth = GatewayAuth::Token(Secret::parse(SECRET).unwrap());
            live.tokens = vec![token(scopes)];
            live.grants = grants;
            live.headers = headers;
            live.excess = excess;
            live.websocket.nodes = nodes.map(Scope::known);
            live.websocket.own_device = OwnDevice::Pass;
            live
        },
    )
}

fn token(scopes: ScopeSet) -> Token {
    Token { scopes, ..Token::plain("t", TOKEN) }
}

fn proven(policy: &Policy) -> Proven {
    let credential = policy.authenticator().bearer(TOKEN.as_bytes()).unwrap();
    policy.authenticate(credential, None, moment(NOW)).unwrap()
}

fn peer() -> impl Strategy<Value = Option<IpAddr>> {
    prop::sample::select(vec![None, Some("10.1.1.1"), Some("192.168.1.1"), Some("127.0.0.1")])
        .prop_map(|p| p.map(|p| p.parse().unwrap()))
}

/// What the client writes into its list: true names, and what might be read as one by somebody.
fn entry() -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(KNOWN);
    prop_oneof![
        6 => name().prop_map(Value::from),
        1 => (name(), prop::sample::select(&["\u{a0}", "\u{feff}", "\n", " ", ",", "\0", "\t", "é"][..]), any::<bool>())
            .prop_map(|(name, odd, front)| Value::from(if front { format!("{odd}{name}") } else { format!("{name}{odd}") })),
        1 => name().prop_map(|n| json!([n])),
        1 => name().prop_map(|n| json!({ n: true })),
        1 => prop::sample::select(vec![json!(null), json!(1), json!(true), json!(""), json!("OPERATOR.ADMIN")]),
    ]
}

fn frame() -> impl Strategy<Value = Value> {
    let auth = prop_oneof![
        3 => Just(json!({ "token": SECRET })),
        1 => Just(json!({ "token": TOKEN })),
        1 => Just(json!({ "token": SECRET, "password": "other" })),
        1 => Just(json!({ "token": SECRET, "bootstrapToken": "other" })),
        1 => Just(json!({ "deviceToken": "other" })),
        1 => Just(json!({})),
    ];
    let role = prop::sample::select(vec![json!("operator"), json!("node"), json!(null), json!("Operator")]);
    let session = prop::sample::select(vec![None, Some("agent:main:main"), Some("agent:main:dashboard:INCOGNITO-1")]);
    (prop::option::of(prop::collection::vec(entry(), 0..4)), auth, role, session, any::<bool>()).prop_map(
        |(scopes, auth, role, session, device)| {
            let mut params = json!({ "client": { "id": "cli", "mode": "cli" }, "auth": auth });
            let mut set = |name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    params[name] = value;
                }
            };
            set("scopes", scopes.map(Value::from));
            set("role", Some(role).filter(|r| !r.is_null()));
            set("modelCatalog", session.map(|key| json!({ "sessionKey": key })));
            let signed = json!({ "id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n" });
            set("device", device.then_some(signed));
            params
        },
    )
}

/// The scopes by the words of the law: what the token's table and its grants give on every route.
fn held_everywhere(live: &DynamicConfig, peer: Option<IpAddr>) -> ScopeSet {
    let everywhere = |when: &Conditions| {
        let every_path = when.routes.is_empty() || when.routes.contains(&prefix("/"));
        let place = when.cidrs.is_empty() || peer.is_some_and(|p| when.cidrs.iter().any(|c| c.contains(&p)));
        let time = when.not_before.is_none_or(|t| t <= moment(NOW)) && when.expires.is_none_or(|t| moment(NOW) < t);
        every_path && when.methods.is_empty() && place && time
    };
    let granted = live.grants.iter().filter(|g| everywhere(&g.when)).map(|g| &g.scopes);
    granted.fold(live.tokens[0].scopes.clone(), |all, more| all.union(more))
}

fn names(frame: &str) -> ScopeSet {
    let frame: Value = serde_json::from_str(frame).unwrap();
    let listed = frame["params"]["scopes"].as_array().cloned().unwrap_or_default();
    // As the gateway reads it: each entry is a name.
    listed.iter().map(|s| Scope::parse(s.as_str().expect("a text")).expect("one name")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever route the client's upgrade was for: there is none on which it holds less, and none with a
    /// rule that the socket escapes.
    #[test]
    fn a_socket_holds_what_is_held_on_every_route_and_escapes_no_rule(live in live(), peer in peer()) {
        let policy = Policy::compile(live.clone(), &[], 1);
        let proven = proven(&policy);
        let socket = SocketRequest { requested: None, requested_scopes: None, session: None, peer, now: moment(NOW) };
        let decided = policy.decide_socket(&proven, socket);
        let effective_rules = |method: &Method, path: &str| {
            let reach = Reach::Request { method, path: Path::validate(path.as_bytes()).unwrap() };
            let at = RequestFacts { reach, peer, now: moment(NOW) };
            proven.permissions.effective_rules(at, &live).into_owned()
        };
        match decided {
            Ok(grant) => {
                prop_assert_eq!(grant.effective(), &held_everywhere(&live, peer).expanded());
                for path in PATHS {
                    for method in [Method::GET, Method::POST, Method::DELETE, Method::PUT] {
                        let effective_rules = effective_rules(&method, path);
                        prop_assert!(grant.effective().excess_over(&effective_rules.scope_limit.scopes).is_empty(), "{method} {path}");
                        prop_assert_eq!(effective_rules.bound(), None, "{} {}", method, path);
                    }
                }
            }
            Err(Refusal::Socket(SocketFault::KeptApart { header })) => {
                let which = GatewayHeader::ALL.into_iter().find(|g| g.name() == header);
                let stated = |rules: &HeaderRules| which.and_then(|g| rules.get(g).cloned());
                let all = live.grants.iter().map(|g| &g.headers).chain([&live.headers]);
                let strict = all.filter_map(stated).any(|rule| rule != HeaderRule::Pass);
                prop_assert!(strict, "nothing is said of {header}");
            }
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }

    /// The whole way of a frame, as `session` goes it.
    #[test]
    fn no_frame_asks_the_gateway_for_more_than_the_policy_decided(
        live in live(), peer in peer(), requested in prop::option::of(scopes()),
        params in frame(), challenged in any::<bool>(),
    ) {
        let policy = Policy::compile(live.clone(), &[], 1);
        let proven = proven(&policy);
        let text = json!({ "type": "req", "id": "1", "method": "connect", "params": params }).to_string();
        let connect = Connect::parse(&text).unwrap();
        let mut scope_limit = held_everywhere(&live, peer);
        if let Some(requested) = &requested {
            scope_limit = requested.meet(&scope_limit);
        }
        let at = authorize::ConnectContext { requested: requested.as_ref(), peer, now: moment(NOW), challenged };
        if let Ok((grant, exact)) = authorize::decide(&policy, &proven, &connect, at) {
            let form = ClientIdentity::Backend;
            let frame = exact.map_or_else(|| leaving(&connect, &grant, policy.gateway_auth(), &form), |e| e.frame());
            prop_assert_eq!(&names(&frame), grant.effective());
            prop_assert!(grant.effective().excess_over(&scope_limit).is_empty(), "{frame}");
            let node = params["role"] == "node";
            prop_assert!(!node || live.websocket.nodes.as_ref().is_some_and(|needed| scope_limit.satisfies(needed)));
            let session = connect.session();
            let incognito = session.is_some_and(incognito_session::is_incognito);
            prop_assert!(!incognito || names(&frame).satisfies(Scope::admin()));
            let frame: Value = serde_json::from_str(&frame).unwrap();
            prop_assert_eq!(&frame["params"]["auth"], &json!({ "token": SECRET }));
        }
    }
}

#[test]
fn an_earlier_rule_for_every_route_decides_before_one_for_some() {
    let rule = |session_key, routes: &[&str]| GrantRule {
        when: Conditions { routes: routes.iter().map(|r| exact(r)).collect(), ..Conditions::default() },
        headers: HeaderRules { session_key: Some(session_key), ..HeaderRules::default() },
        ..GrantRule::plain(Subject::Token(vec![Glob::new("t")]))
    };
    let decided = |grants: Vec<GrantRule>| {
        let mut live = DynamicConfig::closed();
        live.tokens = vec![token([Scope::known("operator.read")].into_iter().collect())];
        live.grants = grants;
        live.headers.session_key = Some(HeaderRule::Prefix);
        let policy = Policy::compile(live, &[], 1);
        let socket =
            SocketRequest { requested: None, requested_scopes: None, session: None, peer: None, now: moment(NOW) };
        policy.decide_socket(&proven(&policy), socket).is_ok()
    };
    assert!(!decided(vec![]), "the default binds");
    assert!(decided(vec![rule(HeaderRule::Pass, &[])]), "a grant says otherwise, on every route");
    assert!(!decided(vec![rule(HeaderRule::Pass, &["/x"])]), "on one route only");
    assert!(!decided(vec![rule(HeaderRule::Prefix, &["/x"]), rule(HeaderRule::Pass, &[])]), "strict on one route");
    assert!(decided(vec![rule(HeaderRule::Pass, &[]), rule(HeaderRule::Prefix, &["/x"])]), "never reached");
}
