//! What is more than an ISP's limits allow is refused at once, and blamed on nobody.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use support::lab::Site;
use support::pcap::Capture;
use support::{Answer, Exporter, ask, until, value};
use uplink_exporter::lab::{Action, Fault, Isp, Matches, Path, TARGETS, Topology, target};
use uplink_exporter::net::Family;

const MODULES: &str = "modules:
  ping: {prober: icmp, timeout: 3s}
  trace: {prober: traceroute, traceroute: {max_hops: 20, interval: 50ms}}
  flows: {prober: traceroute, traceroute: {max_hops: 20, count: 1, flows: auto, interval: 50ms}}
  failing: {prober: tcp, timeout: 2s, tcp: {on_failure: trace}}
";

const SECOND: Duration = Duration::from_secs(1);

/// Twenty hops, the target included.
fn start(isps: &str) -> Option<(Site, Exporter)> {
    let path = |isp| Path::straight(isp, &[500; 19], 1_000);
    let topology = Topology { seed: 7, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() };
    let site = Site::start(topology, "  icmp: {prober: icmp}\n")?;
    let configuration = format!("isps:\n{isps}\n{MODULES}");
    let exporter = Exporter::start_by(&configuration, |command| site.lab.prober().spawn(command).unwrap());
    within(&site, || exporter.wait());
    Some((site, exporter))
}

/// Does something where the exporter is.
fn within<T: Send>(site: &Site, run: impl FnOnce() -> T + Send) -> T {
    site.lab.prober().run(run).unwrap()
}

fn probe(address: SocketAddr, module: &str, isp: &str, target: impl std::fmt::Display) -> Answer {
    ask(address, "GET", &format!("/probe?module={module}&isp={isp}&target={target}"), "").unwrap()
}

fn metric(address: SocketAddr, series: &str) -> Option<f64> {
    value(&ask(address, "GET", "/metrics", "").unwrap().body, series)
}

#[test]
fn no_more_probes_run_through_an_isp_than_may() {
    let isps = "  a: {source_ip: 10.1.0.2, max_probes: 3}\n  b: {source_ip: 10.2.0.2}";
    let Some((site, exporter)) = start(isps) else { return };
    let (there, address) = (target(Family::V4, 10), exporter.address);
    let of = Matches { isp: Some(Isp::A), ..Matches::default() };
    site.lab.change(|topology| topology.faults = vec![Fault { of, action: Action::Drop }]);
    within(&site, || {
        thread::scope(|scope| {
            let running: Vec<_> =
                (0..3).map(|_| scope.spawn(|| within(&site, || probe(address, "ping", "a", there)))).collect();
            until("they run", || metric(address, "uplink_exporter_probes_in_flight") == Some(3.0));
            let refused = probe(address, "ping", "a", there);
            assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{}", refused.body);
            assert!(refused.body.starts_with("3 probes run through the ISP \"a\", which are its max_probes"));
            let beside = probe(address, "ping", "b", there);
            assert_eq!((beside.status, value(&beside.body, "probe_success")), (200, Some(1.0)), "{}", beside.body);
            for one in running {
                let Answer { status, body, .. } = one.join().unwrap();
                assert_eq!((status, value(&body, "probe_success")), (200, Some(0.0)), "{body}");
            }
        });
        assert_eq!(probe(address, "ping", "a", there).status, 200, "there is room again");
        let refused = "uplink_exporter_probes_refused_total{isp=\"a\",limit=\"max_probes\"}";
        assert_eq!(metric(address, refused), Some(1.0));
    });
}

/// So many traces at once, each to one of the targets; the statuses of their answers, each of which is good where it is one.
fn traces(site: &Site, address: SocketAddr, isp: &str, count: u8) -> Vec<u16> {
    let targets = (0..count).map(|number| target(Family::V4, *TARGETS.start() + number % TARGETS.len() as u8));
    thread::scope(|scope| {
        let running: Vec<_> =
            targets.map(|there| scope.spawn(move || within(site, || probe(address, "trace", isp, there)))).collect();
        let answers = running.into_iter().map(|one| one.join().unwrap());
        let good = answers.inspect(|Answer { status, body, .. }| {
            let success = value(body, "probe_success");
            assert!(matches!((status, success), (200, Some(1.0)) | (503, None)), "{status} {body}");
        });
        good.map(|answer| answer.status).collect()
    })
}

#[test]
fn a_hundred_traces_at_once_stay_inside_the_packets_of_their_isp() {
    let isps =
        "  a: {source_ip: 10.1.0.2, packets_per_second: 1000}\n  b: {source_ip: 10.2.0.2, packets_per_second: 6000}";
    let Some((site, exporter)) = start(isps) else { return };
    let address = exporter.address;
    // 20 hops in 3 rounds are 60 packets.
    let statuses = traces(&site, address, "b", 100);
    assert_eq!(statuses, [200; 100]);

    let statuses = traces(&site, address, "a", 100);
    let run = statuses.iter().filter(|status| **status == 200).count();
    // All ask within a second, so that no more than two seconds' packets are granted.
    assert!((16..=33).contains(&run), "{run} of {statuses:?}");
    let packets = site.lab.observed().iter().filter(|packet| packet.isp == Isp::A).count();
    assert_eq!(packets, run * 60, "of those that were refused, nothing was sent");
    let refused = "uplink_exporter_probes_refused_total{isp=\"a\",limit=\"packets_per_second\"}";
    assert_eq!(within(&site, || metric(address, refused)), Some((100 - run) as f64));
}

