//! The emulated internet does what its topology says, by independent means: plain sockets of the kernels at both ends.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use socket2::{Protocol, Socket};
use uplink_exporter::lab::{Action, Binding, Fault, Isp, Lab, Matches, Mtu, Path, RateLimit, Topology, target};
use uplink_exporter::net::sys::{self, Origin, SendOptions, TcpInfo};
use uplink_exporter::net::{Family, Source};
use uplink_exporter::verdict::Evidence;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A lab, or nothing, with the reason printed, where this machine can have none.
fn lab(topology: Topology) -> Option<Lab> {
    if let Err(reason) = Lab::available() {
        assert!(std::env::var_os("UPLINK_REQUIRE_LAB").is_none(), "no lab: {reason}");
        println!("skipped, no lab here: {reason}");
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

/// Listens on a port of all targets, and answers every byte with "hello".
fn serve(lab: &Lab, port: u16) {
    let listener = lab.far().run(|| TcpListener::bind(("::", port))).unwrap().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.read(&mut byte).is_ok_and(|n| n > 0) {
                    if stream.write_all(b"hello").is_err() {
                        return;
                    }
                }
            });
        }
    });
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
    let options = SendOptions { hop_limit: Some(ttl), source: None };
    sys::send(&socket, &request, SocketAddr::new(to, 0), options).unwrap();
    let mut buffer = vec![0; 65_536];
    while started.elapsed() < Duration::from_millis(300) {
        sys::wait_readable([socket.as_fd()], Some(Duration::from_millis(50))).unwrap();
        while let Ok(received) = sys::receive(&socket, &mut buffer, 0) {
            let after = started.elapsed();
            // IPv4 raw sockets see the IP header.
            let icmp = if family == Family::V4 { &buffer[20..received.len] } else { &buffer[..received.len] };
            // An IPv6 raw socket of the prober also sees what others are told.
            let mine = if icmp[0] == ty || icmp[0] == 134 { false } else { icmp.len() > 8 };
            if mine {
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
    serve(&lab, 80);
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
