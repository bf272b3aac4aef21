//! Session keys of principals that have a space of their own.
//!
//! The canonical key is `agent:<id>:<LEAD><source>:<name>:<key>`. It always names the agent: a gateway with
//! several refuses others, and the agent of a key decides who runs. The gateway folds a key's case and
//! splits it at colons, so what others chose (names, issuers, keys) is escaped to lower case without
//! colons, each to a text of its own. No two principals and no two keys meet.

use aws_lc_rs::digest::{SHA256, digest};
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What every key of a principal's own space begins with, behind the agent. A principal's own part of a
/// key stands behind its name, and an agent's name holds no dot: no other caller can write it.
pub const LEAD: &str = "scopeshim.";

/// The longest escaped part of a key. With all parts this long a key stays below the 512 characters that the
/// gateway's protocol takes. What is longer is replaced by its hash.
const LONGEST: usize = 128;

/// Begins a part that is a hash, and one that was made for a single call. Neither begins an escape.
const HASHED: &str = "~~";
const FRESH: &str = "~.";
/// Stands for the one session of all prompts that a client makes by itself. No escape either.
const BACKGROUND: &str = "~-background";

/// An agent's id as the gateway takes it, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(Box<str>);

impl AgentId {
    /// Reads an id. The gateway turns other texts into ids of its own; those are not taken here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let first = text.as_bytes().first()?.is_ascii_alphanumeric();
        let fit = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        (first && fit).then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The gateway's default agent where nothing names another.
    #[must_use]
    pub fn main() -> Self {
        Self("main".into())
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A session key that a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent<'a> {
    /// One without an agent.
    Bare(&'a str),
    /// `agent:<id>:<rest>`.
    OfAgent(AgentId, &'a str),
}

/// A key that begins with `agent:` and does not name one plainly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Sent<'a> {
    /// Reads a key as the gateway does: blanks at the ends and the case of `agent:` do not count. `None`: it
    /// is empty, which is none.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(key: &'a str) -> Result<Option<Self>, Malformed> {
        let key = trim(key);
        if key.is_empty() {
            return Ok(None);
        }
        let Some(rest) = strip_agent(key) else { return Ok(Some(Self::Bare(key))) };
        let (id, rest) = rest.split_once(':').ok_or(Malformed)?;
        let agent = AgentId::parse(id).ok_or(Malformed)?;
        // An agent within an agent's key, or nothing in it: releases differ in what they make of it.
        if trim(rest) != rest || rest.is_empty() || rest.starts_with(':') || strip_agent(rest).is_some() {
            return Err(Malformed);
        }
        Ok(Some(Self::OfAgent(agent, rest)))
    }
}

fn strip_agent(key: &str) -> Option<&str> {
    const MARK: &str = "agent:";
    key.get(..MARK.len()).filter(|head| head.eq_ignore_ascii_case(MARK))?;
    key.get(MARK.len()..)
}

/// JavaScript's `String.prototype.trim`.
#[must_use]
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}')
}

/// Whether a key is one of some principal's own space.
#[must_use]
pub fn is_somebodys(key: &str) -> bool {
    // Wherever it stands: the gateway puts agents in front of keys by itself.
    key.split(':').any(|part| {
        let part = trim(part);
        part.get(..LEAD.len()).is_some_and(|head| head.eq_ignore_ascii_case(LEAD))
    })
}

/// One principal's space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// `<LEAD><source>:<name>:`.
    head: String,
}

impl Space {
    /// The space of the principal whom a source calls `name`; `authority` is which issuer, or which app, where
    /// there are several.
    #[must_use]
    pub fn new(source: &str, authority: Option<&str>, name: &str) -> Self {
        let issuer = authority.map(|i| format!(".{}", part(i))).unwrap_or_default();
        Self { head: format!("{LEAD}{}{issuer}:{}:", part(source).replace('.', "~2e"), part(name)) }
    }

