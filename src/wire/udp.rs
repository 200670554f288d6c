//! UDP (RFC 768).

use std::net::IpAddr;

use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::udp::{MutableUdpPacket, UdpPacket};

use super::checksum;

/// A datagram that is known by its checksum: two bytes of payload make the checksum what it is to be, so that datagrams differ
/// while everything that routers choose a path by stays the same (Paris traceroute: Augustin et al., IMC 2006).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// The checksum; neither 0, which says that there is none, nor 0xffff, which is what 0 is sent as.
    pub checksum: u16,
    /// How many zeros follow these two bytes.
    pub padding: usize,
}

impl Numbered {
    /// Bytes of such a datagram without padding.
    pub const LEN: usize = 10;

    /// Makes `buffer` the datagram between two addresses; nothing where they are not of one family.
    #[must_use]
    pub fn emit(&self, source: IpAddr, destination: IpAddr, buffer: &mut Vec<u8>) -> Option<()> {
        buffer.clear();
        buffer.resize(Self::LEN + self.padding, 0);
        let mut packet = MutableUdpPacket::new(buffer)?;
        packet.set_source(self.source_port);
        packet.set_destination(self.destination_port);
        packet.set_length((Self::LEN + self.padding) as u16);
        packet.set_checksum(self.checksum);
        // With the payload 0 the checksum would be `natural`, so the sum of all else is its complement. The payload takes
        // the sum to the complement of the checksum that is wanted.
        let natural = checksum::transport(source, destination, IpNextHeaderProtocols::Udp, buffer, 3)?;
        buffer[8..Self::LEN].copy_from_slice(&checksum::add(natural, !self.checksum).to_be_bytes());
        Some(())
    }
}

/// What the header of a datagram says, as far as an ICMP error quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Checksum.
    pub checksum: u16,
}

impl Header {
    /// Parses a header.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let packet = UdpPacket::new(bytes)?;
        Some(Self {
            source_port: packet.get_source(),
            destination_port: packet.get_destination(),
            checksum: packet.get_checksum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_datagram_is_these_bytes() {
        let datagram = Numbered { source_port: 61000, destination_port: 33434, checksum: 1, padding: 0 };
        let mut bytes = vec![0xa5; 99];
        datagram.emit([192, 0, 2, 1].into(), [192, 0, 2, 9].into(), &mut bytes).unwrap();
        assert_eq!(bytes, [0xee, 0x48, 0x82, 0x9a, 0, 10, 0, 1, 0x0a, 0xeb]);
        Numbered { padding: 3, ..datagram }.emit([192, 0, 2, 1].into(), [192, 0, 2, 9].into(), &mut bytes).unwrap();
        assert_eq!(bytes, [0xee, 0x48, 0x82, 0x9a, 0, 13, 0, 1, 0x0a, 0xe5, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn the_checksum_is_right_and_what_was_asked_for(
            source_port: u16, destination_port: u16, checksum in 1..0xffff_u16, padding in 0..9000_usize,
            v4: [[u8; 4]; 2], v6: [[u8; 16]; 2],
        ) {
            let pairs: [[IpAddr; 2]; 2] = [v4.map(IpAddr::from), v6.map(IpAddr::from)];
            for [source, destination] in pairs {
                let mut bytes = vec![0xa5; 7];
                let datagram = Numbered { source_port, destination_port, checksum, padding };
                datagram.emit(source, destination, &mut bytes).unwrap();
                let right = checksum::transport(source, destination, IpNextHeaderProtocols::Udp, &bytes, 3);
                prop_assert_eq!(right, Some(checksum));
                prop_assert_eq!(Header::parse(&bytes), Some(Header { source_port, destination_port, checksum }));
            }
        }

        #[test]
        fn no_bytes_make_a_parser_panic(bytes: Vec<u8>) {
            let _ = Header::parse(&bytes);
        }
    }
}
