//! Reports made by hand: a good and a bad one of each prober.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::Method;
use uplink_exporter::flight::{Phase, Traffic};
use uplink_exporter::net::Source;
use uplink_exporter::net::tls::{Certificate, TlsFacts};
use uplink_exporter::path::{
    Analysis, AutonomousSystem, Balance, Clamp, DelayOnset, FlowPath, PathMtu, Role, Statistics, There,
};
use uplink_exporter::probe::conversation::Heard;
use uplink_exporter::probe::resolve::Resolution;
use uplink_exporter::probe::{
    Cause, End, FailedFlow, Handshake, Isp, LogLine, Measurement, Report, WayOut, dns, egress, grpc, http, icmp, stun,
    tcp, traceroute, unix, websocket,
};
use uplink_exporter::verdict::{CertificateFault, Failure, Reason, StatusClass};
use uplink_exporter::wire::dns::message::{Entry, Reply, Section};
use uplink_exporter::wire::grpc::Serving;
use uplink_exporter::wire::icmp::Label;
use uplink_exporter::wire::stun::{Mapped, Refusal};

pub(crate) fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("http_success", http_success()),
        ("http_certificate_expired", http_certificate_expired()),
        ("http_dns_failure", http_dns_failure()),
        ("http_proxy_refuses", http_proxy_refuses()),
        ("tcp_success", tcp_success()),
        ("tcp_refused", tcp_refused()),
        ("tcp_flow_ends", tcp_flow_ends()),
        ("tcp_flow_not_permitted", tcp_flow_not_permitted()),
        ("http_slow_flow", http_slow_flow()),
        ("http_old_tls", http_old_tls()),
        ("icmp_success", icmp_success()),
        ("icmp_unreachable", icmp_unreachable()),
        ("dns_success", dns_success()),
        ("dns_broken_off", dns_broken_off()),
        ("traceroute_success", traceroute_success()),
        ("traceroute_not_reached", traceroute_not_reached()),
        ("traceroute_lossy", traceroute_lossy()),
        ("traceroute_black_hole", traceroute_black_hole()),
        ("traceroute_wrong_way", traceroute_wrong_way()),
        ("egress_success", egress_success()),
        ("egress_too_few", egress_too_few()),
        ("traceroute_flows", traceroute_flows()),
        ("unix_success", unix_success()),
        ("unix_missing", unix_missing()),
        ("grpc_success", grpc_success()),
        ("grpc_unknown_service", grpc_unknown_service()),
        ("websocket_success", websocket_success()),
        ("websocket_closed", websocket_closed()),
        ("stun_success", stun_success()),
        ("stun_refused", stun_refused()),
        ("http_public_ip", http_public_ip()),
    ]
}

fn http_success() -> Report {
    let ms = |phases: &[(Phase, u64)]| phases.iter().map(|(phase, ms)| (*phase, Duration::from_millis(*ms))).collect();
    let redirected = http::Request {
        url: "http://api.example/".to_owned(),
        method: Method::POST,
        proxy: None,
        handshake: handshake("10.10.10.12:40000", "192.0.2.80:80", Some(9_900), 0),
        phases: ms(&[(Phase::Resolve, 1), (Phase::Connect, 10), (Phase::Processing, 10), (Phase::Transfer, 0)]),
        traffic: Some(Traffic { sent: 131, received: 170 }),
        body_length: Some(11),
        status: Some(302),
        version: Some(1.1),
        response_headers: Some(5),
        content_type: Some("text/html; charset=utf-8".to_owned()),
        redirect_url: Some("https://api.example/".to_owned()),
    };
    let answered = http::Request {
        url: "https://api.example/".to_owned(),
        method: Method::GET,
        proxy: None,
        handshake: handshake("10.10.10.12:40001", "192.0.2.80:443", None, 1),
        phases: ms(&[
            (Phase::Resolve, 0),
            (Phase::Connect, 10),
            (Phase::Tls, 45),
            (Phase::Processing, 20),
            (Phase::Transfer, 3),
        ]),
        traffic: Some(Traffic { sent: 702, received: 9_213 }),
        body_length: Some(0),
        status: Some(200),
        version: Some(1.1),
        response_headers: Some(9),
        ..Default::default()
    };
    let measured = http::Measurement {
        requests: vec![redirected, answered],
        status: Some(200),
        version: Some(1.1),
        content_length: Some(-1),
        body_length: Some(5120),
        failed_due_to_regex: Some(false),
        failed_due_to_cel: Some(false),
        redirects: 1,
        ssl: Some(true),
        last_modified: Some(time(1_600_000_000)),
        tls: Some(tls(Some(1_800_000_000))),
        public_ip: None,
    };
    let phases =
        [(Phase::Resolve, 1), (Phase::Connect, 20), (Phase::Tls, 45), (Phase::Processing, 30), (Phase::Transfer, 3)];
    let mut report = report("http://api.example/", "http_2xx", &phases, Measurement::Http(measured));
    // The rest of the phase is a redirect's.
    let target = resolution("api.example", Some("192.0.2.80")).unwrap();
    report.resolution = Some(Resolution { took: Some(Duration::from_micros(700)), ..target });
    report.log = vec![
        LogLine { at: Duration::from_micros(900), text: "api.example is 192.0.2.80".to_owned() },
        LogLine { at: Duration::from_millis(99), text: "status 200\nand a second line".to_owned() },
    ];
    report
}

