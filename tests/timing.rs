//! Durations are what happened on the wire: beside what the lab was told, and beside what tcpdump saw.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test ends where its helpers find what cannot be"
)]

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::http3::serve_http3;
use support::lab::{Site, alone, host};
use support::pcap::{Capture, Packet};
use support::zone::{Zone, serve};
use uplink_exporter::flight::Phase;
use uplink_exporter::lab::{Action, Fault, Isp, Matches, Path, Topology, target};
use uplink_exporter::net::Family;
use uplink_exporter::probe::{Measurement, Report};

const MODULES: &str = "
  icmp_raw: {prober: icmp, icmp: {raw: true}}
  icmp_datagram: {prober: icmp, icmp: {raw: false}}
  icmp_ten: {prober: icmp, icmp: {count: 10, interval: 20ms}}
  tcp: {prober: tcp}
  half_open: {prober: tcp, tcp: {half_open: true}}
  half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true}}
  banner: {prober: tcp, tcp: {query_response: [{expect: never}]}}
  http: {prober: http}
  https: {prober: http, http: {tls_config: {ca_file: CA}}}
  trace: {prober: traceroute, traceroute: {names: false}}
  trace_and_names: {prober: traceroute}
";

/// Probes per sample: enough that the 99th percentile is not the maximum.
const SAMPLE: usize = 200;

fn topology(rtt: u64) -> Topology {
    let path = |isp| Path::straight(isp, &[500, 500, 1_000], rtt - 2_000);
    Topology { seed: 1, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() }
}

fn start(topology: Topology) -> Option<Site> {
    Site::start(topology, MODULES)
}

/// The phases and the overhead are the whole duration, within a millisecond.
fn assert_adds_up(report: &Report) {
    let phases: Duration = report.phases.iter().map(|(_, span)| *span).sum();
    let apart = (phases + report.overhead).abs_diff(report.duration);
    assert!(
        apart < Duration::from_millis(1),
        "{} of {}: {:?} and {:?} overhead are not {:?}",
        report.module,
        report.target,
        report.phases,
        report.overhead,
        report.duration
    );
}

fn phase(report: &Report, wanted: Phase) -> Option<Duration> {
    report.phases.iter().find(|(phase, _)| *phase == wanted).map(|(_, span)| *span)
}

fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() * percent).div_ceil(100) - 1]
}

/// The round-trip time that a report of one packet tells.
fn told(report: &Report) -> Duration {
    match &report.measurement {
        Measurement::Icmp(measured) => Duration::from_secs_f64(measured.rtt.last().expect("a round-trip time")),
        Measurement::Tcp(measured) => measured.handshake.rtt.expect("a handshake"),
        other => panic!("{other:?}"),
    }
}

/// The round-trip times that a capture holds, in the order of departure.
fn seen(packets: &[Packet], host: std::net::IpAddr) -> Vec<Duration> {
    let answers = |asked: &Packet, answer: &Packet| {
        answer.source == host
            && match asked.echo_request() {
                Some(id) => answer.echo_reply() == Some(id),
                None => {
                    answer.flags() == "S." && answer.ports().0 == asked.ports().1 && answer.ports().1 == asked.ports().0
                }
            }
    };
    let departures = packets
        .iter()
        .enumerate()
        .filter(|(_, packet)| packet.destination == host && (packet.echo_request().is_some() || packet.flags() == "S"));
    departures
        .map(|(index, asked)| {
            let answer =
                packets[index..].iter().find(|answer| answers(asked, answer)).expect("an answer in the capture");
            answer.at - asked.at
        })
        .collect()
}

/// Probes one after the other; compares each with the capture, and their median with the lab's round-trip time where one is given.
fn compare_with_capture(site: &Site, module: &str, family: Family, port: &str, rtt: Option<Duration>) {
    let capture = Capture::start("ispa", site.folder.path(), |command| site.lab.prober().spawn(command).unwrap());
    let destination =
        format!("{}{port}", if port.is_empty() { target(family, 10).to_string() } else { host(family, 10) });
    let reports: Vec<Report> =
        (0..SAMPLE).map(|_| site.run(module, "a", &destination, Duration::from_secs(5))).collect();
    let seen = seen(&capture.stop(), target(family, 10));
    assert_eq!(seen.len(), SAMPLE, "{module} sends one packet a probe");
    reports.iter().for_each(assert_adds_up);
    let mut told: Vec<Duration> = reports.iter().map(told).collect();
    let mut apart: Vec<Duration> = told.iter().zip(&seen).map(|(told, seen)| told.abs_diff(*seen)).collect();
    let (median, p99) = (percentile(&mut told, 50), percentile(&mut apart, 99));
    eprintln!(
        "{module} {family:?}: median {median:?}; from the capture at p50 {:?}, at p99 {p99:?}",
        percentile(&mut apart, 50)
    );
    assert!(p99 <= Duration::from_micros(100), "{module} {family:?}: {p99:?} from the capture at p99");
    if let Some(rtt) = rtt {
        assert!(median.abs_diff(rtt) <= Duration::from_millis(1), "{module} {family:?}: {median:?} instead of {rtt:?}");
    }
}

