//! Traceroute: every hop at once, in one flow.

use std::net::IpAddr;
use std::time::Duration;

use super::Probe;
use super::resolve::Preference;
use crate::path::Statistics;
use crate::verdict::Failure;

/// The `traceroute:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// What the packets are.
    pub protocol: Protocol,
    /// Destination port of UDP and TCP, where the target names none.
    pub port: u16,
    /// Rounds: packets per hop.
    pub count: u32,
    /// Time between rounds.
    pub interval: Duration,
    /// How long after its departure a packet's answer still counts.
    pub wait: Duration,
    /// The first hop.
    pub first_hop: u8,
    /// The last hop that is tried.
    pub max_hops: u8,
    /// The address family.
    pub preference: Preference,
}

/// What the packets of a trace are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Echo requests.
    Icmp,
    /// Datagrams.
    Udp,
    /// SYNs.
    Tcp,
}

/// What a traceroute probe measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurement {
    /// Whether the destination answered.
    pub reached: bool,
    /// The hops in order, from the first to the destination, or to the last that answered.
    pub hops: Vec<Hop>,
}

/// A hop.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hop {
    /// Its number, from 1.
    pub number: u8,
    /// Packets sent with that hop limit.
    pub sent: u32,
    /// Packets answered.
    pub received: u32,
    /// Round-trip times of the answered.
    pub rtt: Statistics,
    /// Who answered, and how often, the most frequent first.
    pub addresses: Vec<(IpAddr, u32)>,
}

/// Says why `target` is not a host (and port).
///
/// # Errors
/// One sentence.
pub fn check_target(_settings: &Settings, _target: &str) -> Result<(), String> {
    Ok(())
}

/// Measures.
///
/// # Errors
/// Why it went no further.
pub async fn measure(_settings: &Settings, probe: &Probe<'_>, _measured: &mut Measurement) -> Result<(), Failure> {
    Err(probe.failure(crate::verdict::Reason::ProberError, "not written"))
}
