//! The section `traceroute`.

use std::net::IpAddr;

use serde::Serialize;

use super::RoundTrips;
use crate::path::{self, Analysis, AutonomousSystem, Clamp, LossClass, Role};
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
    packets_sent: u32,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    path_mtu: Option<PathMtu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mss: Option<Mss>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flows: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<Balance<'a>>,
    hops: Vec<Hop<'a>>,
}

#[derive(Serialize)]
struct Balance<'a> {
    sufficient: bool,
    kinds: Vec<&'static str>,
    per_flow_hops: &'a [u8],
    per_packet_hops: &'a [u8],
    widths: Vec<Width>,
    paths: Vec<FlowPath>,
}

#[derive(Serialize)]
struct Width {
    hop: u8,
    routers: usize,
}

#[derive(Serialize)]
struct FlowPath {
    flows: Vec<usize>,
    hops: Vec<FlowHop>,
}

#[derive(Serialize)]
struct FlowHop {
    hop: usize,
    address: IpAddr,
}

#[derive(Serialize)]
struct PathMtu {
    bytes: u16,
    device_bytes: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    black_hole: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    said_by: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hop: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_hop: Option<u8>,
}

#[derive(Serialize)]
struct Mss {
    offered_bytes: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_bytes: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clamped: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    there: Option<There>,
    #[serde(skip_serializing_if = "Option::is_none")]
    back: Option<Back>,
}

#[derive(Serialize)]
struct There {
    clamped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_bytes: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_hop: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_hop: Option<u8>,
}

#[derive(Serialize)]
struct Back {
    clamped: bool,
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    other_flows: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    systems: Vec<System<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mpls: Vec<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mss_bytes: Option<u16>,
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
            packets,
            flows,
            balance,
            hops,
            analysis,
            mtu,
            offered_mss,
            mss,
            clamp,
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
            packets_sent: *packets,
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
            path_mtu: mtu.as_ref().map(PathMtu::of),
            mss: offered_mss.map(|offered| Mss::of(offered, *mss, *clamp)),
            flows: (*flows > 0).then_some(*flows),
            balance: balance.as_ref().map(|balance| Balance::of(balance, *first_hop)),
            hops: hops.iter().enumerate().map(hop).collect(),
        }
    }
}

impl<'a> Balance<'a> {
    fn of(balance: &'a path::Balance, first_hop: u8) -> Self {
        let path::Balance { flows: _, sufficient, paths, widths, per_flow, per_packet } = balance;
        let path = |path: &path::FlowPath| {
            let path::FlowPath { routers, flows } = path;
            let hops = (usize::from(first_hop)..).zip(routers);
            let hops = hops.filter_map(|(hop, address)| Some(FlowHop { hop, address: (*address)? }));
            FlowPath { flows: flows.iter().map(|flow| flow + 1).collect(), hops: hops.collect() }
        };
        Self {
            sufficient: *sufficient,
            kinds: balance.balancing().into_iter().map(path::Balancing::name).collect(),
            per_flow_hops: per_flow,
            per_packet_hops: per_packet,
            widths: widths.iter().map(|(hop, routers)| Width { hop: *hop, routers: *routers }).collect(),
            paths: paths.iter().map(path).collect(),
        }
    }
}

impl PathMtu {
    fn of(mtu: &traceroute::Mtu) -> Self {
        let traceroute::Mtu { found: path::PathMtu { bytes, black_hole }, device, said_by, hop, next_hop } = *mtu;
        Self { bytes, device_bytes: device, black_hole, said_by, hop, next_hop }
    }
}

impl Mss {
    fn of(offered_bytes: u16, received_bytes: Option<u16>, clamp: Clamp) -> Self {
        let there = clamp.there.map(|there| match there {
            path::There::Kept => There { clamped: false, to_bytes: None, after_hop: None, at_hop: None },
            path::There::Reduced { after, at, to } => {
                There { clamped: true, to_bytes: Some(to), after_hop: after, at_hop: Some(at) }
            }
        });
        let back = clamp.back.map(|clamped| Back { clamped });
        Self { offered_bytes, received_bytes, clamped: clamp.is_seen(), there, back }
    }
}

impl<'a> Hop<'a> {
    fn of(hop: &'a traceroute::Hop, class: Option<LossClass>, segment: Option<f64>) -> Self {
        let traceroute::Hop { number, sent, received, lost, rtt, latest: _, routers, others } = hop;
        Self {
            hop: *number,
            sent: *sent,
            received: *received,
            lost: *lost,
            loss_ratio: hop.loss_ratio(),
            loss_class: class.map(LossClass::name),
            segment_seconds: segment,
            rtt_seconds: RoundTrips::of(rtt),
            addresses: routers
                .iter()
                .map(Address::of)
                .chain(others.iter().map(|router| Address { other_flows: true, ..Address::of(router) }))
                .collect(),
        }
    }
}

impl<'a> Address<'a> {
    fn of(router: &'a traceroute::Router) -> Self {
        let traceroute::Router { address, answers, name, systems, systems_said: _, labels, mss, error } = router;
        Self {
            address: *address,
            answers: *answers,
            other_flows: false,
            name: name.as_deref(),
            systems: systems.iter().map(System::of).collect(),
            mpls: labels.iter().map(Label::of).collect(),
            mss_bytes: *mss,
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
