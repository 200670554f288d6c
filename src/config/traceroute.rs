//! The `traceroute:` section.

use std::sync::Arc;
use std::time::Duration;

use super::decode::{Fields, Value};
use super::module::preference;
use crate::probe::identity::Registry;
use crate::probe::traceroute::{Flows, MOST_FLOWS, Protocol, Settings};

/// Where traceroute's datagrams have gone since 1987.
const UDP_PORT: u16 = 33_434;

/// What firewalls let through.
const TCP_PORT: u16 = 443;

/// The longest path that is looked at unless told otherwise.
pub(super) const MAX_HOPS: u8 = 30;

/// So that a full trace (20 hops, 3 rounds, 50 ms) ends within a second also where a hop is silent.
const WAIT: Duration = Duration::from_millis(800);

/// A thousand rounds answer every question that a probe may have.
const COUNT_LIMIT: i128 = 1_000;

/// The settings, with a default in the place of what is wrong.
pub(super) fn settings(fields: Fields<'_>, registry: Option<&Arc<Registry>>) -> Settings {
    let protocols = [Protocol::Icmp, Protocol::Udp, Protocol::Tcp].map(|protocol| (protocol.name(), protocol));
    let protocol = fields.get("protocol").and_then(|value| value.choice(&protocols)).unwrap_or(Protocol::Icmp);
    let default_port = match protocol {
        Protocol::Icmp => 0,
        Protocol::Udp => UDP_PORT,
        Protocol::Tcp => TCP_PORT,
    };
    let port = fields.integer("port", 1, u16::MAX.into(), default_port);
    if let (Protocol::Icmp, Some(value)) = (protocol, fields.get("port")) {
        value.problem("icmp has no ports; set protocol: udp or tcp");
    }
    let first_hop = fields.integer("first_hop", 1, 255, 1);
    let max_hops = fields.integer("max_hops", 1, 255, MAX_HOPS);
    if first_hop > max_hops {
        fields.problem(format!("first_hop {first_hop} lies behind max_hops {max_hops}"));
    }
    let count = fields.integer("count", 1, COUNT_LIMIT, 3);
    let flows = fields.get("flows").and_then(|value| flows(&value)).unwrap_or(Flows::Count(1));
    if let Flows::Count(flows) = flows
        && flows as i128 * i128::from(count) > COUNT_LIMIT
    {
        let packets = flows as i128 * i128::from(count);
        fields.problem(format!(
            "{flows} flows of {count} rounds are {packets} packets for each hop; at most {COUNT_LIMIT}"
        ));
    }
    let settings = Settings {
        protocol,
        port,
        flows,
        count,
        interval: fields.get("interval").and_then(|value| value.pause()).unwrap_or(Duration::from_millis(100)),
        wait: fields.get("wait").and_then(|value| value.pause()).unwrap_or(WAIT),
        first_hop,
        max_hops,
        preference: preference(&fields),
        names: fields.boolean("names", true),
        pmtu: fields.boolean("pmtu", false),
        registry: registry.cloned(),
    };
    fields.finish();
    settings
}

/// A number of flows, or the word that leaves it to the trace.
fn flows(value: &Value<'_>) -> Option<Flows> {
    let flows = match value.text()? {
        "auto" => Some(Flows::Auto),
        number => number.parse().ok().filter(|number| (1..=MOST_FLOWS).contains(number)).map(Flows::Count),
    };
    if flows.is_none() {
        value.problem(format!("must be auto, or a whole number from 1 to {MOST_FLOWS}"));
    }
    flows
}
