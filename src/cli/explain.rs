//! `explain`: who a caller would be, what it may do, and why. Offline, by the evaluation of the data plane.

use super::{ConfigFile, Exit, check, complain, say};
use crate::config::{BodySizes, KeySource, SimulatedCaller};
use crate::jwks::{KeySet, KeySlot};
use crate::jwks_cache::JwksCache;
use crate::policy::Policy;
use crate::policy::explanation::{Explanation, WEBSOCKET};
use crate::request_evaluation::{Caller, DryRun, SimulatedHead};
use crate::tailscale_whois_answer::WhoisNode;
use crate::upgrade_request;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  scopeshim explain --as token:open-webui POST /v1/chat/completions\n  \
scopeshim explain --jwt - GET /v1/models < token.txt\n  \
scopeshim explain --as issuer:keycloak --claims claims.json -H 'x-openclaw-scopes: operator.read' GET /v1/models\n  \
scopeshim explain --as token:open-webui --websocket")]
pub(super) struct Args {
    #[command(flatten)]
    file: ConfigFile,
    /// File with the bearer token or JWT; `-` reads standard input
    #[arg(long, value_name = "FILE", visible_alias = "jwt", conflicts_with_all = ["who", "claims"])]
    token: Option<PathBuf>,
    /// The caller to simulate: token:NAME, app:NAME (a user of the app with that token), gateway-secret,
    /// anonymous, issuer:NAME, tailnet-user:LOGIN, tailnet-tag:tag:NAME
    #[arg(long = "as", value_name = "WHO")]
    who: Option<String>,
    /// JSON file with the claims (with `--as issuer:NAME` and `--as app:NAME`) or the app capabilities and their values
    /// (with `--as tailnet-…`); `-` reads standard input
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// A request header; can be repeated. For a credential use --token
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// A file that holds the request's body, JSON, for callers whose agents, sessions or tools are limited
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    from: IpAddr,
    /// Explain a WebSocket instead of a request. The header `Upgrade: websocket` does the same
    #[arg(long)]
    websocket: bool,
    /// Print the explanation as JSON
    #[arg(long)]
    json: bool,
    /// The method
    #[arg(required_unless_present = "websocket", default_value = "GET")]
    method: Method,
    /// The path, with its query if it has one
    #[arg(required_unless_present = "websocket", default_value = "/")]
    path: String,
}

pub(super) fn explain(args: &Args) -> Exit {
    let (fixed, policy) = match check::load_policy(&args.file.config) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    match explained(args, policy, &fixed.limits.body) {
        Ok(explanation) => {
            if args.json {
                say(serde_json::to_string_pretty(&explanation).unwrap_or_default());
            } else {
                say(text(&explanation, args));
            }
            if explanation.outcome == "allow" { Exit::Ok } else { Exit::Failed }
        }
        Err(message) => {
            complain(format!("error: {message}"));
            Exit::Usage
        }
    }
}

fn explained(args: &Args, policy: Policy, sizes: &BodySizes) -> Result<Explanation, String> {
    let mut headers = HeaderMap::new();
    for line in &args.headers {
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("`{line}` is not a header: write `name: value`"))?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|e| format!("`{name}`: {e}"))?;
        headers.append(name, HeaderValue::from_str(value.trim()).map_err(|e| format!("`{line}`: {e}"))?);
    }
    let policy = with_keys(policy, args.token.is_some())?;
    if let Some(file) = &args.token {
        let token = read(file)?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| "the token has characters that a header cannot carry".to_owned())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let body = args.body.as_deref().map(read).transpose()?.unwrap_or_default();
    let head = if args.websocket || upgrade_request::is_wanted(&headers) {
        SimulatedHead::upgrade(&args.method, &args.path, headers)
    } else {
        SimulatedHead::new(&args.method, &args.path, headers, &body)
    };
    let who = simulated(args)?;
    let caller = who.as_ref().map_or(Caller::Presented, Caller::Simulated);
    let (peer, now) = (Some(args.from), Timestamp::now());
    Ok(DryRun { policy: &policy, head: &head, body: &body, caller, peer, body_sizes: sizes, now }.explain())
}

/// A JWT is verified with the issuer's true keys: from its file, or as the last run kept them.
fn with_keys(policy: Policy, needed: bool) -> Result<Policy, String> {
    if !needed || policy.live().issuers.is_empty() {
        return Ok(policy);
    }
    let live = policy.live().clone();
    let slots = live
        .issuers
        .iter()
        .map(|issuer| {
            let keys = match &issuer.keys {
                KeySource::Jwks(text) => KeySet::jwks(text).map_err(|e| e.to_string())?,
                KeySource::Pem(text) => KeySet::pem(text).map_err(|e| e.to_string())?,
                KeySource::Secret(secret) => KeySet::secret(secret),
                KeySource::Remote { .. } => return fetched(issuer),
            };
            Ok(Arc::new(KeySlot::fixed(keys)))
        })
        .collect::<Result<Vec<_>, String>>()?;
    Ok(Policy::compile(live, &slots, 0))
}

