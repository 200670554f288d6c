//! What is wrong in the lab is what the probes report: reasons, who said it, hops, loss.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::lab::{Site, host};
use support::pcap::{Capture, Packet};
use support::{Running, program};
use uplink_exporter::flight::Phase;
use uplink_exporter::lab::{Action, Fault, Hop, Isp, Matches, Mtu, Path, RateLimit, Topology, target};
use uplink_exporter::net::Family;
use uplink_exporter::probe::{Measurement, Report, traceroute};
use uplink_exporter::verdict::Evidence;

const MODULES: &str = "
  http: {prober: http}
  https: {prober: http, http: {tls_config: {ca_file: CA}}}
  https_strangers: {prober: http}
  https_any: {prober: http, http: {tls_config: {insecure_skip_verify: true}}}
  tcp: {prober: tcp}
  tcp_tls: {prober: tcp, tcp: {tls: true, tls_config: {ca_file: CA}}}
  half_open: {prober: tcp, tcp: {half_open: true}}
  half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true}}
  banner: {prober: tcp, tcp: {query_response: [{expect: never}]}}
  question: {prober: tcp, tcp: {query_response: [{send: anybody?}, {expect: never}]}}
  icmp_raw: {prober: icmp, icmp: {raw: true}}
  icmp_datagram: {prober: icmp, icmp: {raw: false}}
  icmp_many: {prober: icmp, icmp: {count: 200, interval: 2ms}}
  asked_raw: {prober: icmp, icmp: {raw: true, ttl: 37, dont_fragment: true, payload_size: 100}}
  asked_datagram: {prober: icmp, icmp: {raw: false, ttl: 37, dont_fragment: true, payload_size: 100}}
  short_raw: {prober: icmp, icmp: {raw: true, ttl: 2}}
  short_datagram: {prober: icmp, icmp: {raw: false, ttl: 2}}
  icmp_big: {prober: icmp, icmp: {payload_size: 1400, dont_fragment: true}}
  trace_icmp: {prober: traceroute, traceroute: {protocol: icmp}}
  trace_udp: {prober: traceroute, traceroute: {protocol: udp}}
  trace_tcp: {prober: traceroute, traceroute: {protocol: tcp, port: 80}}
  trace_far: {prober: traceroute, traceroute: {max_hops: 255, interval: 300ms}}
  trace_many: {prober: traceroute, traceroute: {count: 100, interval: 10ms}}
";

/// Each kind of probe.
const ALL: [&str; 9] =
    ["http", "tcp", "half_open", "half_open_raw", "icmp_raw", "icmp_datagram", "trace_icmp", "trace_udp", "trace_tcp"];
const TRACES: [&str; 3] = ["trace_icmp", "trace_udp", "trace_tcp"];
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

fn topology() -> Topology {
    let path = |isp| Path::straight(isp, &[1_000, 1_000, 2_000, 2_000], 2_000);
    Topology { seed: 7, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() }
}

fn start(topology: Topology) -> Option<Site> {
    Site::start(topology, MODULES)
}

fn set_fault(site: &Site, of: Matches, action: Action) {
    site.lab.change(|topology| topology.faults = vec![Fault { of, action }]);
}

fn reason(report: &Report) -> String {
    report.failure.as_ref().map_or_else(|| "ok".to_owned(), |failure| failure.reason.name().into_owned())
}

fn assert_failure(report: &Report, phase: Phase, expected: &str, offender: Option<IpAddr>) {
    let what = format!("{} of {}: {:?} {:#?}", report.module, report.target, report.failure, report.log);
    assert_eq!(reason(report), expected, "{what}");
    let failure = report.failure.as_ref().unwrap();
    assert_eq!((failure.phase, failure.offender), (phase, offender), "{what}");
    if let Some(offender) = offender {
        assert!(failure.detail.contains(&format!("{offender} says")), "who says what: {what}");
    }
}

fn trace(report: &Report) -> &traceroute::Measurement {
    match &report.measurement {
        Measurement::Traceroute(measured) => measured,
        other => panic!("{other:?}"),
    }
}

fn second() -> Duration {
    Duration::from_secs(1)
}

#[test]
fn who_says_that_another_router_is_nearer_ends_no_probe() {
    let Some(site) = start(topology()) else { return };
    set_fault(&site, Matches::default(), Action::Redirect { hop: 2 });
    for module in ["icmp_raw", "icmp_datagram", "tcp", "half_open", "half_open_raw"] {
        let port = if module.starts_with("icmp") { "" } else { ":80" };
        let report = site.run(module, "a", &format!("{}{port}", target(Family::V4, 10)), second());
        assert_eq!(reason(&report), "ok", "{module}: {:#?}", report.log);
        if let Measurement::Icmp(measured) = &report.measurement {
            assert_eq!((measured.received, measured.sent), (measured.sent, measured.received));
        }
    }
    let answered: u64 = site.lab.counts(Isp::A, target(Family::V4, 10)).iter().map(|count| count.answered).sum();
    assert!(answered >= 5, "the router said so {answered} times");
}

