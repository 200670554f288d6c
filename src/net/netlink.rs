//! The little of rtnetlink (`rtnetlink(7)`) that a probe's host is asked by: its routes, its links.

use std::fmt;
use std::io::{self, Read as _};
use std::net::IpAddr;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Family, Source, sys};

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

impl fmt::Display for Device<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => write!(f, "number {index}"),
        }
    }
}

/// What the kernel tells of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// The largest packet that it takes, in bytes.
    pub(crate) mtu: u32,
    /// Whether it is up and has a carrier.
    pub(crate) running: bool,
    /// Whether anything is behind it: not with loopback, nor with a dummy that only has addresses.
    pub(crate) leads_somewhere: bool,
    /// The index of the device that it is enslaved to: a VRF, a bridge.
    pub(crate) master: Option<u32>,
}

/// What the way of a packet may depend on, beside the source that it is sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heading {
    /// Where it goes.
    pub destination: IpAddr,
    /// The IP protocol number; nothing asks for any.
    pub protocol: Option<u8>,
    /// Our port (0 where it is not known yet) and the destination's, as far as the kernel knows them when it chooses the way: of what a raw
    /// socket sends, it does not.
    pub ports: Option<(u16, u16)>,
}

impl Heading {
    /// Whatever goes to a destination.
    pub(crate) fn to(destination: IpAddr) -> Self {
        Self { destination, protocol: None, ports: None }
    }
}

/// Where packets go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextHop {
    /// The index of the device that they leave by.
    pub(crate) device: u32,
    /// The router that they are handed to; nothing where the destination is next door.
    pub(crate) gateway: Option<IpAddr>,
    /// The address that they are sent from where their socket names none.
    pub(crate) source: Option<IpAddr>,
}

impl Netlink {
    #[expect(clippy::disallowed_methods, reason = "a netlink socket talks to the kernel, not to a network")]
    pub(crate) fn open() -> io::Result<Self> {
        let socket = Socket::new(
            Domain::from(libc::AF_NETLINK),
            Type::RAW.cloexec(),
            Some(Protocol::from(libc::NETLINK_ROUTE)),
        )?;
        // The kernel answers before a request is sent: there is nothing to wait for.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The index of a device, which costs less than [`Netlink::link`] and waits for nobody who changes devices.
    pub(crate) fn index(&self, device: &str) -> io::Result<u32> {
        sys::device_index(&self.socket, device)
    }

    /// The name of a device, likewise.
    pub(crate) fn name(&self, device: u32) -> io::Result<String> {
        sys::device_name(&self.socket, device)
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
        let answer = self.ask(message, || format!("looking up the device {device}"))?;
        parse_link(&answer)
            .ok_or_else(|| io::Error::other(format!("looking up the device {device}: the kernel gave none")))
    }

    /// The next hop of packets from a source.
    pub(crate) fn route(&mut self, source: &Source, heading: &Heading) -> io::Result<NextHop> {
        let nowhere = || io::Error::other(format!("asking for the route to {}: it has no device", heading.destination));
        self.next_hop(source, heading, 0)?.ok_or_else(nowhere)
    }

    /// The next hop that the route of packets from a source has, where it has one only, so that nothing is left to choose: several stand in
    /// an attribute of their own, or nowhere (`net.ipv4.nexthop_compat_mode`).
    pub(crate) fn single(&mut self, source: &Source, heading: &Heading) -> io::Result<Option<NextHop>> {
        self.next_hop(source, heading, RTM_F_FIB_MATCH)
    }

    fn next_hop(&mut self, source: &Source, heading: &Heading, flags: u32) -> io::Result<Option<NextHop>> {
        let device = source.interface.as_deref().map(|interface| self.index(interface)).transpose()?;
        let answer = self.ask_route(source, device, heading, flags)?;
        if flags == RTM_F_FIB_MATCH && is_local(&answer) {
            // What goes to this host itself leaves by loopback, and not by the device that has the address.
            return self.next_hop(source, heading, 0);
        }
        let hop = parse_route(&answer);
        match (device, &hop) {
            // Where the question has an address, too, IPv6 does not insist on the device, as it does for a socket that is bound to it
            // (`ip6_route_output_flags`).
            (Some(device), Some(hop)) if hop.device != device && heading.destination.is_ipv6() => {
                let anywhere = Source { v4: None, v6: None, ..source.clone() };
                self.ask_route(&anywhere, Some(device), heading, flags).map(|answer| parse_route(&answer))
            }
            _ => Ok(hop),
        }
    }

    fn ask_route(
        &mut self,
        source: &Source,
        device: Option<u32>,
        heading: &Heading,
        flags: u32,
    ) -> io::Result<Vec<u8>> {
        let message = route_request(source, device, heading, flags);
        self.ask(message, || format!("asking for the route to {}", heading.destination))
    }

    /// The index of the device that an address is on; nothing where it is not this host's.
    pub(crate) fn home(&mut self, address: IpAddr) -> io::Result<Option<u32>> {
        let answer = self.ask_route(&Source::default(), None, &Heading::to(address), RTM_F_FIB_MATCH)?;
        let by_route = parse_route(&answer).filter(|_| is_local(&answer)).map(|hop| hop.device);
        Ok(by_route.or_else(|| device_of(address)))
    }

    /// Whether a rule has packets from a source looked for in another table than those of nobody: then their way was chosen for them.
    pub(crate) fn is_chosen_for(&mut self, source: &Source, destination: IpAddr) -> io::Result<bool> {
        let heading = Heading::to(destination);
        let mut table_of = |source: &Source| {
            self.ask_route(source, None, &heading, RTM_F_FIB_MATCH | RTM_F_LOOKUP_TABLE).map(|answer| table(&answer))
        };
        Ok(table_of(source)? != table_of(&Source::default())?)
    }

    /// Whether an address is this host's own.
    pub(crate) fn is_local(&mut self, address: IpAddr) -> io::Result<bool> {
        let answer = self.ask_route(&Source::default(), None, &Heading::to(address), 0)?;
        Ok(is_local(&answer))
    }

    /// Whether a neighbour was asked for its address (ARP, ND) and has not answered; not where the kernel knows none.
    pub(crate) fn is_unresolved(&mut self, device: u32, neighbour: IpAddr) -> io::Result<bool> {
        // struct ndmsg: the family, and the device from the fifth byte on.
        let mut header = [0; 12];
        header[0] = family(Family::of(neighbour));
        header[4..8].copy_from_slice(&device.to_ne_bytes());
        let mut message = Message::new(libc::RTM_GETNEIGH, 0, &header);
        message.attribute(NDA_DST, &octets(neighbour));
        let answer = match self.ask(message, || format!("asking for the neighbour {neighbour}")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            answer => answer?,
        };
        let state = answer.get(8..10).and_then(|state| state.try_into().ok()).map_or(0, u16::from_ne_bytes);
        Ok(state & (libc::NUD_INCOMPLETE | libc::NUD_FAILED) != 0)
    }

    /// Sends a question, and returns the body of the answer.
    pub(crate) fn ask(&mut self, mut message: Message, what: impl Fn() -> String) -> io::Result<Vec<u8>> {
        message.set_flags(libc::NLM_F_REQUEST);
        self.exchange(message, true).map_err(|error| explain(&error, &what()))
    }

    /// Sends a request for a change, and waits until it is done.
    pub(crate) fn request(&mut self, mut message: Message, what: impl Fn() -> String) -> io::Result<()> {
        message.set_flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK);
        self.exchange(message, false).map(drop).map_err(|error| explain(&error, &what()))
    }

