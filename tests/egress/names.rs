//! The questions to an ISP's name servers, and to a module's own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{Record, RecordType};
use uplink_exporter::config;
use uplink_exporter::flight::Phase;
use uplink_exporter::lab::{Isp, target};
use uplink_exporter::net::Family;
use uplink_exporter::probe::{self, Request};
use uplink_exporter::verdict::Reason;

use crate::support::lab::Site;
use crate::support::pcap::{Capture, Packet};
use crate::{BINDINGS, MODULES, captures, number, site, topology};

/// How far the targets that are modules' name servers are behind those that are ISPs'.
const OWN: u8 = 5;

/// What a name server answers: every name is the target 40. What begins with `long` does not fit into UDP.
fn answer(question: &[u8], by_udp: bool) -> Vec<u8> {
    let mut message = Message::from_vec(question).unwrap().into_response();
    let name = message.queries[0].name.clone();
    let family = if message.queries[0].query_type == RecordType::A { Family::V4 } else { Family::V6 };
    message.metadata.truncation = by_udp && name.to_string().starts_with("long");
    message.answers.push(Record::from_rdata(name, 60, target(family, 40).into()));
    message.to_vec().unwrap()
}

/// A name server at an address of the far end, by UDP and TCP.
pub(super) fn serve_names(site: &Site, address: SocketAddr) {
    let bind = || (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap());
    let (socket, listener) = site.lab.far().run(bind).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            socket.send_to(&answer(&buffer[..length], true), peer).unwrap();
        }
    });
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A client that has another answer already asks nothing.
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_ok() {
                let mut question = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut question).unwrap();
                let message = answer(&question, false);
                stream.write_all(&[&(message.len() as u16).to_be_bytes(), message.as_slice()].concat()).unwrap();
            }
        }
    });
}

#[test]
fn no_question_to_an_isps_name_servers_leaves_through_the_wrong_isp() {
    // Modules with a name server of their own, each by what it is for.
    let own = |prober: &str, isp: Isp, by: &str, family: Family| format!("{prober}_{}_{by}_{family:?}", isp.name());
    let mut modules = MODULES.to_owned();
    for isp in Isp::ALL {
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let server = target(family, OWN + number(isp, binding));
                for prober in ["tcp", "http", "icmp"] {
                    let name = own(prober, isp, by, family);
                    modules += &format!("  {name}: {{prober: {prober}, resolvers: ['{server}']}}\n");
                }
            }
        }
    }
    let Some(site) = site(topology(), &modules) else { return };
    let captures = captures(&site);
    let patience = Duration::from_secs(20);
    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        let mut requests = Vec::new();
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let resolver = SocketAddr::new(target(family, number(isp, binding)), 53);
                serve_names(&site, resolver);
                serve_names(&site, SocketAddr::new(target(family, OWN + number(isp, binding)), 53));
                for name in ["short.example", "long.example"] {
                    let targets = [
                        ("tcp".to_owned(), format!("{name}:80")),
                        ("http".to_owned(), format!("http://{name}/")),
                        ("icmp_raw".to_owned(), name.to_owned()),
                        (own("tcp", isp, by, family), format!("{name}:80")),
                        (own("http", isp, by, family), format!("http://{name}/")),
                        (own("icmp", isp, by, family), name.to_owned()),
                    ];
                    for (module, target) in &targets {
                        let mut request = site.request(module, &format!("{}_{by}", isp.name()), target, patience);
                        let bound = probe::Isp::clone(request.isp.as_ref().unwrap());
                        request.isp = Some(Arc::new(probe::Isp { resolvers: vec![resolver], ..bound }));
                        requests.push(request);
                    }
                }
            }
        }
        for report in site.run_all(requests) {
            assert_eq!(report.failure, None, "{} {}: {:#?}", report.module, report.target, report.log);
        }
    }
    let [through_a, through_b] = captures.map(Capture::stop);
    for (isp, right, wrong) in [(Isp::A, &through_a, &through_b), (Isp::B, &through_b, &through_a)] {
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                for resolver in [0, OWN].map(|first| target(family, first + number(isp, binding))) {
                    let asked = |packet: &&Packet| packet.destination == resolver && packet.ports().1 == 53;
                    assert_eq!(wrong.iter().filter(asked).count(), 0, "through the wrong ISP by {by}");
                    let of = |protocol| right.iter().filter(asked).filter(|packet| packet.protocol == protocol).count();
                    // 2 names and 3 probers; one question a family, and no more of them than that (their own, or the ISP's); of one name
                    // also by TCP, where a conversation has several packets.
                    let (by_udp, by_tcp) = (of(17), of(6));
                    assert!((2 * 3..=2 * 2 * 3).contains(&by_udp), "{by_udp} questions to {resolver} by {by}");
                    assert!(by_tcp >= 3 * 4, "{by_tcp} packets of TCP to {resolver} by {by}");
                    assert!(right.iter().filter(asked).all(|packet| packet.source == isp.source(family)), "by {by}");
                }
            }
        }
    }
}

