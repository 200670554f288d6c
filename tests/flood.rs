//! Servers that say more than anybody can hear: a probe still ends with its time, and keeps nobody else from his.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]
#![expect(clippy::disallowed_methods, reason = "the servers of these tests are no probes")]
#![expect(clippy::print_stdout, reason = "how close it was is for who wants to know, by --nocapture")]

#[path = "flood/floods.rs"]
mod floods;
mod support;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use floods::Identity;
use support::{Exporter, value};
use uplink_exporter::wire::websocket::accept;

/// How long the probes may take.
const TIMEOUT: Duration = Duration::from_millis(1_500);

/// By how much one may take longer, and how long others may wait for their answer meanwhile, on a machine that is busy with the flood itself.
const LATE: Duration = Duration::from_millis(400);

/// The most memory that the exporter may ever have had, in MiB: some 40 without a flood, and 64 for a body that is looked at, while it grows.
const MOST_MEMORY: u64 = 250;

/// One flood at a time: two at once would be late for want of processors.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a server says to a connection, once that has asked.
type Say = dyn Fn(&mut dyn Conversation) -> io::Result<()> + Send + Sync;

/// A connection of a server.
trait Conversation: Read + Write {}
impl<C: Read + Write> Conversation for C {}

/// A server that floods who connects, and tells of each flood how much was said and when it ended.
struct Server {
    address: String,
    said: Arc<AtomicU64>,
    /// What must be said for it to be a flood, in bytes.
    flood: u64,
    ended: mpsc::Receiver<()>,
}

/// Counts what is said.
struct Counted<C>(C, Arc<AtomicU64>);

impl<C: Read> Read for Counted<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<C: Write> Write for Counted<C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.1.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Server {
    fn of<C: Conversation + Send + 'static>(
        address: String,
        connections: impl Iterator<Item = io::Result<C>> + Send + 'static,
        say: impl Fn(&mut dyn Conversation) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let (tell, ended) = mpsc::channel();
        let said = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&said);
        let say: Arc<Say> = Arc::new(say);
        thread::spawn(move || {
            for connection in connections {
                let mut connection = Counted(connection.unwrap(), Arc::clone(&counter));
                let (say, tell) = (Arc::clone(&say), tell.clone());
                thread::spawn(move || {
                    let _ = say(&mut connection);
                    let _ = tell.send(());
                });
            }
        });
        Self { address, said, flood: 1 << 20, ended }
    }

    /// The probe has closed its connection, as the server has found out.
    fn is_left(&self, what: &str) {
        let ended = self.ended.recv_timeout(Duration::from_secs(5));
        ended.unwrap_or_else(|_| panic!("{what}: the probe has left its connection behind"));
    }

    fn tcp(say: impl Fn(&mut dyn Conversation) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self::of(address, std::iter::from_fn(move || Some(listener.accept().map(|(stream, _)| stream))), say)
    }
}

/// The exporter, with one thread for all that waits and works; `modules` have names and settings.
fn exporter(modules: &[(&str, String)]) -> Flooded {
    let timeout = TIMEOUT.as_secs_f64();
    let modules: String =
        modules.iter().map(|(name, settings)| format!("  {name}: {{timeout: {timeout}s, {settings}}}\n")).collect();
    let configuration =
        format!("modules:\n  banner: {{prober: tcp, tcp: {{query_response: [{{expect: ready}}]}}}}\n{modules}");
    exporter_of(&configuration)
}

fn exporter_of(configuration: &str) -> Flooded {
    let log = tempfile::NamedTempFile::new().unwrap();
    let exporter = Exporter::start_by(configuration, |command| {
        command.env("TOKIO_WORKER_THREADS", "1").stderr(log.reopen().unwrap()).spawn().unwrap()
    });
    exporter.wait();
    Flooded { exporter, log }
}

/// What answers as it should.
fn well() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"ready\n");
        }
    });
    address
}

/// Why a probe of a flood may fail: the reasons, and what the log says of them; none where the flood has an end.
type Why = &'static [(&'static str, &'static str)];

