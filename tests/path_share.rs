//! By which ISPs traffic leaves that is bound to none: what the `egress` prober reports is what the lab did with each flow.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use support::lab::Site;
use support::zone::{Zone, serve};
use uplink_exporter::config;
use uplink_exporter::lab::{Action, Fault, Hop, Isp, Matches, Observation, Path, RateLimit, Router, Topology, target};
use uplink_exporter::metrics;
use uplink_exporter::net::Family;
use uplink_exporter::path::Prefix;
use uplink_exporter::probe::{Measurement, Report, egress};
use uplink_exporter::render;
use uplink_exporter::wire::dns::reverse_name;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

const CONFIG: &str = "
isps:
  a: {source_ip: 10.1.0.2, source_ip6: 'fd00:a::2', networks: [100.64.1.0/24, 'fd00:a:1::/48']}
  b: {source_ip: 10.2.0.2, source_ip6: 'fd00:b::2', networks: [100.64.2.0/24, 'fd00:b:1::/48']}
modules:
  tcp: {prober: egress, egress: {rate: 400, wait: 200ms}}
  udp: {prober: egress, egress: {rate: 400, wait: 200ms, protocol: udp}}
  again: {prober: egress, egress: {rate: 200, wait: 600ms, max_hops: 2}}
  tail: {prober: egress, egress: {rate: 200, wait: 600ms}}
  behind: {prober: egress, egress: {rate: 400, wait: 200ms, first_hop: 2}}
  one_hop: {prober: egress, egress: {rate: 400, wait: 200ms, max_hops: 2}}
  few: {prober: egress, egress: {flows: 10, rate: 400, wait: 200ms, max_hops: 3}}
  later: {prober: egress, egress: {flows: 10, rate: 400, wait: 200ms, first_hop: 2, max_hops: 3}}
  from4: {prober: egress, egress: {flows: 20, rate: 400, wait: 200ms, source_ip_address: 10.3.0.2}}
  from6: {prober: egress, egress: {flows: 20, rate: 400, wait: 200ms, source_ip_address: 'fd00:c::2'}}
";

/// The site's own router, which all flows pass.
fn border() -> Router {
    Router { v4: [192, 168, 0, 1].into(), v6: "fd00:5::1".parse().unwrap(), ..Isp::A.router(1) }
}

/// The border, and behind it so many times a router of A and of B, one of which takes each flow.
fn spread(a: usize, b: usize) -> Topology {
    let mut path = Path::straight(Isp::A, &[300, 300, 1_000], 1_000);
    path.hops[0] = Hop::of(vec![border()]);
    path.hops[1].routers = [vec![Isp::A.router(2); a], vec![Isp::B.router(2); b]].concat();
    // From here on they are the same.
    path.hops[2].routers = vec![Router { v4: [203, 0, 113, 1].into(), v6: "fd00:7::1".parse().unwrap(), ..border() }];
    Topology { seed: 1, a: path, b: Path::straight(Isp::B, &[300, 300, 400, 1_000], 1_000), faults: Vec::new() }
}

fn start(topology: Topology) -> Option<Site> {
    let mut site = Site::start(topology, "  unused: {prober: icmp}")?;
    configure(&mut site, CONFIG);
    Some(site)
}

fn configure(site: &mut Site, text: &str) {
    site.config = config::load_str(text, "test.yml").unwrap_or_else(|errors| panic!("{errors}"));
}

fn probe(site: &Site, module: &str, target: &str) -> Report {
    site.lab.clear_observed();
    site.run(module, "", target, Duration::from_secs(20))
}

fn reason(report: &Report) -> String {
    report.failure.as_ref().map_or_else(|| "ok".to_owned(), |failure| failure.reason.name().into_owned())
}

fn measured(report: &Report) -> &egress::Measurement {
    let Measurement::Egress(measured) = &report.measurement else { panic!("{report:#?}") };
    measured
}

/// How many flows were told to have left through A and B.
fn told(report: &Report) -> (u32, u32) {
    let flows = |isp: &str| measured(report).taken.iter().find(|taken| taken.isp == isp).map(|taken| taken.flows);
    let both = flows("a").zip(flows("b"));
    both.unwrap_or_else(|| panic!("nothing is told: {:?}", report.failure))
}

