//! What is known of a gateway, and what should be changed on which side.

use super::config_snippets;
use serde::Serialize;
use std::borrow::Cow;

/// What is known of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Findings {
    /// The mode it was asked in.
    pub mode: &'static str,
    /// What it is.
    pub state: ProbeState,
}

/// Whether the gateway answers, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeState {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It does not answer; why.
    Unreachable(String),
    /// It answers.
    Answers(Capabilities),
}

/// What the gateway does. `None`: that could not be found out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Capabilities {
    /// Whether the OpenAI endpoints are switched on.
    pub endpoints_enabled: Option<bool>,
    /// Whether it takes this proxy's credential.
    pub credential_accepted: Option<bool>,
    /// Whether it refuses to say whom a request is from (`proxy_attribution_required`, contract §3).
    pub attribution_refused: Option<bool>,
    /// Whether a header with too few scopes is refused (contract §2).
    pub enforces_narrowed: Option<bool>,
    /// Whether an empty header is refused.
    pub enforces_empty: Option<bool>,
    /// Whether it takes a request without the header for an administrator's.
    pub absent_means_all: Option<bool>,
    /// Whether it refuses forwarded headers; not asked in mode trusted-proxy, which needs them.
    pub refuses_forwarded: Option<bool>,
    /// Whether it has locked this proxy out for failed attempts.
    pub locked_out: bool,
    /// Whether it refuses all work for a while: suspended, or about to restart.
    pub suspended: bool,
    /// The status with which it failed.
    pub broken: Option<u16>,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// It works, with a drawback.
    Warning,
    /// Something does not work, or is open.
    Error,
}

/// Where a change is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// In the gateway's configuration, or with its process.
    Gateway,
    /// In this proxy's.
    Proxy,
    /// With the client.
    Client,
    /// On the machine or its network.
    Machine,
}

impl Side {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Proxy => "proxy",
            Self::Client => "client",
            Self::Machine => "machine",
        }
    }
}

/// Something that should be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// A stable code.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: Cow<'static, str>,
    /// The exact change.
    pub change: Cow<'static, str>,
    /// Where to make it.
    pub side: Side,
}

impl Advice {
    /// Advice of one kind.
    pub fn new(
        code: &'static str,
        severity: Severity,
        side: Side,
        what: impl Into<String>,
        why: impl Into<Cow<'static, str>>,
        change: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { code, severity, what: what.into(), why: why.into(), change: change.into(), side }
    }
}

impl Findings {
    /// Whether the gateway refuses all work for a while.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        matches!(&self.state, ProbeState::Answers(capabilities) if capabilities.suspended)
    }

    /// Whether something does not work as it is.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.advice().iter().any(|a| a.severity == Severity::Error)
    }

    /// What should be changed, the most basic first.
    #[must_use]
    pub fn advice(&self) -> Vec<Advice> {
        match &self.state {
            ProbeState::Unknown => Vec::new(),
            ProbeState::Unreachable(cause) => vec![unreachable(cause)],
            ProbeState::Answers(capabilities) => [
                self.credential(capabilities),
                suspended(capabilities),
                broken(capabilities),
                endpoints(capabilities),
                self.narrowing(capabilities),
            ]
            .into_iter()
            .flatten()
            .collect(),
        }
    }

    fn credential(&self, capabilities: &Capabilities) -> Option<Advice> {
        let trusted = self.mode == "trusted-proxy";
        if capabilities.locked_out {
            return Some(Advice::new(
                "gateway-locked-out",
                Severity::Error,
                Side::Gateway,
                "the gateway has locked this proxy out after failed attempts",
                "every request is answered 429 until it forgets, five minutes by default",
                "correct the secret if it is wrong, then restart the gateway or wait; \
                 `gateway.auth.rateLimit.exemptLoopback: true` spares a proxy on the same machine",
            ));
        }
        if capabilities.attribution_refused == Some(true) {
            let (why, change) = if trusted {
                (
                    "it trusts only the addresses in its `trustedProxies`, and accepts none of them as a client address",
                    format!(
                        "{}; and keep this proxy's `local_client_address` out of `trustedProxies`",
                        config_snippets::TRUSTED_ADDRESSES
                    ),
                )
            } else {
                (
                    "something between this proxy and the gateway adds forwarded headers",
                    "let this proxy reach the gateway directly: `[gateway] url`".to_owned(),
                )
            };
            return Some(Advice::new(
                "gateway-attribution",
                Severity::Error,
                if trusted { Side::Gateway } else { Side::Proxy },
                "the gateway refuses this proxy's requests: proxy_attribution_required",
                why,
                change,
            ));
        }
        if capabilities.credential_accepted != Some(false) {
            return None;
        }
        let (side, change): (_, Cow<'static, str>) = match self.mode {
            "trusted-proxy" => (
                Side::Gateway,
                format!(
                    "in openclaw.json: {} (and, if it has `allowUsers`, this proxy's principals)",
                    config_snippets::TRUSTED
                )
                .into(),
            ),
            "none" => (
                Side::Proxy,
                "the gateway wants a credential: set `auth` in `[gateway]` to its `gateway.auth.mode`".into(),
            ),
            _ => (
                Side::Proxy,
                "put the gateway's own secret where `[gateway] auth` reads it: \
                 `gateway.auth` of its openclaw.json, or its OPENCLAW_GATEWAY_TOKEN; then reload"
                    .into(),
            ),
        };
        Some(Advice::new(
            "gateway-credential",
            Severity::Error,
            side,
            format!("the gateway does not accept this proxy's credential (mode {})", self.mode),
            "every request is answered 401, whatever the client sends",
            change,
        ))
    }

    fn narrowing(&self, capabilities: &Capabilities) -> Option<Advice> {
        if capabilities.enforces_narrowed != Some(false) {
            return None;
        }
        let shared = matches!(self.mode, "token" | "password");
        Some(Advice::new(
            "mode-cannot-narrow",
            Severity::Warning,
            Side::Gateway,
            format!("in mode {} this gateway ignores narrowed scopes", self.mode),
            if shared {
                "this proxy enforces them on every route; but inside a chat turn the agent acts for each caller \
                 with the authority of the owner"
            } else {
                "this proxy enforces them on every route; the gateway itself asks for none"
            },
            if shared {
                "if that matters: mode trusted-proxy, where the gateway enforces them too; docs/trusted-proxy.md has the steps".to_owned()
            } else {
                "update the gateway to 2026.3.28 or later".to_owned()
            },
        ))
    }
}

