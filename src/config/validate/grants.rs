//! Grants: to whom, what, and when.

use super::routes::valid;
use super::values::{choice, cidrs, moment, scopes};
use super::{headers, tailscale};
use crate::config::diagnostic::{Problems, Source, did_you_mean};
use crate::config::file::{self, At, File, OneOrMany};
use crate::config::{ClaimPath, Conditions, Excess, GrantRule, Issuer, Subject, Token};
use crate::glob::Glob;
use crate::request_path::Path;
use crate::route::PathRule;
use crate::scope::Scope;
use http::Method;
use std::collections::HashSet;
use std::sync::Arc;

/// What grants may refer to.
pub(super) struct Definitions<'a> {
    pub tokens: &'a [Token],
    /// The tokens' names, for look-up.
    pub names: HashSet<&'a str>,
    pub issuers: &'a [Issuer],
    pub ways: IdentityOptions,
    /// Whether the gateway is told who is calling.
    pub callers_named: bool,
    /// Whether the gateway takes a model from administrators alone.
    pub model_is_admins: bool,
}

/// Which ways in there are besides tokens and issuers.
pub(super) struct IdentityOptions {
    pub gateway_secret: bool,
    pub anonymous: bool,
    pub tailnet: bool,
}

pub(super) fn grants(file: &File, source: &Source, known: &Definitions<'_>, problems: &mut Problems) -> Vec<GrantRule> {
    file.grant.iter().filter_map(|g| grant(g, source, known, problems)).collect()
}

fn grant(at: &At<file::Grant>, source: &Source, known: &Definitions<'_>, problems: &mut Problems) -> Option<GrantRule> {
    let table = at.get();
    let when = conditions(at, problems);
    let granted = scopes(&table.scopes, problems);
    let headers = headers::rules(|header| table.header_rule(header), table.tools.as_ref(), problems);
    let words = [("refuse", Excess::Refuse), ("narrow", Excess::Narrow)];
    let excess = table.excess.as_ref().map(|e| choice(Some(e), Excess::Refuse, &words, "excess", problems));
    let gateway_user = table.gateway_user.as_ref().and_then(|u| headers::text(u.get(), u.span(), problems));
    if let Some(user) = &table.gateway_user
        && !known.callers_named
    {
        problems.warn(
            "never-matches",
            user.span(),
            "`gateway_user` only has an effect in mode `trusted-proxy`",
            "leave `gateway_user` out",
        );
    }
    if let (true, Some(rule)) = (known.model_is_admins && !granted.contains(Scope::admin()), &table.model) {
        headers::lint_model(headers.model.as_ref(), rule.span(), problems);
    }
    let limits = super::principal_limits::limits(table.limits.as_ref(), problems);
    let other = headers != crate::config::HeaderRules::default()
        || excess.is_some()
        || gateway_user.is_some()
        || !limits.is_none();
    if granted.is_empty() && !other {
        problems.warn("empty-grant", at.span(), "this grant grants nothing", "add `scopes = [\"operator.read\"]`");
    }
    let to = subject(&table.to, known, problems)?;
    if matches!(to, Subject::Anonymous) && granted.contains(Scope::admin()) {
        problems.warn(
            "anonymous-admin",
            at.span(),
            "every caller that reaches this proxy is an administrator",
            "grant `operator.read` and `operator.write` at most, or give out tokens",
        );
    }
    Some(GrantRule {
        to,
        scopes: granted,
        when,
        excess,
        headers,
        limits,
        gateway_user,
        place: Arc::from(source.place(&at.span())),
    })
}

fn conditions(at: &At<file::Grant>, problems: &mut Problems) -> Conditions {
    let table = at.get();
    let not_before = moment(table.not_before.as_ref(), problems);
    let expires = moment(table.expires.as_ref(), problems);
    if let (Some(from), Some(to)) = (not_before, expires)
        && from >= to
    {
        problems.error(
            "never-valid",
            at.span(),
            "this grant expires before it begins",
            "swap `not_before` and `expires`",
        );
    }
    let mut methods = Vec::new();
    for method in table.methods.iter().flatten() {
        match Method::from_bytes(method.get().as_bytes()) {
            Ok(m) if m.as_str().bytes().all(|b| b.is_ascii_uppercase()) => methods.push(m),
            _ => problems.error(
                "method",
                method.span(),
                format!("`{}` is not a method", method.get()),
                "for example `methods = [\"GET\", \"POST\"]`",
            ),
        }
    }
    let mut routes = Vec::new();
    for route in table.routes.iter().flatten() {
        if valid(route, problems)
            && let Ok(path) = Path::validate(route.get().as_bytes())
        {
            routes.push(if route.get().ends_with('/') { PathRule::prefix(path) } else { PathRule::exact(path) });
        }
    }
    for (name, empty) in [
        ("routes", table.routes.as_ref().is_some_and(Vec::is_empty)),
        ("methods", table.methods.as_ref().is_some_and(Vec::is_empty)),
        ("cidrs", table.cidrs.as_ref().is_some_and(Vec::is_empty)),
    ] {
        if empty {
            problems.error(
                "never-valid",
                at.span(),
                format!("an empty `{name}` can never match"),
                format!("leave `{name}` out if any are meant"),
            );
        }
    }
    Conditions { routes, methods, cidrs: cidrs(table.cidrs.as_ref(), problems), not_before, expires }
}

