//! Why a probe failed: what the system said, what the deadline means, and whether it was this host after all.

use std::io;

use super::packets::words;
use super::plain::Delivery;
use super::stun::Transport;
use super::{Probe, Prober, lock};
use crate::flight::{Phase, Timeline};
use crate::net::sys::{ExtendedError, Origin};
use crate::net::{LocalFault, Source, SourceError};
use crate::verdict::{Evidence, Failure, Late, Reason};

/// Where the kernel routes as it likes.
pub(super) static UNBOUND: Source = Source { v4: None, v6: None, interface: None, mark: None };

impl Probe<'_> {
    /// A failure in the phase that is running.
    pub fn failure(&self, reason: Reason, detail: impl Into<String>) -> Failure {
        Failure {
            phase: self.timeline.current().unwrap_or(Phase::Resolve),
            reason,
            detail: detail.into(),
            offender: None,
        }
    }

    /// A failure to make a socket: a fault of this host, never the network's.
    pub fn source_failure(&self, error: &SourceError) -> Failure {
        let reason = match error {
            SourceError::NoAddress(_) | SourceError::NoneOnThisHost(_) | SourceError::NotOnThisHost(..) => {
                Reason::SourceAddressUnavailable
            }
            SourceError::NoInterface(..) => Reason::LocalLinkDown,
            SourceError::NotPermitted(..) | SourceError::PingNotAllowed(_) => Reason::ProberConfigError,
            SourceError::NoWay(..) => Reason::UnroutableLocal,
            SourceError::Other(what, error) => return self.local_failure(what, error),
        };
        self.failure(reason, error.to_string())
    }

    /// A failure that a system call told at once, with nothing on the wire: where it speaks of the destination it is the word of a
    /// route of this host, or of the lack of one (`ip route add unreachable`, `blackhole`).
    pub fn local_failure(&self, what: &str, error: &io::Error) -> Failure {
        match error.raw_os_error() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EINVAL) => {
                self.failure(Reason::UnroutableLocal, format!("{what}: {error}"))
            }
            Some(libc::ECONNREFUSED) => {
                self.failure(Reason::ProberConfigError, format!("{what}: this host's own firewall: {error}"))
            }
            Some(libc::EMSGSIZE) => {
                let detail = format!("{what}: the packet is larger than the device takes: {error}");
                self.failure(Reason::ProberConfigError, detail)
            }
            _ => self.io_failure(what, error, None),
        }
    }

    /// A failure of a socket operation in the running phase; what the socket's error queue held decides first.
    pub fn io_failure(&self, what: &str, error: &io::Error, evidence: Option<&ExtendedError>) -> Failure {
        let is_own = |evidence: &&ExtendedError| evidence.origin == Origin::Local && evidence.offender.is_some();
        if evidence.filter(is_own).is_some_and(|own| self.is_firewall((own.ty, own.code))) {
            return self.failure(Reason::ProberConfigError, format!("{what}: this host's own firewall: {error}"));
        }
        let phase = self.timeline.current().unwrap_or(Phase::Resolve);
        let said = evidence.and_then(|evidence| match evidence.origin {
            Origin::Icmp => Some(Evidence::Icmp { ty: evidence.ty, code: evidence.code }),
            Origin::Icmp6 => Some(Evidence::Icmp6 { ty: evidence.ty, code: evidence.code }),
            Origin::Local | Origin::Timestamping | Origin::Other(_) => None,
        });
        let offender = said.and(evidence).and_then(|evidence| evidence.offender);
        let reason = Reason::of_io_error(phase, error.raw_os_error(), said);
        // The number of the error says less, and of some messages something else.
        let detail = match (said.and_then(Reason::of_evidence), evidence, offender) {
            (Some(_), Some(ExtendedError { ty, code, .. }), Some(from)) => {
                format!("{what}: {from} says: {} (ICMP type {ty}, code {code})", words(reason))
            }
            _ => format!("{what}: {error}"),
        };
        Failure { phase, reason, detail, offender }
    }

    /// Whether what this host says of its own packet (type and code) is the word of its firewall: our own neighbour discovery, too, speaks of a host that cannot be
    /// reached (ICMP 3/1, ICMPv6 1/3), but then there is a neighbour that was asked in vain.
    pub(super) fn is_firewall(&self, own: (u8, u8)) -> bool {
        let phase = self.timeline.current().unwrap_or(Phase::Resolve);
        !matches!(own, (3, 1) | (1, 3)) || matches!(self.fault(phase), Some(Ok(None)))
    }

    /// What is wrong on this host with the way to who is talked to in a phase; nothing where nobody is known.
    fn fault(&self, phase: Phase) -> Option<io::Result<Option<LocalFault>>> {
        let notes = lock(&self.notes);
        match (phase, notes.asked, &notes.resolution) {
            (Phase::Resolve, Some((server, true)), _) => Some(self.source().local_fault(server)),
            (Phase::Resolve, Some((server, false)), _) => Some(UNBOUND.local_fault(server)),
            (Phase::Resolve, None, _) => None,
            (_, _, resolution) => {
                let target = resolution.as_ref().and_then(|resolution| resolution.address);
                notes.peer.or(target).map(|address| self.source().local_fault(address))
            }
        }
    }

    /// That nothing came in time is our own fault where most of that time was ours: this program stood still, or had no processor. Where what
    /// was waited for came after the deadline, the network was late all the same; and who says more than can be heard is not silent.
    pub(super) fn own_cause(&self, failure: Failure, timeline: &Timeline) -> Failure {
        let overhead = timeline.overhead().saturating_sub(self.deadline.elapsed());
        let in_time = timeline.last_arrival().is_none_or(|arrival| arrival <= self.deadline);
        let busy = lock(&self.notes).busy;
        if !failure.reason.is_silence() || !in_time || busy || overhead < self.request.timeout / 2 {
            return failure;
        }
        let detail = format!("this program was kept from its work for {overhead:?}: {}", failure.detail);
        Failure { reason: Reason::ProberOverload, detail, offender: None, ..failure }
    }

    /// That nothing came, or that there is no way, is this host's own fault where its device is dead or its next hop is silent.
    pub(super) fn local_cause(&self, failure: Failure) -> Failure {
        if !failure.reason.is_silence() {
            return failure;
        }
        let fault = self.fault(self.timeline.current().unwrap_or(failure.phase));
        let fault = fault.and_then(Result::ok).flatten();
        let (reason, what) = match fault {
            Some(LocalFault::DeadLink(device)) => {
                (Reason::LocalLinkDown, format!("the interface {device} is down or has no carrier"))
            }
            // Where there was no way, no neighbour was asked.
            _ if failure.reason == Reason::UnroutableLocal => return failure,
            Some(LocalFault::SilentNeighbour(neighbour)) => {
                (Reason::ArpUnresolved, format!("the next hop {neighbour} does not answer to its address"))
            }
            Some(LocalFault::NoWay(what)) if failure.reason != Reason::ArpUnresolved => (Reason::UnroutableLocal, what),
            Some(LocalFault::NoWay(_)) | None => return failure,
        };
        Failure { reason, detail: format!("{what}: {}", failure.detail), offender: None, ..failure }
    }
}

