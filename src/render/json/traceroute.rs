//! The section `traceroute`.

use std::net::IpAddr;

use serde::Serialize;

use super::RoundTrips;
use crate::path::{self, Analysis, AutonomousSystem, LossClass, Role};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    route_hash: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_path_hash: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_onset: Option<DelayOnset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_onset_hop: Option<u8>,
    roles: Roles,
    hops: Vec<Hop<'a>>,
}

#[derive(Serialize)]
struct DelayOnset {
    hop: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_hop: Option<u8>,
    step_seconds: f64,
}

#[derive(Serialize)]
struct Roles {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isp_edge: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_onset: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u8>,
}

#[derive(Serialize)]
struct Hop<'a> {
    hop: u8,
    sent: u32,
    received: u32,
    lost: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment_seconds: Option<f64>,
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
            analysis,
        } = measured;
        let Analysis { loss, loss_onset, segments, delay_onset, route_hash, as_path_hash, roles: _ } = analysis;
        let number = |index: usize| hops.get(index).map(|hop| hop.number);
        let role = |role| analysis.hop_of(role).and_then(number);
        let onset = |onset: &path::DelayOnset| {
            let after_hop = onset.after.and_then(number);
            Some(DelayOnset { hop: number(onset.hop)?, after_hop, step_seconds: onset.step })
        };
        let hop = |(index, hop)| {
            let class: Option<LossClass> = loss.get(index).copied().flatten();
            Hop::of(hop, class, segments.get(index).copied().flatten())
        };
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
            route_hash: *route_hash,
            as_path_hash: *as_path_hash,
            delay_onset: delay_onset.as_ref().and_then(onset),
            loss_onset_hop: loss_onset.and_then(number),
            roles: Roles {
                first: role(Role::First),
                isp_edge: role(Role::IspEdge),
                delay_onset: role(Role::DelayOnset),
                last: role(Role::Last),
            },
            hops: hops.iter().enumerate().map(hop).collect(),
        }
    }
}

impl<'a> Hop<'a> {
    fn of(hop: &'a traceroute::Hop, class: Option<LossClass>, segment: Option<f64>) -> Self {
        let traceroute::Hop { number, sent, received, lost, rtt, latest: _, routers } = hop;
        Self {
            hop: *number,
            sent: *sent,
            received: *received,
            lost: *lost,
            loss_ratio: hop.loss_ratio(),
            loss_class: class.map(LossClass::name),
            segment_seconds: segment,
            rtt_seconds: RoundTrips::of(rtt),
            addresses: routers.iter().map(Address::of).collect(),
        }
    }
}

impl<'a> Address<'a> {
    fn of(router: &'a traceroute::Router) -> Self {
        let traceroute::Router { address, answers, name, systems, systems_said: _, labels, error } = router;
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
