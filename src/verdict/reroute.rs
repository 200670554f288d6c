//! Whether a target would be better off through another ISP, as traces through several tell.

use crate::path::Part;

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    /// It does not lead to its destination.
    Ends,
    /// It loses packets, from some hop on to the end.
    Loss,
    /// It is slow.
    Delay,
}

impl Trouble {
    /// All, the worst first.
    pub const ALL: [Self; 3] = [Self::Ends, Self::Loss, Self::Delay];

    /// The label value in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ends => "end",
            Self::Loss => "loss",
            Self::Delay => "delay",
        }
    }
}

/// What is wrong with the path through one ISP, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ill {
    /// What.
    pub trouble: Trouble,
    /// In which part it begins, beside the path through another ISP; nothing where that is not known.
    pub part: Option<Part>,
}

/// Whether the path through another ISP would do better: `ill` is what is wrong with this one beside each of the others, of which `good` says
/// that nothing is wrong with them. Nothing where it cannot be known; what is right needs no help.
///
/// What is wrong where all go through is wrong for all, also where another path did not show it: a few packets may get through by chance. A path
/// that ends is known to be better through another one that does not, wherever it ends.
#[must_use]
pub fn reroute_helps(ill: &[Option<Ill>], good: &[bool]) -> Option<bool> {
    let beside = ill.iter().zip(good).map(|(ill, good)| match (ill.as_ref()?, good) {
        (Ill { trouble: Trouble::Ends, .. }, true) => Some(true),
        (Ill { part: Some(Part::Exclusive), .. }, true) => Some(true),
        (Ill { part: Some(Part::Shared), .. }, _) => Some(false),
        (Ill { part: None | Some(Part::Exclusive), .. }, _) => None,
    });
    let told: Vec<Option<bool>> = beside.collect();
    if told.contains(&Some(true)) {
        return Some(true);
    }
    (!told.is_empty() && told.iter().all(|told| *told == Some(false))).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_way_helps_where_it_does_not_go_through_what_is_wrong() {
        use Part::{Exclusive, Shared};
        let ill = |trouble, part| Some(Ill { trouble, part });
        let cases = [
            (None, true, None),
            (ill(Trouble::Ends, None), true, Some(true)),
            (ill(Trouble::Ends, Some(Shared)), true, Some(true)),
            (ill(Trouble::Ends, Some(Shared)), false, Some(false)),
            (ill(Trouble::Ends, Some(Exclusive)), false, None),
            (ill(Trouble::Ends, None), false, None),
            (ill(Trouble::Loss, Some(Exclusive)), true, Some(true)),
            (ill(Trouble::Loss, Some(Exclusive)), false, None),
            (ill(Trouble::Loss, Some(Shared)), true, Some(false)),
            (ill(Trouble::Loss, Some(Shared)), false, Some(false)),
            (ill(Trouble::Loss, None), true, None),
            (ill(Trouble::Delay, Some(Exclusive)), true, Some(true)),
            (ill(Trouble::Delay, Some(Shared)), true, Some(false)),
        ];
        for (ill, good, helps) in cases {
            assert_eq!(reroute_helps(&[ill], &[good]), helps, "{ill:?} {good}");
        }
    }

    #[test]
    fn one_of_several_other_ways_is_enough_and_none_helps_where_all_go_through_it() {
        let of = |part| Some(Ill { trouble: Trouble::Loss, part: Some(part) });
        let [shared, alone] = [of(Part::Shared), of(Part::Exclusive)];
        assert_eq!(reroute_helps(&[shared, alone], &[true, true]), Some(true));
        assert_eq!(reroute_helps(&[shared, shared], &[true, false]), Some(false));
        assert_eq!(reroute_helps(&[shared, alone], &[true, false]), None);
        assert_eq!(reroute_helps(&[], &[]), None);
    }
}
