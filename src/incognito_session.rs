//! Session keys, as far as they say who may use a session.

/// Whether a session key names an incognito session, which the gateway's documents keep for
/// `operator.admin` and its modes with a shared secret leave open to every caller who knows the key.
///
/// The gateway trims a key and folds its case, and takes `agent:<id>:<kind>:incognito-…` for one.
/// Here a segment that begins so is enough wherever it stands: releases put `agent:<id>:` in front
/// of keys by themselves.
#[must_use]
pub fn is_incognito(key: &str) -> bool {
    const MARK: &str = "incognito-";
    key.split(':').any(|segment| segment.trim().to_lowercase().starts_with(MARK))
}

#[cfg(test)]
mod tests {
    use super::is_incognito;

    #[test]
    fn an_incognito_key_is_known_however_it_is_spelled() {
        for key in [
            "agent:main:dashboard:incognito-1",
            "AGENT:Main:Dashboard:INCOGNITO-1",
            "agent:main:subagent:incognito-1",
            "agent:main:internal-session-effects:incognito-1",
            "agent:main:somebody:dashboard:incognito-1:thread:2",
            " agent:main:dashboard: incognito-1 ",
            "\u{a0}incognito-1\u{a0}",
            "incognito-",
        ] {
            assert!(is_incognito(key), "{key:?}");
        }
        for key in [
            "",
            ":",
            "main",
            "agent:main:main",
            "agent:main:no-incognito-1",
            "agent:main:incognito",
            "agent:main:legacy-incognito-1",
        ] {
            assert!(!is_incognito(key), "{key:?}");
        }
    }
}
