//! The largest packet that a path carries: which sizes to try, and what their fates mean.
//!
//! A router that says that a packet is too big says what the next link takes (RFC 1191, section 4; RFC 8201, section 4): that is tried next, and one
//! byte more, since some say what is not so. Where nobody says anything, the sizes between one that passes and one that does not are halved
//! (RFC 8899, section 5.3.2, calls such a search by probes that are lost the way to find what black holes hide).

/// What became of packets of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The destination answered one.
    Passed,
    /// A router said that they are too big, and what its next link takes in bytes, where it says so.
    TooBig(Option<u16>),
    /// Nobody answered any of them.
    Lost,
}

/// What a search has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathMtu {
    /// The largest packet that passes, in bytes with its IP header.
    pub bytes: u16,
    /// Whether larger ones vanish without a word; nothing where there are no larger ones to be sent.
    pub black_hole: Option<bool>,
}

/// A search for the largest packet that a path carries.
#[derive(Debug, Clone)]
pub struct MtuSearch {
    /// The largest size that is known to pass.
    passes: u16,
    /// The largest that leaves this host.
    most: u16,
    /// The sizes that do not pass, falling, and whether somebody said so.
    fails: Vec<(u16, bool)>,
    /// What a router said that its next link takes.
    said: Option<u16>,
    /// The size whose loss was seen twice.
    confirmed: Option<u16>,
}

impl MtuSearch {
    /// Begins, with a size that passes, and the largest that leaves this host, both in bytes.
    #[must_use]
    pub fn new(passes: u16, most: u16) -> Self {
        Self { passes, most: most.max(passes), fails: Vec::new(), said: None, confirmed: None }
    }

    /// The largest size that is known to pass, in bytes.
    #[must_use]
    pub fn passes(&self) -> u16 {
        self.passes
    }

    /// The size to try now, in bytes; nothing once it is found.
    #[must_use]
    pub fn next(&self) -> Option<u16> {
        let Some(&(fails, told)) = self.fails.last() else {
            return (self.passes < self.most).then_some(self.most);
        };
        let open = self.passes + 1..fails;
        if open.is_empty() {
            // Loss by chance looks the same: what decides is tried again.
            return (!told && self.confirmed != Some(fails)).then_some(fails);
        }
        match self.said {
            Some(said) if open.contains(&said) => Some(said),
            Some(said) if said == self.passes => Some(said + 1),
            Some(_) | None => Some(self.passes + (fails - self.passes) / 2),
        }
    }

    /// Takes what became of packets of a size.
    pub fn take(&mut self, size: u16, fate: Fate) {
        match fate {
            Fate::Passed => {
                self.passes = self.passes.max(size);
                self.fails.retain(|(fails, _)| *fails > size);
            }
            Fate::TooBig(takes) => {
                self.fail(size, true);
                // A link that takes what does not pass, or not even what does, is a mistake of who says it.
                if let Some(takes) = takes.filter(|takes| (self.passes..size).contains(takes)) {
                    self.said = Some(takes);
                }
            }
            Fate::Lost if self.fails.last() == Some(&(size, false)) => self.confirmed = Some(size),
            Fate::Lost => self.fail(size, false),
        }
    }

    fn fail(&mut self, size: u16, told: bool) {
        // What was lost may be told late.
        if let Some(known) = self.fails.iter_mut().find(|(fails, _)| *fails == size) {
            known.1 |= told;
        } else if self.fails.last().is_none_or(|(fails, _)| size < *fails) && size > self.passes {
            self.fails.push((size, told));
        }
    }

