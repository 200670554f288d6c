//! Every packet of every probe leaves through the ISP that was named: tcpdump stands at both uplinks, and the default route goes the
//! other way.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the name server of the test, which ends where it finds what cannot be"
)]

#[path = "egress/http3.rs"]
mod http3;
#[path = "egress/names.rs"]
mod names;
#[path = "egress/proxy.rs"]
mod proxy;
mod support;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use names::serve_names;
use support::dns::{NameServer, Sockets, server_config};
use support::lab::{Site, host, reflect};
use support::pcap::{Capture, Packet};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use uplink_exporter::lab::{Isp, Path, Topology, target};
use uplink_exporter::net::Family;
use uplink_exporter::probe;
use uplink_exporter::probe::{Measurement, Report};
use uplink_exporter::verdict::Reason;
use uplink_exporter::wire::websocket;

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
  dns_udp: {prober: dns, dns: {query_name: www.example, query_type: A}}
  dns_tcp: {prober: dns, dns: {query_name: www.example, query_type: A, transport_protocol: tcp}}
  dns_tls: {prober: dns, dns: {query_name: www.example, transport_protocol: tcp, dns_over_tls: true, tls_config: {ca_file: CA}}}
  dns_https: {prober: dns, dns: {query_name: www.example, transport_protocol: https, tls_config: {ca_file: CA}}}
  trace_icmp: {prober: traceroute, traceroute: {protocol: icmp}}
  trace_udp: {prober: traceroute, traceroute: {protocol: udp}}
  trace_tcp: {prober: traceroute, traceroute: {protocol: tcp, port: 80}}
  stun_udp: {prober: stun}
  stun_tcp: {prober: stun, stun: {transport_protocol: tcp}}
  grpc: {prober: grpc}
  grpc_tls: {prober: grpc, grpc: {tls: true, tls_config: {ca_file: CA}}}
  websocket: {prober: websocket, websocket: {query_response: [{send: ping}, {expect: ping}]}}
  websocket_tls: {prober: websocket, websocket: {http_config: {tls_config: {ca_file: CA}}}}
";

/// Module, and what stands before and behind the host in its target.
const PROBES: [(&str, &str, &str); 23] = [
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
    ("dns_udp", "", ":5353"),
    ("dns_tcp", "", ":5353"),
    ("dns_tls", "", ""),
    ("dns_https", "https://", ":8443/dns-query"),
    ("trace_icmp", "", ""),
    ("trace_udp", "", ""),
    ("trace_tcp", "", ""),
    ("stun_udp", "", ":3478"),
    ("stun_tcp", "", ":3478"),
    ("grpc", "", ":50051"),
    ("grpc_tls", "", ":443"),
    ("websocket", "ws://", ":8080/socket"),
    ("websocket_tls", "wss://", "/socket"),
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
        Measurement::Dns(measured) => measured.handshake.local.map(|local| local.ip()),
        Measurement::Traceroute(measured) => measured.source,
        Measurement::Unix(_) | Measurement::Egress(_) => None,
        Measurement::Grpc(measured) => measured.handshake.local.map(|local| local.ip()),
        Measurement::Websocket(measured) => measured.handshake.local.map(|local| local.ip()),
        Measurement::Stun(measured) => measured.handshake.local.map(|local| local.ip()),
    }
}

fn topology() -> Topology {
    let hops = [300, 300, 400, 1_000];
    Topology {
        seed: 1,
        a: Path::straight(Isp::A, &hops, 1_000),
        b: Path::straight(Isp::B, &hops, 1_000),
        faults: Vec::new(),
    }
}

/// The site, with a gRPC server and one of WebSockets at the far end, which nginx stands before over TLS.
fn site(topology: Topology, modules: &str) -> Option<Site> {
    let site = Site::start(topology, modules)?;
    reflect(site.lab.far());
    let bind = || (TcpListener::bind(("::", 50051)).unwrap(), TcpListener::bind(("::", 8080)).unwrap());
    let (grpc, websocket) = site.lab.far().run(bind).unwrap();
    grpc.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_, service) = tonic_health::server::health_reporter();
            let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(grpc).unwrap());
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
    });
    thread::spawn(move || {
        for stream in websocket.incoming().flatten() {
            thread::spawn(move || converse(stream));
        }
    });
    Some(site)
}

