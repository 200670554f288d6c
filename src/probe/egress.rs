//! Egress share: by which ISPs flows leave that are bound to none, as a host's other traffic.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::identity::{Fact, Inquiry, Registry};
use super::resolve::{Preference, resolve};
use super::services::Carrier;
use super::{Probe, host, packets};
use crate::flight::Phase;
use crate::flight::survey::{Plan, Step, Survey, Told};
use crate::net::clock::{self, instant_of};
use crate::net::sys::Stamp;
use crate::net::{self, Answer, Conversation, Family, Heading, Refusal, Reply, Shape, Source, Syns};
use crate::path::egress::{Router, Territory, Uplink, are_one, doubted, owners, taken};
use crate::path::share::{Share, shares};
use crate::verdict::{Failure, Reason};

/// The `egress:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// What the packets are.
    pub protocol: Protocol,
    /// Destination port, where a target names none.
    pub port: u16,
    /// How many flows.
    pub flows: u32,
    /// Packets per second.
    pub rate: u32,
    /// How long after its departure a packet's answer is waited for.
    pub wait: Duration,
    /// The first hop that is asked: those before it are the site's own.
    pub first_hop: u8,
    /// The last hop that is asked.
    pub max_hops: u8,
    /// Where AS numbers come from, by which ISPs may be known; nothing looks none up.
    pub registry: Option<Arc<Registry>>,
    /// The address family.
    pub preference: Preference,
}

impl Settings {
    /// How many packets its flows have at most.
    pub(super) fn packets(&self) -> u32 {
        u32::from(self.max_hops - self.first_hop + 1).saturating_mul(self.flows)
    }
}

/// What the packets are. Those of ICMP have no ports, by which routers tell flows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
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
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Udp => libc::IPPROTO_UDP as u8,
            Self::Tcp => libc::IPPROTO_TCP as u8,
        }
    }
}

/// What an egress probe measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// What the packets were.
    pub protocol: Protocol,
    /// Where they went, each flow to one of these; empty before that was known.
    pub destinations: Vec<SocketAddr>,
    /// The address that the first flow left from; nothing before there was a socket.
    pub source: Option<IpAddr>,
    /// Flows that were asked for.
    pub flows: u32,
    /// Packets per second that were asked for.
    pub rate: u32,
    /// The first hop that was asked.
    pub first_hop: u8,
    /// The last hop that was to be asked.
    pub max_hops: u8,
    /// Packets that were sent.
    pub packets: u32,
    /// Flows of which a packet was sent.
    pub sent: u32,
    /// How many of them left through which ISP, by name, as far as their routers told.
    pub taken: Vec<Taken>,
    /// Routers of no ISP that answered flows whose ISP is not known, and how many flows, the most frequent first.
    pub strangers: Vec<(IpAddr, u32)>,
}

/// How many flows left through an ISP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its name; several with commas between, where nothing tells them apart.
    pub isp: String,
    /// That many.
    pub flows: u32,
}

impl Measurement {
    /// What is known before anything is measured.
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            protocol: settings.protocol,
            destinations: Vec::new(),
            source: None,
            flows: settings.flows,
            rate: settings.rate,
            first_hop: settings.first_hop,
            max_hops: settings.max_hops,
            packets: 0,
            sent: 0,
            taken: Vec::new(),
            strangers: Vec::new(),
        }
    }

    /// Counts flows of an ISP.
    fn add(&mut self, isp: String, flows: u32) {
        match self.taken.iter_mut().find(|taken| taken.isp == isp) {
            Some(taken) => taken.flows += flows,
            None => self.taken.push(Taken { isp, flows }),
        }
    }

    /// Flows whose ISP is known.
    #[must_use]
    pub fn answered(&self) -> u32 {
        self.taken.iter().map(|taken| taken.flows).sum()
    }

    /// The shares of the ISPs, in the order of `taken`; nothing where too few flows tell.
    #[must_use]
    pub fn shares(&self) -> Option<Vec<Share>> {
        let flows: Vec<u32> = self.taken.iter().map(|taken| taken.flows).collect();
        shares(self.sent, &flows)
    }
}

/// Says why `target` is no list of hosts (and ports).
///
/// # Errors
/// One sentence.
pub fn check_target(settings: &Settings, target: &str) -> Result<(), String> {
    parse(settings, target).map(drop)
}