fn fetched(issuer: &crate::config::Issuer) -> Result<Arc<KeySlot>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        // Nothing is kept: an explanation leaves no trace.
        let nowhere = std::env::temp_dir().join(format!("scopeshim-explain-{}", std::process::id()));
        let issuers = JwksCache::new(&nowhere);
        let slots = issuers.adopt(std::slice::from_ref(issuer));
        issuers.ready().await;
        let _ = std::fs::remove_dir_all(nowhere);
        slots.into_iter().next().ok_or_else(|| "no keys".to_owned())
    })
}

fn simulated(args: &Args) -> Result<Option<SimulatedCaller>, String> {
    let Some(who) = &args.who else { return Ok(None) };
    Ok(Some(match who.split_once(':') {
        Some(("token", name)) => SimulatedCaller::Token(name.to_owned()),
        Some(("app", name)) => SimulatedCaller::AppUser { app: name.to_owned(), claims: claims(args)? },
        Some(("issuer", name)) => SimulatedCaller::Claims { issuer: name.to_owned(), claims: claims(args)? },
        Some(("tailnet-user", login)) => SimulatedCaller::Tailnet(WhoisNode::of_user(login, claims(args)?)),
        Some(("tailnet-tag", tag)) => SimulatedCaller::Tailnet(WhoisNode::tagged(&[tag.to_owned()], claims(args)?)),
        None if who == "gateway-secret" => SimulatedCaller::GatewaySecret,
        None if who == "anonymous" => SimulatedCaller::Anonymous,
        _ => {
            return Err(format!(
                "unknown caller `{who}`: expected token:NAME, app:NAME, gateway-secret, anonymous, issuer:NAME, tailnet-user:LOGIN or tailnet-tag:TAG"
            ));
        }
    }))
}

/// The claims or capabilities that the simulated caller has.
fn claims(args: &Args) -> Result<Map<String, Value>, String> {
    let Some(file) = &args.claims else { return Ok(Map::new()) };
    match serde_json::from_str(&read(file)?) {
        Ok(Value::Object(claims)) => Ok(claims),
        _ => Err("the claims are not a JSON object".to_owned()),
    }
}

/// A secret comes from a file or standard input, never from an argument that others can see.
fn read(file: &Path) -> Result<String, String> {
    if file == Path::new("-") {
        let mut text = String::new();
        return std::io::stdin().read_to_string(&mut text).map(|_| text).map_err(|e| format!("standard input: {e}"));
    }
    std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))
}

fn text(e: &Explanation, args: &Args) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    if e.route == Some(WEBSOCKET) {
        line("a WebSocket, at any path".to_owned());
    } else {
        line(format!("{} {}", args.method, args.path));
    }
    match &e.principal {
        Some(who) => {
            let place = who.place.as_ref().map(|p| format!(", {p}")).unwrap_or_default();
            let app = who.app.as_ref().map(|app| format!(" of the app {app}")).unwrap_or_default();
            line(format!("  who       {} (by {}{app}{place})", who.name, who.source));
        }
        None => line("  who       not authenticated".to_owned()),
    }
    if let (Some(route), Some(needs)) = (&e.route, &e.needs) {
        line(format!("  route     {route} needs {needs}"));
    }
    for source in &e.sources {
        let scopes = if source.scopes.is_empty() { "nothing" } else { &source.scopes };
        match &source.but {
            None => {
                line(format!("  gives     {scopes}  <- {}", source.place));
                if let Some(limits) = &source.limits {
                    line(format!("  limits    {limits}  <- {}", source.place));
                }
            }
            Some(why) => line(format!("  would     {scopes}  <- {}, but {why}", source.place)),
        }
    }
    if let Some(ceiling) = &e.ceiling {
        let most = if ceiling.is_empty() { "nothing" } else { ceiling };
        line(format!("  at most   {most}  <- what the app itself holds"));
    }
    match e.requested.as_deref() {
        None => line("  asks      for its default: the scopes header is absent".to_owned()),
        Some("") => line("  asks      for nothing: the scopes header is empty".to_owned()),
        Some(requested) => line(format!("  asks      for {requested}")),
    }
    if let Some(limits) = &e.limits {
        line(format!("  may use   {limits} (`scopeshim status` shows how much is used)"));
    }
    match (e.status, &e.message) {
        (Some(status), Some(message)) => line(format!("  outcome   {status} {}: {message}", e.outcome)),
        _ => line("  outcome   allowed".to_owned()),
    }
    if let Some(path) = &e.path {
        line(format!("  sends     {} {path}", args.method));
    }
    for (name, value) in &e.headers {
        line(format!("  sends     {name}: {value}"));
    }
    if let Some(body) = &e.body {
        line(format!("  sends     the body {body}"));
    }
    if let Some(change) = &e.change {
        line(format!("  to allow  {change}"));
    }
    out.trim_end().to_owned()
}
