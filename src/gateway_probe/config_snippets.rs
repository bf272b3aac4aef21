//! Changes to `openclaw.json`, as they are printed (contract §10).

/// Switches the OpenAI endpoints on.
pub const ENDPOINTS_COMMANDS: &str = "openclaw config set gateway.http.endpoints.chatCompletions.enabled true && \
     openclaw config set gateway.http.endpoints.responses.enabled true, then restart the gateway";

/// Mode trusted-proxy for a proxy on the same machine. A user header of the form `x-forwarded-…` would
/// make every WebSocket one of an unknown device, which has to be approved by hand.
pub const TRUSTED: &str = r#"{ gateway: { auth: { mode: "trusted-proxy", trustedProxy: { userHeader: "x-scopeshim-user", allowLoopback: true } }, trustedProxies: ["127.0.0.1", "::1"] } }"#;

/// How the gateway gets to know this proxy's device where it does not pair it by itself.
pub const APPROVAL: &str = "on the gateway's machine, once: `openclaw devices list`, then `openclaw devices approve \
     <requestId>` (in mode trusted-proxy these commands need gateway.auth.password in openclaw.json). Or let the gateway \
     approve it by itself: gateway.auth.trustedProxy.deviceAutoApprove: { enabled: true, scopes: [every scope that this \
     proxy's callers hold] }, on releases that have this key. docs/trusted-proxy.md has the steps";

/// The addresses a gateway on the same machine may see this proxy come from: `localhost` is both.
pub const TRUSTED_ADDRESSES: &str = r#"in openclaw.json: gateway.trustedProxies: ["127.0.0.1", "::1"]"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patches_are_json5() {
        let patch: serde_json::Value = json5::from_str(TRUSTED).unwrap();
        assert_eq!(patch["gateway"]["auth"]["trustedProxy"]["allowLoopback"], true);
    }
}
