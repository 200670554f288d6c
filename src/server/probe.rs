//! `/probe`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State as Extract};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tracing::{Level, debug, error, info};

use super::admission::{Admitted, Refused};
use super::client::Client;
use super::query::{self, Asked};
use super::{PROBES, State, reply};
use crate::probe::{LogLine, Outcome, Report, Wanted};
use crate::render::negotiate::Format;
use crate::{metrics, render};

/// The type of JSON.
const JSON: &str = "application/json";

/// How much of a probe's log is kept for the history, in bytes: all of a usual one. A trace of many rounds has far more.
const KEPT_LOG: usize = 16 << 10;

/// How much of it is kept for somebody who wants to see it now.
pub const WANTED_LOG: usize = 1 << 20;

/// Runs a probe and tells its report. A client that goes away ends the probe.
pub(super) async fn probe(
    Extract(state): Extract<Arc<State>>,
    Extension(client): Extension<Client>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let config = state.store.current();
    let scrape_timeout = headers.get(query::SCRAPE_TIMEOUT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let asked = query::read(
        &query.unwrap_or_default(),
        scrape_timeout.as_deref(),
        state.options.timeout_offset,
        |debug| log_limit(&state, debug),
        &config,
        &state.network,
        &state.identities,
    );
    let Asked { mut wanted, debug, format } = match asked {
        Ok(asked) => asked,
        Err(rejection) => {
            state.own.rejected(rejection.cause);
            return reply::sentence(StatusCode::BAD_REQUEST, rejection.sentence).into_response();
        }
    };
    let mut admitted = Vec::new();
    for request in wanted.requests() {
        match state.admission.admit(request) {
            Ok(one) => admitted.push(one),
            Err(Refused { limit, sentence, after }) => {
                state.own.refused(request, limit);
                admitted.into_iter().for_each(Admitted::withdrawn);
                let after = [(RETRY_AFTER, after.as_secs_f64().ceil().to_string())];
                return (after, reply::sentence(StatusCode::SERVICE_UNAVAILABLE, sentence)).into_response();
            }
        }
    }
    let in_flight: Vec<_> = wanted.requests().iter().map(|request| state.own.probing(request)).collect();
    let outcome = tokio::select! {
        outcome = run(&state, &mut wanted) => outcome,
        () = client.gone() => {
            let sentence = "the client ended its side of the connection, which cancels its probe";
            return reply::sentence(StatusCode::BAD_REQUEST, sentence).into_response();
        }
    };
    for ((report, admitted), in_flight) in outcome.reports().iter().zip(admitted).zip(in_flight) {
        admitted.ended(report);
        in_flight.ended(report);
        log(report);
    }
    // All requests have the same module.
    let module = wanted.requests().first().map(|request| Arc::clone(&request.module));
    let yaml = module.as_ref().map(|module| module.yaml.as_str()).unwrap_or_default();
    let reply = match format {
        Some(query::Format::Json) => reply::content(&headers, JSON, render::json(&outcome, debug)),
        Some(query::Format::Mtr) => {
            let text = outcome.reports().first().and_then(|report| render::mtr(report, &hostname()));
            reply::content(&headers, JSON, text.unwrap_or_default())
        }
        None if debug => reply::content(&headers, reply::PLAIN, render::debug(&outcome, yaml)),
        None => {
            let families = metrics::of_outcome(&outcome);
            let format = reply::format(&headers);
            let body = match format {
                Format::Text => render::text(&families),
                Format::OpenMetrics { .. } => render::openmetrics(&families),
            };
            reply::content(&headers, &format.content_type(), body)
        }
    };
    if let Some(module) = module {
        for report in outcome.into_reports() {
            state.history.add(report, Arc::clone(&module));
        }
    }
    reply
}

/// Runs what is wanted, by what the files that its module names say now.
async fn run(state: &Arc<State>, wanted: &mut Wanted) -> Outcome {
    let fresh = match wanted.requests() {
        [] => return wanted.run().await,
        [request, ..] => state.fresh(&request.module).await,
    };
    match fresh {
        Ok(module) => {
            wanted.set_module(&module);
            wanted.run().await
        }
        Err(errors) => wanted.refused(&errors.to_string()),
    }
}

/// The name of this host, which mtr tells.
#[must_use]
pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim_end().to_owned()
}

/// How much of a probe's log is kept, in bytes.
fn log_limit(state: &State, debug: bool) -> usize {
    if debug || tracing::enabled!(target: PROBES, Level::DEBUG) {
        WANTED_LOG
    } else if state.history.is_kept() {
        KEPT_LOG
    } else {
        0
    }
}

/// Tells the program's log how a probe ended. That something out there does not answer is news, and an error only where it is this
/// host that cannot ask.
pub fn log(report: &Report) {
    if tracing::enabled!(target: PROBES, Level::DEBUG) {
        for LogLine { at, text } in &report.log {
            let at_seconds = at.as_secs_f64();
            debug!(target: PROBES, module = report.module, target = report.target, isp = isp(report), at_seconds, "{text}");
        }
    }
    let duration_seconds = report.duration.as_secs_f64();
    /// The event of a probe that failed, at a level.
    macro_rules! failed {
        ($level:ident, $failure:expr) => {
            $level!(
                target: PROBES,
                module = report.module,
                target = report.target,
                isp = isp(report),
                phase = $failure.phase.name(),
                reason = %$failure.reason.name(),
                err = $failure.detail,
                duration_seconds,
                "Probe failed"
            )
        };
    }
    match &report.failure {
        Some(failure) if failure.reason.is_of_this_host() => failed!(error, failure),
        Some(failure) => failed!(info, failure),
        None => debug!(
            target: PROBES,
            module = report.module,
            target = report.target,
            isp = isp(report),
            duration_seconds,
            "Probe succeeded"
        ),
    }
}

/// The name of a probe's ISP, where it has one.
fn isp(report: &Report) -> Option<&str> {
    report.isp.as_ref().map(|isp| isp.name.as_str())
}
