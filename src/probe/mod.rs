//! Probes: one target × one module × one ISP, once, ending in a report.

mod half_open_raw;
mod host;
pub mod http;
pub mod icmp;
mod packets;
pub mod resolve;
pub mod tcp;
pub mod traceroute;

use std::fmt;
use std::io;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::config::{Isp, Module};
use crate::flight::{Phase, Timeline};
use crate::net::sys::{ExtendedError, Origin};
use crate::net::{Network, SourceError};
use crate::verdict::{Evidence, Failure, Reason};

/// What a module measures. A new prober is one file and one line in each list.
#[derive(Debug)]
pub enum Prober {
    /// HTTP and HTTPS.
    Http(http::Settings),
    /// TCP, full or half open.
    Tcp(tcp::Settings),
    /// ICMP echo.
    Icmp(icmp::Settings),
    /// The path.
    Traceroute(traceroute::Settings),
}

impl Prober {
    /// The name in `prober:`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Icmp(_) => "icmp",
            Self::Traceroute(_) => "traceroute",
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
            Self::Traceroute(settings) => traceroute::check_target(settings, target),
        }
    }
}

/// What a probe measured, by prober.
#[derive(Debug, Clone, PartialEq)]
pub enum Measurement {
    /// See [`http::Measurement`].
    Http(http::Measurement),
    /// See [`tcp::Measurement`].
    Tcp(tcp::Measurement),
    /// See [`icmp::Measurement`].
    Icmp(icmp::Measurement),
    /// See [`traceroute::Measurement`].
    Traceroute(traceroute::Measurement),
}

/// One probe that is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is probed, as the module's prober understands it.
    pub target: String,
    /// How.
    pub module: Arc<Module>,
    /// Through whom; nothing leaves it to the kernel's routes.
    pub isp: Option<Arc<Isp>>,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether to keep a log for a person.
    pub debug: bool,
    /// The sockets of the process.
    pub network: Arc<Network>,
}

/// One finished probe: what was measured, however far it got, and why it got no further.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was probed.
    pub target: String,
    /// The module's name.
    pub module: String,
    /// Through whom.
    pub isp: Option<Arc<Isp>>,
    /// When it began.
    pub started: SystemTime,
    /// How long it took, by the wall.
    pub duration: Duration,
    /// How long it might have taken.
    pub timeout: Duration,
    /// The time in each phase that was reached, by the wire.
    pub phases: Vec<(Phase, Duration)>,
    /// The time that was our own.
    pub overhead: Duration,
    /// What the name became; nothing before a name was looked up.
    pub resolution: Option<resolve::Resolution>,
    /// What the prober measured.
    pub measurement: Measurement,
    /// Why it failed; nothing on success.
    pub failure: Option<Failure>,
    /// What happened, for a person; empty unless asked for.
    pub log: Vec<LogLine>,
}

impl Report {
    /// Whether the probe succeeded.
    #[must_use]
    pub fn success(&self) -> bool {
        self.failure.is_none()
    }
}

/// A line of a probe's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Since the start of the probe.
    pub at: Duration,
    /// What happened.
    pub text: String,
}

