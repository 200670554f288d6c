//! The little of rtnetlink (`rtnetlink(7)`) that a probe's host is asked by: its routes, its links.

use std::io::{self, Read as _};
use std::net::IpAddr;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Family, Source};

/// Speaks with the kernel about the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// A network device, by its name or its index.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Device<'a> {
    Name(&'a str),
    Index(u32),
}

/// What the kernel tells of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Whether it is up and has a carrier.
    pub(crate) running: bool,
}

/// Where packets go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextHop {
    /// The index of the device that they leave by.
    pub(crate) device: u32,
    /// The gateway, or the destination itself.
    pub(crate) neighbour: IpAddr,
}

impl Netlink {
    #[expect(clippy::disallowed_methods, reason = "a netlink socket talks to the kernel, not to a network")]
    pub(crate) fn open() -> io::Result<Self> {
        let socket = Socket::new(
            Domain::from(libc::AF_NETLINK),
            Type::RAW.cloexec(),
            Some(Protocol::from(libc::NETLINK_ROUTE)),
        )?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Looks up a device.
    pub(crate) fn link(&mut self, device: Device<'_>) -> io::Result<Link> {
        let message = match device {
            Device::Index(index) => Message::new(libc::RTM_GETLINK, 0, &link_header(index, 0, 0)),
            Device::Name(name) => {
                let mut message = Message::new(libc::RTM_GETLINK, 0, &link_header(0, 0, 0));
                message.attribute(libc::IFLA_IFNAME, name.as_bytes());
                message
            }
        };
        let answer = self.request(message, || format!("looking up the device {device:?}"))?;
        parse_link(&answer).ok_or_else(|| io::Error::other(format!("looking up {device:?}: the kernel gave no device")))
    }

    /// The way of packets from a source to a destination.
    pub(crate) fn route(&mut self, source: &Source, destination: IpAddr) -> io::Result<NextHop> {
        let Some(interface) = &source.interface else { return self.route_by(source, None, destination) };
        let device = self.link(Device::Name(interface))?.index;
        match self.route_by(source, Some(device), destination) {
            // Where the question has an address, too, IPv6 does not insist on the device, as it does for a socket that is bound to it
            // (`ip6_route_output_flags`).
            Ok(hop) if hop.device != device => {
                self.route_by(&Source { v4: None, v6: None, ..source.clone() }, Some(device), destination)
            }
            hop => hop,
        }
    }

    /// The way by a source's addresses and mark, and a device.
    fn route_by(&mut self, source: &Source, device: Option<u32>, destination: IpAddr) -> io::Result<NextHop> {
        let mut message = route_request(source, destination);
        if let Some(device) = device {
            message.attribute(libc::RTA_OIF, &device.to_ne_bytes());
        }
        let answer = self.request(message, || format!("asking for the route to {destination}"))?;
        // Behind struct rtmsg.
        let value = |wanted| {
            attributes(answer.get(12..).unwrap_or_default()).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
        };
        let device = value(libc::RTA_OIF).and_then(|index| index.try_into().ok()).map(u32::from_ne_bytes);
        let device = device
            .ok_or_else(|| io::Error::other(format!("asking for the route to {destination}: it has no device")))?;
        Ok(NextHop { device, neighbour: value(libc::RTA_GATEWAY).and_then(address).unwrap_or(destination) })
    }

    /// Whether an address is this host's own.
    pub(crate) fn is_local(&mut self, address: IpAddr) -> io::Result<bool> {
        let message = route_request(&Source::default(), address);
        let answer = self.request(message, || format!("asking for the route to {address}"))?;
        // struct rtmsg: the type is its eighth byte.
        Ok(answer.get(7) == Some(&libc::RTN_LOCAL))
    }

    /// Whether a neighbour was asked for its address (ARP, ND) and has not answered. An error where the kernel knows none.
    pub(crate) fn is_unresolved(&mut self, hop: NextHop) -> io::Result<bool> {
        // struct ndmsg: the family, and the device from the fifth byte on.
        let mut header = [0; 12];
        header[0] = family(Family::of(hop.neighbour));
        header[4..8].copy_from_slice(&hop.device.to_ne_bytes());
        let mut message = Message::new(libc::RTM_GETNEIGH, 0, &header);
        message.attribute(NDA_DST, &octets(hop.neighbour));
        let answer = self.request(message, || format!("asking for the neighbour {}", hop.neighbour))?;
        let state = answer.get(8..10).and_then(|state| state.try_into().ok()).map_or(0, u16::from_ne_bytes);
        Ok(state & (libc::NUD_INCOMPLETE | libc::NUD_FAILED) != 0)
    }

    /// Sends a request, and returns the body of what came before the acknowledgement.
    pub(crate) fn request(&mut self, message: Message, what: impl Fn() -> String) -> io::Result<Vec<u8>> {
        let explain = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", what()));
        self.sequence += 1;
        self.socket.send(&message.finish(self.sequence)).map_err(explain)?;
        let mut body = Vec::new();
        loop {
            let mut buffer = [0; 8192];
            let length = (&self.socket).read(&mut buffer).map_err(explain)?;
            for (kind, sequence, content) in messages(&buffer[..length]) {
                if sequence != self.sequence {
                    continue;
                }
                if i32::from(kind) != libc::NLMSG_ERROR {
                    body = content.to_vec();
                    continue;
                }
                let code = content.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                return if code == 0 { Ok(body) } else { Err(explain(io::Error::from_raw_os_error(-code))) };
            }
        }
    }
}

/// `struct ifinfomsg`.
pub(crate) fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

fn parse_link(answer: &[u8]) -> Option<Link> {
    let number = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    let running = (libc::IFF_UP | libc::IFF_RUNNING) as u32;
    let (_, name) = attributes(answer.get(16..)?).find(|(kind, _)| *kind == libc::IFLA_IFNAME)?;
    Some(Link {
        index: number(4)?,
        name: String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned(),
        running: number(8)? & running == running,
    })
}

fn route_request(source: &Source, destination: IpAddr) -> Message {
    let of = Family::of(destination);
    let bits = |address: IpAddr| octets(address).len() as u8 * 8;
    let address = source.address(of);
    // struct rtmsg: the lengths of destination and source are its second and third byte.
    let header =
        [family(of), bits(destination), address.map_or(0, bits), 0, libc::RT_TABLE_UNSPEC, 0, 0, 0, 0, 0, 0, 0];
    let mut message = Message::new(libc::RTM_GETROUTE, 0, &header);
    message.attribute(libc::RTA_DST, &octets(destination));
    if let Some(address) = address {
        message.attribute(libc::RTA_SRC, &octets(address));
    }
    if let Some(mark) = source.mark {
        message.attribute(libc::RTA_MARK, &mark.to_ne_bytes());
    }
    message
}

/// The bytes of an address, as netlink has them.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = |octets: [u8; 4]| IpAddr::from(octets);
    octets.try_into().map(v4).or_else(|_| octets.try_into().map(|octets: [u8; 16]| octets.into())).ok()
}

