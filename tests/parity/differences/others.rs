//! What differs in what the other probers say.

use super::{Difference, Shape, UNANSWERED, ZERO};

pub(super) const OTHERS: &[Difference] = &[
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
];
