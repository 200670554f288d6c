//! Connections of a probe: opened through its ISP, plain or under TLS, timed by its timeline.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::Probe;
pub(super) use super::plain::Plain;
use crate::flight::Phase;
use crate::net::tcp::{self, ConnectError, Connecting, Opening};
use crate::verdict::Failure;

/// What is known of a TCP handshake, however far it got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Handshake {
    /// Our address and port; nothing before a SYN left.
    pub local: Option<SocketAddr>,
    /// The address and port that were connected to; nothing before they were known.
    pub remote: Option<SocketAddr>,
    /// Its round-trip time, by the kernel's clock; nothing where a SYN was sent again.
    pub rtt: Option<Duration>,
    /// SYNs that were sent again.
    pub syn_retransmits: Option<u32>,
}

/// A connection, with or without TLS.
#[derive(Debug)]
pub(super) enum Connection {
    /// Without.
    Plain(Plain),
    /// With.
    Secured(Secured),
}

/// A connection under TLS. Dropping it says goodbye (`close_notify`), as far as that is possible without waiting.
#[derive(Debug)]
pub(super) struct Secured {
    /// What it runs over may be under TLS itself, with a proxy.
    stream: Box<TlsStream<Connection>>,
    certificate_asked: bool,
}

impl Secured {
    /// A finished handshake; `certificate_asked`: whether the server asked for our certificate.
    pub(super) fn new(stream: TlsStream<Connection>, certificate_asked: bool) -> Self {
        Self { stream: Box::new(stream), certificate_asked }
    }
}

impl Connection {
    /// Whether the server asked for our certificate.
    pub(super) fn certificate_asked(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secured(secured) => secured.certificate_asked,
        }
    }
}

impl From<Plain> for Connection {
    fn from(plain: Plain) -> Self {
        Self::Plain(plain)
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let (beneath, tls) = self.stream.get_mut();
        tls.send_close_notify();
        // The peer learns of the end from the FIN anyway; a full send buffer is no reason to stay.
        let _ = tls.write_tls(&mut TryWrite(beneath));
    }
}

/// Writes what the socket takes now.
struct TryWrite<'a>(&'a mut Connection);

impl io::Write for TryWrite<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0 {
            Connection::Plain(plain) => plain.say_goodbye(bytes),
            Connection::Secured(secured) => {
                let (beneath, tls) = secured.stream.get_mut();
                let written = tls.writer().write(bytes)?;
                tls.write_tls(&mut TryWrite(beneath))?;
                Ok(written)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a connection as far as `opening` says. However that ends, also when the probe is cut, `handshake` then holds what is known
/// of it.
///
/// # Errors
/// Why there is none.
pub(super) async fn open(
    probe: &Probe<'_>,
    destination: SocketAddr,
    opening: Opening,
    handshake: &mut Handshake,
) -> Result<Connecting, Failure> {
    handshake.remote = Some(destination);
    let fail = |error| connect_failure(probe, destination, &error);
    let only = probe.will_connect_by(destination)?;
    let is_held = probe.holds_flows();
    let connecting = tcp::connect(probe.source(), destination, opening, is_held, &probe.timeline);
    let mut connecting = connecting.map_err(fail)?;
    handshake.local = connecting.local();
    // With its port, while the SYN is on its way.
    probe.connects_by(only.as_ref(), handshake.local, destination)?;
    if is_held {
        probe.hold(connecting.hold(probe.source()));
    }
    let counted = SynCount { connecting: &connecting, into: &mut handshake.syn_retransmits };
    let info = counted.connecting.established(&probe.timeline).await.map_err(fail)?;
    drop(counted);
    handshake.rtt = info.handshake_rtt();
    probe.note(format_args!(
        "connected to {destination}: the kernel's round trip {} µs, {} SYNs sent again",
        info.rtt.as_micros(),
        info.total_retransmits
    ));
    let syns = 1 + info.total_retransmits;
    if opening == Opening::Half && info.segments_sent.is_some_and(|sent| sent > syns) {
        probe.note(format_args!("this host was too late to reset it: the kernel has completed the handshake"));
    }
    Ok(connecting)
}

/// Opens a whole connection, ready for use, in [`Phase::Connect`]; otherwise as [`open`].
///
/// # Errors
/// Why there is none.
pub(super) async fn connect(
    probe: &Probe<'_>,
    destination: SocketAddr,
    handshake: &mut Handshake,
) -> Result<Plain, Failure> {
    probe.timeline.enter(Phase::Connect);
    probe.talks_to(destination.ip());
    let connecting = open(probe, destination, Opening::Full, handshake).await?;
    let stream = connecting.into_stream().map_err(|error| probe.io_failure("the new connection", &error, None))?;
    probe.timeline.connected();
    Ok(Plain::new(stream, probe))
}

/// Reads the count of SYNs sent again when the wait for an answer ends, whatever ends it.
struct SynCount<'a> {
    connecting: &'a Connecting,
    into: &'a mut Option<u32>,
}

impl Drop for SynCount<'_> {
    fn drop(&mut self) {
        *self.into = self.connecting.info().ok().map(|info| info.total_retransmits);
    }
}

/// What it means that there is no connection.
pub(super) fn connect_failure(probe: &Probe<'_>, destination: SocketAddr, error: &ConnectError) -> Failure {
    let what = format!("connecting to {destination}");
    match error {
        ConnectError::Source(error) => probe.source_failure(error),
        ConnectError::Local(error) => probe.local_failure(&what, error),
        ConnectError::Network { error, evidence } => probe.io_failure(&what, error, evidence.as_ref()),
    }
}

impl AsyncRead for Connection {
    /// The end of a TLS connection without `close_notify` is an end: what was said before it frames itself, or ends here.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Secured(secured) => match Pin::new(secured.stream.as_mut()).poll_read(cx, buffer) {
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                result => result,
            },
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Secured(secured) => Pin::new(secured.stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Secured(secured) => Pin::new(secured.stream.as_mut()).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Secured(secured) => secured.stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secured(secured) => Pin::new(secured.stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secured(secured) => Pin::new(secured.stream.as_mut()).poll_shutdown(cx),
        }
    }
}
