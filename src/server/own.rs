//! The exporter's own metrics.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::State as Extract;
use axum::http::HeaderMap;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::process::Process;
use super::{State, reply};
use crate::config::UNKNOWN_MODULE;
use crate::probe::{Report, Request};
use crate::render;
use crate::render::negotiate::Format;
use crate::verdict::Reason;

/// From a host next door to the longest timeouts that are usual.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Probed {
    module: String,
    isp: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    module: String,
    isp: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    isp: String,
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejected {
    cause: &'static str,
}

/// The metrics and their registry.
#[derive(Debug)]
pub(super) struct Own {
    registry: Registry,
    reload_successful: Gauge,
    reload_timestamp: Gauge<f64, AtomicU64>,
    web_config_successful: Gauge,
    probes: Family<Probed, Counter>,
    failures: Family<Failed, Counter>,
    durations: Family<Probed, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    refused: Family<Refused, Counter>,
    rejected: Family<Rejected, Counter>,
    unknown_modules: Counter,
}

impl Default for Own {
    fn default() -> Self {
        let mut own = Self {
            registry: Registry::default(),
            reload_successful: Gauge::default(),
            reload_timestamp: Gauge::default(),
            web_config_successful: Gauge::default(),
            probes: Family::default(),
            failures: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            in_flight: Gauge::default(),
            refused: Family::default(),
            rejected: Family::default(),
            unknown_modules: Counter::default(),
        };
        let registry = own.registry.sub_registry_with_prefix("uplink_exporter");
        let build = || {
            Info::new(vec![
                ("version", env!("CARGO_PKG_VERSION")),
                ("revision", env!("UPLINK_EXPORTER_REVISION")),
                ("rustc", env!("UPLINK_EXPORTER_RUSTC")),
                ("os", std::env::consts::OS),
                ("arch", std::env::consts::ARCH),
            ])
        };
        registry.register("build", "The exporter's version, what it was built from, by and for", build());
        registry.register(
            "config_last_reload_successful",
            "Whether the last attempt to load the configuration was a success (1) or not (0, the old one stays in force)",
            own.reload_successful.clone(),
        );
        registry.register(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration in force was loaded, in seconds since 1970",
            own.reload_timestamp.clone(),
        );
        registry.register(
            "web_config_last_reload_successful",
            "Whether the web configuration is in force as its file says (1, also without one) or could not be loaded again (0, the old one stays in force)",
            own.web_config_successful.clone(),
        );
        registry.register("probes", "Probes that ended, failed and aborted ones included", own.probes.clone());
        registry.register(
            "probe_failures",
            "Probes that failed, by reason; aborted where the client went away before the end",
            own.failures.clone(),
        );
        registry.register("probe_duration_seconds", "How long probes took", own.durations.clone());
        registry.register("probes_in_flight", "Probes that are running now", own.in_flight.clone());
        registry.register(
            "probes_refused",
            "Requests to /probe that were answered with 503 because a limit of the ISP was reached (max_probes or packets_per_second)",
            own.refused.clone(),
        );
        registry.register(
            "requests_rejected",
            "Requests to /probe that were answered with 400 because they cannot be meant, by cause",
            own.rejected.clone(),
        );
        // The names by which dashboards and alerts made for blackbox_exporter know the same.
        let registry = own.registry.sub_registry_with_prefix("blackbox");
        registry.register(
            "exporter_build",
            "The exporter's version (of uplink_exporter), what it was built from, by and for, as blackbox_exporter calls it",
            build(),
        );
        registry.register(
            "exporter_config_last_reload_successful",
            "Whether the last attempt to load the configuration was a success (1) or not (0), as blackbox_exporter calls it",
            own.reload_successful.clone(),
        );
        registry.register(
            "exporter_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was loaded, in seconds since 1970, as blackbox_exporter calls it",
            own.reload_timestamp.clone(),
        );
        registry.register(
            "module_unknown",
            "Requests to /probe for a module that is not known, as blackbox_exporter calls it",
            own.unknown_modules.clone(),
        );
        own.registry.register_collector(Box::new(Process::new()));
        own.reloaded(true);
        own.web_config_loaded(true);
        own
    }
}

impl Own {
    /// A load of the configuration ended.
    pub(super) fn reloaded(&self, success: bool) {
        self.reload_successful.set(success.into());
        if success {
            self.reload_timestamp.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        }
    }

    /// The web configuration was loaded again, or could not be.
    pub(super) fn web_config_loaded(&self, success: bool) {
        self.web_config_successful.set(success.into());
    }

    /// A probe was not begun, since a limit of its ISP was reached.
    pub(super) fn refused(&self, request: &Request, limit: &'static str) {
        let isp = request.uplink().map(|isp| isp.name.clone()).unwrap_or_default();
        self.refused.get_or_create(&Refused { isp, limit }).inc();
    }

    /// A request cannot be meant.
    pub(super) fn rejected(&self, cause: &'static str) {
        self.rejected.get_or_create(&Rejected { cause }).inc();
        if cause == UNKNOWN_MODULE {
            self.unknown_modules.inc();
        }
    }

    /// A probe begins. It runs for as long as what is returned lives, however it ends.
    pub(super) fn probing(&self, request: &Request) -> InFlight<'_> {
        self.in_flight.inc();
        let isp = request.uplink().map(|isp| isp.name.clone()).unwrap_or_default();
        let probed = Probed { module: request.module.name.clone(), isp };
        InFlight { own: self, probed: Some(probed), since: Instant::now() }
    }

    fn probed(&self, probed: Probed, duration: Duration, failed: Option<Reason>) {
        self.probes.get_or_create(&probed).inc();
        self.durations.get_or_create(&probed).observe(duration.as_secs_f64());
        if let Some(reason) = failed {
            let Probed { module, isp } = probed;
            let reason = reason.name().into_owned();
            self.failures.get_or_create(&Failed { module, isp, reason }).inc();
        }
    }
}

/// A probe that is running. Dropped without a report, it was [aborted](Reason::Aborted).
#[derive(Debug)]
pub(super) struct InFlight<'a> {
    own: &'a Own,
    /// As what it counts; nothing once it does.
    probed: Option<Probed>,
    since: Instant,
}

impl InFlight<'_> {
    /// It ended by itself.
    pub(super) fn ended(mut self, report: &Report) {
        if let Some(probed) = self.probed.take() {
            self.own.probed(probed, report.duration, report.failure.as_ref().map(|failure| failure.reason));
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.own.in_flight.dec();
        if let Some(probed) = self.probed.take() {
            self.own.probed(probed, self.since.elapsed(), Some(Reason::Aborted));
        }
    }
}

/// `/metrics`.
pub(super) async fn metrics(Extract(state): Extract<Arc<State>>, headers: HeaderMap) -> Response {
    let format = reply::format(&headers);
    let mut body = String::new();
    // Only native histograms can make this fail, and there are none.
    let _ = prometheus_client::encoding::text::encode(&mut body, &state.own.registry);
    if format == Format::Text {
        body = render::text_of_openmetrics(&body);
    }
    reply::content(&headers, &format.content_type(), body)
}
