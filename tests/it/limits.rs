//! Law 15: every byte, second and place is bounded, and whoever meets a bound is told so.

use crate::support::{Capture, Client, READER, SECRET, Shim, WRITER, eventually, fake_gateway, people};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A proxy with these keys in `[limits]`.
pub fn limited(gateway: SocketAddr, limits: &str) -> Shim {
    Shim::start(gateway, &format!("{}\n[limits]\n{limits}\n", people()))
}

pub fn metrics(shim: &Shim) -> String {
    crate::admin::ask(shim, "GET /metrics", "").1
}

/// How often a reason was counted.
pub fn counted(shim: &Shim, reason: &str) -> u64 {
    let name = format!("scopeshim_refusals_total{{reason=\"{reason}\"}} ");
    let text = metrics(shim);
    text.lines().find_map(|l| l.strip_prefix(&name)).unwrap_or_else(|| panic!("{reason}: no series")).parse().unwrap()
}

/// Ticks of CPU that a process has used.
#[cfg(target_os = "linux")]
fn cpu(shim: &Shim) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", shim.pid())).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_head_too_large_is_refused_while_it_is_read() {
    let capture = Capture::start();
    let shim = limited(capture.address(), "max_headers = 20");
    for (what, rest) in [
        ("one line", "X-Large: ".to_owned() + &"a".repeat(17 * 1024)),
        ("a target", String::new()),
        ("many lines", "A: b\r\n".repeat(21)),
        ("blank lines", String::new()),
    ] {
        let begin = match what {
            "a target" => format!("GET /{}", "a".repeat(17 * 1024)),
            "blank lines" => "\r\n".repeat(9 * 1024),
            _ => "GET /v1/models HTTP/1.1\r\n".to_owned(),
        };
        // The head never ends: waiting for its end would be waiting for ever.
        let mut client = shim.client();
        client.send(begin + &rest);
        let answer = client.answer();
        assert_eq!((answer.status, answer.code().as_str()), (431, "head_too_large"), "{what}: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{what}");
        assert!(client.closes_within(Duration::from_secs(3)), "{what}");
    }
    // On a connection that was kept, too.
    let mut client = shim.client();
    assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 200);
    client.send("GET / HTTP/1.1\r\nA: ".to_owned() + &"a".repeat(17 * 1024));
    assert_eq!(client.answer().status, 431);
    assert_eq!(counted(&shim, "head_too_large"), 5);
    assert_eq!(capture.seen().len(), 1);
}

#[test]
fn a_head_in_many_pieces_is_one_head() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let filler = format!("X-Filler: {}", "f".repeat(9000));
    let text = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {WRITER}\r\n{filler}\r\nContent-Length: 6\r\n\r\n{{\"a\":1"
    );
    let text = text.replace("{\"a\":1", "{\"a\":}");
    for piece in [1, 7, 100, 1000, 5000] {
        let mut client = shim.client();
        for part in text.as_bytes().chunks(piece) {
            client.send(part);
            if piece < 1000 && part.len() == piece {
                // Let each be a read of its own, as far as the machine goes along.
                std::thread::yield_now();
            }
        }
        assert_eq!(client.answer().status, 200, "{piece}");
    }
    eventually("each body arrived", || capture.seen().concat().matches("{\"a\":}").count() == 5);
}

#[test]
fn a_head_that_does_not_end_is_told_so_in_time() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = limited(address, "head_timeout = \"1s\"");
    let mut kept = shim.client();
    assert_eq!(kept.ask("GET /v1/models", READER, &[], "").status, 200);
    let begun = Instant::now();
    let mut new = shim.client();
    for client in [&mut new, &mut kept] {
        client.send("GET /v1/models HTTP/1.1\r\nHost: ");
    }
    for client in [&mut new, &mut kept] {
        let answer = client.answer();
        assert_eq!((answer.status, answer.code().as_str()), (408, "head_timeout"), "{answer:?}");
        assert!(client.closes_within(Duration::from_secs(3)));
    }
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(counted(&shim, "head_timeout"), 2);
}

#[test]
fn what_is_no_http_is_told_so_at_once() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let begun = Instant::now();
    let mut client = shim.client();
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert_eq!(client.answer().status, 400);
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[cfg(target_os = "linux")]
#[test]
fn a_head_that_trickles_costs_what_its_bytes_cost() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let send = |length: usize| {
        let text = format!("GET /v1/models HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(length));
        let mut client = shim.client();
        for byte in text.as_bytes() {
            client.send([*byte]);
        }
        client.answer().status
    };
    // The same number of bytes, in heads of 100 and in heads of 12,000: parsed anew at each read, the
    // large ones would cost 100 times as much.
    assert_eq!(send(100), 401);
    let before = cpu(&shim);
    for _ in 0..80 {
        send(100);
    }
    let small = cpu(&shim) - before;
    let before = cpu(&shim);
    assert_eq!(send(12_000), 401);
    let large = cpu(&shim) - before;
    assert!(large <= 2 * small + 10, "{large} ticks against {small}");
}

