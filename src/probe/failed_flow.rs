//! The trace of the flow that failed: with the addresses and ports of the connection, so that routers that spread flows over several paths send it
//! along the same one.
//!
//! The connection is ended before the first packet of the trace, whatever became of it: packets of a trace then meet no connection that they could
//! harm, nor one that would answer in their place. They are SYNs of other sequence numbers; what a server, or the rest of the old connection there,
//! answers them with is reset, so that nothing is left half open. Where the end of the connection was lost, a server still has it, and says so: it is
//! told again, and the trace begins anew.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::traceroute::{self, Ended, Hop};
use super::{Probe, Report, lock};
use crate::flight::Phase;
use crate::net::flow::{Held, Transport};
use crate::net::{Heading, Refusal, SourceError};
use crate::path::LossClass;
use crate::verdict::{Failure, Reason};

/// When the flow of a connection is traced, and how.
#[derive(Debug)]
pub struct Tracing {
    /// The phases that make a probe slow which take longer than that, in any one of its requests.
    pub after: Vec<(Phase, Duration)>,
    /// The trace.
    pub trace: traceroute::Settings,
}

/// The trace of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedFlow {
    /// Why it was traced.
    pub cause: Cause,
    /// The address and port that its connection left from.
    pub local: SocketAddr,
    /// The address and port that it went to.
    pub remote: SocketAddr,
    /// How it ended.
    pub end: End,
    /// Whether it left through the ISP that was named; nothing where that cannot be told.
    pub verified: Option<bool>,
    /// Where it did not: whose router it met, in a sentence.
    pub astray: Option<String>,
    /// How long that took, beside the probe's own duration.
    pub duration: Duration,
    /// What answered; of no flows, where no packet left.
    pub trace: traceroute::Measurement,
}

/// Why a flow was traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The probe failed.
    Failure,
    /// A phase took too long.
    Slow {
        /// The phase.
        phase: Phase,
        /// How long it took.
        took: Duration,
    },
}

/// How a trace of a flow ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The destination answered.
    Reached,
    /// Half of what was to get to this hop, or further, was not answered, or more: from there on, packets are lost.
    Lossy(u8),
    /// Somebody said that it goes no further, in a sentence.
    Unreachable(String),
    /// Behind the last hop that answered, nobody did.
    Silent,
    /// There was no time to wait for those who might still have answered.
    CutShort,
    /// This program may not send such packets; a sentence says what it needs.
    NotPermitted(String),
    /// No packet left; a sentence says why.
    NotTraced(String),
}

impl Cause {
    /// Its name in metrics and JSON: `failure`, or the phase.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Slow { phase, took: _ } => phase.name(),
        }
    }
}

impl End {
    /// Its name in metrics and JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Lossy(_) => "lossy",
            Self::Unreachable(_) => "unreachable",
            Self::Silent => "silent",
            Self::CutShort => "cut_short",
            Self::NotPermitted(_) => "not_permitted",
            Self::NotTraced(_) => "not_traced",
        }
    }

    /// What else there is to say.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Unreachable(detail) | Self::NotPermitted(detail) | Self::NotTraced(detail) => Some(detail),
            Self::Reached | Self::Lossy(_) | Self::Silent | Self::CutShort => None,
        }
    }
}

impl FailedFlow {
    /// Whether the destination answered; nothing where that is not known: a server that speaks QUIC answers no other datagrams.
    #[must_use]
    pub fn reached(&self) -> Option<bool> {
        match self.end {
            End::Reached => Some(true),
            End::Unreachable(_) => Some(self.trace.reached),
            End::Lossy(_) | End::Silent => {
                (self.trace.reached || self.trace.protocol != traceroute::Protocol::Udp).then_some(self.trace.reached)
            }
            End::CutShort | End::NotPermitted(_) | End::NotTraced(_) => None,
        }
    }

