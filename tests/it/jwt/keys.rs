//! Keys that live: fetched, rotated, kept through an outage and a restart, and never fetched more
//! often because somebody wishes it.

use crate::support::signer::{P256, RSA, Signer, claims_with, jwks};
use crate::support::{FailureMode, Issuer, READER, Shim, eventually, fake_gateway, people};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The floor between two fetches, as the source has it.
const FLOOR: Duration = Duration::from_secs(10);

fn status(shim: &Shim, token: &str) -> u16 {
    shim.client().ask("GET /v1/models", token, &[], "").status
}

/// A token that no cache has seen.
fn fresh(signer: &Signer, issuer: &Issuer) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let algorithm = if signer.id.starts_with("rsa") { "RS256" } else { "ES256" };
    signer.token(algorithm, &issuer.claims_with(json!({"jti": n})))
}

fn made_up(issuer: &Issuer, n: usize) -> String {
    let header = json!({"alg": "ES256", "kid": format!("made-up-{n}")}).to_string();
    P256.raw("ES256", &header, issuer.claims().to_string())
}

#[test]
fn keys_are_there_before_the_first_request() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let issuer = Issuer::start(&[&P256]);
    issuer.delay(Duration::from_millis(700));
    let begun = Instant::now();
    let shim = Shim::start(address, &issuer.table(""));
    assert!(begun.elapsed() >= Duration::from_millis(700), "it said it was listening before it had keys");
    assert_eq!(issuer.asked(), 1);
    assert_eq!(status(&shim, &fresh(&P256, &issuer)), 200);
    assert_eq!(issuer.asked(), 1);
}

#[test]
fn an_issuer_that_comes_a_moment_later_is_waited_for() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let issuer = Issuer::start(&[&P256]);
    issuer.mood(FailureMode::Away);
    let tables = issuer.table("");
    let shim = std::thread::scope(|scope| {
        let start = scope.spawn(|| Shim::start(address, &tables));
        eventually("the first fetch", || issuer.asked() > 0);
        issuer.mood(FailureMode::Well);
        start.join().unwrap()
    });
    assert_eq!(issuer.asked(), 2);
    assert_eq!(status(&shim, &fresh(&P256, &issuer)), 200);
}

#[test]
fn a_rotation_costs_no_request() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let issuer = Issuer::start(&[&P256]);
    let shim = Shim::start(address, &issuer.table(""));
    let old = fresh(&P256, &issuer);
    assert_eq!(status(&shim, &old), 200);
    // Right behind the first fetch, which nobody's token asked for. Slow enough that all of them find the key unknown while one of them asks.
    issuer.delay(Duration::from_millis(150));
    issuer.rotate(&[&RSA]);
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..40 {
            let (shim, issuer, failed) = (&shim, &issuer, &failed);
            scope.spawn(move || {
                let token = fresh(&RSA, issuer);
                // Around the moment at which the answer comes.
                std::thread::sleep(Duration::from_millis(5 * client));
                failed.fetch_add(usize::from(status(shim, &token) != 200), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of 40");
    assert_eq!(issuer.asked(), 2, "one request for all of them");
    assert_eq!(status(&shim, &old), 401, "a token of a key that is gone, though it was remembered");
}

#[test]
fn made_up_keys_push_no_fetch_below_the_floor_and_an_outage_changes_nothing() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let issuer = Issuer::start(&[&P256]);
    let shim = Shim::start(address, &issuer.table(""));
    issuer.mood(FailureMode::Away);
    let over = AtomicBool::new(false);
    let (attacks, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let n = attacks.fetch_add(1, Ordering::Relaxed);
                    assert!(matches!(status(&shim, &made_up(&issuer, n)), 401 | 429));
                }
            });
        }
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                failed.fetch_add(usize::from(status(&shim, &fresh(&P256, &issuer)) != 200), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let begun = issuer.times()[0];
        while begun.elapsed() < FLOOR + Duration::from_millis(1500) {
            std::thread::sleep(Duration::from_millis(50));
        }
        over.store(true, Ordering::Relaxed);
    });
    let times = issuer.times();
    assert!(attacks.load(Ordering::Relaxed) > 100, "{attacks:?}");
    assert_eq!(times.len(), 3, "one at the start, one for the first made-up key, one after the floor");
    assert!(times[2] - times[1] + Duration::from_millis(50) >= FLOOR, "{:?}", times[2] - times[1]);
    assert_eq!(failed.load(Ordering::Relaxed), 0, "the last good keys did not go on");
    shim.says("the last ones stay in force");
}

#[test]
fn a_start_while_the_issuer_is_away_uses_the_keys_of_the_last_run() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let issuer = Issuer::start(&[&P256]);
    let shim = Shim::start(address, &issuer.table(""));
    let token = fresh(&P256, &issuer);
    assert_eq!(status(&shim, &token), 200);
    for mood in [FailureMode::Away, FailureMode::Status(503), FailureMode::Body("<html>maintenance</html>".to_owned())]
    {
        issuer.mood(mood);
    }
    let begun = Instant::now();
    let shim = shim.restart();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(status(&shim, &token), 200);
    shim.says("the keys of the last run");
    // Another issuer of the same name has nothing to do with them.
    let config = std::fs::read_to_string(shim.config()).unwrap();
    let other = config.replace(&format!("issuer = \"{}\"", issuer.iss()), "issuer = \"http://127.0.0.1/other\"");
    assert_ne!(config, other);
    std::fs::write(shim.config(), other).unwrap();
    let shim = shim.restart();
    let claims = claims_with("http://127.0.0.1/other", json!({}));
    assert_eq!(status(&shim, &P256.token("ES256", &claims)), 503);
}

