//! Health checks of gRPC services: `grpc.health.v1.Health/Check`, one call over one connection.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{Method, Request, StatusCode, Uri, Version};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;

use super::connection::{self, Connection, Handshake};
use super::drive::Driver;
use super::resolve::{Preference, resolve};
use super::services::Carrier;
use super::{Probe, USER_AGENT, host, tls};
use crate::flight::{Phase, Traffic};
use crate::net::tls::{Tls, TlsFacts};
use crate::verdict::{Failure, Reason};
use crate::wire::grpc::{self, Serving};
use crate::wire::http::ResponseStart;

/// The `grpc:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// The service that is asked about; empty, the server as a whole.
    pub service: String,
    /// Whether the connection is under TLS.
    pub tls: bool,
    /// TLS, built once per module.
    pub tls_config: Arc<Tls>,
    /// What is sent with the call, as headers; binary values are encoded.
    pub metadata: Vec<(HeaderName, HeaderValue)>,
    /// The address family.
    pub preference: Preference,
}

/// What a grpc probe measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurement {
    /// The handshake of the connection.
    pub handshake: Handshake,
    /// What the connection carried, under TLS as it was encrypted; nothing before there was one.
    pub traffic: Option<Traffic>,
    /// Whether the connection is under TLS; nothing before it was ready for the call.
    pub ssl: Option<bool>,
    /// Status code of HTTP that the call was answered with.
    pub http_status: Option<u16>,
    /// Status code of gRPC that the call ended with.
    pub status: Option<u32>,
    /// What the server said to it.
    pub message: Option<String>,
    /// What the service says of itself.
    pub serving: Option<Serving>,
    /// The TLS handshake.
    pub tls: Option<TlsFacts>,
}

/// The longest answer, in bytes. It is seven of them, unless a server has more to say.
const LONGEST_ANSWER: usize = 64 << 10;

/// The longest header list of an answer, in bytes.
const LONGEST_HEADERS: u32 = 64 << 10;

/// The most of a server's message that is kept, in bytes.
const LONGEST_MESSAGE: usize = 1024;

/// The headers that a call ends with, at its end or at once.
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Says why `target` is neither a host nor `host:port`.
///
/// # Errors
/// One sentence.
pub fn check_target(target: &str) -> Result<(), String> {
    host_and_port(target).map(drop)
}

/// The name that `hostname=` asks for in TLS; nothing where the module has no TLS, or names its server itself.
///
/// # Errors
/// One sentence.
pub fn hostname(settings: &Settings, hostname: &str) -> Result<Option<String>, String> {
    if settings.tls { tls::hostname(&settings.tls_config, hostname) } else { Ok(None) }
}

/// Measures.
///
/// # Errors
/// Why it went no further.
pub async fn measure(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    let (host, port) =
        host_and_port(&probe.request.target).map_err(|what| probe.failure(Reason::ProberConfigError, what))?;
    let address = resolve(probe, host, settings.preference).await?;
    let port = port.unwrap_or(if settings.tls { 443 } else { 80 });
    let plain = connection::connect(probe, SocketAddr::new(address, port), &mut measured.handshake).await?;
    let asked = probe.request.hostname.as_deref().unwrap_or(host);
    let server_name = settings.tls_config.server_name.as_deref().unwrap_or(asked);
    let connection = match settings.tls {
        true => tls::handshake(probe, &settings.tls_config, server_name, plain, &mut measured.tls).await?,
        false => Connection::Plain(plain),
    };
    if measured.tls.as_ref().is_some_and(|facts| facts.alpn.as_deref() != Some("h2")) {
        return Err(probe.failure(Reason::HttpProtocolError, "the server did not agree to speak HTTP/2 (ALPN h2)"));
    }
    measured.ssl = Some(settings.tls);
    // As Go's client names the server: under TLS by the name that its certificate has.
    let request = match settings.tls {
        true => call(settings, Scheme::HTTPS, &bracketed(server_name)),
        false => call(settings, Scheme::HTTP, &format!("{}:{port}", bracketed(host))),
    };
    let request = request.map_err(|error| {
        probe.failure(Reason::ProberConfigError, format!("the call cannot be made as it is configured: {error}"))
    })?;
    let mut call = Call { probe, driver: Driver::of(&connection, Version::HTTP_2) };
    let head = call.make(connection, request, measured).await?;
    judge(probe, &settings.service, &head, measured)
}

