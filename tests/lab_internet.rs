//! The emulated internet does what its topology says, by independent means: plain sockets of the kernels at both ends.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Protocol, Socket};
use support::skip;
use uplink_exporter::lab::{
    Action, Binding, Fault, Isp, Lab, Matches, Mtu, Observation, Path, RateLimit, Servers, Topology, target,
};
use uplink_exporter::net::sys::{self, Origin, SendOptions, TcpInfo};
use uplink_exporter::net::{Family, Source};
use uplink_exporter::verdict::Evidence;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A lab, or nothing, with the reason printed, where this machine can have none.
fn lab(topology: Topology) -> Option<Lab> {
    if let Err(why) = Lab::available() {
        skip(&why);
        return None;
    }
    Some(Lab::start(topology).unwrap())
}

/// Five hops; 10 ms to the target through A, 30 ms through B.
fn short() -> Topology {
    let a = Path::straight(Isp::A, &[1_000, 2_000, 2_000, 2_000, 2_000], 1_000);
    let b = Path::straight(Isp::B, &[1_000, 2_000, 22_000, 2_000, 2_000], 1_000);
    Topology { seed: 1, a, b, faults: Vec::new() }
}

fn fault(destination: IpAddr, action: Action) -> Fault {
    Fault { of: Matches { destination: Some(destination), ..Matches::default() }, action }
}

/// What came back for an echo request: from whom, ICMP type and code, after how long, the packet's hop limit.
#[derive(Debug)]
struct Answer {
    from: IpAddr,
    ty: u8,
    code: u8,
    after: Duration,
}

