//! A `connect` request that leaves as its client signed it. Nothing in it can be changed, so all of it
//! has to be known and checked: what cannot be is refused, never left out of the judgement.

use super::{Connect, Role, request};
use crate::scope::Scope;
use crate::secret::{Secret, TokenHash};
use serde_json::{Map, Value};

/// What an operator's request may hold (contract §7; the gateway's own schema is closed too).
const OPERATOR: &[&str] = &[
    "minProtocol",
    "maxProtocol",
    "client",
    "caps",
    "role",
    "scopes",
    "modelCatalog",
    "device",
    "auth",
    "locale",
    "userAgent",
];
/// What a node's request may hold beside: the commands it offers.
const NODE: &[&str] = &["commands", "computerUse", "workerRuns", "permissions", "pathEnv"];
const CLIENT: &[&str] = &[
    "id",
    "displayName",
    "version",
    "buildId",
    "platform",
    "deviceFamily",
    "modelIdentifier",
    "timeZone",
    "mode",
    "instanceId",
];
const MODEL_CATALOG: &[&str] = &["agentId", "sessionKey", "shortId", "slugHint"];
const DEVICE: &[&str] = &["id", "publicKey", "signature", "signedAt", "nonce"];

/// Why a request may not leave as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inexact {
    /// Something that no rule here covers.
    #[error("`{0}` cannot be passed on unchanged: it is not known here")]
    Unknown(String),
    /// A value of the wrong type.
    #[error("`{0}` cannot be passed on unchanged: its value is not of the right type")]
    Type(&'static str),
    /// An entry of `scopes` that is not one name and nothing else.
    #[error("each entry of `scopes` must be exactly one scope name, without blanks or other characters")]
    Scope,
    /// A secret that is not checked here.
    #[error("`auth` may hold the gateway's own token or password once, and no other credential")]
    Secret,
}

/// A request of which every part was checked, so that it may leave unchanged.
#[derive(Debug, Clone, Copy)]
pub struct Exact<'a>(&'a Connect);

impl Exact<'_> {
    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.id()
    }

    /// The client's own frame, its device and signature with it, and nothing of ours: not our secret
    /// (law 10), and no secret of the client's but the gateway's own.
    #[must_use]
    pub fn frame(&self) -> String {
        request(&self.0.id, &self.0.params)
    }
}

impl Connect {
    /// The request as it may leave unchanged; `None` where its one secret is not the gateway's, such as
    /// a token of this proxy's, which never leaves. `own` is the gateway's secret.
    ///
    /// # Errors
    /// [`Inexact`], with the first member that is not checked here.
    pub fn exact(&self, own: Option<&Secret>) -> Result<Option<Exact<'_>>, Inexact> {
        let params = &self.params;
        let node = self.role() == Role::Node;
        let known = |name: &str| OPERATOR.contains(&name) || (node && NODE.contains(&name));
        if let Some(name) = params.keys().find(|name| !known(name)) {
            return Err(Inexact::Unknown(shown(name)));
        }
        texts(params, "client", CLIENT)?;
        texts(params, "modelCatalog", MODEL_CATALOG)?;
        let device = object(params, "device", DEVICE)?.ok_or(Inexact::Type("device"))?;
        let signed = DEVICE.iter().all(|name| match device.get(*name) {
            Some(Value::String(text)) => !text.trim().is_empty() && *name != "signedAt",
            Some(Value::Number(at)) => at.is_u64() && *name == "signedAt",
            _ => false,
        });
        if !signed {
            return Err(Inexact::Type("device"));
        }
        let mut scopes = params.get("scopes").and_then(Value::as_array).into_iter().flatten();
        if !scopes.all(|entry| entry.as_str().is_some_and(|name| Scope::parse(name).is_ok())) {
            return Err(Inexact::Scope);
        }
        Ok(self.has_gateway_secret(own)?.then_some(Exact(self)))
    }

    /// Whether the frame holds what the gateway wants: its own secret, or none.
    fn has_gateway_secret(&self, own: Option<&Secret>) -> Result<bool, Inexact> {
        let auth = match self.params.get("auth") {
            None => None,
            Some(Value::Object(auth)) => Some(auth),
            Some(_) => return Err(Inexact::Type("auth")),
        };
        let mut secrets = Vec::new();
        for (name, value) in auth.into_iter().flatten() {
            let secret = value.as_str().ok_or(Inexact::Type("auth"))?;
            // What no release reads as a credential today, one may tomorrow.
            if !secret.is_empty() {
                secrets.push((name.as_str(), secret));
            }
        }
        match secrets.as_slice() {
            // A gateway that wants a secret would only refuse it, and let it wait for that.
            [] => Ok(own.is_none()),
            [("token" | "password", secret)] => {
                Ok(own.is_some_and(|own| own.hash() == TokenHash::of(secret.as_bytes())))
            }
            _ => Err(Inexact::Secret),
        }
    }
}

/// The member of this name; an error where it is no object or holds anything else than `known`.
fn object<'a>(
    params: &'a Map<String, Value>,
    name: &'static str,
    known: &[&str],
) -> Result<Option<&'a Map<String, Value>>, Inexact> {
    let Some(value) = params.get(name) else { return Ok(None) };
    let object = value.as_object().ok_or(Inexact::Type(name))?;
    match object.keys().find(|n| !known.contains(&n.as_str())) {
        Some(unknown) => Err(Inexact::Unknown(format!("{name}.{}", shown(unknown)))),
        None => Ok(Some(object)),
    }
}

/// The same of an object that holds texts only.
fn texts(params: &Map<String, Value>, name: &'static str, known: &[&str]) -> Result<(), Inexact> {
    let object = object(params, name, known)?;
    let all = object.is_none_or(|object| object.values().all(Value::is_string));
    if all { Ok(()) } else { Err(Inexact::Type(name)) }
}

/// A name of the client's, fit for a message.
fn shown(name: &str) -> String {
    name.escape_debug().take(32).collect()
}
