//! Who the hops of a trace are: names and autonomous systems by the ISP's name servers, MPLS labels, and all of it as mtr tells it.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use support::lab::{Site, alone};
use support::pcap::{Capture, Packet};
use support::until;
use support::zone::{Asked, Zone, serve};
use uplink_exporter::flight::Phase;
use uplink_exporter::lab::{Action, Fault, Isp, Matches, Path, TARGETS, Topology, target};
use uplink_exporter::net::Family;
use uplink_exporter::path::AutonomousSystem;
use uplink_exporter::probe::identity::PATIENCE;
use uplink_exporter::probe::traceroute::Router;
use uplink_exporter::probe::{self, Measurement, Report, Request, traceroute};
use uplink_exporter::wire::dns::reverse_name;

/// Traces, and the zones of Team Cymru under other names.
const MODULES: &str = "
  trace_icmp: {prober: traceroute, traceroute: {protocol: icmp, interval: 20ms}}
  trace_udp: {prober: traceroute, traceroute: {protocol: udp, interval: 20ms}}
  trace_tcp: {prober: traceroute, traceroute: {protocol: tcp, port: 80, interval: 20ms}}
  nameless: {prober: traceroute, traceroute: {interval: 20ms, names: false}}
asn: {source: dns, zones: {origin4: o4.example, origin6: o6.example, names: as.example}}
";

const TRACES: [&str; 3] = ["trace_icmp", "trace_udp", "trace_tcp"];
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Routers of the lab have addresses that nobody is asked about. From the second hop on these have others, as routers of the Internet have;
/// nothing of it leaves the lab.
fn topology() -> Topology {
    let path = |isp: Isp| {
        let mut path = Path::straight(isp, &[1_000, 1_000, 1_000, 1_000, 1_000, 1_000], 1_000);
        for (number, hop) in (1..).zip(&mut path.hops).skip(1) {
            (hop.routers[0].v4, hop.routers[0].v6) = match address(isp, Family::V4, number) {
                IpAddr::V4(v4) => (v4, address6(isp, number)),
                IpAddr::V6(_) => panic!("not of IPv4"),
            };
        }
        path
    };
    Topology { seed: 3, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() }
}

/// The address of a router from the second hop on.
fn address(isp: Isp, family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => [5, if isp == Isp::A { 1 } else { 2 }, number, 1].into(),
        Family::V6 => address6(isp, number).into(),
    }
}

fn address6(isp: Isp, number: u8) -> std::net::Ipv6Addr {
    [0x2a00, if isp == Isp::A { 0xa } else { 0xb }, number.into(), 0, 0, 0, 0, 1].into()
}

/// The labels of an address, backwards, as the zones of origins want it.
fn origin(of: IpAddr) -> String {
    match of {
        IpAddr::V4(_) => reverse_name(of).replace("in-addr.arpa", "o4.example"),
        IpAddr::V6(_) => {
            let digits = reverse_name(of);
            let half: Vec<_> = digits.trim_end_matches(".ip6.arpa").split('.').skip(16).collect();
            format!("{}.o6.example", half.join("."))
        }
    }
}

/// What the name servers of an ISP know of its routers.
fn zone(isp: Isp) -> Zone {
    let mut zone = Zone::default();
    let prefix = |family, number| match address(isp, family, number) {
        IpAddr::V4(v4) => format!("{}.{}.{}.0/24", v4.octets()[0], v4.octets()[1], v4.octets()[2]),
        IpAddr::V6(v6) => format!("{:x}:{:x}:{:x}::/48", v6.segments()[0], v6.segments()[1], v6.segments()[2]),
    };
    for family in FAMILIES {
        let reverse = |number| reverse_name(address(isp, family, number));
        // A name of its own, and one behind an alias, as where a part of a network is somebody else's (RFC 2317).
        zone.pointer(&reverse(2), &format!("two.{}.example.", isp.name()), 300);
        zone.alias(&reverse(3), &format!("customer.{}", reverse(3)), 300);
        zone.pointer(&format!("customer.{}", reverse(3)), "b.example.", 300);
        zone.pointer(&format!("customer.{}", reverse(3)), "a.example.", 300);
        // The fourth has no name, and that of the fifth does not fit into a datagram.
        zone.pointer(&reverse(5), &format!("five.{}.example.", isp.name()), 300);
        zone.is_long(&reverse(5));
        zone.pointer(&reverse(6), "bad\\.dot.example.", 0);

        let of = |number| origin(address(isp, family, number));
        zone.text(&of(2), &format!("64500 | {} | KR | apnic | 2020-01-01", prefix(family, 2)), 300);
        // Two who announce it, and one who announces a network around it.
        let wide = if family == Family::V4 { "5.0.0.0/8" } else { "2a00::/16" };
        zone.text(&of(3), &format!("64499 | {wide} | KR | apnic | 2020-01-01"), 300);
        zone.text(&of(3), &format!("64502 64501 | {} | KR | apnic | 2020-01-01", prefix(family, 3)), 300);
        zone.alias(&of(4), &format!("alias.{}", of(4)), 300);
        zone.text(&format!("alias.{}", of(4)), &format!("64500 | {} | KR | apnic |", prefix(family, 4)), 300);
    }
    zone.text("AS64500.as.example", "64500 | KR | apnic | 2020-01-01 | ONE-AS One, KR", 300);
    zone.text("AS64501.as.example", "64501 | KR | apnic | 2020-01-01 | TWO-AS, KR", 300);
    zone
}