#[test]
fn the_packets_of_a_hundred_traces_through_an_isp_leave_at_one_pace() {
    let Some((site, exporter)) = start("  a: {source_ip: 10.1.0.2}\n  b: {source_ip: 10.2.0.2}") else { return };
    let folder = tempfile::tempdir().unwrap();
    let capture = Capture::start("ispa", folder.path(), |command| site.lab.prober().spawn(command).unwrap());
    let begun = Instant::now();
    assert_eq!(traces(&site, exporter.address, "a", 100), [200; 100]);
    let took = begun.elapsed();
    let source: IpAddr = [10, 1, 0, 2].into();
    let sent: Vec<Duration> =
        capture.stop().iter().filter(|packet| packet.source == source).map(|packet| packet.at).collect();
    assert_eq!(sent.len(), 6_000);
    // 2,400, what is left of each trace's last turn, and what half a second at a standstill would delay.
    let within_a_second = |from: Duration| sent.iter().filter(|at| (from..from + SECOND).contains(*at)).count();
    let most = sent.iter().copied().map(within_a_second).max();
    assert!(most < Some(2_400 + 3 * 100 + 1_200), "{most:?} within a second");
    assert!(took < 5 * SECOND, "{took:?}");

    let (alone, begun) = (target(Family::V4, 10), Instant::now());
    within(&site, || probe(exporter.address, "trace", "a", alone));
    let took = begun.elapsed();
    assert!(took < SECOND, "nobody is waited for by a trace alone, which took {took:?}");
}

#[test]
fn flows_are_traced_as_long_as_there_are_packets_and_no_probe_waits_for_them() {
    let Some((site, exporter)) = start("  a: {source_ip: 10.1.0.2, packets_per_second: 200}") else { return };
    let of = Matches { protocol: Some(libc::IPPROTO_TCP as u8), ..Matches::default() };
    site.lab.change(|topology| topology.faults = vec![Fault { of, action: Action::Drop }]);
    let there = format!("{}:80", target(Family::V4, 10));
    let ask = || probe(exporter.address, "failing", "a", &there);
    let bodies: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = (0..20).map(|_| scope.spawn(|| within(&site, ask))).collect();
        let answers = running.into_iter().map(|one| one.join().unwrap());
        answers.inspect(|answer| assert_eq!(answer.status, 200)).map(|answer| answer.body).collect()
    });
    let ends = |end: &str| {
        let label = format!("end=\"{end}\"");
        bodies.iter().filter(|body| body.lines().any(|line| line.contains(&label))).count()
    };
    // 90 packets are granted to each, and they all end within a moment.
    assert_eq!(ends("not_traced") + ends("silent"), 20, "{}", bodies[0]);
    assert!((1..=4).contains(&ends("silent")), "{}", ends("silent"));
}

#[test]
fn what_is_sent_that_nobody_knew_of_before_counts_afterwards() {
    let isps =
        "  a: {source_ip: 10.1.0.2, packets_per_second: 100}\n  b: {source_ip: 10.2.0.2, packets_per_second: 100}";
    let Some((site, exporter)) = start(isps) else { return };
    let there = target(Family::V4, 10);
    let of = Matches { protocol: Some(libc::IPPROTO_TCP as u8), ..Matches::default() };
    site.lab.change(|topology| topology.faults = vec![Fault { of, action: Action::Drop }]);
    let address = exporter.address;
    within(&site, || {
        // As many flows as it takes, of which only the first was known of; and the trace of a connection that failed.
        for (isp, module, target) in [("a", "flows", there.to_string()), ("b", "failing", format!("{there}:80"))] {
            assert_eq!(probe(address, module, isp, target).status, 200);
            let answer = probe(address, "trace", isp, there);
            assert_eq!(answer.status, 503, "{}", answer.body);
            let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            thread::sleep(Duration::from_secs(after));
            assert_eq!(probe(address, "trace", isp, there).status, 200, "{isp}: after {after} s there is room");
        }
    });
}

#[test]
fn a_comparison_that_one_isp_has_no_room_for_takes_nothing_of_the_others() {
    let isps =
        "  a: {source_ip: 10.1.0.2, packets_per_second: 100}\n  b: {source_ip: 10.2.0.2, packets_per_second: 60}";
    let Some((site, exporter)) = start(isps) else { return };
    let (there, address) = (target(Family::V4, 10), exporter.address);
    within(&site, || {
        // All that B has; A has enough for one more, as often as it is asked.
        assert_eq!(probe(address, "trace", "b", there).status, 200);
        for _ in 0..5 {
            let refused = probe(address, "trace", "a,b", there);
            assert_eq!(refused.status, 503, "{}", refused.body);
            assert!(refused.body.contains("through the ISP \"b\""), "{}", refused.body);
        }
        assert_eq!(probe(address, "trace", "a", there).status, 200);
    });
    assert_eq!(site.lab.observed().iter().filter(|packet| packet.isp == Isp::A).count(), 60);
}
