//! Reports, and comparisons of them, as JSON. What was not measured has no key. `report.schema.json` is the documentation of both.

mod connection;
mod dns;
mod egress;
mod failed_flow;
mod grpc;
mod http;
mod icmp;
mod stun;
mod tcp;
mod tls;
mod traceroute;
mod unix;
mod websocket;

use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::flight::Phase;
use crate::metrics::{seconds, unix_seconds};
use crate::path::Statistics;
use crate::probe::{self, Measurement, Outcome, resolve};
use crate::verdict::{self, Judgement};
use dns::Dns;
use egress::Egress;
use failed_flow::FailedFlow;
use grpc::Grpc;
use http::Http;
use icmp::Icmp;
use stun::Stun;
use tcp::Tcp;
use tls::Tls;
use traceroute::Traceroute;
use unix::Unix;
use websocket::Websocket;

/// What was asked for as JSON, indented, with or without the probes' logs.
#[must_use]
pub fn json(outcome: &Outcome, with_log: bool) -> String {
    // Keys are text and numbers are finite: there is nothing that could fail.
    let text = match outcome {
        Outcome::One(report) => serde_json::to_string_pretty(&Report::of(report, with_log)),
        Outcome::Several(comparison) => serde_json::to_string_pretty(&Comparison::of(comparison, with_log)),
    };
    let mut text = text.unwrap_or_default();
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Comparison<'a> {
    verdict: &'static str,
    because: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blamed_isps: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<Path<'a>>,
    probes: Vec<Report<'a>>,
}

#[derive(Serialize)]
struct Report<'a> {
    target: &'a str,
    module: &'a str,
    prober: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
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
    failed_flow: Option<FailedFlow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<Resolution<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    way_out: Option<WayOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_ip: Option<PublicIp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<Http<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<Tcp<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<Icmp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Dns<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceroute: Option<Traceroute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unix: Option<Unix<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc: Option<Grpc<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    websocket: Option<Websocket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress: Option<Egress<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stun: Option<Stun<'a>>,
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
}

#[derive(Serialize)]
struct WayOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_hop: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_mismatch: Option<bool>,
}

#[derive(Serialize)]
struct PublicIp {
    ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<bool>,
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
struct LogLine<'a> {
    at_seconds: Seconds,
    text: &'a str,
}

/// A duration as a number of seconds.
struct Seconds(Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(seconds(self.0))
    }
}

/// The phases in their order, as an object.
struct Phases<'a>(&'a [(Phase, Duration)]);

impl Serialize for Phases<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(phase, span)| (phase.name(), Seconds(*span))))
    }
}

/// The path of a trace beside those of others.
#[derive(Serialize)]
struct Path<'a> {
    isp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reroute_helps: Option<bool>,
    beside: Vec<Beside<'a>>,
}

#[derive(Serialize)]
struct Beside<'a> {
    isp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    diverges_hop: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejoins_hop: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble_shared: Option<bool>,
}

impl<'a> Path<'a> {
    fn of(route: &probe::Route, isp: &'a str, isp_of: impl Fn(usize) -> &'a str) -> Self {
        let probe::Route { beside, trouble, reroute_helps } = route;
        let beside = beside.iter().map(|(other, way)| {
            let probe::Way { diverges, rejoins, trouble_is_shared } = *way;
            let isp = isp_of(*other);
            Beside { isp, diverges_hop: diverges, rejoins_hop: rejoins, trouble_shared: trouble_is_shared }
        });
        let trouble = trouble.map(verdict::Trouble::name);
        Self { isp, trouble, reroute_helps: *reroute_helps, beside: beside.collect() }
    }
}

impl<'a> Comparison<'a> {
    fn of(comparison: &'a probe::Comparison, with_log: bool) -> Self {
        let probe::Comparison { reports, judgement: Judgement { verdict, blamed, because }, routes } = comparison;
        let isp = |index: usize| {
            reports.get(index).and_then(|report| report.isp.as_ref()).map_or("", |isp| isp.name.as_str())
        };
        Self {
            verdict: verdict.name(),
            because,
            blamed_isps: blamed.iter().map(|index| isp(*index)).collect(),
            paths: routes.iter().map(|(index, route)| Path::of(route, isp(*index), isp)).collect(),
            probes: reports.iter().map(|report| Report::of(report, with_log)).collect(),
        }
    }
}

