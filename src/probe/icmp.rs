//! ICMP echo: loss and round-trip times.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::resolve::{Preference, resolve};
use super::{Probe, host, packets};
use crate::flight::Phase;
use crate::flight::series::{Series, Step};
use crate::net::clock::instant_of;
use crate::net::{Answer, Conversation, Family, Flow, Refusal, Reply, Shape, SourceError};
use crate::path::Statistics;
use crate::verdict::{Failure, Reason};

/// The `icmp:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// Echo requests.
    pub count: u32,
    /// Time between them.
    pub interval: Duration,
    /// Bytes after the ICMP header.
    pub payload_size: usize,
    /// Hop limit; nothing leaves the kernel's.
    pub ttl: Option<u8>,
    /// Whether packets of IPv4 may not be split on the way. Those of IPv6 no router may split; this host does where they are too large, as
    /// for blackbox_exporter.
    pub dont_fragment: bool,
    /// Raw socket (needs CAP_NET_RAW) or datagram socket; nothing takes the first that works.
    pub raw: Option<bool>,
    /// The address family.
    pub preference: Preference,
}

/// What an icmp probe measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurement {
    /// Requests that were asked for.
    pub count: u32,
    /// Bytes after the ICMP header of each.
    pub payload_size: usize,
    /// Their hop limit; nothing where the kernel chose.
    pub ttl: Option<u8>,
    /// Whether they might not be split on the way.
    pub dont_fragment: bool,
    /// The address that they left from; nothing where the kernel chose it for a datagram socket, and before there was a socket.
    pub source: Option<IpAddr>,
    /// Requests that left.
    pub sent: u32,
    /// Requests that were answered.
    pub received: u32,
    /// Round-trip times of the answered, by kernel stamps.
    pub rtt: Statistics,
    /// The hop limit that the last reply arrived with.
    pub reply_hop_limit: Option<u8>,
    /// Whether the socket was a raw one.
    pub raw: Option<bool>,
}

impl Measurement {
    /// What is known before anything is measured.
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            count: settings.count,
            payload_size: settings.payload_size,
            ttl: settings.ttl,
            dont_fragment: settings.dont_fragment,
            ..Self::default()
        }
    }
}

/// Says why `target` is not a host.
///
/// # Errors
/// One sentence.
pub fn check_target(target: &str) -> Result<(), String> {
    host::parse(target).map(drop)
}

