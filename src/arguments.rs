//! The flags: blackbox_exporter's by their names, and our own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use uplink_exporter::config::{DEFAULT_MODULE, parse_duration};
use uplink_exporter::path::Prefix;
use uplink_exporter::reflect::Options;
use uplink_exporter::wire;

use crate::logging;

/// What is loaded where no file is named.
const CONFIG_FILE: &str = "probes.yml";

/// What is loaded instead, where only this is there.
const BLACKBOX_FILE: &str = "blackbox.yml";

/// Where is listened where no address is named.
const LISTEN_ADDRESS: &str = ":9115";

/// Prometheus exporter that probes the outside world through each ISP uplink.
#[derive(Debug, Parser)]
#[command(version = VERSION, about, after_help = "A flag without a value is turned off again by its --no- form: --no-config.check.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Load the configuration, tell every error in it, and exit.
    #[arg(long = "config.check", overrides_with = "no_config_check")]
    pub(crate) config_check: bool,
    #[arg(long = "no-config.check", id = "no_config_check", hide = true, overrides_with = "config_check")]
    _no_config_check: bool,
    /// Load the configuration again when its file, or one that it names, has another content.
    #[arg(long = "config.enable-auto-reload", overrides_with = "no_enable_auto_reload")]
    pub(crate) enable_auto_reload: bool,
    #[arg(
        long = "no-config.enable-auto-reload",
        id = "no_enable_auto_reload",
        hide = true,
        overrides_with = "enable_auto_reload"
    )]
    _no_enable_auto_reload: bool,
    /// How often they are looked at: seconds, or a duration.
    #[arg(long = "config.auto-reload-interval", value_name = "INTERVAL", default_value = "30", value_parser = parse_interval)]
    pub(crate) auto_reload_interval: Duration,
    #[command(flatten)]
    listen: Listen,
    /// Take the sockets that systemd hands over, instead of listening on addresses.
    #[arg(long = "web.systemd-socket", overrides_with = "no_systemd_socket")]
    pub(crate) systemd_socket: bool,
    #[arg(long = "no-web.systemd-socket", id = "no_systemd_socket", hide = true, overrides_with = "systemd_socket")]
    _no_systemd_socket: bool,
    /// The web configuration: TLS, users, headers, rate limit. Without one everybody may come in.
    #[arg(long = "web.config.file", value_name = "FILE", default_value = "", hide_default_value = true)]
    web_config_file: OsString,
    /// The URL, or its path, by which a reverse proxy makes this reachable; `/` redirects there.
    #[arg(long = "web.external-url", value_name = "URL", default_value = "", hide_default_value = true)]
    pub(crate) external_url: String,
    /// The path that all pages are below [default: the path of --web.external-url].
    #[arg(long = "web.route-prefix", value_name = "PATH", default_value = "", hide_default_value = true)]
    pub(crate) route_prefix: String,
    /// How long running probes may take to end after SIGTERM.
    #[arg(long = "web.shutdown-grace", value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub(crate) shutdown_grace: Duration,
    /// Seconds that a probe leaves of the scrape's timeout for its answer to get back.
    #[arg(long = "timeout-offset", value_name = "SECONDS", default_value = "0.5", value_parser = parse_seconds)]
    pub(crate) timeout_offset: Duration,
    /// How many of the latest probes /logs tells of, and how many of the failed ones before them; 0 keeps none.
    #[arg(long = "history.limit", value_name = "COUNT", default_value_t = 100)]
    pub(crate) history_limit: usize,
    /// The least important messages that are logged: error, warn, info, debug or trace.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", global = true)]
    pub(crate) log_level: Level,
    /// The least important messages about single probes that are logged, if --log.level lets them: debug (all they did), info (why they
    /// failed), warn or error (that this host could not make them), none.
    #[arg(long = "log.prober", value_name = "LEVEL", default_value = "info", global = true)]
    pub(crate) log_prober: String,
    /// How messages are logged.
    #[arg(long = "log.format", value_name = "FORMAT", value_enum, default_value = "logfmt", global = true)]
    pub(crate) log_format: logging::Format,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What those take who have a configuration.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file [default: probes.yml, or, where there is only that, blackbox.yml].
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
}

/// What those take who listen.
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Where to listen; may be given several times. Without a host: on all interfaces, IPv4 and IPv6 [default: :9115].
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    listen_addresses: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one probe, without a server, and print what it measured.
    #[command(after_help = "It exits with 0 after a success, with 1 after a failure, with 2 where there was no probe.")]
    Probe(Probe),
    /// Make a private internet with two ISPs, and serve an exporter in it.
    Demo(Listen),
    /// Tell callers, over HTTP and STUN, which address they come from: what SNAT makes of theirs.
    #[command(
        after_help = "Without an address of either, it listens on :8080 for HTTP and on :3478 for STUN; with one, only there."
    )]
    Reflect(Reflect),
    /// Make a private internet with two ISPs, and compare what every prober measures with what was injected.
    Selftest,
}

