//! Where two paths to one destination part, and where they are one again.

use std::net::IpAddr;

/// A hop of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Its number, from 1.
    pub number: u8,
    /// Who answered there; none where nobody did.
    pub addresses: Vec<IpAddr>,
}

/// In which part of a path something lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// In one that the other path has, too.
    Shared,
    /// In one that it has alone.
    Exclusive,
}

/// A path, whose last stop is the destination where that answered, beside another one to the same destination.
///
/// A router answers from the address of the device that a packet came in by. The one at which two paths meet has another address for each of
/// them, and is not known to be one; the one behind it is the first that both show.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// The path.
    pub path: &'a [Stop],
    /// The other one.
    pub other: &'a [Stop],
    /// Where both go.
    pub destination: IpAddr,
}

impl Beside<'_> {
    /// The number of the first hop that answered and is not on the other path.
    #[must_use]
    pub fn diverges(&self) -> Option<u8> {
        self.path.iter().find(|stop| self.is_shared(stop) == Some(false)).map(|stop| stop.number)
    }

    /// The number of the first hop of the end that both have in common; nothing where they have at most the destination, or never parted.
    #[must_use]
    pub fn rejoins(&self) -> Option<u8> {
        let diverges = self.diverges()?;
        let end = self.path.iter().rev().take_while(|stop| self.is_shared(stop) != Some(false));
        let routers =
            end.filter(|stop| self.is_shared(stop) == Some(true) && !stop.addresses.contains(&self.destination));
        routers.last().map(|stop| stop.number).filter(|number| *number > diverges)
    }

    /// In which part a hop lies of which something was seen first (more delay, loss), that the hop before it which answered did not have: between
    /// the two. Nothing where that is not known.
    #[must_use]
    pub fn part(&self, hop: usize) -> Option<Part> {
        let stop = self.path.get(hop)?;
        if !self.is_shared(stop)? {
            return Some(Part::Exclusive);
        }
        let before = self.path[..hop].iter().rposition(|stop| !stop.addresses.is_empty());
        let from_shared = before.is_some_and(|before| self.is_shared(&self.path[before]) == Some(true));
        // A router that shows the same address to both was reached by one link. The destination has but one address, and whom nobody heard of in
        // between may be on either path.
        let by_one_link = !stop.addresses.contains(&self.destination) && before.is_none_or(|before| before + 1 == hop);
        (from_shared || by_one_link).then_some(Part::Shared)
    }

    /// Whether a stop is on the other path; nothing where nobody answered.
    fn is_shared(&self, stop: &Stop) -> Option<bool> {
        let met = |address: &IpAddr| self.other.iter().any(|other| other.addresses.contains(address));
        let destination = stop.addresses.contains(&self.destination);
        (!stop.addresses.is_empty()).then(|| destination || stop.addresses.iter().any(met))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of routers by their numbers, 0 for one that says nothing; 99 is the destination.
    fn path(routers: &[u8]) -> Vec<Stop> {
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let stops = (1..).zip(routers);
        stops
            .map(|(number, router)| Stop {
                number,
                addresses: (*router > 0).then(|| address(*router)).into_iter().collect(),
            })
            .collect()
    }

    fn beside<T>(one: &[u8], other: &[u8], ask: impl Fn(Beside<'_>) -> T) -> [T; 2] {
        let (one, other) = (path(one), path(other));
        let destination = [10, 0, 0, 99].into();
        [(&one, &other), (&other, &one)].map(|(path, other)| ask(Beside { path, other, destination }))
    }

    #[test]
    fn paths_part_where_they_differ_and_meet_where_they_do_not_any_more() {
        type Ends = (Option<u8>, Option<u8>);
        let cases: [(&[u8], &[u8], Ends, Ends); 9] = [
            (&[1, 11, 12, 7, 8, 99], &[1, 21, 7, 8, 99], (Some(2), Some(4)), (Some(2), Some(3))),
            (&[11, 12, 99], &[21, 22, 23, 99], (Some(1), None), (Some(1), None)),
            (&[1, 2, 99], &[1, 2, 99], (None, None), (None, None)),
            // Who says nothing is on neither.
            (&[1, 0, 12, 0, 8, 99], &[1, 0, 22, 7, 8, 99], (Some(3), Some(5)), (Some(3), Some(5))),
            (&[1, 11, 0, 0, 99], &[1, 21, 0, 0, 99], (Some(2), None), (Some(2), None)),
            // One of them does not get there.
            (&[1, 11, 12], &[1, 21, 7, 99], (Some(2), None), (Some(2), None)),
            (&[1, 11, 7], &[1, 21, 7, 99], (Some(2), Some(3)), (Some(2), Some(3))),
            // They meet in between, and part again.
            (&[1, 11, 5, 12, 8, 99], &[1, 21, 5, 22, 8, 99], (Some(2), Some(5)), (Some(2), Some(5))),
            (&[], &[1, 99], (None, None), (Some(1), None)),
        ];
        for (one, other, of_one, of_other) in cases {
            let found = beside(one, other, |beside| (beside.diverges(), beside.rejoins()));
            assert_eq!(found, [of_one, of_other], "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_begins_at_a_hop_lies_in_the_part_before_it() {
        use Part::{Exclusive, Shared};
        let parts = |one: &[u8], other: &[u8]| {
            let [parts, _] =
                beside(one, other, |beside| (0..one.len()).map(|hop| beside.part(hop)).collect::<Vec<_>>());
            parts
        };
        let (shared, alone) = (Some(Shared), Some(Exclusive));
        assert_eq!(
            parts(&[1, 11, 12, 7, 8, 99], &[1, 21, 7, 8, 99]),
            [shared, alone, alone, shared, shared, shared],
            "the first router of the common end is behind the one at which they meet"
        );
        assert_eq!(parts(&[1, 11, 0, 8, 99], &[1, 21, 7, 8, 99]), [shared, alone, None, None, shared]);
        assert_eq!(parts(&[1, 2, 0, 8, 99], &[1, 2, 0, 8, 99]), [shared, shared, None, shared, shared]);
        assert_eq!(parts(&[0, 0, 99], &[1, 21, 99]), [None; 3]);
        assert_eq!(parts(&[11, 12, 99], &[21, 22, 99]), [alone, alone, None], "it may be reached by two links");
    }
}
