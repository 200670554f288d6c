//! `/probe`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::client::Client;
use super::query::{self, Asked};
use super::{State, reply};
use crate::render::negotiate::Format;
use crate::{metrics, probe, render};

/// How much of a probe's log is kept for somebody who wants to see it now, in bytes.
const WANTED_LOG: usize = 1 << 20;

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
        state.timeout_offset,
        |debug| if debug { WANTED_LOG } else { 0 },
        &config,
        &state.network,
    );
    let Asked { request, debug, json } = match asked {
        Ok(asked) => asked,
        Err(rejection) => {
            state.own.rejected(rejection.cause);
            return reply::sentence(StatusCode::BAD_REQUEST, rejection.sentence).into_response();
        }
    };
    let report = {
        let _in_flight = state.own.probing();
        tokio::select! {
            report = probe::run(&request) => report,
            () = client.gone() => {
                let sentence = "the client ended its side of the connection, which cancels its probe";
                return reply::sentence(StatusCode::BAD_REQUEST, sentence).into_response();
            }
        }
    };
    state.own.probed(&report);
    if json {
        return reply::content(&headers, "application/json", render::json(&report, debug));
    }
    if debug {
        let text = render::debug(&report, &request.module.yaml);
        return reply::content(&headers, reply::PLAIN, text);
    }
    let families = metrics::of_report(&report);
    let format = reply::format(&headers);
    let body = match format {
        Format::Text => render::text(&families),
        Format::OpenMetrics { .. } => render::openmetrics(&families),
    };
    reply::content(&headers, &format.content_type(), body)
}
