//! TCP connections from a source, opened as far as the probe wants them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::Socket;
use tokio::net::TcpStream;

use super::filter::Filter;
use super::flow::Held;
use super::linger::Lingering;
use super::stream::{self, Observer};
use super::sys::{self, ExtendedError, TcpInfo};
use super::{Family, Source, SourceError, options};

/// How far a connection is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// SYN, SYN-ACK, ACK.
    Full,
    /// SYN, SYN-ACK, RST: the peer's `accept()` does not return. Needs no privileges.
    ///
    /// The kernel holds the ACK of the SYN-ACK back, as it does for a program that is about to write (`TCP_QUICKACK` 0 puts
    /// the connection in its "ping-pong" mode, as `TCP_DEFER_ACCEPT` does), for at most 200 ms; dropping the connection
    /// before that resets it (`SO_LINGER` 0).
    Half,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// The socket could not be made from the source: a fault of this host.
    Source(SourceError),
    /// The kernel refused to send a SYN: a fault of this host.
    Local(io::Error),
    /// The SYN left, and this came of it.
    Network {
        /// The error.
        error: io::Error,
        /// What the socket's error queue says about it. An ICMP message that this host sent to itself, because its gateway does not
        /// answer to ARP or ND, has [`Origin::Local`](super::sys::Origin::Local).
        evidence: Option<ExtendedError>,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Local(error) => write!(f, "no SYN could be sent: {error}"),
            Self::Network { error, .. } => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {}

/// A connection that is being made.
#[derive(Debug)]
pub struct Connecting {
    stream: Lingering<TcpStream>,
    destination: SocketAddr,
    local: Option<SocketAddr>,
    started: Instant,
    /// Whether the peer has answered and then reset it, all before anybody looked: the kernel tells that once.
    was_reset: AtomicBool,
}

/// Sends the SYN to `destination`; tells the observer when. `is_held`: whether its flow may go on when it is gone (`Connecting::hold`).
///
/// # Errors
/// Faults of this host only.
pub fn connect(
    source: &Source,
    destination: SocketAddr,
    opening: Opening,
    is_held: bool,
    observer: &impl Observer,
) -> Result<Connecting, ConnectError> {
    let family = Family::of(destination.ip());
    source.check_way(destination.ip()).map_err(ConnectError::Source)?;
    let socket = source.tcp(family, 0).map_err(ConnectError::Source)?;
    prepare(&socket, family, opening).map_err(ConnectError::Source)?;
    if source.is_steered() || is_held {
        share_port(&socket).map_err(ConnectError::Source)?;
    }
    if is_held && family == Family::V6 {
        // Some routers choose a path by the flow label. The kernel's own changes when a segment is sent again, and nobody is told it.
        sys::set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_AUTOFLOWLABEL, 0)
            .map_err(|error| ConnectError::Source(SourceError::Other("IPV6_AUTOFLOWLABEL", error)))?;
    }
    let started = Instant::now();
    observer.sent(started, 0);
    match socket.connect(&destination.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(refused(source, destination, error)),
    }
    let local = socket.local_addr().ok().and_then(|local| local.as_socket());
    // Registered only now: before connect(2) the reactor would see a hang-up.
    let stream = TcpStream::from_std(socket.into())
        .map_err(|error| ConnectError::Source(SourceError::Other("watching the socket", error)))?;
    let stream = Lingering::new(stream, source, destination.ip());
    Ok(Connecting { stream, destination, local, started, was_reset: AtomicBool::new(false) })
}

impl Connecting {
    /// The address and port that the SYN left from, as the kernel tells them.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Keeps the connection open beside whoever uses it, and leaves it in its place.
    ///
    /// # Errors
    /// As of its system calls.
    pub(crate) fn hold(&mut self, source: &Source) -> io::Result<Held> {
        let local = self.local.ok_or_else(|| io::Error::other("the connection has no address"))?;
        let socket = Socket::from(self.stream.as_fd().try_clone_to_owned()?);
        Ok(Held::connection(source, local, self.destination, self.stream.hand_over(socket)))
    }

    /// Waits for the answer to the SYN; tells the observer when it came, by the kernel's measure where it has one.
    ///
    /// # Errors
    /// [`ConnectError::Network`].
    pub async fn established(&self, observer: &impl Observer) -> Result<TcpInfo, ConnectError> {
        let fail = |error| ConnectError::Network { error, evidence: self.evidence() };
        let ready = self.stream.writable().await;
        let now = Instant::now();
        let error = ready.err().or_else(|| self.stream.take_error().unwrap_or_else(Some));
        match error {
            // Of a SYN that is answered with a reset it says that the connection was refused, so there was one, whenever that is seen. What
            // came over it can still be read.
            Some(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
                self.was_reset.store(true, Ordering::Relaxed);
            }
            Some(error) => {
                observer.received(now, 0);
                return Err(fail(error));
            }
            None => {}
        }
        let info = self.info().map_err(fail)?;
        // With a SYN sent again the kernel knows the last round trip only, and the wait is the sum.
        let whole = info.handshake_rtt().filter(|_| info.total_retransmits == 0);
        let arrived = whole.map_or_else(|| info.acknowledged_at(now), |rtt| now.min(self.started + rtt));
        observer.received(arrived, 0);
        Ok(info)
    }

