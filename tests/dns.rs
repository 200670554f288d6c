//! The prober `dns`: what it measures of a name server that does whatever a name server may do, and that it reads records as
//! blackbox_exporter does.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the tests talk to their own servers, they are no probes"
)]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use support::dns::{NameServer, Sockets, records, series, server_config};
use support::peer::{Peer, Version};
use support::{free_port, get};
use uplink_exporter::config::{Config, load_str};
use uplink_exporter::flight::Phase;
use uplink_exporter::metrics::of_report;
use uplink_exporter::probe::dns::{Measurement, Transport};
use uplink_exporter::probe::{self, Report, Request};
use uplink_exporter::render;
use uplink_exporter::verdict::{CertificateFault, Late, Reason};
use uplink_exporter::wire::dns::message::{Reply, Section};

/// Not where the exporters listen, whose ports are looked for before they are used.
const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(10);

/// A name server, and the certificate of who vouches for it.
struct Bench {
    server: NameServer,
    folder: tempfile::TempDir,
}

impl Bench {
    fn start(ip: IpAddr) -> Self {
        Self::speaking(ip, &[])
    }

    /// Over HTTPS the server speaks these protocols only.
    fn speaking(ip: IpAddr, protocols: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["dns.test".to_owned(), V4.to_string(), V6.to_string()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let mut config = server_config(certificate.pem().as_bytes(), key.serialize_pem().as_bytes());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Self { server: NameServer::start(Sockets::bind(ip, [0; 3]), config), folder }
    }

    /// A configuration with a module `m`, which trusts the server where it says so by `CA`.
    fn config(&self, section: &str, isps: &str) -> Config {
        let ca = self.folder.path().join("ca.pem").display().to_string();
        let text = format!("isps: {isps}\nmodules: {{m: {{prober: dns, dns: {}}}}}", section.replace("CA", &ca));
        load_str(&text, "test.yml").unwrap_or_else(|errors| panic!("{section}: {errors}"))
    }

    fn probe_for(&self, section: &str, target: impl ToString, timeout: Duration) -> Report {
        let config = self.config(section, "{}");
        run(Request {
            target: target.to_string(),
            module: Arc::clone(&config.modules["m"]),
            isp: None,
            isps: Arc::default(),
            timeout,
            zoned: None,
            hostname: None,
            log_limit: usize::MAX,
            network: Arc::default(),
            identities: Arc::default(),
        })
    }

    fn probe(&self, section: &str) -> Report {
        self.probe_for(section, self.server.plain, PATIENCE)
    }
}

/// Runs a probe, and checks what holds for every report.
fn run(request: Request) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    request.module.prober.check_target(&request.target).unwrap();
    let report = runtime.block_on(probe::run(&request));
    let sum = report.phases.iter().map(|(_, span)| *span).sum::<Duration>() + report.overhead;
    assert!(sum.abs_diff(report.duration) < Duration::from_millis(1), "{sum:?} is not the duration of {report:#?}");
    report
}

fn measured(report: &Report) -> &Measurement {
    let probe::Measurement::Dns(measured) = &report.measurement else { panic!("{report:#?}") };
    measured
}

fn reply(report: &Report) -> &Reply {
    measured(report).reply.as_ref().unwrap_or_else(|| panic!("no reply: {report:#?}"))
}

fn texts(section: &Section) -> Vec<&str> {
    section.records.iter().map(|entry| entry.text.as_str()).collect()
}

fn phases(report: &Report) -> Vec<Phase> {
    report.phases.iter().map(|(phase, _)| *phase).collect()
}

fn metrics(report: &Report) -> std::collections::BTreeMap<String, f64> {
    series(&render::text(&of_report(report)))
}

#[track_caller]
fn check_failure(report: &Report, phase: Phase, reason: Reason, detail: &str) {
    let failure = report.failure.as_ref().unwrap_or_else(|| panic!("succeeded: {report:#?}"));
    assert_eq!((failure.phase, failure.reason), (phase, reason), "{report:#?}");
    assert!(failure.detail.contains(detail), "{}", failure.detail);
}

