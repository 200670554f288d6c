//! Servers that misbehave on purpose, and probes of them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::IntoRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use super::{Measurement, Module, Prober, Report, Request, lock, run};
use crate::flight::Phase;
use crate::net::tls::{Tls, TlsOptions};
use crate::net::{Family, Source};
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
        slow: crate::verdict::Slow::default(),
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
        zoned: None,
        isps: Arc::default(),
        hostname: None,
        timeout,
        log_limit: usize::MAX,
        network: Arc::default(),
        identities: Arc::default(),
    }
}

/// Runs a probe, and checks what holds for every report.
pub(super) async fn probe(request: &Request) -> Report {
    let report = watch(run(request)).await;
    if let Measurement::Http(measured) = &report.measurement {
        let of_requests = measured.requests.iter().flat_map(|request| &request.phases);
        let sum_of = |wanted| of_requests.clone().filter(|(phase, _)| *phase == wanted).map(|(_, span)| *span).sum();
        let sums: Vec<(Phase, Duration)> = report.phases.iter().map(|(phase, _)| (*phase, sum_of(*phase))).collect();
        assert_eq!(sums, report.phases, "{report:#?}");
    }
    report
}

/// Sees how late a probe and its servers were, for [`check_phase`], and that its times add up.
pub(super) async fn watch(probe: impl Future<Output = Report>) -> Report {
    let (servers, waits) = (times(&SERVERS.with_borrow(Arc::clone)), Thread::here().times().1);
    let mut ours = Duration::ZERO;
    let mut running = Box::pin(probe);
    let report = poll_fn(|context| {
        let begun = Instant::now();
        let report = running.as_mut().poll(context);
        ours += begun.elapsed();
        report
    })
    .await;
    let servers = times(&SERVERS.with_borrow(Arc::clone)).saturating_sub(servers);
    LATE.set(Late { servers, ours: ours + Thread::here().times().1 - waits });
    let phases: Duration = report.phases.iter().map(|(_, span)| *span).sum();
    let sum = phases + report.overhead;
    assert!(sum.abs_diff(report.duration) < Duration::from_millis(1), "{sum:?} is not the duration of {report:#?}");
    report
}

/// The time spent in a phase, in seconds.
pub(super) fn seconds(report: &Report, phase: Phase) -> Option<f64> {
    report.phases.iter().find(|(reached, _)| *reached == phase).map(|(_, span)| span.as_secs_f64())
}

/// Has nobody else on this thread a turn for 200 ms, from 40 ms on.
pub(super) fn stall() -> tokio::task::JoinHandle<()> {
    tokio::spawn(async {
        tokio::time::sleep(Duration::from_millis(40)).await;
        std::thread::sleep(Duration::from_millis(200));
    })
}

/// Checks how long a phase of the last probe took.
pub(super) fn check_phase(report: &Report, phase: Phase, milliseconds: std::ops::Range<u64>) {
    let span = report.phases.iter().find(|(reached, _)| *reached == phase).map(|(_, span)| *span);
    check_span(report, phase, span, milliseconds);
}

/// Checks how long something of the last probe took. It is longer by what its servers were late, since that is seen on the wire, and may be shorter
/// by what the probe was late itself while they were busy: that is its overhead.
pub(super) fn check_span(report: &Report, what: Phase, span: Option<Duration>, milliseconds: std::ops::Range<u64>) {
    let Late { servers, ours } = LATE.get();
    let least = Duration::from_millis(milliseconds.start).saturating_sub(report.overhead.min(ours + PRECISION));
    // The kernel stamps nothing on sockets of this host.
    let stamped = !matches!(report.measurement, Measurement::Unix(_));
    let most = Duration::from_millis(milliseconds.end) + servers + if stamped { Duration::ZERO } else { ours };
    let within = span.is_some_and(|span| (least..most).contains(&span));
    assert!(within, "{what:?} took {span:?}, not {milliseconds:?} ms (here {least:?}..{most:?}): {report:#?}");
}

