//! Servers that speak only TLS that this program does not: `openssl s_server` with old versions, key exchanges and ciphers, also behind
//! STARTTLS. What they speak, and how long their certificates are good for, is told all the same.

#![expect(clippy::disallowed_methods, reason = "what stands before the servers is no probe")]
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Exporter, Running, free_port, program, until, value};

const MODULES: &str = "modules:
  https: {prober: http, timeout: 5s}
  https_insecure: {prober: http, timeout: 5s, http: {tls_config: {insecure_skip_verify: true, min_version: TLS10}}}
  https_13: {prober: http, timeout: 5s, http: {tls_config: {min_version: TLS13}}}
  https_12: {prober: http, timeout: 5s, http: {tls_config: {max_version: TLS12}}}
  tls: {prober: tcp, timeout: 5s, tcp: {tls: true}}
  dot: {prober: dns, timeout: 5s, dns: {query_name: a.example, transport_protocol: tcp, dns_over_tls: true}}
  doh: {prober: dns, timeout: 5s, dns: {query_name: a.example, transport_protocol: https}}
  mail: {prober: tcp, timeout: 5s, tcp: {query_response: [{expect: '^220 (.*)$', send: 'EHLO ${1}', labels: [{name: greeting, value: '${1}'}]},
    {expect: '^250 STARTTLS'}, {send: STARTTLS}, {expect: '^220'}, {starttls: true}, {send: QUIT}]}}
  postgres: {prober: tcp, timeout: 5s, tcp: {query_response: [{send_bytes: !!binary AAAACATSFi8=}, {expect_bytes: S, starttls: true}]}}
  unix: {prober: unix, timeout: 5s, unix: {tls: true, tls_config: {server_name: old.example}}}
  unix_mail: {prober: unix, timeout: 5s, unix: {tls_config: {insecure_skip_verify: true}, query_response: [{expect: '^220 (.*)$', send: 'EHLO ${1}'},
    {expect: '^250 STARTTLS'}, {send: STARTTLS}, {expect: '^220'}, {starttls: true}]}}
";

const BOTH: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// An RSA certificate of 30 days, and its issuer of 10.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Self {
        let certificates = Self(tempfile::tempdir().unwrap());
        certificates.run("req -x509 -newkey rsa:2048 -nodes -days 10 -subj /CN=issuer -keyout ca.key -out ca.pem");
        certificates.run(
            "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=old.example -CA ca.pem -CAkey ca.key \
             -addext subjectAltName=DNS:old.example -keyout server.key -out server.pem",
        );
        certificates
    }

    /// Runs openssl; returns what it prints.
    fn run(&self, arguments: &str) -> String {
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split_whitespace()).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The label of the server's own.
    fn fingerprint(&self) -> String {
        let printed = self.run("x509 -in server.pem -noout -fingerprint -sha256");
        printed.trim().split_once('=').unwrap().1.replace(':', "").to_lowercase()
    }

    /// A server that speaks as openssl is told.
    fn serve(&self, ip: IpAddr, arguments: &str) -> (Running, SocketAddr) {
        let address = SocketAddr::new(ip, free_port());
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", &address.to_string()]);
        command.args(["-cert", "server.pem", "-key", "server.key", "-cert_chain", "ca.pem"]);
        command.args(arguments.split_whitespace()).current_dir(&self.0);
        let server = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        until("the server listens", || TcpStream::connect(address).is_ok());
        (server, address)
    }

    /// The same over a socket of this host; returns its path.
    fn serve_unix(&self, arguments: &str) -> (Running, String) {
        let path = self.0.path().join("socket").display().to_string();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-unix", &path, "-unlink", "-cert", "server.pem", "-key", "server.key"]);
        command.args(["-cert_chain", "ca.pem"]).args(arguments.split_whitespace()).current_dir(&self.0);
        let server = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        until("the server listens", || UnixStream::connect(&path).is_ok());
        (server, path)
    }
}

/// A connection of either kind.
trait Connection: Read + Write + Send + Sized + 'static {
    fn twin(&self) -> Self;
    fn end(&self, how: Shutdown);
}

impl Connection for TcpStream {
    fn twin(&self) -> Self {
        self.try_clone().unwrap()
    }

    fn end(&self, how: Shutdown) {
        self.shutdown(how).ok();
    }
}

impl Connection for UnixStream {
    fn twin(&self) -> Self {
        self.try_clone().unwrap()
    }

    fn end(&self, how: Shutdown) {
        self.shutdown(how).ok();
    }
}

