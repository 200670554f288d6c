//! TCP (RFC 9293): the handshake's packets.

use std::net::IpAddr;

use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::tcp::{MutableTcpPacket, TcpFlags, TcpOption, TcpOptionNumber, TcpOptionNumbers, TcpPacket};

use super::{checksum, ip};

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
        /// The largest segment that we take, in bytes.
        mss: u16,
        /// How many zeros it has as data, which a destination need not take before the connection is open (RFC 9293, section 3.4).
        data: usize,
    },
    /// Ends it.
    Reset,
}

impl Outgoing {
    /// Bytes of a SYN: the header, and the options MSS, SACK permitted and timestamps, in Linux' order.
    pub const SYN: usize = 36;

    /// Makes `buffer` the packet between two addresses; nothing where the addresses are not of one family.
    #[must_use]
    pub fn emit(&self, source: IpAddr, destination: IpAddr, buffer: &mut Vec<u8>) -> Option<()> {
        let (header, data) = match self.kind {
            Kind::Syn { data, .. } => (Self::SYN, data),
            Kind::Reset => (TcpPacket::minimum_packet_size(), 0),
        };
        buffer.clear();
        buffer.resize(header + data, 0);
        let mut packet = MutableTcpPacket::new(buffer)?;
        packet.set_source(self.source_port);
        packet.set_destination(self.destination_port);
        packet.set_sequence(self.sequence);
        packet.set_data_offset((header / 4) as u8);
        match self.kind {
            Kind::Syn { clock, mss, data: _ } => {
                packet.set_flags(TcpFlags::SYN);
                packet.set_window(WINDOW);
                packet.set_options(&[TcpOption::mss(mss), TcpOption::sack_perm(), TcpOption::timestamp(clock, 0)]);
            }
            Kind::Reset => packet.set_flags(TcpFlags::RST),
        }
        let sum = checksum::transport(source, destination, IpNextHeaderProtocols::Tcp, buffer, 8)?;
        buffer[16..18].copy_from_slice(&sum.to_be_bytes());
        Some(())
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
    /// Whether it acknowledges, and says nothing else: neither data, nor that there is no more.
    pub bare: bool,
    /// The clock of our packet that it answers, where it has the timestamp option.
    pub echoed: Option<u32>,
    /// The largest segment that its sender takes, where it says so (RFC 9293, section 3.7.1).
    pub mss: Option<u16>,
}

impl Incoming {
    /// Parses a packet, which may be cut short behind its fixed header.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let packet = TcpPacket::new(bytes)?;
        let flags = packet.get_flags();
        let acknowledges = flags & TcpFlags::ACK != 0;
        Some(Self {
            source_port: packet.get_source(),
            destination_port: packet.get_destination(),
            sequence: packet.get_sequence(),
            acknowledgement: acknowledges.then(|| packet.get_acknowledgement()),
            syn: flags & TcpFlags::SYN != 0,
            reset: flags & TcpFlags::RST != 0,
            bare: acknowledges
                && flags & (TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST) == 0
                && bytes.len() <= usize::from(packet.get_data_offset()) * 4,
            echoed: options(bytes).filter(|_| acknowledges).find_map(echoed_clock),
            mss: mss(bytes),
        })
    }
}

/// The largest segment that fits a packet of so many bytes: without the fixed headers of IP and TCP (RFC 9293, section 3.7.1).
#[must_use]
pub fn mss_within(packet: u16, v6: bool) -> u16 {
    let ip = if v6 { ip::V6_HEADER } else { ip::V4_HEADER };
    packet.saturating_sub((ip + TcpPacket::minimum_packet_size()) as u16)
}

/// The largest segment that the sender of a packet takes, where it says so. The packet may be cut short.
#[must_use]
pub fn mss(bytes: &[u8]) -> Option<u16> {
    options(bytes).find_map(|(kind, value)| match (kind, value) {
        (TcpOptionNumbers::MSS, &[high, low]) => Some(u16::from_be_bytes([high, low])),
        _ => None,
    })
}