pub(super) fn check_failure(report: &Report, phase: Phase, reason: Reason) {
    let failure = report.failure.as_ref().map(|failure| (failure.phase, failure.reason));
    assert_eq!(failure, Some((phase, reason)), "{report:#?}");
}

pub(super) fn check_success(report: &Report) {
    assert_eq!(report.failure, None, "{report:#?}");
}

/// By how much the kernel's timers and ours are late on an idle machine, at most.
const PRECISION: Duration = Duration::from_millis(3);

/// By how much the last probe of this thread, and its servers, can have been late.
#[derive(Debug, Clone, Copy, Default)]
struct Late {
    /// The time that all servers which this thread started ran, or wanted to and had no processor.
    servers: Duration,
    /// The time that the probe ran, and that this thread wanted to and had no processor.
    ours: Duration,
}

thread_local! {
    static SERVERS: RefCell<Threads> = RefCell::default();
    static LATE: Cell<Late> = Cell::default();
}

/// Threads of servers; of those that have ended, the time that they took.
type Threads = Arc<Mutex<Vec<Result<Thread, Duration>>>>;

/// A thread, as `/proc` has it.
#[derive(Debug, Clone)]
struct Thread(PathBuf);

impl Thread {
    fn here() -> Self {
        Self(Path::new("/proc").join(std::fs::read_link("/proc/thread-self").unwrap()))
    }

    /// For how long it ran, and for how long it waited for a processor (`Documentation/scheduler/sched-stats.rst`).
    fn times(&self) -> (Duration, Duration) {
        let statistics = std::fs::read_to_string(self.0.join("schedstat")).unwrap_or_default();
        let mut fields = statistics.split(' ').map(|field| Duration::from_nanos(field.parse().unwrap_or(0)));
        (fields.next().unwrap_or_default(), fields.next().unwrap_or_default())
    }

    fn time(&self) -> Duration {
        let (ran, waited) = self.times();
        ran + waited
    }
}

fn times(threads: &Threads) -> Duration {
    lock(threads).iter().map(|thread| thread.as_ref().map_or_else(|ended| *ended, Thread::time)).sum()
}

/// Runs a server on a thread of its own, of whose lateness [`check_phase`] knows.
pub(super) fn spawn_server<T: Send + 'static>(serve: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    let threads = SERVERS.with_borrow(Arc::clone);
    thread::spawn(move || {
        SERVERS.set(threads.clone());
        let here = Thread::here();
        let mut known = lock(&threads);
        let number = known.len();
        known.push(Ok(here.clone()));
        drop(known);
        let served = serve();
        lock(&threads)[number] = Err(here.time());
        served
    })
}

/// A server that treats every connection in the same way.
pub(super) fn serve(ip: IpAddr, treat: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let treat = Arc::new(treat);
    spawn_server(move || {
        for stream in listener.incoming() {
            let (stream, treat) = (stream.unwrap(), treat.clone());
            stream.set_nodelay(true).unwrap();
            spawn_server(move || treat(stream));
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

/// Where nobody listens, nor will while this program runs: a socket that never listens holds the port.
pub(super) fn closed(ip: IpAddr) -> SocketAddr {
    let holder = Source::default().tcp(Family::of(ip), 0).unwrap();
    holder.bind(&SocketAddr::new(ip, 0).into()).unwrap();
    let address = holder.local_addr().unwrap().as_socket().unwrap();
    // Held until the program ends.
    let _ = holder.into_raw_fd();
    address
}

/// A server of a version that wants a certificate of the authority.
pub(super) fn demanding(
    version: &'static SupportedProtocolVersion,
    authority: &CertifiedIssuer<'static, KeyPair>,
) -> ServerConfig {
    let identity = identity(params(), Some(authority));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    config.with_client_cert_verifier(verifier).with_single_cert(identity.chain, identity.key).unwrap()
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
