//! Why a probe failed: the reasons, and how the evidence decides between them.

use std::fmt;
use std::net::IpAddr;

use crate::flight::Phase;

/// A failed probe: what was running, and why it went no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The phase that was running.
    pub phase: Phase,
    /// The reason, for labels.
    pub reason: Reason,
    /// The same for a person, with names and addresses.
    pub detail: String,
    /// The node that reported it, where one did.
    pub offender: Option<IpAddr>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {} ({})", self.phase.name(), self.detail, self.reason.name())?;
        match self.offender {
            Some(offender) => write!(f, ", reported by {offender}"),
            None => Ok(()),
        }
    }
}

/// Why a probe failed. Names are RFC 9209's Proxy-Status error types where one exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Something broke in this program, or the host ran out of descriptors or memory.
    ProberError,
    /// The probe cannot be made as it is configured on this host: a missing capability, a refused option.
    ProberConfigError,
    /// This program refused to have more packets in flight, or was kept from its work for half of the time that the probe had.
    ProberOverload,
    /// The ISP's source address is not on this host, or it has none of the target's family.
    SourceAddressUnavailable,
    /// No source port is left.
    SourcePortExhausted,
    /// The ISP's interface does not exist or is down.
    LocalLinkDown,
    /// No name server answered in time.
    DnsTimeout,
    /// The name does not exist.
    DnsNxdomain,
    /// The name has no address of the family that is asked for.
    DnsNodata,
    /// The name server failed.
    DnsServfail,
    /// The name server refused to answer.
    DnsRefused,
    /// The name has an address that no single host has (unspecified, multicast, broadcast).
    DestinationIpProhibited,
    /// What the name server said is broken, or no reply to the question.
    DnsAnswerUnexpected,
    /// This host has no route.
    UnroutableLocal,
    /// The gateway, or a neighbour, does not answer to its address (ARP, ND).
    ArpUnresolved,
    /// A router has no route to the network.
    NetUnreachable,
    /// A router cannot reach the host.
    HostUnreachable,
    /// A router or firewall forbids it.
    AdminProhibited,
    /// The host does not speak the protocol.
    ProtocolUnreachable,
    /// Nothing listens on the port, said by ICMP.
    PortUnreachable,
    /// The packets went in a circle, or their hop limit was too small.
    TtlExceeded,
    /// The packets were too big for a link, and may not be split.
    PmtuExceeded,
    /// No answer to a SYN.
    ConnectionTimeout,
    /// The SYN was answered with a reset.
    ConnectionRefused,
    /// The connection was reset before the first byte of the application.
    ConnectionResetHandshake,
    /// The peer ended the connection where an answer was due.
    ConnectionTerminated,
    /// Connected, and no data came.
    ConnectionReadTimeout,
    /// Connected, and the data we sent was not taken.
    ConnectionWriteTimeout,
    /// The TLS handshake did not end in time.
    TlsTimeout,
    /// The peer does not speak TLS, or not as we do.
    TlsProtocolError,
    /// The peer ended the TLS handshake with an alert: its number (RFC 8446, section 6).
    TlsAlertReceived(u8),
    /// The peer refused our client certificate, or that there was none.
    TlsClientCertRejected,
    /// The peer's certificate is not good.
    TlsCertificateError(CertificateFault),
    /// The response is not HTTP.
    HttpProtocolError,
    /// The whole of the response did not come in time.
    HttpResponseTimeout,
    /// The server broke the response off before its end.
    HttpResponseIncomplete,
    /// The head of the response is larger than any should be.
    HttpResponseHeaderSize,
    /// The body of the response, or a message, is larger than the module allows or than this program takes.
    HttpResponseBodySize,
    /// A proxy says that it has no server that could answer (503, of Envoy or with RFC 9209's header).
    HttpUpstreamUnhealthy,
    /// A proxy says that it knows no way to the URL (an empty 404 of Envoy).
    HttpNoRoute,
    /// The status code is not one of those that are allowed.
    HttpStatusUnexpected(StatusClass),
    /// Status 429.
    HttpRateLimited,
    /// More redirects than are followed.
    TooManyRedirects,
    /// What the module expects of the TLS layer did not hold.
    AssertionFailedTls,
    /// What the module expects of the answer's protocol or headers did not hold.
    AssertionFailedHeader,
    /// What the module expects of the answer's bytes did not hold.
    AssertionFailedBody,
    /// What the module expects of the records of a reply did not hold.
    AssertionFailedDns,
    /// No echo request was answered.
    IcmpTimeout,
    /// None of the above. It must stay 0.
    Unknown,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertificateFault {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for another name.
    NameMismatch,
    /// Nobody we trust signed it.
    UnknownCa,
    /// It signed itself.
    SelfSigned,
    /// It was revoked.
    Revoked,
    /// It, or a signature in its chain, cannot be used.
    Invalid,
}