/// The second clock of the timestamp option.
fn echoed_clock((kind, value): (TcpOptionNumber, &[u8])) -> Option<u32> {
    match (kind, value) {
        (TcpOptionNumbers::TIMESTAMPS, &[_, _, _, _, a, b, c, d]) => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

/// The options of a packet, which may be cut short: their kinds and values.
fn options(bytes: &[u8]) -> impl Iterator<Item = (TcpOptionNumber, &[u8])> {
    let end = bytes.get(12).map_or(0, |offset| usize::from(offset >> 4) * 4).min(bytes.len());
    let mut options = bytes.get(TcpPacket::minimum_packet_size()..end).unwrap_or_default();
    std::iter::from_fn(move || {
        while let [NOP, rest @ ..] = options {
            options = rest;
        }
        let [kind, length, ..] = *options else { return None };
        let (option, rest) = options.split_at_checked(length.into()).filter(|_| kind != EOL)?;
        options = rest;
        Some((TcpOptionNumber(kind), option.get(2..)?))
    })
}

/// The options of one byte.
const EOL: u8 = TcpOptionNumbers::EOL.0;
const NOP: u8 = TcpOptionNumbers::NOP.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn emit(kind: Kind) -> Vec<u8> {
        let mut buffer = vec![0xa5; 99];
        let packet = Outgoing { source_port: 61000, destination_port: 443, sequence: 0x0102_0304, kind };
        packet.emit([192, 0, 2, 1].into(), [192, 0, 2, 9].into(), &mut buffer).unwrap();
        buffer
    }

    #[test]
    fn a_syn_is_these_bytes() {
        let header = [0xee, 0x48, 0x01, 0xbb, 1, 2, 3, 4, 0, 0, 0, 0, 0x90, 0x02, 0xfa, 0xf0, 0xe9, 0x01, 0, 0];
        let options = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0];
        assert_eq!(emit(Kind::Syn { clock: 7, mss: 1460, data: 0 }), [&header[..], &options].concat());
        let with_data = emit(Kind::Syn { clock: 7, mss: 1460, data: 5 });
        assert_eq!(with_data[..16], header[..16]);
        assert_eq!(with_data[16..18], [0xe8, 0xfc]);
        assert_eq!(with_data[20..], [&options[..], &[0; 5]].concat());
    }

    #[test]
    fn a_reset_is_these_bytes() {
        let header = [0xee, 0x48, 0x01, 0xbb, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, 0x04, 0, 0, 0x37, 0xcc, 0, 0];
        assert_eq!(emit(Kind::Reset), header);
    }

    #[test]
    fn options_are_found_among_others() {
        let clock = [8, 10, 0, 0, 0, 1, 0, 0, 0, 9];
        let mss = [2, 4, 5, 0xb4];
        type Case<'a> = (&'a [&'a [u8]], Option<u32>, Option<u16>);
        let cases: [Case<'_>; 9] = [
            (&[&clock, &[1, 1]], Some(9), None),
            (&[&[1, 1], &clock], Some(9), None),
            (&[&mss, &[4, 2], &clock, &[1, 3, 3, 7]], Some(9), Some(1460)),
            (&[&clock, &[1, 1], &mss], Some(9), Some(1460)),
            (&[&[0, 0], &clock], None, None),
            (&[&[8, 10, 0, 0]], None, None),
            (&[&[2, 0], &clock, &[0, 0]], None, None),
            (&[&[2, 1], &clock, &[0, 0]], None, None),
            (&[&[2, 3, 5, 0]], None, None),
        ];
        for (parts, clock, mss) in cases {
            let options = parts.concat();
            let mut packet = vec![0; 20];
            packet[12] = ((20 + options.len()) as u8 / 4) << 4;
            packet[13] = TcpFlags::ACK;
            packet.extend(options);
            // What looks like an option behind the header is data.
            packet.extend([2, 4, 1, 1]);
            let found = Incoming::parse(&packet).unwrap();
            assert_eq!((found.echoed, found.mss), (clock, mss), "{parts:?}");
        }
    }

    #[test]
    fn what_only_acknowledges_is_told_from_what_says_more() {
        let is_bare = |flags: u8, data: usize| {
            let mut packet = vec![0; 20 + data];
            (packet[12], packet[13]) = (5 << 4, flags);
            Incoming::parse(&packet).unwrap().bare
        };
        assert!(is_bare(TcpFlags::ACK, 0) && !is_bare(TcpFlags::ACK, 1) && !is_bare(0, 0));
        for more in [TcpFlags::SYN, TcpFlags::FIN, TcpFlags::RST] {
            assert!(!is_bare(TcpFlags::ACK | more, 0));
        }
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed_again(
            source_port: u16, destination_port: u16, sequence: u32, clock: u32, mss: u16, data in 0..9000_usize,
            reset: bool, v4: [[u8; 4]; 2], v6: [[u8; 16]; 2],
        ) {
            let kind = if reset { Kind::Reset } else { Kind::Syn { clock, mss, data } };
            let pairs: [[IpAddr; 2]; 2] = [v4.map(IpAddr::from), v6.map(IpAddr::from)];
            for [source, destination] in pairs {
                let mut bytes = vec![0xa5; 7];
                let packet = Outgoing { source_port, destination_port, sequence, kind };
                packet.emit(source, destination, &mut bytes).unwrap();
                prop_assert_eq!(
                    Incoming::parse(&bytes),
                    Some(Incoming {
                        source_port, destination_port, sequence,
                        acknowledgement: None, syn: !reset, reset, bare: false, echoed: None, mss: (!reset).then_some(mss),
                    })
                );
                let whole = checksum::transport(source, destination, IpNextHeaderProtocols::Tcp, &bytes, usize::MAX);
                prop_assert_eq!(whole, Some(0));
            }
        }

        #[test]
        fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Incoming::parse(&bytes);
        }
    }
}