/// The hosts and ports of a target, with commas between.
fn parse<'t>(settings: &Settings, target: &'t str) -> Result<Vec<(&'t str, u16)>, String> {
    let carrier = match settings.protocol {
        Protocol::Udp => Carrier::Udp,
        Protocol::Tcp => Carrier::Tcp,
    };
    let parse = |target: &'t str| match host::zone(target) {
        Some(zone) => {
            Err(format!("a target with a zone leaves by that interface ({zone}), and by no other; write it without"))
        }
        None => host::parse_with_port(target, carrier).map(|(host, port)| (host, port.unwrap_or(settings.port))),
    };
    target.split(',').map(|target| parse(target.trim())).collect()
}

/// Measures: sends a packet of each flow to one hop after the other, at a steady pace, until a router tells whose it is.
///
/// # Errors
/// Why it went no further; also where too few flows tell.
pub async fn measure(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    let targets = parse(settings, &probe.request.target);
    let targets = targets.map_err(|why| probe.failure(Reason::ProberConfigError, why))?;
    let mut preference = settings.preference;
    for (host, port) in targets {
        let address = resolve(probe, host, preference).await?;
        measured.destinations.push(SocketAddr::new(address, port));
        // Ways of IPv4 and of IPv6 are two measurements.
        preference = Preference { family: Family::of(address), fallback: false };
    }

    probe.timeline.enter(Phase::Setup);
    probe.timeline.sent(Instant::now());
    let flows = vec![Flow::open(settings, probe, measured.destinations[0], None)?];
    measured.source = Some(flows[0].conversation.local());
    if has_one_way(settings, probe, &measured.destinations) {
        let conversation = &flows[0].conversation;
        probe.leaves_by(Some(conversation.local()), &conversation.heading())?;
    }
    probe.timeline.enter(Phase::Trace);

    let uplinks = probe.request.uplinks();
    // Nobody is asked for AS numbers that nothing is compared with.
    let wanted = settings.registry.as_ref().filter(|_| uplinks.iter().any(|uplink| !uplink.territory.asns.is_empty()));
    let inquiry = Inquiry::new(probe, false, wanted);
    let mut found = Found { uplinks, flows, by_systems: wanted.is_some(), announced: HashMap::new(), inquiry };
    found.count(measured);
    let outcome = found.survey(settings, probe, measured).await;
    if let Some(inquiry) = found.inquiry.take() {
        inquiry.finish(|fact| learn(&mut found.announced, fact)).await;
    }
    found.count(measured);
    outcome?;
    found.conclude(probe, measured)
}

/// Whether this host sends all flows one way, to whichever target.
fn has_one_way(settings: &Settings, probe: &Probe<'_>, destinations: &[SocketAddr]) -> bool {
    let (network, source) = (&probe.request.network, probe.source());
    let mut ways = destinations.iter().map(|to| {
        let heading =
            Heading { destination: to.ip(), protocol: Some(settings.protocol.number()), ports: Some((0, to.port())) };
        network.only_way_of_new(source, &heading).ok().flatten()
    });
    let first = ways.next().flatten();
    first.is_some() && ways.all(|way| way == first)
}

/// What is known of the flows.
struct Found<'p> {
    uplinks: Vec<Uplink<'p>>,
    flows: Vec<Flow>,
    /// Whether ISPs are known by AS numbers, too.
    by_systems: bool,
    /// The numbers of the systems that announce an address.
    announced: HashMap<IpAddr, Vec<u32>>,
    inquiry: Option<Inquiry<'p>>,
}

/// A flow: the packets of one port, and who answered them.
struct Flow {
    conversation: Conversation,
    /// By hop, from the first that is asked.
    routers: Vec<Vec<IpAddr>>,
    /// The router that the kernel hands its packets to, where that is the first hop that is asked.
    gateway: Option<IpAddr>,
    /// Whether its target answered.
    reached: bool,
}

