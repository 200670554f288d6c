//! Packets are rewritten so that every checksum is right, in buffers that were full of something else.

use super::*;
use crate::wire::icmp::{self, Label, Message};

const PROBER: [&str; 2] = ["10.1.0.2", "fd00:a::2"];
const OUTSIDE: [&str; 2] = ["203.0.113.5", "2001:db8:5::5"];
const TARGET: [&str; 2] = ["198.51.100.10", "2001:db8:100::10"];
const ROUTER: [&str; 2] = ["100.64.1.3", "fd00:a:1::3"];
const FAMILIES: [usize; 2] = [0, 1];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A packet from one to the other, with the right checksums.
fn packet(from: &str, to: &str, protocol: u8, transport: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xa5; 9];
    let at = write_ip(&mut packet, ip(from), ip(to), protocol, transport.len());
    packet.extend_from_slice(transport);
    let checksum = match protocol {
        TCP => at + 16,
        UDP => at + 6,
        _ => at + 2,
    };
    seal(&mut packet, checksum);
    packet
}

/// From port 40000 to 443: sequence number 7, acknowledgement 9, then data.
fn segment(flags: u8, data: &[u8]) -> Vec<u8> {
    let head = [156, 64, 1, 187, 0, 0, 0, 7, 0, 0, 0, 9, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0];
    [&head[..], data].concat()
}

fn echo(family: usize, sequence: u8) -> Vec<u8> {
    let (ty, protocol) = [(8, ICMP4), (128, ICMP6)][family];
    packet(PROBER[family], TARGET[family], protocol, &[ty, 0, 0, 0, 0x12, 0x34, 0, sequence, 1, 2, 3])
}

fn datagram(family: usize) -> Vec<u8> {
    packet(PROBER[family], TARGET[family], UDP, &[156, 64, 130, 155, 0, 11, 0, 0, 1, 2, 3])
}

/// The packet in its version, its lengths and all its checksums is right.
#[track_caller]
fn check(packet: &[u8]) {
    let header = Header::parse(packet).expect("it has a header");
    match header.family() {
        Family::V4 => {
            assert_eq!(sum(0, &packet[..20]), 0xffff, "the header's checksum");
            assert_eq!(word(packet, 2), Some(packet.len() as u16));
        }
        Family::V6 => assert_eq!(word(packet, 4), Some(packet.len() as u16 - 40)),
    }
    assert_eq!(transport_checksum(packet, &header), 0, "the transport's checksum");
}

#[test]
fn a_router_makes_offers_of_segments_smaller_and_leaves_the_rest() {
    // MSS 1460 at an even place, behind one byte of nothing, and behind another option; then data that looks like one.
    let cases: [(&[u8], usize); 3] =
        [(&[2, 4, 5, 0xb4], 2), (&[1, 2, 4, 5, 0xb4, 1, 0, 0], 3), (&[4, 2, 1, 1, 2, 4, 5, 0xb4], 6)];
    for family in FAMILIES {
        for (options, at) in cases {
            for (flags, most, offer) in
                [(SYN, 1360, 1360), (SYN | ACK, 1360, 1360), (SYN, 1460, 1460), (SYN, 9000, 1460), (ACK, 1360, 1460)]
            {
                let mut transport = [&segment(flags, &[])[..], options, &[2, 4, 5, 0xb4]].concat();
                transport[12] = ((20 + options.len()) as u8 / 4) << 4;
                let before = packet(PROBER[family], TARGET[family], TCP, &transport);
                let mut after = before.clone();
                let header = Header::parse(&after).unwrap();
                clamp(&mut after, &header, Some(most));
                check(&after);
                let at = header.transport + 20 + at;
                assert_eq!(word(&after, at), Some(offer), "{options:?} {flags}");
                let differ = after.iter().zip(&before).enumerate().filter(|(_, (after, before))| after != before);
                let differ: Vec<_> = differ.map(|(at, _)| at).collect();
                let sum = header.transport + 16;
                assert!(differ.iter().all(|place| [at, at + 1, sum, sum + 1].contains(place)), "{differ:?}");
                clamp(&mut after, &header, None);
            }
        }
        // What ends before it should is left alone.
        let mut broken = packet(PROBER[family], TARGET[family], TCP, &segment(SYN, &[]));
        let header = Header::parse(&broken).unwrap();
        for options in [&[2, 4, 5][..], &[3], &[3, 0, 2, 4, 5, 0xb4], &[2, 4]] {
            broken.truncate(header.transport + 20);
            broken[header.transport + 12] = 15 << 4;
            broken.extend_from_slice(options);
            let before = broken.clone();
            clamp(&mut broken, &header, Some(1));
            assert_eq!(broken, before);
        }
    }
}

