//! Apps that many people use: the chats and the users that they name.

use super::{At, OneOrMany};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Sessions of the gateway by the chats of clients, for principals that have sessions of their own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sessions {
    /// Headers that a client is known to send: `open-webui`, `librechat` or `home-assistant`.
    pub preset: Option<At<String>>,
    /// The header that names the chat, or several: the first that is there counts. Replaces the preset's.
    pub from_header: Option<At<OneOrMany>>,
    /// The header, or several, that is not empty where a client prompts by itself, for a title or for tags.
    /// Replaces the preset's.
    pub task_header: Option<At<OneOrMany>>,
    /// The session of such prompts: `fresh` (a new one each), `shared` (one for all of a principal's) or
    /// `chat` (the chat's own). Default `fresh`.
    pub background: Option<At<String>>,
}

/// How an app says for which of its users it calls.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Users {
    /// Headers that an app is known to send: `open-webui`.
    pub preset: Option<At<String>>,
    /// The headers that describe the user, by the claim that each is: `{ email = "X-User-Email" }`.
    pub headers: BTreeMap<String, At<String>>,
    /// The claim that names the user. Default `email`.
    pub name_claim: Option<At<String>>,
    /// The issuer of the JWT that proves the user, with `proves = "users"`. No header counts beside it.
    pub issuer: Option<At<String>>,
    /// What a request is that names no user: `refuse`, or `app`: the app's own. Default `refuse`.
    pub missing: Option<At<String>>,
}