/// The number of a family, as netlink has it.
pub(crate) fn family(family: Family) -> u8 {
    match family {
        Family::V4 => libc::AF_INET as u8,
        Family::V6 => libc::AF_INET6 as u8,
    }
}

/// A request that is being written: `struct nlmsghdr`, a header of its kind, attributes.
#[derive(Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A request of a kind (`RTM_…`) with flags (`NLM_F_…`) beside the usual, and the header of its kind.
    pub(crate) fn new(kind: u16, flags: i32, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&((flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
        bytes.extend_from_slice(header);
        Self { bytes }
    }

    /// Adds an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The request as it is sent.
    pub(crate) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// The messages of a datagram from the kernel: kind, sequence number, content.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(datagram.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
        let sequence = u32::from_ne_bytes(datagram.get(8..12)?.try_into().ok()?);
        let content = datagram.get(HEADER..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, sequence, content))
    })
}

/// Attributes: kind and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

// linux/neighbour.h, which the libc crate has in part.
const NDA_DST: u16 = 1;

/// The length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_the_length_covers_them() {
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &link_header(0, 1, 1));
        message.attribute(libc::IFLA_IFNAME, b"ispab");
        let bytes = message.finish(9);
        assert_eq!(bytes.len(), 16 + 16 + 4 + 8);
        assert_eq!(messages(&bytes).map(|(kind, sequence, _)| (kind, sequence)).collect::<Vec<_>>(), [(16, 9)]);
        let found: Vec<_> = attributes(&bytes[HEADER + 16..]).collect();
        assert_eq!(found, [(libc::IFLA_IFNAME, b"ispab".as_slice())]);
        assert_eq!(bytes[bytes.len() - 3..], [0, 0, 0]);
    }

    #[test]
    fn a_cut_datagram_ends_the_messages() {
        let bytes = Message::new(libc::RTM_NEWLINK, 0, &[]).finish(1);
        assert_eq!(messages(&bytes[..15]).count(), 0);
        assert_eq!(messages(&[]).count(), 0);
        assert_eq!(attributes(&[8, 0, 1, 0, 9]).count(), 0);
        assert_eq!(parse_link(&[0xa5; 20]), None);
    }

    #[test]
    fn loopback_is_the_way_to_loopback_and_has_a_carrier() {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.link(Device::Name("lo")).unwrap();
        for address in ["127.0.0.1", "::1"] {
            let source = Source { interface: Some("lo".to_owned()), ..Source::default() };
            let address = address.parse().unwrap();
            let hop = NextHop { device: lo.index, neighbour: address };
            assert_eq!(netlink.route(&source, address).unwrap(), hop);
            assert!(netlink.is_local(address).unwrap());
        }
        assert_eq!(netlink.link(Device::Index(lo.index)).unwrap(), lo);
        assert!(lo.running);
        let error = netlink.link(Device::Name("none0")).unwrap_err();
        assert!(error.to_string().starts_with("looking up the device Name(\"none0\"): "), "{error}");
    }
}
