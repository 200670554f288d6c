//! The flow that failed is the flow that is traced: where it ends is what the lab was told, whichever of several paths its ports led it along.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::http3::serve_http3;
use support::lab::{Site, host};
use support::pcap::{Capture, Packet};
use uplink_exporter::lab::{Action, Fault, Isp, Matches, Observation, Path, Router, Topology, target as address};
use uplink_exporter::metrics::of_report;
use uplink_exporter::net::Family;
use uplink_exporter::probe::{self, Cause, End, FailedFlow, Measurement, Report};
use uplink_exporter::verdict::Reason;

const MODULES: &str = "
  tcp: {prober: tcp, tcp: {on_failure: trace}}
  tls: {prober: tcp, tcp: {tls: true, tls_config: {ca_file: CA}, on_failure: trace}}
  half_open: {prober: tcp, tcp: {half_open: true, on_failure: trace}}
  half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true, on_failure: trace}}
  http: {prober: http, http: {tls_config: {ca_file: CA}, on_failure: trace}}
  http3: {prober: http, http: {tls_config: {ca_file: CA}, enable_http3: true, enable_http2: false, on_failure: trace}}
  proxied: {prober: http, http: {proxy_url: 'http://198.51.100.11:3128', on_failure: trace}}
  slow_tcp: {prober: tcp, tcp: {on_failure: trace, trace_after: {connect: 5ms}}}
  slow_half_open: {prober: tcp, tcp: {half_open: true, on_failure: trace, trace_after: {connect: 5ms}}}
  slow_half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true, on_failure: trace, trace_after: {connect: 5ms}}}
  slow_http: {prober: http, http: {on_failure: trace, trace_after: {connect: 5ms}, tls_config: {ca_file: CA}}}
  patient_http: {prober: http, http: {on_failure: trace, trace_after: {connect: 5s, processing: 5s}}}
  untraced_tcp: {prober: tcp}
  untraced_http: {prober: http, http: {tls_config: {ca_file: CA}}}
";

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Time for a probe, and so much of it for a trace.
const TIMEOUT: Duration = Duration::from_millis(2_500);
const RESERVE: Duration = Duration::from_millis(500);

/// A path of six routers through A, and of four through B, 2 ms each; the target is behind them.
fn start() -> Option<Site> {
    let a = Path::straight(Isp::A, &[2_000; 6], 2_000);
    let b = Path::straight(Isp::B, &[2_000; 4], 2_000);
    Site::start(Topology { seed: 3, a, b, faults: Vec::new() }, MODULES)
}

/// Has hop 3 of A be two routers, of which the second one forwards nothing, and hop 4 two others.
fn branch(topology: &mut Topology) {
    for (hop, drops) in [(3, true), (4, false)] {
        let routers = &mut topology.a.hops[hop - 1].routers;
        let link = routers[0].link;
        routers.push(Router { link, drops, ..Isp::A.router(30 + hop as u8) });
    }
}

/// Has a router of an ISP forward nothing.
fn cut(topology: &mut Topology, isp: Isp, hop: usize) {
    topology.path_mut(isp).hops[hop - 1].routers[0].drops = true;
}

fn fault(site: &Site, number: u8, action: Action) {
    let of = |family| Matches { destination: Some(address(family, number)), ..Matches::default() };
    site.lab.change(|topology| topology.faults.extend(FAMILIES.map(|family| Fault { of: of(family), action })));
}

/// The target of a module.
fn target(module: &str, family: Family, number: u8) -> String {
    let host = host(family, number);
    match module {
        "tls" => format!("{host}:443"),
        "slow_http" | "http3" => format!("https://{host}/"),
        http if http.contains("http") || http == "proxied" => format!("http://{host}/"),
        _ => format!("{host}:80"),
    }
}

fn flow(report: &Report) -> &FailedFlow {
    report.failed_flow.as_ref().unwrap_or_else(|| panic!("{:?} {:#?}", report.failure, report.log))
}

/// The number of the last hop that answered, and who it was.
fn last(report: &Report) -> (u8, IpAddr) {
    let hop = flow(report).last_hop().unwrap_or_else(|| panic!("{:#?}", report.log));
    (hop.number, hop.latest_router().unwrap().address)
}

