//! What identifies a path: numbers that change when it does.
//!
//! No number can be the same with and without a hop's answer and still change whenever that hop does: with the answer missing, one
//! path looks like the other. So a trace sees to it that hops answer (it asks a silent one again, and all packets of all rounds count), and
//! these numbers do not depend on anything else: not on how often a hop answered, nor on a destination that is down.

use std::net::IpAddr;

use crate::fnv::Fnv;

/// A number for the routers of a path that leads to its destination: hops by number, and who answered the latest packet there. Hops that
/// did not answer are left out. 53 bits, so that a float holds it exactly.
#[must_use]
pub(super) fn route_hash(hops: impl IntoIterator<Item = (u8, IpAddr)>) -> u64 {
    let mut hash = Fnv::salted(0);
    for (number, address) in hops {
        hash.add(&[number]);
        hash.add_address(address);
    }
    folded(hash)
}

/// The AS numbers that a path goes through, each once for neighbours that have the same. Hops without one are passed over: of a network
/// of several hops, none is missed.
#[must_use]
pub(super) fn as_path(hops: impl IntoIterator<Item = Option<u32>>) -> Vec<u32> {
    let mut path: Vec<u32> = hops.into_iter().flatten().collect();
    path.dedup();
    path
}

/// A number for the AS numbers that a path goes through; nothing where none is known. 53 bits, so that a float holds it exactly.
#[must_use]
pub(super) fn as_path_hash(path: &[u32]) -> Option<u64> {
    let mut hash = Fnv::salted(0);
    path.iter().for_each(|asn| hash.add(&asn.to_be_bytes()));
    (!path.is_empty()).then(|| folded(hash))
}

/// As many bits of a hash as a float has for whole numbers.
fn folded(hash: Fnv) -> u64 {
    let hash = hash.finish();
    (hash >> f64::MANTISSA_DIGITS) ^ (hash & ((1 << f64::MANTISSA_DIGITS) - 1))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn hash(hops: &[(u8, &str)]) -> u64 {
        route_hash(hops.iter().map(|(number, address)| (*number, address.parse().unwrap())))
    }

    const PATH: [(u8, &str); 3] = [(1, "10.0.0.1"), (2, "10.0.1.1"), (4, "192.0.2.1")];

    #[test]
    fn a_path_has_the_same_number_everywhere_and_for_ever() {
        assert_eq!(hash(&PATH), 1_095_562_668_203_631);
        assert_eq!(hash(&[(1, "2001:db8::1")]), 4_425_815_898_902_035);
        assert_eq!(as_path_hash(&[64500, 64501]), Some(302_424_885_708_026));
    }

    #[test]
    fn another_path_has_another_number() {
        let others: [&[(u8, &str)]; 6] = [
            &PATH,
            &PATH[..2],
            &[(1, "10.0.0.1"), (2, "10.0.1.2"), (4, "192.0.2.1")],
            &[(1, "10.0.0.1"), (3, "10.0.1.1"), (4, "192.0.2.1")],
            &[(2, "10.0.0.1"), (1, "10.0.1.1"), (4, "192.0.2.1")],
            &[(1, "10.0.0.1"), (2, "10.0.1.1"), (5, "192.0.2.1")],
        ];
        let hashes: HashSet<u64> = others.iter().map(|path| hash(path)).collect();
        assert_eq!(hashes.len(), others.len());
    }

    #[test]
    fn as_paths_pass_over_hops_without_a_number() {
        assert_eq!(as_path([None, Some(1), None, Some(1), Some(2), None]), [1, 2]);
        assert_eq!(as_path([Some(1), Some(2), Some(2), Some(1)]), [1, 2, 1]);
        assert!(as_path([None, None]).is_empty());
        assert_eq!(as_path_hash(&[]), None);
        assert_ne!(as_path_hash(&[1, 2]), as_path_hash(&[2, 1]));
        assert_ne!(as_path_hash(&[1]), as_path_hash(&[1, 1]));
    }

    proptest! {
        #[test]
        fn a_float_holds_a_hash_exactly(hops in prop::collection::vec((any::<u8>(), any::<IpAddr>()), 0..40)) {
            let hash = route_hash(hops);
            prop_assert!(hash < 1 << 53);
            prop_assert_eq!(hash as f64 as u64, hash);
        }

        #[test]
        fn an_as_of_several_hops_is_seen_also_where_one_of_them_is_silent(
            networks in prop::collection::vec((1_u32..9, 2_usize..5), 1..8),
            silent in any::<prop::sample::Index>(),
        ) {
            let mut hops: Vec<Option<u32>> =
                networks.iter().flat_map(|(asn, hops)| std::iter::repeat_n(Some(*asn), *hops)).collect();
            let whole = as_path_hash(&as_path(hops.iter().copied()));
            let silent = silent.index(hops.len());
            hops[silent] = None;
            prop_assert_eq!(as_path_hash(&as_path(hops)), whole);
        }
    }
}
