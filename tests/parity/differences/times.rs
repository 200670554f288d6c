//! What differs in how long something takes: what the cases show of which that is known.

use super::{Difference, Shape};

pub(super) const TIMES: &[Difference] = &[
    Difference {
        series: &["probe_http_duration_seconds", "probe_icmp_duration_seconds", "probe_dns_duration_seconds"],
        cases: &[
            "http_refused",
            "http_refused_by_a_name",
            "http_never_answers",
            "http_tls_is_untrusted",
            "http_tls_never_ends",
            "icmp_name_is_none",
            "dns_server_is_none",
        ],
        shapes: &[Shape::Measured],
        row: ["the phase in which a probe failed", "0", "holds its time", "that is where the time went"],
    },
    Difference {
        series: &["probe_http_duration_seconds"],
        cases: &["http_hint_is_early"],
        shapes: &[Shape::Longer, Shape::Shorter],
        row: [
            "`processing` where a response of 1xx (103 Early Hints) comes first",
            "ends with that, and `transfer` begins",
            "ends with the response",
            "until then the server works on it",
        ],
    },
    Difference {
        series: &["probe_duration_seconds"],
        cases: &["http_is_moved_at_length"],
        shapes: &[Shape::Shorter],
        row: [
            "the body of a redirect that is followed",
            "waited for, if it is short",
            "not waited for",
            "nobody reads it",
        ],
    },
    Difference {
        series: &["probe_http_duration_seconds{phase=\"resolve\"}"],
        cases: &["http_proxy_by_a_name", "http_proxy_by_a_name_moved"],
        shapes: &[Shape::Longer],
        row: [""; 4],
    },
    Difference {
        series: &["probe_http_duration_seconds{phase=\"connect\"}"],
        cases: &["http_proxy_of_tls", "http_proxy_over_tls_of_tls", "http_socks_of_tls"],
        shapes: &[Shape::Longer],
        row: [
            "the time of `CONNECT`, SOCKS and TLS to a proxy, for `https` targets",
            "in no phase",
            "in `connect`",
            "phases add up",
        ],
    },
    Difference {
        series: &["probe_http_duration_seconds{phase=\"tls\"}"],
        cases: &["http_3_answers", "http_3_is_moved"],
        shapes: &[Shape::Shorter],
        row: ["`connect` and `tls` of HTTP/3", "the same time twice", "one after the other", "phases add up"],
    },
    Difference {
        series: &["probe_duration_seconds", "probe_http_duration_seconds{phase=\"connect\"}"],
        cases: &["http_3_is_moved"],
        shapes: &[Shape::Longer],
        row: [
            "a redirect over HTTP/3 to the same host",
            "on the same connection",
            "on a new one",
            "as over HTTP/1 and HTTP/2",
        ],
    },
    Difference {
        series: &["probe_duration_seconds", "probe_grpc_duration_seconds{phase=\"check\"}"],
        cases: &["grpc_answers", "grpc_answers_over_tls"],
        shapes: &[Shape::Shorter],
        row: [
            "`check` of `grpc`",
            "waits for the server's settings first, a round trip",
            "the call alone",
            "HTTP/2 lets a client speak first (RFC 9113, section 3.4)",
        ],
    },
    Difference {
        series: &["probe_duration_seconds", "probe_grpc_duration_seconds{phase=\"check\"}"],
        cases: &["grpc_answers_by_a_name"],
        shapes: &[Shape::Shorter],
        row: [
            "`grpc` by name",
            "the name is looked up again to connect, in any family: in `check`",
            "the address that `probe_ip_protocol` tells",
            "the probe is of what it says that it is of",
        ],
    },
    Difference {
        series: &["probe_duration_seconds", "probe_grpc_duration_seconds{phase=\"check\"}"],
        cases: &["grpc_and_a_proxy_of_the_environment"],
        shapes: &[Shape::Shorter],
        row: [
            "`HTTPS_PROXY` in the environment, and `grpc`",
            "goes through that proxy",
            "does not",
            "the probe is to go through the ISP; `http` has `proxy_from_environment`",
        ],
    },
    // What a loopback has no use for.
    Difference {
        series: &["probe_return_mismatch"],
        cases: &[
            "icmp_answers",
            "icmp_answers_by_a_name",
            "dns_by_udp",
            "dns_by_udp_and_a_name",
            "dns_slowly",
            "http_3_answers",
            "http_3_is_moved",
        ],
        shapes: &[Shape::Here],
        row: [""; 4],
    },
    // The same as of cases whose times are not known.
    Difference {
        series: &["probe_ssl_", "probe_tls_"],
        cases: &["http_tls_is_untrusted", "dns_by_tls", "grpc_answers_over_tls"],
        shapes: &[Shape::Here],
        row: [""; 4],
    },
];
