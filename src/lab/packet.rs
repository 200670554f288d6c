//! IP packets as routers handle them: read, rewritten, answered.

use std::net::IpAddr;

use super::random::mix;
use super::topology::Labels;
use crate::fnv::Fnv;
use crate::net::Family;
use crate::wire::icmp::of_labels;

/// What routers look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// The transport's protocol number, behind any extension headers.
    pub(super) protocol: u8,
    /// TTL or hop limit.
    pub(super) ttl: u8,
    /// Where the transport header begins.
    pub(super) transport: usize,
    /// Whether the transport header is in this packet, and not in an earlier fragment.
    pub(super) first: bool,
    /// Whether routers may not split it.
    pub(super) whole: bool,
}

/// Which address of a packet is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// What routers keep together: addresses, protocol and four bytes that tell conversations apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    bytes: [u8; 4],
    /// The number of the packet among all, where single packets are to be told apart; 0 for the flow as a whole.
    packet: u64,
}

pub(super) const ICMP4: u8 = libc::IPPROTO_ICMP as u8;
pub(super) const ICMP6: u8 = libc::IPPROTO_ICMPV6 as u8;
pub(super) const TCP: u8 = libc::IPPROTO_TCP as u8;
pub(super) const UDP: u8 = libc::IPPROTO_UDP as u8;

/// TCP flags (RFC 9293, section 3.1).
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

impl Header {
    /// Reads the header of a packet, which may be a quoted one whose end is missing.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse4(packet),
            6 => Self::parse6(packet),
            _ => None,
        }
    }

    pub(super) fn family(&self) -> Family {
        Family::of(self.source)
    }

    fn parse4(packet: &[u8]) -> Option<Self> {
        let transport = usize::from(packet[0] & 15) * 4;
        if transport < 20 || packet.len() < transport {
            return None;
        }
        let fragment = word(packet, 6)?;
        Some(Self {
            source: address4(packet, 12)?,
            destination: address4(packet, 16)?,
            protocol: packet[9],
            ttl: packet[8],
            transport,
            first: fragment & 0x1fff == 0,
            whole: fragment & 0x4000 != 0,
        })
    }

    fn parse6(packet: &[u8]) -> Option<Self> {
        let (source, destination) = (address6(packet, 8)?, address6(packet, 24)?);
        let (mut protocol, mut transport, mut first) = (packet[6], 40, true);
        // Extension headers (RFC 8200, section 4): hop-by-hop, routing, destination options; and the fragment header.
        while let 0 | 43 | 44 | 60 = protocol {
            let extension = packet.get(transport..transport + 8)?;
            if protocol == 44 {
                first &= u16::from_be_bytes([extension[2], extension[3]]) & !7 == 0;
            }
            let length = if protocol == 44 { 8 } else { 8 + usize::from(extension[1]) * 8 };
            (protocol, transport) = (extension[0], transport + length);
        }
        Some(Self { source, destination, protocol, ttl: packet[7], transport, first, whole: true })
    }

    /// The two ports of TCP and UDP.
    pub(super) fn ports(&self, packet: &[u8]) -> Option<(u16, u16)> {
        let has_ports = self.first && matches!(self.protocol, TCP | UDP);
        has_ports.then(|| Some((word(packet, self.transport)?, word(packet, self.transport + 2)?))).flatten()
    }

    /// The TCP flags, and the length of the data behind the header.
    pub(super) fn tcp(&self, packet: &[u8]) -> Option<(u8, usize)> {
        if self.protocol != TCP || !self.first {
            return None;
        }
        let segment = packet.get(self.transport..)?;
        let header = usize::from(segment.get(12)? >> 4) * 4;
        Some((*segment.get(13)?, segment.len().saturating_sub(header)))
    }

    /// The identifier of an ICMP echo request or reply.
    pub(super) fn echo_id(&self, packet: &[u8]) -> Option<u16> {
        let ty = *packet.get(self.transport)?;
        let echo = match self.protocol {
            ICMP4 => matches!(ty, 0 | 8),
            ICMP6 => matches!(ty, 128 | 129),
            _ => false,
        };
        (echo && self.first).then(|| word(packet, self.transport + 4)).flatten()
    }

    /// Whether it carries an ICMP error, about which no ICMP error is ever sent.
    pub(super) fn is_icmp_error(&self, packet: &[u8]) -> bool {
        let Some(ty) = packet.get(self.transport) else { return false };
        match self.protocol {
            ICMP4 => self.first && matches!(ty, 3 | 4 | 5 | 11 | 12),
            ICMP6 => self.first && *ty < 128,
            _ => false,
        }
    }
}