fn http_certificate_expired() -> Report {
    let phases = [(Phase::Resolve, 1), (Phase::Connect, 20), (Phase::Tls, 45)];
    let request = http::Request {
        url: "https://old.example/".to_owned(),
        handshake: handshake("[2001:db8:a::12]:40000", "[2001:db8::80]:443", Some(19_900), 0),
        phases: phases.map(|(phase, ms)| (phase, Duration::from_millis(ms))).to_vec(),
        traffic: Some(Traffic { sent: 517, received: 2_911 }),
        ..Default::default()
    };
    let measured = http::Measurement { requests: vec![request], tls: Some(tls(None)), ..Default::default() };
    let mut report = report("https://old.example/", "http_2xx", &phases, Measurement::Http(measured));
    report.resolution = resolution("old.example", Some("2001:db8::80"));
    let expired = Reason::TlsCertificateError(CertificateFault::Expired);
    report.failure = failure(Phase::Tls, expired, "the certificate of \"old.example\" expired", None);
    report
}

fn http_old_tls() -> Report {
    let phases = [(Phase::Resolve, 1), (Phase::Connect, 20), (Phase::Tls, 22), (Phase::Legacy, 45)];
    let request = http::Request {
        url: "https://old.example/".to_owned(),
        handshake: handshake("[2001:db8:a::12]:40000", "[2001:db8::80]:443", Some(19_900), 0),
        phases: phases.map(|(phase, ms)| (phase, Duration::from_millis(ms))).to_vec(),
        traffic: Some(Traffic { sent: 517, received: 7 }),
        ..Default::default()
    };
    let (version, cipher) = (Some("TLS 1.0"), Some("TLS_RSA_WITH_3DES_EDE_CBC_SHA".to_owned()));
    let told = TlsFacts { version, cipher, alpn: None, ..tls(None) };
    let measured = http::Measurement { requests: vec![request], tls: Some(told), ..Default::default() };
    let mut report = report("https://old.example/", "http_2xx", &phases, Measurement::Http(measured));
    report.resolution = resolution("old.example", Some("2001:db8::80"));
    let detail = "the server speaks TLS 1.0 with TLS_RSA_WITH_3DES_EDE_CBC_SHA";
    report.failure = failure(Phase::Tls, Reason::TlsProtocolError, detail, None);
    report
}

fn http_proxy_refuses() -> Report {
    let phases = [(Phase::Token, 80), (Phase::Resolve, 2), (Phase::Connect, 31)];
    let request = http::Request {
        url: "https://api.example/".to_owned(),
        proxy: Some("http://10.10.1.10:3128".to_owned()),
        handshake: handshake("10.10.10.12:40000", "10.10.1.10:3128", Some(900), 0),
        phases: phases.map(|(phase, ms)| (phase, Duration::from_millis(ms))).to_vec(),
        traffic: Some(Traffic { sent: 97, received: 45 }),
        ..Default::default()
    };
    let measured = http::Measurement { requests: vec![request], ..Default::default() };
    let mut report = report("https://api.example/", "http_2xx", &phases, Measurement::Http(measured));
    report.resolution = resolution("api.example", Some("2001:db8::80"));
    let detail = "the proxy http://10.10.1.10:3128: it answered CONNECT [2001:db8::80]:443 with 403 Forbidden";
    report.failure = failure(Phase::Connect, Reason::HttpStatusUnexpected(StatusClass::ClientError), detail, None);
    report
}

fn http_dns_failure() -> Report {
    let request = http::Request {
        url: "https://none.example/".to_owned(),
        phases: vec![(Phase::Resolve, Duration::from_millis(7))],
        ..Default::default()
    };
    let measured = http::Measurement { requests: vec![request], ..Default::default() };
    let mut report = report("https://none.example/", "http_2xx", &[(Phase::Resolve, 7)], Measurement::Http(measured));
    report.isp = None;
    report.resolution = resolution("none.example", None);
    report.failure = failure(Phase::Resolve, Reason::DnsNxdomain, "none.example does not exist", None);
    report
}

fn tcp_success() -> Report {
    let measured = tcp::Measurement {
        handshake: handshake("10.20.20.12:40000", "192.0.2.25:25", Some(19_900), 0),
        mss: Some(1460),
        traffic: Some(Traffic { sent: 560, received: 3_020 }),
        heard: Heard {
            failed_due_to_regex: Some(false),
            failed_due_to_bytes: Some(false),
            expect_info: vec![("banner".to_owned(), "mail \"x\"\\\n".to_owned()), ("user".to_owned(), String::new())],
        },
        tls: Some(tls(Some(1_800_000_000))),
    };
    let phases = [(Phase::Resolve, 0), (Phase::Connect, 20), (Phase::Tls, 41), (Phase::Query, 60)];
    let mut report = report("192.0.2.25:25", "smtp", &phases, Measurement::Tcp(measured));
    report.isp = Some(Arc::new(Isp {
        name: "sk".to_owned(),
        source: Source { v4: None, v6: None, interface: Some("eth1".to_owned()), mark: Some(101) },
        ..Isp::default()
    }));
    report.resolution = resolution("192.0.2.25", Some("192.0.2.25"));
    report.hostname = Some("mail.example".to_owned());
    report.way_out =
        Some(WayOut { device: Some("eth1".to_owned()), gateway: "10.20.20.1".parse().ok(), ..WayOut::default() });
    report
}

fn tcp_refused() -> Report {
    let measured =
        tcp::Measurement { handshake: handshake("10.10.10.12:40000", "192.0.2.25:26", None, 1), ..Default::default() };
    let phases = [(Phase::Resolve, 0), (Phase::Connect, 1020)];
    let mut report = report("192.0.2.25:26", "tcp_connect", &phases, Measurement::Tcp(measured));
    report.resolution = resolution("192.0.2.25", Some("192.0.2.25"));
    report.failure = failure(Phase::Connect, Reason::ConnectionRefused, "connect 192.0.2.25:26: refused", None);
    report
}