fn call(settings: &Settings, scheme: Scheme, authority: &str) -> Result<Request<Full<Bytes>>, http::Error> {
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(grpc::CHECK).build()?;
    let mut request = Request::new(Full::new(grpc::request(&settings.service).into()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    for (name, value) in &settings.metadata {
        headers.append(name, value.clone());
    }
    Ok(request)
}

/// The call over its connection.
struct Call<'a> {
    probe: &'a Probe<'a>,
    driver: Driver,
}

impl Call<'_> {
    /// Makes the call, in [`Phase::Processing`], and from the first byte of the answer on in [`Phase::Transfer`]; returns the headers of
    /// the answer's head.
    async fn make(
        &mut self,
        connection: Connection,
        request: Request<Full<Bytes>>,
        measured: &mut Measurement,
    ) -> Result<HeaderMap, Failure> {
        let timeline = &self.probe.timeline;
        timeline.enter(Phase::Processing);
        let io = TokioIo::new(self.driver.watch(connection, ResponseStart::http2(), timeline.clone()));
        let mut builder = http2::Builder::new(self.driver.spawner());
        let handshake = builder.max_header_list_size(LONGEST_HEADERS).handshake(io);
        let handshake = self.driver.alongside(handshake).await;
        let (mut sender, connection) = handshake.map_err(|error| self.failure("no answer", &error))?;
        self.driver.drive(connection);
        let response = self.driver.alongside(sender.send_request(request)).await;
        let (head, body) = response.map_err(|error| self.failure("no answer", &error))?.into_parts();
        self.probe.note(format_args!("{:?} {}", head.version, head.status));
        measured.http_status = Some(head.status.as_u16());
        // A call that ends at once has its end in its head, and no message.
        let answer = if self.end(&head.headers, measured)? {
            BytesMut::new()
        } else {
            self.check_head(head.status, &head.headers, body.is_end_stream())?;
            self.read(body, measured).await?
        };
        // What may have left behind the call is a goodbye.
        self.probe.timeline.nothing_due();
        if measured.status == Some(0) {
            let serving = grpc::response(&answer).map_err(|what| {
                // A call without its message was none that succeeded, whatever the server says of it.
                measured.status = None;
                self.wrong(what)
            })?;
            measured.serving = Some(serving);
        }
        Ok(head.headers)
    }

    /// Reads the answer to its end, and with what the call ended.
    async fn read(&mut self, mut body: Incoming, measured: &mut Measurement) -> Result<BytesMut, Failure> {
        let mut answer = BytesMut::new();
        while let Some(frame) = self.driver.frame(self.probe, &mut body).await? {
            match frame.into_data() {
                Ok(data) if answer.len() + data.len() > LONGEST_ANSWER => {
                    let detail = format!("the answer has more than {LONGEST_ANSWER} bytes");
                    return Err(self.probe.failure(Reason::HttpResponseBodySize, detail));
                }
                Ok(data) => answer.extend_from_slice(&data),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers()
                        && self.end(&trailers, measured)?
                    {
                        return Ok(answer);
                    }
                }
            }
        }
        Err(self.wrong("it has no grpc-status at its end"))
    }

    /// Keeps what the call ended with; says whether these headers are its end.
    fn end(&self, headers: &HeaderMap, measured: &mut Measurement) -> Result<bool, Failure> {
        let Some(status) = headers.get(STATUS) else { return Ok(false) };
        let number = status.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number =
            number.and_then(|text| text.parse().ok()).ok_or_else(|| self.wrong("its grpc-status is no number"));
        measured.status = Some(number?);
        measured.message = headers.get(MESSAGE).map(|message| {
            let mut message = grpc::message(message.as_bytes());
            message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
            message
        });
        Ok(true)
    }

    /// Whether an answer without a status of gRPC in its head may still be one.
    fn check_head(&self, status: StatusCode, headers: &HeaderMap, is_empty: bool) -> Result<(), Failure> {
        if status != StatusCode::OK {
            let (reason, said) = Reason::of_status(status, headers, is_empty);
            let detail = format!("the answer is not of gRPC: its HTTP status is {status}{said}");
            return Err(self.probe.failure(reason, detail));
        }
        let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |ty| ty.as_bytes());
        match content_type.strip_prefix(b"application/grpc") {
            Some([] | [b'+' | b';', ..]) => Ok(()),
            _ => {
                let content_type = String::from_utf8_lossy(content_type);
                Err(self.wrong(&format!("its content type is {content_type:?}")))
            }
        }
    }

    /// Why there is no answer. What came instead is all that was waited for.
    fn failure(&self, what: &str, error: &hyper::Error) -> Failure {
        self.probe.timeline.nothing_due();
        self.driver.failure(self.probe, what, error)
    }

    /// The answer is not one of gRPC.
    fn wrong(&self, what: &str) -> Failure {
        self.probe.failure(Reason::HttpProtocolError, format!("the answer is not of gRPC: {what}"))
    }
}

