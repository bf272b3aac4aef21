//! This proxy's reading of bodies against JSON.parse of Node. `make bodies` runs these: they need Node.

use crate::support::Oracle;
use base64::Engine as _;
use proptest::prelude::*;
use scopeshim::json_body::{Edits, Object};
use serde_json::Value;
use std::sync::LazyLock;

static NODE: LazyLock<Oracle> = LazyLock::new(|| Oracle::start("bodies"));

fn node(body: &[u8]) -> Value {
    NODE.ask(&base64::engine::general_purpose::STANDARD.encode(body))
}

const NAMES: [&str; 8] = ["model", "user", "previous_response_id", "sessionKey", "agentId", "tool", "name", "other"];

/// What is read here is what Node reads, member by member.
fn same(object: &Object<'_>, theirs: &Value, body: &[u8]) -> Result<(), TestCaseError> {
    let shown = String::from_utf8_lossy(body);
    let theirs = theirs.as_array();
    prop_assert!(theirs.is_some(), "{shown} is no object to Node");
    let theirs = theirs.unwrap();
    prop_assert_eq!(object.names().count(), theirs.len(), "{}", shown);
    for name in NAMES {
        let value = theirs.iter().find(|m| m[0] == name).map(|m| m[1].as_str().unwrap());
        prop_assert_eq!(object.has(name), value.is_some(), "{} {}", shown, name);
        match object.text(name) {
            Ok(None) => prop_assert!(value.is_none_or(|v| v == "null"), "{shown} {name}"),
            // Half of a surrogate pair is a text to Node; it is refused here.
            Err(_) => prop_assert!(value.is_some_and(|v| !v.starts_with('"') || v.contains("\\ud")), "{shown} {name}"),
            Ok(Some(text)) => {
                let value: String = serde_json::from_str(value.unwrap()).unwrap();
                prop_assert_eq!(&*text, value, "{} {}", shown, name);
            }
        }
    }
    Ok(())
}

/// JSON, nearly JSON and what merely looks like it.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    const PARTS: &[&[u8]] = &[
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"user\"",
        b"\"us\\u0065r\"",
        b"\"user",
        b"\"model\"",
        b"\"sessionKey\"",
        b"\"args\"",
        b"\"args\":{",
        b"\"tool\":\"x\"",
        b"\"a\\\"b\"",
        b"\"\\ud800\"",
        b"\"\\ud83d\\ude00\"",
        b"\"__proto__\"",
        b"\"\xff\"",
        b"\"\xc3\xa9\"",
        b"\"\\x\"",
        b"\"\t\"",
        b"\"\\u00e9\"",
        b"null",
        b"true",
        b"1",
        b"-0",
        b"01",
        b"1.",
        b"1e999",
        b".5",
        b" ",
        b"\n",
        b"\x0b",
        b"\xc2\xa0",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"/**/",
        b"//x\n",
        b"'user'",
        b"\0",
        b"\x1f\x8b",
        b"NaN",
        b"",
    ];
    let soup = prop::collection::vec(prop::sample::select(PARTS), 0..12).prop_map(|parts| parts.concat());
    let name = prop::sample::select(
        &["user", "us\\u0065r", "model", "args", "sessionKey", "\\u0073essionKey", "tool", "x"][..],
    );
    let value = prop::sample::select(
        &[
            "\"a\"",
            "null",
            "7",
            "{}",
            "{\"sessionKey\":\"y\"}",
            "{\"a\":1,\"\\u0061\":2}",
            "[{\"user\":\"z\"}]",
            "\"\\u0041\\n\"",
            "\"\\ud800\"",
            "-1.5e3",
        ][..],
    );
    let blank = prop::sample::select(&["", " ", "\r\n", "\t", "\u{feff}", "\u{a0}", "\u{2028}", "\u{85}"][..]);
    let object = (prop::collection::vec((name, value, blank.clone()), 0..5), blank).prop_map(|(members, around)| {
        let inner = [" ", "\n", ""];
        let members: Vec<String> = members
            .into_iter()
            .enumerate()
            .map(|(i, (n, v, b))| {
                format!("{}\"{n}\"{}:{v}{}", inner[i % 3], inner[(i + 1) % 3], if b.is_ascii() { b } else { "" })
            })
            .collect();
        format!("{around}{{{}}}{around}", members.join(",")).into_bytes()
    });
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..40), 3 => soup, 6 => object]
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 10_000_000, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "needs Node: `make bodies`"]
    fn no_body_is_read_otherwise_than_by_the_gateway(body in any_body()) {
        let Ok(object) = Object::read(&body) else { return Ok(()) };
        let answer = node(&body);
        same(&object, &answer["members"], &body)?;
        if let Ok(Some(args)) = object.object("args") {
            same(&args, &answer["args"], &body)?;
        }
    }

    #[test]
    #[ignore = "needs Node: `make bodies`"]
    fn what_is_refused_is_no_plain_object_to_the_gateway(body in any_body()) {
        if Object::read(&body).is_ok() {
            return Ok(());
        }
        // Refused too often is a fault as well: but for repeated names, `__proto__` and what is not UTF-8.
        let text = String::from_utf8_lossy(&body);
        let answer = node(&body);
        let reason = answer["members"].is_null()
            || std::str::from_utf8(&body).is_err()
            || text.contains("__proto__")
            || text.contains("\\ud800")
            || repeats(&text);
        prop_assert!(reason, "{} is an object to Node", text);
    }

    #[test]
    #[ignore = "needs Node: `make bodies`"]
    fn a_member_that_is_set_is_what_the_gateway_reads(body in any_body(), text in "\\PC{0,8}") {
        let Ok(object) = Object::read(&body) else { return Ok(()) };
        if object.names().count() == 0 && !body.contains(&b'{') {
            return Ok(());
        }
        let mut edits = Edits::default();
        object.set("sessionKey", &text, &mut edits);
        let changed = edits.apply(&body);
        let answer = node(&changed);
        let set = answer["members"].as_array().unwrap().iter().find(|m| m[0] == "sessionKey").unwrap()[1].as_str().unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(set).unwrap(), text);
    }
}

/// Whether some object at the top repeats a name, by a reader of its own.
fn repeats(text: &str) -> bool {
    struct Names(bool);
    impl<'de> serde::de::Visitor<'de> for &mut Names {
        type Value = ();
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            let mut seen = std::collections::HashSet::new();
            while let Some((name, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                self.0 |= !seen.insert(name);
            }
            Ok(())
        }
    }
    let mut names = Names(false);
    let json = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let _ = serde::Deserializer::deserialize_map(&mut serde_json::Deserializer::from_str(json), &mut names);
    names.0
}
