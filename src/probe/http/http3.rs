//! HTTP/3 (RFC 9114) by h3 over quinn, without a task of its own: what is dropped says goodbye, and leaves nothing behind.

use std::future::{pending, poll_fn};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3::error::StreamError;
use h3_quinn::{BidiStream, OpenStreams};
use http::{Request, StatusCode, header, response};
use http_body_util::Full;
use quinn::{AsyncTimer, AsyncUdpSocket, ConnectionError, Endpoint, EndpointConfig, TokioRuntime, VarInt};
use rustls::AlertDescription;
use tokio::runtime::Handle;
use tokio::task::coop;

use super::body::Reader;
use super::exchange::unreadable;
use super::hop::Hop;
use crate::flight::{Phase, Traffic};
use crate::net::quic::Datagrams;
use crate::net::share;
use crate::net::stream::Observer;
use crate::net::tls::{Tls, TlsFacts, quic_chain, quic_handshake};
use crate::probe::connection::{Handshake, connect_failure};
use crate::probe::tasks::{Spawner, Task, Tasks};
use crate::probe::{Probe, SharedTimeline, drive, tls};
use crate::verdict::{Failure, Reason};
use crate::wire::http::is_violation_of_http3;

/// What a frame costs, however small, as work on so many bytes: for each h3 looks through all parts of the stream that it has.
const FRAME: usize = share::PIECE / 16;

/// The longest head of a response, in bytes with 32 for every field (RFC 9114, section 4.2.2): fewer fields than the 24,576 at which
/// `HeaderMap` panics.
const LONGEST_HEAD: u64 = 1 << 19;

/// The first and the last code of what TLS says in QUIC: an alert (RFC 9001, section 4.8).
const CRYPTO_ERRORS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;

/// `CONNECTION_REFUSED` (RFC 9000, section 20.1).
const CONNECTION_REFUSED: u64 = 2;

/// `H3_NO_ERROR` (RFC 9114, section 8.1).
const NO_ERROR: VarInt = VarInt::from_u32(0x100);

/// A request that was sent, and the connection that its response comes over.
pub(super) struct Exchange<'a> {
    quic: Quic<'a>,
    stream: RequestStream<BidiStream<Bytes>, Bytes>,
    /// The last sender that is dropped ends the connection.
    _sender: SendRequest<OpenStreams, Bytes>,
    /// How many bytes the body is to have, where that is known.
    due: Option<u64>,
}

/// The server of a request, and how it is spoken to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server<'a> {
    /// Where it is.
    pub(super) address: SocketAddr,
    /// QUIC to it.
    pub(super) config: &'a quinn::ClientConfig,
    /// What its certificates are judged by.
    pub(super) tls: &'a Tls,
}

/// A connection of QUIC, and what makes it.
struct Quic<'a> {
    probe: &'a Probe<'a>,
    connection: quinn::Connection,
    work: Work,
    certificate_asked: bool,
}

