//! Routes that pass the client's own credential to the gateway: that one alone, and nowhere else.

use crate::support::{Answer, Capture, READER, SECRET, Shim, eventually, people, scopeshim};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use proptest::prelude::*;
use scopeshim::metric_labels::RouteLabel;
use scopeshim::request_path::Path;
use scopeshim::route::{ClientRoute, Need, Pattern, Route, RouteTable, Ui, builtin};
use scopeshim::scope::Scope;
use std::sync::Arc;

const HOOKS: &str = "\n[[route]]\nprefix = \"/hooks/\"\nmethods = [\"POST\"]\ncredentials = \"client\"\n";
const OWN: &str = "the-token-of-the-webhooks";

fn post(shim: &Shim, path: &str, headers: &[&str]) -> Answer {
    let mut client = shim.client();
    let line = format!("POST {path}");
    client.request(&line, headers, "{\"text\":\"x\"}");
    client.answer()
}

#[test]
fn a_client_s_own_credential_goes_alone() {
    for auth in [
        "kind = \"token\", file = \"gateway.token\"",
        "kind = \"none\"",
        "kind = \"trusted-proxy\", user_header = \"x-home-user\"",
    ] {
        let capture = Capture::start();
        let people = people().replace("[gateway_secret]\n", "");
        let shim = Shim::with(capture.address(), auth, &format!("{people}{HOOKS}"));
        let bearer = format!("Authorization: Bearer {OWN}");
        let token = format!("X-OpenClaw-Token: {OWN}");
        let hostile = [
            "x-openclaw-scopes: operator.admin",
            "x-openclaw-session-key: agent:main:main",
            "x-openclaw-agent-id: other",
            "x-openclaw-message-to: somebody",
            "x_openclaw_token: other",
            "x-home-user: root",
            "x-forwarded-for: 1.2.3.4",
            "cookie: a=b",
            "x-api-key: k",
        ];
        for own in [vec![&*bearer], vec![&*token], vec![&*bearer, &*token], vec!["Authorization: Basic YTpi"], vec![]] {
            let lines: Vec<&str> = own.iter().copied().chain(hostile).collect();
            assert_eq!(post(&shim, "/hooks/wake", &lines).status, 200, "{auth} {own:?}");
            let expected = |name: &str| {
                let value = |line: &&str| {
                    line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_owned())
                };
                own.iter().filter_map(value).collect::<Vec<String>>()
            };
            assert_eq!(capture.values("authorization"), expected("authorization"), "{auth}");
            assert_eq!(capture.values("x-openclaw-token"), expected("x-openclaw-token"), "{auth}");
            assert_eq!(capture.values("x-openclaw-scopes"), [""], "{auth}");
            for (name, _) in capture.last() {
                let known = [
                    "host",
                    "content-length",
                    "x-openclaw-scopes",
                    "authorization",
                    "x-openclaw-token",
                    "x-request-id",
                    "traceparent",
                    "connection",
                ];
                // In other modes that one is a name like any other.
                let other = name == "x-home-user" && !auth.contains("trusted-proxy");
                assert!(other || known.contains(&name.as_str()), "{auth}: {name} got through");
            }
        }
        assert!(!capture.seen().concat().contains(SECRET), "{auth}");
        assert!(!shim.log().concat().contains(OWN), "{auth}");
    }
}

#[test]
fn no_credential_of_ours_goes_on_a_route_of_the_client_s() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &format!("{}{HOOKS}", people()));
    for secret in [SECRET, READER] {
        let basic = STANDARD.encode(format!("user:{secret}"));
        for line in [
            format!("Authorization: Bearer {secret}"),
            format!("authorization: bearer   {secret}"),
            format!("Authorization: {secret}"),
            format!("Authorization: Basic {basic}"),
            format!("X-OpenClaw-Token: {secret}"),
            format!("X-OpenClaw-Token: Bearer {secret}"),
        ] {
            let answer = post(&shim, "/hooks/wake", &[&line]);
            assert_eq!((answer.status, answer.code()), (403, "credential_for_proxy".to_owned()), "{line}");
        }
    }
    let twice = post(&shim, "/hooks/wake", &["Authorization: Bearer a", "Authorization: Bearer b"]);
    assert_eq!(twice.status, 400);
    assert_eq!(capture.count(), 0, "{:?}", capture.seen());
}

#[test]
fn addresses_rates_and_bodies_are_bounded_there_too() {
    let capture = Capture::start();
    let more = "cidrs = [\"192.0.2.0/24\"]\n";
    let shim = Shim::start(capture.address(), &format!("{}{HOOKS}{more}", people()));
    let own = format!("Authorization: Bearer {OWN}");
    let answer = post(&shim, "/hooks/wake", &[&own]);
    assert_eq!((answer.status, answer.code()), (403, "route_address".to_owned()));
    assert_eq!(capture.count(), 0);

    let more = "limits = { requests_per_minute = 2 }\n[limits]\nmax_body = { other = \"1KiB\" }\n";
    let shim = Shim::start(capture.address(), &format!("{}{HOOKS}{more}", people()));
    let mut large = shim.client();
    large.request("POST /hooks/wake", &[&own], &"x".repeat(2000));
    assert_eq!(large.answer().code(), "body_too_large");
    for status in [200, 200, 429] {
        assert_eq!(post(&shim, "/hooks/wake", &[&own]).status, status);
    }
    // Nobody else pays for it.
    assert_eq!(shim.client().ask("GET /v1/models", READER, &[], "").status, 200);
    eventually("it is counted", || {
        shim.access().iter().any(|l| l["refusal"] == "rate_limit_exceeded" || l["reason"] == "rate_limit_exceeded")
    });
}

