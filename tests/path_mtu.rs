//! The largest packet that a path carries is what the lab was told, whoever tells it or keeps silent; so is who makes TCP's segments smaller.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use support::lab::{Site, alone};
use support::program;
use uplink_exporter::flight::Phase;
use uplink_exporter::lab::{
    Action, Answers, Clamp, Fault, Hop, Isp, Link, Matches, Mtu, Path, RateLimit, Router, Topology, target as address,
};
use uplink_exporter::metrics::of_report;
use uplink_exporter::net::Family;
use uplink_exporter::path::There;
use uplink_exporter::probe::{Measurement, Report, Request, traceroute};

/// Of six rounds a lossy path hardly loses all: what reaches no destination looks for no MTU.
const MODULES: &str = "
  icmp: {prober: traceroute, traceroute: {protocol: icmp, pmtu: true, count: 6, interval: 20ms}}
  udp: {prober: traceroute, traceroute: {protocol: udp, pmtu: true, count: 6, interval: 20ms}}
  tcp: {prober: traceroute, traceroute: {protocol: tcp, port: 80, pmtu: true, count: 6, interval: 20ms}}
  tcp_closed: {prober: traceroute, traceroute: {protocol: tcp, port: 9, pmtu: true, count: 6, interval: 20ms}}
  tcp_flows: {prober: traceroute, traceroute: {protocol: tcp, port: 80, pmtu: true, count: 2, interval: 20ms, flows: 12}}
  icmp_flows: {prober: traceroute, traceroute: {protocol: icmp, pmtu: true, count: 2, interval: 20ms, flows: 12}}
  tcp_plain: {prober: traceroute, traceroute: {protocol: tcp, port: 80, count: 2, interval: 20ms}}
  half_open: {prober: tcp, tcp: {half_open: true, raw: true}}
";

const PROTOCOLS: [&str; 4] = ["icmp", "udp", "tcp", "tcp_closed"];
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const BINDINGS: [&str; 4] = ["a_address", "a_interface", "a_mark", "a"];

/// Five routers, and the target behind them.
const HOPS: u8 = 5;

fn start() -> Option<Site> {
    let path = |isp| Path::straight(isp, &[500, 500, 1_000, 1_000, 1_000], 1_000);
    Site::start(Topology { seed: 7, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() }, MODULES)
}

fn router(topology: &mut Topology, hop: u8) -> &mut Router {
    &mut topology.a.hops[usize::from(hop) - 1].routers[0]
}

/// Makes the links behind hops of A narrow, and all others wide.
fn narrow(site: &Site, links: &[(u8, Mtu)]) {
    site.lab.change(|topology| {
        for hop in 1..=HOPS {
            router(topology, hop).mtu = links.iter().find(|(narrow, _)| *narrow == hop).map(|(_, mtu)| *mtu);
        }
    });
}

fn request(site: &Site, module: &str, isp: &str, family: Family, seconds: u64) -> Request {
    site.request(module, isp, &address(family, 10).to_string(), Duration::from_secs(seconds))
}

/// Every protocol in every family at the same time, each bound in some way.
fn run_all(site: &Site) -> Vec<(Family, Report)> {
    let all: Vec<_> = FAMILIES.into_iter().flat_map(|family| PROTOCOLS.map(|protocol| (family, protocol))).collect();
    let requests = all.iter().zip(0..).map(|((family, protocol), number)| {
        // The second family begins elsewhere, so that each protocol is bound in two ways.
        request(site, protocol, BINDINGS[(number + number / 4) % 4], *family, 15)
    });
    let reports = site.run_all(requests.collect());
    all.into_iter().map(|(family, _)| family).zip(reports).collect()
}

fn run(site: &Site, module: &str, family: Family) -> Report {
    site.run_all(vec![request(site, module, "a", family, 15)]).remove(0)
}

#[track_caller]
fn trace(report: &Report) -> &traceroute::Measurement {
    match &report.measurement {
        Measurement::Traceroute(measured) => measured,
        other => panic!("{other:?}"),
    }
}

/// The value of a metric without labels in a report.
fn metric(report: &Report, name: &str) -> Option<f64> {
    of_report(report).iter().find(|family| family.name == name).map(|family| family.samples[0].value)
}

/// What a probe is to find: bytes, whether larger ones vanish, behind which hop they end, and the next.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Expected(u16, Option<bool>, Option<u8>, Option<u8>);