#[test]
fn round_trip_times_are_the_labs_and_the_captures() {
    let _alone = alone();
    let rtt = Duration::from_millis(12);
    let Some(site) = start(topology(12_000)) else { return };
    for family in [Family::V4, Family::V6] {
        for module in ["icmp_raw", "icmp_datagram"] {
            compare_with_capture(&site, module, family, "", Some(rtt));
        }
        for module in ["tcp", "half_open", "half_open_raw"] {
            compare_with_capture(&site, module, family, ":80", Some(rtt));
        }
    }
}

#[test]
fn resolving_takes_what_the_question_and_its_answer_took_on_the_wire() {
    let _alone = alone();
    let server = SocketAddr::new(target(Family::V4, 20), 5353);
    let section = "{preferred_ip_protocol: ip4, ip_protocol_fallback: false}";
    let modules = format!("  named: {{prober: http, resolvers: ['{server}'], http: {section}}}\n");
    let Some(site) = Site::start(topology(12_000), &modules) else { return };
    let names: Vec<_> = (0..50).map(|number| format!("n{number}.lab")).collect();
    let mut zone = Zone::default();
    names.iter().for_each(|name| zone.address(name, target(Family::V4, 10), 60));
    serve(&site, server, zone);
    let capture = Capture::start("ispa", site.folder.path(), |command| site.lab.prober().spawn(command).unwrap());
    // Fifty at once, the first of this process among them: what it takes to make a question is not the name server's time.
    let request = |name: &String| site.request("named", "a", &format!("http://{name}/"), Duration::from_secs(5));
    let reports = site.run_all(names.iter().map(request).collect());
    let packets = capture.stop();
    let mut apart = Vec::new();
    for (name, report) in names.iter().zip(&reports) {
        assert_eq!(report.failure, None, "{:#?}", report.log);
        assert_adds_up(report);
        let (label, _) = name.split_once('.').unwrap();
        let label = [&[label.len() as u8], label.as_bytes(), &[3]].concat();
        let of_name = |packet: &&Packet| packet.transport.windows(label.len()).any(|bytes| bytes == label);
        let [question, answer] = packets.iter().filter(of_name).collect::<Vec<_>>()[..] else {
            panic!("{name} is asked for once")
        };
        apart.push(phase(report, Phase::Resolve).unwrap().abs_diff(answer.at - question.at));
    }
    let (median, p90) = (percentile(&mut apart, 50), percentile(&mut apart, 90));
    eprintln!("resolve: from the capture at p50 {median:?}, at p90 {p90:?}");
    assert!(p90 <= Duration::from_micros(100), "{p90:?} from the capture at p90");
}

#[test]
fn connecting_by_quic_takes_what_the_first_datagrams_took_on_the_wire() {
    let _alone = alone();
    let section = "{enable_http3: true, enable_http2: false, tls_config: {ca_file: CA}}";
    let Some(site) = Site::start(topology(12_000), &format!("  quic: {{prober: http, http: {section}}}\n")) else {
        return;
    };
    serve_http3(&site);
    let capture = Capture::start("ispa", site.folder.path(), |command| site.lab.prober().spawn(command).unwrap());
    // Twenty at once: until its first datagram leaves, each waits for the others.
    let url = format!("https://{}/", host(Family::V4, 10));
    let reports = site.run_all((0..20).map(|_| site.request("quic", "a", &url, Duration::from_secs(5))).collect());
    let packets = capture.stop();
    let mut apart = Vec::new();
    for report in &reports {
        assert_eq!(report.failure, None, "{:#?}", report.log);
        assert_adds_up(report);
        let Measurement::Http(measured) = &report.measurement else { panic!("{report:?}") };
        let port = measured.requests[0].handshake.local.unwrap().port();
        let sent = packets.iter().find(|packet| packet.protocol == 17 && packet.ports().0 == port).unwrap();
        let answer = packets.iter().find(|packet| packet.protocol == 17 && packet.ports().1 == port).unwrap();
        apart.push(phase(report, Phase::Connect).unwrap().abs_diff(answer.at - sent.at));
    }
    let (median, p90) = (percentile(&mut apart, 50), percentile(&mut apart, 90));
    eprintln!("connect by QUIC: from the capture at p50 {median:?}, at p90 {p90:?}");
    assert!(p90 <= Duration::from_micros(500), "{p90:?} from the capture at p90");
}

