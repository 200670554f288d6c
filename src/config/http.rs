//! The `http:` section.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, header};

use super::decode::{Fields, Value};
use super::module::preference;
use super::tls;
use crate::probe::http::Settings;

/// The settings; nothing where something is wrong with them.
pub(super) fn settings(fields: Fields<'_>) -> Option<Settings> {
    let method = fields.get("method").and_then(|value| value.parsed("a method of HTTP (GET, POST)"));
    let (headers, host) = fields.get("headers").map(|value| headers(&value)).unwrap_or_default();
    let body = fields.get("body").and_then(|value| value.bytes()).unwrap_or_default();
    let status_codes = fields.get("valid_status_codes").map(|value| value.list()).unwrap_or_default();
    let versions = fields.get("valid_http_versions").map(|value| value.list()).unwrap_or_default();
    let enable_http2 = fields.boolean("enable_http2", true);
    let alpn = if enable_http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    let follow_redirects = fields.boolean("follow_redirects", true);
    let fail_if_ssl = fields.boolean("fail_if_ssl", false);
    let fail_if_not_ssl = fields.boolean("fail_if_not_ssl", false);
    let preference = preference(&fields);
    let tls = tls::tls(&fields, alpn);
    fields.finish();
    Some(Settings {
        method: method.unwrap_or(Method::GET),
        headers,
        host,
        body,
        valid_status_codes: status_codes.iter().filter_map(|value| value.integer(100, 999)).collect(),
        valid_http_versions: versions.iter().filter_map(version).map(str::to_owned).collect(),
        follow_redirects,
        enable_http2,
        fail_if_ssl,
        fail_if_not_ssl,
        preference,
        tls: Arc::new(tls?),
    })
}

/// A version as it is compared. `HTTP/2` never matches in blackbox_exporter, though its examples use it.
fn version(value: &Value<'_>) -> Option<&'static str> {
    value.choice(&[
        ("HTTP/1.0", "HTTP/1.0"),
        ("HTTP/1.1", "HTTP/1.1"),
        ("HTTP/2.0", "HTTP/2.0"),
        ("HTTP/2", "HTTP/2.0"),
    ])
}

/// The headers, and the host among them.
fn headers(value: &Value<'_>) -> (Vec<(HeaderName, HeaderValue)>, Option<String>) {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let mut host = None;
    for (name, value) in value.entries() {
        let Ok(name) = name.parse::<HeaderName>() else {
            value.problem("is not the name of a header");
            continue;
        };
        let Some(text) = value.text() else { continue };
        // The value may be a secret: no word of it.
        let Ok(content) = HeaderValue::from_bytes(text.as_bytes()) else {
            value.problem("its value has a character that no header may have, such as a line break");
            continue;
        };
        let twice = headers.iter().any(|(known, _)| *known == name) || (name == header::HOST && host.is_some());
        if twice {
            value.problem("is there already, in other letters");
        } else if name == header::HOST {
            host = Some(text.to_owned());
        } else {
            headers.push((name, content));
        }
    }
    (headers, host)
}
