use proptest::prelude::*;

use super::*;

/// The router of a hop: `0` says nothing.
fn address(hop: u8, router: u8) -> IpAddr {
    [10, 0, hop, router].into()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Flows that have met these routers, one packet to each hop, all of which have been waited for: hop by hop, `0` for none.
fn flows(paths: &[&[u8]]) -> Sightings {
    let mut sightings = Sightings::new(1);
    for (flow, path) in paths.iter().enumerate() {
        sightings.ask(flow, &(1..=30));
        for (hop, router) in (1..).zip(*path).filter(|(_, router)| **router > 0) {
            sightings.heard(flow, hop, ms(flow as u64), address(hop, *router));
        }
        if path.last() != Some(&0) {
            sightings.end(flow, path.len() as u8);
        }
        sightings.over(flow);
    }
    sightings
}

fn balance(paths: &[&[u8]]) -> Balance {
    flows(paths).survey().balance()
}

#[test]
fn paths_are_those_that_surely_differ() {
    let told = balance(&[&[1, 1, 1, 1], &[1, 2, 1, 1], &[1, 1, 1, 1], &[1, 2, 2, 1]]);
    let paths: Vec<&[usize]> = told.paths.iter().map(|path| path.flows.as_slice()).collect();
    assert_eq!(paths, [&[0, 2][..], &[1], &[3]]);
    assert_eq!(told.paths[1].routers[1], Some(address(2, 2)));
    assert_eq!(told.widths, [(1, 1), (2, 2), (3, 2), (4, 1)]);
    assert_eq!((told.flows, told.per_flow, told.per_packet), (4, vec![2, 3], vec![]));
}

#[test]
fn silent_hops_make_no_other_path() {
    let told = balance(&[&[1, 0, 1, 1], &[1, 2, 1, 1], &[0, 0, 0, 0], &[1, 1, 0, 1], &[0, 2, 0, 1]]);
    let paths: Vec<&[usize]> = told.paths.iter().map(|path| path.flows.as_slice()).collect();
    assert_eq!(paths, [&[0, 1, 2, 4][..], &[3]]);
    // Of nothing there is no path.
    assert_eq!(balance(&[&[0, 0], &[0]]), Balance { flows: 2, ..Balance::default() });
    assert_eq!(Sightings::new(1).survey().balance(), Balance::default());
}

#[test]
fn paths_of_several_lengths_differ_where_one_is_at_its_end() {
    let mut sightings = flows(&[&[1, 1, 9], &[1, 1, 1, 0]]);
    sightings.heard(1, 4, ms(1), address(3, 9));
    sightings.end(1, 4);
    // The destination answers packets for hops beyond it, too.
    sightings.heard(0, 4, ms(0), address(3, 9));
    let told = sightings.survey().balance();
    assert_eq!((told.paths.len(), told.paths[0].routers[3]), (2, None));
    assert_eq!(told.widths, [(1, 1), (2, 1), (3, 2), (4, 1)]);
}

#[test]
fn nothing_is_called_unbalanced_before_there_were_flows_enough() {
    for (count, expected) in [(1, &[][..]), (5, &[]), (6, &[Balancing::None])] {
        let told = balance(&vec![&[1_u8, 1, 1][..]; count]);
        assert_eq!((told.balancing(), told.sufficient), (expected.to_vec(), count == 6));
    }
    // Two routers need eleven flows, and each of them six behind it.
    let shared = |each: usize| [vec![&[1_u8, 1, 1][..]; each], vec![&[1, 2, 1]; each]].concat();
    for (each, sufficient) in [(5, false), (6, true)] {
        let told = balance(&shared(each));
        assert_eq!((told.balancing(), told.sufficient), (vec![Balancing::PerFlow], sufficient));
    }
    // What says nothing may be one more.
    let silent = |silent: usize| [vec![&[1_u8, 1, 1][..]; 8], vec![&[1, 0, 1]; silent]].concat();
    assert!(balance(&silent(0)).sufficient && !balance(&silent(1)).sufficient);
    // A hop that never says anything is no reason for doubt.
    assert!(balance(&[&[1_u8, 0, 1][..]; 6]).sufficient);
}

#[test]
fn more_flows_are_wanted_where_they_are_missing_and_not_for_ever() {
    let wanted = |paths: &[&[u8]]| flows(paths).survey().wanted();
    assert_eq!(wanted(&[&[1_u8, 1, 1][..]; 6]), None);
    assert_eq!(wanted(&[&[1_u8, 1, 1][..]; 4]), Some(Wanted { flows: 2, hops: 1..=3 }));
    // Hop 3 has two routers, so five more at least for it, and three more for each of them behind it.
    let shared = [vec![&[1_u8, 1, 1, 1, 1][..]; 3], vec![&[1, 1, 2, 1, 1]; 3]].concat();
    assert_eq!(wanted(&shared), Some(Wanted { flows: 6, hops: 2..=4 }));
    // Those that are under way may tell it.
    let mut sightings = flows(&shared);
    (6..10).for_each(|flow| sightings.ask(flow, &(2..=4)));
    assert_eq!(sightings.survey().wanted(), Some(Wanted { flows: 2, hops: 2..=4 }));
    // Hardly anybody is answered: it will not get better.
    let vain = [vec![&[1_u8, 1, 1][..]; 2], vec![&[1, 0, 1]; 22]].concat();
    assert_eq!(wanted(&vain), None);
    assert!(!balance(&vain).sufficient);
}

/// A hop behind which several routers are, and what packets of a flow meet there: when, and whom.
fn at_hop_2(met: &[(usize, u64, u8)]) -> Sightings {
    let mut sightings = Sightings::new(1);
    for (flow, at, router) in met {
        sightings.ask(*flow, &(1..=2));
        sightings.heard(*flow, 1, ms(*at), address(1, 1));
        sightings.heard(*flow, 2, ms(*at), address(2, *router));
    }
    sightings
}

#[test]
fn packets_of_a_flow_that_meet_routers_in_turn_are_shared() {
    let met: Vec<(usize, u64, u8)> = (0..8).map(|at| (0, at * 10, 1 + (at % 2) as u8)).collect();
    let told = at_hop_2(&met).survey().balance();
    assert_eq!((told.per_flow, told.per_packet), (vec![], vec![2]));
    // Which way they go is no path of a flow.
    assert_eq!((told.widths[1], told.paths.len()), ((2, 2), 1));
    assert_eq!(told.paths[0].routers, [Some(address(1, 1)), None]);
    // Where that is known there is no doubt; before, there is.
    assert_eq!(at_hop_2(&met).survey().doubts(), []);
    let doubt = Doubt { hop: 2, behind: Some(address(1, 1)), routers: 2, flow: 3, restless: false };
    assert_eq!(at_hop_2(&[(3, 0, 1), (4, 5, 2)]).survey().doubts(), [doubt]);
    let restless = Doubt { routers: 1, flow: 4, restless: true, ..doubt };
    assert_eq!(at_hop_2(&[(3, 0, 1), (4, 0, 1), (4, 5, 2)]).survey().doubts(), [restless]);
}

#[test]
fn a_route_that_changes_and_changes_back_shares_nothing() {
    // Two flows, before, meanwhile and afterwards.
    let met = [(0, 0, 1), (1, 1, 1), (0, 100, 2), (1, 101, 2), (0, 200, 1), (1, 201, 1)];
    let told = at_hop_2(&met[..4]).survey().balance();
    assert_eq!((told.per_flow, told.per_packet, told.widths[1]), (vec![], vec![], (2, 1)));
    assert_eq!(told.paths[0].routers[1], Some(address(2, 2)));
    let told = at_hop_2(&met).survey().balance();
    assert_eq!((told.per_flow, told.per_packet, told.widths[1]), (vec![], vec![], (2, 1)));
    // A flow of which nothing was heard since is not known to go another way.
    let told = at_hop_2(&[(0, 0, 1), (1, 1, 1), (0, 100, 2), (0, 110, 2)]).survey().balance();
    assert_eq!((told.per_flow, told.paths.len()), (vec![], 1));
}

proptest! {
    /// Paths of which parts are known: no more are told than there are, nor more routers.
    #[test]
    fn what_is_not_known_adds_nothing(
        paths in prop::collection::vec(prop::collection::vec(1..4_u8, 6), 1..5),
        flows_of in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<bool>(), 6)), 1..30),
    ) {
        let masked: Vec<Vec<u8>> = flows_of
            .iter()
            .map(|(path, heard)| {
                let path = &paths[path.index(paths.len())];
                path.iter().zip(heard).map(|(router, heard)| if *heard { *router } else { 0 }).collect()
            })
            .collect();
        let told = balance(&masked.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let distinct: BTreeSet<&Vec<u8>> = paths.iter().collect();
        prop_assert!(told.paths.len() <= distinct.len(), "{told:?}");
        for (hop, width) in &told.widths {
            let truth: BTreeSet<u8> = paths.iter().map(|path| path[usize::from(*hop) - 1]).collect();
            prop_assert!(*width <= truth.len());
        }
        // Each flow of which something is known has one path, and any two paths differ for sure.
        let known = masked.iter().filter(|path| path.iter().any(|router| *router > 0)).count();
        let members: usize = told.paths.iter().map(|path| path.flows.len()).sum();
        prop_assert!(members >= known && members <= masked.len());
        for (index, one) in told.paths.iter().enumerate() {
            for other in &told.paths[..index] {
                let mut both = one.routers.iter().zip(&other.routers);
                prop_assert!(both.any(|(one, other)| one.is_some() && other.is_some() && one != other));
            }
        }
    }

    /// The order of flows does not matter.
    #[test]
    fn flows_in_another_order_have_as_many_paths(
        paths in prop::collection::vec(prop::collection::vec(0..3_u8, 5), 1..12),
        turn in any::<prop::sample::Index>(),
    ) {
        let mut turned = paths.clone();
        turned.rotate_left(turn.index(paths.len()));
        let [one, other] = [&paths, &turned].map(|paths| balance(&paths.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        prop_assert_eq!(one.paths.len(), other.paths.len());
        prop_assert_eq!((one.sufficient, one.widths), (other.sufficient, other.widths));
    }

    /// However flows are mapped to routers before, between and after two changes of the route, and whenever their packets leave.
    #[test]
    fn two_changes_of_the_route_are_never_taken_for_shared_packets(
        mapped in prop::collection::vec([1..4_u8, 1..4, 1..4], 1..8),
        packets in prop::collection::vec((any::<prop::sample::Index>(), 0..1000_u64), 1..100),
        mut changes in [0..1000_u64, 0..1000],
    ) {
        changes.sort_unstable();
        let met = packets.iter().map(|(flow, at)| {
            let flow = flow.index(mapped.len());
            (flow, *at, mapped[flow][changes.iter().filter(|change| *change <= at).count()])
        });
        let told = at_hop_2(&met.collect::<Vec<_>>()).survey().balance();
        prop_assert_eq!(told.per_packet, Vec::<u8>::new());
        prop_assert!(told.widths[1].1 <= mapped.len());
    }
}
