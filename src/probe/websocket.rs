//! WebSocket (RFC 6455): a handshake over HTTP/1.1, and messages.

mod conversation;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Request, Response, StatusCode, Version};
use http_body_util::Empty;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use url::Url;

use super::connection::{self, Connection, Handshake};
use super::drive::Driver;
use super::http::target::{self, Asked};
use super::resolve::{Preference, resolve};
use super::{Probe, SECRET, USER_AGENT, host, tls};
use crate::flight::{Phase, Traffic};
use crate::net::tls::{Tls, TlsFacts};
use crate::re2::Regex;
use crate::verdict::{Failure, Reason};
use crate::wire::websocket as wire;

/// The `websocket:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// The handshake's headers, `Host` excepted.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The `Host` header, where it is not the target's.
    pub host: Option<String>,
    /// What is heard and said.
    pub query_response: Vec<Step>,
    /// The address family.
    pub preference: Preference,
    /// TLS, built once per module.
    pub tls: Arc<Tls>,
}

/// One entry of `query_response`: what is heard, then what is said.
#[derive(Debug, Default)]
pub struct Step {
    /// A message must match.
    pub expect: Option<Regex>,
    /// The text that is sent, with `${1}` from `expect`.
    pub send: Option<String>,
    /// The bytes that are sent.
    pub send_bytes: Option<Bytes>,
}

/// What a websocket probe measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurement {
    /// The handshake of the connection.
    pub handshake: Handshake,
    /// What the connection carried, under TLS as it was encrypted; nothing before there was one.
    pub traffic: Option<Traffic>,
    /// Status code of the answer to the handshake.
    pub status: Option<u16>,
    /// Whether it made the connection a WebSocket; nothing before there was an answer.
    pub upgraded: Option<bool>,
    /// Whether an `expect` failed; nothing before the conversation.
    pub failed_due_to_regex: Option<bool>,
    /// The code that the server closed with.
    pub close_code: Option<u16>,
    /// The TLS handshake.
    pub tls: Option<TlsFacts>,
}

/// The longest head of an answer, in bytes.
const LONGEST_HEAD: usize = 256 << 10;

/// Says why `target` is not a URL of a WebSocket.
///
/// # Errors
/// One sentence.
pub fn check_target(target: &str) -> Result<(), String> {
    parse(target).map(drop)
}

/// Measures.
///
/// # Errors
/// Why it went no further.
pub async fn measure(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    let (url, asked_for) =
        parse(&probe.request.target).map_err(|what| probe.failure(Reason::ProberConfigError, what))?;
    let host = url.host_str().unwrap_or_default();
    let address = resolve(probe, host, settings.preference).await?;
    let destination = SocketAddr::new(address, url.port_or_known_default().unwrap_or(80));
    let plain = connection::connect(probe, destination, &mut measured.handshake).await?;
    let connection = if url.scheme() == "wss" {
        let asked = probe.request.hostname.as_deref().and_then(|name| name.parse::<Authority>().ok());
        let asked = asked.as_ref().map_or(host, Authority::host);
        let name = settings.tls.server_name.as_deref().unwrap_or(asked);
        tls::handshake(probe, &settings.tls, name, plain, &mut measured.tls).await?
    } else {
        Connection::Plain(plain)
    };
    let (connection, received) = upgrade(settings, probe, (host, &asked_for), connection, measured).await?;
    conversation::hold(probe, &settings.query_response, connection, received, measured).await
}

/// Makes a connection a WebSocket (section 4.1), in [`Phase::Processing`]; returns it with what came behind the answer.
async fn upgrade(
    settings: &Settings,
    probe: &Probe<'_>,
    target: (&str, &Asked),
    connection: Connection,
    measured: &mut Measurement,
) -> Result<(Connection, BytesMut), Failure> {
    probe.timeline.enter(Phase::Processing);
    let mut random = [0; 16];
    fill(probe, &mut random)?;
    let key = wire::key(random);
    let request = request(settings, target, probe.request.hostname.as_deref(), &key).map_err(|error| {
        probe.failure(Reason::ProberConfigError, format!("the handshake cannot be sent as it is configured: {error}"))
    })?;
    let mut driver = Driver::of(&connection, Version::HTTP_11);
    let mut builder = http1::Builder::new();
    builder.title_case_headers(true).max_buf_size(LONGEST_HEAD);
    let handshake = builder.handshake(TokioIo::new(connection)).await;
    let (mut sender, connection) = handshake.map_err(|error| driver.failure(probe, "no answer", &error))?;
    driver.drive(connection.with_upgrades());
    let response = driver.alongside(sender.send_request(request)).await;
    let response = response.map_err(|error| driver.failure(probe, "no answer", &error))?;
    probe.note(format_args!("{:?} {}", response.version(), response.status()));
    (measured.status, measured.upgraded) = (Some(response.status().as_u16()), Some(false));
    check(probe, settings, &response, &key)?;
    let upgraded = driver.alongside(hyper::upgrade::on(response)).await;
    let upgraded =
        upgraded.map_err(|error| driver.failure(probe, "the connection did not become a WebSocket", &error))?;
    let parts = upgraded.downcast::<TokioIo<Connection>>();
    let parts = parts.map_err(|_| probe.failure(Reason::ProberError, "the connection is not what it was"))?;
    measured.upgraded = Some(true);
    Ok((parts.io.into_inner(), parts.read_buf.into()))
}

