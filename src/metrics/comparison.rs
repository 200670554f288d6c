//! From what was asked for, which may be a comparison of ISPs, to its metrics.

use std::borrow::Cow;

use super::catalogue;
use super::report::{Families, of_report, sample};
use super::{Family, Sample};
use crate::probe::{Comparison, Outcome, Report, Route, Way};
use crate::verdict::{Judgement, Verdict};

/// What every series of a probe through one of several ISPs has.
const ISP: &str = "isp";

/// What a label of a module's own becomes that has that name: what Prometheus does with one that the scrape has, too.
const EXPORTED_ISP: &str = "exported_isp";

/// The metrics of what was asked for: of one probe those of its report, of several those of each, with the label `isp`, and the verdict.
#[must_use]
pub fn of_outcome(outcome: &Outcome) -> Vec<Family> {
    match outcome {
        Outcome::One(report) => of_report(report),
        Outcome::Several(comparison) => of_comparison(comparison),
    }
}

fn of_comparison(comparison: &Comparison) -> Vec<Family> {
    let Comparison { reports, judgement, routes } = comparison;
    let mut families = Families::default();
    let Judgement { verdict, blamed, because: _ } = judgement;
    let states =
        Verdict::ALL.map(|state| sample(catalogue::VERDICT, &[state.name()], f64::from(u8::from(state == *verdict))));
    families.family(catalogue::VERDICT, states.to_vec());
    let blamed = blamed.iter().filter_map(|index| reports.get(*index));
    families.family(catalogue::BLAMED, blamed.map(|report| sample(catalogue::BLAMED, &[name(report)], 1.0)).collect());
    of_routes(&mut families, reports, routes);
    let mut families = families.0;
    for report in reports {
        for family in of_report(report) {
            let samples = family.samples.into_iter().map(|sample| of_isp(sample, name(report)));
            match families.iter_mut().find(|known| known.name == family.name) {
                Some(known) => known.samples.extend(samples),
                None => families.push(Family { samples: samples.collect(), ..family }),
            }
        }
    }
    families
}

/// How the paths of traces go beside one another.
fn of_routes(families: &mut Families, reports: &[Report], routes: &[(usize, Route)]) {
    let isp = |index: usize| reports.get(index).map(name).unwrap_or_default();
    let beside = || {
        routes
            .iter()
            .flat_map(|(index, route)| route.beside.iter().map(move |(other, way)| (*index, route, *other, way)))
    };
    let hops = |metric, hop: fn(&Way) -> Option<u8>| {
        let samples = beside()
            .filter_map(|(one, _, other, way)| Some(sample(metric, &[isp(one), isp(other)], f64::from(hop(way)?))));
        samples.collect::<Vec<_>>()
    };
    families.family(catalogue::PATH_DIVERGES, hops(catalogue::PATH_DIVERGES, |way| way.diverges));
    families.family(catalogue::PATH_REJOINS, hops(catalogue::PATH_REJOINS, |way| way.rejoins));
    let shared = beside().filter_map(|(one, route, other, way)| {
        let labels = [isp(one), isp(other), route.trouble?.name()];
        Some(sample(catalogue::PATH_TROUBLE, &labels, f64::from(u8::from(way.trouble_is_shared?))))
    });
    families.family(catalogue::PATH_TROUBLE, shared.collect());
    let helps = routes.iter().filter_map(|(index, route)| {
        Some(sample(catalogue::REROUTE_HELPS, &[isp(*index)], f64::from(u8::from(route.reroute_helps?))))
    });
    families.family(catalogue::REROUTE_HELPS, helps.collect());
}

fn name(report: &Report) -> &str {
    report.isp.as_ref().map(|isp| isp.name.as_str()).unwrap_or_default()
}

fn of_isp(sample: Sample, isp: &str) -> Sample {
    let own = sample.labels.into_iter().map(|(label, value)| match label.as_ref() {
        ISP => (Cow::Borrowed(EXPORTED_ISP), value),
        _ => (label, value),
    });
    let labels = [(Cow::Borrowed(ISP), isp.to_owned())].into_iter().chain(own).collect();
    Sample { labels, value: sample.value }
}
