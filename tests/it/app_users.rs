//! Apps that many people use, on the wire: their chats become sessions, and their users are who asks.

use crate::support::signer::{HMAC_SECRET, P256, RSA, Signer};
use crate::support::*;
use serde_json::{Value, json};
use std::time::Duration;

const APP: &str = "token-of-the-app-0123456789abcdefghij";
const CHAT: &str = "POST /v1/chat/completions";
const ALICE: &str = "X-OpenWebUI-User-Email: alice@example.org";
const BOB: &str = "X-OpenWebUI-User-Email: bob@example.org";

fn app(users: &str) -> String {
    format!(
        "[sessions]\npreset = \"open-webui\"\n{}\n[[token]]\nname = \"open-webui\"\nsha256 = \"{}\"\n\
         scopes = [\"operator.read\", \"operator.write\"]\nusers = {users}\n\
         [[grant]]\nto = {{ app = \"open-webui\", user = \"alice@example.org\" }}\nscopes = [\"operator.admin\"]\n\
         [[grant]]\nto = {{ app = \"open-webui\", user = \"bob@example.org\" }}\nscopes = [\"operator.read\", \"operator.write\"]\n\
         [[grant]]\nto = {{ app = \"open-webui\", claim = {{ role = \"pending\" }} }}\nscopes = [\"operator.read\"]\n",
        people(),
        sha256(APP),
    )
}

fn plain() -> String {
    app("{ preset = \"open-webui\" }")
}

fn session(capture: &Capture) -> String {
    capture.values("x-openclaw-session-key").concat()
}

#[test]
fn the_messages_of_a_chat_go_to_one_session_and_no_other_chat_s_or_user_s() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &plain());
    let mut keys = Vec::new();
    for (user, chat) in [(ALICE, "c1"), (ALICE, "c1"), (ALICE, "c2"), (BOB, "c1"), (BOB, "c1")] {
        let lines = [user, &format!("X-OpenWebUI-Chat-Id: {chat}")];
        assert_eq!(shim.client().ask(CHAT, APP, &lines, "{}").status, 200);
        keys.push(session(&capture));
    }
    assert_eq!(keys[0], "agent:main:scopeshim.app_user.open-webui:alice~40example.org:c1");
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[3], keys[4]);
    assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{keys:?}");
    // A title's prompt names the chat and is none of it.
    let title = [ALICE, "X-OpenWebUI-Chat-Id: c1", "X-OpenWebUI-Task: title_generation"];
    assert_eq!(shim.client().ask(CHAT, APP, &title, "{}").status, 200);
    assert!(session(&capture).contains(":~."), "{}", session(&capture));
    let twice = [ALICE, "X-OpenWebUI-Chat-Id: c1", "X-OpenWebUI-Chat-Id: c2"];
    let answer = shim.client().ask(CHAT, APP, &twice, "{}");
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_chat_header"));
}

#[test]
fn no_header_about_chats_and_users_reaches_the_gateway_whoever_sends_it_and_however_it_is_spelled() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &plain());
    let spelled =
        ["X_OpenWebUI_User_Email: root@example.org", "x.openwebui.chat.id: c9", "x-openwebui--user-role: admin"];
    let own = [
        ALICE,
        "X-OpenWebUI-User-Role: user",
        "X-OpenWebUI-User-Id: 7",
        "X-OpenWebUI-Chat-Id: c1",
        "X-OpenWebUI-Task:",
    ];
    for (token, lines) in [(APP, [&own[..], &spelled].concat()), (WRITER, [&own[..], &spelled].concat())] {
        assert_eq!(shim.client().ask(CHAT, token, &lines, "{}").status, 200);
        let leaked: Vec<_> = capture.last().into_iter().filter(|(name, _)| name.contains("openwebui")).collect();
        assert!(leaked.is_empty(), "{leaked:?}");
    }
    // Another client's word is counted as what it is, and changes nothing.
    eventually("both are logged", || shim.access().len() == 2);
    let lines = shim.access();
    assert_eq!(
        (&lines[0]["principal"], &lines[0]["app"], &lines[0]["source"]),
        (&json!("alice@example.org"), &json!("open-webui"), &json!("app_user"))
    );
    assert_eq!((&lines[1]["principal"], &lines[1]["app"]), (&json!("writer"), &Value::Null));
    assert!(lines[1]["forged"].as_u64().unwrap() >= 3 && lines[0]["forged"] == 0, "{lines:?}");
    assert_eq!(lines[0]["scopes"], "operator.read,operator.write", "the app's ceiling");
}

