//! A next hop that does not answer to its address (ARP, ND) is a fault of this host's own network; a target that says nothing behind one that
//! does is not. The lab's links have no such addresses, so these are real ones (veth), with the routing of the README.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use support::lab::namespaces;
use support::{program, until};
use uplink_exporter::config::{self, Config};
use uplink_exporter::lab::Namespace;
use uplink_exporter::net::Network;
use uplink_exporter::probe::{self, Report, Request};

/// Both ISPs, by every means of binding. The name servers are beyond the gateway of theirs.
const PROBES: &str = "
isps:
  a_address: {source_ip: 10.7.1.2, source_ip6: 'fd07:1::2', resolvers: [203.0.113.66]}
  a_interface: {interface: upa, resolvers: ['fd07:99::66']}
  a_mark: {fwmark: 101, resolvers: [203.0.113.66]}
  b_address: {source_ip: 10.7.2.2, source_ip6: 'fd07:2::2', resolvers: [203.0.113.66]}
  b_interface: {interface: upb, resolvers: ['fd07:99::66']}
  b_mark: {fwmark: 102, resolvers: [203.0.113.66]}
modules:
  http: {prober: http}
  http3: {prober: http, http: {enable_http3: true, enable_http2: false}}
  name: {prober: http}
  tcp: {prober: tcp}
  half_open: {prober: tcp, tcp: {half_open: true}}
  half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true}}
  icmp_raw: {prober: icmp, icmp: {raw: true}}
  icmp_datagram: {prober: icmp, icmp: {raw: false}}
  trace_icmp: {prober: traceroute, traceroute: {protocol: icmp}}
  trace_udp: {prober: traceroute, traceroute: {protocol: udp}}
  trace_tcp: {prober: traceroute, traceroute: {protocol: tcp, port: 80}}
  dns: {prober: dns, dns: {query_name: example.org}}
  stun_udp: {prober: stun}
  stun_tcp: {prober: stun, stun: {transport_protocol: tcp}}
  grpc: {prober: grpc}
  websocket: {prober: websocket}
";

/// Modules, and the reason where the target, or the name server, says nothing.
const SILENCE: [(&str, &str); 16] = [
    ("http", "connection_timeout"),
    ("http3", "connection_timeout"),
    ("name", "dns_timeout"),
    ("tcp", "connection_timeout"),
    ("half_open", "connection_timeout"),
    ("half_open_raw", "connection_timeout"),
    ("icmp_raw", "icmp_timeout"),
    ("icmp_datagram", "icmp_timeout"),
    ("trace_icmp", "icmp_timeout"),
    ("trace_udp", "icmp_timeout"),
    ("trace_tcp", "connection_timeout"),
    ("dns", "dns_timeout"),
    ("stun_udp", "connection_timeout"),
    ("stun_tcp", "connection_timeout"),
    ("grpc", "connection_timeout"),
    ("websocket", "connection_timeout"),
];

/// Modules that the host beyond the gateways has an answer for.
const ANSWERED: [&str; 9] =
    ["http", "tcp", "half_open", "half_open_raw", "icmp_raw", "icmp_datagram", "trace_icmp", "trace_udp", "trace_tcp"];

const BINDINGS: [&str; 3] = ["address", "interface", "mark"];

/// A host that answers, and one that does not, both beyond the gateways.
const ALIVE: [&str; 2] = ["203.0.113.10", "[fd07:99::10]"];
const SILENT: [&str; 2] = ["203.0.113.66", "[fd07:99::66]"];

/// Of this host, before the routing of the README; `PEER` is the other namespace.
const HOST: &str = "
link set lo up
link add upa type veth peer name gwa netns PEER
link add upb type veth peer name gwb netns PEER
link set upa up
link set upb up
address add 10.7.1.2/24 dev upa
address add 10.7.2.2/24 dev upb
address add fd07:1::2/64 dev upa nodad
address add fd07:2::2/64 dev upb nodad
";

/// The default route goes through an ISP, `A` or `B` in place of `N`.
const DEFAULT: &str = "
route replace default via 10.7.N.1 dev upL
-6 route replace default via fd07:N::1 dev upL metric 10
";

