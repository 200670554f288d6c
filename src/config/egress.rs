//! The `egress:` section.

use std::sync::Arc;
use std::time::Duration;

use super::decode::Fields;
use super::module::preference;
use crate::probe::egress::{Protocol, Settings};
use crate::probe::identity::Registry;

/// Where traceroute's datagrams have gone since 1987.
const UDP_PORT: u16 = 33_434;

/// What firewalls let through, and most of the traffic that matters.
const TCP_PORT: u16 = 443;

/// Enough for a share to be known to a tenth.
const FLOWS: u32 = 100;

/// Each flow has a port of its own meanwhile, of 4,536, and a descriptor.
const FLOWS_LIMIT: i128 = 1_000;

/// What routers answer that were not told otherwise.
const RATE: u32 = 50;

/// No router answers more.
const RATE_LIMIT: i128 = 1_000;

/// An ISP that is not known by then may be anybody's.
const MAX_HOPS: u8 = 6;

/// Longer than a router near by takes.
const WAIT: Duration = Duration::from_millis(500);

/// The settings, with a default in the place of what is wrong.
pub(super) fn settings(fields: Fields<'_>, registry: Option<&Arc<Registry>>) -> Settings {
    let protocols = [Protocol::Udp, Protocol::Tcp].map(|protocol| (protocol.name(), protocol));
    let protocol = fields.get("protocol").and_then(|value| value.choice(&protocols)).unwrap_or(Protocol::Tcp);
    let default_port = match protocol {
        Protocol::Udp => UDP_PORT,
        Protocol::Tcp => TCP_PORT,
    };
    let first_hop = fields.integer("first_hop", 1, 255, 1);
    let max_hops = fields.integer("max_hops", 1, 255, MAX_HOPS.max(first_hop));
    if first_hop > max_hops {
        fields.problem(format!("first_hop {first_hop} lies behind max_hops {max_hops}"));
    }
    let settings = Settings {
        protocol,
        port: fields.integer("port", 1, u16::MAX.into(), default_port),
        flows: fields.integer("flows", 1, FLOWS_LIMIT, FLOWS),
        rate: fields.integer("rate", 1, RATE_LIMIT, RATE),
        wait: fields.get("wait").and_then(|value| value.pause()).unwrap_or(WAIT),
        first_hop,
        max_hops,
        registry: registry.cloned(),
        preference: preference(&fields),
    };
    fields.finish();
    settings
}
