//! `token`: named bearer tokens.

mod adopt;
mod edit;
mod revoke;

use super::admin_client::RunningProcess;
use super::await_reload::{ReloadOutcome, settle};
use super::{ConfigFile, Exit, check, complain, say};
use crate::scope::{KNOWN, Scope};
use crate::secret::TokenHash;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Make a token: prints the secret, once, and its table for the configuration
    New {
        /// Name of its holder: letters, digits and . _ - @
        name: String,
        /// A scope of the token; can be repeated
        #[arg(long = "scope", value_name = "SCOPE", default_values = ["operator.read", "operator.write"])]
        scopes: Vec<String>,
        /// Until when it is valid, for example 2027-01-31T00:00:00Z
        #[arg(long, value_name = "MOMENT")]
        expires: Option<jiff::Timestamp>,
        /// Add the table to the configuration instead of printing it, and wait until it is in force
        #[arg(long)]
        write: bool,
        #[command(flatten)]
        at: RunningProcess,
    },
    /// Make the gateway's shared secret a named token, so that the clients that hold it keep their key
    ///
    /// Its SHA-256 is added to the configuration and `[gateway_secret]` is removed. For a gateway that gets another
    /// secret, or mode trusted-proxy.
    Adopt {
        /// Name of the token
        name: String,
        /// A scope of the token; can be repeated. Default: what `[gateway_secret]` grants today, else
        /// operator.read and operator.write
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// A file that holds the secret; default: the one that `[gateway] auth` names
        #[arg(long, value_name = "FILE")]
        file: Option<std::path::PathBuf>,
        /// Also change `[gateway] auth` to mode trusted-proxy with this user header, by the same edit
        #[arg(long, value_name = "HEADER")]
        user_header: Option<String>,
        #[command(flatten)]
        at: RunningProcess,
    },
    /// List the named tokens
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a token a new secret, and wait until it is in force; the old one remains valid for a while
    Rotate {
        /// The token's name
        name: String,
        /// How long the old secret remains valid, for example 24h
        #[arg(long, value_name = "SPAN", default_value = "24h")]
        overlap: jiff::SignedDuration,
        #[command(flatten)]
        at: RunningProcess,
    },
    /// Remove a token from the configuration, and wait until it is no longer accepted
    ///
    /// Exit code 0 means that the running process no longer accepts it, or that no process runs. If the file
    /// has other errors, the process revokes the token all the same, and a start from the last good
    /// configuration does not bring it back.
    Revoke {
        /// The token's name
        name: String,
        /// Also remove the policy's own tests that name the token
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        at: RunningProcess,
    },
    /// Show whose token is on standard input, and whether it is valid
    Check(ConfigFile),
}

/// What every token begins with, so that secret scanners and people recognise one.
pub(super) const PREFIX: &str = "scs_";

pub(super) fn token(verb: Verb) -> Exit {
    match verb {
        Verb::New { name, scopes, expires, write, at } => new(&name, &scopes, expires, write.then_some(&at)),
        Verb::Adopt { name, scopes, file, user_header, at } => {
            let what = adopt::Adoption {
                name: &name,
                scopes: &scopes,
                file: file.as_deref(),
                user_header: user_header.as_deref(),
            };
            adopt::adopt(&at, &what)
        }
        Verb::List { file, json } => list(&file, json),
        Verb::Rotate { name, overlap, at } => {
            edited(&at, |document, hash| edit::rotate(document, &name, hash, jiff::Timestamp::now() + overlap))
        }
        Verb::Revoke { name, force, at } => revoke::revoke(&at, &name, force),
        Verb::Check(file) => check_one(&file),
    }
}

fn hash(secret: &str) -> String {
    TokenHash::of(secret.as_bytes()).to_hex()
}

