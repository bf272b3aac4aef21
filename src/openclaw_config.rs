//! The gateway's own configuration, `openclaw.json`: what of it concerns this proxy.
//!
//! Read as the gateway reads it (its documentation, `gateway/configuration`): JSON5, `$include`,
//! `${VAR}`, and references to secrets as far as they can be followed from here.

mod env_and_secrets;
mod isolation;
mod json5;
pub mod ports;

use crate::config::environment::Environment;
use crate::secret::Secret;
use env_and_secrets::Values;
pub use isolation::GatewayIsolation;
use ports::UsedPort;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The port where nothing names another.
const PORT: u16 = 18789;

/// What concerns this proxy.
#[derive(Debug)]
pub struct OpenClaw {
    /// The file.
    pub path: PathBuf,
    /// The gateway's port.
    pub port: u16,
    /// The host by which it is reached from this machine.
    pub host: String,
    /// Its `gateway.bind`: `loopback` unless it says otherwise.
    pub bind: String,
    /// How it authenticates clients.
    pub auth: Auth,
    /// Whether chat completions and responses are switched on.
    pub endpoints: bool,
    /// What it keeps apart.
    pub isolation: GatewayIsolation,
    /// The ports beside its own that it uses or may use.
    pub other_ports: Vec<UsedPort>,
}

/// How the gateway authenticates clients.
#[derive(Debug)]
pub enum Auth {
    /// By a shared token.
    Token(Secret),
    /// By a password.
    Password(Secret),
    /// Not at all.
    None,
    /// It believes a proxy.
    TrustedProxy {
        /// The header that names the user.
        user_header: String,
        /// Headers that must be there.
        required_headers: Vec<String>,
    },
}

/// Why a gateway's configuration is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is none.
    #[error("there is no openclaw.json at {}", .0.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" or "))]
    Missing(Vec<PathBuf>),
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// A file is not JSON5.
    #[error("{0} is not JSON5: {1}")]
    Syntax(PathBuf, String),
    /// Includes go round in circles, or too deep.
    #[error("{0}: `$include` goes too deep")]
    Include(PathBuf),
    /// A value cannot be found out.
    #[error("{what}: {why}")]
    Value {
        /// Which.
        what: &'static str,
        /// Why not.
        why: String,
    },
}

/// Where the gateway looks for its configuration.
#[must_use]
pub fn places(around: &dyn Environment) -> Vec<PathBuf> {
    if let Some(path) = around.variable("OPENCLAW_CONFIG_PATH").filter(|p| !p.is_empty()) {
        return vec![env_and_secrets::home(&path, around)];
    }
    vec![state_dir(around).join("openclaw.json")]
}

fn state_dir(around: &dyn Environment) -> PathBuf {
    let named = around.variable("OPENCLAW_STATE_DIR").filter(|d| !d.is_empty());
    env_and_secrets::home(named.as_deref().unwrap_or("~/.openclaw"), around)
}

impl OpenClaw {
    /// Reads the configuration at `path`, or where the gateway would look for it.
    ///
    /// # Errors
    /// [`Fault`]: which file or value, and why.
    pub fn read(path: Option<&Path>, around: &dyn Environment) -> Result<Self, Fault> {
        let places = path.map_or_else(|| places(around), |p| vec![p.to_owned()]);
        let Some(path) = places.iter().find(|p| p.exists()) else { return Err(Fault::Missing(places)) };
        let document = json5::read(path)?;
        let values = Values::new(&document, &state_dir(around), around);
        Self::of(path, &document, &values, around)
    }

