//! The emulated internet without its devices: what becomes of a packet, decided the moment it leaves. `now` is an argument.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::packet::{self, Flow, Header, SYN, Side};
use super::random::{Random, mix};
use super::topology::{Action, Fault, Hop, Isp, Link, Mtu, RateLimit, Router, Topology};
use crate::net::Family;
use crate::verdict::Evidence;

/// A device that packets come from and go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Device {
    /// The prober's end of an uplink.
    Uplink(Isp),
    /// The far end.
    Inet,
}

/// The state of the emulated internet.
#[derive(Debug)]
pub(super) struct Internet {
    topology: Topology,
    random: Random,
    due: BinaryHeap<Due>,
    number: u64,
    /// How many packets have come out of devices.
    taken: u64,
    spare: Vec<Vec<u8>>,
    buckets: HashMap<(Isp, usize, IpAddr), Bucket>,
    struck: HashMap<(usize, Flow), u32>,
    /// What really happens.
    pub(super) ledger: Ledger,
}

/// A packet on its way to a device.
#[derive(Debug)]
struct Due {
    at: Instant,
    number: u64,
    device: Device,
    packet: Vec<u8>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// A packet that is going somewhere.
#[derive(Debug)]
struct Traveller {
    isp: Isp,
    flow: Flow,
    header: Header,
    packet: Vec<u8>,
    at: Instant,
}

/// What a router says by ICMP: type, code and the second word of the header.
#[derive(Debug, Clone, Copy)]
struct Says {
    ty: u8,
    code: u8,
    rest: u32,
}

/// Larger than any packet of a device, whose MTU is 1500, or 9000 where it was made a jumbo.
pub(super) const LARGEST: usize = 9216;
/// How many conversations a fault that counts them can tell apart, before it begins anew.
const CONVERSATIONS: usize = 65_536;

impl Internet {
    pub(super) fn new(topology: Topology) -> Self {
        let mut internet = Self {
            random: Random::new(topology.seed),
            topology,
            due: BinaryHeap::new(),
            number: 0,
            taken: 0,
            spare: Vec::new(),
            buckets: HashMap::new(),
            struck: HashMap::new(),
            ledger: Ledger::default(),
        };
        internet.tidy();
        internet
    }

    /// Changes what the internet looks like, for all packets that leave from now on.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Topology)) {
        let seed = self.topology.seed;
        change(&mut self.topology);
        if self.topology.seed != seed {
            self.random = Random::new(self.topology.seed);
        }
        self.struck.clear();
        self.buckets.clear();
        self.tidy();
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The routers that forward a flow, as it leaves, from the first hop on.
    pub(super) fn routers(&self, isp: Isp, source: IpAddr, flow: impl FnOnce(IpAddr) -> Flow) -> Vec<IpAddr> {
        let family = Family::of(source);
        let path = self.topology.path(isp);
        let outside = path.snat(family).filter(|_| source == isp.source(family)).unwrap_or(source);
        let flow = flow(outside);
        path.hops.iter().enumerate().map(|(index, hop)| chosen(hop, &flow, index).address(family)).collect()
    }

    /// A packet of these bytes, in a buffer that was used before, where there is one.
    pub(super) fn packet(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut packet = self.spare.pop().unwrap_or_default();
        packet.clear();
        packet.extend_from_slice(bytes);
        packet
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&mut self, buffer: Vec<u8>) {
        self.spare.push(buffer);
    }

    /// When the next packet is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|due| due.at)
    }

    /// A packet that is due, and where it goes.
    pub(super) fn deliver(&mut self, now: Instant) -> Option<(Device, Vec<u8>)> {
        self.due.peek().filter(|due| due.at <= now)?;
        let due = self.due.pop()?;
        self.ledger.lateness = self.ledger.lateness.max(now.saturating_duration_since(due.at));
        Some((due.device, due.packet))
    }

    /// A packet came out of a device.
    pub(super) fn take(&mut self, now: Instant, device: Device, packet: Vec<u8>) {
        let header = Header::parse(&packet).filter(|header| is_routable(header.destination));
        let (Some(header), true) = (header, packet.len() <= LARGEST) else { return self.recycle(packet) };
        self.taken += 1;
        match device {
            Device::Uplink(isp) => {
                self.ledger.observe(now, isp, &packet, &header);
                self.leave(isp, packet, header, now);
            }
            Device::Inet => self.come_back(packet, header, now),
        }
    }

