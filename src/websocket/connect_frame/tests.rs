use super::*;
use crate::config::environment::{Environment, SecretFileFault};
use crate::config::{Config, DynamicConfig};
use crate::policy::{Policy, SocketRequest};
use crate::scope::{ADMIN, Scope};
use jiff::Timestamp;
use proptest::prelude::*;

struct Nowhere;

impl Environment for Nowhere {
    fn secret_file(&self, _: &std::path::Path) -> Result<String, SecretFileFault> {
        Ok(SECRET.to_owned())
    }
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

const SECRET: &str = "the-gateway-s-own-secret";
const TOKEN: &str = "a-token-of-the-proxy-s-own";

fn live(scopes: &str) -> DynamicConfig {
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:1\"\n[gateway]\nurl = \"http://127.0.0.1:2\"\nauth = {{ kind = \"token\", file = \"x\" }}\n\
         [[token]]\nname = \"t\"\nsha256 = \"{}\"\nscopes = [{scopes}]\n",
        crate::secret::TokenHash::of(TOKEN.as_bytes()).to_hex()
    );
    let loaded = crate::config::parse(crate::config::diagnostic::Source::new("x.toml", text), &Nowhere);
    let Some(Config { live, .. }) = loaded.config else { panic!("{}", loaded.render()) };
    live
}

fn policy(scopes: &str) -> Policy {
    Policy::compile(live(scopes), &[], 1)
}

fn grant(policy: &Policy, requested_scopes: Option<&ScopeSet>, requested: Option<&ScopeSet>) -> Grant {
    let credential = policy.authenticator().bearer(TOKEN.as_bytes()).unwrap();
    let proven = policy.authenticate(credential, None, Timestamp::UNIX_EPOCH).unwrap();
    let request = SocketRequest { requested, requested_scopes, session: None, peer: None, now: Timestamp::UNIX_EPOCH };
    policy.decide_socket(&proven, request).unwrap()
}

fn set(text: &str) -> ScopeSet {
    ScopeSet::parse_lines([text.as_bytes()]).unwrap()
}

fn frame(params: &Value) -> String {
    json!({ "type": "req", "id": "1", "method": "connect", "params": params }).to_string()
}

fn scopes_in(frame: &Value) -> ScopeSet {
    scope_list(&frame["params"]["scopes"]).unwrap()
}

/// The frame that leaves for a client's text under these scopes.
fn left(text: &str, scopes: &str) -> Option<Value> {
    let policy = policy(scopes);
    let connect = Connect::parse(text).ok()?;
    let grant = grant(&policy, connect.requested_scopes(), None);
    let text = leaving(&connect, &grant, policy.gateway_auth(), &ClientIdentity::Backend);
    Some(serde_json::from_str(&text).unwrap())
}

#[test]
fn what_is_asked_is_cut_to_what_is_granted_and_spelled_out() {
    let sent = |asked: Value| {
        let mut params = json!({ "client": {} });
        if !asked.is_null() {
            params["scopes"] = asked;
        }
        scopes_in(&left(&frame(&params), "\"operator.read\", \"operator.write\"").unwrap()).to_string()
    };
    let all = "operator.read,operator.sessions.read,operator.sessions.write,operator.talk,operator.write";
    assert_eq!(sent(json!(["operator.admin"])), all);
    assert_eq!(sent(Value::Null), all, "absent means default");
    assert_eq!(sent(json!([])), "", "present means intent");
    assert_eq!(sent(json!(["operator.read"])), "operator.read,operator.sessions.read");
    assert_eq!(sent(json!(["operator.read operator.pairing"])), "operator.read,operator.sessions.read");
    assert_eq!(sent(json!(["nonsense", 7, null, "a\"b"])), "");
}

#[test]
fn the_header_of_the_upgrade_caps_the_frame() {
    let policy = policy("\"operator.admin\"");
    let of = |requested_scopes: &str, header: &str| {
        grant(&policy, Some(&set(requested_scopes)), Some(&set(header))).effective().to_string()
    };
    assert_eq!(of("operator.admin", "operator.read"), "operator.read,operator.sessions.read");
    assert_eq!(of("operator.admin", ""), "");
    assert_eq!(of("operator.pairing", "operator.read"), "");
}

