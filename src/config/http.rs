//! The `http:` section.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header};

use super::decode::{Fields, Value};
use super::module::preference;
use super::{failed_flow, http_client, oauth2, proxy, tls};
use crate::flight::Phase;
use crate::net::quic;
use crate::net::tls::Tls;
use crate::probe::http::{BodyRule, BodyRules, Compression, Condition, Expectations, HeaderRule, Proxies, Settings};
use crate::probe::identity::Registry;
use crate::probe::traceroute::Protocol;

/// The settings; nothing where something is wrong with them.
pub(super) fn settings(fields: Fields<'_>, registry: Option<&Arc<Registry>>) -> Option<Settings> {
    let method = fields.filled("method").and_then(|value| method(&value));
    let given = fields.get("headers");
    let body = body(&fields);
    let (mut headers, host) = given.map(|value| headers(&value, body.as_ref().map(Bytes::len))).unwrap_or_default();
    let compression = compression(&fields);
    http_client::add_headers(&fields, &mut headers);
    let authorization = http_client::authorization(&fields);
    // As there, 0 is no limit.
    let body_size_limit = fields.get("body_size_limit").and_then(|value| value.byte_size()).filter(|limit| *limit > 0);
    let oauth2 = oauth2::oauth2(&fields);
    let enable_http2 = fields.boolean("enable_http2", true);
    let enable_http3 = fields.get("enable_http3").filter(|value| value.boolean() == Some(true));
    let expectations = expectations(&fields, enable_http3.is_some());
    let public_ip = fields.boolean("public_ip", false);
    if let (true, Some(Method::HEAD), Some(value)) = (public_ip, &method, fields.get("public_ip")) {
        value.problem("stands in the body, which the method HEAD does not ask for");
    }
    let alpn: &[&[u8]] = match (&enable_http3, enable_http2) {
        (Some(_), _) => &[b"h3"],
        (None, true) => &[b"h2", b"http/1.1"],
        (None, false) => &[b"http/1.1"],
    };
    let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let follow_redirects = fields.boolean("follow_redirects", true);
    // The name that blackbox_exporter had for it before, which wins there, too.
    let no_follow_redirects = fields.get("no_follow_redirects").and_then(|value| value.boolean());
    let follow_redirects = no_follow_redirects.map_or(follow_redirects, |no| !no);
    let preference = preference(&fields);
    let tls = tls::tls(&fields, alpn);
    let proxies = proxy::proxies(&fields, tls.as_ref(), proxy::environment);
    let http3 = enable_http3.and_then(|value| http3(&value, enable_http2, proxies.as_ref(), tls.as_ref()));
    let skip_resolve_phase_with_proxy = fields.boolean("skip_resolve_phase_with_proxy", false);
    let phases = [
        (Phase::Token, if oauth2.is_some() { Ok(()) } else { Err("this module has no oauth2") }),
        (Phase::Resolve, Err(failed_flow::RESOLVE)),
        (Phase::Connect, Ok(())),
        (Phase::Tls, Ok(())),
        (Phase::Processing, Ok(())),
        (Phase::Transfer, Ok(())),
    ];
    let protocol = if http3.is_some() { Protocol::Udp } else { Protocol::Tcp };
    let tracing = failed_flow::tracing(&fields, &phases, protocol, registry);
    fields.finish();
    Some(Settings {
        method: method.unwrap_or(Method::GET),
        headers,
        host,
        authorization,
        oauth2,
        body: body.unwrap_or_default(),
        compression,
        body_size_limit,
        expectations,
        public_ip,
        follow_redirects,
        enable_http2,
        http3,
        preference,
        proxies,
        skip_resolve_phase_with_proxy,
        tls: Arc::new(tls?),
        tracing,
    })
}

/// QUIC for HTTP/3, which is then spoken, and nothing else.
fn http3(
    value: &Value<'_>,
    enable_http2: bool,
    proxies: Option<&Proxies>,
    tls: Option<&Tls>,
) -> Option<quinn::ClientConfig> {
    if enable_http2 {
        value.problem("excludes HTTP/2; set enable_http2 to false");
    }
    if proxies.is_some_and(|proxies| proxies.http.is_some() || proxies.https.is_some()) {
        value.problem("goes through no proxy (blackbox_exporter passes the proxy by, without a word)");
    }
    let config = quic::client(tls?);
    if config.is_none() {
        value.problem("needs TLS 1.3, which tls_config does not allow");
    }
    config
}

/// The body, as it stands there or in a file; nothing where it could not be had.
fn body(fields: &Fields<'_>) -> Option<Bytes> {
    match (fields.filled("body"), fields.filled("body_file")) {
        (Some(_), Some(value)) => {
            value.problem("excludes body, which is there too");
            None
        }
        (Some(value), None) => value.bytes(),
        (None, Some(value)) => value.file().map(Bytes::from),
        (None, None) => Some(Bytes::new()),
    }
}

/// How the response is compressed, which the request's own `Accept-Encoding` must allow.
fn compression(fields: &Fields<'_>) -> Option<Compression> {
    let value = fields.get("compression")?;
    let name = value.text()?;
    let compression = match name.to_ascii_lowercase().as_str() {
        "" => return None,
        "identity" => None,
        "gzip" => Some(Compression::Gzip),
        "br" => Some(Compression::Brotli),
        "deflate" => Some(Compression::Deflate),
        _ => {
            value.problem(format!("{name:?} is not known; known: gzip, br, deflate, identity"));
            return None;
        }
    };
    let headers = fields.get("headers").map(|value| value.entries()).unwrap_or_default();
    let accepted = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("accept-encoding"));
    if let Some(accepted) = accepted.and_then(|(_, value)| value.text()).filter(|accepted| !accepted.is_empty())
        && !accepts(accepted, name)
    {
        value.problem(format!("{name} is not what the header Accept-Encoding asks for"));
    }
    compression
}