const HAS_AN_END: Why = &[];
const NO_BEGIN: Why = &[(
    "http_response_timeout:server",
    "the server acknowledged the request, and did not begin to answer within 1.5 s",
)];
const NO_BEGIN_BEHIND: Why = &[("http_response_timeout", "the response did not begin within 1.5 s")];
/// Where what is to be answered is too much: nobody reads the answers.
const NO_BEGIN_OR_NOT_TAKEN: Why = &[NO_BEGIN[0], NOT_TAKEN];
/// A proxy that is asked for a way is talked to by another one's rules.
const BEHIND_A_PROXY: Why = &[("connection_read_timeout", "the proxy")];
const NO_END: Why = &[("http_response_timeout", "the response did not end within 1.5 s")];
const NO_ANSWER: Why = &[("connection_read_timeout", "the expected answer did not come within 1.5 s")];
const NO_ANSWER_OR_NOT_TAKEN: Why = &[NO_ANSWER[0], NOT_TAKEN];
const NO_ANSWER_OR_NOT_FOUND: Why =
    &[NO_ANSWER[0], ("prober_overload", "this program did not come to the end of its checks within 1.5 s")];
const NOT_TAKEN: (&str, &str) =
    ("connection_write_timeout", "the server did not take all that was to be sent within 1.5 s");

/// Why a probe failed.
fn reason(body: &str) -> Option<&str> {
    let line = body.lines().find_map(|line| line.strip_prefix("probe_failure_info{"))?;
    Some(line.split_once("reason=\"")?.1.split_once('"')?.0)
}

/// An exporter that is flooded, and what it logs of that.
struct Flooded {
    exporter: Exporter,
    log: tempfile::NamedTempFile,
}

impl Flooded {
    /// Runs a probe; says how long it took for its client, and how long others waited for their answer meanwhile.
    fn probe(&self, query: &str, others: SocketAddr) -> (String, Duration, Duration) {
        thread::scope(|scope| {
            let begun = Instant::now();
            let asked = scope.spawn(move || {
                let body = self.exporter.get(&format!("/probe?{query}"));
                (body, begun.elapsed())
            });
            let mut longest = Duration::ZERO;
            while !asked.is_finished() {
                thread::sleep(Duration::from_millis(50));
                let begun = Instant::now();
                assert_eq!(self.exporter.get("/-/healthy"), "Healthy\n");
                let body = self.exporter.get(&format!("/probe?module=banner&target={others}"));
                assert_eq!(value(&body, "probe_success"), Some(1.0), "{body}");
                longest = longest.max(begun.elapsed());
            }
            let (body, took) = asked.join().unwrap();
            (body, took, longest)
        })
    }

    /// A probe of a flood ends with its time, for the reason that is expected where the flood has no end, and the others do not feel it. One
    /// whose client goes away ends at once.
    fn check(&self, what: &str, server: &Server, query: &str, expected: Why) {
        let (body, took, longest) = self.probe(query, well());
        let duration = Duration::from_secs_f64(value(&body, "probe_duration_seconds").unwrap());
        let said = server.said.swap(0, Ordering::Relaxed);
        let memory = self.most_memory();
        println!("{what}: {duration:?}, others {longest:?}, {said} bytes, {memory} MiB, {:?}", reason(&body));
        assert!(memory < MOST_MEMORY, "{what}: {memory} MiB");
        assert!(duration < TIMEOUT + LATE, "{what}: {duration:?}: {body}");
        assert!(took < TIMEOUT + 2 * LATE, "{what}: {took:?}");
        assert!(longest < LATE, "{what}: others waited {longest:?}");
        assert!(said > server.flood, "{what}: {said} bytes are no flood");
        let phases = body.lines().filter(|line| line.starts_with("probe_phase_duration_seconds{"));
        let phases: f64 = phases.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        let overhead = value(&body, "probe_measurement_overhead_seconds").unwrap();
        assert!((phases + overhead - duration.as_secs_f64()).abs() < 1e-3, "{what}: {body}");
        let log = std::fs::read_to_string(self.log.path()).unwrap();
        assert!(log.len() < 64 << 10, "{what}: the log is flooded, too");
        if expected.is_empty() {
            return;
        }
        let told = expected.iter().find(|(expected, _)| reason(&body) == Some(expected));
        let (_, sentence) = told.unwrap_or_else(|| panic!("{what}: {body}"));
        assert!(log.lines().last().is_some_and(|line| line.contains(sentence)), "{what}: {log}");
        server.is_left(what);
        self.cancel(what, server, query);
    }

