//! JSON bodies: what is read, and what is changed in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scopeshim::json_body::{Edits, Object, Scan};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(object) = Object::read(data) else { return };
    // Read in two pieces, the end is seen where it is.
    let (mut scan, (head, tail)) = (Scan::default(), data.split_at(data.len() / 2));
    scan.feed(head).unwrap();
    scan.feed(tail).unwrap();
    let Some(first) = object.names().next().map(ToOwned::to_owned) else { return };
    assert!(scan.has_ended());
    // A reader that trims nothing is given what is left.
    let text = scopeshim::session_space::trim(std::str::from_utf8(data).unwrap());
    let Ok(whole) = serde_json::from_str::<Value>(text) else { return };
    let whole = whole.as_object().unwrap();
    assert_eq!(object.names().count(), whole.len(), "no name is repeated");
    for name in ["user", "model", "sessionKey"] {
        if let Ok(read) = object.text(name) {
            assert_eq!(read.as_deref(), whole.get(name).and_then(Value::as_str));
        }
    }
    let mut edits = Edits::default();
    object.set("sessionKey", "x", &mut edits);
    object.set(&first, "y", &mut edits);
    if first != "sessionKey" {
        let changed: Value = serde_json::from_slice(scopeshim::session_space::trim(&String::from_utf8(edits.apply(data)).unwrap()).as_bytes()).unwrap();
        let mut expected = whole.clone();
        expected.insert("sessionKey".into(), "x".into());
        expected.insert(first, "y".into());
        assert_eq!(changed, Value::Object(expected));
    }
});