/// Of what is beyond: the gateways in one, and the hosts behind them. Nobody answers to the address of B's gateway.
const BEYOND: &str = "
link set lo up
link set gwa up
link set gwb up
address add 10.7.1.1/24 dev gwa
address add fd07:1::1/64 dev gwa nodad
address add 203.0.113.10/32 dev lo
address add fd07:99::10/128 dev lo nodad
route add blackhole 203.0.113.66
-6 route add blackhole fd07:99::66
route add 10.7.2.0/24 dev gwb
-6 route add fd07:2::/64 dev gwb
";

/// B's gateway begins to answer to its address.
const REVIVE: &str = "
address add 10.7.2.1/24 dev gwb
address add fd07:2::1/64 dev gwb nodad
";

/// And ceases to; what is still sent to it by its old one is lost.
const DIE: &str = "
address del 10.7.2.1/24 dev gwb
address del fd07:2::1/64 dev gwb
link set gwb address 02:00:00:00:00:0ROUND
";

struct Site {
    host: Namespace,
    beyond: Namespace,
    config: Config,
    runtime: tokio::runtime::Runtime,
    network: Arc<Network>,
}

impl Site {
    fn start() -> Option<Self> {
        let [host, beyond] = namespaces(["host", "beyond"])?;
        let config = config::load_str(PROBES, "test.yml").unwrap_or_else(|errors| panic!("{errors}"));
        let runtime = host.runtime().unwrap();
        let site = Self { host, beyond, config, runtime, network: Arc::default() };
        // In a user namespace no other groups than our own can be named.
        let group = std::fs::metadata("/proc/self").unwrap().gid();
        site.set(&site.host, "ipv4/ping_group_range", &format!("{group} {group}"));
        for (namespace, what, forwards) in [(&site.host, HOST, "0"), (&site.beyond, BEYOND, "1")] {
            let settings = [
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
                ("ipv4/conf/all/forwarding", forwards),
                ("ipv6/conf/all/forwarding", forwards),
                ("ipv4/icmp_ratelimit", "0"),
                ("ipv6/icmp/ratelimit", "0"),
            ];
            for (name, value) in settings {
                site.set(namespace, name, value);
            }
            site.ip(namespace, what);
        }
        for isp in ["1", "2"] {
            site.ip(&site.host, &routing(isp));
        }
        site.default_route("1");
        site.beyond.run(serve).unwrap();
        Some(site)
    }

    fn set(&self, namespace: &Namespace, name: &str, value: &str) {
        namespace.run(|| std::fs::write(format!("/proc/sys/net/{name}"), value)).unwrap().unwrap();
    }

    /// Sends what is bound to nothing through an ISP.
    fn default_route(&self, isp: &str) {
        self.ip(&self.host, &of_isp(isp, DEFAULT));
    }

    /// Runs `ip`, once for each line.
    fn ip(&self, namespace: &Namespace, lines: &str) {
        for line in lines.trim().lines() {
            let line = line.replace("PEER", &self.beyond.path());
            let mut command = Command::new("ip");
            let done = namespace.spawn(command.args(line.split(' ')).stdin(Stdio::null())).unwrap().wait().unwrap();
            assert!(done.success(), "ip {line}");
        }
    }

    /// The kernel believes in a neighbour for half a minute, and asks for a new one for three seconds; here, for a tenth of one.
    fn hasten(&self) {
        for family in ["ipv4", "ipv6"] {
            for (name, value) in
                [("base_reachable_time_ms", "100"), ("retrans_time_ms", "100"), ("delay_first_probe_time", "1")]
            {
                self.set(&self.host, &format!("{family}/neigh/upb/{name}"), value);
            }
        }
    }

