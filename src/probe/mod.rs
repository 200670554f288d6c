//! Probes: one target × one module × one ISP, once, ending in a report.

mod connection;
pub mod conversation;
pub mod dns;
mod drive;
pub mod grpc;
mod half_open_raw;
mod host;
pub mod http;
pub mod icmp;
mod legacy;
mod packets;
mod plain;
mod report;
mod request;
pub mod resolve;
mod tasks;
pub mod tcp;
#[cfg(test)]
mod testing;
mod timeline;
mod tls;
pub mod traceroute;
pub mod unix;
pub mod websocket;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::{timeout, timeout_at};

use crate::flight::{Phase, Timeline};
use crate::net::sys::{ExtendedError, Origin};
use crate::net::{LocalFault, Source, SourceError};
use crate::verdict::{Evidence, Failure, Reason};
pub use connection::Handshake;
use plain::Delivery;
pub(crate) use report::SECRET;
pub use report::{LogLine, Measurement, Report};
pub use request::{Isp, Module, Request};
pub use timeline::SharedTimeline;

/// What a module measures. A new prober is one file and one line in each list.
#[derive(Debug)]
pub enum Prober {
    /// HTTP and HTTPS.
    Http(Box<http::Settings>),
    /// TCP, full or half open.
    Tcp(tcp::Settings),
    /// ICMP echo.
    Icmp(icmp::Settings),
    /// DNS.
    Dns(Box<dns::Settings>),
    /// The path.
    Traceroute(traceroute::Settings),
    /// Sockets of this host.
    Unix(unix::Settings),
    /// Health of gRPC services.
    Grpc(grpc::Settings),
    /// WebSocket.
    Websocket(websocket::Settings),
}

impl Prober {
    /// The name in `prober:`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Icmp(_) => "icmp",
            Self::Dns(_) => "dns",
            Self::Traceroute(_) => "traceroute",
            Self::Unix(_) => "unix",
            Self::Grpc(_) => "grpc",
            Self::Websocket(_) => "websocket",
        }
    }

    /// Says why no probe of this kind can be made of `target`, in one sentence.
    ///
    /// # Errors
    /// That sentence.
    pub fn check_target(&self, target: &str) -> Result<(), String> {
        match self {
            Self::Http(_) => http::check_target(target),
            Self::Tcp(_) => tcp::check_target(target),
            Self::Icmp(_) => icmp::check_target(target),
            Self::Dns(settings) => dns::check_target(settings, target),
            Self::Traceroute(settings) => traceroute::check_target(settings, target),
            Self::Unix(_) => unix::check_target(target),
            Self::Grpc(_) => grpc::check_target(target),
            Self::Websocket(_) => websocket::check_target(target),
        }
    }

    /// What the name in `hostname=` means to this prober, as it is to be said to the server; nothing where it has no use for one.
    ///
    /// # Errors
    /// One sentence, where it cannot be said.
    pub fn hostname(&self, hostname: &str) -> Result<Option<String>, String> {
        match self {
            Self::Http(settings) => http::hostname(settings, hostname).map(Some),
            Self::Tcp(settings) => tcp::hostname(settings, hostname),
            Self::Grpc(settings) => grpc::hostname(settings, hostname),
            Self::Websocket(settings) => websocket::hostname(settings, hostname).map(Some),
            Self::Icmp(_) | Self::Dns(_) | Self::Traceroute(_) | Self::Unix(_) => Ok(None),
        }
    }

    /// A target for people, its password hidden.
    #[must_use]
    pub fn shown(&self, target: &str) -> String {
        match self {
            Self::Http(_) => http::shown(target),
            Self::Websocket(_) => websocket::shown(target),
            // Their targets have no place for one.
            Self::Tcp(_) | Self::Icmp(_) | Self::Dns(_) | Self::Traceroute(_) | Self::Unix(_) | Self::Grpc(_) => {
                target.to_owned()
            }
        }
    }

    /// Whether an ISP has a part in it.
    fn leaves_this_host(&self) -> bool {
        match self {
            Self::Unix(_) => false,
            Self::Http(_)
            | Self::Tcp(_)
            | Self::Icmp(_)
            | Self::Dns(_)
            | Self::Traceroute(_)
            | Self::Grpc(_)
            | Self::Websocket(_) => true,
        }
    }
}

