//! The phases of an http probe are the wire's: tcpdump says when each part of the conversation left and came, also while the machine is
//! busy.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use support::lab::{Site, alone, host};
use support::pcap::{Capture, Packet};
use uplink_exporter::flight::Phase;
use uplink_exporter::lab::{Isp, Path, Topology, target};
use uplink_exporter::net::Family;
use uplink_exporter::probe::Report;

const MODULES: &str = "
  http: {prober: http, http: {enable_http2: false, tls_config: {ca_file: CA}}}
  http2: {prober: http, http: {tls_config: {ca_file: CA}}}
  https12: {prober: http, http: {tls_config: {ca_file: CA, max_version: TLS12}}}
";

/// How long the server thinks before it answers, and pauses in the middle of its answer.
const THINKS: Duration = Duration::from_millis(100);
const PAUSES: Duration = Duration::from_millis(20);

const PLAIN: u16 = 4080;
const SECURE: u16 = 4443;

fn site() -> Option<Site> {
    let path = |isp| Path::straight(isp, &[500, 500, 1_000], 4_000);
    let site = Site::start(Topology { seed: 1, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() }, MODULES)?;
    let read = |name: &str| std::fs::read(site.folder.path().join(name)).unwrap();
    let certificate = CertificateDer::from_pem_slice(&read("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    for port in [PLAIN, SECURE] {
        let listener = site.lab.far().run(|| TcpListener::bind(("::", port)).unwrap()).unwrap();
        let config = Arc::clone(&config);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let config = Arc::clone(&config);
                stream.set_nodelay(true).unwrap();
                thread::spawn(move || match port {
                    PLAIN => serve(stream),
                    _ => serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream)),
                });
            }
        });
    }
    Some(site)
}

/// Answers one request: `/redirect/N` at once with a redirect to `/redirect/N-1`, all else slowly. What goes wrong is the client's to tell.
fn serve(mut stream: impl Read + Write) -> Option<()> {
    let (mut request, mut buffer) = (Vec::new(), [0; 2048]);
    while !request.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        request.extend_from_slice(&buffer[..length]);
    }
    let request = String::from_utf8_lossy(&request);
    let redirects = request.strip_prefix("GET /redirect/").and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    if let Some(more) = redirects.and_then(|number| number.checked_sub(1)) {
        write!(stream, "HTTP/1.1 302 Found\r\nLocation: /redirect/{more}\r\nContent-Length: 5\r\n\r\nthere").ok()?;
    } else {
        thread::sleep(THINKS);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").ok()?;
        stream.flush().ok()?;
        thread::sleep(PAUSES);
        stream.write_all(b"later").ok()?;
    }
    stream.flush().ok()?;
    // The client closes.
    stream.read(&mut buffer).ok().map(drop)
}

/// One connection as the capture has it.
#[derive(Default)]
struct Seen {
    syn: Duration,
    syn_ack: Duration,
    /// Segments with data, ours and the server's; those that are sent again only once.
    out: Vec<Duration>,
    back: Vec<Duration>,
    /// Whose they are, and where their data begins.
    known: BTreeSet<(bool, u32)>,
}

/// The connections to a host, in the order of their SYNs.
fn connections(packets: &[Packet], server: IpAddr) -> Vec<Seen> {
    let mut seen: BTreeMap<u16, Seen> = BTreeMap::new();
    for packet in packets.iter().filter(|packet| packet.protocol == 6) {
        let (source, destination) = packet.ports();
        let is_new =
            |connection: &mut Seen, ours| packet.has_data() && connection.known.insert((ours, packet.sequence()));
        if packet.destination == server {
            let connection = seen.entry(source).or_default();
            if packet.flags() == "S" {
                connection.syn = packet.at;
            } else if is_new(connection, true) {
                connection.out.push(packet.at);
            }
        } else if packet.source == server {
            let connection = seen.entry(destination).or_default();
            if packet.flags() == "S." {
                connection.syn_ack = packet.at;
            } else if is_new(connection, false) {
                connection.back.push(packet.at);
            }
        }
    }
    let mut seen: Vec<Seen> = seen.into_values().collect();
    seen.sort_by_key(|connection| connection.syn);
    seen
}

impl Seen {
    /// The phases of a conversation with the slow server, whose answer is its last two words; with so many turns of TLS, in each of which its
    /// last word decides. What it says behind them (tickets) is not waited for.
    fn phases(&self, turns: usize) -> BTreeMap<Phase, Duration> {
        let mut phases = BTreeMap::from([(Phase::Connect, self.syn_ack - self.syn)]);
        let [.., answer, last] = self.back[..] else { panic!("{:?}", self.back) };
        let request = *self.out.iter().filter(|out| **out < answer).max().unwrap();
        phases.insert(Phase::Processing, answer - request);
        phases.insert(Phase::Transfer, last - answer);
        if turns > 0 {
            // From a word of ours to the last word of the server before the next of ours.
            let words = self.out.windows(2).take_while(|words| words[0] < request);
            let turn = words.filter_map(|words| {
                let replied = self.back.iter().filter(|back| (words[0]..words[1]).contains(*back)).max()?;
                Some(*replied - words[0])
            });
            phases.insert(Phase::Tls, turn.take(turns).sum());
        }
        phases
    }
}

fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() * percent).div_ceil(100) - 1]
}

/// Both families through both ISPs.
const WAYS: [(Family, Isp); 4] =
    [(Family::V4, Isp::A), (Family::V4, Isp::B), (Family::V6, Isp::A), (Family::V6, Isp::B)];

