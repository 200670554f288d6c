//! What several flows to one destination meet: which paths there are, how wide each hop is, and who shares flows or packets between routers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::stopping::enough;

/// How often a route may change within a probe: there, and back again. Where the packets of single flows met routers in turn that take more
/// changes than that to explain, it is packets that are shared, not flows.
const ROUTE_CHANGES: usize = 2;

/// Who answered the packets of several flows. Flows are told by their number, from 0.
#[derive(Debug, Clone, Default)]
pub struct Sightings {
    first_hop: u8,
    flows: Vec<Flow>,
}

/// What is known of a flow.
#[derive(Debug, Clone, Default)]
struct Flow {
    /// The hops that it was to meet.
    asked: Option<(u8, u8)>,
    /// Whether all answers have come that were waited for.
    over: bool,
    /// The hop that its path ends at, once known.
    end: Option<u8>,
    /// Who answered when, by hop, from the first: when the packet left, since whatever time.
    hops: Vec<Vec<(Duration, IpAddr)>>,
}

impl Flow {
    fn is_asked(&self, hop: u8) -> bool {
        self.asked.is_some_and(|(first, last)| (first..=last).contains(&hop)) && self.end.is_none_or(|end| hop <= end)
    }

    /// Who answered at a hop of that index; what was heard from beyond the end of the path does not count.
    fn heard(&self, first_hop: u8, index: usize) -> &[(Duration, IpAddr)] {
        let beyond = self.end.is_some_and(|end| usize::from(first_hop) + index > usize::from(end));
        self.hops.get(index).filter(|_| !beyond).map_or(&[], Vec::as_slice)
    }
}

impl Sightings {
    /// Nothing is known yet of paths from that hop on.
    #[must_use]
    pub fn new(first_hop: u8) -> Self {
        Self { first_hop, flows: Vec::new() }
    }

    /// A flow is asked who is at its hops.
    pub fn ask(&mut self, flow: usize, hops: &RangeInclusive<u8>) {
        self.flow(flow).asked = Some((*hops.start(), *hops.end()));
    }

    /// A packet of a flow that left at a time was answered by the router of a hop.
    pub fn heard(&mut self, flow: usize, hop: u8, at: Duration, address: IpAddr) {
        let Some(index) = hop.checked_sub(self.first_hop).map(usize::from) else { return };
        let hops = &mut self.flow(flow).hops;
        hops.resize_with(hops.len().max(index + 1), Vec::new);
        // Answers hardly ever come in another order than their packets left.
        let place = hops[index].partition_point(|(before, _)| *before <= at);
        hops[index].insert(place, (at, address));
    }

    /// The path of a flow ends at a hop.
    pub fn end(&mut self, flow: usize, hop: u8) {
        let flow = self.flow(flow);
        flow.end = Some(flow.end.map_or(hop, |end| end.min(hop)));
    }

    /// All answers to a flow have come that were waited for.
    pub fn over(&mut self, flow: usize) {
        self.flow(flow).over = true;
    }

    /// A flow was not to be had after all.
    pub fn forget(&mut self, flow: usize) {
        *self.flow(flow) = Flow::default();
    }

    /// The longest path of a flow whose end is known.
    #[must_use]
    pub fn longest(&self) -> Option<u8> {
        self.flows.iter().filter_map(|flow| flow.end).max()
    }