/// Where the name servers of an ISP are.
fn resolver(isp: Isp, family: Family) -> SocketAddr {
    SocketAddr::new(target(family, if isp == Isp::A { 30 } else { 31 }), 53)
}

/// A request through an ISP that has a name server.
fn request(site: &Site, module: &str, isp: &str, target: IpAddr, resolver: SocketAddr, timeout: Duration) -> Request {
    let mut request = site.request(module, isp, &target.to_string(), timeout);
    let bound = probe::Isp::clone(request.isp.as_ref().unwrap());
    request.isp = Some(Arc::new(probe::Isp { resolvers: vec![resolver], ..bound }));
    request
}

fn trace(report: &Report) -> &traceroute::Measurement {
    match &report.measurement {
        Measurement::Traceroute(measured) => measured,
        other => panic!("{other:?}"),
    }
}

/// The one router of a hop.
fn router(report: &Report, hop: usize) -> &Router {
    let [router] = trace(report).hops[hop - 1].routers.as_slice() else { panic!("{report:#?}") };
    router
}

fn phase(report: &Report, wanted: Phase) -> Option<Duration> {
    report.phases.iter().find(|(phase, _)| *phase == wanted).map(|(_, span)| *span)
}

fn assert_adds_up(report: &Report) {
    let phases: Duration = report.phases.iter().map(|(_, span)| *span).sum();
    assert!((phases + report.overhead).abs_diff(report.duration) < Duration::from_millis(1), "{report:#?}");
}

fn system(number: u32, name: Option<&str>) -> AutonomousSystem {
    AutonomousSystem { number, name: name.map(str::to_owned) }
}

#[test]
fn names_and_systems_are_those_that_the_isps_own_name_servers_tell_through_it() {
    let _alone = alone();
    let Some(site) = Site::start(topology(), MODULES) else { return };
    let folder = site.folder.path();
    let captures =
        Isp::ALL.map(|isp| Capture::start(isp.device(), folder, |command| site.lab.prober().spawn(command).unwrap()));
    let mut asked: Vec<(Isp, Family, Asked)> = Vec::new();
    for isp in Isp::ALL {
        for family in FAMILIES {
            asked.push((isp, family, serve(&site, resolver(isp, family), zone(isp))));
        }
    }
    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        let ways = [isp.name().to_owned(), format!("{}_mark", isp.name()), format!("{}_interface", isp.name())];
        for family in FAMILIES {
            let request = |way: &String, module| {
                let patience = Duration::from_secs(5);
                request(&site, module, way, target(family, 10), resolver(isp, family), patience)
            };
            let run = |way| site.run_all(TRACES.map(|module| request(way, module)).into());
            for report in ways.iter().flat_map(run) {
                assert_eq!(report.failure, None, "{:#?}", report.log);
                assert_adds_up(&report);
                let name = |hop| router(&report, hop).name.as_deref();
                let systems = |hop| router(&report, hop).systems.as_slice();
                let what = format!("{isp:?} {family:?} {}: {:#?}", report.module, report.log);
                // The first has an address of its own, as has the target: nobody is asked about them.
                assert_eq!((name(1), systems(1)), (None, [].as_slice()), "{what}");
                assert_eq!((name(7), systems(7)), (None, [].as_slice()), "{what}");
                assert_eq!(name(2), Some(format!("two.{}.example", isp.name()).as_str()), "{what}");
                assert_eq!(systems(2), [system(64_500, Some("ONE-AS One, KR"))], "{what}");
                assert_eq!(name(3), Some("a.example"), "{what}");
                assert_eq!(systems(3), [system(64_501, Some("TWO-AS, KR")), system(64_502, None)], "{what}");
                assert_eq!(name(4), None, "{what}");
                assert_eq!(systems(4), [system(64_500, Some("ONE-AS One, KR"))], "{what}");
                assert_eq!(name(5), Some(format!("five.{}.example", isp.name()).as_str()), "{what}");
                assert_eq!(name(6), Some(r"bad\.dot.example"), "{what}");
                assert_eq!(systems(6), [], "{what}");
            }
        }
    }
    for (isp, family, asked) in &asked {
        let mut asked = asked.take();
        let strangers: Vec<_> = [Isp::A.router(1), Isp::B.router(1)]
            .iter()
            .map(|router| router.address(*family))
            .chain([target(*family, 10)])
            .flat_map(|address| [format!("{}.", reverse_name(address)), format!("{}.", origin(address))])
            .filter(|name| asked.contains(name))
            .collect();
        assert_eq!(strangers, Vec::<String>::new(), "{isp:?} was asked about what is nobody's business");
        asked.sort();
        asked.dedup();
        assert!(asked.len() >= 5 + 5 + 3, "{asked:#?}");
        assert!(asked.contains(&format!("tcp {}.", reverse_name(address(*isp, *family, 5)))));
    }
    let [through_a, through_b] = captures.map(Capture::stop);
    for (isp, right, wrong) in [(Isp::A, &through_a, &through_b), (Isp::B, &through_b, &through_a)] {
        for family in FAMILIES {
            let resolver = resolver(isp, family).ip();
            let is_question = |packet: &&Packet| packet.destination == resolver && packet.ports().1 == 53;
            assert_eq!(wrong.iter().filter(is_question).count(), 0, "through the wrong ISP");
            let questions: Vec<_> = right.iter().filter(is_question).collect();
            assert!(questions.len() >= 3 * 13, "{}", questions.len());
            assert!(questions.iter().all(|packet| packet.source == isp.source(family)));
        }
    }
}

