//! Values of `openclaw.json`: `${VAR}` filled in, references to secrets followed.

use super::Fault;
use crate::config::environment::Environment;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What values are looked up in.
pub(super) struct Values<'a> {
    document: &'a Value,
    /// The gateway's own `.env`, which never overrides the environment.
    dotenv: HashMap<String, String>,
    around: &'a dyn Environment,
}

impl<'a> Values<'a> {
    pub(super) fn new(document: &'a Value, state_dir: &Path, around: &'a dyn Environment) -> Self {
        let dotenv = std::fs::read_to_string(state_dir.join(".env")).map(|text| dotenv(&text)).unwrap_or_default();
        Self { document, dotenv, around }
    }

    /// A value as text: written out, with variables in it, or a reference to a secret.
    pub(super) fn text(&self, what: &'static str, value: &Value) -> Result<String, Fault> {
        let fault = |why: String| Fault::Value { what, why };
        match value {
            Value::String(text) => self.filled(text).map_err(|name| {
                fault(format!(
                    "it refers to the environment variable {name}, which is not set here: set it for this command"
                ))
            }),
            Value::Object(_) => self.reference(value).map_err(fault),
            other => Err(fault(format!("{other} is no text"))),
        }
    }

    /// Fills in `${NAME}`; `$${NAME}` stands for itself; `$NAME` alone is a reference too. The error
    /// is the name of a variable that is not set.
    fn filled(&self, text: &str) -> Result<String, String> {
        if let Some(name) = text.strip_prefix('$').filter(|name| is_name(name)) {
            return self.variable(name).ok_or_else(|| name.to_owned());
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, reference) = rest.split_at(at);
            let name = reference.get(2..).and_then(|r| r.split_once('}')).filter(|(name, _)| is_name(name));
            let Some((name, after)) = name else {
                out.push_str(before);
                out.push_str("${");
                rest = reference.get(2..).unwrap_or_default();
                continue;
            };
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.extend(["${", name, "}"]);
            } else {
                out.push_str(before);
                out.push_str(&self.variable(name).ok_or_else(|| name.to_owned())?);
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// A variable where the gateway looks: the environment, its `.env`, its configuration's `env`.
    fn variable(&self, name: &str) -> Option<String> {
        let configured = || {
            let vars = self.document.pointer("/env/vars").or_else(|| self.document.pointer("/env"))?;
            vars.get(name)?.as_str().map(str::to_owned)
        };
        let found = self.around.variable(name).filter(|v| !v.is_empty());
        found.or_else(|| self.dotenv.get(name).cloned()).or_else(configured).filter(|v| !v.is_empty())
    }

    /// Follows `{ source, provider, id }`.
    fn reference(&self, reference: &Value) -> Result<String, String> {
        let part = |name: &str| reference.get(name).and_then(Value::as_str);
        let (Some(source), Some(id)) = (part("source"), part("id")) else {
            return Err("it is an object, but no reference to a secret".to_owned());
        };
        let default = self.document.pointer(&format!("/secrets/defaults/{source}")).and_then(Value::as_str);
        let provider = part("provider").or(default).unwrap_or("default");
        match source {
            "env" => self.variable(id).ok_or_else(|| {
                format!("it refers to the environment variable {id}, which is not set here: set it for this command")
            }),
            "file" => self.in_file(provider, id),
            other => Err(format!(
                "it is kept in the gateway's `{other}` secrets, which only the gateway can read: \
                 put the value into OPENCLAW_GATEWAY_TOKEN (or _PASSWORD) for this command"
            )),
        }
    }

    fn in_file(&self, provider: &str, id: &str) -> Result<String, String> {
        let provider = provider.replace('~', "~0").replace('/', "~1");
        let settings = self.document.pointer(&format!("/secrets/providers/{provider}"));
        let Some(path) = settings.and_then(|s| s.get("path")).and_then(Value::as_str) else {
            return Err(format!("it refers to the secret provider `{provider}`, which has no path"));
        };
        let path = home(path, self.around);
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("its file {} cannot be read: {e}", path.display()))?;
        if settings.and_then(|s| s.get("mode")).and_then(Value::as_str) == Some("singleValue") {
            return Ok(text.trim_end_matches(['\n', '\r']).to_owned());
        }
        let document: Value =
            serde_json::from_str(&text).map_err(|e| format!("its file {} is not JSON: {e}", path.display()))?;
        let found = document.pointer(id).and_then(Value::as_str).map(str::to_owned);
        found.ok_or_else(|| format!("its file {} holds no text at {id}", path.display()))
    }
}

/// A path with `~` for the home directory.
pub(super) fn home(path: &str, around: &dyn Environment) -> PathBuf {
    match (path.strip_prefix('~'), around.variable("HOME")) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            Path::new(&home).join(rest.trim_start_matches('/'))
        }
        _ => PathBuf::from(path),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// `NAME=value` lines, `export` before them or quotes around the value allowed.
fn dotenv(text: &str) -> HashMap<String, String> {
    let unquoted = |value: &str| {
        let value = value.trim();
        let quoted = |q: char| value.strip_prefix(q).and_then(|v| v.strip_suffix(q));
        quoted('"').or_else(|| quoted('\'')).unwrap_or(value).to_owned()
    };
    text.lines()
        .map(|line| line.trim().strip_prefix("export ").unwrap_or(line.trim()))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), unquoted(value)))
        .collect()
}
