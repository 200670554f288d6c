//! A connection of hyper's, driven beside the request that it carries, without a task of its own: what is dropped leaves nothing behind.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::Version;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use super::connection::Connection;
use super::tasks::{Spawner, Tasks};
use super::{Probe, SharedTimeline, tls};
use crate::flight::Phase;
use crate::net::share;
use crate::verdict::{Failure, Reason};
use crate::wire::http::{Head, ResponseStart, is_violation_of_http2};

/// Runs a connection, and what hyper wants to spawn for it, beside the request that waits for it.
#[derive(Default)]
pub(super) struct Driver {
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    /// How the connection ended, where it failed.
    error: Option<hyper::Error>,
    /// What broke it, as the watched connection met it.
    fault: Arc<OnceLock<io::Error>>,
    tasks: Tasks,
    version: Version,
    certificate_asked: bool,
}

impl Driver {
    /// For a connection that is yet to become hyper's, of this version.
    pub(super) fn of(connection: &Connection, version: Version) -> Self {
        Self { version, certificate_asked: connection.certificate_asked(), ..Self::default() }
    }

    /// The connection, watched for a response, whose start `search` finds; what breaks it is kept.
    pub(super) fn watch(&self, connection: Connection, search: ResponseStart, timeline: SharedTimeline) -> Tap {
        Tap::new(connection, search, Arc::clone(&self.fault), timeline)
    }

    /// Where hyper spawns what the connection needs.
    pub(super) fn spawner(&self) -> Spawner {
        self.tasks.spawner()
    }

    /// The connection that is to be driven.
    pub(super) fn drive(&mut self, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
        self.connection = Some(Box::pin(connection));
    }

    /// Drives the connection until some work over it is done.
    pub(super) async fn alongside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            self.advance(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    /// The next frame of a body; nothing at its end. Small ones may come without number and without a wait.
    ///
    /// # Errors
    /// Why its end did not come.
    pub(super) async fn frame(
        &mut self,
        probe: &Probe<'_>,
        body: &mut Incoming,
    ) -> Result<Option<Frame<Bytes>>, Failure> {
        share::worked(0).await;
        match self.alongside(body.frame()).await {
            Some(Ok(frame)) => Ok(Some(frame)),
            Some(Err(error)) => Err(self.told(probe, "the response broke off", &error)),
            // A stream that is reset for no fault hyper takes for one that has ended.
            None if self.version == Version::HTTP_2 && !is_whole(body) => {
                let detail = "the response broke off: the server did not go on with the stream";
                Err(probe.failure(Reason::HttpResponseIncomplete, detail))
            }
            None => Ok(None),
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(result) = connection.as_mut().poll(cx)
        {
            self.connection = None;
            self.error = result.err();
        }
        self.tasks.advance(cx);
    }

    /// What an error of a request means whose response has no head.
    pub(super) fn failure(&self, probe: &Probe<'_>, what: &str, error: &hyper::Error) -> Failure {
        let failure = self.told(probe, what, error);
        if !is_refused_by_h2(error) {
            return failure;
        }
        // The first bytes of a head have come, which is no response. h2 does not say what is wrong with it.
        let likely = "its head has a header that HTTP/2 forbids (Connection, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding, Upgrade: \
                      RFC 9113, section 8.2.2), or violates it otherwise";
        Failure { phase: Phase::Processing, detail: format!("{}; {likely}", failure.detail), ..failure }
    }

    fn told(&self, probe: &Probe<'_>, what: &str, error: &hyper::Error) -> Failure {
        failure(
            probe,
            what,
            error,
            Beneath { error: self.error.as_ref(), fault: self.fault.get() },
            self.certificate_asked,
        )
    }
}

/// Whether all of a body of HTTP/2 was read: it has ended, or as much of it has come as its head says.
fn is_whole(body: &Incoming) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

/// What it means that the peer ended a connection in the running phase, before all of the response was there.
pub(super) fn broken_off(probe: &Probe<'_>) -> Reason {
    match probe.timeline.current() {
        Some(Phase::Transfer) => Reason::HttpResponseIncomplete,
        _ => Reason::ConnectionTerminated,
    }
}

/// How the connection of a request ended, where it failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beneath<'a> {
    /// As hyper tells it.
    pub(super) error: Option<&'a hyper::Error>,
    /// As it was met, where [`Driver::watch`] saw it: h2 keeps no more of it than its kind.
    pub(super) fault: Option<&'a io::Error>,
}

/// What the error of a request means, and that of the connection that carried it.
pub(super) fn failure(
    probe: &Probe<'_>,
    what: &str,
    error: &hyper::Error,
    beneath: Beneath<'_>,
    certificate_asked: bool,
) -> Failure {
    let detail = |error: &hyper::Error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{what}: {error}{cause}")
    };
    let errors = || [Some(error), beneath.error].into_iter().flatten();
    if let Some((error, reason)) = errors().find_map(|error| Some((error, said_by_http2(probe, error)?))) {
        return probe.failure(reason, detail(error));
    }
    // The connection knows what happened to it better than the request.
    if let Some(io) = beneath.fault.or_else(|| errors().find_map(io_error)) {
        let failure = tls::failure(probe, what, io, certificate_asked);
        return match failure.reason {
            // hyper's own words about what came, such as a chunk without a size.
            Reason::Unknown if matches!(io.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData) => {
                Failure { reason: Reason::HttpProtocolError, ..failure }
            }
            Reason::ConnectionTerminated | Reason::ConnectionResetHandshake | Reason::Unknown => Failure {
                phase: probe.timeline.current().unwrap_or(failure.phase),
                reason: broken_off(probe),
                ..failure
            },
            _ => failure,
        };
    }
    let reason = match error {
        error if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => broken_off(probe),
        error if error.is_parse_too_large() => Reason::HttpResponseHeaderSize,
        _ => Reason::HttpProtocolError,
    };
    probe.failure(reason, detail(error))
}

