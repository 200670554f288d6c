//! Datagrams of QUIC from a source, by quinn: with the kernel's stamps, and with what the network says against them.

use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ClientConfig, TransportConfig, UdpPoller};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::flow::Held;
use super::linger::Lingering;
use super::stream::Observer;
use super::sys::ExtendedError;
use super::tcp::ConnectError;
use super::tls::Tls;
use super::{Source, SourceError, clock, options, sys, udp};

/// QUIC with a module's TLS; nothing where that leaves no TLS 1.3.
#[must_use]
pub fn client(tls: &Tls) -> Option<ClientConfig> {
    // TLS 1.3 is the only one that QUIC has (RFC 9001, section 4.2).
    if !tls.speaks_tls13() {
        return None;
    }
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(Arc::clone(&tls.config)).ok()?));
    let mut transport = TransportConfig::default();
    // How long silence lasts is the probe's to say.
    transport.max_idle_timeout(None);
    config.transport_config(Arc::new(transport));
    Some(config)
}

/// A socket towards one server, for quinn's endpoint.
pub struct Datagrams<O> {
    socket: Lingering<UdpSocket>,
    peer: SocketAddr,
    observer: O,
    /// The index of the device that the last datagram arrived on; 0 before there was one.
    arrived_on: AtomicU32,
    /// What the last datagram could not be sent for.
    fault: Mutex<Option<io::Error>>,
    faulty: Notify,
}

impl<O> fmt::Debug for Datagrams<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl<O> Datagrams<O> {
    /// Opens it; nothing is sent yet.
    ///
    /// # Errors
    /// Faults of this host only.
    pub fn open(source: &Source, peer: SocketAddr, observer: O) -> Result<Self, SourceError> {
        let socket = udp::connect(source, peer)?;
        let arrived_on = AtomicU32::new(0);
        Ok(Self { socket, peer, observer, arrived_on, fault: Mutex::default(), faulty: Notify::new() })
    }

    /// Who is told what leaves and what comes.
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// Keeps the socket open beside whoever uses it. Nothing has left yet: over IPv6, all that leaves then has the flow label 0.
    ///
    /// # Errors
    /// As of its system calls.
    pub(crate) fn hold(&self, source: &Source) -> io::Result<Held> {
        let socket = self.socket.as_fd().try_clone_to_owned()?;
        if self.peer.is_ipv6() {
            sys::set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_AUTOFLOWLABEL, 0)?;
        }
        Held::datagrams(source, self.peer, socket)
    }

    /// Our address and port.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// The index of the device that the last datagram of the server arrived on; nothing before there was one.
    #[must_use]
    pub fn arrived_on(&self) -> Option<u32> {
        Some(self.arrived_on.load(Ordering::Relaxed)).filter(|device| *device != 0)
    }

    /// Waits until the network, or this host, says that datagrams do not reach the server. That is not to be believed once it has answered
    /// (RFC 9000, section 21.2): anybody can say so.
    pub async fn refused(&self) -> ConnectError {
        let evidence = || options::evidence_towards(&*self.socket, self.local(), self.peer);
        let queued = self.socket.async_io(Interest::ERROR, || evidence().ok_or(ErrorKind::WouldBlock.into()));
        let network = |evidence: ExtendedError| ConnectError::Network {
            error: io::Error::from_raw_os_error(evidence.errno),
            evidence: Some(evidence),
        };
        tokio::select! {
            queued = queued => match queued {
                Ok(evidence) => network(evidence),
                Err(error) => ConnectError::Local(error),
            },
            () = self.faulty.notified() => match (evidence(), self.take_fault()) {
                (Some(evidence), _) => network(evidence),
                (None, Some(error)) => ConnectError::Local(error),
                (None, None) => ConnectError::Local(ErrorKind::Other.into()),
            },
        }
    }

    fn take_fault(&self) -> Option<io::Error> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Waits until the socket takes datagrams again.
struct Poller<O>(Arc<Datagrams<O>>);

impl<O> fmt::Debug for Poller<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<O: Send + Sync + 'static> UdpPoller for Poller<O> {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.socket.poll_send_ready(cx)
    }
}

impl<O: Observer + Send + Sync + 'static> AsyncUdpSocket for Datagrams<O> {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller(self))
    }

    /// A datagram that cannot be sent is a lost one to quinn, which sends its content again; why is kept for [`Datagrams::refused`].
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let before = Instant::now();
        match self.socket.try_send(transmit.contents) {
            Ok(length) => self.observer.sent(before, length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
            Err(error) => {
                *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                self.faulty.notify_one();
            }
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(meta)) = (buffers.first_mut(), meta.first_mut()) else { return Poll::Ready(Ok(0)) };
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            match self.socket.try_io(Interest::READABLE, || sys::receive(&*self.socket, buffer, 0)) {
                Ok(received) => {
                    let at = received.stamp.map_or_else(Instant::now, clock::instant_of);
                    self.observer.received(at, received.len);
                    self.arrived_on.store(received.interface.unwrap_or(0), Ordering::Relaxed);
                    let (addr, len) = (self.peer, received.len);
                    *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // What an earlier datagram met, told once; see `refused`.
                Err(_) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
