//! The `asn:` section: where the numbers of autonomous systems come from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::decode::{Fields, Value};
use crate::path::Origins;
use crate::probe::identity::{Database, Registry, Zones};
use crate::wire::dns::{DomainName, Question, Wanted};

/// Where they may come from: exactly one of these.
const SOURCES: [&str; 3] = ["source", "table", "mmdb"];

/// How many wrong lines of a table are told.
const MOST_TOLD: usize = 10;

/// Where they come from; nothing where something is wrong with it.
pub(super) fn registry(value: &Value<'_>) -> Option<Arc<Registry>> {
    let fields = value.fields();
    let given = SOURCES.map(|key| fields.get(key));
    let registry = match given {
        [Some(source), None, None] => {
            let zones = zones(fields.section("zones"));
            source.choice(&[("dns", ())]).map(|()| Registry::Zones(zones))
        }
        [None, Some(table), None] => self::table(&table).map(Registry::Table),
        [None, None, Some(file)] => {
            let content = file.file();
            content.and_then(|content| file.noted(Database::new(content))).map(Registry::Database)
        }
        _ => {
            fields.problem(format!("exactly one of these must be there: {} (source: dns)", SOURCES.join(", ")));
            None
        }
    };
    if let (Some(zones), true) = (fields.get("zones"), fields.get("source").is_none()) {
        zones.problem("are asked with source: dns only; leave them out");
    }
    fields.finish();
    registry.map(Arc::new)
}

/// The zones; Team Cymru's where none are named.
fn zones(section: Fields<'_>) -> Zones {
    let zone = |key, default: &str| {
        let named = section.get(key).and_then(|value| self::zone(&value));
        named.or_else(|| default.parse().ok()).unwrap_or_else(DomainName::root)
    };
    let zones = Zones {
        origin4: zone("origin4", "origin.asn.cymru.com"),
        origin6: zone("origin6", "origin6.asn.cymru.com"),
        names: zone("names", "asn.cymru.com"),
    };
    section.finish();
    zones
}

fn zone(value: &Value<'_>) -> Option<DomainName> {
    let text = value.text()?;
    let zone: DomainName = value.noted(text.parse().map_err(|what| format!("{text:?} is no name: it {what}")))?;
    let zones = Zones { origin4: zone.clone(), origin6: zone.clone(), names: zone.clone() };
    let longest =
        [IpAddr::from(Ipv4Addr::BROADCAST), Ipv6Addr::UNSPECIFIED.into()].map(|address| zones.of_address(address));
    for name in longest.into_iter().chain([zones.of_system(u32::MAX)]) {
        if let Err(why) = Question::new(&name, Wanted::Text, 0) {
            value.problem(format!("{text:?} cannot be asked, as in {name}: {why}"));
            return None;
        }
    }
    Some(zone)
}

/// The table of a file.
fn table(value: &Value<'_>) -> Option<Origins> {
    let content = value.file()?;
    let file = value.text()?;
    let text = value.noted(str::from_utf8(&content).map_err(|error| format!("{file:?} is not UTF-8: {error}")))?;
    match Origins::parse(text) {
        Ok(origins) => Some(origins),
        Err(wrong) => {
            for (line, what) in wrong.iter().take(MOST_TOLD) {
                value.problem(format!("{file:?}, line {line}: {what}"));
            }
            if let Some(more @ 1..) = wrong.len().checked_sub(MOST_TOLD) {
                value.problem(format!("{file:?}: {more} more lines are wrong"));
            }
            None
        }
    }
}
