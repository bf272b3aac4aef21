use super::*;
use crate::incognito_session::is_incognito;
use proptest::prelude::*;

fn main_agent() -> AgentId {
    AgentId::parse("main").unwrap()
}

fn token(name: &str) -> Space {
    Space::new("token", None, name)
}

#[test]
fn a_key_names_its_agent_its_source_and_its_principal() {
    let issued = Space::new("issuer", Some("keycloak"), "alice@example.org");
    assert_eq!(token("alice").key(&main_agent(), "chat-1"), "agent:main:scopeshim.token:alice:chat-1");
    assert_eq!(
        issued.key(&main_agent(), "Chat 1"),
        "agent:main:scopeshim.issuer.keycloak:alice~40example.org:~43hat~201"
    );
}

#[test]
fn the_spaces_that_met_under_the_old_keys_are_apart() {
    let main = main_agent();
    let spaces = [
        token("agent"),
        token("Alice"),
        token("alice"),
        Space::new("issuer", Some("a"), "alice"),
        Space::new("issuer", Some("A"), "alice"),
        Space::new("issuer", Some("a.b"), "alice"),
        Space::new("issuer", Some("a:b"), "alice"),
        Space::new("tailnet", None, "alice"),
        token("alice:other"),
    ];
    let keys: std::collections::BTreeSet<String> = spaces.iter().map(|s| s.key(&main, "x").to_lowercase()).collect();
    assert_eq!(keys.len(), spaces.len());
    assert!(keys.iter().all(|key| key.starts_with("agent:main:scopeshim.")), "{keys:?}");
}

#[test]
fn an_agent_that_the_client_names_is_kept_and_another_principal_s_key_is_nobodys() {
    let (alice, bob) = (token("alice"), token("bob"));
    let sent = Sent::parse("agent:Home:x").unwrap().unwrap();
    let key = alice.map(&sent, &main_agent());
    assert_eq!(key, "agent:home:scopeshim.token:alice:x");
    assert_eq!(alice.name_of(&key).as_deref(), Some("x"));
    assert_eq!(bob.name_of(&key), None);
    for foreign in ["agent:home:x", "x", "agent:home:scopeshim.token:alice:X", "Agent:home:scopeshim.token:alice:x"] {
        assert_eq!(alice.name_of(foreign), None, "{foreign}");
    }
}

#[test]
fn keys_that_name_an_agent_twice_or_not_plainly_are_malformed() {
    for key in [
        "agent:",
        "agent:x",
        "agent::x",
        "agent: main:x",
        "agent:main:",
        "agent:main::x",
        "agent:main:agent:other:x",
        "AGENT:main:Agent:other:x",
        "agent:ma in:x",
        "agent:main: x",
        "agent:.:x",
    ] {
        assert_eq!(Sent::parse(key), Err(Malformed), "{key:?}");
    }
    assert_eq!(Sent::parse(" \u{feff}\t"), Ok(None));
    assert_eq!(Sent::parse(" x "), Ok(Some(Sent::Bare("x"))));
    assert!(matches!(Sent::parse(" AGENT:Other:x"), Ok(Some(Sent::OfAgent(a, "x"))) if a.as_str() == "other"));
}

#[test]
fn somebodys_key_is_known_wherever_its_lead_stands() {
    for key in ["agent:main:scopeshim.token:a:x", "ScopeShim.token:a:x", " agent:x: scopeshim.a", "a:scopeshim.:b"] {
        assert!(is_somebodys(key), "{key}");
    }
    for key in ["main", "agent:main:scopeshim", "agent:scopeshim:x", "scopeshimx"] {
        assert!(!is_somebodys(key), "{key}");
    }
}

#[test]
fn two_calls_have_two_fresh_keys_and_each_may_be_named_again() {
    let (alice, main) = (token("alice"), main_agent());
    let (one, two) = (alice.fresh(&main), alice.fresh(&main));
    assert_ne!(one, two);
    let again = Sent::parse(&one).unwrap().unwrap();
    assert_eq!(alice.map(&again, &AgentId::parse("other").unwrap()), one);
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9 :.~%/_-]{1,12}",
        "\\PC{1,40}",
        "(agent|thread|direct|incognito-|scopeshim\\.|~~|~\\.)[a-f0-9:.]{0,70}",
        "[aA]{1,3}",
    ]
    .prop_map(|s| trim(&s).to_owned())
    .prop_filter("empty", |s| !s.is_empty())
}

fn any_principal() -> impl Strategy<Value = (&'static str, Option<String>, String)> {
    prop_oneof![
        any_name().prop_map(|n| ("token", None, n)),
        any_name().prop_map(|n| ("tailnet", None, n)),
        (any_name(), any_name()).prop_map(|(i, n)| ("issuer", Some(i), n)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_two_of_source_name_and_key_meet_in_the_gateway(a in any_principal(), b in any_principal(), k in any_name(), l in any_name()) {
        let key = |(source, issuer, name): &(&str, Option<String>, String), k: &str| {
            Space::new(source, issuer.as_deref(), name).key(&main_agent(), k)
        };
        let (one, two) = (key(&a, &k), key(&b, &l));
        // The gateway folds case and trims.
        prop_assert_eq!(one.trim().to_lowercase() == two.trim().to_lowercase(), (&a, &k) == (&b, &l), "{} {}", one, two);
        prop_assert_eq!(Space::new(b.0, b.1.as_deref(), &b.2).owns(&one), a == b);
    }

    #[test]
    fn a_key_goes_back_to_its_name_and_stays_itself(p in any_principal(), name in any_name(), id in "[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}") {
        let space = Space::new(p.0, p.1.as_deref(), &p.2);
        let agent = AgentId::parse(&id).unwrap();
        let key = space.key(&agent, &name);
        let back = space.name_of(&key).unwrap();
        prop_assert!(back == name || back == key, "{key} {back}");
        let sent = Sent::parse(&key).unwrap().unwrap();
        prop_assert_eq!(space.map(&sent, &main_agent()), key.as_str());
        prop_assert_eq!(key.to_lowercase(), key.as_str());
        prop_assert!(key.len() <= 512);
        prop_assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b":._-~".contains(&b)));
        prop_assert_eq!(key.split(':').count(), 5);
        prop_assert!(!is_incognito(&key));
        prop_assert!(is_somebodys(&key));
    }

    #[test]
    fn what_a_client_sends_lands_in_its_own_space_or_nowhere(p in any_principal(), sent in "\\PC{0,40}|agent:[a-z:]{0,20}|[Aa]gent:main:scopeshim\\.token:[a-z]{1,2}:[a-z~0-9:]{0,9}") {
        let space = Space::new(p.0, p.1.as_deref(), &p.2);
        if let Ok(Some(sent)) = Sent::parse(&sent) {
            let key = space.map(&sent, &main_agent());
            prop_assert!(space.owns(&key), "{key}");
        }
    }
}
