//! Where we listen: addresses, and sockets that systemd hands over; and the connections that come from there.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tracing::debug;

use crate::net::sys;

/// The flag that says where the exporter listens.
pub const LISTEN_FLAG: &str = "--web.listen-address";

/// A socket that connections come from.
#[derive(Debug)]
pub enum Listener {
    /// Of TCP.
    Tcp(TcpListener),
    /// Of this host, as systemd may hand it over.
    Unix(UnixListener),
}

/// A connection of a client.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Listens on `host:port`, which `flag` names; without a host on all interfaces, by one socket for both families where there are both.
///
/// # Errors
/// As `bind(2)`, with the address; an address without a port.
pub fn listen(address: &str, flag: &str) -> io::Result<std::net::TcpListener> {
    let explain =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address:?} ({flag}): {error}"));
    let (host, port) = split(address).map_err(explain)?;
    let bound = match host {
        "" => match std::net::TcpListener::bind(("::", port)) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
                std::net::TcpListener::bind(("0.0.0.0", port))
            }
            bound => bound,
        },
        host => (host, port).to_socket_addrs().and_then(|addresses| {
            let addresses: Vec<SocketAddr> = addresses.collect();
            std::net::TcpListener::bind(addresses.as_slice())
        }),
    };
    let listener = bound.map_err(explain)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Host and port of `host:port`, `[address]:port` or `:port`.
fn split(address: &str) -> io::Result<(&str, u16)> {
    let wrong = |message: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    if address.starts_with("vsock://") {
        return wrong(
            "sockets between virtual machines (vsock) are not supported; listen on an address of the network",
        );
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return wrong("it has no port; write host:port, [address]:port or :port");
    };
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']'),
        None => Some(host).filter(|host| !host.contains(':')),
    };
    match (bare, port.parse()) {
        (Some(host), Ok(port)) => Ok((host, port)),
        (None, _) => wrong("an IPv6 address stands in brackets: [::1]:9115"),
        (_, Err(_)) => wrong("the port is a number from 0 to 65535"),
    }
}

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START` of `sd_listen_fds(3)`).
const FIRST_HANDED_OVER: i32 = 3;

/// The sockets that systemd hands over, as `sd_listen_fds(3)` says.
///
/// # Errors
/// Nothing was handed over, or not to us; a descriptor that is no listening stream socket of TCP or of this host.
pub fn handed_over() -> io::Result<Vec<Listener>> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    let wrong = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
    let (pid, count) = (number("LISTEN_PID"), number("LISTEN_FDS"));
    let count = match (pid, count) {
        (Some(pid), Some(count)) if u32::try_from(pid).ok() == Some(std::process::id()) && count > 0 => count,
        (Some(pid), Some(count)) if count > 0 => {
            return Err(wrong(format!(
                "--web.systemd-socket: the sockets are handed over to process {pid} (LISTEN_PID), and this is {}",
                std::process::id()
            )));
        }
        _ => {
            return Err(wrong(
                "--web.systemd-socket: no socket was handed over (LISTEN_PID and LISTEN_FDS of sd_listen_fds(3)); \
                 start the .socket unit, or use --web.listen-address"
                    .to_owned(),
            ));
        }
    };
    let numbers = FIRST_HANDED_OVER..FIRST_HANDED_OVER.saturating_add(count);
    numbers
        .map(|number| {
            listener(number).map_err(|error| {
                io::Error::new(error.kind(), format!("--web.systemd-socket: descriptor {number}: {error}"))
            })
        })
        .collect()
}

/// The listener of a descriptor.
fn listener(number: i32) -> io::Result<Listener> {
    let wrong = |message: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    let socket = Socket::from(sys::duplicate(number)?);
    if socket.r#type()? != Type::STREAM {
        return wrong("it is no stream socket (ListenStream= of systemd.socket(5))");
    }
    if !socket.is_listener()? {
        return wrong("it does not listen; the .socket unit needs Accept=no");
    }
    socket.set_nonblocking(true)?;
    match socket.domain()? {
        Domain::IPV4 | Domain::IPV6 => Ok(Listener::Tcp(TcpListener::from_std(socket.into())?)),
        Domain::UNIX => Ok(Listener::Unix(UnixListener::from_std(OwnedFd::from(socket).into())?)),
        _ => wrong("it is neither of TCP nor of this host (AF_INET, AF_INET6, AF_UNIX)"),
    }
}

impl Listener {
    /// The next connection.
    pub(super) fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(context).map_ok(|(stream, _)| {
                if let Err(error) = stream.set_nodelay(true) {
                    debug!("TCP_NODELAY: {error}");
                }
                Stream::Tcp(stream)
            }),
            Self::Unix(listener) => listener.poll_accept(context).map_ok(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// Where it listens, for a person.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(error) => error.fmt(f),
            },
            Self::Unix(listener) => {
                match listener.local_addr().ok().and_then(|address| Some(address.as_pathname()?.to_owned())) {
                    Some(path) => path.display().fmt(f),
                    None => f.write_str("a socket without a path"),
                }
            }
        }
    }
}

impl Stream {
    /// The first byte that the client says, which stays to be read; nothing where it ends without a word.
    ///
    /// # Errors
    /// As `recvmsg(2)`.
    pub(super) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let received = match self {
            Self::Tcp(stream) => {
                stream.async_io(Interest::READABLE, || sys::receive(stream, &mut byte, libc::MSG_PEEK)).await?
            }
            Self::Unix(stream) => {
                stream.async_io(Interest::READABLE, || sys::receive(stream, &mut byte, libc::MSG_PEEK)).await?
            }
        };
        Ok((received.len == 1).then_some(byte[0]))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_or_none_and_a_port() {
        let cases = [
            (":9115", Ok(("", 9115))),
            ("localhost:0", Ok(("localhost", 0))),
            ("192.0.2.1:65535", Ok(("192.0.2.1", 65535))),
            ("[::]:9115", Ok(("::", 9115))),
            ("[fe80::1%lo]:9115", Ok(("fe80::1%lo", 9115))),
            ("9115", Err("it has no port; write host:port, [address]:port or :port")),
            ("", Err("it has no port; write host:port, [address]:port or :port")),
            ("::1", Err("an IPv6 address stands in brackets: [::1]:9115")),
            ("[::1:9115", Err("an IPv6 address stands in brackets: [::1]:9115")),
            ("[::1]", Err("an IPv6 address stands in brackets: [::1]:9115")),
            ("localhost:http", Err("the port is a number from 0 to 65535")),
            (":65536", Err("the port is a number from 0 to 65535")),
            (":", Err("the port is a number from 0 to 65535")),
        ];
        for (address, expected) in cases {
            let found = split(address).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{address}");
        }
        assert!(split("vsock://:9115").unwrap_err().to_string().contains("vsock"));
    }
}
