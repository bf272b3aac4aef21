//! The manual of refusals and the code say the same.

use crate::support::{Shim, WsClient, fake_gateway, people};
use jiff::Timestamp;
use scopeshim::cors::Denied;
use scopeshim::metric_labels::{Label as _, SourceLabel};
use scopeshim::principal_limits::{Limit, LimitReached};
use scopeshim::refusal::{
    Caller, Code, IsolationFault, JwtFault, LimitFault, MAX_TOKEN, Malformed, Refusal, SocketFault, TailnetFault,
    UserFault,
};
use scopeshim::request_path::PathFault;
use scopeshim::scope::{Scope, ScopeSet};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use strum::VariantArray as _;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below `folder` whose name ends so.
pub fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

fn reached(limit: Limit, retry_after: u32) -> LimitReached {
    LimitReached { limit, allowed: 2, rate: None, retry_after }
}

/// One refusal for each code.
fn samples() -> Vec<Refusal> {
    let at = Timestamp::UNIX_EPOCH;
    let name = || "open-webui".to_owned();
    let jwt = [
        JwtFault::Malformed(Malformed::TooLong),
        JwtFault::Issuer,
        JwtFault::Algorithm,
        JwtFault::KeyUnknown,
        JwtFault::Signature,
        JwtFault::KeysUnavailable,
        JwtFault::Type,
        JwtFault::Claim("exp"),
        JwtFault::Audience,
        JwtFault::Expired(at),
        JwtFault::NotYetValid(at),
    ];
    let tailnet = [
        TailnetFault::Unavailable,
        TailnetFault::Answer,
        TailnetFault::UnknownPeer,
        TailnetFault::Headers("no Tailscale-User-Login"),
        TailnetFault::Mismatch,
        TailnetFault::Changed,
    ];
    let plain = [
        Refusal::Target(PathFault::EmptySegment),
        Refusal::Framing("Content-Length is not one plain number"),
        Refusal::Malformed,
        Refusal::Host("it is missing"),
        Refusal::AuthThrottle { retry_after: 30 },
        Refusal::PrincipalLimit(reached(Limit::Rate, 20)),
        Refusal::PrincipalLimit(reached(Limit::Requests, 1)),
        Refusal::PrincipalLimit(reached(Limit::Streams, 1)),
        Refusal::PrincipalLimit(reached(Limit::Sockets, 1)),
        Refusal::Limit(LimitFault::HeadTime),
        Refusal::Limit(LimitFault::BodySize { limit: 20 << 20 }),
        Refusal::Limit(LimitFault::BodyUnexpected),
        Refusal::Limit(LimitFault::BodyTime),
        Refusal::Limit(LimitFault::BodyRate),
        Refusal::Limit(LimitFault::SlowReader),
        Refusal::Limit(LimitFault::Connections),
        Refusal::Limit(LimitFault::AddressConnections),
        Refusal::GatewayInvalid("it switches protocols unasked"),
        Refusal::HeadTooLarge { limit: MAX_TOKEN, unit: "bytes" },
        Refusal::Expectation,
        Refusal::ScopesHeader(Scope::parse("").unwrap_err()),
        Refusal::CredentialForm("more than one Authorization header was sent"),
        Refusal::CredentialConflict,
        Refusal::CredentialMissing,
        Refusal::CredentialScheme,
        Refusal::CredentialUnknown,
        Refusal::TokenExpired { name: name(), at: at.to_string() },
        Refusal::TokenNotYetValid { name: name(), at: at.to_string() },
        Refusal::TokenAddress { name: name() },
        Refusal::ScopeMissing { needed: Scope::parse("operator.write").unwrap(), held: false },
        Refusal::RouteUnknown { path: "/models".to_owned(), likely: Some("/v1/models") },
        Refusal::ScopeExcess { excess: ScopeSet::parse_lines([&b"operator.admin"[..]]).unwrap() },
        Refusal::HeaderDenied { header: "x-openclaw-model", why: "the policy refuses it" },
        Refusal::Isolation(IsolationFault::Agent { agent: "other".to_owned(), by: "the path" }),
        Refusal::Isolation(IsolationFault::Session { by: "the path", why: "it is somebody else's" }),
        Refusal::Isolation(IsolationFault::Tool { tool: "exec".to_owned(), why: "it is not among those allowed" }),
        Refusal::Isolation(IsolationFault::Model),
        Refusal::Isolation(IsolationFault::ModelNotTaken),
        Refusal::RouteAddress,
        Refusal::CredentialForProxy,
        Refusal::Isolation(IsolationFault::Body(scopeshim::json_body::BodyFault::Encoding)),
        Refusal::Isolation(IsolationFault::Chat("it was sent more than once")),
        Refusal::Isolation(IsolationFault::Crowded),
        Refusal::CrossOrigin,
        Refusal::Preflight(Denied::Origin("https://evil.example".to_owned())),
        Refusal::Preflight(Denied::Form("it has more than one Origin")),
        Refusal::JoinMisses { wait: 60 },
        Refusal::HostNotAllowed { host: "evil.example".to_owned() },
        Refusal::Method,
        Refusal::Upgrade,
        Refusal::GatewayUnreachable,
        Refusal::GatewayRestarting,
        Refusal::GatewayBroken,
        Refusal::GatewayTimeout,
        Refusal::GatewayCredential { mode: "token" },
        Refusal::ClientBroken,
        Refusal::Draining,
        Refusal::Internal,
    ];
    let jwt = jwt.into_iter().map(Refusal::Jwt);
    let tailnet = tailnet.into_iter().map(Refusal::Tailnet);
    plain.into_iter().chain(jwt).chain(tailnet).chain(sockets()).chain(users()).collect()
}

