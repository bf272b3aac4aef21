//! `[sessions]`.

use super::token_headers::carrier;
use super::values::choice;
use crate::chat_session::{Background, ChatHeaders};
use crate::config::diagnostic::Problems;
use crate::config::file::{At, OneOrMany, Sessions};
use http::HeaderName;

const CODE: &str = "sessions";

/// What clients are known to send: the headers of the chat, and those of their own prompts.
type Preset = (&'static [&'static str], &'static [&'static str]);

/// Open WebUI sends the chat by itself (`ENABLE_FORWARD_USER_INFO_HEADERS`), and from 0.12 on a connection's
/// header may hold `{{TASK}}`. LibreChat sends what its `headers` say; the name is that of its documentation.
/// Home Assistant's integration of OpenClaw sends `X-Session-Id`.
const PRESETS: &[(&str, Preset)] = &[
    ("open-webui", (&["x-openwebui-chat-id"], &["x-openwebui-task"])),
    ("librechat", (&["x-conversation-id"], &[])),
    ("home-assistant", (&["x-session-id"], &[])),
];

/// `is_used`: whether anybody has sessions of its own.
pub(super) fn sessions(table: &Sessions, is_used: bool, problems: &mut Problems) -> ChatHeaders {
    let (from, task) = choice(table.preset.as_ref(), (&[][..], &[][..]), PRESETS, "preset", problems);
    let words = [("fresh", Background::Fresh), ("shared", Background::Shared), ("chat", Background::Chat)];
    let background = choice(table.background.as_ref(), Background::Fresh, &words, CODE, problems);
    let chats = ChatHeaders {
        from: names(table.from_header.as_ref(), from, problems),
        task: names(table.task_header.as_ref(), task, problems),
        background,
    };
    if let (true, Some(at)) = (chats.from.is_empty(), table.task_header.as_ref()) {
        let hint = "add `from_header` or `preset`";
        problems.error(CODE, at.span(), "no header names the chat", hint);
    }
    if let Some(both) = chats.from.iter().find(|name| chats.task.contains(name)) {
        let span = table.task_header.as_ref().or(table.from_header.as_ref()).map(At::span);
        problems.error(CODE, span, format!("`{both}` cannot name the chat and mark a prompt too"), "use two headers");
    }
    lint_idle(table, is_used, problems);
    chats
}

fn names(given: Option<&At<OneOrMany>>, preset: &[&'static str], problems: &mut Problems) -> Vec<HeaderName> {
    let Some(given) = given else { return preset.iter().copied().map(HeaderName::from_static).collect() };
    if given.get().all().is_empty() {
        problems.error(CODE, given.span(), "an empty list names no header", "leave it out");
    }
    let all = given.get().all().iter();
    all.filter_map(|name| carrier(name, given.span(), "a chat", CODE, "for example `x-openwebui-chat-id`", problems))
        .collect()
}

/// Warns of headers that make no session of anything, as nobody has sessions of their own.
fn lint_idle(table: &Sessions, is_used: bool, problems: &mut Problems) {
    let at = table.preset.as_ref().map(At::span).or_else(|| table.from_header.as_ref().map(At::span));
    if let (Some(span), false) = (at, is_used) {
        problems.warn(
            "sessions-idle",
            span,
            "`[sessions]` counts for principals with sessions of their own, and there are none",
            "write `session_key = \"prefix\"` in `[policy]` or in a `[[grant]]`",
        );
    }
}