    /// What is known so far.
    #[must_use]
    pub fn survey(&self) -> Survey<'_> {
        let heard = |index| self.flows.iter().any(|flow| !flow.heard(self.first_hop, index).is_empty());
        let deepest = self.flows.iter().map(|flow| flow.hops.len()).max().unwrap_or(0);
        let length = (0..deepest).rev().find(|index| heard(*index)).map_or(0, |last| last + 1);
        Survey { sightings: self, hops: (0..length).map(|index| self.seen(index)).collect() }
    }

    fn flow(&mut self, flow: usize) -> &mut Flow {
        self.flows.resize_with(self.flows.len().max(flow + 1), Flow::default);
        &mut self.flows[flow]
    }

    /// Who is at the hop of that index.
    fn seen(&self, index: usize) -> Seen {
        let heard = || self.flows.iter().map(|flow| flow.heard(self.first_hop, index));
        // Between two packets of one flow that met different routers, the route changed at least once. One change explains all such intervals
        // that have a moment in common.
        let pairs = |heard: &[(Duration, IpAddr)]| {
            let pairs = heard.windows(2).filter(|pair| pair[0].1 != pair[1].1);
            pairs.map(|pair| (pair[0].0, pair[1].0)).collect::<Vec<_>>()
        };
        let mut intervals: Vec<(Duration, Duration)> = heard().flat_map(pairs).collect();
        intervals.sort_unstable_by_key(|(_, end)| *end);
        let (mut changes, mut latest) = (0, None);
        for (begin, end) in intervals {
            if latest.is_none_or(|latest| begin >= latest) {
                (changes, latest) = (changes + 1, Some(end));
            }
        }
        let per_packet = changes > ROUTE_CHANGES;
        // What was met before a change of the route is no more there.
        let since = latest.filter(|_| !per_packet).unwrap_or_default();
        let current = |heard: &[(Duration, IpAddr)]| heard.last().filter(|(at, _)| *at >= since).map(|(_, from)| *from);
        let met = heard().flatten().filter(|(at, _)| *at >= since).map(|(_, from)| *from);
        Seen {
            per_packet,
            restless: heard().position(|heard| !pairs(heard).is_empty()),
            routers: met.collect(),
            current: heard().map(current).collect(),
        }
    }
}

/// Who is at a hop.
#[derive(Debug)]
struct Seen {
    /// Whether packets of one flow are shared between its routers.
    per_packet: bool,
    /// The first flow that met several.
    restless: Option<usize>,
    /// All its routers.
    routers: BTreeSet<IpAddr>,
    /// Whom each flow meets, as far as that is known.
    current: Vec<Option<IpAddr>>,
}

/// What is known of the paths so far.
#[derive(Debug)]
pub struct Survey<'s> {
    sightings: &'s Sightings,
    /// From the first to the last that anybody met.
    hops: Vec<Seen>,
}

/// What flows that come from one router meet at the hop behind it.
#[derive(Debug, Default)]
struct Group {
    routers: BTreeSet<IpAddr>,
    /// How many were answered; where packets are shared, how many packets.
    answered: usize,
    silent: usize,
    /// The first of them that was answered.
    flow: Option<usize>,
}

impl Group {
    /// How many flows it takes to be sure. What says nothing may be one more router.
    fn required(&self) -> usize {
        enough(self.routers.len() + usize::from(self.silent > 0))
    }

    /// How many of them are missing.
    fn missing(&self) -> usize {
        match self.required() {
            // Nobody ever answers there.
            required if self.answered == 0 && self.silent >= required => 0,
            required => required.saturating_sub(self.answered),
        }
    }

    /// Whether more flows will not help: hardly any is answered.
    fn is_vain(&self) -> bool {
        self.silent >= 2 * self.required()
    }
}

/// More flows that are wanted to be sure of all routers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How many, beside those that are under way.
    pub flows: usize,
    /// The hops that they are to meet.
    pub hops: RangeInclusive<u8>,
}

/// A router behind which there are several: they may share flows, or packets, or the route may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// The hop of the several.
    pub hop: u8,
    /// The router before them; nothing where that is not one.
    pub behind: Option<IpAddr>,
    /// How many they are.
    pub routers: usize,
    /// A flow that meets them, the packets of which tell.
    pub flow: usize,
    /// Whether they have: it met several itself.
    pub restless: bool,
}

