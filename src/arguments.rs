//! The flags: blackbox_exporter's by their names, and our own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use uplink_exporter::config::parse_duration;

use crate::logging;

/// What is loaded where no file is named.
const CONFIG_FILE: &str = "probes.yml";

/// What is loaded instead, where only this is there.
const BLACKBOX_FILE: &str = "blackbox.yml";

/// Prometheus exporter that probes the outside world through each ISP uplink.
#[derive(Debug, Parser)]
#[command(version = VERSION, about, after_help = "A flag without a value is turned off again by its --no- form: --no-config.check.")]
pub(crate) struct Arguments {
    /// The configuration file [default: probes.yml, or, where there is only that, blackbox.yml].
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
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
    /// Where to listen; may be given several times. Without a host: on all interfaces, IPv4 and IPv6.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":9115", global = true)]
    pub(crate) listen_addresses: Vec<String>,
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
    #[arg(long = "log.prober", value_name = "LEVEL", default_value = "info", value_parser = parse_prober_level)]
    pub(crate) log_prober: LevelFilter,
    /// How messages are logged.
    #[arg(long = "log.format", value_name = "FORMAT", value_enum, default_value = "logfmt", global = true)]
    pub(crate) log_format: logging::Format,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a private internet with two ISPs, and serve an exporter in it.
    Demo,
    /// Make a private internet with two ISPs, and compare what every prober measures with what was injected.
    Selftest,
}

/// The version, and the commit where it is known.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("UPLINK_EXPORTER_OF_REVISION"));

impl Arguments {
    /// The configuration file.
    pub(crate) fn config_file(&self) -> &Path {
        let is_blackbox = || !Path::new(CONFIG_FILE).exists() && Path::new(BLACKBOX_FILE).exists();
        match &self.config_file {
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

    /// The web configuration, where there is one.
    pub(crate) fn web_config_file(&self) -> Option<&Path> {
        (!self.web_config_file.is_empty()).then(|| Path::new(&self.web_config_file))
    }
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

fn parse_prober_level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "none" => Ok(LevelFilter::OFF),
        text => text.parse::<Level>().map(Into::into).map_err(|_| "it is debug, info, warn, error or none".to_owned()),
    }
}
