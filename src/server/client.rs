//! The client of a connection, beside what hyper does with it.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// A second look at a client's connection.
///
/// hyper sees the end of a connection only where nothing lies before it that it has not asked for, such as a second request or
/// the rest of a body.
#[derive(Debug, Clone)]
pub(super) struct Client(Arc<TcpStream>);

impl Client {
    /// The client of a connection.
    pub(super) fn of(connection: &TcpStream) -> io::Result<Self> {
        let second = std::net::TcpStream::from(connection.as_fd().try_clone_to_owned()?);
        Ok(Self(Arc::new(TcpStream::from_std(second)?)))
    }

    /// Waits until the client has ended its side.
    pub(super) async fn gone(&self) {
        // Whoever is interested in priority data hears of the end too, but not of other data; and such data is not told at all, since
        // the connection was not made known for it.
        if self.0.ready(Interest::PRIORITY).await.is_err() {
            // The runtime shuts down, and everything with it.
            std::future::pending::<()>().await;
        }
    }
}
