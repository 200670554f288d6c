//! Every packet of every probe leaves through the ISP that was named: tcpdump stands at both uplinks, and the default route goes the
//! other way.

mod support;

use std::net::IpAddr;
use std::time::Duration;

use support::lab::{Site, host};
use support::pcap::{Capture, Packet};
use uplink_exporter::lab::{Isp, Path, Topology, target};
use uplink_exporter::net::Family;
use uplink_exporter::probe::{Measurement, Report};

const MODULES: &str = "
  http: {prober: http}
  https_1: {prober: http, http: {enable_http2: false, tls_config: {ca_file: CA, max_version: TLS12}}}
  https_2: {prober: http, http: {tls_config: {ca_file: CA}}}
  tcp: {prober: tcp}
  tcp_tls: {prober: tcp, tcp: {tls: true, tls_config: {ca_file: CA}}}
  half_open: {prober: tcp, tcp: {half_open: true}}
  half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true}}
  icmp_raw: {prober: icmp, icmp: {raw: true, count: 3, interval: 10ms}}
  icmp_datagram: {prober: icmp, icmp: {raw: false, count: 3, interval: 10ms}}
  icmp_df: {prober: icmp, icmp: {dont_fragment: true}}
  trace_icmp: {prober: traceroute, traceroute: {protocol: icmp}}
  trace_udp: {prober: traceroute, traceroute: {protocol: udp}}
  trace_tcp: {prober: traceroute, traceroute: {protocol: tcp, port: 80}}
";

/// Module, and what stands before and behind the host in its target.
const PROBES: [(&str, &str, &str); 13] = [
    ("http", "http://", "/"),
    ("https_1", "https://", "/"),
    ("https_2", "https://", "/"),
    ("tcp", "", ":80"),
    ("tcp_tls", "", ":443"),
    ("half_open", "", ":80"),
    ("half_open_raw", "", ":80"),
    ("icmp_raw", "", ""),
    ("icmp_datagram", "", ""),
    ("icmp_df", "", ""),
    ("trace_icmp", "", ""),
    ("trace_udp", "", ""),
    ("trace_tcp", "", ""),
];

const BINDINGS: [&str; 3] = ["address", "interface", "mark"];

/// The target of the probes through an ISP by a means of binding: no two share one, so that a packet tells whose it is.
fn number(isp: Isp, binding: u8) -> u8 {
    let first = match isp {
        Isp::A => 10,
        Isp::B => 20,
    };
    first + binding
}

/// The address that a report says its packets left from.
fn told_source(report: &Report) -> Option<IpAddr> {
    match &report.measurement {
        Measurement::Http(measured) => measured.requests[0].handshake.local.map(|local| local.ip()),
        Measurement::Tcp(measured) => measured.handshake.local.map(|local| local.ip()),
        Measurement::Icmp(measured) => measured.source,
        Measurement::Traceroute(measured) => measured.source,
    }
}

#[test]
fn no_packet_of_any_probe_leaves_through_the_wrong_isp() {
    let hops = [300, 300, 400, 1_000];
    let topology = Topology {
        seed: 1,
        a: Path::straight(Isp::A, &hops, 1_000),
        b: Path::straight(Isp::B, &hops, 1_000),
        faults: Vec::new(),
    };
    let Some(site) = Site::start(topology, MODULES) else { return };
    let capture = |isp: Isp| {
        Capture::start(isp.device(), site.folder.path(), |command| site.lab.prober().spawn(command).unwrap())
    };
    let captures = Isp::ALL.map(capture);

    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        let mut requests = Vec::new();
        for (binding, name) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                for (module, before, behind) in PROBES {
                    let target = format!("{before}{}{behind}", host(family, number(isp, binding)));
                    requests.push(site.request(
                        module,
                        &format!("{}_{name}", isp.name()),
                        &target,
                        Duration::from_secs(20),
                    ));
                }
            }
        }
        for report in site.run_all(requests) {
            assert_eq!(report.failure, None, "{} {} {:?}: {:#?}", report.module, report.target, report.isp, report.log);
            let bound = report.isp.as_ref().unwrap().name.ends_with("address");
            // With a datagram socket the kernel does not say which address it takes.
            if bound || report.module != "icmp_datagram" {
                let family = Family::of(report.resolution.as_ref().unwrap().address.unwrap());
                assert_eq!(told_source(&report), Some(isp.source(family)), "{} {}", report.module, report.target);
            }
        }
    }

    let [through_a, through_b] = captures.map(Capture::stop);
    for (isp, right, wrong) in [(Isp::A, &through_a, &through_b), (Isp::B, &through_b, &through_a)] {
        for (binding, name) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let target = target(family, number(isp, binding));
                let to = |packets: &[Packet]| {
                    packets.iter().filter(|packet| packet.destination == target).cloned().collect::<Vec<_>>()
                };
                assert_eq!(to(wrong), [], "through the wrong ISP by {name}");
                let sent = to(right);
                // 4 hops and the target, 3 rounds, 3 protocols; 7 echo requests; 5 connections and 2 halves, of a SYN each.
                assert!(sent.len() >= 5 * 3 * 3 + 7 + 7, "{} packets to {target}, by {name}", sent.len());
                assert!(sent.iter().all(|packet| packet.source == isp.source(family)), "by {name}");
                let syns = sent.iter().filter(|packet| packet.flags() == "S").count();
                assert!(syns >= 7 + 5 * 3, "{syns} SYNs to {target}, by {name}");
            }
        }
    }
}
