//! Several ISPs in one question: what the lab does to each of them, and whose fault the probes say it is.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::lab::{Site, host};
use support::pcap::{Capture, Packet};
use support::zone::{Zone, serve};
use support::{Exporter, program, value};
use uplink_exporter::lab::{Action, Fault, Isp, Matches, Path, Topology, target};
use uplink_exporter::net::Family;

/// Where the name servers may say that the name is: where it is, at another address of it, where nobody is.
const PLACES: [(&str, u8); 3] = [("here", 10), ("elsewhere", 11), ("nowhere", NOWHERE)];
const NOWHERE: u8 = 12;

/// The targets at which the ISPs' name servers are.
const NAME_SERVERS: [(Isp, u8); 2] = [(Isp::A, 31), (Isp::B, 32)];

/// What is done to the way through an ISP.
const KINDS: [&str; 10] = ["ok", "delay", "500", "syn", "rst", "tls", "dns", "dns_dead", "link", "source"];

/// The verdict of each pair, A's kind at the left, B's above.
///
/// | | |
/// |---|---|
/// | `O` ok | `D` target_down |
/// | `S` target_slow | `P` isp_path_down |
/// | `L` isp_slow | `X` isp_local_down |
/// | `N` dns_split | `?` inconclusive |
///
/// Behind it `a` or `b`: who is blamed.
const TABLE: [(&str, &str); 10] = [
    //             ok  delay 500 syn rst tls dns dns_dead link source
    ("ok", "       O   Lb    ?   Pb  Pb  Pb  O   N        Xb   Xb"),
    ("delay", "    La  S     ?   Pb  Pb  Pb  N   N        Xb   Xb"),
    ("500", "      ?   ?     D   D   D   D   N   D        D    D"),
    ("syn", "      Pa  Pa    D   D   D   D   N   D        Xb   Xb"),
    ("rst", "      Pa  Pa    D   D   D   D   N   D        Xb   Xb"),
    ("tls", "      Pa  Pa    D   D   D   D   N   D        Xb   Xb"),
    ("dns", "      O   N     N   N   N   N   O   N        Xb   Xb"),
    ("dns_dead", " N   N     D   D   D   D   N   D        Xb   Xb"),
    ("link", "     Xa  Xa    D   Xa  Xa  Xa  Xa  Xa       Xab  Xab"),
    ("source", "   Xa  Xa    D   Xa  Xa  Xa  Xa  Xa       Xab  Xab"),
];

struct Scene {
    site: Site,
    exporter: Exporter,
}

fn start() -> Option<Scene> {
    program("nft")?;
    let path = |isp| Path::straight(isp, &[1_000; 4], 1_000);
    let topology = Topology { seed: 11, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() };
    let site = Site::start(topology, "  icmp: {prober: icmp}\n")?;
    for (isp, number) in NAME_SERVERS {
        let mut zone = Zone::default();
        for (of_a, a) in PLACES {
            for (of_b, b) in PLACES {
                let place = if isp == Isp::A { a } else { b };
                zone.address(&format!("{of_a}-{of_b}.four.lab"), target(Family::V4, place), 60);
                zone.address(&format!("{of_a}-{of_b}.six.lab"), target(Family::V6, place), 60);
            }
        }
        serve(&site, SocketAddr::new(target(Family::V4, number), 53), zone);
    }
    let ca = site.folder.path().join("ca.pem");
    let configuration = format!(
        "isps:
  a: {{source_ip: 10.1.0.2, source_ip6: 'fd00:a::2', interface: ispa, resolvers: [{}]}}
  b: {{source_ip: 10.2.0.2, source_ip6: 'fd00:b::2', interface: ispb, resolvers: [{}]}}
  a_gone: {{source_ip: 10.1.0.99, source_ip6: 'fd00:a::99', resolvers: [{}]}}
  b_gone: {{source_ip: 10.2.0.99, source_ip6: 'fd00:b::99', resolvers: [{}]}}
modules:
  https:
    prober: http
    timeout: 1s
    slow: {{phases: {{connect: 100ms}}}}
    http: {{tls_config: {{ca_file: {}, server_name: web.lab}}}}
  tcp: {{prober: tcp}}
",
        target(Family::V4, 31),
        target(Family::V4, 32),
        target(Family::V4, 31),
        target(Family::V4, 32),
        ca.display()
    );
    let exporter = Exporter::start_by(&configuration, |command| site.lab.prober().spawn(command).unwrap());
    site.lab.prober().run(|| exporter.wait()).unwrap();
    Some(Scene { site, exporter })
}

