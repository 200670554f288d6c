//! A report as text for a person at a terminal: what was probed through whom, where the time went, and what the prober found.

mod dns;
mod egress;
mod grpc;
mod http;
mod icmp;
mod stun;
mod tcp;
mod tls;
mod traceroute;
mod units;
mod unix;
mod waterfall;
mod websocket;

use std::fmt::{Display, Write};

use crate::flight::Traffic;
use crate::metrics::unix_seconds;
use crate::net::Source;
use crate::probe::conversation::Heard;
use crate::probe::{
    Cause, Comparison, FailedFlow, Handshake, LogLine, Measurement, Outcome, Report, Route, Way, WayOut,
};
use crate::verdict::{Failure, Judgement};
use units::{date, milliseconds};

/// What was asked for, whose sockets were bound by `sources`, one of each probe, with or without its logs.
#[must_use]
pub fn people<'a>(outcome: &Outcome, sources: impl Iterator<Item = &'a Source>, with_log: bool) -> String {
    let mut page = Page::default();
    if let Outcome::Several(Comparison { reports, judgement: Judgement { verdict, blamed, because }, routes }) = outcome
    {
        page.entry("verdict", verdict.name());
        let blamed = blamed.iter().filter_map(|index| Some(reports.get(*index)?.isp.as_ref()?.name.as_str()));
        let blamed: Vec<_> = blamed.collect();
        if !blamed.is_empty() {
            page.entry("blamed", blamed.join(", "));
        }
        page.entry("because", because);
        let isp = |index: usize| reports.get(index).and_then(|report| report.isp.as_ref()).map_or("", |isp| &isp.name);
        for (index, route) in routes {
            for (other, way) in &route.beside {
                page.entry("path", beside(isp(*index), isp(*other), route, way));
            }
        }
    }
    for (report, source) in outcome.reports().iter().zip(sources) {
        if !page.text.is_empty() {
            page.text.push('\n');
        }
        page.text += &person(report, source, with_log);
    }
    page.text
}

/// How a path goes beside another one.
fn beside(isp: &str, other: &str, route: &Route, way: &Way) -> String {
    let mut text = format!("{isp} beside {other}: ");
    let _ = match (way.diverges, way.rejoins) {
        (None, _) => write!(text, "the same"),
        (Some(diverges), None) => write!(text, "another from hop {diverges} on"),
        (Some(diverges), Some(rejoins)) => write!(text, "another from hop {diverges}, the same from hop {rejoins} on"),
    };
    if let (Some(trouble), shared) = (route.trouble, way.trouble_is_shared) {
        let place = match shared {
            Some(true) => " where both go",
            Some(false) => " where it goes alone",
            None => "",
        };
        let _ = write!(text, "; {}{place}", trouble.name());
    }
    match route.reroute_helps {
        Some(true) => text.push_str("; another ISP would help"),
        Some(false) => text.push_str("; no other ISP would help"),
        None => {}
    }
    text
}

/// The report of a probe whose sockets were bound by `source`, with or without its log. What was not measured has no line.
#[must_use]
pub fn person(report: &Report, source: &Source, with_log: bool) -> String {
    let mut found = Page::default();
    let prober = match &report.measurement {
        Measurement::Http(measured) => {
            http::write(&mut found, report, measured);
            "http"
        }
        Measurement::Tcp(measured) => {
            tcp::write(&mut found, report, measured);
            "tcp"
        }
        Measurement::Icmp(measured) => {
            icmp::write(&mut found, report, measured);
            "icmp"
        }
        Measurement::Traceroute(measured) => {
            traceroute::write(&mut found, report, measured);
            "traceroute"
        }
        Measurement::Dns(measured) => {
            dns::write(&mut found, report, measured);
            "dns"
        }
        Measurement::Unix(measured) => {
            unix::write(&mut found, report, measured);
            "unix"
        }
        Measurement::Grpc(measured) => {
            grpc::write(&mut found, report, measured);
            "grpc"
        }
        Measurement::Websocket(measured) => {
            websocket::write(&mut found, report, measured);
            "websocket"
        }
        Measurement::Egress(measured) => {
            egress::write(&mut found, report, measured);
            "egress"
        }
        Measurement::Stun(measured) => {
            stun::write(&mut found, report, measured);
            "stun"
        }
    };
    let mut page = Page::default();
    head(&mut page, report, prober, source);
    page.text += &found.text;
    if let Some(flow) = &report.failed_flow {
        failed_flow(&mut page, flow);
    }
    if with_log && !report.log.is_empty() {
        page.blank();
        for LogLine { at, text } in &report.log {
            page.line(format_args!("{:>12.6}s  {text}", at.as_secs_f64()));
        }
    }
    page.text
}

/// What was asked for, and how it ended.
fn head(page: &mut Page, report: &Report, prober: &str, source: &Source) {
    page.entry("target", &report.target);
    if let Some(hostname) = &report.hostname {
        page.entry("hostname", hostname);
    }
    page.entry("module", format_args!("{} ({prober})", report.module));
    // What stays on this host takes no way out of it.
    if !matches!(report.measurement, Measurement::Unix(_)) {
        page.entry("ISP", through(report, source));
    }
    if let Some(resolution) = &report.resolution {
        match resolution.address {
            Some(address) if address.to_string() == resolution.name => page.entry("address", address),
            Some(address) => page.entry("address", format_args!("{address} of {}", resolution.name)),
            None => page.entry("address", format_args!("none of {}", resolution.name)),
        }
    }
    if let Some(way_out) = &report.way_out {
        page.entry("way out", leaving(way_out));
    }
    if let Some(address) = report.public_ip() {
        let judged = match report.public_ip_expected() {
            Some(true) => ", one of the ISP's",
            Some(false) => ", none of the ISP's public_ips",
            None => "",
        };
        page.entry("seen as", format_args!("{address}{judged}"));
    }
    page.entry("began", date(unix_seconds(report.started)));
    let (duration, limit) = (milliseconds(report.duration.as_secs_f64()), report.timeout.as_secs_f64());
    match &report.failure {
        None => page.entry("result", format_args!("success in {duration} ms (timeout {limit} s)")),
        Some(Failure { phase, reason, detail, offender }) => {
            let (phase, reason) = (phase.name(), reason.name());
            page.entry("result", format_args!("failure in {phase} after {duration} ms (timeout {limit} s): {reason}"));
            page.entry("", detail);
            if let Some(offender) = offender {
                page.entry("", format_args!("reported by {offender}"));
            }
        }
    }
}