#[test]
fn nothing_of_the_client_s_authority_leaves() {
    let params = json!({
        "minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": ["operator.admin"], "locale": "de",
        "client": { "id": "openclaw-control-ui", "mode": "webchat", "platform": "Win32", "deviceFamily": "x",
            "version": "1", "instanceId": "i", "secret": "s" },
        "auth": { "token": TOKEN, "password": "p", "approvalRuntimeToken": "a" },
        "device": { "id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n" },
        "permissions": { "all": true }, "commands": ["rm"], "pathEnv": "/", "computerUse": {}, "admission": {},
    });
    let sent = left(&frame(&params), "\"operator.read\"").unwrap();
    let expected = json!({
        "minProtocol": 3, "maxProtocol": 4, "locale": "de",
        "client": { "version": "1", "instanceId": "i", "id": "gateway-client", "mode": "backend", "platform": PLATFORM },
        "role": "operator", "scopes": ["operator.read", "operator.sessions.read"], "auth": { "token": SECRET },
    });
    assert_eq!(sent["params"], expected);
    assert_eq!(sent["id"], "1");
}

#[test]
fn a_device_keeps_the_client_s_name_unless_that_needs_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::open(dir.path()).unwrap();
    let policy = policy("\"operator.read\"");
    let form = ClientIdentity::Device { device: &device, nonce: "n", now: 7 };
    for (client, expected) in [
        (json!({ "id": "cli", "mode": "cli" }), ("cli", "cli")),
        (json!({ "id": "openclaw-control-ui", "mode": "ui" }), ("gateway-client", "ui")),
        (json!({ "id": "test", "mode": "webchat" }), ("gateway-client", "ui")),
        (json!({}), ("gateway-client", "backend")),
    ] {
        let connect = Connect::parse(&frame(&json!({ "client": client }))).unwrap();
        let sent = leaving(&connect, &grant(&policy, None, None), policy.gateway_auth(), &form);
        let sent: Value = serde_json::from_str(&sent).unwrap();
        let sent = &sent["params"];
        assert_eq!((sent["client"]["id"].as_str().unwrap(), sent["client"]["mode"].as_str().unwrap()), expected);
        let signed = device.sign(&SignedFields {
            client_id: expected.0,
            client_mode: expected.1,
            role: "operator",
            scopes: "operator.read,operator.sessions.read",
            signed_at: 7,
            token: SECRET,
            nonce: "n",
        });
        assert_eq!(sent["device"]["signature"], signed);
    }
}

