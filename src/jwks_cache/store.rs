//! Fetched keys on disk, for a start while the issuer is away.

use crate::secret::TokenHash;
use std::path::{Path, PathBuf};

/// Names the file after the issuer's address too, so that another issuer of the same name finds none.
fn path(dir: &Path, issuer: &str, iss: &str) -> PathBuf {
    let tag: String = TokenHash::of(iss.as_bytes()).to_hex().chars().take(16).collect();
    let name: String = issuer.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    dir.join(format!("{name}-{tag}.jwks.json"))
}

/// The keys of the last run, as text.
pub(super) fn read(dir: &Path, issuer: &str, iss: &str) -> Option<String> {
    std::fs::read_to_string(path(dir, issuer, iss)).ok()
}

/// Keeps keys; a disk that takes none is reported and no more.
pub(super) fn write(dir: &Path, issuer: &str, iss: &str, text: &str) {
    let path = path(dir, issuer, iss);
    if let Err(error) = crate::atomic_file::write_atomically(&path, text.as_bytes(), 0o600) {
        tracing::warn!(path = %path.display(), %error, "the issuer's keys cannot be kept for the next start");
    }
}