    /// The prober's side of an uplink: SNAT, then the path.
    fn leave(&mut self, isp: Isp, mut packet: Vec<u8>, mut header: Header, at: Instant) {
        let family = header.family();
        if let Some(outside) = self.topology.path(isp).snat(family) {
            packet::translate(&mut packet, Side::Source, isp.source(family), outside);
            if header.source == isp.source(family) {
                header.source = outside;
            }
        }
        let flow = Flow::towards_target(&packet, &header).of_packet(self.taken);
        self.forward(Traveller { isp, flow, header, packet, at }, 0);
    }

    /// From the hop of that index on towards the target.
    fn forward(&mut self, mut traveller: Traveller, first: usize) {
        let isp = traveller.isp;
        let hops = self.topology.path(isp).hops.len();
        let circle = self.circle(&traveller);
        let (mut index, mut previous) = (first, None);
        while index < hops {
            let router = self.router(&traveller, index);
            let crossed = previous.map_or(index, |previous: usize| previous.max(index));
            let link = self.router(&traveller, crossed).link;
            if !self.cross(&mut traveller, link, index) {
                return self.recycle(traveller.packet);
            }
            if traveller.header.ttl <= 1 {
                let says = time_exceeded(traveller.header.family());
                return self.answer(traveller, index, router, says);
            }
            decrement(&mut traveller);
            if router.drops {
                return self.recycle(traveller.packet);
            }
            packet::clamp(&mut traveller.packet, &traveller.header, router.clamp.there);
            if let Some(says) = self.refusal(&traveller, index + 1) {
                return self.answer(traveller, index, router, says);
            }
            if self.redirects(&traveller, index + 1) {
                let mut copy = self.spare.pop().unwrap_or_default();
                copy.clone_from(&traveller.packet);
                // To nobody's address: no kernel follows it.
                let rest = u32::from_be_bytes([192, 0, 2, 1]);
                self.answer(Traveller { packet: copy, ..traveller }, index, router, Says { ty: 5, code: 1, rest });
            }
            if let Some(mtu) = router.mtu.filter(|mtu| traveller.packet.len() > mtu.bytes.into()) {
                self.ledger.count(isp, traveller.header.destination, index).too_big += 1;
                return match split(&mut traveller, mtu) {
                    Some(pieces) => {
                        for packet in pieces {
                            let piece = Traveller { packet, ..traveller };
                            self.forward(piece, index + 1);
                        }
                        self.recycle(traveller.packet);
                    }
                    None => self.too_big(traveller, index, router, mtu),
                };
            }
            previous = Some(index);
            index = match circle {
                Some((here, there)) if index == here => there,
                Some((here, there)) if index == there => here,
                _ => index + 1,
            };
        }
        let link = self.topology.path(isp).target;
        if !self.cross(&mut traveller, link, hops) {
            return self.recycle(traveller.packet);
        }
        self.arrive(traveller);
    }

    /// Crosses a link towards the target; false where the packet is lost on it.
    fn cross(&mut self, traveller: &mut Traveller, link: Link, index: usize) -> bool {
        traveller.at += self.one_way(link);
        let lost = self.random.chance(link.loss);
        let count = self.ledger.count(traveller.isp, traveller.header.destination, index);
        if lost {
            count.lost += 1;
        } else {
            count.arrived += 1;
        }
        !lost
    }

    /// Just before the target: most faults, then delivery.
    fn arrive(&mut self, mut traveller: Traveller) {
        let hops = self.topology.path(traveller.isp).hops.len();
        if let Some(says) = self.refusal(&traveller, hops + 1) {
            return self.say(traveller, hops, None, says);
        }
        let tcp = traveller.header.tcp(&traveller.packet);
        let is_syn = tcp.is_some_and(|(flags, _)| flags & (SYN | packet::ACK | packet::RST) == SYN);
        let has_data = tcp.is_some_and(|(flags, length)| length > 0 && flags & SYN == 0);
        for number in 0..self.topology.faults.len() {
            let fault = self.topology.faults[number];
            if !matches_towards_target(&fault, &traveller) {
                continue;
            }
            let lost = match fault.action {
                Action::Drop => true,
                Action::DropLarger(most) => traveller.packet.len() > most.into(),
                Action::DropFirst(most) => self.strikes(number, &traveller, most),
                Action::DropSyn(most) => is_syn && self.strikes(number, &traveller, most),
                Action::DropReset => tcp.is_some_and(|(flags, _)| flags & packet::RST != 0),
                Action::Stall => has_data,
                Action::Reset if is_syn => return self.reset(traveller),
                Action::ResetAfterHandshake if has_data => {
                    let mut copy = self.spare.pop().unwrap_or_default();
                    copy.clone_from(&traveller.packet);
                    self.reset(Traveller { packet: copy, ..traveller });
                    packet::make_reset(&mut traveller.packet, &traveller.header);
                    break;
                }
                Action::Delay(extra) => {
                    traveller.at += extra;
                    false
                }
                Action::Reset
                | Action::ResetAfterHandshake
                | Action::Unreachable { .. }
                | Action::Redirect { .. }
                | Action::Loop { .. } => false,
            };
            if lost {
                return self.recycle(traveller.packet);
            }
        }
        self.enqueue(traveller.at, Device::Inet, traveller.packet);
    }