/// A flow from the port of a connection to `192.0.2.25:25`.
fn failed_flow(cause: Cause, end: End, reached: bool, hops: Vec<traceroute::Hop>) -> Option<FailedFlow> {
    let trace = analysed(traceroute::Measurement {
        protocol: traceroute::Protocol::Tcp,
        port: Some(25),
        source: Some("10.10.10.12".parse().unwrap()),
        destination: Some("192.0.2.25".parse().unwrap()),
        packet_size: Some(56),
        rounds: 3,
        first_hop: 1,
        max_hops: 30,
        reached,
        packets: 9,
        flows: usize::from(!hops.is_empty()),
        balance: None,
        hops,
        analysis: Analysis::default(),
        mtu: None,
        offered_mss: None,
        mss: None,
        clamp: Clamp::default(),
    });
    let (local, remote) = ("10.10.10.12:40000".parse().unwrap(), "192.0.2.25:25".parse().unwrap());
    let (verified, astray, duration) = (None, None, Duration::from_millis(930));
    Some(FailedFlow { cause, local, remote, end, verified, astray, duration, trace })
}

fn tcp_unanswered() -> Report {
    let measured =
        tcp::Measurement { handshake: handshake("10.10.10.12:40000", "192.0.2.25:25", None, 8), ..Default::default() };
    let phases = [(Phase::Resolve, 0), (Phase::Connect, 8_499)];
    let mut report = report("192.0.2.25:25", "smtp", &phases, Measurement::Tcp(measured));
    report.resolution = resolution("192.0.2.25", Some("192.0.2.25"));
    let detail = "no answer to the SYN within 8.5 s";
    report.failure = failure(Phase::Connect, Reason::ConnectionTimeout, detail, None);
    report
}

fn tcp_flow_ends() -> Report {
    let mut last = hop(3, &[7, 8, 7], &[("203.0.113.3", 3)]);
    last.routers[0].name = Some("border.transit.example".to_owned());
    last.routers[0].systems = vec![AutonomousSystem { number: 64_500, name: Some("TRANSIT - Example".to_owned()) }];
    let hops = vec![hop(1, &[1, 1, 2], &[("10.0.0.1", 3)]), hop(2, &[], &[]), last];
    let mut report = tcp_unanswered();
    let astray = "hop 1, 10.0.0.1, is a router of ISP sk".to_owned();
    report.failed_flow = failed_flow(Cause::Failure, End::Silent, false, hops).map(|flow| FailedFlow {
        verified: Some(false),
        astray: Some(astray),
        ..flow
    });
    report.way_out = Some(WayOut { first_hop: "10.0.0.1".parse().ok(), verified: Some(false), ..WayOut::default() });
    report
}

fn tcp_flow_not_permitted() -> Report {
    let mut report = tcp_unanswered();
    let end = End::NotPermitted("opening the socket is not permitted, give the program CAP_NET_RAW".to_owned());
    report.failed_flow = failed_flow(Cause::Failure, end, false, Vec::new());
    report
}

fn http_slow_flow() -> Report {
    let mut report = http_success();
    let hops = vec![hop(1, &[1, 1, 2], &[("10.0.0.1", 3)]), hop(2, &[80, 81, 80], &[("192.0.2.25", 3)])];
    let cause = Cause::Slow { phase: Phase::Connect, took: Duration::from_millis(80) };
    report.failed_flow = failed_flow(cause, End::Reached, true, hops);
    report
}

fn icmp_success() -> Report {
    let measured = icmp::Measurement {
        count: 4,
        payload_size: 56,
        ttl: Some(64),
        dont_fragment: true,
        source: Some("10.10.10.12".parse().unwrap()),
        sent: 4,
        received: 3,
        rtt: statistics(&[20, 22, 21]),
        reply_hop_limit: Some(57),
        raw: Some(true),
    };
    let phases = [(Phase::Resolve, 0), (Phase::Setup, 1), (Phase::Interval, 300), (Phase::Rtt, 21)];
    let mut report = report("192.0.2.1", "ping", &phases, Measurement::Icmp(measured));
    report.resolution = resolution("192.0.2.1", Some("192.0.2.1"));
    report
}

fn icmp_unreachable() -> Report {
    let measured = icmp::Measurement { count: 1, payload_size: 1472, sent: 1, raw: Some(false), ..Default::default() };
    let phases = [(Phase::Resolve, 0), (Phase::Setup, 1), (Phase::Rtt, 5000)];
    let mut report = report("192.0.2.9", "ping", &phases, Measurement::Icmp(measured));
    report.resolution = resolution("192.0.2.9", Some("192.0.2.9"));
    let offender = Some("198.51.100.1".parse().unwrap());
    report.failure = failure(Phase::Rtt, Reason::HostUnreachable, "host unreachable", offender);
    report
}