impl<'a> Exchange<'a> {
    /// Connects to the server of a request, sends it, and waits for the head of its response. [`Phase::Connect`] ends with the first
    /// datagram of the server, [`Phase::Tls`] with the handshake, and [`Phase::Processing`] with the datagram that ends the head.
    ///
    /// # Errors
    /// Why there is no response.
    pub(super) async fn send(
        probe: &'a Probe<'a>,
        server: Server<'_>,
        hop: &Hop,
        request: Request<Full<Bytes>>,
        handshake: &mut Handshake,
        facts: &mut Option<TlsFacts>,
    ) -> Result<(Self, response::Parts), Failure> {
        let mut quic = Quic::connect(probe, server, hop, handshake, facts).await?;
        probe.timeline.nothing_due();
        probe.timeline.enter(Phase::Processing);
        let head = request.map(drop);
        let body = hop.body.clone();
        let connection = h3_quinn::Connection::new(quic.connection.clone());
        let spawner = quic.work.tasks.spawner();
        let finished = AtomicBool::new(false);
        let ask = async {
            let built = h3::client::builder().max_field_section_size(LONGEST_HEAD).build(connection).await;
            let (mut driver, mut sender) = built.map_err(|_| None)?;
            // What it tells in the end, the request is told, too.
            spawner.take(Box::pin(async move { drop(driver.wait_idle().await) }));
            let mut stream = sender.send_request(head).await?;
            // A server may answer without a look at the body, and want no more of it (RFC 9114, section 4.1).
            let sent = async {
                if !body.is_empty() {
                    stream.send_data(body).await?;
                }
                stream.finish().await
            };
            if let Err(error) = sent.await
                && !matches!(error, StreamError::RemoteTerminate { .. })
            {
                return Err(Some(error));
            }
            finished.store(true, Ordering::Relaxed);
            loop {
                share::worked(FRAME).await;
                let response = stream.recv_response().await?;
                // Interim responses (RFC 9110, section 15.2) come before the one.
                if !response.status().is_informational() {
                    return Ok((stream, sender, response));
                }
            }
        };
        let Work { tasks, asked } = &mut quic.work;
        let idle = || {
            asked.fetch_or(finished.load(Ordering::Relaxed), Ordering::Relaxed);
            probe.timeline.waiting(Instant::now());
        };
        let answered = tasks.alongside(ask, idle).await;
        let answered = answered.map_err(|error| quic.failure("no response", error.as_ref()));
        let (stream, sender, response) = answered?;
        probe.timeline.enter(Phase::Transfer);
        let head = response.into_parts().0;
        let due = length_of_body(hop, &head);
        Ok((Self { quic, stream, _sender: sender, due }, head))
    }

    /// Reads the body to its end; `length` counts what `reader` makes of it.
    ///
    /// # Errors
    /// Why its end did not come, or was not waited for.
    pub(super) async fn read(&mut self, reader: &mut Reader, length: &mut u64) -> Result<(), Failure> {
        let Self { quic, stream, due, .. } = self;
        let mut came = 0;
        loop {
            share::worked(FRAME).await;
            let data = quic.run(stream.recv_data()).await;
            let data = data.map_err(|error| quic.failure("the response broke off", Some(&error)))?;
            let Some(data) = data else { break };
            let room = due.map_or(usize::MAX, |due| usize::try_from(due - came).unwrap_or(usize::MAX));
            let too_many = data.remaining() > room;
            let mut data = data.take(room);
            came += data.remaining() as u64;
            while data.has_remaining() {
                let part = data.chunk();
                let (taken, count) = (reader.take(part, length).await, part.len());
                taken.map_err(|error| unreadable(quic.probe, reader, &error))?;
                data.advance(count);
            }
            if too_many {
                let detail = format!("the response has more than the {came} bytes that its Content-Length says");
                return Err(quic.probe.failure(Reason::HttpProtocolError, detail));
            }
        }
        // What may leave behind the request is a goodbye.
        quic.probe.timeline.nothing_due();
        if let Some(due) = due.filter(|due| came < *due) {
            let detail = format!("the response ended after {came} of the {due} bytes that its Content-Length says");
            return Err(quic.probe.failure(Reason::HttpResponseIncomplete, detail));
        }
        reader.end(length).map_err(|error| unreadable(quic.probe, reader, &error))
    }
}

/// How long the body of a response is by its `Content-Length`, which h3 does not look at: another one is malformed (RFC 9114, section 4.1.2).
/// Nothing where there is to be no body, or nobody says.
fn length_of_body(hop: &Hop, head: &response::Parts) -> Option<u64> {
    let has_none = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let stated = head.headers.get(header::CONTENT_LENGTH).filter(|_| !has_none && !hop.asks_for_head());
    stated?.to_str().ok()?.parse().ok()
}

