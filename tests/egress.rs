//! Every packet of every probe leaves through the ISP that was named: tcpdump stands at both uplinks, and the default route goes the
//! other way.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the name server of the test, which ends where it finds what cannot be"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{Record, RecordType};
use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use support::dns::{NameServer, Sockets, server_config};
use support::lab::{Site, host};
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
  grpc: {prober: grpc}
  grpc_tls: {prober: grpc, grpc: {tls: true, tls_config: {ca_file: CA}}}
  websocket: {prober: websocket, websocket: {query_response: [{send: ping}, {expect: ping}]}}
  websocket_tls: {prober: websocket, websocket: {http_config: {tls_config: {ca_file: CA}}}}
";

/// Module, and what stands before and behind the host in its target.
const PROBES: [(&str, &str, &str); 21] = [
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
        Measurement::Unix(_) => None,
        Measurement::Grpc(measured) => measured.handshake.local.map(|local| local.ip()),
        Measurement::Websocket(measured) => measured.handshake.local.map(|local| local.ip()),
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
                // 4 hops and the target, 3 rounds, 3 protocols; 7 echo requests; 12 connections and 2 halves, of a SYN each; a question.
                assert!(sent.len() > 5 * 3 * 3 + 7 + 14, "{} packets to {target}, by {name}", sent.len());
                assert!(sent.iter().all(|packet| packet.source == isp.source(family)), "by {name}");
                let syns = sent.iter().filter(|packet| packet.flags() == "S").count();
                assert!(syns >= 14 + 5 * 3, "{syns} SYNs to {target}, by {name}");
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
fn serve_names(site: &Site, address: SocketAddr) {
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

/// The prober's host is then told an ISP by its mark and its device only: whatever has neither takes the default route, whatever its
/// source address.
fn forget_source_addresses(site: &Site) {
    for isp in Isp::ALL {
        for family in ["-4", "-6"] {
            let preference = (1_000 + isp.mark()).to_string();
            let mut command = Command::new("ip");
            command.args([family, "rule", "del", "pref", &preference]);
            assert!(site.lab.prober().spawn(&mut command).unwrap().wait().unwrap().success());
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

#[test]
fn no_question_to_an_isps_name_servers_leaves_through_the_wrong_isp() {
    let Some(site) = site(topology(), MODULES) else { return };
    let captures = captures(&site);
    let patience = Duration::from_secs(20);
    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        let mut requests = Vec::new();
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let resolver = SocketAddr::new(target(family, number(isp, binding)), 53);
                serve_names(&site, resolver);
                for name in ["short.example", "long.example"] {
                    let targets = [
                        ("tcp", format!("{name}:80")),
                        ("http", format!("http://{name}/")),
                        ("icmp_raw", name.to_owned()),
                    ];
                    for (module, target) in targets {
                        let mut request = site.request(module, &format!("{}_{by}", isp.name()), &target, patience);
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
                let resolver = target(family, number(isp, binding));
                let asked = |packet: &&Packet| packet.destination == resolver && packet.ports().1 == 53;
                assert_eq!(wrong.iter().filter(asked).count(), 0, "through the wrong ISP by {by}");
                let of = |protocol| right.iter().filter(asked).filter(|packet| packet.protocol == protocol).count();
                // 2 names and 3 probers; one question a family; of one name also by TCP, where a conversation has several packets.
                assert!(of(17) >= 2 * 3 && of(6) >= 3 * 4, "{} and {} packets to {resolver} by {by}", of(17), of(6));
                assert!(right.iter().filter(asked).all(|packet| packet.source == isp.source(family)), "by {by}");
            }
        }
    }
}

/// The port of a server at the far end that is a proxy of HTTP and of SOCKS, and a token server.
const PROXY: u16 = 3128;

/// A target that only proxies connect to.
const BEYOND: u8 = 35;

/// Serves one connection to [`PROXY`], by what it begins with. What goes wrong is the client's to tell.
fn be_asked(mut client: TcpStream) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut first = [0; 1];
    client.peek(&mut first).ok()?;
    let beyond = if first == [5] {
        let (mut greeting, mut request) = ([0; 3], [0; 4]);
        client.read_exact(&mut greeting).ok()?;
        client.write_all(&[5, 0]).ok()?;
        client.read_exact(&mut request).ok()?;
        let mut rest = vec![0; if request[3] == 1 { 4 + 2 } else { 16 + 2 }];
        client.read_exact(&mut rest).ok()?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
        let family = if request[3] == 1 { Family::V4 } else { Family::V6 };
        let port = u16::from_be_bytes(rest[rest.len() - 2..].try_into().ok()?);
        TcpStream::connect((target(family, BEYOND), port)).ok()?
    } else {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?;
        let wanted = head.split(' ').nth(1)?;
        if let Some(url) = wanted.strip_prefix("http://") {
            let mut beyond = TcpStream::connect((url.split('/').next()?.trim_matches(['[', ']']), 80)).ok()?;
            beyond.write_all(head.as_bytes()).ok()?;
            beyond
        } else if head.starts_with("CONNECT ") {
            let beyond = TcpStream::connect(wanted.parse::<SocketAddr>().ok()?).ok()?;
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
            beyond
        } else {
            let mut form = [0; 29];
            client.read_exact(&mut form).ok()?;
            let token = r#"{"access_token":"t","expires_in":3600}"#;
            write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{token}", token.len())
                .ok()?;
            return Some(());
        }
    };
    let (mut from_client, mut to_beyond) = (client.try_clone().ok()?, beyond.try_clone().ok()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_beyond);
        let _ = to_beyond.shutdown(std::net::Shutdown::Write);
    });
    let mut beyond = beyond;
    std::io::copy(&mut beyond, &mut client).ok().map(drop)
}

#[test]
fn no_packet_to_a_proxy_or_a_token_server_leaves_through_the_wrong_isp() {
    let mut modules = String::new();
    let mut cases = Vec::new();
    for isp in Isp::ALL {
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let proxy = host(family, number(isp, binding));
                let name = format!("{}_{by}_{family:?}", isp.name());
                let kinds = [
                    ("tunnel", "https", format!("proxy_url: 'http://{proxy}:{PROXY}'")),
                    ("forward", "http", format!("proxy_url: 'http://{proxy}:{PROXY}'")),
                    ("socks", "http", format!("proxy_url: 'socks5://{proxy}:{PROXY}'")),
                    (
                        "token",
                        "http",
                        format!(
                            "proxy_url: 'http://{proxy}:{PROXY}', \
                             oauth2: {{client_id: me, token_url: 'http://{proxy}:{PROXY}/token'}}"
                        ),
                    ),
                ];
                for (kind, scheme, fields) in kinds {
                    modules += &format!(
                        "  {kind}_{name}: {{prober: http, http: {{tls_config: {{ca_file: CA}}, {fields}}}}}\n"
                    );
                    let target = format!("{scheme}://{}/", host(family, BEYOND));
                    cases.push((isp, format!("{kind}_{name}"), format!("{}_{by}", isp.name()), target));
                }
            }
        }
    }
    let Some(site) = Site::start(topology(), &modules) else { return };
    let captures = captures(&site);
    let serve = || {
        for any in [IpAddr::from([0; 4]), IpAddr::from([0_u16; 8])] {
            let socket = socket2::Socket::new(
                socket2::Domain::for_address(SocketAddr::new(any, PROXY)),
                socket2::Type::STREAM,
                None,
            );
            let socket = socket.unwrap();
            if any.is_ipv6() {
                socket.set_only_v6(true).unwrap();
            }
            socket.bind(&SocketAddr::new(any, PROXY).into()).unwrap();
            socket.listen(128).unwrap();
            let listener = TcpListener::from(socket);
            // Threads stay in the namespace of the one that starts them.
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    thread::spawn(move || be_asked(client));
                }
            });
        }
    };
    site.lab.far().run(serve).unwrap();
    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        let of_isp = cases.iter().filter(|(of, ..)| *of == isp);
        let requests = of_isp.map(|(_, module, by, target)| site.request(module, by, target, Duration::from_secs(20)));
        for report in site.run_all(requests.collect()) {
            assert_eq!(report.failure, None, "{} {:?}: {:#?}", report.module, report.isp, report.log);
            let peer = match &report.measurement {
                Measurement::Http(measured) => measured.requests[0].handshake.remote.unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(told_source(&report), Some(isp.source(Family::of(peer.ip()))), "{}", report.module);
        }
    }
    let [through_a, through_b] = captures.map(Capture::stop);
    for (isp, right, wrong) in [(Isp::A, &through_a, &through_b), (Isp::B, &through_b, &through_a)] {
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let proxy = target(family, number(isp, binding));
                let to = |packet: &&Packet| packet.destination == proxy;
                assert_eq!(wrong.iter().filter(to).count(), 0, "through the wrong ISP by {by}");
                assert!(right.iter().filter(to).all(|packet| packet.source == isp.source(family)), "by {by}");
                let syns = right.iter().filter(to).filter(|packet| packet.flags() == "S").count();
                // A tunnel, a request that is forwarded, SOCKS; a token, and what it is for.
                assert_eq!(syns, 5, "to {proxy} by {by}");
            }
        }
        for family in [Family::V4, Family::V6] {
            let strays = right.iter().filter(|packet| packet.destination == target(family, BEYOND)).count();
            assert_eq!(strays, 0, "the target is the proxy's to connect to");
        }
    }
}