/// A WebSocket that says what it hears, which is short. A client that is gone ends it.
fn converse(mut stream: TcpStream) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0].to_ascii_lowercase());
        // The key is in letters of both cases.
        if head.ends_with(b"sec-websocket-key: ") {
            let mut key = [0; 24];
            stream.read_exact(&mut key).ok()?;
            let accept = websocket::accept(std::str::from_utf8(&key).unwrap());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).ok()?;
        }
    }
    loop {
        let mut start = [0; 6];
        stream.read_exact(&mut start).ok()?;
        let mut payload = vec![0; usize::from(start[1] & 0x7f)];
        stream.read_exact(&mut payload).ok()?;
        payload.iter_mut().zip(start[2..].iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        stream.write_all(&[&[start[0], start[1] & 0x7f], payload.as_slice()].concat()).ok()?;
        if start[0] == 0x88 {
            return Some(());
        }
    }
}

/// Name servers at the target of every means of binding to an ISP, in both families, which the dns probes ask.
fn serve_dns(site: &Site, isp: Isp) {
    let [certificate, key] = ["cert.pem", "key.pem"].map(|file| std::fs::read(site.folder.path().join(file)).unwrap());
    for (binding, _) in (0..).zip(BINDINGS) {
        for family in [Family::V4, Family::V6] {
            let address = target(family, number(isp, binding));
            let sockets = site.lab.far().run(|| Sockets::bind(address, [5353, 853, 8443])).unwrap();
            NameServer::start(sockets, server_config(&certificate, &key));
        }
    }
}

fn captures(site: &Site) -> [Capture; 2] {
    Isp::ALL.map(|isp| {
        Capture::start(isp.device(), site.folder.path(), |command| site.lab.prober().spawn(command).unwrap())
    })
}

#[test]
fn no_packet_of_any_probe_leaves_through_the_wrong_isp() {
    let Some(site) = site(topology(), MODULES) else { return };
    let captures = captures(&site);

    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        serve_dns(&site, isp);
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
                // 4 hops and the target, 3 rounds, 3 protocols; 7 echo requests; 13 connections and 2 halves, of a SYN each; two questions.
                assert!(sent.len() > 5 * 3 * 3 + 7 + 15 + 1, "{} packets to {target}, by {name}", sent.len());
                assert!(sent.iter().all(|packet| packet.source == isp.source(family)), "by {name}");
                let syns = sent.iter().filter(|packet| packet.flags() == "S").count();
                assert!(syns >= 15 + 5 * 3, "{syns} SYNs to {target}, by {name}");
                let asked = sent.iter().filter(|packet| packet.protocol == 17 && packet.ports().1 == 5353).count();
                assert_eq!(asked, 1, "a question is asked once; {target}, by {name}");
            }
        }
    }
}

/// Modules with an address of their own, which is ISP B's, and the ports of their targets.
const OWN: [(&str, &str, &str); 6] = [
    ("own_tcp", "{prober: tcp, tcp: {source_ip_address: SOURCE}}", ":80"),
    ("own_half", "{prober: tcp, tcp: {source_ip_address: SOURCE, half_open: true}}", ":80"),
    ("own_half_raw", "{prober: tcp, tcp: {source_ip_address: SOURCE, half_open: true, raw: true}}", ":80"),
    ("own_icmp", "{prober: icmp, icmp: {source_ip_address: SOURCE}}", ""),
    ("own_trace", "{prober: traceroute, traceroute: {source_ip_address: SOURCE}}", ""),
    ("own_trace_tcp", "{prober: traceroute, traceroute: {source_ip_address: SOURCE, protocol: tcp, port: 80}}", ""),
];

