//! What differs from blackbox_exporter in what a probe says, each with its reason: the README's table, held by the cases.
//!
//! A difference that is not here fails, and so does one here that none of its cases shows.

#[path = "differences/times.rs"]
mod times;

use crate::case;
use crate::support::peer::Version;

/// A difference.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Series, or how their names begin.
    pub(crate) series: &'static [&'static str],
    /// The cases that have it, or how their names begin and a `*`; none: whichever.
    pub(crate) cases: &'static [&'static str],
    /// How the values differ: one of these ways.
    pub(crate) shapes: &'static [Shape],
    /// The row of the README: what it is about, what blackbox_exporter says, what is said here, and why; empty where it is the row before,
    /// or of no concern to those who come from 0.28.
    pub(crate) row: [&'static str; 4],
}

impl Difference {
    /// Whether it is of a series of a case with these values, and by which of its patterns: of series, and of cases (`""` for whichever).
    /// `answered`: whether a response came there.
    pub(crate) fn is_of(
        &self,
        case: &str,
        name: &str,
        answered: bool,
        there: Option<f64>,
        here: Option<f64>,
    ) -> Option<(&'static str, &'static str)> {
        let series = self.series.iter().find(|start| name.starts_with(**start))?;
        let whichever = self.cases.is_empty().then_some(&"");
        let case = self.cases.iter().find(|pattern| case::fits(case, pattern)).or(whichever)?;
        self.shapes.iter().any(|shape| shape.is_of(answered, there, here)).then_some((*series, *case))
    }
}

/// All that may differ from a version of blackbox_exporter, what must differ first.
pub(crate) fn differences(version: Version) -> impl Iterator<Item = &'static Difference> {
    certain(version).chain(OF_OLDER_GO)
}

/// What differs from a version of blackbox_exporter.
pub(crate) fn certain(version: Version) -> impl Iterator<Item = &'static Difference> {
    let older = OLDER.iter().filter(move |(before, _)| version < *before);
    let newer = NEWER.iter().filter(move |(since, _)| version >= *since);
    DIFFERENCES.iter().chain(times::TIMES).chain(older.chain(newer).map(|(_, difference)| difference))
}

/// The rows of the README's table: what differs from 0.28.
pub(crate) fn rows() -> impl Iterator<Item = [&'static str; 4]> {
    let all =
        DIFFERENCES.iter().chain(times::TIMES).chain(NEWER.iter().map(|(_, difference)| difference)).chain(OF_OLDER_GO);
    all.map(|difference| difference.row).filter(|row| *row != [""; 4])
}

/// A way in which the values of a series differ.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// It has a value there, or this one, and is absent here.
    There(Option<f64>),
    /// The same, where no response came.
    Unanswered(Option<f64>),
    /// It is absent there, and has a value here.
    Here,
    /// It is 0 there, and has another value here.
    Measured,
    /// It has a value there, and is absent here, where the request is refused.
    Refused,
    /// It is a time, and a longer one here.
    Longer,
    /// It is a time, and a shorter one here.
    Shorter,
    /// It is 0 there and 1 here, or the other way round.
    Opposite,
    /// It has this value there, and this one here.
    Values(f64, f64),
    /// Anything may be on either side.
    Any,
}

impl Shape {
    fn is_of(self, answered: bool, there: Option<f64>, here: Option<f64>) -> bool {
        match self {
            Self::There(value) => there.is_some() && here.is_none() && (value.is_none() || there == value),
            Self::Unanswered(value) => !answered && Self::There(value).is_of(answered, there, here),
            Self::Here => there.is_none() && here.is_some(),
            Self::Measured => there == Some(0.0) && here.is_some(),
            // Some targets make them panic.
            Self::Refused => {
                (there.is_some() && here.is_none()) || matches!((there, here), (Some(0.0 | 200.0), Some(400.0)))
            }
            Self::Longer => there.zip(here).is_some_and(|(there, here)| there < here),
            Self::Shorter => there.zip(here).is_some_and(|(there, here)| there > here),
            Self::Opposite => matches!((there, here), (Some(0.0), Some(1.0)) | (Some(1.0), Some(0.0))),
            Self::Values(theirs, ours) => there == Some(theirs) && here == Some(ours),
            Self::Any => true,
        }
    }
}

const ZERO: Shape = Shape::There(Some(0.0));
const UNANSWERED: Shape = Shape::Unanswered(Some(0.0));

