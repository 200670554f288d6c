//! CPU time and memory per probe, beside Debian's blackbox_exporter and beside the bare system calls, in one run on loopback.
//!
//! `cargo bench --bench peer` prints the table of the README. It needs `prometheus-blackbox-exporter` and `nginx` on the PATH and
//! the right to open raw sockets.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people; a failure ends it")]
#![expect(clippy::disallowed_methods, reason = "the load generator and the floor are not probes")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use uplink_exporter::lab::{Action, Fault, Lab, Matches, Topology, target};
use uplink_exporter::net::Family;

/// What Prometheus 2.42 sends.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// The kinds of probes: label, module, target.
const KINDS: [(&str, &str, &str); 4] = [
    ("http", "http_2xx", "http://127.0.0.1:{http}/"),
    ("https", "https_2xx", "https://localhost:{https}/"),
    ("tcp", "tcp_connect", "127.0.0.1:{http}"),
    ("icmp", "icmp", "127.0.0.1"),
];

/// Probes at a time.
const CONCURRENCY: [u32; 3] = [1, 16, 128];

/// Probes per cell of the table; the first tenth more are not counted.
const PROBES: u32 = 4000;

fn main() {
    let folder = std::env::temp_dir().join(format!("uplink_exporter-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (http, https) = (free_port(), free_port());
    let nginx = start_nginx(&folder, http, https);
    let modules = folder.join("modules.yml");
    fs::write(&modules, configuration(&folder)).unwrap();

    let exporters = start_exporters(&modules);
    println!(
        "{PROBES} probes a cell; CPU time of the exporter's process per probe, the scrape's HTTP included; peak memory (VmHWM), of \
         one process that runs all rows in order."
    );
    println!("Left of each pair: uplink_exporter; right: blackbox_exporter.\n");
    println!("| probe | at a time | CPU, µs | ratio | bare calls, µs | memory, MiB | failed |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for (kind, module, target) in KINDS {
        let target = target.replace("{https}", &https.to_string()).replace("{http}", &http.to_string());
        let floor = floor(kind, http, https, &folder);
        for at_a_time in CONCURRENCY {
            let [ours, peers] = &exporters;
            let [ours, peers] = [ours, peers].map(|exporter| exporter.measure(module, &target, at_a_time));
            println!(
                "| {kind} | {at_a_time} | {:.0} / {:.0} | {:.2} | {floor:.0} | {:.1} / {:.1} | {} / {} |",
                ours.cpu,
                peers.cpu,
                ours.cpu / peers.cpu,
                ours.memory,
                peers.memory,
                ours.failed,
                peers.failed
            );
        }
    }
    drop(exporters);
    drop(nginx);
    pending(&modules);
    fs::remove_dir_all(&folder).unwrap();
}

/// What an echo probe costs, alone and while others wait for an answer that never comes: in the lab, to which both exporters move.
fn pending(modules: &Path) {
    let mut topology = Topology::demo();
    let silent = target(Family::V4, 11);
    let of = Matches { destination: Some(silent), ..Matches::default() };
    topology.faults = vec![Fault { of, action: Action::Drop }];
    let lab = Lab::start(topology).unwrap();
    println!("\nicmp, 16 at a time over the lab's ISP A, while others wait for an answer in vain.\n");
    println!("| waiting | CPU, µs | ratio | failed |");
    println!("|--:|--:|--:|--:|");
    let measure = || {
        let exporters = start_exporters(modules);
        for waiting in [0, 1000] {
            let [ours, peers] = exporters.each_ref().map(|exporter| {
                let connections: Vec<_> = (0..waiting).map(|_| exporter.ask(&silent.to_string())).collect();
                thread::sleep(Duration::from_millis(500));
                let cell = exporter.measure("icmp", &target(Family::V4, 10).to_string(), 16);
                drop(connections);
                thread::sleep(Duration::from_millis(500));
                cell
            });
            let ratio = ours.cpu / peers.cpu;
            println!(
                "| {waiting} | {:.0} / {:.0} | {ratio:.2} | {} / {} |",
                ours.cpu, peers.cpu, ours.failed, peers.failed
            );
        }
    };
    lab.prober().run(measure).unwrap();
}

fn start_exporters(modules: &Path) -> [Exporter; 2] {
    [
        Exporter::start("uplink_exporter", env!("CARGO_BIN_EXE_uplink_exporter"), modules),
        Exporter::start("blackbox_exporter", "prometheus-blackbox-exporter", modules),
    ]
}

/// A running program that is stopped when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What an exporter took for one kind of probe at one concurrency.
struct Cell {
    /// CPU time per probe, in microseconds.
    cpu: f64,
    /// The peak, in MiB.
    memory: f64,
    /// Probes that failed, of a target that is there.
    failed: u32,
}

struct Exporter {
    process: Running,
    port: u16,
}

impl Exporter {
    fn start(name: &str, program: &str, modules: &Path) -> Self {
        let port = free_port();
        let child = Command::new(program)
            .arg(format!("--config.file={}", modules.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} ({program}) does not start: {error}"));
        let process = Running(child);
        wait_for(port);
        Self { process, port }
    }

    /// Asks for a probe that may take half a minute; its answer is not waited for.
    fn ask(&self, target: &str) -> TcpStream {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = format!(
            "GET /probe?module=icmp&target={target} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Prometheus-Scrape-Timeout-Seconds: 60\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).unwrap();
        connection
    }

    fn measure(&self, module: &str, target: &str, at_a_time: u32) -> Cell {
        self.load(module, target, at_a_time, PROBES / 10);
        fs::write(format!("/proc/{}/clear_refs", self.process.0.id()), "5").unwrap();
        let before = self.cpu_time();
        let failed = self.load(module, target, at_a_time, PROBES);
        let time = self.cpu_time() - before;
        Cell { cpu: time.as_secs_f64() * 1e6 / f64::from(PROBES), memory: self.peak_memory(), failed }
    }

    /// Sends probes; says how many failed, of a target that is there.
    fn load(&self, module: &str, target: &str, at_a_time: u32, probes: u32) -> u32 {
        let request = format!(
            "GET /probe?module={module}&target={} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {ACCEPT}\r\nAccept-Encoding: identity\r\n\
             X-Prometheus-Scrape-Timeout-Seconds: 3\r\n\r\n",
            target.replace(':', "%3A").replace('/', "%2F")
        );
        let (left, failed) = (AtomicU32::new(probes), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..at_a_time {
                scope.spawn(|| {
                    let mut connection = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).unwrap());
                    connection.get_ref().set_nodelay(true).unwrap();
                    let take_one = |left: u32| left.checked_sub(1);
                    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok() {
                        connection.get_mut().write_all(request.as_bytes()).unwrap();
                        let answer = read_response(&mut connection);
                        failed.fetch_add(u32::from(!answer.contains("\nprobe_success 1")), Ordering::Relaxed);
                    }
                });
            }
        });
        failed.into_inner()
    }

    /// The time that all threads of the process have run, by the scheduler's own nanoseconds.
    fn cpu_time(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.0.id())).unwrap();
        tasks.map(|task| run_time(&task.unwrap().path().join("schedstat"))).sum()
    }

    fn peak_memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