    /// What the kernel knows of the connection so far.
    ///
    /// # Errors
    /// As [`sys::tcp_info`].
    pub fn info(&self) -> io::Result<TcpInfo> {
        sys::tcp_info(&*self.stream)
    }

    /// The established connection.
    ///
    /// An ICMP error must not end it any more (RFC 1122, section 4.2.3.9), as it ends no other program's connection.
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub fn into_stream(self) -> io::Result<stream::Socket> {
        let family = Family::of(self.destination.ip());
        options::report_icmp(&*self.stream, family, false)?;
        let (peer, was_reset) = (self.destination, self.was_reset.into_inner());
        Ok(stream::Socket::Tcp { tcp: self.stream, peer, was_reset })
    }

    /// What the error queue says.
    fn evidence(&self) -> Option<ExtendedError> {
        options::evidence_towards(&*self.stream, self.local, self.destination)
    }
}

/// The longest tick of the kernel's, in which it counts how long ago something came (`CONFIG_HZ` of 100).
const TICK: Duration = Duration::from_millis(10);

impl TcpInfo {
    /// When the last acknowledgement came: the latest moment that the kernel's count of ticks allows, and never after `now`, when it was read. So it is
    /// never too early, and by two ticks too late at most.
    pub(super) fn acknowledged_at(&self, now: Instant) -> Instant {
        now.checked_sub(self.last_acknowledged.saturating_sub(TICK)).unwrap_or(now)
    }

    /// The round-trip time of the handshake, read right after it. Where a SYN was sent again, it is that of the one that was answered, in
    /// whole milliseconds: the timestamps tell (RFC 7323, section 4; `tcp_ack_update_rtt`). Nothing where there are none.
    #[must_use]
    pub fn handshake_rtt(&self) -> Option<Duration> {
        ((self.total_retransmits == 0 || self.has_timestamps) && !self.rtt.is_zero()).then_some(self.rtt)
    }
}

fn prepare(socket: &Socket, family: Family, opening: Opening) -> Result<(), SourceError> {
    let other = |operation| move |error| SourceError::Other(operation, error);
    options::report_icmp(socket, family, true).map_err(other("IP_RECVERR"))?;
    match opening {
        Opening::Full => {
            socket.set_tcp_nodelay(true).map_err(other("TCP_NODELAY"))?;
            options::stamp_arrivals(socket).map_err(other("SO_TIMESTAMPING"))
        }
        Opening::Half => refuse(socket).map_err(other("opening by half")),
    }
}

/// Has a connection that is not there yet be reset once it is there and dropped: see [`Opening::Half`].
pub(super) fn refuse(socket: &Socket) -> io::Result<()> {
    sys::set_option(socket, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 0)?;
    sys::set_option(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1)?;
    socket.set_linger(Some(Duration::ZERO))
}

/// Lets a [`guard`] have the port, too.
fn share_port(socket: &Socket) -> Result<(), SourceError> {
    socket.set_reuse_port(true).map_err(|error| SourceError::Other("SO_REUSEPORT", error))
}

/// Has a socket that is bound take what comes for its port, and say nothing: it listens behind a filter that drops all, and so accepts
/// nothing, either.
///
/// Where filters of TCP need CAP_NET_ADMIN (Linux, since 2026), it is the signatures that it wants which drop all.
///
/// # Errors
/// As of its system calls.
pub(super) fn listen_silently(socket: &Socket, family: Family) -> io::Result<()> {
    match Filter::Nothing.attach(socket, family) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            sys::want_signatures(socket, family.domain().into())?
        }
        result => result?,
    }
    socket.listen(1)
}

/// A socket that takes what comes for the address and port of a connection once that is gone, and [says nothing](listen_silently). Only
/// connections of a steered source, or that were to be held, can have one before they are gone.
///
/// # Errors
/// As of its system calls.
pub(super) fn guard(local: SocketAddr) -> io::Result<Socket> {
    let family = Family::of(local.ip());
    let guard = Source::default().tcp(family, 0).and_then(|guard| share_port(&guard).map(|()| guard));
    let guard = guard.map_err(io::Error::other)?;
    guard.bind(&local.into())?;
    listen_silently(&guard, family)?;
    Ok(guard)
}

