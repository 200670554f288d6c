//! UDP from a source.

use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

use super::linger::Lingering;
use super::options::{report_icmp, stamp_arrivals};
use super::{Family, Source, SourceError};

/// A socket towards `destination` only: it hears nobody else, ICMP errors about its datagrams are queued, and what it
/// receives is stamped. Whoever has the answer closes it; otherwise it lingers, since the answer may still come.
///
/// # Errors
/// Faults of this host only.
pub fn connect(source: &Source, destination: SocketAddr) -> Result<Lingering<UdpSocket>, SourceError> {
    let other = |operation| move |error: io::Error| SourceError::Other(operation, error);
    let family = Family::of(destination.ip());
    let socket = source.udp(family, 0)?;
    report_icmp(&socket, family, true).map_err(other("IP_RECVERR"))?;
    stamp_arrivals(&socket).map_err(other("SO_TIMESTAMPING"))?;
    socket.connect(&destination.into()).map_err(other("the route"))?;
    let socket = UdpSocket::from_std(socket.into()).map_err(other("watching the socket"))?;
    Ok(Lingering::new(socket, source, destination.ip()))
}
