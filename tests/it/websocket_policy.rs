//! What a socket may hold: no more than its principal holds everywhere, and no frame asks for more.

use crate::support::{Came, READER, Release, SECRET, Shim, WRITER, WsClient, WsGateway, eventually, people, scopeshim};
use serde_json::{Value, json};
use std::sync::Arc;

const READ: &str = "operator.read,operator.sessions.read";
/// Every path an upgrade could be for: built in, one of a policy's own, none at all.
const PATHS: &[&str] =
    &["/", "/tools/invoke", "/v1/chat/completions", "/sessions/a/history", "/ws?x=/tools/invoke", "/healthz"];

fn setting(tables: &str) -> (Arc<WsGateway>, Shim) {
    let gateway = WsGateway::start(Release::Modern);
    let shim = Shim::start(gateway.address(), &format!("{}\n{tables}", people()));
    (gateway, shim)
}

fn scopes(params: &Value) -> String {
    let names: Vec<&str> = params["scopes"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    names.join(",")
}

/// Connects at a path, the token in the frame or at the upgrade; gives the answer.
fn connect_at(shim: &Shim, path: &str, token: &str, at_upgrade: bool) -> Value {
    let bearer = format!("Bearer {token}");
    let wishes = json!(["operator.admin"]);
    if at_upgrade {
        let mut client = WsClient::upgrade_at(shim.address(), path, &[("authorization", &bearer)]).unwrap();
        return client.connect(json!({ "scopes": wishes }));
    }
    WsClient::upgrade_at(shim.address(), path, &[])
        .unwrap()
        .connect(json!({ "auth": { "token": token }, "scopes": wishes }))
}

#[test]
fn a_grant_for_some_routes_gives_a_socket_nothing_whatever_its_upgrade_is_for() {
    let grants = "[[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.admin\"]\nroutes = [\"/tools/invoke\", \"/v1/\"]\n\
         [[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.pairing\"]\nmethods = [\"GET\"]\n\
         [[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.approvals\"]\ncidrs = [\"10.0.0.0/8\"]\n";
    let (gateway, shim) = setting(grants);
    for path in PATHS {
        for at_upgrade in [false, true] {
            let hello = connect_at(&shim, path, READER, at_upgrade);
            assert_eq!(scopes(&hello["payload"]["auth"]), READ, "{path} {hello}");
            let (head, params) = gateway.connects().pop().unwrap();
            assert_eq!(scopes(&params), READ, "{path}");
            assert!(head.contains(&format!("x-openclaw-scopes: {READ}\r\n")), "{path} {head}");
        }
    }
    // Over HTTP the grant counts where it is for.
    assert_eq!(shim.client().ask("POST /sessions/a/kill", READER, &[], "").status, 403);
    assert_ne!(shim.client().ask("POST /tools/invoke", READER, &[], "{}").status, 403);
}

#[test]
fn a_grant_for_every_route_or_from_this_address_counts_for_sockets() {
    let grants = "[[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.pairing\"]\nroutes = [\"/\"]\n\
         [[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.approvals\"]\ncidrs = [\"127.0.0.0/8\"]\nexpires = 2999-01-01T00:00:00Z\n";
    let (gateway, shim) = setting(grants);
    connect_at(&shim, "/ws", READER, false);
    assert_eq!(scopes(&gateway.connects()[0].1), format!("operator.approvals,operator.pairing,{READ}"));
}

#[test]
fn a_rule_for_some_routes_is_not_escaped_by_an_upgrade_for_another() {
    for rule in [
        "session_key = \"prefix\"",
        "session_key = \"refuse\"",
        "session_key = \"admin\"",
        "agent_id = { pin = \"main\" }",
        "agent_id = { allow = [\"main\"] }",
        "agent_id = \"refuse\"",
        "model = { pin = \"small\" }",
        "model = \"refuse\"",
        // Stated, it is a promise; `sessions.patch` would break it with operator.write alone.
        "model = \"admin\"",
        "message_to = { pin = \"+15550100\" }",
        "message_channel = \"refuse\"",
    ] {
        for bound in ["", "routes = [\"/v1/\"]\n", "methods = [\"POST\"]\n"] {
            let (gateway, shim) = setting(&format!("[[grant]]\nto = {{ token = \"reader\" }}\n{rule}\n{bound}"));
            for path in ["/", "/ws", "/v1/chat/completions"] {
                for at_upgrade in [false, true] {
                    let answer = connect_at(&shim, path, READER, at_upgrade);
                    assert_eq!(answer["error"]["details"]["reason"], "sessions_kept_apart", "{rule} {path} {answer}");
                }
            }
            assert!(gateway.connects().is_empty());
            assert_eq!(connect_at(&shim, "/", WRITER, false)["ok"], true, "nobody else is bound");
        }
    }
}

#[test]
fn rules_that_bind_nobody_leave_the_socket() {
    for tables in [
        "[policy]\nsession_key = \"pass\"\n",
        "[policy]\nsession_key = \"refuse\"\n[[grant]]\nto = { token = \"reader\" }\nsession_key = \"pass\"\n",
        "[[grant]]\nto = { token = \"reader\" }\nsession_key = \"refuse\"\ncidrs = [\"10.0.0.0/8\"]\n",
        "[[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.admin\"]\nsession_key = \"admin\"\n",
    ] {
        let (_gateway, shim) = setting(tables);
        assert_eq!(connect_at(&shim, "/", READER, false)["ok"], true, "{tables}");
    }
}

fn edit(shim: &Shim, change: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(shim.config()).unwrap();
    std::fs::write(shim.config(), change(&text)).unwrap();
}

#[test]
fn an_open_socket_ends_when_what_it_holds_becomes_a_matter_of_routes() {
    let scopes = "scopes = [\"operator.write\"]\n";
    for (change, reason) in [
        (format!("{scopes}routes = [\"/ws\"]\n"), "scope_not_granted"),
        (
            format!("{scopes}[[grant]]\nto = {{ token = \"reader\" }}\nsession_key = \"prefix\"\nroutes = [\"/x\"]\n"),
            "sessions_kept_apart",
        ),
    ] {
        let (_gateway, shim) = setting(&format!("[[grant]]\nto = {{ token = \"reader\" }}\n{scopes}"));
        let mut client = WsClient::upgrade_at(shim.address(), "/ws", &[]).unwrap();
        assert_eq!(client.connect(json!({ "auth": { "token": READER } }))["ok"], true);
        assert_eq!(client.next().json()["event"], "tick");
        edit(&shim, |text| text.replace(scopes, &change));
        assert_eq!(client.next(), Came::Closed(1008, reason.to_owned()));
    }
}

const DEVICE: &str = r#"{"id":"d","publicKey":"k","signature":"s","signedAt":1,"nonce":"n"}"#;

/// A frame of a client with its own device, these members put in place of its own; `null` takes one out.
fn own_device(changes: &Value) -> Value {
    let mut params = json!({ "minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": ["operator.read"],
        "client": { "id": "cli", "mode": "cli", "version": "1", "platform": "test" }, "auth": { "token": SECRET } });
    params["device"] = serde_json::from_str(DEVICE).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        params[name] = value.clone();
    }
    params.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    params
}

