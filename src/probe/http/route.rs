//! The way from a request to its server: names, connections, proxies and TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Body as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::hop::Hop;
use super::proxy::{Kind, Proxies, Proxy};
use crate::flight::Phase;
use crate::net::tls::{Tls, TlsFacts};
use crate::probe::connection::{self, Connection, Handshake};
use crate::probe::drive::{self, Beneath, Tap};
use crate::probe::resolve::{self, Preference, resolve, resolve_beyond};
use crate::probe::{Probe, tls};
use crate::verdict::{Failure, Reason};
use crate::wire::socks::{self, Destination, Reply};

/// How the servers of requests are reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route<'a> {
    /// Through whom.
    pub(super) proxies: Proxying<'a>,
    /// Whether a name that a proxy can resolve is left to it (`skip_resolve_phase_with_proxy`).
    pub(super) skip_resolve: bool,
    /// The address family of names.
    pub(super) preference: Preference,
    /// TLS to the servers.
    pub(super) tls: &'a Tls,
}

/// Whose proxies requests go through.
#[derive(Debug, Clone, Copy)]
pub(super) enum Proxying<'a> {
    /// The module's.
    Module(&'a Proxies),
    /// The ISP's, whoever is asked for; or nobody's.
    Isp(Option<&'a Proxy>),
}

impl<'a> Proxying<'a> {
    /// Those of a probe whose module has these.
    pub(super) fn of(probe: &Probe<'a>, own: Option<&'a Proxies>) -> Self {
        own.map_or(Self::Isp(probe.request.isp.as_ref().and_then(|isp| isp.proxy.as_deref())), Self::Module)
    }

    /// The proxy for a host (a name, or an address, which may be in brackets) and a port.
    fn to(self, over_tls: bool, host: &str, port: u16) -> Option<&'a Proxy> {
        match self {
            Self::Module(proxies) => proxies.to(over_tls, host, port),
            Self::Isp(proxy) => proxy,
        }
    }
}

/// A connection for a request.
pub(super) struct Reached<'a> {
    /// To the server, or to the proxy that forwards to it.
    pub(super) connection: Connection,
    /// The proxy that takes the request as it is.
    pub(super) forwarder: Option<&'a Proxy>,
}

/// Where the connection for a request goes.
pub(super) enum Way<'a> {
    /// To the server itself.
    Direct(SocketAddr),
    /// To a proxy, which connects to the server.
    Through(&'a Proxy, Destination),
}

