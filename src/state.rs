//! What outlives the process: the last good configuration, by the file it came from.

use crate::files::write_atomically;
use crate::secret::TokenHash;
use std::path::{Path, PathBuf};

/// The directory for state.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// State below this directory, which is made when something is kept.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Two configurations on one machine do not get in each other's way.
    fn last_good(&self, config: &Path) -> PathBuf {
        let absolute = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
        let tag: String = TokenHash::of(absolute.as_os_str().as_encoded_bytes()).to_hex().chars().take(16).collect();
        self.0.join(format!("last-good-{tag}.toml"))
    }

    /// Keeps the text of a configuration that came into force.
    ///
    /// # Errors
    /// The system's; what was kept before stays.
    pub fn keep(&self, config: &Path, text: &str) -> std::io::Result<()> {
        let path = self.last_good(config);
        if std::fs::read_to_string(&path).is_ok_and(|kept| kept == text) {
            return Ok(());
        }
        write_atomically(&path, text.as_bytes(), 0o600)
    }

    /// The text of the last configuration that came into force, if one was kept.
    #[must_use]
    pub fn recall(&self, config: &Path) -> Option<String> {
        std::fs::read_to_string(self.last_good(config)).ok()
    }
}

/// The value of `state_dir` in a file that may be broken: found even where TOML is not.
#[must_use]
pub fn state_dir_in(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let path = value.trim().trim_matches(['"', '\'']);
        (key.trim() == "state_dir" && path.starts_with('/')).then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_recalled_for_its_own_file_only() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(&dir.path().join("state"));
        assert_eq!(state.recall(Path::new("/a/config.toml")), None);
        state.keep(Path::new("/a/config.toml"), "one").unwrap();
        state.keep(Path::new("/a/config.toml"), "two").unwrap();
        assert_eq!(state.recall(Path::new("/a/config.toml")).as_deref(), Some("two"));
        assert_eq!(state.recall(Path::new("/b/config.toml")), None);
    }

    #[test]
    fn the_state_directory_is_found_in_a_broken_file() {
        let text = "[[listen\nbroken = = \n[server]\n  state_dir = \"/var/lib/x\"\n";
        assert_eq!(state_dir_in(text), Some(PathBuf::from("/var/lib/x")));
        assert_eq!(state_dir_in("# state_dir = \"/x\"\n"), None);
    }
}
