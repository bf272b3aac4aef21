//! The live part: who may do what.

use super::values::{choice, cidrs, moment, scope, scopes};
use crate::config::diagnostic::{Problems, Source};
use crate::config::file::{self, At, File};
use crate::config::surroundings::Surroundings;
use crate::config::{Anonymous, Excess, GatewayAuth, HeaderRule, HeaderRules, Live, Token};
use crate::route::{Need, Pattern, Route, is_built_in};
use crate::scope::{ADMIN, Scope, ScopeSet};
use crate::secret::TokenHash;
use crate::target::Path;
use http::Method;
use jiff::SignedDuration;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub(super) fn live(
    file: &File,
    source: &Source,
    around: &dyn Surroundings,
    auth: Option<GatewayAuth>,
    problems: &mut Problems,
) -> Option<Live> {
    let tokens = tokens(file, source, around, problems);
    let routes = file.route.iter().filter_map(|r| route(r, problems)).collect();
    let policy = &file.policy;
    let unlisted_routes =
        policy.unlisted_routes.as_ref().and_then(|s| scope(s, problems)).unwrap_or(Scope::known(ADMIN));
    let excess = choice(
        policy.excess.as_ref(),
        Excess::Refuse,
        &[("refuse", Excess::Refuse), ("narrow", Excess::Narrow)],
        "excess",
        problems,
    );
    let rule = |value: &Option<At<String>>, default, problems: &mut Problems| {
        let words = [("pass", HeaderRule::Pass), ("admin", HeaderRule::Admin), ("refuse", HeaderRule::Refuse)];
        choice(value.as_ref(), default, &words, "header-rule", problems)
    };
    let headers = HeaderRules {
        agent_id: rule(&policy.agent_id, HeaderRule::Pass, problems),
        model: rule(&policy.model, HeaderRule::Admin, problems),
        session_key: rule(&policy.session_key, HeaderRule::Pass, problems),
        message_channel: rule(&policy.message_channel, HeaderRule::Pass, problems),
    };
    let anonymous = file.anonymous.as_ref().map(|a| anonymous(a, problems));
    let gateway_secret = gateway_secret(file, auth.as_ref(), problems);
    if file.token.is_empty() && gateway_secret.is_none() && anonymous.is_none() {
        problems.warn(
            "nobody",
            None,
            "nobody is let in: no `[[token]]`, no `[gateway_secret]`, no `[anonymous]`",
            "`scopeshim token new NAME --scope operator.read` prints a table to paste",
        );
    }
    if let Some(GatewayAuth::Token(secret) | GatewayAuth::Password(secret)) = &auth {
        let same = tokens.iter().find(|t| t.hash == secret.hash());
        if let Some(token) = same {
            problems.error(
                "token-is-gateway-secret",
                None,
                format!("the token `{}` is the gateway's own secret", token.name),
                "make a token of its own (`scopeshim token new`), or use `[gateway_secret]`",
            );
        }
    }
    Some(Live { gateway_auth: auth?, gateway_secret, anonymous, tokens, routes, unlisted_routes, excess, headers })
}

fn gateway_secret(file: &File, auth: Option<&GatewayAuth>, problems: &mut Problems) -> Option<ScopeSet> {
    let table = file.gateway_secret.as_ref()?;
    if !table.get().accept.as_ref().is_none_or(|a| *a.get()) {
        return None;
    }
    if matches!(auth, Some(GatewayAuth::None)) {
        problems.error(
            "gateway-secret",
            table.span(),
            "mode `none` has no secret that a client could hold",
            "remove `[gateway_secret]`; `[anonymous]` or a `[[token]]` stands in its place",
        );
        return None;
    }
    Some(table.get().scopes.as_ref().map_or_else(ScopeSet::default_bundle, |s| scopes(s, problems)))
}

