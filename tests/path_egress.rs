//! Which way a probe leaves, by which way its answers come, and whether that is its ISP's: told by what the probes report, and by what the
//! lab knows.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use support::http3::serve_http3;
use support::lab::{Site, host, reflect};
use support::zone::{Zone, serve};
use uplink_exporter::config;
use uplink_exporter::flight::Phase;
use uplink_exporter::lab::{Action, Fault, Isp, Matches, Observation, Path, Topology, target};
use uplink_exporter::metrics;
use uplink_exporter::net::{Family, Heading};
use uplink_exporter::probe::{Measurement, Report, Request, WayOut};
use uplink_exporter::render;

/// The probes, and what stands before and behind the host in their targets. Some fail, since nobody is there who could answer as they like.
const PROBES: [(&str, &str, &str); 15] = [
    ("http", "http://", "/"),
    ("https", "https://", "/"),
    ("http3", "https://", "/"),
    ("tcp", "", ":80"),
    ("half_open", "", ":80"),
    ("half_open_raw", "", ":80"),
    ("icmp_raw", "", ""),
    ("icmp_datagram", "", ""),
    ("dns_udp", "", ":5353"),
    ("dns_tcp", "", ":80"),
    ("stun_udp", "", ":3478"),
    ("stun_tcp", "", ":3478"),
    ("grpc", "", ":80"),
    ("websocket", "ws://", "/"),
    ("trace", "", ""),
];

const MODULES: &str = "modules:
  http: {prober: http}
  https: {prober: http, http: {tls_config: {insecure_skip_verify: true}}}
  http3: {prober: http, http: {enable_http2: false, enable_http3: true, tls_config: {insecure_skip_verify: true}}}
  tcp: {prober: tcp}
  half_open: {prober: tcp, tcp: {half_open: true}}
  half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true}}
  icmp_raw: {prober: icmp, icmp: {raw: true}}
  icmp_datagram: {prober: icmp, icmp: {raw: false}}
  dns_udp: {prober: dns, dns: {query_name: www.example}}
  dns_tcp: {prober: dns, dns: {query_name: www.example, transport_protocol: tcp}}
  stun_udp: {prober: stun}
  stun_tcp: {prober: stun, stun: {transport_protocol: tcp}}
  grpc: {prober: grpc}
  websocket: {prober: websocket}
  trace: {prober: traceroute}
  trace_udp: {prober: traceroute, traceroute: {protocol: udp}}
  trace_tcp: {prober: traceroute, traceroute: {protocol: tcp, port: 80}}
  traced: {prober: tcp, tcp: {on_failure: trace, trace_after: {connect: 1ms}}}
  trace_later: {prober: traceroute, traceroute: {first_hop: 2}}
";

/// The routers of each ISP.
const A: &str = "networks: [100.64.1.0/24, 'fd00:a:1::/48']";
const B: &str = "networks: [100.64.2.0/24, 'fd00:b:1::/48']";

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Those that see where answers arrive; of TCP, the kernel does not tell.
const SEEING: [&str; 7] = ["http3", "half_open_raw", "icmp_raw", "icmp_datagram", "dns_udp", "stun_udp", "trace"];

fn topology() -> Topology {
    let path = |isp| Path::straight(isp, &[300, 300, 400, 1_000], 1_000);
    Topology { seed: 1, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() }
}

/// The lab with these ISPs; their networks stand for `A` and `B`.
fn start(isps: &str) -> Option<Site> {
    let mut site = Site::start(topology(), "  unused: {prober: icmp}")?;
    configure(&mut site, isps);
    serve_http3(&site);
    reflect(site.lab.far());
    for family in FAMILIES {
        serve(&site, SocketAddr::new(target(family, 10), 5353), Zone::default());
    }
    Some(site)
}

fn configure(site: &mut Site, isps: &str) {
    let text = format!("isps:\n{}\n{MODULES}", isps.replace("$A", A).replace("$B", B));
    site.config = config::load_str(&text, "test.yml").unwrap_or_else(|errors| panic!("{errors}"));
}

/// The ISPs by source address; the rest of each entry as given.
fn by_address(a: &str, b: &str) -> String {
    format!(
        "  a: {{source_ip: 10.1.0.2, source_ip6: 'fd00:a::2'{a}}}\n  b: {{source_ip: 10.2.0.2, source_ip6: 'fd00:b::2'{b}}}"
    )
}

/// A by source address, and B by its mark: the kernel's routes tell nothing of whose a device is.
fn untold(a: &str, b: &str) -> String {
    format!("  a: {{source_ip: 10.1.0.2, source_ip6: 'fd00:a::2'{a}}}\n  b: {{fwmark: 102{b}}}")
}

/// What `f` does while the host has a rule, which comes before those of the lab.
fn with_rule<T>(site: &Site, family: Family, rule: &str, f: impl FnOnce() -> T) -> T {
    let version = if family == Family::V4 { "-4" } else { "-6" };
    site.ip(&format!("{version} rule add pref 500 {rule}"));
    let done = f();
    site.ip(&format!("{version} rule del pref 500"));
    done
}

