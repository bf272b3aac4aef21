//! What `init` writes: `config.toml` and the gateway's secret beside it.

use super::super::token;
use crate::atomic_file::{create, write_atomically};
use crate::config::diagnostic::Source;
use crate::config::environment::{Environment, SecretFileFault, System};
use crate::openclaw_config::{Auth, OpenClaw};
use crate::secret::Secret;
use crate::session_space::AgentId;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What was chosen.
pub(super) struct Choices<'a> {
    pub listen: &'a str,
    pub token_name: &'a str,
    pub scopes: &'a [String],
    pub token: &'a str,
}

/// Files that are right and not yet written.
pub(super) struct Files<'a> {
    config: PathBuf,
    text: String,
    secret: Option<(PathBuf, &'a Secret)>,
    packaged: bool,
}

/// Why nothing, or not everything, was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("{} exists already; --force overwrites it", .0.display())]
    Exists(PathBuf),
    #[error("{} cannot be written: {}", .0.display(), .1)]
    System(PathBuf, std::io::Error),
}

/// The environment as it will be once the secret is written.
struct Written<'a>(Option<&'a Secret>);

impl Environment for Written<'_> {
    fn secret_file(&self, path: &Path) -> Result<String, SecretFileFault> {
        self.0.map_or_else(|| System.secret_file(path), |secret| Ok(secret.expose().to_owned()))
    }
    fn variable(&self, name: &str) -> Option<String> {
        System.variable(name)
    }
    fn now(&self) -> Timestamp {
        System.now()
    }
}

impl<'a> Files<'a> {
    /// Makes the files' content and checks it as `check --deny-warnings` does.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub(super) fn prepare(found: &'a OpenClaw, choices: &Choices<'_>, out: &Path) -> Result<Self, String> {
        let secret = match &found.auth {
            Auth::Token(secret) => Some(("gateway.token", secret)),
            Auth::Password(secret) => Some(("gateway.password", secret)),
            Auth::None | Auth::TrustedProxy { .. } => None,
        };
        let config = out.join("config.toml");
        let packaged = is_packaged(out);
        let mut text = text(found, choices);
        if packaged {
            text.push_str(PACKAGED);
        }
        let source = Source::new(config.display().to_string(), text.clone());
        let loaded = crate::config::parse(source, &Written(secret.map(|(_, secret)| secret)));
        if !loaded.problems.is_empty() {
            return Err(loaded.render());
        }
        Ok(Self { config, text, secret: secret.map(|(name, secret)| (out.join(name), secret)), packaged })
    }

    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    pub(super) fn secret(&self) -> Option<&Path> {
        self.secret.as_ref().map(|(path, _)| path.as_path())
    }

    /// Whether a package made the directory: the service's group reads what is written.
    pub(super) fn packaged(&self) -> bool {
        self.packaged
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Writes the secret, then the configuration that refers to it.
    pub(super) fn write(&self, force: bool) -> Result<(), WriteError> {
        // A link to nothing is something too.
        let there = |path: &&Path| std::fs::symlink_metadata(path).is_ok();
        let there = [self.secret(), Some(&self.config)].into_iter().flatten().find(there);
        if let (Some(path), false) = (there, force) {
            return Err(WriteError::Exists(path.to_owned()));
        }
        let write = |path: &Path, content: &str, mode| {
            let done = if force { write_atomically } else { create }(path, content.as_bytes(), mode);
            done.map_err(|e| match e.kind() {
                std::io::ErrorKind::AlreadyExists => WriteError::Exists(path.to_owned()),
                _ => WriteError::System(path.to_owned(), e),
            })
        };
        if let Some((path, secret)) = &self.secret {
            write(path, secret.expose(), self.secret_mode())?;
        }
        write(&self.config, &self.text, 0o640)
    }

    pub(super) fn secret_mode(&self) -> u32 {
        if self.packaged { 0o640 } else { 0o600 }
    }
}

/// Where the packages' unit has the service keep things; commands that root types must find them too.
const PACKAGED: &str = "
[server]
state_dir = \"/var/lib/scopeshim\"

[admin]
socket = \"/run/scopeshim/admin.sock\"
";

/// The packages give their directory to the service's group, with the bit by which new files get it too.
fn is_packaged(out: &Path) -> bool {
    std::fs::metadata(out).is_ok_and(|meta| meta.permissions().mode() & 0o2000 != 0)
}

fn text(found: &OpenClaw, choices: &Choices<'_>) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let auth = match &found.auth {
        Auth::Token(_) => "{ kind = \"token\", file = \"gateway.token\" }".to_owned(),
        Auth::Password(_) => "{ kind = \"password\", file = \"gateway.password\" }".to_owned(),
        Auth::None => "{ kind = \"none\" }".to_owned(),
        Auth::TrustedProxy { user_header, required_headers } => {
            let required: Vec<String> = required_headers
                .iter()
                // Sent in this mode anyhow.
                .filter(|name| *name != "x-forwarded-for")
                .map(|name| format!("{} = {}", quoted(name), quoted(required_value(name))))
                .collect();
            let required = if required.is_empty() {
                String::new()
            } else {
                format!(", required_headers = {{ {} }}", required.join(", "))
            };
            format!("{{ kind = \"trusted-proxy\", user_header = {}{required} }}", quoted(user_header))
        }
    };
    let host = if found.host.contains(':') { format!("[{}]", found.host) } else { found.host.clone() };
    let mut text = format!(
        "# Written by `scopeshim init`. Every setting: config.example.toml and docs/configuration.md.\n\n\
         [[listen]]\naddress = {}\n\n\
         [gateway]\nurl = {}\nauth = {auth}\n\n",
        quoted(choices.listen),
        quoted(&format!("http://{host}:{}", found.port)),
    );
    // What is not an agent's id here is told by doctor.
    if let Some(agent) =
        found.isolation.default_agent.as_deref().and_then(AgentId::parse).filter(|a| *a != AgentId::main())
    {
        let agent = quoted(&agent.to_string());
        let _ = writeln!(text, "[policy]\n# The gateway's.\ndefault_agent = {agent}\n");
    }
    if matches!(found.auth, Auth::Token(_) | Auth::Password(_)) {
        text.push_str(
            "# Clients that hold the gateway's own secret continue to work, with all that it allows. Remove this\n\
             # table once each of them has a token of its own.\n[gateway_secret]\n\n",
        );
    }
    text.push_str(&token::table(choices.token_name, choices.token, choices.scopes, None));
    text.push('\n');
    text
}

/// Releases up to 2026.9 look only whether a required header is there.
fn required_value(name: &str) -> &'static str {
    match name {
        "x-forwarded-proto" => "http",
        "x-forwarded-host" => "localhost",
        _ => "scopeshim",
    }
}
