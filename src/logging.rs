//! Logs on standard error, as logfmt or JSON.

use std::fmt::{self, Debug};

use clap::ValueEnum;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use uplink_exporter::server::PROBES;

/// How messages are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// key=value, as Prometheus does.
    Logfmt,
    /// A JSON object per line.
    Json,
}

/// Starts to log; a panic is logged too. What is about single probes is logged from `probes` on, if `level` lets it; what libraries say only
/// to who wants to know it in detail: some warn of every frame that a peer should not have sent.
pub(crate) fn start(level: Level, probes: LevelFilter, format: Format) {
    let level = LevelFilter::from_level(level);
    let libraries = if level >= LevelFilter::DEBUG { level } else { LevelFilter::OFF };
    let wanted = Targets::new()
        .with_default(libraries)
        .with_target(env!("CARGO_PKG_NAME"), level)
        .with_target(PROBES, level.min(probes));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).event_format(Lines(format));
    tracing_subscriber::registry().with(wanted).with(lines).init();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}

/// A line for each event: `time=… level=info msg="…" key=value`, or the same keys and values as an object.
struct Lines(Format);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        fields.add("time", time);
        fields.add("level", event.metadata().level().as_str().to_ascii_lowercase());
        fields.add("msg", String::new());
        event.record(&mut fields);
        match self.0 {
            Format::Logfmt => {
                for (n, (key, value)) in fields.0.iter().enumerate() {
                    let space = if n == 0 { "" } else { " " };
                    write!(writer, "{space}{key}={}", logfmt(value))?;
                }
                writeln!(writer)
            }
            // Keys are text and values are scalars: there is nothing that could fail.
            Format::Json => writeln!(writer, "{}", serde_json::to_string(&fields).unwrap_or_default()),
        }
    }
}

/// What an event says, in the order of its line.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// Adds a field; a message takes the place that was left for it.
    fn add(&mut self, key: &'static str, value: impl Into<Value>) {
        let key = if key == "message" { "msg" } else { key };
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value.into(),
            None => self.0.push((key, value.into())),
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, text: &str) {
        self.add(field.name(), text);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, debug: &dyn Debug) {
        self.add(field.name(), format!("{debug:?}"));
    }
}

/// A value, in quotes where it needs them.
fn logfmt(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let bare = |c: char| c.is_ascii_graphic() && c != '"' && c != '=' && c != '\\';
    if !text.is_empty() && text.chars().all(bare) { text } else { format!("{text:?}") }
}