/// The rules by which the host knows an ISP's source address go; packets from it take the default route, through the other ISP.
fn misroute(site: &Site, isp: Isp) {
    for family in ["-4", "-6"] {
        site.ip(&format!("{family} rule del pref {}", 1_000 + isp.mark()));
    }
    site.lab.default_route(isp.other()).unwrap();
}

fn probe(site: &Site, (module, before, behind): (&str, &str, &str), isp: &str, family: Family, number: u8) -> Request {
    let target = format!("{before}{}{behind}", host(family, number));
    site.request(module, isp, &target, Duration::from_secs(3))
}

fn trace(site: &Site, module: &str, isp: &str, family: Family) -> Report {
    site.run(module, isp, &host(family, 10).replace(['[', ']'], ""), Duration::from_secs(3))
}

fn reason(report: &Report) -> String {
    report.failure.as_ref().map_or_else(|| "ok".to_owned(), |failure| failure.reason.name().into_owned())
}

fn way_out(report: &Report) -> WayOut {
    report.way_out.clone().unwrap_or_else(|| panic!("{} tells no way: {:#?}", report.module, report.log))
}

fn router(isp: Isp, family: Family, number: u8) -> IpAddr {
    isp.router(number).address(family)
}

#[test]
fn every_probe_tells_the_way_that_its_packets_take() {
    let isps = "
  a_address: {source_ip: 10.1.0.2, source_ip6: 'fd00:a::2', $A}
  a_interface: {interface: ispa, $A}
  a_mark: {fwmark: 101, $A}
  b_address: {source_ip: 10.2.0.2, source_ip6: 'fd00:b::2', $B}
  b_interface: {interface: ispb, $B}
  b_mark: {fwmark: 102, $B}";
    let Some(site) = start(isps) else { return };
    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        for family in FAMILIES {
            for binding in ["address", "interface", "mark"] {
                let name = format!("{}_{binding}", isp.name());
                let requests = PROBES.map(|kind| probe(&site, kind, &name, family, 10)).to_vec();
                for report in site.run_all(requests) {
                    let told = way_out(&report);
                    let context = format!("{} by {binding}: {:#?}", report.module, report.log);
                    assert_eq!((told.device.as_deref(), told.gateway), (Some(isp.device()), None), "{context}");
                    let is_trace = report.module == "trace";
                    assert_eq!(told.first_hop, is_trace.then(|| router(isp, family, 1)), "{context}");
                    // The kernel's device is what was asked for, and proves nothing.
                    assert_eq!(told.verified, is_trace.then_some(true), "{context}");
                    let sees = SEEING.contains(&report.module.as_str()) && binding != "interface";
                    assert_eq!(told.return_mismatch, sees.then_some(false), "{context}");
                    assert_ne!(reason(&report), "egress_mismatch", "{context}");
                }
            }
        }
    }
    // As the kernel routes: no ISP, nothing to verify.
    site.lab.default_route(Isp::B).unwrap();
    for family in FAMILIES {
        for report in site.run_all(PROBES.map(|kind| probe(&site, kind, "", family, 10)).to_vec()) {
            let told = way_out(&report);
            assert_eq!((told.device.as_deref(), told.verified), (Some("ispb"), None), "{}", report.module);
        }
    }
}

#[test]
fn a_gateway_of_the_isps_networks_verifies_every_probe_and_one_of_anothers_fails_it() {
    let isps = by_address(", networks: [10.1.0.1, 'fd00:a::1']", ", networks: [10.2.0.1, 'fd00:b::1']");
    let Some(site) = start(&isps) else { return };
    for (family, via_a, via_b) in [("-4", "10.1.0.1", "10.2.0.1"), ("-6", "fd00:a::1", "fd00:b::1")] {
        site.ip(&format!("{family} route replace default via {via_a} dev ispa table 101 metric 10"));
        // B's packets are sent to A's gateway, next door.
        site.ip(&format!("{family} route replace default via {via_a} dev ispa table 102 metric 10"));
        site.ip(&format!("{family} route replace default via {via_b} dev ispb metric 10"));
    }
    for (family, gateway) in [(Family::V4, "10.1.0.1"), (Family::V6, "fd00:a::1")] {
        let requests = PROBES.map(|kind| probe(&site, kind, "a", family, 10)).to_vec();
        for report in site.run_all(requests) {
            let told = way_out(&report);
            assert_eq!((told.gateway, told.verified), (gateway.parse().ok(), Some(true)), "{}", report.module);
        }
        site.lab.clear_observed();
        let requests = PROBES.map(|kind| probe(&site, kind, "b", family, 11)).to_vec();
        for report in site.run_all(requests) {
            let told = way_out(&report);
            assert_eq!((told.gateway, told.verified), (gateway.parse().ok(), Some(false)), "{}", report.module);
            assert_eq!(reason(&report), "egress_mismatch", "{}", report.module);
            let detail = report.failure.unwrap().detail;
            let said = format!("the kernel's route to {} leads via {gateway}, a router of ISP a", target(family, 11));
            assert_eq!(detail, said, "{}", report.module);
        }
        assert_eq!(site.lab.observed(), [], "it left the wrong way");
    }
}

