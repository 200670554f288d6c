//! Where on a path the delay sits.
//!
//! A packet that goes on to a later hop spent no more on the way to an earlier one than it took in all: so the smallest round-trip time of
//! a hop and of all behind it (the envelope) bounds what the path takes up to there, however long the router thinks about its own
//! answer. Three kinds of hops say nothing of the path: those that answer later than hops behind them; those whose answers vary far more than
//! those of the hops behind them, which pass the same queues: of few such times the smallest is but chance; and those within an MPLS tunnel that
//! answer by way of its end (RFC 3032, section 2.3.2), and so as late as the hop behind them. What lies before such a hop and before the next
//! that tells is one stretch, which belongs to the latter.

use super::Statistics;

/// The step that is the largest, and stays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DelayOnset {
    /// The index of the hop behind it.
    pub hop: usize,
    /// The index of the hop before it, if there is one; those between say nothing of the path.
    pub after: Option<usize>,
    /// What it adds to the round-trip time, in seconds.
    pub step: f64,
}

/// A step that is less, in seconds, is none: 100 km of fibre, there and back; routers take as long to make an answer.
const LEAST_STEP: f64 = 0.001;

/// A step that is less than so many times the middle one of the others, link by link, is none: it is not where the delay is, but one of many
/// like it.
const STANDS_OUT: f64 = 1.5;

/// By what part steps may differ and still be taken for the same: the first counts then, and not, from probe to probe, another one.
const ALIKE: f64 = 0.1;

/// How often a hop that does tell may by chance be taken for one that is slow to answer.
const SLOW_BY_CHANCE: f64 = 0.01;

/// So many times as much as those of the hops behind it, the times of a hop must vary to be its own doing.
const UNSTEADY: f64 = 5.0;

/// How probable it may be that a step came about by chance.
const BY_CHANCE: f64 = 0.05;

/// How many hops must keep a step where the destination, which cannot be slow to answer without its users being kept waiting, did not answer.
const KEPT_BY: usize = 2;

/// A hop that tells how long the path takes up to it.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    hop: usize,
    after: Option<usize>,
    step: f64,
    /// How many links it has.
    links: usize,
    /// How many hops behind answered.
    behind: usize,
    /// How many packets were answered, and by how much they were later than the envelope in all.
    packets: u64,
    excess: f64,
}

impl Stretch {
    /// What each of its links adds, were they alike.
    fn per_link(&self) -> f64 {
        self.step / self.links as f64
    }
}

/// Whether the smallest time of a hop is no evidence of what the path takes, by the times of those behind it.
///
/// Delay by queues is taken to be exponential above the path's own, as below, and to be met by those behind it, too. So much a hop may be above
/// the envelope, and two times that agree so well are no chance; where that is less than routers take to make an answer, so much.
fn says_nothing(rtt: &Statistics, behind: &[&Statistics], above: f64) -> bool {
    let mut spreads: Vec<f64> = behind.iter().filter_map(|hop| spread(hop)).collect();
    spreads.sort_by(f64::total_cmp);
    let usual = spreads.get(spreads.len() / 2).copied();
    let noise = usual.unwrap_or_default() / rtt.count() as f64 * SLOW_BY_CHANCE.recip().ln();
    let noise = noise.max(LEAST_STEP);
    let is_unsteady = |usual: f64| {
        let agree = rtt.best().zip(rtt.second_best()).is_some_and(|(best, second)| second - best <= noise);
        !agree && spread(rtt).is_some_and(|spread| spread > (UNSTEADY * usual).max(LEAST_STEP))
    };
    above > noise || usual.is_some_and(is_unsteady)
}

/// By how much times are later than the path's own on average, were their excess exponential; nothing for fewer than two.
fn spread(rtt: &Statistics) -> Option<f64> {
    let excess = rtt.avg()? - rtt.best()?;
    let count = rtt.count() as f64;
    (count > 1.0).then(|| excess * count / (count - 1.0))
}

