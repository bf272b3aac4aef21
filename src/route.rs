//! The gateway's routes and what each needs (contract §1), and the routes a policy adds.

use crate::label::RouteLabel;
use crate::scope::{ADMIN, READ, Scope, WRITE};
use crate::target::Path;
use http::Method;
use std::sync::Arc;

/// Who is shown the gateway's web page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ui {
    /// Nobody; its paths are like any other that is not listed.
    Off,
    /// Whoever has operator.read.
    Authenticated,
    /// Anybody. Nothing of ours is sent along.
    Open,
}

/// What a route asks of its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A principal whose effective scopes satisfy this one.
    Scope(Scope),
    /// Nobody need be proven, and nothing of ours is sent along: no credential, no scope.
    Public,
    /// A health probe: as [`Need::Public`], and the answer is cut down to its verdict.
    Health(Probe),
}

/// The two health questions a gateway answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/health`, `/healthz`.
    Live,
    /// `/ready`, `/readyz`.
    Ready,
}

/// Which paths a route covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This path and no other.
    Exact(Arc<str>),
    /// Every path that begins so.
    Prefix(Arc<str>),
    /// `before`, one non-empty segment, `after`.
    Segment {
        /// What stands before the segment, its slash included.
        before: &'static str,
        /// What stands after the segment, its slash included.
        after: &'static str,
    },
}

impl Pattern {
    /// The segment of `path` that a [`Pattern::Segment`] leaves open.
    #[must_use]
    pub fn segment<'a>(&self, path: &'a str) -> Option<&'a str> {
        let Self::Segment { before, after } = self else { return None };
        path.strip_prefix(before)?.strip_suffix(after)
    }

    /// Whether the pattern covers `path`.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == &**exact,
            Self::Prefix(prefix) => path.starts_with(&**prefix),
            Self::Segment { .. } => self.segment(path).is_some_and(|s| !s.is_empty() && !s.contains('/')),
        }
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its name in metrics and logs.
    pub label: RouteLabel,
    /// The methods it covers; empty means all.
    pub methods: Vec<Method>,
    /// The paths it covers.
    pub pattern: Pattern,
    /// What it needs.
    pub need: Need,
}

/// Every route of a policy, in the order they are asked.
#[derive(Debug)]
pub struct RouteTable {
    added: Vec<Arc<Route>>,
    built_in: Vec<Arc<Route>>,
    web_page: Vec<Arc<Route>>,
    unlisted: Arc<Route>,
}