#[test]
fn a_device_of_another_isp_fails_a_probe_whose_address_is_elsewhere() {
    let Some(mut site) = start("") else { return };
    misroute(&site, Isp::A);
    // The other is bound to the device, or has its address there.
    for of_b in [", interface: ispb", ""] {
        configure(&mut site, &by_address("", of_b));
        site.lab.clear_observed();
        for family in FAMILIES {
            let requests = PROBES.map(|kind| probe(&site, kind, "a", family, 10)).to_vec();
            for report in site.run_all(requests) {
                assert_eq!(reason(&report), "egress_mismatch", "{}: {:#?}", report.module, report.log);
                let told = way_out(&report);
                assert_eq!((told.device.as_deref(), told.verified), (Some("ispb"), Some(false)), "{}", report.module);
                let detail = report.failure.unwrap().detail;
                let said =
                    format!("the kernel's route to {} leaves by ispb, the interface of ISP b", target(family, 10));
                assert_eq!(detail, said, "{}", report.module);
            }
        }
        assert_eq!(site.lab.observed(), [], "it left the wrong way");
    }
    // An address on loopback is nowhere: both may leave by the device. So may an ISP that is told by its mark.
    for (family, address) in [("-4", "10.9.0.2/32"), ("-6", "fd00:9::2/128")] {
        site.ip(&format!("{family} address add {address} dev lo"));
    }
    let isps = "  a: {source_ip: 10.9.0.2, source_ip6: 'fd00:9::2'}\n  b: {interface: ispb}\n  c: {fwmark: 103}";
    configure(&mut site, isps);
    for isp in ["a", "c"] {
        for family in FAMILIES {
            let told = way_out(&trace(&site, "trace", isp, family));
            assert_eq!((told.device.as_deref(), told.verified), (Some("ispb"), None), "{isp}");
        }
    }
}

/// The default route leads through B, and nothing refuses what has no way through A.
fn open_up(site: &Site) {
    site.lab.default_route(Isp::B).unwrap();
    for family in ["-4", "-6"] {
        site.ip(&format!("{family} route flush table 101"));
        site.ip(&format!("{family} route add default dev ispa table 101"));
    }
}

#[test]
fn an_interface_that_is_down_is_not_left_by_another_one() {
    let Some(mut site) = start(&by_address("", "")) else { return };
    open_up(&site);
    // The kernel takes addresses of IPv6 away with the device, unless it is told to keep them.
    for (keep, of_v6) in [(0, "source_address_unavailable"), (1, "local_link_down")] {
        let keep_addresses = || std::fs::write("/proc/sys/net/ipv6/conf/ispa/keep_addr_on_down", keep.to_string());
        site.lab.prober().run(keep_addresses).unwrap().unwrap();
        site.ip("link set ispa down");
        for isps in [by_address("", ""), by_address("", ", interface: ispb")] {
            configure(&mut site, &isps);
            site.lab.clear_observed();
            for (family, expected) in [(Family::V4, "local_link_down"), (Family::V6, of_v6)] {
                let requests = PROBES.map(|kind| probe(&site, kind, "a", family, 10)).to_vec();
                for report in site.run_all(requests) {
                    assert_eq!(reason(&report), expected, "{} {keep}: {:#?}", report.module, report.log);
                    assert!(report.way_out.is_none_or(|out| out.verified.is_none()), "{}", report.module);
                }
            }
            assert_eq!(site.lab.observed(), [], "it left another way");
        }
        site.ip("link set ispa up");
        if keep == 0 {
            site.ip("-6 address add fd00:a::2/64 dev ispa nodad");
        }
    }
}

#[test]
fn an_interface_that_goes_down_meanwhile_is_not_the_networks_fault() {
    let Some(site) = start(&by_address("", "")) else { return };
    open_up(&site);
    site.lab.change(|topology| {
        let of = Matches { protocol: Some(libc::IPPROTO_TCP as u8), ..Matches::default() };
        topology.faults = vec![Fault { of, action: Action::Drop }];
    });
    let report = std::thread::scope(|scope| {
        let running =
            scope.spawn(|| site.run("tcp", "a", &format!("{}:80", target(Family::V4, 10)), Duration::from_secs(3)));
        support::until("the SYN has left", || !site.lab.observed().is_empty());
        site.ip("link set ispa down");
        running.join().unwrap()
    });
    assert_eq!(reason(&report), "local_link_down", "{:#?}", report.log);
}

#[test]
fn questions_for_names_do_not_leave_another_way_either() {
    let isps = by_address("", ", resolvers: [198.51.100.30, '2001:db8:100::1e']");
    let Some(site) = start(&isps) else { return };
    misroute(&site, Isp::B);
    site.lab.clear_observed();
    for module in ["tcp", "icmp_raw", "trace"] {
        let target = if module == "tcp" { "www.example:80" } else { "www.example" };
        let report = site.run(module, "b", target, Duration::from_secs(3));
        assert_eq!(reason(&report), "egress_mismatch", "{module}: {:#?}", report.log);
        assert_eq!(report.failure.unwrap().phase, Phase::Resolve);
    }
    assert_eq!(site.lab.observed(), [], "a question left another way");
}