impl Scene {
    fn get(&self, path: &str) -> String {
        self.site.lab.prober().run(|| self.exporter.get(path)).unwrap()
    }

    /// Has `nft` change the far end's firewall.
    fn nft(&self, rules: &str) {
        let mut command = Command::new("nft");
        command.arg(rules).stdin(Stdio::null());
        assert!(self.site.lab.far().spawn(&mut command).unwrap().wait().unwrap().success(), "{rules}");
    }

    /// Does to the ways what their kinds say; returns the request for them.
    fn set(&self, family: Family, kinds: [(Isp, &str); 2]) -> String {
        let dead = Matches { destination: Some(target(family, NOWHERE)), ..Matches::default() };
        let mut faults = vec![Fault { of: dead, action: Action::Drop }];
        let (mut places, mut isps) = (Vec::new(), Vec::new());
        for (isp, kind) in kinds {
            let of = Matches { isp: Some(isp), protocol: Some(libc::IPPROTO_TCP as u8), ..Matches::default() };
            let mut fault = |action| faults.push(Fault { of, action });
            let (letter, source) = match isp {
                Isp::A => ("a", "ip saddr 10.1.0.0/24 tcp dport 443 redirect to :80; ip6 saddr fd00:a::/64"),
                Isp::B => ("b", "ip saddr 10.2.0.0/24 tcp dport 443 redirect to :80; ip6 saddr fd00:b::/64"),
            };
            let mut place = "here";
            match kind {
                "ok" | "link" | "source" => {}
                "delay" => fault(Action::Delay(Duration::from_millis(150))),
                "syn" => fault(Action::Drop),
                "rst" => fault(Action::Reset),
                "500" => fs::write(self.broken(letter), "").unwrap(),
                "tls" => self.nft(&format!(
                    "add table inet {letter}; add chain inet {letter} in {{ type nat hook prerouting priority dstnat; {source} tcp dport 443 redirect to :80; }}"
                )),
                "dns" => place = "elsewhere",
                "dns_dead" => place = "nowhere",
                other => panic!("{other}"),
            }
            if kind == "link" {
                self.site.lab.link(isp, false).unwrap();
            }
            places.push(place);
            isps.push(format!("{letter}{}", if kind == "source" { "_gone" } else { "" }));
        }
        self.site.lab.change(|topology| topology.faults = faults);
        let label = if family == Family::V4 { "four" } else { "six" };
        format!("/probe?module=https&isp={}&target=https://{}.{label}.lab/by_isp", isps.join(","), places.join("-"))
    }

    /// Undoes that.
    fn reset(&self, kinds: [(Isp, &str); 2]) {
        self.site.lab.change(|topology| topology.faults = Vec::new());
        for (isp, kind) in kinds {
            let letter = if isp == Isp::A { "a" } else { "b" };
            match kind {
                "500" => fs::remove_file(self.broken(letter)).unwrap(),
                "tls" => self.nft(&format!("delete table inet {letter}")),
                "link" => self.site.lab.link(isp, true).unwrap(),
                _ => {}
            }
        }
    }

    fn broken(&self, letter: &str) -> PathBuf {
        self.site.folder.path().join(format!("broken_{letter}"))
    }
}

/// The verdict and who is blamed, as in the table.
fn told(body: &str) -> String {
    let series = |prefix: &str| {
        let of = |line: &str| Some(line.strip_prefix(prefix)?.strip_suffix("\"} 1")?.to_owned());
        body.lines().filter_map(of).collect::<Vec<_>>()
    };
    let verdicts = series("probe_verdict{verdict=\"");
    let [verdict] = verdicts.as_slice() else { panic!("{body}") };
    let letter = match verdict.as_str() {
        "ok" => "O",
        "target_down" => "D",
        "target_slow" => "S",
        "isp_path_down" => "P",
        "isp_slow" => "L",
        "isp_local_down" => "X",
        "dns_split" => "N",
        "inconclusive" => "?",
        "prober_impaired" => "!",
        other => panic!("{other}"),
    };
    let blamed = series("probe_blamed_isp{isp=\"");
    let blamed: Vec<_> = blamed.iter().map(|isp| isp.trim_end_matches("_gone")).collect();
    format!("{letter}{}", blamed.concat())
}