#[test]
fn whatever_is_no_connect_request_says_so() {
    for (text, fault) in [
        ("", ConnectFault::NoRequest),
        ("[]", ConnectFault::NoRequest),
        (r#"{"type":"req","method":"connect","params":{}}"#, ConnectFault::NoRequest),
        (r#"{"type":"req","id":7,"method":"connect","params":{}}"#, ConnectFault::NoRequest),
        (r#"{"type":"event","id":"1","method":"connect","params":{}}"#, ConnectFault::NoRequest),
        (r#"{"type":"req","id":"1","method":"health","params":{}}"#, ConnectFault::OtherMethod),
        (r#"{"type":"req","id":"1","method":"connect"}"#, ConnectFault::Parameter("`params` is no object")),
    ] {
        assert_eq!(Connect::parse(text).unwrap_err(), fault, "{text}");
    }
    for params in
        [json!({ "scopes": "operator.admin" }), json!({ "role": 1 }), json!({ "auth": [] }), json!({ "scopes": null })]
    {
        assert!(matches!(Connect::parse(&frame(&params)), Err(ConnectFault::Parameter(_))), "{params}");
    }
    let many: Vec<String> = (0..65).map(|i| format!("s{i}")).collect();
    assert!(Connect::parse(&frame(&json!({ "scopes": many }))).is_err());
}

#[test]
fn the_secret_is_the_token_or_the_password() {
    let secret = |auth: Value| Connect::parse(&frame(&json!({ "auth": auth }))).unwrap().secret().map(str::to_owned);
    assert_eq!(secret(json!({ "token": " t ", "password": "p" })).as_deref(), Some("t"));
    assert_eq!(secret(json!({ "token": "", "password": "p" })).as_deref(), Some("p"));
    assert_eq!(secret(json!({ "deviceToken": "d", "bootstrapToken": "b" })), None);
}

#[test]
fn a_hello_keeps_no_credential() {
    let hello = json!({ "type": "res", "id": "1", "ok": true, "payload": { "type": "hello-ok", "policy": { "a": 1 },
        "auth": { "role": "operator", "scopes": ["operator.read", "operator.admin"], "deviceToken": "x", "recoveryScope": "x",
            "deviceTokens": [{ "deviceToken": "y" }], "issuedAtMs": 1 } } });
    let sent = set("operator.read,operator.sessions.read");
    let Some(Reply::Hello { text, scopes, .. }) = Reply::parse(&hello.to_string(), "1", &sent) else {
        panic!("no hello")
    };
    assert_eq!(scopes, Some(set("operator.read,operator.admin")));
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["payload"]["auth"], json!({ "role": "operator", "scopes": ["operator.read"], "issuedAtMs": 1 }));
    assert_eq!(told["payload"]["policy"], json!({ "a": 1 }));
    assert_eq!(Reply::parse(&hello.to_string(), "2", &sent), None);
}

#[test]
fn a_pairing_that_waits_is_seen() {
    let error = json!({ "type": "res", "id": "1", "ok": false, "error": { "code": "NOT_PAIRED", "message": "m",
        "details": { "code": "PAIRING_REQUIRED", "requestId": "r" } } });
    let Some(Reply::Error { pairing, code, .. }) = Reply::parse(&error.to_string(), "1", &ScopeSet::empty()) else {
        panic!("no error")
    };
    assert_eq!((pairing.as_deref(), code.as_str()), (Some("r"), "PAIRING_REQUIRED"));
}

fn json_value() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("operator.admin".to_owned()),
        Just("operator.read".to_owned()),
        Just("operator.admin,operator.read".to_owned()),
        Just("operator".to_owned()),
        Just("node".to_owned()),
        ".{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        name.prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let key = prop_oneof![
            Just("scopes"),
            Just("role"),
            Just("auth"),
            Just("token"),
            Just("device"),
            Just("client"),
            Just("id"),
            Just("params"),
            Just("signature"),
            Just("__proto__"),
            Just("permissions"),
            Just("admission"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|all| Value::Object(all.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

fn within(text: &str, scopes: &str) -> bool {
    let Some(sent) = left(text, scopes) else { return true };
    let granted: ScopeSet = set(&scopes.replace('"', ""));
    let inside = scopes_in(&sent).excess_over(&granted).is_empty();
    let no_admin = scopes.contains(ADMIN) || !scopes_in(&sent).contains(&Scope::known(ADMIN));
    inside && no_admin && sent["params"]["role"] == "operator" && !sent.to_string().contains(TOKEN)
}

const GRANTS: &[&str] = &["", "\"operator.read\"", "\"operator.write\", \"operator.pairing\"", "\"operator.admin\""];

proptest! {
    #[test]
    fn no_frame_leaves_with_more_than_the_grant(params in json_value(), which in 0..GRANTS.len()) {
        prop_assert!(within(&frame(&params), GRANTS[which]));
    }

    #[test]
    fn no_scopes_leave_with_more_than_the_grant(scopes in json_value(), more in json_value(), which in 0..GRANTS.len()) {
        let params = json!({ "scopes": [scopes.clone(), "operator.admin"], "auth": { "token": TOKEN }, "client": {}, "x": more });
        prop_assert!(within(&frame(&params), GRANTS[which]));
        let twice = format!(r#"{{"type":"req","id":"1","method":"connect","params":{{"scopes":[],"scopes":{scopes}}}}}"#);
        prop_assert_eq!(Connect::parse(&twice).unwrap_err(), ConnectFault::Repeated);
    }

    #[test]
    fn any_text_is_judged(text in ".{0,200}") {
        prop_assert!(within(&text, GRANTS[1]));
        let _ = (id_of(&text), nonce_of(&text), Reply::parse(&text, "1", &ScopeSet::empty()));
    }
}
