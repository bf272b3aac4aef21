//! The routes compiled in: the gateway's own, and its web page (contract §1).

use super::{Need, Pattern, Probe, Route};
use crate::metric_labels::RouteLabel;
use crate::scope::{ADMIN, READ, Scope, WRITE};
use http::Method;
use std::sync::{Arc, LazyLock};

static BUILT_IN: LazyLock<Vec<Arc<Route>>> = LazyLock::new(|| built_in().into_iter().map(Arc::new).collect());

static JOIN: LazyLock<Arc<Route>> = LazyLock::new(|| {
    Arc::new(Route {
        label: RouteLabel::Join,
        methods: Vec::new(),
        pattern: Pattern::Join,
        need: Need::Scope(Scope::admin().clone()),
    })
});

static ADMIN_RPC: LazyLock<Arc<Route>> = LazyLock::new(|| {
    Arc::new(Route {
        label: RouteLabel::AdminRpc,
        methods: Vec::new(),
        pattern: Pattern::Exact(Arc::from("/api/v1/admin/rpc")),
        need: Need::Scope(Scope::admin().clone()),
    })
});

static WEBSOCKET: LazyLock<Arc<Route>> = LazyLock::new(|| {
    Arc::new(Route {
        label: RouteLabel::Websocket,
        methods: Vec::new(),
        pattern: Pattern::Prefix(Arc::from("/")),
        need: Need::Authenticated,
    })
});

/// What an upgrade is recorded as, whatever its path: a WebSocket reaches every route. It judges nothing.
#[must_use]
pub fn websocket() -> Arc<Route> {
    WEBSOCKET.clone()
}

/// The gateway's own routes, which it matches with the path as it came.
#[must_use]
pub fn all() -> &'static [Arc<Route>] {
    &BUILT_IN
}

/// The route of pairing joins: before all others, whatever they cover.
#[must_use]
pub fn join() -> &'static Arc<Route> {
    &JOIN
}

/// Every RPC over HTTP, with an operator's full authority: a plugin's route that comes with the
/// gateway (`admin-http-rpc`), so every reading of a path may reach it.
#[must_use]
pub fn admin_rpc() -> &'static Arc<Route> {
    &ADMIN_RPC
}

/// Whether a path belongs to one of the gateway's own routes.
#[must_use]
pub fn is_built_in(path: &str) -> bool {
    all().iter().any(|r| r.pattern.covers(path))
}

/// The gateway's web page as releases 2026.3.13 to 2026.9.6 have it: its assets, the paths it gives
/// its own views, and what it asks for with the caller's credential.
pub(super) fn web_page(need: &Need) -> Vec<Route> {
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
    // Pages that a ticket in the request opens, or that are for everybody: nothing of ours goes with them.
    const TICKETED: &[&str] = &["/__openclaw__/board/", "/api/artifacts/download/", "/share/", "/approve/", "/focus/"];
    const TICKETED_FILES: &[&str] = &["/__openclaw__/mcp-app", MCP_APP_VIEW];
    const MCP_APP_VIEW: &str = "/__openclaw__/mcp-app/view";
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
    let ticketed = TICKETED.iter().map(|p| route(Pattern::Prefix(Arc::from(*p)), &Need::Public));
    let files = TICKETED_FILES.iter().map(|p| route(Pattern::Exact(Arc::from(*p)), &Need::Public));
    // The page of an app calls its tools so.
    let view = route(Pattern::Exact(Arc::from(MCP_APP_VIEW)), &Need::Public);
    let calls = [Route { methods: vec![Method::POST], ..view }];
    exact.chain(below).chain(own).chain(config).chain(ticketed).chain(files).chain(calls).collect()
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
    for (path, probe) in [
        ("/health", Probe::Live),
        ("/healthz", Probe::Live),
        ("/ready", Probe::Ready),
        ("/readyz", Probe::Ready),
        ("/startup", Probe::Startup),
        ("/startupz", Probe::Startup),
    ] {
        routes.push(route(RouteLabel::Health, Method::GET, exact(path), Need::Health(probe)));
    }
    routes
}

/// The API's paths that clients build from a base URL.
const API: [&str; 5] = ["/v1/models", "/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/tools/invoke"];

/// The route that a client meant whose base URL lacks `/v1`, has it twice or something in front of it, or
/// whose path is mistyped. For messages alone: no request is ever sent elsewhere than it says.
#[must_use]
pub fn likely(path: &str) -> Option<&'static str> {
    let path = path.trim_end_matches('/');
    let part = |api: &&str| path.len() > 1 && (api.ends_with(path) || path.ends_with(*api));
    if path.ends_with("/completions") {
        return Some("/v1/chat/completions");
    }
    let near = || API.into_iter().map(|api| (strsim::levenshtein(path, api), api)).min().filter(|(far, _)| *far <= 3);
    API.into_iter().find(part).or_else(|| near().map(|(_, api)| api))
}

#[cfg(test)]
mod likely_tests {
    use super::likely;

    #[test]
    fn a_mistyped_path_names_the_route_that_was_meant() {
        for (path, meant) in [
            ("/models", Some("/v1/models")),
            ("/chat/completions", Some("/v1/chat/completions")),
            ("/v1/completions", Some("/v1/chat/completions")),
            ("/v1/v1/models", Some("/v1/models")),
            ("/api/v1/responses", Some("/v1/responses")),
            ("/v1/model", Some("/v1/models")),
            ("/v1/embedding/", Some("/v1/embeddings")),
            ("/", None),
            ("", None),
            ("/hooks/agent", None),
            ("/api/v1/admin/rpc", None),
        ] {
            assert_eq!(likely(path), meant, "{path}");
        }
    }
}