/// Whether an `Accept-Encoding` takes a coding: it, in these letters, or `*`, of a quality above 0, whichever comes first by quality. RFC 9110,
/// section 12.5.3, read as blackbox_exporter reads it: the quality is what follows an entry's last semicolon, and that of anything else is 0.
fn accepts(header: &str, coding: &str) -> bool {
    let mut listed: Vec<(&str, f64)> = header
        .split(',')
        .map(|entry| {
            let (name, parameter) = entry.rsplit_once(';').unwrap_or((entry, "1"));
            let quality = parameter.trim();
            (name.trim(), quality.strip_prefix("q=").unwrap_or(quality).parse().unwrap_or(0.0))
        })
        .collect();
    listed.sort_by(|(_, left), (_, right)| right.total_cmp(left));
    let found = listed.iter().find(|(name, _)| *name == coding || *name == "*");
    found.is_some_and(|(_, quality)| *quality > 0.0)
}

/// What the response must be like.
fn expectations(fields: &Fields<'_>, http3: bool) -> Expectations {
    let list = |key| fields.get(key).map(|value| value.list()).unwrap_or_default();
    let rules = |key, forbids| {
        let regexes = list(key).into_iter().filter_map(|value| value.regex());
        regexes.map(move |regex| BodyRule { regex, forbids }).collect::<Vec<_>>()
    };
    let headers =
        |key, forbids| list(key).into_iter().filter_map(move |value| header_rule(&value, forbids)).collect::<Vec<_>>();
    let conditions = [("fail_if_body_json_matches_cel", true), ("fail_if_body_json_not_matches_cel", false)];
    let json = conditions.into_iter().filter_map(|(key, forbids)| {
        let value = fields.get(key)?;
        value.noted(
            Condition::new(value.text()?, forbids).map_err(|error| format!("is not an expression of CEL: {error}")),
        )
    });
    let expectations = Expectations {
        status_codes: list("valid_status_codes").iter().filter_map(|value| value.integer(100, 999)).collect(),
        versions: list("valid_http_versions")
            .iter()
            .filter_map(|value| version(value, http3))
            .map(str::to_owned)
            .collect(),
        no_tls: fields.boolean("fail_if_ssl", false),
        tls: fields.boolean("fail_if_not_ssl", false),
        headers: [headers("fail_if_header_matches", true), headers("fail_if_header_not_matches", false)].concat(),
        body: Arc::new(BodyRules {
            text: [rules("fail_if_body_matches_regexp", true), rules("fail_if_body_not_matches_regexp", false)]
                .concat(),
            json: json.collect(),
        }),
    };
    if let (true, true, Some(value)) = (expectations.no_tls, expectations.tls, fields.get("fail_if_not_ssl")) {
        value.problem("every response would fail: fail_if_ssl is set too");
    }
    expectations
}

fn header_rule(value: &Value<'_>, forbids: bool) -> Option<HeaderRule> {
    let fields = value.fields();
    let name = fields.get("header").filter(|value| value.text() != Some(""));
    let regex = fields.get("regexp").filter(|value| value.text() != Some(""));
    for (key, value) in [("header", &name), ("regexp", &regex)] {
        if value.is_none() {
            fields.problem(format!("{key} is missing"));
        }
    }
    let allow_missing = fields.boolean("allow_missing", false);
    fields.finish();
    let (name, regex) = (name?.parsed("the name of a header"), regex?.regex());
    Some(HeaderRule { name: name?, regex: regex?, forbids, allow_missing })
}

/// A version as it is compared. `HTTP/2` never matches in blackbox_exporter, though its examples use it.
fn version(value: &Value<'_>, http3: bool) -> Option<&'static str> {
    let version = value.choice(&[
        ("HTTP/1.0", "HTTP/1.0"),
        ("HTTP/1.1", "HTTP/1.1"),
        ("HTTP/2.0", "HTTP/2.0"),
        ("HTTP/2", "HTTP/2.0"),
        ("HTTP/3.0", "HTTP/3.0"),
        ("HTTP/3", "HTTP/3.0"),
    ])?;
    match (http3, version == "HTTP/3.0") {
        (false, true) => value.problem("no response comes over HTTP/3 without enable_http3"),
        (true, false) => value.problem("with enable_http3, responses come over HTTP/3 only"),
        (true, true) | (false, false) => {}
    }
    Some(version)
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
fn headers(value: &Value<'_>, length: Option<usize>) -> (HeaderMap, Option<String>) {
    let mut headers = HeaderMap::new();
    let mut known: Vec<HeaderName> = Vec::new();
    let mut host = None;
    for (name, value) in value.entries() {
        let Ok(name) = name.parse::<HeaderName>() else {
            value.problem("is not the name of a header");
            continue;
        };
        let Some(text) = value.text() else { continue };
        let Some(content) = http_client::open_header(&value, text) else { continue };
        if known.contains(&name) {
            value.problem("is there already, in other letters");
        } else if name == header::TRANSFER_ENCODING {
            value.problem("the body is sent with its length; leave this header out");
        } else if let Some(length) = length
            && name == header::CONTENT_LENGTH
            && content != length.to_string()
        {
            value.problem(format!("the body has {length} bytes; leave this header out, it is sent where it is needed"));
        } else if name == header::HOST {
            host = http_client::host(&value, text);
        } else {
            headers.append(name.clone(), content);
        }
        known.push(name);
    }
    (headers, host)
}