/// Sends these words as the first message of a client that was proven at its upgrade.
fn say(shim: &Shim, token: &str, text: &str) -> (Value, Came) {
    let bearer = format!("Bearer {token}");
    let mut client = WsClient::upgrade(shim.address(), &[("authorization", &bearer)]).unwrap();
    assert_eq!(client.next().json()["event"], "connect.challenge");
    client.send(text);
    (client.next().json(), client.next())
}

fn request(params: &Value) -> String {
    json!({ "type": "req", "id": "1", "method": "connect", "params": params }).to_string()
}

const PASS: &str = "[websocket]\nown_device = \"pass\"\nnodes = true\nnodes_need = \"operator.read\"\n";

#[test]
fn no_entry_of_a_passed_frame_s_scopes_is_left_out_of_the_judgement() {
    let (gateway, shim) = setting(PASS);
    for entry in [
        json!("operator.admin\u{a0}"),
        json!("\u{feff}operator.admin"),
        json!("operator.admin\n"),
        json!(" operator.admin"),
        json!("operator.read operator.admin"),
        json!("operator.read,operator.admin"),
        json!("operator.\u{0430}dmin"),
        json!(["operator.admin"]),
        json!([["operator.admin"]]),
        json!({ "0": "operator.admin" }),
        json!(7),
        json!(null),
        json!(true),
        json!(""),
    ] {
        for role in ["operator", "node"] {
            let frame = own_device(&json!({ "scopes": ["operator.read", entry], "role": role }));
            let (answer, end) = say(&shim, READER, &request(&frame));
            assert_eq!(answer["error"]["details"]["reason"], "invalid_connect", "{entry} {answer}");
            assert_eq!(end.code(), 1008);
        }
    }
    for scopes in [json!("operator.admin"), json!({ "length": 1, "0": "operator.admin" })] {
        let (answer, _) = say(&shim, READER, &request(&own_device(&json!({ "scopes": scopes }))));
        assert_eq!(answer["error"]["details"]["reason"], "invalid_connect", "{answer}");
    }
    let (answer, _) = say(&shim, READER, &request(&own_device(&json!({ "scopes": ["operator.admin"] }))));
    assert_eq!(answer["error"]["details"]["reason"], "scope_not_granted", "{answer}");
    assert!(gateway.connects().is_empty());
    let (answer, _) = say(&shim, READER, &request(&own_device(&json!({}))));
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(gateway.connects()[0].1, own_device(&json!({})), "not a byte of it is another");
}

