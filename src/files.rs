//! Files: written whole or not at all, and recognised when they changed.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A file, and what it looked like from outside before it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Its path.
    pub path: PathBuf,
    stamp: Stamp,
}

/// Device, inode, length, times of change. `None`: not there.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

impl Sighting {
    /// Looks at a file. Whoever wants to know whether it changes looks before reading it.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let stamp = std::fs::metadata(path)
            .ok()
            .map(|m| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()));
        Self { path: path.to_owned(), stamp }
    }

    /// Whether the file looks different now.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        Self::of(&self.path) != *self
    }
}

/// Writes a file so that a reader, or a crash, meets the old content or the new and nothing between.
///
/// # Errors
/// The system's; the old content is then untouched.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?.to_string_lossy();
    sweep(dir, &name);
    let temporary = dir.join(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        // The umask of whoever calls must not take the service's group its right to read.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        // The rename itself must be on disk too.
        std::fs::File::open(dir)?.sync_all()
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Removes what processes left behind that were killed while they wrote this file.
fn sweep(dir: &Path, name: &str) {
    let abandoned = |file: &str| {
        let number = file.strip_prefix('.')?.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".new")?;
        let process = nix::unistd::Pid::from_raw(number.parse().ok().filter(|n| *n > 0)?);
        (nix::sys::signal::kill(process, None) == Err(nix::errno::Errno::ESRCH)).then_some(())
    };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if abandoned(&entry.file_name().to_string_lossy()).is_some() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_content_stays_when_the_new_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.txt");
        write_atomically(&path, b"one", 0o600).unwrap();
        write_atomically(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::create_dir(dir.path().join("taken")).unwrap();
        assert!(write_atomically(&dir.path().join("taken"), b"x", 0o600).is_err());
        assert_eq!(std::fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
    }
    #[test]
    fn what_a_killed_writer_left_behind_goes_with_the_next_write() {
        let dir = tempfile::tempdir().unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let at = |name: String| dir.path().join(name);
        let left = at(format!(".a.txt.{}.new", gone.id()));
        // Of a process that lives, of another file, and no such file at all.
        let others = [at(".a.txt.1.new".into()), at(format!(".b.txt.{}.new", gone.id())), at(".a.txt.x.new".into())];
        std::fs::write(&left, "half").unwrap();
        for file in &others {
            std::fs::write(file, "x").unwrap();
        }
        write_atomically(&at("a.txt".into()), b"one", 0o600).unwrap();
        assert!(!left.exists());
        assert!(others.iter().all(|file| file.exists()));
    }
}
