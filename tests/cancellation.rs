//! A client that goes away takes its probe with it: nothing is left running, no socket stays open.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use support::lab::{Site, host};
use support::{Exporter, get, until, value};
use uplink_exporter::lab::{Action, Fault, Matches, Topology, target};
use uplink_exporter::net::Family;

const PROBES: &str = "
isps:
  a: {source_ip: 10.1.0.2}
  dns: {source_ip: 10.1.0.2, resolvers: [198.51.100.12]}
modules:
  http: {prober: http}
  tcp: {prober: tcp}
  banner: {prober: tcp, tcp: {query_response: [{expect: never}]}}
  half_open: {prober: tcp, tcp: {half_open: true}}
  half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true}}
  icmp_raw: {prober: icmp, icmp: {raw: true, count: 100}}
  icmp_datagram: {prober: icmp, icmp: {raw: false}}
  trace_icmp: {prober: traceroute, traceroute: {count: 1000}}
  trace_udp: {prober: traceroute, traceroute: {protocol: udp, count: 1000}}
  trace_tcp: {prober: traceroute, traceroute: {protocol: tcp, count: 1000}}
";

/// Probes that hang: what they wait for, module, target, ISP.
fn hanging() -> Vec<(&'static str, &'static str, String, &'static str)> {
    let to = |number| host(Family::V4, number);
    vec![
        ("a name server", "http", "http://name.example/".to_owned(), "dns"),
        ("a name server of the system", "http", "http://name.example/".to_owned(), "a"),
        ("a handshake", "http", format!("http://{}/", to(12)), "a"),
        ("a TLS handshake", "http", format!("https://{}/", to(11)), "a"),
        ("a response", "http", format!("http://{}/", to(11)), "a"),
        ("a handshake", "tcp", format!("{}:80", to(12)), "a"),
        ("an answer", "banner", format!("{}:80", to(11)), "a"),
        ("a handshake", "half_open", format!("{}:80", to(12)), "a"),
        ("a handshake", "half_open_raw", format!("{}:80", to(12)), "a"),
        ("a reply", "icmp_raw", to(12), "a"),
        ("a reply", "icmp_datagram", to(12), "a"),
        ("hops", "trace_icmp", to(12), "a"),
        ("hops", "trace_udp", to(12), "a"),
        ("hops", "trace_tcp", to(12), "a"),
    ]
}

#[test]
fn a_client_that_goes_away_takes_its_probe_with_it() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| {
        let of = |number| Matches { destination: Some(target(Family::V4, number)), ..Matches::default() };
        let fault = |number, action| Fault { of: of(number), action };
        topology.faults.extend([fault(11, Action::Stall), fault(12, Action::Drop)]);
    });
    let _silent = silence_name_servers(&site);
    let exporter = Exporter::start_by(PROBES, |command| site.lab.prober().spawn(command).unwrap());
    let inside = |work: &(dyn Fn() + Sync)| site.lab.prober().run(work).unwrap();
    inside(&|| exporter.wait());
    let descriptors = || descriptors(&exporter);
    for (what, module, target, isp) in hanging() {
        inside(&|| {
            // Sockets that are kept for all probes are open from the first one on.
            for round in ["the first", "the second"] {
                until("nothing runs", || in_flight(exporter.address) == 0.0);
                let before = descriptors();
                let client = ask(exporter.address, module, &target, isp);
                until("it runs", || in_flight(exporter.address) == 1.0);
                // Long enough for a probe on loopback to get where it hangs.
                std::thread::sleep(Duration::from_millis(200));
                assert_eq!(in_flight(exporter.address), 1.0, "{module} waits for {what}");
                drop(client);
                until(&format!("{module}, which waits for {what}, is cancelled"), || {
                    in_flight(exporter.address) == 0.0
                });
                if round == "the second" {
                    until(&format!("{module}, which waits for {what}, leaves no socket"), || descriptors() <= before);
                }
            }
        });
    }
    inside(&|| {
        let metrics = get(exporter.address, "/metrics").1;
        assert!(!metrics.contains("uplink_exporter_probes_total{"), "none came to its end: {metrics}");
    });
}

fn start() -> Option<Site> {
    Site::start(Topology::demo(), "  none: {prober: icmp}\n")
}

fn descriptors(exporter: &Exporter) -> usize {
    fs::read_dir(format!("/proc/{}/fd", exporter.process.0.id())).unwrap().count()
}

/// Makes the name servers of this system silent in the lab: what goes out to them is lost, and on loopback someone listens who says
/// nothing.
#[expect(clippy::disallowed_methods, reason = "not a probe")]
fn silence_name_servers(site: &Site) -> Vec<UdpSocket> {
    site.lab.change(|topology| {
        topology.faults.push(Fault { of: Matches { port: Some(53), ..Matches::default() }, action: Action::Drop });
    });
    let file = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = file.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    let mut servers: Vec<_> = named.take(3).collect();
    if servers.is_empty() {
        servers = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    }
    servers.retain(IpAddr::is_loopback);
    site.lab
        .prober()
        .run(|| servers.into_iter().map(|server| UdpSocket::bind((server, 53)).unwrap()).collect())
        .unwrap()
}

fn in_flight(exporter: SocketAddr) -> f64 {
    value(&get(exporter, "/metrics").1, "uplink_exporter_probes_in_flight").unwrap()
}

/// A request whose answer nobody waits for.
#[expect(clippy::disallowed_methods, reason = "not a probe")]
fn ask(exporter: SocketAddr, module: &str, target: &str, isp: &str) -> TcpStream {
    let mut client = TcpStream::connect(exporter).unwrap();
    let target = target.replace(':', "%3A").replace('/', "%2F");
    let isp = if isp.is_empty() { String::new() } else { format!("&isp={isp}") };
    write!(client, "GET /probe?module={module}{isp}&target={target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    client
}