/// Whether a token may be called so and hold these scopes.
pub(super) fn validate(name: &str, scopes: &[String]) -> Result<(), Exit> {
    if !crate::config::is_name(name) {
        complain(format!("error: `{name}` is not a name: 1 to 64 letters, digits and . _ - @"));
        return Err(Exit::Usage);
    }
    for scope in scopes {
        match Scope::parse(scope) {
            Err(fault) => {
                complain(format!("error: `{scope}`: {fault}"));
                return Err(Exit::Usage);
            }
            Ok(scope) if !scope.is_known() => {
                complain(format!(
                    "warning: no known gateway release has the scope `{scope}`; known: {}",
                    KNOWN.join(", ")
                ));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

fn new(name: &str, scopes: &[String], expires: Option<jiff::Timestamp>, write: Option<&RunningProcess>) -> Exit {
    if let Err(exit) = validate(name, scopes) {
        return exit;
    }
    if let Some(at) = write {
        return edited(at, |document, hash| edit::add(document, name, hash, scopes, expires));
    }
    let Ok(secret) = generate() else {
        complain("error: the system's random numbers are not available");
        return Exit::System;
    };
    complain("The token, shown this once; give it to the client:");
    say(&secret);
    complain("\nPaste into the configuration file:\n");
    say(table(name, &secret, scopes, expires));
    Exit::Ok
}

/// Edits the configuration so that it holds the hash of a new secret, prints the secret only once the
/// edit is on disk, and waits until it is in force.
fn edited(
    at: &RunningProcess,
    change: impl FnOnce(&mut toml_edit::DocumentMut, &str) -> Result<(), edit::EditError>,
) -> Exit {
    let secret = match added(at, change) {
        Ok(secret) => secret,
        Err(exit) => return exit,
    };
    complain("The token, shown this once; give it to the client:");
    say(secret);
    settled(at)
}

/// Adds a token with these scopes; gives its secret, which is not in force yet.
pub(super) fn added_named(at: &RunningProcess, name: &str, scopes: &[String]) -> Result<String, Exit> {
    validate(name, scopes)?;
    added(at, |document, hash| edit::add(document, name, hash, scopes, None))
}

fn added(
    at: &RunningProcess,
    change: impl FnOnce(&mut toml_edit::DocumentMut, &str) -> Result<(), edit::EditError>,
) -> Result<String, Exit> {
    let Ok(secret) = generate() else {
        complain("error: the system's random numbers are not available");
        return Err(Exit::System);
    };
    match edit::edit(at.config(), edit::EditRequirement::Right, |document| change(document, &hash(&secret))) {
        Ok(_) => Ok(secret),
        Err(error) => {
            complain(format!("error: {error}"));
            Err(Exit::Failed)
        }
    }
}

/// Waits until the edited file is in force, and says how it went.
pub(super) fn settled(at: &RunningProcess) -> Exit {
    let file = at.config().display();
    match settle(at) {
        ReloadOutcome::InForce(said) => {
            complain(format!("{file} is written: {said}"));
            Exit::Ok
        }
        ReloadOutcome::NotRunning(error) => {
            complain(format!("{file} is written; no process runs, so it takes effect at the next start\n  ({error})"));
            Exit::Ok
        }
        ReloadOutcome::Refused(said) => {
            complain(said);
            complain(format!(
                "error: {file} is written and NOT in force: the running process refused it, for the reasons above\n  \
                 = help: fix the file, then `scopeshim reload`"
            ));
            Exit::Config
        }
        ReloadOutcome::Unknown(why) => {
            complain(format!(
                "error: {file} is written, but it is unknown whether it is in force: {why}\n  \
                 = help: `scopeshim reload` tries again"
            ));
            Exit::Unavailable
        }
    }
}

fn list(file: &ConfigFile, json: bool) -> Exit {
    let live = match check::load_policy(&file.config) {
        Ok((_, policy)) => policy.live().clone(),
        Err(exit) => return exit,
    };
    if json {
        let all: Vec<_> = live
            .tokens
            .iter()
            .map(|t| {
                let scopes: Vec<&str> = t.scopes.iter().map(Scope::as_str).collect();
                let cidrs: Vec<String> = t.cidrs.iter().map(ToString::to_string).collect();
                serde_json::json!({"name": &*t.name, "scopes": scopes, "not_before": t.not_before, "expires": t.expires, "cidrs": cidrs, "place": &*t.place})
            })
            .collect();
        say(serde_json::Value::from(all).to_string());
        return Exit::Ok;
    }
    for token in &live.tokens {
        let expires = token.expires.map(|at| format!("  until {at}")).unwrap_or_default();
        say(format!("{:<24} {}{expires}  ({})", token.name, token.scopes, token.place));
    }
    Exit::Ok
}

fn check_one(file: &ConfigFile) -> Exit {
    let mut text = String::new();
    if let Err(error) = std::io::Read::read_to_string(&mut std::io::stdin(), &mut text) {
        complain(format!("error: standard input: {error}"));
        return Exit::NoInput;
    }
    let secret = text.trim();
    if secret.starts_with(PREFIX) && !is_whole(secret) {
        complain("this is an incomplete or mistyped token of scopeshim: its checksum is wrong");
        return Exit::Failed;
    }
    let live = match check::load_policy(&file.config) {
        Ok((_, policy)) => policy.live().clone(),
        Err(exit) => return exit,
    };
    let Some(token) = live.tokens.iter().find(|t| t.hash == TokenHash::of(secret.as_bytes())) else {
        complain("not a token of this configuration");
        return Exit::Failed;
    };
    let now = jiff::Timestamp::now();
    if token.expires.is_some_and(|at| now >= at) || token.not_before.is_some_and(|at| now < at) {
        complain(format!("the token `{}` ({}), which is not valid now", token.name, token.place));
        return Exit::Failed;
    }
    say(format!("the token `{}` ({}): {}", token.name, token.place, token.scopes));
    Exit::Ok
}

/// Whether a token's checksum is that of the rest of it.
fn is_whole(secret: &str) -> bool {
    secret
        .len()
        .checked_sub(6)
        .and_then(|at| secret.split_at_checked(at))
        .is_some_and(|(body, sum)| checksum(body) == sum)
}

/// The table of a token, as it stands in a configuration file.
pub(super) fn table(name: &str, secret: &str, scopes: &[String], expires: Option<jiff::Timestamp>) -> String {
    let scopes = scopes.iter().map(|s| format!("\"{s}\"")).collect::<Vec<_>>().join(", ");
    let hash = TokenHash::of(secret.as_bytes()).to_hex();
    let expires = expires.map(|at| format!("\nexpires = {at}")).unwrap_or_default();
    format!("[[token]]\nname = \"{name}\"\nsha256 = \"{hash}\"\nscopes = [{scopes}]{expires}")
}

/// 256 random bits in the digits of base 62, behind the prefix, before six digits of checksum.
pub(super) fn generate() -> Result<String, getrandom::Error> {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut secret = String::from(PREFIX);
    let mut left = 43; // log62(2^256), rounded up
    while left > 0 {
        let mut bytes = [0u8; 64];
        getrandom::fill(&mut bytes)?;
        // 248 is the largest multiple of 62 a byte can count to: no digit comes more often.
        for byte in bytes.into_iter().filter(|b| *b < 248).take(left) {
            if let Some(digit) = DIGITS.get(usize::from(byte % 62)) {
                secret.push(char::from(*digit));
                left -= 1;
            }
        }
    }
    let sum = checksum(&secret);
    secret.push_str(&sum);
    Ok(secret)
}

/// Six hexadecimal digits over the rest, by which a scanner tells a token from a random word.
fn checksum(text: &str) -> String {
    TokenHash::of(text.as_bytes()).to_hex().chars().take(6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_different_each_time_and_checks() {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), PREFIX.len() + 43 + 6);
        assert!(is_whole(&a) && !is_whole(&a.replace("scs_", "scs_x")) && !is_whole("scs_"));
        assert!(a.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'));
    }
}
