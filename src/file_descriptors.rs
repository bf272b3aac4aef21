//! How many clients the descriptors that the system allows are enough for.

/// A client's own, and one to the gateway for its request.
const EACH: u64 = 2;
/// What clients never get: the admin endpoints (3 × 32), clients that are told there is no room (64),
/// resting connections to the gateway (128), and listeners, logs, files and issuers.
pub const RESERVED: u64 = 384;

/// How many clients a limit on descriptors is enough for.
#[must_use]
pub fn clients(limit: u64) -> usize {
    usize::try_from((limit.saturating_sub(RESERVED) / EACH).max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_s_limit_is_enough_for_the_default_and_some() {
        let unit = include_str!("../packaging/systemd/scopeshim.service");
        let limit = unit.lines().find_map(|l| l.strip_prefix("LimitNOFILE=")).unwrap().parse().unwrap();
        assert!(clients(limit) >= 2 * crate::config::Limits::default().connections);
        assert_eq!(clients(1024), 320);
        assert_eq!(clients(3), 1);
    }
}
