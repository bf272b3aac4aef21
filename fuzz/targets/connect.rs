//! A client's first text message, whatever it says, under policies with bounds of every kind: what leaves
//! for the gateway asks for no more than the policy decided, under no role that it did not allow, with no
//! secret but the gateway's own.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use scopeshim::config::{
    Conditions, DynamicConfig, GatewayAuth, GrantRule, HeaderRules, OwnDevice, PrincipalLimits, Subject, Token,
    WebSocketRules,
};
use scopeshim::glob::Glob;
use scopeshim::policy::Policy;
use scopeshim::request_path::Path;
use scopeshim::route::PathRule;
use scopeshim::scope::{ADMIN, Scope, ScopeSet};
use scopeshim::secret::{Secret, TokenHash};
use scopeshim::incognito_session::is_incognito;
use scopeshim::websocket::authorize::{ConnectContext, decide};
use scopeshim::websocket::connect_frame::{ClientIdentity, Connect, Reply, id_of, leaving, nonce_of};
use serde_json::Value;
use std::sync::{Arc, LazyLock};

const TOKEN: &str = "a-token-of-the-proxy-s-own";
const SECRET: &str = "the-gateway-s-own-secret";
/// What the token's own table gives, and what its upgrade asks for.
const CASES: &[(&str, Option<&str>)] = &[
    ("", None),
    ("operator.read operator.pairing", None),
    ("operator.write node.connect", Some("operator.read node.connect")),
    ("operator.admin node.connect", Some("operator.sessions.write")),
    ("operator.admin", None),
];

fn set(text: &str) -> ScopeSet {
    ScopeSet::parse_lines([text.as_bytes()]).unwrap()
}

static POLICIES: LazyLock<Vec<(Policy, Option<ScopeSet>, ScopeSet)>> = LazyLock::new(|| {
    let policy = |(scopes, requested): &(&str, Option<&str>)| {
        let mut live = DynamicConfig::closed();
        live.gateway_auth = GatewayAuth::Token(Secret::parse(SECRET).unwrap());
        live.websocket = WebSocketRules {
            own_device: OwnDevice::Pass,
            nodes: Some(Scope::known("node.connect")),
            ..WebSocketRules::default()
        };
        live.tokens = vec![Token {
            name: Arc::from("t"),
            hash: TokenHash::of(TOKEN.as_bytes()),
            scopes: set(scopes),
            not_before: None,
            expires: None,
            cidrs: Vec::new(),
            limits: PrincipalLimits::default(),
            place: Arc::from("x:1"),
        }];
        // Everything, on every route but one: nothing for a socket.
        live.grants = vec![GrantRule {
            to: Subject::Token(vec![Glob::new("*")]),
            scopes: set("operator.admin node.connect"),
            when: Conditions {
                routes: vec![PathRule::prefix(Path::validate(b"/v1/").unwrap())],
                ..Conditions::default()
            },
            excess: None,
            headers: HeaderRules::default(),
            limits: PrincipalLimits::default(),
            gateway_user: None,
            place: Arc::from("x:2"),
        }];
        let requested = requested.map(set);
        let most = requested.as_ref().map_or_else(|| set(scopes), |r| r.meet(&set(scopes)));
        (Policy::compile(live, &[], 1), requested, most)
    };
    CASES.iter().map(policy).collect()
});

fuzz_target!(|text: &str| {
    let _ = (id_of(text), nonce_of(text), Reply::parse(text, "1", &ScopeSet::empty()));
    let Ok(connect) = Connect::parse(text) else { return };
    let now = Timestamp::UNIX_EPOCH;
    for (policy, requested, most) in &*POLICIES {
        let credential = policy.authenticator().bearer(TOKEN.as_bytes()).unwrap();
        let proven = policy.authenticate(credential, None, now).unwrap();
        for challenged in [false, true] {
            let at = ConnectContext { requested: requested.as_ref(), peer: None, now, challenged };
            let Ok((grant, exact)) = decide(policy, &proven, &connect, at) else { continue };
            let ours = || leaving(&connect, &grant, policy.gateway_auth(), &ClientIdentity::Backend);
            let frame = exact.map_or_else(ours, |e| e.frame());
            let sent: Value = serde_json::from_str(&frame).unwrap();
            let params = &sent["params"];
            let listed = params.get("scopes").map(|s| s.as_array().unwrap().clone()).unwrap_or_default();
            let names: ScopeSet = listed.iter().map(|s| Scope::parse(s.as_str().unwrap()).unwrap()).collect();
            assert!(names.excess_over(most).is_empty(), "{frame}");
            let incognito =
                params.pointer("/modelCatalog/sessionKey").and_then(Value::as_str).is_some_and(is_incognito);
            assert!(!incognito || names.satisfies(&Scope::known(ADMIN)), "{frame}");
            match params.get("role").map_or("operator", |r| r.as_str().unwrap()) {
                "operator" => {}
                "node" => assert!(exact.is_some() && most.satisfies(&Scope::known("node.connect")), "{frame}"),
                other => panic!("the role {other}: {frame}"),
            }
            let auth = params["auth"].as_object().unwrap();
            let secrets: Vec<&str> = auth.values().map(|v| v.as_str().unwrap()).filter(|s| !s.is_empty()).collect();
            assert_eq!(secrets, [SECRET], "{frame}");
        }
    }
});
