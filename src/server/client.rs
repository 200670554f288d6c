//! The client of a connection, beside what hyper does with it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::net::sys;

/// A second look at a client's connection.
///
/// hyper sees the end of a connection only where nothing lies before it that it has not asked for, such as a second request or
/// the rest of a body.
#[derive(Debug, Clone)]
pub(super) struct Client(Arc<AsyncFd<OwnedFd>>);

impl Client {
    /// The client of a connection.
    pub(super) fn of(connection: &impl AsFd) -> io::Result<Self> {
        Ok(Self(Arc::new(sys::register(connection.as_fd().try_clone_to_owned()?)?)))
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
