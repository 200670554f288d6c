//! The reflector as its callers see it: HTTP and STUN, whom it believes, what it does not answer, and how it ends.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test talks to the reflector, it is no probe; a test ends where its helpers find what cannot be"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Exporter, Running, ask, free_port, program, until, value};
use uplink_exporter::wire::stun::{self, Answer, Mapped};

/// A running reflector on a port of HTTP and one of STUN, of all addresses.
struct Reflector {
    process: Running,
    http: u16,
    stun: u16,
}

impl Reflector {
    fn start(flags: &[&str]) -> Self {
        let (http, stun) = (free_port(), free_port());
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplink_exporter"));
        command.args(["reflect", &format!("--listen-http=:{http}"), &format!("--listen-stun=:{stun}")]).args(flags);
        let process = Running::start(command.stderr(Stdio::null()));
        until("the reflector serves", || TcpStream::connect(("127.0.0.1", http)).is_ok());
        Self { process, http, stun }
    }

    /// What the body says to a GET with some more header lines.
    fn get(&self, ip: &str, headers: &str) -> String {
        let address: SocketAddr = format!("{ip}:{}", self.http).parse().unwrap();
        let answer = ask(address, "GET", "/", headers).unwrap();
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
        answer.body
    }
}

const TRANSACTION: stun::Transaction = [7; 12];

fn mapped(address: SocketAddr) -> Result<Answer, &'static str> {
    Ok(Answer::Mapped(Mapped { address, in_clear: false }))
}

#[test]
fn http_tells_the_callers_address_and_nothing_else() {
    let reflector = Reflector::start(&[]);
    assert_eq!(reflector.get("127.0.0.1", ""), "127.0.0.1\n");
    assert_eq!(reflector.get("127.0.0.9", ""), "127.0.0.1\n");
    assert_eq!(reflector.get("[::1]", ""), "::1\n");
    // Anybody can write that.
    assert_eq!(reflector.get("127.0.0.1", "X-Forwarded-For: 203.0.113.9\r\n"), "127.0.0.1\n");
    let address = SocketAddr::from(([127, 0, 0, 1], reflector.http));
    let status = |method, path| ask(address, method, path, "").unwrap().status;
    assert_eq!([status("HEAD", "/"), status("POST", "/"), status("GET", "/metrics")], [200, 405, 404]);
    // A head that is larger than any is refused, and not kept.
    let large = format!("X-Large: {}\r\n", "x".repeat(64 << 10));
    let mut stream = TcpStream::connect(address).unwrap();
    let sent = write!(stream, "GET / HTTP/1.1\r\nHost: a\r\n{large}\r\n");
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(
        !answer.starts_with(b"HTTP/1.1 200") && (sent.is_err() || read.is_err() || !answer.is_empty()),
        "{answer:?}"
    );
}

#[test]
fn a_trusted_proxy_is_believed() {
    let reflector = Reflector::start(&["--trusted-proxy=127.0.0.0/8", "--trusted-proxy", "2001:db8::1"]);
    let told = |header: &str| reflector.get("127.0.0.1", header);
    assert_eq!(told("X-Forwarded-For: 1.2.3.4, 203.0.113.9\r\n"), "203.0.113.9\n");
    assert_eq!(told("X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 2001:db8::1, 127.0.0.7\r\n"), "203.0.113.9\n");
    assert_eq!(told(""), "127.0.0.1\n");
    // Another one is not.
    assert_eq!(reflector.get("[::1]", "X-Forwarded-For: 203.0.113.9\r\n"), "::1\n");
    let address = SocketAddr::from(([127, 0, 0, 1], reflector.http));
    let answer = ask(address, "GET", "/", "X-Forwarded-For: unknown\r\n").unwrap();
    assert_eq!((answer.status, answer.body.contains("127.0.0.1 forwards a request")), (400, true));
}