    /// The key of the session that the client calls `name`.
    #[must_use]
    pub fn key(&self, agent: &AgentId, name: &str) -> String {
        format!("agent:{agent}:{}{}", self.head, part(name))
    }

    /// A key that no other call has.
    #[must_use]
    pub fn fresh(&self, agent: &AgentId) -> String {
        // Told apart by the count too, so that two calls never meet whatever the system's randomness does.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let random = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        format!("agent:{agent}:{}{FRESH}{random:016x}{count:016x}", self.head)
    }

    /// The key of the one session in which prompts go that the client makes by itself.
    #[must_use]
    pub fn background(&self, agent: &AgentId) -> String {
        format!("agent:{agent}:{}{BACKGROUND}", self.head)
    }

    /// The key for what a client sent: its own canonical keys are themselves. `agent` is whose session a
    /// key without an agent is.
    #[must_use]
    pub fn map(&self, sent: &Sent<'_>, agent: &AgentId) -> String {
        match sent {
            Sent::Bare(name) => self.key(agent, name),
            Sent::OfAgent(agent, rest) => match self.own_part(rest) {
                Some(_) => format!("agent:{agent}:{rest}"),
                None => self.key(agent, rest),
            },
        }
    }

    /// Whether this is one of the space's canonical keys.
    #[must_use]
    pub fn owns(&self, key: &str) -> bool {
        self.name_of(key).is_some()
    }

    /// The name by which the client knows a session of this space; `None` for the keys of others. Where
    /// the name cannot be had back, the key is its own name.
    #[must_use]
    pub fn name_of<'k>(&self, key: &'k str) -> Option<Cow<'k, str>> {
        let Ok(Some(Sent::OfAgent(agent, rest))) = Sent::parse(key) else { return None };
        // Only as this proxy writes it: the gateway's own spelling is the same.
        if format!("agent:{agent}:{rest}") != key {
            return None;
        }
        match self.own_part(rest)? {
            Part::Plain(name) => Some(Cow::Owned(name)),
            Part::Opaque => Some(Cow::Borrowed(key)),
        }
    }

    fn own_part(&self, rest: &str) -> Option<Part> {
        read(rest.strip_prefix(self.head.as_str())?)
    }
}

enum Part {
    Plain(String),
    Opaque,
}

/// Reads an escaped part; `None`: it is not one.
fn read(text: &str) -> Option<Part> {
    let hexadecimal = |digits: &str, length: usize| {
        digits.len() == length && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    if let Some(digits) = text.strip_prefix(HASHED) {
        return hexadecimal(digits, 64).then_some(Part::Opaque);
    }
    if text == BACKGROUND {
        return Some(Part::Opaque);
    }
    if let Some(digits) = text.strip_prefix(FRESH) {
        return hexadecimal(digits, 32).then_some(Part::Opaque);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut pieces = text.split('~');
    bytes.extend_from_slice(pieces.next()?.as_bytes());
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    let name = String::from_utf8(bytes).ok()?;
    (part(&name) == text).then_some(Part::Plain(name))
}

/// Escapes a text to a part of a key: lower case, digits, `.`, `_` and `-` stand for themselves.
fn part(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let special = is_special(text);
    for (i, byte) in text.bytes().enumerate() {
        let plain = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if plain && !(special && i == 0) {
            out.push(char::from(byte));
        } else {
            out.push('~');
            out.push_str(&hex::encode([byte]));
        }
    }
    if out.len() <= LONGEST {
        return out;
    }
    let hash = digest(&SHA256, text.as_bytes());
    format!("{HASHED}{}", hex::encode(hash))
}

/// Words that the gateway looks for between colons: what stands behind them is read as a conversation of a
/// channel, a thread, or a session that is not kept.
fn is_special(text: &str) -> bool {
    const WORDS: [&str; 10] =
        ["agent", "direct", "dm", "group", "channel", "thread", "topic", "run", "subagent", "heartbeat"];
    WORDS.contains(&text) || text.starts_with("incognito-")
}

#[cfg(test)]
mod tests;
