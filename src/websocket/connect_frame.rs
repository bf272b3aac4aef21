//! The `connect` request, a gateway session's first frame: what the client sent, what leaves in its
//! place, what comes back. Values in, values out.
//!
//! What leaves is built anew from fields that carry no authority, never by editing the client's
//! text: whatever is not named here stays behind. Source: contract §7.

mod exact;

pub use exact::{Exact, Inexact};

use super::device_identity::{Device, PLATFORM, SignedFields};
use crate::config::GatewayAuth;
use crate::policy::Grant;
use crate::scope::{MAX_REQUESTED, Scope, ScopeSet};
use crate::strict_json::strict;
use serde_json::{Map, Value, json};

/// Parameters that say what the client speaks and shows; no release reads authority from them.
const KEPT: &[&str] = &["minProtocol", "maxProtocol", "caps", "locale", "userAgent", "modelCatalog"];
/// The same within `client`; `id`, `mode` and `platform` are settled one by one.
const KEPT_CLIENT: &[&str] = &["displayName", "version", "buildId", "modelIdentifier", "timeZone", "instanceId"];
/// What hello-ok may say about the session's authority. Everything else there is a credential of
/// this proxy's device.
const KEPT_AUTH: &[&str] = &["method", "role", "scopes", "issuedAtMs"];
/// Where hello-ok says by which URLs a plugin's pages are reached: each holds a token that the gateway
/// takes from any client, and none of them leads through this proxy.
const CAPABILITIES: &[&str] =
    &["pluginSurfaceUrls", "canvasHostUrl", "canvasCapability", "canvasCapabilityExpiresAtMs"];
/// Clients that live in a browser: the gateway takes them with an `Origin` only, which it is never
/// sent from here.
const BROWSER_IDS: &[&str] = &["openclaw-control-ui", "webchat-ui", "webchat"];
const BROWSER_MODE: &str = "webchat";
/// The client every release knows (contract §7).
const CLIENT: &str = "gateway-client";
/// The deepest nesting of the client's message.
const MAX_DEPTH: usize = 32;
/// The longest id that is echoed.
const MAX_ID: usize = 256;

/// Why a frame is no `connect` request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFault {
    /// No JSON object of type `req` with an id.
    #[error("the first message must be a request frame: {{\"type\":\"req\",\"id\":…,\"method\":\"connect\",…}}")]
    NoRequest,
    /// Another method.
    #[error("the first request must be connect")]
    OtherMethod,
    /// An object with two members of one name, or nested too deep.
    #[error("a name stands twice in one object of the message, or it is nested more than {MAX_DEPTH} deep")]
    Repeated,
    /// A parameter of the wrong type.
    #[error("the parameters of connect cannot be read: {0}")]
    Parameter(&'static str),
}

/// The role a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `operator`, which is what its absence means.
    Operator,
    /// `node`: a machine that the agents can use.
    Node,
    /// Something else.
    Other,
}

/// A `connect` request as a client sent it. Nothing in it is believed.
#[derive(Debug, Clone)]
pub struct Connect {
    id: String,
    params: Map<String, Value>,
    scopes: Option<ScopeSet>,
    /// Whether it is this proxy's own, which may say that it is a page.
    is_own: bool,
}

/// The id of a text that may be a request, for an answer to it.
#[must_use]
pub fn id_of(text: &str) -> Option<String> {
    let frame: Value = serde_json::from_str(text).ok()?;
    frame.get("id")?.as_str().filter(|id| id.len() <= MAX_ID).map(str::to_owned)
}

impl Connect {
    /// Reads the client's first message.
    ///
    /// # Errors
    /// [`ConnectFault`] when it is something else.
    pub fn parse(text: &str) -> Result<Self, ConnectFault> {
        let mut frame = match strict(text.as_bytes(), MAX_DEPTH) {
            Ok(Value::Object(frame)) => frame,
            // Readers differ in which of two members counts: this gateway takes the last.
            Err(error) if error.is_data() => return Err(ConnectFault::Repeated),
            _ => return Err(ConnectFault::NoRequest),
        };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let (Some("req"), Some(id), Some(method)) = (
            text(frame.get("type")).as_deref(),
            text(frame.get("id")).filter(|id| (1..=MAX_ID).contains(&id.len())),
            text(frame.get("method")),
        ) else {
            return Err(ConnectFault::NoRequest);
        };
        if method != "connect" {
            return Err(ConnectFault::OtherMethod);
        }
        let Some(Value::Object(params)) = frame.remove("params") else {
            return Err(ConnectFault::Parameter("`params` is no object"));
        };
        for name in ["client", "auth", "device"] {
            if params.get(name).is_some_and(|v| !v.is_object()) {
                return Err(ConnectFault::Parameter("`client`, `auth` or `device` is no object"));
            }
        }
        if params.get("role").is_some_and(|v| !v.is_string()) {
            return Err(ConnectFault::Parameter("`role` is no text"));
        }
        let scopes = params.get("scopes").map(scope_list).transpose()?;
        Ok(Self { id, params, scopes, is_own: false })
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The token or password it holds.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        let auth = self.params.get("auth")?;
        ["token", "password"]
            .iter()
            .filter_map(|name| auth.get(name)?.as_str())
            .map(str::trim)
            .find(|secret| !secret.is_empty())
    }