    /// The most memory that the exporter ever had, in MiB.
    fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.exporter.process.0.id())).unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
        most.parse::<u64>().unwrap() >> 10
    }

    /// A probe whose client goes away in the middle of the flood.
    fn cancel(&self, what: &str, server: &Server, query: &str) {
        // The first flood was counted to its end.
        server.said.store(0, Ordering::Relaxed);
        let mut client = TcpStream::connect(self.exporter.address).unwrap();
        write!(client, "GET /probe?{query} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let begun = Instant::now();
        while server.said.load(Ordering::Relaxed) < server.flood {
            assert!(begun.elapsed() < TIMEOUT / 2, "{what}: the second flood does not come");
            thread::sleep(Duration::from_millis(1));
        }
        drop(client);
        let gone = Instant::now();
        let runs = || !self.exporter.get("/metrics").contains("uplink_exporter_probes_in_flight 0\n");
        while runs() {
            assert!(gone.elapsed() < LATE, "{what}: the probe goes on without its client");
        }
        server.is_left(what);
    }
}

/// The server's part of a request's head, or whatever the client begins with.
fn hear(connection: &mut dyn Conversation) -> io::Result<String> {
    let mut heard = Vec::new();
    while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        let count = connection.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        heard.extend_from_slice(&buffer[..count]);
    }
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

/// Makes a connection a WebSocket.
fn upgrade(connection: &mut dyn Conversation) -> io::Result<()> {
    let head = hear(connection)?;
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let mut headers = head.lines().filter_map(header);
    let (_, key) = headers.find(|(name, _)| name == "sec-websocket-key").unwrap();
    write!(
        connection,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept(&key)
    )
}

/// Says something again and again: so often, or without end.
fn repeat(connection: &mut dyn Conversation, what: &[u8], times: Option<usize>) -> io::Result<()> {
    let per_write = (64 << 10) / what.len() + 1;
    let many = what.repeat(per_write);
    let mut left = times;
    while left != Some(0) {
        let now = left.map_or(per_write, |left| left.min(per_write));
        connection.write_all(&many[..now * what.len()])?;
        left = left.map(|left| left - now);
    }
    Ok(())
}

/// A server of HTTP/1.1 that says a beginning, and then something again and again.
fn http(begin: &'static [u8], what: Vec<u8>, times: Option<usize>, end: &'static [u8]) -> Server {
    Server::tcp(move |connection| {
        hear(connection)?;
        connection.write_all(begin)?;
        repeat(connection, &what, times)?;
        connection.write_all(end)
    })
}

/// Digits of two, of which nobody knows the next.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut digit = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'0' + (state >> 31) as u8
    };
    (0..length).map(|_| digit()).collect()
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const CLOSING: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// A module of the http prober, with more settings.
fn http_module(settings: &str) -> String {
    format!("prober: http, http: {{{settings}}}")
}

#[test]
fn responses_in_countless_parts_end_with_the_deadline() {
    let _alone = alone();
    let exporter = exporter(&[
        ("plain", http_module("")),
        ("looks", http_module("fail_if_body_matches_regexp: [never], body_size_limit: 64MB")),
    ]);
    for module in ["plain", "looks"] {
        for (times, end) in [(Some(20_000_000), &b"0\r\n\r\n"[..]), (None, b"")] {
            let server = http(CHUNKED, b"1\r\nx\r\n".to_vec(), times, end);
            let what = format!("chunks of a byte, {module}, {times:?}");
            let expected = if times.is_none() { NO_END } else { HAS_AN_END };
            exporter.check(&what, &server, &format!("module={module}&target={}", server.address), expected);
        }
    }
    let server = http(b"HTTP/1.1 ", vec![b' '; 1 << 16], None, b"");
    let query = format!("module=plain&target={}", server.address);
    exporter.check("blanks before a status", &server, &query, NO_BEGIN);
    let server = http(CLOSING, vec![b'x'; 1 << 16], None, b"");
    let query = format!("module=plain&target={}", server.address);
    exporter.check("a body without an end", &server, &query, NO_END);
}