/// Runs a probe. It always ends in a report, within the request's timeout.
pub async fn run(request: &Request) -> Report {
    let probe = Probe::start(request);
    let (measurement, failure) = match &request.module.prober {
        Prober::Http(settings) => {
            let measured = http::Measurement::default();
            until_deadline(&probe, measured, Measurement::Http, async |m| http::measure(settings, &probe, m).await)
                .await
        }
        Prober::Tcp(settings) => {
            let measured = tcp::Measurement::default();
            until_deadline(&probe, measured, Measurement::Tcp, async |m| tcp::measure(settings, &probe, m).await).await
        }
        Prober::Icmp(settings) => {
            let measured = icmp::Measurement::of(settings);
            until_deadline(&probe, measured, Measurement::Icmp, async |m| icmp::measure(settings, &probe, m).await)
                .await
        }
        Prober::Dns(settings) => {
            let measured = dns::Measurement::of(settings);
            until_deadline(&probe, measured, Measurement::Dns, async |m| dns::measure(settings, &probe, m).await).await
        }
        Prober::Traceroute(settings) => {
            let measured = traceroute::Measurement::of(settings);
            let measure = async |m: &mut _| traceroute::measure(settings, &probe, m).await;
            until_deadline(&probe, measured, Measurement::Traceroute, measure).await
        }
        Prober::Unix(settings) => {
            let measured = unix::Measurement::default();
            until_deadline(&probe, measured, Measurement::Unix, async |m| unix::measure(settings, &probe, m).await)
                .await
        }
        Prober::Grpc(settings) => {
            let measured = grpc::Measurement::default();
            until_deadline(&probe, measured, Measurement::Grpc, async |m| grpc::measure(settings, &probe, m).await)
                .await
        }
        Prober::Websocket(settings) => {
            let measured = websocket::Measurement::default();
            let measure = async |m: &mut _| websocket::measure(settings, &probe, m).await;
            until_deadline(&probe, measured, Measurement::Websocket, measure).await
        }
    };
    probe.report(measurement, failure)
}

/// A probe that is running: its request, and what it leaves behind however it ends.
#[derive(Debug)]
pub struct Probe<'a> {
    /// What was asked for.
    pub request: &'a Request,
    /// When it began.
    pub started: Instant,
    /// When it must have ended.
    pub deadline: Instant,
    /// Where its time goes.
    pub timeline: SharedTimeline,
    started_wall: SystemTime,
    notes: Mutex<Notes>,
    /// What its last connection left, once that is gone.
    delivery: Arc<Mutex<Delivery>>,
}

/// What probes call themselves where nobody says otherwise.
const USER_AGENT: &str = concat!("uplink_exporter/", env!("CARGO_PKG_VERSION"));

/// Where the kernel routes as it likes.
static UNBOUND: Source = Source { v4: None, v6: None, interface: None, mark: None };

/// What a probe collects on its way, whatever the prober.
#[derive(Debug, Default)]
struct Notes {
    log: Vec<LogLine>,
    /// Bytes of the log.
    log_size: usize,
    /// Lines that did not fit into the log: once one does not, none behind it is kept.
    left_out: usize,
    /// What the target's name became.
    target: Option<resolve::Resolution>,
    /// What the last name became: the target's, or one that it redirected to.
    resolution: Option<resolve::Resolution>,
    /// The name server that was asked last, and whether through the ISP.
    asked: Option<(IpAddr, bool)>,
    /// Who is talked to on the way to the target, and on whose behalf: a token server, by its proxy.
    aside: Vec<String>,
    /// Where the last connection went, which need not be the target.
    peer: Option<IpAddr>,
}

