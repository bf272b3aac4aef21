//! The scopes header, in several lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scopeshim::scope::ScopeSet;

fuzz_target!(|data: &[u8]| {
    let lines: Vec<&[u8]> = data.split(|b| *b == b'\n').collect();
    let Ok(set) = ScopeSet::parse_lines(lines.iter().copied()) else { return };
    let header = set.to_header();
    assert!(header.bytes().all(|b| b.is_ascii_graphic()), "{header:?}");
    assert_eq!(ScopeSet::parse_lines([header.as_bytes()]).unwrap(), set, "one canonical form");
    assert!(set.excess_over(&set).is_empty());
    assert_eq!(set.meet(&set), set);
    assert!(set.meet(&ScopeSet::empty()).is_empty());
    // Halves never hold more than the whole.
    let half: ScopeSet = set.iter().take(set.len() / 2).cloned().collect();
    assert!(half.excess_over(&set).is_empty());
    assert!(set.meet(&half).excess_over(&half).is_empty());
    assert!(set.meet(&half).excess_over(&set).is_empty());
});