/// What passes the devices of both ISPs while something is done, and what comes of that.
fn captured<T>(site: &Site, act: impl FnOnce() -> T) -> ([Vec<Packet>; 2], T) {
    let captures = Isp::ALL.map(|isp| {
        Capture::start(isp.device(), site.folder.path(), |command| site.lab.prober().spawn(command).unwrap())
    });
    let done = act();
    let packets = thread::scope(|scope| {
        let stopped = captures.map(|capture| scope.spawn(|| capture.stop()));
        stopped.map(|stopped| stopped.join().unwrap())
    });
    (packets, done)
}

/// How far reports are from the capture, and what of their durations is no phase.
#[derive(Debug, Default)]
struct Apart {
    /// For each phase: at the median of the way that is worst, and at the 95th percentile of all.
    phases: BTreeMap<Phase, [Duration; 2]>,
    /// The overhead, of the best probe of the way that is worst.
    overhead: Duration,
}

/// Probes one after the other, so often each way.
fn compare(site: &Site, module: &str, turns: usize, probes: usize) -> Apart {
    let (scheme, port) = if turns > 0 { ("https", SECURE) } else { ("http", PLAIN) };
    let run = |(family, isp): (Family, Isp)| {
        let url = format!("{scheme}://{}:{port}/", host(family, 10));
        (0..probes).map(|_| site.run(module, isp.name(), &url, Duration::from_secs(5))).collect::<Vec<Report>>()
    };
    let ([through_a, through_b], reports) = captured(site, || WAYS.map(run));
    let mut result = Apart::default();
    let mut all: BTreeMap<Phase, Vec<Duration>> = BTreeMap::new();
    for ((family, isp), reports) in WAYS.into_iter().zip(&reports) {
        let packets = if isp == Isp::A { &through_a } else { &through_b };
        let seen = connections(packets, target(family, 10));
        assert_eq!(seen.len(), probes);
        let mut apart: BTreeMap<Phase, Vec<Duration>> = BTreeMap::new();
        for (report, seen) in reports.iter().zip(&seen) {
            assert_eq!(report.failure, None, "{:#?}", report.log);
            for (phase, wire) in seen.phases(turns) {
                let (_, told) = report.phases.iter().find(|(reached, _)| *reached == phase).unwrap();
                apart.entry(phase).or_default().push(told.abs_diff(wire));
            }
        }
        for (phase, mut apart) in apart {
            let [median, _] = result.phases.entry(phase).or_default();
            *median = percentile(&mut apart, 50).max(*median);
            all.entry(phase).or_default().extend(apart);
        }
        let best = reports.iter().map(|report| report.overhead).min().unwrap();
        result.overhead = result.overhead.max(best);
    }
    for (phase, mut apart) in all {
        result.phases.entry(phase).or_default()[1] = percentile(&mut apart, 95);
    }
    eprintln!("{module} over {scheme}: {result:?}");
    result
}

/// Modules, and turns of TLS.
const CASES: [(&str, usize); 3] = [("http", 0), ("http", 1), ("https12", 2)];

/// The most of the best probe that may be no phase: less than a round trip (6 ms), which is the shortest time that a phase takes here.
const MOST_OVERHEAD: Duration = Duration::from_millis(4);

#[test]
fn phases_are_the_captures() {
    let _alone = alone();
    let Some(site) = site() else { return };
    for (module, turns) in CASES {
        let apart = compare(&site, module, turns, 10);
        for (phase, [median, p95]) in apart.phases {
            let (close, near) = (Duration::from_micros(100), Duration::from_millis(1));
            assert!(median < close && p95 < near, "{module}, {phase:?}: {median:?}, {p95:?}");
        }
        assert!(apart.overhead < MOST_OVERHEAD, "{module}: {:?}", apart.overhead);
    }
}

#[test]
fn phases_are_the_captures_when_the_machine_is_busy() {
    let _alone = alone();
    let Some(site) = site() else { return };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        let apart = CASES.map(|(module, turns)| compare(&site, module, turns, 7));
        stop.store(true, Ordering::Relaxed);
        for (phase, [median, _]) in apart.into_iter().flat_map(|apart| apart.phases) {
            assert!(median < Duration::from_micros(500), "{phase:?}: {median:?}");
        }
    });
}

#[test]
fn a_chain_of_redirects_has_no_time_of_ours_in_its_phases() {
    let _alone = alone();
    let Some(site) = site() else { return };
    // One goes over HTTP/1.1 to the end, the other over HTTP/2 until there are too many.
    for (module, path) in [("http", format!(":{SECURE}/redirect/8")), ("http2", "/circle".to_owned())] {
        let run = |(family, isp): (Family, Isp)| {
            let url = format!("https://{}{path}", host(family, 10));
            site.run(module, isp.name(), &url, Duration::from_secs(5))
        };
        let ([through_a, through_b], reports) = captured(&site, || WAYS.map(run));
        for ((family, isp), report) in WAYS.into_iter().zip(reports) {
            let packets = if isp == Isp::A { &through_a } else { &through_b };
            let seen = connections(packets, target(family, 10));
            assert!(seen.len() >= 9, "{:?}", report.failure);
            let wire: Duration = seen.iter().map(|connection| connection.syn_ack - connection.syn).sum();
            let (_, told) = report.phases.iter().find(|(phase, _)| *phase == Phase::Connect).unwrap();
            let apart = told.abs_diff(wire);
            assert!(
                apart < Duration::from_millis(1),
                "{module}: {told:?} instead of {wire:?} in {} handshakes",
                seen.len()
            );
        }
    }
}