fn dns_success() -> Report {
    let soa = Entry {
        ty: 6,
        ttl: 300,
        text: "example.\t300\tIN\tSOA\tns.example. root.example. 2026112001 7200 3600 1209600 300".to_owned(),
        serial: Some(2_026_112_001),
    };
    let opt = Entry { ty: 41, ttl: 0, text: "; EDNS: version 0, udp: 1232".to_owned(), serial: None };
    let section = |records| Section { records, complete: true };
    let reply = Reply {
        authoritative: true,
        edns_udp_size: Some(1232),
        extended_errors: vec!["3 \"Stale Answer\"".to_owned()],
        answer: section(vec![soa]),
        authority: section(Vec::new()),
        additional: section(vec![opt]),
        ..Default::default()
    };
    let measured = dns::Measurement {
        transport: dns::Transport::Https,
        question: "example. IN SOA".to_owned(),
        handshake: handshake("10.10.10.12:40000", "192.0.2.53:443", Some(9_900), 0),
        traffic: Some(Traffic { sent: 620, received: 4_310 }),
        tls: Some(tls(Some(1_800_000_000))),
        status: Some(200),
        reply: Some(reply),
        succeeded: true,
        serial: Some(2_026_112_001),
    };
    let phases =
        [(Phase::Resolve, 1), (Phase::Connect, 10), (Phase::Tls, 21), (Phase::Processing, 11), (Phase::Transfer, 1)];
    let mut report = report("https://dns.example/dns-query", "zone", &phases, Measurement::Dns(measured));
    report.resolution = resolution("dns.example", Some("192.0.2.53"));
    report
}

fn dns_broken_off() -> Report {
    let text = "www.example.\t60\tCLASS1\tTYPE1\t\\# 3 c00002".to_owned();
    let answer = Section { records: vec![Entry { ty: 1, ttl: 60, text, serial: None }], complete: false };
    let defect = Some("a record of type A is malformed".to_owned());
    let reply = Reply { rcode: 2, truncated: true, recursion_available: true, answer, defect, ..Default::default() };
    let measured = dns::Measurement {
        transport: dns::Transport::Tcp,
        question: "www.example. IN A".to_owned(),
        handshake: handshake("10.10.10.12:40000", "192.0.2.53:53", None, 1),
        traffic: Some(Traffic { sent: 31, received: 40 }),
        tls: None,
        status: None,
        reply: Some(reply),
        succeeded: false,
        serial: None,
    };
    let phases = [(Phase::Resolve, 0), (Phase::Connect, 1020), (Phase::Query, 20)];
    let mut report = report("192.0.2.53", "names", &phases, Measurement::Dns(measured));
    report.resolution = resolution("192.0.2.53", Some("192.0.2.53"));
    report.failure = failure(Phase::Query, Reason::ConnectionTerminated, "in the middle of its reply", None);
    report
}

fn traceroute_success() -> Report {
    let mut hops = vec![
        hop(1, &[1, 1, 2], &[("10.0.0.1", 3)]),
        hop(2, &[], &[]),
        hop(3, &[10, 12], &[("10.0.3.1", 1), ("10.0.3.2", 1)]),
        hop(4, &[20, 20, 20], &[("192.0.2.1", 3)]),
    ];
    let label = |label, bottom| Label { label, traffic_class: 1, bottom, ttl: 1 };
    hops[2].routers[0].labels = vec![label(24_003, false), label(16, true)];
    hops[2].routers[1].error = Some((3, 13));
    let system = |number, name: Option<&str>| AutonomousSystem { number, name: name.map(str::to_owned) };
    hops[0].routers[0].name = Some("gw.dc1.example".to_owned());
    hops[2].routers[0].name = Some("core1.isp.example".to_owned());
    hops[2].routers[0].systems = vec![system(64_500, Some("EXAMPLE-NET Example, KR")), system(64_501, None)];
    hops[3].routers[0].systems = vec![system(64_502, Some("EXAMPLE-CLOUD, US"))];
    let measured = traceroute::Measurement {
        protocol: traceroute::Protocol::Tcp,
        port: Some(443),
        source: Some("10.10.10.12".parse().unwrap()),
        destination: Some("192.0.2.1".parse().unwrap()),
        packet_size: Some(56),
        rounds: 3,
        first_hop: 1,
        max_hops: 30,
        reached: true,
        packets: 21,
        flows: 1,
        balance: None,
        hops,
        analysis: Analysis::default(),
        mtu: Some(traceroute::Mtu {
            found: PathMtu { bytes: 1500, black_hole: None },
            device: 1500,
            said_by: None,
            hop: None,
            next_hop: None,
        }),
        offered_mss: Some(1460),
        mss: Some(1460),
        clamp: Clamp::default(),
    };
    let measured = analysed(measured);
    let phases = [(Phase::Resolve, 0), (Phase::Setup, 1), (Phase::Trace, 220), (Phase::Mtu, 40), (Phase::Lookup, 30)];
    let mut report = report("192.0.2.1", "trace", &phases, Measurement::Traceroute(measured));
    report.resolution = resolution("192.0.2.1", Some("192.0.2.1"));
    report.way_out = way_out("10.0.0.1", true, false);
    report
}

/// Large packets vanish behind the first hop, on the way to the third, and whoever is there makes the segments of TCP smaller.
fn traceroute_black_hole() -> Report {
    let mut report = traceroute_success();
    let Measurement::Traceroute(measured) = &mut report.measurement else { panic!("it is a trace") };
    let found = PathMtu { bytes: 1400, black_hole: Some(true) };
    measured.mtu = Some(traceroute::Mtu { found, device: 1500, said_by: None, hop: Some(1), next_hop: Some(3) });
    measured.mss = Some(1360);
    measured.hops[0].routers[0].mss = Some(1460);
    measured.hops[2].routers[1].mss = Some(1360);
    measured.clamp = measured.clamping();
    report
}

fn traceroute_wrong_way() -> Report {
    let mut report = traceroute_success();
    report.way_out = way_out("10.0.0.1", false, true);
    report.failure = failure(Phase::Trace, Reason::EgressMismatch, "hop 1, 10.0.0.1, is a router of ISP sk", None);
    report
}

