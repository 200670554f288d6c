//! `on_failure` and `trace_after`: when the flow of a connection is traced.

use std::sync::Arc;
use std::time::Duration;

use super::decode::{Fields, Value};
use super::traceroute::MAX_HOPS;
use crate::flight::Phase;
use crate::probe::Tracing;
use crate::probe::identity::Registry;
use crate::probe::resolve::Preference;
use crate::probe::traceroute::{Flows, Protocol, Settings};

/// Packets for each hop: one may be lost, and a router may keep back another answer.
const COUNT: u32 = 3;
const INTERVAL: Duration = Duration::from_millis(50);

/// How long a hop is waited for.
const WAIT: Duration = Duration::from_secs(1);

/// Phases in which packets of a prober's connection are under way, as far as its section has them; nothing where a phase has none, and why.
pub(super) type Phases<'a> = &'a [(Phase, Result<(), &'a str>)];

/// The settings; nothing where flows are not traced, or something is wrong.
pub(super) fn tracing(
    fields: &Fields<'_>,
    phases: Phases<'_>,
    protocol: Protocol,
    registry: Option<&Arc<Registry>>,
) -> Option<Tracing> {
    let on_failure = fields.get("on_failure");
    let traces = on_failure.as_ref().and_then(|value| value.choice(&[("trace", ())]));
    let after = fields.get("trace_after");
    if let (None, Some(value)) = (&on_failure, &after) {
        value.problem("says when a flow is traced that did not fail; set on_failure: trace, too");
    }
    let after = after.map(|value| thresholds(&value, phases)).unwrap_or_default();
    traces?;
    let trace = Settings {
        protocol,
        // That of the connection.
        port: 0,
        flows: Flows::Count(1),
        count: COUNT,
        interval: INTERVAL,
        wait: WAIT,
        first_hop: 1,
        max_hops: MAX_HOPS,
        preference: Preference::default(),
        names: true,
        registry: registry.cloned(),
        pmtu: false,
    };
    Some(Tracing { after, trace })
}

/// Phases, and how long each may take.
fn thresholds(value: &Value<'_>, phases: Phases<'_>) -> Vec<(Phase, Duration)> {
    let known: Vec<_> = phases.iter().filter(|(_, usable)| usable.is_ok()).map(|(phase, _)| phase.name()).collect();
    let known = known.join(", ");
    let threshold = |(name, value): (&str, Value<'_>)| match phases.iter().find(|(phase, _)| phase.name() == name) {
        Some((phase, Ok(()))) => Some((*phase, value.duration()?)),
        Some((_, Err(why))) => {
            value.problem(format!("{why}; phases: {known}"));
            None
        }
        None => {
            value.problem(format!("{name:?} is no phase of this prober; phases: {known}"));
            None
        }
    };
    value.entries().into_iter().filter_map(threshold).collect()
}

/// Why the phase in which names are resolved has no flow to trace.
pub(super) const RESOLVE: &str = "in this phase there is no connection yet, only questions to name servers";
