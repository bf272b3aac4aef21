//! Secrets: values that never print, hashes that compare in constant time (law 12).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt;
use zeroize::Zeroizing;

/// The shortest secret accepted, in bytes. A gateway's own token has 24 or more.
pub const MIN_LENGTH: usize = 12;
/// The longest secret accepted, in bytes: it must fit a header line of the gateway (16 KiB).
pub const MAX_LENGTH: usize = 4096;
const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// A secret in the clear. `Debug` prints a placeholder; memory is wiped on drop.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// Why a text cannot serve as a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretFault {
    /// Nothing but white space.
    #[error("the secret is empty")]
    Empty,
    /// Shorter than [`MIN_LENGTH`].
    #[error("the secret is shorter than {MIN_LENGTH} characters")]
    TooShort,
    /// Longer than [`MAX_LENGTH`].
    #[error("the secret is longer than {MAX_LENGTH} characters")]
    TooLong,
    /// What `openclaw config get` prints in its place.
    #[error("this is what `openclaw config get` prints in place of a secret")]
    Redacted,
    /// Something a bearer header cannot carry.
    #[error("the secret holds white space or a character outside visible ASCII")]
    Character,
}

impl Secret {
    /// Takes a secret as read from a file or a variable; surrounding white space does not count.
    ///
    /// # Errors
    /// [`SecretFault`] when it is empty, too short, too long, or unfit for a header.
    pub fn parse(text: &str) -> Result<Self, SecretFault> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SecretFault::Empty);
        }
        if text == REDACTED {
            return Err(SecretFault::Redacted);
        }
        if text.len() < MIN_LENGTH {
            return Err(SecretFault::TooShort);
        }
        if text.len() > MAX_LENGTH {
            return Err(SecretFault::TooLong);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(SecretFault::Character);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret itself. Every call is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash under which the secret may be stored and looked up.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// SHA-256 of a high-entropy token: what the policy stores instead of the token.
#[derive(Clone, Copy, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes a presented credential.
    #[must_use]
    pub fn of(credential: &[u8]) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, credential).as_ref());
        Self(out)
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut out = [0; 32];
        hex::decode_to_slice(text, &mut out).ok()?;
        Some(Self(out))
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl std::hash::Hash for TokenHash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.to_hex();
        write!(f, "sha256:{}…", hex.get(..8).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::parse("correct-horse-battery").unwrap();
        assert!(!format!("{secret:?}").contains("horse"));
    }

    #[test]
    fn hex_reads_what_it_writes() {
        let hash = TokenHash::of(b"abc");
        assert_eq!(hash.to_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(TokenHash::from_hex(&hash.to_hex()), Some(hash));
        assert_eq!(TokenHash::from_hex("ba78"), None);
        assert_eq!(TokenHash::from_hex(&"zz".repeat(32)), None);
        assert_eq!(TokenHash::from_hex(&"é".repeat(32)), None);
    }

    #[test]
    fn unfit_secrets_say_why() {
        assert_eq!(Secret::parse(" \n").unwrap_err(), SecretFault::Empty);
        assert_eq!(Secret::parse("short").unwrap_err(), SecretFault::TooShort);
        assert_eq!(Secret::parse("__OPENCLAW_REDACTED__\n").unwrap_err(), SecretFault::Redacted);
        assert_eq!(Secret::parse("two words in a row").unwrap_err(), SecretFault::Character);
        assert_eq!(Secret::parse("  padded-secret-1 \n").unwrap().expose(), "padded-secret-1");
    }
}