/// Those of every prober first, and the exporter's own last.
const DIFFERENCES: &[Difference] = &[
    Difference {
        series: &["probe_failure_info", "probe_phase_duration_seconds", "probe_measurement_overhead_seconds"],
        cases: &[],
        shapes: &[Shape::Here],
        row: [
            "why a probe failed, and where its time went, its own included",
            "not told",
            "`probe_failure_info`, `probe_phase_duration_seconds`, `probe_measurement_overhead_seconds`",
            "the same series for every prober, so that one alert serves all",
        ],
    },
    Difference {
        series: &["probe_timeout_seconds"],
        cases: &[],
        shapes: &[Shape::Here],
        row: [
            "`probe_timeout_seconds`",
            "not told (a release after 0.28 will)",
            "told",
            "whether a probe took long or had to be short",
        ],
    },
    Difference {
        series: &["probe_egress_info"],
        cases: &[],
        shapes: &[Shape::Here],
        row: [
            "which way a probe left the host",
            "not told",
            "`probe_egress_info`, `probe_return_mismatch`",
            "a probe that leaves through another ISP than it should measures that one",
        ],
    },
    Difference {
        series: &["probe_http_duration_seconds", "probe_icmp_duration_seconds", "probe_dns_duration_seconds"],
        cases: &[],
        shapes: &[UNANSWERED],
        row: [
            "a phase that was not reached, or that there is not (`tls` of plain HTTP)",
            "0",
            "absent",
            "0 is a duration: averages of it are wrong, and an outage looks fast",
        ],
    },
    Difference { series: &["probe_http_duration_seconds{phase=\"tls\"}"], cases: &[], shapes: &[ZERO], row: [""; 4] },
    Difference {
        series: &["probe_dns_duration_seconds"],
        cases: &["dns_unreachable"],
        shapes: &[Shape::There(None)],
        row: [
            "the phase `connect` of a `dns` question that this host could not send",
            "some microseconds",
            "absent",
            "nothing left",
        ],
    },
    Difference {
        series: &["probe_ip_protocol", "probe_ip_addr_hash"],
        cases: &[],
        shapes: &[ZERO],
        row: ["`probe_ip_protocol`, `probe_ip_addr_hash` of a name without an address", "0", "absent", "there is none"],
    },
    Difference {
        series: &["probe_http_", "probe_failed_due_to_regex"],
        cases: &["http*"],
        shapes: &[UNANSWERED],
        row: [
            "status code, version, length, redirects, `probe_http_ssl`, `probe_failed_due_to_regex`, `…_cel` of a response that never came",
            "0",
            "absent",
            "`probe_http_ssl == 0` would also say that a server which refuses TLS speaks plain HTTP",
        ],
    },
    Difference {
        series: &["probe_failed_due_to_cel"],
        cases: &["http_cel_of_a_response_that_never_came"],
        shapes: &[UNANSWERED],
        row: [""; 4],
    },
    Difference {
        series: &["probe_http_status_code", "probe_http_version", "probe_http_content_length", "probe_http_ssl"],
        cases: &[
            "http_redirected_to_a_closed_port",
            "http_redirected_to_no_name",
            "http_redirected_to_another_scheme",
            "http_redirect_to_nothing",
            "http_3_redirected_to_plain_http",
        ],
        shapes: &[Shape::Measured],
        row: [
            "status code, version, length and certificates where a redirect leads to nothing",
            "0, or not told",
            "those of the redirect",
            "that one came",
        ],
    },
    Difference {
        series: &["probe_ssl_", "probe_tls_"],
        cases: &["http_3_redirected_to_plain_http"],
        shapes: &[Shape::Here],
        row: [""; 4],
    },
    Difference {
        series: &["probe_success", "probe_http_", "probe_failed_due_to_regex"],
        cases: &[
            "http_redirect_elsewhere_with_a_password",
            "http_redirect_elsewhere_with_a_token",
            "http_redirect_elsewhere_with_headers",
        ],
        shapes: &[Shape::Any],
        row: [
            "passwords, tokens and `secrets` of the module, where a redirect leads to another host",
            "shown to it",
            "not shown",
            "whoever can redirect would get them",
        ],
    },
    Difference {
        series: &["probe_success", "probe_http_"],
        cases: &["http_redirect_of_a_body_from_a_file"],
        shapes: &[Shape::Any],
        row: [
            "a redirect that keeps the body (307, 308), and a `body_file`",
            "not followed",
            "followed",
            "as with a `body`",
        ],
    },
    Difference {
        series: &["probe_http_uncompressed_body_length"],
        cases: &[
            "http_redirect_*",
            "http_body_of_a_redirect",
            "http_3_redirect_stays_unfollowed",
            "http_redirected_for_ever*",
            "http_redirected_eleven_times",
        ],
        shapes: &[Shape::Measured],
        row: [
            "the body of a redirect that is not followed",
            "not read, so that expressions for it never succeed",
            "read",
            "it is the response that was asked for",
        ],
    },
    Difference {
        series: &["probe_success", "probe_http_"],
        cases: &["http_redirect_to_no_url_stays_unfollowed"],
        shapes: &[Shape::Opposite, Shape::Measured],
        row: [
            "a redirect to something that is no URL, where none is followed",
            "as if no response had come",
            "is the response",
            "nobody is to go there",
        ],
    },
    Difference {
        series: &["probe_success", "probe_failed_due_to_regex"],
        cases: &["http_says_who_asks"],
        shapes: &[Shape::Opposite],
        row: [
            "the header `User-Agent`",
            "`Blackbox-Exporter/` and its version",
            "`uplink_exporter/` and its version",
            "this is another program; `headers: {User-Agent: …}` says what a firewall wants to hear",
        ],
    },
    Difference {
        series: &["probe_http_", "probe_failed_due_to_regex"],
        cases: &["http_redirect_to_no_host"],
        shapes: &[Shape::Any],
        row: [
            "a redirect to `//`",
            "leads to where it came from, again and again",
            "`http_protocol_error`",
            "it has no host",
        ],
    },
    Difference {
        series: &["probe_"],
        cases: &["http_redirect_to_a_zone"],
        shapes: &[Shape::Any],
        row: [
            "a redirect to an IPv6 address with a zone (`http://[fe80::1%25eth0]/`)",
            "followed",
            "`http_protocol_error`",
            "the server would choose the interface of this host that the probe leaves through",
        ],
    },
    Difference {
        series: &["probe_http_"],
        cases: &["http_status_000"],
        shapes: &[Shape::Any],
        row: [
            "a status from 000 to 099",
            "taken",
            "`http_protocol_error`",
            "there are no such statuses (RFC 9110, section 15)",
        ],
    },
    Difference {
        series: &["probe_success", "probe_http_"],
        cases: &["http_lengths_in_a_list", "http_unknown_transfer_encoding", "http_empty_line_before_the_response"],
        shapes: &[Shape::Opposite, Shape::Measured],
        row: [
            "`Content-Length: 4, 4`; a `Transfer-Encoding` that is not `chunked`; an empty line before a response",
            "errors",
            "taken",
            "as RFC 9112 allows, and other clients do",
        ],
    },
    Difference {
        series: &["probe_success", "probe_http_", "probe_failed_due_to_regex"],
        cases: &["http_1_2", "http_2_in_the_words_of_http_1"],
        shapes: &[Shape::Any],
        row: [
            "a response of `HTTP/1.2`, or of `HTTP/2.0` in the words of HTTP/1",
            "taken",
            "`http_protocol_error`",
            "there are no such versions",
        ],
    },
    Difference {
        series: &["probe_success", "probe_http_", "probe_failed_due_to_regex"],
        cases: &["http_2_with_keep_alive", "http_2_with_an_upgrade"],
        shapes: &[Shape::Opposite, Shape::There(None)],
        row: [
            "a response of HTTP/2 with `Connection`, `Keep-Alive`, `Proxy-Connection`, `TE`, `Transfer-Encoding` or `Upgrade`",
            "taken",
            "`http_protocol_error`; with `enable_http2: false` it is taken",
            "HTTP/2 forbids them (RFC 9113, section 8.2.2), and h2 refuses them, as curl does",
        ],
    },
    Difference {
        series: &["probe_ssl_", "probe_tls_"],
        cases: &[
            "https_of_an_unknown_ca",
            "https_self_signed",
            "https_expired",
            "https_wrong_name",
            "grpc_tls_other_name",
            "grpc_tls_unknown_ca",
            "tls_wrong_name",
            "tls_unknown_ca",
            "tls_expired",
            "tls_wildcard_is_*",
            "tls_purpose_of_clients",
            "tls_ended_root",
            "tls_root_*",
            "tls_ca_of_1024_bits_is_not_trusted",
            "tcp_starttls_with_an_unknown_ca",
            "dns_over_tls_unknown_ca",
            "dns_over_tls_wrong_name",
            "http_3_of_an_unknown_ca",
            "http_3_expired",
            "tcp_starttls_by_a_wrong_hostname",
            "grpc_tls_expired",
            "unix_tls_wrong_name",
            "unix_tls_unknown_ca",
        ],
        shapes: &[Shape::Here],
        row: [
            "certificates that are not good",
            "not described",
            "described, and the reason says what is wrong",
            "that is when one wants to read them",
        ],
    },
    Difference {
        series: &["probe_ssl_", "probe_tls_", "probe_grpc_ssl"],
        cases: &["https_server_is_silent_behind_tls", "http_3_server_is_silent", "grpc_without_a_port_over_tls"],
        shapes: &[Shape::Here, Shape::Measured],
        row: [
            "certificates of a server that then answers nothing, or nothing of gRPC",
            "not described",
            "described",
            "they were shown",
        ],
    },
    Difference {
        series: &["probe_tls_cipher_info"],
        cases: &["tls_*", "tcp_*", "grpc_*", "unix_*"],
        shapes: &[Shape::Here],
        row: ["the cipher suite of `tcp`, `unix` and `grpc`", "not told", "told", "as of `http`"],
    },
    Difference {
        series: &["probe_tls_cipher_info"],
        cases: &["http_3_*"],
        shapes: &[Shape::There(None)],
        row: ["the cipher suite of HTTP/3", "told", "absent", "quinn does not tell it"],
    },
    Difference {
        series: &["probe_success"],
        cases: &["http_2_by_its_short_name"],
        shapes: &[Shape::Opposite],
        row: [
            "`valid_http_versions: [HTTP/2]`",
            "never matches; `HTTP/2.0` does",
            "is HTTP/2",
            "its documentation writes it so",
        ],
    },
    Difference {
        series: &["probe_success", "probe_failed_due_to_cel"],
        cases: &["http_cel_and_body"],
        shapes: &[Shape::Opposite],
        row: [
            "expressions and CEL for one body",
            "CEL finds the body read, and fails always",
            "both look at it",
            "such a module can succeed",
        ],
    },
    Difference {
        series: &["probe_http_", "probe_success", "probe_failed_due_to_regex"],
        cases: &["http_longer_header"],
        shapes: &[Shape::Any],
        row: [
            "the head of a response",
            "10 MiB at most",
            "1 MiB at most (HTTP/3: 512 KiB)",
            "a waiting probe takes little memory",
        ],
    },
    Difference {
        series: &["probe_http_duration_seconds{phase=\"token\"}"],
        cases: &["http_oauth2*"],
        shapes: &[Shape::Here],
        row: ["the time of fetching a token of `oauth2`", "in no phase", "phase `token`", "phases add up"],
    },
    Difference {
        series: &["probe_http_ssl", "probe_ssl_", "probe_tls_"],
        cases: &["http_proxy_over_tls*"],
        shapes: &[Shape::Opposite, Shape::There(None)],
        row: [
            "TLS of an `https` proxy, where the target is `http`",
            "described as the target's",
            "not described",
            "the target has none",
        ],
    },
    Difference {
        series: &["probe_dns_lookup_time_seconds", "probe_http_duration_seconds{phase=\"resolve\"}", "probe_ip_"],
        cases: &["http_proxy_not_for_a_name"],
        shapes: &[Shape::Here],
        row: [
            "the target's address with `skip_resolve_phase_with_proxy`, where `no_proxy` excepts it",
            "not told",
            "told",
            "no proxy resolves the name",
        ],
    },
    Difference {
        series: &["probe_success", "probe_http_"],
        cases: &["http_proxy_not_for_a_name_that_is_resolved"],
        shapes: &[Shape::Opposite, Shape::Measured],
        row: [
            "`no_proxy` of a target's name that is resolved first",
            "looks at the address only",
            "looks at both",
            "a name that is written there is meant",
        ],
    },
    Difference {
        series: &["probe_ssl_", "probe_tls_"],
        cases: &["https_1_1_only", "https_1_3_wanted", "tls_1_1_only"],
        shapes: &[Shape::Here],
        row: [
            "servers that speak only TLS that is too old",
            "not described",
            "their version, cipher and certificates are ([old servers](#tls_config))",
            "the partner who is to renew them wants to know what",
        ],
    },
    Difference {
        series: &[
            "probe_success",
            "probe_http_",
            "probe_failed_due_to_regex",
            "probe_ssl_last_chain_expiry_timestamp_seconds",
        ],
        cases: &["https_1_1_allowed"],
        shapes: &[Shape::Opposite, Shape::There(None)],
        row: [
            "TLS 1.0 and 1.1",
            "spoken where `min_version` allows them",
            "never spoken",
            "rustls does not; nobody should (RFC 8996)",
        ],
    },
    Difference {
        series: &["probe_success", "probe_ssl_last_chain_expiry_timestamp_seconds", "probe_failed_due_to_"],
        cases: &["tls_cbc"],
        shapes: &[Shape::Opposite, Shape::There(None)],
        row: [
            "TLS 1.2 with ECDHE and CBC ciphers",
            "spoken",
            "not spoken, but told as TLS 1.1 is",
            "rustls does not; their padding has been attacked again and again",
        ],
    },
    Difference {
        series: &["probe_success", "probe_ssl_last_chain_expiry_timestamp_seconds", "probe_failed_due_to_"],
        cases: &["tls_sha_1_by_p384"],
        shapes: &[Shape::Opposite, Shape::There(None)],
        row: [
            "a key of P-384 that signs with SHA-1 in TLS 1.2",
            "taken",
            "`tls_certificate_error`",
            "aws-lc-rs has no such algorithm, as it has for P-256, P-521 and RSA",
        ],
    },
    Difference {
        series: &["probe_success", "probe_ssl_last_chain_expiry_timestamp_seconds", "probe_failed_due_to_"],
        cases: &["tls_critical_policies"],
        shapes: &[Shape::Opposite, Shape::There(None)],
        row: [
            "certificates whose policies are marked critical",
            "verified",
            "`tls_certificate_error`",
            "what is critical must be obeyed (RFC 5280, section 4.2), and webpki knows no policies",
        ],
    },
    Difference {
        series: &["probe_http_content_length"],
        cases: &["http_3_compressed_for_who_asks"],
        shapes: &[Shape::Any],
        row: [
            "what a server of HTTP/3 is asked for",
            "gzip, which is taken off unseen, and then `compression: gzip` fails always",
            "what the module says",
            "lengths and times are those of the wire; as over HTTP/1 and HTTP/2",
        ],
    },
    Difference {
        series: &["probe_http_duration_seconds{phase=\"resolve\"}"],
        cases: &["http_proxy_with_a_name_that_resolves"],
        shapes: &[Shape::Here],
        row: [
            "finding a proxy by its name, for the first request",
            "in no phase",
            "in phase `resolve`, though not in `probe_dns_lookup_time_seconds`, which is the target's",
            "phases add up",
        ],
    },
    Difference {
        series: &["probe_success", "probe_ssl_", "probe_tls_", "probe_failed_due_to_"],
        cases: &["tls_negative_serial"],
        shapes: &[Shape::Opposite, Shape::Here],
        row: [
            "certificates with a negative serial number",
            "not read, so that the handshake fails",
            "verified",
            "old devices have them, and no signature is the worse for it",
        ],
    },
    Difference {
        series: &["probe_success", "probe_ssl_", "probe_tls_", "probe_failed_due_to_"],
        cases: &["tls_rare_strings"],
        shapes: &[Shape::Opposite, Shape::Here],
        row: [
            "certificates with names that are UniversalStrings, or no strings at all",
            "not read, so that the handshake fails",
            "verified, and the names are shown, as DER where they are no text",
            "RFC 5280 has such strings, and no signature is the worse for them",
        ],
    },
    Difference {
        series: &["probe_ssl_last_chain_expiry_timestamp_seconds"],
        cases: &[],
        shapes: &[Shape::There(Some(-62_135_596_800.0))],
        row: [
            "`probe_ssl_last_chain_expiry_timestamp_seconds` with `insecure_skip_verify`",
            "-62135596800 (the year 1)",
            "absent",
            "no chain was verified",
        ],
    },
    Difference {
        series: &["probe_tcp_duration_seconds"],
        cases: &["tcp_*", "tls_*"],
        shapes: &[Shape::Here],
        row: ["times of `tcp`", "none", "`probe_tcp_duration_seconds`", "as of every other prober"],
    },
    Difference {
        series: &["probe_tcp_handshake_rtt_seconds", "probe_tcp_syn_retransmits"],
        cases: &[],
        shapes: &[Shape::Here],
        row: [
            "the handshake of whatever goes over TCP",
            "not told",
            "`probe_tcp_handshake_rtt_seconds`, `probe_tcp_syn_retransmits`",
            "a lost SYN is told from a slow server",
        ],
    },
    Difference {
        series: &["probe_icmp_"],
        cases: &["icmp_*"],
        shapes: &[Shape::Here],
        row: [
            "loss, round-trip times and jitter of `icmp`",
            "none",
            "`probe_icmp_packets_sent`, `probe_icmp_loss_ratio`, `probe_icmp_rtt_avg_seconds` and the like",
            "a probe may send many requests (`count`)",
        ],
    },
    Difference {
        series: &["probe_grpc_ssl", "probe_grpc_healthcheck_response"],
        cases: &["grpc_*"],
        shapes: &[UNANSWERED],
        row: ["`probe_grpc_ssl`, `probe_grpc_healthcheck_response` without an answer", "0", "absent", "nobody said so"],
    },
    Difference {
        series: &["probe_success", "probe_grpc_status_code", "probe_grpc_healthcheck_response"],
        cases: &["grpc_over_ipv6"],
        // Older ones say 14.
        shapes: &[Shape::Opposite, Shape::Values(2.0, 0.0), Shape::Values(14.0, 0.0)],
        row: ["`grpc` of an IPv6 address", "fails", "works", "there, the address loses its brackets"],
    },
    Difference {
        series: &["probe_ssl_last_chain_expiry_timestamp_seconds"],
        cases: &["grpc_tls", "grpc_tls_down", "grpc_tls_with_a_hostname"],
        shapes: &[Shape::Here],
        row: [
            "`probe_ssl_last_chain_expiry_timestamp_seconds` of `grpc`",
            "not told",
            "told",
            "as of every other prober",
        ],
    },
    Difference {
        series: &["probe_grpc_status_code"],
        cases: &["grpc_*"],
        shapes: &[Shape::Unanswered(None)],
        row: [
            "`probe_grpc_status_code` of a server that never answered, or nothing of gRPC",
            "14, 0, or what is made of the status of HTTP",
            "absent, and a reason",
            "they are also what a server may say",
        ],
    },
    Difference {
        series: &["probe_grpc_status_code", "probe_grpc_healthcheck_response"],
        cases: &["grpc_without_a_port_over_tls"],
        shapes: &[Shape::There(Some(12.0)), ZERO],
        row: [""; 4],
    },
    Difference {
        series: &["probe_success", "probe_grpc_"],
        cases: &["grpc_tls_with_another_hostname"],
        shapes: &[Shape::Opposite, Shape::There(None)],
        row: ["`hostname` of `grpc` with TLS", "ignored", "the name in TLS", "as of `tcp`"],
    },
    Difference {
        series: &["probe_success", "probe_grpc_"],
        cases: &["grpc_metadata_in_capitals"],
        shapes: &[Shape::Opposite, Shape::Values(13.0, 0.0)],
        row: [
            "keys of `metadata` in capitals",
            "no call is made",
            "sent in small letters",
            "no other letters can be meant",
        ],
    },
    Difference {
        series: &["probe_dns_answer_rrs", "probe_dns_authority_rrs", "probe_dns_additional_rrs"],
        cases: &["dns_*"],
        shapes: &[UNANSWERED],
        row: ["records of a DNS reply that never came", "0", "absent", "a reply of no records is another thing"],
    },
    Difference {
        series: &["probe_dns_serial"],
        cases: &["dns_zone_of_a_name_without"],
        shapes: &[ZERO],
        row: ["`probe_dns_serial` of a reply without an SOA", "0", "absent", "0 is a serial number"],
    },
    Difference {
        series: &["probe_dns_answer_rrs"],
        cases: &["dns_malformed", "dns_broken_off", "dns_half"],
        shapes: &[Shape::Measured],
        row: [
            "a DNS reply that breaks off, or has a malformed record",
            "lost",
            "told as far as it can be read; the probe fails",
            "the rest of it says what is wrong",
        ],
    },
    Difference {
        series: &["probe_success", "probe_dns_"],
        cases: &["dns_garbage_first", "dns_other_question_first_with_other_records"],
        shapes: &[Shape::Opposite, Shape::Measured],
        row: [
            "a datagram that is no DNS message, or answers another question, or none",
            "taken for the reply",
            "passed over",
            "anybody can send it",
        ],
    },
    Difference {
        series: &["probe_dns_rcode", "probe_dns_truncated", "probe_dns_answer_ttl_min_seconds"],
        cases: &["dns_*"],
        shapes: &[Shape::Here],
        row: [
            "response code, flag TC and TTL of a DNS reply",
            "not told",
            "`probe_dns_rcode`, `probe_dns_truncated`, `probe_dns_answer_ttl_min_seconds`",
            "no module is needed for each of them",
        ],
    },
    Difference {
        series: &["probe_ssl_", "probe_tls_"],
        cases: &["dns_over_tls", "dns_over_tls_by_name", "dns_over_tls_any_certificate", "dns_over_tls_silent"],
        shapes: &[Shape::Here],
        row: ["TLS of `dns`", "not described", "described as for `http`", "those certificates end, too"],
    },
    Difference {
        series: &["probe_websocket_"],
        cases: &["websocket_*"],
        shapes: &[ZERO],
        row: [
            "`probe_websocket_status_code`, `…_connection_upgraded`, `…_failed_due_to_regex` of what never came (`websocket` is in no release yet)",
            "0",
            "absent",
            "nobody said so",
        ],
    },
    Difference {
        series: &["probe_websocket_duration_seconds{phase=\"transfer\"}"],
        cases: &[
            "websocket_connect",
            "websocket_bare",
            "websocket_by_name",
            "websocket_over_ipv6",
            "websocket_over_tls",
            "websocket_any_certificate",
            "websocket_private",
            "websocket_header",
        ],
        shapes: &[Shape::Here],
        row: ["the phase `transfer` of `websocket` without messages", "absent", "the closing", "it takes time, too"],
    },
    Difference {
        series: &["probe_websocket_duration_seconds"],
        cases: &["websocket_closed_port", "websocket_no_such_name"],
        shapes: &[Shape::Here, Shape::There(None)],
        row: [
            "the phase of `websocket` that failed",
            "absent, or in `processing`",
            "holds its time",
            "as of every other prober",
        ],
    },
    Difference {
        series: &["probe_ssl_", "probe_tls_"],
        cases: &["websocket_over_tls", "websocket_any_certificate", "websocket_unknown_ca"],
        shapes: &[Shape::Here],
        row: ["TLS of `websocket`", "not described", "described as for `http`", "those certificates end, too"],
    },
    Difference {
        series: &["probe_success", "probe_websocket_failed_due_to_regex"],
        cases: &["websocket_greets_otherwise", "websocket_second_message"],
        shapes: &[Shape::Opposite],
        row: [
            "`expect` of `websocket`",
            "of the next message",
            "of one that comes; others are passed over",
            "as lines of `tcp`",
        ],
    },
    Difference {
        series: &[""],
        cases: &["tcp_labels_in_several_steps"],
        shapes: &[Shape::Here, Shape::Values(0.0, 200.0)],
        row: [
            "`labels` in several steps",
            "a panic: the connection ends without an answer",
            "one series of all",
            "a scrape must be answered",
        ],
    },
    Difference {
        series: &[""],
        cases: &[
            "http_target_is_no_url",
            "http_target_of_another_scheme",
            "http_target_with_a_port_of_no_number",
            "http_target_with_a_port_too_many",
            "http_target_of_port_0",
            "http_target_of_no_host",
            "tcp_target_without_a_port",
            "tcp_target_of_port_0",
            "tcp_target_with_a_port_too_many",
            "tcp_target_of_no_host",
            "tcp_target_without_brackets",
            "tcp_target_with_blanks_around",
            "icmp_target_with_a_port",
            "icmp_target_is_a_url",
            "dns_target_is_a_url",
            "tcp_target_with_a_name_of_no_port",
            "http_target_with_a_zone_that_is_not_escaped",
            "unix_path_that_is_too_long",
            "websocket_target_of_http",
        ],
        shapes: &[Shape::Refused],
        row: [
            "a target that the prober cannot take",
            "200, a failed probe",
            "400, and one sentence",
            "it is a mistake in the scrape job, not an outage",
        ],
    },
    Difference {
        series: &[""],
        cases: &["http_target_of_any_address", "tcp_target_of_any_address"],
        shapes: &[Shape::Refused],
        row: [
            "a target of `0.0.0.0` or `[::]`, for `http` and `tcp`",
            "this host",
            "400, and one sentence",
            "it says where something listens, not who is asked; write `localhost`",
        ],
    },
    Difference {
        series: &["probe_success", "probe_http_", "probe_failed_due_to_regex"],
        cases: &[
            "http_redirect_of_a_name_with_a_token",
            "http_redirect_of_a_name_with_a_cookie_of_the_module",
            "http_redirect_of_a_name_says_where_it_comes_from",
            "http_redirect_of_a_name_to_two_slashes",
        ],
        shapes: &[Shape::Any],
        row: [
            "a redirect of a target that is a name: `Authorization` and `Cookie` of `headers` to the same name, `Referer`, `Host` for `//other/…`, a `server_name` to the same name",
            "as if the target were its address: not shown, of the address, the old one, forgotten",
            "as of a name: shown, of the name, the other one, kept",
            "as by a browser; there, the URL has the address that was found",
        ],
    },
    Difference {
        series: &[""],
        cases: &["icmp_target_with_a_zone", "grpc_target_with_a_zone", "grpc_target_with_a_name_of_a_port"],
        shapes: &[Shape::Any],
        row: [
            "a target of `grpc` with a zone (`[fe80::1%eth0]:80`), or a port by its name (`host:https`); of `icmp` with a zone that its address needs not (`::1%lo`)",
            "fails",
            "probed",
            "as those of `tcp`",
        ],
    },
    Difference {
        series: &["probe_"],
        cases: &["icmp_target_in_brackets", "dns_target_in_brackets"],
        shapes: &[Shape::Opposite, Shape::Measured],
        row: ["an IPv6 address in brackets, without a port", "fails", "probed", "it can be meant in one way only"],
    },
    Difference {
        series: &["probe_"],
        cases: &[
            "http_target_in_capitals",
            "http_target_beyond_ascii",
            "http_target_with_a_wrong_escape",
            "http_target_with_a_backslash_before_its_path",
            "http_target_with_a_short_address",
            "http_target_in_hexadecimal",
            "http_target_with_blanks_around",
        ],
        shapes: &[Shape::Any],
        row: [
            "a URL that begins with `HTTP://` or a blank; a `\\` before its path; `%zz` in its path, letters beyond ASCII in its query; the hosts `127.1` and `0x7f.1`",
            "a host `HTTP`, errors, sent as they are, names",
            "as browsers read them",
            "what a browser opens can be probed",
        ],
    },
    Difference {
        series: &["probe_ip_addr_hash"],
        cases: &["icmp_of_a_name_with_two_addresses_of_the_other_family"],
        shapes: &[Shape::Any],
        row: [
            "which address is probed of a name that has several, and none of the preferred family",
            "the last",
            "the first",
            "name servers and hosts files have the one first that is meant first",
        ],
    },
    Difference {
        series: &["status"],
        cases: &["probe_by_a_hostname_that_is_none"],
        shapes: &[Shape::Values(200.0, 400.0)],
        row: ["`hostname=a b`", "a request without a host", "400", "it is no name of a host"],
    },
    Difference {
        series: &["status"],
        cases: &[
            "probe_of_a_misspelt_parameter",
            "probe_of_two_targets",
            "probe_with_an_unknown_word_for_its_log",
            "probe_of_a_wrong_escape",
        ],
        shapes: &[Shape::Values(200.0, 400.0)],
        row: [
            "a misspelt or a repeated parameter, `debug` with another word than `true` and `false`",
            "ignored; of a repeated one the first holds",
            "400",
            "what is probed would not be what was meant",
        ],
    },
    Difference {
        series: &["status"],
        cases: &[
            "probe_within_a_time_of_no_number",
            "timeout_of_a_scrape_of_a_word",
            "timeout_of_a_scrape_with_a_unit",
        ],
        shapes: &[Shape::Values(500.0, 400.0)],
        row: ["a scrape timeout that is no number", "500", "400", "it is the client's mistake"],
    },
    Difference {
        series: &["status", "timeout"],
        cases: &[
            "timeout_of_a_negative_scrape",
            "timeout_of_the_module_and_a_negative_scrape",
            "timeout_of_an_endless_scrape",
            "timeout_of_the_module_and_an_endless_scrape",
            "timeout_of_a_scrape_that_is_no_number",
            "timeout_of_a_scrape_in_hexadecimal",
            "timeout_of_a_scrape_with_an_underscore",
        ],
        shapes: &[Shape::Refused],
        row: [
            "a scrape timeout of `-1`, `Inf`, `NaN`, `0x1p3`",
            "the module's, or a probe that fails at once; 8",
            "400",
            "no client waits so long",
        ],
    },
    Difference {
        series: &["timeout"],
        cases: &[
            "timeout_of_a_short_scrape",
            "timeout_of_a_scrape_of_the_offset",
            "timeout_of_a_scrape_below_the_offset",
            "timeout_of_the_module_and_a_scrape_below_the_offset",
        ],
        shapes: &[Shape::Any],
        row: [
            "what a probe gets of a scrape timeout below twice `--timeout-offset`",
            "the rest; where there is none, the module's timeout, or nothing",
            "half of it",
            "a probe of no time fails always, and one that outlasts the scrape is lost",
        ],
    },
    Difference {
        series: &["timeout"],
        cases: &["timeout_of_a_scrape_longer_than_a_day"],
        shapes: &[Shape::Any],
        row: ["a scrape timeout of more than a day", "taken", "a day", "clocks cannot add any number"],
    },
    Difference {
        series: &["status", "text/"],
        cases: &["unknown_path", "profiles", "probe_of_a_slash_too_many"],
        shapes: &[Shape::Values(200.0, 404.0), Shape::Here, Shape::There(None)],
        row: [
            "unknown paths; `/debug/pprof/`",
            "200; open to all",
            "404; none",
            "a check of a path that is not there must not succeed",
        ],
    },
    Difference {
        series: &["text/"],
        cases: &["ready"],
        shapes: &[Shape::Here, Shape::There(None)],
        row: [
            "`/-/ready`",
            "is the landing page, as every unknown path",
            "says whether it is ready",
            "as Prometheus has it",
        ],
    },
    Difference {
        series: &["status", "text/"],
        cases: &[
            "probe_by_delete",
            "metrics_by_post",
            "configuration_by_post",
            "landing_page_by_post",
            "healthy_by_post",
        ],
        shapes: &[Shape::Values(200.0, 405.0), Shape::Here, Shape::There(None)],
        row: ["methods of pages", "any", "GET and HEAD; `/probe` POST, too", "others mean something else"],
    },
    Difference {
        series: &["status"],
        cases: &["reload_by_put"],
        shapes: &[Shape::Values(405.0, 200.0)],
        row: ["PUT of `/-/reload`", "405", "reloads", "as Prometheus does"],
    },
    Difference {
        series: &["status"],
        cases: &["logs_of_a_negative_number"],
        shapes: &[Shape::Values(404.0, 400.0)],
        row: ["a negative `id` of `/logs`", "404", "400", "no probe can have it"],
    },
    Difference {
        series: &["application/openmetrics-text", "text/plain"],
        cases: &["metrics_in_openmetrics", "probe_in_openmetrics"],
        shapes: &[Shape::Here, Shape::There(None)],
        row: ["OpenMetrics, where it is asked for", "text 0.0.4", "OpenMetrics 1.0", "Prometheus asks for it first"],
    },
    Difference {
        series: &["application/vnd.google.protobuf", "text/plain"],
        cases: &["metrics_in_protobuf"],
        shapes: &[Shape::Here, Shape::There(None)],
        row: ["protobuf, where it is asked for", "protobuf", "text 0.0.4", "who takes that takes text, too"],
    },
    Difference {
        series: &["exit"],
        cases: &[
            "start_with_an_unknown_flag",
            "start_with_a_word",
            "start_with_an_unknown_level",
            "start_with_an_unknown_format",
            "start_with_an_offset_of_no_number",
            "start_with_a_flag_twice",
            "start_with_no_value",
            "start_with_a_value_too_many",
            "start_with_a_negative_history",
        ],
        shapes: &[Shape::Values(1.0, 2.0)],
        row: ["the exit code of wrong flags", "1", "2", "`probe` says by 1 that the probe failed"],
    },
    Difference {
        series: &["exit"],
        cases: &["start_with_a_flag_and_its_opposite"],
        shapes: &[Shape::Values(1.0, 0.0)],
        row: [
            "`--config.check --no-config.check`",
            "an error",
            "the last one holds",
            "what a wrapper sets can be turned off",
        ],
    },
    Difference {
        series: &["--config.file"],
        cases: &["flags"],
        shapes: &[Shape::There(None)],
        row: [
            "`--config.file`, where it is not given",
            "`blackbox.yml`",
            "`probes.yml`, or, where only that is there, `blackbox.yml`",
            "it has more than blackbox_exporter's modules",
        ],
    },
    Difference {
        series: &["go_", "net_conntrack_", "promhttp_", "blackbox_exporter_build_info by "],
        cases: &["own_metrics"],
        shapes: &[Shape::There(None)],
        row: [
            "`go_*`, `net_conntrack_*`, `promhttp_*` on `/metrics`; labels of `blackbox_exporter_build_info`",
            "there; `branch`, `goarch`, `goos`, `goversion`, `tags` beside `version` and `revision`",
            "`uplink_exporter_*`; `arch`, `os`, `rustc`, and this program's `version`",
            "this is another program, without these libraries",
        ],
    },
];