    /// Whether a fault that strikes the first `most` packets of a conversation strikes this one.
    fn strikes(&mut self, fault: usize, traveller: &Traveller, most: u32) -> bool {
        if self.struck.len() >= CONVERSATIONS {
            self.struck.clear();
        }
        let conversation = Flow::conversation(&traveller.packet, &traveller.header);
        let struck = self.struck.entry((fault, conversation)).or_default();
        let strikes = *struck < most;
        *struck += u32::from(strikes);
        strikes
    }

    /// What a fault makes the hop of that number (from 1) say instead of forwarding.
    fn refusal(&self, traveller: &Traveller, hop: usize) -> Option<Says> {
        self.topology.faults.iter().filter(|fault| matches_towards_target(fault, traveller)).find_map(|fault| {
            let Action::Unreachable { hop: at, says } = fault.action else { return None };
            let (family, ty, code) = match says {
                Evidence::Icmp { ty, code } => (Family::V4, ty, code),
                Evidence::Icmp6 { ty, code } => (Family::V6, ty, code),
            };
            (at == hop && family == traveller.header.family()).then_some(Says { ty, code, rest: 0 })
        })
    }

    /// Whether a fault makes the hop of that number (from 1) say that another is nearer.
    fn redirects(&self, traveller: &Traveller, hop: usize) -> bool {
        let mut faults = self.topology.faults.iter().filter(|fault| matches_towards_target(fault, traveller));
        traveller.header.family() == Family::V4 && faults.any(|fault| fault.action == Action::Redirect { hop })
    }

    /// The two neighbours between which a fault makes the packet circle.
    fn circle(&self, traveller: &Traveller) -> Option<(usize, usize)> {
        let hops = self.topology.path(traveller.isp).hops.len();
        let fault = self.topology.faults.iter().filter(|fault| matches_towards_target(fault, traveller));
        let hop =
            fault.filter_map(|fault| if let Action::Loop { hop } = fault.action { Some(hop) } else { None }).next()?;
        let here = hop.saturating_sub(1).min(hops.checked_sub(1)?);
        // The last router sends it back to the one before; a lone router sends it to itself.
        Some((here, if here + 1 < hops { here + 1 } else { here.saturating_sub(1) }))
    }

    /// A router answers for itself, where it does.
    fn answer(&mut self, traveller: Traveller, index: usize, router: Router, says: Says) {
        let answers = router.answers;
        let at = traveller.at;
        let key = (traveller.isp, index, router.address(traveller.header.family()));
        let muted = answers.silent
            || self.random.chance(answers.loss)
            || answers.limit.is_some_and(|limit| !self.token(key, limit, at));
        if muted {
            self.ledger.count(traveller.isp, traveller.header.destination, index).unanswered += 1;
            return self.recycle(traveller.packet);
        }
        let at = at + answers.delay + self.random.up_to(answers.jitter);
        self.say(Traveller { at, ..traveller }, index, Some(router), says);
    }

    /// The node of that index sends an ICMP error back; without a router it is the target.
    fn say(&mut self, traveller: Traveller, index: usize, router: Option<Router>, says: Says) {
        let Traveller { isp, flow, header, packet: about, at } = traveller;
        if header.first && !header.is_icmp_error(&about) {
            let mut answer = self.spare.pop().unwrap_or_default();
            let source = router.map_or(header.destination, |router| router.address(header.family()));
            let labels = router.and_then(|router| router.labels);
            packet::icmp_error(&mut answer, source, &about, &header, (says.ty, says.code, says.rest), labels);
            self.ledger.count(isp, header.destination, index).answered += 1;
            self.back(isp, flow, answer, at, index);
        }
        self.recycle(about);
    }

