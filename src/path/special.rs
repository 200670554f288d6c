//! Addresses that do not mean the same everywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 networks whose addresses are not for the Internet, as address and prefix length: IANA's registry of special-purpose addresses
/// (RFC 6890), and multicast.
const SPECIAL_V4: [(Ipv4Addr, u32); 14] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The same of what IPv6 has in its one global range, 2000::/3: protocol assignments, 6to4, documentation.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// IPv6 addresses that stand for one of IPv4 (RFC 6052, section 2.1), which is in their last 32 bits.
const TRANSLATED: u128 = 0x0064_ff9b << 96;

/// The address on the Internet that an address stands for: itself, or of IPv4 where it is one that NAT64 has made of that; nothing where it
/// means something only somewhere: private, shared, of a link, for documentation, reserved.
#[must_use]
pub fn public(address: IpAddr) -> Option<IpAddr> {
    let is_public = match address.to_canonical() {
        IpAddr::V4(v4) => {
            let within = |(network, length): &(Ipv4Addr, u32)| (v4.to_bits() ^ network.to_bits()) >> (32 - length) == 0;
            !SPECIAL_V4.iter().any(within)
        }
        IpAddr::V6(v6) if (v6.to_bits() ^ TRANSLATED) >> 32 == 0 => {
            return public(Ipv4Addr::from_bits(v6.to_bits() as u32).into());
        }
        IpAddr::V6(v6) => {
            let within =
                |(network, length): &(Ipv6Addr, u32)| (v6.to_bits() ^ network.to_bits()) >> (128 - length) == 0;
            v6.to_bits() >> 125 == 1 && !SPECIAL_V6.iter().any(within)
        }
    };
    is_public.then(|| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_internet_are_told_from_all_others() {
        for own in ["8.8.8.8", "1.0.0.1", "100.63.255.255", "100.128.0.0", "172.32.0.1", "192.0.3.1", "223.255.255.255"]
        {
            assert_eq!(public(own.parse().unwrap()), own.parse().ok(), "{own}");
        }
        for own in ["2001:200::1", "2a00:1450::1", "2600::", "3ffe::1", "2003::1"] {
            assert_eq!(public(own.parse().unwrap()), own.parse().ok(), "{own}");
        }
        for none in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.1.1",
            "172.31.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.1",
            "198.19.0.1",
            "198.51.100.10",
            "203.0.113.9",
            "224.0.0.5",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00:a:1::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:a00:1::",
            "3fff:1::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(public(none.parse().unwrap()), None, "{none}");
        }
        for stands_for in ["64:ff9b::8.8.8.8", "::ffff:8.8.8.8"] {
            assert_eq!(public(stands_for.parse().unwrap()), "8.8.8.8".parse().ok(), "{stands_for}");
        }
    }
}
