//! gRPC health checks of a real implementation (tonic's), in clear and behind nginx, and what blackbox_exporter says of the same servers.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use support::{Exporter, Running, free_port, get, program, until, value};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;

/// A health service that knows `up` and `down`; the server as a whole serves.
fn serve_health() -> SocketAddr {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (reporter, service) = tonic_health::server::health_reporter();
            reporter.set_service_status("up", ServingStatus::Serving).await;
            reporter.set_service_status("down", ServingStatus::NotServing).await;
            reporter.set_service_status("strange", ServingStatus::Unknown).await;
            let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap().with_nodelay(Some(true));
            tell.send(incoming.local_addr().unwrap()).unwrap();
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
    });
    told.recv().unwrap()
}

/// nginx in front of a server, over TLS with a certificate for 127.0.0.1 that `ca.pem` vouches for.
fn serve_tls(nginx: &Path, folder: &Path, behind: SocketAddr) -> (Running, SocketAddr) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "test CA");
    fs::write(folder.join("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    leaf.distinguished_name.push(rcgen::DnType::CommonName, "test server");
    let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(ca, ca_key)).unwrap();
    fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let path = folder.display();
    let text = format!(
        "daemon off; pid {path}/nginx.pid; error_log {path}/error.log; worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {path}/b; proxy_temp_path {path}/p; fastcgi_temp_path {path}/f;
  uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;
  server {{
    listen {address} ssl http2; ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem;
    location / {{ grpc_pass grpc://{behind}; }}
  }}
}}
"
    );
    fs::write(folder.join("nginx.conf"), text).unwrap();
    let mut command = Command::new(nginx);
    command.args(["-c", &format!("{path}/nginx.conf"), "-e", &format!("{path}/error.log")]);
    let nginx = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    wait_for(address);
    (nginx, address)
}

#[expect(clippy::disallowed_methods, reason = "it is no probe")]
fn wait_for(address: SocketAddr) {
    until("the server serves", || TcpStream::connect(address).is_ok());
}

/// A module for each question; `CA` stands for the file of the authority of the server over TLS.
const MODULES: &str = "modules:
  whole: {prober: grpc, timeout: 5s, grpc: {preferred_ip_protocol: ip4}}
  up: {prober: grpc, timeout: 5s, grpc: {service: up, preferred_ip_protocol: ip4}}
  down: {prober: grpc, timeout: 5s, grpc: {service: down, preferred_ip_protocol: ip4}}
  strange: {prober: grpc, timeout: 5s, grpc: {service: strange, preferred_ip_protocol: ip4}}
  none: {prober: grpc, timeout: 5s, grpc: {service: none, preferred_ip_protocol: ip4}}
  tls: {prober: grpc, timeout: 5s, grpc: {service: up, tls: true, tls_config: {ca_file: CA}, preferred_ip_protocol: ip4}}
  tls_down: {prober: grpc, timeout: 5s, grpc: {service: down, tls: true, tls_config: {ca_file: CA}}}
  tls_any: {prober: grpc, timeout: 5s, grpc: {tls: true, tls_config: {insecure_skip_verify: true}}}
  tls_other: {prober: grpc, timeout: 5s, grpc: {tls: true, tls_config: {ca_file: CA, server_name: other.example}}}
  tls_strict: {prober: grpc, timeout: 5s, grpc: {tls: true}}
";

#[test]
fn a_real_server_says_of_its_services_what_they_are() {
    let server = serve_health();
    let exporter = Exporter::start(
        MODULES
            .lines()
            .filter(|line| !line.contains("tls"))
            .fold(String::new(), |all, line| all + line + "\n")
            .as_str(),
    );
    let serving = |status| format!("probe_grpc_healthcheck_response{{serving_status=\"{status}\"}}");
    let cases = [
        ("whole", Some("SERVING"), 0.0),
        ("up", Some("SERVING"), 0.0),
        ("down", Some("NOT_SERVING"), 0.0),
        ("strange", Some("UNKNOWN"), 0.0),
        ("none", None, 5.0),
    ];
    for (module, said, code) in cases {
        let metrics = exporter.get(&format!("/probe?module={module}&target={server}"));
        let is = |series: &str| value(&metrics, series);
        assert_eq!(is("probe_success"), Some(f64::from(u8::from(said == Some("SERVING")))), "{module}: {metrics}");
        assert_eq!(is("probe_grpc_status_code"), Some(code), "{module}");
        for status in ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"] {
            let expected = f64::from(u8::from(said == Some(status)));
            assert_eq!(is(&serving(status)), Some(expected), "{module}: {status}");
        }
    }
}

