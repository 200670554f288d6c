//! Where the paths of two ISPs part and meet, in which part it is that something is wrong, and whether the other ISP would help.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use support::lab::Site;
use support::value;
use uplink_exporter::lab::{Hop, Isp, Path, Router, TARGETS, Topology, target};
use uplink_exporter::metrics::of_outcome;
use uplink_exporter::net::Family;
use uplink_exporter::probe::{Outcome, Wanted};
use uplink_exporter::render;

const MODULES: &str = "
  icmp: {prober: traceroute, slow: {phases: {rtt: 100ms}}, traceroute: {protocol: icmp, count: 10, interval: 20ms, names: false}}
  udp: {prober: traceroute, slow: {phases: {rtt: 100ms}}, traceroute: {protocol: udp, count: 10, interval: 20ms, names: false}}
  tcp: {prober: traceroute, slow: {phases: {rtt: 100ms}}, traceroute: {protocol: tcp, port: 80, count: 10, interval: 20ms, names: false}}
";

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// How many hops each ISP has of its own, before two that both have.
const OWN: [(Isp, usize); 2] = [(Isp::A, 3), (Isp::B, 2)];

/// A router that both paths go through, by one link.
fn common(number: u8) -> Router {
    let (v4, v6) = (Ipv4Addr::new(203, 0, 113, number), Ipv6Addr::new(0x2001, 0xdb8, 0xc0, 0, 0, 0, 0, number.into()));
    Router { v4, v6, ..Isp::A.router(number) }
}

fn topology() -> Topology {
    let path = |isp| {
        let (_, own) = OWN.into_iter().find(|(of, _)| *of == isp).unwrap();
        let mut path = Path::straight(isp, &vec![2_000; own + 2], 1_000);
        for (hop, number) in path.hops[own..].iter_mut().zip(1..) {
            let link = hop.routers[0].link;
            *hop = Hop::of(vec![Router { link, ..common(number) }]);
        }
        path
    };
    Topology { seed: 9, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() }
}

/// The hops of both ISPs that lie in their common end, the first or the second.
fn both(topology: &mut Topology, index: usize, change: impl Fn(&mut Router)) {
    change(&mut topology.a.hops[OWN[0].1 + index].routers[0]);
    change(&mut topology.b.hops[OWN[1].1 + index].routers[0]);
}

/// A trace to a target of its own: what the one before left at its server is no part of it.
fn ask(site: &Site, module: &str, family: Family, change: impl Fn(&mut Topology)) -> (String, Outcome) {
    static TARGET: AtomicU8 = AtomicU8::new(*TARGETS.start());
    let number = TARGET.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| {
        Some(if number == *TARGETS.end() { *TARGETS.start() } else { number + 1 })
    });
    let there = target(family, number.unwrap()).to_string();
    site.lab.change(|now| {
        *now = topology();
        change(now);
    });
    let request = |isp| site.request(module, isp, &there, Duration::from_secs(4));
    let wanted = Wanted::Several(vec![request("a"), request("b")]);
    let outcome = site.lab.prober().run(|| site.runtime.block_on(wanted.run())).unwrap();
    (render::text(&of_outcome(&outcome)), outcome)
}

/// What a comparison says of A: whether its trouble is shared, and whether B would help; and the same of B.
type Told = [(Option<f64>, Option<f64>); 2];

fn told(text: &str, trouble: &str) -> Told {
    [("a", "b"), ("b", "a")].map(|(isp, other)| {
        let shared = format!("probe_path_trouble_shared{{isp=\"{isp}\",other=\"{other}\",trouble=\"{trouble}\"}}");
        (value(text, &shared), value(text, &format!("probe_reroute_helps{{isp=\"{isp}\"}}")))
    })
}

#[test]
fn paths_part_and_meet_where_the_lab_has_them_do_so() {
    let Some(site) = Site::start(topology(), MODULES) else { return };
    for module in ["icmp", "udp", "tcp"] {
        for family in FAMILIES {
            let (text, outcome) = ask(&site, module, family, |_| {});
            let hop = |name: &str, isp, other| {
                value(&text, &format!("probe_path_{name}_hop{{isp=\"{isp}\",other=\"{other}\"}}"))
            };
            assert_eq!([hop("diverges", "a", "b"), hop("rejoins", "a", "b")], [Some(1.0), Some(4.0)], "{text}");
            assert_eq!([hop("diverges", "b", "a"), hop("rejoins", "b", "a")], [Some(1.0), Some(3.0)], "{text}");
            assert!(!text.contains("probe_reroute_helps") && !text.contains("probe_path_trouble"), "{text}");
            let sources = [Default::default(), Default::default()];
            let page = render::people(&outcome, sources.iter(), false);
            assert!(page.contains("path     a beside b: another from hop 1, the same from hop 4 on\n"), "{page}");
        }
    }
}

#[test]
fn the_other_isp_helps_where_what_is_wrong_is_this_ones_own() {
    let Some(site) = Site::start(topology(), MODULES) else { return };
    let slow = |router: &mut Router| router.link.rtt += Duration::from_millis(120);
    let lossy = |router: &mut Router| router.link.loss = 0.5;
    for module in ["icmp", "tcp"] {
        for family in FAMILIES {
            let ask = |change: &dyn Fn(&mut Topology)| ask(&site, module, family, change).0;
            let (own, shared, none) = ((Some(0.0), Some(1.0)), (Some(1.0), Some(0.0)), (None, None));
            let text = ask(&|topology| slow(&mut topology.a.hops[1].routers[0]));
            assert_eq!(told(&text, "delay"), [own, none], "{module} {family:?}\n{text}");
            let text = ask(&|topology| both(topology, 1, slow));
            assert_eq!(told(&text, "delay"), [shared, shared], "{module} {family:?}\n{text}");
            // Where few packets tell it a hop late, that is still B's own.
            let text = ask(&|topology| lossy(&mut topology.b.hops[0].routers[0]));
            assert_eq!(told(&text, "loss"), [none, own], "{module} {family:?}\n{text}");
            let text = ask(&|topology| both(topology, 1, lossy));
            assert_eq!(told(&text, "loss"), [shared, shared], "{module} {family:?}\n{text}");
            let text = ask(&|topology| topology.a.hops[1].routers[0].drops = true);
            assert_eq!(told(&text, "end"), [own, none], "{module} {family:?}\n{text}");
            assert_eq!(value(&text, "probe_verdict{verdict=\"isp_path_down\"}"), Some(1.0), "{text}");
            let text = ask(&|topology| both(topology, 0, |router| router.drops = true));
            assert_eq!(told(&text, "end"), [shared, shared], "{module} {family:?}\n{text}");
        }
    }
}