#[test]
fn a_router_takes_one_from_the_time_to_live_and_keeps_the_checksum_right() {
    for family in FAMILIES {
        let mut packet = datagram(family);
        for left in (0..255).rev() {
            decrement_ttl(&mut packet);
            assert_eq!(Header::parse(&packet).unwrap().ttl, left);
            check(&packet);
        }
        decrement_ttl(&mut packet);
        assert_eq!(Header::parse(&packet).unwrap().ttl, 0);
    }
}

#[test]
fn an_error_quotes_as_much_as_fits() {
    for (family, says, most) in [(0, (11, 0), 576), (1, (3, 0), 1280)] {
        for length in [20, 1400] {
            let about = packet(PROBER[family], TARGET[family], TCP, &segment(SYN, &vec![7; length]));
            let mut answer = vec![0xa5; 3000];
            let header = Header::parse(&about).unwrap();
            let (ty, code) = says;
            icmp_error(&mut answer, ip(ROUTER[family]), &about, &header, (ty, code, 1300), None);
            check(&answer);
            let outer = Header::parse(&answer).unwrap();
            assert_eq!((outer.source, outer.destination), (ip(ROUTER[family]), ip(PROBER[family])));
            assert!(outer.is_icmp_error(&answer) && !header.is_icmp_error(&about));
            assert_eq!(answer[outer.transport + 4..outer.transport + 8], 1300_u32.to_be_bytes());
            let quoted = &answer[outer.transport + 8..];
            assert!(about.starts_with(quoted));
            assert_eq!(answer.len(), (outer.transport + 8 + about.len()).min(most));
        }
    }
}

#[test]
fn labels_stand_behind_128_bytes_of_what_is_quoted_and_only_where_they_may() {
    fn error(family: usize, message: &[u8]) -> icmp::Error<'_> {
        match if family == 0 { Message::parse_v4(message) } else { Message::parse_v6(message) } {
            Some(Message::Error(error)) => error,
            other => panic!("{other:?}"),
        }
    }
    let stack = &[Label { label: 24_003, traffic_class: 1, bottom: true, ttl: 1 }];
    for (family, says, too_big) in [(0, (11, 0, 0), (3, 4, 1300)), (1, (3, 0, 0), (2, 0, 1300))] {
        for (length, said) in [(20, true), (20, false), (1400, true), (1400, false)] {
            let about = packet(PROBER[family], TARGET[family], TCP, &segment(SYN, &vec![7; length]));
            let header = Header::parse(&about).unwrap();
            let mut answer = vec![0xa5; 3000];
            icmp_error(&mut answer, ip(ROUTER[family]), &about, &header, says, Some(Labels { stack, said }));
            check(&answer);
            let transport = Header::parse(&answer).unwrap().transport;
            let told = error(family, &answer[transport..]);
            assert_eq!(told.quoted_length, Some(if said { QUOTED } else { 0 }));
            assert_eq!(told.labels(), stack);
            let quoted = about.len().min(QUOTED);
            assert_eq!(told.quoted[..quoted], about[..quoted]);
            icmp_error(&mut answer, ip(ROUTER[family]), &about, &header, too_big, Some(Labels { stack, said }));
            // IPv6 has no room for a length beside the MTU.
            let told = error(family, &answer[transport..]);
            assert_eq!((told.info & 0xffff, told.labels().len()), (1300, [1, 0][family]));
        }
    }
}

#[test]
fn a_syn_is_reset_by_its_number_and_a_segment_by_what_it_acknowledges() {
    for family in FAMILIES {
        for (flags, data, sequence, acknowledged, answer_flags) in
            [(SYN, &b""[..], 0, 8, RST | ACK), (ACK, b"data", 9, 0, RST)]
        {
            let about = packet(PROBER[family], TARGET[family], TCP, &segment(flags, data));
            let mut answer = vec![0xa5; 3000];
            reset(&mut answer, &about, &Header::parse(&about).unwrap()).unwrap();
            check(&answer);
            let header = Header::parse(&answer).unwrap();
            assert_eq!((header.source, header.destination), (ip(TARGET[family]), ip(PROBER[family])));
            assert_eq!(header.ports(&answer), Some((443, 40_000)));
            assert_eq!(header.tcp(&answer), Some((answer_flags, 0)));
            let numbers = &answer[header.transport + 4..header.transport + 12];
            assert_eq!(numbers, (u64::from(sequence as u32) << 32 | acknowledged).to_be_bytes());
        }
    }
}

