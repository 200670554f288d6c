//! UDP from a source.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::linger::Lingering;
use super::options::{self, report_device, report_icmp, stamp_arrivals};
use super::sys::{self, Received};
use super::{Family, Source, SourceError, clock};

/// A socket towards `destination` only: it hears nobody else, ICMP errors about its datagrams are queued, and what it
/// receives is stamped, and comes with its device. Whoever has the answer closes it; otherwise it lingers, since the answer may still come.
///
/// # Errors
/// Faults of this host only.
pub fn connect(source: &Source, destination: SocketAddr) -> Result<Lingering<UdpSocket>, SourceError> {
    let other = |operation| move |error: io::Error| SourceError::Other(operation, error);
    let family = Family::of(destination.ip());
    source.check_way(destination.ip())?;
    let socket = source.udp(family, 0)?;
    report_icmp(&socket, family, true).map_err(other("IP_RECVERR"))?;
    stamp_arrivals(&socket).map_err(other("SO_TIMESTAMPING"))?;
    report_device(&socket, family).map_err(other("IP_PKTINFO"))?;
    socket.connect(&destination.into()).map_err(|error| SourceError::of_route(family, error))?;
    let socket = UdpSocket::from_std(socket.into()).map_err(other("watching the socket"))?;
    Ok(Lingering::new(socket, source, destination.ip()))
}

/// Sends a datagram; says when it left, by the kernel's stamp where that is there at once, as it is where no queue is before the device.
///
/// # Errors
/// As `setsockopt(2)` and `send(2)`.
pub async fn send(socket: &UdpSocket, bytes: &[u8]) -> io::Result<Instant> {
    options::stamp_departures(socket)?;
    let before = Instant::now();
    socket.send(bytes).await?;
    // The stamp is the first entry, without the packet: what the network says of it can only come later.
    let stamp = sys::receive(socket, &mut [0; 1], libc::MSG_ERRQUEUE).ok().and_then(|received| received.stamp);
    Ok(stamp.map_or(before, |stamp| clock::instant_of(stamp).max(before)))
}

/// Waits for a datagram, or for an ICMP error about one that was sent.
///
/// # Errors
/// As `recvmsg(2)`; the error queue says more.
pub async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Received> {
    // An ICMP error alone makes a socket ready for its error only.
    socket.async_io(Interest::READABLE | Interest::ERROR, || sys::receive(socket, buffer, 0)).await
}