#[test]
fn interim_responses_without_number_end_with_the_deadline() {
    let _alone = alone();
    let interim = || b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let endless = http(b"", interim(), None, b"");
    let exporter = exporter(&[
        ("plain", http_module("")),
        ("proxied", http_module(&format!("proxy_url: 'http://{}'", endless.address))),
        ("upgraded", "prober: websocket".to_owned()),
    ]);
    let server = http(b"", interim(), Some(5_000_000), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    exporter.check(
        "5 million interim responses",
        &server,
        &format!("module=plain&target={}", server.address),
        HAS_AN_END,
    );
    for (module, target, reason) in [
        ("plain", endless.address.as_str(), NO_BEGIN),
        ("proxied", "https://192.0.2.1", BEHIND_A_PROXY),
        ("upgraded", &format!("ws://{}", endless.address), NO_BEGIN),
    ] {
        let query = format!("module={module}&target={target}");
        exporter.check(&format!("interim responses, {module}"), &endless, &query, reason);
    }
}

#[test]
fn bodies_that_become_gigabytes_end_with_the_deadline() {
    let _alone = alone();
    let compressions = ["gzip", "deflate", "br"];
    let modules = compressions.map(|name| (name, http_module(&format!("compression: {name}"))));
    let exporter = exporter(&modules);
    let (gzip, zeros) = (floods::GZIP_HEAD.to_vec(), floods::zeros());
    for (what, module, begin, block, times) in [
        ("20 GB in gzip", "gzip", gzip.clone(), zeros.clone(), Some((20 << 30) / floods::BLOCK)),
        ("gigabytes in gzip", "gzip", gzip, zeros.clone(), None),
        ("empty members of gzip", "gzip", vec![], floods::empty_gzip(), None),
        ("gigabytes in deflate", "deflate", vec![], zeros, None),
        ("gigabytes in brotli", "br", floods::brotli_head(), floods::brotli_zeros(), None),
    ] {
        let server = Server::tcp(move |connection| {
            hear(connection)?;
            connection.write_all(CLOSING)?;
            connection.write_all(&begin)?;
            repeat(connection, &block, times)
        });
        let expected = if times.is_none() { NO_END } else { HAS_AN_END };
        exporter.check(what, &server, &format!("module={module}&target={}", server.address), expected);
    }
}

#[test]
fn frames_of_http2_without_number_end_with_the_deadline() {
    let _alone = alone();
    let identity = Arc::new(Identity::new("h2"));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &identity.ca).unwrap();
    let exporter = exporter(&[
        ("http2", http_module(&format!("tls_config: {{ca_file: {}}}", ca.display()))),
        ("grpc", "prober: grpc".to_owned()),
    ]);
    let grpc = b"\0\x0ccontent-type\x10application/grpc";
    let head = [&floods::status("200")[..], grpc].concat();
    let head = floods::frame(floods::HEADERS, floods::END_HEADERS, 1, &head);
    let interim = floods::frame(floods::HEADERS, floods::END_HEADERS, 1, &floods::status("103"));
    let ping = floods::frame(floods::PING, floods::ACK, 0, &[0; 8]);
    let settings = floods::frame(floods::SETTINGS, 0, 0, &[]);
    let unknown = floods::frame(0x42, 0, 0, &[]);
    let priority = floods::frame(floods::PRIORITY, 0, 1, &[0; 5]);
    for (what, begin, block, times, expected) in [
        ("answers to no ping", vec![], ping.clone(), None, NO_BEGIN),
        ("3 million answers to no ping", vec![], ping.clone(), Some(3_000_000), HAS_AN_END),
        ("answers to no ping, in the body", head, ping, None, NO_END),
        ("interim responses", vec![], interim, None, NO_BEGIN),
        ("settings", vec![], settings, None, NO_BEGIN_OR_NOT_TAKEN),
        ("priorities", vec![], priority, None, NO_BEGIN),
        ("frames that nobody knows", vec![], unknown, None, NO_BEGIN),
    ] {
        for secured in [true, false] {
            let (begin, block, identity) = (begin.clone(), block.clone(), Arc::clone(&identity));
            let server = Server::tcp(move |connection| {
                let flood = |connection: &mut dyn Conversation| {
                    floods::begin_http2(connection)?;
                    connection.write_all(&begin)?;
                    repeat(connection, &block, times)
                };
                if secured { flood(&mut identity.secured(connection)) } else { flood(connection) }
            });
            let (module, target) = match secured {
                true => ("http2", format!("https://{}", server.address)),
                false => ("grpc", server.address.clone()),
            };
            exporter.check(
                &format!("{what}, {module}"),
                &server,
                &format!("module={module}&target={target}"),
                expected,
            );
        }
    }
}