#[test]
fn stun_is_answered_from_the_address_that_was_asked_and_what_is_none_is_not() {
    let reflector = Reflector::start(&[]);
    let request = stun::binding_request(&TRANSACTION);
    for (bind, server) in [("127.0.0.1:0", "127.0.0.1"), ("127.0.0.1:0", "127.0.0.77"), ("[::1]:0", "[::1]")] {
        let socket = UdpSocket::bind(bind).unwrap();
        // Connected, it hears nobody else.
        socket.connect(format!("{server}:{}", reflector.stun)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut answer = [0xa5; 256];
        let own = socket.local_addr().unwrap();
        // Garbage, an answer, a request of another method, one that is cut, one that is too long.
        let mut success = request.clone();
        success[0] = 1;
        let mut allocate = request.clone();
        allocate[1] = 3;
        let mut long = stun::binding_request(&TRANSACTION);
        long.truncate(20);
        long[2..4].copy_from_slice(&1200_u16.to_be_bytes());
        long.extend([0x80, 0x22, 0x04, 0xac]);
        long.resize(20 + 1200, b'x');
        for nothing in [&b"x"[..], &success, &allocate, &request[..27], &long] {
            socket.send(nothing).unwrap();
        }
        socket.send(&request).unwrap();
        let length = socket.recv(&mut answer).unwrap();
        assert_eq!(stun::answer(&answer[..length], &TRANSACTION), mapped(own), "the first that is answered");
        assert!(length <= request.len() + 24);
    }
    let mut stream = TcpStream::connect(("127.0.0.1", reflector.stun)).unwrap();
    let own = stream.local_addr().unwrap();
    // One after the other, also in one segment, and in pieces.
    stream.write_all(&[&request[..], &request, &request[..9]].concat()).unwrap();
    let mut answer = [0; 40];
    for _ in 0..2 {
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(stun::answer(&answer, &TRANSACTION), mapped(own));
    }
    stream.write_all(&request[9..]).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(stun::answer(&answer, &TRANSACTION), mapped(own));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    // It ends, by a reset where something is left unread.
    stream.read_to_end(&mut rest).ok();
    assert_eq!(rest, b"");
}

/// Whether the peer, of this host, has read all that was written to it: its queue, as `/proc/net/tcp6` shows it (proc_net_tcp.txt of the kernel), is
/// empty.
fn has_read(stream: &TcpStream) -> bool {
    let [local, peer] =
        [stream.peer_addr(), stream.local_addr()].map(|address| format!(":{:04X}", address.unwrap().port()));
    let table = std::fs::read_to_string("/proc/net/tcp6").unwrap();
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut sockets = table.lines().map(fields);
    sockets.any(|fields| fields[1].ends_with(&local) && fields[2].ends_with(&peer) && fields[4].ends_with(":00000000"))
}

#[test]
fn it_ends_when_it_is_told_to_and_takes_what_was_begun_to_its_end() {
    if program("kill").is_none() {
        return;
    }
    for signal in ["TERM", "INT"] {
        let mut reflector = Reflector::start(&[]);
        let connect = |port: u16| TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut idle, mut idle_stun, mut begun) =
            (connect(reflector.http), connect(reflector.stun), connect(reflector.stun));
        let request = stun::binding_request(&TRANSACTION);
        begun.write_all(&request[..20]).unwrap();
        until("it has read what was begun", || has_read(&begun));
        let mut later = connect(reflector.stun);
        later.write_all(&request).unwrap();
        later.read_exact(&mut [0; 40]).unwrap();
        let asked = Instant::now();
        let pid = reflector.process.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
        for idle in [&mut idle, &mut idle_stun, &mut later] {
            assert_eq!(idle.read(&mut [0; 9]).unwrap_or(0), 0);
        }
        begun.write_all(&request[20..]).unwrap();
        let mut answer = [0; 40];
        begun.read_exact(&mut answer).unwrap();
        assert_eq!(stun::answer(&answer, &TRANSACTION), mapped(begun.local_addr().unwrap()));
        assert!(reflector.process.0.wait().unwrap().success());
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
}

#[test]
fn what_cannot_be_listened_on_or_meant_is_told_with_its_flag() {
    let refused = |flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_uplink_exporter")).arg("reflect").args(flags).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    for (flags, expected) in [
        (&["--listen-http=8080"][..], "cannot listen on \\\"8080\\\" (--listen-http): it has no port"),
        (&["--listen-stun=192.0.2.1:3478"], "cannot listen on \\\"192.0.2.1:3478\\\" (--listen-stun): "),
        (&["--trusted-proxy=10.0.0.1/8"], "has bits set behind its length; the network is 10.0.0.0/8"),
        (&["--web.listen-address=:1"], "unexpected argument '--web.listen-address'"),
    ] {
        let said = refused(flags);
        assert!(said.contains(expected), "{flags:?}: {said}");
    }
}

