//! What differs from blackbox_exporter in what a probe says, each with its reason: the README's table, held by the cases.
//!
//! A difference that is not here fails, and so does one here that no case shows.

/// A difference.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Series, or how their names begin.
    pub(crate) series: &'static [&'static str],
    /// The cases that have it, or how their names begin and a `*`; none: whichever.
    pub(crate) cases: &'static [&'static str],
    /// How the values differ: one of these ways.
    pub(crate) shapes: &'static [Shape],
    /// The row of the README: what it is about, what blackbox_exporter says, what is said here, and why.
    pub(crate) row: [&'static str; 4],
}

/// A way in which the values of a series differ.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// It has a value there, or this one, and is absent here.
    There(Option<f64>),
    /// It is absent there, and has a value here.
    Here,
    /// It is 0 there, and has another value here.
    Measured,
    /// It has a value there, and is absent here, where the request is refused.
    Refused,
    /// It is 0 there and 1 here, or the other way round.
    Opposite,
    /// It has this value there, and this one here.
    Values(f64, f64),
}

impl Shape {
    pub(crate) fn is_of(self, there: Option<f64>, here: Option<f64>) -> bool {
        match self {
            Self::There(value) => there.is_some() && here.is_none() && (value.is_none() || there == value),
            Self::Here => there.is_none() && here.is_some(),
            Self::Measured => there == Some(0.0) && here.is_some(),
            Self::Refused => (there.is_some() && here.is_none()) || (there, here) == (Some(200.0), Some(400.0)),
            Self::Opposite => matches!((there, here), (Some(0.0), Some(1.0)) | (Some(1.0), Some(0.0))),
            Self::Values(theirs, ours) => there == Some(theirs) && here == Some(ours),
        }
    }
}

const ZERO: Shape = Shape::There(Some(0.0));

