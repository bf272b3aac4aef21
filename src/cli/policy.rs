//! `policy diff` and `policy test`.

use super::{ConfigFile, Exit, check, complain, say};
use crate::config::{AppUsers, BodySizes, DynamicConfig, Limits, SimulatedCaller};
use crate::policy::{Grant, Policy};
use crate::refusal::Refusal;
use crate::request_evaluation::{Caller, DryRun, SimulatedHead, policy_test};
use crate::route::{Need, Pattern};
use crate::tailscale_whois_answer::WhoisNode;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Show which principals gain or lose which scopes on which routes
    Diff {
        /// The present configuration
        old: PathBuf,
        /// The new configuration
        new: PathBuf,
    },
    /// Run the policy's own tests: the `[[test]]` tables
    Test(ConfigFile),
}

pub(super) fn policy(verb: &Verb) -> Exit {
    match verb {
        Verb::Diff { old, new } => diff(old, new),
        Verb::Test(at) => test(&at.config),
    }
}

fn test(path: &std::path::Path) -> Exit {
    let loaded = match check::load(path) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let (errors, _) = loaded.counts();
    let Some(config) = loaded.config else {
        complain(loaded.render().trim_end());
        complain(format!("{}: {errors} errors; no test was run", path.display()));
        return Exit::Config;
    };
    let policy = Policy::dry_run(config.live);
    let all = policy.live().policy_tests.len();
    let failures = policy_test::failures(&policy, Timestamp::now());
    let failed = failures.len();
    for failure in failures {
        let place = loaded.source.place(&failure.span);
        complain(format!("{place}: {}", failure.problem().message));
    }
    say(format!("{} passed, {failed} failed", all - failed));
    if failed == 0 { Exit::Ok } else { Exit::Failed }
}

/// What every principal that can be named may do, by principal and route.
type Table = BTreeMap<(String, String), String>;

