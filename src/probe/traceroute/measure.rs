//! The packets of a trace, and what their answers mean.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::flows::{Exploration, Flows, News};
use super::{Hop, Measurement, Protocol, Router, Settings, mtu, parse};
use crate::flight::Phase;
use crate::flight::bundle::Step;
use crate::flight::trace::{Plan, Trace};
use crate::fnv::Fnv;
use crate::net::clock::instant_of;
use crate::net::{Answer, Conversation, Flow, RESETS, Refusal, Reply, Shape, Syns};
use crate::probe::identity::{Fact, Inquiry};
use crate::probe::resolve::resolve;
use crate::probe::{Probe, packets};
use crate::verdict::{Failure, Reason};
use crate::wire::tcp::mss_within;

/// Measures: sends packets to all hops at once, in rounds, waits for what their routers and the destination say, and finds out who they are.
///
/// # Errors
/// Why it went no further; also where the destination did not answer, or forbade it.
pub async fn measure(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    let mut inquiry = Inquiry::new(probe, settings.names, settings.registry.as_ref());
    let outcome = trace(settings, probe, measured, &mut inquiry).await;
    measured.clamp = measured.clamping();
    measured.analysis = measured.meaning(|router| probe.is_of_isp(router));
    if let Some(inquiry) = inquiry {
        inquiry.finish(|fact| measured.learn(fact)).await;
        measured.analysis = measured.meaning(|router| probe.is_of_isp(router));
    }
    outcome
}

async fn trace(
    settings: &Settings,
    probe: &Probe<'_>,
    measured: &mut Measurement,
    inquiry: &mut Option<Inquiry<'_>>,
) -> Result<(), Failure> {
    let (host, port) =
        parse(settings, &probe.request.target).map_err(|why| probe.failure(Reason::ProberConfigError, why))?;
    measured.port = (settings.protocol != Protocol::Icmp).then_some(port);
    let destination = resolve(probe, host, settings.preference).await?;
    measured.destination = Some(destination);

    probe.timeline.enter(Phase::Setup);
    probe.timeline.sent(Instant::now());
    let refused = |refusal: Refusal| packets::refused(probe, destination, &refusal);
    let opened = |flow| open(settings.protocol, probe, destination, port, flow);
    let conversation = opened(0).map_err(refused)?;
    measured.source = Some(conversation.local());
    probe.leaves_by(measured.source, &conversation.heading())?;
    measured.packet_size = Some(conversation.packet_size());
    let device = settings.pmtu.then(|| mtu::of_device(probe, &conversation)).flatten();
    // As the kernel's own TCP does.
    let mss = device.map(|device| mss_within(device, destination.is_ipv6()));
    let conversation = conversation.offering(mss);
    let opened = |flow| opened(flow).map(|conversation| conversation.offering(mss));
    measured.offered_mss = conversation.offered();
    probe.timeline.enter(Phase::Trace);

    let plan = settings.plan(packets::end(probe));
    let mut exploration = Exploration::new(plan, settings.flows, probe.request.pace(), Instant::now());
    let mut conversations = vec![conversation];
    let ended = follow(&mut exploration, &mut conversations, opened, probe, destination, measured, inquiry).await;
    measured.lose(exploration.first().lost());
    measured.balance = exploration.balance();
    match ended? {
        // Where a router refuses some packets and the destination answers others, it was reached all the same.
        Some(failure) if !measured.reached || failure.offender == Some(destination) => Err(failure),
        _ if measured.reached => {
            if let (Some(device), Some(conversation)) = (device, conversations.first_mut()) {
                mtu::measure(settings, probe, conversation, (exploration.next_number(), device), measured).await;
            }
            Ok(())
        }
        _ => {
            let detail = format!("{destination} did not answer within {} hops", settings.max_hops);
            let reason = match settings.protocol {
                Protocol::Icmp | Protocol::Udp => Reason::IcmpTimeout,
                Protocol::Tcp => Reason::ConnectionTimeout,
            };
            Err(probe.failure(reason, detail))
        }
    }
}

