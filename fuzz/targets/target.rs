//! The request target.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use scopeshim::metric_labels::RouteLabel;
use scopeshim::request_path::Path;
use scopeshim::route::{Need, Pattern, Route, RouteTable};
use scopeshim::scope::{ADMIN, Scope};
use std::sync::LazyLock;

static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| {
    let route = |prefix: &str, need| Route {
        label: RouteLabel::Custom,
        methods: Vec::new(),
        pattern: Pattern::Prefix(prefix.into()),
        need,
    };
    let admin = Need::Scope(Scope::known(ADMIN));
    let routes =
        vec![route("/", Need::Public), route("/plugins/", Need::Authenticated), route("/plugins/admin/", admin)];
    RouteTable::new(routes, Need::Public)
});

fuzz_target!(|data: &[u8]| {
    let Ok(path) = Path::validate(data) else { return };
    let text = path.as_str();
    assert!(data.starts_with(text.as_bytes()));
    assert!(text.starts_with('/') && !text.contains("//"), "{text}");
    assert!(text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b';' | b'#' | b'?')), "{text}");
    for segment in text.split('/') {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        assert!(plain != "." && plain != "..", "{text}");
    }
    // What is judged once is judged the same again.
    assert_eq!(Path::validate(text.as_bytes()).unwrap().as_str(), text);
    for reading in path.readings() {
        assert!(reading.starts_with('/') && !reading.contains("//"), "{text}: {reading}");
        assert!(reading.len() == 1 || !reading.ends_with('/'), "{text}: {reading}");
        assert!(!reading.contains(|c: char| c.is_ascii_uppercase() || !c.is_ascii_graphic()), "{text}: {reading}");
    }
    for method in [Method::GET, Method::POST] {
        let found = ROUTES.find(&method, path);
        // Whoever spells it otherwise needs no less.
        if let Ok(canonical) = Path::validate(path.canonical().as_bytes())
            && canonical.as_str().starts_with("/plugins/admin/")
        {
            assert!(found.need.is_at_least(&Need::Scope(Scope::known(ADMIN))), "{text}: {}", found.need);
        }
    }
});