#[test]
fn the_second_probe_asks_nothing_but_what_may_not_be_kept_and_many_at_once_ask_as_one() {
    let _alone = alone();
    let Some(site) = Site::start(topology(), MODULES) else { return };
    let server = resolver(Isp::A, Family::V4);
    let asked = serve(&site, server, zone(Isp::A));
    let request = || request(&site, "trace_icmp", "a", target(Family::V4, 10), server, Duration::from_secs(5));
    let reports = site.run_all((0..20).map(|_| request()).collect());
    let mut first = asked.take();
    first.sort();
    let mut different = first.clone();
    different.dedup();
    // The name that may not be kept is asked for as often as somebody comes who did not come with others.
    let fleeting = format!("{}.", reverse_name(address(Isp::A, Family::V4, 6)));
    first.retain(|name| *name != fleeting);
    different.retain(|name| *name != fleeting);
    // On a busy machine a question may be asked a second time, since its answer is late.
    assert!(first.len() <= 2 * different.len(), "one question of each kind: {first:#?}");
    for report in &reports {
        assert_eq!(router(report, 2).name.as_deref(), Some("two.a.example"), "{:#?}", report.log);
    }
    let report = site.run_all(vec![request()]).remove(0);
    assert_eq!(asked.take(), [fleeting], "the name whose TTL is 0");
    assert_eq!(router(&report, 3).name.as_deref(), Some("a.example"));
    assert_eq!(router(&report, 3).systems[0].number, 64_501);
    // Nothing is also known.
    assert_eq!(router(&report, 4).name, None);
    // By a module that wants no names, only systems.
    let nameless = site.run_all(vec![{
        let mut other = request();
        other.module = Arc::clone(&site.config.modules["nameless"]);
        other
    }]);
    assert_eq!(asked.take(), [""; 0]);
    assert_eq!((&router(&nameless[0], 2).name, router(&nameless[0], 2).systems.len()), (&None, 1));
}

#[test]
fn a_name_server_that_says_nothing_costs_half_a_second_at_most_and_only_once() {
    let _alone = alone();
    let Some(site) = Site::start(topology(), MODULES) else { return };
    site.lab.change(|topology| {
        topology.faults.push(Fault { of: Matches { port: Some(53), ..Matches::default() }, action: Action::Drop });
    });
    let server = resolver(Isp::A, Family::V4);
    let run = |timeout| {
        let request = request(&site, "trace_icmp", "a", target(Family::V4, 10), server, timeout);
        site.run_all(vec![request]).remove(0)
    };
    let slack = Duration::from_millis(20);
    let report = run(Duration::from_secs(5));
    assert_eq!(report.failure, None);
    assert_adds_up(&report);
    let waited = phase(&report, Phase::Lookup).unwrap();
    assert_eq!(PATIENCE, Duration::from_millis(500), "as the README has it");
    assert!((PATIENCE / 2..PATIENCE + slack).contains(&waited), "{waited:?}");
    assert!(trace(&report).hops.iter().flat_map(|hop| &hop.routers).all(|router| router.name.is_none()));
    // The next one need not learn it again.
    let report = run(Duration::from_secs(5));
    let waited = phase(&report, Phase::Lookup).unwrap();
    assert!(waited < slack, "{waited:?}");
    assert_adds_up(&report);
}

