//! Servers that misbehave on purpose, and probes of them.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Measurement, Module, Prober, Report, Request, run};
use crate::flight::Phase;
use crate::net::Source;
use crate::net::tls::{Tls, TlsOptions};
use crate::verdict::Reason;

pub(super) const BOTH: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
pub(super) const V4: IpAddr = BOTH[0];

/// A probe without an ISP.
pub(super) fn request(prober: Prober, target: impl ToString, timeout: Duration) -> Request {
    let module = Module {
        name: "test".into(),
        prober,
        source: Source::default(),
        timeout: None,
        isp: None,
        resolvers: Vec::new(),
        yaml: String::new(),
    };
    request_of(Arc::new(module), target, timeout)
}

/// The same by a module that is written down.
pub(super) fn configured(module: &str, target: impl ToString, timeout: Duration) -> Request {
    let config = crate::config::load_str(&format!("modules: {{test: {module}}}"), "test.yml").unwrap();
    request_of(Arc::clone(&config.modules["test"]), target, timeout)
}

fn request_of(module: Arc<Module>, target: impl ToString, timeout: Duration) -> Request {
    Request {
        target: target.to_string(),
        module,
        isp: None,
        hostname: None,
        timeout,
        log_limit: usize::MAX,
        network: Arc::default(),
        identities: Arc::default(),
    }
}

/// Runs a probe, and checks what holds for every report.
pub(super) async fn probe(request: &Request) -> Report {
    let report = run(request).await;
    let phases: Duration = report.phases.iter().map(|(_, span)| *span).sum();
    let sum = phases + report.overhead;
    assert!(sum.abs_diff(report.duration) < Duration::from_millis(1), "{sum:?} is not the duration of {report:#?}");
    if let Measurement::Http(measured) = &report.measurement {
        let of_requests = measured.requests.iter().flat_map(|request| &request.phases);
        let sum_of = |wanted| of_requests.clone().filter(|(phase, _)| *phase == wanted).map(|(_, span)| *span).sum();
        let sums: Vec<(Phase, Duration)> = report.phases.iter().map(|(phase, _)| (*phase, sum_of(*phase))).collect();
        assert_eq!(sums, report.phases, "{report:#?}");
    }
    report
}

/// The time spent in a phase, in seconds.
pub(super) fn seconds(report: &Report, phase: Phase) -> Option<f64> {
    report.phases.iter().find(|(reached, _)| *reached == phase).map(|(_, span)| span.as_secs_f64())
}

pub(super) fn check_phase(report: &Report, phase: Phase, milliseconds: std::ops::Range<u64>) {
    let span = seconds(report, phase).map(|seconds| seconds * 1e3);
    let within = span.is_some_and(|span| (milliseconds.start as f64..milliseconds.end as f64).contains(&span));
    assert!(within, "{phase:?} took {span:?} ms, not {milliseconds:?}: {report:#?}");
}

pub(super) fn check_failure(report: &Report, phase: Phase, reason: Reason) {
    let failure = report.failure.as_ref().map(|failure| (failure.phase, failure.reason));
    assert_eq!(failure, Some((phase, reason)), "{report:#?}");
}

pub(super) fn check_success(report: &Report) {
    assert_eq!(report.failure, None, "{report:#?}");
}

/// A server that treats every connection in the same way.
pub(super) fn serve(ip: IpAddr, treat: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let treat = Arc::new(treat);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, treat) = (stream.unwrap(), treat.clone());
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || treat(stream));
        }
    });
    address
}

pub(super) fn sleep(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// Reads what there is, at least a byte.
pub(super) fn hear(stream: &mut impl Read) -> String {
    let mut buffer = [0; 65536];
    let count = stream.read(&mut buffer).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

pub(super) fn say(stream: &mut impl Write, text: &str) {
    // Whether the other side still listens is its business.
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

/// A certificate authority for tests.
pub(super) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server's certificate.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// A certificate of `authority`, or one that signed itself.
pub(super) fn identity(params: CertificateParams, authority: Option<&CertifiedIssuer<'static, KeyPair>>) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = match authority {
        Some(authority) => params.signed_by(&key, authority).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Identity { chain: vec![certificate.der().clone()], key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
}

/// For `localhost` and its addresses.
pub(super) fn params() -> CertificateParams {
    CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(String::from)).unwrap()
}

pub(super) fn server_config(identity: Identity) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    config.with_no_client_auth().with_single_cert(identity.chain, identity.key).unwrap()
}

/// Answers a handshake.
pub(super) fn under_tls<S: Read + Write>(config: &Arc<ServerConfig>, stream: S) -> StreamOwned<ServerConnection, S> {
    StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream)
}

/// TLS settings that trust `ca`, in PEM.
pub(super) fn trusting(ca: Option<String>, alpn: &[&str]) -> Arc<Tls> {
    let alpn = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let options = TlsOptions { ca: ca.map(String::into_bytes), alpn, ..TlsOptions::default() };
    Arc::new(Tls::new(options).unwrap())
}