#[test]
fn an_app_without_a_user_and_a_user_without_a_rule_are_refused_with_what_to_do() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &plain());
    let ask = |lines: &[&str]| shim.client().ask("GET /v1/models", APP, lines, "");
    for (lines, status, code, said) in [
        (&[][..], 403, "user_missing", "ENABLE_FORWARD_USER_INFO_HEADERS"),
        (&["X-OpenWebUI-User-Email: eve@example.org"], 403, "user_unknown", "[[grant]]"),
        (&[ALICE, BOB], 400, "invalid_user_header", "x-openwebui-user-email"),
        (&["X-OpenWebUI-User-Email:"], 400, "invalid_user_header", "empty"),
        (&["X-OpenWebUI-User-Role: admin"], 400, "invalid_user_header", "missing beside"),
    ] {
        let answer = ask(lines);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{lines:?}: {answer:?}");
        assert!(answer.body.contains(said), "{said}: {}", answer.body);
    }
    assert_eq!(capture.count(), 0);
    assert_eq!(ask(&["X-OpenWebUI-User-Email: new@example.org", "X-OpenWebUI-User-Role: pending"]).status, 200);
    assert_eq!(capture.values("x-openclaw-scopes"), ["operator.read"]);
    let missing = Shim::start(capture.address(), &app("{ preset = \"open-webui\", missing = \"app\" }"));
    assert_eq!(missing.client().ask("GET /v1/models", APP, &[], "").status, 200);
    assert_eq!(capture.values("x-openclaw-scopes"), ["operator.read,operator.write"]);
}

fn signed(secret: &str, changes: Value) -> String {
    let now = jiff::Timestamp::now().as_second();
    let mut claims = json!({ "sub": "id-1", "email": "alice@example.org", "name": "Alice", "role": "user",
        "iss": "open-webui", "iat": now, "exp": now + 300 });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    format!("X-OpenWebUI-User-Jwt: {}", Signer::hmac(secret).token("HS256", &claims))
}

#[test]
fn a_user_whom_a_jwt_must_prove_is_proven_by_nothing_else() {
    let capture = Capture::start();
    let issuer = "[[issuer]]\nname = \"users\"\npreset = \"open-webui\"\nissuer = \"open-webui\"\nkeys = { secret_file = \"secret\" }\n";
    let tables = format!("{}{issuer}", app("{ issuer = \"users\" }"));
    let shim = Shim::start_with_files(capture.address(), &[("secret", HMAC_SECRET)], &tables);
    let ask = |token: &str, lines: &[&str]| shim.client().ask(CHAT, token, lines, "{}");
    let good = signed(HMAC_SECRET, json!({}));
    assert_eq!(ask(APP, &[&good, "X-OpenWebUI-Chat-Id: c1"]).status, 200);
    assert_eq!(session(&capture), "agent:main:scopeshim.app_user.open-webui:alice~40example.org:c1");
    assert!(capture.last().iter().all(|(name, _)| !name.contains("openwebui")), "{:?}", capture.last());
    let now = jiff::Timestamp::now().as_second();
    for (lines, code) in [
        (vec![ALICE.to_owned()], "user_missing"),
        (vec![], "user_missing"),
        (vec![good.clone(), good.clone()], "invalid_user_header"),
        (vec![signed("another-secret-with-32-characters-or-more", json!({}))], "user_not_proven"),
        (vec![signed(HMAC_SECRET, json!({ "exp": now - 120 }))], "user_not_proven"),
        (vec![signed(HMAC_SECRET, json!({ "iss": "elsewhere" }))], "user_not_proven"),
        (vec![signed(HMAC_SECRET, json!({ "aud": "another-service" }))], "user_not_proven"),
        (vec!["X-OpenWebUI-User-Jwt: nonsense".to_owned()], "user_not_proven"),
        (vec![signed(HMAC_SECRET, json!({ "email": "eve@example.org" }))], "user_unknown"),
        // What the headers say beside the JWT counts for nothing.
        (vec![signed(HMAC_SECRET, json!({ "email": "eve@example.org" })), ALICE.to_owned()], "user_unknown"),
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let answer = ask(APP, &lines);
        assert_eq!(answer.code(), code, "{lines:?}: {answer:?}");
    }
    // Alone it is no credential, in any place.
    let jwt = good.split_once(": ").unwrap().1;
    assert_eq!(shim.client().ask(CHAT, jwt, &[], "{}").status, 401);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{good}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    let mut stream = std::net::TcpStream::connect(shim.address()).unwrap();
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    // Nobody else becomes a user by it.
    assert_eq!(ask(READER, &[&good]).code(), "missing_scope");
}

