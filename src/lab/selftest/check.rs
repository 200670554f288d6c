//! Compares what a probe measured with what the lab did to it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::cases::{Case, Expect, Injected};
use crate::flight::Phase;
use crate::lab::ledger::{HopCount, Observation};
use crate::lab::topology::Path;
use crate::probe::{Measurement, Report, traceroute};
use crate::verdict::Reason;

/// What the lab knows of a case that was run.
#[derive(Debug)]
pub(super) struct Truth<'a> {
    pub(super) target: IpAddr,
    pub(super) path: &'a Path,
    /// What happened at each hop, and, last, at the target, in all runs of the case.
    pub(super) counts: &'a [HopCount],
    /// What left for the target, by either ISP.
    pub(super) left: &'a [Observation],
    /// How often half-open checks were accepted.
    pub(super) accepted: u64,
}

/// How far a time may be off.
pub(super) const TOLERANCE: Duration = Duration::from_millis(1);

/// Why a measurement is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A time; a late lab excuses that it is too long by so much.
    Time(String, Option<Duration>),
    /// Anything else; nothing excuses it.
    Fact(String),
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self::Fact(what)
    }
}

impl From<&str> for Wrong {
    fn from(what: &str) -> Self {
        Self::Fact(what.to_owned())
    }
}

/// What was measured, in words.
///
/// # Errors
/// The same, or why it is wrong.
pub(super) fn check(case: &Case, reports: &[Report], truth: &Truth<'_>) -> Result<String, Wrong> {
    for report in reports {
        check_sum(report)?;
    }
    if let Some(stray) = truth.left.iter().find(|packet| packet.isp != case.isp) {
        return Err(Wrong::Fact(format!("a packet left through {}: {stray}", stray.isp.name())));
    }
    if truth.accepted > 0 {
        return Err(format!("accept() returned {} times for half-open checks", truth.accepted).into());
    }
    let report = reports.first().ok_or("nothing was measured")?;
    let measured = match case.expect {
        Expect::Fails(reason, hop) => check_failure(case, report, reason, hop, truth),
        Expect::Path => {
            succeeded(reports)?;
            match &report.measurement {
                Measurement::Traceroute(_) => check_traces(case, &traces(reports)?, truth),
                Measurement::Http(_)
                | Measurement::Tcp(_)
                | Measurement::Icmp(_)
                | Measurement::Dns(_)
                | Measurement::Unix(_)
                | Measurement::Grpc(_)
                | Measurement::Websocket(_)
                | Measurement::Egress(_)
                | Measurement::Stun(_) => check_rtt(reports, truth.path),
            }
        }
        Expect::Retransmits(syns) => {
            succeeded(reports)?;
            check_retransmits(report, syns)
        }
        Expect::Loss => {
            succeeded(reports)?;
            check_loss(case, report, truth.counts)
        }
        Expect::LossyHop(hop) => {
            succeeded(reports)?;
            check_lossy_hop(report, hop, truth)
        }
        Expect::Routers(hop) => {
            succeeded(reports)?;
            check_routers(case, reports, hop, truth.path)
        }
    }?;
    // A fault of this host lets nothing out.
    let local = matches!(case.injected, Injected::LinkDown | Injected::StrangeSource);
    if truth.left.is_empty() != local {
        return Err(format!("{measured}, and {} packets left through {}", truth.left.len(), case.isp.name()).into());
    }
    Ok(measured)
}

fn succeeded(reports: &[Report]) -> Result<(), Wrong> {
    reports.iter().find_map(|report| report.failure.as_ref()).map_or(Ok(()), |failure| Err(failure.to_string().into()))
}

/// Phases and overhead add up to the duration.
fn check_sum(report: &Report) -> Result<(), Wrong> {
    let sum = report.phases.iter().map(|(_, time)| *time).sum::<Duration>() + report.overhead;
    if sum.abs_diff(report.duration) > TOLERANCE {
        return Err(format!("phases and overhead are {}, the duration is {}", ms(sum), ms(report.duration)).into());
    }
    Ok(())
}

fn check_failure(
    case: &Case,
    report: &Report,
    reason: Reason,
    hop: Option<usize>,
    truth: &Truth<'_>,
) -> Result<String, Wrong> {
    let failure = report.failure.as_ref().ok_or("success")?;
    let offender = failure.offender.map(|offender| format!(", from {offender}")).unwrap_or_default();
    let said = format!("{} in {}{offender}", failure.reason.name(), failure.phase.name());
    if failure.reason != reason {
        return Err(format!("{said}: {}", failure.detail).into());
    }
    let wanted = hop.map(|hop| routers(truth.path, hop, case));
    match (wanted, failure.offender) {
        (Some(wanted), Some(offender)) if wanted.contains(&offender) => Ok(said),
        (Some(wanted), _) => Err(format!("{said}, instead of from {}", list(&wanted)).into()),
        (None, _) => Ok(said),
    }
}

