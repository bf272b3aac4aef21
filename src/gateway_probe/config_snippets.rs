//! Changes to `openclaw.json`, as they are printed (contract §10).

/// Switches the OpenAI endpoints on.
pub const ENDPOINTS_COMMANDS: &str = "openclaw config set gateway.http.endpoints.chatCompletions.enabled true && \
     openclaw config set gateway.http.endpoints.responses.enabled true, then restart the gateway";

/// Mode trusted-proxy for a proxy on the same machine. A user header of the form `x-forwarded-…` would
/// make every WebSocket one of an unknown device, which has to be approved by hand.
pub const TRUSTED: &str = r#"{ gateway: { auth: { mode: "trusted-proxy", trustedProxy: { userHeader: "x-scopeshim-user", allowLoopback: true } }, trustedProxies: ["127.0.0.1", "::1"] } }"#;

/// How the gateway gets to know this proxy's device where it does not pair it by itself.
pub const APPROVAL: &str = "on the gateway: `openclaw devices list`, then `openclaw devices approve <requestId>` (in mode \
     trusted-proxy these commands need gateway.auth.password in openclaw.json; from 2026.9 on, \
     gateway.auth.trustedProxy.deviceAutoApprove: { enabled: true, scopes: [what this proxy's callers may hold] } \
     does without)";

/// The addresses a gateway on the same machine may see this proxy come from: `localhost` is both.
pub const TRUSTED_ADDRESSES: &str = r#"in openclaw.json: gateway.trustedProxies: ["127.0.0.1", "::1"]"#;

/// The first release that takes a trusted proxy on its own machine again (contract §4).
pub const TRUSTED_FROM: [u32; 3] = [2026, 4, 29];

/// The numbers of a release: `2026.3.31-beta.1` is `[2026, 3, 31]`.
#[must_use]
pub fn release(text: &str) -> Option<[u32; 3]> {
    let mut numbers = text.split('-').next()?.split('.').map(|n| n.parse().ok());
    let release = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_numbers() {
        assert_eq!(release("2026.3.28"), Some([2026, 3, 28]));
        assert_eq!(release("2026.3.31-beta.1"), Some([2026, 3, 31]));
        assert!(release("2026.9.6") > Some(TRUSTED_FROM));
        for not in ["", "2026", "2026.3", "a.b.c", "1.2.3.4"] {
            assert_eq!(release(not), None, "{not}");
        }
    }

    #[test]
    fn the_patches_are_json5() {
        let patch: serde_json::Value = json5::from_str(TRUSTED).unwrap();
        assert_eq!(patch["gateway"]["auth"]["trustedProxy"]["allowLoopback"], true);
    }
}