#[test]
fn a_new_key_of_the_issuer_of_users_costs_no_request() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let issuer = Issuer::start(&[&P256]);
    let tables = app("{ issuer = \"test\" }")
        + &issuer.table("proves = \"users\"\nname_claim = \"email\"\ntoken_from = \"X-OpenWebUI-User-Jwt\"");
    let shim = Shim::start(address, &tables);
    let ask = |signer: &Signer, algorithm| {
        let claims = issuer.claims_with(json!({ "email": "alice@example.org", "email_verified": true }));
        let line = format!("X-OpenWebUI-User-Jwt: {}", signer.token(algorithm, &claims));
        shim.client().ask(CHAT, APP, &[&line], "{}").status
    };
    assert_eq!(ask(&P256, "ES256"), 200);
    issuer.rotate(&[&RSA]);
    assert_eq!(ask(&RSA, "RS256"), 200);
    assert_eq!(issuer.asked(), 2);
    assert_eq!(ask(&P256, "ES256"), 403, "a key that is gone");
}

#[test]
fn the_limits_of_the_app_and_of_the_user_both_hold() {
    let capture = Capture::start();
    let tables = plain().replace("users = {", "limits = { requests_per_minute = 60, burst = 3 }\nusers = {").replace(
        "user = \"bob@example.org\" }",
        "user = \"bob@example.org\" }\nlimits = { requests_per_minute = 60, burst = 1 }",
    );
    let shim = Shim::start(capture.address(), &tables);
    let status = |user: &str| shim.client().ask("GET /v1/models", APP, &[user], "").status;
    assert_eq!((status(BOB), status(BOB)), (200, 429), "bob's own");
    // What bob was refused is none of the app's, which allows three.
    assert_eq!((status(ALICE), status(ALICE), status(ALICE)), (200, 200, 429), "the app's");
}

#[test]
fn an_open_stream_of_a_user_ends_with_its_grant() {
    let (_gateway, address) = fake_gateway(Duration::from_millis(200));
    let shim = Shim::start(address, &plain());
    let chat = "{\"stream\":true,\"model\":\"openclaw/main\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    let head = format!(
        "{CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {APP}\r\n{BOB}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{chat}",
        chat.len()
    );
    let mut stream = std::net::TcpStream::connect(shim.address()).unwrap();
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    eventually("it streams", || shim.access().iter().any(|line| line["event"] == "stream begins"));
    let text = std::fs::read_to_string(shim.config()).unwrap();
    std::fs::write(shim.config(), text.replace("user = \"bob@example.org\"", "user = \"nobody\"")).unwrap();
    let mut answer = Vec::new();
    // Who is cut off may be reset.
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("[DONE]"), "{answer}");
    assert_eq!(shim.client().ask(CHAT, APP, &[BOB], chat).code(), "user_unknown");
}

#[test]
fn a_dry_run_shows_the_user_the_ceiling_and_the_session() {
    let tests = "[[test]]\nname = \"alice's chat\"\nas = { app = \"open-webui\", claims = { email = \"alice@example.org\" } }\n\
        request = \"POST /v1/chat/completions\"\nheaders = { \"x-openwebui-chat-id\" = \"c1\" }\nexpect = \"allow\"\n\
        sends = [\"operator.read\", \"operator.write\"]\n\
        sends_session = \"agent:main:scopeshim.app_user.open-webui:alice~40example.org:c1\"\n\
        [[test]]\nname = \"by header\"\nas = { token = \"open-webui\" }\nheaders = { x-openwebui-user-email = \"eve@example.org\" }\n\
        request = \"GET /v1/models\"\nexpect = \"user_unknown\"\n\
        [[test]]\nname = \"nobody\"\nas = { token = \"open-webui\" }\nrequest = \"GET /v1/models\"\nexpect = \"user_missing\"\n";
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &format!("{}{tests}", plain()));
    let config = shim.config();
    let explain = |more: &[&str]| {
        let output = scopeshim().arg("explain").arg("--config").arg(&config).args(more).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let said = explain(&[
        "--as",
        "token:open-webui",
        "-H",
        ALICE,
        "-H",
        "X-OpenWebUI-Chat-Id: c1",
        "POST",
        "/v1/chat/completions",
    ]);
    for part in [
        "alice@example.org (by app_user of the app open-webui",
        "at most   operator.read,operator.write",
        "x-openclaw-session-key: agent:main:scopeshim.app_user.open-webui:alice~40example.org:c1",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(explain(&["--as", "token:open-webui", "GET", "/v1/models"]).contains("user_missing"));
    let wrong = format!("{}{}", plain(), tests.replace(":c1\"", ":c2\""));
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap().replace(&format!("{}{tests}", plain()), &wrong))
        .unwrap();
    let check = scopeshim().arg("check").arg("--config").arg(&config).output().unwrap();
    let said = String::from_utf8([check.stdout, check.stderr].concat()).unwrap();
    assert!(said.contains("expected the session key"), "{said}");
}