impl<'a> Probe<'a> {
    fn start(request: &'a Request) -> Self {
        let started = Instant::now();
        Self {
            request,
            started,
            deadline: started + request.timeout,
            timeline: SharedTimeline::start(started),
            started_wall: SystemTime::now(),
            notes: Mutex::default(),
            delivery: Arc::default(),
        }
    }

    /// Adds a line to the log, where it is kept.
    pub fn note(&self, text: fmt::Arguments<'_>) {
        let limit = self.request.log_limit;
        if limit == 0 {
            return;
        }
        let mut notes = lock(&self.notes);
        if notes.left_out == 0 {
            let line = LogLine { at: self.started.elapsed(), text: text.to_string() };
            notes.log_size += size_of::<LogLine>() + line.text.len();
            if notes.log_size <= limit {
                notes.log.push(line);
                return;
            }
        }
        notes.left_out += 1;
    }

    /// What binds this probe's sockets: the ISP that the request names, or else the module's own source.
    #[must_use]
    pub fn source(&self) -> &'a Source {
        self.request.source()
    }

    /// Talks to somebody else than the target, on the way to it. The time of that is told as `phase`, whatever phases it goes through, and
    /// its failures say whose they are.
    async fn aside<T>(
        &self,
        phase: Phase,
        whom: String,
        talk: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let before = self.timeline.begin_aside(phase);
        lock(&self.notes).aside.push(whom);
        let outcome = talk.await;
        let told = self.timeline.told().unwrap_or(phase);
        let whom = lock(&self.notes).aside.pop().unwrap_or_default();
        // After a failure nothing follows, and how far it got is still to be seen.
        if outcome.is_ok() {
            self.timeline.end_aside(before);
        }
        outcome.map_err(|failure| Failure { phase: told, detail: format!("{whom}: {}", failure.detail), ..failure })
    }

    /// Keeps where a connection goes.
    fn talks_to(&self, peer: IpAddr) {
        lock(&self.notes).peer = Some(peer);
    }

    /// Keeps what the name became; that of somebody else than the target does not count.
    pub fn resolved(&self, resolution: resolve::Resolution) {
        let mut notes = lock(&self.notes);
        if notes.aside.is_empty() {
            notes.target.get_or_insert_with(|| resolution.clone());
            notes.resolution = Some(resolution);
        }
    }

    /// A failure in the phase that is running.
    pub fn failure(&self, reason: Reason, detail: impl Into<String>) -> Failure {
        Failure {
            phase: self.timeline.current().unwrap_or(Phase::Resolve),
            reason,
            detail: detail.into(),
            offender: None,
        }
    }

    /// A failure to make a socket: a fault of this host, never the network's.
    pub fn source_failure(&self, error: &SourceError) -> Failure {
        let reason = match error {
            SourceError::NoAddress(_) | SourceError::NotOnThisHost(..) => Reason::SourceAddressUnavailable,
            SourceError::NoInterface(..) => Reason::LocalLinkDown,
            SourceError::NotPermitted(..) | SourceError::PingNotAllowed(_) => Reason::ProberConfigError,
            SourceError::Other(what, error) => return self.local_failure(what, error),
        };
        self.failure(reason, error.to_string())
    }

    /// A failure that a system call told at once, with nothing on the wire: where it speaks of the destination it is the word of a
    /// route of this host, or of the lack of one (`ip route add unreachable`, `blackhole`).
    pub fn local_failure(&self, what: &str, error: &io::Error) -> Failure {
        match error.raw_os_error() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EINVAL) => {
                self.failure(Reason::UnroutableLocal, format!("{what}: {error}"))
            }
            Some(libc::ECONNREFUSED) => {
                self.failure(Reason::ProberConfigError, format!("{what}: this host's own firewall: {error}"))
            }
            Some(libc::EMSGSIZE) => {
                let detail = format!("{what}: the packet is larger than the device takes: {error}");
                self.failure(Reason::ProberConfigError, detail)
            }
            _ => self.io_failure(what, error, None),
        }
    }

    /// A failure of a socket operation in the running phase; what the socket's error queue held decides first.
    pub fn io_failure(&self, what: &str, error: &io::Error, evidence: Option<&ExtendedError>) -> Failure {
        let phase = self.timeline.current().unwrap_or(Phase::Resolve);
        let said = evidence.and_then(|evidence| match evidence.origin {
            Origin::Icmp => Some(Evidence::Icmp { ty: evidence.ty, code: evidence.code }),
            Origin::Icmp6 => Some(Evidence::Icmp6 { ty: evidence.ty, code: evidence.code }),
            Origin::Local | Origin::Timestamping | Origin::Other(_) => None,
        });
        Failure {
            phase,
            reason: Reason::of_io_error(phase, error.raw_os_error(), said),
            detail: format!("{what}: {error}"),
            offender: said.and(evidence).and_then(|evidence| evidence.offender),
        }
    }

    /// Keeps who was asked for the name last: through the ISP, or as the kernel routes.
    pub fn asked(&self, server: IpAddr, through_isp: bool) {
        lock(&self.notes).asked = Some((server, through_isp));
    }

    /// That nothing came in time is our own fault where most of that time was ours: this program stood still, or had no processor. Where what
    /// was waited for came after the deadline, the network was late all the same.
    fn own_cause(&self, failure: Failure, timeline: &Timeline) -> Failure {
        let overhead = timeline.overhead().saturating_sub(self.deadline.elapsed());
        let in_time = timeline.last_arrival().is_none_or(|arrival| arrival <= self.deadline);
        if !failure.reason.is_silence() || !in_time || overhead < self.request.timeout / 2 {
            return failure;
        }
        let detail = format!("this program was kept from its work for {overhead:?}: {}", failure.detail);
        Failure { reason: Reason::ProberOverload, detail, offender: None, ..failure }
    }

    /// That nothing came, or that there is no way, is this host's own fault where its device is dead or its next hop is silent.
    fn local_cause(&self, failure: Failure) -> Failure {
        if !failure.reason.is_silence() {
            return failure;
        }
        let notes = lock(&self.notes);
        let phase = self.timeline.current().unwrap_or(failure.phase);
        let fault = match (phase, notes.asked, &notes.resolution) {
            (Phase::Resolve, Some((server, true)), _) => self.source().local_fault(server),
            (Phase::Resolve, Some((server, false)), _) => UNBOUND.local_fault(server),
            (Phase::Resolve, None, _) => None,
            (_, _, resolution) => {
                let target = resolution.as_ref().and_then(|resolution| resolution.address);
                notes.peer.or(target).and_then(|address| self.source().local_fault(address))
            }
        };
        let (reason, what) = match fault {
            Some(LocalFault::DeadLink(device)) => {
                (Reason::LocalLinkDown, format!("the interface {device} is down or has no carrier"))
            }
            // Where there is no way, no neighbour was asked.
            Some(LocalFault::SilentNeighbour(neighbour)) if failure.reason != Reason::UnroutableLocal => {
                (Reason::ArpUnresolved, format!("the next hop {neighbour} does not answer to its address"))
            }
            Some(LocalFault::SilentNeighbour(_)) | None => return failure,
        };
        Failure { reason, detail: format!("{what}: {}", failure.detail), offender: None, ..failure }
    }

    fn report(self, mut measurement: Measurement, failure: Option<Failure>) -> Report {
        let ended = Instant::now();
        let mut timeline = self.timeline.finish(ended);
        if failure.as_ref().is_some_and(|failure| failure.reason.is_of_this_host()) {
            timeline.nothing_left();
        }
        let failure = failure.map(|failure| self.local_cause(self.own_cause(failure, &timeline)));
        match &mut measurement {
            Measurement::Http(measured) => measured.share(&timeline),
            Measurement::Tcp(tcp::Measurement { traffic, .. })
            | Measurement::Dns(dns::Measurement { traffic, .. })
            | Measurement::Unix(unix::Measurement { traffic, .. })
            | Measurement::Grpc(grpc::Measurement { traffic, .. })
            | Measurement::Websocket(websocket::Measurement { traffic, .. }) => {
                *traffic = timeline.legs().find_map(|leg| leg.traffic);
            }
            Measurement::Icmp(_) | Measurement::Traceroute(_) => {}
        }
        let mut notes = self.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        if self.request.log_limit > 0 {
            let left_out = (notes.left_out > 0).then(|| format!("{} more lines are not kept", notes.left_out));
            // Why it failed is there however long the log is.
            let last = failure.as_ref().map(ToString::to_string);
            let lines = left_out.into_iter().chain(last);
            notes.log.extend(lines.map(|text| LogLine { at: ended - self.started, text }));
        }
        Report {
            target: self.request.module.prober.shown(&self.request.target),
            module: self.request.module.name.clone(),
            hostname: self.request.hostname.clone(),
            isp: self.request.isp.clone().filter(|_| self.request.module.prober.leaves_this_host()),
            started: self.started_wall,
            duration: ended - self.started,
            timeout: self.request.timeout,
            phases: timeline.phases(),
            overhead: timeline.overhead(),
            resolution: notes.target,
            measurement,
            failure,
            log: notes.log,
        }
    }
}