/// The flows that left, each as one of its packets.
fn flows(observed: &[Observation]) -> Vec<Observation> {
    let flows: BTreeMap<_, _> = observed
        .iter()
        .filter_map(|packet| Some(((packet.source, packet.destination, packet.ports?), *packet)))
        .collect();
    flows.into_values().collect()
}

/// What the lab did with them behind the border: through A, through B.
fn truth(site: &Site) -> (u32, u32) {
    let flows = flows(&site.lab.observed());
    let second: Vec<IpAddr> = flows.iter().map(|flow| site.lab.routers(flow).unwrap()[1]).collect();
    let of = |isp: Isp| {
        let routers = FAMILIES.map(|family| isp.router(2).address(family));
        second.iter().filter(|router| routers.contains(router)).count() as u32
    };
    (of(Isp::A), of(Isp::B))
}

#[test]
fn shares_are_those_that_a_router_behind_the_first_makes() {
    let Some(site) = start(spread(1, 1)) else { return };
    for (a, b, least, most) in [(1, 1, 0.3, 0.7), (3, 1, 0.55, 0.93), (0, 1, 0.0, 0.0)] {
        site.lab.change(|topology| *topology = spread(a, b));
        for family in FAMILIES {
            for module in ["tcp", "udp"] {
                let report = probe(&site, module, &target(family, 10).to_string());
                let context = format!("{a}:{b} {module} {family:?}: {:#?}", report.log);
                assert_eq!(reason(&report), "ok", "{context}");
                assert_eq!(told(&report), truth(&site), "{context}");
                let measured = measured(&report);
                assert_eq!((measured.sent, measured.answered()), (100, 100), "{context}");
                let shares = measured.shares().unwrap();
                let share = shares[0];
                assert!((least..=most).contains(&share.ratio), "{share:?}, {context}");
                assert!(share.lower <= share.ratio && share.ratio <= share.upper && share.upper - share.lower < 0.2);
                assert_eq!((shares[0].ratio + shares[1].ratio, share.lower == 0.0), (1.0, share.ratio == 0.0));
                // A flow is asked once for each of two hops, but for what this machine was late with; nothing is sent that would reach the
                // target.
                assert!((200..220).contains(&measured.packets), "{} packets, {context}", measured.packets);
                assert!(site.lab.observed().iter().all(|packet| packet.ttl <= 2));

                let text = render::text(&metrics::of_report(&report));
                for series in [
                    "probe_egress_flows_sent 100\n".to_owned(),
                    "probe_egress_flows_answered 100\n".to_owned(),
                    format!("probe_egress_flows{{isp=\"a\"}} {}\n", told(&report).0),
                    format!("probe_egress_share_ratio{{isp=\"b\"}} {}\n", shares[1].ratio),
                    format!("probe_egress_share_lower_ratio{{isp=\"b\"}} {}\n", shares[1].lower),
                    format!("probe_egress_share_upper_ratio{{isp=\"b\"}} {}\n", shares[1].upper),
                ] {
                    assert!(text.contains(&series), "{series}{text}");
                }
            }
        }
    }
}

/// Has A's router answer so many times a second, and so many times at once.
fn limit(site: &Site, per_second: f64, burst: f64) {
    site.lab.change(|topology| {
        *topology = spread(3, 1);
        // Its entries are one router, with one limit.
        for router in &mut topology.a.hops[1].routers[..3] {
            router.answers.limit = Some(RateLimit { per_second, burst });
        }
    });
}

#[test]
fn a_router_that_answers_less_than_it_forwards_turns_no_share_around() {
    let Some(site) = start(spread(3, 1)) else { return };
    for family in FAMILIES {
        // Of those that are answered, most are B's.
        limit(&site, 1.0, 8.0);
        let report = probe(&site, "one_hop", &target(family, 10).to_string());
        let ((a, b), (true_a, true_b)) = (told(&report), truth(&site));
        assert!(a < b && true_a > true_b, "{a}:{b} instead of {true_a}:{true_b}");
        assert_eq!((reason(&report).as_str(), measured(&report).shares()), ("icmp_loss_partial", None));
        let text = render::text(&metrics::of_report(&report));
        assert!(text.contains("probe_egress_flows_sent 100\n") && !text.contains("isp="), "{text}");
        assert!(
            !text.contains("probe_egress_share") && text.contains(&format!("flows_answered {}\n", a + b)),
            "{text}"
        );

        // It is asked again for what it left out, and tells it where it has the time.
        limit(&site, 40.0, 15.0);
        site.lab.clear_counts();
        let report = probe(&site, "again", &target(family, 10).to_string());
        assert_eq!((reason(&report).as_str(), told(&report)), ("ok", truth(&site)), "{:#?}", report.log);
        let left_out = site.lab.counts(Isp::A, target(family, 10))[1].unanswered;
        assert!(left_out > 0 && u64::from(measured(&report).packets) >= 200 + left_out, "{left_out} were left out");
    }
}

