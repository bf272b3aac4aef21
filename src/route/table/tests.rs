use super::*;
use crate::route::Probe;
use crate::scope::ADMIN;
use crate::scope::{ScopeSet, WRITE};
use proptest::prelude::*;

fn scope(name: &str) -> Need {
    Need::Scope(Scope::parse(name).unwrap())
}

fn route(path: &str, methods: &[Method], need: Need) -> Route {
    let pattern = if path.ends_with('/') { Pattern::Prefix(Arc::from(path)) } else { Pattern::Exact(Arc::from(path)) };
    Route { label: RouteLabel::Custom, methods: methods.to_vec(), pattern, need }
}

fn table(routes: &[(&str, Need)]) -> RouteTable {
    RouteTable::new(routes.iter().map(|(path, need)| route(path, &[], need.clone())).collect(), scope(ADMIN))
}

fn need(table: &RouteTable, method: &Method, path: &str) -> Need {
    table.find(method, Path::validate(path.as_bytes()).unwrap()).need.clone()
}

#[test]
fn the_contract_s_routes_need_what_it_says() {
    let table = table(&[]);
    for (method, path, needed) in [
        (Method::GET, "/v1/models", READ),
        (Method::GET, "/v1/models/openclaw%2Fmain", READ),
        (Method::POST, "/v1/chat/completions", WRITE),
        (Method::POST, "/v1/responses", WRITE),
        (Method::POST, "/v1/embeddings", WRITE),
        (Method::POST, "/tools/invoke", WRITE),
        (Method::GET, "/sessions/agent%3Amain/history", READ),
        (Method::GET, "/sessions/a%2Fb/history", READ),
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
    let own = route("/hooks/", &[Method::POST], Need::Public);
    let table = RouteTable::new(vec![own], scope(ADMIN));
    assert_eq!(need(&table, &Method::POST, "/hooks/a"), Need::Public);
    assert_ne!(need(&table, &Method::GET, "/hooks/a"), Need::Public);
}

#[test]
fn a_route_is_not_got_around_by_spelling() {
    let table = table(&[("/plugins/", scope(READ)), ("/plugins/admin/", scope(ADMIN)), ("/plugins/one", scope(WRITE))]);
    for path in [
        "/plugins/admin/x",
        "/plugins/admin",
        "/plugins/Admin/x",
        "/plugins/%61dmin/x",
        "/plugins/%2561dmin/x",
        "/plugins/%25252561dmin/x",
        "/plugins/admin%2fx",
        "/plugins/admin%252Fx",
        "/plugins/admin%3fx",
        "/plugins/admin%23",
        "/Plugins/admin/x",
        "/plugins%2Fadmin/x",
    ] {
        assert_eq!(need(&table, &Method::GET, path), scope(ADMIN), "{path}");
    }
    for path in ["/plugins/one/", "/plugins/ONE", "/plugins/%6fne"] {
        assert_eq!(need(&table, &Method::GET, path), scope(WRITE), "{path}");
    }
    for path in ["/plugins/x", "/plugins/files/a%20b", "/plugins/Files/%C3%A9", "/plugins/administrator"] {
        assert_eq!(need(&table, &Method::GET, path), scope(READ), "{path}");
    }
}

#[test]
fn needs_that_do_not_imply_each_other_are_both_needed() {
    let table = table(&[("/p/", scope("operator.pairing")), ("/p/a/", scope("operator.approvals"))]);
    let both = need(&table, &Method::GET, "/p/%61/x");
    assert_eq!(both.to_string(), "operator.approvals and operator.pairing");
    let held = |names: &str| ScopeSet::parse_lines([names.as_bytes()]).unwrap();
    assert!(both.missing(&held("operator.pairing")).is_some());
    assert!(both.missing(&held("operator.pairing,operator.approvals")).is_none());
}

#[test]
fn the_most_specific_route_wins_whatever_the_order_in_the_file() {
    let mut routes = vec![
        route("/hooks/", &[], Need::Public),
        route("/hooks/admin/", &[], scope(ADMIN)),
        route("/hooks/admin/status", &[], Need::Authenticated),
        route("/hooks/admin/", &[Method::POST], scope(WRITE)),
    ];
    for _ in 0..routes.len() {
        routes.rotate_left(1);
        let table = RouteTable::new(routes.clone(), scope(ADMIN));
        assert_eq!(need(&table, &Method::GET, "/hooks/x"), Need::Public);
        assert_eq!(need(&table, &Method::GET, "/hooks/admin/x"), scope(ADMIN));
        assert_eq!(need(&table, &Method::POST, "/hooks/admin/x"), scope(WRITE));
        assert_eq!(need(&table, &Method::POST, "/hooks/admin/status"), Need::Authenticated);
    }
}

#[test]
fn of_two_routes_for_the_same_paths_the_stricter_counts() {
    for routes in [[("/a/", Need::Public), ("/a/", scope(ADMIN))], [("/A/", scope(ADMIN)), ("/a/", Need::Public)]] {
        assert_eq!(need(&table(&routes), &Method::GET, "/a/x"), scope(ADMIN));
    }
}

#[test]
fn head_needs_what_get_needs() {
    let routes = vec![route("/a", &[Method::GET], scope(ADMIN)), route("/", &[], scope(READ))];
    assert_eq!(need(&RouteTable::new(routes, scope(ADMIN)), &Method::HEAD, "/a"), scope(ADMIN));
}

#[test]
fn a_join_code_is_for_administrators_unless_a_route_names_it() {
    let joins = ["/j", "/j/", "/j/code", "/v1/models/j/code", "/assets/j/code", "/healthz/j", "/sessions/j/history"];
    let open = table(&[("/", Need::Public), ("/v1/", Need::Public), ("/assets/", Need::Public)]);
    for path in joins {
        for table in [&open, &table(&[]).with_ui(Ui::Open)] {
            let found = table.find(&Method::GET, Path::validate(path.as_bytes()).unwrap());
            assert_eq!((found.label, &found.need), (RouteLabel::Join, &scope(ADMIN)), "{path}");
        }
    }
    let named = table(&[("/", scope(READ)), ("/j/", Need::Public), ("/claw/j/one", Need::Authenticated)]);
    assert_eq!(need(&named, &Method::GET, "/j/code"), Need::Public);
    assert_eq!(need(&named, &Method::GET, "/claw/j/one"), Need::Authenticated);
    for path in ["/claw/j/two", "/v1/models/j/code", "/j"] {
        assert_eq!(need(&named, &Method::GET, path), scope(ADMIN), "{path}");
    }
    for path in ["/J/code", "/%6A/code", "/jobs"] {
        assert_eq!(
            named.find(&Method::GET, Path::validate(path.as_bytes()).unwrap()).label,
            RouteLabel::Custom,
            "{path}"
        );
    }
}

#[test]
fn an_incognito_session_is_for_administrators_on_every_path() {
    let table = table(&[("/sessions/", scope(READ))]);
    for path in [
        "/sessions/agent%3Amain%3Adashboard%3Aincognito-1/history",
        "/sessions/agent:main:dashboard:INCOGNITO-1/history",
        "/sessions/agent:main:dashboard:%69ncognito-1/history",
        "/sessions/incognito-1/messages",
        "/sessions/incognito-1",
    ] {
        assert_eq!(need(&table, &Method::GET, path), scope(ADMIN), "{path}");
    }
    assert_eq!(need(&table, &Method::GET, "/sessions/agent:main:main/history"), scope(READ));
    assert_eq!(need(&RouteTable::new(Vec::new(), Need::Public), &Method::GET, "/sessions/incognito-1/x"), scope(ADMIN));
}

#[test]
fn the_rpc_route_of_administrators_is_theirs_in_every_spelling() {
    let table = RouteTable::new(Vec::new(), Need::Authenticated);
    for path in ["/api/v1/admin/rpc", "/api/v1/admin/rpc/", "/API/v1/admin/rpc", "/api/v1/admin%2frpc"] {
        assert_eq!(need(&table, &Method::POST, path), scope(ADMIN), "{path}");
    }
    assert_eq!(need(&table, &Method::POST, "/api/v1/other"), Need::Authenticated);
}

fn any_need() -> impl Strategy<Value = Need> {
    const SCOPES: &[&str] = &[READ, WRITE, ADMIN, "operator.pairing", "operator.approvals", "node.exec"];
    prop_oneof![
        Just(Need::PassthroughCredential(std::sync::Arc::default())),
        Just(Need::Public),
        Just(Need::Health(Probe::Live)),
        Just(Need::Authenticated),
        prop::sample::select(SCOPES).prop_map(scope),
        prop::collection::vec(prop::sample::select(SCOPES), 1..4)
            .prop_map(|names| Need::Scopes(names.into_iter().map(Scope::known).collect())),
    ]
}

proptest! {
    #[test]
    fn both_needs_in_one_is_at_least_each(a in any_need(), b in any_need()) {
        let both = a.and(&b);
        prop_assert!(both.is_at_least(&a) && both.is_at_least(&b));
        prop_assert!(a.is_at_least(&a));
    }

    #[test]
    fn the_order_of_the_file_changes_nothing(
        routes in prop::collection::vec(("/[abA]/([abA]/)?|/[abA]", any_need()), 1..6),
        path in "/[abAB]/?[abA]?/?",
        turn in 0_usize..6,
    ) {
        let Ok(path) = Path::validate(path.as_bytes()).map(Path::as_str) else { return Ok(()) };
        let routes: Vec<Route> = routes.iter().map(|(path, need)| route(path, &[], need.clone())).collect();
        let mut turned = routes.clone();
        let turn = turn % turned.len();
        turned.rotate_left(turn);
        turned.reverse();
        let (a, b) = (RouteTable::new(routes, scope(ADMIN)), RouteTable::new(turned, scope(ADMIN)));
        let (a, b) = (need(&a, &Method::GET, path), need(&b, &Method::GET, path));
        prop_assert!(a.is_at_least(&b) && b.is_at_least(&a), "{a} {b}");
    }

    #[test]
    fn no_spelling_needs_less_than_the_plain_path(
        routes in prop::collection::vec(("/[ab]/([ab]/)?|/[ab]", any_need()), 1..6),
        path in "(/[abj]){1,3}/?",
        spelling in prop::collection::vec(0_u8..5, 8),
    ) {
        let table = RouteTable::new(
            routes.iter().map(|(path, need)| route(path, &[], need.clone())).collect(), Need::Public);
        let spelled: String = path.chars().zip(spelling.iter().cycle()).enumerate().map(|(i, (c, how))| match how {
            0 => c.to_ascii_uppercase().to_string(),
            1 if i > 0 => format!("%{:02x}", u32::from(c)),
            2 if i > 0 => format!("%25{:02X}", u32::from(c)),
            _ => c.to_string(),
        }).collect();
        // The gateway matches its own routes, and joins, with the path as it came.
        if Path::validate(path.as_bytes()).unwrap().is_join() {
            return Ok(());
        }
        let Ok(judged) = Path::validate(spelled.as_bytes()) else { return Ok(()) };
        let plain = if spelled.ends_with('/') { &*path } else { path.trim_end_matches('/') };
        let (is, least) = (table.find(&Method::GET, judged), need(&table, &Method::GET, plain));
        prop_assert!(is.need.is_at_least(&least), "{spelled}: {} < {least}", is.need);
    }
}
