//! A plain connection of a probe, and what becomes of the bytes that it is given.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use super::{Probe, SharedTimeline, lock};
use crate::flight::Traffic;
use crate::net::stream::{Observer, Socket, Stream};
use crate::net::sys;

/// What became of the bytes that a connection was given: the evidence where a deadline comes while the peer is waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Nothing was given, or it is too early to tell.
    #[default]
    Unknown,
    /// The peer's host has them all.
    Acknowledged,
    /// The peer's host does not acknowledge them.
    Unacknowledged,
    /// The socket takes no more of them, since the peer does not.
    Blocked,
}

/// The longest that a host may wait before it acknowledges (RFC 1122, section 4.2.3.2), the way not counted.
const LATEST_ACKNOWLEDGEMENT: Duration = Duration::from_millis(500);

/// A plain connection that feeds the probe's timeline; dropped, it leaves the probe its [`Delivery`].
#[derive(Debug)]
pub(super) struct Plain {
    stream: Stream<Watch>,
    /// Whether the last write found no room.
    blocked: bool,
    last_written: Instant,
    /// Where the delivery is told, once; nothing where it is not.
    told: Option<Arc<Mutex<Delivery>>>,
}

impl Plain {
    /// Watches a connection for a probe.
    pub(super) fn new(socket: impl Into<Socket>, probe: &Probe<'_>) -> Self {
        *lock(&probe.delivery) = Delivery::default();
        Self::watched(socket, probe, Some(Arc::clone(&probe.delivery)))
    }

    /// Watches a connection beside the probe's own: its bytes, and what becomes of them, are no part of what that carried.
    pub(super) fn aside(socket: impl Into<Socket>, probe: &Probe<'_>) -> Self {
        Self::watched(socket, probe, None)
    }

    fn watched(socket: impl Into<Socket>, probe: &Probe<'_>, told: Option<Arc<Mutex<Delivery>>>) -> Self {
        let watch = Watch { timeline: probe.timeline.clone(), is_counted: told.is_some() };
        Self { stream: Stream::new(socket, watch), blocked: false, last_written: Instant::now(), told }
    }

    /// The socket itself.
    pub(super) fn socket(&self) -> &Socket {
        self.stream.socket()
    }

    /// Sends what the socket takes of a goodbye, which is no part of what is delivered.
    pub(super) fn say_goodbye(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tell_delivery();
        self.socket().try_write(bytes)
    }

    fn tell_delivery(&mut self) {
        if let Some(told) = self.told.take() {
            // A socket that cannot be asked has no evidence to give.
            *lock(&told) = self.delivery().unwrap_or_default();
        }
    }

    fn delivery(&self) -> io::Result<Delivery> {
        if self.blocked {
            return Ok(Delivery::Blocked);
        }
        // What a Unix socket takes is with the peer.
        let Socket::Tcp { tcp, .. } = self.socket() else { return Ok(Delivery::Acknowledged) };
        if sys::unacknowledged(&**tcp)? == 0 {
            return Ok(Delivery::Acknowledged);
        }
        let in_time = sys::tcp_info(&**tcp)?.rtt + LATEST_ACKNOWLEDGEMENT;
        let late = self.last_written.elapsed() > in_time;
        Ok(if late { Delivery::Unacknowledged } else { Delivery::Unknown })
    }

    fn written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(_) => (self.blocked, self.last_written) = (false, Instant::now()),
            // Without a share of this turn nobody knows whether there is room.
            Poll::Pending => self.blocked |= coop::has_budget_remaining(),
        }
        written
    }
}

/// Feeds the timeline.
#[derive(Debug)]
struct Watch {
    timeline: SharedTimeline,
    /// Whether the bytes count, too.
    is_counted: bool,
}

impl Observer for Watch {
    fn sent(&self, at: Instant, bytes: usize) {
        self.timeline.sent(at);
        if self.is_counted {
            self.timeline.carried(Traffic { sent: bytes as u64, received: 0 });
        }
    }

    fn received(&self, at: Instant, bytes: usize) {
        self.timeline.received(at);
        if self.is_counted {
            self.timeline.carried(Traffic { sent: 0, received: bytes as u64 });
        }
    }

    fn waiting(&self, now: Instant) {
        self.timeline.waiting(now);
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.tell_delivery();
    }
}

impl AsyncRead for Plain {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
