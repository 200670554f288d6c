//! What the network says of a name server is why a name is not known: the routers' words, by their codes, with who says them.

mod support;

use std::time::Duration;

use support::lab::Site;
use uplink_exporter::flight::Phase;
use uplink_exporter::lab::{Action, Fault, Isp, Matches, Path, Topology, target};
use uplink_exporter::net::Family;
use uplink_exporter::verdict::Evidence;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_a_router_says_of_a_name_server_is_the_reason() {
    let path = |isp| Path::straight(isp, &[1_000, 1_000, 2_000, 2_000], 2_000);
    let topology = Topology { seed: 7, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() };
    let (v4, v6) = (target(Family::V4, 10), target(Family::V6, 10));
    let modules = format!("  V4: {{prober: tcp, resolvers: ['{v4}']}}\n  V6: {{prober: http, resolvers: ['{v6}']}}\n");
    let Some(site) = Site::start(topology, &modules) else { return };
    let icmp = |code| Evidence::Icmp { ty: 3, code };
    let icmp6 = |code| Evidence::Icmp6 { ty: 1, code };
    let codes = [
        (Family::V4, icmp(0), "net_unreachable"),
        (Family::V4, icmp(1), "host_unreachable"),
        (Family::V4, icmp(3), "port_unreachable"),
        (Family::V4, icmp(13), "admin_prohibited"),
        (Family::V6, icmp6(0), "net_unreachable"),
        (Family::V6, icmp6(1), "admin_prohibited"),
        (Family::V6, icmp6(3), "host_unreachable"),
        (Family::V6, icmp6(4), "port_unreachable"),
    ];
    for (family, says, expected) in codes {
        let of = Matches { port: Some(53), ..Matches::default() };
        site.lab.change(|topology| topology.faults = vec![Fault { of, action: Action::Unreachable { hop: 3, says } }]);
        for isp in Isp::ALL {
            for binding in ["address", "interface", "mark"] {
                let name = format!("{}_{binding}", isp.name());
                let target = if family == Family::V4 { "www.example:80" } else { "http://www.example/" };
                let report = site.run(&format!("{family:?}"), &name, target, SECOND);
                let failure = report.failure.as_ref().unwrap();
                let told = (failure.phase, failure.reason.name(), failure.offender);
                let router = Some(isp.router(3).address(family));
                assert_eq!(told, (Phase::Resolve, expected.into(), router), "{name}: {:#?}", report.log);
                assert!(report.duration < Duration::from_millis(300), "{name}: {:?}", report.duration);
            }
        }
    }
    // The far end itself: nobody listens there.
    site.lab.change(|topology| topology.faults.clear());
    for (family, address) in [(Family::V4, v4), (Family::V6, v6)] {
        let target = if family == Family::V4 { "www.example:80" } else { "http://www.example/" };
        let failure = site.run(&format!("{family:?}"), "b", target, SECOND).failure.unwrap();
        let told = (failure.phase, failure.reason.name(), failure.offender);
        assert_eq!(told, (Phase::Resolve, "port_unreachable".into(), Some(address)));
    }
}
