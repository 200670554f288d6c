//! What the emulated internet looks like, and what is wrong with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::net::{Family, Source};
use crate::verdict::Evidence;
use crate::wire::icmp::Label;

/// One of the two uplinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isp {
    /// Device `ispa`, 10.1.0.2 and fd00:a::2, mark and table 101.
    A,
    /// Device `ispb`, 10.2.0.2 and fd00:b::2, mark and table 102.
    B,
}

/// What decides that a packet leaves through an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Binding {
    /// The source address.
    Address,
    /// The device (`SO_BINDTODEVICE`).
    Interface,
    /// The mark (`SO_MARK`).
    Mark,
}

impl Binding {
    /// Every means of binding.
    pub const ALL: [Self; 3] = [Self::Address, Self::Interface, Self::Mark];

    /// The word for a person.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Interface => "interface",
            Self::Mark => "mark",
        }
    }
}

impl Isp {
    /// Both uplinks.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The name in `isp=`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The TUN device in the prober's namespace.
    #[must_use]
    pub fn device(self) -> &'static str {
        match self {
            Self::A => "ispa",
            Self::B => "ispb",
        }
    }

    /// The mark that chooses the uplink, which is also the number of its routing table.
    #[must_use]
    pub fn mark(self) -> u32 {
        match self {
            Self::A => 101,
            Self::B => 102,
        }
    }

    /// The prober's address on the uplink, before any SNAT.
    #[must_use]
    pub fn source(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4().into(),
            Family::V6 => self.v6().into(),
        }
    }

    /// The source that binds sockets to the uplink by one means, and by no other.
    #[must_use]
    pub fn bound_by(self, binding: Binding) -> Source {
        match binding {
            Binding::Address => Source { v4: Some(self.v4()), v6: Some(self.v6()), ..Source::default() },
            Binding::Interface => Source { interface: Some(self.device().to_owned()), ..Source::default() },
            Binding::Mark => Source { mark: Some(self.mark()), ..Source::default() },
        }
    }

    /// A router of the uplink: 100.64.1.n or 100.64.2.n, fd00:a:1::n or fd00:b:1::n.
    #[must_use]
    pub fn router(self, number: u8) -> Router {
        let (third, second) = match self {
            Self::A => (1, 0xa),
            Self::B => (2, 0xb),
        };
        Router {
            v4: Ipv4Addr::new(100, 64, third, number),
            v6: Ipv6Addr::new(0xfd00, second, 1, 0, 0, 0, 0, same_digits(number)),
            weight: 1,
            link: Link::default(),
            answers: Answers::default(),
            mtu: None,
            clamp: Clamp::default(),
            drops: false,
            labels: None,
        }
    }

    /// The network of its routers' addresses.
    #[must_use]
    pub fn network(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::A, Family::V4) => "100.64.1.0/24",
            (Self::A, Family::V6) => "fd00:a:1::/48",
            (Self::B, Family::V4) => "100.64.2.0/24",
            (Self::B, Family::V6) => "fd00:b:1::/48",
        }
    }

    fn v4(self) -> Ipv4Addr {
        match self {
            Self::A => Ipv4Addr::new(10, 1, 0, 2),
            Self::B => Ipv4Addr::new(10, 2, 0, 2),
        }
    }

    fn v6(self) -> Ipv6Addr {
        match self {
            Self::A => Ipv6Addr::new(0xfd00, 0xa, 0, 0, 0, 0, 0, 2),
            Self::B => Ipv6Addr::new(0xfd00, 0xb, 0, 0, 0, 0, 0, 2),
        }
    }
}

/// The numbers of the targets: the far end has an address of each family for every one.
pub const TARGETS: std::ops::RangeInclusive<u8> = 10..=40;

/// An address of the far end: 198.51.100.n or 2001:db8:100::n, n from [`TARGETS`].
#[must_use]
pub fn target(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(198, 51, 100, number).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, same_digits(number)).into(),
    }
}

/// The number whose hexadecimal digits are the decimal digits of `number`, so that both families look alike.
fn same_digits(number: u8) -> u16 {
    let number = u16::from(number);
    ((number / 100) << 8) | ((number / 10 % 10) << 4) | (number % 10)
}

/// The whole of the emulated internet.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// Where all chance comes from: equal seeds and equal traffic give equal losses.
    pub seed: u64,
    /// The path of ISP A.
    pub a: Path,
    /// The path of ISP B.
    pub b: Path,
    /// What is wrong, the first that matches a packet first. How often a fault has struck is forgotten at every change.
    pub faults: Vec<Fault>,
}

