//! The files that a configuration came from, by their contents: so that a change of any of them is seen, however it was made.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};

/// The most that a file may have, in MiB: the body of a request, say.
const LARGEST: u64 = 64;

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
        let content = read(path);
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

/// Reads a file. A device or a pipe may never end, or not be there to be read again.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // The opening of a pipe that nobody writes to would not end either.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "it is a folder" } else { "it is a device, a pipe or a socket" };
        return Err(io::Error::other(format!("{what}, and not a regular file")));
    }
    let mut content = Vec::with_capacity(metadata.len().min(LARGEST << 20) as usize);
    // What it says of its size may not be true, as in /proc.
    if file.take((LARGEST << 20) + 1).read_to_end(&mut content)? as u64 > LARGEST << 20 {
        return Err(io::Error::other(format!("it has more than {LARGEST} MiB, which no file may have")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, large, small] = ["pipe", "large", "small"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let fault = |path: &Path| Files::default().read(path).unwrap_err().to_string();
        for endless in [Path::new("/dev/zero"), &pipe] {
            assert_eq!(fault(endless), "it is a device, a pipe or a socket, and not a regular file", "{endless:?}");
        }
        assert_eq!(fault(folder.path()), "it is a folder, and not a regular file");
        for (path, size) in [(&large, (LARGEST << 20) + 1), (&small, LARGEST << 20)] {
            File::create(path).unwrap().set_len(size).unwrap();
        }
        assert_eq!(fault(&large), "it has more than 64 MiB, which no file may have");
        assert_eq!(Files::default().read(&small).map(|content| content.len() as u64).ok(), Some(LARGEST << 20));
        assert!(!Files::default().read(Path::new("/proc/self/stat")).unwrap().is_empty());
    }

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
