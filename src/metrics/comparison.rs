//! From what was asked for, which may be a comparison of ISPs, to its metrics.

use std::borrow::Cow;

use super::catalogue;
use super::report::{Families, of_report, sample};
use super::{Family, Sample};
use crate::probe::{Comparison, Outcome, Report};
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
    let Comparison { reports, judgement } = comparison;
    let mut families = Families::default();
    let Judgement { verdict, blamed, because: _ } = judgement;
    let states =
        Verdict::ALL.map(|state| sample(catalogue::VERDICT, &[state.name()], f64::from(u8::from(state == *verdict))));
    families.family(catalogue::VERDICT, states.to_vec());
    let blamed = blamed.iter().filter_map(|index| reports.get(*index));
    families.family(catalogue::BLAMED, blamed.map(|report| sample(catalogue::BLAMED, &[name(report)], 1.0)).collect());
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
