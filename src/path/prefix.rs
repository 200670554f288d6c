//! Networks by their prefix.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network: the first bits of the addresses in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The network that an address is in; nothing where the address has fewer bits than `length`.
    #[must_use]
    pub fn of(address: IpAddr, length: u8) -> Option<Self> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (length <= longest).then(|| Self { address: first(address, length), length })
    }

    /// How many bits its addresses have in common.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && same(left(self.address), left(address), self.length)
    }

    /// Its first address, as [`left`] has it.
    pub(super) fn first(&self) -> u128 {
        left(self.address)
    }

    /// Whether it is one of IPv4.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }
}

/// The bits of an address, from the left.
pub(super) fn left(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Whether so many bits are the same, from the left.
pub(super) fn same(one: u128, other: u128, length: u8) -> bool {
    (one ^ other).checked_shr(128 - u32::from(length)).unwrap_or(0) == 0
}

impl FromStr for Prefix {
    type Err = String;

    /// `192.0.2.0/24`, `2001:db8::/32`; an address alone is a network of one.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| format!("{text:?} is no prefix (192.0.2.0/24, 2001:db8::/32)"))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => longest,
            Some(digits) => {
                let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
                let length = digits.parse().ok().filter(|length| is_number && *length <= longest);
                length.ok_or_else(|| format!("{text:?} is no prefix: its length is a number from 0 to {longest}"))?
            }
        };
        let first = first(address, length);
        if first != address {
            return Err(format!("{text:?} has bits set behind its length; the network is {first}/{length}"));
        }
        Ok(Self { address, length })
    }
}

/// The first address of an address' network.
fn first(address: IpAddr, length: u8) -> IpAddr {
    let bits = left(address) & !u128::MAX.checked_shr(length.into()).unwrap_or(0);
    match address {
        IpAddr::V4(_) => IpAddr::V4(((bits >> 96) as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(bits.into()),
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        let cases = [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.128/25", "192.0.2.127", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::", false),
            ("::/0", "10.0.0.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("2001:db8::1", "2001:db8::1", true),
        ];
        for (network, address, expected) in cases {
            assert_eq!(prefix(network).contains(address.parse().unwrap()), expected, "{network} {address}");
        }
        assert_eq!(prefix("192.0.2.7").to_string(), "192.0.2.7/32");
        assert_eq!(prefix("::/0").to_string(), "::/0");
        let of = |address: &str, length| Prefix::of(address.parse().unwrap(), length).map(|prefix| prefix.to_string());
        assert_eq!(of("192.0.2.77", 26).as_deref(), Some("192.0.2.64/26"));
        assert_eq!((of("192.0.2.77", 33), of("2001:db8::1", 129)), (None, None));
    }

    #[test]
    fn what_is_no_prefix_is_told_why() {
        for (text, why) in [
            ("", "\"\" is no prefix (192.0.2.0/24, 2001:db8::/32)"),
            ("192.0.2/24", "\"192.0.2/24\" is no prefix (192.0.2.0/24, 2001:db8::/32)"),
            ("192.0.2.0/33", "\"192.0.2.0/33\" is no prefix: its length is a number from 0 to 32"),
            ("192.0.2.0/", "\"192.0.2.0/\" is no prefix: its length is a number from 0 to 32"),
            ("::/+1", "\"::/+1\" is no prefix: its length is a number from 0 to 128"),
            ("192.0.2.1/24", "\"192.0.2.1/24\" has bits set behind its length; the network is 192.0.2.0/24"),
            ("2001:db8::1/32", "\"2001:db8::1/32\" has bits set behind its length; the network is 2001:db8::/32"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap_err(), why);
        }
    }
}
