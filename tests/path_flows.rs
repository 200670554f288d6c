//! What several flows say of a path is what the lab was told: how wide its hops are, which paths there are, and who shares what.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use support::lab::{Site, alone};
use support::pcap::{Capture, Packet};
use uplink_exporter::lab::{Isp, Path, RateLimit, Router, Topology, target as address};
use uplink_exporter::metrics::of_report;
use uplink_exporter::net::Family;
use uplink_exporter::path::{Balance, Balancing};
use uplink_exporter::probe::{Measurement, Report, traceroute};

const MODULES: &str = "
  icmp_one: {prober: traceroute, traceroute: {protocol: icmp}}
  udp_one: {prober: traceroute, traceroute: {protocol: udp}}
  tcp_one: {prober: traceroute, traceroute: {protocol: tcp, port: 80}}
  icmp_few: {prober: traceroute, traceroute: {protocol: icmp, flows: 8}}
  udp_few: {prober: traceroute, traceroute: {protocol: udp, flows: 8}}
  tcp_few: {prober: traceroute, traceroute: {protocol: tcp, port: 80, flows: 8}}
  icmp_many: {prober: traceroute, traceroute: {protocol: icmp, flows: 64}}
  udp_many: {prober: traceroute, traceroute: {protocol: udp, flows: 64}}
  tcp_many: {prober: traceroute, traceroute: {protocol: tcp, port: 80, flows: 64}}
  icmp_long: {prober: traceroute, traceroute: {protocol: icmp, flows: 8, count: 20}}
  udp_long: {prober: traceroute, traceroute: {protocol: udp, flows: 8, count: 20}}
  tcp_long: {prober: traceroute, traceroute: {protocol: tcp, port: 80, flows: 8, count: 20}}
  icmp_auto: {prober: traceroute, traceroute: {protocol: icmp, flows: auto}}
  udp_auto: {prober: traceroute, traceroute: {protocol: udp, flows: auto}}
  tcp_auto: {prober: traceroute, traceroute: {protocol: tcp, port: 80, flows: auto}}
";

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A path of six routers through A, 2 ms each.
fn start() -> Option<Site> {
    let a = Path::straight(Isp::A, &[2_000; 6], 2_000);
    let b = Path::straight(Isp::B, &[1_000], 1_000);
    Site::start(Topology { seed: 3, a, b, faults: Vec::new() }, MODULES)
}

/// Every protocol in every family.
fn all() -> impl Iterator<Item = (&'static str, Family)> {
    [Family::V4, Family::V6].into_iter().flat_map(|family| ["icmp", "udp", "tcp"].map(|protocol| (protocol, family)))
}

fn run(site: &Site, module: &str, family: Family) -> Report {
    site.lab.clear_counts();
    let report = site.run(module, "a", &address(family, 10).to_string(), Duration::from_secs(8));
    assert!(report.success(), "{:?}", report.failure);
    report
}

fn trace(report: &Report) -> &traceroute::Measurement {
    match &report.measurement {
        Measurement::Traceroute(measured) => measured,
        other => panic!("{other:?}"),
    }
}

fn balance(report: &Report) -> &Balance {
    trace(report).balance.as_ref().unwrap()
}

fn widths(report: &Report) -> Vec<usize> {
    balance(report).widths.iter().map(|(_, width)| *width).collect()
}

/// Which flows there are depends on which identifiers are free, and so by chance: hardly ever, but now and then, a few of them all miss a router. Of
/// what was seen in all protocols and families, one may be not as it is to be.
#[track_caller]
fn assert_mostly(wrong: &[String]) {
    assert!(wrong.len() <= 1, "{wrong:#?}");
}

/// Has a hop of A, from 1, share flows between so many routers: n, 10 n + 1, 10 n + 2, …
fn widen(topology: &mut Topology, hop: u8, width: u8) {
    let routers = &mut topology.a.hops[usize::from(hop) - 1].routers;
    let link = routers[0].link;
    routers.truncate(1);
    routers.extend((1..width).map(|more| Router { link, ..Isp::A.router(20 * hop + more) }));
}

