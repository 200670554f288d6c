//! An entry of `modules:`.

use std::sync::Arc;
use std::time::Duration;

use super::decode::{Fields, Value};
use super::isp::is_usable;
use super::resolvers::resolvers;
use super::slow::slow;
use super::{dns, egress, grpc, http, icmp, source, stun, tcp, traceroute, unix, websocket};
use crate::net::{Family, Source};
use crate::probe::identity::Registry;
use crate::probe::resolve::Preference;
use crate::probe::{Isp, Module, Prober};

/// The probers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Http,
    Tcp,
    Icmp,
    Dns,
    Traceroute,
    Unix,
    Grpc,
    Websocket,
    Egress,
    Stun,
}

/// What `prober:` may say.
const PROBERS: [(&str, Name); 10] = [
    ("http", Name::Http),
    ("tcp", Name::Tcp),
    ("icmp", Name::Icmp),
    ("dns", Name::Dns),
    ("traceroute", Name::Traceroute),
    ("unix", Name::Unix),
    ("grpc", Name::Grpc),
    ("websocket", Name::Websocket),
    ("egress", Name::Egress),
    ("stun", Name::Stun),
];

/// A module, which `yaml` shows; nothing where something is wrong with it.
pub(super) fn module(
    name: &str,
    value: &Value<'_>,
    isps: &[Arc<Isp>],
    registry: Option<&Arc<Registry>>,
    yaml: String,
) -> Option<Arc<Module>> {
    if value.is_null() {
        value.problem(format!("is empty; it needs a prober: {}", known_probers()));
        return None;
    }
    let fields = value.fields();
    let decoded = prober(&fields, registry);
    let timeout = fields.get("timeout").and_then(|value| timeout(&value));
    let slow = slow(&fields, decoded.as_ref().map(|(prober, _)| prober));
    let isp = fields.get("isp").and_then(|value| known_isp(&value, isps));
    let unbound = Source::default();
    let own = decoded.as_ref().map_or(&unbound, |(_, source)| source);
    let own = isp.is_none().then_some(own);
    let resolvers = resolvers(&fields, |family| unreachable(isps, own, family));
    if let (Some((_, source)), Some(value)) = (&decoded, fields.get("isp"))
        && !source.is_unbound()
    {
        value.problem(
            "an ISP decides what probes leave from, so that source_ip_address never would; leave one of the two out",
        );
    }
    if let (Some((Prober::Unix(_), _)), Some(value)) = (&decoded, fields.get("isp")) {
        value.problem("a socket of this host is reached through no ISP; leave it out");
    }
    if let Some((Prober::Egress(settings), _)) = &decoded {
        if let Some(value) = fields.get("isp") {
            value.problem("it finds out which ISPs are taken, and is bound to none; leave it out");
        }
        let is_known = |isp: &Arc<Isp>| {
            !isp.territory.networks.is_empty() || (registry.is_some() && !isp.territory.asns.is_empty())
        };
        if !isps.iter().any(is_known) {
            fields.problem("no ISP has networks, or asns and the file asn, by which its routers would be known");
        }
        let least = Duration::from_secs(1) / settings.rate * settings.flows;
        if timeout.is_some_and(|timeout| timeout <= least) {
            fields.problem(format!(
                "{} flows at {} packets a second take {} s, which is all of the timeout or more",
                settings.flows,
                settings.rate,
                least.as_secs_f64()
            ));
        }
    }
    if let Some(after) = decoded.as_ref().and_then(|(prober, _)| Some(&prober.tracing()?.after))
        && let Some((phase, limit)) = after.iter().find(|(_, limit)| timeout.is_some_and(|timeout| *limit >= timeout))
    {
        let (phase, limit) = (phase.name(), limit.as_secs_f64());
        fields.problem(format!(
            "no {phase} takes longer than the {limit} s of trace_after, since the timeout comes first"
        ));
    }
    if let (Some((Prober::Unix(_), _)), Some(value)) = (&decoded, fields.get("resolvers")) {
        value.problem("a socket of this host has no name that they could know; leave it out");
    }
    fields.finish();
    let (prober, source) = decoded?;
    Some(Arc::new(Module { name: name.to_owned(), prober, source, timeout, isp, resolvers, slow, yaml }))
}

fn known_probers() -> String {
    PROBERS.map(|(word, _)| word).join(", ")
}