/// The median of the round-trip times is the path's.
fn check_rtt(reports: &[Report], path: &Path) -> Result<String, Wrong> {
    let times: Option<Vec<_>> = reports.iter().map(round_trip).collect();
    let median = times.and_then(median).ok_or("no round-trip time")?;
    let expected = path.target_rtt();
    let said = format!("rtt {}, {} asked", ms(median), ms(expected));
    if median.abs_diff(expected) > TOLERANCE { Err(Wrong::Time(said, median.checked_sub(expected))) } else { Ok(said) }
}

/// The round-trip time that a probe measured: the kernel's of a handshake where there is one.
fn round_trip(report: &Report) -> Option<Duration> {
    let time_of = |wanted| report.phases.iter().find(|(phase, _)| *phase == wanted).map(|(_, time)| *time);
    match &report.measurement {
        Measurement::Http(_) => time_of(Phase::Connect),
        Measurement::Tcp(tcp) => tcp.handshake.rtt.or(time_of(Phase::Connect)),
        Measurement::Dns(_) => time_of(Phase::Query),
        Measurement::Grpc(grpc) => grpc.handshake.rtt.or(time_of(Phase::Connect)),
        Measurement::Websocket(websocket) => websocket.handshake.rtt.or(time_of(Phase::Connect)),
        Measurement::Icmp(icmp) => icmp.rtt.avg().map(Duration::from_secs_f64),
        Measurement::Stun(stun) => stun.rtt,
        Measurement::Traceroute(_) | Measurement::Unix(_) | Measurement::Egress(_) => None,
    }
}

/// The traces that the reports are of.
fn traces(reports: &[Report]) -> Result<Vec<&traceroute::Measurement>, Wrong> {
    let traces = reports.iter().map(|report| match &report.measurement {
        Measurement::Traceroute(trace) => Ok(trace),
        Measurement::Http(_)
        | Measurement::Tcp(_)
        | Measurement::Icmp(_)
        | Measurement::Dns(_)
        | Measurement::Unix(_)
        | Measurement::Grpc(_)
        | Measurement::Websocket(_)
        | Measurement::Egress(_)
        | Measurement::Stun(_) => Err("not a trace".into()),
    });
    traces.collect()
}

/// Every hop is there, with its address and its time, and with every answer that it gave; a silent one has none.
fn check_traces(case: &Case, traces: &[&traceroute::Measurement], truth: &Truth<'_>) -> Result<String, Wrong> {
    let hops = truth.path.hops.len() + 1;
    if let Some(trace) = traces.iter().find(|trace| !trace.reached || trace.hops.len() != hops) {
        return Err(format!("{} hops, reached: {}", trace.hops.len(), trace.reached).into());
    }
    let mut worst = Duration::ZERO;
    for number in 1..=hops {
        let seen: Vec<_> = traces.iter().map(|trace| &trace.hops[number - 1]).collect();
        let heard: u64 = seen.iter().map(|hop| u64::from(hop.received)).sum();
        let sent: u64 = seen.iter().map(|hop| u64::from(hop.sent)).sum();
        // The target answers everything.
        let answered = if number == hops { sent } else { truth.counts.get(number - 1).map_or(0, |hop| hop.answered) };
        let silent = truth.path.hops.get(number - 1).is_some_and(|hop| hop.routers[0].answers.silent);
        if heard != answered || silent != (heard == 0) {
            return Err(format!("hop {number}: {heard} of {sent} answered, {answered} in truth").into());
        }
        let wanted = if number == hops { vec![truth.target] } else { routers(truth.path, number, case) };
        for hop in &seen {
            let addresses: Vec<_> = hop.routers.iter().map(|router| router.address).collect();
            let times: u32 = hop.routers.iter().map(|router| router.answers).sum();
            if times != hop.received || !addresses.iter().all(|address| wanted.contains(address)) {
                return Err(format!("hop {number} answered {} times, from {}", hop.received, list(&addresses)).into());
            }
            if hop.rtt.best().is_some() != (hop.received > 0) {
                let best = if hop.received > 0 { "has no best time" } else { "has a best time" };
                return Err(format!("hop {number} answered {} times, and {best}", hop.received).into());
            }
        }
        // Of the answers of a trace the best is the one least disturbed.
        let best = seen.iter().filter_map(|hop| hop.rtt.best().map(Duration::from_secs_f64)).collect();
        if let Some(best) = median(best) {
            worst = worst.max(best.abs_diff(truth.path.rtt(number)));
            if worst > TOLERANCE {
                let asked = truth.path.rtt(number);
                let said = format!("hop {number} after {}, {} asked", ms(best), ms(asked));
                return Err(Wrong::Time(said, best.checked_sub(asked)));
            }
        }
    }
    Ok(format!("{hops} hops, within {}", ms(worst)))
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort();
    times.get(times.len() / 2).copied()
}