/// What each hop is known to add to the round-trip time, in seconds, and the one that adds most of those that stand out, where one does. Before the
/// first of the hops are `not_asked` others: their links are of the stretch that belongs to the first that tells. `labelled` says of each
/// hop whether packets came to it with MPLS labels, and `reached` that the last of the hops is the destination.
///
/// Segments are never negative, and add up to the round-trip time of the destination. A hop that answered, and says nothing of the path, has 0,
/// and its share is in the next; one that did not answer has none, nor has the last that did, where that is not the destination.
#[must_use]
pub(super) fn delay(
    not_asked: usize,
    hops: &[&Statistics],
    labelled: &[bool],
    reached: bool,
) -> (Vec<Option<f64>>, Option<DelayOnset>) {
    let mut segments = vec![None; hops.len()];
    let mut stretches: Vec<Stretch> = Vec::new();
    // The envelope up to the last hop that tells.
    let (mut level, mut after) = (0.0, None);
    for (hop, rtt) in hops.iter().enumerate() {
        let (Some(best), Some(avg)) = (rtt.best(), rtt.avg()) else { continue };
        let behind: Vec<&Statistics> = hops[hop + 1..].iter().copied().filter(|hop| hop.count() > 0).collect();
        let earliest_later = behind.iter().filter_map(|hop| hop.best()).reduce(f64::min);
        if earliest_later.is_none() && !reached {
            break;
        }
        let envelope = earliest_later.map_or(best, |later| later.min(best));
        // Of those behind it some may be slow, too.
        let by_its_end = labelled[hop] && earliest_later.is_some_and(|later| later - best <= LEAST_STEP);
        if by_its_end || says_nothing(rtt, &behind, best - envelope) {
            segments[hop] = Some(0.0);
            continue;
        }
        let step = nanoseconds(envelope - level);
        segments[hop] = Some(step);
        let excess = rtt.count() as f64 * (avg - envelope);
        let links = after.map_or(not_asked + hop + 1, |after| hop - after);
        stretches.push(Stretch { hop, after, step, links, behind: behind.len(), packets: rtt.count(), excess });
        (level, after) = (envelope, Some(hop));
    }
    let stands_out = |index: &usize| {
        let stretch = &stretches[*index];
        let others = stretches.iter().filter(|other| other.hop != stretch.hop).map(Stretch::per_link);
        let least = LEAST_STEP.max(STANDS_OUT * middle(others) * stretch.links as f64);
        (reached || stretch.behind >= KEPT_BY) && stretch.step >= least
    };
    let standing_out = || (0..stretches.len()).filter(stands_out);
    let largest = standing_out().map(|index| stretches[index].step).fold(0.0, f64::max);
    let first = standing_out().find(|index| stretches[*index].step >= (1.0 - ALIKE) * largest);
    // Where that is uncertain, a smaller one that is not is no less the smaller one.
    let onset = first.filter(|index| stretches[*index].step >= by_chance(&stretches[*index..]));
    let onset = onset.map(|index| stretches[index]);
    let onset = onset.map(|Stretch { hop, after, step, .. }| DelayOnset { hop, after, step });
    (segments, onset)
}