#[track_caller]
fn assert_found(family: Family, report: &Report, expected: Expected) {
    let measured = trace(report);
    let what = format!("{} {family:?}: {:?}\n{:#?}", report.module, measured.mtu, report.log);
    assert_eq!(report.failure, None, "{what}");
    let Some(mtu) = measured.mtu else { panic!("nothing was found: {what}") };
    let Expected(bytes, black_hole, hop, next_hop) = expected;
    assert_eq!((mtu.found.bytes, mtu.found.black_hole), (bytes, black_hole), "{what}");
    assert_eq!((mtu.hop, mtu.next_hop), (hop, next_hop), "{what}");
    let said_by = hop.filter(|_| black_hole == Some(false)).map(|hop| Isp::A.router(hop).address(family));
    assert_eq!(mtu.said_by, said_by, "{what}");

    assert_eq!(metric(report, "probe_path_mtu_bytes"), Some(bytes.into()), "{what}");
    assert_eq!(metric(report, "probe_path_mtu_black_hole"), black_hole.map(|hole| f64::from(u8::from(hole))));
    assert_eq!(metric(report, "probe_path_mtu_hop"), hop.map(f64::from));
    assert_adds_up(report);
}

#[track_caller]
fn assert_adds_up(report: &Report) {
    let sum = report.phases.iter().map(|(_, span)| *span).sum::<Duration>() + report.overhead;
    assert!(sum.abs_diff(report.duration) < Duration::from_millis(1), "{:?} {:?}", report.phases, report.overhead);
    assert!(report.phases.iter().any(|(phase, _)| *phase == Phase::Mtu), "{:?}", report.phases);
}

#[test]
fn the_largest_packet_is_what_the_narrowest_link_takes_and_who_keeps_silent_is_a_black_hole() {
    let _alone = alone();
    let Some(site) = start() else { return };
    let cases: [(&[(u8, Mtu)], Expected); 9] = [
        (&[], Expected(1500, None, None, None)),
        (&[(2, Mtu::told(1400))], Expected(1400, Some(false), Some(2), Some(3))),
        (&[(3, Mtu::untold(1400))], Expected(1400, Some(true), Some(3), Some(4))),
        (&[(2, Mtu::told(1450)), (4, Mtu::told(1380))], Expected(1380, Some(false), Some(4), Some(5))),
        (&[(2, Mtu::told(1450)), (4, Mtu::untold(1380))], Expected(1380, Some(true), Some(4), Some(5))),
        (&[(2, Mtu::untold(1450)), (4, Mtu::told(1380))], Expected(1380, Some(false), Some(4), Some(5))),
        // The last link, the first, and one byte less than all.
        (&[(5, Mtu::untold(1300))], Expected(1300, Some(true), Some(5), Some(6))),
        (&[(1, Mtu::untold(1499))], Expected(1499, Some(true), Some(1), Some(2))),
        (&[(1, Mtu::told(1280))], Expected(1280, Some(false), Some(1), Some(2))),
    ];
    for (links, expected) in cases {
        narrow(&site, links);
        for (family, report) in run_all(&site) {
            assert_found(family, &report, expected);
            assert_eq!(trace(&report).mtu.unwrap().device, 1500);
            let silent = expected.1 == Some(true);
            assert!(
                report.duration < Duration::from_millis(if silent { 5_000 } else { 1_500 }),
                "{:?}",
                report.duration
            );
        }
    }
}

#[test]
fn a_link_far_below_the_least_that_ipv6_allows_is_found_over_ipv4() {
    let Some(site) = start() else { return };
    for (link, hole) in [(Mtu::told(296), false), (Mtu::untold(576), true)] {
        narrow(&site, &[(3, link)]);
        for protocol in PROTOCOLS {
            let expected = Expected(link.bytes, Some(hole), Some(3), Some(4));
            assert_found(Family::V4, &run(&site, protocol, Family::V4), expected);
        }
    }
}

#[test]
fn a_router_that_says_nothing_or_what_is_not_so_does_not_decide() {
    let Some(site) = start() else { return };
    for says in [0, 20, 1279, 1300, 1399, 1401, 1500, 9000] {
        narrow(&site, &[(2, Mtu { bytes: 1400, told: Some(says) })]);
        for (family, report) in run_all(&site) {
            assert_found(family, &report, Expected(1400, Some(false), Some(2), Some(3)));
        }
    }
}

