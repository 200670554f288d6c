//! HTTP and HTTPS: phase-timed requests.

mod body;
mod cookies;
pub(super) mod exchange;
mod expectations;
mod hop;
mod json;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Version, header, response};
use hyper::body::Body;
use url::{Position, Url};

use super::connection::{self, Connection, Handshake};
use super::resolve::{Preference, resolve};
use super::{Probe, SECRET, host, tls};
use crate::flight::{Phase, Timeline, Traffic};
use crate::net::tls::{Tls, TlsFacts};
use crate::verdict::{Failure, Reason};
pub use body::Compression;
use body::Reader;
use exchange::Exchange;
pub use expectations::{BodyRule, Expectations, HeaderRule};
use hop::Hop;
pub(super) use hop::USER_AGENT;
pub use json::Condition;

/// The `http:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// The request's method.
    pub method: Method,
    /// The request's headers, `Host` excepted. Those that are sensitive go to the target's domain only.
    pub headers: HeaderMap,
    /// The `Host` header, and the TLS server name where none is set.
    pub host: Option<String>,
    /// The `Authorization` header, where neither the headers nor the target's URL have one.
    pub authorization: Option<HeaderValue>,
    /// The request's body.
    pub body: Bytes,
    /// How the body of the response is compressed.
    pub compression: Option<Compression>,
    /// The most bytes that it may have when it no longer is; nothing, any number.
    pub body_size_limit: Option<u64>,
    /// What the response must be like.
    pub expectations: Expectations,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Whether HTTP/2 is offered over TLS.
    pub enable_http2: bool,
    /// The address family.
    pub preference: Preference,
    /// TLS, built once per module.
    pub tls: Arc<Tls>,
}

impl Settings {
    /// A GET of the target, and nothing more.
    #[must_use]
    pub fn new(tls: Arc<Tls>) -> Self {
        Self {
            method: Method::GET,
            headers: HeaderMap::new(),
            host: None,
            authorization: None,
            body: Bytes::new(),
            compression: None,
            body_size_limit: None,
            expectations: Expectations::default(),
            follow_redirects: true,
            enable_http2: true,
            preference: Preference::default(),
            tls,
        }
    }
}

/// What an http probe measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurement {
    /// The requests of the chain of redirects in their order, the one that failed included.
    pub requests: Vec<Request>,
    /// Status code of the last response.
    pub status: Option<u16>,
    /// Its HTTP version: 1.0, 1.1, 2.
    pub version: Option<f64>,
    /// Its `Content-Length`; −1 where it has none.
    pub content_length: Option<i64>,
    /// Bytes of its body that were read, after decompression.
    pub body_length: Option<u64>,
    /// Whether a regular expression for its headers or its body failed; nothing before there was a response.
    pub failed_due_to_regex: Option<bool>,
    /// Whether a condition on its JSON failed; nothing where there is none, and before there was a response.
    pub failed_due_to_cel: Option<bool>,
    /// Redirects that were followed, or would have been.
    pub redirects: u32,
    /// Whether the last response came over TLS.
    pub ssl: Option<bool>,
    /// Its `Last-Modified`.
    pub last_modified: Option<SystemTime>,
    /// The last TLS handshake.
    pub tls: Option<TlsFacts>,
}

/// One request of a chain of redirects, however far it got.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// What was asked for, without user and password.
    pub url: String,
    /// How.
    pub method: Method,
    /// The handshake of its connection.
    pub handshake: Handshake,
    /// Its own part of each phase that it reached.
    pub phases: Vec<(Phase, Duration)>,
    /// What its connection carried, under TLS as it was encrypted; nothing before there was a connection.
    pub traffic: Option<Traffic>,
    /// Bytes of its body; nothing before it was sent.
    pub body_length: Option<u64>,
    /// Status code of its response.
    pub status: Option<u16>,
    /// HTTP version of its response: 1.0, 1.1, 2.
    pub version: Option<f64>,
    /// Fields in the head of its response.
    pub response_headers: Option<usize>,
    /// `Content-Type` of its response.
    pub content_type: Option<String>,
    /// Where its response redirects to, followed or not, without user and password.
    pub redirect_url: Option<String>,
}

impl Measurement {
    /// Gives each request its own part of what the timeline holds.
    pub(super) fn share(&mut self, timeline: &Timeline) {
        for (request, leg) in self.requests.iter_mut().zip(timeline.legs()) {
            (request.phases, request.traffic) = (leg.phases(), leg.traffic);
        }
    }
}

