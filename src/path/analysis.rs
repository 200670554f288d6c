//! All that the hops of a path mean.

use std::net::IpAddr;

use super::delay::{self, DelayOnset};
use super::loss::{self, Count, LossClass};
use super::roles::{self, Role};
use super::{Statistics, route};

/// What was heard of a hop.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Its number, from 1.
    pub number: u8,
    /// What became of its packets.
    pub count: Count,
    /// Round-trip times of the answered.
    pub rtt: &'a Statistics,
    /// Who answered the latest packet that was answered.
    pub latest: Option<IpAddr>,
    /// The number of the autonomous system that announces that address: nothing where nobody could say, nothing within where none does.
    pub asn: Option<Option<u32>>,
    /// Whether that address is the ISP's; nothing where nobody knows.
    pub isp: Option<bool>,
    /// Whether packets came to it with MPLS labels.
    pub labelled: bool,
}

/// What the hops of a path mean. Hops are told by their index.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Analysis {
    /// What the loss of each hop is; nothing for a hop of which nothing is known.
    pub loss: Vec<Option<LossClass>>,
    /// From where loss persists to the end, if it does.
    pub loss_onset: Option<usize>,
    /// What each hop is known to add to the round-trip time, in seconds.
    pub segments: Vec<Option<f64>>,
    /// Where most of the delay is added, if there is such a place.
    pub delay_onset: Option<DelayOnset>,
    /// What identifies the routers of a path that leads to its destination.
    pub route_hash: Option<u64>,
    /// What identifies the autonomous systems of such a path, where there are any, and none was not to be known.
    pub as_path_hash: Option<u64>,
    /// The hops that have a role.
    pub roles: Vec<(Role, usize)>,
}

