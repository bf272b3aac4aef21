//! What outlives the process: the last good configuration, by the file it came from, and which of its
//! tokens are good no more.

use crate::atomic_file::write_atomically;
use crate::config::{Token, TokenList};
use crate::secret::TokenHash;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The directory for state.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// Which tokens of the last good configuration a start from it does not accept: it supplies the rules, and
/// never a token that was revoked since.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// The hash of the last good text that this is about.
    of: String,
    /// The tokens that the latest file listed that was refused and could be read; `None`: there was none.
    listed: Option<TokenList>,
    /// Tokens that were revoked by command.
    revoked: BTreeSet<String>,
}

impl Withheld {
    /// The same after a later file, where that can be read.
    #[must_use]
    pub fn with_listed(self, listed: Option<TokenList>) -> Self {
        Self { listed: listed.or(self.listed), ..self }
    }

    /// Takes the tokens out that are good no more, and lets those end that end sooner. Returns the names
    /// of those taken out.
    pub fn apply(&self, tokens: &mut Vec<Token>, now: Timestamp) -> Vec<String> {
        let mut gone = BTreeSet::new();
        tokens.retain_mut(|token| {
            let hash = token.hash.to_hex();
            let ends = match self.listed.as_ref().map(|listed| listed.get(&hash)) {
                None => None,
                Some(Some(ends)) => *ends,
                Some(None) => Some(Timestamp::MIN),
            };
            let gone_now = self.revoked.contains(&hash) || ends.is_some_and(|at| at <= now);
            if gone_now {
                gone.insert(token.name.to_string());
            }
            token.expires = [token.expires, ends].into_iter().flatten().min();
            !gone_now
        });
        gone.into_iter().collect()
    }
}

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
    fn file(&self, kind: &str, config: &Path, extension: &str) -> PathBuf {
        let absolute = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
        let tag: String = hash(absolute.as_os_str().as_bytes()).chars().take(16).collect();
        self.0.join(format!("{kind}-{tag}.{extension}"))
    }

    fn last_good(&self, config: &Path) -> PathBuf {
        self.file("last-good", config, "toml")
    }

    /// Keeps the text of a configuration that came into force. What was withheld of an older text is
    /// forgotten: this one says itself who is let in.
    ///
    /// # Errors
    /// The system's; what was kept before stays.
    pub fn keep(&self, config: &Path, text: &str) -> std::io::Result<()> {
        let path = self.last_good(config);
        if !std::fs::read_to_string(&path).is_ok_and(|kept| kept == text) {
            write_atomically(&path, text.as_bytes(), 0o600)?;
        }
        match std::fs::remove_file(self.file("withheld", config, "json")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The text of the last configuration that came into force, if one was kept.
    #[must_use]
    pub fn recall(&self, config: &Path) -> Option<String> {
        std::fs::read_to_string(self.last_good(config)).ok()
    }

    /// Forgets the last good configuration: better none than one that accepts a revoked token again.
    ///
    /// # Errors
    /// The system's.
    pub fn forget(&self, config: &Path) -> std::io::Result<()> {
        match std::fs::remove_file(self.last_good(config)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What is withheld of the last good configuration.
    #[must_use]
    pub fn withheld(&self, config: &Path) -> Withheld {
        let of = hash(self.recall(config).unwrap_or_default().as_bytes());
        let text = std::fs::read_to_string(self.file("withheld", config, "json")).unwrap_or_default();
        let known = serde_json::from_str(&text).ok().filter(|known: &Withheld| known.of == of);
        known.unwrap_or(Withheld { of, ..Withheld::default() })
    }

    /// Notes which tokens a refused file lists. A file that says nothing about tokens changes nothing.
    ///
    /// # Errors
    /// The system's; what was noted before stays.
    pub fn note_listed(&self, config: &Path, listed: Option<TokenList>) -> std::io::Result<()> {
        let Some(listed) = listed else { return Ok(()) };
        self.note(config, |withheld| withheld.listed = Some(listed))
    }

    /// Notes that tokens were revoked by command.
    ///
    /// # Errors
    /// The system's; what was noted before stays.
    pub fn note_revoked(&self, config: &Path, hashes: &[TokenHash]) -> std::io::Result<()> {
        self.note(config, |withheld| withheld.revoked.extend(hashes.iter().map(|h| h.to_hex())))
    }

    fn note(&self, config: &Path, change: impl FnOnce(&mut Withheld)) -> std::io::Result<()> {
        let before = self.withheld(config);
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(());
        }
        let text = serde_json::to_vec(&after)?;
        write_atomically(&self.file("withheld", config, "json"), &text, 0o600)
    }

    /// Says where the process that runs by this configuration is asked: its file may name another place
    /// by then, or be read in another environment.
    ///
    /// # Errors
    /// The system's.
    pub fn announce(&self, config: &Path, socket: &Path) -> std::io::Result<()> {
        if self.announced(config).as_deref() == Some(socket) {
            return Ok(());
        }
        write_atomically(&self.file("admin", config, "path"), socket.as_os_str().as_bytes(), 0o600)
    }

    /// Where the latest process by this configuration was asked.
    #[must_use]
    pub fn announced(&self, config: &Path) -> Option<PathBuf> {
        std::fs::read_to_string(self.file("admin", config, "path")).ok().map(PathBuf::from)
    }
}

fn hash(bytes: &[u8]) -> String {
    TokenHash::of(bytes).to_hex()
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

    const CONFIG: &str = "/a/config.toml";

    fn token(name: &str, expires: Option<Timestamp>) -> Token {
        Token { expires, place: "".into(), ..Token::plain(name, name) }
    }

    #[test]
    fn what_is_kept_is_recalled_for_its_own_file_only() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(&dir.path().join("state"));
        assert_eq!(state.recall(Path::new(CONFIG)), None);
        state.keep(Path::new(CONFIG), "one").unwrap();
        state.keep(Path::new(CONFIG), "two").unwrap();
        assert_eq!(state.recall(Path::new(CONFIG)).as_deref(), Some("two"));
        assert_eq!(state.recall(Path::new("/b/config.toml")), None);
    }

    #[test]
    fn the_last_good_text_lends_no_token_that_was_revoked_since() {
        let dir = tempfile::tempdir().unwrap();
        let (state, config) = (StateDir::new(dir.path()), Path::new(CONFIG));
        let (now, soon) = (Timestamp::now(), Timestamp::now() + std::time::Duration::from_secs(60));
        let all = || vec![token("stays", None), token("ends", None), token("unlisted", None), token("revoked", None)];
        let left = |state: &StateDir| {
            let mut tokens = all();
            let gone = state.withheld(config).apply(&mut tokens, now);
            (tokens.iter().map(|t| (t.name.to_string(), t.expires)).collect::<Vec<_>>(), gone)
        };
        state.keep(config, "good").unwrap();
        assert_eq!(left(&state).0.len(), 4);
        let listed = |names: &[(&str, Option<Timestamp>)]| {
            Some(names.iter().map(|(n, at)| (TokenHash::of(n.as_bytes()).to_hex(), *at)).collect::<TokenList>())
        };
        state.note_revoked(config, &[TokenHash::of(b"revoked")]).unwrap();
        state.note_listed(config, listed(&[("stays", None), ("ends", Some(soon)), ("revoked", None)])).unwrap();
        // A file that cannot be read says nothing.
        state.note_listed(config, None).unwrap();
        let (tokens, gone) = left(&state);
        assert_eq!(tokens, [("stays".to_owned(), None), ("ends".to_owned(), Some(soon))]);
        assert_eq!(gone, ["revoked", "unlisted"]);
        // What is listed again is lent again; what was revoked by command is not.
        state.note_listed(config, listed(&[("stays", None), ("unlisted", None), ("ends", Some(now))])).unwrap();
        assert_eq!(left(&state).1, ["ends", "revoked"]);
        // A text that comes into force replaces what was noted, and so does one that another process kept.
        state.keep(config, "good").unwrap();
        assert_eq!(left(&state).0.len(), 4);
        state.note_revoked(config, &[TokenHash::of(b"revoked")]).unwrap();
        std::fs::write(state.last_good(config), "another").unwrap();
        assert_eq!(left(&state).0.len(), 4);
    }

    #[test]
    fn the_state_directory_is_found_in_a_broken_file() {
        let text = "[[listen\nbroken = = \n[server]\n  state_dir = \"/var/lib/x\"\n";
        assert_eq!(state_dir_in(text), Some(PathBuf::from("/var/lib/x")));
        assert_eq!(state_dir_in("# state_dir = \"/x\"\n"), None);
    }
}