/// The way from the prober through one ISP to every target, and back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Path {
    /// The routers, the nearest first.
    pub hops: Vec<Hop>,
    /// The link from the last router to the target.
    pub target: Link,
    /// What the prober's IPv4 source address becomes before the first router.
    pub snat4: Option<Ipv4Addr>,
    /// What the prober's IPv6 source address becomes before the first router.
    pub snat6: Option<Ipv6Addr>,
    /// Addresses that lead to the uplink beside its own, for a firewall of the prober's host that translates into them.
    pub behind: Vec<IpAddr>,
}

/// One hop: a router, or several that share the flows between them (ECMP), by a hash of the addresses, the protocol and the first four
/// bytes of the transport header.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hop {
    /// The routers; at least one.
    pub routers: Vec<Router>,
    /// Whether it is single packets that they share.
    pub per_packet: bool,
}

/// A router.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Router {
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// How much of the traffic of its hop it gets, in proportion to the others there.
    pub weight: u32,
    /// The link that leads to it, from the hop before or from the prober.
    pub link: Link,
    /// How it answers for itself.
    pub answers: Answers,
    /// The narrow link behind it, towards the target.
    pub mtu: Option<Mtu>,
    /// How large the segments are that it lets the ends of TCP connections offer.
    pub clamp: Clamp,
    /// Whether it forwards nothing towards the target. It answers for itself as ever.
    pub drops: bool,
    /// The MPLS labels that packets come to it with, as far as it tells them.
    pub labels: Option<Labels>,
}

/// MPLS labels that a router tells in its ICMP errors (RFC 4950).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Labels {
    /// The stack, the top first.
    pub stack: &'static [Label],
    /// Whether the message says where they are (RFC 4884), or leaves it to whoever looks for them behind 128 bytes, as it was once done.
    pub said: bool,
}

/// A link between neighbours.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Link {
    /// What it adds to the round-trip time: a half each way. The round-trip time to hop h is the sum over all hops up to h.
    pub rtt: Duration,
    /// The most that it adds by chance, each way, evenly distributed.
    pub jitter: Duration,
    /// The probability that a packet towards the target is lost on it, 0 to 1. The way back loses nothing.
    pub loss: f64,
}

/// How a router answers for itself (time exceeded, unreachable, too big).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Answers {
    /// Whether it never answers.
    pub silent: bool,
    /// The probability that it does not answer, 0 to 1. What it forwards is not concerned.
    pub loss: f64,
    /// How many answers it gives.
    pub limit: Option<RateLimit>,
    /// How long it takes to make an answer. What it forwards is not concerned.
    pub delay: Duration,
    /// How much longer at most, by chance, evenly distributed.
    pub jitter: Duration,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// Tokens per second.
    pub per_second: f64,
    /// Tokens that it holds at most, and at first.
    pub burst: f64,
}

/// A link that takes only small packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mtu {
    /// The largest packet, in bytes.
    pub bytes: u16,
    /// What the router says that it takes (fragmentation needed, packet too big), in bytes; where it says nothing, it is a black hole.
    pub told: Option<u16>,
}

impl Mtu {
    /// A link whose router says what it takes.
    #[must_use]
    pub fn told(bytes: u16) -> Self {
        Self { bytes, told: Some(bytes) }
    }

    /// A black hole for larger packets.
    #[must_use]
    pub fn untold(bytes: u16) -> Self {
        Self { bytes, told: None }
    }
}

/// The largest segments, in bytes, that a router leaves in the SYNs and SYN-ACKs that it forwards: a larger MSS is made this.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clamp {
    /// Towards the target.
    pub there: Option<u16>,
    /// From the target.
    pub back: Option<u16>,
}

/// Something that is wrong for some packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which packets.
    pub of: Matches,
    /// What becomes of them.
    pub action: Action,
}

/// Which packets towards a target are meant. Nothing matches all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Matches {
    /// Through which ISP they go.
    pub isp: Option<Isp>,
    /// Where they go.
    pub destination: Option<IpAddr>,
    /// The IP protocol number: `libc::IPPROTO_TCP`, ….
    pub protocol: Option<u8>,
    /// The destination port of TCP and UDP.
    pub port: Option<u16>,
}

/// What becomes of a packet. All but [`Action::Unreachable`], [`Action::Redirect`] and [`Action::Loop`] happen just before the target, so that the
/// routers answer as ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is lost.
    Drop,
    /// The first n packets of each conversation (addresses, protocol, ports or ICMP id) are lost.
    DropFirst(u32),
    /// The first n SYNs of each connection are lost.
    DropSyn(u32),
    /// A reset is lost.
    DropReset,
    /// It is lost where it has more bytes.
    DropLarger(u16),
    /// A SYN is answered by a reset.
    Reset,
    /// The first segment with data is answered by a reset; the server gets one too.
    ResetAfterHandshake,
    /// A hop answers with an ICMP message instead of forwarding. Only packets of the message's family are meant.
    Unreachable {
        /// The hop, from 1; one more than there are hops is the target itself.
        hop: usize,
        /// The message.
        says: Evidence,
    },
    /// A hop forwards it, and says by ICMP that another router is nearer (RFC 792, redirect). Only packets of IPv4 are meant.
    Redirect {
        /// The hop, from 1.
        hop: usize,
    },
    /// The packet goes to and fro between a hop and its neighbour until its time to live is over.
    Loop {
        /// The hop, from 1.
        hop: usize,
    },
    /// Segments with data are lost, both ways: a connection opens and then stands still.
    Stall,
    /// It comes later by so much.
    Delay(Duration),
}

