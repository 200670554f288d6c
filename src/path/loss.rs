//! Whether packets that a hop did not answer were lost on the way, or are only answers that its router did not give.
//!
//! A router answers for itself when it has nothing better to do, so that many answer less than they forward. Who looks at one hop alone
//! cannot tell that from loss; whoever looks at the hops behind it can, since their packets passed it. So every explanation of a
//! whole path is weighed by how well it fits what was counted (Bayes' rule), and only what is nearly certain is told:
//!
//! - On the way to a hop, a part of the packets is lost, which is never less than on the way to the hop before. At each hop it begins to be
//!   more with the probability [`BEGINS`]; how much it then is, nobody knows beforehand (Jeffreys' prior of a proportion).
//! - A router never answers with the probability [`SILENT`], and answers only a part of what reaches it with the probability [`LIMITS`]: what it
//!   withholds is between [`LEAST`] and all, each order of magnitude as likely as the next. Else it answers all.
//! - A destination that does not limit its answers answers all that reaches it.
//!
//! That is a hidden Markov model whose states are the levels of loss; the forward-backward algorithm sums over all explanations. The
//! probabilities are guesses, and so few counts decide nothing that only they suggest: hence [`SURELY_OWN`] and [`SURELY_LOST`].

use std::f64::consts::PI;
use std::sync::LazyLock;

/// What became of the packets that were to end at a hop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Answered.
    pub answered: u32,
    /// Not answered in the time that they were waited for.
    pub lost: u32,
}

impl Count {
    /// The part that was answered; 0 of none.
    fn ratio(self) -> f64 {
        f64::from(self.answered) / f64::from((self.answered + self.lost).max(1))
    }
}

/// What the loss of a hop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossClass {
    /// There is none.
    None,
    /// The router does not answer all that reaches it. What it forwards is not concerned.
    RateLimited,
    /// Packets are lost on the way to the hop, or in it, and those that would go on are lost with them.
    Forwarding,
    /// The counts do not decide.
    Unknown,
}

impl LossClass {
    /// The name in metrics and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::RateLimited => "rate_limited",
            Self::Forwarding => "forwarding",
            Self::Unknown => "unknown",
        }
    }
}

/// How probable it must be that a router does not answer all, before its loss is said to be that: whoever reads it looks no further.
const SURELY_OWN: f64 = 0.95;
/// How probable it must be that packets are lost on the way, before that is said.
const SURELY_LOST: f64 = 0.8;

/// The probability that loss begins, or grows, on the way from one hop to the next.
const BEGINS: f64 = 0.02;
/// The probability that a router never answers.
const SILENT: f64 = 0.1;
/// The probability that a router answers only a part.
const LIMITS: f64 = 0.3;
/// The least part that such a router withholds.
const LEAST: f64 = 0.001;

/// The classes of the hops of a path, in order; nothing for a hop of which nothing is known.
///
/// `host` says that the last of them is a destination that answers whatever reaches it, as hosts answer echo requests and SYNs.
#[must_use]
pub(super) fn classify(counts: &[Count], host: bool) -> Vec<Option<LossClass>> {
    let explained = if counts.iter().any(|count| count.lost > 0) { weigh(counts, host) } else { Vec::new() };
    // However improbable loss is: without a hop behind that answers more, nothing but the priors would say that there is none.
    let is_outdone = |index: usize| counts[index + 1..].iter().any(|behind| behind.ratio() > counts[index].ratio());
    let class = |(index, count): (usize, &Count)| match (count, explained.get(index)) {
        (Count { answered: 0, lost: 0 }, _) => None,
        (Count { lost: 0, .. }, _) => Some(LossClass::None),
        (_, Some(Explained { own, .. })) if *own >= SURELY_OWN && is_outdone(index) => Some(LossClass::RateLimited),
        (_, Some(Explained { way, .. })) if *way >= SURELY_LOST => Some(LossClass::Forwarding),
        _ => Some(LossClass::Unknown),
    };
    counts.iter().enumerate().map(class).collect()
}