impl Flow {
    /// The flow that routers see in a packet towards the target.
    pub(super) fn towards_target(packet: &[u8], header: &Header) -> Self {
        Self::new(header.source, header.destination, header.protocol, first_bytes(packet, header))
    }

    /// The flow that a packet from the target belongs to, as seen towards the target, so that it comes back the way that it went.
    pub(super) fn from_target(packet: &[u8], header: &Header) -> Self {
        if header.is_icmp_error(packet) {
            let quoted = packet.get(header.transport + 8..).unwrap_or_default();
            if let Some(inner) = Header::parse(quoted) {
                return Self::towards_target(quoted, &inner);
            }
        }
        let [a, b, c, d] = first_bytes(packet, header);
        let bytes = match (header.protocol, a) {
            (ICMP4, 0) => request_of_reply([a, b, c, d], 8),
            (ICMP6, 129) => request_of_reply([a, b, c, d], 128),
            (TCP | UDP, _) => [c, d, a, b],
            _ => [a, b, c, d],
        };
        Self::new(header.destination, header.source, header.protocol, bytes)
    }

    /// The flow of packets from one port to another.
    pub(super) fn of_ports(source: IpAddr, destination: IpAddr, protocol: u8, (from, to): (u16, u16)) -> Self {
        let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
        Self::new(source, destination, protocol, [a, b, c, d])
    }

    /// The conversation that a packet towards the target belongs to: as the flow, but all echo requests of one id are one.
    pub(super) fn conversation(packet: &[u8], header: &Header) -> Self {
        let bytes = match header.echo_id(packet) {
            Some(id) => [0, 0, id.to_be_bytes()[0], id.to_be_bytes()[1]],
            None => first_bytes(packet, header),
        };
        Self::new(header.source, header.destination, header.protocol, bytes)
    }

    /// A number below `members`, the same for all packets of the flow. The salt makes hops choose independently, and packets where it has their
    /// number in it.
    pub(super) fn member(&self, members: usize, salt: u64) -> usize {
        let mut hash = Fnv::salted(mix(salt));
        hash.add_address(self.source);
        hash.add_address(self.destination);
        hash.add(&[self.protocol]);
        hash.add(&self.bytes);
        (mix(hash.finish()) % members.max(1) as u64) as usize
    }

    /// The same, with the number of one of its packets.
    pub(super) fn of_packet(self, packet: u64) -> Self {
        Self { packet, ..self }
    }

    /// The number of the packet.
    pub(super) fn packet(&self) -> u64 {
        self.packet
    }

    fn new(source: IpAddr, destination: IpAddr, protocol: u8, bytes: [u8; 4]) -> Self {
        Self { source, destination, protocol, bytes, packet: 0 }
    }
}

fn first_bytes(packet: &[u8], header: &Header) -> [u8; 4] {
    // Later fragments have no ports: routers hash their addresses only.
    let bytes = packet.get(header.transport..header.transport + 4).filter(|_| header.first);
    bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}

/// Type, code and checksum of the echo request that a reply answers: the rest of both is the same.
fn request_of_reply(reply: [u8; 4], ty: u8) -> [u8; 4] {
    let sum = adjust(u16::from_be_bytes([reply[2], reply[3]]), &reply[..2], &[ty, 0]).to_be_bytes();
    [ty, 0, sum[0], sum[1]]
}

