//! What the tests share: programs that run while a test does, HTTP by hand, and honest skipping.
#![expect(clippy::disallowed_methods, reason = "the tests talk to the exporter, they are no probes")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![expect(dead_code, reason = "each test uses its part")]

pub(crate) mod dns;
pub(crate) mod health;
pub(crate) mod http3;
pub(crate) mod lab;
pub(crate) mod mmdb;
pub(crate) mod pcap;
pub(crate) mod peer;
pub(crate) mod proxy;
pub(crate) mod tls;
pub(crate) mod zone;

use std::io::{BufRead, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// Says why a test does not run here; where no test may be skipped (`UPLINK_REQUIRE_LAB=1`), fails.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("UPLINK_REQUIRE_LAB").is_none_or(|value| value != "1"), "may not be skipped: {why}");
    let test = thread::current().name().unwrap_or_default().to_owned();
    tell(&format!("skipped {test}: {why}"));
}

/// Says something past libtest, which keeps to itself what a passing test prints.
pub(crate) fn tell(what: &str) {
    writeln!(std::io::stderr(), "{what}").ok();
}

/// Where a program is; `None`, and a word why, where it is not.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        skip(&format!("{name} is not installed"));
    }
    found
}

/// A running program, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The exporter, serving a configuration on a free port of loopback.
#[derive(Debug)]
pub(crate) struct Exporter {
    pub(crate) process: Running,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Exporter {
    pub(crate) fn start(configuration: &str) -> Self {
        let exporter = Self::start_by(configuration, |command| command.spawn().unwrap());
        exporter.wait();
        exporter
    }

    /// Waits until it serves.
    pub(crate) fn wait(&self) {
        until("the exporter serves", || TcpStream::connect(self.address).is_ok());
    }

    /// Starts it in a way of its own: `spawn` gets the command. It is not yet waited for.
    pub(crate) fn start_by(configuration: &str, spawn: impl FnOnce(&mut Command) -> Child) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("probes.yml");
        std::fs::write(&file, configuration).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplink_exporter"));
        command.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address={address}"));
        let process = Running(spawn(command.stdin(Stdio::null())));
        Self { process, address, folder }
    }

    /// Writes another configuration, and has it loaded.
    pub(crate) fn reload(&self, configuration: &str) {
        std::fs::write(self.folder.path().join("probes.yml"), configuration).unwrap();
        let (status, body) = request(self.address, "POST", "/-/reload", "");
        assert_eq!(status, 200, "{body}");
    }

    /// The body of an answer; panics with the body when the status is not 200.
    pub(crate) fn get(&self, path: &str) -> String {
        let (status, body) = get(self.address, path);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }
}

/// Gets a path; returns the status and the body.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    request(address, "GET", path, "")
}

/// Makes a request with some more header lines, each with its end; returns the status and the body.
pub(crate) fn request(address: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let Answer { status, body, .. } = ask(address, method, path, headers).unwrap();
    (status, body)
}

/// What came upon a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The header lines, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// Makes a request with some more header lines, each with its end; `None` where the connection ends without an answer.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let (head, body) = (String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase(), &answer[end + 4..]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_vec() };
    // It may be of bytes.
    Some(Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() })
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|bytes| bytes == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        whole.extend(&body[end + 2..][..size]);
        body = &body[end + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    whole
}

/// The value of a series (`name` or `name{labels}`, as it is printed) in an exposition.
pub(crate) fn value(exposition: &str, series: &str) -> Option<f64> {
    exposition.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// Waits until something holds; panics after ten seconds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "waited ten seconds until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody else gets while this program runs, of both families and for TCP: a socket that never listens holds it. Others that
/// set `SO_REUSEADDR`, as servers do, may listen on it all the same, and until one does, connections to it are refused (ip(7), socket(7)).
pub(crate) fn free_port() -> u16 {
    let holder = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    holder.set_only_v6(false).unwrap();
    holder.set_reuse_address(true).unwrap();
    holder.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
    let port = holder.local_addr().unwrap().as_socket().unwrap().port();
    // Held until the program ends.
    let _ = holder.into_raw_fd();
    port
}

/// Treats every connection to a port, or to any for 0, over both families, on a thread of its own; returns the port. What the client thinks of it
/// is its business.
pub(crate) fn serve<T>(port: u16, treat: impl Fn(TcpStream) -> T + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let treat = Arc::new(treat);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let treat = Arc::clone(&treat);
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || drop(treat(stream)));
        }
    });
    port
}

/// The head of a request; empty where the client went away.
pub(crate) fn read_head(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(String::new());
        }
    }
    Ok(head)
}