#[test]
fn an_isp_of_another_host_has_no_device_here() {
    let Some(mut site) = start("") else { return };
    // B's addresses are on a third device.
    site.ip("link add aside type veth peer name beside");
    site.ip("link set aside up");
    site.ip("link set beside up");
    for (address, all) in [("10.9.0.2", "10.9.0.2/32"), ("fd00:9::2", "fd00:9::2/128 nodad")] {
        site.ip(&format!("address add {all} dev aside"));
        let version = if address.contains(':') { "-6" } else { "-4" };
        site.ip(&format!("{version} rule add pref 500 from {address} lookup 102"));
    }
    configure(
        &mut site,
        "  b: {source_ip: 10.9.0.2, source_ip6: 'fd00:9::2'}\n  elsewhere: {source_ip: 10.77.0.2, source_ip6: 'fd77::2'}",
    );
    site.lab.default_route(Isp::B).unwrap();
    for family in FAMILIES {
        let told = way_out(&trace(&site, "trace", "b", family));
        assert_eq!((told.device.as_deref(), told.verified), (Some("ispb"), None));
    }
}

#[test]
fn a_source_on_a_dead_device_whose_way_a_rule_chose_is_as_good_as_any() {
    let Some(mut site) = start("") else { return };
    // The other end of the pair stays down, so that this one has no carrier.
    site.ip("link add aside type veth peer name beside");
    site.ip("link set aside up");
    site.ip("-4 address add 10.9.0.2/32 dev aside");
    site.ip("-4 rule add pref 500 from 10.9.0.2 lookup 102");
    configure(&mut site, "  b: {source_ip: 10.9.0.2}\n  a: {interface: ispa}");
    for default in [Isp::A, Isp::B] {
        site.lab.default_route(default).unwrap();
        for module in ["icmp_raw", "icmp_datagram", "trace"] {
            let report = trace(&site, module, "b", Family::V4);
            assert_ne!(reason(&report), "local_link_down", "{module}: {:#?}", report.log);
            assert_eq!(way_out(&report).device.as_deref(), Some("ispb"), "{module}");
        }
    }
    // Where the rule is gone, it leaves as anybody does.
    site.ip("-4 rule del pref 500");
    assert_eq!(reason(&trace(&site, "icmp_raw", "b", Family::V4)), "local_link_down");
}

#[test]
fn what_goes_to_this_host_itself_goes_no_wrong_way() {
    let Some(site) = start(&by_address("", "")) else { return };
    let of_b = Isp::B.source(Family::V4);
    let listener = site.lab.prober().run(|| std::net::TcpListener::bind((of_b, 0)).unwrap()).unwrap();
    let report = site.run("tcp", "a", &listener.local_addr().unwrap().to_string(), Duration::from_secs(3));
    assert_eq!(reason(&report), "ok", "{:#?}", report.log);
    assert_eq!(way_out(&report).device.as_deref(), Some("lo"));
    let told = way_out(&site.run("icmp_raw", "a", &of_b.to_string(), Duration::from_secs(3)));
    assert_eq!((told.device.as_deref(), told.return_mismatch), (Some("lo"), None));
}

#[test]
fn the_isps_own_address_is_not_reached_through_it() {
    let Some(site) = start("  a: {interface: ispa}") else { return };
    for address in [Isp::A.source(Family::V4), Isp::A.source(Family::V6)] {
        let report = site.run("icmp_raw", "a", &address.to_string(), Duration::from_secs(1));
        assert_eq!(reason(&report), "egress_mismatch", "{:#?}", report.log);
        let said = format!("the kernel's route to {address} leaves by lo, which is not the interface of ISP a");
        assert_eq!(report.failure.unwrap().detail, said);
    }
}