#[test]
fn round_trip_times_are_the_captures_when_the_machine_is_busy() {
    let _alone = alone();
    let Some(site) = start(topology(3_000)) else { return };
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || while !stop.load(Ordering::Relaxed) {})
        })
        .collect();
    compare_with_capture(&site, "icmp_raw", Family::V4, "", None);
    compare_with_capture(&site, "icmp_datagram", Family::V6, "", None);
    compare_with_capture(&site, "tcp", Family::V4, ":80", None);
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(|hog| hog.join().unwrap());
}

#[test]
fn a_thousand_unanswered_echo_requests_do_not_slow_the_next() {
    let _alone = alone();
    let rtt = Duration::from_millis(12);
    let Some(site) = start(topology(12_000)) else { return };
    let of = Matches { destination: Some(target(Family::V4, 11)), ..Matches::default() };
    site.lab.change(|topology| topology.faults = vec![Fault { of, action: Action::Drop }]);
    // What a probe takes beside its round trip: finding whose an answer is among all that are waited for is in it. Others on the machine slow
    // some probes; what slows by itself slows all.
    let beside_the_round_trip = || {
        let probe = || site.run("icmp_raw", "a", &target(Family::V4, 10).to_string(), Duration::from_secs(5));
        let mut spans: Vec<_> = (0..50).map(|_| probe()).map(|report| report.duration - told(&report)).collect();
        percentile(&mut spans, 10)
    };
    let alone_in_flight = beside_the_round_trip();
    std::thread::scope(|scope| {
        let unanswered = scope.spawn(|| {
            let destination = target(Family::V4, 11).to_string();
            let request = || site.request("icmp_raw", "a", &destination, Duration::from_secs(6));
            let reports = site.run_all((0..1000).map(|_| request()).collect());
            (reports, std::time::Instant::now())
        });
        // All of them are under way.
        support::until("1,000 are in flight", || {
            site.lab.observed().iter().filter(|packet| packet.destination == target(Family::V4, 11)).count() == 1000
        });
        compare_with_capture(&site, "icmp_raw", Family::V4, "", Some(rtt));
        let among_a_thousand = beside_the_round_trip();
        let answered = std::time::Instant::now();
        assert!(
            among_a_thousand < alone_in_flight + Duration::from_millis(1),
            "{among_a_thousand:?} among 1,000 in flight, {alone_in_flight:?} alone"
        );
        let (reports, given_up) = unanswered.join().unwrap();
        assert!(answered < given_up, "the 1,000 were in flight all the while");
        for report in reports {
            let reason = report.failure.map(|failure| failure.reason.name().into_owned());
            assert_eq!(reason.as_deref(), Some("icmp_timeout"));
        }
    });
}

#[test]
fn what_waits_in_a_queue_of_this_host_is_not_the_networks_time() {
    let _alone = alone();
    let rtt = Duration::from_millis(12);
    let series = "count: 5, interval: 1ms, payload_size: 1400";
    let modules = format!(
        "  raw: {{prober: icmp, icmp: {{raw: true, {series}}}}}\n  datagram: {{prober: icmp, icmp: {{raw: false, {series}}}}}\n"
    );
    let Some(site) = Site::start(topology(12_000), &modules) else { return };
    // A packet takes 11 ms to leave: the last of five waits for some 45 ms before it is on the wire.
    let mut command = Command::new("tc");
    command.args("qdisc add dev ispa root tbf rate 1mbit burst 2kb latency 1s".split(' '));
    assert!(site.lab.prober().spawn(&mut command).unwrap().wait().unwrap().success());
    for module in ["raw", "datagram"] {
        for family in [Family::V4, Family::V6] {
            site.lab.clear_counts();
            let report = site.run(module, "a", &target(family, 10).to_string(), Duration::from_secs(5));
            assert_eq!(report.failure, None, "{module} {family:?}: {:#?}", report.log);
            let Measurement::Icmp(measured) = &report.measurement else { panic!("{report:?}") };
            let worst = Duration::from_secs_f64(measured.rtt.worst().unwrap());
            let most = rtt + Duration::from_millis(2) + 2 * site.lab.lateness();
            assert!(report.duration > rtt + Duration::from_millis(35), "the queue holds them: {:?}", report.duration);
            assert!(worst < most, "{module} {family:?}: {worst:?} is more than {most:?}");
        }
    }
}

