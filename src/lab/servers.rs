//! The servers at the far end of the lab: HTTP, HTTPS, gRPC, WebSocket, a greeting, an echo, names.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;

use super::Namespace;
use super::topology::{TARGETS, target};
use crate::net::{Family, clock, options, udp};
use crate::wire::{grpc, websocket};

/// The servers, on every address of the far end:
///
/// | port | |
/// |---|---|
/// | 80 | HTTP/1.1 and HTTP/2 without TLS: `/`, `/status/<code>`, `/redirect/<n>`, `/delay/<ms>`; a gRPC health service that serves; a WebSocket at `/socket` that says what it hears |
/// | 443 | the same over TLS 1.2 and 1.3, HTTP/2 by ALPN; a certificate for [`NAMES`] and every target's address |
/// | 25 | `220 …` at once; then `250` for every line, `221` for `QUIT` |
/// | 7 | echo |
/// | 53, UDP | a name server that has no records |
///
/// Everything else is refused. They end when this is dropped.
#[derive(Debug)]
pub struct Servers {
    /// The certificate of the CA that signed the servers', as PEM.
    pub ca_pem: String,
    accepts: [(u16, Arc<AtomicU64>); 4],
    /// By how many microseconds a name server answered too late.
    late: Arc<AtomicU64>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// The names that the certificate is good for. A plain `*.lab` is refused by clients: it would cover a whole top-level domain.
pub const NAMES: [&str; 3] = ["web.lab", "*.web.lab", "mail.lab"];

impl Servers {
    /// Starts them.
    ///
    /// # Errors
    /// Why a port could not be bound, or the certificates not made.
    pub fn start(far: &Namespace) -> io::Result<Self> {
        let (ca_pem, tls) = certificates()?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let runtime = far.runtime()?;
        let late = Arc::<AtomicU64>::default();
        let accepts = [80, 443, 25, 7].map(|port| (port, Arc::new(AtomicU64::new(0))));
        for (port, accepts) in &accepts {
            // One socket serves both families.
            let listener = far.run(|| std::net::TcpListener::bind(("::", *port)))??;
            listener.set_nonblocking(true)?;
            let (port, accepts, acceptor) = (*port, Arc::clone(accepts), acceptor.clone());
            runtime.spawn(async move {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                while let Ok((stream, _)) = listener.accept().await {
                    accepts.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(converse(port, stream, acceptor.clone()));
                }
            });
        }
        // A datagram is answered from the address that it was sent to, so each has a socket of its own.
        for address in TARGETS.flat_map(|number| [Family::V4, Family::V6].map(|family| target(family, number))) {
            let (socket, late) = (far.run(|| name_server(address))??, Arc::clone(&late));
            runtime.spawn(async move {
                let Ok(socket) = UdpSocket::from_std(socket) else { return };
                let mut message = [0; 512];
                while let Ok(received) = udp::receive(&socket, &mut message).await {
                    let Some(client) = received.peer else { continue };
                    // The question is the answer, but for the flag that says which it is.
                    message[2] |= 0x80;
                    let _ = socket.send_to(&message[..received.len], client).await;
                    let taken = received.stamp.map(|arrived| clock::now().saturating_sub(arrived).as_micros() as u64);
                    late.fetch_max(taken.unwrap_or_default(), Ordering::Relaxed);
                }
            });
        }
        Ok(Self { ca_pem, accepts, late, runtime: Some(runtime) })
    }

    /// By how much the most belated answer of a name server came late, because this machine was busy; and begins anew.
    pub(super) fn lateness(&self) -> Duration {
        Duration::from_micros(self.late.swap(0, Ordering::Relaxed))
    }