#[test]
fn every_transport_brings_the_whole_reply_over_both_families() {
    for ip in [V4, V6] {
        let bench = Bench::start(ip);
        let NameServer { plain, tls, https } = bench.server;
        let udp = ("{query_name: www.test}", plain.to_string(), Transport::Udp);
        let tcp = ("{query_name: www.test, transport_protocol: tcp}", plain.to_string(), Transport::Tcp);
        let over_tls = (
            "{query_name: www.test, transport_protocol: tcp, dns_over_tls: true, tls_config: {ca_file: CA}}",
            tls.to_string(),
            Transport::Tls,
        );
        let by_name = (
            "{query_name: www.test, transport_protocol: https, tls_config: {ca_file: CA, server_name: dns.test}}",
            format!("https://{https}/dns-query"),
            Transport::Https,
        );
        for (section, target, transport) in [udp, tcp, over_tls, by_name] {
            let report = bench.probe_for(section, &target, PATIENCE);
            assert_eq!(report.failure, None, "{target}: {report:#?}");
            let measured = measured(&report);
            assert_eq!((measured.transport, measured.question.as_str()), (transport, "www.test. IN ANY"));
            assert!(measured.succeeded && measured.serial.is_none());
            let reply = reply(&report);
            assert_eq!(reply.rcode, 0);
            assert!(reply.authoritative && reply.recursion_available && !reply.truncated && !reply.authenticated);
            let expected = ["www.test.\t300\tIN\tA\t127.0.0.1", "www.test.\t60\tIN\tA\t127.0.0.2"];
            assert_eq!(texts(&reply.answer), expected);
            assert_eq!(texts(&reply.authority), ["test.\t7200\tIN\tNS\tns1.test.", "test.\t7200\tIN\tNS\tns2.test."]);
            assert_eq!(
                texts(&reply.additional),
                ["ns1.test.\t7200\tIN\tA\t127.0.0.1", "ns1.test.\t7200\tIN\tAAAA\t::1"]
            );
            let local = measured.handshake.local.unwrap();
            let source = if ip == V4 { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ip };
            assert_eq!((local.ip(), local.port() != 0), (source, true));
            let remote = if transport == Transport::Https {
                https
            } else if transport == Transport::Tls {
                tls
            } else {
                plain
            };
            assert_eq!(measured.handshake.remote, Some(remote));
            let traffic = measured.traffic.unwrap();
            assert!(traffic.sent >= 26 && traffic.received >= 150, "{traffic:?}");
            let reached: &[Phase] = match transport {
                Transport::Udp | Transport::Tcp => &[Phase::Resolve, Phase::Connect, Phase::Query],
                Transport::Tls => &[Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Query],
                Transport::Https => &[Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Processing, Phase::Transfer],
            };
            assert_eq!(phases(&report), reached);
            let metrics = metrics(&report);
            for (name, value) in [
                ("probe_success", 1.0),
                ("probe_dns_answer_rrs", 2.0),
                ("probe_dns_authority_rrs", 2.0),
                ("probe_dns_additional_rrs", 2.0),
                ("probe_dns_query_succeeded", 1.0),
                ("probe_dns_rcode", 0.0),
                ("probe_dns_truncated", 0.0),
                ("probe_dns_answer_ttl_min_seconds", 60.0),
                ("probe_ip_protocol", if ip == V4 { 4.0 } else { 6.0 }),
            ] {
                assert_eq!(metrics.get(name), Some(&value), "{name} of {target}");
            }
            let of_tls = metrics.keys().any(|name| name.starts_with("probe_tls_version_info"));
            assert_eq!(of_tls, reached.contains(&Phase::Tls));
            let absent = ["probe_dns_edns_udp_size_bytes", "probe_dns_serial"];
            assert!(absent.iter().all(|name| !metrics.contains_key(*name)));
        }
    }
}