/// Measures until the deadline. What was measured before it is kept: it lives outside the future that is dropped.
async fn until_deadline<M>(
    probe: &Probe<'_>,
    mut measured: M,
    wrap: fn(M) -> Measurement,
    measure: impl AsyncFnOnce(&mut M) -> Result<(), Failure>,
) -> (Measurement, Option<Failure>) {
    let result = in_time(probe, caught(measure(&mut measured))).await;
    let failure = match result {
        Some(Ok(result)) => result.err(),
        Some(Err(panic)) => Some(probe.failure(Reason::ProberError, format!("the prober broke: {panic}"))),
        None => {
            probe.timeline.waited();
            Some(timed_out(probe))
        }
    };
    (wrap(measured), failure)
}

/// What comes of `work` until the deadline; nothing where it did not end. A success whose last word came later, by its stamp, is none.
///
/// A program that stood still finds the deadline over together with what arrived meanwhile, and may be told of the timer first (`epoll_wait`
/// ends with `EINTR` when a stopped process goes on). It then looks once more.
async fn in_time(
    probe: &Probe<'_>,
    work: impl Future<Output = Result<Result<(), Failure>, String>>,
) -> Option<Result<Result<(), Failure>, String>> {
    let mut work = pin!(work);
    let outcome = match timeout_at(probe.deadline.into(), work.as_mut()).await {
        Err(_) if probe.deadline.elapsed() > LATE => timeout(LOOK, work).await,
        outcome => outcome,
    };
    outcome.ok().filter(|outcome| {
        !matches!(outcome, Ok(Ok(()))) || probe.timeline.last_arrival().is_none_or(|arrival| arrival <= probe.deadline)
    })
}

