//! What a trace says of a path is what the lab was told: where the delay begins, which loss is loss, which path it is.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::net::IpAddr;
use std::time::Duration;

use support::lab::{Site, alone};
use uplink_exporter::lab::{
    Action, Fault, Hop, Isp, Labels, Link, Matches, Path, RateLimit, Router, Topology, target as address,
};
use uplink_exporter::metrics::of_report;
use uplink_exporter::net::Family;
use uplink_exporter::path::LossClass::{self, Forwarding, None as Lossless, RateLimited, Unknown};
use uplink_exporter::path::Role;
use uplink_exporter::probe::{Measurement, Report, traceroute};
use uplink_exporter::wire::icmp::Label;

const MODULES: &str = "
  icmp: {prober: traceroute, traceroute: {protocol: icmp}}
  udp: {prober: traceroute, traceroute: {protocol: udp}}
  tcp: {prober: traceroute, traceroute: {protocol: tcp, port: 80}}
  icmp_from_4: {prober: traceroute, traceroute: {protocol: icmp, first_hop: 4}}
  udp_from_4: {prober: traceroute, traceroute: {protocol: udp, first_hop: 4}}
  tcp_from_4: {prober: traceroute, traceroute: {protocol: tcp, port: 80, first_hop: 4}}
  icmp_many: {prober: traceroute, traceroute: {protocol: icmp, count: 150, interval: 8ms}}
  udp_many: {prober: traceroute, traceroute: {protocol: udp, count: 150, interval: 8ms}}
  tcp_many: {prober: traceroute, traceroute: {protocol: tcp, port: 80, count: 150, interval: 8ms}}
  icmp_long: {prober: traceroute, traceroute: {protocol: icmp, count: 40, interval: 40ms}}
  udp_long: {prober: traceroute, traceroute: {protocol: udp, count: 40, interval: 40ms}}
  tcp_long: {prober: traceroute, traceroute: {protocol: tcp, port: 80, count: 40, interval: 40ms}}
";

const PROTOCOLS: [&str; 3] = ["icmp", "udp", "tcp"];
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A path through A whose links add so many milliseconds, the last the one to the target.
fn start(links: &[u64]) -> Option<Site> {
    start_with(links, "")
}

/// The same, with more in the configuration.
fn start_with(links: &[u64], more: &str) -> Option<Site> {
    let links: Vec<u64> = links.iter().map(|link| link * 1_000).collect();
    let (target, hops) = links.split_last().unwrap();
    let a = Path::straight(Isp::A, hops, *target);
    let b = Path::straight(Isp::B, &[1_000], 1_000);
    Site::start(Topology { seed: 3, a, b, faults: Vec::new() }, &format!("{MODULES}{more}"))
}

/// Every protocol in every family, by the name of its module.
fn all() -> impl Iterator<Item = (&'static str, Family)> {
    FAMILIES.into_iter().flat_map(|family| PROTOCOLS.map(|protocol| (protocol, family)))
}

fn run(site: &Site, module: &str, family: Family) -> Report {
    site.lab.clear_counts();
    site.run(module, "a", &address(family, 10).to_string(), Duration::from_secs(8))
}

fn trace(report: &Report) -> &traceroute::Measurement {
    match &report.measurement {
        Measurement::Traceroute(measured) => measured,
        other => panic!("{other:?}"),
    }
}

/// The router of a hop of A, from 1.
fn router(topology: &mut Topology, hop: usize) -> &mut Router {
    &mut topology.a.hops[hop - 1].routers[0]
}

fn silence(topology: &mut Topology, hops: [usize; 2], silent: bool) {
    for hop in hops {
        router(topology, hop).answers.silent = silent;
    }
}

/// The hop where the delay begins, the one before that tells how long the path takes, and the step in milliseconds.
fn onset(measured: &traceroute::Measurement) -> Option<(u8, Option<u8>, f64)> {
    let onset = measured.analysis.delay_onset?;
    let number = |index: usize| measured.hops[index].number;
    Some((number(onset.hop), onset.after.map(number), onset.step * 1e3))
}