#[test]
fn every_unreachable_code_is_told_at_once_with_its_sender() {
    let Some(site) = start(topology()) else { return };
    let names = [
        "net_unreachable",
        "host_unreachable",
        "protocol_unreachable",
        "port_unreachable",
        "pmtu_exceeded",
        "host_unreachable",
        "net_unreachable",
        "host_unreachable",
        "host_unreachable",
        "admin_prohibited",
        "admin_prohibited",
        "net_unreachable",
        "host_unreachable",
        "admin_prohibited",
    ];
    let v4 = (0..).zip(names).map(|(code, name)| (Family::V4, Evidence::Icmp { ty: 3, code }, name));
    let names = [
        "net_unreachable",
        "admin_prohibited",
        "host_unreachable",
        "host_unreachable",
        "port_unreachable",
        "admin_prohibited",
        "admin_prohibited",
    ];
    let v6 = (0..).zip(names).map(|(code, name)| (Family::V6, Evidence::Icmp6 { ty: 1, code }, name));
    for (family, says, name) in v4.chain(v6) {
        set_fault(&site, Matches::default(), Action::Unreachable { hop: 3, says });
        let router = Some(Isp::A.router(3).address(family));
        for module in ["icmp_raw", "icmp_datagram"] {
            // To a datagram socket the kernel tells "fragmentation needed" only of packets that may not be fragmented.
            if name == "pmtu_exceeded" && module == "icmp_datagram" {
                continue;
            }
            let report = site.run(module, "a", &target(family, 10).to_string(), second());
            assert_failure(&report, Phase::Rtt, name, router);
            assert!(report.duration < Duration::from_millis(300), "{name} took {:?}", report.duration);
        }
        for module in ["tcp", "half_open", "half_open_raw"] {
            // A TCP that is told "fragmentation needed" makes its segments smaller and tries again (RFC 1191).
            if name == "pmtu_exceeded" && module != "half_open_raw" {
                continue;
            }
            let report = site.run(module, "a", &format!("{}:80", host(family, 10)), second());
            assert_failure(&report, Phase::Connect, name, router);
            assert!(report.duration < Duration::from_millis(300), "{name} took {:?}", report.duration);
        }
        let report = site.run("http", "a", &format!("http://{}/", host(family, 10)), second());
        if name != "pmtu_exceeded" {
            assert_failure(&report, Phase::Connect, name, router);
        }
        for module in TRACES {
            let report = site.run(module, "a", &target(family, 10).to_string(), Duration::from_secs(3));
            assert_failure(&report, Phase::Trace, name, router);
            // The third router's answer to a packet that ends at it, and what it says of one that should go on.
            let hops = &trace(&report).hops;
            assert_eq!(
                hops.last().and_then(|hop| hop.routers.first()).map(|met| Some(met.address)),
                Some(router),
                "{hops:#?}"
            );
            assert!(hops.len() <= 4, "{module}: the path ends where it is said to: {hops:#?}");
        }
    }
}

#[test]
fn what_ends_a_connection_has_its_own_reason() {
    let Some(site) = start(topology()) else { return };
    for family in FAMILIES {
        let at = |port: &str| format!("{}:{port}", host(family, 10));
        let url = |scheme: &str, path: &str| format!("{scheme}://{}{path}", host(family, 10));
        let refused = |module: &str, target: &str, phase, expected: &str, timeout| {
            assert_failure(&site.run(module, "b", target, timeout), phase, expected, None);
        };
        for module in ["tcp", "half_open", "half_open_raw"] {
            refused(module, &at("81"), Phase::Connect, "connection_refused", second());
        }
        refused("http", &url("http", ":81/"), Phase::Connect, "connection_refused", second());
        refused("https", &url("https", ":80/"), Phase::Tls, "tls_protocol_error", second());
        refused("https_strangers", &url("https", "/"), Phase::Tls, "tls_certificate_error:unknown_ca", second());
        refused("banner", &at("80"), Phase::Query, "connection_read_timeout", second());
        refused("http", &url("http", "/missing"), Phase::Transfer, "http_status_unexpected:4xx", second());
        refused("https", &url("https", "/broken"), Phase::Transfer, "http_status_unexpected:5xx", second());
        refused("http", &url("http", "/busy"), Phase::Transfer, "http_rate_limited", second());
        refused("http", &url("http", "/circle"), Phase::Transfer, "too_many_redirects", second());

        let of = Matches { protocol: Some(6), ..Matches::default() };
        set_fault(&site, of, Action::Reset);
        for module in ["tcp", "half_open", "half_open_raw"] {
            refused(module, &at("80"), Phase::Connect, "connection_refused", second());
        }
        set_fault(&site, of, Action::ResetAfterHandshake);
        refused("http", &url("http", "/"), Phase::Processing, "connection_terminated", second());
        refused("https", &url("https", "/"), Phase::Tls, "connection_reset_handshake", second());
        set_fault(&site, of, Action::Stall);
        refused("http", &url("http", "/"), Phase::Processing, "http_response_timeout:network", second());
        refused("https", &url("https", "/"), Phase::Tls, "tls_timeout", second());
        refused("banner", &at("80"), Phase::Query, "connection_read_timeout", second());
        refused("question", &at("80"), Phase::Query, "connection_write_timeout", second());
        set_fault(&site, Matches::default(), Action::Drop);
        for module in ["tcp", "half_open", "half_open_raw"] {
            refused(module, &at("80"), Phase::Connect, "connection_timeout", second() / 2);
        }
        for module in ["icmp_raw", "icmp_datagram"] {
            refused(module, &target(family, 10).to_string(), Phase::Rtt, "icmp_timeout", second() / 2);
        }
        site.lab.change(|topology| topology.faults.clear());
    }
}

