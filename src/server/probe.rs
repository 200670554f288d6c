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
        &config,
        &state.network,
    );
    let Asked { request, json } = match asked {
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
        return reply::content(&headers, "application/json", render::json(&report));
    }
    if request.debug {
        let text = render::debug(&report, &config.module_to_yaml(&request.module.name));
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