impl Request {
    /// A request that is about to be made.
    fn of(hop: &Hop) -> Self {
        Self { url: without_user(&hop.url).into(), method: hop.method.clone(), ..Self::default() }
    }

    /// Keeps what the head of its response says.
    fn note_head(&mut self, head: &response::Parts) {
        self.status = Some(head.status.as_u16());
        self.version = number(head.version);
        self.response_headers = Some(head.headers.len());
        let content_type = head.headers.get(header::CONTENT_TYPE);
        self.content_type = content_type.map(|ty| String::from_utf8_lossy(ty.as_bytes()).into_owned());
    }
}

/// The `Host` header that `hostname=` asks for, where the module's own does not contradict.
///
/// # Errors
/// One sentence.
pub fn hostname(settings: &Settings, hostname: &str) -> Result<String, String> {
    let host = host_header(hostname).ok_or_else(|| {
        format!("hostname is a host, or a host and a port (example.org, example.org:8080), not {hostname:?}")
    })?;
    match &settings.host {
        Some(own) if !own.eq_ignore_ascii_case(&host) => Err(format!(
            "host header defined both in module configuration ({own}) and with URL-parameter 'hostname' ({hostname})"
        )),
        Some(_) | None => Ok(host),
    }
}

/// What a `Host` header says, in ASCII, as Go sends it; nothing where it is not a host, nor a host and a port.
#[must_use]
pub fn host_header(text: &str) -> Option<String> {
    let (name, port) = match text.rfind(':') {
        Some(colon) if !text.is_ascii() => text.split_at(colon),
        _ => (text, ""),
    };
    let name = if text.is_ascii() { text.to_owned() } else { url::Host::parse(name).ok()?.to_string() };
    let host = name + port;
    (host.parse::<Authority>().is_ok() && !host.contains('@')).then_some(host)
}

/// Says why `target` is not a URL that can be probed.
///
/// # Errors
/// One sentence.
pub fn check_target(target: &str) -> Result<(), String> {
    parse(target).map(drop)
}

/// Redirects that are followed; one more is a failure.
const MOST_REDIRECTS: u32 = 10;

/// Measures.
///
/// # Errors
/// Why it went no further.
pub async fn measure(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    let url = parse(&probe.request.target).map_err(|what| probe.failure(Reason::ProberConfigError, what))?;
    let mut hop = Hop::first(settings, url, probe.request.hostname.as_deref());
    loop {
        let asked = measured.requests.push_mut(Request::of(&hop));
        let connection = connect(settings, probe, &hop, &mut asked.handshake, &mut measured.tls).await?;
        let version = match &measured.tls {
            Some(facts) if facts.alpn.as_deref() == Some("h2") => Version::HTTP_2,
            _ => Version::HTTP_11,
        };
        let request = hop.request(version).map_err(|error| {
            probe.failure(Reason::ProberConfigError, format!("the request cannot be sent as it is configured: {error}"))
        })?;
        asked.body_length = Some(hop.body.len() as u64);
        let (mut exchange, response) = Exchange::send(probe, connection, request).await?;
        let (head, body) = response.into_parts();
        probe.note(format_args!("{:?} {}", head.version, head.status));
        asked.note_head(&head);
        hop.cookies.keep(&hop.url, &head.headers);
        let location = Hop::location(head.status, &head.headers);
        let redirected = location.as_ref().and_then(|location| hop.url.join(location).ok());
        asked.redirect_url = redirected.map(|url| without_user(&url).into());
        note_head(measured, &hop, &head, &body);
        if location.is_some() {
            measured.redirects += 1;
        }
        match location.filter(|_| settings.follow_redirects) {
            Some(_) if measured.redirects > MOST_REDIRECTS => {
                let detail = format!("the server redirected more than {MOST_REDIRECTS} times");
                return Err(probe.failure(Reason::TooManyRedirects, detail));
            }
            Some(location) => {
                hop = hop.follow(head.status, &location).map_err(|what| {
                    probe.failure(Reason::HttpProtocolError, format!("the redirect cannot be followed: {what}"))
                })?;
                probe.timeline.begin_leg();
                probe.note(format_args!("redirected to {}", without_user(&hop.url)));
            }
            None => {
                let expectations = &settings.expectations;
                let as_expected = expectations.check_head(probe, &head, measured);
                let keep = as_expected.is_ok() && expectations.need_body();
                let mut reader = Reader::new(settings.compression, settings.body_size_limit, keep);
                let read = exchange.read(body, &mut reader, measured.body_length.insert(0)).await;
                as_expected?;
                read?;
                if let Some(body) = &reader.sink().kept {
                    expectations.check_body(probe, body, measured)?;
                }
                return expectations.check_transport(probe, head.version, hop.over_tls());
            }
        }
    }
}

