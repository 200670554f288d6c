//! The section `traceroute`.

use std::net::IpAddr;

use serde::Serialize;

use super::RoundTrips;
use crate::metrics::loss_ratio;
use crate::path::AutonomousSystem;
use crate::probe::traceroute;
use crate::wire::icmp;

#[derive(Serialize)]
pub(super) struct Traceroute<'a> {
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<IpAddr>,
    rounds: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet_bytes: Option<usize>,
    first_hop: u8,
    max_hops: u8,
    reached: bool,
    hops: Vec<Hop<'a>>,
}

#[derive(Serialize)]
struct Hop<'a> {
    hop: u8,
    sent: u32,
    received: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_seconds: Option<RoundTrips>,
    addresses: Vec<Address<'a>>,
}

#[derive(Serialize)]
struct Address<'a> {
    address: IpAddr,
    answers: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    systems: Vec<System<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mpls: Vec<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<Icmp>,
}

#[derive(Serialize)]
struct System<'a> {
    number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct Label {
    label: u32,
    traffic_class: u8,
    bottom: bool,
    ttl: u8,
}

#[derive(Serialize)]
struct Icmp {
    #[serde(rename = "type")]
    ty: u8,
    code: u8,
}

impl<'a> Traceroute<'a> {
    pub(super) fn of(measured: &'a traceroute::Measurement) -> Self {
        let traceroute::Measurement {
            protocol,
            port,
            source,
            destination,
            packet_size,
            rounds,
            first_hop,
            max_hops,
            reached,
            hops,
        } = measured;
        Self {
            protocol: protocol.name(),
            port: *port,
            source: *source,
            destination: *destination,
            rounds: *rounds,
            packet_bytes: *packet_size,
            first_hop: *first_hop,
            max_hops: *max_hops,
            reached: *reached,
            hops: hops.iter().map(Hop::of).collect(),
        }
    }
}

impl<'a> Hop<'a> {
    fn of(hop: &'a traceroute::Hop) -> Self {
        let traceroute::Hop { number, sent, received, rtt, routers } = hop;
        Self {
            hop: *number,
            sent: *sent,
            received: *received,
            loss_ratio: loss_ratio(*sent, *received),
            rtt_seconds: RoundTrips::of(rtt),
            addresses: routers.iter().map(Address::of).collect(),
        }
    }
}

impl<'a> Address<'a> {
    fn of(router: &'a traceroute::Router) -> Self {
        let traceroute::Router { address, answers, name, systems, labels, error } = router;
        Self {
            address: *address,
            answers: *answers,
            name: name.as_deref(),
            systems: systems.iter().map(System::of).collect(),
            mpls: labels.iter().map(Label::of).collect(),
            icmp: error.map(|(ty, code)| Icmp { ty, code }),
        }
    }
}

impl<'a> System<'a> {
    fn of(system: &'a AutonomousSystem) -> Self {
        let AutonomousSystem { number, name } = system;
        Self { number: *number, name: name.as_deref() }
    }
}

impl Label {
    fn of(label: &icmp::Label) -> Self {
        let icmp::Label { label, traffic_class, bottom, ttl } = *label;
        Self { label, traffic_class, bottom, ttl }
    }
}