fn traceroute_not_reached() -> Report {
    let addresses: Vec<String> = (1..=12).map(|n| format!("10.0.2.{n}")).collect();
    let addresses: Vec<(&str, u32)> = addresses.iter().map(|address| (address.as_str(), 1)).collect();
    let hops = vec![hop(1, &[1], &[("10.0.0.1", 1)]), hop(2, &[5, 6, 7], &addresses)];
    let measured = traceroute::Measurement {
        protocol: traceroute::Protocol::Icmp,
        port: None,
        source: Some("10.10.10.12".parse().unwrap()),
        destination: Some("192.0.2.9".parse().unwrap()),
        packet_size: Some(84),
        rounds: 3,
        first_hop: 1,
        max_hops: 2,
        reached: false,
        packets: 18,
        flows: 1,
        balance: None,
        hops,
        analysis: Analysis::default(),
        mtu: None,
        offered_mss: None,
        mss: None,
        clamp: Clamp::default(),
    };
    let measured = analysed(measured);
    let mut report =
        report("192.0.2.9", "trace", &[(Phase::Resolve, 0), (Phase::Trace, 4000)], Measurement::Traceroute(measured));
    report.resolution = resolution("192.0.2.9", Some("192.0.2.9"));
    report.failure = failure(Phase::Trace, Reason::IcmpTimeout, "192.0.2.9 did not answer", None);
    report
}

fn traceroute_lossy() -> Report {
    let answered = [20, 5, 20, 14, 13, 15];
    let hops = (1..).zip(answered).map(|(number, answered)| {
        let address = if number == 6 { "2001:db8::9".to_owned() } else { format!("2001:db8:a::{number}") };
        let hop = hop(number, &vec![u64::from(number); answered as usize], &[(&address, answered)]);
        traceroute::Hop { sent: 21, lost: 20 - answered, ..hop }
    });
    let mut measured = analysed(traceroute::Measurement {
        protocol: traceroute::Protocol::Icmp,
        port: None,
        source: Some("2001:db8:a::12".parse().unwrap()),
        destination: Some("2001:db8::9".parse().unwrap()),
        packet_size: Some(104),
        rounds: 30,
        first_hop: 1,
        max_hops: 30,
        reached: true,
        packets: 27,
        flows: 1,
        balance: None,
        hops: hops.collect(),
        analysis: Analysis::default(),
        mtu: None,
        offered_mss: None,
        mss: None,
        clamp: Clamp::default(),
    });
    measured.analysis.as_path_hash = Some(302_424_885_708_026);
    let found = PathMtu { bytes: 1480, black_hole: Some(false) };
    let said_by = "2001:db8:a::3".parse().ok();
    measured.mtu = Some(traceroute::Mtu { found, device: 1500, said_by, hop: Some(3), next_hop: Some(4) });
    let phases = [(Phase::Resolve, 0), (Phase::Setup, 1), (Phase::Trace, 2100)];
    let mut report = report("2001:db8::9", "trace", &phases, Measurement::Traceroute(measured));
    report.resolution = resolution("2001:db8::9", Some("2001:db8::9"));
    report
}

/// Five flows, by two paths that are known, of which one has a silent hop, and packets shared at the last router.
fn traceroute_flows() -> Report {
    let mut hops = vec![
        hop(1, &[1, 1, 2], &[("10.0.0.1", 3)]),
        hop(2, &[5, 5, 5], &[("10.0.2.1", 3)]),
        hop(3, &[10, 12, 11], &[("10.0.3.1", 2), ("10.0.3.2", 1)]),
        hop(4, &[20, 20, 20], &[("192.0.2.1", 3)]),
    ];
    hops[1].others = vec![traceroute::Router { answers: 6, ..traceroute::Router::new("10.0.2.2".parse().unwrap()) }];
    let router = |address: &str| Some(address.parse().unwrap());
    let path = |second, flows: &[usize]| FlowPath {
        routers: vec![router("10.0.0.1"), second, None, router("192.0.2.1")],
        flows: flows.to_vec(),
    };
    let measured = traceroute::Measurement {
        protocol: traceroute::Protocol::Udp,
        port: Some(33_434),
        source: Some("10.10.10.12".parse().unwrap()),
        destination: Some("192.0.2.1".parse().unwrap()),
        packet_size: Some(30),
        rounds: 3,
        first_hop: 1,
        max_hops: 30,
        reached: true,
        packets: 9,
        flows: 5,
        balance: Some(Balance {
            flows: 5,
            sufficient: false,
            paths: vec![path(router("10.0.2.1"), &[0, 2, 4]), path(router("10.0.2.2"), &[1, 3])],
            widths: vec![(1, 1), (2, 2), (3, 2), (4, 1)],
            per_flow: vec![2],
            per_packet: vec![3],
        }),
        hops,
        analysis: Analysis::default(),
        mtu: None,
        offered_mss: None,
        mss: None,
        clamp: Clamp::default(),
    };
    let measured = analysed(measured);
    let phases = [(Phase::Resolve, 0), (Phase::Setup, 1), (Phase::Trace, 290)];
    let mut report = report("192.0.2.1", "trace", &phases, Measurement::Traceroute(measured));
    report.resolution = resolution("192.0.2.1", Some("192.0.2.1"));
    report
}