#[test]
fn conversations_without_end_end_with_the_deadline() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flood.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let expecting =
        |prober: &str, regex: &str| format!("prober: {prober}, {prober}: {{query_response: [{{expect: '{regex}'}}]}}");
    let exporter = exporter(&[
        ("tcp", expecting("tcp", "^never$")),
        ("unix", expecting("unix", "^never$")),
        ("websocket", expecting("websocket", "^never$")),
        ("slow_websocket", expecting("websocket", "[01]*1[01]{15}x")),
    ]);
    let lines = |connection: &mut dyn Conversation| repeat(connection, b"x\n", None);
    let long_lines =
        |connection: &mut dyn Conversation| repeat(connection, &[&noise(60_000)[..], b"\n"].concat(), None);
    for (what, server) in [("lines", Server::tcp(lines)), ("long lines", Server::tcp(long_lines))] {
        let query = format!("module=tcp&target={}", server.address);
        exporter.check(&format!("{what}, tcp"), &server, &query, NO_ANSWER);
    }
    let server = Server::of(
        path.display().to_string(),
        std::iter::from_fn(move || Some(listener.accept().map(|(stream, _)| stream))),
        lines,
    );
    // The kernel keeps little for who does not read.
    let server = Server { flood: 256 << 10, ..server };
    let query = format!("module=unix&target={}", server.address);
    exporter.check("lines, unix", &server, &query, NO_ANSWER);
    let long = noise(1 << 20);
    let head = (long.len() as u64).to_be_bytes();
    for (what, module, frame) in [
        ("pongs", "websocket", vec![0x8a, 0]),
        ("pings", "websocket", vec![0x89, 0]),
        ("empty messages", "websocket", vec![0x81, 0]),
        ("fragments", "websocket", vec![0x01, 1, b'x', 0x00, 0, 0x80, 0]),
        ("long messages", "slow_websocket", [&[0x81, 127][..], &head, &long].concat()),
    ] {
        let server = Server::tcp(move |connection| {
            upgrade(connection)?;
            repeat(connection, &frame, None)
        });
        let query = format!("module={module}&target=ws://{}", server.address);
        let reason = match what {
            "long messages" => NO_ANSWER_OR_NOT_FOUND,
            "pings" => NO_ANSWER_OR_NOT_TAKEN,
            _ => NO_ANSWER,
        };
        exporter.check(&format!("{what}, {module}"), &server, &query, reason);
    }
}

/// A name server that floods who asks it with messages that are no answer, until his port is closed.
fn name_server() -> Server {
    let (tell, ended) = mpsc::channel();
    let said = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&said);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = shared(any);
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut message) {
            // A socket of his own hears that his port is closed.
            let flood = shared(address);
            flood.connect(peer).unwrap();
            message[0] ^= 1;
            let message = message[..length].to_vec();
            let (counter, tell) = (Arc::clone(&counter), tell.clone());
            thread::spawn(move || {
                while let Ok(sent) = flood.send(&message) {
                    counter.fetch_add(sent as u64, Ordering::Relaxed);
                }
                tell.send(()).unwrap();
            });
        }
    });
    Server { address: address.to_string(), said, flood: 1 << 20, ended }
}

/// A socket that shares its address with others.
fn shared(address: SocketAddr) -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.into()
}