#[test]
fn the_deadline_ends_the_wait_for_names_and_not_the_success() {
    let _alone = alone();
    let Some(site) = Site::start(topology(), MODULES) else { return };
    site.lab.change(|topology| {
        topology.faults.push(Fault { of: Matches { port: Some(53), ..Matches::default() }, action: Action::Drop });
    });
    let timeout = Duration::from_millis(250);
    let request = request(&site, "trace_icmp", "a", target(Family::V4, 10), resolver(Isp::A, Family::V4), timeout);
    let report = site.run_all(vec![request]).remove(0);
    assert_eq!(report.failure, None);
    // By the wire; a busy machine may come to the end of it later.
    let phases: Duration = report.phases.iter().map(|(_, span)| *span).sum();
    assert!(phases < timeout && phase(&report, Phase::Lookup).is_some(), "{:?}", report.phases);
    assert_adds_up(&report);
}

#[test]
fn a_name_server_that_refuses_costs_nothing_and_the_next_one_is_asked() {
    let _alone = alone();
    let Some(site) = Site::start(topology(), MODULES) else { return };
    let server = resolver(Isp::A, Family::V4);
    let asked = serve(&site, server, zone(Isp::A));
    // Nobody listens at the first: an ICMP error says so.
    let nobody = SocketAddr::new(target(Family::V4, 33), 53);
    let run = |resolvers: Vec<SocketAddr>| {
        let mut request = request(&site, "trace_icmp", "a", target(Family::V4, 10), server, Duration::from_secs(5));
        let bound = probe::Isp::clone(request.isp.as_ref().unwrap());
        request.isp = Some(Arc::new(probe::Isp { resolvers, ..bound }));
        site.run_all(vec![request]).remove(0)
    };
    let report = run(vec![nobody]);
    assert_eq!(router(&report, 2).name, None);
    assert!(phase(&report, Phase::Lookup).unwrap() < Duration::from_millis(100), "{:?}", report.phases);
    let report = run(vec![nobody, server]);
    assert_eq!(router(&report, 2).name.as_deref(), Some("two.a.example"), "{:#?}", report.log);
    assert!(!asked.take().is_empty());
}

#[test]
fn an_answer_that_comes_while_the_trace_goes_on_costs_no_time_and_a_late_one_what_is_missing() {
    let _alone = alone();
    let Some(site) = Site::start(topology(), MODULES) else { return };
    let server = resolver(Isp::A, Family::V4);
    let mut zone = zone(Isp::A);
    zone.is_late(&reverse_name(address(Isp::A, Family::V4, 2)), Duration::from_millis(400));
    serve(&site, server, zone);
    let request = request(&site, "trace_icmp", "a", target(Family::V4, 10), server, Duration::from_secs(5));
    let report = site.run_all(vec![request]).remove(0);
    assert_eq!(router(&report, 2).name.as_deref(), Some("two.a.example"), "{:#?}", report.log);
    // It was asked 2 ms after the beginning; 400 ms and a round trip of 7 ms later there was the answer.
    let waited = phase(&report, Phase::Lookup).unwrap();
    assert!(report.duration > Duration::from_millis(405) && waited < PATIENCE, "{:?} {waited:?}", report.duration);
    assert_adds_up(&report);
}

#[test]
fn a_probe_that_is_cancelled_leaves_no_question_behind() {
    let _alone = alone();
    let Some(site) = Site::start(topology(), MODULES) else { return };
    site.lab.change(|topology| {
        topology.faults.push(Fault { of: Matches { port: Some(53), ..Matches::default() }, action: Action::Drop });
    });
    let server = resolver(Isp::A, Family::V4);
    let request = || request(&site, "trace_icmp", "a", target(Family::V4, 10), server, Duration::from_secs(5));
    let tasks = || site.runtime.metrics().num_alive_tasks();
    // Its channels stay open.
    assert_eq!(site.run_all(vec![request()])[0].failure, None);
    until("the first has ended", || tasks() <= 1);
    let before = tasks();
    let mut other = request();
    // Other questions than those that nobody answered.
    other.target = target(Family::V6, 10).to_string();
    let cancelled = || {
        site.runtime.block_on(async {
            let probe = tokio::spawn(async move { probe::run(&other).await });
            while site.runtime.metrics().num_alive_tasks() < before + 10 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            probe.abort();
        });
    };
    site.lab.prober().run(cancelled).unwrap();
    // The channel of the other family has come.
    until("nothing of it is left", || tasks() <= before + 1);
}

/// Every address of the far end is one that nobody is asked about.
#[test]
fn the_targets_of_the_lab_are_for_documentation() {
    for family in FAMILIES {
        assert!(TARGETS.into_iter().all(|number| uplink_exporter::path::public(target(family, number)).is_none()));
    }
}
