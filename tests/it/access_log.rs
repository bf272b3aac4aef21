//! The log: written beside the requests, bounded, and whole at the end.

use crate::admin::ask;
use crate::support::{READER, Shim, eventually, fake_gateway, people};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

fn metric(shim: &Shim, name: &str) -> usize {
    let text = ask(shim, "GET /metrics", "").1;
    let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name} is not there:\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// The lines that are left out, as the log sums them up.
fn summed_up(shim: &Shim, what: &str) -> usize {
    let lines = shim.log();
    let said = lines.iter().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    said.filter(|l| l["message"].as_str().is_some_and(|m| m.contains(what)))
        .map(|l| usize::try_from(l["lines"].as_u64().unwrap()).unwrap())
        .sum()
}

#[test]
fn a_reader_of_the_log_that_stops_reading_holds_up_no_request() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    shim.block_log(true);
    let mut client = shim.client();
    let long = "x".repeat(250);
    let (mut served, mut slowest) = (0, Duration::ZERO);
    // Far more than the pipe, the buffer behind it and the queue hold.
    for _ in 0..3_000 {
        let begun = Instant::now();
        let answer =
            client.ask(&format!("GET /v1/models?{long}"), READER, &[&format!("x-request-id: {}", &long[..64])], "");
        slowest = slowest.max(begun.elapsed());
        served += usize::from(answer.status == 200);
    }
    assert_eq!(served, 3_000);
    assert!(slowest < Duration::from_secs(2), "one request took {slowest:?}");
    eventually("lines are lost and counted", || metric(&shim, "scopeshim_log_lines_lost_total") > 0);
    shim.block_log(false);
    eventually("every line is written or said to be lost", || {
        shim.access().len() + summed_up(&shim, "log lines were lost") == 3_000
    });
    let lost = metric(&shim, "scopeshim_log_lines_lost_total");
    assert_eq!(lost, summed_up(&shim, "log lines were lost"));
    // The lines that came through are whole, and the log goes on.
    client.ask("GET /v1/models", READER, &["x-request-id: afterwards"], "");
    eventually("the log goes on", || shim.access().iter().any(|l| l["request_id"] == "afterwards"));
}

#[test]
fn a_stop_with_a_blocked_reader_is_still_a_stop() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let mut shim = Shim::start(address, &people());
    shim.block_log(true);
    let mut client = shim.client();
    let long = "x".repeat(64);
    for _ in 0..400 {
        client.ask("GET /v1/models", READER, &[&format!("x-request-id: {long}")], "");
    }
    drop(client);
    shim.signal(Signal::SIGTERM);
    assert!(shim.wait(Duration::from_secs(10)).is_some_and(|s| s.success()));
    shim.block_log(false);
}

#[test]
fn a_stop_writes_every_line_there_is() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let mut shim = Shim::start(address, &people());
    let mut client = shim.client();
    for _ in 0..200 {
        assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 200);
    }
    drop(client);
    shim.signal(Signal::SIGTERM);
    assert!(shim.wait(Duration::from_secs(10)).is_some_and(|s| s.success()));
    eventually("the last line is there", || shim.log().iter().any(|l| l.contains("stopped; every request")));
    assert_eq!(shim.access().len(), 200);
}

#[test]
fn what_is_written_of_a_kill_is_all_but_the_last_moment() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let mut shim = Shim::start(address, &people());
    shim.client().ask("GET /v1/models", READER, &["x-request-id: before"], "");
    // Nothing follows that could push it out.
    eventually("the line is written by itself", || shim.access().iter().any(|l| l["request_id"] == "before"));
    shim.signal(Signal::SIGKILL);
    assert!(shim.wait(Duration::from_secs(10)).is_some());
}

#[test]
fn a_flood_of_strangers_writes_twenty_lines_a_second_and_their_number() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &people());
    let begun = Instant::now();
    let mut client = shim.client();
    for _ in 0..300 {
        client.ask("GET /healthz", "", &[], "");
        client.ask("GET /v1/models", "", &[], "");
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
    for _ in 0..100 {
        assert_eq!(client.ask("GET /v1/models", READER, &[], "").status, 200);
    }
    let unauthenticated = |shim: &Shim| shim.access().iter().filter(|l| l["principal"].is_null()).count();
    eventually("what was left out is summed up", || {
        unauthenticated(&shim) + summed_up(&shim, "of unauthenticated callers") == 600
    });
    assert!(unauthenticated(&shim) <= 20 * seconds, "{} lines in {seconds} s", unauthenticated(&shim));
    let known = |shim: &Shim| shim.access().iter().filter(|l| l["principal"] == "reader").count();
    eventually("a known caller's lines are all there", || known(&shim) == 100);
    assert_eq!(metric(&shim, r#"scopeshim_refusals_total{reason="credential_missing"}"#), 300);
    assert_eq!(metric(&shim, r#"scopeshim_requests_total{decision="allow",route="health",source="none"}"#), 300);
}