#[test]
fn a_body_too_large_is_refused_before_it_is_sent_on() {
    let capture = Capture::start();
    let sizes = "max_body = { embeddings = \"1KiB\", other = \"2KiB\" }";
    let shim = limited(capture.address(), sizes);
    for (route, length, status) in [
        ("/v1/embeddings", 1024, 200),
        ("/v1/embeddings", 1025, 413),
        ("/tools/invoke", 1025, 200),
        ("/other", 2049, 413),
    ] {
        let answer = shim.client().ask(&format!("POST {route}"), SECRET, &[], &"b".repeat(length));
        assert_eq!(answer.status, status, "{route} {length}: {answer:?}");
    }
    let before = capture.seen().len();
    // Announced, and never sent: nobody waits for it.
    let mut client = shim.client();
    client.request("POST /tools/invoke", &[&format!("Authorization: Bearer {SECRET}"), "Content-Length: 99999999"], "");
    let answer = client.answer();
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{answer:?}");
    assert_eq!(capture.seen().len(), before);
}

#[test]
fn a_body_whose_size_nobody_announced_is_cut_at_the_limit() {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let shim = limited(address, "max_body = { chat_completions = \"64KiB\" }");
    let mut client = shim.client();
    let lines = [&*format!("Authorization: Bearer {SECRET}"), "Transfer-Encoding: chunked"];
    client.request("POST /v1/chat/completions", &lines, "");
    for _ in 0..5 {
        client.send(format!("4000\r\n{}\r\n", "b".repeat(0x4000)));
    }
    let answer = client.answer();
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{answer:?}");
    assert!(client.closes_within(Duration::from_secs(8)));
    assert_eq!(counted(&shim, "body_too_large"), 1);
    drop(gateway);
}

#[test]
fn a_body_where_none_belongs_is_not_waited_for() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    for (line, more) in [
        ("GET /healthz", "Content-Length: 1000000"),
        ("GET /readyz", "Transfer-Encoding: chunked"),
        ("HEAD /v1/models", "Content-Length: 5"),
        ("GET /v1/models", "Content-Length: 5"),
    ] {
        let mut client = shim.client();
        client.request(line, &[&format!("Authorization: Bearer {SECRET}"), more], "");
        assert!(client.head().starts_with("HTTP/1.1 400"), "{line}");
        assert!(client.closes_within(Duration::from_secs(3)), "{line}");
    }
    assert_eq!(counted(&shim, "body_not_expected"), 4);
    assert_eq!(shim.client().ask("GET /v1/models", READER, &["Content-Length: 0"], "").status, 200);
    assert_eq!(capture.seen().len(), 1);
}

/// A gateway that pauses before it reads a request, and reads `length` bytes of it before it answers.
fn patient(pause: Duration, length: usize) -> SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                std::thread::sleep(pause);
                let (mut scratch, mut read) = ([0; 8192], 0);
                while read < length {
                    match stream.read(&mut scratch) {
                        Ok(n @ 1..) => read += n,
                        _ => return,
                    }
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    address
}

fn upload(shim: &Shim, length: usize) -> Client {
    let mut client = shim.client();
    let lines = [&*format!("Authorization: Bearer {SECRET}"), &format!("Content-Length: {length}")];
    client.request("POST /v1/chat/completions", &lines, "");
    client
}

#[test]
fn a_body_that_trickles_is_ended() {
    let shim = limited(patient(Duration::ZERO, usize::MAX), "body_grace = \"1s\"\nmin_body_rate = \"1KiB\"");
    let mut slow = upload(&shim, 100_000);
    let mut silent = upload(&shim, 10);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1600) {
        slow.send("b");
        std::thread::sleep(Duration::from_millis(100));
    }
    for (what, client) in [("slow", &mut slow), ("silent", &mut silent)] {
        let answer = client.answer();
        assert_eq!((answer.status, answer.code().as_str()), (408, "body_too_slow"), "{what}: {answer:?}");
        assert!(client.closes_within(Duration::from_secs(3)), "{what}");
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(counted(&shim, "body_too_slow"), 2);
}

#[test]
fn a_gateway_that_takes_a_body_slowly_is_not_the_client_s_fault() {
    const LENGTH: usize = 20_000_000;
    let shim = limited(patient(Duration::from_secs(3), 1), "body_grace = \"1s\"\nbody_timeout = \"1s\"");
    let mut client = upload(&shim, LENGTH);
    client.send("b".repeat(LENGTH));
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_body_has_a_deadline_however_steadily_it_comes() {
    let shim = limited(patient(Duration::ZERO, usize::MAX), "body_timeout = \"1s\"\nmin_body_rate = \"1B\"");
    let mut client = upload(&shim, 100_000);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1600) {
        client.send("bbbb");
        std::thread::sleep(Duration::from_millis(20));
    }
    let answer = client.answer();
    assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"), "{answer:?}");
}

#[test]
fn the_rest_of_a_refused_body_is_no_new_request() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let smuggled = format!("GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n");
    let mut client = shim.client();
    client.request("POST /v1/chat/completions", &[&format!("Content-Length: {}", smuggled.len())], "");
    assert_eq!(client.answer().status, 401);
    // It comes behind the answer, in pieces that look like heads.
    for part in smuggled.as_bytes().chunks(20) {
        client.send(part);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 200, "the connection goes on");
    assert_eq!(capture.seen().len(), 1);
    assert!(!capture.seen()[0].contains("Host: x"));
}