/// Whether the target is spoken to over QUIC. Others, on the way, never are.
fn is_quic(probe: &Probe<'_>) -> bool {
    let over_quic = matches!(&probe.request.module.prober, Prober::Http(settings) if settings.http3.is_some());
    over_quic && lock(&probe.notes).aside.is_empty()
}

/// What it means that the deadline came in the running phase.
pub(super) fn timed_out(probe: &Probe<'_>) -> Failure {
    let told = probe.timeline.told().unwrap_or(Phase::Resolve);
    let phase = probe.timeline.current().unwrap_or(told);
    let delivery = *lock(&probe.delivery);
    let through_proxy = lock(&probe.notes).through_proxy;
    let (reason, what) = match phase {
        _ if lock(&probe.notes).computing => {
            (Reason::ProberOverload, "this program did not come to the end of its checks")
        }
        Phase::Resolve => (Reason::DnsTimeout, "no answer from the name servers"),
        Phase::Connect if !probe.request.module.prober.leaves_this_host() => {
            (Reason::ConnectionTimeout, "the listener did not accept what waits for it")
        }
        Phase::Connect if is_quic(probe) => (Reason::ConnectionTimeout, "no answer to the handshake of QUIC"),
        Phase::Connect => (Reason::ConnectionTimeout, "no answer to the SYN"),
        Phase::Tls | Phase::Legacy => (Reason::TlsTimeout, "the TLS handshake did not end"),
        Phase::Query | Phase::Processing if delivery == Delivery::Blocked => {
            (Reason::ConnectionWriteTimeout, "the server did not take all that was to be sent")
        }
        Phase::Query if delivery == Delivery::Unacknowledged => {
            (Reason::ConnectionWriteTimeout, "the server did not acknowledge what was sent")
        }
        Phase::Query if matches!(&probe.request.module.prober, Prober::Stun(settings) if settings.transport == Transport::Udp) => {
            (Reason::ConnectionTimeout, "no answer from the STUN server")
        }
        Phase::Query if matches!(probe.request.module.prober, Prober::Dns(_)) => {
            (Reason::DnsTimeout, "no reply from the name server")
        }
        Phase::Query => (Reason::ConnectionReadTimeout, "the expected answer did not come"),
        Phase::Processing if delivery == Delivery::Unacknowledged => {
            (Reason::HttpResponseTimeout(Late::Network), "the server did not acknowledge the request")
        }
        Phase::Processing if delivery == Delivery::Acknowledged && !through_proxy => (
            Reason::HttpResponseTimeout(Late::Server),
            "the server acknowledged the request, and did not begin to answer",
        ),
        Phase::Processing => (Reason::HttpResponseTimeout(Late::Unknown), "the response did not begin"),
        Phase::Transfer => (Reason::HttpResponseTimeout(Late::Unknown), "the response did not end"),
        Phase::Setup => (Reason::ProberError, "the sockets were not ready"),
        Phase::Interval | Phase::Rtt => (Reason::IcmpTimeout, "no echo reply"),
        Phase::Trace => (Reason::IcmpTimeout, "the destination did not answer"),
        Phase::Mtu => (Reason::IcmpTimeout, "the largest packet of the path was not found"),
        Phase::Lookup => (Reason::DnsTimeout, "no answer about the hops from the name servers"),
        Phase::Token => (Reason::HttpResponseTimeout(Late::Unknown), "another probe's fetch of it did not end"),
    };
    let whom: String = lock(&probe.notes).aside.iter().map(|whom| format!("{whom}: ")).collect();
    let detail = format!("{whom}{what} within {} s", (probe.deadline - probe.started).as_secs_f64());
    Failure { phase: told, ..probe.failure(reason, detail) }
}
