//! Connections to sockets of this host (`unix(7)`). There is no network beneath them, and so no source.

use std::io;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::sleep;

/// The kernel does not say when a listener has room again.
const AGAIN: Duration = Duration::from_millis(5);

/// Connects to a socket by its path, or by its abstract name, which begins with `@`. Waits while the listener's queue is full.
///
/// # Errors
/// As `connect(2)`.
#[expect(clippy::disallowed_methods, reason = "the one place where such sockets are made")]
pub async fn connect(name: &str) -> io::Result<UnixStream> {
    let path = match name.strip_prefix('@') {
        Some(name) => format!("\0{name}"),
        None => name.to_owned(),
    };
    loop {
        match UnixStream::connect(&path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(AGAIN).await,
            result => return result,
        }
    }
}