    /// How often `accept()` has returned on a port: never for a half-open check.
    #[must_use]
    pub fn accepts(&self, port: u16) -> u64 {
        let listener = self.accepts.iter().find(|(listening, _)| *listening == port);
        listener.map_or(0, |(_, accepts)| accepts.load(Ordering::Relaxed))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting is neither needed nor, inside another runtime, allowed.
            runtime.shutdown_background();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a server of the lab, which probes nothing")]
fn name_server(address: IpAddr) -> io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind((address, 53))?;
    socket.set_nonblocking(true)?;
    options::stamp_arrivals(&socket)?;
    Ok(socket)
}

/// Serves one connection. Its errors are the client's business.
async fn converse(port: u16, stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match port {
        443 => serve_http(acceptor.accept(stream).await?).await,
        25 => greet(stream).await?,
        7 => {
            let (mut from, mut to) = stream.into_split();
            tokio::io::copy(&mut from, &mut to).await?;
        }
        _ => serve_http(stream).await,
    }
    Ok(())
}

async fn greet(mut stream: TcpStream) -> io::Result<()> {
    let (from, mut to) = stream.split();
    to.write_all(b"220 mail.lab ESMTP\r\n").await?;
    let mut lines = BufReader::new(from).lines();
    while let Some(line) = lines.next_line().await? {
        if line.eq_ignore_ascii_case("QUIT") {
            return to.write_all(b"221 mail.lab closes\r\n").await;
        }
        to.write_all(b"250 mail.lab\r\n").await?;
    }
    Ok(())
}

async fn serve_http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let server = auto::Builder::new(TokioExecutor::new());
    let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(respond)).into_owned();
    // A client that went away.
    let _ = connection.await;
}

type Content = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;

async fn respond(request: Request<Incoming>) -> Result<Response<Content>, Infallible> {
    Ok(match request.uri().path() {
        grpc::CHECK => serves(),
        "/socket" => upgrade(request),
        _ => page(&request).await.map(Either::Left),
    })
}

/// The answer of a gRPC server that serves.
fn serves() -> Response<Content> {
    let status = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1])).with_trailers(async { Some(Ok(status)) });
    let mut response = Response::new(Either::Right(body.boxed_unsync()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// Makes a connection a WebSocket; without a key it is refused.
fn upgrade(request: Request<Incoming>) -> Response<Content> {
    let mut response = Response::new(Either::Left(Full::default()));
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let Some(accept) = key.and_then(|key| HeaderValue::try_from(websocket::accept(key)).ok()) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            // A client that went away.
            let _ = repeat(TokioIo::new(upgraded)).await;
        }
    });
    response
}

/// Says what it hears, as long as that is short (RFC 6455, section 5.2), until it hears a close.
async fn repeat(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let mut head = [0; 6];
        stream.read_exact(&mut head).await?;
        let [first, length, mask @ ..] = head;
        let mut frame = vec![first, length & 0x7f];
        let mut payload = vec![0; frame[1].into()];
        stream.read_exact(&mut payload).await?;
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        stream.write_all(&frame).await?;
        stream.flush().await?;
        if first & 0x0f == 8 {
            return Ok(());
        }
    }
}

async fn page(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut parts = request.uri().path().trim_start_matches('/').splitn(2, '/');
    let (page, number) = (parts.next().unwrap_or_default(), parts.next().and_then(|number| number.parse::<u16>().ok()));
    let mut response = Response::new(Full::new(Bytes::from_static(b"The far end of the lab.\n")));
    match (page, number) {
        ("", None) => {}
        ("status", Some(code)) => {
            *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
        }
        ("redirect", Some(left @ 1..)) => {
            *response.status_mut() = StatusCode::FOUND;
            let next = HeaderValue::try_from(format!("/redirect/{}", left - 1));
            response.headers_mut().extend(next.ok().map(|next| (header::LOCATION, next)));
        }
        ("redirect", Some(0)) => {}
        ("delay", Some(milliseconds)) => tokio::time::sleep(Duration::from_millis(milliseconds.into())).await,
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}

/// A CA, as PEM, and a server configuration with a certificate of it.
fn certificates() -> io::Result<(String, rustls::ServerConfig)> {
    let (ca_pem, chain, key) = sign().map_err(|error| io::Error::other(format!("making the certificates: {error}")))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| io::Error::other(format!("using the certificates: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((ca_pem, config))
}

type Signed = (String, Vec<rustls::pki_types::CertificateDer<'static>>, PrivateKeyDer<'static>);

fn sign() -> Result<Signed, rcgen::Error> {
    let mut ca = named("Lab CA", Vec::new())?;
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = KeyPair::generate()?;
    let ca_pem = ca.self_signed(&ca_key)?.pem();

    let addresses =
        TARGETS.flat_map(|number| [Family::V4, Family::V6].map(|family| target(family, number).to_string()));
    let mut leaf = named("Lab server", NAMES.map(str::to_owned).into_iter().chain(addresses).collect())?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let leaf_key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&leaf_key, &Issuer::new(ca, ca_key))?;
    Ok((ca_pem, vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(leaf_key.serialize_der().into())))
}

fn named(name: &str, alternatives: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(alternatives)?;
    params.distinguished_name.push(DnType::CommonName, name);
    // No clock: the lab's certificates are good whenever the lab runs.
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    Ok(params)
}
