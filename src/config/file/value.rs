//! Values: with their place, as moments, one or many.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;
use toml::Spanned;
use toml::value::Datetime;

thread_local! {
    /// Where the parts of the text that this thread reads begin, there and in the file.
    static PARTS: RefCell<Vec<(usize, usize)>> = const { RefCell::new(Vec::new()) };
}

/// Reads a text that was put together from parts of the file: where each begins in the text, and where in the file.
pub(crate) fn placed<T>(parts: Vec<(usize, usize)>, read: impl FnOnce() -> T) -> T {
    PARTS.set(parts);
    let read = read();
    PARTS.take();
    read
}

fn in_file(byte: usize) -> usize {
    PARTS.with_borrow(|parts| {
        let before = parts.partition_point(|(in_text, _)| *in_text <= byte);
        let part = before.checked_sub(1).and_then(|i| parts.get(i));
        part.map_or(byte, |(in_text, in_file)| byte - in_text + in_file)
    })
}

/// A value and the bytes of the file it stands in.
#[derive(Debug, Clone)]
pub struct At<T> {
    value: T,
    start: usize,
    length: usize,
}

impl<T> At<T> {
    /// The value.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// Where it stands, as a byte range.
    pub fn span(&self) -> Range<usize> {
        self.start..self.start + self.length
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(from)?;
        let span = spanned.span();
        Ok(Self { start: in_file(span.start), length: span.len(), value: spanned.into_inner() })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

/// A moment: `2027-01-31T12:00:00Z`, with an offset; quoted or bare.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "MomentForm")]
pub struct Moment(pub String);

#[derive(Deserialize)]
#[serde(untagged, expecting = "a date and time such as 2027-01-31T12:00:00Z")]
enum MomentForm {
    Bare(Datetime),
    Quoted(String),
}

impl From<MomentForm> for Moment {
    fn from(form: MomentForm) -> Self {
        Self(match form {
            MomentForm::Bare(datetime) => datetime.to_string(),
            MomentForm::Quoted(text) => text,
        })
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// One value or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text, or a list of texts")]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}