#[test]
fn a_segment_becomes_a_reset_of_its_own_connection() {
    for family in FAMILIES {
        let mut packet = packet(PROBER[family], TARGET[family], TCP, &segment(ACK, b"odd"));
        let header = Header::parse(&packet).unwrap();
        make_reset(&mut packet, &header);
        check(&packet);
        assert_eq!(header.tcp(&packet), Some((RST | ACK, 0)));
        assert_eq!(packet[header.transport + 4..header.transport + 8], 7_u32.to_be_bytes());
    }
}

#[test]
fn an_address_is_translated_and_translated_back() {
    for family in FAMILIES {
        let (inside, outside) = (ip(PROBER[family]), ip(OUTSIDE[family]));
        let tcp = packet(PROBER[family], TARGET[family], TCP, &segment(ACK, b"odd"));
        for before in [tcp, datagram(family), echo(family, 1)] {
            let mut packet = before.clone();
            translate(&mut packet, Side::Source, inside, outside);
            check(&packet);
            assert_eq!(Header::parse(&packet).unwrap().source, outside);
            translate(&mut packet, Side::Source, outside, inside);
            assert_eq!(packet, before);
            translate(&mut packet, Side::Source, outside, inside);
            assert_eq!(packet, before, "somebody else's packet");
        }
    }
}

#[test]
fn what_an_error_quotes_is_translated_back_too() {
    for family in FAMILIES {
        let sent = datagram(family);
        let mut outside = sent.clone();
        translate(&mut outside, Side::Source, ip(PROBER[family]), ip(OUTSIDE[family]));
        let mut answer = Vec::new();
        let header = Header::parse(&outside).unwrap();
        icmp_error(&mut answer, ip(ROUTER[family]), &outside, &header, [(11, 0, 0), (3, 0, 0)][family], None);
        translate(&mut answer, Side::Destination, ip(OUTSIDE[family]), ip(PROBER[family]));
        check(&answer);
        let header = Header::parse(&answer).unwrap();
        assert_eq!(header.destination, ip(PROBER[family]));
        assert_eq!(answer[header.transport + 8..], sent, "the packet as the prober sent it");
    }
}

#[test]
fn a_datagram_without_a_checksum_gets_none_and_one_never_becomes_none() {
    let mut packet = datagram(0);
    packet[26..28].fill(0);
    translate(&mut packet, Side::Source, ip(PROBER[0]), ip(OUTSIDE[0]));
    assert_eq!(packet[26..28], [0, 0]);
    // Data chosen so that the sum over the translated packet is zero.
    let mut packet = packet_with_sum_zero_after_translation();
    translate(&mut packet, Side::Source, ip(PROBER[0]), ip(OUTSIDE[0]));
    assert_eq!(packet[26..28], [0xff, 0xff]);
}

fn packet_with_sum_zero_after_translation() -> Vec<u8> {
    let at = |data: [u8; 2]| packet(PROBER[0], TARGET[0], UDP, &[156, 64, 130, 155, 0, 10, 0, 0, data[0], data[1]]);
    let translated = |packet: &[u8]| {
        let mut packet = packet.to_vec();
        packet[12..16].copy_from_slice(&[203, 0, 113, 5]);
        let header = Header::parse(&packet).unwrap();
        fill_checksum(&mut packet, &header, 26);
        word(&packet, 26)
    };
    (0..=u16::MAX).map(|data| at(data.to_be_bytes())).find(|packet| translated(packet) == Some(0)).unwrap()
}