#[test]
fn a_fault_of_this_host_is_never_the_networks() {
    let Some(site) = start(topology()) else { return };
    let with_source = |source: uplink_exporter::net::Source, module: &str, target: &str| {
        let mut request = site.request(module, "a", target, second());
        let isp = uplink_exporter::probe::Isp { source, ..(*site.config.isps["a"]).clone() };
        request.isp = Some(std::sync::Arc::new(isp));
        site.run_all(vec![request]).remove(0)
    };
    let elsewhere = uplink_exporter::net::Source { v4: Some([203, 0, 113, 9].into()), ..Default::default() };
    let missing = uplink_exporter::net::Source { interface: Some("isp9".to_owned()), ..Default::default() };
    let target_in = |family, module: &str| match module {
        "http" => format!("http://{}/", host(family, 10)),
        "tcp" | "half_open" | "half_open_raw" => format!("{}:80", host(family, 10)),
        _ => target(family, 10).to_string(),
    };
    let target = |module: &str| target_in(Family::V4, module);
    for module in ALL {
        assert_eq!(
            reason(&with_source(elsewhere.clone(), module, &target(module))),
            "source_address_unavailable",
            "{module}"
        );
        assert_eq!(reason(&with_source(missing.clone(), module, &target(module))), "local_link_down", "{module}");
    }
    site.lab.link(Isp::A, false).unwrap();
    site.lab.clear_observed();
    for (family, module) in FAMILIES.into_iter().flat_map(|family| ALL.map(|module| (family, module))) {
        for isp in ["a_interface", "a_mark", "a_address"] {
            let report = site.run(module, isp, &target_in(family, module), second());
            let found = reason(&report);
            let local = ["local_link_down", "destination_ip_unroutable:local"].contains(&found.as_str());
            // Of IPv6 the kernel forgets the addresses with the link.
            let forgotten = (isp, family, found.as_str()) == ("a_address", Family::V6, "source_address_unavailable");
            let failure = &report.failure;
            assert!(local || forgotten, "{module} through {isp} while its interface is down: {found} {failure:?}");
        }
    }
    assert_eq!(site.lab.observed(), [], "nothing left through the other ISP");
    site.lab.link(Isp::A, true).unwrap();
    for module in ALL {
        assert_eq!(
            reason(&site.run(module, "a", &target(module), second())),
            "ok",
            "{module} after the interface is up again"
        );
    }
}

/// Runs `ip` in the prober's namespace.
fn ip(site: &Site, commands: &[&str]) -> Option<()> {
    let ip = program("ip")?;
    for command in commands {
        let done = site.lab.prober().spawn(Command::new(&ip).args(command.split(' '))).unwrap().wait().unwrap();
        assert!(done.success(), "ip {command}");
    }
    Some(())
}

/// A link to a neighbour network, with nobody at its other end.
const NEIGHBOUR: [&str; 5] = [
    "link add here0 type veth peer name there0",
    "address add 192.0.2.1/24 dev here0",
    "address add 2001:db8:2::1/64 dev here0 nodad",
    "link set here0 up",
    "link set there0 up",
];

/// A target of that network for a module.
fn neighbour(module: &str, address: &str) -> String {
    match module {
        "http" => format!("http://{address}/"),
        "tcp" | "half_open" | "half_open_raw" => format!("{address}:80"),
        _ => address.trim_matches(['[', ']']).to_owned(),
    }
}

