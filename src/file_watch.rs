//! Notices when files change: by the system's word where there is one, by looking in any case.

use crate::atomic_file::FileFingerprint;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How often the files are looked at whatever the system says: it may say nothing (network file
/// systems, a directory that was replaced).
const LOOK: Duration = Duration::from_secs(3);
/// How long a file must rest if a program writes to it and does not close it.
const REST: Duration = Duration::from_millis(300);

/// Watches some files.
#[derive(Debug)]
pub struct Watch {
    files: Vec<FileFingerprint>,
    words: mpsc::UnboundedReceiver<FileEvent>,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<(PathBuf, u64)>,
    next_look: Instant,
}

/// What the system says of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileEvent {
    /// A program is writing.
    Writing,
    /// Something is complete: closed, renamed, removed.
    Done,
}

impl Watch {
    /// Watches these files, as they looked before they were read.
    #[must_use]
    pub fn new(files: Vec<FileFingerprint>) -> Self {
        let (send, words) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if let Some(word) = event.ok().and_then(|e| word(e.kind)) {
                let _ = send.send(word);
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "file watching is unavailable; polling every few seconds"))
            .ok();
        let mut watch =
            Self { files: Vec::new(), words, watcher, watched: BTreeSet::new(), next_look: Instant::now() + LOOK };
        watch.follow(files);
        watch
    }

    /// Watches these files instead, as they looked before they were read: a change since then counts.
    pub fn follow(&mut self, files: Vec<FileFingerprint>) {
        self.files = files;
        self.arm();
    }

    /// Directories, not files: a file that is replaced takes its watch with it. The directory behind
    /// a symbolic link is watched too.
    fn arm(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut wanted = BTreeSet::new();
        for file in &self.files {
            let real = std::fs::canonicalize(&file.path).ok();
            for path in [Some(file.path.clone()), real].into_iter().flatten() {
                let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
                if let Ok(meta) = std::fs::metadata(dir) {
                    wanted.insert((dir.to_owned(), meta.ino()));
                }
            }
        }
        for (dir, _) in self.watched.difference(&wanted) {
            let _ = watcher.unwatch(dir);
        }
        for (dir, _) in wanted.difference(&self.watched) {
            if let Err(error) = watcher.watch(dir, RecursiveMode::NonRecursive) {
                tracing::warn!(dir = %dir.display(), %error, "cannot watch this directory; polling its files every few seconds");
            }
        }
        self.watched = wanted;
    }

    /// Returns when a file looks different and is complete.
    pub async fn changed(&mut self) {
        let mut settled = None;
        loop {
            let until = settled.unwrap_or(self.next_look).min(self.next_look);
            tokio::select! {
                word = self.words.recv() => match word {
                    Some(FileEvent::Done) if self.differs() => return self.known(),
                    Some(FileEvent::Writing) if self.differs() => settled = Some(Instant::now() + REST),
                    Some(_) => {}
                    // Without a watcher no event ever arrives.
                    None => std::future::pending().await,
                },
                () = tokio::time::sleep_until(until) => {
                    let looked = Instant::now() >= self.next_look;
                    if looked {
                        self.next_look = Instant::now() + LOOK;
                        self.arm();
                    }
                    if self.differs() && (settled.is_some_and(|at| Instant::now() >= at) || (looked && settled.is_none())) {
                        return self.known();
                    }
                    if settled.is_some_and(|at| Instant::now() >= at) {
                        settled = None;
                    }
                }
            }
        }
    }

    fn differs(&self) -> bool {
        self.files.iter().any(FileFingerprint::is_stale)
    }

    fn known(&mut self) {
        self.files = self.files.iter().map(|f| FileFingerprint::of(&f.path)).collect();
        self.arm();
    }
}

/// Our own reading is not news, or every reload would bring about the next.
fn word(kind: EventKind) -> Option<FileEvent> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Remove(_) => Some(FileEvent::Done),
        EventKind::Modify(ModifyKind::Name(RenameMode::From | RenameMode::To | RenameMode::Both | RenameMode::Any)) => {
            Some(FileEvent::Done)
        }
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(FileEvent::Done),
        EventKind::Access(_) => None,
        EventKind::Create(_) | EventKind::Modify(_) => Some(FileEvent::Writing),
        _ => Some(FileEvent::Writing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    async fn notices(watch: &mut Watch, within: Duration) -> bool {
        tokio::time::timeout(within, watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn each_way_of_saving_is_noticed_once_and_reading_never() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(vec![FileFingerprint::of(&file)]);
        let soon = Duration::from_secs(1);
        // In place.
        std::fs::write(&file, "two two").unwrap();
        assert!(notices(&mut watch, soon).await, "in place");
        // By renaming, as editors do.
        std::fs::write(dir.path().join("new"), "three").unwrap();
        std::fs::rename(dir.path().join("new"), &file).unwrap();
        assert!(notices(&mut watch, soon).await, "renamed");
        // With a backup beside it, as other editors do.
        std::fs::rename(&file, dir.path().join("config.toml~")).unwrap();
        std::fs::write(&file, "four").unwrap();
        assert!(notices(&mut watch, soon).await, "backup");
        // Reading, and other files, are no news.
        while notices(&mut watch, Duration::from_millis(50)).await {}
        std::fs::read(&file).unwrap();
        std::fs::write(dir.path().join("other"), "x").unwrap();
        assert!(!notices(&mut watch, Duration::from_millis(500)).await);
    }

    #[tokio::test]
    async fn a_kubernetes_swap_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("config.toml"), text).unwrap();
        }
        std::os::unix::fs::symlink("..1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/config.toml", at("config.toml")).unwrap();
        let mut watch = Watch::new(vec![FileFingerprint::of(&at("config.toml"))]);
        std::os::unix::fs::symlink("..2", at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(notices(&mut watch, Duration::from_secs(1)).await);
    }

    #[tokio::test]
    async fn a_file_half_written_is_left_alone_until_it_rests() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(vec![FileFingerprint::of(&file)]);
        let mut open = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
        for _ in 0..5 {
            open.write_all(b"more").unwrap();
            assert!(!notices(&mut watch, Duration::from_millis(100)).await, "still being written");
        }
        drop(open);
        assert!(notices(&mut watch, Duration::from_secs(1)).await);
    }

    #[tokio::test]
    async fn a_directory_that_was_replaced_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("etc");
        let file = inner.join("config.toml");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(vec![FileFingerprint::of(&file)]);
        std::fs::remove_dir_all(&inner).unwrap();
        assert!(notices(&mut watch, Duration::from_secs(5)).await, "gone");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(&file, "two").unwrap();
        assert!(notices(&mut watch, Duration::from_secs(5)).await, "back");
        std::fs::write(&file, "three three").unwrap();
        assert!(notices(&mut watch, Duration::from_secs(5)).await, "watched again");
    }
}
