//! How the evidence decides between the reasons.

use super::Reason;
use crate::flight::Phase;

/// What a router, or the destination, said by ICMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// ICMPv4.
    Icmp {
        /// Type.
        ty: u8,
        /// Code.
        code: u8,
    },
    /// ICMPv6.
    Icmp6 {
        /// Type.
        ty: u8,
        /// Code.
        code: u8,
    },
}

impl Reason {
    /// What the number of an I/O error and its evidence mean for a conversation in `phase`.
    ///
    /// The error queue decides before the errno: both "host unreachable" and "administratively prohibited" are `EHOSTUNREACH`.
    #[must_use]
    pub fn of_io_error(phase: Phase, errno: Option<i32>, evidence: Option<Evidence>) -> Self {
        if let Some(reason) = evidence.and_then(Self::of_evidence) {
            return reason;
        }
        match errno {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS) => Self::ProberError,
            Some(libc::EPERM | libc::EACCES | libc::EINVAL | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => {
                Self::ProberConfigError
            }
            Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) => Self::SourcePortExhausted,
            Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO) => Self::LocalLinkDown,
            Some(libc::ENETUNREACH) => Self::UnroutableLocal,
            Some(libc::EHOSTUNREACH) if evidence.is_some() => Self::HostUnreachable,
            Some(libc::EHOSTUNREACH) => Self::ArpUnresolved,
            Some(libc::ECONNREFUSED) => Self::ConnectionRefused,
            Some(libc::EMSGSIZE) => Self::PmtuExceeded,
            Some(libc::ETIMEDOUT) => match phase {
                Phase::Connect => Self::ConnectionTimeout,
                Phase::Tls => Self::TlsTimeout,
                Phase::Resolve => Self::DnsTimeout,
                // Only what is not acknowledged is waited for by the kernel.
                _ => Self::ConnectionWriteTimeout,
            },
            Some(libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED) => match phase {
                Phase::Connect | Phase::Tls => Self::ConnectionResetHandshake,
                _ => Self::ConnectionTerminated,
            },
            _ => Self::Unknown,
        }
    }

    /// What an ICMP message (RFC 792, RFC 1812 section 5.2.7, RFC 4443 section 3) means, where it means failure.
    #[must_use]
    pub fn of_evidence(evidence: Evidence) -> Option<Self> {
        Some(match evidence {
            Evidence::Icmp { ty: 3, code } => match code {
                0 | 6 | 11 => Self::NetUnreachable,
                1 | 7 | 8 | 12 => Self::HostUnreachable,
                2 => Self::ProtocolUnreachable,
                3 => Self::PortUnreachable,
                4 => Self::PmtuExceeded,
                9 | 10 | 13 => Self::AdminProhibited,
                _ => Self::HostUnreachable,
            },
            // Code 1 says that fragments got lost, and so the packet.
            Evidence::Icmp { ty: 11, code: 0 } | Evidence::Icmp6 { ty: 3, code: 0 } => Self::TtlExceeded,
            Evidence::Icmp6 { ty: 1, code } => match code {
                0 => Self::NetUnreachable,
                1 | 5 | 6 => Self::AdminProhibited,
                4 => Self::PortUnreachable,
                _ => Self::HostUnreachable,
            },
            Evidence::Icmp6 { ty: 2, .. } => Self::PmtuExceeded,
            Evidence::Icmp { ty: 12, .. } | Evidence::Icmp6 { ty: 4, .. } => Self::ProtocolUnreachable,
            Evidence::Icmp { .. } | Evidence::Icmp6 { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_queue_decides_before_the_errno() {
        let prohibited = Some(Evidence::Icmp { ty: 3, code: 13 });
        let of = |evidence| Reason::of_io_error(Phase::Connect, Some(libc::EHOSTUNREACH), evidence);
        assert_eq!(of(prohibited), Reason::AdminProhibited);
        assert_eq!(of(Some(Evidence::Icmp { ty: 3, code: 1 })), Reason::HostUnreachable);
        assert_eq!(of(Some(Evidence::Icmp6 { ty: 1, code: 3 })), Reason::HostUnreachable);
        assert_eq!(of(Some(Evidence::Icmp { ty: 11, code: 1 })), Reason::HostUnreachable, "somebody else said so");
        assert_eq!(of(None), Reason::ArpUnresolved);
    }

    #[test]
    fn an_error_without_evidence_means_what_its_number_and_the_phase_say() {
        use Phase::{Connect, Processing, Query, Resolve, Tls};
        use Reason::*;
        let table: [(&[i32], &[Phase], Reason); 15] = [
            (&[libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS], &[Connect, Query], ProberError),
            (&[libc::EPERM, libc::EACCES, libc::EINVAL], &[Connect, Query], ProberConfigError),
            (&[libc::EADDRNOTAVAIL, libc::EADDRINUSE], &[Connect], SourcePortExhausted),
            (&[libc::ENETDOWN, libc::ENODEV, libc::ENXIO], &[Connect, Query], LocalLinkDown),
            (&[libc::ENETUNREACH], &[Connect], UnroutableLocal),
            (&[libc::EHOSTUNREACH], &[Connect, Query], ArpUnresolved),
            (&[libc::ECONNREFUSED], &[Connect], ConnectionRefused),
            (&[libc::EMSGSIZE], &[Query], PmtuExceeded),
            (&[libc::ETIMEDOUT], &[Connect], ConnectionTimeout),
            (&[libc::ETIMEDOUT], &[Tls], TlsTimeout),
            (&[libc::ETIMEDOUT], &[Resolve], DnsTimeout),
            (&[libc::ETIMEDOUT], &[Processing, Query], ConnectionWriteTimeout),
            (&[libc::ECONNRESET, libc::EPIPE], &[Connect, Tls], ConnectionResetHandshake),
            (&[libc::ECONNRESET, libc::EPIPE], &[Processing, Query], ConnectionTerminated),
            (&[libc::ENOTTY], &[Connect, Query], Unknown),
        ];
        for (numbers, phases, reason) in table {
            for (number, phase) in numbers.iter().flat_map(|number| phases.iter().map(move |phase| (*number, *phase))) {
                let of = Reason::of_io_error(phase, Some(number), None);
                assert_eq!(of, reason, "{} in {}", std::io::Error::from_raw_os_error(number), phase.name());
            }
        }
    }

    #[test]
    fn every_icmp_message_has_its_reason() {
        use Reason::*;
        let v4 = |ty, code| Evidence::Icmp { ty, code };
        let v6 = |ty, code| Evidence::Icmp6 { ty, code };
        let table: [(&[Evidence], Option<Reason>); 9] = [
            (&[v4(3, 0), v4(3, 6), v4(3, 11), v6(1, 0)], Some(NetUnreachable)),
            (&[v4(3, 1), v4(3, 5), v4(3, 7), v4(3, 8), v4(3, 12), v6(1, 2), v6(1, 3)], Some(HostUnreachable)),
            (&[v4(3, 9), v4(3, 10), v4(3, 13), v6(1, 1), v6(1, 5), v6(1, 6)], Some(AdminProhibited)),
            (&[v4(3, 2), v4(12, 0), v6(4, 1)], Some(ProtocolUnreachable)),
            (&[v4(3, 3), v6(1, 4)], Some(PortUnreachable)),
            (&[v4(11, 0), v6(3, 0)], Some(TtlExceeded)),
            (&[v4(3, 4), v6(2, 0)], Some(PmtuExceeded)),
            (&[v4(3, 14), v4(3, 15), v6(1, 7)], Some(HostUnreachable)),
            (&[v4(11, 1), v6(3, 1), v4(0, 0), v4(5, 1), v6(129, 0)], None),
        ];
        for (messages, reason) in table {
            for message in messages {
                assert_eq!(Reason::of_evidence(*message), reason, "{message:?}");
            }
        }
    }
}