/// The flags of `probe`.
#[derive(Debug, Args)]
pub(crate) struct Probe {
    #[command(flatten)]
    config: ConfigFile,
    /// How to probe: a module of the configuration.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_MODULE)]
    pub(crate) module: String,
    /// Through whom: an ISP of the configuration; several with commas between them, or all, are compared [default: the module's; without one the kernel routes as it likes].
    #[arg(long, value_name = "NAME")]
    pub(crate) isp: Option<String>,
    /// How long it may take [default: the module's timeout; 10s where it has none].
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub(crate) timeout: Option<Duration>,
    /// The name by which the server is asked, where TARGET is an address, say.
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// What is printed.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub(crate) output: Output,
    /// Print all that it did, too: with text and JSON.
    #[arg(long)]
    pub(crate) debug: bool,
    /// What to probe, as the module's prober takes it: a URL, host:port, a host.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) target: String,
}

/// The flags of `reflect`.
#[derive(Debug, Args)]
pub(crate) struct Reflect {
    /// Where to tell it over HTTP; may be given several times. Without a host: on all interfaces, IPv4 and IPv6.
    #[arg(long = "listen-http", value_name = "ADDRESS")]
    http: Vec<String>,
    /// Where to tell it by STUN, over UDP and TCP; may be given several times.
    #[arg(long = "listen-stun", value_name = "ADDRESS")]
    stun: Vec<String>,
    /// A proxy, or a network of them, whose X-Forwarded-For is believed; may be given several times.
    #[arg(long = "trusted-proxy", value_name = "PREFIX")]
    trusted: Vec<Prefix>,
}

/// What is printed of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For a person.
    Text,
    /// Prometheus' text format 0.0.4.
    Metrics,
    /// OpenMetrics 1.0.
    Openmetrics,
    /// The whole report.
    Json,
    /// A trace as mtr --json tells it.
    Mtr,
}

/// The version, and the commit where it is known.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("UPLINK_EXPORTER_OF_REVISION"));

impl Arguments {
    /// What the command line says; ends the program where that is wrong, or a question.
    pub(crate) fn read() -> Self {
        let mut known = Self::command();
        let matches = known.get_matches_mut();
        if let Some(error) = misplaced(&mut known, &matches) {
            error.exit();
        }
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// What is logged of single probes; nothing where the word is not known.
    pub(crate) fn prober_level(&self) -> Option<LevelFilter> {
        match self.log_prober.as_str() {
            "none" => Some(LevelFilter::OFF),
            text => text.parse::<Level>().ok().map(Into::into),
        }
    }

    /// The configuration file.
    pub(crate) fn config_file(&self) -> &Path {
        let of_probe = match &self.command {
            Some(Command::Probe(probe)) => probe.config.config_file.as_deref(),
            Some(Command::Demo(_) | Command::Reflect(_) | Command::Selftest) | None => None,
        };
        let is_blackbox = || !Path::new(CONFIG_FILE).exists() && Path::new(BLACKBOX_FILE).exists();
        match of_probe.or(self.config.config_file.as_deref()) {
            Some(file) => file,
            None if is_blackbox() => {
                tracing::info!(
                    "without --config.file: there is no {CONFIG_FILE} here, but a {BLACKBOX_FILE}, which is loaded"
                );
                Path::new(BLACKBOX_FILE)
            }
            None => Path::new(CONFIG_FILE),
        }
    }

    /// Where to listen.
    pub(crate) fn listen_addresses(&self) -> Vec<String> {
        let of_demo = match &self.command {
            Some(Command::Demo(listen)) => listen.listen_addresses.as_slice(),
            Some(Command::Probe(_) | Command::Reflect(_) | Command::Selftest) | None => &[],
        };
        let addresses = [&self.listen.listen_addresses, of_demo].concat();
        if addresses.is_empty() { vec![LISTEN_ADDRESS.to_owned()] } else { addresses }
    }

    /// The web configuration, where there is one.
    pub(crate) fn web_config_file(&self) -> Option<&Path> {
        (!self.web_config_file.is_empty()).then(|| Path::new(&self.web_config_file))
    }
}

impl Reflect {
    /// What they ask for.
    pub(crate) fn options(&self) -> Options {
        let Self { http, stun, trusted } = self;
        let mut options = Options { http: http.clone(), stun: stun.clone(), trusted: trusted.clone() };
        if http.is_empty() && stun.is_empty() {
            options.http.push(":8080".to_owned());
            options.stun.push(format!(":{}", wire::stun::PORT));
        }
        options
    }
}

/// A flag that stands before a subcommand that does not take it: it would change nothing.
fn misplaced(known: &mut clap::Command, matches: &clap::ArgMatches) -> Option<clap::Error> {
    let (name, _) = matches.subcommand()?;
    let taken = known.find_subcommand(name)?;
    let flag = known
        .get_arguments()
        .filter(|flag| matches.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine))
        .find(|flag| taken.get_arguments().all(|other| other.get_id() != flag.get_id()))?;
    let message = format!("the argument '--{}' cannot be used with '{name}'", flag.get_long().unwrap_or_default());
    Some(known.error(ErrorKind::ArgumentConflict, message))
}

/// Seconds as a number, as blackbox_exporter takes its offset.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "it is a number of seconds, 0 or more".to_owned())
}

/// Whole seconds, as blackbox_exporter takes its interval, or a duration.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map(Duration::from_secs);
    let interval =
        seconds.or_else(|_| parse_duration(text)).map_err(|_| "it is 30, in seconds, or 30s, 5m".to_owned())?;
    if interval < Duration::from_secs(1) {
        return Err("it is a second or more".to_owned());
    }
    Ok(interval)
}

/// A duration that a probe could end within.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    if timeout < Duration::from_millis(1) {
        return Err("no probe ends within less than 1ms".to_owned());
    }
    Ok(timeout)
}