    /// Asks for all that there is of a kind; hands over the body of each.
    pub(crate) fn dump(&mut self, mut message: Message, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        message.set_flags(libc::NLM_F_REQUEST | libc::NLM_F_DUMP);
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&message.finish(self.sequence))?;
        // What the kernel writes at a time, at most (netlink_dump).
        let mut buffer = vec![0; 32 << 10];
        loop {
            let length = (&self.socket).read(&mut buffer)?;
            for (kind, _, content) in messages(&buffer[..length]).filter(|(_, of, _)| *of == self.sequence) {
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => {
                        let code = content.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                        return Err(io::Error::from_raw_os_error(-code));
                    }
                    _ => take(content),
                }
            }
        }
    }

    /// Sends a message; returns the body of the first one that answers it, or nothing for an acknowledgement.
    fn exchange(&mut self, message: Message, has_answer: bool) -> io::Result<Vec<u8>> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&message.finish(self.sequence))?;
        let mut buffer = [0; 8192];
        loop {
            let length = (&self.socket).read(&mut buffer)?;
            // What is of an earlier request that failed in between is passed over.
            for (kind, _, content) in messages(&buffer[..length]).filter(|(_, of, _)| *of == self.sequence) {
                let is_status = i32::from(kind) == libc::NLMSG_ERROR;
                let code = content.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                match (is_status, code) {
                    (true, 0) => return Ok(Vec::new()),
                    (true, code) => return Err(io::Error::from_raw_os_error(-code)),
                    (false, _) if has_answer => return Ok(content.to_vec()),
                    (false, _) => {}
                }
            }
        }
    }
}

fn explain(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
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
    let has = |flags: u32, wanted: i32| flags & wanted as u32 == wanted as u32;
    let flags = number(8)?;
    let of = |wanted| attributes(answer.get(16..).unwrap_or_default()).find(|(kind, _)| *kind == wanted);
    let (_, name) = of(libc::IFLA_IFNAME)?;
    Some(Link {
        index: number(4)?,
        name: String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned(),
        mtu: of(libc::IFLA_MTU).and_then(|(_, mtu)| mtu.try_into().ok()).map(u32::from_ne_bytes)?,
        running: has(flags, libc::IFF_UP | libc::IFF_RUNNING),
        // A tunnel's neighbours have no addresses to ask for, either.
        leads_somewhere: !has(flags, libc::IFF_LOOPBACK)
            && (!has(flags, libc::IFF_NOARP) || has(flags, libc::IFF_POINTOPOINT)),
        master: of(libc::IFLA_MASTER).and_then(|(_, index)| index.try_into().ok()).map(u32::from_ne_bytes),
    })
}