/// The index of the hop from which loss persists to the end: the first whose packets are surely lost on the way, where the last hop
/// lost some, too. With few packets that may be a hop behind the one where it begins; hardly ever is it one before.
#[must_use]
pub(super) fn onset(counts: &[Count], classes: &[Option<LossClass>]) -> Option<usize> {
    counts.last().filter(|last| last.lost > 0)?;
    classes.iter().position(|class| *class == Some(LossClass::Forwarding))
}

/// How the loss of a hop comes about.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Explained {
    /// The probability that its router does not answer all that reaches it.
    own: f64,
    /// The probability that packets are lost on the way to it.
    way: f64,
}

/// How many levels of loss there are, beside none. Neighbours are as far apart as 1.6 standard deviations of a count of 1000.
const LEVELS: usize = 64;

/// A number for each level.
type PerLevel = [f64; LEVELS + 1];

/// What of the packets survives at a level: all at the first, none at the last, and between levels what lies between. That levels are
/// equally probable, and evenly spaced by the arcsine of the root, is Jeffreys' prior.
fn survival(level: f64) -> f64 {
    if level <= 0.0 {
        1.0
    } else if level >= LEVELS as f64 {
        0.0
    } else {
        (level * PI / (2 * LEVELS) as f64).cos().powi(2)
    }
}

/// How probable a count of a hop is at each level.
#[derive(Debug, Clone, Copy)]
struct Likelihood {
    /// However it comes about.
    all: PerLevel,
    /// By a router that does not answer all.
    own: PerLevel,
}

impl Likelihood {
    fn of(count: Count, host: bool) -> Self {
        let (answered, asked) = (count.answered, count.answered + count.lost);
        let chosen = ln_choose(asked, answered);
        let of_all: PerLevel = std::array::from_fn(|level| binomial(chosen, answered, asked, survival(level as f64)));
        if host {
            return Self { all: of_all, own: [0.0; _] };
        }
        let silent = if answered == 0 { SILENT } else { 0.0 };
        let own = |level: usize| {
            silent + LIMITS * LIMITED[level].iter().zip(&of_all).map(|(part, all)| part * all).sum::<f64>()
        };
        let own: PerLevel = std::array::from_fn(own);
        Self { all: std::array::from_fn(|level| (1.0 - SILENT - LIMITS) * of_all[level] + own[level]), own }
    }
}

/// How probable it is, for each level of survival (the rows), that a router which answers a part of what survives answers as much of what was
/// sent as survives at a level (the columns).
static LIMITED: LazyLock<Vec<PerLevel>> = LazyLock::new(|| {
    // What is withheld of what survives, where so much of what was sent is answered; and how probable it is that it is less.
    let withheld = |answered: f64, survives: f64| (1.0 - answered / survives).clamp(LEAST, 1.0);
    let less = |withheld: f64| (withheld / LEAST).ln() / LEAST.recip().ln();
    let row = |level: usize| {
        std::array::from_fn(|column| {
            // A column stands for all between it and half the way to its neighbours.
            let survives = survival(level as f64);
            let bound = |column: f64| less(withheld(survival(column), survives));
            match (survives > 0.0, column) {
                (true, _) => bound(column as f64 + 0.5) - bound(column as f64 - 0.5),
                (false, LEVELS) => 1.0,
                (false, _) => 0.0,
            }
        })
    };
    (0..=LEVELS).map(row).collect()
});

/// Weighs all explanations by the forward-backward algorithm.
fn weigh(counts: &[Count], host: bool) -> Vec<Explained> {
    let mut likelihoods: Vec<Likelihood> = Vec::with_capacity(counts.len());
    for (index, count) in counts.iter().enumerate() {
        let host = host && index + 1 == counts.len();
        // Most hops have the same counts.
        let known = counts[..index].iter().position(|before| before == count).filter(|_| !host);
        likelihoods.push(known.map_or_else(|| Likelihood::of(*count, host), |before| likelihoods[before]));
    }
    // From the front: how probable a level and all counts up to the hop are.
    let mut level = [0.0; LEVELS + 1];
    level[0] = 1.0;
    let mut from_front = Vec::with_capacity(counts.len());
    for Likelihood { all, .. } in &likelihoods {
        level = scaled(product(&onward(&level), all));
        from_front.push(level);
    }
    // From the back: how probable all counts behind the hop are, given its level.
    let mut behind = [1.0; LEVELS + 1];
    let mut explained = Vec::with_capacity(counts.len());
    for (Likelihood { all, own }, level) in likelihoods.iter().zip(&from_front).rev() {
        let weight = scaled(product(level, &behind));
        let own = weight.iter().zip(own.iter().zip(all));
        // A level that is impossible has no weight, and nothing to divide by.
        let own = own.filter(|(_, (_, all))| **all > 0.0).map(|(weight, (own, all))| weight * own / all).sum();
        explained.push(Explained { own, way: weight[1..].iter().sum() });
        behind = scaled(back(&product(&behind, all)));
    }
    explained.reverse();
    explained
}

