//! What a configuration refers to outside its file: secrets, directories, the moment.

use crate::atomic_file::FileFingerprint;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// The world around a configuration, so that tests can have their own.
pub trait Environment {
    /// Reads a secret's file.
    ///
    /// # Errors
    /// A sentence for the person who must fix it.
    fn secret_file(&self, path: &Path) -> Result<String, SecretFileFault>;
    /// Reads a file that is no secret.
    ///
    /// # Errors
    /// The system's.
    fn text_file(&self, path: &Path) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// The present.
    fn now(&self) -> Timestamp;
}

/// Why a secret's file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretFileFault {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Every user of this machine can read it.
    #[error("can be read by every user of this machine (mode {0:04o})")]
    WorldReadable(u32),
    /// It is too large to be a secret.
    #[error("is larger than 64 KiB")]
    TooLarge,
}

/// The process's own environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Environment for System {
    fn secret_file(&self, path: &Path) -> Result<String, SecretFileFault> {
        use std::io::Read as _;
        use std::os::unix::fs::PermissionsExt as _;
        let unreadable = |e: std::io::Error| SecretFileFault::Unreadable(e.to_string());
        let mut file = std::fs::File::open(path).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        let mode = meta.permissions().mode() & 0o7777;
        if mode & 0o007 != 0 {
            return Err(SecretFileFault::WorldReadable(mode));
        }
        if meta.len() > 64 * 1024 {
            return Err(SecretFileFault::TooLarge);
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        Ok(text)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The file of a systemd credential, or what is wrong and how to fix it.
///
/// # Errors
/// When the process has no credentials, or the name is none.
pub fn credential(around: &dyn Environment, name: &str) -> Result<PathBuf, (&'static str, &'static str)> {
    let Some(dir) = around.variable("CREDENTIALS_DIRECTORY") else {
        return Err((
            "there are no systemd credentials here: CREDENTIALS_DIRECTORY is not set",
            "start by systemd with `LoadCredential=`, or use a file",
        ));
    };
    if name.contains('/') {
        return Err(("a credential's name has no slash", "write the name given to `LoadCredential=`"));
    }
    Ok(Path::new(&dir).join(name))
}

/// An environment that remembers which files were asked for.
pub struct RecordingEnvironment<'a> {
    around: &'a dyn Environment,
    files: std::cell::RefCell<Vec<FileFingerprint>>,
}

impl<'a> RecordingEnvironment<'a> {
    /// Remembers what is asked of `around`.
    #[must_use]
    pub fn new(around: &'a dyn Environment) -> Self {
        Self { around, files: std::cell::RefCell::default() }
    }

    /// The files that were asked for.
    #[must_use]
    pub fn into_files(self) -> Vec<FileFingerprint> {
        self.files.into_inner()
    }
}

impl Environment for RecordingEnvironment<'_> {
    fn secret_file(&self, path: &Path) -> Result<String, SecretFileFault> {
        self.files.borrow_mut().push(FileFingerprint::of(path));
        self.around.secret_file(path)
    }
    fn text_file(&self, path: &Path) -> std::io::Result<String> {
        self.files.borrow_mut().push(FileFingerprint::of(path));
        self.around.text_file(path)
    }
    fn variable(&self, name: &str) -> Option<String> {
        self.around.variable(name)
    }
    fn now(&self) -> Timestamp {
        self.around.now()
    }
}

/// The unix socket of the process where the configuration names none.
#[must_use]
pub fn default_admin_socket(environment: &dyn Environment, state_dir: &Path) -> PathBuf {
    // systemd's RuntimeDirectory=, which may name several.
    let runtime = environment.variable("RUNTIME_DIRECTORY").unwrap_or_default();
    match runtime.split(':').find(|d| !d.is_empty()) {
        Some(dir) => Path::new(dir).join("admin.sock"),
        None => state_dir.join("admin.sock"),
    }
}

/// The directory for state where the configuration names none.
#[must_use]
pub fn default_state_dir(environment: &dyn Environment) -> PathBuf {
    // systemd's StateDirectory=, which may name several.
    if let Some(dirs) = environment.variable("STATE_DIRECTORY")
        && let Some(first) = dirs.split(':').find(|d| !d.is_empty())
    {
        return PathBuf::from(first);
    }
    if let Some(dir) = environment.variable("XDG_STATE_HOME").filter(|d| d.starts_with('/')) {
        return Path::new(&dir).join("scopeshim");
    }
    let home = environment.variable("HOME").unwrap_or_else(|| "/var/lib".to_owned());
    Path::new(&home).join(".local/state/scopeshim")
}