fn anonymous(table: &At<file::Anonymous>, problems: &mut Problems) -> Anonymous {
    let granted = scopes(&table.get().scopes, problems);
    let nets = match &table.get().cidrs {
        Some(_) => cidrs(table.get().cidrs.as_ref(), problems),
        None => vec![
            // Without a word of the user, only this machine.
            ipnet::IpNet::V4(ipnet::Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
            ipnet::IpNet::V6(ipnet::Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
        ],
    };
    if granted.contains(&Scope::known(ADMIN)) {
        problems.warn(
            "anonymous-admin",
            table.span(),
            "anybody who reaches this proxy is administrator",
            "grant `operator.read` and `operator.write` at most, or give out tokens",
        );
    }
    Anonymous { scopes: granted, cidrs: nets }
}

fn tokens(file: &File, source: &Source, around: &dyn Surroundings, problems: &mut Problems) -> Vec<Token> {
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut hashes: HashMap<TokenHash, &str> = HashMap::new();
    let mut tokens = Vec::with_capacity(file.token.len());
    for at in &file.token {
        let table = at.get();
        let name = table.name.get();
        if !crate::config::is_name(name) {
            problems.error(
                "name",
                table.name.span(),
                format!("`{name}` is not a name"),
                "1 to 64 letters, digits and `. _ - @`",
            );
        }
        if let Some(first) = names.insert(name, table.name.span().start) {
            problems.error(
                "duplicate-name",
                table.name.span(),
                format!("two tokens are named `{name}`; the first is on line {}", source.position(first).0),
                "give each its own name",
            );
        }
        let hash = TokenHash::from_hex(table.sha256.get());
        match hash {
            None => problems.error(
                "sha256",
                table.sha256.span(),
                "this is not a SHA-256: 64 hexadecimal digits are needed",
                "`scopeshim token new` prints it; the token itself does not belong here",
            ),
            Some(hash) => {
                if let Some(other) = hashes.insert(hash, name) {
                    problems.error(
                        "duplicate-token",
                        table.sha256.span(),
                        format!("`{name}` and `{other}` are the same token"),
                        "make a token for each",
                    );
                }
            }
        }
        if table.scopes.is_empty() {
            problems.warn(
                "no-scopes",
                at.span(),
                format!("the token `{name}` may do nothing"),
                "add `scopes = [\"operator.read\"]`",
            );
        }
        let not_before = moment(table.not_before.as_ref(), problems);
        let expires = moment(table.expires.as_ref(), problems);
        lint_expiry(table, expires, around, problems);
        if let (Some(from), Some(to)) = (not_before, expires)
            && from >= to
        {
            problems.error(
                "never-valid",
                at.span(),
                format!("the token `{name}` expires before it becomes valid"),
                "swap `not_before` and `expires`",
            );
        }
        let scopes = scopes(&table.scopes, problems);
        let nets = cidrs(table.cidrs.as_ref(), problems);
        if table.cidrs.as_ref().is_some_and(Vec::is_empty) {
            problems.error(
                "cidr",
                at.span(),
                format!("the token `{name}` has an empty list of addresses"),
                "leave `cidrs` out if any address is meant",
            );
        }
        if let Some(hash) = hash {
            let place = source.place(&at.span());
            tokens.push(Token {
                name: Arc::from(name.as_str()),
                hash,
                scopes,
                not_before,
                expires,
                cidrs: nets,
                place: Arc::from(place),
            });
        }
    }
    tokens
}

fn lint_expiry(
    table: &file::Token,
    expires: Option<jiff::Timestamp>,
    around: &dyn Surroundings,
    problems: &mut Problems,
) {
    let (Some(at), Some(field)) = (expires, &table.expires) else {
        return;
    };
    let left = at.duration_since(around.now());
    if left.is_negative() || left.is_zero() {
        problems.warn(
            "expired",
            field.span(),
            format!("the token `{}` has expired", table.name.get()),
            "rotate it, or remove the table",
        );
    } else if left < SignedDuration::from_hours(7 * 24) {
        problems.warn(
            "expires-soon",
            field.span(),
            format!("the token `{}` expires within a week", table.name.get()),
            "rotate it in time",
        );
    }
}

fn route(at: &At<file::RouteTable>, problems: &mut Problems) -> Option<Route> {
    let table = at.get();
    let pattern = match (&table.path, &table.prefix) {
        (Some(path), None) => judged(path, problems).then(|| Pattern::Exact(Arc::from(path.get().as_str()))),
        (None, Some(prefix)) => {
            if !prefix.get().ends_with('/') {
                problems.error(
                    "route",
                    prefix.span(),
                    "a prefix ends with a slash",
                    format!("write `prefix = \"{}/\"`, or use `path`", prefix.get()),
                );
            }
            judged(prefix, problems).then(|| Pattern::Prefix(Arc::from(prefix.get().as_str())))
        }
        _ => {
            problems.error("route", at.span(), "a route has either `path` or `prefix`", "write one of them");
            None
        }
    };
    let public = table.public.as_ref().is_some_and(|p| *p.get());
    let need = match (&table.needs, public) {
        (Some(needs), false) => scope(needs, problems).map(Need::Scope),
        (None, true) => Some(Need::Public),
        (Some(needs), true) => {
            problems.error("route", needs.span(), "a public route needs no scope", "remove `needs` or `public`");
            None
        }
        (None, false) => {
            problems.error(
                "route",
                at.span(),
                "a route says what it needs",
                "add `needs = \"operator.write\"`, or `public = true`",
            );
            None
        }
    };
    let mut methods = Vec::new();
    for method in table.methods.iter().flatten() {
        match Method::from_bytes(method.get().as_bytes()) {
            Ok(m) if m.as_str().bytes().all(|b| b.is_ascii_uppercase()) => methods.push(m),
            _ => problems.error(
                "route",
                method.span(),
                format!("`{}` is not a method", method.get()),
                "for example `methods = [\"GET\", \"POST\"]`",
            ),
        }
    }
    if table.methods.as_ref().is_some_and(Vec::is_empty) {
        problems.error(
            "route",
            at.span(),
            "an empty list of methods covers nothing",
            "leave `methods` out if all are meant",
        );
    }
    if public && [&table.path, &table.prefix].into_iter().flatten().any(|p| p.get() == "/" || is_built_in(p.get())) {
        problems.warn(
            "public-route",
            at.span(),
            "this opens one of the gateway's own routes to everybody",
            "remove `public`, and say what it needs",
        );
    }
    Some(Route { label: "custom", methods, pattern: pattern?, need: need? })
}

fn judged(path: &At<String>, problems: &mut Problems) -> bool {
    match Path::judge(path.get().as_bytes()) {
        Ok(judged) if judged.as_str() == path.get() => true,
        Ok(_) => {
            problems.error("route", path.span(), "a route has no query", "remove everything from `?` on");
            false
        }
        Err(fault) => {
            problems.error(
                "route",
                path.span(),
                format!("no request could match: {fault}"),
                "write the plain path, for example `/hooks/wake`",
            );
            false
        }
    }
}
