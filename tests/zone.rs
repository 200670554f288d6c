//! The zone of a target (`fe80::1%eth0`) is the interface that a probe leaves by: two links, on which one address is another host each.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]
#![expect(clippy::disallowed_methods, reason = "the servers are no probes")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV6, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use support::lab::{namespaces, reflect};
use uplink_exporter::config::{self, Ask, Binding, Choice, Config, Through};
use uplink_exporter::lab::Namespace;
use uplink_exporter::net::Network;
use uplink_exporter::probe::{self, Report, Request};

const PROBES: &str = "
isps:
  a: {interface: linka}
  address: {source_ip6: 'fd07::2'}
modules:
  icmp_raw: {prober: icmp, icmp: {raw: true}}
  icmp_datagram: {prober: icmp, icmp: {raw: false}}
  tcp: {prober: tcp}
  half_open: {prober: tcp, tcp: {half_open: true}}
  half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true}}
  conversation: {prober: tcp, tcp: {query_response: [{send_bytes: x}, {expect: ^HTTP}]}}
  http_of_a: {prober: http, http: {fail_if_body_not_matches_regexp: [^a$]}}
  http_of_b: {prober: http, http: {fail_if_body_not_matches_regexp: [^b$]}}
  trace_icmp: {prober: traceroute, traceroute: {protocol: icmp}}
  trace_udp: {prober: traceroute, traceroute: {protocol: udp}}
  trace_tcp: {prober: traceroute, traceroute: {protocol: tcp, port: 80}}
  dns: {prober: dns, dns: {query_name: example.org, valid_rcodes: [REFUSED]}}
  stun_udp: {prober: stun}
  stun_tcp: {prober: stun, stun: {transport_protocol: tcp}}
";

/// Of this host; `PEER` is the other namespace. No address of it leads anywhere without a zone.
const HOST: &str = "
link set lo up
link add linka type veth peer name fara netns PEER
link add linkb type veth peer name farb netns PEER
link set linka up
link set linkb up
address add fe80::2/64 dev linka nodad
address add fe80::2/64 dev linkb nodad
address add fd07::2/64 dev linka nodad
";

/// Of what is at the other ends: one address on both links, and one on each alone.
const BEYOND: &str = "
link set lo up
link set fara up
link set farb up
address add fe80::1/64 dev fara nodad
address add fe80::1/64 dev farb nodad
address add fe80::a/64 dev fara nodad
address add fe80::b/64 dev farb nodad
address add fd07::1/64 dev fara nodad
";

/// The address and the zone for who is to be probed: `a` or `b`.
type Of = fn(&str) -> (&str, &str);

/// What comes of a probe.
type Outcome = Result<Report, String>;

struct Site {
    host: Namespace,
    /// It ends with this.
    _beyond: Namespace,
    config: Config,
    runtime: tokio::runtime::Runtime,
    network: Arc<Network>,
}

impl Site {
    fn start() -> Option<Self> {
        let [host, beyond] = namespaces(["host", "beyond"])?;
        // In a user namespace no other groups than our own can be named.
        let group = std::fs::metadata("/proc/self").unwrap().gid();
        let allow = || std::fs::write("/proc/sys/net/ipv4/ping_group_range", format!("{group} {group}"));
        host.run(allow).unwrap().unwrap();
        for (namespace, lines) in [(&host, HOST), (&beyond, BEYOND)] {
            for line in lines.trim().lines() {
                let line = line.replace("PEER", &beyond.path());
                let mut command = Command::new("ip");
                let done = namespace.spawn(command.args(line.split(' ')).stdin(Stdio::null())).unwrap().wait().unwrap();
                assert!(done.success(), "ip {line}");
            }
        }
        let index = |link: &str| beyond.run(|| index_of(link)).unwrap();
        for (link, name) in [("fara", "a"), ("farb", "b")] {
            let scope = index(link);
            beyond.run(|| serve(scope, name)).unwrap();
        }
        reflect(&beyond);
        let runtime = host.runtime().unwrap();
        let config = config::load_str(PROBES, "test.yml").unwrap_or_else(|errors| panic!("{errors}"));
        Some(Self { host, _beyond: beyond, config, runtime, network: Arc::default() })
    }

