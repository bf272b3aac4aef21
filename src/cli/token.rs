//! `token`: named bearer tokens.

use super::{Exit, complain, say};
use crate::scope::{KNOWN, Scope};
use crate::secret::TokenHash;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Make a token: prints the secret, once, and the table to paste into the configuration
    New {
        /// Who will hold it: letters, digits and . _ - @
        name: String,
        /// A scope it has; may be given several times
        #[arg(long = "scope", value_name = "SCOPE", default_values = ["operator.read", "operator.write"])]
        scopes: Vec<String>,
        /// Until when it is valid, for example 2027-01-31T00:00:00Z
        #[arg(long, value_name = "MOMENT")]
        expires: Option<jiff::Timestamp>,
    },
}

/// What every token begins with, so that secret scanners and people recognise one.
pub(super) const PREFIX: &str = "scs_";

pub(super) fn token(verb: Verb) -> Exit {
    match verb {
        Verb::New { name, scopes, expires } => new(&name, &scopes, expires),
    }
}

fn new(name: &str, scopes: &[String], expires: Option<jiff::Timestamp>) -> Exit {
    if !crate::config::is_name(name) {
        complain(format!("error: `{name}` is not a name: 1 to 64 letters, digits and . _ - @"));
        return Exit::Usage;
    }
    for scope in scopes {
        match Scope::parse(scope) {
            Err(fault) => {
                complain(format!("error: `{scope}`: {fault}"));
                return Exit::Usage;
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
    let Ok(secret) = generate() else {
        complain("error: the system's random numbers cannot be had");
        return Exit::System;
    };
    complain("The token, shown this once; give it to the client:");
    say(&secret);
    complain("\nPaste into the configuration file:\n");
    say(table(name, &secret, scopes, expires));
    Exit::Ok
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
        let (body, sum) = a.split_at(a.len() - 6);
        assert_eq!(checksum(body), sum);
        assert!(a.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'));
    }
}
