//! The figures in docs/limits.md, docs/scaling.md and the unit are those of the code, and add up.

use scopeshim::config::Limits;
use scopeshim::file_descriptors::{RESERVED, clients};
use scopeshim::refusal::Code;

const LIMITS: &str = include_str!("../../docs/limits.md");
const SCALING: &str = include_str!("../../docs/scaling.md");
const UNIT: &str = include_str!("../../packaging/systemd/scopeshim.service");
const SCHEMA: &str = include_str!("../../packaging/config.schema.json");

fn unit(key: &str) -> u64 {
    let value = UNIT.lines().find_map(|l| l.strip_prefix(&format!("{key}="))).unwrap();
    let (digits, unit) = value.split_at(value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len()));
    let number: u64 = digits.parse().unwrap();
    match unit {
        "M" => number << 20,
        "G" => number << 30,
        _ => number,
    }
}

/// The figure in the second cell of the row that begins so, in KiB.
fn figure(row: &str) -> u64 {
    let line = SCALING.lines().find(|l| l.starts_with(&format!("| {row} "))).unwrap();
    let cell = line.split('|').nth(2).unwrap().trim();
    let (number, unit) = cell.split_once(' ').unwrap();
    number.parse::<u64>().unwrap() * if unit.starts_with("MiB") { 1024 } else { 1 }
}

fn mib(kib: u64) -> u64 {
    (kib + 512) / 1024
}

#[test]
fn the_arithmetic_of_the_manual_adds_up() {
    let (alone, rests, stream, socket) = (
        figure("the process alone"),
        figure("a connection that rests"),
        figure("an event stream that is open"),
        figure("a WebSocket that is open"),
    );
    let [a, b, c, d] = [alone, 1000 * stream, 1000 * socket, 2000 * rests].map(mib);
    let sentence = format!("{a} + {b} + {c} + {d} = {} MiB and 6,000 descriptors", a + b + c + d);
    assert!(SCALING.contains(&sentence), "{sentence}");
    let most = Limits::default().connections as u64;
    let streams = mib(most * stream);
    let all = mib(alone) + streams;
    assert!(SCALING.contains(&format!("{} + {streams} = {all} MiB", mib(alone))), "{all}");
    let tokens = 103;
    assert!(SCALING.contains(&format!("100,000 of them: {tokens} MiB")));
    assert!(SCALING.contains(&format!("{} MiB. The unit's", all + tokens)), "{}", all + tokens);
}

#[test]
fn the_unit_gives_what_the_default_limits_need() {
    let most = Limits::default().connections as u64;
    assert!(clients(unit("LimitNOFILE")) as u64 >= most);
    assert!(SCALING.contains(&format!("which need {}", thousands(2 * most + RESERVED))));
    let need = (figure("the process alone") + most * figure("an event stream that is open")) * 1024 + (103 << 20);
    assert!(unit("MemoryHigh") > need && unit("MemoryMax") > unit("MemoryHigh"), "{need}");
    // All of them with a head of the largest size, which is not handed on yet.
    assert!(unit("MemoryHigh") > most * (Limits::default().head as u64 + 24 * 1024));
    // Four workers, tokio's 512 for what blocks, and a few.
    assert!(unit("TasksMax") >= 4 + 512 + 16);
}

fn thousands(n: u64) -> String {
    format!("{},{:03}", n / 1000, n % 1000)
}

#[test]
fn every_limit_is_in_the_manual() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let keys = schema["definitions"]["Limits"]["properties"].as_object().unwrap();
    assert!(keys.len() > 12);
    for key in keys.keys() {
        assert!(LIMITS.contains(&format!("`{key}`")), "docs/limits.md does not name {key}");
    }
    let rows = LIMITS.lines().filter(|l| l.starts_with("| ") && l.matches(" | ").count() == 5);
    let reasons: Vec<_> =
        rows.filter_map(|l| l.rsplit('|').nth(1)?.trim().strip_prefix('`')?.strip_suffix('`')).collect();
    assert!(reasons.len() > 12, "{reasons:?}");
    for reason in reasons.iter().filter(|r| **r != "reason") {
        assert!(Code::parse(reason).is_some(), "{reason} is no refusal");
    }
}
