//! The fate of packets, in virtual time.

use super::*;
use crate::lab::topology::{Answers, Clamp, Matches, Path, target};

fn topology() -> Topology {
    let a = Path::straight(Isp::A, &[1_000, 2_000, 3_000], 4_000);
    Topology { seed: 5, a: a.clone(), b: a, faults: Vec::new() }
}

/// An echo request of ISP A to the first target, whose checksum nobody looks at here.
fn echo(ttl: u8, sequence: u16) -> Vec<u8> {
    let [high, low] = sequence.to_be_bytes();
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0x40, 0, ttl, 1, 0, 0, 10, 1, 0, 2, 198, 51, 100, 10];
    packet.extend([8, 0, high, low, 1, 2, high, low]);
    packet
}

/// Everything that comes out for one packet: device, time in microseconds since it left, source.
fn fate(internet: &mut Internet, now: Instant, packet: Vec<u8>) -> Vec<(Device, u128, IpAddr)> {
    internet.take(now, Device::Uplink(Isp::A), packet);
    let mut fate = Vec::new();
    while let Some(due) = internet.next_due() {
        assert!(due == now || internet.deliver(due - Duration::from_nanos(1)).is_none(), "too early");
        let (device, packet) = internet.deliver(due).unwrap();
        fate.push((device, (due - now).as_micros(), Header::parse(&packet).unwrap().source));
        internet.recycle(packet);
    }
    fate
}

#[test]
fn a_packet_takes_half_the_round_trip_time_and_an_answer_all_of_it() {
    let mut internet = Internet::new(topology());
    let now = Instant::now();
    let source = Isp::A.source(Family::V4);
    let router = |number| Isp::A.router(number).address(Family::V4);
    assert_eq!(fate(&mut internet, now, echo(4, 0)), [(Device::Inet, 5_000, source)]);
    assert_eq!(fate(&mut internet, now, echo(3, 0)), [(Device::Uplink(Isp::A), 6_000, router(3))]);
    assert_eq!(fate(&mut internet, now, echo(1, 0)), [(Device::Uplink(Isp::A), 1_000, router(1))]);
}

#[test]
fn a_slow_router_delays_its_own_answers_only() {
    let mut internet = Internet::new(topology());
    internet.change(|topology| {
        topology.a.hops[1].routers[0].answers = Answers { delay: Duration::from_millis(50), ..Answers::default() };
    });
    let now = Instant::now();
    let times = [2, 3].map(|ttl| fate(&mut internet, now, echo(ttl, 0))[0].1);
    assert_eq!(times, [53_000, 6_000]);
}

#[test]
fn a_router_clamps_what_goes_on_and_not_what_ends_there_and_a_large_packet_may_be_lost_at_the_end() {
    let mut internet = Internet::new(topology());
    internet.change(|topology| {
        topology.a.hops[1].routers[0].clamp = Clamp { there: Some(1360), back: Some(1300) };
        topology.faults = vec![Fault { of: Matches::default(), action: Action::DropLarger(44) }];
    });
    let now = Instant::now();
    let (prober, target) = (Isp::A.source(Family::V4), target(Family::V4, 10));
    let segment = |ttl: u8, flags: u8, (from, to): (IpAddr, IpAddr), data: usize| {
        let mut packet = vec![0x45, 0, 0, 44 + data as u8, 0, 0, 0x40, 0, ttl, 6, 0, 0];
        for address in [from, to] {
            let IpAddr::V4(address) = address else { unreachable!() };
            packet.extend(address.octets());
        }
        packet.extend([
            0xee,
            0x48,
            0,
            80,
            0,
            0,
            0,
            7,
            0,
            0,
            0,
            0,
            6 << 4,
            flags,
            0xff,
            0xff,
            0,
            0,
            0,
            0,
            2,
            4,
            5,
            0xb4,
        ]);
        packet.resize(44 + data, 0);
        packet
    };
    // The option's value, at the end of the packet or of what is quoted of it.
    let mut offered = |device, packet| {
        internet.take(now, device, packet);
        let due = internet.next_due()?;
        let (_, packet) = internet.deliver(due)?;
        Some(u16::from_be_bytes([packet[packet.len() - 2], packet[packet.len() - 1]]))
    };
    let uplink = Device::Uplink(Isp::A);
    let there = [1, 2, 3, 64].map(|ttl| offered(uplink, segment(ttl, packet::SYN, (prober, target), 0)));
    assert_eq!(there, [Some(1460), Some(1460), Some(1360), Some(1360)]);
    let flags = packet::SYN | packet::ACK;
    assert_eq!(offered(Device::Inet, segment(64, flags, (target, prober), 0)), Some(1300));
    assert_eq!(offered(uplink, segment(64, packet::SYN, (prober, target), 1)), None);
}