#[test]
fn packets_of_a_module_with_its_own_address_leave_from_there_unless_an_isp_is_named() {
    let mut modules = String::new();
    for (name, module, _) in OWN {
        for (family, source) in [("4", Isp::B.source(Family::V4)), ("6", Isp::B.source(Family::V6))] {
            modules += &format!("  {name}{family}: {}\n", module.replace("SOURCE", &format!("'{source}'")));
        }
    }
    let Some(site) = Site::start(topology(), &modules) else { return };
    site.lab.default_route(Isp::A).unwrap();
    let captures = captures(&site);
    let mut requests = Vec::new();
    // To one target without an ISP, to another one through ISP A.
    for (isp, number) in [("", 10), ("a_address", 11)] {
        for (name, _, port) in OWN {
            for (suffix, family) in [("4", Family::V4), ("6", Family::V6)] {
                let target = format!("{}{port}", host(family, number));
                requests.push(site.request(&format!("{name}{suffix}"), isp, &target, Duration::from_secs(20)));
            }
        }
    }
    for report in site.run_all(requests) {
        assert_eq!(report.failure, None, "{} {} {:?}: {:#?}", report.module, report.target, report.isp, report.log);
    }
    let [through_a, through_b] = captures.map(Capture::stop);
    for (number, isp, right, wrong) in [(10, Isp::B, &through_b, &through_a), (11, Isp::A, &through_a, &through_b)] {
        for family in [Family::V4, Family::V6] {
            let to = |packets: &[Packet]| {
                let to = packets.iter().filter(|packet| packet.destination == target(family, number));
                to.map(|packet| packet.source).collect::<Vec<_>>()
            };
            assert_eq!(to(wrong), [] as [IpAddr; 0]);
            let sources = to(right);
            // 3 SYNs and their RSTs or ACKs, an echo request, and two traces of 5 hops and 3 rounds.
            assert!(sources.len() >= 6 + 1 + 2 * 5 * 3, "{} packets to {number}", sources.len());
            assert!(sources.iter().all(|source| *source == isp.source(family)), "{sources:?}");
        }
    }
}

/// The prober's host is then told an ISP by its mark and its device only: whatever has neither takes the default route, whatever its
/// source address.
fn forget_source_addresses(site: &Site) {
    for isp in Isp::ALL {
        for family in ["-4", "-6"] {
            site.ip(&format!("{family} rule del pref {}", 1_000 + isp.mark()));
        }
    }
}