impl<'a> Quic<'a> {
    async fn connect(
        probe: &'a Probe<'a>,
        server: Server<'_>,
        hop: &Hop,
        handshake: &mut Handshake,
        facts: &mut Option<TlsFacts>,
    ) -> Result<Self, Failure> {
        let Server { address, config, tls } = server;
        let host = hop.server_name(tls.server_name.as_deref());
        let name = tls::checked_name(probe, &host)?;
        probe.timeline.enter(Phase::Connect);
        probe.talks_to(address.ip());
        handshake.remote = Some(address);
        let mut work = Work::default();
        let (timeline, [begun, answered]) = (probe.timeline.clone(), <[AtomicBool; 2]>::default());
        let watch = Watch { timeline, begun, answered, asked: Arc::clone(&work.asked) };
        let datagrams = Datagrams::open(probe.source(), address, watch);
        let datagrams = Arc::new(datagrams.map_err(|error| probe.source_failure(&error))?);
        handshake.local = datagrams.local();
        probe.talks_by(handshake.local, address)?;
        if probe.holds_flows() {
            probe.hold(datagrams.hold(probe.source()));
        }
        probe.timeline.connected();
        let runtime = Arc::new(Runtime(work.tasks.spawner()));
        let begun = Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, datagrams.clone(), runtime)
            .map_err(|error| error.to_string())
            .and_then(|endpoint| {
                let connecting = endpoint.connect_with(config.clone(), address, &name.to_str());
                connecting.map_err(|error| error.to_string())
            });
        let connecting = begun.map_err(|error| {
            probe.failure(Reason::ProberError, format!("a connection of QUIC cannot be begun: {error}"))
        })?;
        let refused = async {
            let error = datagrams.refused().await;
            // Who has answered is there, whatever others say.
            if datagrams.observer().answered.load(Ordering::Relaxed) { pending().await } else { error }
        };
        let shaking = quic_handshake(work.tasks.alongside(connecting, || probe.timeline.waiting(Instant::now())));
        let ended = tokio::select! {
            biased;
            ended = shaking => ended,
            error = refused => return Err(connect_failure(probe, address, &error)),
        };
        probe.arrived(datagrams.arrived_on(), address.ip());
        let certificate_asked = ended.certificate_asked;
        let (connection, told) = ended.result.map_err(|(error, told)| {
            if told.is_some() {
                *facts = told;
            }
            quic_failure(probe, "the handshake of QUIC", &error, certificate_asked)
        })?;
        let quic = Self { probe, connection, work, certificate_asked };
        // The last word of the handshake is ours.
        probe.timeline.nothing_due();
        let (told, chain) = (facts.insert(told), quic_chain(&quic.connection));
        tls::judge(probe, tls, &name, &chain, ended.signature_fault.as_ref(), told)?;
        Ok(quic)
    }

    async fn run<T>(&mut self, work: impl Future<Output = T>) -> T {
        self.work.tasks.alongside(work, || self.probe.timeline.waiting(Instant::now())).await
    }

    /// What the error of a request means; without one, it is the connection's.
    fn failure(&self, what: &str, error: Option<&StreamError>) -> Failure {
        let probe = self.probe;
        // The connection knows what happened to it better than the request that it carried.
        match self.connection.close_reason() {
            Some(ConnectionError::LocallyClosed) | None => {}
            Some(reason) => return quic_failure(probe, what, &reason, self.certificate_asked),
        }
        let reason = match error {
            Some(StreamError::RemoteTerminate { .. }) => Reason::HttpStreamReset,
            Some(StreamError::RemoteClosing { .. }) | None => drive::broken_off(probe),
            Some(_) => Reason::HttpProtocolError,
        };
        let detail = error.map_or_else(|| "the connection ended".to_owned(), ToString::to_string);
        probe.failure(reason, format!("{what}: {detail}"))
    }
}

impl Drop for Quic<'_> {
    fn drop(&mut self) {
        self.connection.close(NO_ERROR, &[]);
    }
}

