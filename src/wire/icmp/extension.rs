//! What a router adds to an ICMP error behind the packet that it quotes (RFC 4884), and of that the MPLS label stack (RFC 4950).

use pnet_packet::util;

/// An entry of an MPLS label stack (RFC 3032, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// The label, 20 bits.
    pub label: u32,
    /// The traffic class, 3 bits; once "experimental" (RFC 5462).
    pub traffic_class: u8,
    /// Whether it is the last of its stack.
    pub bottom: bool,
    /// Its time to live, as the packet came to the router.
    pub ttl: u8,
}

/// Where the extensions begin, from the quoted packet's first byte on, where the router does not say it (RFC 4884, section 5.5): routers
/// did so before there was a rule.
const UNSAID: usize = 128;

/// Bytes of the header of the extensions, and of each object.
const HEADER: usize = 4;

/// The version of the extensions.
const VERSION: u8 = 2;

/// Class and type of an object that holds the label stack that the packet came with.
const LABEL_STACK: [u8; 2] = [1, 1];

/// The label stack among the extensions behind a quoted packet; empty where there is none, or what is there is broken. `quoted` begins
/// with the quoted packet, `length` is how many bytes of it there are as the message says, 0 where it does not.
pub(super) fn label_stack(quoted: &[u8], length: usize) -> Vec<Label> {
    let extensions = match length {
        // Where nothing says that they are there, only their checksum does.
        0 => quoted.get(UNSAID..).filter(|bytes| has_checksum(bytes) && is_intact(bytes)),
        length => quoted.get(length..).filter(|bytes| !has_checksum(bytes) || is_intact(bytes)),
    };
    let Some((header, mut objects)) = extensions.and_then(|bytes| bytes.split_at_checked(HEADER)) else {
        return Vec::new();
    };
    if header[0] >> 4 != VERSION {
        return Vec::new();
    }
    while let Some((object, rest)) = next(objects) {
        if object.kind == LABEL_STACK {
            return object.payload.as_chunks().0.iter().map(|entry| Label::of(*entry)).collect();
        }
        objects = rest;
    }
    Vec::new()
}

/// An object of the extensions.
struct Object<'a> {
    kind: [u8; 2],
    payload: &'a [u8],
}

/// The first object, and what is behind it; nothing where it is broken.
fn next(objects: &[u8]) -> Option<(Object<'_>, &[u8])> {
    let [high, low, class, ty, ..] = *objects else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (object, rest) = objects.split_at_checked(length)?;
    Some((Object { kind: [class, ty], payload: object.get(HEADER..)? }, rest))
}

/// A checksum of zero is none.
fn has_checksum(extensions: &[u8]) -> bool {
    extensions.get(2..4).is_some_and(|checksum| checksum != [0, 0])
}

/// Whether the checksum over all of it is right (RFC 1071): with itself in it, it is zero.
fn is_intact(extensions: &[u8]) -> bool {
    util::checksum(extensions, usize::MAX) == 0
}

impl Label {
    fn of(entry: [u8; 4]) -> Self {
        let entry = u32::from_be_bytes(entry);
        Self { label: entry >> 12, traffic_class: (entry >> 9 & 7) as u8, bottom: entry & 0x100 != 0, ttl: entry as u8 }
    }

    /// The entry as the wire has it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4] {
        let Self { label, traffic_class, bottom, ttl } = self;
        (label << 12 | u32::from(traffic_class & 7) << 9 | u32::from(bottom) << 8 | u32::from(ttl)).to_be_bytes()
    }
}

