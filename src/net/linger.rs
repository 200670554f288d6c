//! Sockets that outlive the probe that made them, for a moment.
//!
//! What arrives for a socket that is gone is answered by the kernel: with a reset, or with "port unreachable". It routes that answer by its
//! addresses alone (Linux: `ip_send_unicast_reply`, `tcp_v6_send_response`, `icmp_send`), so where a mark or an interface decides the ISP,
//! it may leave through another. A socket of such a source therefore stays until the peer is done, though never longer than [`LINGER`].

use std::future::pending;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::{Source, tcp};

/// How long a socket stays, at most: well above any round trip, and above the second after which a SYN-ACK is sent again (RFC 6298).
pub(super) const LINGER: Duration = Duration::from_secs(3);

/// How much is still read of what a peer sends that nobody wants: what a sender may send at first, on a path of usual delay. More stays
/// unread, and a full window stops the peer.
const UNWANTED: usize = 64 << 10;

/// A socket that is left in good order when it is dropped.
#[derive(Debug)]
pub struct Lingering<S: Leave> {
    socket: S,
    /// Whether an answer to it could go astray once it is gone.
    strays: bool,
}

/// A kind of socket that can be left.
pub trait Leave: AsFd {
    /// Whether nothing more is to come, so that it need not stay.
    fn is_over(&self) -> bool;

    /// What is still to be done with `socket`, the same one, before it is closed.
    ///
    /// # Errors
    /// Those of its system calls; it is closed then.
    fn leave(socket: OwnedFd) -> impl Future<Output = io::Result<()>> + Send + 'static;
}

impl<S: Leave> Lingering<S> {
    /// Has a socket that was made from a source linger where it must.
    pub(super) fn new(socket: S, source: &Source) -> Self {
        Self { socket, strays: source.is_steered() }
    }

    /// Closes it at once: nothing more is to come.
    pub fn close(mut self) {
        self.strays = false;
    }
}

impl<S: Leave> Deref for Lingering<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.socket
    }
}

impl<S: Leave> DerefMut for Lingering<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.socket
    }
}

impl<S: Leave> Drop for Lingering<S> {
    fn drop(&mut self) {
        if self.strays
            && !self.socket.is_over()
            && let Ok(runtime) = Handle::try_current()
            && let Ok(socket) = self.socket.as_fd().try_clone_to_owned()
        {
            runtime.spawn(timeout(LINGER, S::leave(socket)));
        }
    }
}

/// Keeps something for [`LINGER`], and drops it then.
pub(super) fn keep<T: Send + 'static>(what: T) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            tokio::time::sleep(LINGER).await;
            drop(what);
        });
    }
}

impl Leave for UdpSocket {
    fn is_over(&self) -> bool {
        false
    }

    /// An answer may still come.
    async fn leave(socket: OwnedFd) -> io::Result<()> {
        let _socket = socket;
        pending().await
    }
}

impl Leave for TcpStream {
    /// A connection that was half opened is to be reset at once, and nothing comes of it.
    fn is_over(&self) -> bool {
        SockRef::from(self).linger().is_ok_and(|linger| linger == Some(Duration::ZERO)) && self.peer_addr().is_ok()
    }

    /// A connection that is still being made is refused once it is there; one that is there is ended from our side, and then from the
    /// peer's.
    async fn leave(socket: OwnedFd) -> io::Result<()> {
        let mut stream = Self::from_std(socket.into())?;
        if stream.peer_addr().is_err() {
            tcp::refuse(&SockRef::from(&stream))?;
            return stream.writable().await;
        }
        stream.shutdown().await?;
        let mut buffer = [0; 1024];
        let mut unwanted = 0;
        while unwanted < UNWANTED {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                more => unwanted += more,
            }
        }
        pending().await
    }
}