#[test]
fn loss_by_chance_makes_no_black_hole_and_hides_none() {
    let _alone = alone();
    let Some(site) = start() else { return };
    site.lab.change(|topology| router(topology, 2).link.loss = 0.1);
    let cases: [(&[(u8, Mtu)], Expected); 3] = [
        (&[], Expected(1500, None, None, None)),
        (&[(4, Mtu::told(1400))], Expected(1400, Some(false), Some(4), Some(5))),
        (&[(4, Mtu::untold(1400))], Expected(1400, Some(true), Some(4), Some(5))),
    ];
    for (links, expected) in cases {
        narrow(&site, links);
        for (_, report) in run_all(&site) {
            // By chance a hop may not have answered, but the size is right.
            let mtu = trace(&report).mtu.unwrap_or_else(|| panic!("{} {:#?}", report.module, report.log));
            let Expected(bytes, black_hole, ..) = expected;
            assert_eq!((mtu.found.bytes, mtu.found.black_hole), (bytes, black_hole), "{:#?}", report.log);
        }
    }
}

#[test]
fn a_server_that_still_holds_a_flow_half_open_answers_its_next_trace() {
    let Some(site) = start() else { return };
    let requests = || FAMILIES.map(|family| request(&site, "tcp", "a", family, 15)).into();
    // Where no reset arrives, every other SYN finds the one before it: with one packet more, it is the last that stays.
    for links in [&[][..], &[(4, Mtu::told(1400))]] {
        narrow(&site, links);
        for action in [Action::DropReset, Action::Delay(Duration::ZERO)] {
            site.lab.change(|topology| topology.faults = vec![Fault { of: Matches::default(), action }]);
            for report in site.run_all(requests()) {
                assert_eq!(report.failure, None, "{} {action:?} {:#?}", report.target, report.log);
            }
        }
    }
}

#[test]
fn a_router_that_limits_what_it_says_makes_no_black_hole() {
    let Some(site) = start() else { return };
    narrow(&site, &[(4, Mtu::told(1400))]);
    // As routers do: a message every half a second, and not even that to the trace before.
    let limit = Some(RateLimit { per_second: 2.0, burst: 1.0 });
    for protocol in PROTOCOLS {
        for family in FAMILIES {
            site.lab.change(|topology| router(topology, 4).answers = Answers { limit, ..Answers::default() });
            let report = run(&site, protocol, family);
            assert_found(family, &report, Expected(1400, Some(false), Some(4), Some(5)));
        }
    }
}

#[test]
fn silent_routers_are_passed_over_and_the_hop_is_the_last_that_is_known() {
    let Some(site) = start() else { return };
    let silence = |hops: &[u8]| {
        site.lab.change(|topology| {
            for hop in 1..=HOPS {
                router(topology, hop).answers = Answers { silent: hops.contains(&hop), ..Answers::default() };
            }
        });
    };
    narrow(&site, &[(3, Mtu::untold(1400))]);
    silence(&[2, 4]);
    for (family, report) in run_all(&site) {
        assert_found(family, &report, Expected(1400, Some(true), Some(3), Some(5)));
    }
    silence(&[3]);
    for (family, report) in run_all(&site) {
        assert_found(family, &report, Expected(1400, Some(true), Some(2), Some(4)));
    }
    // Not to the first that answers, which is not the first.
    silence(&[1, 2, 3]);
    for (family, report) in run_all(&site) {
        assert_found(family, &report, Expected(1400, Some(true), None, None));
    }
}

#[test]
fn our_own_device_sets_the_end_and_a_jumbo_one_finds_what_is_smaller() {
    let _alone = alone();
    let Some(site) = start() else { return };
    site.lab.device_mtu(Isp::A, 9000, 9000).unwrap();
    let cases: [(&[(u8, Mtu)], Expected); 4] = [
        (&[], Expected(9000, None, None, None)),
        (&[(1, Mtu::told(1500))], Expected(1500, Some(false), Some(1), Some(2))),
        (&[(1, Mtu::untold(1500))], Expected(1500, Some(true), Some(1), Some(2))),
        (&[(2, Mtu::told(4000)), (3, Mtu::told(1480))], Expected(1480, Some(false), Some(3), Some(4))),
    ];
    for (links, expected) in cases {
        narrow(&site, links);
        for (family, report) in run_all(&site) {
            assert_found(family, &report, expected);
            let offered = if family == Family::V4 { 8960 } else { 8940 };
            assert!(trace(&report).offered_mss.is_none_or(|mss| mss == offered));
        }
    }
    narrow(&site, &[]);
    site.lab.device_mtu(Isp::A, 1300, 1500).unwrap();
    for (family, report) in run_all(&site) {
        assert_found(family, &report, Expected(1300, None, None, None));
        assert_eq!(trace(&report).mtu.unwrap().device, 1300);
    }
}

