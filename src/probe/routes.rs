//! The paths of traces through several ISPs beside one another.

use std::net::IpAddr;
use std::time::Duration;

use super::{Measurement, Report, traceroute};
use crate::flight::Phase;
use crate::path::{Beside, Part, Stop};
use crate::verdict::{Ill, Slow, Trouble, reroute_helps};

/// What the path through one ISP is beside those through the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Beside each of the others, by its index among the reports.
    pub beside: Vec<(usize, Way)>,
    /// What is wrong with it, the worst; nothing where nothing is.
    pub trouble: Option<Trouble>,
    /// Whether another ISP would do better; nothing where it cannot be known, or needs no help.
    pub reroute_helps: Option<bool>,
}

/// How one path goes beside another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The first hop that is not on the other path.
    pub diverges: Option<u8>,
    /// The first hop of the end that both have.
    pub rejoins: Option<u8>,
    /// Whether what is wrong begins where both go.
    pub trouble_is_shared: Option<bool>,
}

/// A trace that found its destination's address.
struct Traced<'a> {
    index: usize,
    measured: &'a traceroute::Measurement,
    stops: Vec<Stop>,
    trouble: Option<Trouble>,
}

impl<'a> Traced<'a> {
    fn beside(&'a self, other: &'a Self, destination: IpAddr) -> Beside<'a> {
        Beside { path: &self.stops, other: &other.stops, destination }
    }
}

/// The paths of the traces among reports, by the reports' indices; nothing where they are not of traces, or not to one destination.
pub(super) fn routes(reports: &[Report], slow: &Slow) -> Vec<(usize, Route)> {
    let traces = reports.iter().enumerate().filter_map(|(index, report)| match &report.measurement {
        Measurement::Traceroute(measured) if !measured.hops.is_empty() => Some((index, measured)),
        _ => None,
    });
    let traces: Vec<_> = traces.collect();
    let Some(destination) = traces.first().and_then(|(_, measured)| measured.destination) else { return Vec::new() };
    if traces.len() < 2 || traces.iter().any(|(_, measured)| measured.destination != Some(destination)) {
        return Vec::new();
    }
    let best = traces.iter().filter_map(|(_, measured)| round_trip(measured)).min();
    let traced = traces.into_iter().map(|(index, measured)| {
        let stops = measured.hops.iter().map(stop).collect();
        Traced { index, measured, stops, trouble: trouble(measured, best, slow) }
    });
    let traced: Vec<_> = traced.collect();
    let route = |one: &Traced<'_>| {
        let others = || traced.iter().filter(|other| other.index != one.index);
        let of_part = |other: &Traced<'_>| {
            let beside = one.beside(other, destination);
            one.trouble.and_then(|trouble| part(one, other, trouble, &beside))
        };
        let ways = others().map(|other| {
            let beside = one.beside(other, destination);
            let trouble_is_shared = of_part(other).map(|part| part == Part::Shared);
            (other.index, Way { diverges: beside.diverges(), rejoins: beside.rejoins(), trouble_is_shared })
        });
        let ill = others().map(|other| one.trouble.map(|trouble| Ill { trouble, part: of_part(other) }));
        let good: Vec<_> = others().map(|other| other.trouble.is_none()).collect();
        let helps = reroute_helps(&ill.collect::<Vec<_>>(), &good);
        (one.index, Route { beside: ways.collect(), trouble: one.trouble, reroute_helps: helps })
    };
    traced.iter().map(route).collect()
}

fn stop(hop: &traceroute::Hop) -> Stop {
    Stop { number: hop.number, addresses: hop.routers.iter().map(|router| router.address).collect() }
}

/// The shortest time to the destination and back.
fn round_trip(measured: &traceroute::Measurement) -> Option<Duration> {
    let last = measured.hops.last().filter(|_| measured.reached)?;
    last.rtt.best().map(Duration::from_secs_f64)
}

/// The worst that is wrong with a path; `best` is the shortest round trip through any ISP.
fn trouble(measured: &traceroute::Measurement, best: Option<Duration>, slow: &Slow) -> Option<Trouble> {
    let is_slow = |span: Duration| {
        slow.exceeded(Phase::Rtt, span).is_some() || best.is_some_and(|best| slow.is_beside(span, best))
    };
    if !measured.reached {
        return Some(Trouble::Ends);
    }
    if measured.analysis.loss_onset.is_some() {
        return Some(Trouble::Loss);
    }
    round_trip(measured).is_some_and(is_slow).then_some(Trouble::Delay)
}

/// In which part of a path what is wrong begins, beside another one.
fn part(one: &Traced<'_>, other: &Traced<'_>, trouble: Trouble, beside: &Beside<'_>) -> Option<Part> {
    let analysis = &one.measured.analysis;
    match trouble {
        Trouble::Loss => beside.part(analysis.loss_onset?),
        Trouble::Delay => beside.part(analysis.delay_onset?.hop),
        Trouble::Ends => {
            let last = |stops: &[Stop]| stops.iter().rev().find(|stop| !stop.addresses.is_empty()).cloned();
            let (mine, theirs) = (last(&one.stops)?, last(&other.stops)?);
            let met = |stop: &Stop| mine.addresses.iter().any(|address| stop.addresses.contains(address));
            if met(&theirs) { Some(Part::Shared) } else { (!other.stops.iter().any(met)).then_some(Part::Exclusive) }
        }
    }
}