/// An echo over a raw socket.
fn ping(source: &Source, to: IpAddr, ttl: u8, sequence: u16, payload: usize) -> Option<Answer> {
    let family = Family::of(to);
    let (protocol, ty) = match family {
        Family::V4 => (Protocol::ICMPV4, 8),
        Family::V6 => (Protocol::ICMPV6, 128),
    };
    let socket = source.raw(family, protocol).unwrap();
    let mut request = vec![ty, 0, 0, 0, 0x12, 0x34, 0, 0];
    request[6..8].copy_from_slice(&sequence.to_be_bytes());
    request.resize(8 + payload, 0xa5);
    if family == Family::V4 {
        let sum = !checksum(&request);
        request[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    let started = Instant::now();
    let options = SendOptions { hop_limit: Some(ttl), ..SendOptions::default() };
    sys::send(&socket, &request, SocketAddr::new(to, 0), options).unwrap();
    let mut buffer = vec![0; 65_536];
    let neighbour_discovery = 133..=137;
    while started.elapsed() < Duration::from_millis(150) {
        sys::wait_readable([socket.as_fd()], Some(Duration::from_millis(50))).unwrap();
        while let Ok(received) = sys::receive(&socket, &mut buffer, 0) {
            let after = started.elapsed();
            // IPv4 raw sockets see the IP header.
            let icmp = if family == Family::V4 { &buffer[20..received.len] } else { &buffer[..received.len] };
            if icmp[0] != ty && !(family == Family::V6 && neighbour_discovery.contains(&icmp[0])) {
                return Some(Answer { from: received.peer.unwrap().ip(), ty: icmp[0], code: icmp[1], after });
            }
        }
    }
    None
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum = words.sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum + (sum >> 16)) as u16
}

/// Opens a connection with the kernel's TCP: what it took, what the kernel knows, the socket.
fn connect(source: &Source, to: SocketAddr) -> io::Result<(Duration, TcpInfo, Socket)> {
    let socket = source.tcp(Family::of(to.ip()), 0).unwrap();
    let started = Instant::now();
    socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
    let elapsed = started.elapsed();
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    Ok((elapsed, sys::tcp_info(&socket)?, socket))
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

fn assert_close(measured: Duration, expected: Duration, what: &str) {
    let off = measured.abs_diff(expected);
    assert!(off < Duration::from_millis(1), "{what}: {measured:?} instead of {expected:?}");
}

#[test]
fn round_trip_times_are_the_topologys() {
    let Some(lab) = lab(short()) else { return };
    let _servers = Servers::start(lab.far()).unwrap();
    for isp in Isp::ALL {
        let expected = lab.topology().path(isp).target_rtt();
        for family in FAMILIES {
            let to = target(family, 10);
            let source = isp.bound_by(Binding::Address);
            let (echoes, handshakes): (Vec<_>, Vec<_>) = lab
                .prober()
                .run(|| {
                    let echo = |n| ping(&source, to, 64, n, 56).unwrap().after;
                    let handshake = || connect(&source, SocketAddr::new(to, 80)).unwrap().1.rtt;
                    (0..41).map(|n| (echo(n), handshake())).unzip()
                })
                .unwrap();
            let (echo, handshake) = (median(echoes), median(handshakes));
            println!("{isp:?} {family:?}: {expected:?} asked, echo {echo:?}, handshake {handshake:?}");
            assert_close(echo, expected, "echo");
            assert_close(handshake, expected, "handshake");
        }
    }
}

#[test]
fn every_hop_answers_from_its_own_address_after_its_own_time() {
    let Some(lab) = lab(short()) else { return };
    for (isp, family) in both() {
        let source = isp.bound_by(Binding::Address);
        for hop in 1..=5 {
            let answers = lab
                .prober()
                .run(|| (0..9).map(|n| ping(&source, target(family, 10), hop, n, 0).unwrap()).collect::<Vec<_>>());
            let answers = answers.unwrap();
            let exceeded = if family == Family::V4 { (11, 0) } else { (3, 0) };
            for answer in &answers {
                assert_eq!((answer.from, (answer.ty, answer.code)), (isp.router(hop).address(family), exceeded));
            }
            let expected = lab.topology().path(isp).rtt(hop.into());
            assert_close(median(answers.iter().map(|answer| answer.after).collect()), expected, "hop");
        }
        let reached = lab.prober().run(|| ping(&source, target(family, 10), 6, 0, 0).unwrap()).unwrap();
        assert_eq!(reached.from, target(family, 10));
    }
}

#[test]
fn each_means_of_binding_chooses_the_isp_against_the_default_route() {
    let Some(lab) = lab(short()) else { return };
    let _servers = Servers::start(lab.far()).unwrap();
    for (isp, family) in both() {
        lab.default_route(isp.other()).unwrap();
        for binding in Binding::ALL {
            let source = isp.bound_by(binding);
            // A target of its own: the last packets of an earlier connection may still be on their way.
            let number = 30 + isp as u8 * 3 + binding as u8;
            let to = SocketAddr::new(target(family, number), 80);
            lab.prober()
                .run(|| {
                    let (_, _, socket) = connect(&source, to).unwrap();
                    assert_eq!(socket.local_addr().unwrap().as_socket().unwrap().ip(), isp.source(family));
                    assert!(ping(&source, to.ip(), 64, 1, 0).is_some());
                    let datagram = source.udp(family, 0).unwrap();
                    datagram.send_to(b"?", &SocketAddr::new(to.ip(), 33_434).into()).unwrap();
                    let echo = source.ping(family).unwrap();
                    let request =
                        if family == Family::V4 { [8, 0, 0, 0, 0, 0, 0, 1] } else { [128, 0, 0, 0, 0, 0, 0, 1] };
                    echo.send_to(&request, &SocketAddr::new(to.ip(), 0).into()).unwrap();
                    assert!(sys::wait_readable([echo.as_fd()], Some(Duration::from_secs(1))).unwrap()[0], "no echo");
                })
                .unwrap();
            let observed = observed(&lab, to.ip());
            assert!(observed.len() >= 5, "{observed:?}");
            for packet in observed {
                assert_eq!((packet.isp, packet.source), (isp, isp.source(family)), "{binding:?}: {packet:?}");
            }
        }
        let to = target(family, 20 + isp as u8);
        lab.prober().run(|| connect(&Source::default(), SocketAddr::new(to, 80)).unwrap()).unwrap();
        let unbound = observed(&lab, to);
        assert!(unbound.len() >= 2 && unbound.iter().all(|packet| packet.isp == isp.other()), "{unbound:?}");
    }
}

#[test]
fn lost_syns_are_sent_again_by_the_kernel() {
    let Some(lab) = lab(short()) else { return };
    let _servers = Servers::start(lab.far()).unwrap();
    for (lost, family) in [(1, Family::V4), (2, Family::V6)] {
        let to = target(family, 12);
        lab.change(|topology| topology.faults = vec![fault(to, Action::DropSyn(lost))]);
        let source = Isp::A.bound_by(Binding::Address);
        let (took, info, _) = lab.prober().run(|| connect(&source, SocketAddr::new(to, 80)).unwrap()).unwrap();
        assert_eq!(info.total_retransmits, lost);
        // One second each where the kernel backs off linearly; otherwise one, then two.
        let seconds = took.as_secs_f64();
        assert!((0.99..1.2).contains(&seconds) || (lost == 2 && (1.99..3.3).contains(&seconds)), "{took:?}");
    }
}

#[test]
fn resets_and_stalls_come_when_they_are_told_to() {
    let Some(lab) = lab(short()) else { return };
    let _servers = Servers::start(lab.far()).unwrap();
    let (refused, reset, later, stalled) = (13, 14, 15, 16);
    for (isp, family) in both() {
        lab.change(|topology| {
            topology.faults = vec![
                fault(target(family, reset), Action::Reset),
                fault(target(family, later), Action::ResetAfterHandshake),
                fault(target(family, stalled), Action::Stall),
            ];
        });
        let source = isp.bound_by(Binding::Address);
        let expected = lab.topology().path(isp).target_rtt();
        lab.prober()
            .run(|| {
                for (number, port) in [(refused, 81), (reset, 7)] {
                    let started = Instant::now();
                    let error = connect(&source, SocketAddr::new(target(family, number), port)).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
                    assert!(
                        started.elapsed() >= expected && started.elapsed() < expected * 2,
                        "{:?}",
                        started.elapsed()
                    );
                }
                let mut byte = [0];
                for (number, expected) in
                    [(later, io::ErrorKind::ConnectionReset), (stalled, io::ErrorKind::WouldBlock)]
                {
                    let (_, _, mut socket) = connect(&source, SocketAddr::new(target(family, number), 7)).unwrap();
                    socket.write_all(b"x").unwrap();
                    assert_eq!(socket.read(&mut byte).unwrap_err().kind(), expected);
                }
                let (_, _, mut socket) = connect(&source, SocketAddr::new(target(family, refused), 7)).unwrap();
                socket.write_all(b"x").unwrap();
                assert_eq!(socket.read(&mut byte).unwrap(), 1);
            })
            .unwrap();
    }
}

#[test]
fn every_unreachable_is_heard_with_its_code_and_its_sender() {
    let Some(lab) = lab(short()) else { return };
    let v4 = (0..=13).filter(|code| *code != 4).map(|code| Evidence::Icmp { ty: 3, code });
    let v6 = (0..=6).map(|code| Evidence::Icmp6 { ty: 1, code });
    for says in v4.chain(v6) {
        let (family, origin, ty, code) = match says {
            Evidence::Icmp { ty, code } => (Family::V4, Origin::Icmp, ty, code),
            Evidence::Icmp6 { ty, code } => (Family::V6, Origin::Icmp6, ty, code),
        };
        let to = target(family, 17);
        lab.change(|topology| topology.faults = vec![fault(to, Action::Unreachable { hop: 3, says })]);
        let error = lab.prober().run(|| udp_error(&Isp::B.bound_by(Binding::Address), to, 64)).unwrap().unwrap();
        assert_eq!((error.origin, error.ty, error.code), (origin, ty, code));
        assert_eq!(error.offender, Some(Isp::B.router(3).address(family)));
    }
    // The last "hop" is the target itself.
    let says = Evidence::Icmp { ty: 3, code: 1 };
    let to = target(Family::V4, 17);
    lab.change(|topology| topology.faults = vec![fault(to, Action::Unreachable { hop: 6, says })]);
    let error = lab.prober().run(|| udp_error(&Isp::A.bound_by(Binding::Address), to, 64)).unwrap().unwrap();
    assert_eq!(error.offender, Some(to));
}

#[test]
fn a_loop_wears_out_every_time_to_live() {
    let Some(lab) = lab(short()) else { return };
    for (isp, family) in both() {
        let to = target(family, 18);
        lab.change(|topology| topology.faults = vec![fault(to, Action::Loop { hop: 2 })]);
        let ask = |ttl| lab.prober().run(|| ping(&isp.bound_by(Binding::Address), to, ttl, 0, 0)).unwrap().unwrap();
        let routers: Vec<_> = (1..=9).map(|ttl| ask(ttl).from).collect();
        let expected = [1, 2, 3, 2, 3, 2, 3, 2, 3].map(|hop| isp.router(hop).address(family));
        assert_eq!(routers, expected);
    }
}

#[test]
fn losses_are_counted_as_they_happen() {
    let Some(lab) = lab(short()) else { return };
    lab.change(|topology| {
        topology.a.hops[1].routers[0].answers.silent = true;
        topology.a.hops[2].routers[0].answers.loss = 0.3;
        topology.a.hops[3].routers[0].link.loss = 0.2;
        topology.a.hops[4].routers[0].answers.limit = Some(RateLimit { per_second: 0.001, burst: 3.0 });
    });
    let source = Isp::A.bound_by(Binding::Address);
    let ask = |ttl, count: u16| {
        let to = target(Family::V4, 19);
        lab.prober().run(|| (0..count).filter(|n| ping_once(&source, to, ttl, *n)).count()).unwrap()
    };
    assert_eq!(ask(2, 5), 0, "a silent hop");
    let answered = ask(3, 100);
    let count = lab.counts(Isp::A, target(Family::V4, 19))[2];
    assert_eq!((answered as u64, 100 - answered as u64), (count.answered, count.unanswered));
    assert!((15..=45).contains(&count.unanswered), "{count:?}");
    lab.clear_counts();
    let answered = ask(64, 100);
    let counts = lab.counts(Isp::A, target(Family::V4, 19));
    assert_eq!(100 - answered as u64, counts[3].lost);
    assert!((8..=35).contains(&counts[3].lost), "{counts:?}");
    lab.change(|topology| topology.a.hops[3].routers[0].link.loss = 0.0);
    assert_eq!(ask(5, 10), 3, "a hop that limits its answers");
}

#[test]
fn a_flow_keeps_to_one_of_several_routers_and_flows_spread_over_all() {
    let mut topology = short();
    let mut second = Isp::A.router(103);
    second.link = topology.a.hops[2].routers[0].link;
    topology.a.hops[2].routers.push(second);
    let Some(lab) = lab(topology) else { return };
    let source = Isp::A.bound_by(Binding::Address);
    let to = target(Family::V4, 20);
    let mut seen = std::collections::BTreeMap::new();
    lab.prober()
        .run(|| {
            for port in 40_000..40_040 {
                let socket = udp(&source, to, port);
                let routers: Vec<_> = (0..3).map(|_| error_of(&socket, 3).unwrap().offender.unwrap()).collect();
                assert!(routers.iter().all(|router| *router == routers[0]), "one flow, several routers: {routers:?}");
                *seen.entry(routers[0]).or_insert(0) += 1;
            }
        })
        .unwrap();
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [Isp::A.router(3).v4, Isp::A.router(103).v4]);
    assert!(seen.values().all(|flows| (8..=32).contains(flows)), "{seen:?}");
}

#[test]
fn a_narrow_link_says_so_or_swallows() {
    let Some(lab) = lab(short()) else { return };
    for family in FAMILIES {
        let (told, silent) = (target(family, 21), target(family, 22));
        let source = Isp::A.bound_by(Binding::Address);
        let narrow = |mtu| lab.change(|topology| topology.a.hops[1].routers[0].mtu = Some(mtu));
        narrow(Mtu::told(1_300));
        let too_big = if family == Family::V4 { (3, 4) } else { (2, 0) };
        lab.prober()
            .run(|| {
                let answer = ping(&source, told, 64, 0, 1_400).unwrap();
                assert_eq!((answer.from, (answer.ty, answer.code)), (Isp::A.router(2).address(family), too_big));
                // The kernel has learned it, and now sends fragments; so does the target's, if only for its second reply.
                let answer = (1..4).find_map(|n| ping(&source, told, 64, n, 1_400));
                assert!(answer.is_some_and(|answer| answer.from == told), "{family:?}: fragments do not pass");
                assert!(ping(&source, silent, 64, 0, 1_000).is_some());
            })
            .unwrap();
        narrow(Mtu::untold(1_300));
        assert!(lab.prober().run(|| ping(&source, silent, 64, 0, 1_400)).unwrap().is_none());
    }
}

#[test]
fn snat_shows_outside_and_is_undone_inside_also_in_what_errors_quote() {
    let mut topology = short();
    topology.a.snat4 = Some("203.0.113.5".parse().unwrap());
    topology.a.snat6 = Some("2001:db8:5::5".parse().unwrap());
    let Some(lab) = lab(topology) else { return };
    for family in FAMILIES {
        let outside = lab.topology().a.snat(family).unwrap();
        let to = SocketAddr::new(target(family, 23), 8_080);
        let source = Isp::A.bound_by(Binding::Address);
        let listener = lab.far().run(|| TcpListener::bind(to)).unwrap().unwrap();
        let (_, _, socket) = lab.prober().run(|| connect(&source, to).unwrap()).unwrap();
        let (mut stream, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), outside);
        stream.write_all(b"x").unwrap();
        assert_eq!((&socket).read(&mut [0; 9]).unwrap(), 1);
        // The kernel finds the socket by the packet that the error quotes: from a router, and from the target.
        for (ttl, offender) in [(2, Isp::A.router(2).address(family)), (64, to.ip())] {
            let error = lab.prober().run(|| udp_error(&source, to.ip(), ttl)).unwrap();
            assert_eq!(error.unwrap().offender, Some(offender));
        }
        let reply = lab.prober().run(|| ping(&source, to.ip(), 64, 0, 33)).unwrap();
        assert_eq!(reply.unwrap().from, to.ip());
    }
}

