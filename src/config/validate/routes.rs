//! Routes that a policy adds.

use super::client_routes::{self, Credentials};
use super::values::scope;
use crate::config::diagnostic::{Problems, Source, did_you_mean};
use crate::config::file::{self, At, File};
use crate::metric_labels::RouteLabel;
use crate::request_path::Path;
use crate::route::{Need, PathRule, Pattern, Route, builtin};
use crate::scope::KNOWN;
use http::Method;
use std::collections::HashMap;
use std::sync::Arc;

/// The word for a need that every authenticated caller meets.
const AUTHENTICATED: &str = "authenticated";

/// Words that people try for needs and that name no scope.
const NO_SCOPE: &[&str] = &[
    "",
    "none",
    "nothing",
    "nobody",
    "no",
    "false",
    "public",
    "anonymous",
    "anyone",
    "anybody",
    "any",
    "all",
    "open",
    "*",
];

pub(super) fn routes(file: &File, source: &Source, problems: &mut Problems) -> Vec<Route> {
    let all: Vec<(&At<file::RouteTable>, Route)> =
        file.route.iter().filter_map(|at| Some((at, route(at, problems)?))).collect();
    precedence(&all, source, problems);
    all.into_iter().map(|(_, route)| route).collect()
}

/// What a route needs, in the file's words. `public` says how the file makes such a route public.
pub(super) fn need(value: &At<String>, public: &str, problems: &mut Problems) -> Option<Need> {
    let word = value.get().trim();
    if word == AUTHENTICATED {
        return Some(Need::Authenticated);
    }
    let near = || did_you_mean(word, [AUTHENTICATED]).filter(|_| !KNOWN.contains(&word));
    if NO_SCOPE.iter().any(|w| w.eq_ignore_ascii_case(word)) || near().is_some() {
        problems.error(
            "route-needs",
            value.span(),
            format!("`{}` is no scope, so no caller could ever hold it", value.get()),
            format!(
                "`\"{AUTHENTICATED}\"` for any authenticated caller, a scope such as `\"operator.read\"`, {public}"
            ),
        );
        return None;
    }
    scope(value, problems).map(Need::Scope)
}