fn ports(flow: &FailedFlow) -> (u16, u16) {
    (flow.local.port(), flow.remote.port())
}

/// The value of a metric without labels.
fn number(report: &Report, name: &str) -> Option<f64> {
    of_report(report).into_iter().find(|family| family.name == name).map(|family| family.samples[0].value)
}

/// The labels of an info.
fn labels(report: &Report, name: &str) -> Option<Vec<String>> {
    let family = of_report(report).into_iter().find(|family| family.name == name)?;
    Some(family.samples[0].labels.iter().map(|(_, value)| value.clone()).collect())
}

/// The packets of TCP and UDP that the host sent.
fn sent(site: &Site) -> Vec<Observation> {
    site.lab.observed().into_iter().filter(|packet| packet.ports.is_some()).collect()
}

/// Whether a packet was sent to end at a router.
fn is_of_trace(packet: &Observation) -> bool {
    packet.ttl <= 30
}

/// The connections at the far end that a server waits for the last step of (`SYN_RECV`), and those that are there (`ESTABLISHED`).
fn connections(site: &Site) -> (usize, usize) {
    let tables = ["tcp", "tcp6"].map(|name| format!("/proc/thread-self/net/{name}"));
    let read = || tables.map(|table| std::fs::read_to_string(table).unwrap()).concat();
    let text = site.lab.far().run(read).unwrap();
    let state = |state: &str| text.lines().filter(|line| line.split_whitespace().nth(3) == Some(state)).count();
    (state("03"), state("01"))
}

/// How many connections the far end has had (`PassiveOpens`).
fn accepted(site: &Site) -> u64 {
    let text = site.lab.far().run(|| std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()).unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:")).map(|line| line.split(' '));
    let (mut names, mut values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.position(|name| name == "PassiveOpens").unwrap();
    values.nth(at).unwrap().parse().unwrap()
}

#[test]
fn of_two_branches_the_one_that_drops_is_named_every_time() {
    let Some(site) = start() else { return };
    site.lab.change(branch);
    for family in FAMILIES {
        let dropping = Isp::A.router(33).address(family);
        for module in ["tcp", "half_open", "half_open_raw", "http"] {
            site.lab.clear_observed();
            let request = || site.request(module, "a", &target(module, family, 10), TIMEOUT);
            let reports = site.run_all((0..20).map(|_| request()).collect());
            let failed: Vec<_> = reports.iter().filter(|report| !report.success()).collect();
            // Ports are the kernel's: the branches share them by chance.
            assert!((2..19).contains(&failed.len()), "{module} {family:?}: {} of 20 failed", failed.len());
            for report in &reports {
                assert_eq!(report.failed_flow.is_some(), !report.success(), "{:#?}", report.log);
            }
            let sent = sent(&site);
            for report in failed {
                let flow = flow(report);
                let what = format!("{module} {family:?} {:#?} {flow:#?}", report.log);
                let reason = report.failure.as_ref().unwrap().reason;
                assert_eq!((reason, flow.cause), (Reason::ConnectionTimeout, Cause::Failure), "{what}");
                assert_eq!(
                    (&flow.end, last(report), flow.first_silent_hop()),
                    (&End::Silent, (3, dropping), Some(4)),
                    "{what}"
                );
                // The same flow: the routers of its packets are those of the connection's.
                let of_flow: Vec<_> = sent.iter().filter(|packet| packet.ports == Some(ports(flow))).collect();
                let paths: BTreeSet<_> = of_flow.iter().map(|packet| site.lab.routers(packet).unwrap()).collect();
                assert_eq!(paths.len(), 1, "{what}");
                assert!(paths.iter().all(|path| path[2] == dropping), "{what}");
                let (of_trace, of_probe): (Vec<_>, Vec<_>) =
                    of_flow.into_iter().partition(|packet| is_of_trace(packet));
                assert!(of_trace.len() >= 60 && of_probe.len() >= 2, "{of_trace:?} {of_probe:?}");
                assert!(
                    of_trace
                        .iter()
                        .all(|packet: &&Observation| packet.source == flow.local.ip() && packet.isp == Isp::A),
                    "{what}"
                );
                assert_eq!(number(report, "probe_failed_flow_reached"), Some(0.0));
                assert_eq!(number(report, "probe_failed_flow_last_hop"), Some(3.0));
                let who = labels(report, "probe_failed_flow_last_hop_info").unwrap();
                assert_eq!(who[0], dropping.to_string());
                assert_eq!(labels(report, "probe_failed_flow_info").unwrap(), ["failure", "silent"]);
            }
        }
    }
}

#[test]
fn a_flow_of_which_little_gets_through_is_lost_where_the_lab_loses_it() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| topology.a.hops[4].routers[0].link.loss = 0.93);
    for family in FAMILIES {
        let request = || site.request("tcp", "a", &target("tcp", family, 10), Duration::from_secs(4));
        let reports = site.run_all((0..20).map(|_| request()).collect());
        let (mut lossy, mut right, mut reached) = (0, 0, 0);
        for report in reports.iter().filter(|report| !report.success()) {
            let what = format!("{family:?} {:#?} {:#?}", report.log, flow(report));
            let last = flow(report).last_hop().map(|hop| hop.number);
            // The path has seven hops, however many the SYN was given that got through.
            assert!(last.is_none_or(|last| last <= 7), "{what}");
            reached += u32::from(flow(report).end == End::Reached);
            if let End::Lossy(_) = flow(report).end {
                let before = Isp::A.router(4).address(family);
                lossy += 1;
                right += u32::from(self::last(report) == (4, before));
                assert_eq!(number(report, "probe_failed_flow_reached"), Some(1.0), "{what}");
                assert_eq!(labels(report, "probe_failed_flow_info").unwrap(), ["failure", "lossy"], "{what}");
            }
        }
        assert!(lossy >= 5 && right * 4 >= lossy * 3, "{right} of {lossy} name the hop before the loss");
        assert!(reached * 10 <= lossy, "{reached} beside {lossy} say nothing of the loss");
    }
}