/// A trace that has everything that a trace may have, and more than that: each hop answered by ten routers, lost, and failed all the same.
pub(crate) fn widest_trace(hops: u8) -> Report {
    let (_, report) = all().into_iter().find(|(name, _)| *name == "traceroute_lossy").unwrap();
    let Measurement::Traceroute(measured) = report.measurement else { panic!("it is a trace") };
    let hop_of = |number: u8| {
        let addresses: Vec<String> = (0..10).map(|router| format!("2001:db8:{number}::{router}")).collect();
        let addresses: Vec<(&str, u32)> = addresses.iter().map(|address| (address.as_str(), 2)).collect();
        traceroute::Hop { lost: 1, ..hop(number, &[number.into(), number.into()], &addresses) }
    };
    let hops: Vec<traceroute::Hop> = (1..=hops).map(hop_of).collect();
    let destination = hops.last().and_then(|hop| hop.latest).map(|(_, address)| address);
    let balance = Balance {
        flows: 16,
        paths: vec![FlowPath { routers: Vec::new(), flows: vec![0] }],
        widths: hops.iter().map(|hop| (hop.number, 10)).collect(),
        per_flow: vec![1],
        per_packet: vec![2],
        sufficient: true,
    };
    let measured = traceroute::Measurement { hops, destination, balance: Some(balance), ..measured };
    let mut analysis = measured.meaning(|_| None);
    analysis.as_path_hash = Some(1);
    analysis.loss_onset = Some(0);
    analysis.delay_onset = Some(DelayOnset { hop: 0, after: None, step: 0.1 });
    analysis.roles = Role::ALL.map(|role| (role, 0)).to_vec();
    let clamp = Clamp { there: Some(There::Kept), back: Some(false) };
    let measured = traceroute::Measurement { analysis, offered_mss: Some(1440), mss: Some(1440), clamp, ..measured };
    let phases = [(Phase::Resolve, 1), (Phase::Setup, 1), (Phase::Trace, 220), (Phase::Mtu, 20), (Phase::Lookup, 30)];
    Report {
        phases: phases.map(|(phase, ms)| (phase, Duration::from_millis(ms))).to_vec(),
        measurement: Measurement::Traceroute(measured),
        failure: failure(Phase::Trace, Reason::AdminProhibited, "no", None),
        way_out: way_out("2001:db8:1::", false, true),
        ..report
    }
}

/// A probe of `http` that has every series that one can have, but for the trace of its flow.
pub(crate) fn widest_http() -> Report {
    let mut report = http_success();
    let Measurement::Http(measured) = &mut report.measurement else { panic!("it is of http") };
    measured.requests.last_mut().unwrap().handshake.rtt = Some(Duration::from_micros(9_900));
    report.phases.insert(0, (Phase::Token, Duration::from_millis(90)));
    report.failure = failure(Phase::Transfer, Reason::AssertionFailedBody, "no", None);
    report.way_out = way_out("10.0.0.1", false, true);
    report
}

/// The trace of a flow that has every series that one can have.
pub(crate) fn widest_flow() -> Option<FailedFlow> {
    tcp_flow_ends().failed_flow
}

fn egress_success() -> Report {
    let taken = |isp: &str, flows| egress::Taken { isp: isp.to_owned(), flows };
    let measured = egress::Measurement {
        protocol: egress::Protocol::Tcp,
        destinations: vec!["192.0.2.1:443".parse().unwrap(), "192.0.2.2:8443".parse().unwrap()],
        source: Some("203.0.113.12".parse().unwrap()),
        flows: 100,
        rate: 50,
        first_hop: 2,
        max_hops: 6,
        packets: 204,
        sent: 100,
        taken: vec![taken("kt", 74), taken("lg", 0), taken("sk_dc1,sk_dc2", 24)],
        strangers: vec![("198.51.100.1".parse().unwrap(), 1)],
    };
    let phases = [(Phase::Resolve, 0), (Phase::Setup, 1), (Phase::Trace, 4100)];
    let mut report = report("192.0.2.1,192.0.2.2:8443", "share", &phases, Measurement::Egress(measured));
    report.isp = None;
    report.resolution = resolution("192.0.2.1", Some("192.0.2.1"));
    let way_out = WayOut { device: Some("eth0".to_owned()), return_mismatch: Some(false), ..WayOut::default() };
    report.way_out = Some(way_out);
    report
}

fn egress_too_few() -> Report {
    let mut report = egress_success();
    let Measurement::Egress(measured) = &mut report.measurement else { panic!("shares") };
    (measured.protocol, measured.source) = (egress::Protocol::Udp, None);
    measured.taken[0].flows = 20;
    measured.strangers.clear();
    let detail = "of 100 flows 44 are known by their ISP, too few to tell shares by";
    report.failure = failure(Phase::Trace, Reason::IcmpLossPartial, detail, None);
    report
}

fn unix_success() -> Report {
    let measured = unix::Measurement {
        traffic: Some(Traffic { sent: 402, received: 2_870 }),
        heard: Heard {
            failed_due_to_regex: Some(false),
            failed_due_to_bytes: Some(false),
            expect_info: vec![("version".to_owned(), "7.2".to_owned())],
        },
        tls: Some(tls(Some(1_800_000_000))),
    };
    let phases = [(Phase::Connect, 0), (Phase::Tls, 3), (Phase::Query, 12)];
    let mut report = report("/run/app.sock", "app", &phases, Measurement::Unix(measured));
    report.isp = None;
    report
}

fn unix_missing() -> Report {
    let mut report =
        report("/run/none.sock", "app", &[(Phase::Connect, 0)], Measurement::Unix(unix::Measurement::default()));
    report.isp = None;
    let detail = "connecting to /run/none.sock: there is no such socket";
    report.failure = failure(Phase::Connect, Reason::ConnectionRefused, detail, None);
    report
}

