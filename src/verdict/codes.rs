//! The reasons in the words of HAProxy and Envoy.

use super::Reason;
use crate::flight::Phase;

impl Reason {
    /// HAProxy's code for such a failed health check (its `check_status`) in a phase; empty where it has none.
    ///
    /// It looks at how far the connection is: what goes wrong before it is there is `L4…`, in the TLS handshake `L6…`, and later `L7…`, or
    /// `SOCKERR` where the connection broke and nothing was said.
    #[must_use]
    pub fn haproxy(self, phase: Phase) -> &'static str {
        match self {
            _ if self.is_of_name_servers(phase) => "",
            Self::ProberError
            | Self::ProberConfigError
            | Self::SourceAddressUnavailable
            | Self::SourcePortExhausted => "SOCKERR",
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
            | Self::ConnectionRefused => "L4CON",
            Self::ConnectionResetHandshake => match phase {
                Phase::Tls => "L6RSP",
                Phase::Query => "SOCKERR",
                _ => "L4CON",
            },
            // HAProxy says SOCKERR of a reset, L7RSP of a close; which of them it is may be chance.
            Self::ConnectionTerminated if phase == Phase::Tls => "L6RSP",
            Self::ConnectionTerminated => "L7RSP",
            Self::ConnectionTimeout => "L4TOUT",
            Self::TlsTimeout => "L6TOUT",
            Self::TlsProtocolError
            | Self::TlsAlertReceived(_)
            | Self::TlsClientCertRejected
            | Self::TlsCertificateError(_) => "L6RSP",
            Self::ConnectionReadTimeout | Self::ConnectionWriteTimeout | Self::HttpResponseTimeout(_) => "L7TOUT",
            Self::HttpProtocolError
            | Self::HttpStreamReset
            | Self::HttpResponseIncomplete
            | Self::HttpResponseHeaderSize
            | Self::HttpResponseBodySize
            | Self::TooManyRedirects
            | Self::StunAnswerUnexpected
            | Self::AssertionFailedBody
            | Self::AssertionFailedDns => "L7RSP",
            Self::HttpStatusUnexpected(_)
            | Self::HttpUpstreamUnhealthy
            | Self::HttpNoRoute
            | Self::HttpRateLimited { .. }
            | Self::StunError(_)
            | Self::AssertionFailedTls
            | Self::AssertionFailedHeader => "L7STS",
            Self::Unknown => "UNK",
            Self::ProberOverload
            | Self::EgressMismatch
            | Self::DnsTimeout
            | Self::DnsNxdomain
            | Self::DnsNodata
            | Self::DnsServfail
            | Self::DnsRefused
            | Self::DestinationIpProhibited
            | Self::DnsAnswerUnexpected
            | Self::IcmpTimeout
            | Self::IcmpLossPartial
            | Self::Aborted => "",
        }
    }

    /// Envoy's response flag for such a failure in a phase; empty where it has none.
    #[must_use]
    pub fn envoy(self, phase: Phase) -> &'static str {
        match self {
            _ if self.is_of_name_servers(phase) => "DF",
            Self::ProberError => "OM",
            Self::ProberConfigError => "NC",
            Self::ProberOverload | Self::SourcePortExhausted => "UO",
            Self::DnsTimeout | Self::DnsNxdomain | Self::DnsNodata | Self::DnsServfail | Self::DnsRefused => "DF",
            // A connection is there for Envoy when its TLS is.
            Self::ConnectionTerminated if phase == Phase::Tls => "UF",
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
            Self::ConnectionReadTimeout | Self::ConnectionWriteTimeout | Self::HttpResponseTimeout(_) => "UT",
            Self::HttpProtocolError => "UPE",
            Self::HttpStreamReset => "UR",
            Self::HttpRateLimited { by_envoy: true } => "RL",
            Self::HttpUpstreamUnhealthy => "UH",
            Self::HttpNoRoute => "NR",
            Self::Aborted => "DC",
            Self::SourceAddressUnavailable
            | Self::EgressMismatch
            | Self::DestinationIpProhibited
            | Self::HttpRateLimited { by_envoy: false }
            | Self::HttpStatusUnexpected(_)
            | Self::HttpResponseHeaderSize
            | Self::HttpResponseBodySize
            | Self::TooManyRedirects
            | Self::StunError(_)
            | Self::StunAnswerUnexpected
            | Self::AssertionFailedTls
            | Self::AssertionFailedHeader
            | Self::AssertionFailedBody
            | Self::AssertionFailedDns
            | Self::DnsAnswerUnexpected
            | Self::IcmpTimeout
            | Self::IcmpLossPartial
            | Self::Unknown => "",
        }
    }

    /// Whether it is what the network, or the name server's host, says of a question for the target's name: there is no connection to the
    /// target yet.
    fn is_of_name_servers(self, phase: Phase) -> bool {
        let is_of_the_way = matches!(
            self,
            Self::NetUnreachable
                | Self::HostUnreachable
                | Self::AdminProhibited
                | Self::ProtocolUnreachable
                | Self::PortUnreachable
                | Self::TtlExceeded
                | Self::PmtuExceeded
                | Self::ConnectionTimeout
                | Self::ConnectionRefused
                | Self::ConnectionResetHandshake
                | Self::ConnectionTerminated
                | Self::ConnectionWriteTimeout
        );
        phase == Phase::Resolve && is_of_the_way
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::verdict::{CertificateFault, Late, StatusClass};

    /// Every reason by every phase that decides on its codes: its name, HAProxy's check status, Envoy's response flag.
    #[test]
    fn every_reason_has_the_codes_of_haproxy_and_envoy_for_its_phase() {
        use Reason::*;
        let certificate = |fault| (TlsCertificateError(fault), Phase::Tls);
        let status = |class| (HttpStatusUnexpected(class), Phase::Transfer);
        let table = [
            ((ProberError, Phase::Setup), "prober_error", "SOCKERR", "OM"),
            ((ProberConfigError, Phase::Setup), "prober_config_error", "SOCKERR", "NC"),
            ((ProberOverload, Phase::Setup), "prober_overload", "", "UO"),
            ((SourceAddressUnavailable, Phase::Connect), "source_address_unavailable", "SOCKERR", ""),
            ((SourcePortExhausted, Phase::Connect), "source_port_exhausted", "SOCKERR", "UO"),
            ((LocalLinkDown, Phase::Connect), "local_link_down", "L4CON", "UF"),
            ((EgressMismatch, Phase::Trace), "egress_mismatch", "", ""),
            ((DnsTimeout, Phase::Resolve), "dns_timeout", "", "DF"),
            ((DnsNxdomain, Phase::Resolve), "dns_error:nxdomain", "", "DF"),
            ((DnsNodata, Phase::Resolve), "dns_error:nodata", "", "DF"),
            ((DnsServfail, Phase::Resolve), "dns_error:servfail", "", "DF"),
            ((DnsRefused, Phase::Resolve), "dns_error:refused", "", "DF"),
            ((DnsAnswerUnexpected, Phase::Query), "dns_answer_unexpected", "", ""),
            ((DestinationIpProhibited, Phase::Resolve), "destination_ip_prohibited", "", ""),
            ((UnroutableLocal, Phase::Connect), "destination_ip_unroutable:local", "L4CON", "UF"),
            ((ArpUnresolved, Phase::Connect), "arp_unresolved", "L4CON", "UF"),
            ((NetUnreachable, Phase::Connect), "net_unreachable", "L4CON", "UF"),
            ((NetUnreachable, Phase::Resolve), "net_unreachable", "", "DF"),
            ((HostUnreachable, Phase::Connect), "host_unreachable", "L4CON", "UF"),
            ((AdminProhibited, Phase::Connect), "admin_prohibited", "L4CON", "UF"),
            ((ProtocolUnreachable, Phase::Trace), "protocol_unreachable", "L4CON", "UF"),
            ((PortUnreachable, Phase::Query), "port_unreachable", "L4CON", "UF"),
            ((TtlExceeded, Phase::Rtt), "ttl_exceeded", "L4CON", "UF"),
            ((PmtuExceeded, Phase::Rtt), "pmtu_exceeded", "L4CON", "UF"),
            ((ConnectionTimeout, Phase::Connect), "connection_timeout", "L4TOUT", "UF"),
            ((ConnectionRefused, Phase::Connect), "connection_refused", "L4CON", "UF"),
            ((ConnectionRefused, Phase::Resolve), "connection_refused", "", "DF"),
            ((ConnectionResetHandshake, Phase::Connect), "connection_reset_handshake", "L4CON", "UF"),
            ((ConnectionResetHandshake, Phase::Tls), "connection_reset_handshake", "L6RSP", "UF"),
            ((ConnectionResetHandshake, Phase::Query), "connection_reset_handshake", "SOCKERR", "UF"),
            ((ConnectionTerminated, Phase::Tls), "connection_terminated", "L6RSP", "UF"),
            ((ConnectionTerminated, Phase::Processing), "connection_terminated", "L7RSP", "UC"),
            ((ConnectionTerminated, Phase::Query), "connection_terminated", "L7RSP", "UC"),
            ((ConnectionReadTimeout, Phase::Query), "connection_read_timeout", "L7TOUT", "UT"),
            ((ConnectionWriteTimeout, Phase::Query), "connection_write_timeout", "L7TOUT", "UT"),
            ((TlsTimeout, Phase::Tls), "tls_timeout", "L6TOUT", "UF"),
            ((TlsProtocolError, Phase::Tls), "tls_protocol_error", "L6RSP", "UF"),
            ((TlsAlertReceived(112), Phase::Tls), "tls_alert_received:112", "L6RSP", "UF"),
            ((TlsClientCertRejected, Phase::Tls), "tls_client_cert_rejected", "L6RSP", "UF"),
            (certificate(CertificateFault::Expired), "tls_certificate_error:expired", "L6RSP", "UF"),
            (certificate(CertificateFault::NotYetValid), "tls_certificate_error:not_yet_valid", "L6RSP", "UF"),
            (certificate(CertificateFault::NameMismatch), "tls_certificate_error:name_mismatch", "L6RSP", "UF"),
            (certificate(CertificateFault::UnknownCa), "tls_certificate_error:unknown_ca", "L6RSP", "UF"),
            (certificate(CertificateFault::SelfSigned), "tls_certificate_error:self_signed", "L6RSP", "UF"),
            (certificate(CertificateFault::Revoked), "tls_certificate_error:revoked", "L6RSP", "UF"),
            (certificate(CertificateFault::Invalid), "tls_certificate_error", "L6RSP", "UF"),
            ((HttpProtocolError, Phase::Transfer), "http_protocol_error", "L7RSP", "UPE"),
            ((HttpStreamReset, Phase::Processing), "http_protocol_error", "L7RSP", "UR"),
            ((HttpResponseTimeout(Late::Server), Phase::Processing), "http_response_timeout:server", "L7TOUT", "UT"),
            ((HttpResponseTimeout(Late::Network), Phase::Processing), "http_response_timeout:network", "L7TOUT", "UT"),
            ((HttpResponseTimeout(Late::Unknown), Phase::Transfer), "http_response_timeout", "L7TOUT", "UT"),
            ((HttpResponseIncomplete, Phase::Transfer), "http_response_incomplete", "L7RSP", "UC"),
            ((HttpResponseHeaderSize, Phase::Transfer), "http_response_header_size", "L7RSP", ""),
            ((HttpResponseBodySize, Phase::Transfer), "http_response_body_size", "L7RSP", ""),
            ((HttpUpstreamUnhealthy, Phase::Transfer), "http_upstream_unhealthy", "L7STS", "UH"),
            ((HttpNoRoute, Phase::Transfer), "http_no_route", "L7STS", "NR"),
            (status(StatusClass::Informational), "http_status_unexpected:1xx", "L7STS", ""),
            (status(StatusClass::Success), "http_status_unexpected:2xx", "L7STS", ""),
            (status(StatusClass::Redirection), "http_status_unexpected:3xx", "L7STS", ""),
            (status(StatusClass::ClientError), "http_status_unexpected:4xx", "L7STS", ""),
            (status(StatusClass::ServerError), "http_status_unexpected:5xx", "L7STS", ""),
            (status(StatusClass::Other), "http_status_unexpected:other", "L7STS", ""),
            ((HttpRateLimited { by_envoy: true }, Phase::Transfer), "http_rate_limited", "L7STS", "RL"),
            ((HttpRateLimited { by_envoy: false }, Phase::Transfer), "http_rate_limited", "L7STS", ""),
            ((TooManyRedirects, Phase::Transfer), "too_many_redirects", "L7RSP", ""),
            ((StunError(StatusClass::Redirection), Phase::Query), "stun_error:3xx", "L7STS", ""),
            ((StunError(StatusClass::ClientError), Phase::Query), "stun_error:4xx", "L7STS", ""),
            ((StunError(StatusClass::ServerError), Phase::Query), "stun_error:5xx", "L7STS", ""),
            ((StunError(StatusClass::Other), Phase::Query), "stun_error:other", "L7STS", ""),
            ((StunAnswerUnexpected, Phase::Query), "stun_answer_unexpected", "L7RSP", ""),
            ((AssertionFailedTls, Phase::Transfer), "assertion_failed:tls", "L7STS", ""),
            ((AssertionFailedHeader, Phase::Transfer), "assertion_failed:header", "L7STS", ""),
            ((AssertionFailedBody, Phase::Query), "assertion_failed:body", "L7RSP", ""),
            ((AssertionFailedDns, Phase::Query), "assertion_failed:dns", "L7RSP", ""),
            ((IcmpTimeout, Phase::Rtt), "icmp_timeout", "", ""),
            ((IcmpLossPartial, Phase::Trace), "icmp_loss_partial", "", ""),
            ((Aborted, Phase::Connect), "aborted", "", "DC"),
            ((Unknown, Phase::Connect), "unknown", "UNK", ""),
        ];
        for ((reason, phase), name, haproxy, envoy) in table {
            assert_eq!(reason.name(), name);
            assert_eq!((reason.haproxy(phase), reason.envoy(phase)), (haproxy, envoy), "{name} in {}", phase.name());
        }
        let told: BTreeSet<_> = table.iter().map(|(_, name, ..)| name.replace("112", "{alert}")).collect();
        let (_, names) = include_str!("reason.rs").split_once("pub fn name(self)").unwrap();
        let names = names.split_once("\n    }\n").unwrap().0.split('"').skip(1).step_by(2);
        assert_eq!(told, names.map(str::to_owned).collect(), "the table has them all");
    }
}
