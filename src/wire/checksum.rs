//! The internet checksum (RFC 1071) over the pseudo-headers of IPv4 (RFC 9293, section 3.1) and IPv6 (RFC 8200, section 8.1).

use std::net::IpAddr;

use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::util;

/// The checksum of a transport header and its data; the 16-bit word number `field`, which holds the checksum, counts as zero.
///
/// Nothing where the addresses are not of one family.
#[must_use]
pub fn transport(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpNextHeaderProtocol,
    bytes: &[u8],
    field: usize,
) -> Option<u16> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Some(util::ipv4_checksum(bytes, field, &[], &source, &destination, protocol))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Some(util::ipv6_checksum(bytes, field, &[], &source, &destination, protocol))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// The sum of two words in one's complement, the arithmetic of the checksum.
#[must_use]
pub fn add(left: u16, right: u16) -> u16 {
    let (sum, carry) = left.overflowing_add(right);
    sum + u16::from(carry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        let sum = [0x0001, 0xf203, 0xf4f5, 0xf6f7].into_iter().fold(0, add);
        assert_eq!(sum, 0xddf2);
    }

    #[test]
    fn a_word_and_its_complement_change_nothing() {
        for word in 0..=u16::MAX {
            assert_eq!(add(add(0x1234, word), !word), 0x1234);
        }
    }

    #[test]
    fn addresses_of_two_families_have_no_checksum() {
        let (v4, v6) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!(transport(v4, v6, IpNextHeaderProtocol(6), &[0; 20], 8), None);
    }
}
