//! Socket options that every kind of socket wants alike.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use super::Family;
use super::sys::{self, ExtendedError, Origin};

/// Whether ICMP errors are queued with their type, code and sender (`IP_RECVERR`, `ip(7)`).
///
/// # Errors
/// As `setsockopt(2)`.
pub fn report_icmp(socket: &impl AsRawFd, family: Family, on: bool) -> io::Result<()> {
    let (level, name) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_RECVERR),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    sys::set_option(socket, level, name, on.into())
}

/// Has the kernel say on which device each packet arrived (`IP_PKTINFO` of `ip(7)`, `IPV6_RECVPKTINFO` of `ipv6(7)`).
///
/// # Errors
/// As `setsockopt(2)`.
pub fn report_device(socket: &impl AsRawFd, family: Family) -> io::Result<()> {
    let (level, name) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    sys::set_option(socket, level, name, 1)
}

/// Has the kernel neither heed nor learn the MTU of paths by a socket, whose packets may be split (`IP_MTU_DISCOVER` of `ip(7)`).
///
/// # Errors
/// As `setsockopt(2)`.
pub fn learn_no_mtu(socket: &impl AsRawFd, family: Family) -> io::Result<()> {
    let (level, name, value) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT),
    };
    sys::set_option(socket, level, name, value)
}

/// Has the kernel stamp what arrives (`SO_TIMESTAMPING`, the kernel's `timestamping.rst`).
///
/// # Errors
/// As `setsockopt(2)`.
pub fn stamp_arrivals(socket: &impl AsRawFd) -> io::Result<()> {
    let stamps = libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
    sys::set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, stamps.cast_signed())
}

/// Has the kernel stamp what leaves, too: the stamps come by the error queue.
///
/// # Errors
/// As `setsockopt(2)`.
pub fn stamp_departures(socket: &impl AsRawFd) -> io::Result<()> {
    let stamps = libc::SOF_TIMESTAMPING_RX_SOFTWARE
        | libc::SOF_TIMESTAMPING_TX_SOFTWARE
        | libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_OPT_TSONLY;
    sys::set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, stamps.cast_signed())
}

/// The first entry of a socket's error queue that speaks of a failure.
fn evidence(socket: &impl AsRawFd) -> Option<ExtendedError> {
    // The queue holds the start of the failed packet beside the error; nothing in it is needed.
    let mut packet = [0; 128];
    while let Ok(received) = sys::receive(socket, &mut packet, libc::MSG_ERRQUEUE) {
        let error = received.error.filter(|error| error.origin != Origin::Timestamping);
        if error.is_some() {
            return error;
        }
    }
    None
}

/// What the error queue says first of a failure, for a socket that sends from `local` to `destination`. A message from ourselves about a packet to another host has
/// [`Origin::Local`]: it is of our own neighbour discovery, or our own firewall.
#[must_use]
pub fn evidence_towards(
    socket: &impl AsRawFd,
    local: Option<SocketAddr>,
    destination: SocketAddr,
) -> Option<ExtendedError> {
    let evidence = evidence(socket)?;
    let local = local.map(|local| local.ip()).filter(|ip| *ip != destination.ip());
    match evidence.offender {
        Some(_) if evidence.offender == local => Some(ExtendedError { origin: Origin::Local, ..evidence }),
        _ => Some(evidence),
    }
}