fn check_retransmits(report: &Report, syns: u32) -> Result<String, Wrong> {
    let Measurement::Tcp(tcp) = &report.measurement else { return Err("not a tcp probe".into()) };
    let connect = report.phases.iter().find(|(phase, _)| *phase == Phase::Connect).map(|(_, time)| time.as_secs_f64());
    let connect = connect.ok_or("no connect phase")?;
    let said = format!("{} SYNs sent again, connect {connect:.3} s", tcp.handshake.syn_retransmits.unwrap_or(0));
    // Linear back-off (tcp_syn_linear_timeouts) waits a second for each; doubling waits 1, 2, 4 s.
    let (linear, doubling) = (f64::from(syns), f64::from(syns).exp2() - 1.0);
    let plausible = [linear, doubling].iter().any(|wait| (0.0..0.25).contains(&(connect - wait)));
    if plausible && tcp.handshake.syn_retransmits == Some(syns) { Ok(said) } else { Err(said.into()) }
}

/// The probe lost exactly what the internet lost.
fn check_loss(case: &Case, report: &Report, counts: &[HopCount]) -> Result<String, Wrong> {
    let Measurement::Icmp(icmp) = &report.measurement else { return Err("not an icmp probe".into()) };
    let Injected::Loss(hop, loss) = case.injected else { return Err("nothing loses packets".into()) };
    let lost = u64::from(icmp.sent - icmp.received);
    let truly = counts.get(hop - 1).map_or(0, |count| count.lost);
    let said = format!("{lost} of {} lost, {truly} in truth", icmp.sent);
    if lost == truly && is_plausible(lost, icmp.sent, loss) { Ok(said) } else { Err(said.into()) }
}

/// A trace heard every answer that a hop gave, and no other.
fn check_lossy_hop(report: &Report, hop: usize, truth: &Truth<'_>) -> Result<String, Wrong> {
    let Measurement::Traceroute(trace) = &report.measurement else { return Err("not a trace".into()) };
    let (measured, count) =
        trace.hops.get(hop - 1).zip(truth.counts.get(hop - 1)).ok_or_else(|| format!("no hop {hop}"))?;
    let said = format!("hop {hop}: {} of {} answered, {} in truth", measured.received, measured.sent, count.answered);
    let loss = truth.path.hops.get(hop - 1).map_or(0.0, |hop| hop.routers[0].answers.loss);
    let right =
        u64::from(measured.received) == count.answered && u64::from(measured.sent) == count.answered + count.unanswered;
    if right && is_plausible(count.unanswered, measured.sent, loss) { Ok(said) } else { Err(said.into()) }
}

/// Each trace keeps to one router of a hop; together they meet them all.
fn check_routers(case: &Case, reports: &[Report], hop: usize, path: &Path) -> Result<String, Wrong> {
    let mut seen = BTreeSet::new();
    for trace in traces(reports)? {
        let met = trace.hops.get(hop - 1).map(|hop| hop.routers.as_slice()).unwrap_or_default();
        let [router] = met else {
            let met: Vec<_> = met.iter().map(|router| router.address).collect();
            return Err(format!("one trace met {} at hop {hop}", list(&met)).into());
        };
        seen.insert(router.address);
    }
    let said = format!("{} routers at hop {hop} in {} traces", seen.len(), reports.len());
    let all: BTreeSet<_> = routers(path, hop, case).into_iter().collect();
    if seen == all { Ok(said) } else { Err(said.into()) }
}

/// Whether a count lies where a binomial distribution has 99.9 % of its mass (normal approximation).
fn is_plausible(count: u64, of: u32, probability: f64) -> bool {
    let (n, p) = (f64::from(of), probability);
    let spread = 3.29 * (n * p * (1.0 - p)).sqrt() + 0.5;
    (count as f64 - n * p).abs() <= spread
}

fn routers(path: &Path, hop: usize, case: &Case) -> Vec<IpAddr> {
    let hop = path.hops.get(hop - 1).map(|hop| hop.routers.as_slice()).unwrap_or_default();
    hop.iter().map(|router| router.address(case.family)).collect()
}