#[test]
fn a_trace_proves_the_wrong_way_that_the_kernel_cannot_see() {
    let Some(mut site) = start(&untold(", $A", ", $B")) else { return };
    misroute(&site, Isp::A);
    for family in FAMILIES {
        for module in ["trace", "trace_udp", "trace_tcp"] {
            let report = trace(&site, module, "a", family);
            assert_eq!(reason(&report), "egress_mismatch", "{module}: {:#?}", report.log);
            let first = router(Isp::B, family, 1);
            let told = way_out(&report);
            assert_eq!((told.first_hop, told.verified), (Some(first), Some(false)), "{module}");
            // The far end answers to A's address, through A.
            assert_eq!(told.return_mismatch, Some(true), "{module}");
            assert_eq!(report.failure.unwrap().detail, format!("hop 1, {first}, is a router of ISP b"));

            let report = trace(&site, module, "b", family);
            let told = way_out(&report);
            assert_eq!((reason(&report).as_str(), told.verified), ("ok", Some(true)), "{module}: {:#?}", report.log);
            assert_eq!(told.return_mismatch, Some(false), "{module}");
        }
        // It works, and by which way is not known.
        let report = site.run("tcp", "a", &format!("{}:80", host(family, 10)), Duration::from_secs(3));
        assert_eq!((reason(&report).as_str(), way_out(&report).verified), ("ok", None));
    }
    // So does the trace of a flow that failed, or was slow, whose reason, and success, stay.
    site.lab.change(|topology| {
        let of = Matches { port: Some(82), ..Matches::default() };
        topology.faults.push(Fault { of, action: Action::Drop });
    });
    for family in FAMILIES {
        let first = router(Isp::B, family, 1);
        let astray = format!("hop 1, {first}, is a router of ISP b");
        for (port, expected) in [(80, "ok"), (81, "connection_refused"), (82, "connection_timeout")] {
            let target = format!("{}:{port}", host(family, 10));
            for (isp, proof) in [("a", Some(astray.as_str())), ("b", None)] {
                let report = site.run("traced", isp, &target, Duration::from_secs(3));
                assert_eq!(reason(&report), expected, "{:#?}", report.log);
                let told = way_out(&report);
                assert_eq!((told.first_hop, told.verified), (Some(first), Some(isp == "b")), "{:#?}", report.log);
                let flow = report.failed_flow.as_ref().unwrap();
                assert_eq!((flow.verified, flow.astray.as_deref()), (Some(isp == "b"), proof));
                let said = |text: &str| proof.is_some_and(|proof| text.contains(proof));
                assert_eq!(report.log.iter().any(|line| said(&line.text)), proof.is_some(), "{:#?}", report.log);
                let families = metrics::of_report(&report);
                let verified = families.iter().find(|of| of.name == "probe_egress_verified").unwrap();
                assert_eq!(verified.samples[0].value, f64::from(u8::from(isp == "b")));
            }
        }
    }
    // Hops before the first that is asked are said to be the site's own.
    for family in FAMILIES {
        let report = trace(&site, "trace_later", "a", family);
        assert_eq!(reason(&report), "egress_mismatch", "{:#?}", report.log);
        let second = router(Isp::B, family, 2);
        assert_eq!(report.failure.unwrap().detail, format!("hop 2, {second}, is a router of ISP b"));
    }
    // A's first router may be the one that says nothing: it may hand on to B's.
    site.lab.change(|topology| topology.b.hops[0].routers[0].answers.silent = true);
    for family in FAMILIES {
        let report = trace(&site, "trace", "a", family);
        let told = way_out(&report);
        assert_eq!((reason(&report).as_str(), told.verified), ("ok", None), "{:#?}", report.log);
        assert_eq!(told.first_hop, Some(router(Isp::B, family, 2)));
    }
    // But not where the kernel knows that the silent router is none of A's.
    for (family, gateway) in [("-4", "10.2.0.1"), ("-6", "fd00:b::1")] {
        site.ip(&format!("{family} route replace default via {gateway} dev ispb metric 10"));
    }
    configure(&mut site, &by_address(", $A", ", $B"));
    for family in FAMILIES {
        let report = trace(&site, "trace", "a", family);
        assert_eq!(reason(&report), "egress_mismatch", "{:#?}", report.log);
    }
}

#[test]
fn a_wrong_rule_fails_every_probe_whatever_binds_it() {
    let isps = |b: &str| {
        format!(
            "  address: {{source_ip: 10.1.0.2, source_ip6: 'fd00:a::2', $A}}\n  interface: {{interface: ispa, $A}}\n  \
             mark: {{fwmark: 101, $A}}\n  b: {{fwmark: 102, {b}}}"
        )
    };
    let Some(mut site) = start(&isps(&B.replace(']', ", 10.2.0.1, 'fd00:b::1', 10.1.0.11, 'fd00:a::b']"))) else {
        return;
    };
    // One of B's gateways is on A's link.
    for (version, gateway, on_a) in [("-4", "10.2.0.1", "10.1.0.11"), ("-6", "fd00:b::1", "fd00:a::b")] {
        site.ip(&format!("{version} route add default via {gateway} dev ispb table 201"));
        site.ip(&format!("{version} route add default via {on_a} dev ispa table 202"));
    }
    let rules = |family: Family| {
        let from = Isp::A.source(family);
        let (gateway, on_a) = match family {
            Family::V4 => ("10.2.0.1", "10.1.0.11"),
            Family::V6 => ("fd00:b::1", "fd00:a::b"),
        };
        [
            ("address", format!("from {from} lookup 201"), "ispb", gateway),
            ("interface", "oif ispa lookup 202".to_owned(), "ispa", on_a),
            ("mark", "fwmark 101 lookup 201".to_owned(), "ispb", gateway),
        ]
    };
    // The kernel tells before anything leaves.
    for family in FAMILIES {
        for (isp, rule, device, gateway) in rules(family) {
            site.lab.clear_observed();
            let requests = PROBES.map(|kind| probe(&site, kind, isp, family, 10)).to_vec();
            for report in with_rule(&site, family, &rule, || site.run_all(requests)) {
                let context = format!("{} by {isp}: {:#?}", report.module, report.log);
                assert_eq!(reason(&report), "egress_mismatch", "{context}");
                let told = way_out(&report);
                assert_eq!((told.device.as_deref(), told.gateway), (Some(device), gateway.parse().ok()), "{context}");
                assert_eq!(told.verified, Some(false), "{context}");
                let said =
                    format!("the kernel's route to {} leads via {gateway}, a router of ISP b", target(family, 10));
                assert_eq!(report.failure.unwrap().detail, said, "{context}");
            }
            assert_eq!(site.lab.observed(), [], "it left the wrong way, by {isp}");
            // Without the rule, all is well.
            assert_eq!(way_out(&trace(&site, "trace", isp, family)).verified, Some(true), "{isp}");
        }
    }
    // Where the gateway is not known to be anybody's, the first router is.
    configure(&mut site, &isps(B));
    for family in FAMILIES {
        for (isp, rule, device, _) in rules(family) {
            let (right, wrong) = (topology(), Topology { a: topology().b, ..topology() });
            site.lab.change(|topology| *topology = if device == "ispa" { wrong } else { right });
            for module in ["trace", "trace_udp", "trace_tcp"] {
                let report = with_rule(&site, family, &rule, || trace(&site, module, isp, family));
                let first = router(Isp::B, family, 1);
                assert_eq!(reason(&report), "egress_mismatch", "{module} by {isp}: {:#?}", report.log);
                let told = way_out(&report);
                assert_eq!((told.first_hop, told.verified), (Some(first), Some(false)), "{module} by {isp}");
                assert_eq!(report.failure.unwrap().detail, format!("hop 1, {first}, is a router of ISP b"));
            }
        }
    }
}

