//! A question over HTTPS (RFC 8484), as the body of a POST.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, Version, header, response};
use http_body_util::Full;
use hyper::body::Body as _;
use url::Url;

use super::{Arriving, Measurement, Settings, Transport, no_reply, note_question};
use crate::probe::http::exchange::Exchange;
use crate::probe::resolve::resolve;
use crate::probe::{Probe, USER_AGENT, connection, host, http as http_probe, tls};
use crate::verdict::{Failure, Reason};

/// What the bodies are.
const MEDIA_TYPE: &str = "application/dns-message";

/// The longest message of the DNS, in bytes.
const LONGEST_MESSAGE: usize = 65_535;

/// Replies can be kept on their way only where all askers use the same id (RFC 8484, section 4.1).
const ID: u16 = 0;

/// Reads a target: an `https` URL. A template for GET (`{?dns}`) is taken for the URL that it begins with.
///
/// # Errors
/// One sentence.
pub(super) fn parse(target: &str) -> Result<Url, String> {
    let expected =
        |what: &str| format!("for DNS over HTTPS the target is a URL, as https://dns.example/dns-query, and {what}");
    let target = target.strip_suffix("{?dns}").unwrap_or(target);
    http_probe::check_target(target)?;
    let url =
        Url::parse(&host::without_zone(target).0).map_err(|_| expected("this one has no https:// at its beginning"))?;
    if url.scheme() != "https" {
        return Err(expected("this one is not https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(expected("this one has a user, whom nobody is told"));
    }
    Ok(url)
}

/// Asks, and waits for the reply.
///
/// # Errors
/// Why there is none, or only a part of one.
pub(super) async fn ask(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    let configuration = |what: String| probe.failure(Reason::ProberConfigError, what);
    let url = parse(&probe.request.target).map_err(configuration)?;
    let name = url.host_str().unwrap_or_default();
    let address = resolve(probe, name, settings.preference).await?;
    let server = SocketAddr::new(address, url.port().unwrap_or(Transport::Https.port()));
    note_question(probe, measured, &url);
    let plain = connection::connect(probe, server, &mut measured.handshake).await?;
    let name = settings.tls.server_name.as_deref().unwrap_or(name);
    let connection = tls::handshake(probe, &settings.tls, name, plain, &mut measured.tls).await?;
    let version = match &measured.tls {
        Some(facts) if facts.alpn.as_deref() == Some("h2") => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    let request =
        request(&url, version, settings.query.message(ID)).map_err(|error| configuration(error.to_string()))?;
    let (mut exchange, response) = Exchange::send(probe, connection, request).await?;
    let (head, body) = response.into_parts();
    probe.note(format_args!("{:?} {}", head.version, head.status));
    measured.status = Some(head.status.as_u16());
    check(probe, &head, body.is_end_stream())?;
    let mut arriving = Arriving::of(&settings.query, ID, &mut measured.reply);
    exchange.collect(body, LONGEST_MESSAGE, &mut arriving.bytes).await?;
    arriving.finish(probe)
}

/// The request, as the version wants it.
fn request(url: &Url, version: Version, message: Vec<u8>) -> Result<Request<Full<Bytes>>, http::Error> {
    let request = Request::builder().method(Method::POST).version(version);
    let request = match version {
        Version::HTTP_2 => request.uri(Uri::try_from(url.as_str())?),
        _ => {
            let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
            let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
            request.uri(path).header(header::HOST, host).header(header::CONNECTION, "close")
        }
    };
    let media_type = HeaderValue::from_static(MEDIA_TYPE);
    let request = request.header(header::CONTENT_TYPE, media_type.clone()).header(header::ACCEPT, media_type);
    request.header(header::USER_AGENT, USER_AGENT).body(Full::new(message.into()))
}

/// Whether a response, which may be known to have no body, carries a reply.
fn check(probe: &Probe<'_>, head: &response::Parts, is_empty: bool) -> Result<(), Failure> {
    if !head.status.is_success() {
        let (reason, said) = Reason::of_status(head.status, &head.headers, is_empty);
        return Err(probe.failure(reason, format!("the status is {}{said}", head.status)));
    }
    let said = head.headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = said.as_deref().and_then(|said| said.split(';').next()).map(str::trim);
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case(MEDIA_TYPE)) {
        let said = said.as_deref().unwrap_or("nothing that it names");
        return Err(no_reply(probe, &format!("is {said:?}, not {MEDIA_TYPE}")));
    }
    Ok(())
}