fn request(
    settings: &Settings,
    (host, asked_for): (&str, &Asked),
    hostname: Option<&str>,
    key: &str,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let host = match (settings.host.as_deref().or(hostname), asked_for.port) {
        (Some(host), _) => HeaderValue::try_from(host)?,
        (None, Some(port)) => HeaderValue::try_from(format!("{host}:{port}"))?,
        (None, None) => HeaderValue::try_from(host)?,
    };
    let mut request = Request::get(&asked_for.target).body(Empty::new())?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, host);
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::try_from(key)?);
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    if !settings.headers.iter().any(|(name, _)| name == header::USER_AGENT) {
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    }
    for (name, value) in &settings.headers {
        headers.append(name, value.clone());
    }
    Ok(request)
}

/// Whether an answer makes the connection a WebSocket (section 4.1).
fn check(probe: &Probe<'_>, settings: &Settings, response: &Response<Incoming>, key: &str) -> Result<(), Failure> {
    let (status, headers) = (response.status(), response.headers());
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let (reason, said) = Reason::of_status(status, headers, response.body().is_end_stream());
        let detail = format!("the handshake was answered with the status {status}, not 101{said}");
        return Err(probe.failure(reason, detail));
    }
    let wrong =
        |what: &str| Err(probe.failure(Reason::HttpProtocolError, format!("the answer is no handshake: {what}")));
    if !words(headers, &header::UPGRADE).any(|word| word.eq_ignore_ascii_case("websocket")) {
        return wrong("its Upgrade is not websocket");
    }
    if !words(headers, &header::CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade")) {
        return wrong("its Connection is not Upgrade");
    }
    let accepted = headers.get(header::SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    if accepted != Some(wire::accept(key).as_bytes()) {
        return wrong("its Sec-WebSocket-Accept does not answer our key");
    }
    if words(headers, &header::SEC_WEBSOCKET_EXTENSIONS).next().is_some() {
        return wrong("it has an extension that was not asked for");
    }
    let asked: HeaderMap = settings.headers.iter().cloned().collect();
    if let Some(protocol) = words(headers, &header::SEC_WEBSOCKET_PROTOCOL).next()
        && !words(&asked, &header::SEC_WEBSOCKET_PROTOCOL).any(|word| word == protocol)
    {
        return wrong("it has a subprotocol that was not asked for");
    }
    Ok(())
}

/// The words of a list in headers.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

/// Fills with what nobody can foretell: an attacker who could would have the masks write what he likes to a proxy (section 10.3).
fn fill(probe: &Probe<'_>, random: &mut [u8]) -> Result<(), Failure> {
    aws_lc_rs::rand::fill(random).map_err(|_| probe.failure(Reason::ProberError, "no random numbers"))
}

/// Reads a target as a URL, and what is asked for there: path and query as they are given.
fn parse(target: &str) -> Result<(Url, Asked), String> {
    // The target is not repeated, since a password may stand in it.
    let wrong = |what: &str| format!("a websocket target is a URL, as wss://example.com/path, and {what}");
    // URLs skip line breaks and tabs, so what is probed would not be what was asked for.
    if target.contains(char::is_control) {
        return Err(wrong("this one has a control character"));
    }
    let (target, _) = host::without_zone(target);
    let url = match Url::parse(&target) {
        Ok(url) if matches!(url.scheme(), "ws" | "wss") => url,
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            return Err(wrong("this one has another scheme than ws and wss"));
        }
        Err(error) => return Err(wrong(&format!("this one is none: {error}"))),
    };
    // RFC 6455, section 3, knows neither.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("this one has a user, which belongs in the module's http_config.basic_auth"));
    }
    if url.fragment().is_some() {
        return Err(wrong("this one has a fragment (#…), which those of WebSockets do not have"));
    }
    if url.port() == Some(0) {
        return Err(wrong("this one has port 0"));
    }
    host::check_url(&url).map_err(|what| wrong(&format!("the host of this one {what}")))?;
    let asked_for = target::of(&target, &url);
    Ok((url, asked_for))
}

/// A target for people. One that is none may have a password somewhere.
pub(super) fn shown(target: &str) -> String {
    match parse(target) {
        Err(_) if target.contains('@') => SECRET.to_owned(),
        Ok(_) | Err(_) => target.to_owned(),
    }
}

#[cfg(test)]
mod tests;
