//! A file of the system that is read again when it has changed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::file;

/// How long a file is believed to be as it was, as Go's `net` package believes it.
const RECHECK: Duration = Duration::from_secs(5);

/// What stands in a file, looked after at most every [`RECHECK`].
#[derive(Debug)]
pub(super) struct Cached<T> {
    path: PathBuf,
    known: Mutex<Option<Known<T>>>,
}

#[derive(Debug)]
struct Known<T> {
    content: Arc<T>,
    version: Option<Version>,
    checked: Instant,
}

/// What tells one state of a file from another: device, inode, modification time (seconds and nanoseconds) and size.
type Version = (u64, u64, i64, i64, u64);

impl<T> Cached<T> {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, known: Mutex::default() }
    }

    /// What stands in the file; where there is none, what `parse` makes of an empty text. What cannot be read stays what it was.
    pub(super) fn get(&self, now: Instant, parse: impl FnOnce(&str) -> T) -> Arc<T> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref()
            && now.saturating_duration_since(known.checked) < RECHECK
        {
            return Arc::clone(&known.content);
        }
        // Before the file is read: what changes in between is found the next time.
        let mut version = version(&self.path);
        let content = match known.take() {
            Some(known) if known.version == version => known.content,
            earlier => match version.map_or(Ok(Vec::new()), |_| file::read(&self.path)) {
                Ok(bytes) => Arc::new(parse(&String::from_utf8_lossy(&bytes))),
                Err(error) => {
                    tracing::warn!(file = %self.path.display(), %error, "cannot be read");
                    version = None;
                    earlier.map_or_else(|| Arc::new(parse("")), |known| known.content)
                }
            },
        };
        *known = Some(Known { content: Arc::clone(&content), version, checked: now });
        content
    }
}

/// The state of a file; nothing where there is none to be read: a device such as `/dev/null` stands for an empty one.
fn version(path: &Path) -> Option<Version> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_has_changed_and_not_more_often_than_looked_after() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let cached = Cached::new(file.clone());
        let start = Instant::now();
        let mut reads = 0;
        let mut at = |seconds: u64| {
            let parse = |text: &str| {
                reads += 1;
                text.to_owned()
            };
            let text = cached.get(start + Duration::from_secs(seconds), parse);
            ((*text).clone(), reads)
        };
        assert_eq!(at(0), (String::new(), 1));
        fs::write(&file, "one").unwrap();
        assert_eq!(at(4), (String::new(), 1), "not looked after yet");
        assert_eq!(at(5), ("one".to_owned(), 2));
        assert_eq!(at(10), ("one".to_owned(), 2), "not changed");
        fs::write(&file, "three").unwrap();
        assert_eq!(at(15), ("three".to_owned(), 3));
        fs::write(folder.path().join("other"), b"\xff3\xff").unwrap();
        fs::rename(folder.path().join("other"), &file).unwrap();
        assert_eq!(at(20), ("\u{fffd}3\u{fffd}".to_owned(), 4));
        fs::remove_file(&file).unwrap();
        assert_eq!(at(25), (String::new(), 5));
        std::os::unix::fs::symlink("/dev/null", &file).unwrap();
        assert_eq!(at(30).0, "");
        fs::remove_file(&file).unwrap();
        fs::File::create(&file).unwrap().set_len((64 << 20) + 1).unwrap();
        assert_eq!(at(35).0, "", "what is too large stays what it was");
    }
}