    /// The last hop that answered; nothing where none did. A router that forwards no further mostly says so only of packets whose hop limit
    /// would have led them beyond it: that is still its own hop.
    ///
    /// Where packets are lost, that is the last one before. Nor is the destination told as a hop where it may be a nearer one (hops before it did not
    /// answer, and not all that was to get there did), and where it answered no packet that has a hop.
    #[must_use]
    pub fn last_hop(&self) -> Option<&Hop> {
        if let End::Lossy(from) = self.end {
            return self.trace.hops.iter().rev().find(|hop| hop.number < from && hop.received > 0);
        }
        let (last, before) = self.trace.hops.split_last()?;
        let is_far = last.received > 1 && last.received == last.sent;
        if self.end == End::Reached && !is_far && before.last().is_some_and(|before| before.received == 0) {
            return None;
        }
        let address = |hop: &Hop| hop.latest.map(|(_, address)| address);
        if self.end == End::Reached && address(last) != self.trace.destination {
            return None;
        }
        let refuses = matches!(self.end, End::Unreachable(_));
        Some(before.last().filter(|before| refuses && address(before) == address(last)).unwrap_or(last))
    }

    /// The first hop that did not answer, where the flow ends behind the last one that did.
    #[must_use]
    pub fn first_silent_hop(&self) -> Option<u8> {
        let next = self.last_hop().map_or(self.trace.first_hop, |hop| hop.number.saturating_add(1));
        (self.end == End::Silent).then_some(next)
    }
}

impl fmt::Display for FailedFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.last_hop().map(|hop| {
            let who = hop.latest_router().map(|router| format!(" ({})", router.address)).unwrap_or_default();
            format!("hop {}{who}", hop.number)
        });
        match (&self.end, last) {
            (End::Reached, Some(last)) => write!(f, "reaches its destination at {last}"),
            (End::Reached, None) => f.write_str("reaches its destination"),
            (End::Lossy(from), last) => {
                f.write_str(match self.reached() {
                    Some(true) => "reaches its destination with few packets: ",
                    _ => "loses packets before its destination: ",
                })?;
                last.map_or(Ok(()), |last| write!(f, "behind {last}, "))?;
                write!(f, "from hop {from} on, they are lost")
            }
            (End::Unreachable(detail), Some(last)) => write!(f, "ends at {last}: {detail}"),
            (End::Silent, Some(last)) => {
                let next = self.first_silent_hop().unwrap_or_default();
                write!(f, "ends behind {last}: hop {next} does not answer")
            }
            (End::Silent, None) => write!(f, "ends before hop {}", self.trace.first_hop),
            (End::CutShort, Some(last)) => write!(f, "gets to {last} at least: there was no time for more"),
            (End::CutShort, None) => f.write_str("is not traced: there was no time left"),
            (End::Unreachable(detail), None) => write!(f, "ends: {detail}"),
            (End::NotPermitted(detail) | End::NotTraced(detail), _) => write!(f, "is not traced: {detail}"),
        }
    }
}

/// The flows of a probe that may be traced.
#[derive(Debug, Default)]
pub(super) struct Flows {
    /// That of the last connection, and the number of the request that it was made for.
    last: Option<(Held, usize)>,
    /// The first one that was too slow, of those before.
    slow: Option<(Held, Cause)>,
}

/// The part of a probe's time that is kept for the trace: a fifth, but at least half a second and at most one second, and never more than half of
/// it.
pub(super) fn reserve(timeout: Duration) -> Duration {
    (timeout / 5).clamp(Duration::from_millis(500), Duration::from_secs(1)).min(timeout / 2)
}

/// The shortest time that tells a hop that is silent from one that is slow, behind an ocean; and so many times the slowest round trip of those
/// before it.
const PATIENCE: Duration = Duration::from_millis(400);
const PATIENCE_FACTOR: f64 = 3.0;