/// The first digit of a status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatusClass {
    /// 1xx
    Informational,
    /// 2xx
    Success,
    /// 3xx
    Redirection,
    /// 4xx
    ClientError,
    /// 5xx
    ServerError,
    /// No class of RFC 9110.
    Other,
}

impl StatusClass {
    /// The class of a status code.
    #[must_use]
    pub fn of(code: u16) -> Self {
        match code / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            5 => Self::ServerError,
            _ => Self::Other,
        }
    }
}

impl Reason {
    /// The label value in metrics.
    #[must_use]
    pub fn name(self) -> std::borrow::Cow<'static, str> {
        use std::borrow::Cow::{Borrowed, Owned};
        Borrowed(match self {
            Self::ProberError => "prober_error",
            Self::ProberConfigError => "prober_config_error",
            Self::ProberOverload => "prober_overload",
            Self::SourceAddressUnavailable => "source_address_unavailable",
            Self::SourcePortExhausted => "source_port_exhausted",
            Self::LocalLinkDown => "local_link_down",
            Self::DnsTimeout => "dns_timeout",
            Self::DnsNxdomain => "dns_error:nxdomain",
            Self::DnsNodata => "dns_error:nodata",
            Self::DnsServfail => "dns_error:servfail",
            Self::DnsRefused => "dns_error:refused",
            Self::DestinationIpProhibited => "destination_ip_prohibited",
            Self::DnsAnswerUnexpected => "dns_answer_unexpected",
            Self::UnroutableLocal => "destination_ip_unroutable:local",
            Self::ArpUnresolved => "arp_unresolved",
            Self::NetUnreachable => "net_unreachable",
            Self::HostUnreachable => "host_unreachable",
            Self::AdminProhibited => "admin_prohibited",
            Self::ProtocolUnreachable => "protocol_unreachable",
            Self::PortUnreachable => "port_unreachable",
            Self::TtlExceeded => "ttl_exceeded",
            Self::PmtuExceeded => "pmtu_exceeded",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionResetHandshake => "connection_reset_handshake",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ConnectionReadTimeout => "connection_read_timeout",
            Self::ConnectionWriteTimeout => "connection_write_timeout",
            Self::TlsTimeout => "tls_timeout",
            Self::TlsProtocolError => "tls_protocol_error",
            Self::TlsAlertReceived(alert) => return Owned(format!("tls_alert_received:{alert}")),
            Self::TlsClientCertRejected => "tls_client_cert_rejected",
            Self::TlsCertificateError(fault) => match fault {
                CertificateFault::Expired => "tls_certificate_error:expired",
                CertificateFault::NotYetValid => "tls_certificate_error:not_yet_valid",
                CertificateFault::NameMismatch => "tls_certificate_error:name_mismatch",
                CertificateFault::UnknownCa => "tls_certificate_error:unknown_ca",
                CertificateFault::SelfSigned => "tls_certificate_error:self_signed",
                CertificateFault::Revoked => "tls_certificate_error:revoked",
                CertificateFault::Invalid => "tls_certificate_error",
            },
            Self::HttpProtocolError => "http_protocol_error",
            Self::HttpResponseTimeout => "http_response_timeout",
            Self::HttpResponseIncomplete => "http_response_incomplete",
            Self::HttpResponseHeaderSize => "http_response_header_size",
            Self::HttpResponseBodySize => "http_response_body_size",
            Self::HttpUpstreamUnhealthy => "http_upstream_unhealthy",
            Self::HttpNoRoute => "http_no_route",
            Self::HttpStatusUnexpected(class) => match class {
                StatusClass::Informational => "http_status_unexpected:1xx",
                StatusClass::Success => "http_status_unexpected:2xx",
                StatusClass::Redirection => "http_status_unexpected:3xx",
                StatusClass::ClientError => "http_status_unexpected:4xx",
                StatusClass::ServerError => "http_status_unexpected:5xx",
                StatusClass::Other => "http_status_unexpected:other",
            },
            Self::HttpRateLimited => "http_rate_limited",
            Self::TooManyRedirects => "too_many_redirects",
            Self::AssertionFailedTls => "assertion_failed:tls",
            Self::AssertionFailedHeader => "assertion_failed:header",
            Self::AssertionFailedBody => "assertion_failed:body",
            Self::AssertionFailedDns => "assertion_failed:dns",
            Self::IcmpTimeout => "icmp_timeout",
            Self::Unknown => "unknown",
        })
    }

    /// Whether it is a fault of this host, and says nothing about the network beyond it.
    #[must_use]
    pub fn is_of_this_host(self) -> bool {
        matches!(
            self,
            Self::ProberError
                | Self::ProberConfigError
                | Self::ProberOverload
                | Self::SourceAddressUnavailable
                | Self::SourcePortExhausted
                | Self::LocalLinkDown
                | Self::UnroutableLocal
                | Self::ArpUnresolved
        )
    }

    /// Whether it says only that nothing came back, or that there is no way: a dead device of this host looks the same.
    #[must_use]
    pub fn is_silence(self) -> bool {
        matches!(
            self,
            Self::UnroutableLocal
                | Self::ArpUnresolved
                | Self::DnsTimeout
                | Self::ConnectionTimeout
                | Self::ConnectionReadTimeout
                | Self::ConnectionWriteTimeout
                | Self::TlsTimeout
                | Self::HttpResponseTimeout
                | Self::IcmpTimeout
        )
    }

    /// Whether it speaks of names.
    #[must_use]
    pub fn is_of_names(self) -> bool {
        matches!(self, Self::DnsTimeout | Self::DnsNxdomain | Self::DnsNodata | Self::DnsServfail | Self::DnsRefused)
    }

    /// HAProxy's code for such a failed health check (its `check_status`) in a phase; empty where it has none.
    #[must_use]
    pub fn haproxy(self, phase: Phase) -> &'static str {
        match self {
            Self::ConnectionResetHandshake if phase == Phase::Tls => "L6RSP",
            Self::ProberError
            | Self::ProberConfigError
            | Self::SourceAddressUnavailable
            | Self::SourcePortExhausted
            | Self::ConnectionTerminated => "SOCKERR",
            Self::LocalLinkDown
            | Self::UnroutableLocal
            | Self::ArpUnresolved
            | Self::NetUnreachable
            | Self::HostUnreachable
            | Self::AdminProhibited
            | Self::ProtocolUnreachable
            | Self::PortUnreachable
            | Self::TtlExceeded
            | Self::PmtuExceeded
            | Self::ConnectionRefused
            | Self::ConnectionResetHandshake => "L4CON",
            Self::ConnectionTimeout => "L4TOUT",
            Self::TlsTimeout => "L6TOUT",
            Self::TlsProtocolError
            | Self::TlsAlertReceived(_)
            | Self::TlsClientCertRejected
            | Self::TlsCertificateError(_) => "L6RSP",
            Self::ConnectionReadTimeout | Self::ConnectionWriteTimeout | Self::HttpResponseTimeout => "L7TOUT",
            Self::HttpProtocolError
            | Self::HttpResponseIncomplete
            | Self::HttpResponseHeaderSize
            | Self::HttpResponseBodySize
            | Self::TooManyRedirects
            | Self::AssertionFailedBody
            | Self::AssertionFailedDns => "L7RSP",
            Self::HttpStatusUnexpected(_)
            | Self::HttpUpstreamUnhealthy
            | Self::HttpNoRoute
            | Self::HttpRateLimited
            | Self::AssertionFailedTls
            | Self::AssertionFailedHeader => "L7STS",
            Self::Unknown => "UNK",
            Self::ProberOverload
            | Self::DnsTimeout
            | Self::DnsNxdomain
            | Self::DnsNodata
            | Self::DnsServfail
            | Self::DnsRefused
            | Self::DestinationIpProhibited
            | Self::DnsAnswerUnexpected
            | Self::IcmpTimeout => "",
        }
    }

    /// Envoy's response flag for such a failure; empty where it has none.
    #[must_use]
    pub fn envoy(self) -> &'static str {
        match self {
            Self::ProberError => "OM",
            Self::ProberConfigError => "NC",
            Self::ProberOverload | Self::SourcePortExhausted => "UO",
            Self::DnsTimeout | Self::DnsNxdomain | Self::DnsNodata | Self::DnsServfail | Self::DnsRefused => "DF",
            Self::LocalLinkDown
            | Self::UnroutableLocal
            | Self::ArpUnresolved
            | Self::NetUnreachable
            | Self::HostUnreachable
            | Self::AdminProhibited
            | Self::ProtocolUnreachable
            | Self::PortUnreachable
            | Self::TtlExceeded
            | Self::PmtuExceeded
            | Self::ConnectionTimeout
            | Self::ConnectionRefused
            | Self::ConnectionResetHandshake
            | Self::TlsTimeout
            | Self::TlsProtocolError
            | Self::TlsAlertReceived(_)
            | Self::TlsClientCertRejected
            | Self::TlsCertificateError(_) => "UF",
            Self::ConnectionTerminated | Self::HttpResponseIncomplete => "UC",
            Self::ConnectionReadTimeout | Self::ConnectionWriteTimeout | Self::HttpResponseTimeout => "UT",
            Self::HttpProtocolError => "UPE",
            Self::HttpRateLimited => "RL",
            Self::HttpUpstreamUnhealthy => "UH",
            Self::HttpNoRoute => "NR",
            Self::SourceAddressUnavailable
            | Self::DestinationIpProhibited
            | Self::HttpStatusUnexpected(_)
            | Self::HttpResponseHeaderSize
            | Self::HttpResponseBodySize
            | Self::TooManyRedirects
            | Self::AssertionFailedTls
            | Self::AssertionFailedHeader
            | Self::AssertionFailedBody
            | Self::AssertionFailedDns
            | Self::DnsAnswerUnexpected
            | Self::IcmpTimeout
            | Self::Unknown => "",
        }
    }

    /// What a full name of an I/O error and its evidence mean for a conversation in `phase`.
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
            Some(libc::EHOSTUNREACH) => Self::ArpUnresolved,
            Some(libc::ECONNREFUSED) => Self::ConnectionRefused,
            Some(libc::EMSGSIZE) => Self::PmtuExceeded,
            Some(libc::ETIMEDOUT) => match phase {
                Phase::Connect => Self::ConnectionTimeout,
                Phase::Tls => Self::TlsTimeout,
                _ => Self::ConnectionReadTimeout,
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
            Evidence::Icmp { ty: 11, .. } | Evidence::Icmp6 { ty: 3, .. } => Self::TtlExceeded,
            Evidence::Icmp6 { ty: 1, code } => match code {
                0 => Self::NetUnreachable,
                1 | 5 | 6 => Self::AdminProhibited,
                4 => Self::PortUnreachable,
                _ => Self::HostUnreachable,
            },
            Evidence::Icmp6 { ty: 2, .. } => Self::PmtuExceeded,
            Evidence::Icmp6 { ty: 4, .. } => Self::ProtocolUnreachable,
            Evidence::Icmp { .. } | Evidence::Icmp6 { .. } => return None,
        })
    }
}

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
        assert_eq!(of(None), Reason::ArpUnresolved);
    }

    #[test]
    fn a_reset_means_what_the_phase_says() {
        let of = |phase| Reason::of_io_error(phase, Some(libc::ECONNRESET), None);
        assert_eq!(of(Phase::Tls), Reason::ConnectionResetHandshake);
        assert_eq!(of(Phase::Processing), Reason::ConnectionTerminated);
    }

    #[test]
    fn every_unreachable_code_has_its_reason() {
        let reasons =
            (0..=13).map(|code| Reason::of_evidence(Evidence::Icmp { ty: 3, code }).map(|r| r.name().into_owned()));
        let expected = [
            "net_unreachable",
            "host_unreachable",
            "protocol_unreachable",
            "port_unreachable",
            "pmtu_exceeded",
            "host_unreachable",
            "net_unreachable",
            "host_unreachable",
            "host_unreachable",
            "admin_prohibited",
            "admin_prohibited",
            "net_unreachable",
            "host_unreachable",
            "admin_prohibited",
        ];
        assert!(reasons.eq(expected.iter().map(|name| Some((*name).to_owned()))));
    }
}
