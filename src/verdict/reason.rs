//! The closed list of reasons why a probe fails.

/// Why a probe failed. Names are RFC 9209's Proxy-Status error types where one exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Something broke in this program, or the host ran out of descriptors or memory.
    ProberError,
    /// The probe cannot be made as it is configured on this host: a missing capability, a refused option.
    ProberConfigError,
    /// This program refused to have more packets in flight, was kept from its work for half of the time that the probe had, or could not
    /// check an answer in time.
    ProberOverload,
    /// The ISP's source address is not on this host, or it has none of the target's family.
    SourceAddressUnavailable,
    /// No source port is left.
    SourcePortExhausted,
    /// The ISP's interface does not exist or is down.
    LocalLinkDown,
    /// The packets left, or would have, through another ISP than the one that was named.
    EgressMismatch,
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
    /// The peer ended the handshake of TLS without a byte, or reset the connection before anything was said over it.
    ConnectionResetHandshake,
    /// The peer ended the connection where an answer was due. Whether it closed or reset it is not told apart: where it leaves unread what was
    /// said to it, that is chance.
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
    /// The peer asked for our certificate, and refused it, or that there was none.
    TlsClientCertRejected,
    /// The peer's certificate is not good.
    TlsCertificateError(CertificateFault),
    /// The response is not HTTP.
    HttpProtocolError,
    /// The server gave up the one request, and not the connection, by a reset of its stream (HTTP/2, HTTP/3). It has the name of
    /// [`Self::HttpProtocolError`].
    HttpStreamReset,
    /// The whole of the response did not come in time.
    HttpResponseTimeout(Late),
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
    HttpRateLimited {
        /// Whether an Envoy on the way said so for itself, and not the server.
        by_envoy: bool,
    },
    /// More redirects than are followed.
    TooManyRedirects,
    /// A STUN server answers with an error (RFC 8489, section 14.8).
    StunError(StatusClass),
    /// What a STUN server said is no answer that can be used.
    StunAnswerUnexpected,
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
    /// Too few packets were answered for what they were to tell.
    IcmpLossPartial,
    /// Whoever wanted to know went away before the probe had ended.
    Aborted,
    /// None of the above. It must stay 0.
    Unknown,
}

/// Who kept a response from coming in time, as far as the acknowledgement of the request tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Late {
    /// The server has the request, and does not begin to answer.
    Server,
    /// The request is not acknowledged.
    Network,
    /// Either: the response has begun, or somebody between us and the server acknowledges, or it is too early to tell.
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
            Self::EgressMismatch => "egress_mismatch",
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
            Self::HttpProtocolError | Self::HttpStreamReset => "http_protocol_error",
            Self::HttpResponseTimeout(late) => match late {
                Late::Server => "http_response_timeout:server",
                Late::Network => "http_response_timeout:network",
                Late::Unknown => "http_response_timeout",
            },
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
            Self::HttpRateLimited { .. } => "http_rate_limited",
            Self::TooManyRedirects => "too_many_redirects",
            Self::StunError(class) => match class {
                StatusClass::Redirection => "stun_error:3xx",
                StatusClass::ClientError => "stun_error:4xx",
                StatusClass::ServerError => "stun_error:5xx",
                StatusClass::Informational | StatusClass::Success | StatusClass::Other => "stun_error:other",
            },
            Self::StunAnswerUnexpected => "stun_answer_unexpected",
            Self::AssertionFailedTls => "assertion_failed:tls",
            Self::AssertionFailedHeader => "assertion_failed:header",
            Self::AssertionFailedBody => "assertion_failed:body",
            Self::AssertionFailedDns => "assertion_failed:dns",
            Self::IcmpTimeout => "icmp_timeout",
            Self::IcmpLossPartial => "icmp_loss_partial",
            Self::Aborted => "aborted",
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
                | Self::HttpResponseTimeout(_)
                | Self::IcmpTimeout
        )
    }

    /// Whether it speaks of names.
    #[must_use]
    pub fn is_of_names(self) -> bool {
        matches!(
            self,
            Self::DnsTimeout
                | Self::DnsNxdomain
                | Self::DnsNodata
                | Self::DnsServfail
                | Self::DnsRefused
                | Self::DnsAnswerUnexpected
        )
    }
}