    /// Runs a probe for each of the modules, the ISP's bindings and the addresses, all at the same time.
    fn probe(&self, modules: &[&str], isp: &str, addresses: [&str; 2], timeout: Duration) -> Vec<Report> {
        let mut requests = Vec::new();
        for module in modules {
            for binding in BINDINGS {
                for address in addresses {
                    requests.push(Request {
                        target: target(module, address),
                        module: Arc::clone(&self.config.modules[*module]),
                        isp: Some(Arc::clone(&self.config.isps[&format!("{isp}_{binding}")])),
                        zoned: None,
                        isps: Arc::clone(&self.config.isps),
                        hostname: None,
                        timeout,
                        log_limit: usize::MAX,
                        network: Arc::clone(&self.network),
                        identities: Arc::default(),
                    });
                }
            }
        }
        let run = async {
            let probes = requests.into_iter().map(|request| tokio::spawn(async move { probe::run(&request).await }));
            let mut reports = Vec::new();
            for probe in probes.collect::<Vec<_>>() {
                reports.push(probe.await.unwrap());
            }
            reports
        };
        self.host.run(|| self.runtime.block_on(run)).unwrap()
    }
}

/// Lines of `ip` for an ISP.
fn of_isp(isp: &str, lines: &str) -> String {
    lines.replace('N', isp).replace("upL", if isp == "1" { "upa" } else { "upb" })
}

/// What the README has a host with two uplinks do, for one of them.
fn routing(isp: &str) -> String {
    let (_, block) = include_str!("../README.md").split_once("**Routing.**").unwrap();
    let block = block.split("```").nth(1).unwrap();
    let command = |line: &str| line.split('#').next().unwrap().trim().strip_prefix("ip ").unwrap().to_owned();
    let lines: Vec<_> = block.trim().lines().map(command).collect();
    let ours = [
        ("10.1.0.", "10.7.N."),
        ("2001:db8:a::", "fd07:N::"),
        ("eth1", "upL"),
        (" 101", " 10N"),
        ("metric 2000", "metric 200N"),
    ];
    of_isp(isp, &ours.iter().fold(lines.join("\n"), |lines, (from, to)| lines.replace(from, to)))
}

/// A web server beyond.
fn serve() {
    for address in ALIVE {
        let listener = TcpListener::bind(format!("{address}:80")).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    // A connection that says nothing is one of tcp.
                    if stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok();
                    }
                });
            }
        });
    }
}

fn target(module: &str, address: &str) -> String {
    match module {
        "http" => format!("http://{address}/"),
        "http3" => format!("https://{address}/"),
        "websocket" => format!("ws://{address}/"),
        "name" => "http://www.example.org/".to_owned(),
        "tcp" | "half_open" | "half_open_raw" | "stun_tcp" | "grpc" => format!("{address}:80"),
        _ => address.trim_matches(['[', ']']).to_owned(),
    }
}

fn reason(report: &Report) -> String {
    report.failure.as_ref().map_or_else(|| "ok".to_owned(), |failure| failure.reason.name().into_owned())
}

fn check(report: &Report, expected: &str) {
    let Report { module, isp, target, failure, log, .. } = report;
    let isp = isp.as_ref().map(|isp| &isp.name);
    assert_eq!(reason(report), expected, "{module} of {target} through {isp:?}: {failure:?} {log:#?}");
}

#[test]
fn a_gateway_that_does_not_answer_to_its_address_is_told_from_a_silent_target() {
    let Some(site) = Site::start() else { return };
    let modules = SILENCE.map(|(module, _)| module);
    let gateways = ["10.7.2.1", "fd07:2::1"];
    // Within a second the kernel is still asking for the gateway; after three it has given up, and says so to who still waits.
    for timeout in [1, 6].map(Duration::from_secs) {
        for report in site.probe(&modules, "b", ALIVE, timeout) {
            check(&report, "arp_unresolved");
            let detail = &report.failure.as_ref().unwrap().detail;
            assert!(gateways.iter().any(|gateway| detail.contains(gateway)), "{}: {detail}", report.module);
        }
    }
    // The other way round, what is silent is the target, though the default route has the dead gateway now.
    site.default_route("2");
    for report in site.probe(&ANSWERED, "a", ALIVE, Duration::from_secs(2)) {
        check(&report, "ok");
    }
    for timeout in [1, 6].map(Duration::from_secs) {
        for report in site.probe(&modules, "a", SILENT, timeout) {
            let silence = SILENCE.iter().find(|(module, _)| *module == report.module);
            check(&report, silence.unwrap().1);
        }
    }
}

