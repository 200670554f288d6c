//! What probers that send packets of their own share: whose source it is, and what went wrong.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Probe;
use super::deadline::LATE;
use crate::net::clock::instant_of;
use crate::net::{Answer, Family, Refusal, SourceError, is_own};
use crate::verdict::{Evidence, Failure, Reason};

/// How long before its deadline a probe stops waiting, so that it ends with what it knows rather than by being cut; of a short time
/// that is left, half.
const MARGIN: Duration = Duration::from_millis(5);

/// When a probe stops waiting.
pub(super) fn end(probe: &Probe<'_>) -> Instant {
    let left = probe.deadline.saturating_duration_since(Instant::now());
    probe.deadline.checked_sub(MARGIN.min(left / 2)).unwrap_or(probe.deadline)
}

/// Takes note of where an answer arrived, and of when, where that was a while ago: the time since then was ours. False where it came after
/// the deadline, and so does not count.
pub(super) fn in_time(probe: &Probe<'_>, answer: &Answer) -> bool {
    probe.arrived(answer.interface, answer.from);
    let (arrived, now) = (instant_of(answer.arrived), Instant::now());
    if arrived + LATE < now {
        probe.timeline.received(arrived);
        probe.timeline.sent(now);
    }
    arrived <= probe.deadline
}

/// Takes note of a wait that was to end at `due`, where it ended a while later: the time since then was ours.
pub(super) fn awake(probe: &Probe<'_>, due: Instant) {
    if due.elapsed() > LATE {
        probe.timeline.overslept(due);
    }
}

/// A packet could not be sent: never the network's fault.
pub(super) fn refused(probe: &Probe<'_>, destination: IpAddr, refusal: &Refusal) -> Failure {
    match refusal {
        Refusal::Source(error) => probe.source_failure(error),
        Refusal::Exhausted(_) => probe.failure(Reason::SourcePortExhausted, refusal.to_string()),
        Refusal::Full => probe.failure(Reason::ProberOverload, refusal.to_string()),
        // No port is looked for here: what is missing is an address.
        Refusal::Send(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
            probe.source_failure(&SourceError::NoneOnThisHost(Family::of(destination)))
        }
        Refusal::Send(error) => probe.local_failure(&format!("sending to {destination}"), error),
    }
}

/// What a node said about a packet, as a failure; nothing where it means none.
///
/// A message from an address of this host is its own: its neighbour, the gateway or the target, does not answer to its address, or its firewall
/// rejects the packet, and the kernel says so by ICMP.
pub(super) fn reported(probe: &Probe<'_>, destination: IpAddr, from: IpAddr, (ty, code): (u8, u8)) -> Option<Failure> {
    let evidence = match from {
        IpAddr::V4(_) => Evidence::Icmp { ty, code },
        IpAddr::V6(_) => Evidence::Icmp6 { ty, code },
    };
    let reason = Reason::of_evidence(evidence)?;
    if is_unreachable(from, ty) && reason != Reason::PmtuExceeded && from != destination && is_own(from) {
        let (reason, detail) = match probe.is_firewall((ty, code)) {
            true => (Reason::ProberConfigError, format!("this host's own firewall rejects packets to {destination}")),
            false => {
                (Reason::ArpUnresolved, format!("the next hop towards {destination} does not answer to its address"))
            }
        };
        return Some(probe.failure(reason, detail));
    }
    let detail = format!("{from} says of the way to {destination}: {} (ICMP type {ty}, code {code})", words(reason));
    Some(Failure { offender: Some(from), ..probe.failure(reason, detail) })
}

/// Whether a message says that a destination cannot be reached, or not by such a packet: unreachable and too big.
pub(super) fn is_unreachable(from: IpAddr, ty: u8) -> bool {
    match from {
        IpAddr::V4(_) => ty == 3,
        IpAddr::V6(_) => ty == 1 || ty == 2,
    }
}

/// Whether a message says that a packet is larger than the next link takes.
pub(super) fn is_too_big(from: IpAddr, (ty, code): (u8, u8)) -> bool {
    match from {
        IpAddr::V4(_) => (ty, code) == (3, 4),
        IpAddr::V6(_) => ty == 2,
    }
}

/// Whether a message says that the hop limit was exceeded on the way, as a trace wants it.
pub(super) fn is_time_exceeded(from: IpAddr, said: (u8, u8)) -> bool {
    match from {
        IpAddr::V4(_) => said == (11, 0),
        IpAddr::V6(_) => said == (3, 0),
    }
}

/// A reason for a person.
pub(super) fn words(reason: Reason) -> String {
    reason.name().replace('_', " ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::probe::Report;

    /// Whether a probe failed since packets of our own cannot be sent here. It says so; with `UPLINK_REQUIRE_LAB=1`, it is an error.
    pub(in crate::probe) fn not_permitted(report: &Report) -> bool {
        let Some(failure) = &report.failure else { return false };
        let refused = failure.reason == Reason::ProberConfigError && failure.detail.contains("CAP_NET_RAW");
        if refused {
            crate::testing::skip(&failure.to_string());
        }
        refused
    }
}