#[test]
fn no_secret_leaves_in_a_passed_frame_but_the_one_that_was_judged() {
    let (gateway, shim) = setting(PASS);
    for auth in [
        json!({ "token": SECRET, "password": "unjudged-secret" }),
        json!({ "token": SECRET, "password": SECRET }),
        json!({ "token": SECRET, "deviceToken": "unjudged-secret" }),
        json!({ "token": SECRET, "bootstrapToken": "unjudged-secret" }),
        json!({ "token": SECRET, "approvalRuntimeToken": "unjudged-secret" }),
        json!({ "token": SECRET, "agentRuntimeIdentityToken": "unjudged-secret" }),
        json!({ "token": SECRET, "tokenOfNextSeason": "unjudged-secret" }),
        json!({ "token": SECRET, "Token": READER }),
        json!({ "deviceToken": "unjudged-secret" }),
        json!({ "token": READER, "password": SECRET }),
        json!({ "token": [SECRET] }),
        json!({ "token": SECRET, "password": { "secret": "unjudged-secret" } }),
    ] {
        for role in ["operator", "node"] {
            let frame = own_device(&json!({ "auth": auth, "role": role }));
            let (answer, end) = say(&shim, READER, &request(&frame));
            assert_eq!(answer["error"]["details"]["reason"], "invalid_connect", "{auth} {answer}");
            assert_eq!(end.code(), 1008);
            assert!(!answer.to_string().contains("unjudged-secret"), "{answer}");
        }
    }
    assert!(gateway.connects().is_empty());
    // One that is not the gateway's stays here: an operator goes on with this proxy's device instead.
    for auth in [json!({ "token": READER }), json!({ "token": format!(" {SECRET}") }), json!({}), json!(null)] {
        let (answer, _) = say(&shim, READER, &request(&own_device(&json!({ "auth": auth }))));
        assert_eq!(answer["ok"], true, "{answer}");
        let sent = gateway.connects().pop().unwrap().1;
        assert_eq!(sent["auth"], json!({ "token": SECRET }));
        assert_ne!(sent["device"]["id"], "d");
        let (answer, _) = say(&shim, READER, &request(&own_device(&json!({ "auth": auth, "role": "node" }))));
        assert_eq!(answer["error"]["details"]["reason"], "invalid_connect", "a node has no other device: {answer}");
    }
}