/// The shortest time after which a packet is lost on a path whose destination has answered; and three times the slowest answer.
const PATIENCE: Duration = Duration::from_millis(200);

/// How the trace of one flow ended.
pub(in crate::probe) struct Ended {
    /// Who said last that its packets go no further, if anybody did.
    pub(in crate::probe) refused: Option<Failure>,
    /// Whether the destination had the connection before, and answered no SYN since it was told the end of it: these are lost, or that was.
    pub(in crate::probe) unheard: bool,
    /// How long it took, without finding out who its routers are.
    pub(in crate::probe) took: Duration,
}

/// Traces one flow, that of a conversation.
///
/// # Errors
/// Why packets do not leave.
pub(in crate::probe) async fn again(
    settings: &Settings,
    probe: &Probe<'_>,
    conversation: Conversation,
    destination: IpAddr,
    measured: &mut Measurement,
) -> Result<Ended, Failure> {
    let mut inquiry = Inquiry::new(probe, settings.names, settings.registry.as_ref());
    measured.source = Some(conversation.local());
    measured.packet_size = Some(conversation.packet_size());
    probe.timeline.enter(Phase::Trace);
    let begun = Instant::now();
    // The little time that it has is not for waiting, as that of a trace is which is made every minute.
    let mut exploration = Exploration::new(settings.plan(packets::end(probe)), Flows::Count(1), Arc::default(), begun);
    let alone = |_| Err(Refusal::Exhausted("one flow"));
    let mut conversations = vec![conversation];
    let ended = follow(&mut exploration, &mut conversations, alone, probe, destination, measured, &mut inquiry).await;
    let took = begun.elapsed();
    // What it still hears is to be forgotten before who is asked for names.
    drop(conversations);
    measured.lose(exploration.first().lost());
    // The time was over before the longest wait was; how long the path takes is known.
    if measured.reached {
        let slowest = measured.hops.iter().filter_map(|hop| hop.rtt.worst()).fold(0.0, f64::max);
        let patience = PATIENCE.max(Duration::from_secs_f64(slowest) * 3);
        measured.lose(exploration.first().overdue(patience, begun + took));
    }
    if let Some(inquiry) = inquiry {
        inquiry.finish(|fact| measured.learn(fact)).await;
    }
    measured.analysis = measured.meaning(|router| probe.is_of_isp(router));
    let unheard = exploration.is_anew() && exploration.first().end_hop().is_none();
    Ok(Ended { refused: ended?, unheard, took })
}

