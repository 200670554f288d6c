//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echo, and errors with what they quote.

mod extension;

pub use extension::{Label, of_labels};

use pnet_packet::icmp::echo_request::{EchoRequestPacket, MutableEchoRequestPacket};
use pnet_packet::icmp::{IcmpCode, IcmpPacket, IcmpType, IcmpTypes};
use pnet_packet::icmpv6::{Icmpv6Type, Icmpv6Types};
use pnet_packet::util;

/// Bytes of every header here.
pub const HEADER: usize = 8;

/// An echo request or reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Identifier.
    pub id: u16,
    /// Sequence number.
    pub sequence: u16,
    /// What comes back as it was sent.
    pub payload: &'a [u8],
}

/// An error that a node reports about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error<'a> {
    /// Type.
    pub ty: u8,
    /// Code.
    pub code: u8,
    /// The second word of the header; where a packet is too big its last 16 bits (IPv6: 32) are the MTU of the next link.
    pub info: u32,
    /// The packet that it is about, from its IP header on, as far as it goes, and what the router adds to it.
    pub quoted: &'a [u8],
    /// How many bytes of that are the packet (RFC 4884, section 4): 0 where the message does not say it, nothing where it has no room to.
    pub quoted_length: Option<usize>,
}

/// A message of either ICMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Echo request.
    EchoRequest(Echo<'a>),
    /// Echo reply.
    EchoReply(Echo<'a>),
    /// An error about a packet.
    Error(Error<'a>),
    /// Anything else.
    Other {
        /// Type.
        ty: u8,
        /// Code.
        code: u8,
    },
}

impl<'a> Message<'a> {
    /// Parses an ICMPv4 message. Its checksum is not looked at: the kernel did.
    #[must_use]
    pub fn parse_v4(bytes: &'a [u8]) -> Option<Self> {
        let packet = IcmpPacket::new(bytes)?;
        match packet.get_icmp_type() {
            IcmpTypes::EchoRequest => Echo::parse(bytes).map(Self::EchoRequest),
            IcmpTypes::EchoReply => Echo::parse(bytes).map(Self::EchoReply),
            IcmpTypes::DestinationUnreachable | IcmpTypes::TimeExceeded | IcmpTypes::ParameterProblem => {
                // The second byte of the second word, in words of 32 bits.
                Error::parse(bytes, |[_, words, ..]| Some(usize::from(words) * 4)).map(Self::Error)
            }
            IcmpType(ty) => Some(Self::Other { ty, code: packet.get_icmp_code().0 }),
        }
    }

    /// Parses an ICMPv6 message. Its checksum is not looked at: the kernel did.
    #[must_use]
    pub fn parse_v6(bytes: &'a [u8]) -> Option<Self> {
        let [ty, code, ..] = *bytes else { return None };
        match Icmpv6Type(ty) {
            Icmpv6Types::EchoRequest => Echo::parse(bytes).map(Self::EchoRequest),
            Icmpv6Types::EchoReply => Echo::parse(bytes).map(Self::EchoReply),
            // The first byte of the second word, in words of 64 bits.
            Icmpv6Types::DestinationUnreachable | Icmpv6Types::TimeExceeded => {
                Error::parse(bytes, |[words, ..]| Some(usize::from(words) * 8)).map(Self::Error)
            }
            // RFC 4443, section 2.1: errors are the types without the highest bit.
            Icmpv6Type(..128) => Error::parse(bytes, |_| None).map(Self::Error),
            Icmpv6Type(_) => Some(Self::Other { ty, code }),
        }
    }
}

impl<'a> Echo<'a> {
    /// Parses the two numbers and the payload, which all four echo messages have at the same place.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let packet = EchoRequestPacket::new(bytes)?;
        Some(Self {
            id: packet.get_identifier(),
            sequence: packet.get_sequence_number(),
            payload: bytes.get(HEADER..)?,
        })
    }

    /// Writes an ICMPv4 echo request, which fills `buffer`.
    ///
    /// # Panics
    /// Where the buffer is not [`HEADER`] and the payload long.
    pub fn emit_v4(&self, buffer: &mut [u8]) {
        self.emit(IcmpTypes::EchoRequest.0, buffer);
        let checksum = util::checksum(buffer, 1);
        buffer[2..4].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Writes an ICMPv6 echo request, which fills `buffer`, without its checksum: that is the kernel's (RFC 3542, section 3.1).
    ///
    /// # Panics
    /// As [`Echo::emit_v4`].
    pub fn emit_v6(&self, buffer: &mut [u8]) {
        self.emit(Icmpv6Types::EchoRequest.0, buffer);
    }

    fn emit(&self, ty: u8, buffer: &mut [u8]) {
        let (header, payload) = buffer.split_at_mut(HEADER);
        payload.copy_from_slice(self.payload);
        if let Some(mut packet) = MutableEchoRequestPacket::new(header) {
            packet.set_icmp_type(IcmpType(ty));
            packet.set_icmp_code(IcmpCode(0));
            packet.set_checksum(0);
            packet.set_identifier(self.id);
            packet.set_sequence_number(self.sequence);
        }
    }
}

impl<'a> Error<'a> {
    fn parse(bytes: &'a [u8], length: impl FnOnce([u8; 4]) -> Option<usize>) -> Option<Self> {
        let (&[ty, code, _, _, ref info @ ..], quoted) = bytes.split_first_chunk::<HEADER>()?;
        let info = *info;
        Some(Self { ty, code, info: u32::from_be_bytes(info), quoted, quoted_length: length(info) })
    }

    /// What the next link takes in bytes, where the message says that the packet is too big and how much that is. What no link can mean is
    /// nothing: IPv4 less than 68 (RFC 791, section 3.2), IPv6 less than 1280 (RFC 8201, section 4).
    #[must_use]
    pub fn mtu(&self, v6: bool) -> Option<u32> {
        match (v6, self.ty, self.code) {
            (false, 3, 4) => Some(self.info & 0xffff).filter(|mtu| *mtu >= 68),
            (true, 2, _) => Some(self.info).filter(|mtu| *mtu >= 1280),
            _ => None,
        }
    }

    /// The MPLS label stack that the packet came with to the router that says this; empty where it does not tell.
    #[must_use]
    pub fn labels(&self) -> Vec<Label> {
        self.quoted_length.map(|length| extension::label_stack(self.quoted, length)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_echo_request_is_these_bytes() {
        let echo = Echo { id: 0x1234, sequence: 1, payload: b"abc" };
        let mut buffer = [0xa5; HEADER + 3];
        echo.emit_v4(&mut buffer);
        assert_eq!(buffer, [8, 0, 0x21, 0x68, 0x12, 0x34, 0, 1, b'a', b'b', b'c']);
        let mut buffer = [0xa5; HEADER + 3];
        echo.emit_v6(&mut buffer);
        assert_eq!(buffer, [128, 0, 0, 0, 0x12, 0x34, 0, 1, b'a', b'b', b'c']);
    }

    #[test]
    fn types_and_codes_that_nobody_knows_are_kept() {
        let mut bytes = [0; 12];
        (bytes[0], bytes[1]) = (253, 9);
        assert_eq!(Message::parse_v4(&bytes), Some(Message::Other { ty: 253, code: 9 }));
        assert_eq!(Message::parse_v6(&bytes), Some(Message::Other { ty: 253, code: 9 }));
        (bytes[0], bytes[1], bytes[7]) = (3, 99, 7);
        let error = Error { ty: 3, code: 99, info: 7, quoted: &[0; 4], quoted_length: Some(0) };
        assert_eq!(Message::parse_v4(&bytes), Some(Message::Error(error)));
        assert_eq!(Message::parse_v6(&bytes), Some(Message::Error(error)));
    }

    #[test]
    fn what_the_next_link_takes_is_told_where_it_can_be() {
        let mtu = |v6, ty, code, info| Error { ty, code, info, quoted: &[], quoted_length: None }.mtu(v6);
        assert_eq!((mtu(false, 3, 4, 0x7_0578), mtu(true, 2, 0, 0x1_0000)), (Some(1400), Some(65_536)));
        assert_eq!((mtu(false, 3, 4, 68), mtu(false, 3, 4, 67), mtu(false, 3, 4, 0)), (Some(68), None, None));
        assert_eq!((mtu(true, 2, 0, 1280), mtu(true, 2, 0, 1279)), (Some(1280), None));
        assert_eq!((mtu(false, 3, 3, 1400), mtu(true, 1, 0, 1400), mtu(false, 2, 0, 1400)), (None, None, None));
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed_again(id: u16, sequence: u16, payload: Vec<u8>) {
            let echo = Echo { id, sequence, payload: &payload };
            let mut buffer = vec![0xa5; HEADER + payload.len()];
            echo.emit_v4(&mut buffer);
            prop_assert_eq!(Message::parse_v4(&buffer), Some(Message::EchoRequest(echo)));
            // RFC 1071: the sum over a message with its checksum in place is all ones.
            prop_assert_eq!(util::checksum(&buffer, usize::MAX), 0);
            echo.emit_v6(&mut buffer);
            prop_assert_eq!(Message::parse_v6(&buffer), Some(Message::EchoRequest(echo)));
        }

        #[test]
        fn no_bytes_make_a_parser_panic(bytes: Vec<u8>) {
            let _ = (Message::parse_v4(&bytes), Message::parse_v6(&bytes));
        }
    }
}