#[test]
fn no_answer_that_comes_too_late_is_refused_through_the_wrong_isp() {
    let path = |isp| Path::straight(isp, &[1_000, 19_000, 20_000], 20_000);
    let topology = Topology { seed: 1, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() };
    let modules = format!(
        "{MODULES}  trace_tcp_once: {{prober: traceroute, traceroute: {{protocol: tcp, port: 80, count: 1}}}}\n"
    );
    let Some(site) = site(topology, &modules) else { return };
    forget_source_addresses(&site);
    let captures = captures(&site);
    // Their connections are left as those of http and tcp are.
    let alike = ["dns_tls", "dns_https"];
    let probes = PROBES.into_iter().filter(|(module, ..)| !alike.contains(module)).chain([
        ("http", "http://", "/big"),
        ("https_2", "https://", "/big"),
        ("trace_tcp_once", "", ""),
    ]);
    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        serve_dns(&site, isp);
        let mut requests = Vec::new();
        for (binding, name) in (1..).zip(&BINDINGS[1..]) {
            for family in [Family::V4, Family::V6] {
                let resolver = SocketAddr::new(target(family, number(isp, binding)), 53);
                serve_names(&site, resolver);
                for (module, before, behind) in probes.clone() {
                    // A round trip is 60 ms: cut before and after each word of the conversation, and not at all.
                    for timeout in [20, 50, 80, 110, 140, 170, 200, 20_000] {
                        let target = format!("{before}{}{behind}", host(family, number(isp, binding)));
                        let timeout = Duration::from_millis(timeout);
                        requests.push(site.request(module, &format!("{}_{name}", isp.name()), &target, timeout));
                    }
                }
                for name_to_find in ["short.example", "long.example"] {
                    let mut request = site.request(
                        "icmp_raw",
                        &format!("{}_{name}", isp.name()),
                        name_to_find,
                        Duration::from_millis(40),
                    );
                    let bound = probe::Isp::clone(request.isp.as_ref().unwrap());
                    request.isp = Some(Arc::new(probe::Isp { resolvers: vec![resolver], ..bound }));
                    requests.push(request);
                }
            }
        }
        let reports = site.run_all(requests);
        let cut = reports.iter().filter(|report| report.failure.is_some()).count();
        assert!(cut > reports.len() / 4 && cut < reports.len(), "{cut} of {}", reports.len());
        for report in reports.iter().filter(|report| report.timeout > Duration::from_secs(1)) {
            assert_eq!(report.failure, None, "{} {} {:?}", report.module, report.target, report.isp);
        }
        // What a probe leaves behind is over.
        thread::sleep(Duration::from_millis(3_500));
    }
    let [through_a, through_b] = captures.map(Capture::stop);
    for (isp, wrong) in [(Isp::A, &through_b), (Isp::B, &through_a)] {
        for (binding, name) in (1..).zip(&BINDINGS[1..]) {
            for family in [Family::V4, Family::V6] {
                let target = target(family, number(isp, binding));
                let strays = wrong.iter().filter(|packet| packet.destination == target);
                let strays: Vec<_> = strays.map(|packet| (packet.ports(), packet.flags(), packet.protocol)).collect();
                assert!(strays.is_empty(), "{} packets to {target}, by {name}: {strays:?}", strays.len());
            }
        }
    }
}

/// A server at an address of the far end that refuses every TLS handshake.
fn refuse_tls(site: &Site, address: SocketAddr) {
    let listener = site.lab.far().run(|| TcpListener::bind(address).unwrap()).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 2048];
            // The alert handshake_failure. A client that is gone does not hear it.
            let _ = stream.read(&mut buffer).and_then(|_| stream.write_all(&[21, 3, 3, 0, 2, 2, 40]));
            let _ = stream.read(&mut buffer);
        }
    });
}

#[test]
fn a_server_that_is_asked_for_older_tls_is_asked_through_the_isp() {
    let Some(site) = Site::start(topology(), MODULES) else { return };
    let captures = captures(&site);
    const PORT: u16 = 4443;
    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        let mut requests = Vec::new();
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                refuse_tls(&site, SocketAddr::new(target(family, number(isp, binding)), PORT));
                let to = format!("{}:{PORT}", host(family, number(isp, binding)));
                for (module, target) in [("tcp_tls", to.clone()), ("https_2", format!("https://{to}/"))] {
                    let by = format!("{}_{by}", isp.name());
                    requests.push(site.request(module, &by, &target, Duration::from_secs(20)));
                }
            }
        }
        for report in site.run_all(requests) {
            let reason = report.failure.as_ref().map(|failure| failure.reason);
            assert_eq!(reason, Some(Reason::TlsAlertReceived(40)), "{} {}", report.module, report.target);
        }
    }
    let [through_a, through_b] = captures.map(Capture::stop);
    for (isp, right, wrong) in [(Isp::A, &through_a, &through_b), (Isp::B, &through_b, &through_a)] {
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let server = target(family, number(isp, binding));
                let to = |packet: &&Packet| packet.destination == server && packet.ports().1 == PORT;
                assert_eq!(wrong.iter().filter(to).count(), 0, "through the wrong ISP by {by}");
                let syns = right.iter().filter(to).filter(|packet| packet.flags() == "S").count();
                assert_eq!(syns, 2 * 2, "two probes of two connections to {server}, by {by}");
                assert!(right.iter().filter(to).all(|packet| packet.source == isp.source(family)), "by {by}");
            }
        }
    }
}