/// Holds the onset of the delay against the truth.
#[track_caller]
fn assert_onset(site: &Site, report: &Report, hop: u8, after: u8, step: f64) {
    let measured = trace(report);
    let what = format!("{} {:#?} {:#?}", report.module, measured.hops, measured.analysis);
    let (found, before, found_step) = onset(measured).unwrap_or_else(|| panic!("nothing stands out: {what}"));
    assert_eq!((found, before), (hop, Some(after)), "{what}");
    let late = 1.0 + site.lab.lateness().as_secs_f64() * 1e3;
    assert!((found_step - step).abs() < late, "{found_step} ms instead of {step}: {what}");
}

fn classes(measured: &traceroute::Measurement) -> Vec<Option<LossClass>> {
    measured.analysis.loss.clone()
}

fn loss_onset(measured: &traceroute::Measurement) -> Option<u8> {
    measured.analysis.loss_onset.map(|index| measured.hops[index].number)
}

/// The values of a metric without labels in a report.
fn metric(report: &Report, name: &str) -> Option<f64> {
    of_report(report).iter().find(|family| family.name == name).map(|family| family.samples[0].value)
}

#[test]
fn the_delay_begins_where_the_lab_was_told_and_never_at_a_router_that_is_slow_to_answer() {
    let _alone = alone();
    let Some(site) = start(&[1, 1, 1, 1, 40, 1, 1, 1]) else { return };
    // Slow routers: hop and milliseconds; then the hop that is to be named, the one before it that tells, and the step.
    type Case = (&'static [(usize, u64)], u8, u8, f64);
    let cases: [Case; 6] = [
        (&[], 5, 4, 40.0),
        // Well before the step, and slower than all of the path.
        (&[(2, 90)], 5, 4, 40.0),
        // Just before the step, by more than the step, and by hardly more.
        (&[(4, 200)], 5, 3, 41.0),
        (&[(4, 50)], 5, 3, 41.0),
        // By less than a tenth of the step, which is still more than its times differ by.
        (&[(4, 44)], 5, 3, 41.0),
        // Before and behind it, and the router behind the step itself, so that the next one tells.
        (&[(1, 120), (3, 60), (5, 30), (7, 300)], 6, 4, 41.0),
    ];
    for (slow, hop, after, step) in cases {
        site.lab.change(|topology| {
            for hop in 1..=7 {
                let delay = slow.iter().find(|(slow, _)| *slow == hop).map_or(0, |(_, delay)| *delay);
                router(topology, hop).answers.delay = ms(delay);
            }
        });
        for (protocol, family) in all() {
            let report = run(&site, protocol, family);
            assert_onset(&site, &report, hop, after, step);
            let measured = trace(&report);
            let named = measured.hops[usize::from(hop) - 1].latest.unwrap().1;
            assert_eq!(named, Isp::A.router(hop).address(family));
            assert_eq!(measured.analysis.hop_of(Role::DelayOnset), Some(usize::from(hop) - 1));

            // Never negative, nothing for what is merely slow, adding up to the time to the destination.
            let segments = &measured.analysis.segments;
            assert!(segments.iter().all(|segment| segment.is_some_and(|segment| segment >= 0.0)), "{segments:?}");
            for (slow, _) in slow {
                assert_eq!(segments[slow - 1], Some(0.0), "{segments:?}");
            }
            let whole = measured.hops.last().unwrap().rtt.best().unwrap();
            assert!((segments.iter().flatten().sum::<f64>() - whole).abs() < 1e-6, "{segments:?}");

            assert_eq!(metric(&report, "probe_traceroute_delay_onset_hop"), Some(hop.into()));
            let told = metric(&report, "probe_traceroute_delay_onset_seconds").unwrap();
            assert_eq!(Some(told), measured.analysis.delay_onset.map(|onset| onset.step));
        }
    }
}

#[test]
fn a_router_that_is_slow_by_chance_is_hardly_ever_named() {
    let _alone = alone();
    let Some(site) = start(&[1, 1, 1, 1, 40, 1, 1, 1]) else { return };
    site.lab.change(|topology| router(topology, 4).answers.jitter = ms(80));
    for family in FAMILIES {
        let target = address(family, 10).to_string();
        let request = || site.request("icmp", "a", &target, Duration::from_secs(8));
        let reports: Vec<_> = (0..4).flat_map(|_| site.run_all(vec![request(); 5])).collect();
        let named = |hop: u8| {
            let named = |report: &&Report| onset(trace(report)).is_some_and(|(named, ..)| named == hop);
            reports.iter().filter(named).count()
        };
        // Now and then three answers are late by the same time.
        assert!(named(4) <= 2 && named(5) >= 16, "{} and {} of 20, {family:?}", named(4), named(5));
    }
}

#[test]
fn where_no_step_is_larger_than_the_others_none_is_named_and_no_slow_router_is() {
    let _alone = alone();
    let Some(site) = start(&[8, 8, 8, 8, 8, 8]) else { return };
    site.lab.change(|topology| router(topology, 3).answers.delay = ms(150));
    for (protocol, family) in all() {
        let report = run(&site, protocol, family);
        assert_eq!(onset(trace(&report)), None, "{protocol} {family:?} {:#?}", trace(&report).hops);
        assert_eq!(metric(&report, "probe_traceroute_delay_onset_hop"), None);
    }
}

#[test]
fn hops_that_are_not_asked_make_no_step_of_an_even_path_and_hide_none_behind_them() {
    let _alone = alone();
    let Some(site) = start(&[8, 8, 8, 8, 8, 8, 8, 8]) else { return };
    for (protocol, family) in all() {
        let report = run(&site, &format!("{protocol}_from_4"), family);
        assert_eq!(onset(trace(&report)), None, "{protocol} {family:?} {:#?}", trace(&report).hops);
    }
    site.lab.change(|topology| router(topology, 6).link.rtt = ms(26));
    for (protocol, family) in all() {
        assert_onset(&site, &run(&site, &format!("{protocol}_from_4"), family), 6, 5, 26.0);
    }
}

/// A stack of one label.
const STACK: &[Label] = &[Label { label: 24_003, traffic_class: 0, bottom: true, ttl: 1 }];

#[test]
fn routers_of_a_tunnel_that_answer_by_way_of_its_end_are_not_where_the_delay_begins() {
    let _alone = alone();
    let Some(site) = start(&[1, 1, 1, 1, 1, 36, 1, 1]) else { return };
    site.lab.change(|topology| {
        for (hop, late) in [(3, 38), (4, 37), (5, 36)] {
            router(topology, hop).labels = Some(Labels { stack: STACK, said: true });
            router(topology, hop).answers.delay = ms(late);
        }
    });
    for (protocol, family) in all() {
        assert_onset(&site, &run(&site, protocol, family), 6, 2, 39.0);
    }
}

#[test]
fn a_step_behind_silent_hops_is_told_with_the_last_that_answered_before_it() {
    let _alone = alone();
    let Some(site) = start(&[1, 1, 30, 1, 1, 1]) else { return };
    site.lab.change(|topology| silence(topology, [2, 3], true));
    for (protocol, family) in all() {
        let report = run(&site, protocol, family);
        assert_onset(&site, &report, 4, 1, 32.0);
        let segments = &trace(&report).analysis.segments;
        assert_eq!((segments[1], segments[2]), (None, None));
    }
}

#[test]
fn the_last_router_that_answered_is_not_named_where_nothing_behind_it_keeps_its_delay() {
    let _alone = alone();
    let Some(site) = start(&[6, 6, 6, 40, 6, 6, 6]) else { return };
    site.lab.change(|topology| {
        topology.faults = vec![Fault { of: Matches::default(), action: Action::Drop }];
        router(topology, 6).answers.delay = ms(300);
    });
    for (protocol, family) in all() {
        let report = run(&site, protocol, family);
        assert_onset(&site, &report, 4, 3, 40.0);
        let measured = trace(&report);
        assert_eq!((measured.reached, measured.hops.len()), (false, 6));
        assert_eq!(measured.analysis.segments.last(), Some(&None), "nobody confirms it");
        assert_eq!(measured.analysis.route_hash, None, "its end was not heard");
        // The step, too, is kept by slow ones only.
        site.lab.change(|topology| silence(topology, [4, 5], true));
        let report = run(&site, protocol, family);
        assert_eq!(onset(trace(&report)), None, "{:#?}", trace(&report).hops);
        site.lab.change(|topology| silence(topology, [4, 5], false));
    }
}

/// Runs a trace of many rounds by every protocol in every family, and holds the classes of its hops and the onset against the truth. Where
/// chance has it that a hop loses much more or much less than the others, it may be undecided, or, hardly ever, wrong.
fn assert_loss(site: &Site, expected: &[LossClass], begins: u8) {
    let (mut wrong, mut undecided) = (0, 0);
    let mut seen = String::new();
    for (protocol, family) in all() {
        let report = run(site, &format!("{protocol}_many"), family);
        let measured = trace(&report);
        assert!(measured.hops.iter().all(|hop| hop.received + hop.lost == hop.sent), "{:#?}", measured.hops);
        let found = &measured.analysis.loss;
        let lost: Vec<u32> = measured.hops.iter().map(|hop| hop.lost).collect();
        seen += &format!("{protocol} {family:?}: {lost:?} {found:?}\n");
        assert_eq!(found.len(), expected.len(), "{seen}");
        for (found, expected) in found.iter().zip(expected) {
            wrong += u32::from(*found != Some(*expected) && *found != Some(Unknown));
            undecided += u32::from(*found == Some(Unknown));
        }
        let onset = measured.analysis.loss_onset.map(|index| measured.hops[index].number);
        assert!(onset.is_some_and(|onset| onset >= begins), "{onset:?} {seen}");
        assert_eq!(metric(&report, "probe_traceroute_loss_onset_hop"), onset.map(f64::from));
        undecided += u32::from(onset != Some(begins));
    }
    assert!(wrong <= 1 && undecided <= 4, "{wrong} wrong, {undecided} undecided:\n{seen}");
}

#[test]
fn loss_on_the_way_is_told_from_answers_that_routers_do_not_give() {
    let Some(site) = start(&[1, 1, 1, 1, 1, 1, 1]) else { return };
    site.lab.change(|topology| {
        // The second answers one in five, the third all; on the way to the fourth packets are lost; the fifth never answers.
        router(topology, 2).answers.limit = Some(RateLimit { per_second: 25.0, burst: 1.0 });
        router(topology, 4).link.loss = 0.4;
        router(topology, 5).answers.silent = true;
    });
    assert_loss(&site, &[Lossless, RateLimited, Lossless, Forwarding, RateLimited, Forwarding, Forwarding], 4);
    let truth = site.lab.counts(Isp::A, address(Family::V6, 10));
    assert!(truth[3].lost > 100 && truth[1].unanswered > 80 && truth[1].lost == 0, "{truth:?}");
}

#[test]
fn a_router_that_limits_its_answers_right_before_a_lossy_link_is_not_where_the_loss_begins() {
    let Some(site) = start(&[1, 1, 1, 1, 1, 1]) else { return };
    site.lab.change(|topology| {
        router(topology, 3).answers.limit = Some(RateLimit { per_second: 12.0, burst: 1.0 });
        router(topology, 4).link.loss = 0.4;
    });
    assert_loss(&site, &[Lossless, Lossless, RateLimited, Forwarding, Forwarding, Forwarding], 4);
}

#[test]
fn loss_of_the_last_link_is_the_destinations() {
    let Some(site) = start(&[1, 1, 1, 1, 1]) else { return };
    site.lab.change(|topology| topology.a.target.loss = 0.3);
    for (protocol, family) in all() {
        let report = run(&site, &format!("{protocol}_many"), family);
        let measured = trace(&report);
        // What answers datagrams is "port unreachable", which hosts limit, too.
        let (last, onset) = if protocol == "udp" { (Unknown, None) } else { (Forwarding, Some(5)) };
        assert_eq!(
            classes(measured),
            [Lossless, Lossless, Lossless, Lossless, last].map(Some),
            "{protocol} {family:?}"
        );
        assert_eq!(loss_onset(measured), onset);
    }
}

#[test]
fn three_rounds_tell_what_they_can() {
    let Some(site) = start(&[1, 1, 1, 1, 1]) else { return };
    site.lab.change(|topology| {
        // One answer of three, and none.
        router(topology, 2).answers.limit = Some(RateLimit { per_second: 0.01, burst: 1.0 });
        router(topology, 3).answers.silent = true;
    });
    for (protocol, family) in all() {
        site.lab.change(|_| {}); // The router has its token back.
        let report = run(&site, protocol, family);
        let measured = trace(&report);
        let expected = [Lossless, RateLimited, RateLimited, Lossless, Lossless].map(Some);
        assert_eq!(classes(measured), expected, "{protocol} {family:?} {:#?}", measured.hops);
        assert_eq!(loss_onset(measured), None);
    }
    // The last router limits its answers, and the destination says nothing: nobody knows.
    site.lab.change(|topology| {
        topology.faults = vec![Fault { of: Matches::default(), action: Action::Drop }];
        (router(topology, 2).answers.limit, router(topology, 3).answers.silent) = (None, false);
        router(topology, 4).answers.limit = Some(RateLimit { per_second: 0.01, burst: 1.0 });
    });
    for (protocol, family) in all() {
        site.lab.change(|_| {});
        let report = run(&site, protocol, family);
        let measured = trace(&report);
        assert_eq!(classes(measured), [Lossless, Lossless, Lossless, Unknown].map(Some), "{:#?}", measured.hops);
        assert_eq!(loss_onset(measured), None);
    }
}

#[test]
fn a_trace_that_is_cut_short_has_not_lost_what_was_under_way() {
    let Some(site) = start(&[1, 1, 1, 60, 1]) else { return };
    for (protocol, family) in all() {
        site.lab.clear_counts();
        let target = address(family, 10).to_string();
        let report = site.run(&format!("{protocol}_many"), "a", &target, ms(500));
        let measured = trace(&report);
        let last = measured.hops.last().unwrap();
        assert!(last.sent > last.received + last.lost, "{protocol} {family:?} {:#?}", measured.hops);
        // A lab that comes late makes packets late.
        if site.lab.lateness() < ms(20) {
            assert_eq!(classes(measured), [Some(Lossless); 5], "{protocol} {family:?} {:#?}", measured.hops);
            assert_eq!(last.loss_ratio(), Some(0.0));
        }
    }
}

#[test]
fn a_hop_that_is_silent_in_all_rounds_is_asked_again_and_changes_nothing() {
    let Some(site) = start(&[1, 1, 1, 1, 1]) else { return };
    for (protocol, family) in all() {
        let hash = || trace(&run(&site, protocol, family)).analysis.route_hash;
        let whole = hash();
        assert!(whole.is_some());
        site.lab.change(|topology| router(topology, 3).answers.silent = true);
        let report = std::thread::scope(|scope| {
            scope.spawn(|| {
                let missed = || site.lab.counts(Isp::A, address(family, 10))[2].unanswered;
                support::until("it has said nothing in three rounds", || missed() >= 3);
                site.lab.change(|topology| router(topology, 3).answers.silent = false);
            });
            run(&site, protocol, family)
        });
        let measured = trace(&report);
        let silent = &measured.hops[2];
        assert_eq!((silent.sent, silent.received, silent.lost), (4, 1, 3), "{protocol} {family:?} {silent:#?}");
        assert_eq!(measured.analysis.route_hash, whole);
        assert!(report.duration < ms(900), "{:?}", report.duration);
        assert_eq!(hash(), whole);
    }
}

#[test]
fn what_answers_one_probe_late_is_no_answer_to_the_next() {
    let Some(site) = start(&[1, 1, 1, 1]) else { return };
    // Later than a trace waits, and early enough to come while the next one does, which is the same flow.
    site.lab.change(|topology| router(topology, 2).answers.delay = ms(900));
    for (protocol, family) in all() {
        for _ in 0..3 {
            let report = run(&site, protocol, family);
            let slow = &trace(&report).hops[1];
            let is_late = slow.rtt.best().is_none_or(|best| best >= 0.9);
            assert!(report.success() && is_late, "{protocol} {family:?} {slow:#?}");
        }
    }
}

/// How often neighbours differ, as `changes()` of Prometheus counts: what is absent is no change.
fn changes(values: &[Option<u64>]) -> usize {
    let values: Vec<u64> = values.iter().flatten().copied().collect();
    values.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[test]
fn a_path_that_changes_changes_its_number_once() {
    let Some(site) = start(&[1, 1, 1, 1, 1]) else { return };
    let original = site.lab.topology();
    let detour = |topology: &mut Topology| {
        let link = Link { rtt: ms(3), ..Link::default() };
        topology.a.hops[2] = Hop::of(vec![Router { link, ..Isp::A.router(33) }]);
    };
    for (protocol, family) in all() {
        let hash = || trace(&run(&site, protocol, family)).analysis.route_hash;
        // Between probes, to and fro.
        let mut seen = vec![hash(), hash()];
        site.lab.change(detour);
        seen.extend([hash(), hash()]);
        assert_eq!(changes(&seen), 1, "{protocol} {family:?} {seen:?}");
        site.lab.change(|topology| *topology = original.clone());
        seen.extend([hash(), hash()]);
        assert_eq!((changes(&seen), seen[5]), (2, seen[0]), "{protocol} {family:?} {seen:?}");

        // During one, which saw both, and tells the latter.
        let long = format!("{protocol}_long");
        let during = || {
            site.lab.clear_counts();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let arrived = || site.lab.counts(Isp::A, address(family, 10))[2].arrived;
                    support::until("a few rounds are over", || arrived() > 8);
                    site.lab.change(detour);
                });
                run(&site, &long, family)
            })
        };
        let mut seen = vec![hash()];
        let report = during();
        let both = &trace(&report).hops[2].routers;
        assert_eq!(both.len(), 2, "{both:?}");
        seen.extend([trace(&report).analysis.route_hash, hash()]);
        assert!(seen.iter().all(Option::is_some), "{seen:?}");
        assert_eq!(changes(&seen), 1, "{protocol} {family:?} {seen:?}");
        site.lab.change(|topology| *topology = original.clone());
    }
}