#[test]
fn a_destination_that_does_not_answer_such_packets_has_no_figure_and_the_trace_is_none_the_worse() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| {
        topology.faults = vec![Fault { of: Matches::default(), action: Action::DropLarger(110) }];
    });
    for (family, report) in run_all(&site) {
        let measured = trace(&report);
        assert_eq!((&report.failure, measured.reached, measured.mtu), (&None, true, None), "{family:?}");
        assert!(measured.hops.iter().all(|hop| hop.received == measured.rounds), "{:?}", measured.hops);
        for name in ["probe_path_mtu_bytes", "probe_path_mtu_black_hole", "probe_path_mtu_hop"] {
            assert_eq!(metric(&report, name), None);
        }
        let said =
            report.log.iter().any(|line| line.text.contains("does not answer all") && line.text.contains("128 bytes"));
        assert!(said, "{:#?}", report.log);
        assert_adds_up(&report);
    }
}

#[test]
fn the_time_of_the_probe_ends_a_search() {
    let Some(site) = start() else { return };
    narrow(&site, &[(3, Mtu::untold(1400))]);
    for family in FAMILIES {
        let report = site.run_all(vec![request(&site, "icmp", "a", family, 1)]).remove(0);
        let measured = trace(&report);
        assert_eq!((&report.failure, measured.reached, measured.mtu), (&None, true, None));
        assert!(report.log.iter().any(|line| line.text.contains("the time is over")), "{:#?}", report.log);
        assert!(report.duration < Duration::from_secs(1));
        assert_adds_up(&report);
    }
}

#[test]
fn a_destination_that_limits_its_answers_makes_no_black_hole() {
    let Some(site) = start() else { return };
    // What Linux has: one "port unreachable" per second, after six at once.
    let limits = [("ipv4/icmp_ratelimit", "1000"), ("ipv6/icmp/ratelimit", "1000")];
    let set = || limits.map(|(name, value)| std::fs::write(format!("/proc/sys/net/{name}"), value).unwrap());
    site.lab.far().run(set).unwrap();
    let cases: [(&[(u8, Mtu)], Expected); 3] = [
        (&[], Expected(1500, None, None, None)),
        (&[(2, Mtu::told(1400))], Expected(1400, Some(false), Some(2), Some(3))),
        (&[(2, Mtu::untold(1400))], Expected(1400, Some(true), Some(2), Some(3))),
    ];
    for (links, expected) in cases {
        narrow(&site, links);
        let reports = site.run_all(FAMILIES.map(|family| request(&site, "udp", "a", family, 12)).into());
        for (family, report) in FAMILIES.into_iter().zip(reports) {
            // A black hole takes more answers than there are in that time: it may not be found, but nothing else is.
            if expected.1 != Some(true) || trace(&report).mtu.is_some() {
                assert_found(family, &report, expected);
            }
        }
        // Nothing shows when the six are there again but the seconds that pass.
        std::thread::sleep(Duration::from_secs(6));
    }
}