/// The levels of the next hop: the same, or, evenly, one of those above.
fn onward(level: &PerLevel) -> PerLevel {
    let mut from_below = 0.0;
    std::array::from_fn(|here| {
        let next = if here < LEVELS { level[here] * (1.0 - BEGINS) } else { level[here] } + from_below;
        from_below += share(here) * level[here];
        next
    })
}

/// The reverse: what the next hop's levels say of this hop's.
fn back(next: &PerLevel) -> PerLevel {
    let mut level = [0.0; LEVELS + 1];
    let mut above = 0.0;
    for here in (0..=LEVELS).rev() {
        let same = if here < LEVELS { 1.0 - BEGINS } else { 1.0 };
        level[here] = same * next[here] + share(here) * above;
        above += next[here];
    }
    level
}

/// The probability that a level is followed by a certain one above it.
fn share(level: usize) -> f64 {
    if level < LEVELS { BEGINS / (LEVELS - level) as f64 } else { 0.0 }
}

fn product(left: &PerLevel, right: &PerLevel) -> PerLevel {
    std::array::from_fn(|level| left[level] * right[level])
}

/// The same, adding up to 1, so that long paths do not underflow.
fn scaled(values: PerLevel) -> PerLevel {
    let sum: f64 = values.iter().sum();
    if sum > 0.0 { values.map(|value| value / sum) } else { values }
}

/// The probability of `hits` in `of`, each of the probability `p`.
fn binomial(ln_choose: f64, hits: u32, of: u32, p: f64) -> f64 {
    let term = |times: u32, p: f64| if times == 0 { 0.0 } else { f64::from(times) * p.ln() };
    (ln_choose + term(hits, p) + term(of - hits, 1.0 - p)).exp()
}

