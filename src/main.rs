//! The command line.

mod arguments;
mod logging;
mod once;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};

use arguments::{Arguments, Command};
use uplink_exporter::config::{self, Errors, Store, WebFile};
use uplink_exporter::reflect::{self, Reflector};
use uplink_exporter::server::{self, Guard, Listener, Options, Place, State};
use uplink_exporter::{lab, net};

/// How long what was cut may take to close its sockets, before the process ends and the kernel closes them.
const LETTING_GO: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let probers = arguments.prober_level();
    logging::start(arguments.log_level, probers.unwrap_or(LevelFilter::INFO), arguments.log_format);
    if probers.is_none() {
        let known = "debug, info, warn, error or none";
        warn!("--log.prober is {known}, not {:?}; it is info now, as by blackbox_exporter", arguments.log_prober);
    }
    match &arguments.command {
        Some(Command::Probe(probe)) => once::run(probe, arguments.config_file()),
        Some(Command::Demo(_)) => {
            let addresses = arguments.listen_addresses();
            laboratory(|own_user| lab::demo::run(&addresses, own_user, &mut io::stdout()).map(|()| true))
        }
        Some(Command::Reflect(reflect)) => serve_reflector(reflect.options()),
        Some(Command::Selftest) => laboratory(|_| lab::selftest::run(&mut io::stdout())),
        None if arguments.config_check => check(&arguments),
        None => serve(&arguments),
    }
}

/// What runs in the emulated internet; it is told whether it does so in a user namespace of its own.
fn laboratory(run: impl FnOnce(bool) -> io::Result<bool>) -> ExitCode {
    // While this thread is the only one: a user namespace is made by a process of one thread.
    let done = lab::enter_user_namespace().map_err(io::Error::other).and_then(run);
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
fn check(arguments: &Arguments) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let file = arguments.config_file();
    match config::load(file) {
        Ok(config) => {
            println!("{}: ok: {} modules, {} ISPs", file.display(), config.modules.len(), config.isps.len());
        }
        Err(errors) => {
            eprintln!("{errors}");
            code = ExitCode::FAILURE;
        }
    }
    if let Some(file) = arguments.web_config_file() {
        match WebFile::open(file) {
            Ok((_, web)) => {
                let tls = if web.tls.is_some() { "TLS" } else { "no TLS" };
                println!("{}: ok: {tls}, {} users", file.display(), web.users.len());
            }
            Err(errors) => {
                eprintln!("{errors}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

#[expect(clippy::print_stderr, reason = "errors of the configuration are for people, one to a line")]
fn serve(arguments: &Arguments) -> ExitCode {
    match net::sys::raise_descriptor_limit() {
        Ok(limit) => info!(limit, "descriptors"),
        Err(error) => warn!("the limit of open descriptors stays as it is: {error}"),
    }
    let place = match Place::new(&arguments.external_url, &arguments.route_prefix) {
        Ok(place) => place,
        Err(sentence) => {
            error!("--web.external-url or --web.route-prefix: {sentence}");
            return ExitCode::FAILURE;
        }
    };
    let options = Options { timeout_offset: arguments.timeout_offset, history_limit: arguments.history_limit, place };
    let opened = Store::open(arguments.config_file());
    let (store, guard) = match (opened, Guard::open(arguments.web_config_file())) {
        (Ok(store), Ok(guard)) => (store, guard),
        (store, guard) => {
            for errors in [store.err(), guard.err()].into_iter().flatten() {
                eprintln!("{errors}");
            }
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
    let served = runtime.block_on(listen_and_serve(arguments, store, guard, options));
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

/// Tells callers their addresses until a signal ends it.
fn serve_reflector(options: reflect::Options) -> ExitCode {
    if let Err(error) = net::sys::raise_descriptor_limit() {
        warn!("the limit of open descriptors stays as it is: {error}");
    }
    let served = tokio::runtime::Builder::new_multi_thread().enable_all().build().and_then(|runtime| {
        runtime.block_on(async {
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let reflector = Reflector::open(&options)?;
            for listening in reflector.listening() {
                info!(address = %listening.address, "listening for {}", listening.protocol);
            }
            let shutdown = async {
                tokio::select! {
                    _ = terminate.recv() => info!("SIGTERM: no more requests"),
                    _ = interrupt.recv() => info!("SIGINT: no more requests"),
                }
            };
            reflector.run(shutdown).await;
            Ok(())
        })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn listen_and_serve(arguments: &Arguments, store: Store, guard: Guard, options: Options) -> io::Result<()> {
    // Before anything that says that we are there: a signal must not kill what has begun to serve.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hang_up = signal(SignalKind::hangup())?;
    let listeners = if arguments.systemd_socket {
        server::handed_over()?
    } else {
        let listen =
            |address: &String| TcpListener::from_std(server::listen(address, server::LISTEN_FLAG)?).map(Listener::Tcp);
        arguments.listen_addresses().iter().map(listen).collect::<io::Result<Vec<_>>>()?
    };
    for listener in &listeners {
        info!(address = %listener, "listening");
    }
    let state = State::new(store, guard, Arc::default(), options);
    tokio::spawn(reload_on(hang_up, Arc::clone(&state)));
    if arguments.enable_auto_reload {
        tokio::spawn(reload_every(arguments.auto_reload_interval, Arc::clone(&state)));
    }
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
        tell("SIGHUP", state.reload().await);
    }
}

/// Loads the configuration again whenever its files have changed, by their contents: a link that leads elsewhere is seen, too.
async fn reload_every(interval: Duration, state: Arc<State>) {
    let mut ticks = tokio::time::interval(interval);
    // A file system that hung is not asked again for all the time.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if state.changed().await {
            tell("auto-reload", state.reload().await);
        }
    }
}

/// Logs how a reload ended.
fn tell(cause: &str, reloaded: Result<(), Errors>) {
    match reloaded {
        Ok(()) => info!("{cause}: the configuration was loaded again"),
        Err(errors) => {
            for problem in &errors.0 {
                error!("{cause}: the configuration in force stays: {problem}");
            }
        }
    }
}
