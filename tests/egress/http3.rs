//! HTTP/3.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use uplink_exporter::lab::{Isp, Path, Topology, target};
use uplink_exporter::net::Family;

use crate::support::http3::serve_http3;
use crate::support::lab::{Site, host};
use crate::support::pcap::{Capture, Packet};
use crate::{BINDINGS, captures, forget_source_addresses, number, told_source, topology};

const HTTP3: &str =
    "  http_3: {prober: http, http: {enable_http3: true, enable_http2: false, tls_config: {ca_file: CA}}}\n";

#[test]
fn no_datagram_of_http3_leaves_through_the_wrong_isp() {
    let Some(site) = Site::start(topology(), HTTP3) else { return };
    serve_http3(&site);
    let captures = captures(&site);
    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        let mut requests = Vec::new();
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let target = format!("https://{}/big", host(family, number(isp, binding)));
                requests.push(site.request(
                    "http_3",
                    &format!("{}_{by}", isp.name()),
                    &target,
                    Duration::from_secs(20),
                ));
            }
        }
        for report in site.run_all(requests) {
            assert_eq!(report.failure, None, "{} {:?}: {:#?}", report.target, report.isp, report.log);
            let family = Family::of(report.resolution.as_ref().unwrap().address.unwrap());
            assert_eq!(told_source(&report), Some(isp.source(family)), "{}", report.target);
        }
    }
    let [through_a, through_b] = captures.map(Capture::stop);
    for (isp, right, wrong) in [(Isp::A, &through_a, &through_b), (Isp::B, &through_b, &through_a)] {
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let to = |packet: &&Packet| packet.destination == target(family, number(isp, binding));
                assert_eq!(wrong.iter().filter(to).count(), 0, "through the wrong ISP by {by}");
                let sent: Vec<_> = right.iter().filter(to).filter(|packet| packet.protocol == 17).collect();
                assert!(sent.len() > 10 && sent.iter().all(|packet| packet.source == isp.source(family)), "by {by}");
            }
        }
    }
}

#[test]
fn no_datagram_of_http3_that_comes_too_late_is_refused_through_the_wrong_isp() {
    let path = |isp| Path::straight(isp, &[1_000, 19_000, 20_000], 20_000);
    let topology = Topology { seed: 1, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() };
    let Some(site) = Site::start(topology, HTTP3) else { return };
    serve_http3(&site);
    forget_source_addresses(&site);
    let captures = captures(&site);
    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        let mut requests = Vec::new();
        for (binding, by) in (1..).zip(&BINDINGS[1..]) {
            for family in [Family::V4, Family::V6] {
                let target = format!("https://{}/big", host(family, number(isp, binding)));
                for timeout in [20, 50, 80, 110, 140, 170, 200, 20_000] {
                    let timeout = Duration::from_millis(timeout);
                    requests.push(site.request("http_3", &format!("{}_{by}", isp.name()), &target, timeout));
                }
            }
        }
        let reports = site.run_all(requests);
        let cut = reports.iter().filter(|report| report.failure.is_some()).count();
        assert!(cut > reports.len() / 4 && cut < reports.len(), "{cut} of {}", reports.len());
        thread::sleep(Duration::from_millis(3_500));
    }
    let [through_a, through_b] = captures.map(Capture::stop);
    for (isp, right, wrong) in [(Isp::A, &through_a, &through_b), (Isp::B, &through_b, &through_a)] {
        // A server that was not told sends its part of the handshake again, after a second and then another two (RFC 9002, section 6.2).
        let mut last = BTreeMap::new();
        for packet in right.iter().filter(|packet| packet.protocol == 17) {
            let (ports, is_answer) = (packet.ports(), packet.source != isp.source(Family::of(packet.source)));
            let flow = if is_answer { (packet.source, ports.1) } else { (packet.destination, ports.0) };
            let before = last.insert(flow, packet.at).unwrap_or(packet.at);
            assert!(
                !is_answer || packet.at.saturating_sub(before) < Duration::from_millis(900),
                "{flow:?} was not told of the end"
            );
        }
        for (binding, by) in (1..).zip(&BINDINGS[1..]) {
            for family in [Family::V4, Family::V6] {
                let to = |packet: &&Packet| packet.destination == target(family, number(isp, binding));
                let strays: Vec<_> = wrong.iter().filter(to).map(|p| (p.protocol, p.ports(), p.source)).collect();
                assert!(strays.is_empty(), "through the wrong ISP by {by}: {strays:?}");
            }
        }
    }
}
