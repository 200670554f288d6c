//! IPv4 and IPv6 headers.

use std::net::IpAddr;

use pnet_packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols as Protocol};
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;

/// What an IP header says that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// The protocol of what follows; in IPv6 that behind the extension headers.
    pub protocol: IpNextHeaderProtocol,
    /// Hop limit (IPv4: TTL).
    pub hop_limit: u8,
}

/// Bytes of an IPv4 header without options.
pub const V4_HEADER: usize = 20;
/// Bytes of an IPv6 header without extensions.
pub const V6_HEADER: usize = 40;

/// How many IPv6 extension headers are skipped before a packet counts as nonsense.
const MAX_EXTENSIONS: usize = 8;

/// Parses an IPv4 header (RFC 791), options skipped. The rest may be cut short; a fragment that is not the first has none.
#[must_use]
pub fn parse_v4(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let packet = Ipv4Packet::new(bytes).filter(|packet| packet.get_version() == 4)?;
    let length = usize::from(packet.get_header_length()) * 4;
    let rest = bytes.get(length..).filter(|_| length >= Ipv4Packet::minimum_packet_size())?;
    let header = Header {
        source: packet.get_source().into(),
        destination: packet.get_destination().into(),
        protocol: packet.get_next_level_protocol(),
        hop_limit: packet.get_ttl(),
    };
    Some((header, if packet.get_fragment_offset() == 0 { rest } else { &[] }))
}

/// Parses an IPv6 header and skips the extension headers behind it (RFC 8200, section 4). The rest may be cut short; a fragment that
/// is not the first has none.
#[must_use]
pub fn parse_v6(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let packet = Ipv6Packet::new(bytes).filter(|packet| packet.get_version() == 6)?;
    let mut protocol = packet.get_next_header();
    let mut rest = bytes.get(Ipv6Packet::minimum_packet_size()..)?;
    for _ in 0..MAX_EXTENSIONS {
        let length = match (protocol, rest) {
            (Protocol::Hopopt | Protocol::Ipv6Route | Protocol::Ipv6Opts, [_, units, ..]) => {
                8 + 8 * usize::from(*units)
            }
            (Protocol::Ah, [_, words, ..]) => 8 + 4 * usize::from(*words),
            (Protocol::Ipv6Frag, [_, _, high, low, ..]) => match u16::from_be_bytes([*high, *low]) >> 3 {
                0 => 8,
                _ => rest.len(),
            },
            _ => break,
        };
        protocol = IpNextHeaderProtocol(*rest.first()?);
        rest = rest.get(length..).unwrap_or_default();
    }
    let header = Header {
        source: packet.get_source().into(),
        destination: packet.get_destination().into(),
        protocol,
        hop_limit: packet.get_hop_limit(),
    };
    Some((header, rest))
}

#[cfg(test)]
pub(crate) mod tests {
    use pnet_packet::ipv4::MutableIpv4Packet;
    use pnet_packet::ipv6::MutableIpv6Packet;
    use proptest::prelude::*;

    use super::*;

    /// A packet of a family with a payload, its header options or extension headers given as bytes.
    pub(crate) fn packet(header: &Header, extra: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xa5; if header.source.is_ipv4() { 20 } else { 40 }];
        match (header.source, header.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut packet = MutableIpv4Packet::new(&mut bytes).unwrap();
                packet.set_version(4);
                packet.set_header_length(u8::try_from(5 + extra.len() / 4).unwrap());
                packet.set_fragment_offset(0);
                packet.set_source(source);
                packet.set_destination(destination);
                packet.set_next_level_protocol(header.protocol);
                packet.set_ttl(header.hop_limit);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut packet = MutableIpv6Packet::new(&mut bytes).unwrap();
                packet.set_version(6);
                packet.set_source(source);
                packet.set_destination(destination);
                packet.set_next_header(header.protocol);
                packet.set_hop_limit(header.hop_limit);
            }
            _ => panic!("two families"),
        }
        bytes.extend_from_slice(extra);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn v6(protocol: IpNextHeaderProtocol) -> Header {
        let address = |last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        Header { source: address(1), destination: address(2), protocol, hop_limit: 64 }
    }

    #[test]
    fn ipv4_options_are_skipped() {
        let header = Header {
            source: [192, 0, 2, 1].into(),
            destination: [198, 51, 100, 7].into(),
            protocol: Protocol::Udp,
            hop_limit: 3,
        };
        let bytes = packet(&header, &[1; 8], b"rest");
        assert_eq!(parse_v4(&bytes), Some((header, &b"rest"[..])));
    }

    #[test]
    fn ipv6_extension_headers_are_skipped() {
        let cases: [(IpNextHeaderProtocol, &[u8], IpNextHeaderProtocol, &[u8]); 6] = [
            (Protocol::Udp, &[], Protocol::Udp, b"rest"),
            (Protocol::Hopopt, &[17, 0, 0, 0, 0, 0, 0, 0], Protocol::Udp, b"rest"),
            (Protocol::Ah, &[6, 0, 0, 0, 0, 0, 0, 0], Protocol::Tcp, b"rest"),
            (Protocol::Ipv6Frag, &[58, 0, 0, 1, 0, 0, 0, 9], Protocol::Icmpv6, b"rest"),
            (Protocol::Ipv6Frag, &[58, 0, 0, 9, 0, 0, 0, 9], Protocol::Icmpv6, b""),
            (Protocol::Ipv6Opts, &[17, 99, 0, 0, 0, 0, 0, 0], Protocol::Udp, b""),
        ];
        for (first, extra, last, rest) in cases {
            let bytes = packet(&v6(first), extra, b"rest");
            assert_eq!(parse_v6(&bytes), Some((v6(last), rest)), "{first:?} {extra:?}");
        }
    }

    #[test]
    fn a_later_fragment_has_no_transport_header() {
        let mut bytes = packet(
            &Header {
                source: [192, 0, 2, 1].into(),
                destination: [192, 0, 2, 2].into(),
                protocol: Protocol::Icmp,
                hop_limit: 1,
            },
            &[],
            b"rest",
        );
        bytes[7] = 1;
        assert_eq!(parse_v4(&bytes).map(|(_, rest)| rest), Some(&[][..]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(mut bytes: Vec<u8>) {
            for version in [0x45, 0x60, 0x4f, 0x40] {
                if let Some(first) = bytes.first_mut() {
                    *first = version;
                }
                let _ = (parse_v4(&bytes), parse_v6(&bytes));
            }
        }
    }
}
