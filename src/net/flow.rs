//! The flow of a connection beyond its end: routers that spread flows over several paths look at its addresses and ports, and those of a later
//! trace must be the same.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::filter::Filter;
use super::linger::{Lingering, read_on};
use super::ports::Port;
use super::{Family, Source, strays, tcp};

/// What carries a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// Datagrams.
    Udp,
}

/// How long the peer is given to end a connection that was a success.
const FAREWELL: Duration = Duration::from_millis(100);

/// A flow, and what keeps its port while it is used.
#[derive(Debug)]
pub struct Held {
    source: Source,
    local: SocketAddr,
    remote: SocketAddr,
    by: By,
}

/// What keeps a port.
#[derive(Debug)]
enum By {
    /// A connection.
    Connection(Box<Lingering<Socket>>),
    /// Nothing any more.
    Nothing,
    /// A socket for datagrams.
    Datagrams(Socket),
    /// The port itself.
    Port(Arc<Port>),
}

/// A flow whose connection is gone; its port is kept from others as far as that is possible.
#[derive(Debug)]
pub struct Ended {
    pub(super) transport: Transport,
    pub(super) source: Source,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) port: Arc<Port>,
}

impl Held {
    pub(super) fn connection(
        source: &Source,
        local: SocketAddr,
        remote: SocketAddr,
        socket: Lingering<Socket>,
    ) -> Self {
        Self { source: source.clone(), local, remote, by: By::Connection(Box::new(socket)) }
    }

    pub(super) fn port(source: &Source, local: SocketAddr, remote: SocketAddr, port: Arc<Port>) -> Self {
        Self { source: source.clone(), local, remote, by: By::Port(port) }
    }

    /// That of a socket for datagrams, by another descriptor of it.
    pub(super) fn datagrams(source: &Source, remote: SocketAddr, socket: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(socket);
        let local = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("the socket has no address"))?;
        Ok(Self { source: source.clone(), local, remote, by: By::Datagrams(socket) })
    }

    /// Our address and port.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The other end's.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// What carries it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self.by {
            By::Connection(_) | By::Nothing | By::Port(_) => Transport::Tcp,
            By::Datagrams(_) => Transport::Udp,
        }
    }

    /// No longer keeps the connection: who uses it has the last descriptor, and its end is that of the connection.
    pub fn let_go(&mut self) {
        if let By::Connection(connection) = std::mem::replace(&mut self.by, By::Nothing) {
            connection.close();
        }
    }

    /// Ends the connection, where it has not ended, so that the packets of a trace meet none: neither is it harmed by them, nor do they mean
    /// something to it. It is reset; before that, where it was a `success`, both ends are given the time to close it.
    ///
    /// A connection that is still being made is given up without a word. From then on something that says nothing (`tcp::guard`) keeps its port,
    /// so that the kernel answers nothing by itself where it would do so by another way.
    ///
    /// # Errors
    /// That nothing can keep the port, where something must.
    pub async fn end(self, success: bool) -> io::Result<Ended> {
        let transport = self.transport();
        let Self { source, local, remote, by } = self;
        let ended = |port| Ended { transport, source: source.clone(), local, remote, port };
        let guard = match by {
            By::Port(port) => return Ok(ended(port)),
            By::Datagrams(socket) => {
                Filter::Nothing.attach(&socket, Family::of(local.ip()))?;
                Ok(socket)
            }
            By::Connection(connection) => {
                // Before the connection is gone: what comes in between is taken, too.
                let guard = tcp::guard(local);
                if success && connection.peer_addr().is_ok() {
                    // One that cannot be closed is reset.
                    let _ = timeout(FAREWELL, farewell(&connection)).await;
                }
                connection.set_linger(Some(Duration::ZERO))?;
                connection.close();
                guard
            }
            By::Nothing => tcp::guard(local),
        };
        let socket = match guard {
            Ok(socket) => Some(socket),
            // Others have the port, for other peers. What the kernel says for it leaves the same way.
            Err(_) if !strays::leave_another_way(&source, local.ip(), remote.ip()) => None,
            Err(error) => return Err(error),
        };
        Ok(ended(Arc::new(Port::of_connection(local.port(), socket))))
    }
}

/// Ends a connection from our side, and waits for the peer to do so.
async fn farewell(connection: &Socket) -> io::Result<()> {
    let mut stream = TcpStream::from_std(connection.as_fd().try_clone_to_owned()?.into())?;
    connection.shutdown(std::net::Shutdown::Write)?;
    read_on(&mut stream).await.map(drop)
}