/// As [`spread`], with A's routers behind B's, too. B's router answers so many times a second, and so many times at once.
fn spread_before_a_shared_tail(a: usize, b: usize, per_second: f64, burst: f64) -> Topology {
    let mut topology = spread(a, b);
    topology.a.hops[2].routers = vec![Isp::A.router(3)];
    for router in &mut topology.a.hops[1].routers[a..] {
        match per_second > 0.0 {
            true => router.answers.limit = Some(RateLimit { per_second, burst }),
            false => router.answers.silent = true,
        }
    }
    topology
}

#[test]
fn what_is_silent_before_another_isps_routers_is_not_counted_for_that_isp() {
    let Some(site) = start(spread(1, 1)) else { return };
    for (a, b, per_second) in [(1, 1, 0.0), (0, 1, 0.0), (0, 1, 1.0), (0, 1, 8.0), (1, 1, 3.0)] {
        site.lab.change(|topology| *topology = spread_before_a_shared_tail(a, b, per_second, 6.0));
        for family in FAMILIES {
            let report = probe(&site, "tcp", &target(family, 10).to_string());
            let context = format!("{a}:{b} {per_second}/s {family:?}: {:#?}", report.log);
            assert_eq!(
                (reason(&report).as_str(), measured(&report).shares()),
                ("icmp_loss_partial", None),
                "{context}"
            );
            // What is told is true.
            let ((told_a, told_b), (true_a, true_b)) = (told(&report), truth(&site));
            assert!(told_a == true_a && told_b < true_b, "{told_a}:{told_b} of {true_a}:{true_b}, {context}");
        }
    }
    // Its router is asked again, and tells it where it has the time.
    site.lab.change(|topology| *topology = spread_before_a_shared_tail(1, 3, 40.0, 15.0));
    for family in FAMILIES {
        site.lab.clear_counts();
        let report = probe(&site, "tail", &target(family, 10).to_string());
        assert_eq!((reason(&report).as_str(), told(&report)), ("ok", truth(&site)), "{:#?}", report.log);
        let left_out = site.lab.counts(Isp::A, target(family, 10))[1].unanswered;
        assert!(left_out > 0, "nothing was left out");
    }
}

#[test]
fn packets_leave_no_faster_than_they_may() {
    let Some(site) = start(spread(1, 1)) else { return };
    let report = probe(&site, "again", &target(Family::V4, 10).to_string());
    assert_eq!(reason(&report), "ok");
    let observed = site.lab.observed();
    let since = |index: usize| (observed[index].at - observed[0].at).as_secs_f64();
    for index in [observed.len() / 4, observed.len() / 2, observed.len() - 1] {
        // The lab may see the first packet late.
        let least = index as f64 / 200.0 - 0.05;
        assert!(since(index) > least, "{index} packets left within {} s", since(index));
    }
}