#[test]
fn a_gateway_that_dies_is_told_once_the_kernel_knows_and_forgotten_when_it_is_back() {
    let Some(site) = Site::start() else { return };
    site.hasten();
    let probe = || site.probe(&ANSWERED, "b", ALIVE, Duration::from_secs(1));
    let all = |expected: &str| probe().iter().all(|report| reason(report) == expected);
    until("nobody answers", || all("arp_unresolved"));
    for round in ["1", "2"] {
        site.ip(&site.beyond, REVIVE);
        until("the gateway is back", || all("ok"));
        site.ip(&site.beyond, &DIE.replace("ROUND", round));
        until("the gateway has died", || all("arp_unresolved"));
    }
}

/// A firewall that rejects what leaves says so in the words of neighbour discovery, when it is told to.
#[test]
fn a_firewall_of_this_host_is_told_from_a_gateway_that_does_not_answer() {
    let Some(site) = Site::start() else { return };
    let Some(nft) = program("nft") else { return };
    let modules: Vec<&str> = SILENCE.map(|(module, _)| module).into_iter().filter(|module| *module != "name").collect();
    let reject = |host: [&str; 2]| {
        let [v4, v6] = host.map(|address| address.trim_matches(['[', ']']));
        let rules = [
            "add table inet fence".to_owned(),
            "flush table inet fence".to_owned(),
            "add chain inet fence out { type filter hook output priority 0; }".to_owned(),
            format!("add rule inet fence out ip daddr {v4} reject with icmp type host-unreachable"),
            format!("add rule inet fence out ip6 daddr {v6} reject with icmpv6 type addr-unreachable"),
        ];
        let mut command = Command::new(&nft);
        command.arg(rules.join("\n")).stdin(Stdio::null());
        assert!(site.host.spawn(&mut command).unwrap().wait().unwrap().success());
    };
    let rejected = |isp| {
        for report in site.probe(&modules, isp, ALIVE, Duration::from_secs(2)) {
            // What an IPv6 socket that is bound to a device is told comes by loopback, so that the kernel's TCP does not see it.
            let by_device = report.isp.as_ref().unwrap().source.interface.is_some() && report.target.contains("[fd07");
            if by_device
                && ["http", "tcp", "half_open", "stun_tcp", "grpc", "websocket"].contains(&report.module.as_str())
            {
                check(&report, "connection_timeout");
                continue;
            }
            check(&report, "prober_config_error");
            assert!(report.duration < Duration::from_millis(900), "{}: {:?}", report.module, report.duration);
        }
    };
    reject(ALIVE);
    // Nobody has asked for a gateway's address yet: of A's, which is there, and of B's, which is not.
    for isp in ["a", "b"] {
        rejected(isp);
    }
    reject(SILENT);
    for report in site.probe(&ANSWERED, "a", ALIVE, Duration::from_secs(2)) {
        check(&report, "ok");
    }
    reject(ALIVE);
    rejected("a");
    // Beside the firewall the gateway is still told by itself.
    reject(SILENT);
    for report in site.probe(&ANSWERED, "b", ALIVE, Duration::from_secs(6)) {
        check(&report, "arp_unresolved");
    }
}

/// Of IPv6 the kernel takes another route of the same table once it knows that the gateway of one is silent.
#[test]
fn a_gateway_that_is_given_up_for_an_unreachable_route_is_still_this_hosts_fault() {
    let Some(site) = Site::start() else { return };
    site.hasten();
    site.ip(&site.host, "-6 route add unreachable default metric 4278198272 table 102");
    site.ip(&site.host, "route add unreachable default metric 4278198272 table 102");
    let ours = ["arp_unresolved", "destination_ip_unroutable:local"];
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..4 {
        for report in site.probe(&SILENCE.map(|(module, _)| module), "b", ALIVE, Duration::from_secs(1)) {
            let told = reason(&report);
            assert!(ours.contains(&told.as_str()), "{} {:?}: {:?}", report.module, report.isp, report.failure);
            seen.insert(told);
        }
    }
    assert_eq!(seen.len(), 2, "the kernel gave the gateway up: {seen:?}");
}