fn route(at: &At<file::RouteTable>, problems: &mut Problems) -> Option<Route> {
    let table = at.get();
    let pattern = match (&table.path, &table.prefix) {
        (Some(path), None) => valid(path, problems).then(|| Pattern::Exact(Arc::from(path.get().as_str()))),
        (None, Some(prefix)) => {
            if !prefix.get().ends_with('/') {
                problems.error(
                    "route",
                    prefix.span(),
                    "a prefix ends with a slash",
                    format!("write `prefix = \"{}/\"`, or use `path`", prefix.get()),
                );
            }
            let fit = valid(prefix, problems) && prefix.get().ends_with('/');
            fit.then(|| Pattern::Prefix(Arc::from(prefix.get().as_str())))
        }
        _ => {
            problems.error("route", at.span(), "a route needs either `path` or `prefix`", "write one of them");
            None
        }
    };
    let public = table.public.as_ref().is_some_and(|p| *p.get());
    let need = match (client_routes::credentials(at, problems), &table.needs, public) {
        (Credentials::Client(need), ..) => need,
        (Credentials::Proxy, Some(needs), false) => need(needs, "or `public = true` in place of `needs`", problems),
        (Credentials::Proxy, None, true) => Some(Need::Public),
        (Credentials::Proxy, Some(needs), true) => {
            problems.error("route", needs.span(), "a public route cannot need a scope", "remove `needs` or `public`");
            None
        }
        (Credentials::Proxy, None, false) => {
            problems.error(
                "route",
                at.span(),
                "a route must say what it needs",
                "add `needs = \"operator.write\"`, `needs = \"authenticated\"`, or `public = true`",
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
    let (pattern, need) = (pattern?, need?);
    if matches!(need, Need::PassthroughCredential(_)) {
        client_routes::overlap(at, &pattern, problems);
    } else {
        lowering(at, &pattern, &need, problems);
    }
    let label = if pattern.names_join() { RouteLabel::Join } else { RouteLabel::Custom };
    Some(Route { label, methods, pattern, need })
}

/// A route of the policy may ask for more than the gateway's contract does. To ask for less is an
/// error unless the file says that it is meant.
fn lowering(at: &At<file::RouteTable>, pattern: &Pattern, need: &Need, problems: &mut Problems) {
    let meant = at.get().overrides_builtin.as_ref().is_some_and(|o| *o.get());
    let own = builtin::all().iter().chain([builtin::admin_rpc()]);
    let lowered: Vec<&Arc<Route>> = own.filter(|r| r.pattern.overlaps(pattern) && !need.is_at_least(&r.need)).collect();
    let shown: Vec<String> = lowered.iter().map(|r| format!("{} ({})", r.pattern, r.need)).collect();
    match (lowered.is_empty(), meant) {
        (false, false) => problems.error(
            "route-lowers-builtin",
            at.span(),
            format!("`{pattern}` asks for less than routes of the gateway that it covers need: {}", shown.join(", ")),
            "name a narrower path, or ask for as much; if it is meant, add `overrides_builtin = true`",
        ),
        (false, true) if *need == Need::Public => problems.warn(
            "public-route",
            at.span(),
            format!("this opens routes of the gateway to callers without a credential: {}", shown.join(", ")),
            "remove `public`, and say what it needs",
        ),
        (true, true) => problems.warn(
            "overrides-nothing",
            at.span(),
            format!("`{pattern}` asks for no less than the gateway's routes that it covers"),
            "remove `overrides_builtin`",
        ),
        (false | true, _) => {}
    }
    if pattern.names_join() && *need == Need::Public {
        problems.warn(
            "public-route",
            at.span(),
            "a caller without a credential can pair a device with the gateway here, by guessing a join code",
            "remove `public`, and say what it needs",
        );
    }
}

/// Which route counts where several cover one path: the most specific. Said where that is not plain
/// from the file: rules for the same paths, and rules within rules.
fn precedence(all: &[(&At<file::RouteTable>, Route)], source: &Source, problems: &mut Problems) {
    let line = |at: &At<file::RouteTable>| source.position(at.span().start).0;
    let mut by_path: HashMap<(bool, String), Vec<usize>> = HashMap::new();
    for (i, (_, route)) in all.iter().enumerate() {
        if let Some(rule) = rule(&route.pattern) {
            let prefix = matches!(route.pattern, Pattern::Prefix(_));
            by_path.entry((prefix, rule.canonical().to_owned())).or_default().push(i);
        }
    }
    for (i, (at, route)) in all.iter().enumerate() {
        let Some(rule) = rule(&route.pattern) else { continue };
        let is_prefix = matches!(route.pattern, Pattern::Prefix(_));
        let entry = |prefix: bool, path: &str| {
            by_path.get(&(prefix, path.to_owned())).into_iter().flatten().filter_map(|j| Some((*j, all.get(*j)?)))
        };
        let both = |other: &Route| {
            route.methods.is_empty() || other.methods.is_empty() || route.methods.iter().any(|m| other.takes(m))
        };
        let same = entry(is_prefix, rule.canonical())
            .find(|(j, (_, other))| *j < i && both(other) && route.methods.is_empty() == other.methods.is_empty());
        if let Some((_, (first, other))) = same {
            problems.warn(
                "duplicate-route",
                at.span(),
                format!(
                    "`{}` is the same to the gateway as `{}` on line {}",
                    route.pattern,
                    other.pattern,
                    line(first)
                ),
                "remove one of them; where both cover a request, the stricter need counts",
            );
        }
        let within = ancestors(rule.canonical(), is_prefix).find_map(|path| {
            entry(true, path).find(|(j, (_, other))| *j != i && both(other) && other.need != route.need)
        });
        if let Some((_, (outer, other))) = within {
            problems.warn(
                "shadowed-route",
                at.span(),
                format!(
                    "within `{}` (line {}, needs {}), `{}` takes precedence: it needs {}",
                    other.pattern,
                    line(outer),
                    other.need,
                    route.pattern,
                    route.need
                ),
                "nothing to do if it is meant: the most specific route counts, whatever the order in the file",
            );
        }
    }
}

fn rule(pattern: &Pattern) -> Option<PathRule> {
    match pattern {
        Pattern::Exact(path) => Path::validate(path.as_bytes()).ok().map(PathRule::exact),
        Pattern::Prefix(path) => Path::validate(path.as_bytes()).ok().map(PathRule::prefix),
        Pattern::Segment { .. } | Pattern::Join => None,
    }
}

/// The prefixes around a canonical path, the innermost first; the path itself too, unless it is a prefix.
fn ancestors(path: &str, is_prefix: bool) -> impl Iterator<Item = &str> {
    let own = (!is_prefix).then_some(path);
    let outer =
        path.rmatch_indices('/').filter_map(|(at, _)| path.get(..at)).map(|p| if p.is_empty() { "/" } else { p });
    own.into_iter().chain(outer.filter(move |p| *p != path))
}

/// Whether a value is a path that a request could have.
pub(super) fn valid(path: &At<String>, problems: &mut Problems) -> bool {
    valid_path(path.get(), path, problems)
}

/// The same of a path within a value.
pub(super) fn valid_path(path: &str, at: &At<String>, problems: &mut Problems) -> bool {
    match Path::validate(path.as_bytes()) {
        Ok(valid) if valid.as_str() == path => true,
        Ok(_) => {
            problems.error("route", at.span(), "a route has no query", "remove everything from `?` on");
            false
        }
        Err(fault) => {
            let hint = "write the plain path, for example `/hooks/wake`";
            problems.error("route", at.span(), format!("no request could match: {fault}"), hint);
            false
        }
    }
}