/// What the system calls of one probe cost this process, in microseconds: to read a request, make the probe's calls (for https,
/// with the TLS library between them) and write an answer.
fn floor(kind: &str, http: u16, https: u16, folder: &Path) -> f64 {
    let tls = tls_configuration(folder);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut scraper = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut served, _) = listener.accept().unwrap();
    let (mut buffer, answer) = (vec![0; 65536], vec![b'x'; 3000]);
    let icmp = (kind == "icmp").then(|| {
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(socket2::Protocol::ICMPV4)).unwrap()
    });
    let mut spent = Duration::ZERO;
    for _ in 0..PROBES {
        scraper.write_all(&[b'x'; 400]).unwrap();
        let before = run_time(Path::new("/proc/thread-self/schedstat"));
        assert!(served.read(&mut buffer).unwrap() > 0);
        match kind {
            "tcp" => drop(TcpStream::connect(("127.0.0.1", http)).unwrap()),
            "http" => {
                let mut stream = TcpStream::connect(("127.0.0.1", http)).unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
                while stream.read(&mut buffer).unwrap() > 0 {}
            }
            "https" => {
                let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
                let session = rustls::ClientConnection::new(Arc::clone(&tls), name).unwrap();
                let stream = TcpStream::connect(("127.0.0.1", https)).unwrap();
                let mut stream = rustls::StreamOwned::new(session, stream);
                stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
                while stream.read(&mut buffer).unwrap() > 0 {}
            }
            "icmp" => {
                let socket = icmp.as_ref().unwrap();
                let mut request = [8, 0, 0, 0, 0x7b, 0x7b, 0, 1, 0, 0];
                let sum = !(0x0800_u16 + 0x7b7b + 1);
                request[2..4].copy_from_slice(&sum.to_be_bytes());
                let to = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
                socket.send_to(&request, &to.into()).unwrap();
                let mut socket = socket;
                // One's own request comes first on loopback, then the reply.
                assert!(socket.read(&mut buffer).unwrap() > 0 && socket.read(&mut buffer).unwrap() > 0);
            }
            other => panic!("no floor for {other}"),
        }
        served.write_all(&answer).unwrap();
        spent += run_time(Path::new("/proc/thread-self/schedstat")) - before;
        scraper.read_exact(&mut buffer[..answer.len()]).unwrap();
    }
    let mut reading = Duration::ZERO;
    for _ in 0..PROBES {
        let before = run_time(Path::new("/proc/thread-self/schedstat"));
        reading += run_time(Path::new("/proc/thread-self/schedstat")) - before;
    }
    spent.saturating_sub(reading).as_secs_f64() * 1e6 / f64::from(PROBES)
}