#[test]
fn an_issuer_that_answers_badly_is_503_until_it_answers_well() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let good = Issuer::start(&[&P256]);
    let huge = jwks(&[&P256]).replacen('{', &format!("{{\"x\":\"{}\",", "x".repeat(20 * 1024 * 1024)), 1);
    let moods = [
        ("away", FailureMode::Away),
        ("silent", FailureMode::Silent),
        ("drips", FailureMode::Drips),
        ("error", FailureMode::Status(500)),
        ("partial", FailureMode::Status(206)),
        ("page", FailureMode::Body("<html>please log in</html>".to_owned())),
        ("empty", FailureMode::Body("{\"keys\":[]}".to_owned())),
        ("huge", FailureMode::Body(huge)),
        ("elsewhere", FailureMode::Redirects(good.url())),
        ("liar", FailureMode::Well),
    ];
    let issuers: Vec<(&str, Issuer)> = moods
        .into_iter()
        .map(|(name, mood)| {
            let issuer = Issuer::start(&[&P256]);
            issuer.mood(mood);
            (name, issuer)
        })
        .collect();
    let tables: String = issuers
        .iter()
        .map(|(name, issuer)| {
            if *name == "liar" {
                issuer.claims_to_be("https://somebody.else");
                return issuer.table_discovered(name, "");
            }
            issuer.table_named(name, &format!("{{ url = \"{}\" }}", issuer.url()), "")
        })
        .collect();
    let shim = Shim::start(address, &(tables + &good.table("") + &people()));
    for (name, issuer) in &issuers {
        let answer = shim.client().ask("GET /v1/models", &fresh(&P256, issuer), &[], "");
        assert_eq!((answer.status, answer.code().as_str()), (503, "jwt_keys_unavailable"), "{name}: {answer:?}");
        assert!(answer.header("retry-after").is_some(), "{name}: {answer:?}");
        let named = |l: &String| l.contains(&format!("\"{name}\"")) && l.contains("cannot be fetched");
        eventually(name, || shim.log().iter().any(named));
    }
    // Nobody else is worse off.
    assert_eq!(status(&shim, &fresh(&P256, &good)), 200);
    assert_eq!(status(&shim, READER), 200);
    for (name, issuer) in &issuers {
        issuer.mood(FailureMode::Well);
        if *name == "liar" {
            issuer.claims_to_be(&issuer.iss());
        }
    }
    let begun = Instant::now();
    for (name, issuer) in &issuers {
        while status(&shim, &fresh(&P256, issuer)) != 200 {
            assert!(begun.elapsed() < Duration::from_secs(25), "{name} never came back: {:?}", shim.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_set_of_keys_keeps_what_it_can_use_and_leaves_the_rest() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let issuer = Issuer::start(&[&P256]);
    let set = json!({"keys": [
        {"kty": "brand-new", "kid": "x", "crv": "Q-1"},
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
        RSA.jwk_with(json!({"use": "enc"})),
        P256.jwk_with(json!({"use": "sig", "alg": "ES256", "key_ops": ["verify"], "x5c": ["unused"]})),
    ], "more": true});
    issuer.serve_text(set.to_string());
    issuer.headers("Cache-Control: public, max-age=0, must-revalidate\r\nSet-Cookie: a=b\r\n");
    let shim = Shim::start(address, &issuer.table(""));
    assert_eq!(status(&shim, &fresh(&P256, &issuer)), 200);
    assert_eq!(status(&shim, &fresh(&RSA, &issuer)), 401, "a key for encryption");
    // A lifetime of zero does not make it ask all the time.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(issuer.asked(), 2, "at the start, and for the token whose key is not for it");
}

/// Every way to refuse a file that also changes where the issuer's keys come from.
#[test]
fn a_refused_reload_leaves_the_issuer_in_force_its_keys_and_their_refresher() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let refusals: [fn(&str) -> String; 4] = [
        |text| {
            format!(
                "{text}\n[[test]]\nname = \"t\"\nas = {{ token = \"reader\" }}\nrequest = \"GET /v1/models\"\nexpect = \"deny\"\n"
            )
        },
        |text| format!("{text}\n[colour]\n"),
        |text| format!("{text}\n[[["),
        |text| text.replace("gateway.token", "missing.token"),
    ];
    for refuse in refusals {
        let issuer = Issuer::start(&[&P256]);
        let shim = Shim::start(address, &format!("{}{}", people(), issuer.table("")));
        assert_eq!(status(&shim, &fresh(&P256, &issuer)), 200);
        let text = std::fs::read_to_string(shim.config()).unwrap();
        let other = text.replace(&issuer.url(), "http://127.0.0.1:9/jwks");
        assert_ne!(other, text);
        std::fs::write(shim.config(), refuse(&other)).unwrap();
        eventually("the reload is refused", || shim.log().iter().any(|l| l.contains("stays in force")));
        assert_eq!(status(&shim, &fresh(&P256, &issuer)), 200, "{:?}", shim.log());
        // The issuer withdraws its key for another: the old one is good no more, the new one at once.
        issuer.rotate(&[&RSA]);
        assert_eq!(status(&shim, &fresh(&RSA, &issuer)), 200, "the issuer in force is no longer asked");
        assert_eq!(status(&shim, &fresh(&P256, &issuer)), 401, "a withdrawn key is still good");
    }
}
