//! Who a request says that it comes from: the part of Prometheus' `http_config` that every prober of HTTP takes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::decode::{Fields, Value};
use crate::probe::host_header;

/// The `Authorization` header that `basic_auth`, `authorization`, `bearer_token` or `bearer_token_file` ask for; at most one of them may.
pub(super) fn authorization(fields: &Fields<'_>) -> Option<HeaderValue> {
    let (section, text) = (|key| (key, fields.get(key)), |key| (key, fields.filled(key)));
    let given = [
        (section("basic_auth"), basic_auth as fn(&Value<'_>) -> Option<HeaderValue>),
        (section("authorization"), credentials),
        (text("bearer_token"), |value| header(value, &format!("Bearer {}", value.text()?))),
        (text("bearer_token_file"), |value| header(value, &format!("Bearer {}", file_text(value)?))),
    ];
    let mut chosen: Option<(&str, Option<HeaderValue>)> = None;
    for ((key, value), read) in given {
        let Some(value) = value else { continue };
        let read = read(&value);
        match &chosen {
            Some((first, _)) => value.problem(format!("excludes {first}, which is there too")),
            None => chosen = Some((key, read)),
        }
    }
    chosen.and_then(|(_, header)| header)
}

/// RFC 7617.
fn basic_auth(value: &Value<'_>) -> Option<HeaderValue> {
    let fields = value.fields();
    let user = secret(&fields, "username", "username_file", "username_ref");
    let password = secret(&fields, "password", "password_file", "password_ref");
    fields.finish();
    let pair = format!("{}:{}", user.unwrap_or_default(), password.unwrap_or_default());
    header(value, &format!("Basic {}", BASE64_STANDARD.encode(pair)))
}

/// RFC 6750, or what `type` says.
fn credentials(value: &Value<'_>) -> Option<HeaderValue> {
    let fields = value.fields();
    let ty = fields.get("type");
    let name = ty.as_ref().and_then(|ty| ty.text()).map(str::trim).filter(|ty| !ty.is_empty()).unwrap_or("Bearer");
    if let Some(ty) = ty.filter(|_| name.eq_ignore_ascii_case("basic")) {
        ty.problem("is what basic_auth is for");
    }
    let credentials = secret(&fields, "credentials", "credentials_file", "credentials_ref");
    fields.finish();
    header(value, &format!("{name} {}", credentials.unwrap_or_default()))
}

/// A text that may stand in the configuration or in a file; an empty one is none.
pub(super) fn secret(
    fields: &Fields<'_>,
    inline: &'static str,
    file: &'static str,
    reference: &'static str,
) -> Option<String> {
    if let Some(value) = fields.filled(reference) {
        value.problem(format!("needs a manager of secrets, which there is none; use {file}"));
    }
    match (fields.filled(inline), fields.filled(file)) {
        (Some(_), Some(value)) => {
            value.problem(format!("excludes {inline}, which is there too"));
            None
        }
        (Some(value), None) => value.text().map(str::to_owned),
        (None, Some(value)) => file_text(&value),
        (None, None) => None,
    }
}

/// The text of a file, without the blanks around it.
fn file_text(value: &Value<'_>) -> Option<String> {
    let text = String::from_utf8(value.file()?);
    value.noted(text.map(|text| text.trim().to_owned()).map_err(|_| "the file is not UTF-8"))
}

/// A header that only the target may see.
pub(super) fn header(value: &Value<'_>, text: &str) -> Option<HeaderValue> {
    let mut header = open_header(value, text)?;
    header.set_sensitive(true);
    Some(header)
}

/// A header. Blanks around it are no part of it (RFC 9110, section 5.5), and an error in HTTP/2 (RFC 9113, section 8.2.1). It may be a
/// secret all the same: no word of it is told.
pub(super) fn open_header(value: &Value<'_>, text: &str) -> Option<HeaderValue> {
    let header = HeaderValue::from_bytes(text.trim_matches([' ', '\t']).as_bytes());
    value.noted(header.map_err(|_| "has a character that no header may have, such as a line break"))
}

/// What a `Host` header says; nothing where it says nothing, and the URL's host is meant.
pub(super) fn host(value: &Value<'_>, text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let host = host_header(text);
    if host.is_none() {
        value.problem("is not a host, nor a host and a port (example.org, example.org:8080)");
    }
    host
}

/// Headers that `http_headers` may not set, as in Prometheus: the request has its own.
const RESERVED: [HeaderName; 19] = [
    header::AUTHORIZATION,
    header::HOST,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::USER_AGENT,
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::WWW_AUTHENTICATE,
    header::ACCEPT_ENCODING,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("x-prometheus-remote-write-version"),
    HeaderName::from_static("x-prometheus-remote-read-version"),
    HeaderName::from_static("x-prometheus-scrape-timeout-seconds"),
    HeaderName::from_static("x-amz-date"),
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-amz-content-sha256"),
];

/// Adds the headers of `http_headers`.
pub(super) fn add_headers(fields: &Fields<'_>, headers: &mut HeaderMap) {
    for (name, value) in fields.get("http_headers").map(|value| value.entries()).unwrap_or_default() {
        let Ok(name) = name.parse::<HeaderName>() else {
            value.problem("is not the name of a header");
            continue;
        };
        if RESERVED.contains(&name) {
            value.problem("is a header that http_headers may not set");
        }
        for value in header_values(&value) {
            headers.append(name.clone(), value);
        }
    }
}

/// What a header of `http_headers`, or of a websocket's `headers`, is set to: `values`, and `secrets` and `files` that only the target
/// may see.
pub(super) fn header_values(value: &Value<'_>) -> Vec<HeaderValue> {
    let fields = value.fields();
    let list = |key| fields.get(key).map(|value| value.list()).unwrap_or_default();
    let open = list("values").into_iter().filter_map(|value| open_header(&value, value.text()?));
    let secrets = list("secrets").into_iter().filter_map(|value| header(&value, value.text()?));
    let files = list("files").into_iter().filter_map(|value| header(&value, &file_text(&value)?));
    let values = open.chain(secrets).chain(files).collect();
    fields.finish();
    values
}