/// The values of a metric in a report, each with the value of its only label.
fn metric(report: &Report, name: &str) -> Vec<(String, f64)> {
    let families = of_report(report);
    let samples = families.into_iter().find(|family| family.name == name).map(|family| family.samples);
    let label =
        |labels: &[(_, String)]| labels.first().map(|(_, value): &(_, String)| value.clone()).unwrap_or_default();
    samples.unwrap_or_default().into_iter().map(|sample| (label(&sample.labels), sample.value)).collect()
}

/// What routers choose a path by, in a packet.
type Identity = (u32, Vec<u8>);

/// The flows of a capture, by what routers look at: the hop limits of their packets.
fn flows(packets: &[Packet], family: Family) -> BTreeMap<Identity, Vec<u8>> {
    let mut flows: BTreeMap<Identity, Vec<u8>> = BTreeMap::new();
    for packet in packets.iter().filter(|packet| packet.destination == address(family, 10)) {
        // What the kernel or we reset is no packet of the trace.
        if packet.protocol != 6 || packet.flags() == "S" {
            let identity = (packet.label, packet.transport[..4].to_vec());
            flows.entry(identity).or_default().push(packet.ttl);
        }
    }
    flows
}

#[test]
fn on_the_wire_a_trace_is_one_flow_or_as_many_as_it_was_told_and_the_same_each_time() {
    let Some(site) = start() else { return };
    for (protocol, family) in all() {
        let mut seen: Vec<BTreeSet<Identity>> = Vec::new();
        for (module, count) in [("one", 1), ("few", 8), ("one", 1), ("few", 8)] {
            let capture =
                Capture::start("ispa", site.folder.path(), |command| site.lab.prober().spawn(command).unwrap());
            let report = run(&site, &format!("{protocol}_{module}"), family);
            let flows = flows(&capture.stop(), family);
            assert_eq!(flows.len(), count, "{protocol} {family:?} {module} {flows:?}");
            for hops in flows.values() {
                // Ports, and of echo requests the checksum, are the same in all packets to all hops.
                let of_path: Vec<usize> =
                    (1..=7).map(|hop| hops.iter().filter(|limit| **limit == hop).count()).collect();
                assert_eq!(of_path, [3; 7], "{protocol} {family:?} {hops:?}");
            }
            assert_eq!(metric(&report, "probe_traceroute_flows"), [(String::new(), count as f64)]);
            assert_eq!(trace(&report).balance.is_some(), count > 1);
            seen.push(flows.into_keys().collect());
        }
        // Each probe of a module has the same.
        assert_eq!((&seen[0], &seen[1]), (&seen[2], &seen[3]), "{protocol} {family:?}");
    }
}

#[test]
fn auto_finds_every_router_of_a_hop() {
    let Some(site) = start() else { return };
    // Which flows there are depends on which identifiers are free, and so by chance: one in 20 may miss a router.
    let mut missed = Vec::new();
    for width in [1, 2, 3, 16] {
        site.lab.change(|topology| widen(topology, 3, width));
        for (protocol, family) in all() {
            let report = run(&site, &format!("{protocol}_auto"), family);
            let told = balance(&report);
            let what = format!("{protocol} {family:?} {told:#?}");
            let (width, found) = (usize::from(width), widths(&report)[2]);
            assert_eq!(widths(&report), [1, 1, found, 1, 1, 1, 1], "{what}");
            assert_eq!(told.paths.len(), found, "{what}");
            let kind = if found > 1 { Balancing::PerFlow } else { Balancing::None };
            assert_eq!(told.balancing(), [kind], "{what}");
            assert_eq!(metric(&report, "probe_traceroute_paths"), [(String::new(), found as f64)]);
            assert_eq!(metric(&report, "probe_traceroute_balancing_info"), [(kind.name().to_owned(), 1.0)]);
            let sufficient = f64::from(u8::from(told.sufficient));
            assert_eq!(metric(&report, "probe_traceroute_flows_sufficient"), [(String::new(), sufficient)]);
            assert_eq!(metric(&report, "probe_traceroute_hop_width")[2], ("03".to_owned(), found as f64));
            // What is said of hops is of one flow.
            let hops = &trace(&report).hops;
            assert!(hops.iter().all(|hop| (hop.sent, hop.received, hop.routers.len()) == (3, 3, 1)), "{hops:#?}");
            let mut met: BTreeSet<IpAddr> = hops[2].routers.iter().map(|router| router.address).collect();
            met.extend(hops[2].others.iter().map(|router| router.address));
            let topology = site.lab.topology();
            let truth: BTreeSet<_> = topology.a.hops[2].routers.iter().map(|router| router.address(family)).collect();
            assert!(met.len() == found && met.is_subset(&truth), "{met:?}");
            if (found, told.sufficient) != (width, true) {
                missed.push(format!("{found} of {width}, sufficient: {}, {what}", told.sufficient));
            }
        }
    }
    assert!(missed.len() <= 3, "{missed:#?}");
}