    /// The scopes it asks for; `None` when it leaves them out (law 3). Names that cannot be scopes
    /// are left out, as they grant nothing.
    #[must_use]
    pub fn requested_scopes(&self) -> Option<&ScopeSet> {
        self.scopes.as_ref()
    }

    /// The key of the session it names, for a first look at that session's models.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.params.get("modelCatalog")?.get("sessionKey")?.as_str()
    }

    /// The role it asks for.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.params.get("role").and_then(Value::as_str) {
            None | Some("operator") => Role::Operator,
            Some("node") => Role::Node,
            Some(_) => Role::Other,
        }
    }

    /// Whether it says that it lives in a browser.
    #[must_use]
    pub fn is_browser(&self) -> bool {
        BROWSER_IDS.contains(&self.client("id").unwrap_or_default()) || self.client("mode") == Some(BROWSER_MODE)
    }

    /// Whether it brings a signed device of its own.
    #[must_use]
    pub fn has_device(&self) -> bool {
        self.params.get("device").is_some_and(|d| d.get("signature").is_some())
    }

    fn client(&self, field: &str) -> Option<&str> {
        self.params.get("client")?.get(field)?.as_str()
    }

    /// The client's id and mode as the gateway is told them.
    fn name(&self, form: &ClientIdentity<'_>) -> (&str, &str) {
        match form {
            ClientIdentity::Backend => (CLIENT, "backend"),
            ClientIdentity::Device { .. } if self.is_browser() && !self.is_own => (CLIENT, "ui"),
            ClientIdentity::Device { .. } => {
                (self.client("id").unwrap_or(CLIENT), self.client("mode").unwrap_or("backend"))
            }
        }
    }
}

/// An array of names, spelled with separators or without (law 4).
fn scope_list(value: &Value) -> Result<ScopeSet, ConnectFault> {
    let names = value.as_array().ok_or(ConnectFault::Parameter("`scopes` is no list"))?;
    if names.len() > MAX_REQUESTED {
        return Err(ConnectFault::Parameter("`scopes` is too long"));
    }
    let readable = names.iter().filter_map(Value::as_str).filter_map(|n| ScopeSet::parse_lines([n.as_bytes()]).ok());
    Ok(readable.fold(ScopeSet::empty(), |all, some| all.union(&some)))
}

/// As whom the gateway is met, so that it keeps the scopes of a connection (contract §7 (b)).
#[derive(Debug, Clone, Copy)]
pub enum ClientIdentity<'a> {
    /// With this proxy's device: honoured by every release.
    Device {
        /// The device.
        device: &'a Device,
        /// The gateway's challenge.
        nonce: &'a str,
        /// The moment, in milliseconds since 1970.
        now: i64,
    },
    /// As `gateway-client` in mode `backend`: honoured since 2026.4.
    Backend,
}

/// The frame that leaves in place of the client's: its words, the grant's scopes, our identity.
#[must_use]
pub fn leaving(connect: &Connect, grant: &Grant, auth: &GatewayAuth, form: &ClientIdentity<'_>) -> String {
    let mut params: Map<String, Value> = kept(&connect.params, KEPT);
    let (id, mode) = connect.name(form);
    let mut client =
        connect.params.get("client").and_then(Value::as_object).map(|c| kept(c, KEPT_CLIENT)).unwrap_or_default();
    client.insert("id".into(), json!(id));
    client.insert("mode".into(), json!(mode));
    // Pinned at pairing; a client's own would make the gateway ask for another.
    client.insert("platform".into(), json!(PLATFORM));
    params.insert("client".into(), Value::Object(client));
    params.insert("role".into(), json!("operator"));
    let scopes: Vec<&str> = grant.effective().iter().map(Scope::as_str).collect();
    params.insert("scopes".into(), json!(scopes));
    match auth {
        GatewayAuth::Token(secret) => params.insert("auth".into(), json!({ "token": secret.expose() })),
        GatewayAuth::Password(secret) => params.insert("auth".into(), json!({ "password": secret.expose() })),
        GatewayAuth::None | GatewayAuth::TrustedProxy(_) => None,
    };
    if let ClientIdentity::Device { device, nonce, now } = *form {
        let token = if let GatewayAuth::Token(secret) = auth { secret.expose() } else { "" };
        let signature = device.sign(&SignedFields {
            client_id: id,
            client_mode: mode,
            role: "operator",
            scopes: &scopes.join(","),
            signed_at: now,
            token,
            nonce,
        });
        params.insert(
            "device".into(),
            json!({ "id": device.id(), "publicKey": device.public_key(), "signature": signature,
                "signedAt": now, "nonce": nonce }),
        );
    }
    request(&connect.id, &params)
}