impl<'a> Report<'a> {
    fn of(report: &'a probe::Report, with_log: bool) -> Self {
        let probe::Report {
            target,
            module,
            hostname,
            isp,
            started,
            duration,
            timeout,
            phases,
            overhead,
            resolution,
            way_out,
            measurement,
            failure,
            failed_flow,
            log,
        } = report;
        let log = if with_log { log.as_slice() } else { &[] };
        let mut this = Self {
            target,
            module,
            prober: "",
            hostname: hostname.as_deref(),
            isp: isp.as_deref().map(Isp::of),
            started_timestamp_seconds: unix_seconds(*started),
            success: report.success(),
            duration_seconds: Seconds(*duration),
            timeout_seconds: Seconds(*timeout),
            overhead_seconds: Seconds(*overhead),
            phases_seconds: Phases(phases),
            failure: failure.as_ref().map(Failure::of),
            failed_flow: failed_flow.as_ref().map(FailedFlow::of),
            resolution: resolution.as_ref().map(Resolution::of),
            way_out: way_out.as_ref().map(WayOut::of),
            public_ip: PublicIp::of(report),
            http: None,
            tcp: None,
            icmp: None,
            dns: None,
            traceroute: None,
            unix: None,
            grpc: None,
            websocket: None,
            egress: None,
            stun: None,
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
            Measurement::Dns(measured) => {
                (this.prober, this.dns, this.tls) =
                    ("dns", Some(Dns::of(measured)), measured.tls.as_ref().map(Tls::of));
            }
            Measurement::Traceroute(measured) => {
                (this.prober, this.traceroute) = ("traceroute", Some(Traceroute::of(measured)));
            }
            Measurement::Unix(measured) => {
                (this.prober, this.unix, this.tls) =
                    ("unix", Some(Unix::of(measured)), measured.tls.as_ref().map(Tls::of));
            }
            Measurement::Grpc(measured) => {
                (this.prober, this.grpc, this.tls) =
                    ("grpc", Some(Grpc::of(measured)), measured.tls.as_ref().map(Tls::of));
            }
            Measurement::Websocket(measured) => {
                (this.prober, this.websocket, this.tls) =
                    ("websocket", Some(Websocket::of(measured)), measured.tls.as_ref().map(Tls::of));
            }
            Measurement::Egress(measured) => (this.prober, this.egress) = ("egress", Some(Egress::of(measured))),
            Measurement::Stun(measured) => (this.prober, this.stun) = ("stun", Some(Stun::of(measured))),
        }
        this
    }
}

impl<'a> Isp<'a> {
    fn of(isp: &'a probe::Isp) -> Self {
        let probe::Isp {
            name,
            site,
            source,
            resolvers: _,
            proxy: _,
            territory: _,
            public_ips: _,
            max_probes: _,
            pace: _,
            budget: _,
        } = isp;
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
            haproxy: reason.haproxy(*phase),
            envoy: reason.envoy(*phase),
        }
    }
}

impl<'a> Resolution<'a> {
    fn of(resolution: &'a resolve::Resolution) -> Self {
        let resolve::Resolution { name, address, took: _ } = resolution;
        Self { name, address: *address }
    }
}

impl<'a> WayOut<'a> {
    fn of(way_out: &'a probe::WayOut) -> Self {
        let probe::WayOut { device, gateway, first_hop, verified, return_mismatch } = way_out;
        Self {
            device: device.as_deref(),
            gateway: *gateway,
            first_hop: *first_hop,
            verified: *verified,
            return_mismatch: *return_mismatch,
        }
    }
}

impl PublicIp {
    /// Nothing where it was not told.
    fn of(report: &probe::Report) -> Option<Self> {
        Some(Self { ip: report.public_ip()?, expected: report.public_ip_expected() })
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

impl<'a> LogLine<'a> {
    fn of(line: &'a probe::LogLine) -> Self {
        let probe::LogLine { at, text } = line;
        Self { at_seconds: Seconds(*at), text }
    }
}