#[test]
fn a_path_that_grows_during_a_probe_changes_its_number_once() {
    let Some(site) = start(&[1, 1, 1, 1]) else { return };
    let original = site.lab.topology();
    for (protocol, family) in all() {
        let long = format!("{protocol}_long");
        let hash = || trace(&run(&site, protocol, family)).analysis.route_hash;
        let mut seen = vec![hash()];
        site.lab.clear_counts();
        let report = std::thread::scope(|scope| {
            scope.spawn(|| {
                let arrived = || site.lab.counts(Isp::A, address(family, 10))[2].arrived;
                support::until("a few rounds are over", || arrived() > 8);
                site.lab.change(|topology| {
                    let more = [7, 8].map(|number| Hop::of(vec![Isp::A.router(number)]));
                    topology.a.hops.splice(1..1, more);
                });
            });
            run(&site, &long, family)
        });
        assert!(report.success(), "{:?}", report.failure);
        // Where the path now ends was not heard any more.
        assert_eq!(trace(&report).analysis.route_hash, None);
        seen.extend([None, hash()]);
        assert_eq!((changes(&seen), trace(&report).hops.len()), (1, 4), "{protocol} {family:?} {seen:?}");
        site.lab.change(|topology| *topology = original.clone());
    }
}

#[test]
fn all_probes_of_a_module_go_the_same_way_where_routers_share_the_flows() {
    let Some(site) = start(&[1, 1, 1, 1]) else { return };
    site.lab.change(|topology| {
        for hop in [2, 3] {
            let link = router(topology, hop).link;
            let more = [1, 2, 3].map(|more| Router { link, ..Isp::A.router(10 * hop as u8 + more) });
            topology.a.hops[hop - 1].routers.extend(more);
        }
    });
    for (protocol, family) in all() {
        let mut seen: Vec<(Option<u64>, Vec<IpAddr>)> = Vec::new();
        for _ in 0..6 {
            let report = run(&site, protocol, family);
            let measured = trace(&report);
            let routers = measured.hops.iter().flat_map(|hop| &hop.routers).map(|router| router.address);
            seen.push((measured.analysis.route_hash, routers.collect()));
        }
        assert!(seen[0].0.is_some() && seen.iter().all(|one| *one == seen[0]), "{protocol} {family:?} {seen:#?}");
    }
    // Probes of other targets go other ways, and those that run at the same time do not mix.
    let requests = (10..26).map(|number| site.request("udp", "a", &address(Family::V4, number).to_string(), ms(5000)));
    let requests: Vec<_> = requests.collect();
    let reports = site.run_all(requests.iter().chain(&requests).cloned().collect());
    let mut ways: Vec<IpAddr> = reports.iter().map(|report| trace(report).hops[1].routers[0].address).collect();
    for report in &reports {
        assert!(report.success() && trace(report).hops.iter().all(|hop| hop.routers.len() == 1), "{report:#?}");
    }
    ways.sort_unstable();
    ways.dedup();
    assert_eq!(ways.len(), 4, "32 flows over four routers");
}