#[test]
fn pieces_hold_the_whole_and_fit() {
    let mut whole = packet(PROBER[0], TARGET[0], UDP, &[vec![156, 64, 130, 155, 5, 120, 0, 0], vec![7; 1392]].concat());
    whole[4..6].copy_from_slice(&[1, 2]);
    fill_checksum4(&mut whole, 20);
    let header = Header::parse(&whole).unwrap();
    assert!(!header.whole);
    let pieces = fragments(&whole, &header, 600);
    let mut data = Vec::new();
    for piece in &pieces {
        let header = Header::parse(piece).unwrap();
        assert!(piece.len() <= 600 && sum(0, &piece[..20]) == 0xffff && piece[4..6] == [1, 2]);
        assert_eq!(header.first, data.is_empty());
        let field = word(piece, 6).unwrap();
        assert_eq!(usize::from(field & 0x1fff) * 8, data.len());
        data.extend_from_slice(&piece[20..]);
        assert_eq!(field & 0x2000 != 0, data.len() < 1400, "more fragments");
    }
    assert_eq!(data, whole[20..]);
}

#[test]
fn replies_and_errors_belong_to_the_flow_of_what_they_answer() {
    for family in FAMILIES {
        let flow = |packet: &[u8]| Flow::towards_target(packet, &Header::parse(packet).unwrap());
        let back = |packet: &[u8]| Flow::from_target(packet, &Header::parse(packet).unwrap());
        let swapped = |packet: &[u8], protocol, transport: &[u8]| {
            let header = Header::parse(packet).unwrap();
            super::tests::packet(&header.destination.to_string(), &header.source.to_string(), protocol, transport)
        };
        let request = echo(family, 3);
        let header = Header::parse(&request).unwrap();
        let mut reply = request[header.transport..].to_vec();
        reply[0] = [0, 129][family];
        reply[2..4].fill(0);
        assert_eq!(back(&swapped(&request, header.protocol, &reply)), flow(&request));

        let tcp = packet(PROBER[family], TARGET[family], TCP, &segment(SYN, b""));
        let mut answer = segment(SYN | ACK, b"");
        answer[..4].rotate_left(2);
        assert_eq!(back(&swapped(&tcp, TCP, &answer)), flow(&tcp));

        let mut error = Vec::new();
        icmp_error(
            &mut error,
            ip(TARGET[family]),
            &tcp,
            &Header::parse(&tcp).unwrap(),
            [(3, 3, 0), (1, 4, 0)][family],
            None,
        );
        assert_eq!(back(&error), flow(&tcp));
    }
}

#[test]
fn echo_requests_of_one_id_are_one_conversation_of_several_flows() {
    let (one, two) = (echo(0, 1), echo(0, 2));
    let header = Header::parse(&one).unwrap();
    assert_eq!(Flow::conversation(&one, &header), Flow::conversation(&two, &header));
    assert_ne!(Flow::towards_target(&one, &header), Flow::towards_target(&two, &header));
}

#[test]
fn the_hash_of_a_flow_is_stable_and_spreads() {
    let flow = |port: u16| {
        let [high, low] = port.to_be_bytes();
        Flow::new(ip(PROBER[0]), ip(TARGET[0]), UDP, [high, low, 1, 187])
    };
    let members: Vec<_> = (40_000..40_012).map(|port| flow(port).member(2, 5)).collect();
    // Written down, since a repeated run must choose the same routers.
    assert_eq!(members, [1, 1, 1, 1, 0, 1, 0, 0, 1, 0, 1, 0]);
    for salt in 0..8 {
        let ones = (0..1_000).filter(|port| flow(*port).member(2, salt) == 1).count();
        assert!((430..570).contains(&ones), "{ones}");
    }
}

#[test]
fn no_bytes_are_too_few_or_too_strange() {
    for family in FAMILIES {
        let whole = packet(PROBER[family], TARGET[family], TCP, &segment(SYN, b"odd"));
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            if let Some(header) = Header::parse(&cut) {
                Flow::from_target(&cut, &header);
                let _ = (header.tcp(&cut), header.ports(&cut), header.is_icmp_error(&cut));
                let _ = reset(&mut Vec::new(), &cut, &header);
                translate(&mut cut, Side::Source, ip(PROBER[family]), ip(OUTSIDE[family]));
                make_reset(&mut cut, &header);
            }
        }
    }
    let mut extended = vec![0; 48];
    (extended[0], extended[6], extended[40], extended[41]) = (0x60, 60, TCP, 255);
    assert_eq!(Header::parse(&extended).unwrap().transport, 40 + 8 + 255 * 8, "behind the end");
    translate(&mut extended, Side::Source, ip("::"), ip("::1"));
    assert_eq!(Header::parse(&[0x4f; 30]), None);
}
