//! The `slow:` section of a module.

use super::decode::{Fields, Value};
use crate::flight::Phase;
use crate::probe::Prober;
use crate::verdict::Slow;

/// What it says; the usual where it says nothing.
pub(super) fn slow(fields: &Fields<'_>, prober: Option<&Prober>) -> Slow {
    let given = fields.get("slow");
    let section = fields.section("slow");
    let usual = Slow::default();
    let slow = Slow {
        factor: section.get("factor").and_then(|value| factor(&value)).unwrap_or(usual.factor),
        difference: section.get("difference").and_then(|value| value.duration()).unwrap_or(usual.difference),
        phases: section.get("phases").map(|value| thresholds(&value, prober)).unwrap_or_default(),
    };
    section.finish();
    if let (Some(value), Some(Prober::Unix(_) | Prober::Egress(_))) = (given, prober) {
        value.problem("its probes go through no ISP, and so are not compared; leave it out");
    }
    slow
}

fn factor(value: &Value<'_>) -> Option<f64> {
    let factor = value.parsed::<f64>("a number")?;
    if !factor.is_finite() || factor < 1.0 {
        value.problem("must be 1 or more: how many times the time through the best ISP");
        return None;
    }
    Some(factor)
}

fn thresholds(value: &Value<'_>, prober: Option<&Prober>) -> Vec<(Phase, std::time::Duration)> {
    let known = prober.map_or(Phase::ALL.as_slice(), phases);
    let threshold = |(name, value): (&str, Value<'_>)| match known.iter().find(|phase| phase.name() == name) {
        Some(phase) => Some((*phase, value.duration()?)),
        None => {
            let known: Vec<_> = known.iter().map(|phase| phase.name()).collect();
            value.problem(format!(
                "{name:?} is no phase of this prober whose time is the target's and the way's; phases: {}",
                known.join(", ")
            ));
            None
        }
    };
    value.entries().into_iter().filter_map(threshold).collect()
}

/// The phases whose times are compared.
fn phases(prober: &Prober) -> &'static [Phase] {
    use Phase::{Connect, Processing, Query, Resolve, Rtt, Tls, Transfer};
    match prober {
        Prober::Http(_) | Prober::Grpc(_) => &[Resolve, Connect, Tls, Processing, Transfer],
        Prober::Tcp(_) => &[Resolve, Connect, Tls, Query],
        Prober::Icmp(_) | Prober::Traceroute(_) => &[Resolve, Rtt],
        Prober::Dns(_) => &[Resolve, Connect, Tls, Query, Processing, Transfer],
        Prober::Stun(_) => &[Resolve, Connect, Query],
        Prober::Websocket(_) => &[Resolve, Connect, Tls, Processing, Query],
        Prober::Unix(_) | Prober::Egress(_) => &[],
    }
}