#[test]
fn a_link_without_a_carrier_is_this_hosts_fault() {
    let Some(site) = start(topology()) else { return };
    if ip(&site, &[&NEIGHBOUR[..], &["link set there0 down"]].concat()).is_none() {
        return;
    }
    let sources = [
        uplink_exporter::net::Source { interface: Some("here0".to_owned()), ..Default::default() },
        uplink_exporter::net::Source {
            v4: Some([192, 0, 2, 1].into()),
            v6: Some("2001:db8:2::1".parse().unwrap()),
            ..Default::default()
        },
        uplink_exporter::net::Source { mark: Some(7), ..Default::default() },
    ];
    let mut requests = Vec::new();
    for source in sources {
        for module in ALL {
            for address in ["192.0.2.77", "[2001:db8:2::77]"] {
                let mut request = site.request(module, "a", &neighbour(module, address), second());
                let isp = uplink_exporter::probe::Isp { source: source.clone(), ..(*site.config.isps["a"]).clone() };
                request.isp = Some(std::sync::Arc::new(isp));
                requests.push(request);
            }
        }
    }
    for report in site.run_all(requests) {
        let what = format!("{} {:?} {:?}", report.module, report.isp.as_ref().unwrap().source, report.failure);
        assert_eq!(reason(&report), "local_link_down", "{what}");
        assert!(report.failure.as_ref().is_some_and(|failure| failure.detail.contains("here0")), "{what}");
    }
}

#[test]
fn a_neighbour_that_does_not_answer_to_its_address_is_not_the_networks_fault() {
    let Some(site) = start(topology()) else { return };
    if ip(&site, &NEIGHBOUR).is_none() {
        return;
    }
    // Within a second the kernel is still asking; after three it has given up, and says so.
    for (patience, address) in [(1, "192.0.2.77"), (1, "[2001:db8:2::77]"), (6, "192.0.2.78"), (6, "[2001:db8:2::78]")]
    {
        let requests = ALL.map(|module| site.request(module, "", &neighbour(module, address), patience * second()));
        for report in site.run_all(requests.into()) {
            assert_eq!(reason(&report), "arp_unresolved", "{} {:?} {:#?}", report.module, report.failure, report.log);
        }
    }
}

#[test]
fn a_half_open_check_is_a_syn_its_answer_and_a_reset_and_nothing_more() {
    let Some(site) = start(topology()) else { return };
    let capture = Capture::start("ispa", site.folder.path(), |command| site.lab.prober().spawn(command).unwrap());
    let mut expected = Vec::new();
    for family in FAMILIES {
        // The kernel's reset of a connection acknowledges, that of a segment that is nobody's does not.
        for (number, module, reset) in [(10, "half_open", "R."), (11, "half_open_raw", "R")] {
            let address = host(family, number);
            for isp in ["a", "a_address", "a_interface", "a_mark"] {
                let report = site.run(module, isp, &format!("{address}:80"), second());
                assert_eq!(reason(&report), "ok", "{module} of {address} by {isp}: {:?}", report.failure);
                let Measurement::Tcp(measured) = &report.measurement else { panic!("{report:?}") };
                let port = measured.handshake.local.unwrap().port();
                expected.push((module, isp, target(family, number), port, ["S", "S.", reset]));
            }
        }
    }
    let segments: Vec<Packet> = capture.stop().into_iter().filter(|packet| packet.protocol == 6).collect();
    assert_eq!(segments.len(), 3 * expected.len(), "{segments:#?}");
    for (module, isp, address, port, flags) in expected {
        // Both directions: ours, and the server's.
        let of = |packet: &&Packet| match packet.ports() {
            (local, 80) => (local, packet.destination) == (port, address),
            (80, local) => (local, packet.source) == (port, address),
            _ => false,
        };
        let seen: Vec<_> = segments.iter().filter(of).map(|packet| (packet.ports().1, packet.flags())).collect();
        let wanted = [80, port, 80].into_iter().zip(flags.map(str::to_owned)).collect::<Vec<_>>();
        assert_eq!(seen, wanted, "{module} of {address} by {isp}");
    }
}