impl Topology {
    /// The two ISPs of the demonstration: 20 ms to the target through A. B is the same with 40 ms more from its fourth hop on. The third
    /// hop is silent, the fifth loses 10 % of its own answers, the sixth is two routers.
    #[must_use]
    pub fn demo() -> Self {
        let path = |isp: Isp| {
            let mut path = Path::straight(isp, &[500, 1_000, 2_500, 3_000, 4_000, 3_000, 3_000, 2_000], 1_000);
            path.hops[2].routers[0].answers.silent = true;
            path.hops[4].routers[0].answers.loss = 0.1;
            let mut second = isp.router(106);
            second.link = path.hops[5].routers[0].link;
            path.hops[5].routers.push(second);
            path
        };
        let mut b = path(Isp::B);
        b.hops[3].routers[0].link.rtt += Duration::from_millis(40);
        Self { seed: 1, a: path(Isp::A), b, faults: Vec::new() }
    }

    /// The path through an ISP.
    #[must_use]
    pub fn path(&self, isp: Isp) -> &Path {
        match isp {
            Isp::A => &self.a,
            Isp::B => &self.b,
        }
    }

    /// The path through an ISP, to be changed.
    #[must_use]
    pub fn path_mut(&mut self, isp: Isp) -> &mut Path {
        match isp {
            Isp::A => &mut self.a,
            Isp::B => &mut self.b,
        }
    }
}

impl Path {
    /// One router per hop, without chance or fault. Each link adds so many microseconds to the round-trip time.
    #[must_use]
    pub fn straight(isp: Isp, hops: &[u64], target: u64) -> Self {
        let link = |rtt: u64| Link { rtt: Duration::from_micros(rtt), ..Link::default() };
        let hop = |(number, rtt): (u8, &u64)| Hop::of(vec![Router { link: link(*rtt), ..isp.router(number) }]);
        Self { hops: (1..).zip(hops).map(hop).collect(), target: link(target), ..Self::default() }
    }

    /// The round-trip time to a hop, from 1; one more than there are hops is the target. Jitter and faults are not in it; of several
    /// routers the first counts.
    #[must_use]
    pub fn rtt(&self, hop: usize) -> Duration {
        let links = self.hops.iter().filter_map(|hop| hop.routers.first()).map(|router| router.link.rtt);
        links.chain([self.target.rtt]).take(hop).sum()
    }

    /// The round-trip time to the target, as of [`Path::rtt`].
    #[must_use]
    pub fn target_rtt(&self) -> Duration {
        self.rtt(self.hops.len() + 1)
    }

    /// What the prober's source address becomes on this path.
    #[must_use]
    pub fn snat(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.snat4.map(IpAddr::V4),
            Family::V6 => self.snat6.map(IpAddr::V6),
        }
    }
}

impl Hop {
    /// Routers that share flows.
    #[must_use]
    pub fn of(routers: Vec<Router>) -> Self {
        Self { routers, per_packet: false }
    }
}

impl Router {
    /// Its address in a family.
    #[must_use]
    pub fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_look_alike() {
        assert_eq!(target(Family::V4, 10).to_string(), "198.51.100.10");
        assert_eq!(target(Family::V6, 10).to_string(), "2001:db8:100::10");
        for isp in Isp::ALL {
            for family in [Family::V4, Family::V6] {
                let network: crate::path::Prefix = isp.network(family).parse().unwrap();
                let has = |of: Isp| network.contains(of.router(106).address(family));
                assert!(has(isp) && !has(isp.other()));
            }
        }
        let router = Isp::B.router(106);
        assert_eq!((router.v4.to_string(), router.v6.to_string()), ("100.64.2.106".into(), "fd00:b:1::106".into()));
    }

    #[test]
    fn in_the_demonstration_b_has_40_ms_more_from_its_fourth_hop_on() {
        let topology = Topology::demo();
        let more: Vec<_> = (1..=9).map(|hop| (topology.b.rtt(hop) - topology.a.rtt(hop)).as_millis()).collect();
        assert_eq!(more, [0, 0, 0, 40, 40, 40, 40, 40, 40]);
        assert_eq!(topology.a.target_rtt(), Duration::from_millis(20));
    }
}
