//! A probe that is running, and the report that it ends in.

use std::fmt;
use std::future::pending;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::available_parallelism;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;
use tokio::task::JoinError;

use super::failed_flow::{self, Flows};
use super::plain::Delivery;
use super::way_out::Leaving;
use super::{
    LogLine, Measurement, Report, Request, SharedTimeline, dns, grpc, lock, resolve, stun, tcp, unix, websocket,
};
use crate::flight::Phase;
use crate::net::Source;
use crate::verdict::Failure;

/// How many threads compute at a time: what ends late must not take all processors, nor the threads that others need. Who waits for one says
/// that this program is what is late.
static COMPUTING: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, usize::from)));

/// A probe that is running: its request, and what it leaves behind however it ends.
#[derive(Debug)]
pub struct Probe<'a> {
    /// What was asked for.
    pub request: &'a Request,
    /// When it began.
    pub started: Instant,
    /// When it must have ended, but for the trace of its flow.
    pub deadline: Instant,
    /// When that must have ended, too.
    pub(super) end: Instant,
    /// Where its time goes.
    pub timeline: SharedTimeline,
    started_wall: SystemTime,
    pub(super) notes: Mutex<Notes>,
    /// What its last connection left, once that is gone.
    pub(super) delivery: Arc<Mutex<Delivery>>,
}

/// What a probe collects on its way, whatever the prober.
#[derive(Debug, Default)]
pub(super) struct Notes {
    log: Vec<LogLine>,
    /// Bytes of the log.
    log_size: usize,
    /// Lines that did not fit into the log: once one does not, none behind it is kept.
    left_out: usize,
    /// What the target's name became.
    target: Option<resolve::Resolution>,
    /// What the last name became: the target's, or one that it redirected to.
    pub(super) resolution: Option<resolve::Resolution>,
    /// The name server that was asked last, and whether through the ISP.
    pub(super) asked: Option<(IpAddr, bool)>,
    /// Who is talked to on the way to the target, and on whose behalf: a token server, by its proxy.
    pub(super) aside: Vec<String>,
    /// Where the last connection went, which need not be the target.
    pub(super) peer: Option<IpAddr>,
    /// Whether that is a proxy, so that what it acknowledges the server need not have.
    pub(super) through_proxy: bool,
    /// Whether a thread [computes](Probe::compute) what is waited for.
    pub(super) computing: bool,
    /// Whether the probe was cut while there was more to do than to wait: its peer says more than anybody can hear.
    pub(super) busy: bool,
    /// The way of the last connection.
    pub(super) leaving: Option<Leaving>,
    /// The flow of the last connection, and another one that was too slow, where they may be traced.
    pub(super) flows: Flows,
}

impl<'a> Probe<'a> {
    pub(super) fn start(request: &'a Request) -> Self {
        let started = Instant::now();
        let reserve = request.module.prober.tracing().map_or(Duration::ZERO, |_| failed_flow::reserve(request.timeout));
        Self {
            request,
            started,
            deadline: started + request.timeout - reserve,
            end: started + request.timeout,
            timeline: SharedTimeline::start(started),
            started_wall: SystemTime::now(),
            notes: Mutex::default(),
            delivery: Arc::default(),
        }
    }