fn diff(old: &std::path::Path, new: &std::path::Path) -> Exit {
    let (old, new) = match (check::load_policy(old), check::load_policy(new)) {
        (Ok((_, old)), Ok((_, new))) => (old, new),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    let everybody: std::collections::BTreeMap<String, SimulatedCaller> =
        principals(&old).into_iter().chain(principals(&new)).collect();
    let requests: std::collections::BTreeMap<String, (Method, String)> =
        requests(&old).into_iter().chain(requests(&new)).collect();
    let (before, after) = (table(&old, &everybody, &requests), table(&new, &everybody, &requests));
    let mut changes = 0;
    for (key, was) in &before {
        let is = after.get(key).map_or("", String::as_str);
        if was != is {
            changes += 1;
            say(format!("{}  {}\n    - {was}\n    + {is}", key.0, key.1));
        }
    }
    if changes == 0 {
        say("no principal gains or loses anything");
        return Exit::Ok;
    }
    say(format!("\n{changes} changes"));
    Exit::Failed
}

/// Every caller that the policy names: tokens, the gateway's secret, anonymous, and for each issuer a bearer
/// of nothing and one of each claim that a grant names.
fn principals(policy: &Policy) -> Vec<(String, SimulatedCaller)> {
    let live = policy.live();
    let mut all: Vec<(String, SimulatedCaller)> =
        live.tokens.iter().map(|t| (format!("token {}", t.name), SimulatedCaller::Token(t.name.to_string()))).collect();
    all.push(("gateway-secret".to_owned(), SimulatedCaller::GatewaySecret));
    all.push(("anonymous".to_owned(), SimulatedCaller::Anonymous));
    for issuer in &live.issuers {
        let bearer = |claims: serde_json::Map<String, serde_json::Value>| SimulatedCaller::Claims {
            issuer: issuer.name.to_string(),
            claims,
        };
        all.push((format!("issuer {} (no claims)", issuer.name), bearer(serde_json::Map::new())));
        for scope in [crate::scope::READ, crate::scope::WRITE, crate::scope::ADMIN] {
            let Some(claim) = issuer.scope_claims.first() else { continue };
            let claims = [(claim.0.to_string(), serde_json::Value::from(scope))].into_iter().collect();
            all.push((format!("issuer {} ({} {scope})", issuer.name, claim.0), bearer(claims)));
        }
    }
    all.extend(live.grants.iter().filter_map(|grant| peer(&grant.to)));
    all.extend(live.grants.iter().flat_map(|grant| app_users(live, &grant.to)));
    for grant in &live.grants {
        if let crate::config::Subject::Issuer { issuer, claims, names } = &grant.to
            && let Some(issuer) = live.issuers.get(*issuer)
        {
            let mut said: serde_json::Map<String, serde_json::Value> = claims
                .iter()
                .filter_map(|(path, globs)| Some((path.0.to_string(), globs.first()?.as_str().into())))
                .collect();
            if let (Some(name), Some(claim)) = (names.first(), issuer.name_claims.last()) {
                said.insert(claim.path.0.to_string(), name.as_str().into());
            }
            let words: Vec<String> =
                said.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
            let who = SimulatedCaller::Claims { issuer: issuer.name.to_string(), claims: said };
            all.push((format!("issuer {} ({})", issuer.name, words.join(" ")), who));
        }
    }
    all
}

/// The users whom a grant names, one of each app.
fn app_users(live: &DynamicConfig, to: &crate::config::Subject) -> Vec<(String, SimulatedCaller)> {
    let crate::config::Subject::AppUser { apps, claims, names } = to else { return Vec::new() };
    let said = claims.iter().filter_map(|(path, globs)| Some((path.0.to_string(), globs.first()?.as_str().into())));
    let said: serde_json::Map<String, serde_json::Value> = said.collect();
    let user = names.first().map_or("somebody", crate::glob::Glob::as_str);
    let of = |token: &crate::config::Token| {
        let claim = match token.users.as_deref()? {
            AppUsers::Headers { name, .. } => name.to_string(),
            AppUsers::Issuer { name, .. } => {
                let issuer = live.issuers.iter().find(|i| i.name == *name)?;
                issuer.name_claims.last().map(|claim| claim.path.0.to_string())?
            }
        };
        let mut said = said.clone();
        said.insert(claim, user.into());
        let words: Vec<String> = said.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
        let who = SimulatedCaller::AppUser { app: token.name.to_string(), claims: said };
        Some((format!("app {} ({})", token.name, words.join(" ")), who))
    };
    let spoken = live.tokens.iter().filter(|token| apps.iter().any(|name| name.matches(&token.name)));
    spoken.filter_map(of).collect()
}

/// The peer of the tailnet that a grant names.
fn peer(to: &crate::config::Subject) -> Option<(String, SimulatedCaller)> {
    let crate::config::Subject::Tailnet(to) = to else { return None };
    let texts = |globs: &[crate::glob::Glob]| globs.iter().map(|g| g.as_str().to_owned()).collect::<Vec<_>>();
    let (users, tags, names) = (texts(&to.users), texts(&to.tags), texts(&to.capabilities));
    let words: Vec<&str> = users.iter().take(1).chain(&tags).chain(&names).map(String::as_str).collect();
    let capabilities = names.iter().map(|name| (name.clone(), serde_json::json!([]))).collect();
    let peer = match users.first() {
        Some(login) => WhoisNode::of_user(login, capabilities),
        None if tags.is_empty() => WhoisNode::of_user("somebody", capabilities),
        None => WhoisNode::tagged(&tags, capabilities),
    };
    Some((format!("tailnet {}", words.join(" ")), SimulatedCaller::Tailnet(peer)))
}

/// One request for each route.
fn requests(policy: &Policy) -> Vec<(String, (Method, String))> {
    let mut all = Vec::new();
    for route in policy.routes().iter().filter(|r| !matches!(r.need, Need::Health(_))) {
        let method = route.methods.first().cloned().unwrap_or(Method::GET);
        let path = match &route.pattern {
            Pattern::Exact(path) => path.to_string(),
            Pattern::Prefix(prefix) => format!("{prefix}x"),
            Pattern::Segment { before, after } => format!("{before}x{after}"),
            Pattern::Join => "/j/x".to_owned(),
        };
        all.push((format!("{method} {path}"), (method, path)));
    }
    all
}

fn table(
    policy: &Policy,
    everybody: &BTreeMap<String, SimulatedCaller>,
    requests: &BTreeMap<String, (Method, String)>,
) -> Table {
    let sizes = Limits::default().body;
    let mut table = Table::new();
    for (name, who) in everybody {
        for (shown, (method, path)) in requests {
            let head = SimulatedHead::new(method, path, HeaderMap::new(), "");
            table.insert((name.clone(), shown.clone()), outcome(policy, &head, who, &sizes));
        }
        let head = SimulatedHead::upgrade(&Method::GET, "/", HeaderMap::new());
        table.insert((name.clone(), "WebSocket".to_owned()), outcome(policy, &head, who, &sizes));
    }
    table
}

fn outcome(policy: &Policy, head: &SimulatedHead, who: &SimulatedCaller, sizes: &BodySizes) -> String {
    let peer = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let caller = Caller::Simulated(who);
    let run = DryRun { policy, head, body: "", caller, peer, body_sizes: sizes, now: Timestamp::now() };
    in_words(run.decide())
}

fn in_words(decided: Result<Option<Grant>, Refusal>) -> String {
    match decided {
        Ok(None) => "answered by this proxy".to_owned(),
        Ok(Some(grant)) if grant.principal().is_none() => "public".to_owned(),
        Ok(Some(grant)) if grant.effective().is_empty() => "allowed with no scopes".to_owned(),
        Ok(Some(grant)) => format!("allowed with {}", grant.effective()),
        Err(refusal) => format!("refused: {}", refusal.code()),
    }
}