    /// Probes by these modules, through these ISPs, of these targets, at the same time: the reports, or the sentences by which they are refused.
    fn probe<'a>(&self, asked: impl IntoIterator<Item = (&'a str, Option<&'a str>, String)>) -> Vec<Outcome> {
        let request = |(module, isp, target): (&str, Option<&str>, String)| {
            let ask = Ask { target: &target, module: Some(module), isp, hostname: None };
            let Choice { module, through, isps, hostname } =
                self.config.choose(&ask).map_err(|rejection| rejection.sentence)?;
            let Through::One(Binding { isp, zoned }) = through else { panic!("of several ISPs") };
            Ok(Request {
                target,
                module,
                isp,
                zoned,
                isps,
                hostname,
                timeout: Duration::from_secs(1),
                log_limit: usize::MAX,
                network: Arc::clone(&self.network),
                identities: Arc::default(),
            })
        };
        let asked: Vec<_> = asked.into_iter().collect();
        let run = || {
            let spawn = |request: Request| self.runtime.spawn(async move { probe::run(&request).await });
            let running: Vec<_> = asked.into_iter().map(|asked| request(asked).map(spawn)).collect();
            running.into_iter().map(|probe| probe.map(|probe| self.runtime.block_on(probe).unwrap())).collect()
        };
        self.host.run(run).unwrap()
    }
}

fn index_of(link: &str) -> u32 {
    let output = Command::new("ip").args(["-o", "link", "show", "dev", link]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(':').next().unwrap().parse().unwrap()
}

/// A web server that says its name, and a name server that refuses, on one link only.
fn serve(scope: u32, name: &'static str) {
    for address in ["fe80::1", if name == "a" { "fe80::a" } else { "fe80::b" }] {
        let place = |port| SocketAddrV6::new(address.parse().unwrap(), port, 0, scope);
        let listener = TcpListener::bind(place(80)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    if stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{name}").ok();
                    }
                });
            }
        });
        let socket = UdpSocket::bind(place(53)).unwrap();
        thread::spawn(move || {
            let mut message = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut message) {
                // A response (QR), refused (5).
                message[2] |= 0x80;
                message[3] = 5;
                socket.send_to(&message[..length], from).ok();
            }
        });
    }
}

fn target(module: &str, address: &str, zone: &str) -> String {
    match module {
        "http_of_a" | "http_of_b" => format!("http://[{address}%25{zone}]/"),
        "tcp" | "half_open" | "half_open_raw" | "conversation" => format!("[{address}%{zone}]:80"),
        _ => format!("{address}%{zone}"),
    }
}

fn check(outcome: &Outcome, expected: &str) {
    let report = outcome.as_ref().unwrap_or_else(|sentence| panic!("{sentence}"));
    let reason = report.failure.as_ref().map_or_else(|| "ok".into(), |failure| failure.reason.name());
    assert_eq!(reason, expected, "{report:#?}");
}

#[test]
fn the_zone_of_a_target_is_the_interface_that_a_probe_leaves_by() {
    let Some(site) = Site::start() else { return };
    let index = |link: &str| site.host.run(|| index_of(link)).unwrap().to_string();
    let [a, b] = ["linka", "linkb"].map(index);
    let modules = || site.config.modules.keys().map(String::as_str);
    let probe = |of: Of| {
        site.probe(modules().map(|module| {
            let (address, zone) = of(if module == "http_of_b" { "b" } else { "a" });
            let zone = zone.replace("INDEX", if module == "http_of_b" { &b } else { &a });
            (module, None, target(module, address, &zone))
        }))
    };
    let cases: [(Of, &str); 5] = [
        (|there| if there == "a" { ("fe80::a", "linka") } else { ("fe80::b", "linkb") }, "ok"),
        // Of the same address there are two.
        (|there| ("fe80::1", if there == "a" { "linka" } else { "linkb" }), "ok"),
        (|_| ("fe80::1", "INDEX"), "ok"),
        // On the other link nobody has it.
        (|there| if there == "a" { ("fe80::a", "linkb") } else { ("fe80::b", "linka") }, "arp_unresolved"),
        (|_| ("fe80::1", "linkc"), "local_link_down"),
    ];
    for (of, expected) in cases {
        let outcomes = probe(of);
        assert_eq!(outcomes.len(), modules().count());
        outcomes.iter().for_each(|outcome| check(outcome, expected));
    }
}

#[test]
fn a_zone_through_an_isp_is_the_isps_interface_or_an_error() {
    let Some(site) = Site::start() else { return };
    let modules = || site.config.modules.keys().map(String::as_str).filter(|module| *module != "http_of_b");
    let probe =
        |isp, address, zone| site.probe(modules().map(|module| (module, Some(isp), target(module, address, zone))));
    probe("a", "fe80::a", "linka").iter().for_each(|outcome| check(outcome, "ok"));
    probe("address", "fe80::a", "linka").iter().for_each(|outcome| check(outcome, "ok"));
    for outcome in probe("a", "fe80::b", "linkb") {
        assert_eq!(outcome.unwrap_err(), "the target's zone is \"linkb\", and the ISP's interface is \"linka\"");
    }
}
