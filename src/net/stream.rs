//! A TCP connection that tells when its bytes really came.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::linger::Lingering;
use super::{clock, sys};

/// Who is told what happens on a connection, and when.
pub trait Observer {
    /// Something left at `at`, with so many bytes of data.
    fn sent(&self, at: Instant, bytes: usize);
    /// Something, or the end, arrived at `at`, with so many bytes of data: by the kernel's stamp, which may lie well before now.
    fn received(&self, at: Instant, bytes: usize);
    /// There is nothing to read at `now`.
    fn waiting(&self, now: Instant);
}

/// A connection whose reads carry the kernel's stamps of arrival to an observer.
#[derive(Debug)]
pub struct Stream<O> {
    tcp: Lingering<TcpStream>,
    observer: O,
}

impl<O> Stream<O> {
    /// Watches a connection. Its socket stamps what it receives, as [`super::tcp::connect`] prepares it; without
    /// stamps the time of the read counts.
    pub fn new(tcp: Lingering<TcpStream>, observer: O) -> Self {
        Self { tcp, observer }
    }

    /// The connection itself.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The connection's own address and port.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl<O: Observer + Unpin> AsyncRead for Stream<O> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let Poll::Ready(ready) = self.tcp.poll_read_ready(cx) else {
                self.observer.waiting(Instant::now());
                return Poll::Pending;
            };
            ready?;
            let unfilled = buffer.initialize_unfilled();
            match self.tcp.try_io(Interest::READABLE, || sys::receive(&*self.tcp, unfilled, 0)) {
                Ok(received) => {
                    let at = received.stamp.map_or_else(Instant::now, clock::instant_of);
                    self.observer.received(at, received.len);
                    buffer.advance(received.len);
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
        let written = ready!(Pin::new(&mut *self.tcp).poll_write(cx, bytes));
        if let Ok(bytes) = written {
            self.observer.sent(before, bytes);
        }
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let before = Instant::now();
        let written = ready!(Pin::new(&mut *self.tcp).poll_write_vectored(cx, parts));
        if let Ok(bytes) = written {
            self.observer.sent(before, bytes);
        }
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.tcp).poll_shutdown(cx)
    }
}