/// By how much a timer is late when it is not the timer's precision (1 ms) nor a busy machine, but a program that stood still.
const LATE: Duration = Duration::from_millis(10);

/// How long a program that stood still looks for what came meanwhile: one turn of the reactor, whose timers have this precision.
const LOOK: Duration = Duration::from_millis(1);

/// Runs a future whose panic is an outcome: its message.
async fn caught<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // What a panic leaves half done is the measurement, which is reported as far as it got; locks recover by themselves.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                Poll::Ready(Err(text.unwrap_or_else(|| "without a word".to_owned())))
            }
        }
    })
    .await
}

/// Whether the target is spoken to over QUIC. Others, on the way, never are.
fn is_quic(probe: &Probe<'_>) -> bool {
    let over_quic = matches!(&probe.request.module.prober, Prober::Http(settings) if settings.http3.is_some());
    over_quic && lock(&probe.notes).aside.is_empty()
}

/// What it means that the deadline came in the running phase.
fn timed_out(probe: &Probe<'_>) -> Failure {
    let told = probe.timeline.told().unwrap_or(Phase::Resolve);
    let phase = probe.timeline.current().unwrap_or(told);
    let delivery = *lock(&probe.delivery);
    let (reason, what) = match phase {
        Phase::Resolve => (Reason::DnsTimeout, "no answer from the name servers"),
        Phase::Connect if !probe.request.module.prober.leaves_this_host() => {
            (Reason::ConnectionTimeout, "the listener did not accept what waits for it")
        }
        Phase::Connect if is_quic(probe) => (Reason::ConnectionTimeout, "no answer to the handshake of QUIC"),
        Phase::Connect => (Reason::ConnectionTimeout, "no answer to the SYN"),
        Phase::Tls | Phase::Legacy => (Reason::TlsTimeout, "the TLS handshake did not end"),
        Phase::Query | Phase::Processing if delivery == Delivery::Blocked => {
            (Reason::ConnectionWriteTimeout, "the server did not take all that was to be sent")
        }
        Phase::Query if delivery == Delivery::Unacknowledged => {
            (Reason::ConnectionWriteTimeout, "the server did not acknowledge what was sent")
        }
        Phase::Query if matches!(probe.request.module.prober, Prober::Dns(_)) => {
            (Reason::DnsTimeout, "no reply from the name server")
        }
        Phase::Query => (Reason::ConnectionReadTimeout, "the expected answer did not come"),
        Phase::Processing if delivery == Delivery::Unacknowledged => {
            (Reason::HttpResponseTimeout, "the server did not acknowledge the request")
        }
        Phase::Processing => (Reason::HttpResponseTimeout, "the response did not begin"),
        Phase::Transfer => (Reason::HttpResponseTimeout, "the response did not end"),
        Phase::Setup => (Reason::ProberError, "the sockets were not ready"),
        Phase::Interval | Phase::Rtt => (Reason::IcmpTimeout, "no echo reply"),
        Phase::Trace => (Reason::IcmpTimeout, "the destination did not answer"),
        Phase::Token => (Reason::HttpResponseTimeout, "another probe's fetch of it did not end"),
    };
    let whom: String = lock(&probe.notes).aside.iter().map(|whom| format!("{whom}: ")).collect();
    let detail = format!("{whom}{what} within {} s", probe.request.timeout.as_secs_f64());
    Failure { phase: told, ..probe.failure(reason, detail) }
}

