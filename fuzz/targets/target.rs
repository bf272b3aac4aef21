//! The request target.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use scopeshim::route::{Need, RouteTable};
use scopeshim::scope::{ADMIN, Scope};
use scopeshim::target::Path;
use std::sync::LazyLock;

static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| RouteTable::new(Vec::new(), Need::Scope(Scope::known(ADMIN))));

fuzz_target!(|data: &[u8]| {
    let Ok(path) = Path::judge(data) else { return };
    let text = path.as_str();
    assert!(data.starts_with(text.as_bytes()));
    assert!(text.starts_with('/') && !text.contains("//"), "{text}");
    assert!(text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b';' | b'#' | b'?')), "{text}");
    for segment in text.split('/') {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        assert!(plain != "." && plain != "..", "{text}");
    }
    // What is judged once is judged the same again.
    assert_eq!(Path::judge(text.as_bytes()).unwrap().as_str(), text);
    for method in [Method::GET, Method::POST] {
        let _ = ROUTES.find(&method, path);
    }
});