/// Runs a probe. It always ends in a report, within the request's timeout.
pub async fn run(request: &Request) -> Report {
    let probe = Probe::start(request);
    let (measurement, failure) = match &request.module.prober {
        Prober::Http(settings) => {
            until_deadline(&probe, Measurement::Http, async |m| http::measure(settings, &probe, m).await).await
        }
        Prober::Tcp(settings) => {
            until_deadline(&probe, Measurement::Tcp, async |m| tcp::measure(settings, &probe, m).await).await
        }
        Prober::Icmp(settings) => {
            until_deadline(&probe, Measurement::Icmp, async |m| icmp::measure(settings, &probe, m).await).await
        }
        Prober::Traceroute(settings) => {
            until_deadline(&probe, Measurement::Traceroute, async |m| traceroute::measure(settings, &probe, m).await)
                .await
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
}

/// What a probe collects on its way, whatever the prober.
#[derive(Debug, Default)]
struct Notes {
    log: Vec<LogLine>,
    resolution: Option<resolve::Resolution>,
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
        }
    }

    /// Adds a line to the log, where one is kept.
    pub fn note(&self, text: fmt::Arguments<'_>) {
        if self.request.debug {
            let line = LogLine { at: self.started.elapsed(), text: text.to_string() };
            lock(&self.notes).log.push(line);
        }
    }

    /// Keeps what the name became. A later one (a redirect) adds its time to the first.
    pub fn resolved(&self, resolution: resolve::Resolution) {
        lock(&self.notes).resolution = Some(resolution);
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
            SourceError::NotPermitted(..) => Reason::ProberConfigError,
            SourceError::Other(_, error) => Reason::of_io_error(Phase::Setup, error.raw_os_error(), None),
        };
        self.failure(reason, error.to_string())
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

    fn report(self, measurement: Measurement, failure: Option<Failure>) -> Report {
        let ended = Instant::now();
        let timeline = self.timeline.finish(ended);
        if let Some(failure) = &failure {
            self.note(format_args!("{failure}"));
        }
        let notes = self.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        Report {
            target: self.request.target.clone(),
            module: self.request.module.name.clone(),
            isp: self.request.isp.clone(),
            started: self.started_wall,
            duration: ended - self.started,
            timeout: self.request.timeout,
            phases: Phase::ALL.into_iter().filter_map(|phase| timeline.span(phase).map(|span| (phase, span))).collect(),
            overhead: timeline.overhead(),
            resolution: notes.resolution,
            measurement,
            failure,
            log: notes.log,
        }
    }
}

/// The timeline of a probe, shared with the sockets that feed it.
#[derive(Debug, Clone)]
pub struct SharedTimeline(Arc<Mutex<Timeline>>);

impl SharedTimeline {
    fn start(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Timeline::start(now))))
    }

    /// A phase begins now.
    pub fn enter(&self, phase: Phase) {
        lock(&self.0).enter(phase, Instant::now());
    }

    /// Something left, or was asked, at `at`.
    pub fn sent(&self, at: Instant) {
        lock(&self.0).sent(at);
    }

    /// Something arrived at `at`.
    pub fn received(&self, at: Instant) {
        lock(&self.0).received(at);
    }

    /// There is nothing to do but wait.
    pub fn waiting(&self, now: Instant) {
        lock(&self.0).waiting(now);
    }

    /// The phase that is running.
    #[must_use]
    pub fn current(&self) -> Option<Phase> {
        lock(&self.0).current()
    }

    fn finish(&self, now: Instant) -> Timeline {
        let mut timeline = lock(&self.0);
        timeline.finish(now);
        timeline.clone()
    }
}

/// Measures until the deadline. What was measured before it is kept: it lives outside the future that is dropped.
async fn until_deadline<M: Default>(
    probe: &Probe<'_>,
    wrap: fn(M) -> Measurement,
    measure: impl AsyncFnOnce(&mut M) -> Result<(), Failure>,
) -> (Measurement, Option<Failure>) {
    let mut measured = M::default();
    let result = tokio::time::timeout_at(probe.deadline.into(), measure(&mut measured)).await;
    let failure = match result {
        Ok(result) => result.err(),
        Err(_) => Some(timed_out(probe)),
    };
    (wrap(measured), failure)
}

/// What it means that the deadline came in the running phase.
fn timed_out(probe: &Probe<'_>) -> Failure {
    let phase = probe.timeline.current().unwrap_or(Phase::Resolve);
    let (reason, what) = match phase {
        Phase::Resolve => (Reason::DnsTimeout, "no answer from the name servers"),
        Phase::Connect => (Reason::ConnectionTimeout, "no answer to the SYN"),
        Phase::Tls => (Reason::TlsTimeout, "the TLS handshake did not end"),
        Phase::Query => (Reason::ConnectionReadTimeout, "the expected answer did not come"),
        Phase::Processing => (Reason::HttpResponseTimeout, "the response did not begin"),
        Phase::Transfer => (Reason::HttpResponseIncomplete, "the response did not end"),
        Phase::Setup => (Reason::ProberError, "the sockets were not ready"),
        Phase::Interval | Phase::Rtt => (Reason::IcmpTimeout, "no echo reply"),
        Phase::Trace => (Reason::DestinationNotReached, "the destination did not answer"),
    };
    probe.failure(reason, format!("{what} within {} s", probe.request.timeout.as_secs_f64()))
}

/// Locks; a panic elsewhere leaves the data usable, since every change of it is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