impl Analysis {
    /// Of a path to `destination`, whose hops are all there are up to it, or to the last that answered. `host` says that the destination answers
    /// whatever reaches it, as hosts answer echo requests and SYNs; other answers they limit as routers do.
    #[must_use]
    pub fn of(hops: &[Heard<'_>], destination: Option<IpAddr>, host: bool) -> Self {
        let counts: Vec<Count> = hops.iter().map(|hop| hop.count).collect();
        // A path that has grown meanwhile no longer ends where it did.
        let reached = hops.last().is_some_and(|last| last.latest.is_some() && last.latest == destination);
        let loss = loss::classify(&counts, reached && host);
        let times: Vec<&Statistics> = hops.iter().map(|hop| hop.rtt).collect();
        let labelled: Vec<bool> = hops.iter().map(|hop| hop.labelled).collect();
        let not_asked = hops.first().map_or(0, |first| usize::from(first.number.saturating_sub(1)));
        let (segments, delay_onset) = delay::delay(not_asked, &times, &labelled, reached);
        let answered: Vec<bool> = hops.iter().map(|hop| hop.latest.is_some()).collect();
        let isp: Vec<Option<bool>> = hops.iter().map(|hop| hop.isp).collect();
        let route = || route::route_hash(hops.iter().filter_map(|hop| Some((hop.number, hop.latest?))));
        // What a name server does not say this time would be another path.
        let all_said = hops.iter().all(|hop| hop.latest.is_none() || hop.asn.is_some());
        let as_path = || route::as_path_hash(&route::as_path(hops.iter().map(|hop| hop.asn.flatten())));
        Self {
            loss_onset: loss::onset(&counts, &loss),
            loss,
            segments,
            delay_onset,
            route_hash: reached.then(route),
            as_path_hash: (reached && all_said).then(as_path).flatten(),
            roles: roles::roles(&answered, &isp, delay_onset.map(|onset| onset.hop)),
        }
    }

    /// The hop of a role.
    #[must_use]
    pub fn hop_of(&self, role: Role) -> Option<usize> {
        self.roles.iter().find(|(other, _)| *other == role).map(|(_, hop)| *hop)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Three packets to each hop, by how many were answered, after so many milliseconds, from an address that ends so.
    fn analysis(hops: &[(u32, u64, u8)], destination: u8, host: bool) -> Analysis {
        let statistics: Vec<Statistics> = hops
            .iter()
            .map(|(answered, ms, _)| {
                let mut rtt = Statistics::default();
                (0..*answered).for_each(|_| rtt.add(Duration::from_millis(*ms)));
                rtt
            })
            .collect();
        let heard = (1..).zip(hops.iter().zip(&statistics)).map(|(number, ((answered, _, from), rtt))| Heard {
            number,
            count: Count { answered: *answered, lost: 3 - answered },
            rtt,
            latest: (*answered > 0).then(|| address(*from)),
            asn: Some((number % 2 == 0).then_some(64_500)),
            isp: Some(number < 3),
            labelled: false,
        });
        Analysis::of(&heard.collect::<Vec<_>>(), Some(address(destination)), host)
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn a_path_is_told_whole() {
        let told = analysis(&[(3, 1, 1), (1, 2, 2), (0, 0, 0), (3, 40, 4), (3, 41, 9)], 9, true);
        let (none, limited) = (Some(LossClass::None), Some(LossClass::RateLimited));
        assert_eq!(told.loss, [none, limited, limited, none, none]);
        assert_eq!(told.loss_onset, None);
        assert_eq!(told.delay_onset.map(|onset| (onset.hop, onset.after)), Some((3, Some(1))));
        assert_eq!(told.roles, [(Role::First, 0), (Role::IspEdge, 1), (Role::DelayOnset, 3), (Role::Last, 4)]);
        assert_eq!((told.hop_of(Role::IspEdge), told.hop_of(Role::Last)), (Some(1), Some(4)));
        assert!(told.route_hash.is_some() && told.as_path_hash.is_some());
    }

    #[test]
    fn a_hop_that_misses_packets_does_not_change_what_identifies_the_path_and_one_that_is_another_does() {
        let hash = |hops: &[(u32, u64, u8)]| analysis(hops, 9, true).route_hash.unwrap();
        let whole = hash(&[(3, 1, 1), (3, 2, 2), (3, 3, 9)]);
        assert_eq!(hash(&[(1, 9, 1), (2, 7, 2), (1, 8, 9)]), whole);
        assert_ne!(hash(&[(3, 1, 1), (3, 2, 3), (3, 3, 9)]), whole);
    }

    #[test]
    fn a_path_that_does_not_lead_to_its_destination_is_not_identified() {
        for (hops, destination) in [(&[(3, 1, 1), (3, 2, 2)][..], 9), (&[], 9)] {
            let told = analysis(hops, destination, true);
            assert_eq!((told.route_hash, told.as_path_hash), (None, None));
        }
    }

    #[test]
    fn systems_that_nobody_could_tell_are_no_other_path() {
        let rtt = Statistics::default();
        let hash = |asns: [Option<Option<u32>>; 3]| {
            let heard = (1..).zip(asns).map(|(number, asn)| Heard {
                number,
                count: Count::default(),
                rtt: &rtt,
                latest: (number != 2).then(|| address(number)),
                asn,
                isp: None,
                labelled: false,
            });
            Analysis::of(&heard.collect::<Vec<_>>(), Some(address(3)), true).as_path_hash
        };
        assert!(hash([Some(Some(1)), None, Some(Some(2))]).is_some(), "the second did not answer");
        assert_eq!(hash([Some(None), None, Some(Some(2))]), hash([Some(Some(2)), None, Some(Some(2))]));
        assert_eq!(hash([None, None, Some(Some(2))]), None, "nobody could say of the first");
        assert_eq!(hash([Some(None), None, Some(None)]), None, "there is none");
    }

    #[test]
    fn a_destination_that_may_limit_its_answers_is_told_so() {
        let hops = [(3, 1, 1), (3, 2, 2), (1, 3, 9)];
        assert_eq!(analysis(&hops, 9, true).loss[2], Some(LossClass::Forwarding));
        assert_eq!(analysis(&hops, 9, false).loss[2], Some(LossClass::Unknown));
        // Of a router at the end that is no more certain.
        assert_eq!(analysis(&hops, 8, true).loss[2], Some(LossClass::Unknown));
    }
}