/// Locks; a panic elsewhere leaves the data usable, since every change of it is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(timeout: Duration) -> Request {
        let config = crate::config::load_str("modules: {m: {prober: icmp}}", "test.yml").unwrap();
        Request {
            target: "192.0.2.1".to_owned(),
            module: Arc::clone(&config.modules["m"]),
            isp: None,
            hostname: None,
            timeout,
            log_limit: 0,
            network: Arc::default(),
        }
    }

    #[tokio::test]
    async fn a_panic_is_a_failed_probe_that_keeps_what_was_measured() {
        let request = request(Duration::from_secs(5));
        let probe = Probe::start(&request);
        let (measurement, failure) =
            until_deadline(&probe, icmp::Measurement::default(), Measurement::Icmp, async |measured| {
                measured.sent = 7;
                tokio::task::yield_now().await;
                panic!("no {}", "more")
            })
            .await;
        let report = probe.report(measurement, failure);
        let failure = report.failure.unwrap();
        assert_eq!((failure.reason, failure.detail.as_str()), (Reason::ProberError, "the prober broke: no more"));
        assert_eq!(report.measurement, Measurement::Icmp(icmp::Measurement { sent: 7, ..Default::default() }));
    }

    #[tokio::test]
    async fn the_deadline_keeps_what_was_measured() {
        let request = request(Duration::from_millis(20));
        let probe = Probe::start(&request);
        let (measurement, failure) =
            until_deadline(&probe, icmp::Measurement::default(), Measurement::Icmp, async |measured| {
                measured.sent = 7;
                std::future::pending().await
            })
            .await;
        assert_eq!(measurement, Measurement::Icmp(icmp::Measurement { sent: 7, ..Default::default() }));
        assert_eq!(failure.map(|failure| failure.reason), Some(Reason::DnsTimeout));
    }

    #[tokio::test]
    async fn of_a_long_log_the_beginning_is_kept_and_why_the_probe_failed() {
        let log_of = async |log_limit| {
            let request = Request { log_limit, ..request(Duration::from_secs(1)) };
            let probe = Probe::start(&request);
            for number in 0..100 {
                probe.note(format_args!("line {number:02}"));
            }
            let failure = probe.failure(Reason::IcmpTimeout, "nothing came");
            let Prober::Icmp(settings) = &request.module.prober else { panic!("{:?}", request.module) };
            let report = probe.report(Measurement::Icmp(icmp::Measurement::of(settings)), Some(failure));
            report.log.into_iter().map(|line| line.text).collect::<Vec<_>>()
        };
        let failed = "resolve failed: nothing came (icmp_timeout)";
        let room = 2 * (size_of::<LogLine>() + "line 00".len());
        assert_eq!(log_of(room).await, ["line 00", "line 01", "98 more lines are not kept", failed]);
        assert_eq!(log_of(1).await, ["100 more lines are not kept", failed]);
        assert_eq!(log_of(usize::MAX).await.len(), 101);
        assert_eq!(log_of(0).await, [""; 0]);
    }

    #[tokio::test]
    async fn a_probe_leaves_from_the_modules_own_address_unless_an_isp_is_named() {
        let text = "
isps: {a: {source_ip: 127.0.0.6}}
modules:
  tcp: {prober: tcp, tcp: {source_ip_address: 127.0.0.5}}
  half: {prober: tcp, tcp: {source_ip_address: 127.0.0.5, half_open: true}}
  half_raw: {prober: tcp, tcp: {source_ip_address: 127.0.0.5, half_open: true, raw: true}}
  icmp: {prober: icmp, icmp: {source_ip_address: 127.0.0.5}}
  trace: {prober: traceroute, traceroute: {source_ip_address: 127.0.0.5}}
  trace_udp: {prober: traceroute, traceroute: {source_ip_address: 127.0.0.5, protocol: udp}}
  trace_tcp: {prober: traceroute, traceroute: {source_ip_address: 127.0.0.5, protocol: tcp}}
";
        let config = crate::config::load_str(text, "test.yml").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for (name, module) in &config.modules {
            let target = match &module.prober {
                Prober::Tcp(_) => format!("localhost:{port}"),
                _ => "localhost".to_owned(),
            };
            for (isp, expected) in [(None, "127.0.0.5"), (Some("a"), "127.0.0.6")] {
                let isp = isp.map(|isp| Arc::clone(&config.isps[isp]));
                let (target, module) = (target.clone(), Arc::clone(module));
                let report = run(&Request { target, module, isp, ..request(Duration::from_secs(2)) }).await;
                if packets::tests::not_permitted(&report) {
                    continue;
                }
                // The name has an address of IPv6, too, which the source cannot reach.
                assert_eq!(report.failure, None, "{name}: {report:#?}");
                let told = match &report.measurement {
                    Measurement::Tcp(measured) => measured.handshake.local.map(|local| local.ip()),
                    Measurement::Icmp(measured) => measured.source,
                    Measurement::Traceroute(measured) => measured.source,
                    other => panic!("{other:?}"),
                };
                assert_eq!(told, expected.parse().ok(), "{name}");
                if name == "tcp" {
                    let (_, peer) = listener.accept().unwrap();
                    assert_eq!(peer.ip().to_string(), expected);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_target_of_another_family_than_the_modules_own_address_is_told_so() {
        let text = "modules: {m: {prober: tcp, tcp: {source_ip_address: 127.0.0.5}}}";
        let config = crate::config::load_str(text, "test.yml").unwrap();
        let target = "[::1]:80".to_owned();
        let module = Arc::clone(&config.modules["m"]);
        let request = Request { target, module, ..request(Duration::from_secs(2)) };
        let failure = run(&request).await.failure.unwrap();
        assert_eq!((failure.reason, failure.phase), (Reason::SourceAddressUnavailable, Phase::Resolve));
        assert!(failure.detail.contains("source_ip_address"), "{failure}");
    }
}