/// The series of an exposition: name and labels, sorted, to value.
fn series(text: &str) -> BTreeMap<(String, Vec<String>), f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let mut labels: Vec<_> = labels.trim_end_matches('}').split_inclusive("\",").map(label).collect();
            labels.retain(|label| !label.is_empty());
            labels.sort();
            ((name.to_owned(), labels), value.parse().unwrap())
        })
        .collect()
}

/// Whether a certificate is described.
fn describes_a_certificate(series: &BTreeMap<(String, Vec<String>), f64>) -> bool {
    series.keys().any(|(name, _)| name == "probe_ssl_last_chain_info")
}

fn label(text: &str) -> String {
    text.trim_end_matches(',').to_owned()
}

/// What a target is, and which series of blackbox_exporter are absent here, since there was nothing to tell: it says 0, or a status
/// that no server sent.
const CASES: [(&str, Target, &[&str]); 13] = [
    ("whole", Target::Plain, &[]),
    ("up", Target::Plain, &[]),
    ("up", Target::Scheme, &[]),
    ("down", Target::Plain, &[]),
    ("strange", Target::Plain, &[]),
    ("none", Target::Plain, &[]),
    ("tls", Target::Tls, &[]),
    ("tls_down", Target::Tls, &[]),
    ("tls_any", Target::Tls, &[]),
    ("tls_other", Target::Tls, UNANSWERED),
    ("tls_strict", Target::Tls, UNANSWERED),
    ("tls", Target::Plain, UNANSWERED),
    ("whole", Target::Closed, UNANSWERED),
];
const UNANSWERED: &[&str] = &["probe_grpc_status_code", "probe_grpc_healthcheck_response", "probe_grpc_ssl"];

#[derive(Debug, Clone, Copy)]
enum Target {
    Plain,
    Scheme,
    Tls,
    Closed,
}

#[test]
fn blackbox_exporter_says_the_same_of_the_same_servers() {
    let (Some(blackbox), Some(nginx)) = (program("prometheus-blackbox-exporter"), program("nginx")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let plain = serve_health();
    let (_nginx, tls) = serve_tls(&nginx, folder.path(), plain);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let modules = MODULES.replace("CA", &folder.path().join("ca.pem").display().to_string());
    let file = folder.path().join("blackbox.yml");
    fs::write(&file, &modules).unwrap();
    let peer = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = Command::new(blackbox);
    command.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address={peer}"));
    let _blackbox = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    wait_for(peer);
    let exporter = Exporter::start(&modules);

    for (module, target, absent) in CASES {
        let target = match target {
            Target::Plain => plain.to_string(),
            Target::Scheme => format!("http://{plain}"),
            Target::Tls => tls.to_string(),
            Target::Closed => closed.to_string(),
        };
        let path = format!("/probe?module={module}&target={target}");
        let ours = series(&exporter.get(&path));
        let theirs = series(&get(peer, &path).1);
        let case = format!("{path}\nours: {ours:#?}\ntheirs: {theirs:#?}");
        assert!(theirs.len() >= 7, "{case}");
        for ((name, labels), value) in theirs {
            let no_certificate = name == "probe_ssl_earliest_cert_expiry" && value == 0.0;
            if no_certificate && describes_a_certificate(&ours) {
                // It was described all the same, though it was not good.
                continue;
            }
            if no_certificate || absent.contains(&name.as_str()) {
                assert!(ours.keys().all(|(ours, _)| *ours != name), "{name} of {case}");
                continue;
            }
            // Of the same name, with at least the same labels: a newer blackbox_exporter has more of them, too.
            let same = ours.iter().find(|((ours, more), _)| *ours == name && labels.iter().all(|l| more.contains(l)));
            let (_, ours) = same.unwrap_or_else(|| panic!("{name} {labels:?} is missing in {case}"));
            let is_time = name.ends_with("_duration_seconds") || name == "probe_dns_lookup_time_seconds";
            assert!(is_time || *ours == value, "{name} is {ours} here and {value} there: {case}");
        }
    }
}