#[test]
fn diamonds_within_diamonds_have_as_many_paths_as_there_are_ways_through_them() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| {
        widen(topology, 3, 2);
        widen(topology, 4, 3);
    });
    let mut wrong = Vec::new();
    for (protocol, family) in all() {
        for module in ["auto", "many"] {
            let report = run(&site, &format!("{protocol}_{module}"), family);
            let told = balance(&report);
            if (widths(&report).as_slice(), told.paths.len()) != (&[1, 1, 2, 3, 1, 1, 1], 6) || told.per_flow != [3, 4]
            {
                wrong.push(format!("{protocol} {family:?} {module} {told:#?}"));
            }
        }
    }
    assert_mostly(&wrong);
}

#[test]
fn a_router_that_gets_a_quarter_is_found_and_a_branch_that_says_nothing_makes_no_path() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| {
        widen(topology, 3, 2);
        topology.a.hops[2].routers[0].weight = 3;
    });
    for (protocol, family) in all() {
        let report = run(&site, &format!("{protocol}_many"), family);
        assert_eq!(widths(&report)[2], 2, "{protocol} {family:?}");
        let of_second = balance(&report).paths.iter().map(|path| path.flows.len()).min().unwrap();
        assert!((4..32).contains(&of_second), "{of_second} of 64");
    }
    site.lab.change(|topology| {
        topology.a.hops[2].routers[0].weight = 1;
        topology.a.hops[2].routers[1].answers.silent = true;
    });
    let mut wrong = Vec::new();
    for (protocol, family) in all() {
        for module in ["many", "auto"] {
            let report = run(&site, &format!("{protocol}_{module}"), family);
            let told = balance(&report);
            assert_eq!(told.paths.len(), 1, "{protocol} {family:?} {told:#?}");
            assert!(report.duration < ms(3_000), "{:?}", report.duration);
            if widths(&report) != [1; 7] {
                wrong.push(format!("{protocol} {family:?} {module} {told:#?}"));
            }
        }
    }
    assert_mostly(&wrong);
}

#[test]
fn a_router_that_limits_its_answers_makes_no_other_path_and_is_not_asked_for_ever() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| {
        widen(topology, 4, 2);
        topology.a.hops[2].routers[0].answers.limit = Some(RateLimit { per_second: 1.0, burst: 6.0 });
    });
    for (protocol, family) in all() {
        site.lab.change(|_| {}); // The router has its tokens back.
        let report = run(&site, &format!("{protocol}_auto"), family);
        let told = balance(&report);
        assert_eq!((widths(&report)[3], told.paths.len()), (2, 2), "{protocol} {family:?} {told:#?}");
        assert_eq!(told.balancing(), [Balancing::PerFlow]);
        // Which routers are behind it, and whether it is one, so few answers do not tell.
        assert!(!told.sufficient && told.flows < 100, "{told:#?}");
        assert_eq!(metric(&report, "probe_traceroute_flows_sufficient"), [(String::new(), 0.0)]);
        assert!(report.duration < ms(5_000), "{:?}", report.duration);
    }
}