#[test]
fn a_passed_frame_holds_nothing_that_was_not_judged() {
    let (gateway, shim) = setting(PASS);
    for changes in [
        json!({ "Scopes": ["operator.admin"] }),
        json!({ "SCOPES": ["operator.admin"] }),
        json!({ "__proto__": { "scopes": ["operator.admin"] } }),
        json!({ "admission": {} }),
        json!({ "permissions": { "all": true } }),
        json!({ "commands": ["system.run"] }),
        json!({ "pathEnv": "/" }),
        json!({ "client": { "id": "cli", "mode": "cli", "scopes": ["operator.admin"] } }),
        json!({ "client": { "id": ["cli"], "mode": "cli" } }),
        json!({ "device": { "id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n", "scopes": [] } }),
        json!({ "device": { "id": "d", "publicKey": "k", "signature": "s", "signedAt": "1", "nonce": "n" } }),
        json!({ "device": { "id": {}, "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n" } }),
        json!({ "device": { "signature": "s" } }),
        json!({ "modelCatalog": { "sessionKey": "agent:main:main", "as": "x" } }),
    ] {
        let (answer, _) = say(&shim, READER, &request(&own_device(&changes)));
        assert_eq!(answer["error"]["details"]["reason"], "invalid_connect", "{changes} {answer}");
    }
    for role in ["Operator", " operator", "operator\u{a0}", "NODE", "worker", ""] {
        let (answer, _) = say(&shim, READER, &request(&own_device(&json!({ "role": role }))));
        assert_eq!(answer["error"]["details"]["reason"], "role_not_allowed", "{role} {answer}");
    }
    for method in ["Connect", "connect ", "CONNECT", "connect\u{feff}"] {
        let text = json!({ "type": "req", "id": "1", "method": method, "params": own_device(&json!({})) }).to_string();
        assert_eq!(say(&shim, READER, &text).0["error"]["details"]["reason"], "invalid_connect", "{method}");
    }
    assert!(gateway.connects().is_empty());
    // What stands around the request stays here.
    let text = json!({ "type": "req", "id": "1", "method": "connect", "scopes": ["operator.admin"], "auth": { "password": "x" },
        "params": own_device(&json!({ "modelCatalog": { "sessionKey": "agent:main:main" } })) });
    assert_eq!(say(&shim, READER, &text.to_string()).0["ok"], true);
}

#[test]
fn a_frame_with_a_member_twice_is_refused() {
    for tables in ["", PASS] {
        let (gateway, shim) = setting(tables);
        let plain = request(&own_device(&json!({})));
        for (once, twice) in [
            ("\"scopes\":", "\"scopes\":[],\"scopes\":"),
            ("\"role\":", "\"role\":\"node\",\"role\":"),
            ("\"token\":", "\"token\":\"x\",\"token\":"),
            ("\"signature\":", "\"signature\":\"x\",\"signature\":"),
            ("\"method\":", "\"method\":\"x\",\"method\":"),
            ("\"params\":", "\"params\":{},\"params\":"),
            ("\"scopes\":", "\"\\u0073copes\":[\"operator.admin\"],\"scopes\":"),
        ] {
            let text = plain.replacen(once, twice, 1);
            assert_ne!(text, plain);
            let (answer, end) = say(&shim, READER, &text);
            assert_eq!(answer["error"]["details"]["reason"], "invalid_connect", "{text} {answer}");
            assert!(answer["error"]["message"].as_str().unwrap().contains("twice"), "{answer}");
            assert_eq!(end.code(), 1008);
        }
        assert!(gateway.connects().is_empty());
    }
}

