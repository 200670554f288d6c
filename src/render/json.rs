//! A report as JSON. What was not measured has no key. `report.schema.json` is its documentation.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::config;
use crate::metrics::{loss_ratio, unix_seconds};
use crate::net::tls::{self, TlsFacts};
use crate::path::Statistics;
use crate::probe::{self, Measurement, http, icmp, resolve, tcp, traceroute};
use crate::verdict;

/// The report as JSON, indented.
#[must_use]
pub fn json(report: &probe::Report) -> String {
    // Keys are text and numbers are finite: there is nothing that could fail.
    let mut text = serde_json::to_string_pretty(&Report::of(report)).unwrap_or_default();
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Report<'a> {
    target: &'a str,
    module: &'a str,
    prober: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    isp: Option<Isp<'a>>,
    started_timestamp_seconds: f64,
    success: bool,
    duration_seconds: Seconds,
    timeout_seconds: Seconds,
    overhead_seconds: Seconds,
    phases_seconds: Phases<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<Resolution<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<Http>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<Tcp<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<Icmp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceroute: Option<Traceroute>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log: Vec<LogLine<'a>>,
}

#[derive(Serialize)]
struct Isp<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    site: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ip6: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fwmark: Option<u32>,
}

#[derive(Serialize)]
struct Failure<'a> {
    phase: &'static str,
    reason: String,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offender: Option<IpAddr>,
    #[serde(skip_serializing_if = "str::is_empty")]
    haproxy: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    envoy: &'static str,
}

#[derive(Serialize)]
struct Resolution<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    duration_seconds: Seconds,
}

#[derive(Serialize)]
struct Http {
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_length: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_length: Option<u64>,
    redirects: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_timestamp_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Tcp<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_rtt_seconds: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    syn_retransmits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_due_to_regex: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_due_to_bytes: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    expect_info: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Icmp {
    packets_sent: u32,
    packets_received: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_seconds: Option<RoundTrips>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_hop_limit: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_socket: Option<bool>,
}

#[derive(Serialize)]
struct Traceroute {
    reached: bool,
    hops: Vec<Hop>,
}

#[derive(Serialize)]
struct Hop {
    hop: u8,
    sent: u32,
    received: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_seconds: Option<RoundTrips>,
    addresses: Vec<Address>,
}

#[derive(Serialize)]
struct Address {
    address: IpAddr,
    answers: u32,
}

#[derive(Serialize)]
struct RoundTrips {
    last: f64,
    avg: f64,
    best: f64,
    worst: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stddev: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<f64>,
}

#[derive(Serialize)]
struct Tls<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_expiry_timestamp_seconds: Option<f64>,
    certificates: Vec<Certificate<'a>>,
}

#[derive(Serialize)]
struct Certificate<'a> {
    fingerprint_sha256: &'a str,
    subject: &'a str,
    issuer: &'a str,
    subject_alternative: &'a str,
    serial_number: &'a str,
    not_before_timestamp_seconds: f64,
    not_after_timestamp_seconds: f64,
}

#[derive(Serialize)]
struct LogLine<'a> {
    at_seconds: Seconds,
    text: &'a str,
}

/// A duration as a number of seconds.
struct Seconds(Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

/// The phases in their order, as an object.
struct Phases<'a>(&'a [(crate::flight::Phase, Duration)]);

impl Serialize for Phases<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(phase, span)| (phase.name(), Seconds(*span))))
    }
}

impl<'a> Report<'a> {
    fn of(report: &'a probe::Report) -> Self {
        let probe::Report {
            target,
            module,
            isp,
            started,
            duration,
            timeout,
            phases,
            overhead,
            resolution,
            measurement,
            failure,
            log,
        } = report;
        let mut this = Self {
            target,
            module,
            prober: "",
            isp: isp.as_deref().map(Isp::of),
            started_timestamp_seconds: unix_seconds(*started),
            success: report.success(),
            duration_seconds: Seconds(*duration),
            timeout_seconds: Seconds(*timeout),
            overhead_seconds: Seconds(*overhead),
            phases_seconds: Phases(phases),
            failure: failure.as_ref().map(Failure::of),
            resolution: resolution.as_ref().map(Resolution::of),
            http: None,
            tcp: None,
            icmp: None,
            traceroute: None,
            tls: None,
            log: log.iter().map(LogLine::of).collect(),
        };
        match measurement {
            Measurement::Http(measured) => {
                (this.prober, this.http, this.tls) =
                    ("http", Some(Http::of(measured)), measured.tls.as_ref().map(Tls::of));
            }
            Measurement::Tcp(measured) => {
                (this.prober, this.tcp, this.tls) =
                    ("tcp", Some(Tcp::of(measured)), measured.tls.as_ref().map(Tls::of));
            }
            Measurement::Icmp(measured) => (this.prober, this.icmp) = ("icmp", Some(Icmp::of(measured))),
            Measurement::Traceroute(measured) => {
                (this.prober, this.traceroute) = ("traceroute", Some(Traceroute::of(measured)));
            }
        }
        this
    }
}