#[test]
fn a_policy_that_takes_the_route_back_ends_it() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &format!("{}{HOOKS}", people()));
    let own = format!("Authorization: Bearer {OWN}");
    assert_eq!(post(&shim, "/hooks/wake", &[&own]).status, 200);
    let text = std::fs::read_to_string(shim.config()).unwrap();
    std::fs::write(shim.config(), text.replace("credentials = \"client\"", "needs = \"operator.write\"")).unwrap();
    eventually("the new policy is in force", || post(&shim, "/hooks/wake", &[&own]).status == 401);
    let count = capture.count();
    assert_eq!(post(&shim, "/hooks/wake", &[&own]).status, 401);
    assert_eq!(capture.count(), count);
}

/// What `check` says of a policy with this route.
fn check(route: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.toml"), format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[gateway]\nurl = \"http://127.0.0.1:1\"\nauth = {{ kind = \"none\" }}\n[anonymous]\nscopes = []\n[[route]]\n{route}\n"
    )).unwrap();
    let done = scopeshim().args(["check", "--config"]).arg(dir.path().join("config.toml")).output().unwrap();
    (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr))
}

#[test]
fn a_route_of_the_client_s_covers_none_that_needs_scopes() {
    for path in [
        "prefix = \"/\"",
        "prefix = \"/v1/\"",
        "path = \"/v1/models\"",
        "prefix = \"/sessions/\"",
        "path = \"/tools/invoke\"",
        "prefix = \"/API/v1/\"",
        "path = \"/api/v1/Admin/%72pc\"",
        "path = \"/healthz\"",
        "path = \"/startupz\"",
        "prefix = \"/__openclaw/\"",
        "prefix = \"/avatar/\"",
        "prefix = \"/x/j/\"",
        "path = \"/j\"",
    ] {
        let (good, said) = check(&format!("{path}\ncredentials = \"client\""));
        assert!(!good && said.contains("route-credentials"), "{path}: {said}");
    }
    for more in ["needs = \"operator.read\"", "public = true", "overrides_builtin = true"] {
        let (good, said) = check(&format!("prefix = \"/hooks/\"\ncredentials = \"client\"\n{more}"));
        assert!(!good && said.contains("route-credentials"), "{more}: {said}");
    }
    let (good, said) = check("prefix = \"/hooks/\"\npublic = true\ncidrs = [\"192.0.2.0/24\"]");
    assert!(!good && said.contains("route-credentials"), "{said}");
    for path in [
        "prefix = \"/hooks/\"",
        "prefix = \"/a2a/\"",
        "path = \"/.well-known/agent-card.json\"",
        "prefix = \"/api/nodes/watch/\"",
    ] {
        let (good, said) = check(&format!("{path}\ncredentials = \"client\""));
        assert!(good, "{path}: {said}");
    }
}

fn target() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "/",
        "/",
        "hooks",
        "/hooks/",
        "Hooks",
        "%68ooks",
        "%2568ooks",
        "%2f",
        "%252f",
        "%2e%2e",
        "..",
        "v1",
        "models",
        "/v1/models",
        "tools/invoke",
        "/tools/invoke",
        "sessions",
        "/sessions/x/kill",
        "api/v1/admin/rpc",
        "/api/v1/admin/rpc",
        "%61pi",
        "j",
        "/j/",
        "admin",
        "x",
        "%3f",
        "%23",
        "incognito-1",
    ];
    prop::collection::vec(prop::sample::select(PARTS), 0..7).prop_map(|parts| format!("/{}", parts.concat()))
}

proptest! {
    /// Whatever the spelling: a path that goes with the client's credential is below that route's prefix in every
    /// reading, and no route of the gateway's own in any.
    #[test]
    fn no_spelling_takes_a_client_s_credential_to_an_operator_s_route(target in target()) {
        let Ok(path) = Path::validate(target.as_bytes()) else { return Ok(()) };
        let own = Need::PassthroughCredential(Arc::new(ClientRoute::default()));
        let route = |pattern, need| Route { label: RouteLabel::Custom, methods: Vec::new(), pattern, need };
        let routes = vec![
            route(Pattern::Prefix(Arc::from("/hooks/")), own.clone()),
            route(Pattern::Prefix(Arc::from("/hooks/admin/")), Need::Scope(Scope::admin().clone())),
        ];
        let table = RouteTable::new(routes, Need::Scope(Scope::admin().clone())).with_ui(Ui::Open);
        let found = table.find(&Method::POST, path);
        if found.need == own {
            prop_assert!(target.starts_with("/hooks/"), "{target}");
            for reading in path.readings() {
                prop_assert!(reading.starts_with("/hooks/") || reading == "/hooks", "{target}: {reading}");
                prop_assert!(!reading.starts_with("/hooks/admin/"), "{target}: {reading}");
                prop_assert!(builtin::all().iter().all(|r| !r.pattern.covers(&reading)), "{target}: {reading}");
                prop_assert!(!builtin::admin_rpc().pattern.covers(&reading), "{target}: {reading}");
            }
            prop_assert!(!path.is_join(), "{target}");
        }
    }
}