#[test]
fn a_session_write_scope_is_spelled_out_with_session_read() {
    let (gateway, shim) = setting("[[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.sessions.write\"]\n");
    let mut client = WsClient::open(shim.address());
    client.connect(json!({ "auth": { "token": READER }, "scopes": ["operator.sessions.write"] }));
    let (head, params) = gateway.connects().pop().unwrap();
    assert_eq!(scopes(&params), "operator.sessions.read,operator.sessions.write");
    let all = "operator.read,operator.sessions.read,operator.sessions.write";
    assert!(head.contains("x-openclaw-scopes: operator.sessions.read,operator.sessions.write\r\n"), "{head}");
    WsClient::open(shim.address()).connect(json!({ "auth": { "token": READER } }));
    assert_eq!(scopes(&gateway.connects().pop().unwrap().1), all);
}

#[test]
fn an_incognito_session_named_in_connect_is_for_admins() {
    let tables = format!("{PASS}[[grant]]\nto = {{ token = \"writer\" }}\nscopes = [\"operator.admin\"]\n");
    let (gateway, shim) = setting(&tables);
    for key in
        ["agent:main:dashboard:incognito-1", "AGENT:main:Dashboard:INCOGNITO-1", " agent:main:dashboard:incognito-1 "]
    {
        let catalog = json!({ "sessionKey": key });
        let mut client = WsClient::open(shim.address());
        let answer = client.connect(json!({ "auth": { "token": READER }, "modelCatalog": catalog }));
        assert_eq!(answer["error"]["details"]["reason"], "missing_scope", "{answer}");
        let (answer, _) = say(&shim, READER, &request(&own_device(&json!({ "modelCatalog": catalog }))));
        assert_eq!(answer["error"]["details"]["reason"], "missing_scope", "{answer}");
        // Asking for less than admin is to be no admin.
        let mut client = WsClient::open(shim.address());
        let read = json!({ "auth": { "token": WRITER }, "scopes": ["operator.read"], "modelCatalog": catalog });
        assert_eq!(client.connect(read)["error"]["details"]["reason"], "missing_scope");
        assert!(gateway.connects().is_empty());
        let admin = json!({ "auth": { "token": WRITER }, "modelCatalog": catalog });
        assert_eq!(WsClient::open(shim.address()).connect(admin)["ok"], true);
        let sent = gateway.connects().pop().unwrap();
        assert_eq!(sent.1["modelCatalog"], catalog);
        gateway.forget();
    }
}

