//! Traceroute: every hop at once, in one flow.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::resolve::{Preference, resolve};
use super::{Probe, host, packets};
use crate::flight::Phase;
use crate::flight::trace::{Plan, Step, Trace};
use crate::net::clock::instant_of;
use crate::net::{Answer, Conversation, Refusal, Reply, Shape, Syns};
use crate::path::Statistics;
use crate::verdict::{Failure, Reason};

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
    /// Who answered, the most frequent first.
    pub routers: Vec<Router>,
}

/// A router of a hop, or the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// The address that it answers from.
    pub address: IpAddr,
    /// How often it did.
    pub answers: u32,
}

impl Router {
    /// A router that has not answered yet.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self { address, answers: 0 }
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
    match settings.protocol {
        Protocol::Icmp => host::parse(target).map(|host| (host, 0)),
        Protocol::Udp | Protocol::Tcp => {
            host::parse_with_port(target).map(|(host, port)| (host, port.unwrap_or(settings.port)))
        }
    }
}

/// Measures: sends packets to all hops at once, in rounds, and waits for what their routers and the destination say.
///
/// # Errors
/// Why it went no further; also where the destination did not answer, or forbade it.
pub async fn measure(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    let (host, port) =
        parse(settings, &probe.request.target).map_err(|why| probe.failure(Reason::ProberConfigError, why))?;
    measured.port = (settings.protocol != Protocol::Icmp).then_some(port);
    let destination = resolve(probe, host, settings.preference).await?;
    measured.destination = Some(destination);

    probe.timeline.enter(Phase::Setup);
    probe.timeline.sent(Instant::now());
    let refused = |refusal: Refusal| packets::refused(probe, destination, &refusal);
    let mut conversation = open(settings.protocol, probe, destination, port).map_err(refused)?;
    measured.source = Some(conversation.local());
    measured.packet_size = Some(conversation.packet_size());
    probe.timeline.enter(Phase::Trace);

    let plan = Plan {
        first_hop: settings.first_hop,
        max_hops: settings.max_hops,
        rounds: settings.count,
        interval: settings.interval,
        wait: settings.wait,
        end: packets::end(probe),
    };
    let mut trace = Trace::new(plan, Instant::now());
    let mut ended = None;
    let mut last_arrival = None;
    let mut until = probe.deadline;
    loop {
        let answer = match conversation.late_answer(until) {
            Some(answer) => answer,
            None => match trace.step(Instant::now()) {
                Step::Send { number, hop } => {
                    let shape = Shape { hop_limit: Some(hop), dont_fragment: false };
                    let departed = conversation.send(number, shape).map_err(refused)?;
                    if let Some(hop) = measured.hop(plan.first_hop, hop) {
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
                    match conversation.answer_until(next).await {
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
        let meaning = meaning(probe, destination, &answer);
        if let Meaning::Refused(failure) = &meaning
            && failure.reason == Reason::ArpUnresolved
        {
            return Err(failure.clone());
        }
        let ends = !matches!(meaning, Meaning::Hop);
        let Some(hop) = trace.answered(answer.number, answer.rtt(), ends) else { continue };
        last_arrival = Some(answer.arrived);
        probe.note(format_args!("hop {hop}: {} after {:?}: {:?}", answer.from, answer.rtt(), answer.reply));
        match meaning {
            Meaning::Hop => {}
            Meaning::Destination => measured.reached = true,
            Meaning::Refused(failure) => {
                measured.reached |= answer.from == destination;
                ended = Some(failure);
            }
        }
        take(&answer, hop, &trace, plan.first_hop, measured);
    }
    // A trace that is over with an answer was over when it arrived; the rest is ours.
    if let Some(arrived) = last_arrival {
        probe.timeline.received(instant_of(arrived));
    }
    match ended {
        // Where a router refuses some packets and the destination answers others, it was reached all the same.
        Some(failure) if !measured.reached || failure.offender == Some(destination) => Err(failure),
        _ if measured.reached => Ok(()),
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

fn open(protocol: Protocol, probe: &Probe<'_>, destination: IpAddr, port: u16) -> Result<Conversation, Refusal> {
    let (network, source) = (&probe.request.network, probe.source());
    match protocol {
        Protocol::Icmp => network.echo(source, destination, ECHO_PAYLOAD),
        Protocol::Udp => network.datagrams(source, SocketAddr::new(destination, port)),
        Protocol::Tcp => network.syns(source, SocketAddr::new(destination, port), Syns::Sequence),
    }
}

/// Bytes of payload of an echo request: those of `ping`, which some firewalls expect.
const ECHO_PAYLOAD: usize = 56;

/// What an answer means for the path.
enum Meaning {
    /// It goes on.
    Hop,
    /// It is at its end.
    Destination,
    /// It ends there, since somebody says that it goes no further.
    Refused(Failure),
}

fn meaning(probe: &Probe<'_>, destination: IpAddr, answer: &Answer) -> Meaning {
    match answer.reply {
        Reply::Echo | Reply::SynAck { .. } | Reply::Reset => Meaning::Destination,
        Reply::Error { ty, code } => {
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
fn take(answer: &Answer, number: u8, trace: &Trace, first_hop: u8, measured: &mut Measurement) {
    let end = trace.end_hop().unwrap_or(u8::MAX);
    for hop in (first_hop..=number.min(end)).skip(measured.hops.len()) {
        measured.hops.push(Hop { number: hop, sent: trace.sent(hop), ..Hop::default() });
    }
    measured.hops.retain(|hop| hop.number <= end);
    if let Some(hop) = measured.hop(first_hop, number) {
        hop.received += 1;
        hop.rtt.add(answer.rtt());
        hop.router(answer.from).answers += 1;
        hop.routers.sort_by_key(|router| Reverse(router.answers));
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
            hops: Vec::new(),
        }
    }

    /// The hop of a number, if it is among those that are known.
    fn hop(&mut self, first_hop: u8, number: u8) -> Option<&mut Hop> {
        self.hops.get_mut(usize::from(number.checked_sub(first_hop)?))
    }
}

impl Hop {
    /// The router of an address; where it has said nothing yet, a new one.
    fn router(&mut self, address: IpAddr) -> &mut Router {
        let known = self.routers.iter().position(|router| router.address == address);
        let at = known.unwrap_or(self.routers.len());
        if known.is_none() {
            self.routers.push(Router::new(address));
        }
        &mut self.routers[at]
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::sync::Arc;

    use super::*;
    use crate::net::{Network, Source};
    use crate::probe::{Module, Prober, Report, Request, run};

    const MS: Duration = Duration::from_millis(1);

    fn settings(protocol: Protocol) -> Settings {
        Settings {
            protocol,
            port: 33434,
            count: 3,
            interval: 20 * MS,
            wait: 500 * MS,
            first_hop: 1,
            max_hops: 20,
            preference: Preference::default(),
        }
    }

    async fn probe(target: String, settings: Settings) -> Report {
        run(&Request {
            target,
            module: Arc::new(Module {
                name: "trace".into(),
                prober: Prober::Traceroute(settings),
                source: Source::default(),
                timeout: None,
                isp: None,
                resolvers: Vec::new(),
                yaml: String::new(),
            }),
            isp: None,
            hostname: None,
            timeout: 2000 * MS,
            log_limit: usize::MAX,
            network: Arc::new(Network::new()),
        })
        .await
    }

    /// A port of loopback where somebody listens.
    fn listener(address: IpAddr) -> std::net::TcpListener {
        std::net::TcpListener::bind((address, 0)).unwrap()
    }

    #[tokio::test]
    async fn loopback_is_one_hop_away_by_every_protocol_and_in_both_families() {
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let open = listener(address);
            let cases = [
                (Protocol::Icmp, address.to_string()),
                (Protocol::Udp, address.to_string()),
                (Protocol::Tcp, address.to_string()),
                (Protocol::Tcp, open.local_addr().unwrap().to_string()),
            ];
            for (protocol, target) in cases {
                let report = probe(target.clone(), settings(protocol)).await;
                if crate::probe::packets::tests::not_permitted(&report) {
                    return;
                }
                let crate::probe::Measurement::Traceroute(measured) = &report.measurement else {
                    panic!("a traceroute probe measures a path")
                };
                assert_eq!(report.failure, None, "{protocol:?} {target}");
                assert!(measured.reached);
                assert_eq!((measured.protocol, measured.rounds), (protocol, 3));
                assert_eq!((measured.first_hop, measured.max_hops), (1, 20));
                assert_eq!((measured.source, measured.destination), (Some(address), Some(address)));
                let header = if address.is_ipv4() { 20 } else { 40 };
                let (port, size) = match protocol {
                    Protocol::Icmp => (None, 64),
                    Protocol::Udp => (Some(33434), 10),
                    Protocol::Tcp => (Some(target.parse::<SocketAddr>().map_or(33434, |target| target.port())), 36),
                };
                assert_eq!((measured.port, measured.packet_size), (port, Some(header + size)));
                let [hop] = &measured.hops[..] else { panic!("{protocol:?} {target}: {measured:?}") };
                assert_eq!((hop.number, hop.sent, hop.received), (1, 3, 3), "{protocol:?} {target}: {:?}", report.log);
                assert_eq!(hop.routers, [Router { address, answers: 3 }]);
                assert!(hop.rtt.worst().unwrap() < 0.005, "{hop:?}");

                let phases: Vec<_> = report.phases.iter().map(|(phase, _)| *phase).collect();
                assert_eq!(phases, [Phase::Resolve, Phase::Setup, Phase::Trace]);
                let sum = report.phases.iter().map(|(_, span)| *span).sum::<Duration>() + report.overhead;
                assert!(sum.abs_diff(report.duration) < MS);
            }
            open.set_nonblocking(true).unwrap();
            assert!(open.accept().is_err(), "a trace must not open a connection");
        }
    }

    #[tokio::test]
    async fn the_last_hop_that_there_can_be_is_one_hop() {
        let far = Settings { first_hop: 255, max_hops: 255, ..settings(Protocol::Icmp) };
        let report = probe(Ipv4Addr::LOCALHOST.to_string(), far).await;
        if crate::probe::packets::tests::not_permitted(&report) {
            return;
        }
        let crate::probe::Measurement::Traceroute(measured) = &report.measurement else {
            panic!("a traceroute probe measures a path")
        };
        assert_eq!(report.failure, None);
        let hops: Vec<_> = measured.hops.iter().map(|hop| (hop.number, hop.sent, hop.received)).collect();
        assert_eq!(hops, [(255, 3, 3)]);
    }

    #[test]
    fn only_traces_with_ports_take_a_port() {
        assert!(check_target(&settings(Protocol::Tcp), "example.org:443").is_ok());
        assert!(check_target(&settings(Protocol::Udp), "[2001:db8::1]:53").is_ok());
        assert!(check_target(&settings(Protocol::Icmp), "example.org").is_ok());
        assert!(check_target(&settings(Protocol::Icmp), "example.org:443").is_err());
        assert!(check_target(&settings(Protocol::Tcp), "https://example.org").is_err());
    }
}