/// What it means that connect(2) failed at once. `EADDRNOTAVAIL` is either "no port is left" or "no address of the family".
fn refused(source: &Source, destination: SocketAddr, error: io::Error) -> ConnectError {
    let family = Family::of(destination.ip());
    let no_address = error.raw_os_error() == Some(libc::EADDRNOTAVAIL)
        && source.address(family).is_none()
        && source.address_towards(destination.ip()).is_err();
    if no_address { ConnectError::Source(SourceError::NoneOnThisHost(family)) } else { ConnectError::Local(error) }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::{Arc, Mutex};

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// However late we look, a connection that was there was there, and its end is a reset.
    #[tokio::test]
    async fn a_connection_that_was_reset_before_anybody_looked_was_there() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let unobserved = Unobserved;
        for said in ["", "hi"] {
            let address = listener.local_addr().unwrap();
            let connecting = connect(&Source::default(), address, Opening::Full, false, &unobserved).unwrap();
            let (mut accepted, _) = listener.accept().unwrap();
            std::io::Write::write_all(&mut accepted, said.as_bytes()).unwrap();
            socket2::SockRef::from(&accepted).set_linger(Some(Duration::ZERO)).unwrap();
            drop(accepted);
            connecting.established(&unobserved).await.unwrap();
            let mut stream = stream::Stream::new(connecting.into_stream().unwrap(), unobserved);
            let mut heard = Vec::new();
            let end = stream.read_to_end(&mut heard).await.unwrap_err();
            assert_eq!((heard.as_slice(), end.kind()), (said.as_bytes(), io::ErrorKind::ConnectionReset));
        }
    }

    #[derive(Clone, Copy)]
    struct Unobserved;

    impl Observer for Unobserved {
        fn sent(&self, _: Instant, _: usize) {}
        fn received(&self, _: Instant, _: usize) {}
        fn waiting(&self, _: Instant) {}
    }

    /// Keeps when something was received last.
    #[derive(Clone, Default)]
    struct Last(Arc<Mutex<Option<Instant>>>);

    impl Observer for Last {
        fn sent(&self, _: Instant, _: usize) {}
        fn received(&self, at: Instant, _: usize) {
            *self.0.lock().unwrap() = Some(at);
        }
        fn waiting(&self, _: Instant) {}
    }

    /// However late we look, the end of a connection came when it came.
    #[tokio::test]
    async fn an_end_is_as_old_as_the_kernel_says() {
        for ip in ["127.0.0.1", "::1"] {
            let listener = Source::default().tcp(Family::of(ip.parse().unwrap()), 0).unwrap();
            listener.bind(&SocketAddr::new(ip.parse().unwrap(), 0).into()).unwrap();
            listener.listen(1).unwrap();
            let server = listener.local_addr().unwrap().as_socket().unwrap();
            let last = Last::default();
            let connecting = connect(&Source::default(), server, Opening::Full, false, &last).unwrap();
            connecting.established(&last).await.unwrap();
            let mut stream = stream::Stream::new(connecting.into_stream().unwrap(), last.clone());
            listener.set_nonblocking(false).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            std::thread::sleep(Duration::from_millis(50));
            let ended = Instant::now();
            accepted.shutdown(std::net::Shutdown::Write).unwrap();
            // The program has no turn.
            std::thread::sleep(Duration::from_millis(150));
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
            let told = last.0.lock().unwrap().unwrap();
            assert!(told >= ended && told - ended <= Duration::from_millis(21), "{ended:?} told as {told:?}, on {ip}");
        }
    }

    /// Who listens silently neither accepts nor refuses, by a filter (which may need a capability) or by signatures.
    #[tokio::test]
    async fn a_silent_listener_says_nothing() {
        let wait = Duration::from_millis(300);
        for ip in ["127.0.0.1", "::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let family = Family::of(ip);
            for signed in [false, true] {
                let listener = Source::default().tcp(family, 0).unwrap();
                listener.bind(&SocketAddr::new(ip, 0).into()).unwrap();
                if signed {
                    sys::want_signatures(&listener, family.domain().into()).unwrap();
                    listener.listen(1).unwrap();
                } else {
                    listen_silently(&listener, family).unwrap();
                }
                let address = listener.local_addr().unwrap().as_socket().unwrap();
                let client = Source::default().tcp(family, 0).unwrap();
                let begun = client.connect(&address.into()).unwrap_err();
                assert_eq!(begun.raw_os_error(), Some(libc::EINPROGRESS));
                let client = TcpStream::from_std(client.into()).unwrap();
                let answered = tokio::time::timeout(wait, client.writable()).await;
                assert!(answered.is_err(), "{address}, signed: {signed}: {:?}", client.take_error());
            }
        }
    }
}
