//! Traceroute: every hop at once, in one flow or in several.

mod flows;
mod measure;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::host;
use super::identity::Registry;
use super::resolve::Preference;
use super::services::Carrier;
pub use crate::flight::bundle::MOST_FLOWS;
use crate::path::{Analysis, AutonomousSystem, Balance, Count, Heard, Statistics};
use crate::wire::icmp::Label;
pub use flows::Flows;
pub use measure::measure;

/// The `traceroute:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// What the packets are.
    pub protocol: Protocol,
    /// Destination port of UDP and TCP, where the target names none.
    pub port: u16,
    /// How many flows are followed.
    pub flows: Flows,
    /// Rounds: packets per hop, of each flow.
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
    /// Whether the names of hops are looked up.
    pub names: bool,
    /// Where the autonomous systems of hops are looked up; nothing does not.
    pub registry: Option<Arc<Registry>>,
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

impl Protocol {
    /// The name in `protocol:`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// What a traceroute probe measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// What the packets were.
    pub protocol: Protocol,
    /// Their destination port; nothing for ICMP, and before the target was understood.
    pub port: Option<u16>,
    /// The address that they left from; nothing before there was a socket.
    pub source: Option<IpAddr>,
    /// The address that they went to; nothing before it was known.
    pub destination: Option<IpAddr>,
    /// Bytes of each of them, the IP header included; nothing before there was a socket.
    pub packet_size: Option<usize>,
    /// Rounds that were asked for: packets per hop.
    pub rounds: u32,
    /// The first hop that was tried.
    pub first_hop: u8,
    /// The last hop that was to be tried.
    pub max_hops: u8,
    /// Whether the destination answered.
    pub reached: bool,
    /// How many flows were followed; 0 before there was a socket. All that is said of hops is of the first.
    pub flows: usize,
    /// What several flows met; nothing where only one was followed.
    pub balance: Option<Balance>,
    /// The hops in order, from the first to the destination, or to the last that answered.
    pub hops: Vec<Hop>,
    /// What they mean: [`Measurement::meaning`], at the end.
    pub analysis: Analysis,
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
    /// Packets that were not answered in the time that they were waited for. Those that are neither were still under way when the trace ended.
    pub lost: u32,
    /// Round-trip times of the answered.
    pub rtt: Statistics,
    /// The latest packet that was answered: its number among those of the trace, and by whom.
    pub latest: Option<(u32, IpAddr)>,
    /// Who answered, the most frequent first.
    pub routers: Vec<Router>,
    /// Who else answered there, only to other flows, the most frequent first.
    pub others: Vec<Router>,
}

/// A router of a hop, or the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// The address that it answers from.
    pub address: IpAddr,
    /// How often it did.
    pub answers: u32,
    /// Its name, where it has one that is known.
    pub name: Option<String>,
    /// The autonomous systems that announce its address, by their number; none where none is known.
    pub systems: Vec<AutonomousSystem>,
    /// Whether that is said by those who know, also that there is none.
    pub systems_said: bool,
    /// The MPLS labels that its last packet with some had come with, the top first; none where it tells none.
    pub labels: Vec<Label>,
    /// Type and code of the last ICMP error of it that did not say that the hop limit was exceeded.
    pub error: Option<(u8, u8)>,
}

impl Hop {
    /// Who answered the latest packet that was answered.
    #[must_use]
    pub fn latest_router(&self) -> Option<&Router> {
        let (_, address) = self.latest?;
        self.routers.iter().find(|router| router.address == address)
    }

    /// The part of the packets that was not answered, of those whose time is over; nothing where there are none.
    #[must_use]
    pub fn loss_ratio(&self) -> Option<f64> {
        let over = self.received + self.lost;
        (over > 0).then(|| f64::from(self.lost) / f64::from(over))
    }
}

impl Router {
    /// A router that has not answered yet.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self {
            address,
            answers: 0,
            name: None,
            systems: Vec::new(),
            systems_said: false,
            labels: Vec::new(),
            error: None,
        }
    }
}

/// Says why `target` is not a host (and port).
///
/// # Errors
/// One sentence.
pub fn check_target(settings: &Settings, target: &str) -> Result<(), String> {
    parse(settings, target).map(drop)
}

/// The host and the port of a target; a trace by ICMP has no ports.
fn parse<'t>(settings: &Settings, target: &'t str) -> Result<(&'t str, u16), String> {
    let with_port =
        |carrier| host::parse_with_port(target, carrier).map(|(host, port)| (host, port.unwrap_or(settings.port)));
    match settings.protocol {
        Protocol::Icmp => host::parse(target).map(|host| (host, 0)),
        Protocol::Udp => with_port(Carrier::Udp),
        Protocol::Tcp => with_port(Carrier::Tcp),
    }
}

impl Measurement {
    /// What is known before anything is measured.
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            protocol: settings.protocol,
            port: None,
            source: None,
            destination: None,
            packet_size: None,
            rounds: settings.count,
            first_hop: settings.first_hop,
            max_hops: settings.max_hops,
            reached: false,
            flows: 0,
            balance: None,
            hops: Vec::new(),
            analysis: Analysis::default(),
        }
    }

    /// What the hops mean. `isp` says whether a router is the ISP's; nothing where nobody knows.
    #[must_use]
    pub fn meaning(&self, isp: impl Fn(&Router) -> Option<bool>) -> Analysis {
        let hops = self.hops.iter().map(|hop| {
            let router = hop.latest_router();
            Heard {
                number: hop.number,
                count: Count { answered: hop.received, lost: hop.lost },
                rtt: &hop.rtt,
                latest: router.map(|router| router.address),
                // Of several systems that announce an address, the one of the smallest number.
                asn: router
                    .filter(|router| router.systems_said)
                    .map(|router| router.systems.first().map(|system| system.number)),
                isp: router.and_then(&isp),
            }
        });
        // Linux limits its "port unreachable" as it limits what it says as a router; echo replies and SYN-ACKs it does not.
        let host = self.protocol != Protocol::Udp;
        Analysis::of(&hops.collect::<Vec<_>>(), self.destination, host)
    }

    /// The hop of a number, if it is among those that are known.
    fn hop(&mut self, number: u8) -> Option<&mut Hop> {
        self.hops.get_mut(usize::from(number.checked_sub(self.first_hop)?))
    }
}

#[cfg(test)]
mod tests;
