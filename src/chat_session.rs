//! Which chat a request belongs to, by a header of the client's own: clients of the OpenAI interface name
//! no session, and some send the number of their chat beside.

use crate::headers::{Repeated, fold, single};
use crate::refusal::{IsolationFault, Refusal};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Where clients say which chat a request belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChatHeaders {
    /// The headers that name the chat; the first one that is there counts. Empty: none is read.
    pub from: Vec<HeaderName>,
    /// The headers that mark a prompt which the client makes by itself, such as for a title.
    pub task: Vec<HeaderName>,
    /// Where such prompts go.
    pub background: Background,
}

/// The session of prompts that a client makes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Background {
    /// A new one each.
    #[default]
    Fresh,
    /// One for all of a principal's.
    Shared,
    /// The chat's own.
    Chat,
}

/// What a request says of its chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chat {
    /// It belongs to the chat of this name.
    Named(Box<str>),
    /// The client made it by itself, and it goes where such prompts do.
    Background(Background),
}

impl ChatHeaders {
    /// Reads what a request says of its chat.
    ///
    /// # Errors
    /// When one of the headers was sent twice or is no text.
    pub fn read(&self, headers: &HeaderMap) -> Result<Option<Chat>, Refusal> {
        if self.background != Background::Chat && first(&self.task, headers)?.is_some() {
            return Ok(Some(Chat::Background(self.background)));
        }
        Ok(first(&self.from, headers)?.map(|name| Chat::Named(name.into())))
    }

    /// Whether this is one of the headers, or another spelling of one: the gateway gets none of them.
    #[must_use]
    pub fn owns(&self, name: &HeaderName) -> bool {
        self.from.iter().chain(&self.task).any(|own| own == name || fold(own.as_str()) == fold(name.as_str()))
    }
}

/// The first header that says something; an empty one says nothing.
fn first<'h>(names: &[HeaderName], headers: &'h HeaderMap) -> Result<Option<&'h str>, Refusal> {
    let mut found = None;
    for name in names {
        let sent = single(headers, name).map_err(|Repeated| unfit("it was sent more than once"))?;
        let Some(value) = sent.map(text).transpose()? else { continue };
        found = found.or((!value.is_empty()).then_some(value));
    }
    Ok(found)
}

fn text(value: &HeaderValue) -> Result<&str, Refusal> {
    value.to_str().map(str::trim).map_err(|_| unfit("its value is not plain text"))
}

fn unfit(why: &'static str) -> Refusal {
    Refusal::Isolation(IsolationFault::Chat(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::map;
    use proptest::prelude::*;

    const CHAT: HeaderName = HeaderName::from_static("x-openwebui-chat-id");
    const OTHER: HeaderName = HeaderName::from_static("x-conversation-id");
    const TASK: HeaderName = HeaderName::from_static("x-openwebui-task");

    fn headers(background: Background) -> ChatHeaders {
        ChatHeaders { from: vec![CHAT, OTHER], task: vec![TASK], background }
    }

    fn named(name: &str) -> Chat {
        Chat::Named(name.into())
    }

    #[test]
    fn the_first_header_that_says_something_names_the_chat() {
        let read = |lines: &[(&'static str, &str)]| headers(Background::Fresh).read(&map(lines));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("x-openwebui-chat-id", "a")]), Ok(Some(named("a"))));
        assert_eq!(read(&[("x-conversation-id", "b"), ("x-openwebui-chat-id", "a")]), Ok(Some(named("a"))));
        assert_eq!(read(&[("x-conversation-id", "b"), ("x-openwebui-chat-id", "")]), Ok(Some(named("b"))));
        assert_eq!(read(&[("x-openwebui-chat-id", "  ")]), Ok(None));
        assert_eq!(read(&[("x-openclaw-session-key", "a"), ("x-openwebui-chat-ids", "b")]), Ok(None));
        for lines in [
            [("x-openwebui-chat-id", "a"), ("x-openwebui-chat-id", "a")],
            [("x-openwebui-chat-id", "a"), ("x-conversation-id", "ü")],
        ] {
            assert!(matches!(read(&lines), Err(Refusal::Isolation(IsolationFault::Chat(_)))), "{lines:?}");
        }
    }

    #[test]
    fn a_prompt_of_the_client_s_own_goes_where_the_policy_says() {
        let read = |background, task: &str| {
            headers(background).read(&map(&[("x-openwebui-chat-id", "a"), ("x-openwebui-task", task)])).unwrap()
        };
        assert_eq!(read(Background::Fresh, "title_generation"), Some(Chat::Background(Background::Fresh)));
        assert_eq!(read(Background::Shared, "tags_generation"), Some(Chat::Background(Background::Shared)));
        assert_eq!(read(Background::Chat, "title_generation"), Some(named("a")));
        // An empty one is how a message of the person's own is marked.
        assert_eq!(read(Background::Fresh, ""), Some(named("a")));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused_and_never_as_another_value(
            lines in prop::collection::vec((0usize..3, prop::collection::vec(0x20u8..=0xff, 0..12)), 0..5)
        ) {
            let mut map = HeaderMap::new();
            for (which, value) in &lines {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    map.append([CHAT, OTHER, TASK][*which].clone(), value);
                }
            }
            if let Ok(Some(Chat::Named(name))) = headers(Background::Fresh).read(&map) {
                let sent = |header: HeaderName| map.get(header).and_then(|v| v.to_str().ok()).map(str::trim);
                prop_assert!(sent(CHAT) == Some(&*name) || sent(OTHER) == Some(&*name));
                prop_assert!(sent(TASK).is_none_or(str::is_empty));
            }
        }
    }
}
