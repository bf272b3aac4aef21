//! JSON bodies of the gateway's API, read as the gateway reads them, and changed in single members.
//!
//! The gateway takes a body's bytes for UTF-8 whatever `Content-Type` and `Content-Encoding` say, trims
//! what JavaScript calls blank, and gives the rest to `JSON.parse`; an empty body is `{}`. Of two members
//! of one name it takes the last. What two readers could read differently is refused here: repeated names,
//! however they are spelled, and text that is not UTF-8. `make bodies` compares the reading with Node's.
//!
//! `serde_json` reads; only where members stand, which it does not tell, is worked out here.

use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// How deep values may be nested.
pub const MAX_DEPTH: usize = 256;

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It is not UTF-8.
    #[error("the body is not UTF-8")]
    Encoding,
    /// It is not a JSON object.
    #[error("the body is not a JSON object: {0}")]
    Syntax(String),
    /// A name stands there twice.
    #[error("the member `{0}` stands in the body more than once")]
    Repeated(String),
    /// A name with which a JSON object changes what others inherit.
    #[error("the body has a member `__proto__`")]
    Prototype,
    /// It is nested too deep.
    #[error("the body is nested deeper than {MAX_DEPTH} levels")]
    Depth,
    /// A member that decides what the request acts on is no text.
    #[error("the member `{0}` of the body is not a text")]
    NotText(&'static str),
    /// Something follows the JSON.
    #[error("something follows the JSON in the body")]
    Trailing,
}

/// An object of a body.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    /// What every span counts from.
    text: &'a str,
    /// Where the first member would stand.
    inside: usize,
    members: Vec<Member<'a>>,
}

#[derive(Debug, Clone)]
struct Member<'a> {
    name: Cow<'a, str>,
    value: &'a str,
}

impl<'a> Object<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`BodyFault`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, BodyFault> {
        let text = std::str::from_utf8(bytes).map_err(|_| BodyFault::Encoding)?;
        let mut scan = Scan::default();
        scan.feed(bytes)?;
        let json = crate::session_space::trim(text);
        if json.is_empty() {
            // There is nothing in it, and nothing can be put into it: the gateway refuses every such request.
            return Ok(Self { text, inside: 0, members: Vec::new() });
        }
        Self::part(text, json)
    }

    /// Reads `json`, which is a part of `text`.
    fn part(text: &'a str, json: &'a str) -> Result<Self, BodyFault> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let members = reader
            .deserialize_map(Members)
            .and_then(|members| reader.end().map(|()| members))
            .map_err(|e| BodyFault::Syntax(e.to_string()))?;
        for (i, member) in members.iter().enumerate() {
            if member.name == "__proto__" {
                return Err(BodyFault::Prototype);
            }
            if members.iter().take(i).any(|m| m.name == member.name) {
                return Err(BodyFault::Repeated(member.name.chars().take(64).collect()));
            }
        }
        let inside = offset(text, json) + json.find('{').map_or(0, |at| at + 1);
        Ok(Self { text, inside, members })
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.members.iter().find(|m| m.name == name).map(|m| m.value)
    }

    /// A member that is a text. One that is `null` is not there, as the gateway has it.
    ///
    /// # Errors
    /// [`BodyFault::NotText`].
    pub fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, BodyFault> {
        let Some(value) = self.value(name).filter(|v| *v != "null") else { return Ok(None) };
        serde_json::from_str(value).map(|Text(text)| Some(text)).map_err(|_| BodyFault::NotText(name))
    }

    /// A member that is an object; `None`: it is not there, or something else.
    ///
    /// # Errors
    /// [`BodyFault`] of it.
    pub fn object(&self, name: &str) -> Result<Option<Self>, BodyFault> {
        match self.value(name) {
            Some(value) if value.starts_with('{') => Self::part(self.text, value).map(Some),
            _ => Ok(None),
        }
    }

    /// The text it was read from.
    #[must_use]
    pub fn source(&self) -> &str {
        self.text
    }

    /// The names of its members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|m| &*m.name)
    }

    /// An object without members.
    #[must_use]
    pub const fn empty() -> Object<'static> {
        Object { text: "", inside: 0, members: Vec::new() }
    }

    /// Whether it has such a member.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Has the member be this text, whatever it was.
    pub fn set(&self, name: &str, text: &str, edits: &mut Edits) {
        let json = |text: &str| serde_json::Value::from(text).to_string();
        match self.value(name) {
            Some(value) => {
                let start = offset(self.text, value);
                edits.replaced.push((start..start + value.len(), json(text)));
            }
            None if self.inside == 0 => {}
            None => {
                let alone = self.members.is_empty();
                edits.put_in.push((self.inside, alone, format!("{}:{}", json(name), json(text))));
            }
        }
    }
}

/// Changes of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// Where, and what stands there instead.
    replaced: Vec<(Range<usize>, String)>,
    /// Where members are put in, whether there are no others, and each.
    put_in: Vec<(usize, bool, String)>,
}

impl Edits {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty() && self.put_in.is_empty()
    }

    /// The body with the changes in it; every other byte is as it was.
    #[must_use]
    pub fn apply(self, body: &[u8]) -> Vec<u8> {
        let mut edits = self.replaced;
        for (place, alone, member) in self.put_in {
            match edits.iter_mut().find(|(range, _)| *range == (place..place)) {
                Some((_, text)) if alone => text.insert_str(0, &format!("{member},")),
                Some((_, text)) => text.extend([member.as_str(), ","]),
                None if alone => edits.push((place..place, member)),
                None => edits.push((place..place, format!("{member},"))),
            }
        }
        // From the end, so that what stands before keeps its place.
        edits.sort_by_key(|(range, _)| range.start);
        let mut changed = body.to_vec();
        for (range, text) in edits.into_iter().rev().filter(|(range, _)| range.end <= body.len()) {
            changed.splice(range, text.into_bytes());
        }
        changed
    }
}

/// Where a part of a text begins.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// A JSON text, borrowed where nothing in it is escaped.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Text<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(v))
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(v.to_owned()))
            }
        }
        deserializer.deserialize_str(Texts).map(Text)
    }
}

struct Members;

/// More members than any request of the API has; each is compared with the others.
const MAX_MEMBERS: usize = 512;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            if members.len() == MAX_MEMBERS {
                return Err(A::Error::custom("it has too many members"));
            }
            members.push(Member { name, value: value.get() });
        }
        Ok(members)
    }
}

/// Follows JSON piece by piece: how deep it is, and whether the value at its top has ended.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    depth: usize,
    in_string: bool,
    escaped: bool,
    ended: bool,
}

impl Scan {
    /// Takes the next piece.
    ///
    /// # Errors
    /// [`BodyFault::Depth`]; [`BodyFault::Trailing`] for more than blanks behind the end.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), BodyFault> {
        for byte in piece {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' if self.ended => return Err(BodyFault::Trailing),
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        return Err(BodyFault::Depth);
                    }
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.ended |= self.depth == 0;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether an object or array at the top has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests;