/// Measures: sends the echo requests, and waits for replies until all came or the deadline is near. One reply makes it a success.
///
/// # Errors
/// Why it went no further.
pub async fn measure(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    let target = &probe.request.target;
    let host = host::parse(target).map_err(|why| probe.failure(Reason::ProberConfigError, why))?;
    let destination = resolve(probe, host, settings.preference).await?;

    probe.timeline.enter(Phase::Setup);
    probe.timeline.sent(Instant::now());
    let (mut conversation, raw) = open(settings, probe, destination)?;
    measured.raw = Some(raw);
    measured.source = Some(conversation.local())
        .filter(|local| !local.is_unspecified())
        .or_else(|| probe.source().address(Family::of(destination)));
    probe.leaves_by(measured.source, &conversation.heading())?;
    measured.dont_fragment &= destination.is_ipv4();
    let shape = Shape { hop_limit: settings.ttl, dont_fragment: measured.dont_fragment, size: None };

    let mut series = Series::new(settings.count, settings.interval, packets::end(probe));
    let mut said = None;
    let mut until = probe.deadline;
    loop {
        let answer = match conversation.late_answer(until) {
            Some(answer) => answer,
            None => match series.step(Instant::now()) {
                Step::Send(number) => {
                    // The phases of a series are cut at its first and its last departure.
                    match (number == 0, series.all_sent()) {
                        (_, true) => probe.timeline.enter(Phase::Rtt),
                        (true, false) => probe.timeline.enter(Phase::Interval),
                        (false, false) => {}
                    }
                    let departed = conversation
                        .send(number, shape)
                        .map_err(|refusal| packets::refused(probe, destination, &refusal))?;
                    measured.sent += 1;
                    probe.timeline.sent(instant_of(departed));
                    continue;
                }
                Step::Wait(next) => {
                    until = next;
                    if series.all_sent() {
                        probe.timeline.waiting(Instant::now());
                    }
                    match conversation.answer_until(next).await {
                        Some(answer) => answer,
                        None => {
                            match series.all_sent() {
                                true => probe.timeline.waited(next),
                                false => packets::awake(probe, next),
                            }
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
        if series.all_sent() {
            probe.timeline.received(instant_of(answer.arrived));
        }
        match answer.reply {
            Reply::Error { ty, code, .. } => {
                // Redirects and the like speak of packets that go on.
                let failure = packets::reported(probe, destination, answer.from, (ty, code));
                let Some(failure) = failure else { continue };
                series.failed(answer.number);
                probe.note(format_args!("packet {}: {}", answer.number, failure.detail));
                if measured.received == 0 && packets::is_unreachable(answer.from, ty) {
                    return Err(failure);
                }
                said = Some(failure);
            }
            Reply::Echo => take(&answer, &mut series, probe, measured),
            Reply::SynAck { .. } | Reply::Reset | Reply::Acknowledgement => {}
        }
    }
    match (measured.received, said) {
        (1.., _) => Ok(()),
        (0, Some(failure)) => Err(failure),
        (0, None) => {
            let detail = format!("{destination} answered none of {} echo requests", measured.sent);
            Err(probe.failure(Reason::IcmpTimeout, detail))
        }
    }
}

/// A conversation by a raw socket or a datagram one, and whether it is raw.
fn open(settings: &Settings, probe: &Probe<'_>, destination: IpAddr) -> Result<(Conversation, bool), Failure> {
    let (network, source) = (&probe.request.network, probe.source());
    let raw = || {
        network.echo(source, destination, settings.payload_size, Flow::Next).map(|conversation| (conversation, true))
    };
    let datagram =
        || network.ping(source, destination, settings.payload_size).map(|conversation| (conversation, false));
    let opened = match settings.raw {
        Some(true) => raw(),
        Some(false) => datagram(),
        None => match raw() {
            Err(Refusal::Source(SourceError::NotPermitted(..))) => datagram(),
            opened => opened,
        },
    };
    opened.map_err(|refusal| {
        let failure = packets::refused(probe, destination, &refusal);
        let raw = match (&refusal, settings.raw) {
            (Refusal::Source(SourceError::PingNotAllowed(_)), Some(false)) => {
                "; the module's `raw: false` asks for one"
            }
            (Refusal::Source(SourceError::PingNotAllowed(_)), _) => "; a raw one needs CAP_NET_RAW",
            _ => "",
        };
        Failure { detail: failure.detail + raw, ..failure }
    })
}

/// Counts a reply, unless it is a duplicate.
fn take(answer: &Answer, series: &mut Series, probe: &Probe<'_>, measured: &mut Measurement) {
    if !series.answered(answer.number) {
        probe.note(format_args!("packet {}: a duplicate reply", answer.number));
        return;
    }
    measured.received += 1;
    measured.rtt.add(answer.rtt());
    measured.reply_hop_limit = answer.hop_limit;
    probe.note(format_args!("packet {}: a reply after {:?}", answer.number, answer.rtt()));
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::sync::Arc;

    use super::*;
    use crate::net::{Network, Source};
    use crate::probe::{Isp, Module, Prober, Report, Request, run, testing};

    const MS: Duration = Duration::from_millis(1);

    fn settings() -> Settings {
        Settings {
            count: 1,
            interval: 10 * MS,
            payload_size: 56,
            ttl: None,
            dont_fragment: false,
            raw: Some(true),
            preference: Preference::default(),
        }
    }

    async fn probe(target: &str, source: Source, timeout: Duration, settings: Settings) -> Report {
        let prober = Prober::Icmp(settings);
        let isp = Isp { name: "a".into(), source, ..Isp::default() };
        run(&Request {
            target: target.into(),
            module: Arc::new(Module {
                name: "icmp".into(),
                prober,
                source: Source::default(),
                timeout: None,
                isp: None,
                resolvers: Vec::new(),
                slow: crate::verdict::Slow::default(),
                yaml: String::new(),
            }),
            isp: Some(Arc::new(isp)),
            zoned: None,
            isps: Arc::default(),
            hostname: None,
            timeout,
            log_limit: usize::MAX,
            network: Arc::new(Network::new()),
            identities: Arc::default(),
        })
        .await
    }

    fn measured(report: &Report) -> &Measurement {
        match &report.measurement {
            crate::probe::Measurement::Icmp(measured) => measured,
            _ => panic!("an icmp probe measures echo"),
        }
    }

    /// Whether packets of our own cannot be sent here; a test that needs them must not pass silently where they can.
    fn cannot(report: &Report) -> bool {
        crate::probe::packets::tests::not_permitted(report)
    }

    fn adds_up(report: &Report) {
        let sum = report.phases.iter().map(|(_, span)| *span).sum::<Duration>() + report.overhead;
        assert!(sum.abs_diff(report.duration) < MS, "{sum:?} {:?}", report.duration);
    }

    fn phases(report: &Report) -> Vec<Phase> {
        report.phases.iter().map(|(phase, _)| *phase).collect()
    }

    #[tokio::test]
    async fn one_echo_over_loopback_is_answered_in_both_families_by_a_raw_socket() {
        let v4 = Source { v4: Some(Ipv4Addr::LOCALHOST), ..Source::default() };
        let v6 = Source { v6: Some(Ipv6Addr::LOCALHOST), ..Source::default() };
        for (target, source, raw) in [
            ("127.0.0.1", v4, Some(true)),
            ("::1", v6, Some(true)),
            // Where a raw socket is permitted, it is what one gets.
            ("127.0.0.1", Source::default(), None),
            ("::1", Source::default(), None),
        ] {
            let report = probe(target, source, 1000 * MS, Settings { raw, ..settings() }).await;
            if cannot(&report) {
                return;
            }
            assert_eq!(report.failure, None, "{target}");
            let measured = measured(&report);
            assert_eq!((measured.sent, measured.received, measured.raw), (1, 1, Some(true)));
            assert_eq!(measured.source, target.parse().ok());
            assert_eq!((measured.count, measured.payload_size, measured.ttl), (1, 56, None));
            assert!(measured.rtt.avg().unwrap() < 0.001, "{measured:?}");
            assert_eq!(measured.reply_hop_limit, Some(64));
            assert_eq!(phases(&report), [Phase::Resolve, Phase::Setup, Phase::Rtt]);
            adds_up(&report);
        }
    }

    #[tokio::test]
    async fn several_have_an_interval_and_end_with_the_last_reply() {
        let settings = Settings { count: 5, payload_size: 1, dont_fragment: true, ttl: Some(9), ..settings() };
        let report = probe("127.0.0.1", Source::default(), 1000 * MS, settings).await;
        if cannot(&report) {
            return;
        }
        assert_eq!(report.failure, None);
        let Measurement { count, payload_size, ttl, dont_fragment, sent, received, .. } = *measured(&report);
        assert_eq!((count, sent, received), (5, 5, 5));
        assert_eq!((payload_size, ttl, dont_fragment), (1, Some(9), true));
        assert_eq!(phases(&report), [Phase::Resolve, Phase::Setup, Phase::Interval, Phase::Rtt]);
        let interval = report.phases[2].1;
        assert!(interval >= 40 * MS && interval < 500 * MS, "{interval:?}");
        assert!(report.duration < 900 * MS);
        adds_up(&report);
    }

    #[tokio::test]
    async fn an_address_that_is_not_on_this_host_is_the_hosts_fault() {
        let source = Source { v4: Some([192, 0, 2, 77].into()), ..Source::default() };
        let report = probe("127.0.0.1", source, 1000 * MS, settings()).await;
        if cannot(&report) {
            return;
        }
        let failure = report.failure.unwrap();
        assert_eq!((failure.reason, failure.phase), (Reason::SourceAddressUnavailable, Phase::Setup));
    }

    #[tokio::test]
    async fn who_has_no_identifier_left_says_so() {
        let full = Arc::new(Network::new());
        let request = testing::configured("{prober: icmp, icmp: {raw: true}}", "127.0.0.1", 1000 * MS);
        let request = Request { network: Arc::clone(&full), ..request };
        let report = run(&request).await;
        if cannot(&report) {
            return;
        }
        assert_eq!(report.failure, None);
        let echo = |_| full.echo(&Source::default(), Ipv4Addr::LOCALHOST.into(), 56, Flow::Next);
        let mut held: Vec<_> = (0..4096).map_while(|number| echo(number).ok()).collect();
        let failure = run(&request).await.failure.unwrap();
        assert_eq!((failure.reason, failure.phase), (Reason::SourcePortExhausted, Phase::Setup), "{failure}");
        drop(held.pop());
        assert_eq!(run(&request).await.failure, None);
    }

    #[tokio::test]
    async fn a_family_without_a_source_is_the_configurations_fault() {
        let source = Source { v4: Some(Ipv4Addr::LOCALHOST), ..Source::default() };
        let report = probe("::1", source, 1000 * MS, settings()).await;
        assert_eq!(report.failure.unwrap().reason, Reason::SourceAddressUnavailable);
    }

    #[tokio::test]
    async fn the_largest_packet_fits_loopback_unsplit() {
        let settings = Settings { payload_size: 65_507, dont_fragment: true, ..settings() };
        let report = probe("127.0.0.1", Source::default(), 1000 * MS, settings).await;
        if cannot(&report) {
            return;
        }
        assert_eq!(report.failure, None);
    }

    #[tokio::test]
    async fn a_packet_of_ipv6_that_is_too_large_is_split_by_this_host() {
        // With its headers more than the 65,536 bytes of loopback.
        let settings = Settings { payload_size: 65_507, dont_fragment: true, ..settings() };
        let report = probe("::1", Source::default(), 1000 * MS, settings).await;
        if cannot(&report) {
            return;
        }
        assert_eq!(report.failure, None);
        assert!(!measured(&report).dont_fragment);
    }
}
