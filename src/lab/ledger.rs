//! What really happened in the lab, to compare measurements with.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::packet::Header;
use super::topology::{Isp, Topology};

/// A packet that the prober's host sent out of an uplink, as it left, before any SNAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// When it was read from the device.
    pub at: Instant,
    /// The device it left by.
    pub isp: Isp,
    /// Its source address.
    pub source: IpAddr,
    /// Its destination address.
    pub destination: IpAddr,
    /// The IP protocol number.
    pub protocol: u8,
    /// Source and destination port, where TCP or UDP has them.
    pub ports: Option<(u16, u16)>,
    /// The identifier of an ICMP echo.
    pub echo_id: Option<u16>,
    /// The TCP flags.
    pub tcp_flags: Option<u8>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Its length, in bytes.
    pub length: usize,
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at: _, isp, source, destination, protocol, ports, echo_id: _, tcp_flags: _, ttl, length } = self;
        let protocol = match protocol {
            1 => "ICMP".to_owned(),
            6 => "TCP".to_owned(),
            17 => "UDP".to_owned(),
            58 => "ICMPv6".to_owned(),
            other => format!("IP protocol {other}"),
        };
        write!(f, "{protocol} from {source} to {destination}")?;
        if let Some((from, to)) = ports {
            write!(f, ", port {from} to port {to}")?;
        }
        write!(f, ", {length} bytes, hop limit {ttl}, by {}", isp.device())
    }
}

/// What really happened at a hop to the packets for one target, summed over its routers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HopCount {
    /// Packets towards the target that came over the link to it.
    pub arrived: u64,
    /// Packets towards the target that the link to it lost.
    pub lost: u64,
    /// Answers of its own that it gave.
    pub answered: u64,
    /// Answers that it owed and did not give: silent, by chance, or over its rate.
    pub unanswered: u64,
    /// Packets that were too big for the link behind it.
    pub too_big: u64,
}

/// Both, for the whole internet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    observations: VecDeque<Observation>,
    counts: HashMap<(Isp, IpAddr), Vec<HopCount>>,
    /// By how much the most belated packet came late out of the internet.
    pub(super) lateness: Duration,
}

/// How many observations are kept, the latest.
const OBSERVATIONS: usize = 32_768;

impl Ledger {
    pub(super) fn observe(&mut self, at: Instant, isp: Isp, packet: &[u8], header: &Header) {
        if self.observations.len() == OBSERVATIONS {
            self.observations.pop_front();
        }
        self.observations.push_back(Observation {
            at,
            isp,
            source: header.source,
            destination: header.destination,
            protocol: header.protocol,
            ports: header.ports(packet),
            echo_id: header.echo_id(packet),
            tcp_flags: header.tcp(packet).map(|(flags, _)| flags),
            ttl: header.ttl,
            length: packet.len(),
        });
    }

    pub(super) fn observations(&self) -> Vec<Observation> {
        self.observations.iter().copied().collect()
    }

    pub(super) fn clear_observations(&mut self) {
        self.observations.clear();
    }

    /// The count of a hop, or of the target behind the last.
    pub(super) fn count(&mut self, isp: Isp, target: IpAddr, index: usize) -> &mut HopCount {
        let counts = self.counts.entry((isp, target)).or_default();
        if counts.len() <= index {
            counts.resize(index + 1, HopCount::default());
        }
        &mut counts[index]
    }

    /// One entry per hop, and one for the target.
    pub(super) fn counts(&self, topology: &Topology, isp: Isp, target: IpAddr) -> Vec<HopCount> {
        let mut counts = self.counts.get(&(isp, target)).cloned().unwrap_or_default();
        counts.resize(topology.path(isp).hops.len() + 1, HopCount::default());
        counts
    }

    pub(super) fn clear_counts(&mut self) {
        self.counts.clear();
        self.lateness = Duration::ZERO;
    }
}
