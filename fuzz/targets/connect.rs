//! A client's first text message, whatever it says: no more than the grant leaves, under no role but
//! operator, and no secret of the client's with it.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use scopeshim::config::{GatewayAuth, Live, PrincipalLimits, Token};
use scopeshim::policy::{Policy, SocketRequest};
use scopeshim::scope::{Scope, ScopeSet};
use scopeshim::secret::{Secret, TokenHash};
use scopeshim::target::Path;
use scopeshim::websocket::connect::{Connect, Form, Reply, id_of, leaving, nonce_of};
use serde_json::Value;
use std::sync::{Arc, LazyLock};

const TOKEN: &str = "a-token-of-the-proxy-s-own";

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let mut live = Live::closed();
    live.gateway_auth = GatewayAuth::Token(Secret::parse("the-gateway-s-own-secret").unwrap());
    live.tokens = vec![Token {
        name: Arc::from("t"),
        hash: TokenHash::of(TOKEN.as_bytes()),
        scopes: [Scope::known("operator.read"), Scope::known("operator.pairing")].into_iter().collect(),
        not_before: None,
        expires: None,
        cidrs: Vec::new(),
        limits: PrincipalLimits::default(),
        place: Arc::from("x:1"),
    }];
    Policy::compile(live, &[], 1)
});

fuzz_target!(|text: &str| {
    let _ = (id_of(text), nonce_of(text), Reply::parse(text, "1", &ScopeSet::empty()));
    let Ok(connect) = Connect::parse(text) else { return };
    let policy = &*POLICY;
    let now = Timestamp::UNIX_EPOCH;
    let credential = policy.authenticator().bearer(TOKEN.as_bytes()).unwrap();
    let proven = policy.authenticate(credential, None, now).unwrap();
    let path = Path::judge(b"/").unwrap();
    let request = SocketRequest { path, requested: None, wished: connect.wished(), peer: None, now };
    let grant = policy.decide_socket(&proven, request).unwrap();
    let sent: Value =
        serde_json::from_str(&leaving(&connect, &grant, policy.gateway_auth(), &Form::Backend)).unwrap();
    let params = &sent["params"];
    for scope in params["scopes"].as_array().unwrap() {
        let allowed = ["operator.read", "operator.sessions.read", "operator.pairing"];
        assert!(allowed.contains(&scope.as_str().unwrap()), "{scope} left");
    }
    assert_eq!(params["role"], "operator");
    assert_eq!(params["auth"]["token"], "the-gateway-s-own-secret");
    assert!(params.get("device").is_none());
});
