//! A connection that tells when its bytes really came.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::coop;

use super::linger::Lingering;
use super::{clock, share, sys};

/// Who is told what happens on a connection, and when.
pub trait Observer {
    /// Something left at `at`, with so many bytes of data.
    fn sent(&self, at: Instant, bytes: usize);
    /// Something, or the end, arrived at `at`, with so many bytes of data: by the kernel's stamp, which may lie well before now.
    fn received(&self, at: Instant, bytes: usize);
    /// There is nothing to read at `now`.
    fn waiting(&self, now: Instant);
}

/// The socket of a connection.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp {
        /// The socket.
        tcp: Lingering<TcpStream>,
        /// Whom it was connected to.
        peer: SocketAddr,
        /// Whether a reset was told already, which then reads as an end.
        was_reset: bool,
    },
    /// A socket of this host's file system (`unix(7)`).
    Unix(UnixStream),
}

/// A connection whose reads carry the time of arrival to an observer: of TCP the kernel's stamps, of a Unix socket, for which the kernel
/// has none, the time of the read.
#[derive(Debug)]
pub struct Stream<O> {
    socket: Socket,
    observer: O,
}

impl<O> Stream<O> {
    /// Watches a connection. A TCP socket stamps what it receives, as [`super::tcp::connect`] prepares it; without
    /// stamps the time of the read counts.
    pub fn new(socket: impl Into<Socket>, observer: O) -> Self {
        Self { socket: socket.into(), observer }
    }

    /// The socket itself.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl From<UnixStream> for Socket {
    fn from(unix: UnixStream) -> Self {
        Self::Unix(unix)
    }
}

impl Socket {
    /// Writes what it takes now.
    ///
    /// # Errors
    /// As `send(2)`.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp { tcp, .. } => tcp.try_write(bytes),
            Self::Unix(unix) => unix.try_write(bytes),
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Self::Tcp { tcp, .. } => Pin::new(&mut **tcp),
            Self::Unix(unix) => Pin::new(unix),
        }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp { tcp, .. } => tcp.poll_read_ready(cx),
            Self::Unix(unix) => unix.poll_read_ready(cx),
        }
    }

    /// Reads what is there: how much, and when it came.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<(usize, Instant)> {
        match self {
            Self::Tcp { tcp, was_reset, .. } => {
                let received = tcp.try_io(Interest::READABLE, || sys::receive(&**tcp, buffer, 0))?;
                if received.len == 0 && *was_reset {
                    return Err(io::Error::from_raw_os_error(libc::ECONNRESET));
                }
                // An end has no stamp, but it acknowledges what was sent.
                let read = || {
                    let info = if received.len == 0 { sys::tcp_info(&**tcp).ok() } else { None };
                    let now = Instant::now();
                    info.map_or(now, |info| info.acknowledged_at(now))
                };
                Ok((received.len, received.stamp.map_or_else(read, clock::instant_of)))
            }
            // A plain read: with room for control data, a peer could pass us descriptors, which nobody would close.
            Self::Unix(unix) => unix.try_read(buffer).map(|length| (length, Instant::now())),
        }
    }
}

impl<O: Observer> Stream<O> {
    fn sent(&self, cx: &mut Context<'_>, at: Instant, written: &io::Result<usize>) {
        if let Ok(bytes) = written {
            self.observer.sent(at, *bytes);
            share::take(cx, *bytes);
        }
    }
}

impl<O: Observer + Unpin> AsyncRead for Stream<O> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let Poll::Ready(ready) = self.socket.poll_read_ready(cx) else {
                // Without a share of this turn nobody knows what there is.
                if coop::has_budget_remaining() {
                    self.observer.waiting(Instant::now());
                }
                return Poll::Pending;
            };
            ready?;
            let unfilled = buffer.initialize_unfilled_to(buffer.remaining().min(share::PIECE));
            match self.socket.try_read(unfilled) {
                Ok((length, at)) => {
                    self.observer.received(at, length);
                    buffer.advance(length);
                    share::take(cx, length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.observer.received(Instant::now(), 0);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl<O: Observer + Unpin> AsyncWrite for Stream<O> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let before = Instant::now();
        let written = ready!(self.socket.writer().poll_write(cx, bytes));
        self.sent(cx, before, &written);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let before = Instant::now();
        let written = ready!(self.socket.writer().poll_write_vectored(cx, parts));
        self.sent(cx, before, &written);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Tcp { tcp, .. } => tcp.is_write_vectored(),
            Socket::Unix(unix) => unix.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.writer().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.writer().poll_shutdown(cx)
    }
}
