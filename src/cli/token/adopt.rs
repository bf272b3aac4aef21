//! `token adopt`: the gateway's shared secret becomes a named token, so that the clients that hold it need no
//! new key when the gateway gets another secret, or mode trusted-proxy.

use super::super::admin_client::RunningProcess;
use super::super::{Exit, check, complain, say};
use super::{edit, settled, validate};
use crate::config::DynamicConfig;
use crate::config::environment::{Environment as _, System};
use crate::secret::{Secret, TokenHash};
use std::path::Path;

/// What its holders get where nothing says more: what a client needs to chat.
const SCOPES: [&str; 2] = ["operator.read", "operator.write"];

/// What is to be adopted, and as what.
pub(super) struct Adoption<'a> {
    pub name: &'a str,
    pub scopes: &'a [String],
    pub file: Option<&'a Path>,
    /// Mode trusted-proxy begins with the same edit, with this header.
    pub user_header: Option<&'a str>,
}

pub(super) fn adopt(at: &RunningProcess, what: &Adoption<'_>) -> Exit {
    let Adoption { name, scopes, file, user_header } = *what;
    if let Err(exit) = validate(name, scopes) {
        return exit;
    }
    let live = match check::load_policy(at.config()) {
        Ok((_, policy)) => policy.live().clone(),
        Err(exit) => return exit,
    };
    let secret = match secret(&live, file) {
        Ok(secret) => secret,
        Err(why) => {
            complain(format!("error: {why}"));
            return Exit::Failed;
        }
    };
    let ours = live.gateway_auth.secret().is_some_and(|ours| ours.expose() == secret.expose());
    if ours && user_header.is_none() {
        complain(
            "error: this is the secret that scopeshim itself proves itself with, so no client's token can be it\n  \
             = help: --user-header x-scopeshim-user changes `[gateway] auth` to mode trusted-proxy with the same edit; or \
             give the gateway and scopeshim another secret first, and adopt the old one with --file FILE",
        );
        return Exit::Failed;
    }
    let scopes = if scopes.is_empty() { held(&live) } else { scopes.to_vec() };
    let hash = TokenHash::of(secret.expose().as_bytes()).to_hex();
    let edited = edit::edit(at.config(), edit::EditRequirement::Right, |document| {
        edit::add(document, name, &hash, &scopes, None)?;
        if let Some(header) = user_header {
            edit::trust(document, header)?;
        }
        // One secret is one caller: from now on it is this token.
        Ok(document.remove("gateway_secret").is_some())
    });
    match edited {
        Err(error) => {
            complain(format!("error: {error}"));
            Exit::Failed
        }
        Ok(edited) => {
            let removed = if edited.value { "; `[gateway_secret]` is removed" } else { "" };
            say(format!(
                "Clients that hold this secret are the token `{name}` now, with {}{removed}.",
                scopes.join(", ")
            ));
            settled(at)
        }
    }
}

/// The secret that clients hold: of the file named, else what this proxy sends the gateway.
fn secret(live: &DynamicConfig, file: Option<&Path>) -> Result<Secret, String> {
    if let Some(file) = file {
        let text = System.secret_file(file).map_err(|fault| format!("{}: {fault}", file.display()))?;
        return Secret::parse(&text).map_err(|fault| format!("{}: {fault}", file.display()));
    }
    live.gateway_auth.secret().cloned().ok_or_else(|| {
        format!(
            "in mode {} the gateway has no shared secret: name the file that holds the earlier one with --file FILE",
            live.gateway_auth.mode()
        )
    })
}

/// What `[gateway_secret]` gives them today.
fn held(live: &DynamicConfig) -> Vec<String> {
    match &live.gateway_secret {
        Some(scopes) => scopes.iter().map(ToString::to_string).collect(),
        None => SCOPES.map(str::to_owned).to_vec(),
    }
}
