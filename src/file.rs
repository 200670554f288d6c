//! Files, read whole and within bounds.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::net::sys;

/// The most that a file may have, in MiB: the body of a request, say.
const LARGEST: u64 = 64;

/// Reads a regular file. A device or a pipe may never end, or not be there to be read again.
///
/// # Errors
/// Why it cannot be read: also because it is no such file, or has more than any may have.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let (file, metadata) = open(path)?;
    whole(&file, &metadata)
}

/// Reads a regular file, or what comes by a pipe until its last writer closes it; where that takes longer than `patience`, it is an error.
/// What came by a pipe is gone with that.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_or_hear(path: &Path, patience: Option<Duration>) -> io::Result<Vec<u8>> {
    let (file, metadata) = open(path)?;
    if metadata.file_type().is_fifo() { hear(&file, patience) } else { whole(&file, &metadata) }
}

/// Whether a pipe stands there.
pub(crate) fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // The opening of a pipe that nobody writes to would not end.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

fn whole(file: &File, metadata: &Metadata) -> io::Result<Vec<u8>> {
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "it is a folder" } else { "it is a device, a pipe or a socket" };
        return Err(io::Error::other(format!("{what}, and not a regular file")));
    }
    let mut content = Vec::with_capacity(metadata.len().min(LARGEST << 20) as usize);
    // What it says of its size may not be true, as in /proc.
    read_within(file, &mut content)?;
    Ok(content)
}

/// Reads to the end. What was read before an error is in `content`, too.
fn read_within(file: &File, content: &mut Vec<u8>) -> io::Result<()> {
    file.take((LARGEST << 20) + 1 - content.len() as u64).read_to_end(content)?;
    if content.len() as u64 > LARGEST << 20 {
        return Err(io::Error::other(format!("it has more than {LARGEST} MiB, which no file may have")));
    }
    Ok(())
}

fn hear(pipe: &File, patience: Option<Duration>) -> io::Result<Vec<u8>> {
    let (begin, mut content) = (Instant::now(), Vec::new());
    loop {
        let left = patience.map(|patience| patience.saturating_sub(begin.elapsed()));
        // Where nobody has opened it for writing yet, a read would find its end at once; this waits for who does.
        let heard = match sys::wait_readable([pipe.as_fd()], left) {
            Ok([true]) => read_within(pipe, &mut content),
            Ok([false]) => {
                let within = patience.unwrap_or_default().as_secs();
                return Err(io::Error::other(format!("it is a pipe that nobody wrote to the end within {within} s")));
            }
            Err(error) => Err(error),
        };
        match heard {
            Ok(()) if content.is_empty() => {
                return Err(io::Error::other("it is a pipe with nothing in it (what was read once is gone)"));
            }
            Ok(()) => return Ok(content),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::thread;

    use super::*;

    #[test]
    fn what_never_ends_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, large, small] = ["pipe", "large", "small"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let fault = |path: &Path| read(path).unwrap_err().to_string();
        for endless in [Path::new("/dev/zero"), &pipe] {
            assert_eq!(fault(endless), "it is a device, a pipe or a socket, and not a regular file", "{endless:?}");
        }
        assert_eq!(fault(folder.path()), "it is a folder, and not a regular file");
        for (path, size) in [(&large, (LARGEST << 20) + 1), (&small, LARGEST << 20)] {
            File::create(path).unwrap().set_len(size).unwrap();
        }
        assert_eq!(fault(&large), "it has more than 64 MiB, which no file may have");
        assert_eq!(read(&small).map(|content| content.len() as u64).ok(), Some(LARGEST << 20));
        assert!(!read(Path::new("/proc/self/stat")).unwrap().is_empty());
    }

    #[test]
    fn a_pipe_is_heard_to_its_end_and_no_longer_than_patience_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let hear = |patience| read_or_hear(&pipe, patience).map_err(|error| error.to_string());
        let write = |parts: &'static [&'static [u8]]| {
            let pipe = pipe.clone();
            thread::spawn(move || {
                let mut pipe = File::options().write(true).open(pipe).unwrap();
                parts.iter().try_for_each(|part| pipe.write_all(part))
            })
        };
        // More than a pipe holds, so that its reader has to wait for its writer and the other way round.
        static MUCH: [u8; 1 << 20] = [b'#'; 1 << 20];
        static SOME: [&[u8]; 2] = [b"modules:\n", &MUCH];
        let writer = write(&SOME);
        assert_eq!(hear(None).unwrap().len(), SOME.concat().len());
        writer.join().unwrap().unwrap();

        let none = Some(Duration::from_millis(20));
        assert_eq!(hear(none).unwrap_err(), "it is a pipe that nobody wrote to the end within 0 s");
        // Somebody writes, and does not end.
        let held = File::options().read(true).write(true).open(&pipe).unwrap();
        (&held).write_all(b"modules:").unwrap();
        assert_eq!(hear(none).unwrap_err(), "it is a pipe that nobody wrote to the end within 0 s");
        drop(held);

        static ENDLESS: [&[u8]; 65] = [&MUCH; 65];
        let writer = write(&ENDLESS);
        assert_eq!(hear(None).unwrap_err(), "it has more than 64 MiB, which no file may have");
        assert_eq!(writer.join().unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);

        // As a shell hands over `<(…)`, and standard input: what was read is gone.
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"modules: {}").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        assert_eq!(read_or_hear(Path::new(&path), none).unwrap(), b"modules: {}");
        let again = read_or_hear(Path::new(&path), none).unwrap_err().to_string();
        assert_eq!(again, "it is a pipe with nothing in it (what was read once is gone)");
        assert_eq!(
            read_or_hear(Path::new("/dev/zero"), none).unwrap_err().to_string(),
            read(Path::new("/dev/zero")).unwrap_err().to_string()
        );
    }
}
