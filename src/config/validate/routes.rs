//! Routes that a policy adds.

use super::values::scope;
use crate::config::diagnostic::Problems;
use crate::config::file::{self, At};
use crate::label::RouteLabel;
use crate::route::{Need, Pattern, Route, is_built_in};
use crate::target::Path;
use http::Method;
use std::sync::Arc;

pub(super) fn route(at: &At<file::RouteTable>, problems: &mut Problems) -> Option<Route> {
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
    Some(Route { label: RouteLabel::Custom, methods, pattern: pattern?, need: need? })
}

/// Whether a value is a path that a request could have.
pub(super) fn judged(path: &At<String>, problems: &mut Problems) -> bool {
    judged_path(path.get(), path, problems)
}

/// The same of a path within a value.
pub(super) fn judged_path(path: &str, at: &At<String>, problems: &mut Problems) -> bool {
    match Path::judge(path.as_bytes()) {
        Ok(judged) if judged.as_str() == path => true,
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