/// Addresses in words.
fn list(addresses: &[IpAddr]) -> String {
    match addresses {
        [] => "nobody".to_owned(),
        _ => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::super::cases::{Kind, topology};
    use super::*;
    use crate::lab::topology::{Binding, Isp, target};
    use crate::net::Family;
    use crate::path::{Analysis, Clamp};
    use crate::probe::traceroute::{Hop, Protocol, Router};

    const CASE: Case = Case {
        kind: Kind::Trace(Protocol::Udp),
        isp: Isp::A,
        family: Family::V4,
        binding: Binding::Address,
        injected: Injected::Nothing,
        expect: Expect::Path,
    };

    /// A trace that says all that there is to say of the path of A, where hop 5 lost an answer.
    fn right() -> traceroute::Measurement {
        let path = topology().a;
        let target = target(Family::V4, 10);
        let hop = |number: u8| {
            let index = usize::from(number) - 1;
            let from = path.hops.get(index).map_or(target, |hop| hop.routers[0].v4.into());
            let received = [3, 3, 0, 3, 2, 3, 3, 3, 3][index];
            let mut hop = Hop { number, sent: 3, received, ..Hop::default() };
            (0..received).for_each(|_| hop.rtt.add(path.rtt(index + 1)));
            if received > 0 {
                hop.routers.push(Router { answers: received, ..Router::new(from) });
            }
            hop
        };
        traceroute::Measurement {
            protocol: Protocol::Udp,
            port: Some(33_434),
            source: None,
            destination: Some(target),
            packet_size: None,
            rounds: 3,
            first_hop: 1,
            max_hops: 20,
            reached: true,
            packets: 27,
            flows: 1,
            balance: None,
            hops: (1..=9).map(hop).collect(),
            analysis: Analysis::default(),
            mtu: None,
            offered_mss: None,
            mss: None,
            clamp: Clamp::default(),
        }
    }

    /// What is said of a trace that is right but for one thing.
    fn said(spoil: impl FnOnce(&mut traceroute::Measurement)) -> Result<String, Wrong> {
        let mut trace = right();
        spoil(&mut trace);
        let path = topology().a;
        let count = |answered| HopCount { answered, unanswered: 3 - answered, ..HopCount::default() };
        let counts = [3, 3, 0, 3, 2, 3, 3, 3, 0].map(count);
        let target = target(Family::V4, 10);
        check_traces(&CASE, &[&trace], &Truth { target, path: &path, counts: &counts, left: &[], accepted: 0 })
    }

    #[test]
    fn a_trace_is_right_where_every_hop_is_as_it_was() {
        assert_eq!(said(|_| {}), Ok("9 hops, within 0.00 ms".to_owned()));
    }

    #[test]
    fn a_packet_that_went_astray_is_told_in_words() {
        let left = [Observation {
            at: std::time::Instant::now(),
            isp: Isp::B,
            source: [10, 1, 0, 2].into(),
            destination: target(Family::V4, 10),
            protocol: 6,
            ports: Some((40_000, 80)),
            echo_id: None,
            tcp_flags: Some(2),
            ttl: 64,
            length: 60,
        }];
        let path = topology().a;
        let truth = Truth { target: target(Family::V4, 10), path: &path, counts: &[], left: &left, accepted: 0 };
        let said = "a packet left through b: TCP from 10.1.0.2 to 198.51.100.10, port 40000 to port 80, 60 bytes, hop limit 64, by ispb";
        assert_eq!(check(&CASE, &[], &truth), Err(Wrong::Fact(said.to_owned())));
    }

    #[test]
    fn a_hop_that_is_not_as_it_was_is_told() {
        let fact = |what: &str| Err(Wrong::Fact(what.to_owned()));
        let unheard = |number| Hop { number, sent: 3, ..Hop::default() };
        let stranger = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(said(|trace| trace.hops[6] = unheard(7)), fact("hop 7: 0 of 3 answered, 3 in truth"));
        assert_eq!(said(|trace| trace.hops[4] = unheard(5)), fact("hop 5: 0 of 3 answered, 2 in truth"));
        assert_eq!(said(|trace| trace.hops[8] = unheard(9)), fact("hop 9: 0 of 3 answered, 3 in truth"));
        assert_eq!(
            said(|trace| trace.hops[2] = Hop { number: 3, ..trace.hops[1].clone() }),
            fact("hop 3: 3 of 3 answered, 0 in truth")
        );
        assert_eq!(said(|trace| trace.hops[6].routers.clear()), fact("hop 7 answered 3 times, from nobody"));
        for hop in [6, 8] {
            let expected = format!("hop {} answered 3 times, from {stranger}", hop + 1);
            assert_eq!(said(|trace| trace.hops[hop].routers[0].address = stranger), fact(&expected));
        }
        assert_eq!(
            said(|trace| trace.hops[6].rtt = Default::default()),
            fact("hop 7 answered 3 times, and has no best time")
        );
        assert_eq!(said(|trace| trace.hops.truncate(8)), fact("8 hops, reached: true"));
        assert_eq!(
            said(|trace| trace.hops[6].rtt = trace.hops[7].rtt.clone()),
            Err(Wrong::Time("hop 7 after 19.00 ms, 17.00 ms asked".to_owned(), Some(Duration::from_millis(2))))
        );
    }
}