#[test]
fn datagrams_that_are_no_answer_end_with_the_deadline() {
    let _alone = alone();
    let server = name_server();
    let timeout = TIMEOUT.as_secs_f64();
    let exporter = exporter_of(&format!(
        "
isps: {{flooded: {{source_ip: 127.0.0.1, resolvers: ['{}']}}}}
modules:
  banner: {{prober: tcp, tcp: {{query_response: [{{expect: ready}}]}}}}
  dns: {{prober: dns, timeout: {timeout}s, dns: {{query_name: flood.example}}}}
  tcp: {{prober: tcp, timeout: {timeout}s, tcp: {{preferred_ip_protocol: ip4, ip_protocol_fallback: false}}}}",
        server.address
    ));
    const NO_REPLY: Why = &[("dns_timeout", "no reply from the name server within 1.5 s")];
    const NO_NAME: Why = &[("dns_timeout", "no answer from the name servers within 1.5 s")];
    let of_name = "module=tcp&isp=flooded&target=flood.example:80".to_owned();
    for (what, query, expected) in [
        ("wrong replies", format!("module=dns&target={}", server.address), NO_REPLY),
        ("wrong answers for a name", of_name, NO_NAME),
    ] {
        exporter.check(what, &server, &query, expected);
    }
}

#[test]
fn a_token_server_that_floods_ends_with_the_deadline() {
    let _alone = alone();
    let server = http(b"", b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), None, b"");
    let settings = format!("oauth2: {{client_id: a, client_secret: b, token_url: 'http://{}'}}", server.address);
    let exporter = exporter(&[("token", http_module(&settings))]);
    let query = format!("module=token&target={}", server.address);
    exporter.check("interim responses of a token server", &server, &query, NO_BEGIN);
}

#[test]
fn bodies_under_tls_end_with_the_deadline() {
    let _alone = alone();
    let identity = Arc::new(Identity::new("http/1.1"));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &identity.ca).unwrap();
    let tls = format!("tls_config: {{ca_file: {}}}", ca.display());
    let exporter = exporter(&[
        ("https", http_module(&tls)),
        ("dns", format!("prober: dns, dns: {{query_name: flood.example, transport_protocol: https, {tls}}}")),
    ]);
    for (what, module, begin, block, expected) in [
        ("chunks of a byte", "https", CHUNKED, &b"1\r\nx\r\n"[..], NO_END),
        ("long chunks", "https", CHUNKED, &[&b"8000\r\n"[..], &[b'x'; 0x8000], b"\r\n"].concat(), NO_END),
        ("interim responses", "dns", b"", b"HTTP/1.1 100 Continue\r\n\r\n", NO_BEGIN),
    ] {
        let (identity, block) = (Arc::clone(&identity), block.to_vec());
        let server = Server::tcp(move |connection| {
            let mut connection = identity.secured(connection);
            hear(&mut connection)?;
            connection.write_all(begin)?;
            repeat(&mut connection, &block, None)
        });
        let query = format!("module={module}&target=https://{}", server.address);
        exporter.check(&format!("{what}, {module} under TLS"), &server, &query, expected);
    }
}

/// A server of HTTP/3 that floods with small frames.
fn http3_server(config: rustls::ServerConfig, interim: bool) -> Server {
    let (tell, ended) = mpsc::channel();
    let said = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&said);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let config = quinn::crypto::rustls::QuicServerConfig::try_from(config).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(config));
    let flood = async move |connection: quinn::Connection| -> Option<()> {
        let quic = h3_quinn::Connection::new(connection.clone());
        let mut http = h3::server::Connection::<_, Bytes>::new(quic).await.ok()?;
        let (_, mut stream) = http.accept().await.ok()??.resolve_request().await.ok()?;
        let head = |status: u16| http::Response::builder().status(status).body(()).unwrap();
        if !interim {
            stream.send_response(head(200)).await.ok()?;
        }
        for frames in 0_u64.. {
            if frames % 16 == 0 {
                // To those who send them.
                tokio::task::yield_now().await;
            }
            match interim {
                true => stream.send_response(head(103)).await.ok()?,
                false => stream.send_data(Bytes::from_static(b"x")).await.ok()?,
            }
            counter.store(connection.stats().udp_tx.bytes, Ordering::Relaxed);
        }
        None
    };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let runtime = Arc::new(quinn::TokioRuntime);
            let endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), Some(config), socket, runtime);
            let endpoint = endpoint.unwrap();
            while let Some(incoming) = endpoint.accept().await {
                if let Ok(connection) = incoming.await {
                    flood(connection).await;
                    tell.send(()).unwrap();
                }
            }
        });
    });
    // Its part of HTTP/3 is slow.
    Server { address, said, flood: 32 << 10, ended }
}