#[test]
fn a_rule_for_ports_counts_once_the_port_is_known() {
    let Some(site) = start(&by_address("", ", networks: [10.2.0.1, 'fd00:b::1']")) else { return };
    for (family, version, gateway) in [(Family::V4, "-4", "10.2.0.1"), (Family::V6, "-6", "fd00:b::1")] {
        site.ip(&format!("{version} route add default via {gateway} dev ispb table 201"));
        for (module, port, rule) in [
            ("tcp", 80, "ipproto tcp sport 1-65534"),
            ("tcp", 80, "ipproto tcp dport 80"),
            ("dns_udp", 5353, "ipproto udp sport 1-65534 dport 5353"),
        ] {
            let target = format!("{}:{port}", host(family, 10));
            let run = || site.run(module, "a", &target, Duration::from_secs(3));
            assert_ne!(reason(&run()), "egress_mismatch");
            let report = with_rule(&site, family, &format!("{rule} lookup 201"), run);
            assert_eq!(reason(&report), "egress_mismatch", "{module}: {:#?}", report.log);
            assert_eq!(way_out(&report).device.as_deref(), Some("ispb"), "{module}");
        }
    }
}

#[test]
fn answers_that_arrive_on_another_device_are_told_and_no_failure() {
    let isps = "  address: {source_ip: 10.1.0.2, source_ip6: 'fd00:a::2'}\n  mark: {fwmark: 101}\n  \
        both: {source_ip: 10.1.0.2, source_ip6: 'fd00:a::2', fwmark: 101}";
    let Some(mut site) = start(isps) else { return };
    for family in FAMILIES {
        let (version, from) = (if family == Family::V4 { "-4" } else { "-6" }, Isp::A.source(family));
        // They leave by B's device with A's address, to which answers come by A.
        site.ip(&format!("{version} route add default dev ispb src {from} table 203"));
        for (isp, rule) in [
            ("address", format!("from {from} lookup 203")),
            ("mark", "fwmark 101 lookup 203".to_owned()),
            ("both", "fwmark 101 lookup 203".to_owned()),
        ] {
            let requests = PROBES.map(|kind| probe(&site, kind, isp, family, 10)).to_vec();
            for report in with_rule(&site, family, &rule, || site.run_all(requests)) {
                let told = way_out(&report);
                let context = format!("{} by {isp}: {:#?}", report.module, report.log);
                let sees = SEEING.contains(&report.module.as_str());
                let expected = (Some("ispb"), sees.then_some(true));
                assert_eq!((told.device.as_deref(), told.return_mismatch), expected, "{context}");
                assert_ne!(reason(&report), "egress_mismatch", "{context}");
                let text = render::text(&metrics::of_report(&report));
                assert_eq!(text.contains("probe_return_mismatch 1\n"), sees, "{context}{text}");
            }
        }
    }
    // Bound to a device, they are not heard at all.
    configure(&mut site, "  interface: {interface: ispb}");
    for family in FAMILIES {
        let report = with_rule(&site, family, "oif ispb lookup 203", || trace(&site, "trace", "interface", family));
        assert_eq!((reason(&report).as_str(), way_out(&report).return_mismatch), ("icmp_timeout", None));
    }
}

