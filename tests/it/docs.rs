//! The manuals and the code say the same: refusals, references, names of tests, links.

use crate::support::{Shim, WsClient, fake_gateway, people};
use jiff::Timestamp;
use scopeshim::cors::Denied;
use scopeshim::label::{Label as _, SourceLabel};
use scopeshim::principal_limits::{Limit, LimitReached};
use scopeshim::refusal::{
    Caller, Code, IsolationFault, JwtFault, LimitFault, MAX_TOKEN, Malformed, Refusal, SocketFault, TailnetFault,
    UserFault,
};
use scopeshim::request_path::PathFault;
use scopeshim::scope::{Scope, ScopeSet};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use strum::VariantArray as _;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below `folder` whose name ends so.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
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
    let sockets = [
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
    let plain = [
        Refusal::Target(PathFault::EmptySegment),
        Refusal::Framing("Content-Length is not one plain number"),
        Refusal::Malformed,
        Refusal::Host("it is missing"),
        Refusal::AuthThrottle { retry_after: 30 },
        Refusal::Quota(reached(Limit::Rate, 20)),
        Refusal::Quota(reached(Limit::Requests, 1)),
        Refusal::Quota(reached(Limit::Streams, 1)),
        Refusal::Quota(reached(Limit::Sockets, 1)),
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
        Refusal::ClientBroken,
        Refusal::Draining,
        Refusal::Internal,
    ];
    let jwt = jwt.into_iter().map(Refusal::Jwt);
    let tailnet = tailnet.into_iter().map(Refusal::Tailnet);
    let sockets = sockets.into_iter().map(Refusal::Socket);
    plain.into_iter().chain(jwt).chain(tailnet).chain(sockets).chain(users()).collect()
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

/// What a source text refers to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
enum Reference {
    Invariant(u32),
    /// A section of the gateway contract, and words that stand in it.
    Contract(u32, Vec<String>),
}

/// The number a text begins with, and what follows it.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text.get(..end)?.parse().ok()?, text.get(end..)?))
}

/// Comment lines as running text, so that a reference may be broken over two lines.
fn running_text(source: &str) -> String {
    source
        .lines()
        .map(|line| line.trim_start().trim_start_matches(['/', '!', '#']))
        .fold(String::new(), |all, line| all + line.trim() + " ")
}

fn references(source: &str) -> BTreeSet<Reference> {
    let text = running_text(source);
    let mut found = BTreeSet::new();
    for word in ["law ", "laws ", "invariant ", "invariants "] {
        for (at, _) in text.to_ascii_lowercase().match_indices(word) {
            if text[..at].ends_with(|c: char| c.is_alphanumeric()) {
                continue;
            }
            let mut last = None;
            let mut rest = &text[at + word.len()..];
            while let Some((n, after)) = number(rest) {
                let first = last.filter(|_| text[..text.len() - rest.len()].ends_with(" to ")).unwrap_or(n);
                found.extend((first..=n).map(Reference::Invariant));
                last = Some(n);
                rest = [", ", " and ", " to "].iter().find_map(|s| after.strip_prefix(s)).unwrap_or_default();
            }
        }
    }
    for (at, word) in text.match_indices("contract §") {
        let mut rest = &text[at + word.len()..];
        while let Some((n, after)) = number(rest) {
            let mut words = Vec::new();
            rest = after;
            loop {
                let next = rest.trim_start_matches([' ', ',', '(']);
                if let Some((quoted, after)) = next.strip_prefix('"').and_then(|n| n.split_once('"')) {
                    words.push(quoted.to_owned());
                    rest = after;
                } else if rest.trim_start().starts_with('(') && next.get(1..2) == Some(")") {
                    words.push(format!("({})", &next[..1]));
                    rest = &next[2..];
                } else {
                    break;
                }
            }
            found.insert(Reference::Contract(n, words));
            rest = [", §", " and §", " to §"].iter().find_map(|s| rest.strip_prefix(s)).unwrap_or_default();
        }
    }
    found
}

#[test]
fn references_are_read_as_people_write_them() {
    let of = |text| references(text).into_iter().collect::<Vec<_>>();
    let contract = |n, words: &[&str]| Reference::Contract(n, words.iter().map(|w| (*w).to_owned()).collect());
    assert_eq!(of("/// (law 3), a flaw 4, Laws 7 to 9."), [3, 7, 8, 9].map(Reference::Invariant));
    assert_eq!(of("//! Laws 2 and 6"), [2, 6].map(Reference::Invariant));
    assert_eq!(of("(contract §1 to §3, §8): 401"), [1, 3, 8].map(|n| contract(n, &[])));
    assert_eq!(of("/// (contract\n/// §7 (b))"), [contract(7, &["(b)"])]);
    assert_eq!(of("contract §2 (\"Scope names\", \"Parsing\") and"), [contract(2, &["Scope names", "Parsing"])]);
    assert_eq!(of("(contract §1, \"Check order\")"), [contract(1, &["Check order"])]);
}

/// The numbered sections of a page, by number: their heading and text.
fn sections(page: &str) -> BTreeMap<u32, String> {
    let numbered = |part: &str| Some((number(part)?.0, part.to_owned()));
    read(page).split("\n## ").filter_map(numbered).collect()
}

fn is_page(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|ending| ending == "md")
}