#[test]
fn large_packets_go_the_way_of_the_trace() {
    let Some(site) = start() else { return };
    // Each of eight routers of a hop has another link behind it; a flow meets one of them.
    site.lab.change(|topology| {
        let link = Link { rtt: Duration::from_micros(500), ..Link::default() };
        let routers = (0..8).map(|number| {
            let mtu = Some(Mtu::told(1300 + 10 * u16::from(number)));
            Router { link, mtu, ..Isp::A.router(30 + number) }
        });
        topology.a.hops[1] = Hop { routers: routers.collect(), ..topology.a.hops[1].clone() };
    });
    let of_flows = FAMILIES.into_iter().flat_map(|family| {
        ["tcp_flows", "icmp_flows"].map(|module| {
            let report = run(&site, module, family);
            assert!(trace(&report).flows == 12 && !trace(&report).hops[1].others.is_empty());
            (family, report)
        })
    });
    for (family, report) in run_all(&site).into_iter().chain(of_flows) {
        let measured = trace(&report);
        let [one] = &measured.hops[1].routers[..] else { panic!("a trace is one flow: {:?}", measured.hops[1]) };
        let number = (30..38).find(|number| Isp::A.router(*number).address(family) == one.address).unwrap();
        let mtu = measured.mtu.unwrap();
        let (bytes, said_by) = (1300 + 10 * u16::from(number - 30), Some(one.address));
        assert_eq!((mtu.found.bytes, mtu.said_by, mtu.hop), (bytes, said_by, Some(2)), "{:#?}", report.log);
    }
}

#[test]
fn behind_snat_it_is_the_same() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| {
        topology.a.snat4 = Some("203.0.113.5".parse().unwrap());
        topology.a.snat6 = Some("2001:db8:5::5".parse().unwrap());
    });
    for link in [Mtu::told(1400), Mtu::untold(1400)] {
        narrow(&site, &[(3, link)]);
        for (family, report) in run_all(&site) {
            assert_found(family, &report, Expected(1400, Some(link.told.is_none()), Some(3), Some(4)));
        }
    }
}