/// Whether the call succeeded, and the service serves.
fn judge(probe: &Probe<'_>, service: &str, head: &HeaderMap, measured: &Measurement) -> Result<(), Failure> {
    let whole = match service {
        "" => "the server".to_owned(),
        service => format!("the service {service:?}"),
    };
    match (measured.status, measured.serving) {
        (_, Some(Serving::Serving)) => Ok(()),
        (_, Some(other)) => {
            Err(probe.failure(Reason::AssertionFailedBody, format!("{whole} says that it is {}", other.name())))
        }
        (status, None) => {
            let status = status.unwrap_or_default();
            let name = grpc::code_name(status).unwrap_or("no code that has a name");
            let message = measured.message.as_deref().filter(|message| !message.is_empty());
            let words = message.map(|message| format!(": {message}")).unwrap_or_default();
            let (reason, said) = of_gateway(status, head, message.is_none())
                .unwrap_or_else(|| (Reason::AssertionFailedHeader, String::new()));
            Err(probe
                .failure(reason, format!("the check of {whole} ended with the status {status}, {name}{words}{said}")))
        }
    }
}

/// What a status means that is a gateway's own, and what else it says. To calls of gRPC, Envoy says in the head of its answer 14 for a
/// 503, and 12 without a message for a 404 (`grpc/doc/http-grpc-status-mapping.md`).
fn of_gateway(status: u32, head: &HeaderMap, is_empty: bool) -> Option<(Reason, String)> {
    let status = match status {
        _ if !head.contains_key(STATUS) => return None,
        12 => StatusCode::NOT_FOUND,
        14 => StatusCode::SERVICE_UNAVAILABLE,
        _ => return None,
    };
    let of_status = Reason::of_status(status, head, is_empty);
    matches!(of_status.0, Reason::HttpUpstreamUnhealthy | Reason::HttpNoRoute).then_some(of_status)
}

/// Splits `host:port`, `[2001:db8::1]:443`; the port may be missing. A scheme before it and a path behind it are passed over, as
/// blackbox_exporter does: the module decides on TLS.
fn host_and_port(target: &str) -> Result<(&str, Option<u16>), String> {
    let bare = ["http://", "https://"].into_iter().find_map(|scheme| target.strip_prefix(scheme)).unwrap_or(target);
    host::parse_with_port(bare.split(['/', '?', '#']).next().unwrap_or_default(), Carrier::Tcp)
}

/// A host as it stands in a URL.
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests;