#[test]
fn flows_that_a_host_spreads_itself_are_told_by_the_way_that_each_took() {
    let path = |isp| Path::straight(isp, &[300, 300, 400, 1_000], 1_000);
    let topology = Topology { seed: 1, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() };
    let Some(site) = start(topology) else { return };
    let hash = |name: &str| std::fs::write(format!("/proc/sys/net/{name}/fib_multipath_hash_policy"), "1").unwrap();
    site.lab.prober().run(|| ["ipv4", "ipv6"].map(hash)).unwrap();
    for (family, address) in [("-4", "10.3.0.2/32"), ("-6", "fd00:c::2/128")] {
        site.ip(&format!("{family} address add {address} dev lo"));
    }
    // What the lab saw leave by each device.
    let left = |site: &Site| {
        let flows = flows(&site.lab.observed());
        let by = |isp: Isp| flows.iter().filter(|flow| flow.isp == isp).count() as u32;
        (by(Isp::A), by(Isp::B))
    };
    for (weights, least, most) in [("weight 1 weight 1", 30, 70), ("weight 3 weight 1", 55, 93)] {
        for (family, via_a, via_b) in [("-4", "10.1.0.1", "10.2.0.1"), ("-6", "fd00:a::1", "fd00:b::1")] {
            let (first, second) = weights.split_at(8);
            let ways = format!("nexthop via {via_a} dev ispa {first} nexthop via {via_b} dev ispb {second}");
            site.ip(&format!("{family} route replace default metric 5 {ways}"));
        }
        for family in FAMILIES {
            for module in ["tcp", "udp"] {
                let report = probe(&site, module, &target(family, 10).to_string());
                assert_eq!((reason(&report).as_str(), told(&report)), ("ok", left(&site)), "{:#?}", report.log);
                assert!((least..=most).contains(&told(&report).0), "{:?} with {weights}", told(&report));
            }
        }
    }
    // The address of production has a rule of its own.
    for (module, family, version) in [("from4", Family::V4, "-4"), ("from6", Family::V6, "-6")] {
        let source = if version == "-4" { "10.3.0.2" } else { "fd00:c::2" };
        site.ip(&format!("{version} rule add pref 500 from {source} lookup 102"));
        let report = probe(&site, module, &target(family, 10).to_string());
        assert_eq!((reason(&report).as_str(), told(&report), left(&site)), ("ok", (0, 20), (0, 20)));
        assert_eq!(measured(&report).source, source.parse().ok());
        site.ip(&format!("{version} rule del pref 500"));
    }
    // From the address of production, and with an A whose first router says nothing.
    site.lab.change(|topology| topology.a.hops[0].routers[0].answers.silent = true);
    for (module, family) in [("from4", Family::V4), ("from6", Family::V6)] {
        let report = probe(&site, module, &target(family, 10).to_string());
        assert_eq!((reason(&report).as_str(), told(&report)), ("ok", left(&site)), "{:#?}", report.log);
        let (a, b) = told(&report);
        assert!(a > 0 && b > 0 && a + b == 20);
        let sources: BTreeSet<_> = site.lab.observed().iter().map(|packet| packet.source).collect();
        assert_eq!(sources.into_iter().collect::<Vec<_>>(), [measured(&report).source.unwrap()]);
    }
    // Two gateways of one device: raw packets cannot be sent as the kernel would send others.
    for (family, ways) in [
        ("-4", "nexthop via 10.1.0.1 dev ispa nexthop via 10.1.0.3 dev ispa"),
        ("-6", "nexthop via fd00:a::1 dev ispa nexthop via fd00:a::3 dev ispa"),
    ] {
        site.ip(&format!("{family} route replace default metric 5 {ways}"));
    }
    for (module, family) in [("from4", Family::V4), ("from6", Family::V6)] {
        let report = probe(&site, module, &target(family, 10).to_string());
        assert_eq!(reason(&report), "prober_config_error", "{:#?}", report.log);
        assert!(report.failure.unwrap().detail.contains("several gateways of ispa"));
    }
}

#[test]
fn flows_go_to_all_targets_in_turn() {
    let Some(site) = start(spread(1, 1)) else { return };
    for family in FAMILIES {
        let [one, other] = [target(family, 10), target(family, 11)];
        let at =
            |address: IpAddr| if address.is_ipv4() { format!("{address}:8443") } else { format!("[{address}]:8443") };
        let report = probe(&site, "few", &format!("{one}, {}", at(other)));
        assert_eq!((reason(&report).as_str(), told(&report)), ("ok", truth(&site)));
        let to = |address: IpAddr, port: u16| {
            let to = |flow: &&Observation| flow.destination == address && flow.ports.unwrap().1 == port;
            flows(&site.lab.observed()).iter().filter(to).count()
        };
        assert_eq!((to(one, 443), to(other, 8443)), (5, 5));
        let told = report.way_out.unwrap();
        assert_eq!((told.device.as_deref(), told.return_mismatch), (Some("ispa"), Some(false)));
        // Where they leave by several devices, no one way is told, and none that answers should come by.
        let (version, length) = if one.is_ipv4() { ("-4", 32) } else { ("-6", 128) };
        site.ip(&format!("{version} route add {other}/{length} dev ispb"));
        let report = probe(&site, "few", &format!("{one}, {}", at(other)));
        assert_eq!((reason(&report).as_str(), report.way_out), ("ok", None));
        site.ip(&format!("{version} route del {other}/{length} dev ispb"));
    }
    // Ways of IPv4 and of IPv6 are not one.
    let report = probe(&site, "few", &format!("{},{}", target(Family::V4, 10), target(Family::V6, 10)));
    assert_eq!(reason(&report), "prober_config_error", "{:#?}", report.log);
}

