//! One connection of a client: TLS where it is wanted, then HTTP/1.1 or HTTP/2 until either side has enough.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info};

use super::client::Client;
use super::listen::Stream;
use super::{State, reply};

/// How long a client may take for its request, and an open connection may be idle: longer than a scrape interval of a minute, so
/// that Prometheus need not connect anew.
const IDLE: Duration = Duration::from_secs(75);

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a client may take to hear the end of its last answer, or that its HTTP/2 connection, on which nothing runs, ends.
const GOODBYE: Duration = Duration::from_millis(500);

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Serves a connection until it ends; after `ending`, until its running requests have ended.
pub(super) async fn serve(
    stream: Stream,
    service: TowerToHyperService<Router>,
    state: Arc<State>,
    mut ending: watch::Receiver<bool>,
) {
    let served = async {
        let client = Client::of(&stream)?;
        let Some(config) = state.guard.rules(&state.own).await.tls.clone() else {
            return speak(Protocol::Http1, stream, pages(service, client), ending.clone()).await;
        };
        let secured = tokio::select! {
            secured = timeout(HANDSHAKE, secure(stream, config)) => secured,
            () = over(&mut ending) => return Ok(()),
        };
        let secured = secured.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake came"));
        // A scrape that fails for its certificate is to be found in the log.
        let told = |error: &io::Error| info!("a TLS handshake was refused, or given up: {error}");
        match secured.flatten().inspect_err(told)? {
            Secured::Tls(stream) => {
                let protocol = match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => Protocol::Http2,
                    _ => Protocol::Http1,
                };
                speak(protocol, stream, pages(service, client), ending.clone()).await
            }
            Secured::Plain(stream) => speak(Protocol::Http1, stream, service_fn(not_tls), ending.clone()).await,
        }
    };
    if let Err(error) = served.await {
        debug!("a connection ended early: {error}");
    }
}

/// A connection of a port that speaks TLS.
enum Secured {
    Tls(Box<tokio_rustls::server::TlsStream<Stream>>),
    /// The client speaks plain HTTP.
    Plain(Stream),
}

async fn secure(stream: Stream, config: Arc<ServerConfig>) -> io::Result<Secured> {
    // A record of TLS begins with its type, a number below 32 (RFC 8446, section 5.1); a request with the name of its method.
    if stream.first_byte().await?.is_some_and(|byte| byte.is_ascii_uppercase()) {
        return Ok(Secured::Plain(stream));
    }
    Ok(Secured::Tls(Box::new(TlsAcceptor::from(config).accept(stream).await?)))
}

/// What plain HTTP gets on a port that speaks TLS.
async fn not_tls(_: Request<Incoming>) -> Result<Response, Infallible> {
    let sentence = reply::sentence(StatusCode::BAD_REQUEST, "this port speaks HTTPS, and the request is plain HTTP");
    Ok(([(CONNECTION, "close")], sentence).into_response())
}

/// The pages; each request knows its client.
fn pages(
    service: TowerToHyperService<Router>,
    client: Client,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send + 'static> {
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client.clone());
        service.call(request)
    })
}

/// Speaks HTTP.
async fn speak<I, S>(protocol: Protocol, stream: I, service: S, mut ending: watch::Receiver<bool>) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    // Without a protocol of its own a client that sends nothing would wait for it to be guessed, forever.
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = match protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_only(),
    };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    let requests = watch::Sender::new(Requests::default());
    let counted = service_fn(|request| {
        let (running, answer) = (Running::of(&requests), service.call(request));
        async move { Ok::<_, Infallible>(answer.await?.map(|body| Answer { body, _running: running })) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), counted));
    // HTTP/1 looks after its idle connections itself.
    let idle = |limit| idle(requests.subscribe(), limit);
    let http2 = protocol == Protocol::Http2;
    tokio::select! {
        result = connection.as_mut() => return result.map_err(io::Error::other),
        () = over(&mut ending) => {}
        () = idle(IDLE), if http2 => {}
    }
    connection.as_mut().graceful_shutdown();
    // Half a request is none, and who has said no more is owed nothing.
    let owed = http2 || requests.borrow().came;
    tokio::select! {
        biased;
        result = connection => result.map_err(io::Error::other),
        () = idle(if owed { GOODBYE } else { Duration::ZERO }) => Ok(()),
    }
}

/// Waits until the server ends.
async fn over(ending: &mut watch::Receiver<bool>) {
    // A sender that is gone ends it as well.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// The requests of a connection.
#[derive(Debug, Clone, Copy, Default)]
struct Requests {
    /// Those that are not answered yet.
    running: usize,
    /// Whether one ever came.
    came: bool,
}

/// A request that runs.
struct Running(watch::Sender<Requests>);

impl Running {
    fn of(requests: &watch::Sender<Requests>) -> Self {
        requests.send_modify(|requests| *requests = Requests { running: requests.running + 1, came: true });
        Self(requests.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|requests| requests.running -= 1);
    }
}

/// The body of an answer. Until it is taken, its request runs.
struct Answer {
    body: Body,
    _running: Running,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Waits until no request has run for so long.
async fn idle(mut requests: watch::Receiver<Requests>, limit: Duration) {
    loop {
        // The sender lives as long as the connection.
        let _ = requests.wait_for(|requests| requests.running == 0).await;
        if timeout(limit, requests.changed()).await.is_err() {
            return;
        }
    }
}