/// What the kernel says of the way to a target through A.
fn route(site: &Site, family: Family) -> String {
    let mut command = Command::new("ip");
    let (to, from) = (address(family, 10).to_string(), Isp::A.source(family).to_string());
    command.args(["route", "get", &to, "from", &from]).stdout(Stdio::piped());
    let output = site.lab.prober().spawn(&mut command).unwrap().wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_the_kernel_knows_of_the_path_does_not_decide_and_it_learns_nothing_that_it_need_not() {
    let Some(site) = start().filter(|_| program("ip").is_some()) else { return };
    narrow(&site, &[(2, Mtu::told(1400))]);
    for family in FAMILIES {
        // ICMP over IPv6 last: of that the kernel always learns.
        for protocol in ["udp", "tcp", "tcp_closed", "icmp"] {
            assert!(!route(&site, family).contains("mtu"), "before {protocol}: {}", route(&site, family));
            let report = run(&site, protocol, family);
            assert_found(family, &report, Expected(1400, Some(false), Some(2), Some(3)));
        }
        assert_eq!(route(&site, family).contains("mtu 1400"), family == Family::V6, "{}", route(&site, family));
    }
    // What it has learned, or was told, is not asked.
    narrow(&site, &[]);
    for family in FAMILIES {
        let (version, prefix) = if family == Family::V4 { ("-4", 32) } else { ("-6", 128) };
        let to = format!("{}/{prefix}", address(family, 10));
        site.ip(&format!("{version} route add {to} dev ispa table 101 mtu 1290"));
        assert!(route(&site, family).contains("mtu 1290"), "{}", route(&site, family));
        for protocol in PROTOCOLS {
            assert_found(family, &run(&site, protocol, family), Expected(1500, None, None, None));
        }
    }
}

/// What is known of the segments of a trace: whether they are clamped on the way there and back, and the two figures.
type Segments = (Option<There>, Option<bool>, Option<u16>, Option<bool>);

fn segments(report: &Report) -> Segments {
    let measured = trace(report);
    let figure = metric(report, "probe_tcp_mss_clamped").map(|clamped| clamped > 0.5);
    assert_eq!(metric(report, "probe_tcp_mss_bytes"), measured.mss.map(f64::from));
    (measured.clamp.there, measured.clamp.back, measured.mss, figure)
}

#[test]
fn who_makes_segments_smaller_is_found_by_quotes_and_by_what_fits() {
    let Some(site) = start() else { return };
    let clamp = |hop: u8, there: Option<u16>, back: Option<u16>| {
        site.lab.change(|topology| {
            for other in 1..=HOPS {
                router(topology, other).clamp = if other == hop { Clamp { there, back } } else { Clamp::default() };
            }
        });
    };
    for (family, headers) in [(Family::V4, 40), (Family::V6, 60)] {
        let tcp = |module| segments(&run(&site, module, family));
        let (whole, small) = (1500 - headers, 1400 - headers);
        let reduced = |after, at| Some(There::Reduced { after: Some(after), at, to: small });

        // Nobody.
        narrow(&site, &[]);
        clamp(0, None, None);
        for module in ["tcp", "tcp_plain"] {
            assert_eq!(tcp(module), (Some(There::Kept), None, Some(whole), Some(false)), "{module} {family:?}");
        }
        assert_eq!(tcp("tcp_closed"), (Some(There::Kept), None, None, Some(false)), "{family:?}");
        for link in [Mtu::told(1400), Mtu::untold(1400)] {
            narrow(&site, &[(3, link)]);
            assert_eq!(tcp("tcp"), (Some(There::Kept), Some(false), Some(whole), Some(false)), "{family:?}");
        }

        // On the way there, on the way back, both; behind a small link that is told, or that is not.
        for link in [Mtu::told(1400), Mtu::untold(1400)] {
            narrow(&site, &[(3, link)]);
            clamp(3, Some(small), None);
            assert_eq!(tcp("tcp"), (reduced(3, 4), Some(false), Some(whole), Some(true)), "{family:?}");
            clamp(3, None, Some(small));
            assert_eq!(tcp("tcp"), (Some(There::Kept), Some(true), Some(small), Some(true)), "{family:?}");
            clamp(3, Some(small), Some(small));
            assert_eq!(tcp("tcp"), (reduced(3, 4), Some(true), Some(small), Some(true)), "{family:?}");
        }
        assert_eq!(tcp("tcp_plain"), (reduced(3, 4), None, Some(small), Some(true)), "quotes alone, {family:?}");
        let report = run(&site, "half_open", family);
        assert_eq!(metric(&report, "probe_tcp_mss_bytes"), None, "no port: {:?}", report.failure);
        let target = support::lab::host(family, 10) + ":80";
        let report = site.run("half_open", "a", &target, Duration::from_secs(3));
        assert_eq!(metric(&report, "probe_tcp_mss_bytes"), Some(small.into()), "{:?}", report.failure);
        assert_eq!(metric(&report, "probe_tcp_mss_clamped"), None);

        // The destination's own link is small, and so is what it offers: nobody need have done that.
        clamp(0, None, None);
        narrow(&site, &[(HOPS, Mtu::told(1400))]);
        site.lab.device_mtu(Isp::A, 1500, 1400).unwrap();
        assert_eq!(tcp("tcp"), (Some(There::Kept), None, Some(small), Some(false)), "{family:?}");
        // And the last router tells nothing: nothing shows either.
        site.lab.change(|topology| router(topology, HOPS).answers.silent = true);
        assert_eq!(tcp("tcp"), (None, None, Some(small), None), "{family:?}");
        site.lab.change(|topology| router(topology, HOPS).answers.silent = false);
        site.lab.device_mtu(Isp::A, 1500, 1500).unwrap();
    }
}

#[test]
fn tracepath_agrees() {
    let (Some(site), Some(tracepath)) = (start(), program("tracepath")) else { return };
    for link in [None, Some(Mtu::told(1400))] {
        narrow(&site, &link.map(|link| (2, link)).into_iter().collect::<Vec<_>>());
        for family in FAMILIES {
            let mut command = Command::new(&tracepath);
            command.args(["-n", "-m", "10", &address(family, 10).to_string()]).stdout(Stdio::piped());
            let output = site.lab.prober().spawn(&mut command).unwrap().wait_with_output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let (_, resume) = said.rsplit_once("Resume: pmtu ").unwrap_or_else(|| panic!("{said}"));
            let theirs: u16 = resume.split_whitespace().next().unwrap().parse().unwrap();
            let report = run(&site, "udp", family);
            assert_eq!(trace(&report).mtu.unwrap().found.bytes, theirs, "{said}");
            assert_eq!(theirs, link.map_or(1500, |link| link.bytes));
        }
    }
}

#[test]
fn on_loopback_it_is_all_that_a_packet_can_have() {
    let Some(site) = start() else { return };
    for target in ["127.0.0.1", "::1"] {
        for protocol in PROTOCOLS {
            let report = site.run(protocol, "", target, Duration::from_secs(5));
            let mtu = trace(&report).mtu.unwrap_or_else(|| panic!("{protocol} {target}: {:#?}", report.log));
            assert_eq!((mtu.found.bytes, mtu.found.black_hole), (u16::MAX, None), "{protocol} {target}");
        }
    }
}
