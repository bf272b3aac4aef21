//! Limits of connections, WebSockets, health probes and admin endpoints.

use crate::limits::{counted, limited, metrics};
use crate::support::{Client, READER, Release, Shim, WRITER, WsClient, WsGateway, eventually, fake_gateway, people};
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[test]
fn above_the_limit_of_connections_the_answer_comes_at_once() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = limited(address, "max_connections = 2");
    let mut resting = shim.client();
    assert_eq!(resting.ask("GET /v1/models", READER, &[], "").status, 200);
    let silent = shim.client();
    eventually("both are in", || metrics(&shim).contains("scopeshim_connections_open 2"));
    let begun = Instant::now();
    for _ in 0..20 {
        let answer = shim.client().ask("GET /v1/models", READER, &[], "");
        assert_eq!((answer.status, answer.code().as_str()), (503, "too_many_connections"), "{answer:?}");
        assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Nor does it wait for those who were told and stay.
    let _told: Vec<_> = (0..80).map(|_| shim.client()).collect();
    let mut after = shim.client();
    assert_eq!(after.answer().status, 503);
    assert_eq!(resting.ask("GET /v1/models", READER, &[], "").status, 200, "who is in stays in");
    assert_eq!(counted(&shim, "too_many_connections"), 20 + 80 + 1);
    let said = |line: &String| line.contains("connections are turned away");
    assert_eq!(shim.log().iter().filter(|l| said(l)).count(), 1, "one line for all of them");
    drop(silent);
    eventually("there is room again", || shim.client().ask("GET /v1/models", READER, &[], "").status == 200);
}

#[test]
fn one_address_cannot_have_all_the_places() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = limited(address, "max_local_connections = 3");
    let _held = [shim.client(), shim.client(), shim.client()];
    let answer = shim.client().ask("GET /v1/models", READER, &[], "");
    assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_connections_from_address"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[test]
fn nobody_hangs_on_a_connection_for_ever() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = limited(address, "max_requests_per_connection = 3\nkeepalive = \"1s\"");
    let mut client = shim.client();
    let last: Vec<_> = (0..3)
        .map(|_| client.ask("GET /v1/models", READER, &[], ""))
        .map(|answer| (answer.status, answer.header("connection").map(str::to_owned)))
        .collect();
    assert_eq!(last[1], (200, Some("keep-alive".to_owned())), "{last:?}");
    assert_eq!(last[2], (200, Some("close".to_owned())), "{last:?}");
    assert!(client.closes_within(Duration::from_secs(2)));
    let mut idle = shim.client();
    assert_eq!(idle.ask("GET /v1/models", READER, &[], "").status, 200);
    assert!(idle.closes_within(Duration::from_secs(3)));
}

#[test]
fn a_client_that_does_not_read_is_let_go() {
    let (_gateway, address) = endless();
    let shim = limited(address, "write_timeout = \"1s\"");
    let mut client = shim.client();
    client.request("GET /v1/models", &[&format!("Authorization: Bearer {READER}")], "");
    eventually("it is remembered", || counted(&shim, "client_too_slow") == 1);
    assert!(client.head().starts_with("HTTP/1.1 200"), "it was answered once");
}

/// A gateway whose answer never ends.
fn endless() -> (std::thread::JoinHandle<()>, SocketAddr) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9999999999\r\n\r\n");
        while stream.write_all(&[b'a'; 8192]).is_ok() {}
    });
    (thread, address)
}

#[test]
fn a_health_flood_is_one_question_a_second_for_the_gateway() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let begun = Instant::now();
    let mut clients: Vec<_> = (0..10).map(|_| shim.client()).collect();
    let mut asked = 0;
    while begun.elapsed() < Duration::from_millis(1500) || asked <= 100 {
        for client in &mut clients {
            let live = client.ask("GET /healthz", "", &[], "");
            assert_eq!((live.status, live.body.as_str()), (200, r#"{"ok":true,"status":"live"}"#));
            let ready = client.request("HEAD /ready", &[], "").head();
            assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("14\r\n"), "{ready}");
            asked += 2;
        }
    }
    let arrived = gateway.seen().len();
    // Two questions, each once a second, and both at the begin.
    let most = 2 * (usize::try_from(begun.elapsed().as_secs()).unwrap() + 2);
    assert!((2..=most).contains(&arrived), "{arrived} of {asked} reached the gateway");
    assert!(gateway.seen().iter().all(|s| s.headers.get_all("x-openclaw-scopes").iter().count() == 1));
}

