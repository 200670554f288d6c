//! The little of rtnetlink (`rtnetlink(7)`) that the lab needs: links, addresses, routes, rules.

use std::io::{self, Read as _};
use std::net::IpAddr;

use socket2::{Domain, Protocol, Socket, Type};

use crate::net::Family;

/// Configures the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// A default route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) family: Family,
    /// The routing table.
    pub(super) table: u32,
    /// The index of the device; without one nothing can be reached by this route.
    pub(super) device: Option<u32>,
    /// The address that the kernel sends from where the socket does not say.
    pub(super) source: Option<IpAddr>,
    /// The smaller is taken first.
    pub(super) metric: u32,
}

/// Which packets a rule sends to its table.
#[derive(Debug, Clone, Copy)]
pub(super) enum Selector {
    From(IpAddr),
    Mark(Family, u32),
}

/// The main routing table.
pub(super) const MAIN: u32 = libc::RT_TABLE_MAIN as u32;

impl Netlink {
    #[expect(clippy::disallowed_methods, reason = "a netlink socket talks to the kernel, not to a network")]
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(
            Domain::from(libc::AF_NETLINK),
            Type::RAW.cloexec(),
            Some(Protocol::from(libc::NETLINK_ROUTE)),
        )?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Brings a device up or down.
    pub(super) fn set_link(&mut self, name: &str, up: bool) -> io::Result<()> {
        let flags = if up { libc::IFF_UP as u32 } else { 0 };
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &link_header(flags, libc::IFF_UP as u32));
        message.attribute(libc::IFLA_IFNAME, name.as_bytes());
        self.request(message, || format!("setting {name} {}", if up { "up" } else { "down" })).map(drop)
    }

    /// The index of a device.
    pub(super) fn index(&mut self, name: &str) -> io::Result<u32> {
        let mut message = Message::new(libc::RTM_GETLINK, 0, &link_header(0, 0));
        message.attribute(libc::IFLA_IFNAME, name.as_bytes());
        let answer = self.request(message, || format!("looking up {name}"))?;
        // struct ifinfomsg: family, padding, type, then the index.
        answer
            .get(4..8)
            .and_then(|index| index.try_into().ok())
            .map(u32::from_ne_bytes)
            .ok_or_else(|| io::Error::other(format!("looking up {name}: the kernel gave no index")))
    }

    /// Gives a device an address, ready at once: no duplicate address detection.
    pub(super) fn add_address(&mut self, device: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let message = address_message(device, address, prefix);
        self.request(message, || format!("adding the address {address}/{prefix}")).map(drop)
    }

    /// Sets the default route of a table and metric.
    pub(super) fn set_default_route(&mut self, route: Route) -> io::Result<()> {
        self.request(route_message(route), || format!("setting the default route {route:?}")).map(drop)
    }

    /// Adds a rule that sends packets to a table.
    pub(super) fn add_rule(&mut self, selector: Selector, table: u32, priority: u32) -> io::Result<()> {
        let message = rule_message(selector, table, priority);
        self.request(message, || format!("adding the rule {selector:?} to table {table}")).map(drop)
    }

    /// Sends a request, and returns the body of what came before the acknowledgement.
    fn request(&mut self, message: Message, what: impl Fn() -> String) -> io::Result<Vec<u8>> {
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

fn link_header(flags: u32, change: u32) -> [u8; 16] {
    // struct ifinfomsg; index 0, since the name says which.
    let mut header = [0; 16];
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

fn address_message(device: u32, address: IpAddr, prefix: u8) -> Message {
    // struct ifaddrmsg.
    let mut header = [family(Family::of(address)), prefix, libc::IFA_F_NODAD as u8, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&device.to_ne_bytes());
    let mut message = Message::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &header);
    message.attribute(libc::IFA_LOCAL, &octets(address));
    message.attribute(libc::IFA_ADDRESS, &octets(address));
    message
}

fn route_message(route: Route) -> Message {
    let (scope, kind) = match route.device {
        // IPv4 wants to hear that nobody stands between the device and the destination; IPv6 ignores it.
        Some(_) => (libc::RT_SCOPE_LINK, libc::RTN_UNICAST),
        None => (libc::RT_SCOPE_UNIVERSE, libc::RTN_UNREACHABLE),
    };
    // struct rtmsg; the table stands in an attribute, where it has 32 bits.
    let header = [family(route.family), 0, 0, 0, 0, libc::RTPROT_STATIC, scope, kind, 0, 0, 0, 0];
    let mut message = Message::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &header);
    message.attribute(libc::RTA_TABLE, &route.table.to_ne_bytes());
    if let Some(device) = route.device {
        message.attribute(libc::RTA_OIF, &device.to_ne_bytes());
    }
    message.attribute(libc::RTA_PRIORITY, &route.metric.to_ne_bytes());
    if let Some(source) = route.source {
        message.attribute(libc::RTA_PREFSRC, &octets(source));
    }
    message
}