fn route_request(source: &Source, device: Option<u32>, heading: &Heading, flags: u32) -> Message {
    let address = source.address(Family::of(heading.destination));
    let mut message = Message::new(libc::RTM_GETROUTE, 0, &route_header(heading.destination, address, flags));
    message.attribute(libc::RTA_DST, &octets(heading.destination));
    if let Some(address) = address {
        message.attribute(libc::RTA_SRC, &octets(address));
    }
    if let Some(mark) = source.mark {
        message.attribute(libc::RTA_MARK, &mark.to_ne_bytes());
    }
    if let Some(device) = device {
        message.attribute(libc::RTA_OIF, &device.to_ne_bytes());
    }
    if let Some(protocol) = heading.protocol {
        message.attribute(RTA_IP_PROTO, &[protocol]);
    }
    if let Some((local, remote)) = heading.ports {
        message.attribute(RTA_SPORT, &local.to_be_bytes());
        message.attribute(RTA_DPORT, &remote.to_be_bytes());
    }
    message
}

/// `struct rtmsg` of a question for a way.
fn route_header(destination: IpAddr, source: Option<IpAddr>, flags: u32) -> [u8; 12] {
    let bits = |address: IpAddr| octets(address).len() as u8 * 8;
    let mut header = [0; 12];
    header[0] = family(Family::of(destination));
    header[1] = bits(destination);
    header[2] = source.map_or(0, bits);
    header[8..].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// The index of the device that has an address of IPv6, also where that is down and keeps its addresses (`keep_addr_on_down`), of which
/// the routes then say nothing.
fn device_of(address: IpAddr) -> Option<u32> {
    let IpAddr::V6(address) = address else { return None };
    let digits = format!("{:032x}", u128::from(address));
    let addresses = std::fs::read_to_string("/proc/thread-self/net/if_inet6").ok()?;
    let mut lines = addresses.lines().filter_map(|line| line.strip_prefix(&digits));
    let index = lines.next()?.split_ascii_whitespace().next()?;
    u32::from_str_radix(index, 16).ok()
}

/// The table that a route is in.
fn table(answer: &[u8]) -> Option<u32> {
    // Behind struct rtmsg, which has room for small numbers only.
    let of = attributes(answer.get(12..).unwrap_or_default()).find(|(kind, _)| *kind == libc::RTA_TABLE);
    of.and_then(|(_, table)| table.try_into().ok()).map(u32::from_ne_bytes)
}

/// Whether a route leads to this host itself.
fn is_local(answer: &[u8]) -> bool {
    // struct rtmsg: the type is its eighth byte.
    answer.get(7) == Some(&libc::RTN_LOCAL)
}

fn parse_route(answer: &[u8]) -> Option<NextHop> {
    // Behind struct rtmsg.
    let of = |wanted| attributes(answer.get(12..).unwrap_or_default()).find(|(kind, _)| *kind == wanted);
    let value = |wanted| of(wanted).map(|(_, value)| value);
    // struct rtvia: a gateway of the other family, behind the family's two bytes.
    let via = || value(libc::RTA_VIA)?.get(2..).and_then(address);
    Some(NextHop {
        device: u32::from_ne_bytes(value(libc::RTA_OIF)?.try_into().ok()?),
        gateway: value(libc::RTA_GATEWAY).and_then(address).or_else(via),
        source: value(libc::RTA_PREFSRC).and_then(address),
    })
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
        let mut bytes = Vec::with_capacity(128);
        bytes.resize(HEADER, 0);
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(header);
        let mut message = Self { bytes };
        message.set_flags(flags);
        message
    }

    /// Sets flags beside those that are set.
    fn set_flags(&mut self, flags: i32) {
        let [low, high] = (flags as u16).to_ne_bytes();
        self.bytes[6] |= low;
        self.bytes[7] |= high;
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

// linux/neighbour.h and linux/rtnetlink.h, which the libc crate has in part.
const NDA_DST: u16 = 1;
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTA_IP_PROTO: u16 = 27;
const RTA_SPORT: u16 = 28;
const RTA_DPORT: u16 = 29;

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
            assert!(netlink.is_local(address).unwrap());
            let hop = NextHop { device: lo.index, gateway: None, source: Some(address) };
            for ports in [None, Some((40_000, 443))] {
                let heading = Heading { destination: address, protocol: Some(libc::IPPROTO_TCP as u8), ports };
                assert_eq!(netlink.route(&source, &heading).unwrap(), hop);
            }
        }
        assert_eq!((netlink.index("lo").unwrap(), netlink.name(lo.index).unwrap().as_str()), (lo.index, "lo"));
        assert_eq!(netlink.link(Device::Index(lo.index)).unwrap(), lo);
        assert!(lo.running && !lo.leads_somewhere && lo.mtu > 1500);
        for address in ["127.0.0.1", "::1"] {
            assert_eq!(netlink.home(address.parse().unwrap()).unwrap(), Some(lo.index));
        }
        let error = netlink.link(Device::Name("none0")).unwrap_err();
        assert!(error.to_string().starts_with("looking up the device none0: "), "{error}");
    }
}