impl<'a> Route<'a> {
    /// Opens the connection for a request on its way, under TLS where its URL says so; `facts` are then those of its handshake.
    /// What is known of the TCP handshake, with the server or with the proxy, goes to `handshake`, and who the proxy is to `through`.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn connect(
        self,
        probe: &Probe<'_>,
        hop: &Hop,
        way: Way<'a>,
        handshake: &mut Handshake,
        facts: &mut Option<TlsFacts>,
        through: &mut Option<String>,
    ) -> Result<Reached<'a>, Failure> {
        let connection = match way {
            Way::Direct(address) => connection::connect(probe, address, handshake).await?.into(),
            Way::Through(proxy, destination) => {
                *through = Some(proxy.to_string());
                let forwards = proxy.forwards() && !hop.over_tls();
                // Most probes have no proxy, and need not have the room for one.
                let entering = self.enter(probe, proxy, (!forwards).then_some(destination), handshake);
                let connection = Box::pin(entering).await?;
                if forwards {
                    return Ok(Reached { connection, forwarder: Some(proxy) });
                }
                connection
            }
        };
        if !hop.over_tls() {
            return Ok(Reached { connection, forwarder: None });
        }
        let name = hop.server_name(self.tls.server_name.as_deref());
        let connection = tls::handshake(probe, self.tls, &name, connection, facts).await?;
        Ok(Reached { connection, forwarder: None })
    }

    /// Decides the way. As blackbox_exporter does, it resolves the name also for a proxy, unless that is to be skipped, and hands it the
    /// address; `no_proxy` may then speak of the address, too.
    pub(super) async fn way(self, probe: &Probe<'_>, hop: &mut Hop) -> Result<Way<'a>, Failure> {
        let port = hop.port();
        let Some(proxy) = self.proxies.to(hop.over_tls(), hop.host(), port) else {
            let address = find(probe, hop, async |host| resolve(probe, host, self.preference).await).await?;
            return Ok(Way::Direct(SocketAddr::new(address, port)));
        };
        let literal = resolve::literal(hop.host());
        let address = match literal {
            None if self.skip_resolve => {
                return Ok(Way::Through(proxy, Destination::Name(hop.host().to_owned(), port)));
            }
            Some(address) if self.skip_resolve => address,
            None | Some(_) => find(probe, hop, async |host| resolve_beyond(probe, host, self.preference).await).await?,
        };
        let address = SocketAddr::new(address, port);
        if self.proxies.to(hop.over_tls(), &address.ip().to_string(), port).is_none() {
            return Ok(Way::Direct(address));
        }
        let by_name = matches!(proxy.kind, Kind::Socks { by_name: true, .. }) && literal.is_none();
        let destination =
            if by_name { Destination::Name(hop.host().to_owned(), port) } else { Destination::Address(address) };
        Ok(Way::Through(proxy, destination))
    }

    /// Connects to a proxy, and through it to `destination`, where it is not to forward requests: all of that is [`Phase::Connect`], but for
    /// the proxy's name.
    async fn enter(
        self,
        probe: &Probe<'_>,
        proxy: &Proxy,
        destination: Option<Destination>,
        handshake: &mut Handshake,
    ) -> Result<Connection, Failure> {
        let whom = format!("the proxy {proxy}");
        probe.note(format_args!("through {whom}"));
        let address = match proxy.address() {
            Some(address) => address,
            None => {
                // Which family the module prefers for the target, the proxy need not have.
                let preference = Preference { fallback: true, ..self.preference };
                probe.aside(Phase::Resolve, whom.clone(), resolve(probe, &proxy.host, preference)).await?
            }
        };
        let talk = async {
            let plain = connection::connect(probe, SocketAddr::new(address, proxy.port), handshake).await?;
            probe.talks_to_proxy();
            let connection = match &proxy.kind {
                // What it is like is not told: the certificates of the probe are the target's.
                Kind::Https(tls) => tls::handshake(probe, tls, &proxy.host, plain, &mut None).await?,
                Kind::Http | Kind::Socks { .. } => plain.into(),
            };
            let Some(destination) = destination else { return Ok(connection) };
            probe.timeline.enter(Phase::Query);
            let connection = match &proxy.kind {
                Kind::Http | Kind::Https(_) => tunnel(probe, proxy, connection, &destination).await?,
                Kind::Socks { password, .. } => ask_socks(probe, connection, password.as_deref(), &destination).await?,
            };
            probe.note(format_args!("{whom} has connected to {destination}"));
            Ok(connection)
        };
        probe.aside(Phase::Connect, whom.clone(), talk).await
    }
}

/// The address of a request's host, looked up unless a redirect stayed with it: then it is the same, as for blackbox_exporter.
///
/// # Errors
/// Those of `look_up`.
pub(super) async fn find(
    probe: &Probe<'_>,
    hop: &mut Hop,
    look_up: impl AsyncFnOnce(&str) -> Result<IpAddr, Failure>,
) -> Result<IpAddr, Failure> {
    let address = match hop.found {
        Some(address) => {
            probe.turn_from_connection();
            address
        }
        None => look_up(hop.host()).await?,
    };
    Ok(*hop.found.insert(address))
}

/// Asks a proxy of HTTP for a tunnel (RFC 9110, section 9.3.6).
async fn tunnel(
    probe: &Probe<'_>,
    proxy: &Proxy,
    connection: Connection,
    destination: &Destination,
) -> Result<Connection, Failure> {
    let certificate_asked = connection.certificate_asked();
    let authority = destination.to_string();
    let request = || {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = Uri::try_from(authority.as_str())?;
        *request.headers_mut() = proxy.headers_to(HeaderValue::try_from(authority.as_str())?);
        Ok::<_, http::Error>(request)
    };
    let request = request().map_err(|error| {
        probe.failure(Reason::ProberConfigError, format!("CONNECT {authority} cannot be said: {error}"))
    })?;
    let fail = |error: &hyper::Error, beneath: Option<&hyper::Error>| {
        let what = format!("no answer to CONNECT {authority}");
        drive::failure(probe, &what, error, Beneath { error: beneath, fault: None }, certificate_asked)
    };
    let mut builder = http1::Builder::new();
    builder.title_case_headers(true);
    let handshake = builder.handshake(TokioIo::new(Tap::on_the_way(connection, probe.timeline.clone()))).await;
    let (mut sender, mut beneath) = handshake.map_err(|error| fail(&error, None))?;
    let mut error = None;
    let mut over = false;
    let response = {
        let mut response = pin!(sender.send_request(request));
        std::future::poll_fn(|cx| {
            if !over && let std::task::Poll::Ready(ended) = beneath.poll_without_shutdown(cx) {
                (over, error) = (true, ended.err());
            }
            response.as_mut().poll(cx)
        })
        .await
    };
    let response = response.map_err(|first| fail(&first, error.as_ref()))?;
    let status = response.status();
    if !status.is_success() {
        let (reason, said) = match status {
            // It is our own configuration that does not say who we are, or says it wrongly.
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => (Reason::ProberConfigError, String::new()),
            status => Reason::of_status(status, response.headers(), response.body().is_end_stream()),
        };
        return Err(probe.failure(reason, format!("it answered CONNECT {authority} with {status}{said}")));
    }
    let parts = beneath.into_parts();
    if !parts.read_buf.is_empty() {
        let detail = format!("it sent {} bytes through the tunnel before there was anything", parts.read_buf.len());
        return Err(probe.failure(Reason::HttpProtocolError, detail));
    }
    Ok(parts.io.into_inner().into_connection())
}