impl Probe<'_> {
    /// Whether its connections are held, since their flows may have to be traced. A second connection that asks why TLS failed is not what failed.
    pub(super) fn holds_flows(&self) -> bool {
        self.request.module.prober.tracing().is_some() && self.timeline.current() != Some(Phase::Legacy)
    }

    /// Holds a connection, in the place of the one before.
    pub(super) fn hold(&self, held: std::io::Result<Held>) {
        self.turn_from_connection();
        match held {
            Ok(held) => lock(&self.notes).flows.last = Some((held, self.timeline.leg())),
            Err(error) => self.note(format_args!("the flow of the connection cannot be held: {error}")),
        }
    }

    /// The connection is over, and what closes it is not to wait.
    pub(super) fn let_go(&self) {
        if let Some((held, _)) = &mut lock(&self.notes).flows.last {
            held.let_go();
        }
    }

    /// The last connection is done with, unless it was too slow.
    pub(super) fn turn_from_connection(&self) {
        let Some((held, leg)) = lock(&self.notes).flows.last.take() else { return };
        if let Some(cause) = self.is_slow(leg) {
            lock(&self.notes).flows.slow.get_or_insert((held, cause));
        }
    }

    /// The phase of a request that took too long, where one did.
    fn is_slow(&self, leg: usize) -> Option<Cause> {
        let after = &self.request.module.prober.tracing()?.after;
        let slow = |(phase, took): &(Phase, Duration)| after.iter().any(|(of, limit)| of == phase && took > limit);
        self.timeline.phases_of_leg(leg).into_iter().find(slow).map(|(phase, took)| Cause::Slow { phase, took })
    }

    /// The flow that is to be traced now that the probe is over.
    fn failed_flow(&self, failure: Option<&Failure>) -> Option<(Held, Cause)> {
        let Flows { last, slow } = std::mem::take(&mut lock(&self.notes).flows);
        match (failure, last) {
            // What this host could not do says nothing of a path; and nothing is to be sent a wrong way.
            (Some(failure), _) if failure.reason.is_of_this_host() || failure.reason == Reason::EgressMismatch => None,
            (Some(_), Some((held, _))) => Some((held, Cause::Failure)),
            (None, Some((held, leg))) => slow.or_else(|| Some((held, self.is_slow(leg)?))),
            (_, None) => slow,
        }
    }
}

/// Traces the flow that made a probe fail, or slow, until the probe's time is over. All else of the report stays as it is, but for what its routers
/// prove of the way out.
pub(super) async fn follow(probe: &Probe<'_>, tracing: &Tracing, report: &mut Report) {
    let Some((held, cause)) = probe.failed_flow(report.failure.as_ref()) else { return };
    let (begun, follower) = (Instant::now(), probe.follower());
    let (local, remote) = (held.local(), held.remote());
    match cause {
        Cause::Failure => follower.note(format_args!("the flow from {local} to {remote} is traced")),
        Cause::Slow { phase, took } => {
            let phase = phase.name();
            follower.note(format_args!("{phase} took {took:?}: the flow from {local} to {remote} is traced"));
        }
    }
    let mut trace = traceroute::Measurement::of(&tracing.trace);
    (trace.port, trace.destination) = (Some(remote.port()), Some(remote.ip()));
    let budget = probe.request.uplink().and_then(|isp| isp.budget.as_ref());
    let packets = tracing.trace.packets();
    let end = match budget.map_or(Ok(()), |budget| budget.take(packets, begun)) {
        Ok(()) => {
            let end = trace_flow(&follower, tracing, held, report.success(), &mut trace).await;
            if let Some(budget) = budget {
                budget.settle(packets, trace.packets);
            }
            end
        }
        Err(_) => End::NotTraced("the packets_per_second of its ISP are used up".to_owned()),
    };
    let (mut verified, mut astray) = (None, None);
    if trace.flows > 0 {
        // Its way was that of the probe's own packets.
        let (way_out, wrong_way) = follower.way_out(Some(&trace));
        if let Some(way_out) = way_out {
            report.way_out.get_or_insert_default().learn(&way_out);
            verified = way_out.verified;
        }
        astray = wrong_way.map(|failure| failure.detail);
    }
    if let Some(astray) = &astray {
        follower.note(format_args!("the flow does not leave through its ISP: {astray}"));
    }
    let flow = FailedFlow { cause, local, remote, end, verified, astray, duration: begun.elapsed(), trace };
    report.log.append(&mut follower.take_log(Some(format!("the flow {flow}"))));
    report.failed_flow = Some(flow);
}