#[test]
fn autonomous_systems_tell_whose_the_first_router_is() {
    let Some(mut site) = start(&untold("", "")) else { return };
    let table = site.folder.path().join("systems.txt");
    let write = |site: &mut Site, lines: &str| {
        std::fs::write(&table, lines).unwrap();
        let isps = untold(", asns: [64501, 64511]", ", asns: [64502]");
        configure(site, &format!("{isps}\nasn: {{table: {}}}", table.display()));
    };
    let b = "100.64.2.0/24 64502 B\nfd00:b:1::/48 64502 B\n";
    write(&mut site, &format!("100.64.1.0/24 64511 A\nfd00:a:1::/48 64511 A\n{b}"));
    for family in FAMILIES {
        let report = trace(&site, "trace", "a", family);
        assert_eq!((reason(&report).as_str(), way_out(&report).verified), ("ok", Some(true)), "{:#?}", report.log);
    }
    misroute(&site, Isp::A);
    for family in FAMILIES {
        for module in ["trace", "trace_udp", "trace_tcp"] {
            let report = trace(&site, module, "a", family);
            assert_eq!((reason(&report).as_str(), way_out(&report).verified), ("egress_mismatch", Some(false)));
            assert_eq!(report.failure.as_ref().unwrap().phase, Phase::Trace, "{module}");
            let first = router(Isp::B, family, 1);
            assert_eq!(report.failure.unwrap().detail, format!("hop 1, {first}, is a router of ISP b"));
        }
    }
    // Nobody knows whose the first router is: it might be A's.
    write(&mut site, &b.replace("100.64.2.0/24", "100.64.2.2/32").replace("fd00:b:1::/48", "fd00:b:1::2/128"));
    for family in FAMILIES {
        let report = trace(&site, "trace", "a", family);
        assert_eq!((reason(&report).as_str(), way_out(&report).verified), ("ok", None), "{:#?}", report.log);
    }
}

/// The netlink sockets of this process in the prober's namespace.
fn netlink_sockets(site: &Site) -> Vec<String> {
    let table = site.lab.prober().run(|| std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap()).unwrap();
    let ours =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let ours: Vec<_> = ours.map(|link| link.display().to_string()).collect();
    let inodes = table.lines().filter_map(|line| line.split_whitespace().last());
    inodes.filter(|inode| ours.contains(&format!("socket:[{inode}]"))).map(str::to_owned).collect()
}

#[test]
fn one_kept_socket_asks_for_all_ways_in_microseconds() {
    let Some(site) = start(&by_address(", $A", ", $B")) else { return };
    let run = || {
        let requests = FAMILIES.map(|family| PROBES.map(|kind| probe(&site, kind, "a", family, 10)));
        assert!(site.run_all(requests.concat()).iter().all(|report| report.way_out.is_some()));
        netlink_sockets(&site)
    };
    let kept = run();
    assert_eq!((kept.len(), run()), (1, kept));
    let source = &site.config.isps["a"].source;
    for family in FAMILIES {
        let heading = Heading { destination: target(family, 10), protocol: Some(6), ports: Some((40_000, 443)) };
        let ask = || site.network.way(source, None, &heading).unwrap();
        assert_eq!(ask().device, "ispa");
        // The best of many: others need the machine, too.
        let best = (0..50).map(|_| {
            let begun = Instant::now();
            (0..20).for_each(|_| drop(ask()));
            begun.elapsed() / 20
        });
        let best = best.min().unwrap();
        assert!(best < Duration::from_micros(30), "{best:?} for one question");
    }
}

#[test]
fn what_lies_further_on_is_no_proof() {
    let Some(mut site) = start(&by_address(", $A", ", $B")) else { return };
    let verified = |site: &Site, isp: &str| {
        FAMILIES.map(|family| {
            let report = trace(site, "trace", isp, family);
            assert_eq!(reason(&report), "ok", "{:#?}", report.log);
            way_out(&report).verified
        })
    };
    // B hands over to A, through which both reach the target: they share a tail.
    site.lab.change(|topology| {
        let tail = topology.a.hops[2..].to_vec();
        topology.b.hops.truncate(2);
        topology.b.hops.extend(tail);
    });
    assert_eq!((verified(&site, "a"), verified(&site, "b")), ([Some(true); 2], [Some(true); 2]));
    for (isp, edge) in [("a", 4), ("b", 2)] {
        for family in FAMILIES {
            let text = render::text(&metrics::of_report(&trace(&site, "trace", isp, family)));
            let told = format!("probe_traceroute_role_hop{{role=\"isp_edge\"}} {edge}\n");
            assert!(text.contains(&told), "{told}{text}");
        }
    }
    // A silent hop may be B's, which may hand over to any.
    let silence = |site: &Site, isp: Isp, hops: usize| {
        site.lab.change(|topology| {
            for hop in &mut topology.path_mut(isp).hops[..hops] {
                hop.routers[0].answers.silent = true;
            }
        });
    };
    silence(&site, Isp::A, 1);
    assert_eq!(verified(&site, "a"), [None; 2]);
    // A target among B's routers, which A leads to, and says nothing itself.
    silence(&site, Isp::B, 2);
    assert_eq!(verified(&site, "b"), [None; 2]);
    // Without networks there is nothing to compare with.
    configure(&mut site, &by_address("", ""));
    site.lab.change(|now| *now = topology());
    assert_eq!((verified(&site, "a"), verified(&site, "b")), ([None; 2], [None; 2]));
    // The target is no router, whosever its address is.
    configure(&mut site, &by_address(", $A", ", networks: [198.51.100.0/24, '2001:db8:100::/48']"));
    site.lab.change(|topology| topology.a.hops.clear());
    assert_eq!(verified(&site, "a"), [None; 2]);
}