#[test]
fn roles_follow_their_hops() {
    let Some(site) = start(&[1, 1, 25, 1, 1]) else { return };
    site.lab.change(|topology| router(topology, 1).answers.silent = true);
    for (protocol, family) in all() {
        let report = run(&site, protocol, family);
        let families = of_report(&report);
        let of = |name: &str| -> Vec<(String, f64)> {
            let samples = families.iter().find(|family| family.name == name).map(|family| family.samples.clone());
            samples.unwrap_or_default().into_iter().map(|sample| (sample.labels[0].1.clone(), sample.value)).collect()
        };
        let hops = [("first", 2.0), ("delay_onset", 3.0), ("last", 5.0)].map(|(role, hop)| (role.to_owned(), hop));
        assert_eq!(of("probe_traceroute_role_hop"), hops, "{protocol} {family:?}");
        for ((_, rtt), expected) in of("probe_traceroute_role_rtt_best_seconds").iter().zip([0.002, 0.027, 0.029]) {
            let late = 0.001 + site.lab.lateness().as_secs_f64();
            assert!((rtt - expected).abs() < late, "{rtt} instead of {expected}");
        }
        let infos = families.iter().find(|family| family.name == "probe_traceroute_role_info").unwrap();
        let addresses: Vec<&str> = infos.samples.iter().map(|sample| sample.labels[1].1.as_str()).collect();
        let routers = [2, 3].map(|hop| Isp::A.router(hop).address(family).to_string());
        assert_eq!(addresses, [&routers[0], &routers[1], &address(family, 10).to_string()]);
    }
}