fn rule_message(selector: Selector, table: u32, priority: u32) -> Message {
    let (of, prefix) = match selector {
        Selector::From(address) => (Family::of(address), octets(address).len() as u8 * 8),
        Selector::Mark(family, _) => (family, 0),
    };
    // struct fib_rule_hdr; the source's length is the third byte, the action the eighth.
    let header = [family(of), 0, prefix, 0, 0, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
    let mut message = Message::new(libc::RTM_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &header);
    message.attribute(FRA_TABLE, &table.to_ne_bytes());
    message.attribute(FRA_PRIORITY, &priority.to_ne_bytes());
    match selector {
        Selector::From(address) => message.attribute(FRA_SRC, &octets(address)),
        Selector::Mark(_, mark) => message.attribute(FRA_FWMARK, &mark.to_ne_bytes()),
    }
    message
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn family(family: Family) -> u8 {
    match family {
        Family::V4 => libc::AF_INET as u8,
        Family::V6 => libc::AF_INET6 as u8,
    }
}

/// A request that is being written: `struct nlmsghdr`, a header of its kind, attributes.
#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: i32, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&((flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
        bytes.extend_from_slice(header);
        Self { bytes }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
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

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;

// linux/fib_rules.h, which the libc crate lacks.
const FR_ACT_TO_TBL: u8 = 1;
const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    /// The attributes of a request behind a header of `skip` bytes: kind and value.
    fn attributes(bytes: &[u8], skip: usize) -> Vec<(u16, Vec<u8>)> {
        let mut rest = &bytes[HEADER + skip..];
        let mut found = Vec::new();
        while let [a, b, c, d, ..] = *rest {
            let length = usize::from(u16::from_ne_bytes([a, b]));
            found.push((u16::from_ne_bytes([c, d]), rest[4..length].to_vec()));
            rest = &rest[length.next_multiple_of(4)..];
        }
        found
    }

    #[test]
    fn attributes_are_padded_and_the_length_covers_them() {
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &link_header(1, 1));
        message.attribute(libc::IFLA_IFNAME, b"ispab");
        let bytes = message.finish(9);
        assert_eq!(bytes.len(), 16 + 16 + 4 + 8);
        assert_eq!(messages(&bytes).map(|(kind, sequence, _)| (kind, sequence)).collect::<Vec<_>>(), [(16, 9)]);
        assert_eq!(attributes(&bytes, 16), [(libc::IFLA_IFNAME, b"ispab".to_vec())]);
        assert_eq!(bytes[bytes.len() - 3..], [0, 0, 0]);
    }

    #[test]
    fn a_rule_names_its_source_with_all_its_bits() {
        let bytes = rule_message(Selector::From("fd00:a::2".parse().unwrap()), 101, 1000).finish(1);
        assert_eq!((bytes[HEADER], bytes[HEADER + 2]), (libc::AF_INET6 as u8, 128));
        let attributes = attributes(&bytes, 12);
        assert_eq!(attributes[0], (FRA_TABLE, 101_u32.to_ne_bytes().to_vec()));
        assert_eq!(attributes[2].1.len(), 16);
    }

    #[test]
    fn a_default_route_has_no_destination() {
        let route = Route { family: Family::V4, table: 102, device: Some(3), source: None, metric: 7 };
        let bytes = route_message(route).finish(1);
        assert_eq!(bytes[HEADER + 1], 0);
        let kinds: Vec<_> = attributes(&bytes, 12).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [libc::RTA_TABLE, libc::RTA_OIF, libc::RTA_PRIORITY]);
    }

    #[test]
    fn a_cut_datagram_ends_the_messages() {
        let bytes = Message::new(libc::RTM_NEWLINK, 0, &[]).finish(1);
        assert_eq!(messages(&bytes[..15]).count(), 0);
        assert_eq!(messages(&[]).count(), 0);
    }
}
