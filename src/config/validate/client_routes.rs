//! Routes that pass the client's own credential to the gateway.

use super::principal_limits::limits;
use super::values::{choice, cidrs};
use crate::config::diagnostic::Problems;
use crate::config::file::{self, At};
use crate::request_path::Path;
use crate::route::{ClientRoute, Need, PathRule, Pattern, Route, RouteTable, Ui};
use std::sync::Arc;

/// Whose credentials a route takes.
pub(super) enum Credentials {
    /// This proxy's: an ordinary route.
    Proxy,
    /// The client's own, and what it needs then; `None`: something is wrong with it.
    Client(Option<Need>),
}

/// Reads whose credentials a route takes.
pub(super) fn credentials(at: &At<file::RouteTable>, problems: &mut Problems) -> Credentials {
    let table = at.get();
    let words = [("proxy", false), ("client", true)];
    if !choice(table.credentials.as_ref(), false, &words, "credentials", problems) {
        let (nets, limits) = (table.cidrs.is_some(), table.limits.as_ref());
        if nets || limits.is_some() {
            problems.error(
                "route-credentials",
                limits.map_or_else(|| at.span(), At::span),
                "`cidrs` and `limits` of a route are for callers with a credential of their own",
                "use them in a `[[grant]]`, or add `credentials = \"client\"`",
            );
        }
        return Credentials::Proxy;
    }
    let other = [
        table.needs.as_ref().map(|v| ("needs", v.span())),
        table.public.as_ref().map(|v| ("public", v.span())),
        table.overrides_builtin.as_ref().map(|v| ("overrides_builtin", v.span())),
    ];
    if let Some((key, span)) = other.into_iter().flatten().next() {
        problems.error(
            "route-credentials",
            span,
            format!("`{key}` has no place where the gateway verifies the client's own credential"),
            format!("remove `{key}`, or `credentials`"),
        );
        return Credentials::Client(None);
    }
    let rule =
        ClientRoute { cidrs: cidrs(table.cidrs.as_ref(), problems), limits: limits(table.limits.as_ref(), problems) };
    Credentials::Client(Some(Need::PassthroughCredential(Arc::new(rule))))
}

/// The gateway's routes that take an operator's authority are never such a route, in no reading of its path.
pub(super) fn overlap(at: &At<file::RouteTable>, pattern: &Pattern, problems: &mut Problems) {
    let Some(canonical) = canonical(pattern) else { return };
    let table = RouteTable::new(Vec::new(), Need::Public).with_ui(Ui::Authenticated);
    let covers = |route: &&Route| {
        route.need != Need::Public && (route.pattern.overlaps(pattern) || route.pattern.overlaps(&canonical))
    };
    // A join is a path that holds `/j/`: every prefix has some, which need operator.admin all the same.
    let joins = |route: &&Route| route.pattern != Pattern::Join || pattern.names_join() || canonical.names_join();
    let covered: Vec<String> =
        table.iter().filter(covers).filter(joins).map(|r| format!("{} ({})", r.pattern, r.need)).take(5).collect();
    if !covered.is_empty() {
        problems.error(
            "route-credentials",
            at.span(),
            format!("`{pattern}` covers routes that this proxy authenticates callers for: {}", covered.join(", ")),
            "name a narrower path: only routes of the gateway that have credentials of their own, such as `/hooks/`",
        );
    }
}

/// The pattern as the most generous reading of the gateway has it.
fn canonical(pattern: &Pattern) -> Option<Pattern> {
    match pattern {
        Pattern::Exact(path) => {
            Some(Pattern::Exact(Arc::from(PathRule::exact(Path::validate(path.as_bytes()).ok()?).canonical())))
        }
        Pattern::Prefix(path) => {
            let rule = PathRule::prefix(Path::validate(path.as_bytes()).ok()?);
            let slash = if rule.canonical().ends_with('/') { "" } else { "/" };
            Some(Pattern::Prefix(Arc::from(format!("{}{slash}", rule.canonical()))))
        }
        Pattern::Segment { .. } | Pattern::Join => None,
    }
}
