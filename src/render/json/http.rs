//! The section `http`.

use serde::Serialize;

use super::Phases;
use super::connection::Connection;
use crate::metrics::unix_seconds;
use crate::probe::http;

#[derive(Serialize)]
pub(super) struct Http<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    requests: Vec<Request<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_length: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_due_to_regex: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_due_to_cel: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirects: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_timestamp_seconds: Option<f64>,
}

/// One request of the chain of redirects.
#[derive(Serialize)]
struct Request<'a> {
    url: &'a str,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<&'a str>,
    #[serde(flatten)]
    connection: Connection,
    phases_seconds: Phases<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_headers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_url: Option<&'a str>,
}

impl<'a> Http<'a> {
    pub(super) fn of(measured: &'a http::Measurement) -> Self {
        let http::Measurement {
            requests,
            status,
            version,
            content_length,
            body_length,
            failed_due_to_regex,
            failed_due_to_cel,
            redirects,
            ssl,
            last_modified,
            tls: _,
            // Of a module of any prober.
            public_ip: _,
        } = measured;
        Self {
            requests: requests.iter().map(Request::of).collect(),
            status_code: *status,
            version: *version,
            content_length: *content_length,
            body_length: *body_length,
            failed_due_to_regex: *failed_due_to_regex,
            failed_due_to_cel: *failed_due_to_cel,
            redirects: status.map(|_| *redirects),
            ssl: *ssl,
            last_modified_timestamp_seconds: last_modified.map(unix_seconds),
        }
    }
}

impl<'a> Request<'a> {
    fn of(request: &'a http::Request) -> Self {
        let http::Request {
            url,
            method,
            proxy,
            handshake,
            phases,
            traffic,
            body_length,
            status,
            version,
            response_headers,
            content_type,
            redirect_url,
        } = request;
        Self {
            url,
            method: method.as_str(),
            proxy: proxy.as_deref(),
            connection: Connection::of(handshake, *traffic),
            phases_seconds: Phases(phases),
            request_body_bytes: *body_length,
            status_code: *status,
            version: *version,
            response_headers: *response_headers,
            content_type: content_type.as_deref(),
            redirect_url: redirect_url.as_deref(),
        }
    }
}
