//! Traceroute: every hop at once, in one flow or in several.

mod flows;
mod measure;
mod mtu;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::host;
use super::identity::Registry;
use super::resolve::Preference;
use super::services::Carrier;
pub use crate::flight::bundle::MOST_FLOWS;
use crate::path::{Analysis, AutonomousSystem, Balance, Carried, Clamp, Count, Heard, Offers, Statistics};
use crate::wire::icmp::Label;
use crate::wire::tcp::mss_within;
pub use flows::Flows;
pub use measure::measure;
pub(super) use measure::{Ended, again};
pub use mtu::Mtu;

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
    /// Whether the largest packet is looked for that the path carries.
    pub pmtu: bool,
    /// Where the autonomous systems of hops are looked up; nothing does not.
    pub registry: Option<Arc<Registry>>,
}

impl Settings {
    /// How many packets its flows have at most; of [`Flows::Auto`], those of the first.
    pub(super) fn packets(&self) -> u32 {
        let flows = match self.flows {
            Flows::Count(flows) => flows as u32,
            Flows::Auto => 1,
        };
        u32::from(self.max_hops - self.first_hop + 1).saturating_mul(self.count).saturating_mul(flows)
    }
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
    /// Packets that were sent: of all flows, and in search of the MTU.
    pub packets: u32,
    /// How many flows were followed; 0 before there was a socket. All that is said of hops is of the first.
    pub flows: usize,
    /// What several flows met; nothing where only one was followed.
    pub balance: Option<Balance>,
    /// The hops in order, from the first to the destination, or to the last that answered.
    pub hops: Vec<Hop>,
    /// What they mean: [`Measurement::meaning`], at the end.
    pub analysis: Analysis,
    /// The largest packet that the path carries; nothing where it was not looked for, or not found.
    pub mtu: Option<Mtu>,
    /// The largest segment that our SYNs offered to take, in bytes; nothing but for TCP, and before there was a socket.
    pub offered_mss: Option<u16>,
    /// The largest segment that the destination takes, in bytes, as its last SYN-ACK said it when it got here.
    pub mss: Option<u16>,
    /// Whether somebody makes these smaller: [`Measurement::clamping`], at the end.
    pub clamp: Clamp,
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
    /// The largest segment that our SYN offered when it got here, by the last packet of it that quotes so much.
    pub mss: Option<u16>,
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
            mss: None,
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
            packets: 0,
            flows: 0,
            balance: None,
            hops: Vec::new(),
            analysis: Analysis::default(),
            mtu: None,
            offered_mss: None,
            mss: None,
            clamp: Clamp::default(),
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
                labelled: hop.routers.iter().any(|router| !router.labels.is_empty()),
            }
        });
        // Linux limits its "port unreachable" as it limits what it says as a router; echo replies and SYN-ACKs it does not.
        let host = self.protocol != Protocol::Udp;
        Analysis::of(&hops.collect::<Vec<_>>(), self.destination, host)
    }

    /// Whether somebody on the way makes the largest segments of TCP smaller.
    #[must_use]
    pub fn clamping(&self) -> Clamp {
        let (Some(sent), Some(destination)) = (self.offered_mss, self.destination) else { return Clamp::default() };
        let on_the_way = |hop: &&Hop| hop.routers.iter().all(|router| router.address != destination);
        let quoted = self.hops.iter().take_while(on_the_way);
        let quoted: Vec<_> =
            quoted.map(|hop| (hop.number, hop.routers.iter().filter_map(|router| router.mss).min())).collect();
        let last = quoted.last().map(|(hop, _)| *hop);
        let carried = self.mtu.map(|mtu| Carried {
            bytes: mss_within(mtu.found.bytes, destination.is_ipv6()),
            on_the_way: mtu.hop.is_some_and(|hop| hop > 0) && mtu.next_hop.is_some_and(|next| Some(next) <= last),
        });
        Clamp::of(&Offers { sent, quoted: &quoted, reached: self.reached, received: self.mss, carried })
    }

    /// The hop of a number, if it is among those that are known.
    fn hop(&mut self, number: u8) -> Option<&mut Hop> {
        self.hops.get_mut(usize::from(number.checked_sub(self.first_hop)?))
    }
}

#[cfg(test)]
mod tests;