/// Has connections stand still whose handshake is over, and a part of what goes to the fifth hop, or further, be lost from then on: the server still has
/// them when their flows are traced. Returns the reports of such probes.
fn lose_once_connected(site: &Site, family: Family, loss: f64) -> Vec<Report> {
    const PROBES: usize = 20;
    site.lab.change(|topology| topology.a.hops[4].routers[0].link.loss = 0.0);
    let request = || site.request("tls", "a", &target("tls", family, 13), Duration::from_secs(3));
    let requests = (0..PROBES).map(|_| request()).collect();
    let before = accepted(site);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            support::until("all connections are there", || accepted(site) - before == PROBES as u64);
            site.lab.change(|topology| topology.a.hops[4].routers[0].link.loss = loss);
        });
        site.run_all(requests)
    })
}

#[test]
fn loss_that_begins_after_the_handshake_is_named_though_the_server_still_has_the_connection() {
    let Some(site) = start() else { return };
    fault(&site, 13, Action::Stall);
    let (mut right, mut beyond, mut seen) = (0, 0, String::new());
    for family in FAMILIES {
        for report in lose_once_connected(&site, family, 0.85) {
            let flow = flow(&report);
            let last = flow.last_hop().map(|hop| hop.number);
            let counts: Vec<_> = flow.trace.hops.iter().map(|hop| (hop.received, hop.lost)).collect();
            seen += &format!("{family:?} {:?} {last:?} {counts:?}\n", flow.end);
            assert_eq!(report.failure.as_ref().unwrap().reason, Reason::TlsTimeout, "{seen}");
            right += u32::from(matches!(flow.end, End::Lossy(_)) && last == Some(4));
            beyond += u32::from(flow.end == End::Silent && last > Some(4));
        }
    }
    // 78 of 80 were right; were nine of ten, less than 25 of 40 would be right in one of a million runs. Nobody is heard of the server, which is sent
    // 72 SYNs, in one of 100,000 traces.
    assert!(right >= 25 && beyond <= 2, "{right} name the hop before the loss, {beyond} another:\n{seen}");
}