/// The logarithm of the number of ways to choose some of many.
fn ln_choose(of: u32, some: u32) -> f64 {
    (1..=some.min(of - some)).map(|n| (f64::from(of - n + 1) / f64::from(n)).ln()).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::lab::random::Random;

    /// Counts as `answered/asked`.
    fn counts(text: &str) -> Vec<Count> {
        text.split_whitespace()
            .map(|word| {
                let (answered, asked) = word.split_once('/').unwrap();
                let (answered, asked): (u32, u32) = (answered.parse().unwrap(), asked.parse().unwrap());
                Count { answered, lost: asked - answered }
            })
            .collect()
    }

    fn told(text: &str, host: bool) -> Vec<&'static str> {
        classify(&counts(text), host).into_iter().map(|class| class.map_or("-", LossClass::name)).collect()
    }

    #[test]
    fn what_later_hops_do_not_lose_is_not_lost_on_the_way() {
        // Three rounds, a hop that missed one, two, or all of them.
        for (hop, class) in [("3/3", "none"), ("2/3", "rate_limited"), ("1/3", "rate_limited"), ("0/3", "rate_limited")]
        {
            assert_eq!(
                told(&format!("3/3 3/3 {hop} 3/3 3/3 3/3"), true),
                ["none", "none", class, "none", "none", "none"]
            );
        }
        // Some that lose a little are many that limit, where the destination loses nothing.
        let many = told("1000/1000 998/1000 999/1000 997/1000 1000/1000 1000/1000", true);
        assert_eq!(many, ["none", "rate_limited", "rate_limited", "rate_limited", "none", "none"]);
        // A silent hop before a destination that answered as often as it was asked.
        assert_eq!(told("3/3 0/5 3/3", true), ["none", "rate_limited", "none"]);
    }

    #[test]
    fn what_all_later_hops_lose_is_lost_on_the_way() {
        let lossy = "100/100 100/100 70/100 72/100 68/100 70/100";
        assert_eq!(told(lossy, true), ["none", "none", "forwarding", "forwarding", "forwarding", "forwarding"]);
        // One round of ten in which nothing came from beyond the second hop.
        let outage = "10/10 10/10 9/10 9/10 9/10 9/10 9/10 9/10";
        assert_eq!(told(outage, true)[3..], ["forwarding"; 5]);
        // Two places that lose.
        let twice = "200/200 200/200 160/200 158/200 161/200 90/200 88/200 92/200";
        assert_eq!(told(twice, true)[2..], ["forwarding"; 6]);
        // All of it at the destination.
        assert_eq!(told("3/3 3/3 1/3", true), ["none", "none", "forwarding"]);
    }

    #[test]
    fn a_hop_that_limits_beside_one_that_loses_is_told_from_it() {
        let before = "100/100 40/100 100/100 70/100 72/100 70/100";
        assert_eq!(told(before, true), ["none", "rate_limited", "none", "forwarding", "forwarding", "forwarding"]);
        let right_before = "100/100 100/100 30/100 70/100 72/100 70/100";
        assert_eq!(told(right_before, true)[2..], ["rate_limited", "forwarding", "forwarding", "forwarding"]);
        let behind = "100/100 100/100 70/100 72/100 30/100 70/100";
        assert_eq!(told(behind, true)[2..], ["forwarding", "forwarding", "rate_limited", "forwarding"]);
        // It answers one of ten, and every packet beyond it is answered.
        let bucket = "10/10 1/10 10/10 7/10 7/10 7/10 7/10";
        assert_eq!(
            told(bucket, true),
            ["none", "rate_limited", "none", "forwarding", "forwarding", "forwarding", "forwarding"]
        );
    }

    #[test]
    fn what_the_counts_do_not_decide_is_unknown() {
        // A router just before the loss that loses more, but not by so much.
        assert_eq!(told("10/10 10/10 3/10 8/10 7/10 8/10 7/10", true)[2], "unknown");
        // The last router that answered, with nothing behind it to compare with.
        assert_eq!(told("3/3 3/3 1/3", false), ["none", "none", "unknown"]);
        assert_eq!(told("100/100 100/100 50/100", false), ["none", "none", "unknown"]);
        assert_eq!(told("1000/1000 1000/1000 500/1000 300/1000", false), ["none", "none", "unknown", "unknown"]);
        // Two hops that missed the only packet that they were asked by.
        assert_eq!(told("1/1 0/1 0/1 1/1", true)[1..3], ["unknown", "unknown"]);
    }

    #[test]
    fn nothing_is_told_of_a_hop_that_was_not_asked_and_of_a_path_without_hops() {
        assert_eq!(told("3/3 0/0 3/3", true), ["none", "-", "none"]);
        assert_eq!(told("0/0 0/3", true), ["-", "forwarding"]);
        assert_eq!(told("", true), [""; 0]);
    }

    #[test]
    fn long_paths_and_many_rounds_do_not_underflow() {
        let hop = |lost| Count { answered: 100_000 - lost, lost };
        let mut path: Vec<Count> = (0..255).map(|hop_number| hop(if hop_number < 200 { 0 } else { 30_000 })).collect();
        path[100] = hop(99_999);
        let classes = classify(&path, true);
        assert_eq!((classes[99], classes[100]), (Some(LossClass::None), Some(LossClass::RateLimited)));
        assert!(classes[200..].iter().all(|class| *class == Some(LossClass::Forwarding)), "{classes:?}");
    }

    fn below(random: &mut Random, bound: usize) -> usize {
        (random.fraction() * bound as f64) as usize
    }

    /// A path of which the truth is known: what is lost on the way to each hop, and what each answers of the rest.
    fn path(random: &mut Random) -> (Vec<f64>, Vec<f64>, Vec<Count>) {
        let hops = 3 + below(random, 18);
        let rounds = [1, 3, 3, 5, 10, 30, 100][below(random, 7)];
        // Another world than the one that the priors describe: loss on a third of all paths, and routers of every kind.
        let begins = if random.chance(0.33) { below(random, hops) } else { hops };
        let level = [0.01, 0.03, 0.1, 0.2, 0.4, 0.7][below(random, 6)];
        let lost: Vec<f64> = (0..hops).map(|hop| if hop >= begins { level } else { 0.0 }).collect();
        let answers = |random: &mut Random| match below(random, 20) {
            0..2 => 0.0,
            2 => 0.02,
            3 => random.fraction(),
            4 => 0.9,
            5 => 0.99,
            _ => 1.0,
        };
        let mut answered: Vec<f64> = (0..hops).map(|_| answers(random)).collect();
        answered[hops - 1] = 1.0;
        let count = |random: &mut Random, hop: usize| {
            let share = (1.0 - lost[hop]) * answered[hop];
            let answered = (0..rounds).filter(|_| random.chance(share)).count() as u32;
            Count { answered, lost: rounds - answered }
        };
        let counts = (0..hops).map(|hop| count(random, hop)).collect();
        (lost, answered, counts)
    }

    #[test]
    fn of_twenty_classes_that_are_told_hardly_one_is_wrong_however_few_the_rounds() {
        let mut random = Random::new(1);
        // By rounds: what is told, and what of it is wrong.
        let mut told: BTreeMap<(u32, &str), (u32, u32)> = BTreeMap::new();
        let (mut lossy, mut undecided, mut onsets, mut too_early) = (0, 0, 0, 0);
        for _ in 0..20_000 {
            let (lost, answered, counts) = path(&mut random);
            let classes = classify(&counts, true);
            if let Some(onset) = onset(&counts, &classes) {
                onsets += 1;
                too_early += u32::from(lost[onset] == 0.0);
            }
            for (hop, class) in classes.into_iter().enumerate() {
                let class = class.unwrap();
                let wrong = match class {
                    LossClass::None => counts[hop].lost > 0,
                    LossClass::RateLimited => answered[hop] == 1.0,
                    LossClass::Forwarding => lost[hop] == 0.0,
                    LossClass::Unknown => false,
                };
                lossy += u32::from(counts[hop].lost > 0);
                undecided += u32::from(class == LossClass::Unknown);
                let told = told.entry((counts[hop].answered + counts[hop].lost, class.name())).or_default();
                *told = (told.0 + 1, told.1 + u32::from(wrong));
            }
        }
        for (of, (told, wrong)) in &told {
            // One packet to each hop cannot tell much.
            let bound = if of.0 == 1 { 10 } else { 20 };
            assert!(wrong * bound < *told, "{of:?}: {wrong} of {told} are wrong");
        }
        assert_eq!(told.len(), 6 * 4, "each class is told, however few the rounds: {told:?}");
        assert!(onsets > 3_500 && too_early * 15 < onsets, "{too_early} of {onsets} are before the loss");
        assert!(undecided * 5 < lossy, "{undecided} of {lossy} are not decided");
    }

    #[test]
    fn loss_begins_at_the_first_hop_that_surely_loses_on_the_way_if_it_lasts_to_the_end() {
        let onset = |text: &str, host| {
            let counts = counts(text);
            onset(&counts, &classify(&counts, host))
        };
        assert_eq!(onset("100/100 40/100 100/100 70/100 72/100 70/100", true), Some(3));
        assert_eq!(onset("100/100 100/100 30/100 70/100 72/100 70/100", true), Some(3));
        assert_eq!(onset("10/10 1/10 10/10 7/10 7/10 7/10 7/10", true), Some(3));
        assert_eq!(onset("70/100 72/100 70/100", true), Some(0));
        assert_eq!(onset("3/3 3/3 2/3", true), Some(2));
        assert_eq!(onset("3/3 3/3 3/3", true), None);
        assert_eq!(onset("3/3 0/3 3/3", true), None);
        assert_eq!(onset("90/100 92/100 88/100 10/10", true), None);
        assert_eq!(onset("", true), None);
    }
}