/// What makes a connection. It says goodbye when that is gone, as far as that is possible without waiting: a server that is not told sends its
/// part of the handshake again for a long time.
#[derive(Default)]
struct Work {
    tasks: Tasks,
    /// Whether nothing more leaves that a server waits for; see [`Watch`].
    asked: Arc<AtomicBool>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.asked.store(true, Ordering::Relaxed);
        // Without a runtime there are no timers, which quinn takes for granted.
        if Handle::try_current().is_ok() {
            // The turn may have had its share: this is its end.
            let goodbye = poll_fn(|cx| {
                self.tasks.advance(cx);
                Poll::Ready(())
            });
            let _ = pin!(coop::unconstrained(goodbye)).poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// What it means that a connection of QUIC is none, or none any more.
fn quic_failure(probe: &Probe<'_>, what: &str, error: &ConnectionError, certificate_asked: bool) -> Failure {
    let detail = format!("{what}: {error}");
    let failure = |reason| probe.failure(reason, detail.clone());
    match error {
        ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
            // Its last byte is the alert's number.
            code if CRYPTO_ERRORS.contains(&code) => {
                tls::alert_failure(probe, what, AlertDescription::from(code as u8), certificate_asked)
            }
            CONNECTION_REFUSED => failure(Reason::ConnectionRefused),
            0 => failure(drive::broken_off(probe)),
            _ => failure(Reason::HttpProtocolError),
        },
        ConnectionError::TransportError(fault) if CRYPTO_ERRORS.contains(&u64::from(fault.code)) => {
            let detail = format!("{what}: {}", fault.reason);
            Failure { phase: Phase::Tls, ..probe.failure(Reason::TlsProtocolError, detail) }
        }
        ConnectionError::TransportError(_) | ConnectionError::VersionMismatch => failure(Reason::HttpProtocolError),
        ConnectionError::ApplicationClosed(close) if is_violation_of_http3(close.error_code.into()) => {
            failure(Reason::HttpProtocolError)
        }
        ConnectionError::ApplicationClosed(_) | ConnectionError::LocallyClosed => failure(drive::broken_off(probe)),
        ConnectionError::Reset if probe.timeline.current() == Some(Phase::Tls) => {
            failure(Reason::ConnectionResetHandshake)
        }
        ConnectionError::Reset => failure(drive::broken_off(probe)),
        ConnectionError::TimedOut => failure(Reason::ConnectionReadTimeout),
        ConnectionError::CidsExhausted => failure(Reason::ProberError),
    }
}

/// Tells the timeline what leaves and what comes.
struct Watch {
    timeline: SharedTimeline,
    /// Whether a datagram has left. What was waited for until then was this host.
    begun: AtomicBool,
    /// Whether the server has sent a datagram.
    answered: AtomicBool,
    /// Whether all of the request was sent. What leaves then acknowledges, or says goodbye, and no server waits for that, as none does in TCP,
    /// whose acknowledgements are the kernel's.
    asked: Arc<AtomicBool>,
}

impl Observer for Watch {
    fn sent(&self, at: Instant, bytes: usize) {
        if !self.begun.swap(true, Ordering::Relaxed) {
            self.timeline.sent(at);
        } else if !self.asked.load(Ordering::Relaxed) {
            self.timeline.sent_datagram(at);
        }
        self.timeline.carried(Traffic { sent: bytes as u64, received: 0 });
    }

    fn received(&self, at: Instant, bytes: usize) {
        Observer::received(&self.timeline, at, bytes);
        // The server is there; what is left of the handshake is TLS.
        if !self.answered.swap(true, Ordering::Relaxed) {
            self.timeline.enter(Phase::Tls);
        }
    }

    fn waiting(&self, now: Instant) {
        self.timeline.waiting(now);
    }
}

/// The runtime that quinn runs on: its tasks are ours to run.
#[derive(Debug)]
struct Runtime(Spawner);

impl quinn::Runtime for Runtime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Task) {
        self.0.take(task);
    }

    fn wrap_udp_socket(&self, _: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