/// The module's prober, and what its probes leave from without an ISP. Sections of other probers, which a shared anchor may bring, are
/// not used; what is wrong with them is told all the same.
fn prober(fields: &Fields<'_>, registry: Option<&Arc<Registry>>) -> Option<(Prober, Source)> {
    let given = fields.get("prober");
    if given.is_none() {
        fields.problem(format!("prober is missing; known: {}", known_probers()));
    }
    let chosen = given.and_then(|value| value.choice(&PROBERS));
    let mut decoded = None;
    for (word, name) in PROBERS {
        if chosen == Some(name) {
            decoded = decode(name, fields.section(word), registry);
        } else if fields.get(word).is_some() {
            decode(name, fields.section(word), registry);
        }
    }
    decoded
}

fn decode(name: Name, section: Fields<'_>, registry: Option<&Arc<Registry>>) -> Option<(Prober, Source)> {
    let source = match name {
        Name::Http | Name::Unix | Name::Grpc | Name::Websocket => Source::default(),
        Name::Tcp | Name::Icmp | Name::Dns | Name::Traceroute | Name::Egress | Name::Stun => {
            source::of_section(&section)
        }
    };
    let prober = match name {
        Name::Http => http::settings(section, registry).map(Box::new).map(Prober::Http),
        Name::Tcp => tcp::settings(section, registry).map(Prober::Tcp),
        Name::Icmp => Some(Prober::Icmp(icmp::settings(section))),
        Name::Dns => dns::settings(section).map(Box::new).map(Prober::Dns),
        Name::Traceroute => Some(Prober::Traceroute(traceroute::settings(section, registry))),
        Name::Unix => unix::settings(section).map(Prober::Unix),
        Name::Grpc => grpc::settings(section).map(Prober::Grpc),
        Name::Websocket => websocket::settings(section).map(Prober::Websocket),
        Name::Egress => Some(Prober::Egress(egress::settings(section, registry))),
        Name::Stun => Some(Prober::Stun(stun::settings(section))),
    };
    prober.map(|prober| (prober, source))
}

fn known_isp(value: &Value<'_>, isps: &[Arc<Isp>]) -> Option<String> {
    let name = value.text()?;
    if isps.iter().any(|isp| isp.name == name) {
        return Some(name.to_owned());
    }
    let known: Vec<_> = isps.iter().filter(|isp| is_usable(isp)).map(|isp| isp.name.as_str()).collect();
    value.problem(match known.as_slice() {
        [] if isps.is_empty() => format!("{name:?} is not known; there are no isps"),
        [] => format!("{name:?} is not known, and none of the isps is right"),
        known => format!("{name:?} is not known; known ISPs: {}", known.join(", ")),
    });
    None
}

/// Why no probe could ask a name server of a family, as a predicate of it; `own` is what probes leave from that are through no ISP, where
/// there may be such.
fn unreachable(isps: &[Arc<Isp>], own: Option<&Source>, family: Family) -> Option<String> {
    let name = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    let mut sources = isps.iter().map(|isp| &isp.source).chain(own);
    let why = || format!("{name}, and no probe could ask it: neither an ISP nor this module has an {name} source");
    (!sources.any(|source| source.supports(family))).then(why)
}

/// How long a probe may take; 0 is what the scrape allows, as in blackbox_exporter.
fn timeout(value: &Value<'_>) -> Option<Duration> {
    let timeout = value.duration().filter(|timeout| !timeout.is_zero())?;
    if timeout < Duration::from_millis(1) {
        value.problem("no probe ends within less than 1ms; 0 is what the scrape allows");
    }
    Some(timeout)
}

/// The address family, which every prober's section may choose.
pub(super) fn preference(fields: &Fields<'_>) -> Preference {
    let default = Preference::default();
    let family = fields.filled("preferred_ip_protocol").and_then(|value| family(&value)).unwrap_or(default.family);
    Preference { family, fallback: fields.boolean("ip_protocol_fallback", default.fallback) }
}

fn family(value: &Value<'_>) -> Option<Family> {
    match value.text()? {
        // To blackbox_exporter every word but `ip6` is ip4, so that files have these.
        word if ["ip4", "ipv4"].iter().any(|known| word.eq_ignore_ascii_case(known)) => Some(Family::V4),
        "ip6" => Some(Family::V6),
        other => {
            value.problem(format!("{other:?} is neither ip4 nor ip6 (blackbox_exporter takes such a word for ip4)"));
            None
        }
    }
}