#[test]
fn equal_seeds_and_equal_traffic_have_an_equal_fate() {
    let run = |seed| {
        let mut internet = Internet::new(Topology { seed, ..topology() });
        internet.change(|topology| {
            let link = &mut topology.a.hops[1].routers[0].link;
            (link.loss, link.jitter) = (0.5, Duration::from_millis(1));
        });
        let now = Instant::now();
        (0..50).map(|n| fate(&mut internet, now, echo(64, n))).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let lost = run(1).iter().filter(|fate| fate.is_empty()).count();
    assert!((15..=35).contains(&lost), "{lost}");
}

#[test]
fn a_router_that_limits_its_answers_gets_new_tokens_with_time() {
    let mut internet = Internet::new(topology());
    internet.change(|topology| {
        topology.a.hops[0].routers[0].answers.limit = Some(RateLimit { per_second: 10.0, burst: 2.0 });
    });
    let start = Instant::now();
    let mut answered = |ms| !fate(&mut internet, start + Duration::from_millis(ms), echo(1, ms as u16)).is_empty();
    let asked = [0, 0, 0, 99, 100, 101, 1_000, 1_000, 1_000].map(&mut answered);
    assert_eq!(asked, [true, true, false, false, true, false, true, true, false]);
    let count = internet.ledger.counts(internet.topology(), Isp::A, target(Family::V4, 10))[0];
    assert_eq!((count.answered, count.unanswered, count.arrived), (5, 4, 9));
}

#[test]
fn what_is_not_for_routers_goes_nowhere_and_is_not_observed() {
    let mut internet = Internet::new(topology());
    let mut multicast = echo(64, 0);
    multicast[16] = 224;
    assert_eq!(fate(&mut internet, Instant::now(), multicast), []);
    assert_eq!(fate(&mut internet, Instant::now(), vec![0xa5; 7]), []);
    assert_eq!(internet.ledger.observations(), []);
}

#[test]
fn a_hop_of_no_routers_is_no_hop() {
    let mut topology = topology();
    topology.a.hops[1].routers.clear();
    let mut internet = Internet::new(topology);
    assert_eq!(fate(&mut internet, Instant::now(), echo(3, 0))[0].0, Device::Inet);
    assert_eq!(internet.ledger.counts(internet.topology(), Isp::A, target(Family::V4, 10)).len(), 3);
}

#[test]
fn a_packet_that_comes_out_late_is_owned_up_to() {
    let mut internet = Internet::new(topology());
    let now = Instant::now();
    internet.take(now, Device::Uplink(Isp::A), echo(4, 0));
    assert!(internet.deliver(now + Duration::from_micros(5_300)).is_some());
    assert_eq!(internet.ledger.lateness, Duration::from_micros(300));
    internet.ledger.clear_counts();
    assert_eq!(internet.ledger.lateness, Duration::ZERO);
}

/// The sources of the answers of the second hop to packets of so many flows, each sent `times`.
fn answers(internet: &mut Internet, flows: u16, times: u16) -> Vec<Vec<IpAddr>> {
    let now = Instant::now();
    let mut met = |flow| (0..times).map(|_| fate(internet, now, echo(2, flow))[0].2).collect();
    (0..flows).map(&mut met).collect()
}

#[test]
fn routers_of_a_hop_get_flows_by_their_weights() {
    let mut internet = Internet::new(topology());
    let routers = [2, 12].map(|number| Isp::A.router(number).address(Family::V4));
    for (weights, least, most) in [([1, 1], 170, 230), ([3, 1], 80, 120), ([1, 0], 0, 0), ([0, 1], 400, 400)] {
        internet.change(|topology| {
            let first = Router { weight: weights[0], ..topology.a.hops[1].routers[0] };
            topology.a.hops[1] = Hop::of(vec![first, Router { weight: weights[1], ..Isp::A.router(12) }]);
        });
        let met = answers(&mut internet, 400, 2);
        assert!(met.iter().all(|of_flow| of_flow[0] == of_flow[1]), "a flow goes one way");
        let second = met.iter().filter(|of_flow| of_flow[0] == routers[1]).count();
        assert!((least..=most).contains(&second), "{second} of 400 with {weights:?}");
    }
}

#[test]
fn routers_may_share_single_packets_and_the_next_hop_flows() {
    let mut internet = Internet::new(topology());
    internet.change(|topology| {
        topology.a.hops[1].routers.push(Isp::A.router(12));
        topology.a.hops[2].routers.push(Isp::A.router(13));
        topology.a.hops[1].per_packet = true;
    });
    let met = answers(&mut internet, 20, 40);
    for of_flow in &met {
        let first = of_flow.iter().filter(|from| **from == of_flow[0]).count();
        assert!((8..=32).contains(&first), "{first} of 40");
    }
    let now = Instant::now();
    let mut third = |flow| fate(&mut internet, now, echo(3, flow))[0].2;
    for flow in 0..20 {
        assert_eq!(third(flow), third(flow));
    }
}

#[test]
fn a_router_that_drops_answers_for_itself_and_forwards_nothing() {
    let mut internet = Internet::new(topology());
    internet.change(|topology| topology.a.hops[1].routers[0].drops = true);
    let now = Instant::now();
    let reached = [1, 2, 3, 64].map(|ttl| !fate(&mut internet, now, echo(ttl, 0)).is_empty());
    assert_eq!(reached, [true, true, false, false]);
}
