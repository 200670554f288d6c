//! What differs in what is said of TLS.

use super::{Difference, Shape};

pub(super) const TLS: &[Difference] = &[
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
];