/// What is wrong with the verdicts of some pairs.
fn wrong(scene: &Scene, family: Family, wanted: impl Fn(&str, &str) -> bool) -> String {
    let mut wrong = String::new();
    for (row, (kind, cells)) in KINDS.into_iter().zip(TABLE) {
        assert_eq!((row, KINDS.len()), (kind, cells.split_whitespace().count()));
        for (column, cell) in KINDS.into_iter().zip(cells.split_whitespace()) {
            if !wanted(row, column) {
                continue;
            }
            let kinds = [(Isp::A, row), (Isp::B, column)];
            let request = scene.set(family, kinds);
            let body = scene.get(&request);
            if told(&body) != cell {
                let again = scene.get(&format!("{request}&format=json"));
                let because = again.lines().find(|line| line.contains("because")).unwrap_or_default();
                writeln!(wrong, "{family:?} {row} and {column}: {} instead of {cell}: {because}", told(&body)).unwrap();
            }
            scene.reset(kinds);
        }
    }
    wrong
}

#[test]
fn every_pair_of_faults_has_its_verdict() {
    let Some(scene) = start() else { return };
    let wrong =
        wrong(&scene, Family::V4, |_, _| true) + &wrong(&scene, Family::V6, |a, b| a == "ok" || b == "ok" || a == b);
    assert_eq!(wrong, "");
}

#[test]
fn the_probes_begin_within_a_millisecond_and_none_waits_for_another() {
    let Some(scene) = start() else { return };
    let _alone = support::lab::alone();
    let folder = tempfile::tempdir().unwrap();
    for family in [Family::V4, Family::V6] {
        let there = format!("{}:80", host(family, 10));
        let capture =
            |device| Capture::start(device, folder.path(), |command| scene.site.lab.prober().spawn(command).unwrap());
        let captures = ["ispa", "ispb"].map(capture);
        for _ in 0..10 {
            scene.get(&format!("/probe?module=tcp&isp=a,b&target={there}"));
        }
        let syns = captures.map(|capture| {
            let is_syn = |packet: &&Packet| packet.protocol == 6 && packet.transport[13] & 0x3f == 0x02;
            capture.stop().iter().filter(is_syn).map(|packet| packet.at).collect::<Vec<_>>()
        });
        assert_eq!([syns[0].len(), syns[1].len()], [10, 10]);
        let mut apart: Vec<_> = syns[0].iter().zip(&syns[1]).map(|(a, b)| a.abs_diff(*b)).collect();
        apart.sort_unstable();
        // A virtual machine may keep one of its processors waiting for longer than that, now and then.
        assert!(apart[7] < Duration::from_millis(1), "{apart:?}");
    }
    let request = scene.set(Family::V4, [(Isp::A, "syn"), (Isp::B, "ok")]);
    let began = Instant::now();
    let body = scene.get(&request);
    assert!(began.elapsed() < Duration::from_millis(1_200), "{:?}", began.elapsed());
    let success = |isp: &str| value(&body, &format!("probe_success{{isp=\"{isp}\"}}"));
    assert_eq!([success("a"), success("b")], [Some(0.0), Some(1.0)], "{body}");
    assert!(value(&body, "probe_duration_seconds{isp=\"b\"}").unwrap() < 0.2, "{body}");
    assert_eq!(value(&body, "probe_http_status_code{isp=\"b\"}"), Some(200.0));
    assert_eq!(value(&body, "probe_timeout_seconds{isp=\"a\"}"), Some(1.0));
    // Nothing of either ISP is without its name.
    for line in body.lines().filter(|line| !line.starts_with(['#']) && !line.starts_with("probe_verdict{")) {
        assert!(line.contains("{isp=\"a\"") || line.contains("{isp=\"b\""), "{line}");
    }
}

#[test]
fn all_isps_are_asked_and_what_is_no_comparison_is_told() {
    let Some(scene) = start() else { return };
    let there = target(Family::V4, 10);
    let body = scene.get(&format!("/probe?module=tcp&isp=all&target={there}:80"));
    let success = |isp: &str| value(&body, &format!("probe_success{{isp=\"{isp}\"}}"));
    assert_eq!(["a", "a_gone", "b", "b_gone"].map(success), [Some(1.0), Some(0.0), Some(1.0), Some(0.0)], "{body}");
    assert_eq!(told(&body), "Xab", "{body}");
    let only = scene.get(&format!("/probe?module=tcp&isp=a&target={there}:80"));
    assert!(!only.contains("probe_verdict") && only.contains("\nprobe_success 1\n"), "{only}");
    let debug = scene.get(&format!("/probe?module=tcp&isp=a,b&target={there}:80&debug=true"));
    assert!(debug.starts_with("ok: through all it succeeded\n") && debug.contains("through ISP \"b\""), "{debug}");
    for isp in ["a", "b"] {
        let past = scene.get(&format!("/logs?target={there}:80&module=tcp&isp={isp}"));
        assert!(past.contains(&format!("through ISP {isp:?}")), "{past}");
    }
}