#[test]
fn a_lost_syn_is_told_from_a_long_path() {
    let _alone = alone();
    let linear = std::path::Path::new("/proc/sys/net/ipv4/tcp_syn_linear_timeouts").exists();
    let Some(site) = start(topology(50_000)) else { return };
    for module in ["tcp", "half_open", "half_open_raw"] {
        for family in [Family::V4, Family::V6] {
            for (lost, waited) in
                [(0, 0), (1, 1_000), (2, if linear || module == "half_open_raw" { 2_000 } else { 3_000 })]
            {
                let of = Matches { protocol: Some(6), ..Matches::default() };
                site.lab.change(|topology| topology.faults = vec![Fault { of, action: Action::DropSyn(lost) }]);
                site.lab.clear_counts();
                let report = site.run(module, "b", &format!("{}:80", host(family, 11)), Duration::from_secs(8));
                assert_eq!(report.failure, None, "{module} {:#?}", report.log);
                // Where the machine stands still, so does the lab, on both ways.
                let near = Duration::from_millis(2) + 2 * site.lab.lateness();
                assert_adds_up(&report);
                let Measurement::Tcp(measured) = &report.measurement else { panic!("{report:?}") };
                assert_eq!(measured.handshake.syn_retransmits, Some(lost), "{module} {family:?}");
                let connect = phase(&report, Phase::Connect).expect("connected");
                let expected = Duration::from_millis(waited + 50);
                // The kernel's timers are up to a few ticks late (RFC 6298 knows no upper bound, HZ is 100 at the least).
                assert!(
                    connect >= expected - Duration::from_millis(1) && connect < expected + Duration::from_millis(80),
                    "{module} {family:?}: connect took {connect:?}, {lost} SYNs lost"
                );
                match (lost, measured.handshake.rtt) {
                    (0, Some(rtt)) => {
                        assert!(rtt.abs_diff(Duration::from_millis(50)) < near, "{rtt:?}")
                    }
                    (0, None) => panic!("{module}: no handshake RTT"),
                    (_, Some(rtt)) => {
                        assert!(rtt.abs_diff(Duration::from_millis(50)) < near, "{module} {rtt:?}")
                    }
                    (_, None) => panic!("{module}: no handshake RTT, though both do timestamps"),
                }
            }
        }
    }
}

#[test]
fn phases_and_overhead_are_the_duration_on_success_and_on_failure() {
    let _alone = alone();
    let Some(site) = start(topology(20_000)) else { return };
    let stalled = Fault {
        of: Matches { destination: Some(target(Family::V4, 12)), ..Matches::default() },
        action: Action::Stall,
    };
    let dropped =
        Fault { of: Matches { destination: Some(target(Family::V4, 13)), ..Matches::default() }, action: Action::Drop };
    site.lab.change(|topology| topology.faults = vec![stalled, dropped]);
    let (fine, stalls, drops) = (host(Family::V4, 10), host(Family::V4, 12), host(Family::V4, 13));
    let half_second = Duration::from_millis(500);
    // Module, target, the phases that are reached, and how long the last takes in milliseconds.
    let rows: [(&str, String, &[Phase], u64); 13] = [
        ("http", format!("http://{fine}/"), &[Phase::Resolve, Phase::Connect, Phase::Processing, Phase::Transfer], 0),
        (
            "https",
            format!("https://{fine}/"),
            &[Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Processing, Phase::Transfer],
            0,
        ),
        ("https", format!("https://{stalls}/"), &[Phase::Resolve, Phase::Connect, Phase::Tls], 480),
        ("http", format!("http://{stalls}/"), &[Phase::Resolve, Phase::Connect, Phase::Processing], 480),
        ("http", format!("http://{drops}/"), &[Phase::Resolve, Phase::Connect], 500),
        ("tcp", format!("{fine}:80"), &[Phase::Resolve, Phase::Connect], 20),
        ("tcp", format!("{drops}:80"), &[Phase::Resolve, Phase::Connect], 500),
        ("tcp", format!("{fine}:81"), &[Phase::Resolve, Phase::Connect], 20),
        ("banner", format!("{fine}:80"), &[Phase::Resolve, Phase::Connect, Phase::Query], 480),
        ("icmp_ten", fine.clone(), &[Phase::Resolve, Phase::Setup, Phase::Interval, Phase::Rtt], 20),
        ("icmp_raw", drops.clone(), &[Phase::Resolve, Phase::Setup, Phase::Rtt], 500),
        ("trace", fine.clone(), &[Phase::Resolve, Phase::Setup, Phase::Trace], 220),
        // Only the hosts file is asked for these names.
        ("trace_and_names", fine, &[Phase::Resolve, Phase::Setup, Phase::Trace, Phase::Lookup], 0),
    ];
    for (module, target, phases, last) in rows {
        let report = site.run(module, "a", &target, half_second);
        assert_adds_up(&report);
        let reached: Vec<Phase> = report.phases.iter().map(|(phase, _)| *phase).collect();
        assert_eq!(reached, phases, "{module} of {target}: {:?} {:#?}", report.failure, report.log);
        let (_, span) = report.phases[report.phases.len() - 1];
        let expected = Duration::from_millis(last);
        assert!(
            span.abs_diff(expected) < Duration::from_millis(15),
            "{module} of {target}: {span:?} instead of {expected:?}"
        );
    }
}