/// What versions from one on say otherwise than this program.
const NEWER: &[(Version, Difference)] = &[
    (
        Version(0, 28),
        Difference {
            series: &["groups of both"],
            cases: &["offers"],
            shapes: &[Shape::There(None), Shape::Here],
            row: [
                "key exchange with ML-KEM",
                "preferred",
                "offered last",
                "its key of 1.2 kB makes the first message too long for some old servers and firewalls",
            ],
        },
    ),
    // A target of HTTP/3 must have its scheme, and targets are unescaped twice.
    (
        Version(0, 29),
        Difference {
            series: &["probe_"],
            cases: &["http_3_without_a_scheme", "http_target_with_an_escaped_slash"],
            shapes: &[Shape::Any],
            row: [""; 4],
        },
    ),
];

/// What only those have that were built with an older Go, whatever their version is.
const OF_OLDER_GO: &[Difference] = &[Difference {
    series: &["probe_success", "probe_failed_due_to_regex"],
    cases: &["http_redirect_with_a_cookie_by_name"],
    shapes: &[Shape::Opposite],
    row: [
        "a cookie, and a redirect to the same name with `http://` before it (where it is built with Go before 1.26, as releases are)",
        "not shown",
        "shown",
        "as by a browser; there, the cookie belongs to the address",
    ],
}];

