//! Wrong credentials: slowed down and turned away, with the right ones unharmed.

use crate::support::{Came, READER, Release, Shim, WsClient, WsGateway, fake_gateway, people};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn guesses_are_throttled_and_a_good_caller_from_the_same_address_is_not() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let done = AtomicBool::new(false);
    let begun = Instant::now();
    let (answered, good) = std::thread::scope(|all| {
        let guessers: Vec<_> = (0..4)
            .map(|thread| {
                let (shim, done) = (&shim, &done);
                all.spawn(move || {
                    let (mut client, mut answers) = (shim.client(), Vec::new());
                    for n in 0.. {
                        if done.load(Ordering::Relaxed) {
                            break;
                        }
                        let answer = client.ask("GET /v1/models", &format!("a-guess-of-{thread}-{n:020}"), &[], "");
                        answers.push((begun.elapsed(), answer));
                    }
                    answers
                })
            })
            .collect();
        let (mut client, mut good) = (shim.client(), Vec::new());
        while begun.elapsed() < Duration::from_secs(3) {
            let asked = Instant::now();
            let status = client.ask("GET /v1/models", READER, &[], "").status;
            good.push((status, asked.elapsed()));
        }
        done.store(true, Ordering::Relaxed);
        let answered: Vec<_> = guessers.into_iter().flat_map(|g| g.join().unwrap()).collect();
        (answered, good)
    });
    assert!(good.len() > 10 && good.iter().all(|(status, _)| *status == 200));
    let slowest = good.iter().map(|(_, took)| *took).max().unwrap();
    assert!(slowest < Duration::from_secs(1), "the good caller waited {slowest:?}");
    assert!(gateway.seen().len() <= good.len(), "a guess reached the gateway");
    let (told, away): (Vec<_>, Vec<_>) = answered.iter().partition(|(_, a)| a.status == 401);
    assert!(away.len() > told.len(), "{} and {}", told.len(), away.len());
    for (_, answer) in &away {
        assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_failed_attempts"), "{answer:?}");
        let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=4).contains(&wait));
    }
    // Eight and two a second. An answer may arrive a second after it was counted.
    let most = 8 + 2 * (begun.elapsed().as_secs() + 2);
    assert!(told.len() as u64 <= most, "{} were answered as what they are, {most} at most", told.len());
}

#[test]
fn answers_to_guesses_come_ever_later() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let mut client = shim.client();
    let begun = Instant::now();
    for n in 0..6 {
        assert_eq!(client.ask("GET /v1/models", &format!("guess-number-{n}"), &[], "").status, 401);
    }
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
}

#[test]
fn a_caller_without_a_credential_or_with_an_expired_one_is_no_guesser() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let old = "token-of-yesterday-0123456789abcdef";
    let tables = format!(
        "{}\n[[token]]\nname = \"old\"\nsha256 = \"{}\"\nexpires = 2020-01-01T00:00:00Z\nscopes = [\"operator.read\"]\n",
        people(),
        crate::support::sha256(old)
    );
    let shim = Shim::start(address, &tables);
    let mut client = shim.client();
    for _ in 0..30 {
        assert_eq!(client.ask("GET /v1/models", "", &[], "").code(), "credential_missing");
        assert_eq!(client.ask("GET /v1/models", old, &[], "").code(), "token_expired");
    }
}

#[test]
fn guesses_in_connect_frames_are_throttled_alike_and_never_reach_the_gateway() {
    let gateway = WsGateway::start(Release::Modern);
    let shim = Shim::start(gateway.address(), &people());
    let codes: Vec<u16> = std::thread::scope(|all| {
        let guesses: Vec<_> = (0..24)
            .map(|n| {
                let address = shim.address();
                all.spawn(move || {
                    let mut client = WsClient::open(address);
                    let answer = client.connect(json!({ "auth": { "token": format!("a-guess-{n:020}") } }));
                    assert_eq!(answer["ok"], false);
                    if answer["error"]["details"]["code"] == "AUTH_RATE_LIMITED" {
                        assert!(answer["error"]["retryAfterMs"].as_u64().unwrap() >= 1000, "{answer}");
                    }
                    client.next().code()
                })
            })
            .collect();
        guesses.into_iter().map(|g| g.join().unwrap()).collect()
    });
    let told = codes.iter().filter(|c| **c == 1008).count();
    let away = codes.iter().filter(|c| **c == 1013).count();
    assert_eq!(told + away, 24, "{codes:?}");
    assert!((1..=12).contains(&told), "{codes:?}");
    assert!(gateway.connects().is_empty());
    // The good one is let in at once, in a frame and at the upgrade.
    let mut good = WsClient::connected(shim.address(), READER);
    assert!(good.echoes("hello"));
    let upgraded = WsClient::upgrade(shim.address(), &[("authorization", &format!("Bearer {READER}"))]);
    let mut upgraded = upgraded.unwrap_or_else(|status| panic!("{status}"));
    assert!(matches!(upgraded.next(), Came::Text(_)));
}