/// Those of WebSockets.
fn sockets() -> impl Iterator<Item = Refusal> {
    let faults = [
        SocketFault::Form("it has a body"),
        SocketFault::Path,
        SocketFault::Version,
        SocketFault::Origin,
        SocketFault::Crowded,
        SocketFault::Late,
        SocketFault::Frame { close: 1002, what: "a reserved bit is set" },
        SocketFault::Connect("the first request must be connect".to_owned()),
        SocketFault::Role,
        SocketFault::KeptApart { header: "x-openclaw-agent-id" },
        SocketFault::GatewayRefused("it answered 503".to_owned()),
        SocketFault::PairingRequired,
    ];
    faults.into_iter().map(Refusal::Socket)
}

/// Those that are about the users of an app.
fn users() -> impl Iterator<Item = Refusal> {
    let faults = [
        UserFault::Missing,
        UserFault::Form { header: "x-user".to_owned(), why: "is not UTF-8" },
        UserFault::Jwt(JwtFault::Signature),
        UserFault::Unknown { user: "eve".to_owned(), app: "open-webui".to_owned() },
        UserFault::Changed,
        UserFault::NothingCommon { header: "x-openclaw-agent-id" },
    ];
    faults.into_iter().map(Refusal::User)
}

fn sample(code: &str) -> Refusal {
    let found = samples().into_iter().find(|refusal| refusal.code().as_str() == code);
    found.unwrap_or_else(|| panic!("`samples` in tests/it/docs.rs has no refusal with the code `{code}`"))
}