impl Survey<'_> {
    /// The number of the hop of that index.
    fn number(&self, index: usize) -> u8 {
        // Only hops that have a number were heard of.
        self.sightings.first_hop + index as u8
    }

    /// What flows meet at a hop, by the router that they come from. Behind a hop of which nobody answers, or whose routers share packets, nobody
    /// knows which that is.
    fn groups(&self, index: usize) -> BTreeMap<Option<IpAddr>, Group> {
        let (hop, seen) = (self.number(index), &self.hops[index]);
        let first_hop = self.sightings.first_hop;
        let before = index.checked_sub(1).map(|before| &self.hops[before]);
        let before = before.filter(|before| !before.per_packet && !before.routers.is_empty());
        let mut groups: BTreeMap<Option<IpAddr>, Group> = BTreeMap::new();
        for (number, flow) in self.sightings.flows.iter().enumerate().filter(|(_, flow)| flow.is_asked(hop)) {
            let behind = before.and_then(|before| before.current[number]);
            // Where it comes by is still to be heard, or was not asked, or has changed; or nobody answers there.
            let is_silent = || flow.over && flow.is_asked(hop - 1) && flow.heard(first_hop, index - 1).is_empty();
            if before.is_some() && behind.is_none() && !is_silent() {
                continue;
            }
            let group = groups.entry(behind).or_default();
            let heard = flow.heard(first_hop, index);
            match seen.current[number] {
                Some(_) if seen.per_packet => {
                    group.answered += heard.len();
                    group.routers.extend(heard.iter().map(|(_, address)| *address));
                }
                Some(address) => {
                    group.answered += 1;
                    group.routers.insert(address);
                }
                None if heard.is_empty() && flow.over => group.silent += 1,
                None => continue,
            }
            if seen.current[number].is_some() {
                group.flow = group.flow.or(Some(number));
            }
        }
        groups
    }

    /// How many more flows are wanted, and where; nothing where all routers of all hops are known with 95 % certainty, or no flow will help.
    #[must_use]
    pub fn wanted(&self) -> Option<Wanted> {
        let mut flows = 0;
        let mut hops: Option<(u8, u8)> = None;
        let mut is_vain = false;
        for index in 0..self.hops.len() {
            let groups = self.groups(index);
            // Nor is it to be known which router flows come by where those hardly answer.
            let helped = groups.values().filter(|group| !is_vain && !group.is_vain());
            let missing = helped.map(Group::missing).max().unwrap_or(0);
            is_vain = groups.values().any(|group| group.missing() > 0 && group.is_vain());
            if missing == 0 && !groups.is_empty() {
                continue;
            }
            let hop = self.number(index);
            hops = Some((hops.map_or(hop, |(first, _)| first), hop));
            // Which router a flow comes by is not known before.
            let missing = missing.max(usize::from(groups.is_empty())) * groups.len().max(1);
            // Also where they come by is still to be told.
            let is_silent = |flow: &Flow, index| flow.heard(self.sightings.first_hop, index).is_empty();
            let is_under_way = |flow: &&Flow| {
                let mut both = [Some(index), index.checked_sub(1)].into_iter().flatten();
                flow.is_asked(hop) && !flow.over && both.any(|index| is_silent(flow, index))
            };
            flows = flows.max(missing.saturating_sub(self.sightings.flows.iter().filter(is_under_way).count()));
        }
        let (first, last) = hops?;
        Some(Wanted { flows, hops: first.saturating_sub(1).max(self.sightings.first_hop)..=last })
    }

    /// The routers behind which there are several. Where it is known that packets are shared, there is no doubt.
    #[must_use]
    pub fn doubts(&self) -> Vec<Doubt> {
        let hops = || (0..self.hops.len()).filter(|index| !self.hops[*index].per_packet);
        // That one flow met several is what is to be explained first.
        let restless = hops().filter_map(|index| {
            let flow = self.hops[index].restless?;
            let behind = index.checked_sub(1).and_then(|before| self.hops[before].current[flow]);
            let routers = self.hops[index].routers.len();
            Some(Doubt { hop: self.number(index), behind, routers, flow, restless: true })
        });
        let several = hops().flat_map(|index| {
            let groups = self.groups(index).into_iter().filter(|(_, group)| group.routers.len() > 1);
            let hop = self.number(index);
            groups.filter_map(move |(behind, Group { routers, flow, .. })| {
                Some(Doubt { hop, behind, routers: routers.len(), flow: flow?, restless: false })
            })
        });
        restless.chain(several).collect()
    }

    /// What it all means.
    #[must_use]
    pub fn balance(&self) -> Balance {
        let missing = |index| self.groups(index).values().map(Group::missing).max() != Some(0);
        let hops = || self.hops.iter().enumerate().map(|(index, seen)| (self.number(index), seen));
        let several = |per_packet: bool| {
            let of_kind = hops().filter(move |(_, seen)| seen.routers.len() > 1 && seen.per_packet == per_packet);
            of_kind.map(|(hop, _)| hop).collect::<Vec<_>>()
        };
        Balance {
            flows: self.sightings.flows.iter().filter(|flow| flow.asked.is_some()).count(),
            sufficient: !self.hops.is_empty() && !(0..self.hops.len()).any(missing),
            paths: self.paths(),
            widths: hops().map(|(hop, seen)| (hop, seen.routers.len())).filter(|(_, width)| *width > 0).collect(),
            per_flow: several(false),
            per_packet: several(true),
        }
    }

    /// The paths that surely differ: of any two, some hop is known of both, and is not the same.
    fn paths(&self) -> Vec<FlowPath> {
        let met = |flow: usize| -> Vec<Option<IpAddr>> {
            // Which way a packet takes that was shared is of no flow.
            self.hops.iter().map(|seen| seen.current[flow].filter(|_| !seen.per_packet)).collect()
        };
        let mut flows: Vec<(usize, Vec<Option<IpAddr>>)> =
            (0..self.sightings.flows.len()).map(|flow| (flow, met(flow))).collect();
        let known = |path: &[Option<IpAddr>]| path.iter().flatten().count();
        // Those of which most is known first, so that the others are recognised.
        flows.sort_by_cached_key(|(flow, path)| (usize::MAX - known(path), path.clone(), *flow));
        let mut paths: Vec<FlowPath> = Vec::new();
        for (flow, path) in flows {
            let fits = |other: &&mut FlowPath| {
                let mut both = other.routers.iter().zip(&path);
                !both.any(|(one, other)| matches!((one, other), (Some(one), Some(other)) if one != other))
            };
            match paths.iter_mut().find(fits) {
                Some(known) => known.flows.push(flow),
                None if known(&path) > 0 => paths.push(FlowPath { routers: path, flows: vec![flow] }),
                None => {}
            }
        }
        paths.iter_mut().for_each(|path| path.flows.sort_unstable());
        paths.sort_unstable_by_key(|path| path.flows.first().copied());
        paths
    }
}

