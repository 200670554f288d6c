//! The same traces by Debian's mtr and traceroute, beside them in the lab: what they tell is what we tell, wherever they are right.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::lab::Site;
use support::zone::{Zone, serve};
use support::{Exporter, program};
use uplink_exporter::lab::{Action, Fault, Isp, Labels, Matches, Path, Topology, target};
use uplink_exporter::net::Family;
use uplink_exporter::probe::{Measurement, traceroute};
use uplink_exporter::verdict::Evidence;
use uplink_exporter::wire::dns::reverse_name;
use uplink_exporter::wire::icmp::Label;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

const STACK: &[Label] = &[
    Label { label: 24_003, traffic_class: 5, bottom: false, ttl: 1 },
    Label { label: 17, traffic_class: 0, bottom: true, ttl: 2 },
];

/// As of the Internet, from the second router on: about others nobody is asked. The fourth says nothing; the third and the fifth tell their
/// MPLS labels, one as it is to be and one as it once was.
fn topology() -> Topology {
    let path = |isp: Isp| {
        let mut path = Path::straight(isp, &[1_000, 1_000, 1_000, 1_000, 1_000, 1_000], 1_000);
        for (number, hop) in (1..).zip(&mut path.hops).skip(1) {
            let router = &mut hop.routers[0];
            (router.v4, router.v6) = ([5, 1, number, 1].into(), v6(number));
        }
        path.hops[2].routers[0].labels = Some(Labels { stack: STACK, said: true });
        path.hops[3].routers[0].answers.silent = true;
        path.hops[4].routers[0].labels = Some(Labels { stack: &STACK[1..], said: false });
        path
    };
    Topology { seed: 3, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() }
}

fn v6(number: u8) -> Ipv6Addr {
    [0x2a00, 0xa, number.into(), 0, 0, 0, 0, 1].into()
}

/// Names of the second and the fifth router, systems of the second and third, in the zones of Team Cymru.
fn zone() -> Zone {
    let mut zone = Zone::default();
    for number in [2, 5] {
        for address in [IpAddr::from([5, 1, number, 1]), v6(number).into()] {
            zone.pointer(&reverse_name(address), &format!("core{number}.example."), 300);
        }
    }
    for (number, systems) in [(2, "64500"), (3, "64501 64502")] {
        let text = |prefix: &str| format!("{systems} | {prefix} | KR | apnic | 2020-01-01");
        zone.text(&format!("1.{number}.1.5.origin.asn.cymru.com"), &text("5.1.0.0/16"), 300);
        let digits = format!("0.0.0.0.{number}.0.0.0.a.0.0.0.0.0.a.2");
        zone.text(&format!("{digits}.origin6.asn.cymru.com"), &text("2a00:a::/32"), 300);
    }
    zone.text("AS64500.asn.cymru.com", "64500 | KR | apnic | 2020-01-01 | ONE-AS, KR", 300);
    zone
}

/// Traces of each protocol.
const MODULES: &str = "  trace: {prober: traceroute}
  udp: {prober: traceroute, traceroute: {protocol: udp}}
  tcp: {prober: traceroute, traceroute: {protocol: tcp, port: 80}}
";

/// The lab with a name server at its far end, which is the system's for peers and the ISP's for us.
struct Place {
    site: Site,
}

impl Place {
    fn start() -> Option<Self> {
        program("mtr")?;
        program("traceroute")?;
        let site = Site::start(topology(), MODULES)?;
        let server = SocketAddr::new(target(Family::V4, 30), 53);
        serve(&site, server, zone());
        let folder = site.folder.path();
        fs::write(folder.join("resolv.conf"), format!("nameserver {}\n", server.ip())).unwrap();
        fs::write(folder.join("hosts"), "127.0.0.1 localhost\n").unwrap();
        let configuration = format!(
            "isps: {{a: {{source_ip: 10.1.0.2, source_ip6: 'fd00:a::2', resolvers: [{server}]}}}}\n\
             asn: {{source: dns}}\n\
             modules: {{trace: {{prober: traceroute, traceroute: {{max_hops: 12}}}}}}\n"
        );
        fs::write(folder.join("probes.yml"), configuration).unwrap();
        Some(Self { site })
    }