/// Takes one from the TTL or hop limit.
pub(super) fn decrement_ttl(packet: &mut [u8]) {
    if packet[0] >> 4 == 6 {
        packet[7] = packet[7].saturating_sub(1);
        return;
    }
    let old = [packet[8], packet[9]];
    packet[8] = packet[8].saturating_sub(1);
    let new = [packet[8], packet[9]];
    adjust_at(packet, 10, &old, &new);
}

/// Makes the largest segment that a SYN or SYN-ACK offers to take no larger than that.
pub(super) fn clamp(packet: &mut [u8], header: &Header, most: Option<u16>) {
    let Some(most) = most.filter(|_| header.tcp(packet).is_some_and(|(flags, _)| flags & SYN != 0)) else { return };
    let end = header.transport + usize::from(packet[header.transport + 12] >> 4) * 4;
    let mut at = header.transport + 20;
    // Kinds 0 and 1 end and fill up; kind 2 is the MSS, and others say how long they are.
    while let (Some(&kind @ 1..), true) = (packet.get(at), at < end) {
        let length = if kind == 1 { 1 } else { packet.get(at + 1).map_or(0, |length| usize::from(*length)) };
        if kind == 2
            && let Some(offered) = word(packet, at + 2).filter(|offered| *offered > most)
        {
            set_word(packet, at + 2, most);
            let (old, new) = (offered.to_be_bytes(), most.to_be_bytes());
            // The words of the checksum begin at even places of the segment, the option may not.
            match (at - header.transport) % 2 {
                0 => adjust_at(packet, header.transport + 16, &old, &new),
                _ => {
                    adjust_at(packet, header.transport + 16, &[0, old[0], old[1], 0], &[0, new[0], new[1], 0]);
                }
            }
        }
        if length == 0 {
            return;
        }
        at += length;
    }
}

/// Replaces an address where the packet has `from` on that side, as SNAT and its way back do: in the header, in what depends on it, and
/// on the other side of the packet that an ICMP error quotes.
pub(super) fn translate(packet: &mut [u8], side: Side, from: IpAddr, to: IpAddr) {
    let Some(header) = Header::parse(packet) else { return };
    let mine = match side {
        Side::Source => header.source,
        Side::Destination => header.destination,
    };
    if mine == from {
        replace_address(packet, &header, side, to);
    }
    if header.is_icmp_error(packet) {
        let quoted = packet.get_mut(header.transport + 8..).unwrap_or_default();
        if let Some(inner) = Header::parse(quoted) {
            let (side, theirs) = match side {
                Side::Source => (Side::Destination, inner.destination),
                Side::Destination => (Side::Source, inner.source),
            };
            if theirs == from {
                replace_address(quoted, &inner, side, to);
            }
        }
        if let Some(header) = Header::parse(packet) {
            fill_checksum(packet, &header, header.transport + 2);
        }
    }
}

fn replace_address(packet: &mut [u8], header: &Header, side: Side, to: IpAddr) {
    let (at, new) = match (to, side) {
        (IpAddr::V4(to), Side::Source) => (12, to.octets().to_vec()),
        (IpAddr::V4(to), Side::Destination) => (16, to.octets().to_vec()),
        (IpAddr::V6(to), Side::Source) => (8, to.octets().to_vec()),
        (IpAddr::V6(to), Side::Destination) => (24, to.octets().to_vec()),
    };
    let Some(place) = packet.get_mut(at..at + new.len()) else { return };
    let old = place.to_vec();
    place.copy_from_slice(&new);
    if header.family() == Family::V4 {
        adjust_at(packet, 10, &old, &new);
    }
    if !header.first {
        return;
    }
    match header.protocol {
        TCP => adjust_at(packet, header.transport + 16, &old, &new),
        ICMP6 => adjust_at(packet, header.transport + 2, &old, &new),
        // Zero says that there is none (RFC 768).
        UDP if word(packet, header.transport + 6) != Some(0) => {
            adjust_at(packet, header.transport + 6, &old, &new);
            if word(packet, header.transport + 6) == Some(0) {
                set_word(packet, header.transport + 6, 0xffff);
            }
        }
        _ => {}
    }
}

