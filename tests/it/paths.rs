//! This proxy's reading of paths against the gateway's own code. `make paths` runs these: they need a
//! release of the gateway and Node.

use crate::support::Oracle;
use proptest::prelude::*;
use scopeshim::request_path::Path;
use scopeshim::route::{Fit, Need, PathRule, Pattern, Route, RouteTable};
use scopeshim::scope::Scope;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

static GATEWAY: LazyLock<Oracle> = LazyLock::new(|| Oracle::start("paths"));

/// What the gateway makes of a path, with these routes registered by plugins.
fn gateway(path: &str, routes: &[String]) -> Value {
    let plugin = |route: &String| match route.strip_suffix('/') {
        Some(prefix) if !prefix.is_empty() => json!({ "path": prefix, "match": "prefix" }),
        _ => json!({ "path": route, "match": "exact" }),
    };
    let question = json!({ "path": path, "routes": routes.iter().map(plugin).collect::<Vec<_>>() });
    GATEWAY.ask(&question.to_string())
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

fn rule(route: &str) -> PathRule {
    let path = Path::validate(route.as_bytes()).unwrap();
    if route.ends_with('/') { PathRule::prefix(path) } else { PathRule::exact(path) }
}

fn table(routes: &[(String, Need)]) -> RouteTable {
    let route = |(path, need): &(String, Need)| Route {
        label: scopeshim::metric_labels::RouteLabel::Custom,
        methods: Vec::new(),
        pattern: if path.ends_with('/') {
            Pattern::Prefix(Arc::from(&**path))
        } else {
            Pattern::Exact(Arc::from(&**path))
        },
        need: need.clone(),
    };
    // Of the rest less is asked than of any rule: what a rule covers in one reading it covers in all.
    RouteTable::new(routes.iter().map(route).collect(), Need::PassthroughCredential(Arc::default()))
}

fn any_target() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "/", "/", "/", "a", "A", "b", "B", "ab", "a", "j", "/j/", "/j", "plugins", "%61", "%41", "%2561", "%252561",
        "%62", "%2f", "%2F", "%252F", "%25252f", "%2e", "%252e", ".", "..", "%2e%2e", "%5c", "%255c", "%3f", "%3F",
        "%253f", "%23", "%2523", "%20", "%2520", "%25", "%2525", "%ff", "%25ff", "%c3%a9", "%C3", "%2509", "%09",
        "%7e", "%7E", "\"", "%22", "{", "%7b", "|", "[", "'", "+", "=", "@", ":", "%3a", "%", ";", "~", "%6", "%256",
        "1",
    ];
    prop::collection::vec(prop::sample::select(PARTS), 0..9)
        .prop_map(|parts| format!("/{}", parts.concat()))
        .prop_flat_map(|rest| prop_oneof![Just(rest.clone()), Just(format!("/a{rest}")), Just(format!("/a/b{rest}"))])
}

fn any_routes() -> impl Strategy<Value = Vec<(String, Need)>> {
    let need = prop_oneof![
        Just(Need::PassthroughCredential(Arc::default())),
        Just(Need::Public),
        Just(Need::Authenticated),
        prop::sample::select(&["operator.read", "operator.write", "operator.admin", "operator.pairing"][..])
            .prop_map(|name| Need::Scope(Scope::known(name))),
    ];
    prop::collection::vec(("(/(a|b|ab|A|plugins)){1,3}/?", need), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "needs a gateway's code: `make paths`"]
    fn the_readings_of_a_path_are_the_gateway_s(target in any_target()) {
        let judged = Path::validate(target.as_bytes());
        prop_assume!(judged.is_ok());
        let path = judged.unwrap();
        let answer = gateway(&target, &[]);
        let ours: BTreeSet<String> = path.readings().into_iter().map(std::borrow::Cow::into_owned).collect();
        let theirs: BTreeSet<String> = texts(&answer["candidates"]).into_iter().map(str::to_owned).collect();
        prop_assert_eq!(&ours, &theirs, "{}", target);
        prop_assert_eq!(path.canonical(), texts(&answer["candidates"]).last().copied().unwrap(), "{}", target);
        prop_assert_eq!(&answer["limit"], false);
        if let Some(join) = answer["join"].as_bool() {
            prop_assert_eq!(path.is_join(), join, "{}", target);
        }
    }

    #[test]
    #[ignore = "needs a gateway's code: `make paths`"]
    fn no_path_needs_less_than_the_rule_for_what_the_gateway_acts_on(target in any_target(), routes in any_routes()) {
        let judged = Path::validate(target.as_bytes());
        prop_assume!(judged.is_ok());
        let found = table(&routes).find(&http::Method::GET, judged.unwrap());
        let paths: Vec<String> = routes.iter().map(|(path, _)| path.clone()).collect();
        let answer = gateway(&target, &paths);
        // The plugin's route that is asked first, and those that are asked when it declines.
        if let Some(first) = answer["matched"][0].as_u64() {
            let (path, least) = &routes[usize::try_from(first).unwrap()];
            prop_assert!(found.need.is_at_least(least), "{target} is {path} to the gateway: {} < {least}", found.need);
        }
        // The same for a plugin that looks at the path itself, in any of its forms.
        for candidate in texts(&answer["candidates"]) {
            let Ok(plain) = Path::validate(candidate.as_bytes()) else { continue };
            // One that decodes further is in the list decoded, unless the gateway found its rest malformed.
            if plain.readings().len() > 1 || (plain.is_join() && !judged.unwrap().is_join()) {
                continue;
            }
            // The gateway has cut off a slash at its end, if there was one.
            let with_slash = format!("{}/", candidate.trim_end_matches('/'));
            let spellings = [plain, Path::validate(with_slash.as_bytes()).unwrap()];
            let least = spellings.map(|path| table(&routes).find(&http::Method::GET, path).need.clone());
            prop_assert!(
                least.iter().any(|least| found.need.is_at_least(least)),
                "{target} reads {candidate}: {} < {}", found.need, least[0]
            );
        }
    }

    #[test]
    #[ignore = "needs a gateway's code: `make paths`"]
    fn a_grant_s_route_covers_what_the_gateway_takes_for_it_in_every_reading(target in any_target(), routes in any_routes()) {
        let judged = Path::validate(target.as_bytes());
        prop_assume!(judged.is_ok());
        let rules: Vec<PathRule> = routes.iter().map(|(path, _)| rule(path)).collect();
        let paths: Vec<String> = routes.iter().map(|(path, _)| path.clone()).collect();
        let answer = gateway(&target, &paths);
        for (rule, canonical) in rules.iter().zip(texts(&answer["canonical"])) {
            prop_assert_eq!(rule.canonical(), canonical);
        }
        let fit = PathRule::fit(&rules, judged.unwrap());
        let matched = answer["matched"].as_array().unwrap();
        let covered = |candidate: &str| {
            texts(&answer["canonical"]).iter().zip(&paths).any(|(canonical, path)| {
                candidate == *canonical || (path.ends_with('/') && candidate.starts_with(&format!("{canonical}/")))
            })
        };
        let all = texts(&answer["candidates"]).into_iter().all(covered);
        match fit {
            Fit::All => prop_assert!(all, "{target}: {answer}"),
            Fit::Some => {}
            Fit::None => prop_assert!(matched.is_empty(), "{target}: {answer}"),
        }
    }
}
