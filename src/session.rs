//! Session keys, as far as this proxy reads them.

/// Whether a session key names an incognito session: one of its segments, which colons separate,
/// begins with `incognito-`. The gateway folds the case of keys; one from a path is decoded first.
#[must_use]
pub fn is_incognito(key: &str) -> bool {
    const MARK: &str = "incognito-";
    key.split(':').any(|s| s.trim().get(..MARK.len()).is_some_and(|start| start.eq_ignore_ascii_case(MARK)))
}

#[cfg(test)]
mod tests {
    use super::is_incognito;

    #[test]
    fn an_incognito_segment_is_found_wherever_it_stands_and_however_it_is_written() {
        for key in [
            "agent:main:dashboard:incognito-1f",
            "AGENT:Main:Dashboard:InCognito-1F",
            "incognito-x",
            " agent:main:subagent:incognito-x ",
            "dashboard: incognito-x",
            "agent:main:dashboard:incognito-",
        ] {
            assert!(is_incognito(key), "{key}");
        }
        for key in ["", "agent:main:main", "agent:main:my-incognito-x", "incognito", "incognitö-x", "agent:incognito:x"]
        {
            assert!(!is_incognito(key), "{key}");
        }
    }
}