#[test]
fn every_reference_in_the_code_has_its_target() {
    let invariants = sections("docs/invariants.md");
    let contract = sections("docs/gateway-contract.md");
    assert_eq!(invariants.keys().copied().collect::<Vec<_>>(), (1..=15).collect::<Vec<_>>());
    let mut broken = Vec::new();
    let mut count = 0;
    for file in ["src", "tests", "fuzz/targets"].iter().flat_map(|folder| files(folder, ".rs")) {
        if file.ends_with("tests/it/docs.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for reference in references(&text) {
            count += 1;
            let good = match &reference {
                Reference::Invariant(n) => invariants.contains_key(n),
                Reference::Contract(n, words) => {
                    contract.get(n).is_some_and(|section| words.iter().all(|word| section.contains(word.as_str())))
                }
            };
            if !good {
                broken.push(format!("{}: {reference:?}", file.display()));
            }
        }
        let text = running_text(&text);
        for page in text.split('`').skip(1).step_by(2).filter(|word| is_page(word)) {
            if !root().join(page).exists() && !root().join("docs").join(page).exists() {
                broken.push(format!("{}: `{page}`", file.display()));
            }
        }
    }
    assert!(count > 50, "only {count} references were found");
    assert!(broken.is_empty(), "without a target:\n{}", broken.join("\n"));
}

/// The names of the tests in a file of Rust.
fn tests_in(file: &str) -> BTreeSet<String> {
    if !root().join(file).exists() {
        return BTreeSet::new();
    }
    let text = read(file);
    let name = |part: &str| part.split_once("fn ")?.1.split_once('(').map(|(name, _)| name.to_owned());
    // `#[test]` and `#[tokio::test]`.
    text.split("test]").skip(1).filter_map(name).collect()
}

#[test]
fn every_test_named_as_the_holder_of_an_invariant_exists() {
    let mut named = 0;
    let mut missing = Vec::new();
    for (n, section) in sections("docs/invariants.md") {
        let section = section.replace("\n  ", " ");
        let lines: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("- `")).collect();
        let rust = lines.iter().filter(|line| line.contains(".rs`: ")).count();
        assert!(rust > 0, "invariant {n} names no test");
        for line in lines {
            let Some((file, names)) = line.split_once("`: ") else { continue };
            for name in names.split('`').skip(1).step_by(2) {
                named += 1;
                let exists = if Path::new(file).extension().is_some_and(|e| e == "rs") {
                    tests_in(file).contains(name)
                } else {
                    // A case, or a group of cases whose names are put together.
                    let begin = format!("\"{}", name.trim_end_matches('*'));
                    files(file, ".py").iter().any(|file| std::fs::read_to_string(file).unwrap().contains(&begin))
                };
                if !exists {
                    missing.push(format!("invariant {n}: `{name}` in {file}"));
                }
            }
        }
    }
    assert!(named > 80, "only {named} tests were found");
    assert!(missing.is_empty(), "docs/invariants.md names tests that do not exist:\n{}", missing.join("\n"));
}

/// The manuals, from the root of the repository.
fn manuals() -> Vec<PathBuf> {
    let named = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name));
    named.into_iter().chain(files("docs", ".md")).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let heading = |line: &str| line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim().to_lowercase());
    let letter = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    };
    page.lines().filter_map(heading).map(|heading| heading.chars().filter_map(letter).collect()).collect()
}

#[test]
fn every_link_and_every_path_in_the_manuals_leads_somewhere() {
    let mut broken = Vec::new();
    for manual in manuals() {
        let text = std::fs::read_to_string(&manual).unwrap();
        for target in text.split("](").skip(1).filter_map(|part| part.split_once(')')).map(|(target, _)| target) {
            if target.starts_with("http") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let page = if path.is_empty() { manual.clone() } else { manual.parent().unwrap().join(path) };
            let found = std::fs::read_to_string(&page).is_ok_and(|t| anchor.is_empty() || anchors(&t).contains(anchor));
            if !(found || anchor.is_empty() && page.is_dir()) {
                broken.push(format!("{}: {target}", manual.display()));
            }
        }
        for word in text.split('`').skip(1).step_by(2) {
            let ours = ["src/", "tests/", "docs/", "packaging/", "fuzz/"].iter().any(|folder| word.starts_with(folder));
            let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "./_-".contains(c));
            if ours && plain && !root().join(word).exists() {
                broken.push(format!("{}: `{word}`", manual.display()));
            }
        }
    }
    assert!(broken.is_empty(), "leading nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_make_target_in_the_manuals_exists() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile.lines().filter_map(|line| line.split_once(':')).map(|(t, _)| t).collect();
    let mut named = 0;
    for manual in manuals() {
        let text = std::fs::read_to_string(&manual).unwrap();
        let commands = text.split('`').skip(1).step_by(2).chain(text.lines());
        for target in commands.filter_map(|c| c.strip_prefix("make ")?.split_whitespace().next()) {
            named += 1;
            assert!(targets.contains(target), "{}: make {target}", manual.display());
        }
    }
    assert!(named > 10, "{named}");
}

/// Words of ours that no operator knows from elsewhere; what is said with them has a usual word.
const PRIVATE_WORDS: [&str; 8] =
    ["mend", "mended", "whoever", "made good", "makes good", "rehearse", "rehearsal", "doubt"];

#[test]
fn what_people_read_uses_the_usual_words() {
    let golden =
        ["tests/config/invalid", "tests/config/unwise"].into_iter().flat_map(|folder| files(folder, ".stderr"));
    let others =
        ["config.example.toml", "packaging/config.toml", "packaging/config.schema.json", "src/admin/page.html"];
    let alerts = files("packaging/prometheus", ".yml").into_iter().chain(files("packaging/grafana", ".json"));
    let mut found = Vec::new();
    for file in manuals().into_iter().chain(golden).chain(alerts).chain(others.map(|file| root().join(file))) {
        let text = std::fs::read_to_string(&file).unwrap().to_lowercase();
        let words: Vec<&str> =
            text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect();
        let text = format!(" {} ", words.join(" "));
        for word in PRIVATE_WORDS {
            if text.contains(&format!(" {word} ")) {
                found.push(format!("{}: {word}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
