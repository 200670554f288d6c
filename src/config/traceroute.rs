//! The `traceroute:` section.

use std::sync::Arc;
use std::time::Duration;

use super::decode::Fields;
use super::module::preference;
use crate::probe::identity::Registry;
use crate::probe::traceroute::{Protocol, Settings};

/// Where traceroute's datagrams have gone since 1987.
const UDP_PORT: u16 = 33_434;

/// What firewalls let through.
const TCP_PORT: u16 = 443;

/// The longest path that is looked at unless told otherwise.
const MAX_HOPS: u8 = 30;

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
    let settings = Settings {
        protocol,
        port,
        count: fields.integer("count", 1, COUNT_LIMIT, 3),
        interval: fields.get("interval").and_then(|value| value.pause()).unwrap_or(Duration::from_millis(100)),
        wait: fields.get("wait").and_then(|value| value.pause()).unwrap_or(WAIT),
        first_hop,
        max_hops,
        preference: preference(&fields),
        names: fields.boolean("names", true),
        registry: registry.cloned(),
    };
    fields.finish();
    settings
}
