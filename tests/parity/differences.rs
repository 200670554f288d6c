//! What differs from blackbox_exporter in what a probe says, each with its reason: the README's table, held by the cases.
//!
//! A difference that is not here fails, and so does one here that none of its cases shows.

#[path = "differences/http.rs"]
mod http;
#[path = "differences/others.rs"]
mod others;
#[path = "differences/surface.rs"]
mod surface;
#[path = "differences/targets.rs"]
mod targets;
#[path = "differences/times.rs"]
mod times;
#[path = "differences/tls.rs"]
mod tls;

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
    all().chain(older.chain(newer).map(|(_, difference)| difference))
}

/// The rows of the README's table: what differs from 0.28.
pub(crate) fn rows() -> impl Iterator<Item = [&'static str; 4]> {
    let all = all().chain(NEWER.iter().map(|(_, difference)| difference)).chain(OF_OLDER_GO);
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

/// Those of every prober first, and the exporter's own behind those of probers.
fn all() -> impl Iterator<Item = &'static Difference> {
    let lists = [EVERY, http::HTTP, tls::TLS, others::OTHERS, targets::TARGETS, surface::SURFACE, times::TIMES];
    lists.into_iter().flatten()
}

/// Those of every prober.
const EVERY: &[Difference] = &[
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