/// Through whom, and what bound the sockets.
fn through(report: &Report, source: &Source) -> String {
    let Source { v4, v6, interface, mark } = source;
    let addresses = [v4.map(|address| address.to_string()), v6.map(|address| address.to_string())];
    let addresses: Vec<String> = addresses.into_iter().flatten().collect();
    let from = (!addresses.is_empty()).then(|| format!("from {}", addresses.join(" and ")));
    let interface = interface.as_ref().map(|interface| format!("by interface {interface}"));
    let mark = mark.map(|mark| format!("with mark {mark}"));
    let binding: Vec<String> = [from, interface, mark].into_iter().flatten().collect();
    let binding = binding.join(", ");
    match &report.isp {
        Some(isp) if isp.site.is_empty() => format!("{}, {binding}", isp.name),
        Some(isp) => format!("{} ({}), {binding}", isp.name, isp.site),
        None if source.is_unbound() => "none, as the kernel routes".to_owned(),
        None => format!("none, {binding} (the module's)"),
    }
}

/// The flow that was traced, and its hops where there are any.
fn failed_flow(page: &mut Page, flow: &FailedFlow) {
    page.blank();
    page.entry("flow", format_args!("{} -> {}", flow.local, flow.remote));
    if let Cause::Slow { phase, took } = flow.cause {
        let took = milliseconds(took.as_secs_f64());
        page.entry("", format_args!("traced since {} took {took} ms", phase.name()));
    }
    page.entry("", format_args!("it {flow}"));
    if let Some(astray) = &flow.astray {
        page.entry("", format_args!("it does not leave through its ISP: {astray}"));
    }
    if flow.trace.flows > 0 {
        traceroute::hops(page, &flow.trace);
    }
}

/// Which way it left this host.
fn leaving(way_out: &WayOut) -> String {
    let WayOut { device, gateway, first_hop, verified, return_mismatch } = way_out;
    let told = [
        device.as_ref().map(|device| format!("by {device}")),
        gateway.map(|gateway| format!("via {gateway}")),
        first_hop.map(|router| format!("first router {router}")),
        verified.map(|verified| if verified { "through the ISP" } else { "not through the ISP" }.to_owned()),
        return_mismatch.filter(|mismatch| *mismatch).map(|_| "answers came by another device".to_owned()),
    ];
    told.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What a connection carried.
fn carried(page: &mut Page, traffic: Option<Traffic>) {
    if let Some(Traffic { sent, received }) = traffic {
        page.entry("", format_args!("{sent} bytes sent, {received} received"));
    }
}

/// What a conversation was to tell.
fn heard(page: &mut Page, heard: &Heard) {
    // The reason of a failure says whether something was missed.
    let Heard { failed_due_to_regex: _, failed_due_to_bytes: _, expect_info } = heard;
    for (number, (name, value)) in expect_info.iter().enumerate() {
        page.entry(if number == 0 { "heard" } else { "" }, format_args!("{name}: {value:?}"));
    }
}

/// A text under way.
#[derive(Debug, Default)]
struct Page {
    text: String,
    /// Whether the next line, if there is any, is set off from those before.
    parted: bool,
}

impl Page {
    /// Adds a line. What others said is in it: nothing of that may be a line of its own, or move a terminal.
    fn line(&mut self, text: impl Display) {
        if std::mem::take(&mut self.parted) {
            self.text.push('\n');
        }
        for c in text.to_string().chars() {
            match c {
                '"' | '\'' | '\\' => self.text.push(c),
                c => self.text.extend(c.escape_debug()),
            }
        }
        self.text.push('\n');
    }

    /// Sets off what follows.
    fn blank(&mut self) {
        self.parted = true;
    }

    /// Adds a line with a name; without one, it belongs to the line before.
    fn entry(&mut self, name: &str, text: impl Display) {
        let mut line = format!("{name:<8} ");
        let _ = write!(line, "{text}");
        self.line(line);
    }
}

/// From where to where a connection was, and how its handshake went; nothing before a SYN was to leave.
fn connection(handshake: &Handshake) -> Option<String> {
    let Handshake { local, remote, rtt, syn_retransmits } = handshake;
    let mut text = match (local, remote) {
        (Some(local), Some(remote)) => format!("{local} -> {remote}"),
        (None, Some(remote)) => format!("-> {remote}"),
        (_, None) => return None,
    };
    if let Some(rtt) = rtt {
        let _ = write!(text, ", round trip {} ms", milliseconds(rtt.as_secs_f64()));
    }
    match syn_retransmits {
        None => {}
        Some(1) => text += ", 1 SYN sent again",
        Some(count) => {
            let _ = write!(text, ", {count} SYNs sent again");
        }
    }
    Some(text)
}
