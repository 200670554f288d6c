//! Traces over loopback.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::*;
use crate::flight::Phase;
use crate::net::{Network, Source};
use crate::probe::{Module, Prober, Report, Request, run};

const MS: Duration = Duration::from_millis(1);

fn settings(protocol: Protocol) -> Settings {
    Settings {
        protocol,
        port: 33434,
        flows: Flows::Count(1),
        count: 3,
        interval: 20 * MS,
        wait: 500 * MS,
        first_hop: 1,
        max_hops: 20,
        preference: Preference::default(),
        names: false,
        pmtu: false,
        registry: None,
    }
}

async fn probe(target: String, settings: Settings) -> Report {
    run(&Request {
        target,
        module: Arc::new(Module {
            name: "trace".into(),
            prober: Prober::Traceroute(settings),
            source: Source::default(),
            timeout: None,
            isp: None,
            resolvers: Vec::new(),
            slow: crate::verdict::Slow::default(),
            yaml: String::new(),
        }),
        isp: None,
        zoned: None,
        isps: Arc::default(),
        hostname: None,
        timeout: 2000 * MS,
        log_limit: usize::MAX,
        network: Arc::new(Network::new()),
        identities: Arc::default(),
    })
    .await
}

/// A port of loopback where somebody listens.
fn listener(address: IpAddr) -> std::net::TcpListener {
    std::net::TcpListener::bind((address, 0)).unwrap()
}

#[tokio::test]
async fn loopback_is_one_hop_away_by_every_protocol_and_in_both_families() {
    for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let open = listener(address);
        let cases = [
            (Protocol::Icmp, address.to_string()),
            (Protocol::Udp, address.to_string()),
            (Protocol::Tcp, address.to_string()),
            (Protocol::Tcp, open.local_addr().unwrap().to_string()),
        ];
        for (protocol, target) in cases {
            let report = probe(target.clone(), settings(protocol)).await;
            if crate::probe::packets::tests::not_permitted(&report) {
                return;
            }
            let crate::probe::Measurement::Traceroute(measured) = &report.measurement else {
                panic!("a traceroute probe measures a path")
            };
            assert_eq!(report.failure, None, "{protocol:?} {target}");
            assert!(measured.reached);
            assert_eq!((measured.protocol, measured.rounds), (protocol, 3));
            assert_eq!((measured.first_hop, measured.max_hops), (1, 20));
            assert_eq!((measured.source, measured.destination), (Some(address), Some(address)));
            let header = if address.is_ipv4() { 20 } else { 40 };
            let (port, size) = match protocol {
                Protocol::Icmp => (None, 64),
                Protocol::Udp => (Some(33434), 10),
                Protocol::Tcp => (Some(target.parse::<SocketAddr>().map_or(33434, |target| target.port())), 36),
            };
            assert_eq!((measured.port, measured.packet_size), (port, Some(header + size)));
            let [hop] = &measured.hops[..] else { panic!("{protocol:?} {target}: {measured:?}") };
            assert_eq!((hop.number, hop.sent, hop.received), (1, 3, 3), "{protocol:?} {target}: {:?}", report.log);
            // Where a datagram ends, nobody listens.
            let error = match (protocol, address) {
                (Protocol::Udp, IpAddr::V4(_)) => Some((3, 3)),
                (Protocol::Udp, IpAddr::V6(_)) => Some((1, 4)),
                _ => None,
            };
            assert_eq!(hop.routers, [Router { answers: 3, error, ..Router::new(address) }]);
            let said = match (protocol, error) {
                (Protocol::Icmp, _) => "an echo reply".to_owned(),
                (Protocol::Udp, error) => {
                    let (ty, code) = error.unwrap();
                    format!("ICMP type {ty}, code {code}")
                }
                (Protocol::Tcp, _) if measured.port == Some(33434) => "a reset".to_owned(),
                (Protocol::Tcp, _) => "a SYN-ACK".to_owned(),
            };
            let lines = report.log.iter().filter(|line| line.text.starts_with("hop 1 of flow 1: "));
            assert_eq!(lines.filter(|line| line.text.contains(&said)).count(), 3, "{said}: {:#?}", report.log);
            assert!(hop.rtt.worst().unwrap() < 0.005, "{hop:?}");

            let phases: Vec<_> = report.phases.iter().map(|(phase, _)| *phase).collect();
            assert_eq!(phases, [Phase::Resolve, Phase::Setup, Phase::Trace]);
            let sum = report.phases.iter().map(|(_, span)| *span).sum::<Duration>() + report.overhead;
            assert!(sum.abs_diff(report.duration) < MS);
        }
        open.set_nonblocking(true).unwrap();
        assert!(open.accept().is_err(), "a trace must not open a connection");
    }
}

#[tokio::test]
async fn the_last_hop_that_there_can_be_is_one_hop() {
    let far = Settings { first_hop: 255, max_hops: 255, ..settings(Protocol::Icmp) };
    let report = probe(Ipv4Addr::LOCALHOST.to_string(), far).await;
    if crate::probe::packets::tests::not_permitted(&report) {
        return;
    }
    let crate::probe::Measurement::Traceroute(measured) = &report.measurement else {
        panic!("a traceroute probe measures a path")
    };
    assert_eq!(report.failure, None);
    let hops: Vec<_> = measured.hops.iter().map(|hop| (hop.number, hop.sent, hop.received)).collect();
    assert_eq!(hops, [(255, 3, 3)]);
}

#[test]
fn only_traces_with_ports_take_a_port() {
    assert!(check_target(&settings(Protocol::Tcp), "example.org:443").is_ok());
    assert!(check_target(&settings(Protocol::Udp), "[2001:db8::1]:53").is_ok());
    assert!(check_target(&settings(Protocol::Icmp), "example.org").is_ok());
    assert!(check_target(&settings(Protocol::Icmp), "example.org:443").is_err());
    assert!(check_target(&settings(Protocol::Tcp), "https://example.org").is_err());
}
