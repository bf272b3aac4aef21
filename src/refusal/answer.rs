//! How a refusal is answered: its JSON body and the header lines that go with it.

use super::{Caller, Refusal, SocketFault, TailnetFault};
use crate::metric_labels::Label as _;
use crate::scope::Scope;
use serde_json::{Map, Value, json};

impl Refusal {
    /// The type in the error envelope, in the gateway's own words where it has one (contract §3).
    fn kind(&self) -> &'static str {
        match self.status() {
            401 => "unauthorized",
            403 => "forbidden",
            429 => "rate_limited",
            500.. => "api_error",
            _ => "invalid_request_error",
        }
    }

    /// The `WWW-Authenticate` value that goes with a 401 or 403 (RFC 6750 §3).
    #[must_use]
    pub fn challenge(&self) -> Option<String> {
        match self {
            Self::CredentialMissing
            | Self::CredentialScheme
            | Self::Tailnet(TailnetFault::UnknownPeer | TailnetFault::Headers(_)) => {
                Some("Bearer realm=\"openclaw\"".to_owned())
            }
            Self::CredentialUnknown => Some("Bearer realm=\"openclaw\", error=\"invalid_token\"".to_owned()),
            Self::TokenExpired { .. } | Self::TokenNotYetValid { .. } | Self::Jwt(_) if self.status() == 401 => {
                Some(format!(
                    "Bearer realm=\"openclaw\", error=\"invalid_token\", error_description=\"{}\"",
                    quotable(&self.to_string())
                ))
            }
            Self::ScopeMissing { needed, .. } => {
                Some(format!("Bearer realm=\"openclaw\", error=\"insufficient_scope\", scope=\"{needed}\""))
            }
            _ => None,
        }
    }

    /// The version a client of another is told to speak (RFC 6455 §4.4).
    #[must_use]
    pub fn websocket_version(&self) -> Option<&'static str> {
        (*self == Self::Socket(SocketFault::Version)).then_some("13")
    }

    /// `RateLimit-Policy` and `RateLimit`, where a limit was reached.
    #[must_use]
    pub fn rate_limit(&self) -> Option<(String, String)> {
        match self {
            Self::PrincipalLimit(reached) => Some(reached.headers()),
            _ => None,
        }
    }

    /// The JSON answer: the gateway's shape for 403 (contract §3), OpenAI's for the rest, so that
    /// every client shows the message.
    #[must_use]
    pub fn body(&self, caller: Option<&Caller<'_>>, request_id: &str) -> Vec<u8> {
        let mut error = Map::new();
        error.insert("message".into(), json!(self.told_to(caller)));
        error.insert("type".into(), json!(self.kind()));
        error.insert("code".into(), json!(self.code().as_str()));
        match self {
            Self::ScopeMissing { needed, .. } => {
                let details = json!({
                    "code": "MISSING_SCOPE", "missingScope": needed.as_str(), "requiredScopes": [needed.as_str()],
                });
                error.insert("details".into(), details);
            }
            Self::ScopeExcess { excess } => {
                let names: Vec<&str> = excess.iter().map(Scope::as_str).collect();
                error.insert("details".into(), json!({ "code": "SCOPE_NOT_GRANTED", "notGranted": names }));
            }
            _ => {}
        }
        if let Some(caller) = caller {
            error.insert("principal".into(), json!(caller.name));
        }
        error.insert("hint".into(), json!(self.advice()));
        error.insert("request_id".into(), json!(request_id));
        let mut body = Map::new();
        if self.status() == 403 {
            body.insert("ok".into(), json!(false));
        }
        body.insert("error".into(), Value::Object(error));
        Value::Object(body).to_string().into_bytes()
    }
}

/// A text fit for a quoted string of a header: visible ASCII and blanks, no quote, no backslash.
fn quotable(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '\'' }).collect()
}