/// What several flows to one destination met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Balance {
    /// How many there were.
    pub flows: usize,
    /// Whether they are enough to know, with 95 % certainty at each hop that answers, all its routers.
    pub sufficient: bool,
    /// The paths that surely differ, that of the first flow first. A hop that is not known makes no other path.
    pub paths: Vec<FlowPath>,
    /// How many routers answered at a hop, by its number; hops without any are left out.
    pub widths: Vec<(u8, usize)>,
    /// The hops of several routers each of which has flows of its own.
    pub per_flow: Vec<u8>,
    /// The hops of several routers that share the packets of single flows.
    pub per_packet: Vec<u8>,
}

/// A path of one or several flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowPath {
    /// Who is at each hop, from the first; nothing where that is not known, or not the same for all packets.
    pub routers: Vec<Option<IpAddr>>,
    /// The flows of which nothing is known that says otherwise.
    pub flows: Vec<usize>,
}

/// How packets to one destination are shared between several routers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balancing {
    /// They are not.
    None,
    /// All packets of a flow go one way.
    PerFlow,
    /// Packets of one flow go several ways.
    PerPacket,
}

impl Balancing {
    /// The name in metrics and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::PerFlow => "per_flow",
            Self::PerPacket => "per_packet",
        }
    }
}

impl Balance {
    /// How packets are shared: one or both ways, or, where there were flows enough to be sure, not at all.
    #[must_use]
    pub fn balancing(&self) -> Vec<Balancing> {
        let per_flow = (!self.per_flow.is_empty()).then_some(Balancing::PerFlow);
        let per_packet = (!self.per_packet.is_empty()).then_some(Balancing::PerPacket);
        let none = (self.sufficient && per_flow.is_none() && per_packet.is_none()).then_some(Balancing::None);
        [none, per_flow, per_packet].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests;