#[test]
fn an_echo_request_is_as_it_was_asked_for() {
    let Some(site) = start(topology()) else { return };
    for family in FAMILIES {
        let destination = target(family, 10);
        for (asked, plain, short) in
            [("asked_raw", "icmp_raw", "short_raw"), ("asked_datagram", "icmp_datagram", "short_datagram")]
        {
            let capture =
                Capture::start("ispa", site.folder.path(), |command| site.lab.prober().spawn(command).unwrap());
            let reports = [asked, plain].map(|module| site.run(module, "a", &destination.to_string(), second()));
            let packets = capture.stop();
            let requests: Vec<&Packet> = packets.iter().filter(|packet| packet.echo_request().is_some()).collect();
            let [as_asked, as_ever] = requests[..] else { panic!("{asked}: {requests:?}") };
            assert_eq!((as_asked.ttl, as_asked.transport.len()), (37, 8 + 100), "{asked} {family:?}");
            assert_eq!((as_ever.ttl, as_ever.transport.len()), (64, 8 + 56), "{plain} {family:?}");
            // IPv6 splits nothing on the way, and says nothing of it.
            let of_v4 = family == Family::V4;
            assert_eq!((as_asked.dont_fragment, as_ever.dont_fragment), (of_v4, false), "{asked} {family:?}");
            let replies: Vec<u8> =
                packets.iter().filter(|packet| packet.echo_reply().is_some()).map(|packet| packet.ttl).collect();
            assert_eq!(replies.len(), 2, "{asked} {family:?}");
            for (report, ttl) in reports.iter().zip(replies) {
                let Measurement::Icmp(measured) = &report.measurement else { panic!("{report:?}") };
                assert_eq!((report.success(), measured.reply_hop_limit), (true, Some(ttl)), "{asked} {family:?}");
                assert!(ttl < 64, "four routers are between: {ttl}");
            }
            let router = Some(Isp::A.router(2).address(family));
            let report = site.run(short, "a", &destination.to_string(), second());
            assert_failure(&report, Phase::Rtt, "ttl_exceeded", router);
        }
    }
}

#[test]
fn an_established_connection_outlives_what_a_router_says_of_it() {
    let path = |isp| Path::straight(isp, &[100_000, 100_000], 100_000);
    let Some(site) = start(Topology { seed: 7, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() }) else { return };
    for (family, says) in
        [(Family::V4, Evidence::Icmp { ty: 3, code: 1 }), (Family::V6, Evidence::Icmp6 { ty: 1, code: 3 })]
    {
        site.lab.clear_counts();
        let most = Duration::from_secs(5);
        let end = Instant::now() + most;
        let arrive = |packets| {
            let arrived = || site.lab.counts(Isp::A, target(family, 10)).first().map_or(0, |hop| hop.arrived);
            while arrived() < packets && Instant::now() < end {
                thread::sleep(Duration::from_millis(1));
            }
        };
        let report = thread::scope(|scope| {
            scope.spawn(|| {
                // The SYN, and then the ACK and what begins the handshake of TLS, in which there is more to be sent.
                arrive(1);
                set_fault(&site, Matches::default(), Action::Unreachable { hop: 1, says });
                arrive(3);
                site.lab.change(|topology| topology.faults.clear());
            });
            site.run("https", "a", &format!("https://{}/", host(family, 10)), most)
        });
        assert_eq!(report.failure, None, "{:#?}", report.log);
        let (_, tls) = report.phases.iter().find(|(phase, _)| *phase == Phase::Tls).unwrap();
        assert!(*tls > Duration::from_millis(400), "the handshake was begun again: {tls:?}");
    }
}

#[test]
fn a_host_without_free_ports_says_so() {
    let Some(site) = start(topology()) else { return };
    let range = "/proc/sys/net/ipv4/ip_local_port_range";
    site.lab.prober().run(|| std::fs::write(range, "40000 40001")).unwrap().unwrap();
    let destination = format!("{}:80", host(Family::V4, 10));
    // Held in TIME_WAIT, or by the others.
    let requests = (0..8).map(|_| site.request("banner", "a", &destination, second())).collect();
    let reports = site.run_all(requests);
    let reasons: Vec<_> = reports.iter().map(reason).collect();
    assert_eq!(reasons.iter().filter(|reason| *reason == "source_port_exhausted").count(), 6, "{reasons:?}");
    assert_eq!(reasons.iter().filter(|reason| *reason == "connection_read_timeout").count(), 2, "{reasons:?}");
}

