//! The `grpc:` section.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use http::{HeaderName, HeaderValue};

use super::decode::{Fields, Value};
use super::module::preference;
use super::tls;
use crate::probe::grpc::Settings;

/// Headers of HTTP/2 and of the call itself, which metadata cannot be (`grpc/doc/PROTOCOL-HTTP2.md`; RFC 9113, section 8.2.2).
const RESERVED: [&str; 14] = [
    "connection",
    "content-length",
    "content-type",
    "grpc-encoding",
    "grpc-message",
    "grpc-message-type",
    "grpc-status",
    "grpc-timeout",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// The settings; nothing where something is wrong with them.
pub(super) fn settings(fields: Fields<'_>) -> Option<Settings> {
    let service = fields.get("service").and_then(|value| value.text()).unwrap_or_default().to_owned();
    let tls = fields.boolean("tls", false);
    let tls_config = tls::tls(&fields, vec![b"h2".to_vec()]);
    let metadata = fields.get("metadata").map(|value| metadata(&value)).unwrap_or_default();
    let preference = preference(&fields);
    fields.finish();
    Some(Settings { service, tls, tls_config: Arc::new(tls_config?), metadata, preference })
}

fn metadata(value: &Value<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let mut known: Vec<String> = Vec::new();
    for (key, values) in value.entries() {
        let key = key.to_ascii_lowercase();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
        let name = HeaderName::try_from(&key).ok().filter(|_| key.bytes().all(allowed));
        let Some(name) = name else {
            values.problem("is no key of metadata; write letters, digits, _, - and .");
            continue;
        };
        if RESERVED.contains(&key.as_str()) {
            values.problem("is a header of the call itself, and would not be sent");
        } else if known.contains(&key) {
            values.problem("is there already, in other letters");
        } else {
            let binary = key.ends_with("-bin");
            let values = if values.is_null() { Vec::new() } else { values.list() };
            headers.extend(values.iter().filter_map(|value| Some((name.clone(), metadatum(value, binary)?))));
        }
        known.push(key);
    }
    headers
}

/// A value; that of a key that ends in `-bin` is any bytes, and sent in base64.
fn metadatum(value: &Value<'_>, binary: bool) -> Option<HeaderValue> {
    let bytes = value.bytes()?;
    let sent = match binary {
        true => HeaderValue::try_from(BASE64_STANDARD_NO_PAD.encode(&bytes)).ok(),
        false => HeaderValue::from_bytes(&bytes).ok().filter(|_| bytes.iter().all(|byte| (b' '..=b'~').contains(byte))),
    };
    if sent.is_none() {
        // The value may be a secret: no word of it.
        value.problem("has a character beyond printable ASCII, which only keys that end in -bin may have");
    }
    sent
}