#[test]
fn loss_that_makes_a_connect_slow_is_named_where_routers_lose_as_well() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| topology.a.hops[4].routers[0].link.loss = 0.7);
    let (mut right, mut silent, mut seen) = (0, 0, String::new());
    for family in FAMILIES {
        let request = || site.request("slow_tcp", "a", &target("slow_tcp", family, 10), Duration::from_secs(9));
        let reports = site.run_all((0..20).map(|_| request()).collect());
        for report in reports.iter().filter(|report| report.success()) {
            let flow = flow(report);
            let last = flow.last_hop().map(|hop| hop.number);
            let counts: Vec<_> = flow.trace.hops.iter().map(|hop| (hop.received, hop.lost)).collect();
            seen += &format!("{family:?} {:?} {last:?} {counts:?}\n", flow.end);
            right += u32::from(matches!(flow.end, End::Lossy(_)) && last == Some(4));
            silent += u32::from(flow.end == End::Silent);
        }
    }
    // Of 40, some 36 succeed, and 27 name the hop; were it a half, less than 6 would do so in one of a million runs.
    assert!(
        right >= 6 && silent == 0,
        "{right} name the hop before the loss, {silent} say that the path ends:\n{seen}"
    );
}

#[test]
fn what_a_probe_says_of_itself_is_as_without_a_trace_and_the_deadline_holds() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| cut(topology, Isp::A, 2));
    for (module, family) in [("tcp", Family::V4), ("http", Family::V6), ("half_open", Family::V4)] {
        let begun = Instant::now();
        let report = site.run(module, "a", &target(module, family, 10), TIMEOUT);
        let took = begun.elapsed();
        assert!(took <= TIMEOUT + Duration::from_millis(30), "{took:?}");
        let failure = report.failure.as_ref().unwrap();
        assert_eq!(failure.reason, Reason::ConnectionTimeout);
        assert!(failure.detail.contains("within 2 s"), "{failure}");
        let limit = TIMEOUT - RESERVE;
        assert!((limit..limit + Duration::from_millis(30)).contains(&report.duration), "{:?}", report.duration);
        let sum = report.phases.iter().map(|(_, span)| *span).sum::<Duration>() + report.overhead;
        assert!(sum.abs_diff(report.duration) < Duration::from_millis(1), "{sum:?} {:?}", report.duration);
        // A SYN each second.
        let handshake = match &report.measurement {
            Measurement::Tcp(measured) => measured.handshake,
            Measurement::Http(measured) => measured.requests[0].handshake,
            other => panic!("{other:?}"),
        };
        assert_eq!(handshake.syn_retransmits, Some(1));
        assert_eq!(Some(flow(&report).local), handshake.local);
        assert_eq!(last(&report), (2, Isp::A.router(2).address(family)));
        assert!(flow(&report).duration <= RESERVE + Duration::from_millis(30), "{:?}", flow(&report).duration);
    }
}

#[test]
fn what_is_not_to_be_traced_sends_nothing_more() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| cut(topology, Isp::A, 2));
    for module in ["untraced_tcp", "untraced_http"] {
        for family in FAMILIES {
            site.lab.clear_observed();
            let report = site.run(module, "a", &target(module, family, 10), Duration::from_millis(1_200));
            assert!(!report.success() && report.failed_flow.is_none());
            assert_eq!(labels(&report, "probe_failed_flow_info"), None);
            let sent = sent(&site);
            assert!(sent.len() == 2 && !sent.iter().any(is_of_trace), "{sent:?}");
        }
    }
    // Nor does what is as it should be.
    site.lab.change(|topology| topology.a.hops[1].routers[0].drops = false);
    for module in ["tcp", "http", "half_open", "half_open_raw", "patient_http"] {
        site.lab.clear_observed();
        let report = site.run(module, "a", &target(module, Family::V4, 10), TIMEOUT);
        assert!(report.success() && report.failed_flow.is_none(), "{:#?}", report.log);
        let traced: Vec<_> = sent(&site).into_iter().filter(is_of_trace).collect();
        assert!(traced.is_empty(), "{module}: {traced:?}");
    }
}