    fn too_big(&mut self, traveller: Traveller, index: usize, router: Router, mtu: Mtu) {
        match mtu.told {
            Some(bytes) => {
                let says = too_big(traveller.header.family(), bytes);
                self.answer(traveller, index, router, says);
            }
            None => self.recycle(traveller.packet),
        }
    }

    /// The target resets a connection.
    fn reset(&mut self, traveller: Traveller) {
        let hops = self.topology.path(traveller.isp).hops.len();
        let mut answer = self.spare.pop().unwrap_or_default();
        if packet::reset(&mut answer, &traveller.packet, &traveller.header).is_some() {
            self.back(traveller.isp, traveller.flow, answer, traveller.at, hops);
        }
        self.recycle(traveller.packet);
    }

    /// A packet of the far end goes back to the ISP that owns its destination.
    fn come_back(&mut self, packet: Vec<u8>, header: Header, at: Instant) {
        let Some(isp) = self.owner(header.destination) else { return self.recycle(packet) };
        let stalled = header.tcp(&packet).is_some_and(|(flags, length)| length > 0 && flags & SYN == 0)
            && self.topology.faults.iter().any(|fault| {
                let port = header.ports(&packet).map(|(source, _)| source);
                fault.action == Action::Stall && matches(fault, isp, header.source, header.protocol, port)
            });
        if stalled {
            return self.recycle(packet);
        }
        let flow = Flow::from_target(&packet, &header).of_packet(self.taken);
        self.back(isp, flow, packet, at, self.topology.path(isp).hops.len());
    }

    /// From the node of that index, which sends it, back to the prober.
    fn back(&mut self, isp: Isp, flow: Flow, packet: Vec<u8>, at: Instant, from: usize) {
        let Some(header) = Header::parse(&packet) else { return self.recycle(packet) };
        let mut traveller = Traveller { isp, flow, header, packet, at };
        let mut index = from;
        loop {
            let hops = self.topology.path(isp).hops.len();
            let link = if index == hops { self.topology.path(isp).target } else { self.router(&traveller, index).link };
            let narrow = index.checked_sub(1).and_then(|before| self.router(&traveller, before).mtu);
            if let Some(mtu) = narrow.filter(|mtu| traveller.packet.len() > mtu.bytes.into()) {
                return self.too_big_back(traveller, index, mtu);
            }
            traveller.at += self.one_way(link);
            let Some(next) = index.checked_sub(1) else { break };
            index = next;
            let clamp = self.router(&traveller, index).clamp;
            if traveller.header.ttl <= 1 {
                return self.recycle(traveller.packet);
            }
            decrement(&mut traveller);
            packet::clamp(&mut traveller.packet, &traveller.header, clamp.back);
        }
        let family = traveller.header.family();
        if let Some(outside) = self.topology.path(isp).snat(family) {
            packet::translate(&mut traveller.packet, Side::Destination, outside, isp.source(family));
        }
        self.enqueue(traveller.at, Device::Uplink(isp), traveller.packet);
    }

    /// The way back leads over a narrow link in front of the node of that index.
    fn too_big_back(&mut self, mut traveller: Traveller, index: usize, mtu: Mtu) {
        let (isp, flow, at) = (traveller.isp, traveller.flow, traveller.at);
        self.ledger.count(isp, traveller.header.source, index - 1).too_big += 1;
        if let Some(pieces) = split(&mut traveller, mtu) {
            for packet in pieces {
                self.back(isp, flow, packet, at, index);
            }
        } else if let Some(bytes) = mtu.told
            && !traveller.header.is_icmp_error(&traveller.packet)
        {
            // The router on the far side of the link says so; where that is the target itself, the near one.
            let hops = self.topology.path(isp).hops.len();
            let speaker = index.min(hops - 1);
            let says = too_big(traveller.header.family(), bytes);
            let router = self.router(&traveller, speaker);
            let source = router.address(traveller.header.family());
            let mut answer = self.spare.pop().unwrap_or_default();
            let (header, packet) = (&traveller.header, &traveller.packet);
            packet::icmp_error(&mut answer, source, packet, header, (says.ty, says.code, says.rest), router.labels);
            let links = (speaker + 1..hops).map(|index| self.router(&traveller, index).link);
            let rtt: Duration = links.chain([self.topology.path(isp).target]).map(|link| link.rtt).sum();
            self.enqueue(at + rtt / 2, Device::Inet, answer);
        }
        self.recycle(traveller.packet);
    }