#[test]
fn phases_hold_the_time_that_the_server_takes() {
    let bench = Bench::start(V4);
    let tls = "transport_protocol: tcp, dns_over_tls: true, tls_config: {ca_file: CA}";
    let https = "transport_protocol: https, tls_config: {ca_file: CA}";
    for (more, target) in [
        ("transport_protocol: udp", bench.server.plain.to_string()),
        ("transport_protocol: tcp", bench.server.plain.to_string()),
        (tls, bench.server.tls.to_string()),
        (https, format!("https://{}/dns-query", bench.server.https)),
    ] {
        let report = bench.probe_for(&format!("{{query_name: slow.test, {more}}}"), target, PATIENCE);
        assert_eq!(report.failure, None, "{report:#?}");
        let metrics = metrics(&report);
        let of = |phase: &str| metrics[&format!("probe_dns_duration_seconds{{phase=\"{phase}\"}}")];
        assert!((0.1..0.15).contains(&of("request")), "{more}: {}", of("request"));
        assert!(of("connect") < 0.05 && of("resolve") < 0.01, "{more}");
        let sum = of("resolve") + of("connect") + of("request") + metrics["probe_measurement_overhead_seconds"];
        assert!((sum - metrics["probe_duration_seconds"]).abs() < 1e-3, "{more}: {sum}");
    }
}

#[test]
fn response_codes_have_their_reasons() {
    let bench = Bench::start(V4);
    for (code, reason) in [
        (1, Reason::DnsRefused),
        (2, Reason::DnsServfail),
        (3, Reason::DnsNxdomain),
        (4, Reason::DnsRefused),
        (5, Reason::DnsRefused),
        (9, Reason::DnsRefused),
    ] {
        let report = bench.probe(&format!("{{query_name: rcode{code}.test}}"));
        check_failure(&report, Phase::Query, reason, "the response code is ");
        let metrics = metrics(&report);
        assert_eq!((metrics["probe_dns_rcode"], metrics["probe_dns_query_succeeded"]), (f64::from(code), 1.0));
        assert_eq!(metrics["probe_dns_answer_rrs"], 0.0, "measured, and none");
    }
    let report = bench.probe("{query_name: headeronly.test}");
    check_failure(&report, Phase::Query, Reason::DnsRefused, "the response code is REFUSED, not NOERROR");
    let report = bench.probe("{query_name: www.test, valid_rcodes: [NXDOMAIN, REFUSED]}");
    check_failure(&report, Phase::Query, Reason::AssertionFailedDns, "is NOERROR, not NXDOMAIN or REFUSED");
    let report = bench.probe("{query_name: rcode3.test, valid_rcodes: [NXDOMAIN]}");
    assert_eq!(report.failure, None);
}

#[test]
fn only_a_reply_to_the_question_counts() {
    let bench = Bench::start(V4);
    for label in ["wrongid", "otherquestion", "garbage"] {
        let report = bench.probe(&format!("{{query_name: {label}.test, query_type: A}}"));
        assert_eq!(report.failure, None, "{label}: {report:#?}");
        let passed_over = report.log.iter().filter(|line| line.text.contains("passed over a datagram of ")).count();
        assert_eq!(passed_over, if label == "garbage" { 2 } else { 1 }, "{label}: {:#?}", report.log);
        // Over a connection there is nobody else who could have said that.
        let report = bench.probe(&format!("{{query_name: {label}.test, query_type: A, transport_protocol: tcp}}"));
        check_failure(&report, Phase::Query, Reason::DnsAnswerUnexpected, "the server's message ");
        assert!(!metrics(&report).contains_key("probe_dns_rcode"));
    }
    let patience = Duration::from_millis(200);
    let report = bench.probe_for("{query_name: stubborn.test}", bench.server.plain, patience);
    check_failure(&report, Phase::Query, Reason::DnsTimeout, "no reply from the name server within 0.2 s");
    assert_eq!(metrics(&report)["probe_dns_query_succeeded"], 0.0);
}

#[test]
fn a_server_that_is_not_there_is_told_at_once() {
    let bench = Bench::start(V4);
    for ip in [V4, V6] {
        let closed = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
        let report = bench.probe_for("{query_name: www.test}", closed, PATIENCE);
        check_failure(&report, Phase::Query, Reason::PortUnreachable, "asking the name server");
        assert_eq!(report.failure.as_ref().unwrap().offender, Some(ip), "who says so");
        assert!(report.duration < Duration::from_secs(1));
        let report = bench.probe_for("{query_name: www.test, transport_protocol: tcp}", closed, PATIENCE);
        check_failure(&report, Phase::Connect, Reason::ConnectionRefused, "connecting to");
    }
}