    /// What a program prints that is run where we probe, with the lab's name server and hosts file as the system's.
    fn run(&self, command: &str) -> String {
        let folder = self.site.folder.path().display();
        let bind = |name| format!("mount --bind {folder}/{name} /etc/{name}");
        let script = format!("{} && {} && exec {command}", bind("resolv.conf"), bind("hosts"));
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let output = self.site.lab.prober().spawn(&mut command).unwrap().wait_with_output().unwrap();
        // mtr prints some numbers as control characters.
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The trace of ours by the command line, in mtr's words.
    fn ours(&self, flags: &str, target: IpAddr) -> String {
        let file = self.site.folder.path().join("probes.yml");
        let program = env!("CARGO_BIN_EXE_uplink_exporter");
        let always = "--module=trace --output=mtr --log.prober=none";
        self.run(&format!("{program} probe --config.file={} {always} {flags} {target}", file.display()))
    }

    /// The same by a server.
    fn served(&self, target: IpAddr) -> String {
        let configuration = fs::read_to_string(self.site.folder.path().join("probes.yml")).unwrap();
        let exporter = Exporter::start_by(&configuration, |command| self.site.lab.prober().spawn(command).unwrap());
        let get = || {
            exporter.wait();
            exporter.get(&format!("/probe?module=trace&isp=a&format=mtr&target={target}"))
        };
        self.site.lab.prober().run(get).unwrap()
    }

    /// What mtr prints. Only for root it is fast.
    fn mtr(&self, flags: &str, target: IpAddr) -> String {
        self.run(&format!("mtr -w -m 12 -i $([ $(id -u) = 0 ] && echo 0.1 || echo 1) -G 1 {flags} {target}"))
    }
}

/// The keys of a document in their order, each with the type of its value.
fn keys(text: &str) -> Vec<(String, &'static str)> {
    let line = |line: &str| {
        let (key, value) = line.trim().strip_prefix('"')?.split_once("\": ")?;
        let value = value.trim_end_matches(',');
        let ty = match value.as_bytes()[0] {
            b'"' => "text",
            b'{' | b'[' => "section",
            _ if value.contains('.') => "real",
            _ => "integer",
        };
        Some((key.to_owned(), ty))
    };
    text.lines().filter_map(line).collect()
}

/// That two documents say the same, key by key; times need not be the same (other tests hold them to the lab's), but be there or 0.0 in both.
fn assert_same(ours: &str, theirs: &str) {
    let what = format!("ours:\n{ours}\nmtr's:\n{theirs}");
    assert_eq!(keys(ours), keys(theirs), "{what}");
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let (ours, theirs) = (read(ours), read(theirs));
    let (head, their_head) = (&ours["report"]["mtr"], &theirs["report"]["mtr"]);
    for key in ["src", "dst", "tos", "tests", "bitpattern"] {
        assert_eq!(head[key], their_head[key], "{key} of {what}");
    }
    // mtr's packets have 64 bytes, ours have those of ping.
    let size: usize = head["psize"].as_str().unwrap().parse().unwrap();
    assert!([84, 104].contains(&size), "{what}");
    for (hub, their_hub) in
        ours["report"]["hubs"].as_array().unwrap().iter().zip(theirs["report"]["hubs"].as_array().unwrap())
    {
        for key in ["count", "host", "ASN", "Loss%"] {
            assert_eq!(hub[key], their_hub[key], "{key} of {hub} in {what}");
        }
        // A silent hop before others is asked up to twice more, which mtr does not do.
        let [ours, theirs] = [hub, their_hub].map(|hub| hub["Snt"].as_u64().unwrap());
        let more = if hub["host"] == "???" { 2 } else { 0 };
        assert!((theirs..=theirs + more).contains(&ours), "Snt of {hub} in {what}");
        for key in ["Last", "Avg", "Best", "Wrst", "StDev"] {
            let [ours, theirs] = [hub, their_hub].map(|hub| hub[key].as_f64().unwrap());
            let silent = hub["host"] == "???";
            assert!(silent || key == "StDev" || ours > 0.0 && theirs > 0.0, "{key} of {hub} in {what}");
            assert!(!silent || ours == 0.0 && theirs == 0.0, "{key} of {hub} in {what}");
        }
    }
}

#[test]
fn what_mtr_tells_is_told_key_by_key() {
    let Some(place) = Place::start() else { return };
    for family in FAMILIES {
        let target = target(family, 10);
        let (ours, theirs) = (place.ours("--isp=a", target), place.mtr("-z -b --json -c 3", target));
        assert_same(&ours, &theirs);
        assert_same(&place.served(target), &theirs);
        let ours: Value = serde_json::from_str(&ours).unwrap();
        let hosts: Vec<_> =
            ours["report"]["hubs"].as_array().unwrap().iter().map(|hub| hub["host"].as_str().unwrap()).collect();
        let router = |number: u8| if family == Family::V4 { format!("5.1.{number}.1") } else { v6(number).to_string() };
        let expected = [
            Isp::A.router(1).address(family).to_string(),
            format!("core2.example ({})", router(2)),
            router(3),
            "???".to_owned(),
            format!("core5.example ({})", router(5)),
            router(6),
            target.to_string(),
        ];
        assert_eq!(hosts, expected);
        let asn: Vec<_> =
            ours["report"]["hubs"].as_array().unwrap().iter().map(|hub| hub["ASN"].as_str().unwrap()).collect();
        assert_eq!(asn, ["AS???", "AS64500", "AS64501 64502", "AS???", "AS???", "AS???", "AS???"]);
    }
}

#[test]
fn traces_to_neighbours_and_peers_of_every_protocol_do_not_mix() {
    let Some(place) = Place::start() else { return };
    for family in FAMILIES {
        let targets = [10, 11].map(|number| target(family, number));
        let (reports, peers) = thread::scope(|scope| {
            let place = &place;
            // They begin before ours and end after them.
            let flags = ["", "-u", "-T -P 80"].map(|protocol| format!("-n --json -c 20 {protocol}"));
            let peers = flags.map(|flags| scope.spawn(move || place.mtr(&flags, targets[0])));
            thread::sleep(Duration::from_millis(500));
            let request = |module: &str, target: IpAddr| {
                place.site.request(module, "a", &target.to_string(), Duration::from_secs(5))
            };
            let pairs = ["trace", "udp", "tcp"].into_iter().flat_map(|module| targets.map(|target| (module, target)));
            let requests = pairs.cycle().take(30).map(|(module, target)| request(module, target));
            let reports = place.site.run_all(requests.collect());
            let still_run = peers.iter().all(|peer| !peer.is_finished());
            assert!(still_run, "they ran beside ours");
            (reports, peers.map(|peer| peer.join().unwrap()))
        });
        let routers = |target: IpAddr| {
            let routers = (1..=6).map(|number| match number {
                4 => None,
                1 => Some(Isp::A.router(1).address(family)),
                _ if family == Family::V4 => Some(format!("5.1.{number}.1").parse().unwrap()),
                _ => Some(v6(number).into()),
            });
            routers.chain([Some(target)]).collect::<Vec<Option<IpAddr>>>()
        };
        for report in &reports {
            let Measurement::Traceroute(measured) = &report.measurement else { panic!("{report:?}") };
            let expected = routers(report.target.parse().unwrap());
            let met: Vec<_> =
                measured.hops.iter().map(|hop| hop.routers.first().map(|router| router.address)).collect();
            assert_eq!(met, expected, "{} {}", report.module, report.target);
            for hop in measured.hops.iter().filter(|hop| hop.received > 0) {
                assert_eq!((hop.routers.len(), hop.received), (1, hop.sent), "{} hop {}", report.module, hop.number);
            }
        }
        for peer in &peers {
            let peer: Value = serde_json::from_str(peer).unwrap_or_else(|error| panic!("{error}: {peer}"));
            let hubs = peer["report"]["hubs"].as_array().unwrap();
            let met: Vec<_> = hubs.iter().map(|hub| hub["host"].as_str().unwrap().parse().ok()).collect();
            assert_eq!(met, routers(targets[0]), "{peer}");
            let lost = hubs.iter().filter(|hub| hub["host"] != "???" && hub["Loss%"].as_f64() != Some(0.0));
            assert_eq!(lost.count(), 0, "{peer}");
        }
    }
}

#[test]
fn without_name_servers_of_an_isp_the_systems_names_are_told_as_mtr_tells_them() {
    let Some(place) = Place::start() else { return };
    let edge = Isp::A.router(1);
    let hosts = format!("127.0.0.1 localhost\n{} edge.example edge\n{} edge6.example\n", edge.v4, edge.v6);
    fs::write(place.site.folder.path().join("hosts"), hosts).unwrap();
    for (family, name) in [(Family::V4, "edge.example"), (Family::V6, "edge6.example")] {
        let target = target(family, 10);
        let (ours, theirs) = (place.ours("", target), place.mtr("-z -b --json -c 3", target));
        assert_same(&ours, &theirs);
        let ours: Value = serde_json::from_str(&ours).unwrap();
        // What the hosts file has nobody is asked for, so that it need not be of the Internet.
        assert_eq!(ours["report"]["hubs"][0]["host"], format!("{name} ({})", edge.address(family)));
    }
}

#[test]
fn a_target_that_does_not_answer_and_one_that_is_refused_look_as_in_mtr() {
    let Some(place) = Place::start() else { return };
    for family in FAMILIES {
        let says = match family {
            Family::V4 => Evidence::Icmp { ty: 3, code: 13 },
            Family::V6 => Evidence::Icmp6 { ty: 1, code: 1 },
        };
        for (number, action, hubs) in [(11, Action::Drop, 7), (12, Action::Unreachable { hop: 3, says }, 4)] {
            let target = target(family, number);
            let of = Matches { destination: Some(target), ..Matches::default() };
            place.site.lab.change(|topology| topology.faults = vec![Fault { of, action }]);
            let (ours, theirs) = (place.ours("--isp=a", target), place.mtr("-z -b --json -c 3", target));
            assert_same(&ours, &theirs);
            let ours: Value = serde_json::from_str(&ours).unwrap();
            assert_eq!(ours["report"]["hubs"].as_array().unwrap().len(), hubs, "{ours}");
        }
    }
}

#[test]
fn the_labels_of_a_hop_are_those_that_traceroute_and_mtr_read() {
    let Some(place) = Place::start() else { return };
    for family in FAMILIES {
        let target = target(family, 10);
        let report = place.site.run("trace", "a", &target.to_string(), Duration::from_secs(5));
        let Measurement::Traceroute(traceroute::Measurement { hops, .. }) = &report.measurement else {
            panic!("{report:?}")
        };
        let labels: Vec<&[Label]> =
            hops.iter().map(|hop| hop.routers.first().map_or(&[][..], |router| router.labels.as_slice())).collect();
        assert_eq!(labels, [&[], &[], STACK, &[], &STACK[1..], &[], &[]]);
        // As they write them: traceroute in one word, mtr in a line each (whose S it prints wrongly).
        let theirs = place.run(&format!("traceroute -n -e -q 1 -w 1 -m 12 {target}"));
        for (line, labels) in theirs.lines().skip(1).zip(&labels) {
            let words = labels.iter().map(|Label { label, traffic_class, bottom, ttl }| {
                format!("L={label},E={traffic_class},S={},T={ttl}", u8::from(*bottom))
            });
            let words = words.collect::<Vec<_>>().join("/");
            assert_eq!(line.contains("<MPLS:"), !labels.is_empty(), "{theirs}");
            assert!(labels.is_empty() || line.contains(&format!("<MPLS:{words}>")), "{words} in {theirs}");
        }
        let theirs = place.mtr("-z -b -r -e -c 3", target);
        let read: Vec<_> = theirs.lines().filter_map(|line| line.trim().strip_prefix("[MPLS: Lbl ")).collect();
        let expected: Vec<_> = labels.concat();
        assert_eq!(read.len(), expected.len(), "{theirs}");
        for (line, Label { label, traffic_class, ttl, .. }) in read.iter().zip(expected) {
            assert!(line.starts_with(&format!("{label} TC {traffic_class} S ")), "{theirs}");
            assert!(line.ends_with(&format!(" TTL {ttl}]")), "{theirs}");
        }
    }
}

/// The addresses of the hops are those that traceroute and mtr meet, by every protocol that they share.
#[test]
fn the_hops_are_those_that_they_meet() {
    let Some(place) = Place::start() else { return };
    for family in FAMILIES {
        let target = target(family, 10);
        let report = place.site.run("trace", "a", &target.to_string(), Duration::from_secs(5));
        let Measurement::Traceroute(traceroute::Measurement { hops, .. }) = &report.measurement else {
            panic!("{report:?}")
        };
        let ours: Vec<String> = hops
            .iter()
            .map(|hop| hop.routers.first().map_or_else(|| "*".to_owned(), |router| router.address.to_string()))
            .collect();
        for options in ["-I", "-T -p 80", "-U -p 33434"] {
            let theirs = place.run(&format!("traceroute -n -q 1 -w 1 -m 12 {options} {target}"));
            let addresses: Vec<_> = theirs.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
            assert_eq!(addresses, ours, "{options}");
        }
        for options in ["", "--udp", "--tcp -P 80"] {
            let theirs = place.mtr(&format!("-n --json -c 1 {options}"), target);
            let theirs: Value = serde_json::from_str(&theirs).unwrap();
            let hubs = theirs["report"]["hubs"].as_array().unwrap();
            let addresses: Vec<_> = hubs.iter().map(|hub| hub["host"].as_str().unwrap().replace("???", "*")).collect();
            assert_eq!(addresses, ours, "{options}");
        }
    }
}