impl<'a> Isp<'a> {
    fn of(isp: &'a config::Isp) -> Self {
        let config::Isp { name, site, source, resolvers: _ } = isp;
        Self {
            name,
            site,
            source_ip: source.v4.map(IpAddr::V4),
            source_ip6: source.v6.map(IpAddr::V6),
            interface: source.interface.as_deref(),
            fwmark: source.mark,
        }
    }
}

impl<'a> Failure<'a> {
    fn of(failure: &'a verdict::Failure) -> Self {
        let verdict::Failure { phase, reason, detail, offender } = failure;
        Self {
            phase: phase.name(),
            reason: reason.name().into_owned(),
            detail,
            offender: *offender,
            haproxy: reason.haproxy(),
            envoy: reason.envoy(),
        }
    }
}

impl<'a> Resolution<'a> {
    fn of(resolution: &'a resolve::Resolution) -> Self {
        let resolve::Resolution { name, address, duration } = resolution;
        Self { name, address: *address, duration_seconds: Seconds(*duration) }
    }
}

impl Http {
    fn of(measured: &http::Measurement) -> Self {
        let http::Measurement { status, version, content_length, body_length, redirects, ssl, last_modified, tls: _ } =
            measured;
        Self {
            status_code: *status,
            version: *version,
            content_length: *content_length,
            body_length: *body_length,
            redirects: *redirects,
            ssl: *ssl,
            last_modified_timestamp_seconds: last_modified.map(unix_seconds),
        }
    }
}

impl<'a> Tcp<'a> {
    fn of(measured: &'a tcp::Measurement) -> Self {
        let tcp::Measurement {
            handshake_rtt,
            syn_retransmits,
            failed_due_to_regex,
            failed_due_to_bytes,
            expect_info,
            tls: _,
        } = measured;
        Self {
            handshake_rtt_seconds: handshake_rtt.map(Seconds),
            syn_retransmits: *syn_retransmits,
            failed_due_to_regex: *failed_due_to_regex,
            failed_due_to_bytes: *failed_due_to_bytes,
            expect_info: expect_info.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        }
    }
}

impl Icmp {
    fn of(measured: &icmp::Measurement) -> Self {
        let icmp::Measurement { sent, received, rtt, reply_hop_limit, raw } = measured;
        Self {
            packets_sent: *sent,
            packets_received: *received,
            loss_ratio: loss_ratio(*sent, *received),
            rtt_seconds: RoundTrips::of(rtt),
            reply_hop_limit: *reply_hop_limit,
            raw_socket: *raw,
        }
    }
}

impl Traceroute {
    fn of(measured: &traceroute::Measurement) -> Self {
        let traceroute::Measurement { reached, hops } = measured;
        Self { reached: *reached, hops: hops.iter().map(Hop::of).collect() }
    }
}

impl Hop {
    fn of(hop: &traceroute::Hop) -> Self {
        let traceroute::Hop { number, sent, received, rtt, addresses } = hop;
        let addresses = addresses.iter().map(|(address, answers)| Address { address: *address, answers: *answers });
        Self {
            hop: *number,
            sent: *sent,
            received: *received,
            loss_ratio: loss_ratio(*sent, *received),
            rtt_seconds: RoundTrips::of(rtt),
            addresses: addresses.collect(),
        }
    }
}

impl RoundTrips {
    /// Nothing where nothing was answered.
    fn of(rtt: &Statistics) -> Option<Self> {
        Some(Self {
            last: rtt.last()?,
            avg: rtt.avg()?,
            best: rtt.best()?,
            worst: rtt.worst()?,
            stddev: rtt.stddev(),
            jitter: rtt.jitter(),
        })
    }
}

impl<'a> Tls<'a> {
    fn of(facts: &'a TlsFacts) -> Self {
        let TlsFacts { version, cipher, alpn, chain, chain_expiry } = facts;
        Self {
            version: *version,
            cipher: cipher.as_deref(),
            alpn: alpn.as_deref(),
            chain_expiry_timestamp_seconds: chain_expiry.map(unix_seconds),
            certificates: chain.iter().map(Certificate::of).collect(),
        }
    }
}

impl<'a> Certificate<'a> {
    fn of(certificate: &'a tls::Certificate) -> Self {
        let tls::Certificate {
            fingerprint_sha256,
            subject,
            issuer,
            subject_alternative,
            serial_number,
            not_before,
            not_after,
        } = certificate;
        let seconds = |time: &SystemTime| unix_seconds(*time);
        Self {
            fingerprint_sha256,
            subject,
            issuer,
            subject_alternative,
            serial_number,
            not_before_timestamp_seconds: seconds(not_before),
            not_after_timestamp_seconds: seconds(not_after),
        }
    }
}

impl<'a> LogLine<'a> {
    fn of(line: &'a probe::LogLine) -> Self {
        let probe::LogLine { at, text } = line;
        Self { at_seconds: Seconds(*at), text }
    }
}