/// Hands a client over to the server behind, after what it has said already.
fn hand_over(client: impl Connection, said: &[u8], server: SocketAddr) {
    let mut server = TcpStream::connect(server).unwrap();
    server.write_all(said).unwrap();
    let (mut from_client, mut to_server) = (client.twin(), server.twin());
    thread::spawn(move || {
        io::copy(&mut from_client, &mut to_server).ok();
        to_server.end(Shutdown::Write);
    });
    let mut to_client = client.twin();
    io::copy(&mut server, &mut to_client).ok();
    client.end(Shutdown::Both);
}

/// Who stands before a server, on a port of his own; counts the connections.
fn before(ip: IpAddr, treat: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (count, treat) = (Arc::new(AtomicUsize::new(0)), Arc::new(treat));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (number, treat) = (counted.fetch_add(1, Ordering::SeqCst), Arc::clone(&treat));
            thread::spawn(move || treat(client, number));
        }
    });
    (address, count)
}

/// A server of mail that greets every client anew, and hands it over when it wants TLS.
fn mail(mut client: impl Connection, number: usize, server: SocketAddr) {
    let greeting = format!("mail{number}.example");
    write!(client, "220 {greeting}\r\n").unwrap();
    assert_eq!(line(&mut client), format!("EHLO {greeting}"));
    client.write_all(b"250-mail\r\n250 STARTTLS\r\n").unwrap();
    assert_eq!(line(&mut client), "STARTTLS");
    client.write_all(b"220 go\r\n").unwrap();
    hand_over(client, b"", server);
}

/// A line, and nothing behind it.
fn line(client: &mut impl Read) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// Probes; returns the debug output with the metrics in it, after what holds for every failed probe.
fn probe(exporter: &Exporter, module: &str, target: &str) -> String {
    let told = exporter.get(&format!("/probe?module={module}&target={target}&debug=true"));
    assert_eq!(value(&told, "probe_success"), Some(0.0), "{told}");
    let phases = told.lines().filter(|line| line.starts_with("probe_phase_duration_seconds{"));
    let phases: f64 = phases.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    let whole = phases + value(&told, "probe_measurement_overhead_seconds").unwrap();
    let duration = value(&told, "probe_duration_seconds").unwrap();
    assert!((whole - duration).abs() < 0.001, "{whole} is not {duration}: {told}");
    told
}

/// The reason of a failed TLS phase.
fn reason(told: &str) -> &str {
    let line = told.lines().find(|line| line.starts_with("probe_failure_info{")).unwrap();
    assert!(line.contains("phase=\"tls\""), "{line}");
    line.split_once("reason=\"").unwrap().1.split_once('"').unwrap().0
}

fn seconds_from_now(told: &str, series: &str) -> Option<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    value(told, series).map(|time| time - now)
}

const DAY: f64 = 86_400.0;

/// What every server and every probe needs; nothing where there can be no servers.
fn start() -> Option<(Certificates, Exporter)> {
    program("openssl")?;
    Some((Certificates::new(), Exporter::start(MODULES)))
}

