//! Which route a request takes: the most specific one, and the strictest need of all readings of its path.

use super::builtin::{self, web_page};
use super::rule::acts_as_it_came;
use super::{Need, PathRule, Pattern, Route, Ui};
use crate::metric_labels::RouteLabel;
use crate::request_path::Path;
use crate::scope::{READ, Scope};
use http::Method;
use std::cmp::Reverse;
use std::sync::Arc;

/// Every route of a policy.
#[derive(Debug)]
pub struct RouteTable {
    /// Those a policy adds, the most specific first.
    added: Vec<Added>,
    web_page: Vec<Arc<Route>>,
    unlisted: Arc<Route>,
}

#[derive(Debug)]
struct Added {
    route: Arc<Route>,
    rule: PathRule,
}

impl Added {
    /// Exact before prefix, longer before shorter, methods named before any. `path` is the rule's own,
    /// as it is written or as readings are.
    fn rank<'a>(&'a self, path: &'a str) -> (bool, usize, bool) {
        (matches!(self.route.pattern, Pattern::Exact(_)), path.len(), !self.route.methods.is_empty())
    }

    fn written(&self) -> &str {
        match &self.route.pattern {
            Pattern::Exact(path) | Pattern::Prefix(path) => path,
            Pattern::Segment { .. } | Pattern::Join => "",
        }
    }
}

impl RouteTable {
    /// The gateway's own routes behind those a policy adds; `unlisted` is what any other path needs.
    #[must_use]
    pub fn new(added: Vec<Route>, unlisted: Need) -> Self {
        let mut added: Vec<Added> = added
            .into_iter()
            .filter_map(|route| {
                let rule = match &route.pattern {
                    Pattern::Exact(path) => PathRule::exact(Path::validate(path.as_bytes()).ok()?),
                    Pattern::Prefix(path) => PathRule::prefix(Path::validate(path.as_bytes()).ok()?),
                    Pattern::Segment { .. } | Pattern::Join => return None,
                };
                Some(Added { route: Arc::new(route), rule })
            })
            .collect();
        added.sort_by_key(|a| Reverse(a.rank(a.written())));
        Self {
            added,
            web_page: Vec::new(),
            unlisted: Arc::new(Route {
                label: RouteLabel::Unlisted,
                methods: Vec::new(),
                pattern: Pattern::Prefix(Arc::from("/")),
                need: unlisted,
            }),
        }
    }

    /// With the gateway's web page, for those who are shown it.
    #[must_use]
    pub fn with_ui(mut self, ui: Ui) -> Self {
        let need = match ui {
            Ui::Off => return self,
            Ui::Authenticated => Need::Scope(Scope::known(READ)),
            Ui::Open => Need::Public,
        };
        self.web_page = web_page(&need).into_iter().map(Arc::new).collect();
        self
    }

    /// The route that a request takes, with what it needs under every reading of its path.
    ///
    /// The most specific route counts, whatever the order in the file. A built-in route covers its
    /// path under every method: the gateway answers 405 to the others, and asks for authority first
    /// where it asks at all.
    #[must_use]
    pub fn find(&self, method: &Method, path: Path<'_>) -> Arc<Route> {
        let mut found = self.as_it_came(method, path);
        if !acts_as_it_came(path) {
            for reading in path.readings() {
                let written = self.as_written(method, &reading, path.as_str().ends_with('/'));
                for route in self.of_reading(method, &reading).into_iter().chain(written) {
                    found = stricter(found, &route);
                }
            }
        }
        if path.is_join() && !found.pattern.names_join() {
            found = Arc::new(Route { need: found.need.and(&builtin::join().need), ..Route::clone(builtin::join()) });
        }
        if path.names_incognito_session() {
            let need = found.need.and(&Need::Scope(Scope::admin().clone()));
            if need != found.need {
                found = Arc::new(Route { need, ..Route::clone(&found) });
            }
        }
        found
    }

    /// The route of the path as it came.
    fn as_it_came(&self, method: &Method, path: Path<'_>) -> Arc<Route> {
        let path = path.as_str();
        let covers = |r: &Route| r.takes(method) && r.pattern.covers(path);
        let mut covering = self.added.iter().filter(|a| covers(&a.route));
        if let Some(first) = covering.next() {
            let equals = covering.take_while(|a| a.rank(a.written()) == first.rank(first.written()));
            return equals.fold(first.route.clone(), |route, equal| stricter(route, &equal.route));
        }
        let own = builtin::all().iter().find(|r| r.pattern.covers(path));
        own.or_else(|| self.web_page.iter().find(|r| covers(r))).unwrap_or(&self.unlisted).clone()
    }

    /// The route that covers a reading of a path, if it is one that a policy added or a plugin of the
    /// gateway has: the others are matched with the path as it came.
    fn of_reading(&self, method: &Method, reading: &str) -> Option<Arc<Route>> {
        let added = self.best(|a| a.route.takes(method) && a.rule.may_cover(reading));
        added.or_else(|| Some(builtin::admin_rpc()).filter(|r| r.pattern.covers(reading)).cloned())
    }

    /// The same where a slash at a path's end, which is gone from its readings, makes a difference: to the
    /// gateway `/a` and `/a/` are one, to the file they are the path and all that is below it.
    fn as_written(&self, method: &Method, reading: &str, slash: bool) -> Option<Arc<Route>> {
        let fits = |a: &Added| match a.route.pattern {
            Pattern::Exact(_) => !slash,
            _ => slash || a.rule.canonical() != reading,
        };
        self.best(|a| a.route.takes(method) && a.rule.may_cover(reading) && fits(a))
    }

    /// The most specific of the routes that cover a reading; of equals the strictest.
    fn best(&self, covers: impl Fn(&Added) -> bool) -> Option<Arc<Route>> {
        let covering = || self.added.iter().filter(|a| covers(a));
        let best = covering().map(|a| a.rank(a.rule.canonical())).max();
        covering()
            .filter(|a| Some(a.rank(a.rule.canonical())) == best)
            .map(|a| a.route.clone())
            .reduce(|a, b| stricter(a, &b))
    }

    /// Every route, for documentation and listings.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        let added = self.added.iter().map(|a| &a.route);
        let built_in = [builtin::join()].into_iter().chain(builtin::all()).chain([builtin::admin_rpc()]);
        added.chain(built_in).chain(&self.web_page).chain([&self.unlisted]).map(Arc::as_ref)
    }
}

/// The route that needs more; where neither need implies the other, one that needs both.
fn stricter(a: Arc<Route>, b: &Arc<Route>) -> Arc<Route> {
    if a.need.is_at_least(&b.need) {
        a
    } else if b.need.is_at_least(&a.need) {
        b.clone()
    } else {
        Arc::new(Route { need: a.need.and(&b.need), ..Route::clone(&a) })
    }
}

#[cfg(test)]
mod tests;