    /// What was found; nothing while the search goes on.
    ///
    /// Who said of a larger packet that the next link takes as much as passes need not say it of each: routers limit what they say.
    #[must_use]
    pub fn found(&self) -> Option<PathMtu> {
        let told_before = self.said == Some(self.passes);
        let black_hole = self.fails.last().map(|(_, told)| !(*told || told_before));
        self.next().is_none().then_some(PathMtu { bytes: self.passes, black_hole })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Links in the order of the path: what each takes, and whether its router says so.
    fn search(most: u16, links: &[(u16, bool)], lost: impl Fn(u32) -> bool) -> (PathMtu, u32) {
        let (mut search, mut tried) = (MtuSearch::new(84, most), 0);
        while let Some(size) = search.next() {
            tried += 1;
            assert!(tried < 64, "{search:?}");
            let fate = match links.iter().find(|(takes, _)| size > *takes) {
                _ if lost(tried) => Fate::Lost,
                None => Fate::Passed,
                Some((takes, true)) => Fate::TooBig(Some(*takes)),
                Some((_, false)) => Fate::Lost,
            };
            search.take(size, fate);
        }
        (search.found().unwrap(), tried)
    }

    fn found(bytes: u16, black_hole: Option<bool>) -> PathMtu {
        PathMtu { bytes, black_hole }
    }

    #[test]
    fn a_path_as_wide_as_the_way_out_is_known_by_one_size() {
        assert_eq!(search(1500, &[], |_| false), (found(1500, None), 1));
        assert_eq!(search(84, &[], |_| false), (found(84, None), 0));
    }

    #[test]
    fn a_link_that_says_what_it_takes_is_known_by_three() {
        assert_eq!(search(1500, &[(1400, true)], |_| false), (found(1400, Some(false)), 3));
        assert_eq!(search(1500, &[(1400, true), (1380, true)], |_| false), (found(1380, Some(false)), 4));
    }

    #[test]
    fn a_black_hole_is_told_from_a_small_link_also_behind_or_before_one() {
        assert_eq!(search(1500, &[(1400, false)], |_| false).0, found(1400, Some(true)));
        assert_eq!(search(1500, &[(1400, true), (1300, false)], |_| false).0, found(1300, Some(true)));
        assert_eq!(search(1500, &[(1400, false), (1300, true)], |_| false).0, found(1300, Some(false)));
    }

    #[test]
    fn a_router_that_does_not_say_how_much_or_lies_does_not_end_the_search() {
        for says in [None, Some(0), Some(20), Some(1300), Some(1399), Some(1401), Some(1500), Some(9000)] {
            let mut search = MtuSearch::new(84, 1500);
            while let Some(size) = search.next() {
                search.take(size, if size > 1400 { Fate::TooBig(says) } else { Fate::Passed });
            }
            assert_eq!(search.found(), Some(found(1400, Some(false))), "{says:?}");
        }
    }

    #[test]
    fn a_loss_by_chance_makes_no_black_hole() {
        // The first, which decides alone, and the last.
        assert_eq!(search(1500, &[], |tried| tried == 1).0, found(1500, None));
        for lost in 1..20 {
            let (found, _) = search(1500, &[(1400, true)], |tried| tried == lost);
            assert_eq!(found, PathMtu { bytes: 1400, black_hole: Some(false) }, "{lost}");
        }
    }

    #[test]
    fn a_router_that_says_it_once_makes_no_black_hole() {
        let mut search = MtuSearch::new(84, 1500);
        search.take(1500, Fate::TooBig(Some(1400)));
        search.take(1400, Fate::Passed);
        search.take(1401, Fate::Lost);
        search.take(1401, Fate::Lost);
        assert_eq!(search.found(), Some(found(1400, Some(false))));
        // It spoke of another link than the one that is decisive.
        let mut search = MtuSearch::new(84, 1500);
        search.take(1500, Fate::TooBig(Some(1450)));
        while let Some(size) = search.next() {
            search.take(size, if size > 1400 { Fate::Lost } else { Fate::Passed });
        }
        assert_eq!(search.found(), Some(found(1400, Some(true))));
    }

    #[test]
    fn what_a_router_says_late_is_no_black_hole() {
        let mut search = MtuSearch::new(84, 1500);
        search.take(1500, Fate::Lost);
        assert_eq!(search.next(), Some(792));
        search.take(1500, Fate::TooBig(Some(1400)));
        assert_eq!(search.next(), Some(1400));
        search.take(1400, Fate::Passed);
        assert_eq!(search.next(), Some(1401));
        search.take(1401, Fate::TooBig(Some(1400)));
        assert_eq!((search.passes(), search.found()), (1400, Some(found(1400, Some(false)))));
    }

    proptest! {
        #[test]
        fn the_smallest_link_is_found(
            most in 84_u16..,
            links in prop::collection::vec((84_u16.., any::<bool>()), 0..6),
        ) {
            let (PathMtu { bytes, black_hole }, tried) = search(most, &links, |_| false);
            let smallest = links.iter().map(|(takes, _)| *takes).min().unwrap_or(most).min(most);
            prop_assert_eq!(bytes, smallest);
            // Who is the first that a packet one byte larger does not pass.
            let stops = links.iter().find(|(takes, _)| smallest < most && smallest + 1 > *takes);
            prop_assert_eq!(black_hole, stops.map(|(_, told)| !told));
            prop_assert!(tried <= 30, "{}", tried);
        }
    }
}
