//! TCP (RFC 9293): the handshake's packets.

use std::net::IpAddr;

use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::tcp::{MutableTcpPacket, TcpFlags, TcpOption, TcpOptionNumbers, TcpPacket};

use super::checksum;

/// The largest segment that a SYN offers to take: what fits an Ethernet frame.
const MSS: u16 = 1460;
/// The window that a SYN offers, as Linux does.
const WINDOW: u16 = 64240;

/// A packet that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// What it is for.
    pub kind: Kind,
}

/// What a packet that we send is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Asks for a connection; the clock of its timestamp option (RFC 7323) comes back with the answer.
    Syn {
        /// That clock.
        clock: u32,
    },
    /// Ends it.
    Reset,
}

impl Outgoing {
    /// Bytes of a SYN: the header, and the options MSS, SACK permitted and timestamps, in Linux' order.
    pub const SYN: usize = 36;

    /// Writes the packet between two addresses to the front of `buffer`, and returns it; nothing where the addresses are not
    /// of one family.
    #[must_use]
    pub fn emit<'b>(&self, source: IpAddr, destination: IpAddr, buffer: &'b mut [u8; Self::SYN]) -> Option<&'b [u8]> {
        buffer.fill(0);
        let length = match self.kind {
            Kind::Syn { .. } => Self::SYN,
            Kind::Reset => TcpPacket::minimum_packet_size(),
        };
        let bytes = &mut buffer[..length];
        let mut packet = MutableTcpPacket::new(bytes)?;
        packet.set_source(self.source_port);
        packet.set_destination(self.destination_port);
        packet.set_sequence(self.sequence);
        packet.set_data_offset((length / 4) as u8);
        match self.kind {
            Kind::Syn { clock } => {
                packet.set_flags(TcpFlags::SYN);
                packet.set_window(WINDOW);
                packet.set_options(&[TcpOption::mss(MSS), TcpOption::sack_perm(), TcpOption::timestamp(clock, 0)]);
            }
            Kind::Reset => packet.set_flags(TcpFlags::RST),
        }
        let sum = checksum::transport(source, destination, IpNextHeaderProtocols::Tcp, bytes, 8)?;
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        Some(bytes)
    }
}

/// What a packet that we receive says. Its checksum is not looked at: on loopback and veth it is not yet whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// The sequence number that is expected next, where the packet acknowledges one.
    pub acknowledgement: Option<u32>,
    /// Whether it accepts or asks for a connection.
    pub syn: bool,
    /// Whether it refuses or ends one.
    pub reset: bool,
    /// The clock of our packet that it answers, where it has the timestamp option.
    pub echoed: Option<u32>,
}

impl Incoming {
    /// Parses a packet, which may be cut short behind its fixed header.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let packet = TcpPacket::new(bytes)?;
        let flags = packet.get_flags();
        let end = (usize::from(packet.get_data_offset()) * 4).min(bytes.len());
        let acknowledges = flags & TcpFlags::ACK != 0;
        Some(Self {
            source_port: packet.get_source(),
            destination_port: packet.get_destination(),
            sequence: packet.get_sequence(),
            acknowledgement: acknowledges.then(|| packet.get_acknowledgement()),
            syn: flags & TcpFlags::SYN != 0,
            reset: flags & TcpFlags::RST != 0,
            echoed: bytes.get(TcpPacket::minimum_packet_size()..end).filter(|_| acknowledges).and_then(echoed_clock),
        })
    }
}

/// The second clock of the timestamp option, where there is one.
fn echoed_clock(mut options: &[u8]) -> Option<u32> {
    loop {
        let (&kind, rest) = options.split_first()?;
        if kind == TcpOptionNumbers::EOL.0 {
            return None;
        }
        if kind == TcpOptionNumbers::NOP.0 {
            options = rest;
            continue;
        }
        let length = usize::from(*rest.first()?);
        if kind == TcpOptionNumbers::TIMESTAMPS.0
            && let Some(&[a, b, c, d]) = options.get(6..10).filter(|_| length == 10)
        {
            return Some(u32::from_be_bytes([a, b, c, d]));
        }
        options = options.get(length..).filter(|_| length >= 2)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn emit(kind: Kind) -> Vec<u8> {
        let mut buffer = [0xa5; Outgoing::SYN];
        let packet = Outgoing { source_port: 61000, destination_port: 443, sequence: 0x0102_0304, kind };
        packet.emit([192, 0, 2, 1].into(), [192, 0, 2, 9].into(), &mut buffer).unwrap().to_vec()
    }

    #[test]
    fn a_syn_is_these_bytes() {
        let header = [0xee, 0x48, 0x01, 0xbb, 1, 2, 3, 4, 0, 0, 0, 0, 0x90, 0x02, 0xfa, 0xf0, 0xe9, 0x01, 0, 0];
        let options = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0];
        assert_eq!(emit(Kind::Syn { clock: 7 }), [&header[..], &options].concat());
    }

    #[test]
    fn a_reset_is_these_bytes() {
        let header = [0xee, 0x48, 0x01, 0xbb, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, 0x04, 0, 0, 0x37, 0xcc, 0, 0];
        assert_eq!(emit(Kind::Reset), header);
    }

    #[test]
    fn the_echoed_clock_is_found_among_other_options() {
        let clock = [8, 10, 0, 0, 0, 1, 0, 0, 0, 9];
        let cases: [(&[&[u8]], Option<u32>); 6] = [
            (&[&clock], Some(9)),
            (&[&[1, 1], &clock], Some(9)),
            (&[&[2, 4, 5, 0xb4, 4, 2], &clock, &[1, 3, 3, 7]], Some(9)),
            (&[&[0], &clock], None),
            (&[&[8, 10, 0, 0]], None),
            (&[&[2, 0], &clock], None),
        ];
        for (parts, clock) in cases {
            assert_eq!(echoed_clock(&parts.concat()), clock, "{parts:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed_again(
            source_port: u16, destination_port: u16, sequence: u32, clock: u32, reset: bool,
            v4: [[u8; 4]; 2], v6: [[u8; 16]; 2],
        ) {
            let kind = if reset { Kind::Reset } else { Kind::Syn { clock } };
            let pairs: [[IpAddr; 2]; 2] = [v4.map(IpAddr::from), v6.map(IpAddr::from)];
            for [source, destination] in pairs {
                let mut buffer = [0xa5; Outgoing::SYN];
                let packet = Outgoing { source_port, destination_port, sequence, kind };
                let bytes = packet.emit(source, destination, &mut buffer).unwrap();
                prop_assert_eq!(
                    Incoming::parse(bytes),
                    Some(Incoming {
                        source_port, destination_port, sequence,
                        acknowledgement: None, syn: !reset, reset, echoed: None,
                    })
                );
                let whole = checksum::transport(source, destination, IpNextHeaderProtocols::Tcp, bytes, usize::MAX);
                prop_assert_eq!(whole, Some(0));
            }
        }

        #[test]
        fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Incoming::parse(&bytes);
        }
    }
}