/// Sends the packets of a trace, and takes their answers; `open` opens the conversation of another flow. Returns who said last that the packets
/// of the first flow go no further, if anybody did.
///
/// # Errors
/// Why packets do not leave.
async fn follow(
    exploration: &mut Exploration,
    conversations: &mut Vec<Conversation>,
    open: impl Fn(usize) -> Result<Conversation, Refusal>,
    probe: &Probe<'_>,
    destination: IpAddr,
    measured: &mut Measurement,
    inquiry: &mut Option<Inquiry<'_>>,
) -> Result<Option<Failure>, Failure> {
    let mut ended = None;
    let mut last_arrival = None;
    let mut until = probe.deadline;
    let mut others = BTreeMap::new();
    loop {
        // All answers come to the first.
        let answer = match conversations[0].late_answer(until) {
            Some(answer) => answer,
            None => match exploration.step(Instant::now()) {
                Step::Send { flow, number, hop } => {
                    if flow == conversations.len() {
                        match open(flow) {
                            Ok(conversation) => conversations.push(conversation.answered_by(&conversations[0])),
                            Err(refusal) => {
                                probe.note(format_args!("{flow} flows are all that can be had: {refusal}"));
                                exploration.cut(flow);
                                continue;
                            }
                        }
                    }
                    // Flows begin in their order.
                    let Some(conversation) = conversations.get_mut(flow) else { continue };
                    let shape = Shape { hop_limit: Some(hop), ..Shape::default() };
                    let sent = conversation.send(number, shape);
                    let departed = sent.map_err(|refusal| packets::refused(probe, destination, &refusal))?;
                    measured.packets += 1;
                    measured.flows = conversations.len();
                    if let Some(hop) = measured.hop(hop).filter(|_| exploration.is_first(number)) {
                        hop.sent += 1;
                    }
                    if number == 0 {
                        probe.timeline.sent(instant_of(departed));
                    }
                    last_arrival = None;
                    continue;
                }
                Step::Wait(next) => {
                    (until, last_arrival) = (next, None);
                    match conversations[0].answer_until(next).await {
                        Some(answer) => answer,
                        None => {
                            packets::awake(probe, next);
                            continue;
                        }
                    }
                }
                Step::Over(_) | Step::Done => break,
            },
        };
        if !packets::in_time(probe, &answer) {
            continue;
        }
        // It says nothing of a hop.
        if answer.reply == Reply::Acknowledgement {
            probe.note(format_args!("{destination}: {}", answer.reply));
            measured.reached = true;
            if exploration.begin_anew(Instant::now() + RESETS) {
                measured.hops.clear();
            }
            continue;
        }
        let meaning = meaning(probe, destination, &answer);
        if let Meaning::Refused(failure) = &meaning
            && failure.reason == Reason::ArpUnresolved
        {
            return Err(failure.clone());
        }
        let ends = !matches!(meaning, Meaning::Hop);
        let Some(News { flow, hop, counts }) = exploration.answered(&answer, ends, Instant::now()) else { continue };
        last_arrival = Some(answer.arrived);
        let (from, rtt) = (answer.from, answer.rtt());
        probe.note(format_args!("hop {hop} of flow {}: {from} after {rtt:?}: {}", flow + 1, answer.reply));
        if let Some(inquiry) = inquiry {
            inquiry.about(from);
        }
        if !counts {
            router(others.entry(hop).or_default(), from).answered(&answer.reply);
            continue;
        }
        match meaning {
            Meaning::Hop => {}
            Meaning::Destination => measured.reached = true,
            Meaning::Refused(failure) => {
                measured.reached |= from == destination;
                ended = Some(failure);
            }
        }
        take(&answer, hop, exploration.first(), measured);
    }
    // A trace that is over with an answer was over when it arrived; the rest is ours.
    if let Some(arrived) = last_arrival {
        probe.timeline.received(instant_of(arrived));
    }
    for hop in &mut measured.hops {
        hop.others = others.remove(&hop.number).unwrap_or_default();
        hop.others.retain(|router| hop.routers.iter().all(|known| known.address != router.address));
        hop.others.sort_by_key(|router| Reverse(router.answers));
    }
    Ok(ended)
}

/// A conversation of a flow, from 0.
fn open(
    protocol: Protocol,
    probe: &Probe<'_>,
    destination: IpAddr,
    port: u16,
    flow: usize,
) -> Result<Conversation, Refusal> {
    let (network, source) = (&probe.request.network, probe.source());
    // The same flows in every probe of a module: else it would be by chance which of several paths one sees.
    let mut hash = Fnv::salted(flow as u64);
    hash.add(probe.request.module.name.as_bytes());
    hash.add_address(destination);
    hash.add(&port.to_be_bytes());
    let flow = Flow::Same(hash.finish());
    match protocol {
        Protocol::Icmp => network.echo(source, destination, ECHO_PAYLOAD, flow),
        Protocol::Udp => network.datagrams(source, SocketAddr::new(destination, port), flow),
        Protocol::Tcp => network.syns(source, SocketAddr::new(destination, port), Syns::Sequence, flow),
    }
}

/// Bytes of payload of an echo request: those of `ping`, which some firewalls expect.
const ECHO_PAYLOAD: usize = 56;

/// What an answer means for the path.
pub(super) enum Meaning {
    /// It goes on.
    Hop,
    /// It is at its end.
    Destination,
    /// It ends there, since somebody says that it goes no further.
    Refused(Failure),
}