fn subject(at: &At<file::To>, known: &Definitions<'_>, problems: &mut Problems) -> Option<Subject> {
    let to = at.get();
    let sources = [
        to.token.is_some(),
        to.gateway_secret.as_ref().is_some_and(|g| *g.get()),
        to.anonymous.as_ref().is_some_and(|a| *a.get()),
        to.issuer.is_some(),
        to.app.is_some(),
        tailscale::is_meant(to),
    ];
    if sources.iter().filter(|s| **s).count() != 1 {
        problems.error(
            "grant-to",
            at.span(),
            "a grant needs exactly one identity source",
            "write one of `token`, `gateway_secret = true`, `anonymous = true`, `issuer`, `app`, `tailnet_*`; several grants add up",
        );
        return None;
    }
    if to.issuer.is_none() && to.subject.is_some() {
        problems.error("grant-to", at.span(), "`subject` goes with `issuer`", "add `issuer = \"…\"`");
    }
    if to.issuer.is_none() && to.app.is_none() && !to.claim.is_empty() {
        problems.error("grant-to", at.span(), "`claim` goes with `issuer` or `app`", "add `issuer = \"…\"`");
    }
    if to.app.is_none() && to.user.is_some() {
        problems.error("grant-to", at.span(), "`user` goes with `app`", "add `app = \"…\"`");
    }
    if let Some(apps) = &to.app {
        return Some(app_users(apps, to, known, problems));
    }
    if let Some(names) = &to.token {
        return Some(Subject::Token(tokens(names, known, problems)));
    }
    if let Some(name) = &to.issuer {
        return issuer(name, to, known, problems);
    }
    if tailscale::is_meant(to) {
        return Some(Subject::Tailnet(tailscale::subject(at, known.ways.tailnet, problems)));
    }
    if to.gateway_secret.as_ref().is_some_and(|g| *g.get()) {
        if !known.ways.gateway_secret {
            problems.warn(
                "never-matches",
                at.span(),
                "the gateway's secret is not accepted from clients, so this never matches",
                "add `[gateway_secret]`",
            );
        }
        return Some(Subject::GatewaySecret);
    }
    if !known.ways.anonymous {
        problems.warn(
            "never-matches",
            at.span(),
            "callers without a credential are refused, so this never matches",
            "add `[anonymous]`",
        );
    }
    Some(Subject::Anonymous)
}

fn tokens(names: &At<OneOrMany>, known: &Definitions<'_>, problems: &mut Problems) -> Vec<Glob> {
    let all = || known.tokens.iter().map(|t| &*t.name);
    let globs: Vec<Glob> = names.get().all().iter().map(|n| Glob::new(n)).collect();
    for glob in &globs {
        let fits = match glob.exact() {
            Some(exact) => known.names.contains(exact),
            None => all().any(|name| glob.matches(name)),
        };
        if !fits {
            let hint = did_you_mean(glob.as_str(), all())
                .map_or_else(|| "add a `[[token]]` of that name".to_owned(), |near| format!("did you mean `{near}`?"));
            problems.warn(
                "never-matches",
                names.span(),
                format!("no token is named `{glob}`, so this never matches"),
                hint,
            );
        }
    }
    globs
}

/// Users of apps. An app that speaks for nobody has none.
fn app_users(apps: &At<OneOrMany>, to: &file::To, known: &Definitions<'_>, problems: &mut Problems) -> Subject {
    let names = tokens(apps, known, problems);
    let speak = |glob: &Glob| known.tokens.iter().any(|t| t.users.is_some() && glob.matches(&t.name));
    for glob in names.iter().filter(|glob| !speak(glob)) {
        if glob.exact().is_none_or(|exact| known.names.contains(exact)) {
            problems.warn(
                "never-matches",
                apps.span(),
                format!("the token `{glob}` speaks for no users, so this never matches"),
                "add `users = { … }` to its table",
            );
        }
    }
    Subject::AppUser { apps: names, claims: claims(to), names: to.user.as_ref().map(globs).unwrap_or_default() }
}

fn globs(values: &At<OneOrMany>) -> Vec<Glob> {
    values.get().all().iter().map(|v| Glob::new(v)).collect()
}

fn claims(to: &file::To) -> Vec<(ClaimPath, Vec<Glob>)> {
    to.claim.iter().map(|(path, values)| (ClaimPath(Arc::from(path.as_str())), globs(values))).collect()
}

fn issuer(name: &At<String>, to: &file::To, known: &Definitions<'_>, problems: &mut Problems) -> Option<Subject> {
    let Some(issuer) = known.issuers.iter().position(|i| *i.name == **name.get()) else {
        let hint = did_you_mean(name.get(), known.issuers.iter().map(|i| &*i.name))
            .map_or_else(|| "add an `[[issuer]]` of that name".to_owned(), |near| format!("did you mean `{near}`?"));
        problems.error("unknown-issuer", name.span(), format!("no issuer is named `{}`", name.get()), hint);
        return None;
    };
    if known.issuers.get(issuer).is_some_and(|i| i.proves_users) {
        problems.warn(
            "never-matches",
            name.span(),
            format!("the issuer `{}` proves the users of apps and no callers, so this never matches", name.get()),
            "write `to = { app = \"…\", user = \"…\" }`",
        );
    }
    Some(Subject::Issuer { issuer, claims: claims(to), names: to.subject.as_ref().map(globs).unwrap_or_default() })
}