#[test]
fn a_gateway_that_does_not_say_how_it_is_holds_nobody_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let shim = Shim::start(silent.local_addr().unwrap(), &people());
    let begun = Instant::now();
    let mut all: Vec<_> = (0..5).map(|_| shim.client()).collect();
    for client in &mut all {
        client.request("GET /readyz", &[], "");
    }
    for client in &mut all {
        assert_eq!(client.answer().status, 504);
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn unauthenticated_websockets_of_one_address_make_room_for_one_another() {
    let gateway = WsGateway::start(Release::Modern);
    let shim = limited(gateway.address(), "max_unauthenticated_websockets = 4");
    // They say nothing, and more come than there are places.
    let mut flood: Vec<_> = (0..12).map(|_| WsClient::open(shim.address())).collect();
    assert_eq!(flood[0].next().json()["event"], "connect.challenge");
    let told = flood[0].next();
    assert_eq!(told.code(), 1013, "the oldest goes");
    let mut good = WsClient::open(shim.address());
    let hello = good.connect(json!({ "auth": { "token": WRITER }, "scopes": ["operator.read"] }));
    assert_eq!(hello["ok"], true, "{hello}");
    for _ in 0..12 {
        flood.push(WsClient::open(shim.address()));
    }
    assert_eq!(good.next().json()["event"], "tick");
    assert!(good.echoes("still here"), "who is proven stays");
    eventually("they are counted", || counted(&shim, "too_many_unauthenticated_websockets") >= 16);
}

#[test]
fn an_unauthenticated_websocket_has_its_time_and_no_more() {
    let gateway = WsGateway::start(Release::Modern);
    let shim = limited(gateway.address(), "websocket_connect_timeout = \"1s\"");
    let mut client = WsClient::open(shim.address());
    assert_eq!(client.next().json()["event"], "connect.challenge");
    assert_eq!(client.next().code(), 1008);
    eventually("it is counted", || counted(&shim, "connect_timeout") == 1);
}

#[test]
fn every_admin_endpoint_answers_whatever_the_others_hold() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (reading, watching) = (port(), port());
    let admin = format!("[admin]\naddress = \"{reading}\"\nmetrics_address = \"{watching}\"\n");
    let shim = Shim::start(address, &format!("{admin}\n{}\n[limits]\nmax_connections = 50\n", people()));
    let socket = shim.dir.path().join("state/admin.sock");
    let mut held: Vec<Client> = (0..200).map(|_| Client::connect(watching)).collect();
    held.extend((0..100).map(|_| Client::connect(reading)));
    let _files: Vec<_> = (0..100).map(|_| std::os::unix::net::UnixStream::connect(&socket).unwrap()).collect();
    for client in &mut held {
        client.send("GET /metrics HTTP/1.1\r\nHost: ");
    }
    let begun = Instant::now();
    // They stay connected: one that left would leave its place to another.
    let _answered = [reading, watching].map(|endpoint| {
        let mut client = Client::connect(endpoint);
        client.send(format!("GET /livez HTTP/1.1\r\nHost: {endpoint}\r\n\r\n"));
        assert_eq!(client.answer().status, 200, "{endpoint}");
        client
    });
    assert_eq!(crate::admin::ask(&shim, "POST /reload", "Content-Length: 0\r\n").0, 200);
    assert_eq!(shim.client().ask("GET /v1/models", READER, &[], "").status, 200, "clients are none of theirs");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let dropped = "scopeshim_admin_connections_dropped_total{endpoint=\"metrics_address\"} 169";
    eventually("all but 32 of 201 are dropped", || metrics(&shim).contains(dropped));
    // The rest are let go when their heads do not end.
    let begun = Instant::now();
    assert!(held.iter_mut().all(|c| c.closes_within(Duration::from_secs(10))), "{:?}", begun.elapsed());
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_with_few_descriptors_takes_fewer_clients_and_keeps_some_for_itself() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let mut first = Shim::start(address, &people());
    let dir = first.take_dir();
    drop(first);
    let shim = Shim::spawn_below(dir, 400);
    eventually("it says so", || shim.log().iter().any(|l| l.contains("too few descriptors")));
    assert!(metrics(&shim).contains("scopeshim_connections_max 8"), "(400 - 384) / 2");
    let _held: Vec<_> = (0..500).map(|_| shim.client()).collect();
    assert_eq!(crate::admin::ask(&shim, "GET /livez", "").0, 200);
    assert!(!shim.log().iter().any(|l| l.contains("cannot accept")));
}

#[test]
fn the_older_keys_still_mean_what_they_meant() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &format!("{}\n[limits]\nmax_connections = 1\n", people()));
    let _held = shim.client();
    assert_eq!(shim.client().ask("GET /v1/models", READER, &[], "").status, 503);
}