/// The middle one, the lesser of two; 0 of none.
fn middle(steps: impl Iterator<Item = f64>) -> f64 {
    let mut steps: Vec<f64> = steps.collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// The same time in the fewest digits that tell its nanoseconds.
fn nanoseconds(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e9
}

/// The step that chance alone makes seldom enough, in seconds: that all packets which went so far, and came back by so much later than the
/// envelope, missed a shorter path.
///
/// Delay by queues is taken to be exponential above the path's own. Of such a series the smallest value is above the bound by at most
/// (mean - smallest) · (p^(-1/(n - 1)) - 1), but with the probability p (the F distribution of 2 and 2n - 2 degrees of freedom).
fn by_chance(stretches: &[Stretch]) -> f64 {
    let packets: u64 = stretches.iter().map(|stretch| stretch.packets).sum();
    let excess: f64 = stretches.iter().map(|stretch| stretch.excess).sum();
    if packets < 2 {
        return f64::INFINITY;
    }
    excess / packets as f64 * (BY_CHANCE.powf(-1.0 / (packets - 1) as f64) - 1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::lab::random::Random;

    /// Hops by their round-trip times in milliseconds; none for a silent one.
    fn hops(times: &[&[f64]]) -> Vec<Statistics> {
        let hop = |times: &&[f64]| {
            let mut statistics = Statistics::default();
            times.iter().for_each(|time| statistics.add(Duration::from_secs_f64(time / 1e3)));
            statistics
        };
        times.iter().map(hop).collect()
    }

    /// The same, three times each, hardly different.
    fn steady(times: &[f64]) -> Vec<Statistics> {
        let times: Vec<Vec<f64>> = times.iter().map(|time| vec![time + 0.02, *time, time + 0.05]).collect();
        hops(&times.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// As of [`super::delay`].
    fn delay(hops: &[Statistics], reached: bool) -> (Vec<Option<f64>>, Option<DelayOnset>) {
        super::delay(0, &hops.iter().collect::<Vec<_>>(), &vec![false; hops.len()], reached)
    }

    /// The hops of the onset, from 1, the one before as 0 where there is none, and the step in milliseconds.
    fn onset(hops: &[Statistics], reached: bool) -> Option<(usize, usize, f64)> {
        let DelayOnset { hop, after, step } = delay(hops, reached).1?;
        Some((hop + 1, after.map_or(0, |after| after + 1), (step * 1e6).round() / 1e3))
    }

    fn segments(hops: &[Statistics], reached: bool) -> Vec<Option<f64>> {
        let (segments, _) = delay(hops, reached);
        segments.into_iter().map(|segment| segment.map(|segment| (segment * 1e6).round() / 1e3)).collect()
    }

    const SILENT: &[f64] = &[];

    #[test]
    fn the_hop_behind_the_largest_step_that_stays_is_named() {
        assert_eq!(onset(&steady(&[1.0, 2.0, 42.0, 43.0, 44.0]), true), Some((3, 2, 40.0)));
        // At the destination, and at the first hop.
        assert_eq!(onset(&steady(&[1.0, 2.0, 3.0, 43.0]), true), Some((4, 3, 40.0)));
        assert_eq!(onset(&steady(&[40.0, 41.0, 42.0]), true), Some((1, 0, 40.0)));
        assert_eq!(onset(&steady(&[40.0]), true), Some((1, 0, 40.0)));
    }

    #[test]
    fn a_router_that_is_slow_to_answer_is_not_named() {
        // Well before the step, twice; behind it; just before it.
        assert_eq!(onset(&steady(&[1.0, 90.0, 2.0, 450.0, 3.0, 43.0, 44.0]), true), Some((6, 5, 40.0)));
        assert_eq!(onset(&steady(&[1.0, 2.0, 42.0, 600.0, 43.0, 44.0]), true), Some((3, 2, 40.0)));
        assert_eq!(onset(&steady(&[1.0, 2.0, 80.0, 43.0, 44.0]), true), Some((4, 2, 41.0)));
        assert_eq!(onset(&steady(&[1.0, 2.0, 48.0, 43.0, 44.0]), true), Some((4, 2, 41.0)));
        // The router behind the step is slow itself: the next one tells.
        assert_eq!(onset(&steady(&[1.0, 2.0, 3.0, 143.0, 44.0, 45.0]), true), Some((5, 3, 41.0)));
        // And where there is no step, none becomes one.
        assert_eq!(onset(&steady(&[0.2, 0.3, 300.0, 0.4, 0.5]), true), None);
        // A slow answer that varies.
        let times: [&[f64]; 5] = [&[1.0, 1.1], &[2.0, 2.1], &[60.0, 300.0], &[43.0, 43.2], &[44.0, 44.1]];
        assert_eq!(onset(&hops(&times), true), Some((4, 2, 41.0)));
    }

    #[test]
    fn a_hop_behind_the_step_may_be_a_little_slower_than_the_next() {
        assert_eq!(onset(&steady(&[1.0, 2.0, 42.5, 42.0, 43.0]), true), Some((3, 2, 40.0)));
        assert_eq!(segments(&steady(&[1.0, 2.0, 42.5, 42.0, 43.0]), true), [1.0, 1.0, 40.0, 0.0, 1.0].map(Some));
    }

    #[test]
    fn a_step_over_silent_hops_belongs_to_the_next_that_answers() {
        let times: [&[f64]; 5] = [&[1.0, 1.0], SILENT, SILENT, &[41.0, 41.0], &[42.0, 42.0]];
        assert_eq!(onset(&hops(&times), true), Some((4, 1, 40.0)));
        assert_eq!(segments(&hops(&times), true), [Some(1.0), None, None, Some(40.0), Some(1.0)]);
    }

    #[test]
    fn where_the_destination_does_not_answer_two_hops_must_keep_the_step() {
        assert_eq!(onset(&steady(&[1.0, 2.0, 42.0, 43.0, 44.0]), false), Some((3, 2, 40.0)));
        assert_eq!(onset(&steady(&[0.5, 1.0, 42.0, 43.0]), false), None);
        // The last that answered is slow, and nobody behind it says so; and so are the last two.
        assert_eq!(onset(&steady(&[0.5, 1.0, 1.5, 90.0]), false), None);
        assert_eq!(onset(&steady(&[0.5, 1.0, 1.5, 90.0, 95.0]), false), None);
        assert_eq!(onset(&steady(&[1.0, 12.0, 13.0, 14.0, 90.0, 95.0]), false), Some((2, 1, 11.0)));
        assert_eq!(segments(&steady(&[1.0, 12.0, 90.0]), false), [Some(1.0), Some(11.0), None]);
    }

    #[test]
    fn steps_that_are_too_small_are_not_named() {
        // Less than a millisecond.
        assert_eq!(onset(&steady(&[0.1, 0.2, 1.0, 1.1]), true), None);
        assert_eq!(onset(&steady(&[0.1, 0.2, 1.3, 1.4]), true), Some((3, 2, 1.1)));
        // As large as the others, or hardly larger.
        let even: Vec<f64> = (1..=20).map(|hop| f64::from(hop) * 2.5).collect();
        assert_eq!(onset(&steady(&even), true), None);
        assert_eq!(onset(&steady(&[2.0, 4.0, 6.0, 8.8, 11.0]), true), None);
        assert_eq!(onset(&steady(&[5.0, 11.0]), true), None);
        // Over two links, one of which leads to a slow router.
        assert_eq!(onset(&steady(&[4.0, 8.0, 150.0, 16.0, 20.0, 24.0]), true), None);
        assert_eq!(onset(&steady(&[4.0, 8.0, 150.0, 30.0, 34.0, 38.0]), true), Some((4, 2, 22.0)));
        assert_eq!(
            onset(&steady(&[2.0, 4.0, 6.0, 11.0, 13.0, 15.0, 17.0, 19.0, 21.0, 23.0, 25.0]), true),
            Some((4, 3, 5.0))
        );
    }

    #[test]
    fn of_steps_that_are_alike_the_first_is_named() {
        assert_eq!(onset(&steady(&[1.0, 39.0, 40.0, 80.0, 81.0]), true), Some((2, 1, 38.0)));
        assert_eq!(onset(&steady(&[1.0, 31.0, 32.0, 72.0, 73.0]), true), Some((4, 3, 40.0)));
    }

    /// As of [`onset`], where hops are asked from one on; by the time of each link in milliseconds.
    fn onset_from(first_hop: usize, links: &[f64]) -> Option<(usize, usize, f64)> {
        let sums = links.iter().scan(0.0, |sum, link| {
            *sum += link;
            Some(*sum)
        });
        let hops = steady(&sums.skip(first_hop - 1).collect::<Vec<_>>());
        let labelled = vec![false; hops.len()];
        let (_, onset) = super::delay(first_hop - 1, &hops.iter().collect::<Vec<_>>(), &labelled, true);
        let DelayOnset { hop, after, step } = onset?;
        Some((hop + first_hop, after.map_or(0, |after| after + first_hop), (step * 1e6).round() / 1e3))
    }

    #[test]
    fn links_before_the_first_hop_that_was_asked_count_as_links_of_the_first_stretch() {
        for first_hop in 1..8 {
            assert_eq!(onset_from(first_hop, &[4.0; 8]), None, "from {first_hop} on");
            assert_eq!(onset_from(first_hop, &[10.0; 8]), None, "from {first_hop} on");
        }
        // A step behind the first hop that is asked, which the way there does not hide.
        for first_hop in 1..=6 {
            let links = [4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 15.0, 4.0, 4.0, 4.0];
            assert_eq!(onset_from(first_hop, &links), Some((7, 6, 15.0)), "from {first_hop} on");
        }
        // One before it, which is somewhere up to there.
        assert_eq!(onset_from(3, &[1.0, 30.0, 1.0, 1.0, 1.0, 1.0]), Some((3, 0, 32.0)));
    }

    #[test]
    fn silent_hops_that_take_no_longer_than_others_hide_no_step() {
        let times: [&[f64]; 9] = [&[4.0], SILENT, SILENT, SILENT, &[20.0], &[24.0], &[39.0], &[43.0], &[47.0]];
        assert_eq!(onset(&hops(&times), true), Some((7, 6, 15.0)));
    }

    #[test]
    fn what_may_be_chance_is_not_named() {
        // Three answers of the destination, which came whenever they liked.
        let mut times: Vec<&[f64]> = vec![&[1.0, 1.1, 1.2], &[2.0, 2.2, 2.1], &[12.0, 25.0, 50.0]];
        assert_eq!(onset(&hops(&times), true), None);
        times[2] = &[12.0, 12.3, 13.0];
        assert_eq!(onset(&hops(&times), true), Some((3, 2, 10.0)));
        // Nor is a small step that is certain, elsewhere: the large one is there.
        let times: [&[f64]; 4] = [&[1.0, 1.0, 1.1], &[5.0, 5.1, 5.0], &[6.0, 6.1, 6.0], &[70.0, 95.0, 160.0]];
        assert_eq!(onset(&hops(&times), true), None);
        // One packet is no series, but hops behind that keep the step are.
        assert_eq!(onset(&hops(&[&[1.0], &[12.0]]), true), None);
        assert_eq!(onset(&hops(&[&[1.0], &[12.0], &[12.5], &[13.0]]), true), Some((2, 1, 11.0)));
        // One late answer of three changes nothing where hops behind are steady.
        let times: [&[f64]; 4] = [&[1.0, 1.1, 1.2], &[11.0, 11.1, 60.0], &[11.2, 11.3, 11.2], &[12.0, 12.1, 12.2]];
        assert_eq!(onset(&hops(&times), true), Some((2, 1, 10.0)));
    }

    #[test]
    fn routers_of_a_tunnel_that_answer_by_its_end_are_not_named() {
        // The third to the fifth answer by the sixth, before which the step is.
        let tunnel = hops(&[&[1.0], &[2.0], &[41.0], &[41.2], &[41.1], &[41.0], &[42.0]]);
        let labelled = [false, false, true, true, true, false, false];
        let (segments, onset) = super::delay(0, &tunnel.iter().collect::<Vec<_>>(), &labelled, true);
        let onset = onset.unwrap();
        assert_eq!((onset.hop, onset.after), (5, Some(1)));
        assert_eq!(segments[2..5], [Some(0.0); 3]);
        // So is one of them that takes its time.
        let slow = hops(&[&[1.0], &[2.0], &[41.0], &[43.5], &[41.1], &[42.5], &[42.0]]);
        let (_, onset) = super::delay(0, &slow.iter().collect::<Vec<_>>(), &labelled, true);
        assert!(onset.is_some_and(|onset| onset.hop >= 5 && onset.after == Some(1)), "{onset:?}");
        // Where each answers for itself, the step is at the first.
        let open = hops(&[&[1.0], &[2.0], &[38.0], &[40.0], &[42.0], &[44.0], &[45.0]]);
        let (_, onset) = super::delay(0, &open.iter().collect::<Vec<_>>(), &labelled, true);
        assert_eq!(onset.map(|onset| (onset.hop, onset.after)), Some((2, Some(1))));
    }

    /// How often each hop, from 1, is named (0: none) on a path of eight whose fifth link takes 40 ms and the others 1, where the fourth router
    /// answers late by `own` and all packets by `noise`, in milliseconds, both made of evenly distributed numbers of 0 to 1.
    fn named(rounds: usize, noise: fn(f64) -> f64, own: fn(f64) -> f64) -> [usize; 9] {
        let mut random = Random::new(7);
        let mut named = [0; 9];
        for _ in 0..DRAWS {
            let mut path = 0.0;
            let times: Vec<Vec<f64>> = (1..=8)
                .map(|hop| {
                    path += if hop == 5 { 40.0 } else { 1.0 };
                    let mut time = || {
                        let late = if hop == 4 { own(random.fraction()) } else { 0.0 };
                        path + noise(random.fraction()) + late
                    };
                    (0..rounds).map(|_| time()).collect()
                })
                .collect();
            let hops = hops(&times.iter().map(Vec::as_slice).collect::<Vec<_>>());
            named[onset(&hops, true).map_or(0, |(hop, ..)| hop)] += 1;
        }
        named
    }

    const DRAWS: usize = 4_000;

    /// What routers and their hosts add to an answer, and what a busy link does.
    const NOISES: [fn(f64) -> f64; 3] = [|x| 0.1 + 0.4 * x, |x| -0.3 * (1.0 - x).ln(), |x| -2.0 * (1.0 - x).ln()];

    #[test]
    fn ordinary_noise_moves_no_step() {
        for noise in NOISES {
            for rounds in [3, 10] {
                let named = named(rounds, noise, |_| 0.0);
                // Three answers on a busy link now and then are just so.
                assert!(named[5] * 100 > DRAWS * 97, "{rounds} rounds: {named:?}");
            }
        }
    }

    #[test]
    fn a_router_that_is_slower_than_those_behind_it_or_unsteady_is_hardly_ever_named() {
        let decoys: [fn(f64) -> f64; 4] = [|_| 42.0, |_| 44.0, |x| 80.0 * x, |x| -50.0 * (1.0 - x).ln()];
        for (noise, is_busy) in NOISES.into_iter().zip([false, false, true]) {
            for (decoy, is_constant) in decoys.into_iter().zip([true, true, false, false]) {
                for rounds in [3, 10] {
                    let named = named(rounds, noise, decoy);
                    // Of three answers on a busy link, 4 ms more or less say nothing, and less is said of the others.
                    let most = match (is_busy && rounds == 3, is_constant) {
                        (false, _) => 2,
                        (true, false) => 10,
                        (true, true) => continue,
                    };
                    assert!(named[4] * 100 < DRAWS * most, "{rounds} rounds: {named:?}");
                    assert!((named[4] + named[5]) * 100 > DRAWS * 96, "{rounds} rounds: {named:?}");
                }
            }
        }
    }

    #[test]
    fn a_path_without_answers_tells_nothing() {
        assert_eq!(delay(&[], false), (vec![], None));
        assert_eq!(delay(&hops(&[SILENT, SILENT]), false), (vec![None, None], None));
    }

    /// Round-trip times of some hops in microseconds, up to three each.
    fn any_hops() -> impl Strategy<Value = Vec<Statistics>> {
        let hop = prop::collection::vec(0_u64..2_000_000, 0..4).prop_map(|times| {
            let mut statistics = Statistics::default();
            times.iter().for_each(|time| statistics.add(Duration::from_micros(*time)));
            statistics
        });
        prop::collection::vec(hop, 0..30)
    }

    /// A path whose step is known: what it adds, its place, and routers that are slow, none of which is as slow as the hops behind the step
    /// or hardly slower.
    fn known() -> impl Strategy<Value = (Vec<Statistics>, usize, f64, Vec<bool>)> {
        let hops = (3_usize..20).prop_flat_map(|length| {
            let jitter = prop::collection::vec(prop::collection::vec(0.0_f64..0.2, 3), length);
            (prop::collection::vec(any::<bool>(), length), jitter, 0..length, 20.0_f64..80.0, 1.3_f64..5.0)
        });
        hops.prop_map(|(mut slow, jitter, at, step, factor)| {
            // The destination is not slow.
            *slow.last_mut().unwrap() = false;
            let hop = |index: usize| {
                let path = 0.3 * (index + 1) as f64 + if index >= at { step } else { 0.0 };
                let own = if slow[index] { factor * step + 10.0 } else { 0.0 };
                let mut statistics = Statistics::default();
                jitter[index].iter().for_each(|more| {
                    statistics.add(Duration::from_secs_f64((path + own + more) / 1e3));
                });
                statistics
            };
            ((0..slow.len()).map(hop).collect(), at, step, slow)
        })
    }

    proptest! {
        #[test]
        fn segments_are_never_negative_and_add_up(hops in any_hops()) {
            let (segments, onset) = delay(&hops, true);
            prop_assert_eq!(segments.len(), hops.len());
            for (hop, segment) in hops.iter().zip(&segments) {
                prop_assert_eq!(hop.count() > 0, segment.is_some());
                prop_assert!(segment.is_none_or(|segment| segment >= 0.0));
            }
            let whole = hops.iter().rev().find_map(Statistics::best).unwrap_or_default();
            prop_assert!((segments.iter().flatten().sum::<f64>() - whole).abs() < 1e-7);
            if let Some(DelayOnset { hop, after, step }) = onset {
                prop_assert!(segments[hop] == Some(step) && step >= LEAST_STEP);
                prop_assert!(after.is_none_or(|after| after < hop && segments[after].is_some()));
            }
        }

        #[test]
        fn the_first_hop_behind_the_step_that_is_not_slow_is_named((hops, at, step, slow) in known()) {
            let named = delay(&hops, true).1.unwrap();
            let expected = (at..hops.len()).find(|hop| !slow[*hop]).unwrap();
            prop_assert_eq!(named.hop, expected, "{:?}", slow);
            prop_assert!(named.step >= step / 1e3 - 0.001 && named.step < step / 1e3 + 0.3e-3 * hops.len() as f64 + 0.001);
        }

        #[test]
        fn without_a_destination_no_slow_router_is_named_either((hops, _, _, slow) in known()) {
            let routers = &hops[..hops.len() - 1];
            if let Some(named) = delay(routers, false).1 {
                let quick_behind = (named.hop + 1..routers.len()).any(|hop| !slow[hop]);
                prop_assert!(!slow[named.hop] || !quick_behind, "{:?}", slow);
            }
        }
    }
}