#[test]
fn who_refuses_is_named() {
    let Some(site) = start() else { return };
    for family in FAMILIES {
        for module in ["tcp", "half_open", "half_open_raw"] {
            // Nobody listens there.
            let report = site.run(module, "a", &format!("{}:81", host(family, 10)), TIMEOUT);
            assert_eq!(report.failure.as_ref().unwrap().reason, Reason::ConnectionRefused);
            assert_eq!(flow(&report).end, End::Reached, "{module} {:#?}", report.log);
            assert_eq!(last(&report), (7, address(family, 10)));
            assert!(report.duration < Duration::from_millis(100), "{:?}", report.duration);
            assert_eq!(number(&report, "probe_failed_flow_reached"), Some(1.0));
            assert_eq!(labels(&report, "probe_failed_flow_last_hop_info").unwrap()[0], address(family, 10).to_string());
        }
    }
    // A router says that it goes no further.
    for (family, says) in [
        (Family::V4, uplink_exporter::verdict::Evidence::Icmp { ty: 3, code: 13 }),
        (Family::V6, uplink_exporter::verdict::Evidence::Icmp6 { ty: 1, code: 1 }),
    ] {
        fault(&site, 12, Action::Unreachable { hop: 4, says });
        let report = site.run("tcp", "a", &target("tcp", family, 12), TIMEOUT);
        assert_eq!(report.failure.as_ref().unwrap().reason, Reason::AdminProhibited);
        assert!(matches!(flow(&report).end, End::Unreachable(_)), "{:#?}", report.log);
        assert_eq!(last(&report), (4, Isp::A.router(4).address(family)));
        assert_eq!(number(&report, "probe_failed_flow_reached"), Some(0.0));
    }
}

#[test]
fn a_connection_that_stands_still_is_ended_and_its_flow_traced_and_nothing_is_left_half_open() {
    let Some(site) = start() else { return };
    fault(&site, 13, Action::Stall);
    fault(&site, 14, Action::ResetAfterHandshake);
    for family in FAMILIES {
        for (module, number, is_expected) in [
            ("tls", 13, (|reason| reason == Reason::TlsTimeout) as fn(Reason) -> bool),
            ("http", 13, |reason| matches!(reason, Reason::HttpResponseTimeout(_))),
            ("tls", 14, |reason| reason.name().starts_with("connection_")),
            ("http", 14, |reason| reason.name().starts_with("connection_")),
        ] {
            site.lab.clear_observed();
            let before = accepted(&site);
            let report = site.run(module, "a", &target(module, family, number), TIMEOUT);
            let reason = report.failure.as_ref().unwrap().reason;
            assert!(is_expected(reason), "{reason:?}");
            assert_eq!(
                (&flow(&report).end, last(&report)),
                (&End::Reached, (7, address(family, number))),
                "{:#?}",
                report.log
            );
            let (syns, resets) = (0x02, 0x04);
            let flags = |flags| sent(&site).iter().filter(|packet| packet.tcp_flags.unwrap() & flags != 0).count();
            assert!(flags(syns) > 7 && flags(resets) > 0);
            let is_of_flow = |packet: &Observation| packet.ports == Some(ports(flow(&report)));
            let sent = sent(&site);
            assert!(sent.iter().all(|packet| packet.isp == Isp::A && (is_of_flow(packet) || !is_of_trace(packet))));
            support::until("the far end has no connections left", || connections(&site) == (0, 0));
            // A second one asks why there is no TLS.
            let asked = report.phases.iter().any(|(phase, _)| phase.name() == "legacy");
            assert!(asked || sent.iter().all(is_of_flow), "{sent:?}");
            assert_eq!(accepted(&site) - before, 1 + u64::from(asked), "the connections of the probe, and no other");
        }
    }
}

