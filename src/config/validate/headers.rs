//! What becomes of the gateway's own headers.

use crate::config::diagnostic::{Problems, did_you_mean};
use crate::config::file::{self, At};
use crate::config::{HeaderRule, HeaderRules};
use http::HeaderValue;
use std::ops::Range;

/// The rules of one table.
pub(super) fn rules(
    agent_id: Option<&At<file::HeaderRule>>,
    model: Option<&At<file::HeaderRule>>,
    session_key: Option<&At<file::HeaderRule>>,
    message_channel: Option<&At<file::HeaderRule>>,
    problems: &mut Problems,
) -> HeaderRules {
    HeaderRules {
        agent_id: agent_id.and_then(|r| rule(r, false, problems)),
        model: model.and_then(|r| rule(r, false, problems)),
        session_key: session_key.and_then(|r| rule(r, true, problems)),
        message_channel: message_channel.and_then(|r| rule(r, false, problems)),
    }
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