#[test]
fn nobody_becomes_a_node_without_the_scope_for_it() {
    let node = |shim: &Shim, token: &str| {
        say(shim, token, &request(&own_device(&json!({ "role": "node", "scopes": [], "commands": ["camera.snap"] }))))
    };
    let (gateway, shim) = setting("[websocket]\nnodes = true\n");
    for token in [READER, WRITER] {
        let (answer, end) = node(&shim, token);
        assert_eq!(answer["error"]["details"]["reason"], "missing_scope", "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("operator.admin"), "{answer}");
        assert_eq!(end.code(), 1008);
    }
    assert!(gateway.connects().is_empty());
    assert_eq!(node(&shim, SECRET).0["ok"], true);
    assert_eq!(gateway.connects()[0].1["role"], "node");

    // A scope of one's own, for the node's token alone; it ends with it.
    let tables = "[websocket]\nnodes = true\nnodes_need = \"node.connect\"\n\
         [[grant]]\nto = { token = \"reader\" }\nscopes = [\"node.connect\"]\n";
    let (gateway, shim) = setting(tables);
    assert_eq!(node(&shim, SECRET).0["error"]["details"]["reason"], "missing_scope", "admin is for operator scopes");
    let bearer = format!("Bearer {READER}");
    let mut client = WsClient::upgrade(shim.address(), &[("authorization", &bearer)]).unwrap();
    client.next();
    client.send(&request(&own_device(&json!({ "role": "node", "scopes": [] }))));
    assert_eq!(client.next().json()["ok"], true);
    assert_eq!(client.next().json()["event"], "tick");
    assert_eq!(gateway.connects().len(), 1);
    edit(&shim, |text| text.replace("[\"node.connect\"]", "[\"node.other\"]"));
    assert_eq!(client.next(), Came::Closed(1008, "missing_scope".to_owned()));
}

#[test]
fn one_caller_s_silence_keeps_no_other_from_the_gateway() {
    let (gateway, shim) = setting("[websocket]\nown_device = \"pass\"\n");
    let weak = format!("Bearer {READER}");
    let open = |bearer: &str| {
        let mut client = WsClient::upgrade(shim.address(), &[("authorization", bearer)]).unwrap();
        assert_eq!(client.next().json()["event"], "connect.challenge");
        client
    };
    let mut silent: Vec<WsClient> = (0..20).map(|_| open(&weak)).collect();
    let begun = std::time::Instant::now();
    let strong = format!("Bearer {WRITER}");
    let mut good = open(&strong);
    good.send(&request(&own_device(&json!({}))));
    assert_eq!(good.next().json()["ok"], true);
    assert!(begun.elapsed().as_secs() < 5, "it waited for the silent ones");
    // The first of the silent ones have made room, and were told to come again.
    assert_eq!(silent[0].next().code(), 1013);
    eventually("the gateway is left alone", || gateway.open.load(std::sync::atomic::Ordering::SeqCst) <= 5);
    // A caller who could pass nothing on opens nothing before its own frame came.
    let (gateway, shim) = setting("[websocket]\nnodes = true\n");
    let mut reader = WsClient::upgrade(shim.address(), &[("authorization", &weak)]).unwrap();
    assert_eq!(reader.next().json()["event"], "connect.challenge");
    assert_eq!(gateway.opened.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[test]
fn explain_and_a_policy_s_own_tests_say_what_a_socket_gets() {
    let tables = "[[grant]]\nto = { token = \"reader\" }\nscopes = [\"operator.admin\"]\nroutes = [\"/tools/invoke\"]\n\
         [[grant]]\nto = { token = \"writer\" }\nsession_key = \"prefix\"\nmethods = [\"POST\"]\n\
         [[test]]\nname = \"reads\"\nas = { token = \"reader\" }\nrequest = \"websocket\"\nexpect = \"allow\"\nsends = [\"operator.read\", \"operator.sessions.read\"]\n\
         [[test]]\nname = \"apart\"\nas = { token = \"writer\" }\nrequest = \"websocket\"\nexpect = \"deny\"\n\
         [[test]]\nname = \"admin\"\nas = { token = \"reader\" }\nrequest = \"websocket\"\nscopes_header = \"operator.admin\"\nexpect = \"scope_not_granted\"\n";
    let (gateway, shim) = setting(tables);
    let run = |arguments: &[&str]| {
        let output = scopeshim().args(arguments).arg("--config").arg(shim.config()).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&["policy", "test"]).contains("3 passed, 0 failed"));
    for arguments in [
        &["explain", "--json", "--as", "token:reader", "--websocket"][..],
        &["explain", "--json", "--as", "token:reader", "-H", "Upgrade: websocket", "GET", "/tools/invoke"],
        &["explain", "--json", "--as", "token:reader", "-H", "Upgrade: websocket", "GET", "/"],
    ] {
        let explained: Value = serde_json::from_str(&run(arguments)).unwrap();
        assert_eq!(explained["outcome"], "allow", "{explained:#}");
        assert_eq!(explained["effective"], READ);
        let bound = &explained["sources"][1];
        assert_eq!(bound["but"], "it is for certain routes, and a WebSocket is all of them", "{explained:#}");
    }
    connect_at(&shim, "/tools/invoke", READER, false);
    assert_eq!(scopes(&gateway.connects()[0].1), READ, "the wire says the same");
    let explained = run(&["explain", "--as", "token:writer", "--websocket"]);
    assert!(explained.contains("a WebSocket, at any path"), "{explained}");
    assert!(explained.contains("sessions_kept_apart") && explained.contains("x-openclaw-session-key"), "{explained}");
}