/// A request of this proxy's own: its device is made known with every scope it may ever need.
#[must_use]
pub fn pairing() -> Connect {
    own(CLIENT, "backend")
}

/// The same as a native application, the only clients without a browser that a gateway in mode
/// trusted-proxy pairs by itself, on the releases that do.
#[must_use]
pub fn native_pairing() -> Connect {
    own("openclaw-linux", "ui")
}

/// The same as the gateway's own page: the only clients that some releases pair by themselves in mode
/// trusted-proxy. It needs an origin beside it.
#[must_use]
pub fn page_pairing() -> Connect {
    own("openclaw-control-ui", "ui")
}

fn own(id: &str, mode: &str) -> Connect {
    let client = json!({ "id": id, "displayName": "scopeshim", "version": env!("CARGO_PKG_VERSION"), "mode": mode });
    let params = [("minProtocol", json!(3)), ("maxProtocol", json!(4)), ("client", client)];
    let params = params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Connect { id: "pairing".to_owned(), params, scopes: None, is_own: true }
}

fn request(id: &str, params: &Map<String, Value>) -> String {
    json!({ "type": "req", "id": id, "method": "connect", "params": params }).to_string()
}

fn kept(from: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    names.iter().filter_map(|name| Some(((*name).to_owned(), from.get(*name)?.clone()))).collect()
}

/// The challenge a client waits for before it sends `connect`.
#[must_use]
pub fn challenge(nonce: &str, now: i64) -> String {
    json!({ "type": "event", "event": "connect.challenge", "payload": { "nonce": nonce, "ts": now } }).to_string()
}

/// The nonce of the gateway's challenge.
#[must_use]
pub fn nonce_of(text: &str) -> Option<String> {
    let frame: Value = serde_json::from_str(text).ok()?;
    (frame.get("event")? == "connect.challenge").then_some(())?;
    frame.get("payload")?.get("nonce")?.as_str().map(str::to_owned)
}

/// The gateway's answer to `connect`.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// It is connected.
    Hello {
        /// What the client is told: the gateway's words without its credentials.
        text: String,
        /// The scopes the gateway says it keeps, if it says.
        scopes: Option<ScopeSet>,
    },
    /// It is not.
    Error {
        /// What the client may be told.
        text: String,
        /// The gateway's code, the more precise one where it has two.
        code: String,
        /// The gateway's sentence.
        message: String,
        /// The pairing that waits for an approval.
        pairing: Option<String>,
    },
}

impl Reply {
    /// Reads a message of the gateway; `None` when it is no answer to this request. `sent` are the
    /// scopes of the request: releases of March 2026 answer with those of the device, which are
    /// more than those of the session.
    #[must_use]
    pub fn parse(text: &str, id: &str, sent: &ScopeSet) -> Option<Self> {
        let mut frame: Value = serde_json::from_str(text).ok()?;
        (frame.get("type")? == "res" && frame.get("id")? == id).then_some(())?;
        if frame.get("ok") == Some(&Value::Bool(true)) {
            let auth = frame.get_mut("payload").and_then(|p| p.get_mut("auth"));
            let scopes = auth.as_ref().and_then(|a| a.get("scopes")).and_then(|s| scope_list(s).ok());
            if let Some(auth) = auth {
                let mut told = auth.as_object().map(|a| kept(a, KEPT_AUTH)).unwrap_or_default();
                if let Some(scopes) = &scopes {
                    let both: Vec<&str> = scopes.iter().filter(|s| sent.contains(s)).map(Scope::as_str).collect();
                    told.insert("scopes".to_owned(), json!(both));
                }
                *auth = Value::Object(told);
            }
            if let Some(payload) = frame.get_mut("payload").and_then(Value::as_object_mut) {
                payload.retain(|name, _| !CAPABILITIES.contains(&name.as_str()));
            }
            return Some(Self::Hello { text: frame.to_string(), scopes });
        }
        let error = frame.get("error").cloned().unwrap_or_default();
        let word = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let details = error.get("details");
        let code = word(details.and_then(|d| d.get("code"))).or_else(|| word(error.get("code"))).unwrap_or_default();
        let pairing = (code == "PAIRING_REQUIRED" || word(error.get("code")).as_deref() == Some("NOT_PAIRED"))
            .then(|| word(details.and_then(|d| d.get("requestId"))).unwrap_or_default());
        let message = word(error.get("message")).unwrap_or_default();
        Some(Self::Error { text: frame.to_string(), code, message, pairing })
    }
}

#[cfg(test)]
mod tests;