#[test]
fn the_hops_of_the_demonstration_are_reported_as_they_are() {
    let Some(site) = start(Topology::demo()) else { return };
    for family in FAMILIES {
        for isp in Isp::ALL {
            for module in TRACES {
                let report = site.run(module, isp.name(), &target(family, 10).to_string(), Duration::from_secs(3));
                assert_eq!(report.failure, None, "{module} {:#?}", report.log);
                let measured = trace(&report);
                assert!(measured.reached);
                assert_eq!(measured.hops.len(), 9, "{module}: {measured:#?}");
                let path = Topology::demo().path(isp).clone();
                for hop in &measured.hops {
                    let what = format!("{module} {family:?} {isp:?} {hop:?}");
                    let addresses: Vec<IpAddr> = hop.routers.iter().map(|router| router.address).collect();
                    let wanted: Vec<IpAddr> = match path.hops.get(usize::from(hop.number) - 1) {
                        Some(hop) => hop.routers.iter().map(|router| router.address(family)).collect(),
                        None => vec![target(family, 10)],
                    };
                    if hop.number == 3 {
                        // Asked twice more, since others behind it answer.
                        assert_eq!((hop.sent, hop.received, hop.rtt.last(), addresses), (5, 0, None, vec![]), "{what}");
                        continue;
                    }
                    assert_eq!(hop.sent, 3, "{what}");
                    assert!(hop.received == 3 || hop.number == 5, "{what}");
                    // One flow takes one path, so of two routers one answers.
                    assert!(addresses.len() <= 1 && addresses.iter().all(|address| wanted.contains(address)), "{what}");
                    if let Some(best) = hop.rtt.best() {
                        let expected = path.rtt(hop.number.into()).as_secs_f64();
                        assert!((best - expected).abs() < 0.001, "{what}: {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_flows_of_many_traces_find_both_routers_of_a_hop() {
    let Some(site) = start(Topology::demo()) else { return };
    for module in TRACES {
        let request = || site.request(module, "a", &target(Family::V4, 10).to_string(), Duration::from_secs(3));
        let reports = site.run_all((0..16).map(|_| request()).collect());
        let mut seen: Vec<IpAddr> = Vec::new();
        for report in &reports {
            let hop = &trace(report).hops[5];
            assert_eq!(hop.routers.len(), 1, "{module}: {hop:?}");
            seen.push(hop.routers[0].address);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2, "{module}: 16 flows over two routers");
    }
}

/// Whether `lost` of `sent` is believable for a probability: within 4.5 standard deviations of the binomial distribution.
fn believable(lost: u32, sent: u32, probability: f64) -> bool {
    let (lost, sent) = (f64::from(lost), f64::from(sent));
    (lost - sent * probability).abs() <= 4.5 * (sent * probability * (1.0 - probability)).sqrt() + 0.5
}

#[test]
fn loss_is_reported_as_it_is_injected() {
    let mut lossy = topology();
    lossy.a.hops[1].routers[0].answers.loss = 0.3;
    lossy.b.target.loss = 0.2;
    let Some(site) = start(lossy) else { return };
    for family in FAMILIES {
        let destination = target(family, 10).to_string();
        let report = site.run("trace_many", "a", &destination, Duration::from_secs(8));
        let hops = &trace(&report).hops;
        assert_eq!(hops.len(), 5);
        for hop in hops {
            let probability = if hop.number == 2 { 0.3 } else { 0.0 };
            assert_eq!(hop.sent, 100);
            assert!(believable(hop.sent - hop.received, hop.sent, probability), "{hop:?}");
        }
        let report = site.run("icmp_many", "b", &destination, Duration::from_secs(4));
        let Measurement::Icmp(measured) = &report.measurement else { panic!() };
        assert_eq!((report.success(), measured.sent), (true, 200));
        assert!(believable(measured.sent - measured.received, 200, 0.2), "{} of 200 received", measured.received);
    }
}

#[test]
fn a_router_that_limits_its_answers_delays_nothing_behind_it() {
    let mut limited = topology();
    limited.a.hops[1].routers[0].answers.limit = Some(RateLimit { per_second: 1.0, burst: 1.0 });
    let Some(site) = start(limited) else { return };
    let report = site.run("trace_icmp", "a", &host(Family::V4, 10), Duration::from_secs(3));
    let hops = &trace(&report).hops;
    assert_eq!(hops.iter().map(|hop| hop.received).collect::<Vec<_>>(), [3, 1, 3, 3, 3]);
}

#[test]
fn a_router_that_takes_its_time_to_answer_has_lost_nothing() {
    let ms = Duration::from_millis;
    let mut slow = Topology { seed: 7, ..Topology::demo() };
    slow.a.hops[1].routers[0].answers.delay = ms(450);
    let Some(site) = start(slow) else { return };
    let destination = target(Family::V4, 10);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            support::until("the router has answered once", || site.lab.counts(Isp::A, destination)[1].answered > 0);
            site.lab.change(|topology| topology.a.hops[1].routers[0].answers.delay = ms(600));
        });
        site.run("trace_icmp", "a", &destination.to_string(), Duration::from_secs(5))
    });
    assert_eq!(report.failure, None, "{:#?}", report.log);
    let hops = &trace(&report).hops;
    let seen: Vec<_> = hops.iter().map(|hop| (hop.sent, hop.received)).collect();
    let truth: Vec<_> = site.lab.counts(Isp::A, destination).iter().map(|hop| hop.answered as u32).collect();
    assert_eq!((seen[1], seen[2], seen[8]), ((3, 3), (3, 0), (3, 3)), "{hops:#?}");
    assert_eq!(seen[4], (3, truth[4]), "{hops:#?}");
    let rtt = (hops[1].rtt.best().unwrap(), hops[1].rtt.worst().unwrap());
    let within = 0.005 + site.lab.lateness().as_secs_f64();
    assert!((0.45..0.45 + within).contains(&rtt.0) && (0.6..0.6 + within).contains(&rtt.1), "{rtt:?}");
    assert!(report.duration < ms(200 + 800 + 100), "two intervals and `wait`, but it took {:?}", report.duration);
}

#[test]
fn a_host_without_ipv6_says_so() {
    let more = "  http_3: {prober: http, http: {enable_http3: true, enable_http2: false}}\n  dns: {prober: dns, dns: {query_name: a.example}}\n  stun: {prober: stun}\n";
    let Some(site) = Site::start(topology(), &format!("{MODULES}{more}")) else { return };
    let mut command = Command::new("sysctl");
    command.args(["-q", "-w", "net.ipv6.conf.all.disable_ipv6=1"]);
    assert!(site.lab.prober().spawn(&mut command).unwrap().wait().unwrap().success());
    // Where a mark is given, there is no way either, which is asked first.
    for (isp, expected) in [("", "source_address_unavailable"), ("a_mark", "destination_ip_unroutable:local")] {
        for module in ALL.into_iter().chain(["http_3", "dns", "stun"]) {
            let host = host(Family::V6, 10);
            let target = match module {
                "http" => format!("http://{host}"),
                "http_3" => format!("https://{host}"),
                "tcp" | "half_open" | "half_open_raw" => format!("{host}:80"),
                _ => target(Family::V6, 10).to_string(),
            };
            let report = site.run(module, isp, &target, second());
            assert_eq!(reason(&report), expected, "{module} by {isp:?}: {:?}", report.failure);
        }
    }
}

#[test]
fn a_full_trace_of_twenty_hops_ends_within_a_second() {
    let mut path = Path::straight(Isp::A, &[2_500; 19], 2_500);
    path.hops[6].routers[0].answers.silent = true;
    path.hops[12].routers[0].answers.silent = true;
    let Some(site) = start(Topology { a: path, ..topology() }) else { return };
    for family in FAMILIES {
        for module in TRACES {
            let report = site.run(module, "a", &target(family, 10).to_string(), Duration::from_secs(5));
            let measured = trace(&report);
            assert_eq!((report.failure.as_ref(), measured.reached, measured.hops.len()), (None, true, 20), "{module}");
            let answered = measured.hops.iter().filter(|hop| hop.received == 3).count();
            assert_eq!(answered, 18, "{module}: {measured:#?}");
            assert!(report.duration < second(), "{module} {family:?} took {:?}", report.duration);
        }
    }
}

#[test]
fn packets_that_do_not_fit_and_packets_that_circle_say_so() {
    let mut narrow = topology();
    narrow.a.hops[2].routers[0].mtu = Some(Mtu::told(1300));
    narrow.b.hops[2].routers[0].mtu = Some(Mtu::untold(1300));
    let Some(site) = start(narrow) else { return };
    for family in FAMILIES {
        let destination = target(family, 10).to_string();
        let router = Some(Isp::A.router(3).address(family));
        assert_failure(&site.run("icmp_big", "a", &destination, second()), Phase::Rtt, "pmtu_exceeded", router);
        assert_failure(&site.run("icmp_big", "b", &destination, second()), Phase::Rtt, "icmp_timeout", None);
        set_fault(&site, Matches::default(), Action::Loop { hop: 2 });
        for module in ["icmp_raw", "icmp_datagram"] {
            let report = site.run(module, "a", &target(family, 11).to_string(), second());
            assert_eq!(reason(&report), "ttl_exceeded", "{module} {:?}", report.failure);
            assert!(report.failure.unwrap().offender.is_some());
        }
        site.lab.change(|topology| topology.faults.clear());
    }
}

#[test]
fn a_trace_that_circles_up_to_the_last_hop_that_there_can_be_has_each_hop_once() {
    let Some(site) = start(topology()) else { return };
    set_fault(&site, Matches::default(), Action::Loop { hop: 3 });
    let report = site.run("trace_far", "a", &host(Family::V4, 10), Duration::from_secs(4));
    assert_failure(&report, Phase::Trace, "icmp_timeout", None);
    let hops: Vec<_> = trace(&report).hops.iter().map(|hop| (hop.number, hop.sent, hop.received)).collect();
    assert_eq!(hops, (1..=255).map(|number| (number, 3, 3)).collect::<Vec<_>>());
}

#[test]
fn both_routers_of_a_hop_are_reported_when_the_path_changes_during_a_trace() {
    let Some(site) = start(topology()) else { return };
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            site.lab.change(|topology| topology.a.hops[2] = Hop::of(vec![Isp::A.router(33)]));
        });
        site.run("trace_many", "a", &host(Family::V4, 10), Duration::from_secs(8))
    });
    let hop = &trace(&report).hops[2];
    let mut addresses: Vec<IpAddr> = hop.routers.iter().map(|router| router.address).collect();
    addresses.sort_unstable();
    assert_eq!(addresses, [3, 33].map(|number| Isp::A.router(number).address(Family::V4)));
    assert_eq!(hop.routers.iter().map(|router| router.answers).sum::<u32>(), hop.received);
}