/// Writes the ICMP error that the node at `source` sends about a packet: type, code, and the second word of its header, which is an MTU
/// or zero; and the MPLS labels that the packet came with, where there is room for them.
pub(super) fn icmp_error(
    answer: &mut Vec<u8>,
    source: IpAddr,
    about: &[u8],
    header: &Header,
    (ty, code, rest): (u8, u8, u32),
    labels: Option<Labels>,
) {
    // As much as fits the smallest packet that everybody takes: RFC 1812, section 4.3.2.3; RFC 4443, section 2.4 (c). And what says how
    // many bytes are quoted, where extensions are behind them (RFC 4884, section 4.1 and 4.2).
    let (protocol, fixed, most, extended, said) = match header.family() {
        Family::V4 => (ICMP4, 20 + 8, 576, matches!(ty, 3 | 11 | 12), (QUOTED as u32 / 4) << 16),
        Family::V6 => (ICMP6, 40 + 8, 1280, matches!(ty, 1 | 3), (QUOTED as u32 / 8) << 24),
    };
    let mut quoted = about[..about.len().min(most - fixed)].to_vec();
    let mut rest = rest;
    if let Some(Labels { stack, said: says }) = labels.filter(|_| extended) {
        quoted.resize(QUOTED, 0);
        quoted.extend(of_labels(stack));
        rest |= if says { said } else { 0 };
    }
    let transport = write_ip(answer, source, header.source, protocol, 8 + quoted.len());
    answer.extend_from_slice(&[ty, code, 0, 0]);
    answer.extend_from_slice(&rest.to_be_bytes());
    answer.extend_from_slice(&quoted);
    seal(answer, transport + 2);
}

/// How many bytes are quoted, or filled up to with zeros, where extensions follow (RFC 4884, section 3).
const QUOTED: usize = 128;

/// Writes the reset that answers a TCP segment as if nobody had the connection (RFC 9293, section 3.10.7.1).
pub(super) fn reset(answer: &mut Vec<u8>, about: &[u8], header: &Header) -> Option<()> {
    let (flags, length) = header.tcp(about)?;
    let segment = about.get(header.transport..header.transport + 20)?;
    let number = |at: usize| u32::from_be_bytes([segment[at], segment[at + 1], segment[at + 2], segment[at + 3]]);
    let (sequence, acknowledged, flags) = if flags & ACK != 0 {
        (number(8), 0, RST)
    } else {
        (0, number(4).wrapping_add(length as u32 + u32::from(flags & SYN != 0)), RST | ACK)
    };
    let transport = write_ip(answer, header.destination, header.source, TCP, 20);
    answer.extend_from_slice(&segment[2..4]);
    answer.extend_from_slice(&segment[..2]);
    answer.extend_from_slice(&sequence.to_be_bytes());
    answer.extend_from_slice(&acknowledged.to_be_bytes());
    answer.extend_from_slice(&[5 << 4, flags, 0, 0, 0, 0, 0, 0]);
    seal(answer, transport + 16);
    Some(())
}

/// Makes a TCP segment a reset of the same connection, without options and data.
pub(super) fn make_reset(packet: &mut Vec<u8>, header: &Header) {
    let Some(segment) = packet.get_mut(header.transport..header.transport + 20) else { return };
    segment[12] = 5 << 4;
    segment[13] = RST | ACK;
    segment[16..20].fill(0);
    packet.truncate(header.transport + 20);
    let length = packet.len();
    match header.family() {
        Family::V4 => {
            set_word(packet, 2, length as u16);
            fill_checksum4(packet, header.transport);
        }
        Family::V6 => set_word(packet, 4, (length - 40) as u16),
    }
    fill_checksum(packet, header, header.transport + 16);
}