impl Found<'_> {
    /// Sends the packets, and takes their answers.
    ///
    /// # Errors
    /// Why packets do not leave.
    async fn survey(
        &mut self,
        settings: &Settings,
        probe: &Probe<'_>,
        measured: &mut Measurement,
    ) -> Result<(), Failure> {
        let plan = Plan {
            flows: settings.flows,
            first_hop: settings.first_hop,
            max_hops: settings.max_hops,
            pause: Duration::from_secs(1) / settings.rate,
            wait: settings.wait,
            end: packets::end(probe),
        };
        let mut survey = Survey::new(plan, Instant::now());
        let mut until = probe.deadline;
        let mut last_arrival = None;
        loop {
            let answer = match self.flows[0].conversation.late_answer(until) {
                Some(answer) => answer,
                None => match survey.step(Instant::now()) {
                    Step::Send { number, flow, hop } => {
                        let departed = self.send(settings, probe, measured, (number, flow, hop))?;
                        if number == 0 {
                            probe.timeline.sent(instant_of(departed));
                        }
                        last_arrival = None;
                        continue;
                    }
                    Step::Wait(next) => {
                        (until, last_arrival) = (next, None);
                        match self.flows[0].conversation.answer_until(next).await {
                            Some(answer) => answer,
                            None => {
                                packets::awake(probe, next);
                                continue;
                            }
                        }
                    }
                    Step::Done => break,
                },
            };
            if !packets::in_time(probe, &answer) {
                continue;
            }
            let told = self.told(probe, &measured.destinations, &answer)?;
            let Some((flow, hop)) = survey.answered(answer.number, told) else { continue };
            last_arrival = Some(answer.arrived);
            probe.note(format_args!("flow {flow}, hop {hop}: {} after {:?}", answer.from, answer.rtt()));
            let index = flow as usize;
            let was_known = self.taken(&self.flows[index]).is_some();
            if is_end(&measured.destinations, &answer) {
                self.flows[index].reached = true;
            } else {
                self.flows[index].met(hop - plan.first_hop, answer.from);
            }
            // A probe that is cut keeps what it counted so far.
            if !was_known && let Some(owners) = self.taken(&self.flows[index]) {
                measured.add(owners.join(","), 1);
            }
            if self.learns() {
                (0..)
                    .zip(&self.flows)
                    .filter(|(_, flow)| self.taken(flow).is_some())
                    .for_each(|(flow, _)| survey.settle(flow));
            }
        }
        if let Some(arrived) = last_arrival {
            probe.timeline.received(instant_of(arrived));
        }
        Ok(())
    }

    /// Sends a packet of a flow, which is opened with its first.
    fn send(
        &mut self,
        settings: &Settings,
        probe: &Probe<'_>,
        measured: &mut Measurement,
        (number, flow, hop): (u32, u32, u8),
    ) -> Result<Stamp, Failure> {
        let destination = measured.destinations[flow as usize % measured.destinations.len()];
        // The first question of each flow comes in their order.
        if flow as usize == self.flows.len() {
            self.flows.push(Flow::open(settings, probe, destination, self.flows.first())?);
        }
        let shape = Shape { hop_limit: Some(hop), ..Shape::default() };
        let sent = self.flows[flow as usize].conversation.send(number, shape);
        let departed = sent.map_err(|refusal| packets::refused(probe, destination.ip(), &refusal))?;
        measured.packets += 1;
        measured.sent = self.flows.len() as u32;
        Ok(departed)
    }

    /// What an answer tells of its flow.
    ///
    /// # Errors
    /// A next hop that does not answer to its address.
    fn told(&mut self, probe: &Probe<'_>, destinations: &[SocketAddr], answer: &Answer) -> Result<Told, Failure> {
        if is_end(destinations, answer) {
            return Ok(Told::End);
        }
        let refused = match answer.reply {
            Reply::Error { ty, code, .. } => packets::is_unreachable(answer.from, ty).then_some((ty, code)),
            Reply::Echo | Reply::SynAck { .. } | Reply::Reset | Reply::Acknowledgement => None,
        };
        if let Some(says) = refused
            && let Some(failure) = packets::reported(probe, destinations[0].ip(), answer.from, says)
            && failure.reason == Reason::ArpUnresolved
        {
            return Err(failure);
        }
        if !owners(&self.uplinks, &self.router(answer.from)).is_empty() {
            // What said nothing before may be another's, and is asked again.
            return Ok(Told::End);
        }
        if let Some(inquiry) = &mut self.inquiry {
            inquiry.about(answer.from);
        }
        Ok(if refused.is_some() { Told::End } else { Told::Hop })
    }

    /// Takes what is known by now of those who answered; says whether that is more than before.
    fn learns(&mut self) -> bool {
        let before = self.announced.len();
        if let Some(inquiry) = &mut self.inquiry {
            inquiry.known(|fact| learn(&mut self.announced, fact));
        }
        self.announced.len() > before
    }

    fn router(&self, address: IpAddr) -> Router {
        Router { address, asns: self.announced.get(&address).cloned().unwrap_or_default() }
    }

    /// Whether an address might be an ISP's by an AS number that is not known yet.
    fn is_untold(&self, address: IpAddr) -> bool {
        let is_asked_for = self.by_systems && !self.announced.contains_key(&address);
        is_asked_for && owners(&self.uplinks, &self.router(address)).is_empty()
    }

    /// The ISPs that a flow took, as far as its routers tell.
    fn taken(&self, flow: &Flow) -> Option<Vec<&str>> {
        taken(&self.uplinks, &self.hops(flow))
    }

    /// Who was met at each hop of a flow, up to the last that answered.
    fn hops(&self, flow: &Flow) -> Vec<Vec<Router>> {
        let hops = flow.routers.iter().map(|hop| hop.iter().map(|address| self.router(*address)).collect());
        let mut hops: Vec<Vec<_>> = hops.collect();
        // Where the first hop says nothing, the kernel knows who it is.
        if let (Some(first), Some(gateway)) = (hops.first_mut(), flow.gateway)
            && first.is_empty()
        {
            first.push(self.router(gateway));
        }
        hops
    }

    /// Counts the flows by their ISPs. All ISPs that would be known are there.
    fn count(&self, measured: &mut Measurement) {
        let v4 = measured.destinations.iter().any(SocketAddr::is_ipv4);
        let is_known = |uplink: &&Uplink<'_>| {
            let Territory { networks, asns } = uplink.territory;
            let by_networks = networks.iter().any(|network| network.is_ipv4() == v4);
            by_networks || (self.by_systems && !asns.is_empty())
        };
        let known: Vec<_> = self.uplinks.iter().filter(is_known).collect();
        measured.taken.clear();
        for uplink in &known {
            let alike = known
                .iter()
                .filter(|other| other.name == uplink.name || are_one(other.territory, uplink.territory, v4));
            measured.add(alike.map(|uplink| uplink.name).collect::<Vec<_>>().join(","), 0);
        }
        for owners in self.flows.iter().filter_map(|flow| self.taken(flow)) {
            measured.add(owners.join(","), 1);
        }
    }

    /// Whether the flows told enough.
    fn conclude(&self, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
        let asked = usize::from(measured.max_hops - measured.first_hop) + 1;
        let (mut silent, mut reached, mut nameless, mut doubtful) = (0, 0, 0, 0);
        let mut unknown: Vec<&str> = Vec::new();
        for flow in self.flows.iter().filter(|flow| self.taken(flow).is_none()) {
            let answered = flow.routers.iter().filter(|hop| !hop.is_empty()).count();
            let doubted = doubted(&self.uplinks, &self.hops(flow));
            if flow.reached {
                reached += 1;
            } else if !doubted.is_empty() {
                doubtful += 1;
                unknown.extend(doubted.into_iter().filter(|isp| !unknown.contains(isp)).collect::<Vec<_>>());
            } else if flow.routers.iter().flatten().any(|address| self.is_untold(*address)) {
                nameless += 1;
            } else if answered < asked {
                silent += 1;
            } else if let Some(address) = flow.routers.iter().flatten().last() {
                match measured.strangers.iter_mut().find(|(known, _)| known == address) {
                    Some((_, flows)) => *flows += 1,
                    None => measured.strangers.push((*address, 1)),
                }
            }
        }
        measured.strangers.sort_by_key(|(_, flows)| std::cmp::Reverse(*flows));
        if measured.shares().is_some() {
            return Ok(());
        }
        let strange: u32 = measured.strangers.iter().map(|(_, flows)| flows).sum();
        let of = format!("of {} flows {} are known by their ISP", measured.sent, measured.answered());
        let (reason, detail) = if self.flows.iter().all(|flow| flow.routers.is_empty() && !flow.reached) {
            (Reason::IcmpTimeout, format!("no router answered any of {} flows", measured.sent))
        } else if nameless > silent.max(strange).max(reached) {
            let why = "met routers whose AS numbers nobody told in time";
            (Reason::DnsTimeout, format!("{of}; {nameless} {why}"))
        } else if doubtful > silent.max(strange).max(reached) {
            let unknown = unknown.join(", ");
            let why = format!("before an ISP's router {doubtful} met some that may be those of {unknown}");
            let mend =
                "give each ISP networks of both families, or have first_hop name the first hop behind your own routers";
            (Reason::ProberConfigError, format!("{of}; {why}: {mend}"))
        } else if silent >= strange + reached {
            let why = "too few to tell shares by, since answers are not missing by chance";
            (Reason::IcmpLossPartial, format!("{of}, {why}"))
        } else if strange >= reached {
            let some = measured.strangers.iter().take(3).map(|(address, _)| address.to_string());
            let (some, last) = (some.collect::<Vec<_>>().join(", "), measured.max_hops);
            let why = format!("{strange} met nobody else up to hop {last} than {some}, who are no ISP's");
            (Reason::ProberConfigError, format!("{of}; {why}"))
        } else {
            (Reason::ProberConfigError, format!("{of}; {reached} reached their target before"))
        };
        let phase = if reason == Reason::DnsTimeout { Phase::Lookup } else { Phase::Trace };
        Err(Failure { phase, ..probe.failure(reason, detail) })
    }
}