/// Whether h2 ended the stream of a request because of what came over it.
fn is_refused_by_h2(error: &hyper::Error) -> bool {
    let error = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    error.is_some_and(|error| {
        error.is_library() && error.is_reset() && error.reason() == Some(h2::Reason::PROTOCOL_ERROR)
    })
}

/// What it means that the peer ended the stream of a request over HTTP/2 (RST_STREAM), or the connection with a code (GOAWAY).
fn said_by_http2(probe: &Probe<'_>, error: &hyper::Error) -> Option<Reason> {
    let error = error.source()?.downcast_ref::<h2::Error>().filter(|error| error.is_remote())?;
    match error.reason()? {
        _ if error.is_reset() => Some(Reason::HttpStreamReset),
        code if is_violation_of_http2(code.into()) => Some(Reason::HttpProtocolError),
        _ => Some(broken_off(probe)),
    }
}

/// The I/O error at the bottom of another one.
fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        let of_http2 = || cause.downcast_ref::<h2::Error>().and_then(h2::Error::get_io);
        if let Some(error) = cause.downcast_ref().or_else(of_http2) {
            return Some(error);
        }
        source = cause.source();
    }
    None
}

/// The same error, as far as it is looked at: by its number, or by what rustls says.
fn copy(error: &io::Error) -> io::Error {
    let said = || error.get_ref()?.downcast_ref::<rustls::Error>();
    match (error.raw_os_error(), said()) {
        (Some(number), _) => io::Error::from_raw_os_error(number),
        (None, Some(said)) => io::Error::new(error.kind(), said.clone()),
        (None, None) => error.kind().into(),
    }
}

