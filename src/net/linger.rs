//! Sockets that outlive the probe that made them, for a moment.
//!
//! What arrives for a socket that is gone is answered by the kernel: with a reset, or with "port unreachable". It routes that answer by its
//! addresses alone (Linux: `ip_send_unicast_reply`, `tcp_v6_send_response`, `icmp_send`), so where only a mark or an interface decides the
//! ISP, it leaves through another. There something stays for 3 seconds that takes what still comes.

use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use socket2::{SockRef, Socket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::{Source, strays, tcp};

/// How long that is: well above any round trip, and above the second after which a SYN-ACK is sent again (RFC 6298).
pub const LINGER: Duration = Duration::from_secs(3);

/// How much is still read of what a peer sends that nobody wants, in bytes, and for how long.
const UNWANTED: usize = 64 << 10;
const UNWANTED_TIME: Duration = Duration::from_millis(1_500);

/// A socket that leaves something behind when it is dropped, where it must.
#[derive(Debug)]
pub struct Lingering<S: Leave> {
    socket: S,
    /// The source that it was made from, where that is more than an address, and where it leads to.
    way: Option<(Source, IpAddr)>,
}

/// A kind of socket that can be left.
pub trait Leave: AsFd {
    /// Our address; nothing where nothing more is to come.
    fn local(&self) -> Option<IpAddr>;

    /// What is still to be done with `socket`, the same one, before it is closed, and after.
    ///
    /// # Errors
    /// Those of its system calls; it is closed then.
    fn leave(socket: OwnedFd) -> impl Future<Output = io::Result<()>> + Send + 'static;
}

impl<S: Leave> Lingering<S> {
    /// Has a socket that was made from a source, and leads to an address, linger where it must.
    pub(super) fn new(socket: S, source: &Source, remote: IpAddr) -> Self {
        Self { socket, way: source.is_steered().then(|| (source.clone(), remote)) }
    }

    /// Has another descriptor of the same socket linger in its place.
    pub(super) fn hand_over<T: Leave>(&mut self, socket: T) -> Lingering<T> {
        Lingering { socket, way: self.way.take() }
    }

    /// Closes it at once: nothing more is to come.
    pub fn close(mut self) {
        self.way = None;
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
        if let Some((source, remote)) = &self.way
            && let Some(local) = self.socket.local()
            && strays::leave_another_way(source, local, *remote)
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
            sleep(LINGER).await;
            drop(what);
        });
    }
}

impl Leave for UdpSocket {
    fn local(&self) -> Option<IpAddr> {
        self.local_addr().ok().map(|local| local.ip())
    }

    /// An answer may still come.
    async fn leave(socket: OwnedFd) -> io::Result<()> {
        let _socket = socket;
        pending().await
    }
}

impl Leave for TcpStream {
    fn local(&self) -> Option<IpAddr> {
        Leave::local(&*SockRef::from(self))
    }

    /// A connection that is still being made is refused once it is there. One that is there is ended from our side, and then from the peer's;
    /// or reset, where the peer goes on. What comes after a reset is taken by a guard.
    async fn leave(socket: OwnedFd) -> io::Result<()> {
        let mut stream = Self::from_std(socket.into())?;
        let guard = stream.local_addr().and_then(tcp::guard);
        if stream.peer_addr().is_err() {
            tcp::refuse(&SockRef::from(&stream))?;
            stream.writable().await?;
        } else {
            stream.shutdown().await?;
            if let Ok(ended) = timeout(UNWANTED_TIME, read_on(&mut stream)).await
                && ended?
            {
                return Ok(());
            }
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
        drop(stream);
        let _guard = guard;
        pending().await
    }
}

/// A TCP socket that nobody waits for.
impl Leave for Socket {
    fn local(&self) -> Option<IpAddr> {
        // A connection that was half opened is to be reset at once.
        let resets = self.linger().is_ok_and(|linger| linger == Some(Duration::ZERO));
        let local = self.local_addr().ok().filter(|_| !resets || self.peer_addr().is_err());
        local.and_then(|local| local.as_socket()).map(|local| local.ip())
    }

    async fn leave(socket: OwnedFd) -> io::Result<()> {
        TcpStream::leave(socket).await
    }
}

/// Reads what nobody wants; whether it came to its end.
pub(super) async fn read_on(stream: &mut TcpStream) -> io::Result<bool> {
    let mut buffer = [0; 1024];
    let mut unwanted = 0;
    while unwanted < UNWANTED {
        match stream.read(&mut buffer).await? {
            0 => return Ok(true),
            more => unwanted += more,
        }
    }
    Ok(false)
}
