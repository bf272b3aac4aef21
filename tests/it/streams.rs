//! Law 9: a stream is a promise.

use crate::support::{SECRET, Shim, eventually, fake_gateway, people};
use std::time::{Duration, Instant};

const STREAM: &str = r#"{"model":"openclaw","stream":true,"messages":[]}"#;

#[test]
fn each_event_comes_as_it_is_made() {
    let (_gateway, address) = fake_gateway(Duration::from_millis(200));
    let shim = Shim::start(address, &people());
    for path in ["POST /v1/chat/completions", "POST /v1/responses"] {
        let mut client = shim.client();
        let authorization = format!("Authorization: Bearer {SECRET}");
        client.request(path, &[&authorization, "Content-Type: application/json"], STREAM);
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200") && head.to_lowercase().contains("text/event-stream"), "{head}");
        let mut at = Vec::new();
        let mut all = String::new();
        while let Some(chunk) = client.chunk() {
            at.push(Instant::now());
            all.push_str(&String::from_utf8(chunk).unwrap());
        }
        assert!(all.ends_with("data: [DONE]\n\n"), "{all}");
        assert_eq!(at.len(), 6, "one chunk an event");
        for pair in at.windows(2) {
            let gap = pair[1] - pair[0];
            assert!(gap > Duration::from_millis(120), "events came together: {gap:?}");
        }
    }
}

#[test]
fn a_hang_up_reaches_the_gateway_at_once() {
    let (gateway, address) = fake_gateway(Duration::from_secs(20));
    let shim = Shim::start(address, &people());
    let mut client = shim.client();
    client.request("POST /v1/chat/completions", &[&format!("Authorization: Bearer {SECRET}")], STREAM);
    client.head();
    client.chunk();
    assert_eq!(gateway.open_streams(), 1);
    drop(client);
    // The fake gateway notices when it next writes or when its connection goes; ours must go now.
    let line = || shim.access().into_iter().find(|l| l["stream"] == true);
    eventually("the stream's end is logged", || line().is_some());
    let lasted = line().unwrap()["duration_s"].as_f64().unwrap();
    assert!(lasted < 1.0, "{lasted}");
}

#[test]
fn two_hundred_streams_at_a_time_lose_nothing() {
    let (_gateway, address) = fake_gateway(Duration::from_millis(20));
    let shim = Shim::start(address, &people());
    let address = shim.address();
    let threads: Vec<_> = (0..200)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = crate::support::Client::connect(address);
                client.ask("POST /v1/chat/completions", SECRET, &[], STREAM).body
            })
        })
        .collect();
    for thread in threads {
        let body = thread.join().unwrap();
        assert_eq!(body.matches("data: ").count(), 6);
        assert!(body.ends_with("data: [DONE]\n\n"));
    }
}