async fn trace_flow(
    probe: &Probe<'_>,
    tracing: &Tracing,
    held: Held,
    success: bool,
    trace: &mut traceroute::Measurement,
) -> End {
    let network = &probe.request.network;
    let (local, destination) = (held.local().ip(), held.remote().ip());
    let protocol = match held.transport() {
        Transport::Tcp => libc::IPPROTO_TCP,
        Transport::Udp => libc::IPPROTO_UDP,
    };
    let heading = Heading { destination, protocol: Some(protocol as u8), ports: None };
    if network.has_one_way(probe.source(), Some(local), &heading).is_ok_and(|one| !one) {
        let what = "this host has several ways, and the kernel does not say which of them the connection took";
        return End::NotTraced(what.to_owned());
    }
    let ended = match held.end(success).await {
        Ok(ended) => ended,
        Err(error) => return End::NotTraced(format!("its port cannot be kept: {error}")),
    };
    let conversation = match network.again(ended) {
        Ok(conversation) => conversation,
        Err(refusal @ Refusal::Source(SourceError::NotPermitted(..))) => return End::NotPermitted(refusal.to_string()),
        Err(refusal) => return End::NotTraced(refusal.to_string()),
    };
    if let Err(failure) = probe.leaves_by(Some(local), &conversation.heading()) {
        return End::NotTraced(failure.detail);
    }
    let ended = traceroute::again(&tracing.trace, probe, conversation, destination, trace).await;
    // A destination may answer a part of the SYNs of one flow only, where all is well; routers lose with it what is lost on the way.
    let is_before = |from: u8| trace.hops.last().is_some_and(|last| from < last.number);
    match ended {
        Err(failure) => End::NotTraced(failure.detail),
        Ok(Ended { refused: Some(failure), .. }) if !trace.reached || failure.offender == Some(destination) => {
            End::Unreachable(failure.detail)
        }
        Ok(ended) if let Some(from) = lossy_from(trace, ended.unheard).filter(|from| !success || is_before(*from)) => {
            End::Lossy(from)
        }
        Ok(_) if trace.reached => End::Reached,
        Ok(Ended { took, .. }) if is_cut_short(trace, took, tracing.trace.wait) => End::CutShort,
        Ok(_) => End::Silent,
    }
}

/// The hop from which packets are lost on the way, where half of those that were to go as far were not answered. By the few that one hop was sent,
/// chance would decide.
///
/// Where a destination is `unheard`, some loss is enough, since what it was told was lost: behind the last hop that answered all then. Without any,
/// but for answers that a router withholds, it holds the connection whatever it is told, as one that ended it first may (RFC 1337).
fn lossy_from(trace: &traceroute::Measurement, unheard: bool) -> Option<u8> {
    let mut hops = trace.hops.iter().zip(&trace.analysis.loss);
    let loses = hops.any(|(hop, class)| hop.received > 0 && hop.lost > 0 && *class != Some(LossClass::RateLimited));
    let behind_all = || {
        let last = trace.hops.iter().rev().find(|hop| hop.received > 0 && hop.lost == 0);
        last.map_or(trace.first_hop, |last| last.number.saturating_add(1))
    };
    lossy_by_counts(trace).or_else(|| (unheard && loses).then(behind_all))
}

fn lossy_by_counts(trace: &traceroute::Measurement) -> Option<u8> {
    let onset = trace.analysis.loss_onset?;
    let behind = trace.hops.iter().zip(&trace.analysis.loss).skip(onset);
    let behind = behind.filter(|(_, class)| **class != Some(LossClass::RateLimited));
    let (lost, received) = behind.fold((0, 0), |(lost, received), (hop, _)| (lost + hop.lost, received + hop.received));
    let is_lossy = lost >= received && trace.hops.last().is_some_and(|last| last.lost > 0);
    trace.hops.get(onset).filter(|_| is_lossy).map(|hop| hop.number)
}

