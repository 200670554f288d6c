//! HTTP and HTTPS: phase-timed requests.

mod body;
mod conversation;
mod cookies;
pub(super) mod exchange;
mod expectations;
mod hop;
mod http3;
mod json;
mod no_proxy;
mod oauth2;
mod proxy;
mod route;
pub(super) mod target;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, response};
use url::{Position, Url};

use self::target::Asked;
use super::connection::Handshake;
use super::resolve::Preference;
use super::{Probe, SECRET, Tracing, host};
use crate::flight::{Phase, Timeline, Traffic};
use crate::net::tls::{Tls, TlsFacts};
use crate::verdict::{Failure, Reason};
use crate::wire::http::date;
pub use body::Compression;
use body::Reader;
use conversation::Conversation;
pub use expectations::{BodyRule, BodyRules, Expectations, HeaderRule};
use hop::Hop;
pub use json::Condition;
pub use no_proxy::NoProxy;
pub use oauth2::{Algorithm, Assertion, Grant, OAuth2};
pub use proxy::{Proxies, Proxy};
use route::{Proxying, Route};

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
    /// Where the token of that header comes from, where it is fetched.
    pub oauth2: Option<OAuth2>,
    /// The request's body.
    pub body: Bytes,
    /// How the body of the response is compressed.
    pub compression: Option<Compression>,
    /// The most bytes that it may have when it no longer is; nothing, any number.
    pub body_size_limit: Option<u64>,
    /// What the response must be like.
    pub expectations: Expectations,
    /// Whether the body is the address that the server sees, and nothing else.
    pub public_ip: bool,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Whether HTTP/2 is offered over TLS.
    pub enable_http2: bool,
    /// QUIC, where HTTP/3 is spoken, and nothing else.
    pub http3: Option<quinn::ClientConfig>,
    /// The address family.
    pub preference: Preference,
    /// Through whom requests go; nothing leaves it to the ISP.
    pub proxies: Option<Proxies>,
    /// Whether a name that a proxy can resolve is left to it.
    pub skip_resolve_phase_with_proxy: bool,
    /// TLS, built once per module.
    pub tls: Arc<Tls>,
    /// When the flow of a connection is traced; nothing never does.
    pub tracing: Option<Tracing>,
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
            oauth2: None,
            body: Bytes::new(),
            compression: None,
            body_size_limit: None,
            expectations: Expectations::default(),
            public_ip: false,
            follow_redirects: true,
            enable_http2: true,
            http3: None,
            preference: Preference::default(),
            proxies: None,
            skip_resolve_phase_with_proxy: false,
            tls,
            tracing: None,
        }
    }

    fn route<'a>(&'a self, probe: &Probe<'a>) -> Route<'a> {
        Route {
            proxies: Proxying::of(probe, self.proxies.as_ref()),
            skip_resolve: self.skip_resolve_phase_with_proxy,
            preference: self.preference,
            tls: &self.tls,
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
    /// Its HTTP version: 1.0, 1.1, 2, 3.
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
    /// The address that the server sees, where the module reads it.
    pub public_ip: Option<IpAddr>,
}

/// One request of a chain of redirects, however far it got.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// What was asked for, without user and password.
    pub url: String,
    /// How.
    pub method: Method,
    /// The proxy that it went through, without user and password.
    pub proxy: Option<String>,
    /// The TCP handshake of its connection, with the server or with the proxy; of QUIC, its addresses.
    pub handshake: Handshake,
    /// Its own part of each phase that it reached.
    pub phases: Vec<(Phase, Duration)>,
    /// What its connection carried, under TLS as it was encrypted; nothing before there was a connection.
    pub traffic: Option<Traffic>,
    /// Bytes of its body; nothing before it was sent.
    pub body_length: Option<u64>,
    /// Status code of its response.
    pub status: Option<u16>,
    /// HTTP version of its response: 1.0, 1.1, 2, 3.
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
        Self { url: hop.address(), method: hop.method.clone(), ..Self::default() }
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
    let target = probe.request.target.as_str();
    let url = if settings.http3.is_some() { parse_as(without_http(target), "https") } else { parse(target) };
    let url = url.map_err(|what| probe.failure(Reason::ProberConfigError, what))?;
    if let (Some(_), Some(isp)) = (&settings.http3, probe.request.isp.as_ref().filter(|isp| isp.proxy.is_some())) {
        let detail = format!("HTTP/3 goes through no proxy, and the ISP {} has a proxy_url", isp.name);
        return Err(probe.failure(Reason::ProberConfigError, detail));
    }
    let mut hop = Hop::first(settings, url, probe.request.hostname.as_deref());
    loop {
        let asked = measured.requests.push_mut(Request::of(&hop));
        if settings.http3.is_some() && !hop.over_tls() {
            let detail = "HTTP/3 is under TLS, and the server redirected to a URL of http";
            return Err(probe.failure(Reason::HttpProtocolError, detail));
        }
        let begun = Conversation::begin(settings, probe, &mut hop, asked, &mut measured.tls).await;
        let (mut conversation, mut head) = begun?;
        probe.note(format_args!("{:?} {}", head.version, head.status));
        asked.note_head(&head);
        if let (Some(oauth2), Some(_), 401) = (&settings.oauth2, &hop.authorization, head.status.as_u16()) {
            oauth2.forget(probe).await;
        }
        hop.cookies.keep(&hop.url, &head.headers);
        let location = Hop::location(head.status, &head.headers);
        asked.redirect_url = location.as_ref().and_then(|location| hop.redirect(location));
        note_head(measured, &hop, &head, conversation.has_ended());
        if location.is_some() {
            measured.redirects += 1;
        }
        let too_many = settings.follow_redirects && measured.redirects > MOST_REDIRECTS;
        match location.filter(|_| settings.follow_redirects && !too_many) {
            Some(location) => {
                hop = hop.follow(head.status, &location).map_err(|what| {
                    probe.failure(Reason::HttpProtocolError, format!("the redirect cannot be followed: {what}"))
                })?;
                probe.timeline.begin_leg();
                probe.note(format_args!("redirected to {}", hop.address()));
            }
            None => {
                let expectations = &settings.expectations;
                expectations::take_framing(&mut head, hop.asks_for_head());
                let as_expected = expectations.check_head(probe, &head, measured).await;
                let as_expected = as_expected.map_err(|failure| match failure.reason {
                    Reason::HttpStatusUnexpected(_) if too_many => {
                        let detail = format!("the server redirected more than {MOST_REDIRECTS} times");
                        Failure { reason: Reason::TooManyRedirects, detail, ..failure }
                    }
                    _ => failure,
                });
                let check = as_expected.is_ok() && expectations.need_body();
                if check {
                    expectations.presume(measured);
                }
                let keep = check || (as_expected.is_ok() && settings.public_ip);
                let mut reader = Reader::new(settings.compression, settings.body_size_limit, keep);
                let read = conversation.read(&mut reader, measured.body_length.insert(0)).await;
                as_expected.map_err(|failure| conversation.forwarded(failure))?;
                if read.is_err() && !reader.has_begun() {
                    // As for blackbox_exporter, what is no body fails nothing that is wanted of one.
                    expectations.clear(measured);
                }
                read?;
                if let Some(body) = reader.sink().kept.take() {
                    if settings.public_ip {
                        let told = told_address(&body);
                        measured.public_ip =
                            Some(told.map_err(|what| probe.failure(Reason::AssertionFailedBody, what))?);
                    }
                    expectations.check_body(probe, body, measured).await?;
                }
                return expectations.check_transport(probe, head.version, hop.over_tls());
            }
        }
    }
}