#[test]
fn packets_that_are_shared_are_told_beside_flows_that_are() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| {
        widen(topology, 3, 2);
        widen(topology, 5, 2);
        topology.a.hops[4].per_packet = true;
    });
    let mut wrong = Vec::new();
    for (protocol, family) in all() {
        for module in ["few", "auto"] {
            let report = run(&site, &format!("{protocol}_{module}"), family);
            let told = balance(&report);
            assert!(report.duration < ms(3_000), "{:?}", report.duration);
            let kinds = ["per_flow", "per_packet"].map(|kind| (kind.to_owned(), 1.0));
            let is_right = (told.per_flow.as_slice(), told.per_packet.as_slice()) == (&[3], &[5])
                && (widths(&report).as_slice(), told.paths.len()) == (&[1, 1, 2, 1, 2, 1, 1], 2)
                && metric(&report, "probe_traceroute_balancing_info") == kinds;
            if !is_right {
                wrong.push(format!("{protocol} {family:?} {module} {told:#?}"));
            }
        }
    }
    assert_mostly(&wrong);
}

#[test]
fn a_path_that_changes_meanwhile_shares_nothing() {
    let Some(site) = start() else { return };
    let original = site.lab.topology();
    for (protocol, family) in all() {
        site.lab.clear_counts();
        let report = std::thread::scope(|scope| {
            scope.spawn(|| {
                let arrived = || site.lab.counts(Isp::A, address(family, 10))[2].arrived;
                support::until("a few rounds are over", || arrived() > 40);
                site.lab.change(|topology| {
                    let link = topology.a.hops[2].routers[0].link;
                    topology.a.hops[2].routers[0] = Router { link, ..Isp::A.router(33) };
                });
            });
            run(&site, &format!("{protocol}_long"), family)
        });
        let told = balance(&report);
        assert_eq!(trace(&report).hops[2].routers.len(), 2, "it has changed while it was traced");
        assert_eq!((&told.per_flow, &told.per_packet), (&vec![], &vec![]), "{protocol} {family:?} {told:#?}");
        let [path] = &told.paths[..] else { panic!("{told:#?}") };
        assert_eq!(path.routers[2], Some(Isp::A.router(33).address(family)), "{told:#?}");
        site.lab.change(|topology| *topology = original.clone());
    }
}

#[test]
fn flows_have_the_same_paths_in_every_probe_also_while_others_trace_neighbouring_targets() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| {
        widen(topology, 2, 3);
        widen(topology, 5, 4);
    });
    let paths = |report: &Report| {
        assert!(report.success(), "{:?}", report.failure);
        balance(report).paths.clone()
    };
    for (protocol, family) in all() {
        let module = format!("{protocol}_many");
        let request = |number| site.request(&module, "a", &address(family, number).to_string(), ms(5_000));
        let alone: Vec<_> = (10..16).map(|number| paths(&site.run_all(vec![request(number)])[0])).collect();
        for _ in 0..2 {
            let together = site.run_all((10..16).map(request).collect());
            for (report, alone) in together.iter().zip(&alone) {
                assert_eq!(&paths(report), alone, "{protocol} {family:?} {}", report.target);
            }
        }
    }
}

#[test]
fn many_flows_take_hardly_longer_than_one() {
    let _alone = alone();
    let Some(site) = start() else { return };
    for (protocol, family) in all() {
        let one = run(&site, &format!("{protocol}_one"), family).duration;
        let few = run(&site, &format!("{protocol}_few"), family);
        let many = run(&site, &format!("{protocol}_many"), family);
        // Eight flows of seven hops are 14 ms of packets in a round, 64 of them 112 ms; and what a busy machine adds, which may lose some.
        assert!(few.duration < one + ms(1_000), "{protocol} {family:?}: {:?} instead of {one:?}", few.duration);
        assert!(many.duration < one + ms(2_000), "{protocol} {family:?}: {:?} instead of {one:?}", many.duration);
    }
}