/// Keeps the AS numbers of an address.
fn learn(announced: &mut HashMap<IpAddr, Vec<u32>>, fact: Fact) {
    if let Fact::Systems(address, systems) = fact {
        announced.insert(address, systems.iter().map(|system| system.number).collect());
    }
}

impl Flow {
    /// Opens a flow as the host's other traffic would be; its answers go to the first one.
    ///
    /// A raw socket's packets take a way that the kernel chooses without their ports. Where it has several, each flow is sent the way that
    /// the kernel would choose with them.
    fn open(
        settings: &Settings,
        probe: &Probe<'_>,
        destination: SocketAddr,
        first: Option<&Self>,
    ) -> Result<Self, Failure> {
        let (network, source) = (&probe.request.network, probe.source());
        // Its port is anywhere among ours: the next ones in sequence are alike to some routers' hashes.
        let somewhere = net::Flow::Same(clock::now().as_nanos() as u64);
        let converse = |source: &Source| -> Result<Conversation, Failure> {
            let opened = match settings.protocol {
                Protocol::Udp => network.datagrams(source, destination, somewhere),
                Protocol::Tcp => network.syns(source, destination, Syns::Sequence, somewhere),
            };
            opened.map_err(|refusal: Refusal| packets::refused(probe, destination.ip(), &refusal))
        };
        let mut conversation = converse(source)?;
        let raw_way = |source: &Source, conversation: &Conversation| {
            network.way(source, Some(conversation.local()), &conversation.heading())
        };
        let mut raw = raw_way(source, &conversation);
        let ports = conversation.port().map(|port| (port, destination.port()));
        let traffic = Heading { destination: destination.ip(), protocol: Some(settings.protocol.number()), ports };
        if network.has_one_way(source, None, &traffic).is_ok_and(|one| !one)
            && let Ok(way) = network.way_of_new(source, &traffic)
        {
            let along = source.along(&way, Family::of(destination.ip()));
            conversation = converse(&along)?;
            raw = raw_way(&along, &conversation);
            if raw.as_ref().is_ok_and(|raw| raw.gateway != way.gateway) {
                let device = way.device;
                let detail = format!(
                    "this host's routes spread flows over several gateways of {device}, which packets of a raw socket do not follow"
                );
                return Err(probe.failure(Reason::ProberConfigError, detail));
            }
        }
        let conversation = match first {
            Some(first) => conversation.answered_by(&first.conversation),
            None => conversation,
        };
        let gateway = raw.ok().and_then(|way| way.gateway).filter(|_| settings.first_hop == 1);
        Ok(Self { conversation, routers: Vec::new(), gateway, reached: false })
    }

    fn met(&mut self, index: u8, address: IpAddr) {
        let index = usize::from(index);
        if self.routers.len() <= index {
            self.routers.resize(index + 1, Vec::new());
        }
        let hop = &mut self.routers[index];
        if !hop.contains(&address) {
            hop.push(address);
        }
    }
}

/// Whether an answer is a target's.
fn is_end(destinations: &[SocketAddr], answer: &Answer) -> bool {
    destinations.iter().any(|destination| destination.ip() == answer.from)
}