/// Splits an IPv4 packet that may be split into pieces of at most `mtu` bytes (RFC 791, section 2.3).
pub(super) fn fragments(packet: &[u8], header: &Header, mtu: usize) -> Vec<Vec<u8>> {
    let (head, data) = packet.split_at(header.transport);
    let room = mtu.saturating_sub(head.len()).max(8) & !7;
    let field = word(packet, 6).unwrap_or(0);
    let pieces = data.len().div_ceil(room);
    let piece = |(number, data): (usize, &[u8])| {
        let mut piece = [head, data].concat();
        let offset = (field & 0x1fff) + (number * room / 8) as u16;
        let more = if number + 1 < pieces { 0x2000 } else { field & 0x2000 };
        let length = piece.len() as u16;
        set_word(&mut piece, 2, length);
        set_word(&mut piece, 6, more | offset);
        fill_checksum4(&mut piece, header.transport);
        piece
    };
    data.chunks(room).enumerate().map(piece).collect()
}

/// Begins a packet from a router, with `length` bytes to come; returns where they begin.
fn write_ip(packet: &mut Vec<u8>, source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> usize {
    // Routers answer with a full TTL, and with the precedence of internetwork control (RFC 1812, section 4.3.2.5).
    packet.clear();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let [high, low] = (20 + length as u16).to_be_bytes();
            packet.extend_from_slice(&[0x45, 0xc0, high, low, 0, 0, 0, 0, 255, protocol, 0, 0]);
            packet.extend_from_slice(&source.octets());
            packet.extend_from_slice(&destination.octets());
            fill_checksum4(packet, 20);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let [high, low] = (length as u16).to_be_bytes();
            packet.extend_from_slice(&[0x6c, 0, 0, 0, high, low, protocol, 255]);
            packet.extend_from_slice(&source.octets());
            packet.extend_from_slice(&destination.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            unreachable!("a node answers a packet with its address of the packet's own family")
        }
    }
    packet.len()
}

/// Fills in the transport's checksum of a packet that was just written.
fn seal(packet: &mut [u8], at: usize) {
    if let Some(header) = Header::parse(packet) {
        fill_checksum(packet, &header, at);
    }
}

fn fill_checksum4(packet: &mut [u8], header: usize) {
    set_word(packet, 10, 0);
    let sum = !sum(0, &packet[..header]);
    set_word(packet, 10, sum);
}

/// Computes the transport's checksum, which stands at `at`, over the transport header, the data and, but for ICMPv4, the pseudo-header.
fn fill_checksum(packet: &mut [u8], header: &Header, at: usize) {
    set_word(packet, at, 0);
    let checksum = transport_checksum(packet, header);
    set_word(packet, at, checksum);
}

/// The Internet checksum (RFC 1071) of the transport part as it stands; 0 where that includes its own right checksum.
fn transport_checksum(packet: &[u8], header: &Header) -> u16 {
    let transport = packet.get(header.transport..).unwrap_or_default();
    let pseudo = if header.protocol == ICMP4 {
        0
    } else {
        let addresses = match header.family() {
            Family::V4 => &packet[12..20],
            Family::V6 => &packet[8..40],
        };
        sum(sum(header.protocol.into(), &(transport.len() as u32).to_be_bytes()), addresses)
    };
    !sum(pseudo, transport)
}

fn sum(start: u16, bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum = words.sum::<u64>() + u64::from(start);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum after `old` became `new` (RFC 1624, equation 3). Both have an even length.
fn adjust(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let without: Vec<u8> = old.iter().map(|byte| !byte).collect();
    !sum(sum(!checksum, &without), new)
}

fn adjust_at(packet: &mut [u8], at: usize, old: &[u8], new: &[u8]) {
    if let Some(checksum) = word(packet, at) {
        set_word(packet, at, adjust(checksum, old, new));
    }
}

fn word(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?))
}

fn set_word(packet: &mut [u8], at: usize, value: u16) {
    if let Some(place) = packet.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn address4(packet: &[u8], at: usize) -> Option<IpAddr> {
    Some(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?.into())
}

fn address6(packet: &[u8], at: usize) -> Option<IpAddr> {
    Some(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?.into())
}

#[cfg(test)]
mod tests;