fn tls_configuration(folder: &Path) -> Arc<rustls::ClientConfig> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut configuration = builder.with_root_certificates(roots).with_no_client_auth();
    configuration.resumption = rustls::client::Resumption::disabled();
    Arc::new(configuration)
}

/// Reads the nanoseconds on a processor from a `schedstat`.
fn run_time(path: &Path) -> Duration {
    let text = fs::read_to_string(path).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0))
}

fn read_response(connection: &mut BufReader<TcpStream>) -> String {
    let (mut length, mut chunked, mut line) = (None, false, String::new());
    loop {
        line.clear();
        assert!(connection.read_line(&mut line).unwrap() > 0, "the exporter closed the connection");
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse::<usize>().ok();
        }
        chunked |= lower.starts_with("transfer-encoding:") && lower.contains("chunked");
        if line == "\r\n" {
            break;
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            line.clear();
            connection.read_line(&mut line).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            let start = body.len();
            body.resize(start + size, 0);
            connection.read_exact(&mut body[start..]).unwrap();
            line.clear();
            connection.read_line(&mut line).unwrap();
            if size == 0 {
                break;
            }
        }
    } else {
        body.resize(length.unwrap(), 0);
        connection.read_exact(&mut body).unwrap();
    }
    format!("\n{}", String::from_utf8(body).unwrap())
}

fn configuration(folder: &Path) -> String {
    format!(
        "modules:
  http_2xx: {{prober: http, http: {{preferred_ip_protocol: ip4}}}}
  https_2xx: {{prober: http, http: {{preferred_ip_protocol: ip4, tls_config: {{ca_file: {}/ca.pem}}}}}}
  tcp_connect: {{prober: tcp, tcp: {{preferred_ip_protocol: ip4}}}}
  icmp: {{prober: icmp, icmp: {{preferred_ip_protocol: ip4}}}}
",
        folder.display()
    )
}

fn start_nginx(folder: &Path, http: u16, https: u16) -> Running {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "benchmark CA");
    fs::write(folder.join("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(ca, ca_key)).unwrap();
    fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    let folder = folder.display();
    let text = format!(
        "daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; master_process off;
events {{ worker_connections 2048; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location / {{ return 200 'well\\n'; }}
  }}
}}
"
    );
    fs::write(format!("{folder}/nginx.conf"), text).unwrap();
    let child = Command::new("nginx")
        .args(["-c", &format!("{folder}/nginx.conf"), "-e", &format!("{folder}/error.log")])
        .spawn()
        .unwrap_or_else(|error| panic!("nginx does not start: {error}"));
    let process = Running(child);
    wait_for(http);
    process
}

fn wait_for(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing listens on 127.0.0.1:{port}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