#[test]
fn a_slow_phase_is_traced_and_the_probe_stays_a_success() {
    let Some(site) = start() else { return };
    for family in FAMILIES {
        for module in ["slow_tcp", "slow_half_open", "slow_half_open_raw", "slow_http"] {
            site.lab.clear_observed();
            let before = accepted(&site);
            let report = site.run(module, "a", &target(module, family, 10), TIMEOUT);
            assert!(report.success(), "{:?}", report.failure);
            let flow = flow(&report);
            assert!(matches!(flow.cause, Cause::Slow { took, .. } if took > Duration::from_millis(13)), "{flow:?}");
            assert_eq!(
                (&flow.end, last(&report)),
                (&End::Reached, (7, address(family, 10))),
                "{module} {:#?}",
                report.log
            );
            assert_eq!(labels(&report, "probe_failed_flow_info").unwrap(), ["connect", "reached"]);
            assert!(report.duration < flow.duration, "the trace is no part of it: {:?}", report.duration);
            let sent = sent(&site);
            assert!(sent.iter().all(|packet| packet.isp == Isp::A && packet.ports == Some(ports(flow))), "{sent:?}");
            support::until("the far end has no connections left", || connections(&site) == (0, 0));
            assert_eq!(accepted(&site) - before, u64::from(!module.contains("half")), "{module}");
        }
    }
}

#[test]
fn nothing_leaves_by_the_other_isp_whatever_binds_the_probe() {
    let Some(site) = start() else { return };
    // What is bound to nothing goes through A.
    fault(&site, 13, Action::Stall);
    fault(&site, 15, Action::Drop);
    for family in FAMILIES {
        for isp in ["b", "b_address", "b_interface", "b_mark"] {
            for (module, number) in [
                ("slow_http", 10),
                ("http", 13),
                ("tcp", 15),
                ("slow_half_open", 10),
                ("half_open_raw", 15),
                ("slow_half_open_raw", 10),
            ] {
                site.lab.clear_observed();
                let report = site.run(module, isp, &target(module, family, number), TIMEOUT);
                let what = format!("{module} {isp} {family:?} {:#?}", report.log);
                let reached = if number == 15 { (End::Silent, 4) } else { (End::Reached, 5) };
                assert_eq!((flow(&report).end.clone(), last(&report).0), reached, "{what}");
                // Answers come late, too; what takes them is gone three seconds later.
                if isp == "b_mark" && matches!(module, "http" | "tcp") {
                    std::thread::sleep(Duration::from_millis(3_500));
                }
                let sent = sent(&site);
                assert!(sent.iter().filter(|packet| is_of_trace(packet)).count() >= 12, "{what}");
                let astray: Vec<_> = sent.iter().filter(|packet| packet.isp != Isp::B).collect();
                assert!(astray.is_empty(), "{what} {astray:#?}");
                if number != 13 {
                    support::until("the far end has no half-open connections", || connections(&site).0 == 0);
                }
            }
        }
    }
}

#[test]
fn the_packets_of_a_trace_are_those_of_its_connection_for_a_router() {
    let Some(site) = start() else { return };
    fault(&site, 13, Action::Stall);
    for family in FAMILIES {
        let capture = Capture::start("ispa", site.folder.path(), |command| site.lab.prober().spawn(command).unwrap());
        let report = site.run("http", "a", &target("http", family, 13), TIMEOUT);
        let packets: Vec<Packet> =
            capture.stop().into_iter().filter(|packet| packet.destination == address(family, 13)).collect();
        // Addresses, protocol, ports; in IPv6, the flow label too.
        let flows: BTreeSet<_> =
            packets.iter().map(|packet| (packet.source, packet.protocol, packet.ports(), packet.label)).collect();
        let flow = flow(&report);
        assert_eq!(flows, BTreeSet::from([(flow.local.ip(), 6, ports(flow), 0)]));
        let limits: BTreeSet<u8> =
            packets.iter().filter(|packet| packet.flags() == "S").map(|packet| packet.ttl).collect();
        assert!((1..=7).all(|limit| limits.contains(&limit)) && limits.contains(&64), "{limits:?}");
    }
}

#[test]
fn the_flow_of_a_proxied_request_is_that_to_the_proxy_and_that_of_http3_is_of_datagrams() {
    let Some(site) = start() else { return };
    serve_http3(&site);
    site.lab.change(|topology| cut(topology, Isp::A, 5));
    let report = site.run("proxied", "a", &target("proxied", Family::V4, 10), TIMEOUT);
    assert_eq!(flow(&report).remote, SocketAddr::new(address(Family::V4, 11), 3128));
    assert_eq!((&flow(&report).end, last(&report).0), (&End::Silent, 5));
    for family in FAMILIES {
        site.lab.clear_observed();
        let report = site.run("http3", "a", &target("http3", family, 10), TIMEOUT);
        assert_eq!(report.failure.as_ref().unwrap().reason, Reason::ConnectionTimeout);
        let flow = flow(&report);
        assert_eq!(
            (&flow.end, last(&report)),
            (&End::Silent, (5, Isp::A.router(5).address(family))),
            "{:#?}",
            report.log
        );
        // A server that speaks QUIC would not answer, either.
        assert_eq!(number(&report, "probe_failed_flow_reached"), None);
        let sent = sent(&site);
        assert!(sent.iter().filter(|packet| is_of_trace(packet)).count() > 60);
        assert!(sent.iter().all(|packet| packet.protocol == 17 && packet.ports == Some(ports(flow))), "{sent:?}");
    }
}

