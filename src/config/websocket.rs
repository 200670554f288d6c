//! The `websocket:` section.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use super::decode::{Fields, Value};
use super::module::preference;
use super::{http_client, tls};
use crate::net::tls::Tls;
use crate::probe::websocket::{Settings, Step};

/// What blackbox_exporter takes in `http_config` and then ignores, and why it would do nothing. `false` is what happens anyway.
const USELESS: [(&str, &str); 8] = [
    ("proxy_url", PROXY),
    ("no_proxy", PROXY),
    ("proxy_from_environment", PROXY),
    ("proxy_connect_header", PROXY),
    ("oauth2", "a websocket probe fetches no token; use authorization or basic_auth"),
    ("http_headers", "a websocket probe takes its headers from websocket.headers"),
    ("follow_redirects", "a WebSocket handshake that is redirected fails, as RFC 6455 allows"),
    ("enable_http2", "a WebSocket handshake is one of HTTP/1.1"),
];
const PROXY: &str = "a websocket probe goes through no proxy";

/// Steps of a conversation over bytes, which messages do not have.
const OF_BYTES: [(&str, &str); 3] = [
    ("expect_bytes", "messages have no segments: write a regular expression in expect"),
    ("labels", "a websocket probe has no probe_expect_info"),
    ("starttls", "TLS begins with the connection: give a wss:// URL as the target"),
];

/// Headers that make the handshake (RFC 6455, section 4.1).
const OF_THE_HANDSHAKE: [HeaderName; 7] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
];

/// The settings; nothing where something is wrong with them.
pub(super) fn settings(fields: Fields<'_>) -> Option<Settings> {
    let (authorization, tls) = http_config(fields.section("http_config"));
    let given = fields.get("headers").map(|value| headers(&value, authorization.is_some()));
    let (mut headers, host) = given.unwrap_or_default();
    let steps = fields.get("query_response").map(|value| value.list()).unwrap_or_default();
    let query_response = steps.iter().map(step).collect();
    let preference = preference(&fields);
    fields.finish();
    headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
    Some(Settings { headers, host, query_response, preference, tls: Arc::new(tls?) })
}

/// The `Authorization` header and TLS.
fn http_config(mut fields: Fields<'_>) -> (Option<HeaderValue>, Option<Tls>) {
    for (key, why) in USELESS {
        fields.refuse(key, why);
    }
    let tls = tls::tls(&fields, vec![b"http/1.1".to_vec()]);
    let authorization = http_client::authorization(&fields);
    fields.finish();
    (authorization, tls)
}

/// The headers of the handshake, each with all of its values, and the host among them.
fn headers(value: &Value<'_>, authorized: bool) -> (Vec<(HeaderName, HeaderValue)>, Option<String>) {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let mut known: Vec<HeaderName> = Vec::new();
    let mut host = None;
    for (name, value) in value.entries() {
        let Ok(name) = name.parse::<HeaderName>() else {
            value.problem("is not the name of a header");
            continue;
        };
        let values = http_client::header_values(&value);
        if known.contains(&name) {
            value.problem("is there already, in other letters");
        } else if OF_THE_HANDSHAKE.contains(&name) {
            value.problem("is a header of the handshake itself; leave it out");
        } else if name == header::AUTHORIZATION && authorized {
            value.problem("is what http_config sets already");
        } else if name == header::HOST {
            match values.as_slice() {
                [one] => host = http_client::host(&value, &String::from_utf8_lossy(one.as_bytes())),
                [] => {}
                _ => value.problem("may have one value only"),
            }
        } else {
            headers.extend(values.into_iter().map(|value| (name.clone(), value)));
        }
        known.push(name);
    }
    (headers, host)
}

fn step(entry: &Value<'_>) -> Step {
    let mut fields = entry.fields();
    for (key, why) in OF_BYTES {
        fields.refuse(key, why);
    }
    let expect = fields.get("expect").and_then(|value| value.regex());
    let (send, send_bytes) = match (fields.filled("send"), fields.filled("send_bytes")) {
        (Some(_), Some(value)) => {
            value.problem("excludes send, which is there too; make it an entry of its own");
            (None, None)
        }
        (None, Some(value)) => (None, value.bytes()),
        (Some(value), None) if value.is_binary() => (None, value.bytes()),
        (Some(value), None) => (value.text().map(str::to_owned), None),
        (None, None) => (None, None),
    };
    fields.finish();
    Step { expect, send, send_bytes }
}
