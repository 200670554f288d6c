//! The files that a configuration came from, by their contents: so that a change of any of them is seen, however it was made.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

/// What was read, in the order of reading.
#[derive(Debug, Default)]
pub(super) struct Files(RefCell<Vec<Seen>>);

/// A file as it was; without a content where it could not be read.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    sha256: Option<[u8; 32]>,
}

impl Seen {
    fn of(path: &Path, content: &io::Result<Vec<u8>>) -> Self {
        // SHA-256 has 32 bytes.
        let sha256 = content.as_ref().ok().and_then(|bytes| digest(&SHA256, bytes).as_ref().try_into().ok());
        Self { path: path.to_owned(), sha256 }
    }
}

impl Files {
    /// Reads a file, and remembers what was in it, or that there was nothing to read.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let content = std::fs::read(path);
        self.0.borrow_mut().push(Seen::of(path, &content));
        content
    }

    /// Whether any of them has another content now, or is there now and was not, or the other way round.
    pub(super) fn changed(&self) -> bool {
        self.0.borrow().iter().any(|seen| Seen::of(&seen.path, &std::fs::read(&seen.path)) != *seen)
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
