//! The files that a configuration came from, by their contents: so that a change of any of them is seen, however it was made.

use std::cell::RefCell;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};

use crate::file;

/// What was read, in the order of reading.
#[derive(Debug, Default)]
pub(super) struct Files(RefCell<Vec<Seen>>);

/// A file as it was; without a content where it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    path: PathBuf,
    sha256: Option<[u8; 32]>,
    /// What the file system said of it before it was read; nothing where it said nothing, or where a change in the same tick of its clock
    /// would not show.
    version: Option<Version>,
}

/// What changes when a file is written, or another one put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Stamps of files are those of the kernel's tick, which is 10 ms at most.
const TICK: Duration = Duration::from_millis(20);

impl Version {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether every change from `now` on has another stamp.
    fn is_settled(&self, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.modified.max(self.changed);
        let since = Duration::new(seconds.max(0).unsigned_abs(), u32::try_from(nanoseconds).unwrap_or_default());
        now.duration_since(SystemTime::UNIX_EPOCH + since).is_ok_and(|age| age > TICK)
    }
}

impl Seen {
    /// Reads a file.
    fn read(path: &Path) -> (Self, io::Result<Vec<u8>>) {
        let (version, now) = (Version::of(path), SystemTime::now());
        let content = file::read(path);
        // SHA-256 has 32 bytes.
        let sha256 = content.as_ref().ok().and_then(|bytes| digest(&SHA256, bytes).as_ref().try_into().ok());
        let seen = Self { path: path.to_owned(), sha256, version: version.filter(|version| version.is_settled(now)) };
        (seen, content)
    }

    /// Whether it may have another content now, by what the file system says; false is sure.
    pub(super) fn is_touched(&self) -> bool {
        self.version.is_none() || Version::of(&self.path) != self.version
    }
}

impl Files {
    /// Reads a file, and remembers what was in it, or that there was nothing to read.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let (seen, content) = Seen::read(path);
        self.0.borrow_mut().push(seen);
        content
    }

    /// Reads the configuration itself. One that comes by a pipe is not remembered: to see whether it has changed would take it away from the
    /// reload.
    pub(super) fn read_or_hear(&self, path: &Path, patience: Option<Duration>) -> io::Result<Vec<u8>> {
        if file::is_pipe(path) { file::read_or_hear(path, patience) } else { self.read(path) }
    }

    /// How many were read.
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// Those that were read after the first `count`.
    pub(super) fn since(&self, count: usize) -> Vec<Seen> {
        self.0.borrow().iter().skip(count).cloned().collect()
    }

    /// Whether any of them has another content now, or is there now and was not, or the other way round.
    pub(super) fn changed(&self) -> bool {
        self.0.borrow().iter().any(|seen| Seen::read(&seen.path).0.sha256 != seen.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_of_content_and_not_of_time() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other, link] = ["one", "other", "link"].map(|name| folder.path().join(name));
        std::fs::write(&one, "1").unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let files = Files::default();
        assert_eq!(files.read(&link).unwrap(), b"1");
        assert_eq!(files.read(&other).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&one, "1").unwrap();
        assert!(!files.changed());
        // As Kubernetes does: another file behind the same link.
        std::fs::write(&other, "2").unwrap();
        assert!(files.changed(), "a file is there that was not");
        std::fs::remove_file(&other).unwrap();
        assert!(!files.changed());
        let third = folder.path().join("third");
        std::fs::write(&third, "3").unwrap();
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&third, &link).unwrap();
        assert!(files.changed(), "the link leads elsewhere");
        std::fs::remove_file(&link).unwrap();
        assert!(files.changed(), "the file is gone");
    }
}