/// A connection, above TLS, that ends [`Phase::Processing`] with the first byte of the response.
///
/// The bytes have just been read from below, so the timeline stands at the stamp of their arrival. What comes before the response
/// (tickets of TLS, settings of HTTP/2) is not what the request asked for.
///
/// Servers need not wait for the request: what they say before is read behind its first bytes, which hyper would take for an error, and where they
/// take no more of it, they may still have answered.
pub(super) struct Tap {
    connection: Connection,
    asked: bool,
    /// Who waits for the request to be on its way.
    early: Option<Waker>,
    /// Whether the server takes no more of the request.
    deaf: bool,
    search: Option<ResponseStart>,
    /// What hyper would not take of a head of HTTP/1.
    head: Option<Head>,
    /// What broke the connection.
    fault: Arc<OnceLock<io::Error>>,
    timeline: SharedTimeline,
}

impl Tap {
    fn new(
        connection: Connection,
        search: ResponseStart,
        fault: Arc<OnceLock<io::Error>>,
        timeline: SharedTimeline,
    ) -> Self {
        let head = matches!(search, ResponseStart::Http1(_)).then(Head::default);
        Self { connection, asked: false, early: None, deaf: false, search: Some(search), head, fault, timeline }
    }

    /// Watches a connection for an answer of HTTP/1 by somebody on the way to the server, with which no phase ends.
    pub(super) fn on_the_way(connection: Connection, timeline: SharedTimeline) -> Self {
        Self { search: None, ..Self::new(connection, ResponseStart::http1(), Arc::default(), timeline) }
    }

    /// The connection, for what follows.
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// What becomes of an attempt to write, which is otherwise `done`. Of a server that hangs up what it has said by then is still to be read.
    fn written<T>(&mut self, result: Poll<io::Result<T>>, done: T) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(Err(error)) if hung_up(&error) => {
                self.deaf = true;
                Poll::Ready(Ok(done))
            }
            result => result,
        }
    }

    /// The request is on its way.
    fn ask(&mut self) {
        self.asked = true;
        if let Some(early) = self.early.take() {
            early.wake();
        }
    }
}

/// Whether a write found that the peer has gone.
pub(super) fn hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// The most that is read at once before the response begins, in bytes. A few of them are an interim response, for which hyper
/// prepares as for any other: for thousands of headers. So many interim responses are the work of a turn.
const BEFORE: usize = share::PIECE / 64;

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { connection, asked, early, search, head, fault, timeline, .. } = self.get_mut();
        if !*asked {
            *early = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // What TLS has decrypted already is there without a look at the socket, which would keep to the share of a turn.
        let unit = ready!(coop::poll_proceed(cx));
        let most = if search.is_some() { BEFORE } else { share::PIECE };
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(buffer.remaining().min(most)));
        let mut result = Pin::new(connection).poll_read(cx, &mut part);
        if let Poll::Ready(result) = &result {
            unit.made_progress();
            if let Err(error) = result {
                fault.get_or_init(|| copy(error));
            }
        }
        let came = part.filled().len();
        if let Some(head) = head {
            let left = head.mend(part.filled_mut());
            part.set_filled(left);
            if came > 0 && left == 0 {
                // Nothing is left of what came, which is no end.
                cx.waker().wake_by_ref();
                result = Poll::Pending;
            }
        }
        if let Some(sought) = search {
            if sought.feed(part.filled()) {
                *search = None;
                timeline.enter(Phase::Transfer);
            } else {
                // An end is all that comes.
                if came > 0 || result.is_pending() {
                    timeline.still_due();
                }
                share::take(cx, came * (share::PIECE / BEFORE - 1));
            }
        }
        let left = part.filled().len();
        buffer.advance(left);
        result
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.ask();
        if self.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.connection).poll_write(cx, bytes);
        self.written(result, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.ask();
        let length = parts.iter().map(|part| part.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(length));
        }
        let result = Pin::new(&mut self.connection).poll_write_vectored(cx, parts);
        self.written(result, length)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.connection).poll_flush(cx);
        self.written(result, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