#[test]
fn the_path_can_change_while_something_waits() {
    let Some(lab) = lab(short()) else { return };
    let to = target(Family::V4, 24);
    let source = Isp::A.bound_by(Binding::Address);
    let echo =
        || lab.prober().run(|| median((0..7).map(|n| ping(&source, to, 64, n, 0).unwrap().after).collect())).unwrap();
    let extra = Duration::from_millis(15);
    let before = echo();
    lab.change(|topology| topology.faults = vec![fault(to, Action::Delay(extra))]);
    assert_close(echo() - before, extra, "delay");
    lab.change(|topology| topology.faults = vec![fault(to, Action::DropFirst(2))]);
    let first: Vec<_> = lab.prober().run(|| (0..4).map(|n| ping_once(&source, to, 64, n)).collect()).unwrap();
    assert_eq!(first, [false, false, true, true]);
    lab.change(|topology| topology.faults = vec![fault(to, Action::Drop)]);
    assert!(!lab.prober().run(|| ping_once(&source, to, 64, 0)).unwrap());
}

#[test]
fn a_link_that_was_down_comes_back_whole() {
    let Some(lab) = lab(short()) else { return };
    for isp in Isp::ALL {
        lab.link(isp, false).unwrap();
        for family in FAMILIES {
            let bound = isp.bound_by(Binding::Interface);
            let fails =
                lab.prober().run(|| connect(&bound, SocketAddr::new(target(family, 25), 81)).unwrap_err().kind());
            assert_ne!(fails.unwrap(), io::ErrorKind::ConnectionRefused);
        }
        lab.link(isp, true).unwrap();
        for (binding, family) in Binding::ALL.into_iter().flat_map(|b| FAMILIES.map(|f| (b, f))) {
            let to = SocketAddr::new(target(family, 25), 81);
            let error = lab.prober().run(|| connect(&isp.bound_by(binding), to).unwrap_err()).unwrap();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{isp:?} {binding:?} {family:?}");
        }
    }
}