    fn of(path: &Path, document: &Value, values: &Values<'_>, around: &dyn Environment) -> Result<Self, Fault> {
        let at = |pointer: &str| document.pointer(pointer).filter(|v| !v.is_null());
        let bind = at("/gateway/bind").map_or_else(|| Ok("loopback".to_owned()), |v| values.text("gateway.bind", v))?;
        if at("/gateway/tls/enabled") == Some(&Value::Bool(true)) {
            return Err(Fault::Value {
                what: "gateway.tls",
                why: "the gateway speaks TLS; this proxy reaches it in the clear on the same machine: \
                      switch gateway.tls off, and give this proxy's clients TLS in front of it"
                    .to_owned(),
            });
        }
        let host = match (bind.as_str(), at("/gateway/customBindHost")) {
            ("custom", Some(host)) => reachable(&values.text("gateway.customBindHost", host)?),
            _ => "127.0.0.1".to_owned(),
        };
        let port = port(at("/gateway/port"), around)?;
        let enabled = |name: &str| at(&format!("/gateway/http/endpoints/{name}/enabled")) == Some(&Value::Bool(true));
        Ok(Self {
            path: path.to_owned(),
            port,
            host,
            bind,
            auth: auth(document, values, around)?,
            endpoints: enabled("chatCompletions") && enabled("responses"),
            isolation: GatewayIsolation::of(document),
            other_ports: ports::beside(port, document),
        })
    }

    /// Whether the gateway listens on addresses that other machines can reach.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.bind != "loopback"
    }
}

/// An address that a gateway listening on this one can be reached by.
fn reachable(host: &str) -> String {
    match host.parse::<std::net::IpAddr>() {
        Ok(address) if address.is_unspecified() => "127.0.0.1".to_owned(),
        _ => host.to_owned(),
    }
}

fn port(configured: Option<&Value>, around: &dyn Environment) -> Result<u16, Fault> {
    let fault = |why: String| Fault::Value { what: "gateway.port", why };
    if let Some(text) = around.variable("OPENCLAW_GATEWAY_PORT").filter(|t| !t.is_empty()) {
        return text.parse().map_err(|_| fault(format!("OPENCLAW_GATEWAY_PORT is `{text}`")));
    }
    match configured {
        None => Ok(PORT),
        Some(value) => value
            .as_u64()
            .and_then(|p| u16::try_from(p).ok())
            .filter(|p| *p > 0)
            .ok_or_else(|| fault(format!("{value} is no port"))),
    }
}

fn auth(document: &Value, values: &Values<'_>, around: &dyn Environment) -> Result<Auth, Fault> {
    let at = |pointer: &str| document.pointer(pointer).filter(|v| !v.is_null());
    let (token, password) = (at("/gateway/auth/token"), at("/gateway/auth/password"));
    let variable = |name: &str| around.variable(name).filter(|v| !v.trim().is_empty());
    let mode = match at("/gateway/auth/mode") {
        Some(mode) => values.text("gateway.auth.mode", mode)?,
        // As the gateway itself chooses where nothing is said.
        None if token.is_none() && (password.is_some() || variable("OPENCLAW_GATEWAY_PASSWORD").is_some()) => {
            "password".to_owned()
        }
        None => "token".to_owned(),
    };
    let secret = |what, configured: Option<&Value>, name: &str| {
        let found = match (configured, variable(name)) {
            (Some(value), other) => values.text(what, value).or_else(|fault| other.ok_or(fault))?,
            (None, Some(value)) => value,
            (None, None) => {
                return Err(Fault::Value {
                    what,
                    why: format!("it is not set; set it (`openclaw config set {what} …`), or {name} here"),
                });
            }
        };
        Secret::parse(&found).map_err(|fault| Fault::Value { what, why: fault.to_string() })
    };
    match mode.as_str() {
        "token" => secret("gateway.auth.token", token, "OPENCLAW_GATEWAY_TOKEN").map(Auth::Token),
        "password" => secret("gateway.auth.password", password, "OPENCLAW_GATEWAY_PASSWORD").map(Auth::Password),
        "none" => Ok(Auth::None),
        "trusted-proxy" => {
            let what = "gateway.auth.trustedProxy.userHeader";
            let user = at("/gateway/auth/trustedProxy/userHeader")
                .ok_or_else(|| Fault::Value { what, why: "it is not set".to_owned() })?;
            let required = at("/gateway/auth/trustedProxy/requiredHeaders").and_then(Value::as_array);
            Ok(Auth::TrustedProxy {
                user_header: values.text(what, user)?.to_ascii_lowercase(),
                required_headers: required
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(|name| name.trim().to_ascii_lowercase())
                    .collect(),
            })
        }
        other => Err(Fault::Value { what: "gateway.auth.mode", why: format!("`{other}` is not known here") }),
    }
}

#[cfg(test)]
mod tests;