/// Whether the hop behind the last that answered was waited for too short to say that it is silent.
fn is_cut_short(trace: &traceroute::Measurement, took: Duration, wait: Duration) -> bool {
    let last = trace.hops.last().map_or(0, |hop| hop.number);
    let slowest = trace.hops.iter().filter_map(|hop| hop.rtt.worst()).fold(0.0, f64::max);
    let needed = PATIENCE.max(Duration::try_from_secs_f64(slowest * PATIENCE_FACTOR).unwrap_or(wait)).min(wait);
    // A packet to each hop leaves every millisecond.
    took.saturating_sub(Duration::from_millis(u64::from(last) + 1)) < needed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flow whose hops were asked three times each and answered so often.
    fn flow(answers: &[u32], end: End) -> FailedFlow {
        let module = crate::probe::testing::configured("{prober: traceroute}", "192.0.2.1", PATIENCE).module.clone();
        let crate::probe::Prober::Traceroute(settings) = &module.prober else { panic!("{module:?}") };
        let mut trace = traceroute::Measurement::of(settings);
        trace.reached = true;
        let hop = |(number, received): (u8, &u32)| Hop { number, sent: 3, received: *received, ..Hop::default() };
        trace.hops = (1..).zip(answers).map(hop).collect();
        let at = SocketAddr::new([192, 0, 2, 1].into(), 80);
        let (verified, astray) = (None, None);
        FailedFlow { cause: Cause::Failure, local: at, remote: at, end, verified, astray, duration: PATIENCE, trace }
    }

    #[test]
    fn a_destination_is_no_hop_that_it_may_not_be_at() {
        let last = |answers: &[u32], end: End| flow(answers, end).last_hop().map(|hop| hop.number);
        assert_eq!(last(&[3, 3, 1], End::Reached), Some(3));
        // A router that says nothing, and one SYN of many that got through.
        assert_eq!(last(&[3, 0, 3], End::Reached), Some(3));
        assert_eq!(last(&[3, 0, 0, 1], End::Reached), None);
        assert_eq!(flow(&[3, 0, 0, 1], End::Reached).to_string(), "reaches its destination");
        assert_eq!(last(&[3, 3, 0, 0, 1], End::Lossy(3)), Some(2));
        assert_eq!(last(&[0, 0, 1], End::Lossy(1)), None);
        let said = flow(&[3, 3, 0, 0, 1], End::Lossy(3)).to_string();
        assert_eq!(said, "reaches its destination with few packets: behind hop 2, from hop 3 on, they are lost");
    }

    #[test]
    fn loss_is_told_where_the_destination_was_not_heard() {
        let mut flow = flow(&[3, 3, 1, 1], End::Lossy(3));
        flow.trace.reached = false;
        assert_eq!((flow.reached(), flow.last_hop().map(|hop| hop.number)), (Some(false), Some(2)));
        assert_eq!(
            flow.to_string(),
            "loses packets before its destination: behind hop 2, from hop 3 on, they are lost"
        );
        flow.trace.protocol = traceroute::Protocol::Udp;
        assert_eq!(flow.reached(), None, "a server that speaks QUIC says nothing");
    }

    #[test]
    fn a_destination_that_answers_for_its_connection_only_has_no_hop_and_loss_is_behind_the_last_that_answered_all() {
        let mut flow = flow(&[3, 3, 2], End::Reached);
        flow.trace.destination = Some([192, 0, 2, 1].into());
        flow.trace.hops.iter_mut().for_each(|hop| hop.lost = hop.sent - hop.received);
        assert_eq!((flow.last_hop(), flow.reached()), (None, Some(true)));
        assert_eq!(flow.to_string(), "reaches its destination");
        flow.trace.analysis.loss = vec![None, None, Some(LossClass::Unknown)];
        assert_eq!((lossy_from(&flow.trace, false), lossy_from(&flow.trace, true)), (None, Some(3)));
        // A router that says less than it forwards loses nothing.
        flow.trace.analysis.loss[2] = Some(LossClass::RateLimited);
        assert_eq!(lossy_from(&flow.trace, true), None);
        // It was heard, and holds what it has.
        flow.trace.hops.pop();
        assert_eq!(lossy_from(&flow.trace, true), None);
    }

    #[test]
    fn a_fifth_of_the_time_is_kept_for_the_trace_within_bounds() {
        let kept = [200, 1_000, 2_500, 4_000, 5_000, 60_000].map(|ms| reserve(Duration::from_millis(ms)).as_millis());
        assert_eq!(kept, [100, 500, 500, 800, 1_000, 1_000]);
    }
}