    fn enqueue(&mut self, at: Instant, device: Device, packet: Vec<u8>) {
        self.number += 1;
        self.due.push(Due { at, number: self.number, device, packet });
    }

    /// The ISP whose address it is, inside or outside of any SNAT.
    fn owner(&self, address: IpAddr) -> Option<Isp> {
        let family = Family::of(address);
        Isp::ALL.into_iter().find(|isp| {
            let path = self.topology.path(*isp);
            isp.source(family) == address || path.snat(family) == Some(address) || path.behind.contains(&address)
        })
    }

    /// The router of a hop that forwards the traveller's flow, or the traveller, where it is packets that are shared.
    fn router(&self, traveller: &Traveller, index: usize) -> Router {
        chosen(&self.topology.path(traveller.isp).hops[index], &traveller.flow, index)
    }

    fn one_way(&mut self, link: Link) -> Duration {
        link.rtt / 2 + self.random.up_to(link.jitter)
    }

    fn token(&mut self, key: (Isp, usize, IpAddr), limit: RateLimit, now: Instant) -> bool {
        let bucket = self.buckets.entry(key).or_insert(Bucket { tokens: limit.burst, at: now });
        let elapsed = now.saturating_duration_since(bucket.at);
        bucket.tokens = (bucket.tokens + elapsed.as_secs_f64() * limit.per_second).min(limit.burst);
        bucket.at = bucket.at.max(now);
        let granted = bucket.tokens >= 1.0;
        if granted {
            bucket.tokens -= 1.0;
        }
        granted
    }

    /// A hop of no routers is no hop.
    fn tidy(&mut self) {
        for isp in Isp::ALL {
            self.topology.path_mut(isp).hops.retain(|hop| !hop.routers.is_empty());
        }
    }
}

/// The router of a hop of that index that forwards a flow, or a packet of it.
fn chosen(hop: &Hop, flow: &Flow, index: usize) -> Router {
    let Hop { routers, per_packet } = hop;
    let salt = if *per_packet { mix(flow.packet()) ^ index as u64 } else { index as u64 };
    let weights = || routers.iter().map(|router| router.weight as usize);
    let mut drawn = flow.member(weights().sum(), salt);
    let chosen = weights().position(|weight| {
        let is_it = drawn < weight;
        drawn = drawn.saturating_sub(weight);
        is_it
    });
    // Where all weigh nothing, it is the first.
    routers[chosen.unwrap_or(0)]
}

/// Makes a too big packet into pieces, where that is allowed. Only IPv4 allows it.
fn split(traveller: &mut Traveller, mtu: Mtu) -> Option<Vec<Vec<u8>>> {
    let Traveller { packet, header, .. } = traveller;
    (!header.whole).then(|| packet::fragments(packet, header, mtu.bytes.into()))
}

fn decrement(traveller: &mut Traveller) {
    packet::decrement_ttl(&mut traveller.packet);
    traveller.header.ttl -= 1;
}

fn matches_towards_target(fault: &Fault, traveller: &Traveller) -> bool {
    let port = traveller.header.ports(&traveller.packet).map(|(_, destination)| destination);
    matches(fault, traveller.isp, traveller.header.destination, traveller.header.protocol, port)
}

fn matches(fault: &Fault, isp: Isp, target: IpAddr, protocol: u8, port: Option<u16>) -> bool {
    let of = fault.of;
    of.isp.is_none_or(|wanted| wanted == isp)
        && of.destination.is_none_or(|wanted| wanted == target)
        && of.protocol.is_none_or(|wanted| wanted == protocol)
        && of.port.is_none_or(|wanted| port == Some(wanted))
}

fn time_exceeded(family: Family) -> Says {
    match family {
        Family::V4 => Says { ty: 11, code: 0, rest: 0 },
        Family::V6 => Says { ty: 3, code: 0, rest: 0 },
    }
}

fn too_big(family: Family, bytes: u16) -> Says {
    match family {
        Family::V4 => Says { ty: 3, code: 4, rest: bytes.into() },
        Family::V6 => Says { ty: 2, code: 0, rest: bytes.into() },
    }
}

/// Whether routers forward to an address: neither multicast nor of the link.
fn is_routable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !(address.is_multicast() || address.is_link_local() || address.is_broadcast()),
        IpAddr::V6(address) => !(address.is_multicast() || address.is_unicast_link_local()),
    }
}

impl Ord for Due {
    /// The greatest is the one that is due first; of equals, the one that came first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Due {}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

#[cfg(test)]
mod tests;