#[test]
fn what_is_silent_before_the_isps_routers_proves_nothing_unless_it_is_known_to_be_the_sites_own() {
    let Some(mut site) = start(&untold(", $A", ", $B")) else { return };
    // B's routers, which say nothing or hardly anything, hand over to A's.
    site.lab.change(|topology| {
        let tail = topology.a.hops[2..].to_vec();
        topology.b.hops.truncate(2);
        topology.b.hops.extend(tail);
        topology.b.hops[..2].iter_mut().for_each(|hop| hop.routers[0].answers.silent = true);
    });
    let verified = |site: &Site, module: &str| {
        FAMILIES.map(|family| {
            let report = trace(site, module, "a", family);
            assert_eq!(reason(&report), "ok", "{:#?}", report.log);
            way_out(&report).verified
        })
    };
    assert_eq!(verified(&site, "trace"), [Some(true); 2]);
    // All of A's packets leave through B.
    misroute(&site, Isp::A);
    for module in ["trace", "trace_udp", "trace_tcp"] {
        assert_eq!(verified(&site, module), [None; 2], "{module}");
    }
    // One silent hop is enough for that.
    site.lab.change(|topology| drop(topology.b.hops.remove(1)));
    assert_eq!(verified(&site, "trace"), [None; 2]);
    // It is the site's own where that is said, by the module or by the kernel's route.
    site.lab.change(|now| *now = topology());
    configure(&mut site, &by_address(", $A", ", $B"));
    for (version, source, gateway) in [("-4", "10.1.0.2", "10.1.0.1"), ("-6", "fd00:a::2", "fd00:a::1")] {
        site.ip(&format!("{version} rule add pref 600 from {source} lookup 101"));
        site.lab.change(|topology| topology.a.hops[0].routers[0].answers.silent = true);
        let family = if version == "-4" { Family::V4 } else { Family::V6 };
        let verified = |module: &str| way_out(&trace(&site, module, "a", family)).verified;
        assert_eq!((verified("trace"), verified("trace_later")), (None, Some(true)), "{family:?}");
        site.ip(&format!("{version} route replace default via {gateway} dev ispa table 101 metric 10"));
        assert_eq!(verified("trace"), Some(true), "{family:?}");
    }
}

#[test]
fn of_several_ways_the_one_is_told_that_the_kernel_is_known_to_choose() {
    let Some(site) = start("  a: {source_ip: 10.3.0.2, source_ip6: 'fd00:c::2'}") else { return };
    for (family, address, a, b) in
        [("-4", "10.3.0.2/32", "10.1.0.1", "10.2.0.1"), ("-6", "fd00:c::2/128", "fd00:a::1", "fd00:b::1")]
    {
        site.ip(&format!("{family} address add {address} dev lo"));
        let ways = format!("nexthop via {a} dev ispa nexthop via {b} dev ispb");
        site.ip(&format!("{family} route replace default metric 5 {ways}"));
    }
    let hash = |name: &str| std::fs::write(format!("/proc/sys/net/{name}/fib_multipath_hash_policy"), "1").unwrap();
    site.lab.prober().run(|| ["ipv4", "ipv6"].map(hash)).unwrap();
    for family in FAMILIES {
        site.lab.clear_observed();
        let of = |module: &str, port: u16, milliseconds| {
            let target = format!("{}:{port}", host(family, 10));
            site.request(module, "a", &target, Duration::from_millis(milliseconds))
        };
        // Nobody answers to that address.
        let requests =
            [vec![of("dns_udp", 5353, 200); 32], vec![of("trace_tcp", 81, 400)], vec![of("tcp", 80, 200); 4]];
        let reports = site.run_all(requests.concat());
        let observed = site.lab.observed();
        let mut seen = [0, 0];
        for report in &reports {
            match &report.measurement {
                Measurement::Dns(measured) => {
                    let from = measured.handshake.local.map(|local| (local.port(), 5353));
                    let left: Vec<_> = observed.iter().filter(|packet| packet.ports == from).collect();
                    assert_eq!(left.len(), 1, "{from:?}");
                    assert_eq!(way_out(report).device.as_deref(), Some(left[0].isp.device()), "{from:?}");
                    seen[usize::from(left[0].isp == Isp::B)] += 1;
                }
                // The kernel does not look at the ports of raw packets: all take one way.
                Measurement::Traceroute(_) => {
                    let to = |packet: &&Observation| packet.ports.is_some_and(|(_, port)| port == 81);
                    let left: Vec<_> = observed.iter().filter(to).collect();
                    let device = way_out(report).device.unwrap();
                    assert!(left.len() > 3 && left.iter().all(|packet| packet.isp.device() == device), "{left:?}");
                }
                // It chooses by chance.
                _ => assert_eq!((report.module.as_str(), &report.way_out), ("tcp", &None), "{:#?}", report.log),
            }
        }
        assert!(seen[0] > 3 && seen[1] > 3, "the questions took both ways: {seen:?}");
    }
}