#[test]
fn a_probe_that_is_cancelled_ends_its_trace() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| cut(topology, Isp::A, 2));
    let request = Arc::new(site.request("tcp", "a", &target("tcp", Family::V4, 10), TIMEOUT));
    site.lab
        .prober()
        .run(|| {
            site.runtime.block_on(async {
                let traced = async {
                    while !sent(&site).iter().any(is_of_trace) {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::select! {
                    report = probe::run(&request) => panic!("{report:#?}"),
                    () = traced => {}
                }
            });
        })
        .unwrap();
    let count = sent(&site).len();
    assert!(count < 40, "{count} packets left before it was cancelled");
    std::thread::sleep(Duration::from_millis(600));
    assert!(sent(&site).len() <= count + 2, "{} more packets", sent(&site).len() - count);
}

#[test]
fn a_time_too_short_for_the_path_is_no_end_of_it() {
    let Some(site) = start() else { return };
    site.lab.change(|topology| cut(topology, Isp::A, 6));
    // A hop that is slower than there is time for, and one behind slow ones.
    for (timeout, slow, heard) in [(600, 4, 3), (1_200, 2, 5)] {
        site.lab.change(|topology| {
            let hops = &mut topology.a.hops;
            hops.iter_mut().for_each(|hop| hop.routers[0].link.rtt = Duration::from_millis(2));
            hops[slow - 1].routers[0].link.rtt = Duration::from_millis(380);
            hops[5].routers[0].link.rtt = Duration::from_millis(380);
        });
        let report = site.run("tcp", "a", &target("tcp", Family::V4, 10), Duration::from_millis(timeout));
        assert_eq!((&flow(&report).end, last(&report).0), (&End::CutShort, heard), "{:#?}", report.log);
        assert_eq!(number(&report, "probe_failed_flow_reached"), None);
    }
}

#[test]
fn who_may_send_no_such_packets_is_told_so_and_the_probe_stays_what_it_is() {
    let Some(site) = start() else { return };
    let Some(setpriv) = support::program("setpriv") else { return };
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("probes.yml");
    let modules = "isps: {a: {source_ip: 10.1.0.2}}
modules:
  tcp: {prober: tcp, tcp: {on_failure: trace}}
  slow: {prober: tcp, tcp: {on_failure: trace, trace_after: {connect: 5ms}}}";
    std::fs::write(&configuration, modules).unwrap();
    for (module, target, reason) in
        [("tcp", "198.51.100.10:81", Some("connection_refused")), ("slow", "198.51.100.10:80", None)]
    {
        let mut command = Command::new(&setpriv);
        command.args([
            "--bounding-set=-all",
            "--inh-caps=-all",
            "--no-new-privs",
            env!("CARGO_BIN_EXE_uplink_exporter"),
        ]);
        command
            .args(["probe", "--output=json", "--isp=a", "--module", module, target, "--config.file"])
            .arg(&configuration);
        let done = site.lab.prober().run(|| command.stdin(Stdio::null()).output()).unwrap().unwrap();
        let what = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        let told: serde_json::Value =
            serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {what}"));
        assert_eq!(told["failure"]["reason"].as_str(), reason, "{what}");
        let flow = &told["failed_flow"];
        assert_eq!((flow["end"].as_str(), flow.get("trace")), (Some("not_permitted"), None), "{what}");
        assert!(flow["detail"].as_str().unwrap().contains("CAP_NET_RAW") && flow["reached"].is_null(), "{what}");
    }
}