#[test]
fn certificates_are_described_also_when_they_are_not_good() {
    let Some(openssl) = program("openssl") else { return };
    let Some(site) = start(topology()) else { return };
    let folder = site.folder.path();
    // By an issuer, or signed by itself.
    let make = |name: &str, issuer: Option<&rcgen::Issuer<'_, rcgen::KeyPair>>, first_year: i32, last_year: i32| {
        let mut certificate = rcgen::CertificateParams::new(vec![target(Family::V4, 10).to_string()]).unwrap();
        certificate.not_before = rcgen::date_time_ymd(first_year, 1, 1);
        certificate.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        certificate.distinguished_name = rcgen::DistinguishedName::new();
        certificate.distinguished_name.push(rcgen::DnType::CommonName, "odd");
        let key = rcgen::KeyPair::generate().unwrap();
        let files = (folder.join(format!("{name}.key")), folder.join(format!("{name}.crt")));
        std::fs::write(&files.0, key.serialize_pem()).unwrap();
        let certificate = match issuer {
            Some(issuer) => certificate.signed_by(&key, issuer),
            None => certificate.self_signed(&key),
        };
        std::fs::write(&files.1, certificate.unwrap().pem()).unwrap();
        files
    };
    let serve = |port: u16, (key, certificate): &(std::path::PathBuf, std::path::PathBuf), arguments: &[&str]| {
        let mut command = Command::new(&openssl);
        command
            .args(["s_server", "-www", "-accept", &port.to_string(), "-key"])
            .arg(key)
            .arg("-cert")
            .arg(certificate)
            .args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Running(site.lab.far().spawn(&mut command).unwrap())
    };
    let own = make("own", None, 2020, 2099);
    let old = make("old", Some(&site.authority), 2010, 2011);
    let _servers = [
        serve(4001, &own, &["-tls1_3"]),
        serve(4002, &old, &["-tls1_2"]),
        serve(4003, &own, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]),
        serve(4004, &own, &["-Verify", "1", "-verify_return_error", "-tls1_3"]),
        serve(4005, &own, &["-Verify", "1", "-verify_return_error", "-tls1_2"]),
    ];
    std::thread::sleep(Duration::from_millis(300));
    let run = |module: &str, port: u16| {
        site.run(module, "a", &format!("https://{}:{port}/", host(Family::V4, 10)), 3 * second())
    };
    let facts = |report: &Report| match &report.measurement {
        Measurement::Http(measured) => measured.tls.clone(),
        other => panic!("{other:?}"),
    };

    let report = run("https_strangers", 4001);
    assert_failure(&report, Phase::Tls, "tls_certificate_error:self_signed", None);
    let told = facts(&report).expect("the certificate is described");
    assert_eq!((told.version, told.chain.len(), told.chain_expiry), (Some("TLS 1.3"), 1, None));
    assert_eq!(told.chain[0].subject, "CN=odd");

    let report = run("https", 4002);
    assert_failure(&report, Phase::Tls, "tls_certificate_error:expired", None);
    let told = facts(&report).expect("the certificate is described");
    assert_eq!((told.version, told.chain.len(), told.chain_expiry), (Some("TLS 1.2"), 1, None));
    assert!(told.chain[0].not_after < std::time::SystemTime::now());

    // TLS 1.1 is all that it speaks, and this program does not.
    let report = run("https", 4003);
    assert_failure(&report, Phase::Tls, "tls_protocol_error", None);
    let told = facts(&report).expect("the certificate is described");
    assert_eq!((told.version, told.chain.len(), told.chain_expiry), (Some("TLS 1.1"), 1, None));
    assert_eq!(told.chain[0].subject, "CN=odd");

    for port in [4004, 4005] {
        let report = run("https_any", port);
        assert_failure(&report, Phase::Tls, "tls_client_cert_rejected", None);
        assert_eq!(facts(&report).expect("the certificate is described").chain[0].subject, "CN=odd");
    }
}
