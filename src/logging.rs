//! Logs on standard error, as logfmt or JSON.

use std::fmt::{self, Debug, Write};

use clap::ValueEnum;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How messages are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// key=value, as Prometheus does.
    Logfmt,
    /// A JSON object per line.
    Json,
}

/// Starts to log; a panic is logged too.
pub(crate) fn start(level: Level, format: Format) {
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(LevelFilter::from_level(level));
    match format {
        Format::Logfmt => builder.event_format(Logfmt).init(),
        Format::Json => builder.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}

/// `time=… level=info msg="…" key=value`.
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        writer.write_str("time=")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, " level={}", event.metadata().level().as_str().to_ascii_lowercase())?;
        let mut fields = Fields { message: String::new(), others: String::new() };
        event.record(&mut fields);
        writeln!(writer, " msg={}{}", value(&fields.message), fields.others)
    }
}

/// The message of an event, and its other fields as they are printed.
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            text.clone_into(&mut self.message);
        } else {
            let _ = write!(self.others, " {}={}", field.name(), value(text));
        }
    }

    fn record_debug(&mut self, field: &Field, debug: &dyn Debug) {
        self.record_str(field, &format!("{debug:?}"));
    }
}

/// A value, in quotes where it needs them.
fn value(text: &str) -> String {
    let bare = |c: char| c.is_ascii_graphic() && c != '"' && c != '=' && c != '\\';
    if !text.is_empty() && text.chars().all(bare) { text.to_owned() } else { format!("{text:?}") }
}