#[test]
fn what_nobody_tells_has_no_share_and_says_why() {
    let Some(mut site) = start(spread(1, 1)) else { return };
    let of = |site: &Site, module: &str, family: Family| {
        let report = probe(site, module, &target(family, 10).to_string());
        assert_eq!(measured(&report).shares(), None);
        (reason(&report), report.failure.unwrap().detail)
    };
    for family in FAMILIES {
        site.lab.change(|topology| {
            *topology = spread(1, 1);
            topology.a.hops.iter_mut().flat_map(|hop| &mut hop.routers).for_each(|router| router.answers.silent = true);
        });
        let (reason, detail) = of(&site, "few", family);
        assert_eq!((reason.as_str(), detail.as_str()), ("icmp_timeout", "no router answered any of 10 flows"));
        // The first router that is nobody's is as far as they are asked.
        site.lab.change(|topology| {
            *topology = spread(1, 1);
            topology.a.hops.insert(0, Hop::of(vec![border()]));
            topology.a.hops.insert(0, Hop::of(vec![border()]));
        });
        let (reason, detail) = of(&site, "few", family);
        assert_eq!(reason, "prober_config_error");
        let stranger = border().address(family);
        let said = format!(
            "of 10 flows 0 are known by their ISP; 10 met nobody else up to hop 3 than {stranger}, who are no ISP's"
        );
        assert_eq!(detail, said);
        // The target is nearer than any ISP.
        site.lab.change(|topology| {
            *topology = spread(1, 1);
            topology.a.hops.truncate(1);
        });
        let (reason, detail) = of(&site, "few", family);
        let said = "of 10 flows 0 are known by their ISP; 10 reached their target before";
        assert_eq!((reason.as_str(), detail.as_str()), ("prober_config_error", said));
    }
    // Hops before the first that is asked are the site's, whatever they would say.
    site.lab.change(|topology| *topology = spread(1, 1));
    for family in FAMILIES {
        let report = probe(&site, "later", &target(family, 10).to_string());
        assert_eq!((reason(&report).as_str(), told(&report)), ("ok", truth(&site)));
        assert!(site.lab.observed().iter().all(|packet| packet.ttl == 2));
    }
    // Nobody can be told from his twin.
    configure(
        &mut site,
        &CONFIG
            .replace("  b: {source_ip: 10.2.0.2,", "  c: {source_ip: 10.2.0.2,")
            .replace("modules:", "  b: {fwmark: 7, networks: [100.64.2.0/24, 'fd00:b:1::/48']}\nmodules:"),
    );
    for family in FAMILIES {
        let report = probe(&site, "few", &target(family, 10).to_string());
        let names: Vec<_> = measured(&report).taken.iter().map(|taken| taken.isp.as_str()).collect();
        assert_eq!((reason(&report).as_str(), names), ("ok", vec!["a", "b,c"]));
    }
}

/// As [`spread`], with routers of A and B behind the border whose addresses are of the Internet. Nothing of it leaves the lab.
fn spread_publicly(a: usize, b: usize) -> Topology {
    let mut topology = spread(a, b);
    for router in &mut topology.a.hops[1].routers {
        let [.., network, _] = router.v4.octets();
        router.v4 = [5, network, 0, 1].into();
        router.v6 = [0x2a00, network.into(), 0, 0, 0, 0, 0, 1].into();
    }
    topology
}

/// Configures the lab's ISPs by AS numbers, and where those come from.
fn configure_systems(site: &mut Site, asn: &str) {
    let text = CONFIG
        .replace("networks: [100.64.1.0/24, 'fd00:a:1::/48']", "asns: [64501]")
        .replace("networks: [100.64.2.0/24, 'fd00:b:1::/48']", "asns: [64502, 64503]")
        .replace("{prober: egress,", "{prober: egress, resolvers: [198.51.100.30],");
    configure(site, &format!("{text}asn: {asn}\n"));
}

