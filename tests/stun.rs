//! The public address: what nftables' SNAT on the prober's host makes of each ISP's packets, as our own reflector, coturn and nobody tell it.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::net::{IpAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use support::lab::{Site, host};
use support::{Running, program, until};
use uplink_exporter::lab::{Action, Fault, Isp, Matches, Path, Topology, target};
use uplink_exporter::metrics::of_report;
use uplink_exporter::net::Family;
use uplink_exporter::probe::{self, Measurement, Report, stun};
use uplink_exporter::render;

const PATIENCE: Duration = Duration::from_secs(5);

const MODULES: &str = "
  udp4: {prober: stun, stun: {preferred_ip_protocol: ip4}}
  udp6: {prober: stun, stun: {preferred_ip_protocol: ip6}}
  tcp4: {prober: stun, stun: {preferred_ip_protocol: ip4, transport_protocol: tcp}}
  tcp6: {prober: stun, stun: {preferred_ip_protocol: ip6, transport_protocol: tcp}}
  http: {prober: http, http: {public_ip: true}}
";

/// What the firewall makes of the source of packets through an ISP.
fn public(isp: Isp, family: Family) -> IpAddr {
    let address = match (isp, family) {
        (Isp::A, Family::V4) => "203.0.113.1",
        (Isp::A, Family::V6) => "2001:db8:a::1",
        (Isp::B, Family::V4) => "203.0.113.2",
        (Isp::B, Family::V6) => "2001:db8:b::1",
    };
    address.parse().unwrap()
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The lab with a firewall that translates; nothing, and a word why, where it cannot be.
fn site() -> Option<Site> {
    let nft = program("nft")?;
    let path = |isp: Isp, rtt| Path {
        behind: FAMILIES.map(|family| public(isp, family)).to_vec(),
        ..Path::straight(isp, &[300, 300], rtt)
    };
    let topology = Topology { seed: 1, a: path(Isp::A, 4_000), b: path(Isp::B, 24_000), faults: Vec::new() };
    let site = Site::start(topology, MODULES)?;
    let mut rules = vec![
        "add table inet firewall".to_owned(),
        "add chain inet firewall out { type nat hook postrouting priority srcnat; }".to_owned(),
    ];
    for isp in Isp::ALL {
        for (family, word) in FAMILIES.into_iter().zip(["ip", "ip6"]) {
            let (device, inside, outside) = (isp.device(), isp.source(family), public(isp, family));
            rules.push(format!(
                "add rule inet firewall out oifname {device} {word} saddr {inside} snat {word} to {outside}"
            ));
        }
    }
    let mut command = Command::new(nft);
    command.arg(rules.join("\n")).stdin(Stdio::null());
    assert!(site.lab.prober().spawn(&mut command).unwrap().wait().unwrap().success());
    Some(site)
}

/// Our reflector at the far end, as nobody in particular; HTTP on 8080, STUN on 3478.
fn reflector(site: &Site) -> Option<Running> {
    program("setpriv")?;
    // Where the program was built need not be open to others.
    let (built, file) = (env!("CARGO_BIN_EXE_uplink_exporter"), site.folder.path().join("reflector"));
    std::fs::set_permissions(site.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::hard_link(built, &file).or_else(|_| std::fs::copy(built, &file).map(drop)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--"]);
    command.arg(file).arg("reflect").stdin(Stdio::null()).stderr(Stdio::null());
    let running = Running(site.lab.far().spawn(&mut command).unwrap());
    listens(site, target(Family::V6, 10), 8080);
    Some(running)
}

#[expect(clippy::disallowed_methods, reason = "the test talks to servers, it is no probe")]
fn listens(site: &Site, address: IpAddr, port: u16) {
    until("the server serves", || site.lab.far().run(|| TcpStream::connect((address, port)).is_ok()).unwrap());
}

/// Probes through an ISP that expects these public addresses.
fn ask(site: &Site, module: &str, isp: &str, target: &str, public_ips: &[&str]) -> Report {
    let mut request = site.request(module, isp, target, PATIENCE);
    let public_ips = public_ips.iter().map(|prefix| prefix.parse().unwrap()).collect();
    let isp = request.isp.take().unwrap();
    request.isp = Some(Arc::new(probe::Isp { public_ips, ..isp.as_ref().clone() }));
    site.run_all(vec![request]).remove(0)
}

fn of_stun(report: &Report) -> &stun::Measurement {
    match &report.measurement {
        Measurement::Stun(measured) => measured,
        other => panic!("{other:?}"),
    }
}

/// A module, and its target at a number of the far end.
fn ways(family: Family, number: u8, port: u16) -> [(&'static str, String); 2] {
    let modules = match family {
        Family::V4 => ["udp4", "tcp4"],
        Family::V6 => ["udp6", "tcp6"],
    };
    modules.map(|module| (module, format!("{}:{port}", host(family, number))))
}

#[test]
fn each_isp_has_the_address_that_its_snat_gives_by_stun_and_by_http() {
    let Some(site) = site() else { return };
    let Some(_reflector) = reflector(&site) else { return };
    for family in FAMILIES {
        for isp in Isp::ALL {
            for binding in ["", "_address", "_interface", "_mark"] {
                let name = format!("{}{binding}", isp.name());
                let http = ("http", format!("http://{}:8080/", host(family, 20)));
                // Several addresses of the far end: the answer to a datagram comes from the one that was asked.
                for (module, target) in ways(family, 21, 3478).into_iter().chain([http]) {
                    let expected = public(isp, family);
                    let report = ask(&site, module, &name, &target, &[&expected.to_string()]);
                    let what = format!("{module} {target} through {name}: {report:#?}");
                    assert_eq!(report.failure, None, "{what}");
                    assert_eq!(
                        (report.public_ip(), report.public_ip_expected()),
                        (Some(expected), Some(true)),
                        "{what}"
                    );
                    let sum = report.phases.iter().map(|(_, span)| *span).sum::<Duration>() + report.overhead;
                    assert!(sum.abs_diff(report.duration) < Duration::from_millis(1), "{what}");
                    let metrics = render::openmetrics(&of_report(&report));
                    assert!(metrics.contains(&format!("\nprobe_public_ip_info{{ip=\"{expected}\"}} 1\n")), "{metrics}");
                    assert!(metrics.contains("\nprobe_public_ip_expected 1\n"), "{metrics}");
                }
            }
        }
    }
    // So it is: nothing has left by another device, or from an address of the inside.
    let observed = site.lab.observed();
    assert!(observed.len() > 100, "{}", observed.len());
    for packet in observed {
        assert_eq!(packet.source, public(packet.isp, Family::of(packet.source)), "{packet:?}");
    }
    // What the prober's own host says, without an ISP: the default route is A's.
    let report = site.run("udp4", "", &format!("{}:3478", target(Family::V4, 21)), PATIENCE);
    assert_eq!((report.public_ip(), report.public_ip_expected()), (Some(public(Isp::A, Family::V4)), None));
}

#[test]
fn an_address_is_expected_by_the_isps_own_of_its_family_or_nobody_says_so() {
    let Some(site) = site() else { return };
    let Some(_reflector) = reflector(&site) else { return };
    for (isp, public_ips, v4, v6) in [
        ("a", &["203.0.113.0/31", "2001:db8:a::/48"][..], Some(true), Some(true)),
        // The other one's.
        ("a", &["203.0.113.2", "2001:db8:b::1"], Some(false), Some(false)),
        ("b", &["203.0.113.1", "203.0.113.2"], Some(true), None),
        ("b", &["2001:db8:a::1"], None, Some(false)),
        ("b", &[], None, None),
    ] {
        for (family, expected) in FAMILIES.into_iter().zip([v4, v6]) {
            let http = ("http", format!("http://{}:8080/", host(family, 10)));
            for (module, target) in ways(family, 10, 3478).into_iter().chain([http]) {
                let report = ask(&site, module, isp, &target, public_ips);
                assert_eq!(report.failure, None, "what is not expected is no failure: {report:#?}");
                assert_eq!(report.public_ip_expected(), expected, "{module} through {isp} of {public_ips:?}");
                let metrics = render::openmetrics(&of_report(&report));
                let told = expected.map(|expected| format!("\nprobe_public_ip_expected {}\n", u8::from(expected)));
                assert_eq!(metrics.contains("\nprobe_public_ip_expected "), told.is_some(), "{metrics}");
                assert!(told.is_none_or(|told| metrics.contains(&told)), "{metrics}");
            }
        }
    }
}

#[test]
fn the_round_trip_is_the_paths_and_a_lost_request_is_sent_again() {
    let Some(site) = site() else { return };
    let Some(_reflector) = reflector(&site) else { return };
    for isp in Isp::ALL {
        let truth = site.lab.topology().path(isp).target_rtt();
        for family in FAMILIES {
            let [(module, target), _] = ways(family, 10, 3478);
            // The quickest of a few: the reflector is a program, too, and this machine may be busy.
            let rtts = (0..5).map(|_| of_stun(&ask(&site, module, isp.name(), &target, &[])).rtt.unwrap());
            let rtt = rtts.min().unwrap();
            assert!(rtt >= truth && rtt < truth + Duration::from_millis(2), "{rtt:?}, {truth:?} by {module}");
        }
    }
    let of =
        Matches { isp: Some(Isp::B), protocol: Some(libc::IPPROTO_UDP as u8), port: Some(3478), ..Matches::default() };
    site.lab.change(|topology| topology.faults.push(Fault { of, action: Action::DropFirst(2) }));
    for family in FAMILIES {
        let [(module, target), _] = ways(family, 10, 3478);
        let report = ask(&site, module, "b", &target, &["203.0.113.2", "2001:db8:b::/64"]);
        let measured = of_stun(&report);
        assert_eq!((&report.failure, measured.requests, measured.rtt), (&None, 3, None), "{report:#?}");
        assert!((1_500..2_500).contains(&report.duration.as_millis()), "{:?}", report.duration);
        assert_eq!(report.public_ip_expected(), Some(true));
    }
}

#[test]
fn coturn_says_the_same_over_udp_and_tcp() {
    let Some(site) = site() else { return };
    let Some(turnserver) = program("turnserver") else { return };
    let folder = site.folder.path().display().to_string();
    let listen = FAMILIES.map(|family| format!("--listening-ip={}", target(family, 10)));
    let mut command = Command::new(turnserver);
    command.args(["-n", "--stun-only", "--no-auth", "--no-tls", "--no-dtls", "--no-cli", "--listening-port=3479"]);
    command.args([
        format!("--userdb={folder}/turndb"),
        format!("--pidfile={folder}/pid"),
        "--log-file=stdout".to_owned(),
    ]);
    command.args(listen).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _coturn = Running(site.lab.far().spawn(&mut command).unwrap());
    for family in FAMILIES {
        listens(&site, target(family, 10), 3479);
        for isp in Isp::ALL {
            for (module, target) in ways(family, 10, 3479) {
                let expected = public(isp, family);
                let report = ask(&site, module, isp.name(), &target, &[&expected.to_string()]);
                assert_eq!(report.failure, None, "{module} through {isp:?}: {report:#?}");
                assert_eq!((report.public_ip(), report.public_ip_expected()), (Some(expected), Some(true)));
                let mapped = of_stun(&report).mapped.unwrap();
                assert!(!mapped.in_clear && mapped.address.port() != 0, "{mapped:?}");
            }
        }
    }
}
