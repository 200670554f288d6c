//! `probe`: one probe, without a server.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};
use tracing::{Level, info};
use uplink_exporter::config::{self, Ask, Binding, Choice, Through};
use uplink_exporter::net::{Network, linger};
use uplink_exporter::probe::{Outcome, Prober, Report, Request, Wanted};
use uplink_exporter::server::{self, PROBES};
use uplink_exporter::{metrics, render};

use crate::arguments::{Output, Probe};

/// How long a probe may take where nobody says it: Prometheus' own default for a scrape.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The exit code where there was no probe: wrong use, a wrong configuration, nowhere to print it. clap's, too.
const NO_PROBE: u8 = 2;

/// What a shell says of a program that a signal ended: this, and the signal's number.
const SIGNALLED: u8 = 128;

/// How often is looked whether anything of a probe is left.
const TICK: Duration = Duration::from_millis(10);

/// Runs the probe, and prints what it measured.
#[expect(clippy::print_stderr, reason = "what is wrong is for the person who asked")]
pub(crate) fn run(asked: &Probe, config_file: &Path) -> ExitCode {
    match attempt(asked, config_file) {
        Ok(code) => code,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::from(NO_PROBE)
        }
    }
}

fn attempt(asked: &Probe, config_file: &Path) -> Result<ExitCode, String> {
    let has_place = matches!(asked.output, Output::Text | Output::Json);
    if asked.debug && !has_place {
        let what = if asked.output == Output::Mtr { "mtr has" } else { "metrics have" };
        return Err(format!("{what} no place for what --debug tells; use --output=text or json"));
    }
    let config = config::load_for(config_file, &asked.module).map_err(|errors| errors.to_string())?;
    let Probe { target, module, isp, hostname, .. } = asked;
    let ask = Ask { target, module: Some(module), isp: isp.as_deref(), hostname: hostname.as_deref() };
    let Choice { module, through, isps, hostname } = config.choose(&ask).map_err(|rejection| rejection.sentence)?;
    let with_log = asked.debug || tracing::enabled!(target: PROBES, Level::DEBUG);
    if asked.output == Output::Mtr && !matches!(module.prober, Prober::Traceroute(_)) {
        let prober = module.prober.name();
        return Err(format!("--output=mtr tells a trace, and the module's prober is {prober}"));
    }
    let (network, identities) = (Arc::new(Network::new()), Arc::default());
    let request = |Binding { isp, zoned }| Request {
        target: target.clone(),
        timeout: asked.timeout.or(module.timeout).unwrap_or(TIMEOUT),
        module: Arc::clone(&module),
        isp,
        zoned,
        isps: Arc::clone(&isps),
        hostname: hostname.clone(),
        log_limit: if with_log { server::WANTED_LOG } else { 0 },
        network: Arc::clone(&network),
        identities: Arc::clone(&identities),
    };
    let wanted = match through {
        Through::One(binding) => Wanted::One(request(binding)),
        Through::Compared(_) if asked.output == Output::Mtr => {
            return Err("--output=mtr tells one trace, and not those of several ISPs".to_owned());
        }
        Through::Compared(bindings) => Wanted::Several(bindings.into_iter().map(request).collect()),
    };
    drop(network);
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let code = runtime.block_on(probe(wanted, asked));
    // Dropping the runtime would wait for whatever blocks one of its threads.
    runtime.shutdown_background();
    code
}

/// Runs the probe until it ends, or a signal ends it, which closes its sockets.
async fn probe(wanted: Wanted, asked: &Probe) -> Result<ExitCode, String> {
    let mut signals = Signals::catch().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let code = tokio::select! {
        outcome = wanted.run() => {
            // For a person the text says it all.
            if asked.output != Output::Text {
                outcome.reports().iter().for_each(server::log);
            }
            print(&told(&outcome, &wanted, asked)).map_err(|error| format!("the result cannot be written: {error}"))?;
            if outcome.reports().iter().all(Report::success) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        number = signals.next() => {
            info!("the probe was ended by signal {number}");
            ExitCode::from(SIGNALLED + number)
        }
    };
    tokio::select! {
        () = let_go(wanted) => {}
        _ = signals.next() => {}
    }
    Ok(code)
}

/// The signals that end a probe.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        let kind = tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        };
        kind.as_raw_value() as u8
    }
}

/// What came of it, as it was asked for.
fn told(outcome: &Outcome, wanted: &Wanted, asked: &Probe) -> String {
    let families = || metrics::of_outcome(outcome);
    match asked.output {
        Output::Text => render::people(outcome, wanted.requests().iter().map(Request::source), asked.debug),
        Output::Metrics => render::text(&families()),
        Output::Openmetrics => render::openmetrics(&families()),
        Output::Json => render::json(outcome, asked.debug),
        Output::Mtr => {
            let trace = outcome.reports().first().and_then(|report| render::mtr(report, &server::hostname()));
            trace.unwrap_or_default()
        }
    }
}

/// Prints; who has closed standard output wants no more of it.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Waits for what must outlive the probe, so that what still comes for it is not answered through another ISP.
async fn let_go(wanted: Wanted) {
    // The tasks that read its sockets end with it.
    drop(wanted);
    let tasks = Handle::current().metrics();
    let ended = async {
        while tasks.num_alive_tasks() > 0 {
            sleep(TICK).await;
        }
    };
    let _ = timeout(linger::LINGER, ended).await;
}