/// Those of every prober first, and the exporter's own last.
pub(crate) const DIFFERENCES: &[Difference] = &[
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
        series: &["probe_http_duration_seconds", "probe_icmp_duration_seconds", "probe_dns_duration_seconds"],
        cases: &[],
        shapes: &[ZERO],
        row: [
            "a phase that was not reached, or that there is not (`tls` of plain HTTP)",
            "0",
            "absent",
            "0 is a duration: averages of it are wrong, and an outage looks fast",
        ],
    },
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
        shapes: &[ZERO],
        row: [
            "status code, version, length, redirects, `probe_http_ssl`, `probe_failed_due_to_regex` of a response that never came",
            "0",
            "absent",
            "`probe_http_ssl == 0` would also say that a server which refuses TLS speaks plain HTTP",
        ],
    },
    Difference {
        series: &["probe_http_status_code", "probe_http_version", "probe_http_content_length"],
        cases: &["http_redirected_to_a_closed_port", "http_redirected_to_no_name", "http_redirected_to_another_scheme"],
        shapes: &[Shape::Measured],
        row: [
            "status code, version and length where a redirect leads to nothing",
            "0",
            "those of the redirect",
            "that one came",
        ],
    },
    Difference {
        series: &["probe_success", "probe_failed_due_to_regex"],
        cases: &["http_redirect_with_a_cookie_by_name"],
        shapes: &[Shape::Opposite],
        row: [
            "a cookie, and a redirect to the same name with `http://` before it",
            "not shown",
            "shown",
            "as by a browser; there, the cookie belongs to the address",
        ],
    },
    Difference {
        series: &["probe_http_uncompressed_body_length"],
        cases: &["http_redirect_*", "http_body_of_a_redirect"],
        shapes: &[Shape::Measured],
        row: [
            "the body of a redirect that is not followed",
            "not read, so that expressions for it never succeed",
            "read",
            "it is the response that was asked for",
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
            "tcp_starttls_with_an_unknown_ca",
            "dns_over_tls_unknown_ca",
            "dns_over_tls_wrong_name",
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
        series: &["probe_ssl_", "probe_tls_"],
        cases: &["https_1_1_only", "https_1_1_allowed", "https_1_3_wanted", "tls_1_1_only"],
        shapes: &[Shape::Here],
        row: [
            "servers that speak only TLS that is too old",
            "not described",
            "their version, cipher and certificates are ([old servers](#tls_config))",
            "the partner who is to renew them wants to know what",
        ],
    },
    Difference {
        series: &["probe_success", "probe_http_", "probe_ssl_last_chain_expiry_timestamp_seconds"],
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
        series: &["probe_tcp_"],
        cases: &["tcp_*", "tls_*"],
        shapes: &[Shape::Here],
        row: [
            "times of `tcp`",
            "none",
            "`probe_tcp_duration_seconds`, `probe_tcp_handshake_rtt_seconds`, `probe_tcp_syn_retransmits`",
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
        shapes: &[ZERO],
        row: ["`probe_grpc_ssl`, `probe_grpc_healthcheck_response` without an answer", "0", "absent", "nobody said so"],
    },
    Difference {
        series: &["probe_success", "probe_grpc_status_code", "probe_grpc_healthcheck_response"],
        cases: &["grpc_over_ipv6"],
        shapes: &[Shape::Opposite, Shape::Values(14.0, 0.0)],
        row: ["`grpc` of an IPv6 address", "fails", "works", "there, the address loses its brackets"],
    },
    Difference {
        series: &["probe_ssl_last_chain_expiry_timestamp_seconds"],
        cases: &["grpc_tls", "grpc_tls_down"],
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
        shapes: &[Shape::There(None)],
        row: [
            "`probe_grpc_status_code` of a server that never answered",
            "14, or 0",
            "absent, and a reason",
            "14 is also what a server may say",
        ],
    },
    Difference {
        series: &["probe_dns_answer_rrs", "probe_dns_authority_rrs", "probe_dns_additional_rrs"],
        cases: &["dns_*"],
        shapes: &[ZERO],
        row: ["records of a DNS reply that never came", "0", "absent", "a reply of no records is another thing"],
    },
    Difference {
        series: &["probe_dns_serial"],
        cases: &["dns_*"],
        shapes: &[ZERO],
        row: ["`probe_dns_serial` of a reply without an SOA", "0", "absent", "0 is a serial number"],
    },
    Difference {
        series: &["probe_dns_answer_rrs"],
        cases: &["dns_malformed", "dns_broken_off"],
        shapes: &[Shape::Measured],
        row: [
            "a DNS reply that breaks off, or has a malformed record",
            "lost",
            "told as far as it can be read; the probe fails",
            "the rest of it says what is wrong",
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
        cases: &["dns_over_tls", "dns_over_tls_by_name", "dns_over_tls_any_certificate"],
        shapes: &[Shape::Here],
        row: ["TLS of `dns`", "not described", "described as for `http`", "those certificates end, too"],
    },
    Difference {
        series: &[""],
        cases: &["http_target_is_no_url", "http_target_of_another_scheme", "tcp_target_without_a_port"],
        shapes: &[Shape::Refused],
        row: [
            "a target that the prober cannot take",
            "200, a failed probe",
            "400, and one sentence",
            "it is a mistake in the scrape job, not an outage",
        ],
    },
    Difference {
        series: &["status"],
        cases: &["probe_of_a_misspelt_parameter", "probe_of_two_targets", "probe_with_an_unknown_word_for_its_log"],
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
        cases: &["probe_within_a_time_of_no_number", "logs_of_no_number"],
        shapes: &[Shape::Values(500.0, 400.0)],
        row: ["a scrape timeout, or an `id` of `/logs`, that is no number", "500", "400", "it is the client's mistake"],
    },
    Difference {
        series: &["status"],
        cases: &["unknown_path", "profiles"],
        shapes: &[Shape::Values(200.0, 404.0)],
        row: [
            "unknown paths; `/debug/pprof/`",
            "200; open to all",
            "404; none",
            "a check of a path that is not there must not succeed",
        ],
    },
    Difference {
        series: &["status"],
        cases: &["probe_by_delete"],
        shapes: &[Shape::Values(200.0, 405.0)],
        row: ["methods of `/probe`", "any", "GET, HEAD, POST", "others mean something else"],
    },
    Difference {
        series: &["blackbox_exporter_build_info", "go_", "net_conntrack_", "promhttp_"],
        cases: &["own_metrics"],
        shapes: &[Shape::There(None)],
        row: [
            "`blackbox_exporter_build_info`, `go_*`, `net_conntrack_*`, `promhttp_*` on `/metrics`",
            "there",
            "`uplink_exporter_*`",
            "this is another program, without these libraries",
        ],
    },
];

/// What 0.28 has, as is said here, but not the 0.23 of Debian that is compared with. So does the label `serialnumber`. What modules of 0.23
/// cannot say is not compared: `body_file`, `http_headers`, CEL, HTTP/3, `expect_bytes`, `labels`, `ca` and the like in `tls_config`,
/// `websocket`, `unix`.
pub(crate) const NEWER: &[Difference] = &[
    newer(&["probe_timeout_seconds", "probe_tls_cipher_info", "probe_failed_due_to_bytes"], &[], &[Shape::Here]),
    // Of a connection that never was: absent in 0.28, too.
    newer(&["probe_failed_due_to_regex"], &["tcp_*", "tls_*"], &[ZERO]),
    // Without TLS, and where it failed.
    newer(&["probe_ssl_earliest_cert_expiry"], &["grpc_*"], &[ZERO, Shape::Measured]),
    newer(&["status"], &["logs_of_what"], &[Shape::Values(500.0, 400.0)]),
    // It takes no name for `tcp`.
    newer(&["probe_ssl_", "probe_tls_"], &["tls_hostname"], &[Shape::Here]),
    newer(&["probe_success"], &["tls_hostname"], &[Shape::Opposite]),
];

const fn newer(
    series: &'static [&'static str],
    cases: &'static [&'static str],
    shapes: &'static [Shape],
) -> Difference {
    Difference { series, cases, shapes, row: [""; 4] }
}
