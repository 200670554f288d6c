//! A hash that is the same in every process and release, unlike those of the standard library.

use std::net::IpAddr;

/// FNV-1a of 64 bits (Fowler, Noll, Vo: RFC 9923).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fnv(u64);

impl Fnv {
    /// A hash of its own for each salt; 0 is the usual one.
    pub(crate) fn salted(salt: u64) -> Self {
        Self(0xcbf2_9ce4_8422_2325 ^ salt)
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn add_address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.add(&address.octets()),
            IpAddr::V6(address) => self.add(&address.octets()),
        }
    }

    pub(crate) fn finish(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_that_is_published() {
        // From its reference implementation.
        let of = |text: &str| {
            let mut hash = Fnv::salted(0);
            hash.add(text.as_bytes());
            hash.finish()
        };
        assert_eq!(
            [of(""), of("a"), of("foobar")],
            [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c, 0x8594_4171_f739_67e8]
        );
        let (mut by_address, mut by_bytes) = (Fnv::salted(1), Fnv::salted(1));
        by_address.add_address("192.0.2.1".parse().unwrap());
        by_bytes.add(&[192, 0, 2, 1]);
        assert_eq!(by_address.finish(), by_bytes.finish());
        assert_ne!(Fnv::salted(1).finish(), Fnv::salted(0).finish());
    }
}