#[test]
fn silence_is_a_timeout_of_the_phase_that_it_is_in() {
    let bench = Bench::start(V4);
    let patience = Duration::from_millis(200);
    let https = format!("https://{}/dns-query", bench.server.https);
    for (more, target, phase, reason) in [
        ("transport_protocol: udp", bench.server.plain.to_string(), Phase::Query, Reason::DnsTimeout),
        ("transport_protocol: tcp", bench.server.plain.to_string(), Phase::Query, Reason::DnsTimeout),
        (
            "transport_protocol: https, tls_config: {ca_file: CA}",
            https,
            Phase::Processing,
            Reason::HttpResponseTimeout(Late::Server),
        ),
    ] {
        let report = bench.probe_for(&format!("{{query_name: silent.test, {more}}}"), target, patience);
        check_failure(&report, phase, reason, "within 0.2 s");
        assert!(report.duration < Duration::from_millis(400), "{:?}", report.duration);
        let metrics = metrics(&report);
        assert!(metrics["probe_dns_duration_seconds{phase=\"request\"}"] > 0.1, "{metrics:#?}");
        assert!(["probe_dns_rcode", "probe_dns_answer_rrs"].iter().all(|name| !metrics.contains_key(*name)));
    }
}

#[test]
fn what_came_of_a_reply_before_it_broke_off_is_kept() {
    let bench = Bench::start(V4);
    let ask = |label, patience| {
        let section = format!("{{query_name: {label}.test, query_type: A, transport_protocol: tcp}}");
        bench.probe_for(&section, bench.server.plain, patience)
    };
    let half = ask("half", Duration::from_millis(200));
    check_failure(&half, Phase::Query, Reason::DnsTimeout, "no reply");
    let broken_off = ask("brokenoff", PATIENCE);
    check_failure(&broken_off, Phase::Query, Reason::ConnectionTerminated, "in the middle of its reply");
    for report in [half, broken_off] {
        let reply = reply(&report);
        assert_eq!((texts(&reply.answer).len(), reply.answer.complete), (2, true));
        assert_eq!((texts(&reply.authority).len(), reply.authority.complete), (1, false));
        let metrics = metrics(&report);
        assert_eq!((metrics["probe_dns_answer_rrs"], metrics["probe_dns_rcode"]), (2.0, 0.0));
        assert_eq!(metrics["probe_dns_answer_ttl_min_seconds"], 60.0);
        assert_eq!(metrics["probe_dns_query_succeeded"], 0.0);
        assert!(!metrics.contains_key("probe_dns_authority_rrs"), "not all of them came");
    }
    check_failure(&ask("close", PATIENCE), Phase::Query, Reason::ConnectionTerminated, "instead of its reply");
}

#[test]
fn one_malformed_record_loses_no_other() {
    let bench = Bench::start(V4);
    let report = bench.probe("{query_name: malformed.test, query_type: A}");
    check_failure(&report, Phase::Query, Reason::DnsAnswerUnexpected, "a record of type A is malformed");
    let good = "malformed.test.\t300\tIN\tA\t127.0.0.1";
    assert_eq!(texts(&reply(&report).answer), [good, "malformed.test.\t5\tCLASS1\tTYPE1\t\\# 3 7f0000", good]);
    let of_malformed = metrics(&report);
    assert_eq!((of_malformed["probe_dns_answer_rrs"], of_malformed["probe_dns_query_succeeded"]), (3.0, 0.0));
    let report = bench.probe("{query_name: broken.test, query_type: A}");
    check_failure(&report, Phase::Query, Reason::DnsAnswerUnexpected, "in the middle of a record");
    assert!(!metrics(&report).contains_key("probe_dns_answer_rrs"));
}

#[test]
fn a_truncated_reply_is_told_and_not_asked_for_again() {
    let bench = Bench::start(V4);
    let report = bench.probe("{query_name: truncated.test, query_type: A}");
    assert_eq!(report.failure, None);
    let metrics = metrics(&report);
    assert_eq!((metrics["probe_dns_truncated"], metrics["probe_dns_answer_rrs"]), (1.0, 1.0));
    assert_eq!(measured(&report).transport, Transport::Udp);
}

