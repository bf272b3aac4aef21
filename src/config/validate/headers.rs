//! What becomes of the gateway's own headers.

use crate::config::diagnostic::{Problems, did_you_mean};
use crate::config::file::{self, At};
use crate::config::{HeaderRule, HeaderRules};
use crate::glob::Glob;
use crate::headers::GatewayHeader;
use crate::session_space::AgentId;
use http::HeaderValue;
use std::ops::Range;

/// The rules of one table; `said` is what it says of a header.
pub(super) fn rules<'a>(
    said: impl Fn(GatewayHeader) -> Option<&'a At<file::HeaderRule>>,
    tools: Option<&At<file::ToolRule>>,
    problems: &mut Problems,
) -> HeaderRules {
    let tools = tools.map(|t| t.get().allow.iter().map(|name| Glob::new(name)).collect());
    let mut rules = HeaderRules { tools, ..HeaderRules::default() };
    for header in GatewayHeader::ALL {
        *rules.slot(header) = said(header).and_then(|at| match header {
            GatewayHeader::AgentId => agents(at, problems),
            _ => rule(at, header == GatewayHeader::SessionKey, problems),
        });
    }
    rules
}

fn rule(at: &At<file::HeaderRule>, may_prefix: bool, problems: &mut Problems) -> Option<HeaderRule> {
    const WORDS: [&str; 4] = ["pass", "admin", "refuse", "prefix"];
    match at.get() {
        file::HeaderRule::Word(word) => match word.as_str() {
            "pass" => Some(HeaderRule::Pass),
            "admin" => Some(HeaderRule::Admin),
            "refuse" => Some(HeaderRule::Refuse),
            "prefix" if may_prefix => Some(HeaderRule::Prefix),
            "prefix" => {
                problems.error(
                    "header-rule",
                    at.span(),
                    "only `session_key` can be prefixed",
                    "write `pass`, `admin` or `refuse`",
                );
                None
            }
            other => {
                let hint = did_you_mean(other, WORDS).map_or_else(
                    || "one of `pass`, `admin`, `refuse`, `{ pin = \"…\" }`, `{ allow = [\"…\"] }`".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                problems.error("header-rule", at.span(), format!("`{other}` is not known here"), hint);
                None
            }
        },
        file::HeaderRule::Pin(rule) => value(&rule.pin, at, problems).map(HeaderRule::Pin),
        file::HeaderRule::Allow(rule) => {
            if rule.allow.is_empty() {
                problems.error("header-rule", at.span(), "an empty list allows nothing", "write `\"refuse\"`");
                return None;
            }
            rule.allow.iter().map(|v| value(v, at, problems)).collect::<Option<Vec<_>>>().map(HeaderRule::Allow)
        }
    }
}

/// A rule for agents: what it names must be ids as the gateway takes them.
fn agents(at: &At<file::HeaderRule>, problems: &mut Problems) -> Option<HeaderRule> {
    let rule = rule(at, false, problems)?;
    let named: &[HeaderValue] = match &rule {
        HeaderRule::Pin(value) => std::slice::from_ref(value),
        HeaderRule::Allow(values) => values,
        _ => &[],
    };
    for value in named {
        if value.to_str().ok().and_then(AgentId::parse).is_none() {
            problems.error(
                "header-value",
                at.span(),
                format!("`{}` is no agent's id", String::from_utf8_lossy(value.as_bytes())),
                "letters, digits, `_` and `-`, at most 64, a letter or digit first",
            );
            return None;
        }
    }
    Some(rule)
}

/// Warns of a model that is sent for callers from whom the gateway does not take one.
pub(super) fn lint_model(rule: Option<&HeaderRule>, span: Range<usize>, problems: &mut Problems) {
    if matches!(rule, Some(HeaderRule::Pin(_) | HeaderRule::Allow(_))) {
        problems.warn(
            "model-needs-admin",
            span,
            "in its modes `none` and `trusted-proxy` the gateway takes `x-openclaw-model` from callers with \
             operator.admin alone (2026.6 and later): it answers 403 to everybody else's chats",
            "give an agent that model in the gateway's configuration, and pin `agent_id`",
        );
    }
}

fn value(text: &str, at: &At<file::HeaderRule>, problems: &mut Problems) -> Option<HeaderValue> {
    self::text(text, at.span(), problems)
}

/// A header's value, as written.
pub(super) fn text(text: &str, span: Range<usize>, problems: &mut Problems) -> Option<HeaderValue> {
    let fit = |v: &HeaderValue| v.to_str().is_ok_and(|t| !t.is_empty() && t.trim() == t);
    let value = HeaderValue::from_str(text).ok().filter(fit);
    if value.is_none() {
        problems.error(
            "header-value",
            span,
            format!("`{}` cannot be sent in a header", text.escape_debug()),
            "use visible ASCII, without blanks at the ends",
        );
    }
    value
}