/// Keeps what the head of a response says.
fn note_head(measured: &mut Measurement, hop: &Hop, head: &response::Parts, ended: bool) {
    measured.status = Some(head.status.as_u16());
    measured.version = number(head.version);
    let header = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let stated = || header(header::CONTENT_LENGTH).and_then(|length| length.trim().parse().ok());
    // Without the header the length is known only where there can be no body.
    let nothing = !hop.asks_for_head() && (ended || head.status == StatusCode::NO_CONTENT);
    // In HTTP/1 what these say is the length of another response, as Go has it (RFC 9112, section 6.3).
    let of_http1 = head.version < Version::HTTP_2;
    let has_none = of_http1 && nothing && matches!(head.status.as_u16(), 204 | 304);
    // A body in chunks is as long as they are (RFC 9112, section 6.3).
    let in_chunks = of_http1 && !hop.asks_for_head() && head.headers.contains_key(header::TRANSFER_ENCODING);
    let stated = if has_none || in_chunks { None } else { stated() };
    measured.content_length = Some(stated.unwrap_or(if nothing { 0 } else { -1 }));
    measured.ssl = Some(hop.over_tls());
    measured.last_modified = header(header::LAST_MODIFIED).and_then(|text| date(text.trim()));
}

/// The address that is all of a body, but for spaces and line breaks around it.
fn told_address(body: &[u8]) -> Result<IpAddr, String> {
    let text = body.trim_ascii();
    let address = str::from_utf8(text).ok().and_then(|text| text.parse::<IpAddr>().ok());
    let shown = || String::from_utf8_lossy(&text[..text.len().min(SHOWN_OF_BODY)]).into_owned();
    let address =
        address.ok_or_else(|| format!("public_ip: the body is not an address and nothing else: {:?}", shown()))?;
    Ok(address.to_canonical())
}

/// How much of a body is repeated that is no address, in bytes.
const SHOWN_OF_BODY: usize = 64;

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

/// Reads a target as a URL, and what is asked for there; without a scheme it is `http`.
fn parse(target: &str) -> Result<(Url, Asked), String> {
    parse_as(target, "http")
}

/// A target of HTTP/3 is under TLS, also where it says that it is not, as for blackbox_exporter.
fn without_http(target: &str) -> &str {
    match target.split_at_checked("http://".len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http://") => rest,
        Some(_) | None => target,
    }
}

/// Reads a target that may have no scheme.
fn parse_as(target: &str, scheme: &str) -> Result<(Url, Asked), String> {
    // The target is not repeated, since a password may stand in it.
    let wrong = |what: &str| format!("an http target is a URL, as https://example.com/path, and {what}");
    // URLs skip line breaks and tabs, so what is probed would not be what was asked for.
    if target.contains(char::is_control) {
        return Err(wrong("this one has a control character"));
    }
    // A path may have `:/` too; a host, or a host and a port, may not.
    let schemed = target.split_once(":/").is_some_and(|(scheme, _)| !scheme.contains(['/', '?', '#']));
    let (target, _) = host::without_zone(target);
    let target = if schemed { target } else { format!("{scheme}://{target}").into() };
    let url = match Url::parse(&target) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            return Err(wrong("this one has a scheme other than http and https"));
        }
        Err(error) => return Err(wrong(&format!("this one is none: {error}"))),
    };
    if url.port() == Some(0) {
        return Err(wrong("this one has port 0"));
    }
    host::check_url(&url).map_err(|what| wrong(&format!("the host of this one {what}")))?;
    let asked = target::of(&target, &url);
    Ok((url, asked))
}

/// A target for people: as it is, its password hidden.
pub(super) fn shown(target: &str) -> String {
    match parse(target) {
        Ok((url, _)) if url.password().is_some() => {
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
