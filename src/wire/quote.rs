//! The packet that an ICMP error is about.

use std::net::IpAddr;

use pnet_packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols as Protocol};

use super::icmp::Message;
use super::{ip, tcp, udp};

/// Who sent the quoted packet where, and which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// Its source address.
    pub source: IpAddr,
    /// Its destination address.
    pub destination: IpAddr,
    /// What names it.
    pub transport: Transport,
}

/// What names a packet in the first eight bytes behind its IP header, which is all that a router must quote (RFC 792).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// An echo request.
    Echo {
        /// Identifier.
        id: u16,
        /// Sequence number.
        sequence: u16,
    },
    /// A datagram.
    Udp(udp::Header),
    /// A TCP packet.
    Tcp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
        /// Sequence number.
        sequence: u32,
        /// The largest segment that it offers to take, where it is quoted so far.
        mss: Option<u16>,
    },
    /// Anything else, and what is cut too short to have a name.
    Other(IpNextHeaderProtocol),
}

impl Quote {
    /// Parses what an ICMPv4 error quotes.
    #[must_use]
    pub fn parse_v4(quoted: &[u8]) -> Option<Self> {
        ip::parse_v4(quoted).map(Self::of)
    }

    /// Parses what an ICMPv6 error quotes.
    #[must_use]
    pub fn parse_v6(quoted: &[u8]) -> Option<Self> {
        ip::parse_v6(quoted).map(Self::of)
    }

    fn of((header, rest): (ip::Header, &[u8])) -> Self {
        let transport = match header.protocol {
            Protocol::Icmp => Message::parse_v4(rest).and_then(Transport::of_echo),
            Protocol::Icmpv6 => Message::parse_v6(rest).and_then(Transport::of_echo),
            Protocol::Udp => udp::Header::parse(rest).map(Transport::Udp),
            Protocol::Tcp => Transport::of_tcp(rest),
            _ => None,
        };
        Self {
            source: header.source,
            destination: header.destination,
            transport: transport.unwrap_or(Transport::Other(header.protocol)),
        }
    }
}

impl Transport {
    fn of_echo(message: Message<'_>) -> Option<Self> {
        match message {
            Message::EchoRequest(echo) => Some(Self::Echo { id: echo.id, sequence: echo.sequence }),
            Message::EchoReply(_) | Message::Error(_) | Message::Other { .. } => None,
        }
    }

    fn of_tcp(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, ..] = *bytes else { return None };
        Some(Self::Tcp {
            source_port: u16::from_be_bytes([a, b]),
            destination_port: u16::from_be_bytes([c, d]),
            sequence: u32::from_be_bytes([e, f, g, h]),
            mss: tcp::mss(bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::icmp::{self, Echo};
    use super::super::tcp::{Kind, Outgoing};
    use super::super::udp::Numbered;
    use super::*;

    fn addresses(v6: bool) -> (IpAddr, IpAddr) {
        if v6 {
            ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2].into())
        } else {
            ([192, 0, 2, 1].into(), [198, 51, 100, 7].into())
        }
    }

    fn quote(v6: bool, protocol: IpNextHeaderProtocol, extra: &[u8], transport: &[u8]) -> Option<Transport> {
        let (source, destination) = addresses(v6);
        let header = ip::Header { source, destination, protocol, hop_limit: 1 };
        let bytes = ip::tests::packet(&header, extra, transport);
        let quote = if v6 { Quote::parse_v6(&bytes) } else { Quote::parse_v4(&bytes) }?;
        assert_eq!((quote.source, quote.destination), (source, destination));
        Some(quote.transport)
    }

    #[test]
    fn each_packet_of_ours_is_known_by_its_first_eight_bytes() {
        for v6 in [false, true] {
            let (source, destination) = addresses(v6);

            let mut echo = [0xa5; icmp::HEADER + 4];
            let content = Echo { id: 7, sequence: 9, payload: b"abcd" };
            if v6 {
                content.emit_v6(&mut echo)
            } else {
                content.emit_v4(&mut echo)
            }
            let protocol = if v6 { Protocol::Icmpv6 } else { Protocol::Icmp };
            assert_eq!(quote(v6, protocol, &[], &echo[..8]), Some(Transport::Echo { id: 7, sequence: 9 }));

            let numbered = Numbered { source_port: 61000, destination_port: 33434, checksum: 5, padding: 0 };
            let mut udp = Vec::new();
            numbered.emit(source, destination, &mut udp).unwrap();
            let header = udp::Header { source_port: 61000, destination_port: 33434, checksum: 5 };
            assert_eq!(quote(v6, Protocol::Udp, &[], &udp[..8]), Some(Transport::Udp(header)));

            let mut tcp = Vec::new();
            let kind = Kind::Syn { clock: 1, mss: 1400, data: 9 };
            let syn = Outgoing { source_port: 61000, destination_port: 443, sequence: 0xdead_beef, kind };
            syn.emit(source, destination, &mut tcp).unwrap();
            for (quoted, mss) in [(8, None), (23, None), (24, Some(1400)), (45, Some(1400))] {
                let sequence = 0xdead_beef;
                let name = Transport::Tcp { source_port: 61000, destination_port: 443, sequence, mss };
                assert_eq!(quote(v6, Protocol::Tcp, &[], &tcp[..quoted]), Some(name));
            }
        }
    }

    #[test]
    fn quoted_ipv4_options_are_skipped() {
        let tcp = [0xee, 0x48, 0x01, 0xbb, 0, 0, 0, 1];
        let name = Transport::Tcp { source_port: 61000, destination_port: 443, sequence: 1, mss: None };
        assert_eq!(quote(false, Protocol::Tcp, &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0], &tcp), Some(name));
    }

    #[test]
    fn a_quote_that_is_cut_short_keeps_its_addresses() {
        for protocol in [Protocol::Icmp, Protocol::Udp, Protocol::Tcp] {
            assert_eq!(quote(false, protocol, &[], &[0; 4]), Some(Transport::Other(protocol)));
        }
        assert_eq!(quote(true, Protocol::Gre, &[], &[0; 8]), Some(Transport::Other(Protocol::Gre)));
        assert_eq!(Quote::parse_v4(&[0x45; 12]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            for version in [0x45, 0x4f, 0x60] {
                if let Some(first) = bytes.first_mut() {
                    *first = version;
                }
                let _ = (Quote::parse_v4(&bytes), Quote::parse_v6(&bytes));
            }
        }
    }
}