#[test]
fn edns_is_spoken_where_it_is_asked_for() {
    let bench = Bench::start(V4);
    let report = bench.probe("{query_name: www.test, edns_udp_size: 1232}");
    assert_eq!(report.failure, None);
    assert_eq!(reply(&report).extended_errors, ["22 \"help\""]);
    let of_edns = metrics(&report);
    assert_eq!((of_edns["probe_dns_edns_udp_size_bytes"], of_edns["probe_dns_additional_rrs"]), (4096.0, 3.0));
    // It is no record that could match.
    let section =
        "{query_name: www.test, edns_udp_size: 512, validate_additional_rrs: {fail_if_not_matches_regexp: [^ns1]}}";
    assert_eq!(bench.probe(section).failure, None);
    let report = bench.probe("{query_name: soa.test, query_type: SOA}");
    assert_eq!(metrics(&report)["probe_dns_serial"], 2_026_112_001.0);
}

#[test]
fn what_https_says_instead_of_a_reply_is_told() {
    let bench = Bench::start(V4);
    let trusting = "transport_protocol: https, tls_config: {ca_file: CA}";
    let url = format!("https://{}/dns-query", bench.server.https);
    let ask = |label: &str, target: &str| {
        bench.probe_for(&format!("{{query_name: {label}.test, {trusting}}}"), target, PATIENCE)
    };
    let page = ask("page", &url);
    check_failure(&page, Phase::Transfer, Reason::DnsAnswerUnexpected, "is \"text/html; charset=utf-8\", not");
    check_failure(&ask("busy", &url), Phase::Transfer, Reason::HttpRateLimited { by_envoy: false }, "429");
    let elsewhere = ask("www", &url.replace("dns-query", "resolve"));
    let class = uplink_exporter::verdict::StatusClass::ClientError;
    check_failure(&elsewhere, Phase::Transfer, Reason::HttpStatusUnexpected(class), "404");
    assert_eq!(measured(&elsewhere).status, Some(404));
    check_failure(&ask("rcode2", &url), Phase::Transfer, Reason::DnsServfail, "SERVFAIL");
    check_failure(&ask("brokenoff", &url), Phase::Transfer, Reason::DnsAnswerUnexpected, "in the middle of a record");
    let distrusting = bench.probe_for("{query_name: www.test, transport_protocol: https}", &url, PATIENCE);
    let self_signed = Reason::TlsCertificateError(CertificateFault::SelfSigned);
    check_failure(&distrusting, Phase::Tls, self_signed, "not trusted");
    assert!(metrics(&distrusting).contains_key("probe_ssl_earliest_cert_expiry"));
}

#[test]
fn https_is_spoken_as_the_server_speaks_it() {
    for (protocols, spoken) in [(&[][..], "h2"), (&["http/1.1"], "http/1.1")] {
        let bench = Bench::speaking(V4, protocols);
        let section = "{query_name: www.test, transport_protocol: https, tls_config: {ca_file: CA}}";
        // As a template for GET, as which servers tell their URLs.
        let report = bench.probe_for(section, format!("https://{}/dns-query{{?dns}}", bench.server.https), PATIENCE);
        assert_eq!(report.failure, None, "{report:#?}");
        let facts = measured(&report).tls.as_ref().unwrap();
        assert_eq!((facts.alpn.as_deref(), measured(&report).status), (Some(spoken), Some(200)));
    }
}

#[test]
fn targets_are_servers() {
    let bench = Bench::start(V4);
    let refusal = |section: &str, target: &str| {
        let config = bench.config(section, "{}");
        config.modules["m"].prober.check_target(target).err()
    };
    let plain = "{query_name: a}";
    let https = "{query_name: a, transport_protocol: https}";
    for (section, target) in [
        (plain, "9.9.9.9"),
        (plain, "2620:fe::fe"),
        (plain, "[2620:fe::fe]:5353"),
        (plain, "dns.example:53"),
        (https, "https://dns.example/dns-query"),
        (https, "https://[2620:fe::fe]:8443/dns-query{?dns}"),
        (https, "https://9.9.9.9"),
    ] {
        assert_eq!(refusal(section, target), None, "{target}");
    }
    for (section, target, why) in [
        (plain, "https://dns.example/", "is a URL"),
        (plain, "dns.example:0", "port"),
        (https, "dns.example", "this one has no https://"),
        (https, "http://dns.example/dns-query", "is not https"),
        (https, "https://me:secret@dns.example/", "has a user"),
        (https, "ftp://dns.example/", "scheme"),
    ] {
        let sentence = refusal(section, target).unwrap_or_else(|| panic!("{target}"));
        assert!(sentence.contains(why) && !sentence.contains("secret"), "{target}: {sentence}");
    }
}