#[test]
fn icmp_without_privileges_can_be_forbidden() {
    let Some(lab) = lab(short()) else { return };
    match lab.unprivileged_icmp(false) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            return skip(&format!("this user namespace maps one group only: {error}"));
        }
        result => result.unwrap(),
    }
    let refused =
        lab.prober().run(|| Isp::A.bound_by(Binding::Address).ping(Family::V4).unwrap_err().to_string()).unwrap();
    assert!(refused.contains("net.ipv4.ping_group_range"), "{refused}");
    lab.unprivileged_icmp(true).unwrap();
    assert!(lab.prober().run(|| Isp::A.bound_by(Binding::Address).ping(Family::V4).is_ok()).unwrap());
}

#[test]
fn a_runtime_of_a_namespace_makes_its_sockets_there() {
    let Some(lab) = lab(short()) else { return };
    let local = async || Isp::A.bound_by(Binding::Address).tcp(Family::V4, 0).map(drop);
    let (here, spawned) =
        lab.prober().block_on(async { (local().await, tokio::spawn(local()).await.unwrap()) }).unwrap();
    assert!(here.is_ok() && spawned.is_ok());
}

#[test]
fn the_servers_of_the_far_end_answer_as_their_pages_say() {
    let Some(lab) = lab(short()) else { return };
    let servers = Servers::start(lab.far()).unwrap();
    let source = Isp::A.bound_by(Binding::Address);
    let get = |page: &str| {
        let (_, _, mut socket) = connect(&source, SocketAddr::new(target(Family::V6, 10), 80)).unwrap();
        write!(socket, "GET {page} HTTP/1.1\r\nHost: web.lab\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).unwrap();
        response
    };
    lab.prober()
        .run(|| {
            assert!(get("/").starts_with("HTTP/1.1 200 "));
            assert!(get("/status/503").starts_with("HTTP/1.1 503 "));
            assert!(get("/redirect/2").contains("\r\nlocation: /redirect/1\r\n"));
            assert!(get("/redirect/0").starts_with("HTTP/1.1 200 "));
            let started = Instant::now();
            assert!(get("/delay/50").starts_with("HTTP/1.1 200 ") && started.elapsed() > Duration::from_millis(50));
            assert!(get("/nothing").starts_with("HTTP/1.1 404 "));

            let (_, _, mut mail) = connect(&source, SocketAddr::new(target(Family::V4, 10), 25)).unwrap();
            mail.write_all(b"EHLO me\r\nQUIT\r\n").unwrap();
            let mut said = String::new();
            mail.read_to_string(&mut said).unwrap();
            assert_eq!(said, "220 mail.lab ESMTP\r\n250 mail.lab\r\n221 mail.lab closes\r\n");
        })
        .unwrap();
    assert_eq!((servers.accepts(80), servers.accepts(25), servers.accepts(443)), (6, 1, 0));
}

#[test]
fn the_certificate_is_good_for_names_and_addresses_of_the_lab_and_http2_is_offered() {
    use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
    let Some(lab) = lab(short()) else { return };
    let servers = Servers::start(lab.far()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(servers.ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    for (name, good) in [
        ("web.lab", true),
        ("b.web.lab", true),
        ("198.51.100.40", true),
        ("2001:db8:100::10", true),
        ("web.example", false),
    ] {
        let name = ServerName::try_from(name).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        lab.prober()
            .run(|| {
                let to = SocketAddr::new(target(Family::V4, 10), 443);
                let (_, _, mut socket) = connect(&Isp::B.bound_by(Binding::Mark), to).unwrap();
                let handshake = client.complete_io(&mut socket);
                assert_eq!(handshake.is_ok(), good, "{handshake:?}");
            })
            .unwrap();
        assert_eq!(client.alpn_protocol(), Some(&b"h2"[..]));
    }
}

fn observed(lab: &Lab, to: IpAddr) -> Vec<Observation> {
    lab.observed().into_iter().filter(|packet| packet.destination == to).collect()
}

fn both() -> impl Iterator<Item = (Isp, Family)> {
    Isp::ALL.into_iter().flat_map(|isp| FAMILIES.map(|family| (isp, family)))
}

/// Whether an echo request was answered, by anyone.
fn ping_once(source: &Source, to: IpAddr, ttl: u8, sequence: u16) -> bool {
    ping(source, to, ttl, sequence, 0).is_some()
}

/// A UDP socket with an error queue.
fn udp(source: &Source, to: IpAddr, port: u16) -> Socket {
    let family = Family::of(to);
    let socket = source.udp(family, port).unwrap();
    let (level, name) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_RECVERR),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    sys::set_option(&socket, level, name, 1).unwrap();
    socket.connect(&SocketAddr::new(to, 33_434).into()).unwrap();
    socket
}

/// What the network says about a datagram to a port where nobody listens.
fn udp_error(source: &Source, to: IpAddr, ttl: u8) -> Option<sys::ExtendedError> {
    error_of(&udp(source, to, 0), ttl)
}

fn error_of(socket: &Socket, ttl: u8) -> Option<sys::ExtendedError> {
    let to = socket.peer_addr().unwrap().as_socket().unwrap();
    let send = || sys::send(socket, b"?", to, SendOptions { hop_limit: Some(ttl), ..SendOptions::default() });
    // The kernel queues what a packet met before it tells the socket of it, which then tells the next call, whoever has read the queue meanwhile.
    send().or_else(|_| send()).unwrap();
    sys::wait_readable([socket.as_fd()], Some(Duration::from_secs(1))).unwrap();
    sys::receive(socket, &mut [0; 2048], libc::MSG_ERRQUEUE).ok()?.error
}