/// Asks a proxy of SOCKS for a connection.
async fn ask_socks(
    probe: &Probe<'_>,
    mut connection: Connection,
    password: Option<&[u8]>,
    destination: &Destination,
) -> Result<Connection, Failure> {
    let fail = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            let detail = "it ended the connection before it had answered";
            probe.failure(Reason::ConnectionTerminated, detail)
        }
        _ => probe.io_failure("talking to it", &error, None),
    };
    let foreign = |version: u8| {
        let detail = format!("it does not speak SOCKS 5: its answer begins with the byte {version}");
        probe.failure(Reason::HttpProtocolError, detail)
    };
    let config = |detail: &str| probe.failure(Reason::ProberConfigError, detail);
    let mut ask = async |message: &[u8], answer: &mut [u8]| -> Result<(), Failure> {
        let sent = match connection.write_all(message).await {
            Ok(()) => connection.flush().await,
            error => error,
        };
        match sent {
            // It may have said before that it is no such proxy.
            Err(gone) if drive::hung_up(&gone) => connection.read_exact(answer).await.map_err(|_| fail(gone))?,
            sent => {
                sent.map_err(fail)?;
                connection.read_exact(answer).await.map_err(fail)?
            }
        };
        Ok(())
    };
    let mut answer = [0; 2];
    ask(&socks::greeting(password.is_some()), &mut answer).await?;
    if answer[0] != socks::VERSION {
        return Err(foreign(answer[0]));
    }
    match (socks::Method::of(answer[1]), password) {
        (socks::Method::Nothing, _) => {}
        (socks::Method::Password, Some(password)) => {
            ask(password, &mut answer).await?;
            if answer != [socks::PASSWORD_VERSION, 0] {
                return Err(config("it does not take the user and the password of its URL"));
            }
        }
        (_, Some(_)) => return Err(config("it takes neither user and password nor nobody")),
        (_, None) => return Err(config("it wants to know who asks; its URL has no user and password")),
    }
    let request = socks::connect(destination).ok_or_else(|| config("the name is too long for SOCKS"))?;
    // Version, reply, nothing, the type of the address that it connected from, and the first byte of that, which nobody needs.
    let mut answer = [0; 4];
    ask(&request, &mut answer).await?;
    let [version, reply, _, ty] = answer;
    if version != socks::VERSION {
        return Err(foreign(version));
    }
    let (reason, what) = match Reply::of(reply) {
        Reply::Succeeded => {
            let first = connection.read_u8().await.map_err(fail)?;
            let length = socks::bound_length(ty, first).ok_or_else(|| {
                probe.failure(Reason::HttpProtocolError, format!("its answer has an address of the unknown type {ty}"))
            })?;
            let mut bound = vec![0; length - 1];
            connection.read_exact(&mut bound).await.map_err(fail)?;
            return Ok(connection);
        }
        Reply::GeneralFailure => (Reason::ConnectionTerminated, "a general failure".to_owned()),
        Reply::NotAllowed => (Reason::AdminProhibited, "that its rules do not allow it".to_owned()),
        Reply::NetworkUnreachable => (Reason::NetUnreachable, "that the network is unreachable".to_owned()),
        Reply::HostUnreachable => (Reason::HostUnreachable, "that the host is unreachable".to_owned()),
        Reply::ConnectionRefused => (Reason::ConnectionRefused, "that the connection was refused".to_owned()),
        Reply::TtlExpired => (Reason::TtlExceeded, "that the time to live ended on the way".to_owned()),
        Reply::CommandNotSupported => (Reason::ProberConfigError, "that it makes no connections".to_owned()),
        Reply::AddressTypeNotSupported => {
            (Reason::ProberConfigError, "that it does not take such an address".to_owned())
        }
        Reply::Other(code) => (Reason::ConnectionTerminated, format!("the unknown code {code}")),
    };
    Err(probe.failure(reason, format!("asked for {destination}, it answered {what}")))
}