/// The extensions that hold a label stack, as routers write them.
#[must_use]
pub fn of_labels(labels: &[Label]) -> Vec<u8> {
    let length = (HEADER + 4 * labels.len()) as u16;
    let mut bytes = vec![VERSION << 4, 0, 0, 0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(LABEL_STACK);
    bytes.extend(labels.iter().flat_map(|label| label.to_bytes()));
    let checksum = util::checksum(&bytes, 1);
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Error, Message};
    use super::*;

    const LABEL: Label = Label { label: 24_003, traffic_class: 5, bottom: false, ttl: 1 };
    const LAST: Label = Label { label: 0xf_ffff, traffic_class: 0, bottom: true, ttl: 255 };

    /// An ICMP error of a family: type, the byte with the length and its value, what is quoted and what is behind it.
    fn message(ty: u8, length: (usize, u8), quoted: &[u8], behind: &[u8]) -> Vec<u8> {
        let mut bytes = [&[ty, 0, 0xa5, 0xa5, 0, 0, 0, 0], quoted, behind].concat();
        bytes[length.0] = length.1;
        bytes
    }

    fn labels_v4(bytes: &[u8]) -> Vec<Label> {
        match Message::parse_v4(bytes) {
            Some(Message::Error(error)) => error.labels(),
            other => panic!("{other:?}"),
        }
    }

    fn labels_v6(bytes: &[u8]) -> Vec<Label> {
        match Message::parse_v6(bytes) {
            Some(Message::Error(error)) => error.labels(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_is_these_bytes() {
        assert_eq!(LABEL.to_bytes(), [0x05, 0xdc, 0x3a, 0x01]);
        assert_eq!(LAST.to_bytes(), [0xff, 0xff, 0xf1, 0xff]);
        assert_eq!([LABEL, LAST].map(|label| Label::of(label.to_bytes())), [LABEL, LAST]);
    }

    #[test]
    fn the_length_counts_words_of_32_bits_in_ipv4_and_of_64_in_ipv6() {
        let extensions = of_labels(&[LABEL, LAST]);
        for quoted in [128, 136, 256, 512] {
            let packet = vec![0xa5; quoted];
            for ty in [3, 11, 12] {
                let bytes = message(ty, (5, (quoted / 4) as u8), &packet, &extensions);
                assert_eq!(labels_v4(&bytes), [LABEL, LAST], "{ty} {quoted}");
            }
            for ty in [1, 3] {
                let bytes = message(ty, (4, (quoted / 8) as u8), &packet, &extensions);
                assert_eq!(labels_v6(&bytes), [LABEL, LAST], "{ty} {quoted}");
            }
        }
    }

    #[test]
    fn the_form_before_the_rule_is_known_by_its_checksum() {
        let packet = [0xa5; 128];
        let extensions = of_labels(&[LABEL]);
        assert_eq!(labels_v4(&message(11, (5, 0), &packet, &extensions)), [LABEL]);
        assert_eq!(labels_v6(&message(3, (4, 0), &packet, &extensions)), [LABEL]);
        let mut without = extensions.clone();
        (without[2], without[3]) = (0, 0);
        assert_eq!(labels_v4(&message(11, (5, 0), &packet, &without)), []);
        // Where the message says that extensions are there, they need no checksum.
        assert_eq!(labels_v4(&message(11, (5, 32), &packet, &without)), [LABEL]);
        let mut wrong = extensions;
        wrong[2] ^= 1;
        for length in [0, 32] {
            assert_eq!(labels_v4(&message(11, (5, length), &packet, &wrong)), [], "{length}");
        }
    }

    #[test]
    fn what_has_no_extensions_has_none() {
        let extensions = of_labels(&[LABEL]);
        let packet = [0xa5; 128];
        // A packet that is too big says its link's MTU there; and a length that leads beyond the end leads nowhere.
        let mut too_big = message(2, (4, 0), &packet, &extensions);
        too_big[4..8].copy_from_slice(&1280_u32.to_be_bytes());
        assert_eq!(labels_v6(&too_big), []);
        assert_eq!(labels_v4(&message(11, (5, 255), &packet, &extensions)), []);
        assert_eq!(labels_v4(&message(11, (5, 0), &packet[..100], &[])), []);
        assert_eq!(labels_v4(&message(11, (5, 32), &packet, &[0x10, 0, 0, 0, 0, 8, 1, 1, 0, 0, 0, 0])), []);
    }

    #[test]
    fn other_objects_are_passed_over_and_broken_ones_end_it() {
        let objects = |objects: &[&[u8]]| [&[0x20, 0, 0, 0], objects.concat().as_slice()].concat();
        let labels = &of_labels(&[LABEL])[4..];
        let packet = [0xa5; 128];
        let of = |behind: &[u8]| labels_v4(&message(11, (5, 32), &packet, behind));
        // RFC 5837: which interface the packet came in by.
        assert_eq!(of(&objects(&[&[0, 8, 2, 0, 1, 2, 3, 4], labels])), [LABEL]);
        for broken in [[0, 0, 2, 0], [0, 3, 2, 0], [255, 255, 2, 0]] {
            assert_eq!(of(&objects(&[&broken, labels])), [], "{broken:?}");
        }
        // Half an entry is none.
        let mut odd = labels.to_vec();
        odd[1] = 10;
        odd.extend([1, 2]);
        assert_eq!(of(&objects(&[&odd])), [LABEL]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_out_of_a_poisoned_buffer(
            stack in proptest::collection::vec((0..1_u32 << 20, 0..8_u8, any::<bool>(), any::<u8>()), 1..12),
            words in 32..128_usize,
            poison: u8,
        ) {
            let stack: Vec<_> = stack
                .into_iter()
                .map(|(label, traffic_class, bottom, ttl)| Label { label, traffic_class, bottom, ttl })
                .collect();
            let extensions = of_labels(&stack);
            let packet = vec![poison; words * 4];
            prop_assert_eq!(labels_v4(&message(11, (5, words as u8), &packet, &extensions)), stack.clone());
            let packet = vec![poison; words / 2 * 8];
            prop_assert_eq!(labels_v6(&message(3, (4, (words / 2) as u8), &packet, &extensions)), stack);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 8..700), length: u8) {
            let error = |bytes: &[u8]| {
                let quoted = bytes.get(8..).unwrap_or_default();
                Error { ty: 11, code: 0, info: 0, quoted, quoted_length: Some(usize::from(length) * 4) }.labels()
            };
            error(&bytes);
            // The same, where the header is right and only the objects are not.
            if let Some(header) = bytes.get_mut(8 + usize::from(length) * 4..).and_then(|rest| rest.first_chunk_mut()) {
                *header = [0x20, 0, 0, 0];
            }
            error(&bytes);
        }
    }
}