#[test]
fn what_an_old_server_speaks_and_its_certificates_are_told() {
    let Some((certificates, exporter)) = start() else { return };
    let fingerprint = certificates.fingerprint();
    for (arguments, version, cipher) in [
        ("-tls1 -cipher DEFAULT@SECLEVEL=0", "TLS 1.0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        ("-tls1 -cipher AES256-SHA@SECLEVEL=0", "TLS 1.0", "TLS_RSA_WITH_AES_256_CBC_SHA"),
        ("-tls1_1 -cipher DEFAULT@SECLEVEL=0", "TLS 1.1", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        ("-tls1_2 -cipher AES128-SHA", "TLS 1.2", "TLS_RSA_WITH_AES_128_CBC_SHA"),
        ("-tls1_2 -cipher AES256-GCM-SHA384", "TLS 1.2", "TLS_RSA_WITH_AES_256_GCM_SHA384"),
        ("-tls1_2 -cipher ARIA128-GCM-SHA256", "TLS 1.2", "TLS_RSA_WITH_ARIA_128_GCM_SHA256"),
        ("-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256", "TLS 1.2", "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("-tls1_2 -cipher DHE-RSA-CAMELLIA256-SHA", "TLS 1.2", "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA"),
        ("-tls1_2 -cipher ECDHE-RSA-AES256-SHA384", "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    ] {
        for ip in BOTH {
            let (_server, address) = certificates.serve(ip, &format!("-www {arguments}"));
            for (module, target) in [
                ("https", format!("https://{address}/")),
                ("https_insecure", format!("https://{address}/")),
                ("tls", address.to_string()),
                ("dot", address.to_string()),
                ("doh", format!("https://{address}/dns-query")),
            ] {
                let told = probe(&exporter, module, &target);
                check_told(&told, version, cipher, &fingerprint);
            }
        }
    }
}

/// What is told of a server of TLS that was recognised, and of its certificates.
fn check_told(told: &str, version: &str, cipher: &str, fingerprint: &str) {
    assert_eq!(reason(told), "tls_protocol_error", "{told}");
    let info = |name: &str, label: &str, is: &str| value(told, &format!("{name}{{{label}=\"{is}\"}}"));
    assert_eq!(info("probe_tls_version_info", "version", version), Some(1.0), "{told}");
    assert_eq!(info("probe_tls_cipher_info", "cipher", cipher), Some(1.0), "{told}");
    let expires = seconds_from_now(told, "probe_ssl_earliest_cert_expiry").unwrap();
    assert!((expires - 10.0 * DAY).abs() < 600.0, "{expires}: the issuer's, which is sent, too");
    let chain = told.lines().find(|line| line.starts_with("probe_ssl_last_chain_info{")).unwrap();
    assert!(chain.contains(fingerprint) && chain.contains("subject=\"CN=old.example\""), "{chain}");
    assert!(!told.contains("\nprobe_ssl_last_chain_expiry_timestamp_seconds "), "nothing was verified");
    let sentence = format!("the server speaks {version} with {cipher}, and this program only");
    assert!(told.contains(&sentence), "{told}");
    assert!(told.contains("\nprobe_phase_duration_seconds{phase=\"legacy\"} "), "{told}");
}

#[test]
fn an_old_server_behind_starttls_is_recognised() {
    let Some((certificates, exporter)) = start() else { return };
    let fingerprint = certificates.fingerprint();
    for (arguments, version, cipher) in [
        ("-tls1 -cipher DEFAULT@SECLEVEL=0", "TLS 1.0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        ("-tls1_1 -cipher DEFAULT@SECLEVEL=0", "TLS 1.1", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        ("-tls1_2 -cipher AES128-SHA", "TLS 1.2", "TLS_RSA_WITH_AES_128_CBC_SHA"),
    ] {
        for ip in BOTH {
            let (_server, behind) = certificates.serve(ip, &format!("-quiet {arguments}"));
            let (address, count) = before(ip, move |client, number| mail(client, number, behind));
            let told = probe(&exporter, "mail", &address.to_string());
            check_told(&told, version, cipher, &fingerprint);
            assert_eq!(count.load(Ordering::SeqCst), 2, "the conversation was held twice, and each time as it was");
            // What was heard is the first conversation's.
            assert_eq!(value(&told, "probe_expect_info{greeting=\"mail0.example\"}"), Some(1.0), "{told}");
            assert_eq!(told.matches("\nprobe_expect_info{").count(), 1, "{told}");
            assert_eq!(value(&told, "probe_failed_due_to_regex"), Some(0.0), "{told}");
            // PostgreSQL asks for TLS in bytes.
            let (address, count) = before(ip, move |mut client, _| {
                let mut request = [0; 8];
                client.read_exact(&mut request).unwrap();
                assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
                client.write_all(b"S").unwrap();
                hand_over(client, b"", behind);
            });
            check_told(&probe(&exporter, "postgres", &address.to_string()), version, cipher, &fingerprint);
            assert_eq!(count.load(Ordering::SeqCst), 2);
        }
    }
}

#[test]
fn an_old_server_on_a_socket_of_this_host_is_recognised() {
    let Some((certificates, exporter)) = start() else { return };
    let fingerprint = certificates.fingerprint();
    let (arguments, cipher) = ("-quiet -tls1 -cipher DEFAULT@SECLEVEL=0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA");
    let (_server, path) = certificates.serve_unix(arguments);
    check_told(&probe(&exporter, "unix", &path), "TLS 1.0", cipher, &fingerprint);

    let (_server, behind) = certificates.serve(BOTH[0], arguments);
    let path = certificates.0.path().join("mail");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for (number, client) in listener.incoming().flatten().enumerate() {
            thread::spawn(move || mail(client, number, behind));
        }
    });
    let told = probe(&exporter, "unix_mail", &path.display().to_string());
    check_told(&told, "TLS 1.0", cipher, &fingerprint);
}

#[test]
fn an_old_server_that_hangs_up_instead_of_refusing_is_recognised() {
    let Some((certificates, exporter)) = start() else { return };
    let fingerprint = certificates.fingerprint();
    for ip in BOTH {
        let (_server, behind) = certificates.serve(ip, "-www -tls1 -cipher DEFAULT@SECLEVEL=0");
        for with_reset in [true, false] {
            // It knows no extension of TLS 1.3, and takes what has it for an attack.
            let (address, count) = before(ip, move |mut client, _| {
                let mut header = [0; 5];
                client.read_exact(&mut header).unwrap();
                let mut hello = vec![0; u16::from_be_bytes([header[3], header[4]]).into()];
                client.read_exact(&mut hello).unwrap();
                // supported_versions: of 5 bytes, TLS 1.3 and 1.2.
                if !hello.windows(9).any(|window| window == [0, 43, 0, 5, 4, 3, 4, 3, 3]) {
                    hand_over(client, &[&header[..], &hello].concat(), behind);
                } else if with_reset {
                    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
                }
            });
            for (module, target) in [("https", format!("https://{address}/")), ("tls", address.to_string())] {
                count.store(0, Ordering::SeqCst);
                let told = probe(&exporter, module, &target);
                check_told(&told, "TLS 1.0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", &fingerprint);
                assert_eq!(count.load(Ordering::SeqCst), 2);
            }
        }
    }
}

#[test]
fn a_server_of_another_group_is_described() {
    let Some((certificates, exporter)) = start() else { return };
    let fingerprint = certificates.fingerprint();
    for group in ["X448", "brainpoolP512r1"] {
        let arguments = format!("-www -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256 -groups {group}");
        let (_server, address) = certificates.serve(BOTH[0], &arguments);
        let told = probe(&exporter, "https", &format!("https://{address}/"));
        // It speaks as this program does, but for the key exchange.
        assert_eq!(reason(&told), "tls_alert_received:40", "{told}");
        assert_eq!(value(&told, "probe_tls_version_info{version=\"TLS 1.2\"}"), Some(1.0), "{told}");
        assert!(told.contains(&fingerprint) && value(&told, "probe_ssl_earliest_cert_expiry").is_some(), "{told}");
    }
}

#[test]
fn a_server_that_the_module_refuses_is_told_by_the_modules_failure() {
    let Some((certificates, exporter)) = start() else { return };
    for ip in BOTH {
        // The server would speak as this program does, if it might.
        let (_server, address) = certificates.serve(ip, "-www -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256");
        let told = probe(&exporter, "https_13", &format!("https://{address}/"));
        assert_eq!(reason(&told), "tls_alert_received:70", "{told}");
        assert_eq!(value(&told, "probe_tls_version_info{version=\"TLS 1.2\"}"), Some(1.0), "{told}");
        assert!(seconds_from_now(&told, "probe_ssl_earliest_cert_expiry").is_some(), "{told}");
        // What it speaks is newer than what it is asked for.
        let (_server, address) = certificates.serve(ip, "-www -tls1_3");
        let told = probe(&exporter, "https_12", &format!("https://{address}/"));
        assert_eq!(reason(&told), "tls_alert_received:70", "{told}");
        assert!(!told.contains("\nprobe_tls_version_info{"), "{told}");
    }
}

#[test]
fn who_refuses_for_another_cause_is_not_looked_at_again() {
    let Some((certificates, exporter)) = start() else { return };
    for ip in BOTH {
        // It wants a certificate of ours, and says what it says when it has nothing in common with us.
        let (_server, address) = certificates.serve(ip, "-www -tls1_2 -Verify 1");
        let told = probe(&exporter, "https", &format!("https://{address}/"));
        assert_eq!(reason(&told), "tls_client_cert_rejected", "{told}");
        assert!(!told.contains("phase=\"legacy\""), "{told}");
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_told_so_at_once() {
    let exporter = Exporter::start(MODULES);
    // The exporter's own page.
    let told = probe(&exporter, "https", &format!("https://{}/", exporter.address));
    assert_eq!(reason(&told), "tls_protocol_error", "{told}");
    assert!(!told.contains("phase=\"legacy\"") && !told.contains("\nprobe_tls_version_info{"), "{told}");
    assert!(value(&told, "probe_duration_seconds").unwrap() < Duration::from_secs(4).as_secs_f64());
}