#[test]
fn what_is_too_slow_is_cut_and_what_is_too_much_waits() {
    let reflector = Reflector::start(&[]);
    let connect = |port: u16| {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        stream
    };
    let request = stun::binding_request(&TRANSACTION);
    let asked = |stream: &mut TcpStream| {
        stream.write_all(&request).unwrap();
        stream.read_exact(&mut [0; 40])
    };
    let begun = Instant::now();
    let mut idle: Vec<_> = (0..511).map(|_| connect(reflector.stun)).collect();
    let mut last = connect(reflector.stun);
    asked(&mut last).unwrap();
    let mut waits = connect(reflector.stun);
    assert!(asked(&mut waits).is_err(), "there is no room");
    // Neither HTTP nor datagrams need that room.
    assert_eq!(reflector.get("127.0.0.1", ""), "127.0.0.1\n");
    drop(last);
    waits.set_read_timeout(None).unwrap();
    waits.read_exact(&mut [0; 40]).unwrap();
    // Half a request of HTTP, and nothing at all.
    let mut slow = connect(reflector.http);
    slow.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    for stream in [&mut slow, &mut idle[0]] {
        stream.set_read_timeout(None).unwrap();
        let read = stream.read(&mut [0; 1]);
        assert!(read.is_err() || read.is_ok_and(|length| length == 0));
        assert!((9_000..20_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    }
}

#[test]
fn an_exporter_tells_the_public_address_and_whether_it_is_the_isps() {
    let reflector = Reflector::start(&[]);
    let exporter = Exporter::start(
        "isps:
  right: {source_ip: 127.0.0.2, public_ips: [127.0.0.2, 192.0.2.0/24]}
  wrong: {source_ip: 127.0.0.3, public_ips: [192.0.2.1]}
  silent: {source_ip: 127.0.0.4}
modules:
  stun: {prober: stun, stun: {preferred_ip_protocol: ip4}}
  stun_tcp: {prober: stun, stun: {preferred_ip_protocol: ip4, transport_protocol: tcp}}
  http: {prober: http, http: {preferred_ip_protocol: ip4, public_ip: true}}
",
    );
    let Reflector { http, stun, .. } = reflector;
    for (module, target) in [
        ("stun", format!("127.0.0.1:{stun}")),
        ("stun_tcp", format!("127.0.0.1:{stun}")),
        ("http", format!("http://127.0.0.1:{http}/")),
    ] {
        for (isp, address, expected) in
            [("right", "127.0.0.2", Some(1.0)), ("wrong", "127.0.0.3", Some(0.0)), ("silent", "127.0.0.4", None)]
        {
            let path = format!("/probe?module={module}&isp={isp}&target={target}");
            let metrics = exporter.get(&path);
            assert_eq!(value(&metrics, "probe_success"), Some(1.0), "{metrics}");
            let info = format!("probe_public_ip_info{{ip=\"{address}\"}}");
            assert_eq!(value(&metrics, &info), Some(1.0), "{metrics}");
            assert_eq!(value(&metrics, "probe_public_ip_expected"), expected, "{metrics}");
            let json: serde_json::Value = serde_json::from_str(&exporter.get(&format!("{path}&format=json"))).unwrap();
            assert_eq!(json["public_ip"]["ip"], address);
            assert_eq!(json["public_ip"]["expected"].as_bool(), expected.map(|expected| expected == 1.0));
        }
    }
    let metrics = exporter.get(&format!("/probe?module=stun&isp=all&target=127.0.0.1:{stun}"));
    let of_several =
        ["right", "wrong", "silent"].map(|isp| value(&metrics, &format!("probe_public_ip_expected{{isp=\"{isp}\"}}")));
    assert_eq!(of_several, [Some(1.0), Some(0.0), None], "{metrics}");
    // Without an ISP nothing is expected; where nobody is, nothing is told.
    let metrics = exporter.get(&format!("/probe?module=stun&target=127.0.0.1:{stun}"));
    assert!(value(&metrics, "probe_public_ip_info{ip=\"127.0.0.1\"}").is_some(), "{metrics}");
    assert!(!metrics.contains("probe_public_ip_expected"), "{metrics}");
    drop(reflector.process);
    let metrics = exporter.get(&format!("/probe?module=stun&isp=right&target=127.0.0.1:{stun}"));
    assert_eq!(
        (value(&metrics, "probe_success"), metrics.contains("probe_public_ip")),
        (Some(0.0), false),
        "{metrics}"
    );
}
