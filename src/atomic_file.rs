//! Files: written whole or not at all, and recognised when they changed.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file, and what it looked like from outside before it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFingerprint {
    /// Its path.
    pub path: PathBuf,
    stamp: Stamp,
}

/// Device, inode, length, times of change. `None`: not there.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

impl FileFingerprint {
    /// Looks at a file. To notice a change, look before reading it.
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

/// Writes a file so that a reader, or a crash, meets the old content or the new and nothing between. A
/// file that is replaced keeps its owner, as far as this process may say so.
///
/// # Errors
/// The system's; the old content is then untouched.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let (dir, staged) = stage(path, content, mode)?;
    staged.persist(path).map_err(|e| e.error)?;
    sync_dir(&dir)
}

/// The same for a file that is there: it keeps its mode too.
///
/// # Errors
/// The system's; the old content is then untouched.
pub fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mode = std::fs::metadata(path)?.mode() & 0o7777;
    write_atomically(path, content, mode)
}

/// The same for a file that must not exist yet, even if another process makes it at the same moment.
///
/// # Errors
/// `AlreadyExists` when something is there, a symbolic link to nothing included; else the system's.
pub fn create(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let (dir, staged) = stage(path, content, mode)?;
    staged.persist_noclobber(path).map_err(|e| e.error)?;
    sync_dir(&dir)
}

/// The content on disk, beside its place, under a name that cannot be foreseen: made by this call or
/// not at all, so that neither a file nor a link that lies in wait is ever written to.
fn stage(path: &Path, content: &[u8], mode: u32) -> std::io::Result<(PathBuf, NamedTempFile)> {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?.to_string_lossy();
    sweep(dir, &name);
    let mut staged = tempfile::Builder::new()
        .prefix(&format!(".{name}.{}.", std::process::id()))
        .suffix(".new")
        .rand_bytes(16)
        // Not readable by others until it is complete.
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(dir)?;
    let file = staged.as_file_mut();
    file.write_all(content)?;
    if let Ok(old) = std::fs::symlink_metadata(path)
        && old.is_file()
    {
        let keep = |owner, group| std::os::unix::fs::fchown(&*file, owner, group);
        // Only root gives files away, but a member of the group can keep the group.
        let _ = keep(Some(old.uid()), Some(old.gid())).or_else(|_| keep(None, Some(old.gid())));
    }
    // The caller's umask must not take away the right of the service's group to read.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    Ok((dir.to_owned(), staged))
}

/// A rename must be on disk too.
fn sync_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

/// Removes what processes left behind that were killed while they wrote this file.
fn sweep(dir: &Path, name: &str) {
    let abandoned = |file: &str| {
        let rest = file.strip_prefix('.')?.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".new")?;
        let number = rest.split_once('.').map_or(rest, |(number, _)| number);
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
        let left = [at(format!(".a.txt.{}.new", gone.id())), at(format!(".a.txt.{}.x7Fq.new", gone.id()))];
        // Of a process that lives, of another file, and no such file at all.
        let others = [at(".a.txt.1.new".into()), at(format!(".b.txt.{}.new", gone.id())), at(".a.txt.x.new".into())];
        for file in left.iter().chain(&others) {
            std::fs::write(file, "x").unwrap();
        }
        write_atomically(&at("a.txt".into()), b"one", 0o600).unwrap();
        assert!(left.iter().all(|file| !file.exists()));
        assert!(others.iter().all(|file| file.exists()));
    }

    #[test]
    fn a_temporary_file_is_neither_foreseen_nor_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("a.txt"), dir.path().join("victim"));
        std::fs::write(&victim, "untouched").unwrap();
        // What earlier releases would have opened, and truncated.
        std::os::unix::fs::symlink(&victim, dir.path().join(format!(".a.txt.{}.new", std::process::id()))).unwrap();
        write_atomically(&path, b"one", 0o600).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
        let names: Vec<PathBuf> =
            (0..2).map(|_| stage(&path, b"two", 0o600).unwrap().1.into_temp_path().to_path_buf()).collect();
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| !name.exists()), "what is not put in place goes");
        // A link in the file's own place is replaced, never followed.
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        write_atomically(&path, b"two", 0o600).unwrap();
        assert!(!path.is_symlink());
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    }

    #[test]
    fn a_file_has_its_mode_and_its_owner_before_it_has_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        std::fs::write(&path, "one").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(4242), Some(4343)).unwrap();
        }
        let before = std::fs::metadata(&path).unwrap();
        let (_, staged) = stage(&path, b"two", 0o640).unwrap();
        let meta = staged.as_file().metadata().unwrap();
        let of = |m: &std::fs::Metadata| (m.uid(), m.gid(), m.mode() & 0o7777);
        assert_eq!(of(&meta), of(&before));
        replace(&path, b"two").unwrap();
        assert_eq!(of(&std::fs::metadata(&path).unwrap()), of(&before));
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn what_must_be_new_is_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        create(&path, b"one", 0o600).unwrap();
        assert_eq!(create(&path, b"two", 0o600).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &link).unwrap();
        assert_eq!(create(&link, b"two", 0o600).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