#[test]
fn the_number_of_the_systems_changes_with_them_and_not_with_their_routers() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("asn.txt");
    std::fs::write(
        &table,
        "100.64.1.0/30 64500\nfd00:a:1::/126 64500\n100.64.1.4/30 64501\nfd00:a:1::4/126 64501\n100.64.1.33/32 64501\nfd00:a:1::33/128 64501\n\
         100.64.1.44/32 64503\nfd00:a:1::44/128 64503\n198.51.100.0/24 64502\n2001:db8:100::/48 64502\n",
    )
    .unwrap();
    let more = format!("asn: {{table: {}}}\n", table.display());
    let Some(site) = start_with(&[1, 1, 1, 1, 1, 1, 1], &more) else { return };
    let original = site.lab.topology();
    for (protocol, family) in all() {
        let hashes = || {
            let report = run(&site, protocol, family);
            let analysis = &trace(&report).analysis;
            assert_eq!(metric(&report, "probe_traceroute_as_path_hash"), analysis.as_path_hash.map(|hash| hash as f64));
            (analysis.route_hash.unwrap(), analysis.as_path_hash.unwrap())
        };
        let before = hashes();
        // One of three routers says nothing.
        site.lab.change(|topology| router(topology, 2).answers.silent = true);
        let silent = hashes();
        assert!(silent.0 != before.0 && silent.1 == before.1, "{before:?} {silent:?}");
        // Another router of the same system, and one of another.
        for (number, same) in [(33, true), (44, false)] {
            site.lab.change(|topology| {
                *topology = original.clone();
                let link = router(topology, 5).link;
                topology.a.hops[4] = Hop::of(vec![Router { link, ..Isp::A.router(number) }]);
            });
            let other = hashes();
            assert!(other.0 != before.0 && (other.1 == before.1) == same, "{before:?} {other:?}");
        }
        site.lab.change(|topology| *topology = original.clone());
        assert_eq!(hashes(), before);
    }
}
