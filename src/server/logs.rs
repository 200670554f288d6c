//! `/logs`: what happened in a probe that ended.

use std::sync::Arc;

use axum::extract::{RawQuery, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::history::{Entry, History, Wanted};
use super::query;
use super::{State, reply};

/// The parameters of `/logs`.
const PARAMETERS: [&str; 4] = ["id", "target", "module", "isp"];

/// Tells of a probe as `debug=true` would have told of it.
pub(super) async fn logs(
    Extract(state): Extract<Arc<State>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match find(&state.history, &query.unwrap_or_default()) {
        Ok(entry) => reply::content(&headers, reply::PLAIN, entry.text()),
        Err((status, sentence)) => reply::sentence(status, sentence).into_response(),
    }
}

/// The probe that is asked for, or blackbox_exporter's word on why there is none.
fn find(history: &History, query: &str) -> Result<Arc<Entry>, (StatusCode, String)> {
    let bad = |sentence: &str| Err((StatusCode::BAD_REQUEST, sentence.to_owned()));
    let missing = |sentence: &str| (StatusCode::NOT_FOUND, sentence.to_owned());
    let parameters =
        query::parameters(query, &PARAMETERS).map_err(|rejection| (StatusCode::BAD_REQUEST, rejection.sentence))?;
    let get = |name| parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    let given = |name| get(name).filter(|value| !value.is_empty());
    match (given("id"), given("target")) {
        (None, None) => bad("Probe id or target must be defined as http query parameters"),
        (Some(_), Some(_)) => bad("Probe id and target can't be defined at the same time"),
        (Some(_), None) if given("module").is_some() => {
            bad("Probe module filter only works in conjunction with target parameter")
        }
        (Some(_), None) if get("isp").is_some() => {
            bad("Probe isp filter only works in conjunction with target parameter")
        }
        (Some(id), None) => match id.parse() {
            Ok(id) => history.of_id(id).ok_or_else(|| missing("Probe id not found")),
            Err(_) => bad("Invalid probe id"),
        },
        (None, Some(target)) => {
            let wanted = Wanted { target, module: given("module"), isp: get("isp") };
            history.latest(&wanted).ok_or_else(|| missing("Probe target not found"))
        }
    }
}