/// What an answer means for the path to a destination.
pub(super) fn meaning(probe: &Probe<'_>, destination: IpAddr, answer: &Answer) -> Meaning {
    match answer.reply {
        Reply::Echo | Reply::SynAck { .. } | Reply::Reset | Reply::Acknowledgement => Meaning::Destination,
        Reply::Error { ty, code, .. } => {
            if !packets::is_unreachable(answer.from, ty) {
                return Meaning::Hop;
            }
            match packets::reported(probe, destination, answer.from, (ty, code)) {
                Some(failure)
                    if answer.from == destination
                        && matches!(failure.reason, Reason::PortUnreachable | Reason::ProtocolUnreachable) =>
                {
                    Meaning::Destination
                }
                Some(failure) => Meaning::Refused(failure),
                None => Meaning::Hop,
            }
        }
    }
}

/// Counts an answer of a hop, and keeps what lies beyond the end of the path out.
fn take(answer: &Answer, number: u8, trace: &Trace, measured: &mut Measurement) {
    let end = trace.end_hop().unwrap_or(u8::MAX);
    for hop in (measured.first_hop..=number.min(end)).skip(measured.hops.len()) {
        measured.hops.push(Hop { number: hop, sent: trace.sent(hop), ..Hop::default() });
    }
    measured.hops.retain(|hop| hop.number <= end);
    if let Reply::SynAck { mss, .. } = answer.reply {
        measured.mss = mss.or(measured.mss);
    }
    if let Some(hop) = measured.hop(number) {
        hop.received += 1;
        hop.rtt.add(answer.rtt());
        hop.latest = hop.latest.max(Some((answer.number, answer.from)));
        router(&mut hop.routers, answer.from).answered(&answer.reply);
        hop.routers.sort_by_key(|router| Reverse(router.answers));
    }
}

impl Settings {
    /// What its first flow does until `end`.
    fn plan(&self, end: Instant) -> Plan {
        Plan {
            first_hop: self.first_hop,
            max_hops: self.max_hops,
            rounds: self.count,
            interval: self.interval,
            wait: self.wait,
            end,
        }
    }
}

impl Measurement {
    /// Counts what was lost of each hop.
    fn lose(&mut self, lost: impl Iterator<Item = u8>) {
        for number in lost {
            if let Some(hop) = self.hop(number) {
                hop.lost += 1;
            }
        }
    }

    /// Takes something that is known of its routers now.
    fn learn(&mut self, fact: Fact) {
        let routers = self.hops.iter_mut().flat_map(|hop| hop.routers.iter_mut().chain(&mut hop.others));
        match fact {
            Fact::Name(address, name) => {
                routers.filter(|router| router.address == address).for_each(|router| router.name = Some(name.clone()));
            }
            Fact::Systems(address, systems) => {
                for router in routers.filter(|router| router.address == address) {
                    router.systems.clone_from(&systems);
                    router.systems_said = true;
                }
            }
            Fact::System(number, name) => {
                let systems = routers.flat_map(|router| &mut router.systems);
                systems.filter(|system| system.number == number).for_each(|system| system.name = Some(name.clone()));
            }
        }
    }
}

/// The router of an address; where it has said nothing yet, a new one.
fn router(routers: &mut Vec<Router>, address: IpAddr) -> &mut Router {
    let known = routers.iter().position(|router| router.address == address);
    let at = known.unwrap_or(routers.len());
    if known.is_none() {
        routers.push(Router::new(address));
    }
    &mut routers[at]
}

impl Router {
    /// Takes an answer.
    fn answered(&mut self, reply: &Reply) {
        self.answers += 1;
        if let Reply::Error { ty, code, labels, mtu: _, mss } = reply {
            self.mss = mss.or(self.mss);
            if !packets::is_time_exceeded(self.address, (*ty, *code)) {
                self.error = Some((*ty, *code));
            }
            if !labels.is_empty() {
                self.labels.clone_from(labels);
            }
        }
    }
}