impl RouteTable {
    /// The gateway's own routes behind those a policy adds; `unlisted` is what any other path needs.
    #[must_use]
    pub fn new(added: Vec<Route>, unlisted: Need) -> Self {
        Self {
            added: added.into_iter().map(Arc::new).collect(),
            built_in: built_in().into_iter().map(Arc::new).collect(),
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

    /// The first route that covers the request.
    ///
    /// A built-in route covers its path under every method: the gateway answers 405 to the others,
    /// and asks for authority first where it asks at all.
    #[must_use]
    pub fn find(&self, method: &Method, path: Path<'_>) -> &Arc<Route> {
        let path = path.as_str();
        let covers = |r: &&Arc<Route>| (r.methods.is_empty() || r.methods.contains(method)) && r.pattern.covers(path);
        self.added
            .iter()
            .find(covers)
            .or_else(|| self.built_in.iter().find(|r| r.pattern.covers(path)))
            .or_else(|| self.web_page.iter().find(covers))
            .unwrap_or(&self.unlisted)
    }

    /// Every route, for documentation and listings.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.added.iter().chain(&self.built_in).chain(&self.web_page).chain([&self.unlisted]).map(Arc::as_ref)
    }
}

/// The gateway's web page as releases 2026.3.13 to 2026.9.6 have it: its assets, the paths it gives
/// its own views, and what it asks for with the caller's credential.
fn web_page(need: &Need) -> Vec<Route> {
    const FILES: &[&str] = &[
        "/",
        "/index.html",
        "/favicon.ico",
        "/favicon.svg",
        "/favicon-32.png",
        "/apple-touch-icon.png",
        "/manifest.webmanifest",
        "/asset-manifest.json",
        "/sw.js",
        "/social-card.png",
    ];
    const FOLDERS: &[&str] = &[
        "/assets/",
        "/fonts/",
        "/themes/",
        "/app-art/",
        "/community-art/",
        "/file-icons/",
        "/provider-icons/",
        "/cloud-provider-icons/",
    ];
    const VIEWS: &[&str] = &[
        "/act",
        "/activity",
        "/agents",
        "/ai-agents",
        "/appearance",
        "/apps",
        "/automation",
        "/automations",
        "/channels",
        "/chat",
        "/communications",
        "/config",
        "/cron",
        "/custodian",
        "/dashboard",
        "/dashboards",
        "/debug",
        "/infrastructure",
        "/instances",
        "/logs",
        "/mcp",
        "/meetings",
        "/memory-import",
        "/new",
        "/nodes",
        "/overview",
        "/plugins",
        "/portals",
        "/sessions",
        "/settings",
        "/skills",
        "/start",
        "/systems",
        "/usage",
        "/workboard",
    ];
    const VIEW_FOLDERS: &[&str] = &["/settings/", "/skills/"];
    const OWN: &[&str] = &["/__openclaw/", "/avatar/", "/api/users/"];
    const OWN_FILE: &str = "/control-ui-config.json";
    let route = |pattern, need: &Need| Route {
        label: RouteLabel::WebPage,
        methods: vec![Method::GET, Method::HEAD],
        pattern,
        need: need.clone(),
    };
    let exact = FILES.iter().chain(VIEWS).map(|p| route(Pattern::Exact(Arc::from(*p)), need));
    let below = FOLDERS.iter().chain(VIEW_FOLDERS).map(|p| route(Pattern::Prefix(Arc::from(*p)), need));
    let read = Need::Scope(Scope::known(READ));
    let own = OWN.iter().map(|p| route(Pattern::Prefix(Arc::from(*p)), &read));
    let config = [route(Pattern::Exact(Arc::from(OWN_FILE)), &read)];
    exact.chain(below).chain(own).chain(config).collect()
}

/// Whether a path belongs to one of the routes compiled in.
#[must_use]
pub fn is_built_in(path: &str) -> bool {
    built_in().iter().any(|r| r.pattern.covers(path))
}

fn built_in() -> Vec<Route> {
    let exact = |p: &str| Pattern::Exact(Arc::from(p));
    let scope = |name: &'static str| Need::Scope(Scope::known(name));
    let route = |label, method: Method, pattern, need| Route { label, methods: vec![method], pattern, need };
    let mut routes = vec![
        route(RouteLabel::Models, Method::GET, exact("/v1/models"), scope(READ)),
        route(RouteLabel::ChatCompletions, Method::POST, exact("/v1/chat/completions"), scope(WRITE)),
        route(RouteLabel::Responses, Method::POST, exact("/v1/responses"), scope(WRITE)),
        route(RouteLabel::Embeddings, Method::POST, exact("/v1/embeddings"), scope(WRITE)),
        route(RouteLabel::ToolsInvoke, Method::POST, exact("/tools/invoke"), scope(WRITE)),
        route(RouteLabel::Models, Method::GET, Pattern::Prefix(Arc::from("/v1/models/")), scope(READ)),
        route(
            RouteLabel::SessionHistory,
            Method::GET,
            Pattern::Segment { before: "/sessions/", after: "/history" },
            scope(READ),
        ),
        route(
            RouteLabel::SessionKill,
            Method::POST,
            Pattern::Segment { before: "/sessions/", after: "/kill" },
            scope(ADMIN),
        ),
    ];
    for (path, probe) in
        [("/health", Probe::Live), ("/healthz", Probe::Live), ("/ready", Probe::Ready), ("/readyz", Probe::Ready)]
    {
        routes.push(route(RouteLabel::Health, Method::GET, exact(path), Need::Health(probe)));
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(table: &RouteTable, method: &Method, path: &str) -> Need {
        table.find(method, Path::judge(path.as_bytes()).unwrap()).need.clone()
    }

    #[test]
    fn the_contract_s_routes_need_what_it_says() {
        let scope = |s: &str| Need::Scope(Scope::parse(s).unwrap());
        let table = RouteTable::new(Vec::new(), scope(ADMIN));
        for (method, path, needed) in [
            (Method::GET, "/v1/models", READ),
            (Method::GET, "/v1/models/openclaw%2Fmain", READ),
            (Method::POST, "/v1/chat/completions", WRITE),
            (Method::POST, "/v1/responses", WRITE),
            (Method::POST, "/v1/embeddings", WRITE),
            (Method::POST, "/tools/invoke", WRITE),
            (Method::GET, "/sessions/agent%3Amain/history", READ),
            (Method::POST, "/sessions/agent%3Amain/kill", ADMIN),
            (Method::GET, "/anything", ADMIN),
            (Method::GET, "/V1/models", ADMIN),
        ] {
            assert_eq!(need(&table, &method, path), scope(needed), "{path}");
        }
        assert_eq!(need(&table, &Method::GET, "/readyz"), Need::Health(Probe::Ready));
    }

    #[test]
    fn a_policy_s_own_route_comes_first() {
        let own = Route {
            label: RouteLabel::Custom,
            methods: vec![Method::POST],
            pattern: Pattern::Prefix(Arc::from("/hooks/")),
            need: Need::Public,
        };
        let table = RouteTable::new(vec![own], Need::Scope(Scope::parse(ADMIN).unwrap()));
        assert_eq!(need(&table, &Method::POST, "/hooks/a"), Need::Public);
        assert_ne!(need(&table, &Method::GET, "/hooks/a"), Need::Public);
    }
}
