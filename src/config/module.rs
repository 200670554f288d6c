//! An entry of `modules:`.

use std::sync::Arc;
use std::time::Duration;

use super::decode::{Fields, Value};
use super::{http, icmp, tcp, traceroute};
use crate::net::Family;
use crate::probe::resolve::Preference;
use crate::probe::{Isp, Module, Prober};

/// The probers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Http,
    Tcp,
    Icmp,
    Traceroute,
}

/// What `prober:` may say.
const PROBERS: [(&str, Name); 4] =
    [("http", Name::Http), ("tcp", Name::Tcp), ("icmp", Name::Icmp), ("traceroute", Name::Traceroute)];

/// A module, which `yaml` shows; nothing where something is wrong with it.
pub(super) fn module(name: &str, value: &Value<'_>, isps: &[Arc<Isp>], yaml: String) -> Option<Arc<Module>> {
    let fields = value.fields();
    let prober = prober(&fields);
    let timeout = fields.get("timeout").and_then(|value| timeout(&value));
    let isp = fields.get("isp").and_then(|value| known_isp(&value, isps));
    fields.finish();
    Some(Arc::new(Module { name: name.to_owned(), prober: prober?, timeout, isp, yaml }))
}

fn prober(fields: &Fields<'_>) -> Option<Prober> {
    let given = fields.get("prober");
    if given.is_none() {
        let words: Vec<_> = PROBERS.iter().map(|(word, _)| *word).collect();
        fields.problem(format!("prober is missing; known: {}", words.join(", ")));
    }
    let chosen = given.and_then(|value| value.choice(&PROBERS));
    let mut settings = None;
    for (word, name) in PROBERS {
        match chosen {
            Some(chosen) if chosen != name => {
                if let Some(section) = fields.get(word) {
                    section.problem("is the section of another prober than the module's");
                }
            }
            // Without a prober there is no module, but what is wrong with its sections can still be told.
            None if fields.get(word).is_none() => {}
            Some(_) | None => settings = decode(name, fields.section(word)),
        }
    }
    settings.filter(|_| chosen.is_some())
}

fn decode(name: Name, section: Fields<'_>) -> Option<Prober> {
    match name {
        Name::Http => http::settings(section).map(Box::new).map(Prober::Http),
        Name::Tcp => tcp::settings(section).map(Prober::Tcp),
        Name::Icmp => Some(Prober::Icmp(icmp::settings(section))),
        Name::Traceroute => Some(Prober::Traceroute(traceroute::settings(section))),
    }
}

fn known_isp(value: &Value<'_>, isps: &[Arc<Isp>]) -> Option<String> {
    let name = value.text()?;
    if isps.iter().any(|isp| isp.name == name) {
        return Some(name.to_owned());
    }
    let known: Vec<_> = isps.iter().map(|isp| isp.name.as_str()).collect();
    value.problem(match known.as_slice() {
        [] => format!("{name:?} is not known; there are no isps"),
        known => format!("{name:?} is not known; known ISPs: {}", known.join(", ")),
    });
    None
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
    let families = [("ip4", Family::V4), ("ip6", Family::V6)];
    Preference {
        family: fields.get("preferred_ip_protocol").and_then(|value| value.choice(&families)).unwrap_or(default.family),
        fallback: fields.boolean("ip_protocol_fallback", default.fallback),
    }
}
