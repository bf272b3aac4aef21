//! In which session a response was made, for callers with sessions of their own: a request that names its
//! id goes on there. The gateway knows it too, but only for requests that name no session, and these
//! callers' requests always do.

use bytes::Bytes;
use http::HeaderValue;
use quick_cache::sync::Cache;
use std::sync::Arc;

/// How many responses are remembered; the gateway remembers 500.
const REMEMBERED: usize = 10_000;
/// How far into an answer its id is looked for: it is the first thing in it.
const WITHIN: usize = 4 * 1024;
/// What an id begins with, and how long its rest is: a UUID.
const MARK: &[u8] = b"resp_";
const REST: usize = 36;

/// Responses by principal and id.
#[derive(Debug)]
pub(super) struct ResponseSessions(Cache<(Arc<str>, Box<str>), Arc<str>>);

impl Default for ResponseSessions {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl ResponseSessions {
    /// The session of a principal's response.
    pub(super) fn get(&self, principal: &Arc<str>, id: &str) -> Option<Arc<str>> {
        self.0.get(&(principal.clone(), Box::from(id)))
    }

    fn remember(&self, principal: &Arc<str>, id: &str, session: &HeaderValue) {
        if let Ok(session) = session.to_str() {
            self.0.insert((principal.clone(), Box::from(id)), Arc::from(session));
        }
    }
}

/// Looks for a response's id in its answer, which passes as it is.
#[derive(Debug)]
pub(super) struct ResponseIdReader {
    principal: Arc<str>,
    session: HeaderValue,
    read: Vec<u8>,
    found: bool,
}

impl ResponseIdReader {
    pub(super) fn new(principal: Arc<str>, session: HeaderValue) -> Self {
        Self { principal, session, read: Vec::new(), found: false }
    }

    /// Takes the next piece of the answer.
    pub(super) fn read(&mut self, piece: &Bytes, sessions: &ResponseSessions) {
        if self.found || self.read.len() >= WITHIN {
            return;
        }
        let room = WITHIN - self.read.len();
        self.read.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
        if let Some(id) = id(&self.read) {
            sessions.remember(&self.principal, id, &self.session);
            self.found = true;
            self.read = Vec::new();
        }
    }
}

fn id(text: &[u8]) -> Option<&str> {
    let at = memchr::memmem::find(text, MARK)?;
    let id = std::str::from_utf8(text.get(at..at + MARK.len() + REST)?).ok()?;
    let rest = id.get(MARK.len()..)?;
    rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-').then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found_whatever_the_pieces_and_is_its_principal_s_alone() {
        let answer = b"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_01234567-89ab-cdef-0123-456789abcdef\",\"object\":\"response\"}}\n\n";
        let id = "resp_01234567-89ab-cdef-0123-456789abcdef";
        for cut in 0..answer.len() {
            let sessions = ResponseSessions::default();
            let (alice, bob): (Arc<str>, Arc<str>) = ("alice".into(), "bob".into());
            let mut reader = ResponseIdReader::new(alice.clone(), HeaderValue::from_static("agent:main:x"));
            let (head, tail) = answer.split_at(cut);
            reader.read(&Bytes::copy_from_slice(head), &sessions);
            reader.read(&Bytes::copy_from_slice(tail), &sessions);
            assert_eq!(sessions.get(&alice, id).as_deref(), Some("agent:main:x"), "{cut}");
            assert_eq!(sessions.get(&bob, id), None);
        }
    }

    #[test]
    fn what_is_no_id_is_not_remembered_and_a_long_answer_not_kept() {
        assert_eq!(super::id(b"resp_zzzzzzzz-89ab-cdef-0123-456789abcdef"), None);
        assert_eq!(super::id(b"resp_0123"), None);
        let sessions = ResponseSessions::default();
        let mut reader = ResponseIdReader::new("alice".into(), HeaderValue::from_static("x"));
        for _ in 0..100 {
            reader.read(&Bytes::from(vec![b'x'; 1024]), &sessions);
        }
        assert!(reader.read.len() <= WITHIN);
    }
}