#[test]
fn frames_of_http3_without_number_end_with_the_deadline() {
    let _alone = alone();
    let identity = Identity::new("h3");
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &identity.ca).unwrap();
    let settings = format!("enable_http3: true, enable_http2: false, tls_config: {{ca_file: {}}}", ca.display());
    let exporter = exporter(&[("http3", http_module(&settings))]);
    for interim in [true, false] {
        let server = http3_server(identity.config(), interim);
        let query = format!("module=http3&target=https://{}", server.address);
        let (what, expected) =
            if interim { ("interim responses", NO_BEGIN_BEHIND) } else { ("bytes of a body", NO_END) };
        exporter.check(&format!("{what}, http3"), &server, &query, expected);
    }
}

#[test]
fn a_search_without_end_ends_with_the_deadline_for_a_reason_of_our_own() {
    let _alone = alone();
    let slow = "[01]*1[01]{150}x";
    let modules = [
        ("body", http_module(&format!("fail_if_body_not_matches_regexp: ['{slow}']"))),
        ("json", http_module("fail_if_body_json_not_matches_cel: 'body.all(x, body.all(y, x != y + 1.0))'")),
        ("header", http_module(&format!("fail_if_header_not_matches: [{{header: x-noise, regexp: '{slow}'}}]"))),
        ("websocket", format!("prober: websocket, websocket: {{query_response: [{{expect: '{slow}'}}]}}")),
    ];
    let [body, header] = [16 << 20, 900_000].map(noise);
    let json = format!("[{}0]", "2,".repeat(30_000)).into_bytes();
    let long = [&[0x81, 127][..], &(1_u64 << 20).to_be_bytes(), &noise(1 << 20)].concat();
    let header = [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Noise: ", &header[..], b"\r\n\r\n"].concat();
    let served = |head: Vec<u8>, body: Vec<u8>| {
        Server::tcp(move |connection| {
            if head.is_empty() {
                upgrade(connection)?;
            } else {
                hear(connection)?;
            }
            connection.write_all(&head)?;
            connection.write_all(&body)?;
            connection.read(&mut [0; 1]).map(drop)
        })
    };
    let closing = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    for (module, server) in [
        ("body", served(closing(body.len()), body)),
        ("json", served(closing(json.len()), json)),
        ("header", served(header, vec![])),
        ("websocket", served(vec![], long)),
    ] {
        let target = if module == "websocket" { format!("ws://{}", server.address) } else { server.address.clone() };
        // Its own for each: what is searched goes on for nobody.
        let exporter = exporter(&modules);
        let (body, took, longest) = exporter.probe(&format!("module={module}&target={target}"), well());
        assert_eq!(reason(&body), Some("prober_overload"), "{module}: {body}");
        assert!(took < TIMEOUT + LATE && longest < LATE, "{module}: {took:?}, others {longest:?}");
    }
}

#[test]
fn what_would_never_end_and_is_bounded_is_refused_at_once() {
    let _alone = alone();
    let identity = Arc::new(Identity::new("h2"));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &identity.ca).unwrap();
    let exporter = exporter(&[
        ("plain", http_module("")),
        ("http2", http_module(&format!("tls_config: {{ca_file: {}}}", ca.display()))),
        ("upgraded", "prober: websocket".to_owned()),
        ("grpc", "prober: grpc".to_owned()),
        ("dns", "prober: dns, dns: {query_name: flood.example, transport_protocol: tcp}".to_owned()),
    ]);
    let headers = http(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n".to_vec(), None, b"");
    let header = http(b"HTTP/1.1 200 OK\r\nX: ", vec![b'y'; 1 << 16], None, b"");
    let extension = http(CHUNKED, b"1;x".to_vec(), None, b"");
    let trailers = http(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n".to_vec(), None, b"");
    let continuations = Server::tcp(move |connection| {
        let mut connection = identity.secured(connection);
        floods::begin_http2(&mut connection)?;
        connection.write_all(&floods::frame(floods::HEADERS, 0, 1, &floods::status("200")))?;
        repeat(&mut connection, &floods::frame(floods::CONTINUATION, 0, 1, b""), None)
    });
    let empties = Server::tcp(move |connection| {
        floods::begin_http2(connection)?;
        let grpc = b"\0\x0ccontent-type\x10application/grpc";
        let head = [&floods::status("200")[..], grpc].concat();
        connection.write_all(&floods::frame(floods::HEADERS, floods::END_HEADERS, 1, &head))?;
        repeat(connection, &floods::frame(floods::DATA, 0, 1, b""), None)
    });
    // A message that is as long as one may be, and others behind it.
    let messages = Server::tcp(|connection| {
        let _ = connection.read(&mut [0; 512])?;
        repeat(connection, &[0xff; 1 << 16], None)
    });
    let secured = format!("https://{}", continuations.address);
    for (what, module, server, target, expected) in [
        ("headers", "plain", &headers, headers.address.clone(), "http_response_header_size"),
        ("a header", "plain", &header, header.address.clone(), "http_response_header_size"),
        ("headers, upgraded", "upgraded", &headers, format!("ws://{}", headers.address), "http_response_header_size"),
        ("an extension of a chunk", "plain", &extension, extension.address.clone(), "http_protocol_error"),
        ("trailers", "plain", &trailers, trailers.address.clone(), "http_protocol_error"),
        ("CONTINUATION", "http2", &continuations, secured, "http_protocol_error"),
        ("empty DATA", "grpc", &empties, empties.address.clone(), "http_protocol_error"),
        ("messages of the DNS", "dns", &messages, messages.address.clone(), "dns_answer_unexpected"),
    ] {
        let (body, took, longest) = exporter.probe(&format!("module={module}&target={target}"), well());
        println!("{what}: {took:?}, others {longest:?}, {} MiB, {:?}", exporter.most_memory(), reason(&body));
        assert_eq!(reason(&body), Some(expected), "{what}: {body}");
        assert!(took < LATE && longest < LATE, "{what}: {took:?}, others {longest:?}");
        assert!(exporter.most_memory() < MOST_MEMORY, "{what}: {} MiB", exporter.most_memory());
        server.is_left(what);
    }
}

#[test]
fn many_floods_at_once_end_with_their_deadlines() {
    let _alone = alone();
    let exporter = exporter(&[("plain", http_module(""))]);
    let server = http(CHUNKED, b"1\r\nx\r\n".to_vec(), None, b"");
    let query = format!("/probe?module=plain&target={}", server.address);
    let others = well();
    thread::scope(|scope| {
        let flood = || {
            let begun = Instant::now();
            let body = exporter.exporter.get(&query);
            assert_eq!(reason(&body), Some("http_response_timeout"), "{body}");
            begun.elapsed()
        };
        let floods: Vec<_> = (0..16).map(|_| scope.spawn(flood)).collect();
        let mut longest = Duration::ZERO;
        while !floods.iter().all(|flood| flood.is_finished()) {
            thread::sleep(Duration::from_millis(50));
            let begun = Instant::now();
            let body = exporter.exporter.get(&format!("/probe?module=banner&target={others}"));
            assert_eq!(value(&body, "probe_success"), Some(1.0), "{body}");
            longest = longest.max(begun.elapsed());
        }
        let slowest = floods.into_iter().map(|flood| flood.join().unwrap()).max().unwrap();
        println!("16 floods: {slowest:?}, others {longest:?}, {} MiB", exporter.most_memory());
        assert!(slowest < TIMEOUT + LATE && longest < LATE, "{slowest:?}, others {longest:?}");
        assert!(exporter.most_memory() < MOST_MEMORY, "{} MiB", exporter.most_memory());
    });
}