/// What versions before one say otherwise than it and this program: no difference from 0.28, and no row of the README.
const OLDER: &[(Version, Difference)] = &[
    older(Version(0, 24), &["probe_ssl_", "probe_tls_"], &["tls_hostname"], &[Shape::Here]),
    older(Version(0, 24), &["probe_success"], &["tls_hostname"], &[Shape::Opposite]),
    older(Version(0, 25), &["status"], &["logs_of_what", "logs_of_no_number"], &[Shape::Values(500.0, 400.0)]),
    older(Version(0, 26), &["probe_tls_cipher_info"], &["http*"], &[Shape::Here]),
    // Their Go took away the length also where no chunks come.
    older(
        Version(0, 24),
        &["probe_success", "probe_failed_due_to_regex", "probe_http_content_length"],
        &["http_header_length_of_chunks_that_never_come", "http_header_length_of_chunks_of_nothing"],
        &[Shape::Opposite, Shape::Values(-1.0, 4.0)],
    ),
    // Without TLS, and where it failed.
    older(Version(0, 26), &["probe_ssl_earliest_cert_expiry"], &["grpc_*"], &[ZERO, Shape::Measured]),
    older(Version(0, 28), &["probe_failed_due_to_bytes"], &["tcp_*", "tls_*"], &[Shape::Here]),
    // Of a connection that never was.
    older(Version(0, 28), &["probe_failed_due_to_regex"], &["tcp_*", "tls_*"], &[ZERO]),
];

const fn older(
    before: Version,
    series: &'static [&'static str],
    cases: &'static [&'static str],
    shapes: &'static [Shape],
) -> (Version, Difference) {
    (before, Difference { series, cases, shapes, row: [""; 4] })
}
