//! The `http:` section.

use std::sync::Arc;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, header};
use url::Host;

use super::decode::{Fields, Value};
use super::module::preference;
use super::tls;
use crate::probe::http::Settings;

/// The settings; nothing where something is wrong with them.
pub(super) fn settings(fields: Fields<'_>) -> Option<Settings> {
    let method = fields.get("method").and_then(|value| method(&value));
    let given = fields.get("headers");
    let body = fields.get("body").map_or_else(|| Some(Bytes::new()), |value| value.bytes());
    let (headers, host) = given.map(|value| headers(&value, body.as_ref().map(Bytes::len))).unwrap_or_default();
    let status_codes = fields.get("valid_status_codes").map(|value| value.list()).unwrap_or_default();
    let versions = fields.get("valid_http_versions").map(|value| value.list()).unwrap_or_default();
    let enable_http2 = fields.boolean("enable_http2", true);
    let alpn = if enable_http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    let follow_redirects = fields.boolean("follow_redirects", true);
    let fail_if_ssl = fields.boolean("fail_if_ssl", false);
    let fail_if_not_ssl = fields.boolean("fail_if_not_ssl", false);
    if let (true, true, Some(value)) = (fail_if_ssl, fail_if_not_ssl, fields.get("fail_if_not_ssl")) {
        value.problem("every response would fail: fail_if_ssl is set too");
    }
    let preference = preference(&fields);
    let tls = tls::tls(&fields, alpn);
    fields.finish();
    Some(Settings {
        method: method.unwrap_or(Method::GET),
        headers,
        host,
        body: body.unwrap_or_default(),
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

fn method(value: &Value<'_>) -> Option<Method> {
    let method = value.parsed("a method of HTTP (GET, POST)")?;
    if method == Method::CONNECT {
        value.problem("CONNECT asks a proxy for a tunnel, and gets no response to measure");
        return None;
    }
    Some(method)
}

/// The headers of a request, and the host among them; `length` is that of its body, where that is known.
fn headers(value: &Value<'_>, length: Option<usize>) -> (Vec<(HeaderName, HeaderValue)>, Option<String>) {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let mut known: Vec<HeaderName> = Vec::new();
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
        if known.contains(&name) {
            value.problem("is there already, in other letters");
        } else if name == header::TRANSFER_ENCODING {
            value.problem("the body is sent with its length; leave this header out");
        } else if let Some(length) = length
            && name == header::CONTENT_LENGTH
            && text != length.to_string()
        {
            value.problem(format!("the body has {length} bytes; leave this header out, it is sent where it is needed"));
        } else if name == header::HOST {
            host = authority(&value, text);
        } else {
            headers.push((name.clone(), content));
        }
        known.push(name);
    }
    (headers, host)
}

/// What a `Host` header says, in ASCII, as Go sends it; nothing where it says nothing, and the URL's host is meant.
fn authority(value: &Value<'_>, text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let (name, port) = match text.rfind(':') {
        Some(colon) if !text.is_ascii() => text.split_at(colon),
        _ => (text, ""),
    };
    let name =
        if text.is_ascii() { Some(text.to_owned()) } else { Host::parse(name).ok().map(|host| host.to_string()) };
    let host = name.map(|name| name + port).filter(|host| host.parse::<Authority>().is_ok() && !host.contains('@'));
    if host.is_none() {
        value.problem("is not a host, nor a host and a port (example.org, example.org:8080)");
    }
    host
}