/// A server of HTTP/3 at every address of the far end. It answers `/big` at length, and everything else in a word.
fn serve_http3(site: &Site) {
    let read = |name: &str| std::fs::read(site.folder.path().join(name)).unwrap();
    let certificate = CertificateDer::from_pem_slice(&read("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h3".to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).unwrap()));
    for any in [IpAddr::from([0; 4]), IpAddr::from([0_u16; 8])] {
        let address = SocketAddr::new(any, 443);
        let bind = || {
            let socket =
                socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None).unwrap();
            if any.is_ipv6() {
                socket.set_only_v6(true).unwrap();
            }
            socket.bind(&address.into()).unwrap();
            UdpSocket::from(socket)
        };
        let socket = site.lab.far().run(bind).unwrap();
        let config = config.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let runtime = Arc::new(quinn::TokioRuntime);
                let endpoint = quinn::Endpoint::new(Default::default(), Some(config), socket, runtime).unwrap();
                while let Some(incoming) = endpoint.accept().await {
                    tokio::spawn(async move {
                        let connection = h3_quinn::Connection::new(incoming.await.ok()?);
                        let mut http = h3::server::Connection::<_, bytes::Bytes>::new(connection).await.ok()?;
                        while let Ok(Some(resolver)) = http.accept().await {
                            let (request, mut stream) = resolver.resolve_request().await.ok()?;
                            stream.send_response(http::Response::new(())).await.ok()?;
                            let length = if request.uri().path() == "/big" { 1 << 20 } else { 4 };
                            stream.send_data(vec![b'.'; length].into()).await.ok()?;
                            stream.finish().await.ok()?;
                        }
                        Some(())
                    });
                }
            });
        });
    }
}

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
    for (isp, wrong) in [(Isp::A, &through_b), (Isp::B, &through_a)] {
        for (binding, by) in (1..).zip(&BINDINGS[1..]) {
            for family in [Family::V4, Family::V6] {
                let to = |packet: &&Packet| packet.destination == target(family, number(isp, binding));
                let strays: Vec<_> = wrong.iter().filter(to).map(|p| (p.protocol, p.ports(), p.source)).collect();
                assert!(strays.is_empty(), "through the wrong ISP by {by}: {strays:?}");
            }
        }
    }
}