/// What the lab did with the flows of a probe, by the second byte of the second router's address.
fn public_truth(site: &Site) -> (u32, u32) {
    let mut observed = site.lab.observed();
    observed.retain(|packet| packet.destination != target(Family::V4, 30));
    let second: Vec<IpAddr> = flows(&observed).iter().map(|flow| site.lab.routers(flow).unwrap()[1]).collect();
    let routers = spread_publicly(1, 1).a.hops[1].routers.clone();
    let of = |router: &Router| {
        second.iter().filter(|address| FAMILIES.map(|family| router.address(family)).contains(address)).count() as u32
    };
    (of(&routers[0]), of(&routers[1]))
}

#[test]
fn shares_are_known_by_autonomous_systems_too() {
    let Some(mut site) = start(spread_publicly(1, 1)) else { return };
    let routers = site.lab.topology().a.hops[1].routers.clone();
    // A table that is here, and zones that are asked through the same internet; the second system of B is the one that is announced.
    let (mut table, mut zone) = (String::new(), Zone::default());
    for (number, router) in [(64_501, &routers[0]), (64_503, &routers[1])] {
        for family in FAMILIES {
            let (address, length) = (router.address(family), if family == Family::V4 { 24 } else { 48 });
            let network = Prefix::of(address, length).unwrap();
            table += &format!("{network} {number}\n");
            let (backwards, of) = (reverse_name(address), format!("{number} | {network} | KR | apnic |"));
            let name = match family {
                Family::V4 => backwards.replace("in-addr.arpa", "o4.example"),
                Family::V6 => {
                    let digits: Vec<_> = backwards.trim_end_matches(".ip6.arpa").split('.').skip(16).collect();
                    format!("{}.o6.example", digits.join("."))
                }
            };
            zone.text(&name, &of, 300);
        }
    }
    let file = site.folder.path().join("systems.txt");
    std::fs::write(&file, table).unwrap();
    let zones = "{source: dns, zones: {origin4: o4.example, origin6: o6.example, names: as.example}}";
    let asked = serve(&site, SocketAddr::new(target(Family::V4, 30), 53), zone);
    for (asn, is_asked) in [(format!("{{table: {}}}", file.display()), false), (zones.to_owned(), true)] {
        configure_systems(&mut site, &asn);
        for (a, b) in [(1, 1), (0, 1)] {
            site.lab.change(|topology| *topology = spread_publicly(a, b));
            for family in FAMILIES {
                let report = probe(&site, "behind", &target(family, 10).to_string());
                let context = format!("{a}:{b} {asn}: {:#?}", report.log);
                assert_eq!((reason(&report).as_str(), told(&report)), ("ok", public_truth(&site)), "{context}");
                let shares = measured(&report).shares().unwrap();
                assert_eq!((measured(&report).answered(), shares[0].ratio == 0.0), (100, a == 0), "{context}");
            }
        }
        assert_eq!(!asked.take().is_empty(), is_asked);
        // The border has an address that nobody announces, and might be anybody's.
        for family in FAMILIES {
            let report = probe(&site, "few", &target(family, 10).to_string());
            assert_eq!((reason(&report).as_str(), measured(&report).shares()), ("prober_config_error", None));
            let detail = report.failure.unwrap().detail;
            assert!(detail.contains("10 met some that may be those of a: give each ISP networks"), "{detail}");
        }
    }
}

#[test]
fn of_systems_that_nobody_tells_in_time_no_share_is_made() {
    let Some(mut site) = start(spread_publicly(1, 1)) else { return };
    site.lab.change(|topology| {
        topology.faults.push(Fault { of: Matches { port: Some(53), ..Matches::default() }, action: Action::Drop })
    });
    configure_systems(&mut site, "{source: dns}");
    for family in FAMILIES {
        let report = probe(&site, "few", &target(family, 10).to_string());
        assert_eq!((reason(&report).as_str(), measured(&report).shares()), ("dns_timeout", None), "{:#?}", report.log);
        let said = "of 10 flows 0 are known by their ISP; 10 met routers whose AS numbers nobody told in time";
        assert_eq!(report.failure.unwrap().detail, said);
        let phases: Vec<_> = report.phases.iter().map(|(phase, _)| phase.name()).collect();
        assert_eq!(phases, ["resolve", "setup", "trace", "lookup"]);
    }
}