#[test]
fn the_source_address_of_the_module_binds_where_no_isp_does() {
    let bench = Bench::start(V4);
    let probe_from = |section: &str, isp: Option<&str>| {
        let config = bench.config(section, "{a: {source_ip: 127.0.0.9}}");
        run(Request {
            target: bench.server.plain.to_string(),
            module: Arc::clone(&config.modules["m"]),
            isp: isp.map(|isp| Arc::clone(&config.isps[isp])),
            isps: Arc::clone(&config.isps),
            timeout: PATIENCE,
            zoned: None,
            hostname: None,
            log_limit: 0,
            network: Arc::default(),
            identities: Arc::default(),
        })
    };
    let local = |report: &Report| measured(report).handshake.local.map(|local: SocketAddr| local.ip().to_string());
    for transport in ["udp", "tcp"] {
        let section =
            format!("{{query_name: www.test, transport_protocol: {transport}, source_ip_address: 127.0.0.7}}");
        assert_eq!(local(&probe_from(&section, None)).as_deref(), Some("127.0.0.7"));
        assert_eq!(local(&probe_from(&section, Some("a"))).as_deref(), Some("127.0.0.9"), "the ISP decides");
    }
    let report = probe_from("{query_name: www.test, source_ip_address: 192.0.2.77}", None);
    check_failure(&report, Phase::Connect, Reason::SourceAddressUnavailable, "192.0.2.77 is not on this host");
    let report = probe_from("{query_name: www.test, source_ip_address: '::1'}", None);
    check_failure(&report, Phase::Resolve, Reason::SourceAddressUnavailable, "source_ip_address");
}

/// What blackbox_exporter writes otherwise before the 0.28 that is followed.
const OTHERWISE_BEFORE: [&str; 3] = [
    "a.example.\t1\tIN\tAAAA\t192.0.2.1",
    r#"_dns.a.example.	1	IN	SVCB	16 foo.example. mandatory="alpn,port" alpn="f\\\092oo\\\044bar,h2" no-default-alpn="" port="53" dohpath="/dns-query{?dns}" key8="" key667="hel\210qo\;\"\\\ x" key65333="ex1""#,
    "a.example.\t60\tCLASS1\tTYPE20\t\\# 4 01310132",
];

#[test]
fn blackbox_exporter_sees_the_same_records() {
    let bench = Bench::start(V4);
    let section = "{query_name: types.test, transport_protocol: tcp}";
    let modules = format!("modules: {{m: {{prober: dns, timeout: 5s, dns: {section}}}}}");
    let report = bench.probe(section);
    let expected: Vec<_> = records().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts(&reply(&report).answer), expected);
    assert_eq!(report.failure, None);
    let Some(peer) = Peer::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blackbox.yml");
    std::fs::write(&file, modules).unwrap();
    let theirs = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let _running = peer.start(&file, theirs);
    let may_differ = |text| peer.version < Version(0, 28) && OTHERWISE_BEFORE.contains(&text);
    let (_, debug) = get(theirs, &format!("/probe?module=m&target={}&debug=true", bench.server.plain));
    let seen: Vec<String> = debug
        .lines()
        .filter(|line| line.contains("msg=\"Validating RR\""))
        .filter_map(|line| line.split_once(" rr="))
        .map(|(_, rr)| serde_json::from_str(rr).unwrap_or_else(|_| rr.to_owned()))
        .collect();
    assert_eq!(seen.len(), expected.len(), "{debug}");
    for (theirs, ours) in seen.iter().zip(expected) {
        assert!(theirs == ours || may_differ(theirs), "{theirs:?} is not {ours:?}");
    }
}