fn grpc_success() -> Report {
    let measured = grpc::Measurement {
        handshake: handshake("10.10.10.12:40000", "192.0.2.50:50051", Some(9_900), 0),
        traffic: Some(Traffic { sent: 890, received: 3_120 }),
        ssl: Some(true),
        http_status: Some(200),
        status: Some(0),
        message: None,
        serving: Some(Serving::Serving),
        tls: Some(tls(Some(1_800_000_000))),
    };
    let phases =
        [(Phase::Resolve, 1), (Phase::Connect, 10), (Phase::Tls, 22), (Phase::Processing, 14), (Phase::Transfer, 1)];
    let mut report = report("api.example:50051", "health", &phases, Measurement::Grpc(measured));
    report.resolution = resolution("api.example", Some("192.0.2.50"));
    report
}

fn grpc_unknown_service() -> Report {
    let measured = grpc::Measurement {
        handshake: handshake("10.10.10.12:40000", "192.0.2.50:50051", Some(9_900), 0),
        traffic: Some(Traffic { sent: 190, received: 120 }),
        ssl: Some(false),
        http_status: Some(200),
        status: Some(5),
        message: Some("unknown service".to_owned()),
        ..Default::default()
    };
    let phases = [(Phase::Resolve, 0), (Phase::Connect, 10), (Phase::Processing, 11), (Phase::Transfer, 0)];
    let mut report = report("192.0.2.50:50051", "health", &phases, Measurement::Grpc(measured));
    report.resolution = resolution("192.0.2.50", Some("192.0.2.50"));
    let detail = "the check of the service \"a\" ended with the status 5, NOT_FOUND: unknown service";
    report.failure = failure(Phase::Transfer, Reason::AssertionFailedHeader, detail, None);
    report
}

fn websocket_success() -> Report {
    let measured = websocket::Measurement {
        handshake: handshake("10.10.10.12:40000", "192.0.2.80:443", Some(9_900), 0),
        traffic: Some(Traffic { sent: 1_020, received: 3_400 }),
        status: Some(101),
        upgraded: Some(true),
        failed_due_to_regex: Some(false),
        close_code: Some(1000),
        tls: Some(tls(Some(1_800_000_000))),
    };
    let phases =
        [(Phase::Resolve, 1), (Phase::Connect, 10), (Phase::Tls, 22), (Phase::Processing, 14), (Phase::Query, 31)];
    let mut report = report("wss://chat.example/", "chat", &phases, Measurement::Websocket(measured));
    report.resolution = resolution("chat.example", Some("192.0.2.80"));
    report
}

fn websocket_closed() -> Report {
    let measured = websocket::Measurement {
        handshake: handshake("[2001:db8:a::12]:40000", "[2001:db8::80]:80", Some(9_900), 0),
        traffic: Some(Traffic { sent: 220, received: 180 }),
        status: Some(101),
        upgraded: Some(true),
        failed_due_to_regex: Some(true),
        close_code: Some(1013),
        tls: None,
    };
    let phases = [(Phase::Resolve, 1), (Phase::Connect, 10), (Phase::Processing, 14), (Phase::Query, 5)];
    let mut report = report("ws://chat.example/", "chat", &phases, Measurement::Websocket(measured));
    report.resolution = resolution("chat.example", Some("2001:db8::80"));
    let detail = "the server closed with the code 1013 (try again later) without an answer";
    report.failure = failure(Phase::Query, Reason::ConnectionTerminated, detail, None);
    report
}

/// Has the ISP of a report expect these addresses.
fn expecting(mut report: Report, public_ips: &[&str]) -> Report {
    let isp = report.isp.as_deref().unwrap().clone();
    let public_ips = public_ips.iter().map(|prefix| prefix.parse().unwrap()).collect();
    report.isp = Some(Arc::new(Isp { public_ips, ..isp }));
    report
}

fn stun_success() -> Report {
    let measured = stun::Measurement {
        transport: stun::Transport::Udp,
        handshake: Handshake {
            rtt: None,
            syn_retransmits: None,
            ..handshake("10.10.10.12:40000", "192.0.2.78:3478", None, 0)
        },
        traffic: Some(Traffic { sent: 28, received: 40 }),
        requests: 1,
        rtt: Some(Duration::from_micros(9_870)),
        mapped: Some(Mapped { address: "3.3.3.3:40000".parse().unwrap(), in_clear: false }),
        refusal: None,
    };
    let phases = [(Phase::Resolve, 1), (Phase::Connect, 0), (Phase::Query, 10)];
    let mut report = report("stun.example", "stun", &phases, Measurement::Stun(measured));
    report.resolution = resolution("stun.example", Some("192.0.2.78"));
    expecting(report, &["3.3.3.0/30"])
}

fn stun_refused() -> Report {
    let measured = stun::Measurement {
        transport: stun::Transport::Tcp,
        handshake: handshake("[2001:db8:a::12]:40000", "[2001:db8::78]:3478", Some(9_900), 0),
        traffic: Some(Traffic { sent: 28, received: 60 }),
        requests: 1,
        rtt: None,
        mapped: None,
        refusal: Some(Refusal {
            code: 300,
            reason: "Try Alternate".to_owned(),
            alternate: Some("[2001:db8::79]:3478".parse().unwrap()),
        }),
    };
    let phases = [(Phase::Resolve, 1), (Phase::Connect, 10), (Phase::Query, 10)];
    let mut report = report("stun.example", "stun_tcp", &phases, Measurement::Stun(measured));
    report.resolution = resolution("stun.example", Some("2001:db8::78"));
    let detail = "the server answers with the error 300 \"Try Alternate\" (ALTERNATE-SERVER [2001:db8::79]:3478), who is not asked";
    report.failure = failure(Phase::Query, Reason::StunError(StatusClass::Redirection), detail, None);
    report
}