fn unreachable(cause: &str) -> Advice {
    Advice::new(
        "gateway-unreachable",
        Severity::Error,
        Side::Gateway,
        format!("the gateway does not answer: {cause}"),
        "every request is answered 502 or 503",
        "start it (`openclaw gateway`), or correct `[gateway] url`",
    )
}

fn suspended(capabilities: &Capabilities) -> Option<Advice> {
    capabilities.suspended.then(|| {
        Advice::new(
            "gateway-suspended",
            Severity::Error,
            Side::Gateway,
            "the gateway is suspended or about to restart: it refuses all work, and its /healthz says that it is alive",
            "chats and every other request that needs work are answered 503 `gateway_unavailable`",
            "wait for the restart; if nothing restarts it, whoever called `gateway.suspend.prepare` did not call \
             `gateway.suspend.resume`: call it, or restart the gateway",
        )
    })
}

fn broken(capabilities: &Capabilities) -> Option<Advice> {
    let status = capabilities.broken?;
    Some(Advice::new(
        "gateway-broken",
        Severity::Error,
        Side::Gateway,
        format!("the gateway answers its own API with {status}"),
        "it fails after authentication, so no client can work",
        "see its log; the package of 2026.3.31 needs `npm i @slack/web-api@7 @slack/bolt@4` next to it",
    ))
}

fn endpoints(capabilities: &Capabilities) -> Option<Advice> {
    (capabilities.endpoints_enabled == Some(false)).then(|| {
        Advice::new(
            "endpoints-disabled",
            Severity::Error,
            Side::Gateway,
            "the gateway's OpenAI endpoints are switched off",
            "clients get its web page or 404 where they expect /v1/models and /v1/chat/completions",
            config_snippets::ENDPOINTS_COMMANDS,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(mode: &'static str, capabilities: Capabilities) -> Vec<&'static str> {
        Findings { mode, state: ProbeState::Answers(capabilities) }.advice().iter().map(|a| a.code).collect()
    }

    #[test]
    fn each_trait_has_its_advice() {
        assert!(codes("token", Capabilities::default()).is_empty());
        let refused = Capabilities { credential_accepted: Some(false), ..Capabilities::default() };
        for mode in ["token", "password", "none", "trusted-proxy"] {
            assert_eq!(codes(mode, refused.clone()), ["gateway-credential"]);
        }
        let off = Capabilities { endpoints_enabled: Some(false), ..Capabilities::default() };
        assert_eq!(codes("token", off), ["endpoints-disabled"]);
        let wide = Capabilities { enforces_narrowed: Some(false), ..Capabilities::default() };
        assert_eq!(codes("token", wide.clone()), ["mode-cannot-narrow"]);
        let findings = Findings { mode: "token", state: ProbeState::Answers(wide) };
        assert!(!findings.is_wrong(), "the edge makes it good");
        assert_eq!(
            codes("trusted-proxy", Capabilities { attribution_refused: Some(true), ..Capabilities::default() }),
            ["gateway-attribution"]
        );
        let suspended = Capabilities { suspended: true, ..Capabilities::default() };
        assert_eq!(codes("token", suspended), ["gateway-suspended"]);
        assert_eq!(codes("token", Capabilities { locked_out: true, ..refused }), ["gateway-locked-out"]);
    }
}
