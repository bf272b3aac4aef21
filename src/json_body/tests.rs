use super::*;
use proptest::prelude::*;

fn fault(body: &str) -> BodyFault {
    Object::read(body.as_bytes()).unwrap_err()
}

#[test]
fn members_are_found_however_their_names_are_spelled() {
    let body = r#" {"us\u0065r" : "b\u006fb", "model":"x","n":1e999,"deep":[{"user":"no"}], "null":null} "#;
    let object = Object::read(body.as_bytes()).unwrap();
    assert_eq!(object.text("user").unwrap().as_deref(), Some("bob"));
    assert_eq!(object.text("model").unwrap().as_deref(), Some("x"));
    assert_eq!(object.text("null").unwrap(), None);
    assert_eq!(object.text("absent").unwrap(), None);
    assert_eq!(object.text("n"), Err(BodyFault::NotText("n")));
}

#[test]
fn a_name_that_stands_there_twice_is_refused_however_it_is_spelled() {
    assert_eq!(fault(r#"{"user":"a","user":"b"}"#), BodyFault::Repeated("user".into()));
    assert_eq!(fault(r#"{"user":"a","us\u0065r":"b"}"#), BodyFault::Repeated("user".into()));
    assert_eq!(fault(r#"{"a":1,"__proto__":{"user":"b"}}"#), BodyFault::Prototype);
    assert_eq!(fault(r#"{"a":1,"__pr\u006fto__":{"user":"b"}}"#), BodyFault::Prototype);
    let args = Object::read(br#"{"args":{"sessionKey":"a","sessionKe\u0079":"b"}}"#).unwrap();
    assert_eq!(args.object("args").unwrap_err(), BodyFault::Repeated("sessionKey".into()));
}

#[test]
fn what_is_no_object_is_refused() {
    for body in
        ["[]", "1", "\"x\"", "{", "{}x", "{}{}", "{\"a\":}", "nul", "{'a':1}", "{\"a\":1,}", "// x\n{}", "{\"a\":01}"]
    {
        assert!(matches!(fault(body), BodyFault::Syntax(_) | BodyFault::Trailing), "{body}");
    }
    assert_eq!(Object::read(b"{\"a\":\"\xff\"}").unwrap_err(), BodyFault::Encoding);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert_eq!(fault(&deep), BodyFault::Depth);
    let many: Vec<String> = (0..=MAX_MEMBERS).map(|i| format!("\"m{i}\":0")).collect();
    assert!(fault(&format!("{{{}}}", many.join(","))).to_string().contains("too many"));
}

#[test]
fn an_empty_body_holds_nothing_as_it_does_for_the_gateway() {
    for body in ["", " \r\n", "\u{feff}", "\u{a0}{}\u{2028}"] {
        let object = Object::read(body.as_bytes()).unwrap();
        assert!(!object.has("user"), "{body:?}");
    }
}

#[test]
fn a_member_is_changed_or_put_in_and_every_other_byte_stays() {
    let changed = |body: &str, sets: &[(&str, &str)]| {
        let object = Object::read(body.as_bytes()).unwrap();
        let mut edits = Edits::default();
        for (name, text) in sets {
            object.set(name, text, &mut edits);
        }
        String::from_utf8(edits.apply(body.as_bytes())).unwrap()
    };
    assert_eq!(changed(" { \"a\" : 1 }\n", &[("b", "x\"y")]), " {\"b\":\"x\\\"y\", \"a\" : 1 }\n");
    assert_eq!(changed("{\"a\": \"\\u0041\", \"b\":2}", &[("a", "x")]), "{\"a\": \"x\", \"b\":2}");
    assert_eq!(changed("{}", &[("a", "1"), ("b", "2")]), "{\"b\":\"2\",\"a\":\"1\"}");
    assert_eq!(changed("{\"c\":[1]}", &[("a", "1"), ("c", "3"), ("b", "2")]), "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}");
    let body = "{\"args\":{\"sessionKey\":\"x\"},\"tool\":\"t\"}";
    let (object, mut edits) = (Object::read(body.as_bytes()).unwrap(), Edits::default());
    object.object("args").unwrap().unwrap().set("sessionKey", "y", &mut edits);
    object.set("sessionKey", "z", &mut edits);
    let expected = "{\"sessionKey\":\"z\",\"args\":{\"sessionKey\":\"y\"},\"tool\":\"t\"}";
    assert_eq!(String::from_utf8(edits.apply(body.as_bytes())).unwrap(), expected);
}

#[test]
fn the_end_is_seen_whatever_the_pieces() {
    let body = br#" {"a":"}{\"","b":[{}]} "#;
    for cut in 0..body.len() {
        let (mut scan, (head, tail)) = (Scan::default(), body.split_at(cut));
        scan.feed(head).unwrap();
        assert_eq!(scan.has_ended(), head.ends_with(b"]}") || head.ends_with(b"} "), "{cut}");
        scan.feed(tail).unwrap();
        assert!(scan.has_ended());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Object::read(&body);
    }

    #[test]
    fn what_is_set_is_what_is_read(members in prop::collection::hash_map("[a-z\\\\\"]{1,3}", "\\PC{0,5}", 0..6), name in "[a-d]", text in "\\PC{0,9}", blank in "[ \n\t]{0,2}") {
        let body = format!("{blank}{}{blank}", serde_json::to_string_pretty(&members).unwrap());
        let object = Object::read(body.as_bytes()).unwrap();
        let mut edits = Edits::default();
        object.set(&name, &text, &mut edits);
        let changed = edits.apply(body.as_bytes());
        let read: std::collections::HashMap<String, String> = serde_json::from_slice(&changed).unwrap();
        let mut expected = members;
        expected.insert(name, text);
        prop_assert_eq!(read, expected);
    }
}
