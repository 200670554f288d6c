//! What ends leaves nothing running and no socket open: a client that goes away, a reload, the program itself.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::lab::{Site, host};
use support::{Exporter, get, until, value};
use uplink_exporter::lab::{Action, Fault, Matches, Topology, target};
use uplink_exporter::net::Family;

const PROBES: &str = "
isps:
  a: {source_ip: 10.1.0.2}
  dns: {source_ip: 10.1.0.2, resolvers: [198.51.100.12]}
  steered: {fwmark: 101, resolvers: [198.51.100.12]}
modules:
  http: {prober: http}
  http3: {prober: http, http: {enable_http3: true, enable_http2: false}}
  proxied: {prober: http, http: {proxy_url: 'http://198.51.100.11:80'}}
  socks: {prober: http, http: {proxy_url: 'socks5://198.51.100.12:80'}}
  token: {prober: http, http: {oauth2: {client_id: a, token_url: 'http://198.51.100.11/'}}}
  tcp: {prober: tcp}
  banner: {prober: tcp, tcp: {query_response: [{expect: never}]}}
  half_open: {prober: tcp, tcp: {half_open: true}}
  half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true}}
  icmp_raw: {prober: icmp, icmp: {raw: true, count: 100}}
  icmp_datagram: {prober: icmp, icmp: {raw: false}}
  icmp_raw_once: {prober: icmp, icmp: {raw: true}}
  trace_udp_once: {prober: traceroute, traceroute: {protocol: udp, count: 1}}
  trace_tcp_once: {prober: traceroute, traceroute: {protocol: tcp, port: 80, count: 1}}
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
        ("a handshake of QUIC", "http3", format!("https://{}/", to(12)), "a"),
        ("a tunnel", "proxied", format!("https://{}/", to(12)), "a"),
        ("a proxy", "socks", format!("http://{}/", to(11)), "a"),
        ("a token", "token", format!("http://{}/", to(11)), "a"),
        ("a handshake", "tcp", format!("{}:80", to(12)), "a"),
        ("an answer", "banner", format!("{}:80", to(11)), "a"),
        ("a handshake", "half_open", format!("{}:80", to(12)), "a"),
        ("a handshake", "half_open_raw", format!("{}:80", to(12)), "a"),
        ("a reply", "icmp_raw", to(12), "a"),
        ("a reply", "icmp_datagram", to(12), "a"),
        ("hops", "trace_icmp", to(12), "a"),
        ("hops", "trace_udp", to(12), "a"),
        ("hops", "trace_tcp", to(12), "a"),
        ("a name server", "http", "http://name.example/".to_owned(), "steered"),
        ("a handshake", "tcp", format!("{}:80", to(12)), "steered"),
        ("a response", "http", format!("http://{}/", to(11)), "steered"),
        ("a handshake of QUIC", "http3", format!("https://{}/", to(12)), "steered"),
        ("hops", "trace_tcp", to(12), "steered"),
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
        let of = |family: &str| metrics.lines().filter(|line| line.starts_with(family)).map(str::to_owned).collect();
        let failures: Vec<String> = of("uplink_exporter_probe_failures_total{");
        assert!(!failures.is_empty() && failures.iter().all(|line| line.contains("reason=\"aborted\"")), "{metrics}");
        let count = |lines: &[String]| lines.iter().map(|line| number(line)).sum::<f64>();
        let both = 2.0 * hanging().len() as f64;
        assert_eq!((count(&failures), count(&of("uplink_exporter_probes_total{"))), (both, both), "{metrics}");
    });
}

#[test]
fn a_reload_closes_the_sockets_of_isps_that_are_gone() {
    let Some(site) = start() else { return };
    let configuration = |mark: u32| PROBES.replace("a: {", &format!("a: {{fwmark: {mark}, "));
    let exporter = Exporter::start_by(&configuration(1), |command| site.lab.prober().spawn(command).unwrap());
    let probe = || {
        for module in ["icmp_raw_once", "trace_udp_once", "trace_tcp_once"] {
            let report = exporter.get(&format!("/probe?module={module}&isp=a&target={}", target(Family::V4, 10)));
            assert!(report.contains("probe_success 1\n"), "{report}");
        }
    };
    let measured = || {
        exporter.wait();
        probe();
        let before = descriptors(&exporter);
        for mark in 2..22 {
            exporter.reload(&configuration(mark));
            probe();
        }
        until("there are no more descriptors than before", || descriptors(&exporter) <= before);
    };
    site.lab.prober().run(measured).unwrap();
}

#[test]
fn the_program_ends_within_its_grace_whoever_is_asked_for_a_name() {
    let Some(site) = start() else { return };
    let _silent = silence_name_servers(&site);
    let mut exporter = Exporter::start_by(PROBES, |command| {
        site.lab.prober().spawn(command.arg("--web.shutdown-grace=1s").stderr(Stdio::piped())).unwrap()
    });
    let mut stderr = exporter.process.0.stderr.take().unwrap();
    let _clients: Vec<_> = site
        .lab
        .prober()
        .run(|| {
            exporter.wait();
            let ask = |number| ask(exporter.address, "http", &format!("http://name{number}.example/"), "");
            let clients = (0..20).map(ask).collect();
            until("they run", || in_flight(exporter.address) == 20.0);
            clients
        })
        .unwrap();
    let told = Instant::now();
    let id = exporter.process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let status = exporter.process.0.wait().unwrap();
    let took = told.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&took), "{took:?}");
    assert_eq!(status.code(), Some(0));
    let mut log = String::new();
    stderr.read_to_string(&mut log).unwrap();
    assert!(log.lines().last().is_some_and(|line| line.contains("msg=ended")), "{log}");
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

/// The value of a sample.
fn number(line: &str) -> f64 {
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
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