/// A probe of a name that B's name server knows, through B, by its mark: its routers tell whose way it is.
fn asking(site: &Site, name: &str) -> Request {
    let isps = "isps: {a: {fwmark: 101, networks: [10.1.0.1]}, \
        b: {fwmark: 102, networks: [10.2.0.1], resolvers: [198.51.100.30]}}";
    let isps = config::load_str(isps, "test.yml").unwrap().isps;
    let request = site.request("icmp_raw", "b_mark", name, Duration::from_secs(5));
    Request { isp: Some(Arc::clone(&isps["b"])), isps, ..request }
}

#[test]
fn a_question_that_is_asked_again_by_tcp_does_not_leave_another_way() {
    let Some(site) = site(topology(), MODULES) else { return };
    serve_names(&site, SocketAddr::new(target(Family::V4, 30), 53));
    let request = asking(&site, "long.example");
    let report = site.run_all(vec![request.clone()]).remove(0);
    assert_eq!(report.failure, None, "{:#?}", report.log);
    site.lab.clear_observed();
    site.ip("route add default via 10.1.0.1 dev ispa table 201");
    site.ip("rule add pref 500 ipproto tcp dport 53 lookup 201");
    let report = site.run_all(vec![request]).remove(0);
    let failure = report.failure.unwrap();
    assert_eq!((failure.phase, failure.reason), (Phase::Resolve, Reason::EgressMismatch), "{:#?}", report.log);
    let observed = site.lab.observed();
    assert!(observed.iter().all(|packet| packet.isp == Isp::B && packet.protocol == 17), "{observed:?}");
    assert!(!observed.is_empty(), "it was asked by UDP first");
}

#[test]
fn of_several_ways_a_question_takes_the_isps_or_none() {
    let only_v4 = "  icmp_only_v4: {prober: icmp, icmp: {preferred_ip_protocol: ip4, ip_protocol_fallback: false}}\n";
    let Some(site) = site(topology(), &format!("{MODULES}{only_v4}")) else { return };
    serve_names(&site, SocketAddr::new(target(Family::V4, 30), 53));
    // Its table has no router that would tell whose it is.
    site.ip(&format!("rule del pref {}", 1_000 + Isp::A.mark()));
    site.ip("route replace 198.51.100.30 table 102 nexthop via 10.1.0.1 dev ispa nexthop via 10.2.0.1 dev ispb");
    let by_ports = || std::fs::write("/proc/sys/net/ipv4/fib_multipath_hash_policy", "1");
    site.lab.prober().run(by_ports).unwrap().unwrap();
    site.lab.clear_observed();
    // One question each, and so many that chance does not send all one way.
    let requests = (0..64).map(|number| {
        let request = asking(&site, &format!("short{number}.example"));
        let module = site.request("icmp_only_v4", "b_mark", "", Duration::ZERO).module;
        Request { module, ..request }
    });
    let reports = site.run_all(requests.collect());
    let of = |wanted| {
        reports.iter().filter(|report| report.failure.as_ref().map(|failure| failure.reason) == wanted).count()
    };
    let (right, astray) = (of(None), of(Some(Reason::EgressMismatch)));
    assert!(right > 8 && astray > 8 && right + astray == 64, "{right} right and {astray} wrong ways: {reports:#?}");
    let observed = site.lab.observed();
    assert!(observed.iter().all(|packet| packet.isp == Isp::B), "{observed:?}");
}
