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
    pub(super) path: &'a Path,
    pub(super) counts: &'a [HopCount],
    /// What left for the target, by either ISP.
    pub(super) left: &'a [Observation],
    /// How often half-open checks were accepted.
    pub(super) accepted: u64,
}

/// How far a time may be off.
const TOLERANCE: Duration = Duration::from_millis(1);

/// Why a measurement is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A time; a late lab excuses it.
    Time(String),
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
        return Err(Wrong::Fact(format!("a packet left through {}: {stray:?}", stray.isp.name())));
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
                Measurement::Traceroute(trace) => check_trace(case, trace, truth.path),
                Measurement::Http(_) | Measurement::Tcp(_) | Measurement::Icmp(_) => check_rtt(reports, truth.path),
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
        (Some(wanted), _) => Err(format!("{said}, instead of from {wanted:?}").into()),
        (None, _) => Ok(said),
    }
}

/// The median of the round-trip times is the path's.
fn check_rtt(reports: &[Report], path: &Path) -> Result<String, Wrong> {
    let mut times: Vec<_> = reports.iter().filter_map(round_trip).collect();
    times.sort();
    let median = *times.get(times.len() / 2).ok_or("no round-trip time")?;
    let expected = path.target_rtt();
    let said = format!("rtt {}, {} asked", ms(median), ms(expected));
    if median.abs_diff(expected) > TOLERANCE { Err(Wrong::Time(said)) } else { Ok(said) }
}

/// The round-trip time that a probe measured: the kernel's of a handshake where there is one.
fn round_trip(report: &Report) -> Option<Duration> {
    let connect = report.phases.iter().find(|(phase, _)| *phase == Phase::Connect).map(|(_, time)| *time);
    match &report.measurement {
        Measurement::Http(_) => connect,
        Measurement::Tcp(tcp) => tcp.handshake.rtt.or(connect),
        Measurement::Icmp(icmp) => icmp.rtt.avg().map(Duration::from_secs_f64),
        Measurement::Traceroute(_) => None,
    }
}

/// Every hop is the path's, and so is its time; a silent one has none.
fn check_trace(case: &Case, trace: &traceroute::Measurement, path: &Path) -> Result<String, Wrong> {
    let hops = path.hops.len() + 1;
    if !trace.reached || trace.hops.len() != hops {
        return Err(format!("{} hops, reached: {}", trace.hops.len(), trace.reached).into());
    }
    let mut worst = Duration::ZERO;
    for (number, hop) in (1..).zip(&trace.hops) {
        let silent = path.hops.get(number - 1).is_some_and(|hop| hop.routers[0].answers.silent);
        let seen: Vec<_> = hop.addresses.iter().map(|(address, _)| *address).collect();
        if silent {
            if hop.received > 0 || !seen.is_empty() {
                return Err(format!("the silent hop {number} answered from {seen:?}").into());
            }
            continue;
        }
        if number < hops && !seen.iter().all(|address| routers(path, number, case).contains(address)) {
            return Err(format!("hop {number} is {seen:?}").into());
        }
        // Three answers, of which a hop may lose some: the best is the one least disturbed.
        let Some(best) = hop.rtt.best().map(Duration::from_secs_f64) else { continue };
        worst = worst.max(best.abs_diff(path.rtt(number)));
        if worst > TOLERANCE {
            return Err(Wrong::Time(format!("hop {number} after {}, {} asked", ms(best), ms(path.rtt(number)))));
        }
    }
    Ok(format!("{hops} hops, within {}", ms(worst)))
}

fn check_retransmits(report: &Report, syns: u32) -> Result<String, Wrong> {
    let Measurement::Tcp(tcp) = &report.measurement else { return Err("not a tcp probe".into()) };
    let connect = report.phases.iter().find(|(phase, _)| *phase == Phase::Connect).map(|(_, time)| time.as_secs_f64());
    let connect = connect.ok_or("no connect phase")?;
    let said = format!("{:?} SYNs sent again, connect {connect:.3} s", tcp.handshake.syn_retransmits.unwrap_or(0));
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
    for report in reports {
        let Measurement::Traceroute(trace) = &report.measurement else { return Err("not a trace".into()) };
        let addresses = trace.hops.get(hop - 1).map(|hop| hop.addresses.as_slice()).unwrap_or_default();
        let [(address, _)] = addresses else { return Err(format!("one trace met {addresses:?} at hop {hop}").into()) };
        seen.insert(*address);
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

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