    /// What follows it: it has the time that is left, a timeline of its own, and the rest of the log.
    pub(super) fn follower(&self) -> Self {
        let notes = lock(&self.notes);
        let notes = Notes { log_size: notes.log_size, left_out: notes.left_out, ..Notes::default() };
        Self {
            request: self.request,
            started: self.started,
            deadline: self.end,
            end: self.end,
            timeline: SharedTimeline::start(Instant::now()),
            started_wall: self.started_wall,
            notes: Mutex::new(notes),
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
    pub(super) async fn aside<T>(
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

    /// Has a thread of its own do what may take long, and has no turns: a search in megabytes. Where the probe is cut meanwhile, the thread
    /// still comes to its end, for nobody.
    pub(super) async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        lock(&self.notes).computing = true;
        // Nobody closes it.
        let thread = COMPUTING.acquire().await;
        let outcome = tokio::task::spawn_blocking(move || {
            let _thread = thread;
            work()
        });
        let outcome = outcome.await;
        lock(&self.notes).computing = false;
        match outcome.map_err(JoinError::try_into_panic) {
            Ok(outcome) => outcome,
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime shuts down, and everything with it.
            Err(Err(_)) => pending().await,
        }
    }

    /// Keeps where a connection goes.
    pub(super) fn talks_to(&self, peer: IpAddr) {
        let mut notes = lock(&self.notes);
        (notes.peer, notes.through_proxy) = (Some(peer), false);
    }

    /// Keeps that the last connection goes to a proxy.
    pub(super) fn talks_to_proxy(&self) {
        lock(&self.notes).through_proxy = true;
    }

    /// Keeps what the name became; that of somebody else than the target does not count.
    pub fn resolved(&self, resolution: resolve::Resolution) {
        let mut notes = lock(&self.notes);
        if notes.aside.is_empty() {
            notes.target.get_or_insert_with(|| resolution.clone());
            notes.resolution = Some(resolution);
        }
    }

    /// Keeps who was asked for the name last: through the ISP, or as the kernel routes.
    pub fn asked(&self, server: IpAddr, through_isp: bool) {
        lock(&self.notes).asked = Some((server, through_isp));
    }

    pub(super) fn report(&self, mut measurement: Measurement, failure: Option<Failure>) -> Report {
        let ended = Instant::now();
        let mut timeline = self.timeline.finish(ended);
        if failure.as_ref().is_some_and(|failure| failure.reason.is_of_this_host()) {
            timeline.nothing_left();
        }
        let failure = failure.map(|failure| self.own_cause(self.local_cause(failure), &timeline));
        let trace = match &measurement {
            Measurement::Traceroute(measured) => Some(measured),
            _ => None,
        };
        let (way_out, wrong_way) = self.way_out(trace);
        // What this host could not do says nothing of its way; all else that failed did so on a wrong one.
        let failure = match failure {
            Some(failure) if failure.reason.is_of_this_host() => Some(failure),
            failure => wrong_way.or(failure),
        };
        match &mut measurement {
            Measurement::Http(measured) => measured.share(&timeline),
            Measurement::Tcp(tcp::Measurement { traffic, .. })
            | Measurement::Dns(dns::Measurement { traffic, .. })
            | Measurement::Unix(unix::Measurement { traffic, .. })
            | Measurement::Grpc(grpc::Measurement { traffic, .. })
            | Measurement::Websocket(websocket::Measurement { traffic, .. })
            | Measurement::Stun(stun::Measurement { traffic, .. }) => {
                *traffic = timeline.legs().find_map(|leg| leg.traffic);
            }
            Measurement::Icmp(_) | Measurement::Traceroute(_) | Measurement::Egress(_) => {}
        }
        // Why it failed is there however long the log is.
        let log = self.take_log(failure.as_ref().map(ToString::to_string));
        let resolution = lock(&self.notes).target.take();
        Report {
            target: self.request.module.prober.shown(&self.request.target),
            module: self.request.module.name.clone(),
            hostname: self.request.hostname.clone(),
            isp: self.request.uplink().cloned(),
            started: self.started_wall,
            duration: ended - self.started,
            timeout: self.request.timeout,
            phases: timeline.phases(),
            overhead: timeline.overhead(),
            resolution,
            way_out,
            measurement,
            failure,
            failed_flow: None,
            log,
        }
    }

    /// The log, how much of it was not kept, and a last line.
    pub(super) fn take_log(&self, last: Option<String>) -> Vec<LogLine> {
        let mut notes = lock(&self.notes);
        let mut log = std::mem::take(&mut notes.log);
        if self.request.log_limit > 0 {
            let left_out = (notes.left_out > 0).then(|| format!("{} more lines are not kept", notes.left_out));
            let lines = left_out.into_iter().chain(last);
            log.extend(lines.map(|text| LogLine { at: self.started.elapsed(), text }));
        }
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Namespace;
    use crate::probe::{Isp, icmp, testing};
    use crate::verdict::Reason;

    /// A device that is dead explains all of the silence, a program that stood still only a part of it.
    #[test]
    fn a_dead_device_is_told_before_a_program_that_stood_still() {
        // In a network of its own, loopback is down.
        let namespace = match Namespace::create("dead", || Ok(())) {
            Ok((namespace, ())) => namespace,
            Err(why) => return crate::testing::skip(&why.to_string()),
        };
        let reason = |by_device: bool| {
            let request = testing::configured("{prober: tcp}", "192.0.2.1:80", Duration::from_millis(40));
            let source = Source { interface: Some("lo".into()), ..Source::default() };
            let request = Request { isp: Some(Arc::new(Isp { source, ..Isp::default() })), ..request };
            let probe = Probe::start(&request);
            std::thread::sleep(Duration::from_millis(30));
            probe.timeline.enter(Phase::Connect);
            if by_device {
                probe.talks_to([192, 0, 2, 1].into());
            }
            let failure = probe.failure(Reason::ConnectionTimeout, "no answer to the SYN");
            let report = probe.report(Measurement::Tcp(tcp::Measurement::default()), Some(failure));
            report.failure.unwrap().reason
        };
        let told = namespace.run(|| [true, false].map(reason)).unwrap();
        assert_eq!(told, [Reason::LocalLinkDown, Reason::ProberOverload]);
    }

    #[tokio::test]
    async fn of_a_long_log_the_beginning_is_kept_and_why_the_probe_failed() {
        let log_of = async |log_limit| {
            let request = testing::configured("{prober: icmp}", "192.0.2.1", Duration::from_secs(1));
            let request = Request { log_limit, ..request };
            let probe = Probe::start(&request);
            for number in 0..100 {
                probe.note(format_args!("line {number:02}"));
            }
            let failure = probe.failure(Reason::IcmpTimeout, "nothing came");
            let report = probe.report(Measurement::Icmp(icmp::Measurement::default()), Some(failure));
            report.log.into_iter().map(|line| line.text).collect::<Vec<_>>()
        };
        let failed = "resolve failed: nothing came (icmp_timeout)";
        let room = 2 * (size_of::<LogLine>() + "line 00".len());
        assert_eq!(log_of(room).await, ["line 00", "line 01", "98 more lines are not kept", failed]);
        assert_eq!(log_of(1).await, ["100 more lines are not kept", failed]);
        assert_eq!(log_of(usize::MAX).await.len(), 101);
        assert_eq!(log_of(0).await, [""; 0]);
    }
}