/// The rows of docs/refusals.md: code, status and `Retry-After`, as they stand there.
fn rows() -> Vec<(String, String, String)> {
    const HEAD: &str = "| code | status | Retry-After |";
    let mut rows = Vec::new();
    let mut within = false;
    for line in read("docs/refusals.md").lines() {
        within = line.starts_with(HEAD) || (within && line.starts_with('|'));
        if !within || line.starts_with(HEAD) || line.starts_with("|---") {
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        rows.push((cells[1].trim_matches('`').to_owned(), cells[2].to_owned(), cells[3].to_owned()));
    }
    rows
}

#[test]
fn every_refusal_has_one_row_in_its_manual_and_no_row_is_of_another() {
    let mut documented: Vec<String> = rows().into_iter().map(|(code, ..)| code).collect();
    documented.sort();
    let mut codes: Vec<String> = Code::VARIANTS.iter().map(|code| code.as_str().to_owned()).collect();
    codes.sort();
    let missing: Vec<_> = codes.iter().filter(|code| !documented.contains(code)).collect();
    let unknown: Vec<_> = documented.iter().filter(|code| !codes.contains(code)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "docs/refusals.md lacks {missing:?}, and invents {unknown:?}");
    assert_eq!(documented, codes, "docs/refusals.md has a row twice");
}

#[test]
fn statuses_and_retry_after_in_the_manual_are_those_that_are_sent() {
    for (code, status, retry_after) in rows() {
        let refusal = sample(&code);
        assert_eq!(status, refusal.status().to_string(), "status of `{code}`");
        let sent = refusal.retry_after().map(|seconds| seconds.to_string()).unwrap_or_default();
        let depends = retry_after == "*n*" && !sent.is_empty() && sent != "1";
        assert!(depends || retry_after == sent, "Retry-After of `{code}` is {sent:?}, and not {retry_after:?}");
    }
}

#[test]
fn the_types_in_the_manual_are_those_that_are_sent() {
    let manual = read("docs/refusals.md");
    let types: BTreeMap<&str, &str> = manual
        .lines()
        .skip_while(|line| *line != "| status | `error.type` |")
        .skip(2)
        .map_while(|line| line.strip_prefix("| ")?.strip_suffix("` |")?.split_once(" | `"))
        .collect();
    assert_eq!(types.len(), 5, "{types:?}");
    for refusal in samples() {
        let status = refusal.status().to_string();
        let row = if refusal.status() >= 500 { "500 and above" } else { status.as_str() };
        let expected = types.get(row).unwrap_or(&types["any other"]);
        let body: Value = serde_json::from_slice(&refusal.body(None, "-")).unwrap();
        assert_eq!(body["error"]["type"], *expected, "{status} {}", refusal.code());
    }
}

/// The fenced blocks that stand behind `<!-- KIND: CODE -->`, by code.
fn examples(kind: &str) -> Vec<(String, String)> {
    let manual = read("docs/refusals.md");
    let mark = format!("<!-- {kind}: ");
    let example = |part: &str| {
        let (code, rest) = part.split_once(" -->").unwrap();
        let block = rest.split("```").nth(1).unwrap();
        (code.to_owned(), block.split_once('\n').unwrap().1.to_owned())
    };
    manual.split(&mark).skip(1).map(example).collect()
}

#[test]
fn the_answers_shown_in_the_manual_are_those_that_are_sent() {
    let examples = examples("refusal");
    assert!(examples.len() >= 4, "{examples:?}");
    for (code, shown) in examples {
        let refusal = sample(&code);
        let (head, body) = shown.split_once("\n\n").unwrap();
        let (line, headers) = head.split_once('\n').unwrap();
        assert!(line.starts_with(&format!("HTTP/1.1 {} ", refusal.status())), "{line}");
        let headers: BTreeMap<&str, &str> = headers.lines().filter_map(|line| line.split_once(": ")).collect();
        assert_eq!(headers.get("WWW-Authenticate").copied(), refusal.challenge().as_deref(), "{code}");
        let retry_after = refusal.retry_after().map(|seconds| seconds.to_string());
        assert_eq!(headers.get("Retry-After").copied(), retry_after.as_deref(), "{code}");
        let shown: Value = serde_json::from_str(body).unwrap();
        let holds = shown["error"]["message"].as_str().and_then(|m| m.split_once(" holds "));
        let holds = holds.map(|(_, scopes)| ScopeSet::parse_lines([scopes.trim_end_matches(')').as_bytes()]).unwrap());
        let name = shown["error"]["principal"].as_str();
        let caller = name.map(|name| Caller { source: SourceLabel::Token, name, app: None, holds: holds.as_ref() });
        let sent = refusal.body(caller.as_ref(), headers["x-request-id"]);
        assert_eq!(shown, serde_json::from_slice::<Value>(&sent).unwrap(), "{code}");
    }
}

#[test]
fn the_websocket_answer_in_the_manual_is_the_one_a_client_gets() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let examples = examples("websocket");
    assert_eq!(examples.len(), 1);
    let (code, shown) = &examples[0];
    assert_eq!(code, "credential_unknown");
    let shown: Value = serde_json::from_str(shown).unwrap();
    let mut client = WsClient::open(shim.address());
    let mut answer = client.connect(json!({ "auth": { "token": "a-token-that-nobody-was-given-0123456789" } }));
    let number = &mut answer["error"]["details"]["request_id"];
    assert!(number.is_string(), "{answer}");
    *number = shown["error"]["details"]["request_id"].clone();
    assert_eq!(answer, shown);
    assert_eq!(client.next().code(), 1008);
}