fn http_public_ip() -> Report {
    let request = http::Request {
        url: "http://reflector.example:8080/".to_owned(),
        handshake: handshake("10.10.10.12:40000", "192.0.2.78:8080", Some(9_900), 0),
        traffic: Some(Traffic { sent: 105, received: 150 }),
        body_length: Some(0),
        status: Some(200),
        version: Some(1.1),
        response_headers: Some(4),
        ..Default::default()
    };
    let measured = http::Measurement {
        requests: vec![request],
        status: Some(200),
        version: Some(1.1),
        content_length: Some(8),
        body_length: Some(8),
        failed_due_to_regex: Some(false),
        ssl: Some(false),
        public_ip: "4.4.4.4".parse().ok(),
        ..Default::default()
    };
    let phases = [(Phase::Resolve, 1), (Phase::Connect, 10), (Phase::Processing, 10), (Phase::Transfer, 0)];
    let mut report = report("http://reflector.example:8080/", "public_ip", &phases, Measurement::Http(measured));
    report.resolution = resolution("reflector.example", Some("192.0.2.78"));
    expecting(report, &["3.3.3.3"])
}

/// By a device and a gateway to a router that answered first.
fn way_out(first_hop: &str, verified: bool, return_mismatch: bool) -> Option<WayOut> {
    Some(WayOut {
        device: Some("eth0".to_owned()),
        gateway: "10.10.10.1".parse().ok(),
        first_hop: first_hop.parse().ok(),
        verified: Some(verified),
        return_mismatch: Some(return_mismatch),
    })
}

/// A report through an ISP of both families, whose phases take milliseconds and whose overhead takes one.
fn report(target: &str, module: &str, phases: &[(Phase, u64)], measurement: Measurement) -> Report {
    let overhead = Duration::from_millis(1);
    let phases: Vec<_> = phases.iter().map(|(phase, ms)| (*phase, Duration::from_millis(*ms))).collect();
    Report {
        target: target.to_owned(),
        module: module.to_owned(),
        hostname: None,
        isp: Some(Arc::new(Isp {
            name: "kt".to_owned(),
            site: "dc1".to_owned(),
            source: Source {
                v4: Some("10.10.10.12".parse().unwrap()),
                v6: Some("2001:db8:a::12".parse().unwrap()),
                interface: None,
                mark: None,
            },
            ..Isp::default()
        })),
        started: time(1_700_000_000),
        duration: phases.iter().map(|(_, span)| *span).sum::<Duration>() + overhead,
        timeout: Duration::from_millis(9500),
        phases,
        overhead,
        resolution: None,
        way_out: None,
        measurement,
        failure: None,
        failed_flow: None,
        log: Vec::new(),
    }
}

fn handshake(local: &str, remote: &str, rtt: Option<u64>, syn_retransmits: u32) -> Handshake {
    Handshake {
        local: Some(local.parse().unwrap()),
        remote: Some(remote.parse().unwrap()),
        rtt: rtt.map(Duration::from_micros),
        syn_retransmits: Some(syn_retransmits),
    }
}

fn resolution(name: &str, address: Option<&str>) -> Option<Resolution> {
    let address = address.map(|address| address.parse().unwrap());
    Some(Resolution { name: name.to_owned(), address, took: None })
}

fn failure(phase: Phase, reason: Reason, detail: &str, offender: Option<IpAddr>) -> Option<Failure> {
    Some(Failure { phase, reason, detail: detail.to_owned(), offender })
}

fn tls(chain_expiry: Option<u64>) -> TlsFacts {
    let certificate = |subject: &str, serial: &str, not_after| Certificate {
        fingerprint_sha256: "ab".repeat(32),
        subject: subject.to_owned(),
        issuer: "CN=Example CA,O=Example\\, Inc,C=US".to_owned(),
        subject_alternative: "api.example,www.example".to_owned(),
        serial_number: serial.to_owned(),
        not_before: time(1_650_000_000),
        not_after: time(not_after),
    };
    TlsFacts {
        version: Some("TLS 1.3"),
        cipher: Some("TLS_AES_128_GCM_SHA256".to_owned()),
        alpn: Some("http/1.1".to_owned()),
        chain: vec![
            certificate("CN=api.example", "0a1b", 1_810_000_000),
            certificate("CN=Example CA,O=Example\\, Inc,C=US", "01", 1_805_000_000),
        ],
        chain_expiry: chain_expiry.map(time),
    }
}

fn hop(number: u8, rtts: &[u64], addresses: &[(&str, u32)]) -> traceroute::Hop {
    let router = |(address, answers): &(&str, u32)| traceroute::Router {
        answers: *answers,
        ..traceroute::Router::new(address.parse().unwrap())
    };
    traceroute::Hop {
        number,
        sent: 3,
        received: rtts.len() as u32,
        lost: 3_u32.saturating_sub(rtts.len() as u32),
        rtt: statistics(rtts),
        latest: addresses.last().map(|(address, _)| (number.into(), address.parse().unwrap())),
        routers: addresses.iter().map(router).collect(),
        others: Vec::new(),
    }
}

/// The routers of 10.0.0.0/23 are the ISP's, and who announces the others is known.
fn analysed(mut measured: traceroute::Measurement) -> traceroute::Measurement {
    measured.hops.iter_mut().flat_map(|hop| &mut hop.routers).for_each(|router| router.systems_said = true);
    let analysis = measured.meaning(|router| match router.address {
        IpAddr::V4(address) => Some(address.octets()[..2] == [10, 0] && address.octets()[2] < 2),
        IpAddr::V6(_) => None,
    });
    traceroute::Measurement { analysis, ..measured }
}

fn statistics(milliseconds: &[u64]) -> Statistics {
    let mut statistics = Statistics::default();
    milliseconds.iter().for_each(|ms| statistics.add(Duration::from_millis(*ms)));
    statistics
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}
