//! The command line.

mod logging;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use uplink_exporter::config::{self, Store, parse_duration};
use uplink_exporter::server::{self, State};
use uplink_exporter::{lab, net};

/// Prometheus exporter that probes the outside world through each ISP uplink.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The configuration file.
    #[arg(long = "config.file", value_name = "FILE", default_value = "probes.yml")]
    config_file: PathBuf,
    /// Load the configuration, tell every error in it, and exit.
    #[arg(long = "config.check")]
    config_check: bool,
    /// Where to listen; may be given several times. Without a host: on all interfaces, IPv4 and IPv6.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":9115", global = true)]
    listen_addresses: Vec<String>,
    /// How long running probes may take to end after SIGTERM.
    #[arg(long = "web.shutdown-grace", value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    shutdown_grace: Duration,
    /// Seconds that a probe leaves of the scrape's timeout for its answer to get back.
    #[arg(long = "timeout-offset", value_name = "SECONDS", default_value = "0.5", value_parser = parse_seconds)]
    timeout_offset: Duration,
    /// The least important messages that are logged: error, warn, info, debug or trace.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", global = true)]
    log_level: tracing::Level,
    /// How messages are logged.
    #[arg(long = "log.format", value_name = "FORMAT", value_enum, default_value = "logfmt", global = true)]
    log_format: logging::Format,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a private internet with two ISPs, and serve an exporter in it.
    Demo,
    /// Make a private internet with two ISPs, and compare what every prober measures with what was injected.
    Selftest,
}

/// How long what was cut may take to close its sockets, before the process ends and the kernel closes them.
const LETTING_GO: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(arguments.log_level, arguments.log_format);
    match &arguments.command {
        Some(command) => laboratory(command, &arguments),
        None if arguments.config_check => check(&arguments.config_file),
        None => serve(&arguments),
    }
}

/// What runs in the emulated internet.
fn laboratory(command: &Command, arguments: &Arguments) -> ExitCode {
    // While this thread is the only one: a user namespace is made by a process of one thread.
    let done = lab::enter_user_namespace().map_err(io::Error::other).and_then(|()| match command {
        Command::Demo => lab::demo::run(&arguments.listen_addresses, &mut io::stdout()).map(|()| true),
        Command::Selftest => lab::selftest::run(&mut io::stdout()),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, clippy::print_stdout, reason = "for the person who asked")]
fn check(file: &Path) -> ExitCode {
    match config::load(file) {
        Ok(config) => {
            println!("{}: ok: {} modules, {} ISPs", file.display(), config.modules.len(), config.isps.len());
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "errors of the configuration are for people, one to a line")]
fn serve(arguments: &Arguments) -> ExitCode {
    match net::sys::raise_descriptor_limit() {
        Ok(limit) => info!(limit, "descriptors"),
        Err(error) => warn!("the limit of open descriptors stays as it is: {error}"),
    }
    let store = match Store::open(&arguments.config_file) {
        Ok(store) => store,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let served = runtime.block_on(listen_and_serve(arguments, store));
    // Dropping the runtime would wait for whatever blocks one of its threads, a configuration on a file system that hangs, say.
    runtime.shutdown_timeout(LETTING_GO);
    match served {
        Ok(()) => {
            info!("ended");
            ExitCode::SUCCESS
        }
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn listen_and_serve(arguments: &Arguments, store: Store) -> io::Result<()> {
    // Before anything that says that we are there: a signal must not kill what has begun to serve.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hang_up = signal(SignalKind::hangup())?;
    let mut listeners = Vec::new();
    for address in &arguments.listen_addresses {
        let listener = TcpListener::from_std(server::listen(address)?)?;
        info!(address = %listener.local_addr()?, "listening");
        listeners.push(listener);
    }
    let state = State::new(store, Arc::default(), arguments.timeout_offset);
    tokio::spawn(reload_on(hang_up, Arc::clone(&state)));
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM: no more connections, running probes may end"),
            _ = interrupt.recv() => info!("SIGINT: no more connections, running probes may end"),
        }
    };
    server::run(listeners, state, shutdown, arguments.shutdown_grace).await;
    Ok(())
}

async fn reload_on(mut hang_up: Signal, state: Arc<State>) {
    while hang_up.recv().await.is_some() {
        match state.reload().await {
            Ok(()) => info!("SIGHUP: the configuration was loaded again"),
            Err(errors) => {
                for problem in &errors.0 {
                    error!("SIGHUP: the configuration in force stays: {problem}");
                }
            }
        }
    }
}

/// Seconds as a number, as blackbox_exporter takes its offset.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "it is a number of seconds, 0 or more".to_owned())
}