/// Opens the connection for a request: to the name's address, under TLS where the URL says so.
async fn connect(
    settings: &Settings,
    probe: &Probe<'_>,
    hop: &Hop,
    handshake: &mut Handshake,
    facts: &mut Option<TlsFacts>,
) -> Result<Connection, Failure> {
    let address = resolve(probe, hop.host(), settings.preference).await?;
    let plain = connection::connect(probe, SocketAddr::new(address, hop.port()), handshake).await?;
    *facts = None;
    if hop.over_tls() {
        let name = hop.server_name(settings.tls.server_name.as_deref());
        tls::handshake(probe, &settings.tls, &name, plain, facts).await
    } else {
        Ok(Connection::Plain(plain))
    }
}

/// Keeps what the head of a response says.
fn note_head(measured: &mut Measurement, hop: &Hop, head: &response::Parts, body: &impl Body) {
    measured.status = Some(head.status.as_u16());
    measured.version = number(head.version);
    let header = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let stated = header(header::CONTENT_LENGTH).and_then(|length| length.trim().parse().ok());
    // Without the header the length is known only where there can be no body.
    let nothing = (body.is_end_stream() && !hop.asks_for_head()).then_some(0);
    measured.content_length = Some(stated.or(nothing).unwrap_or(-1));
    measured.ssl = Some(hop.over_tls());
    measured.last_modified = header(header::LAST_MODIFIED).and_then(|date| httpdate::parse_http_date(date).ok());
}

/// A version as a number.
fn number(version: Version) -> Option<f64> {
    match version {
        Version::HTTP_09 => Some(0.9),
        Version::HTTP_10 => Some(1.0),
        Version::HTTP_11 => Some(1.1),
        Version::HTTP_2 => Some(2.0),
        Version::HTTP_3 => Some(3.0),
        _ => None,
    }
}

/// Reads a target; without a scheme it is `http`.
fn parse(target: &str) -> Result<Url, String> {
    // The target is not repeated, since a password may stand in it.
    let wrong = |what: &str| format!("an http target is a URL, as https://example.com/path, and {what}");
    // URLs skip line breaks and tabs, so what is probed would not be what was asked for.
    if target.contains(char::is_control) {
        return Err(wrong("this one has a control character"));
    }
    // A path may have `:/` too; a host, or a host and a port, may not.
    let schemed = target.split_once(":/").is_some_and(|(scheme, _)| !scheme.contains(['/', '?', '#']));
    let url = if schemed { Url::parse(target) } else { Url::parse(&format!("http://{target}")) };
    let url = match url {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            return Err(wrong("this one has a scheme other than http and https"));
        }
        Err(error) => return Err(wrong(&format!("this one is none: {error}"))),
    };
    if url.port() == Some(0) {
        return Err(wrong("this one has port 0"));
    }
    check_host(&url).map_err(|what| wrong(&format!("the host of this one {what}")))?;
    Ok(url)
}

/// Says what is wrong with the host of a URL, as a predicate of it.
fn check_host(url: &Url) -> Result<(), &'static str> {
    match url.host() {
        Some(url::Host::Domain(name)) => host::check_name(name),
        Some(url::Host::Ipv4(address)) => host::check_address(address.into()),
        Some(url::Host::Ipv6(address)) => host::check_address(address.into()),
        None => Err("is missing"),
    }
}

/// A target for people: as it is, its password hidden.
pub(super) fn shown(target: &str) -> String {
    match parse(target) {
        Ok(url) if url.password().is_some() => {
            format!("{}{SECRET}{}", &url[..Position::BeforePassword], &url[Position::AfterPassword..])
        }
        // Where the password of something else ends cannot be told.
        Err(_) if target.contains('@') => SECRET.to_owned(),
        Ok(_) | Err(_) => target.to_owned(),
    }
}

/// A URL for people.
fn without_user(url: &Url) -> Url {
    let mut url = url.clone();
    // Both can only fail for URLs that have no host.
    let _ = (url.set_username(""), url.set_password(None));
    url
}

#[cfg(test)]
mod tests;
