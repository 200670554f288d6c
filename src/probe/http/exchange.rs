//! One request and its response over one connection, by hyper, without a task of its own: what is dropped leaves nothing behind.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::Reader;
use super::tasks::Tasks;
use crate::flight::Phase;
use crate::probe::connection::Connection;
use crate::probe::{Probe, SharedTimeline, tls};
use crate::verdict::{Failure, Reason};
use crate::wire::http::ResponseStart;

/// The longest head of a response, in bytes.
const LONGEST_HEAD: usize = 1 << 20;

/// The most headers of a response: fewer than the 24,576 names at which `HeaderMap` panics.
const MOST_HEADERS: usize = 10_000;

/// A request that was sent, and the connection that its response comes over.
pub(in crate::probe) struct Exchange<'a> {
    probe: &'a Probe<'a>,
    driver: Driver,
    certificate_asked: bool,
}

impl<'a> Exchange<'a> {
    /// Sends a request, in [`Phase::Processing`], and waits for the head of its response. With the response's first byte
    /// [`Phase::Transfer`] begins.
    ///
    /// # Errors
    /// Why there is no response.
    pub(in crate::probe) async fn send(
        probe: &'a Probe<'a>,
        connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<(Self, Response<Incoming>), Failure> {
        probe.timeline.enter(Phase::Processing);
        let certificate_asked = connection.certificate_asked();
        let mut exchange = Self { probe, driver: Driver::default(), certificate_asked };
        let response = match request.version() {
            Version::HTTP_2 => exchange.send_http2(connection, request).await,
            _ => exchange.send_http1(connection, request).await,
        };
        match response {
            Ok(response) => Ok((exchange, response)),
            Err(error) => Err(exchange.failure("no response", &error)),
        }
    }

    async fn send_http1(
        &mut self,
        connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        let io = TokioIo::new(Tap::new(connection, ResponseStart::http1(), self.probe.timeline.clone()));
        let mut builder = http1::Builder::new();
        // Some old servers know headers in their usual spelling only.
        builder.title_case_headers(true).max_headers(MOST_HEADERS).max_buf_size(LONGEST_HEAD);
        let (mut sender, connection) = builder.handshake(io).await?;
        self.driver.connection = Some(Box::pin(connection));
        self.driver.alongside(sender.send_request(request)).await
    }

    async fn send_http2(
        &mut self,
        connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        let io = TokioIo::new(Tap::new(connection, ResponseStart::http2(), self.probe.timeline.clone()));
        let mut builder = http2::Builder::new(self.driver.tasks.spawner());
        let handshake = builder.max_header_list_size(LONGEST_HEAD as u32).handshake(io);
        let (mut sender, connection) = self.driver.alongside(handshake).await?;
        self.driver.connection = Some(Box::pin(connection));
        self.driver.alongside(sender.send_request(request)).await
    }

    /// Reads the body to its end; `length` counts what `reader` makes of it.
    ///
    /// # Errors
    /// Why its end did not come, or was not waited for.
    pub(super) async fn read(
        &mut self,
        body: &mut Incoming,
        reader: &mut Reader,
        length: &mut u64,
    ) -> Result<(), Failure> {
        while !body.is_end_stream() {
            match self.driver.alongside(body.frame()).await {
                Some(Ok(frame)) => {
                    let Some(data) = frame.data_ref() else { continue };
                    let taken = reader.take(data);
                    *length = reader.sink().length;
                    taken.map_err(|error| unreadable(self.probe, reader, &error))?;
                }
                Some(Err(error)) => return Err(self.failure("the response broke off", &error)),
                None => break,
            }
        }
        // What may have left behind the request is a goodbye.
        self.probe.timeline.nothing_due();
        let ended = reader.end();
        *length = reader.sink().length;
        ended.map_err(|error| unreadable(self.probe, reader, &error))
    }

    /// Reads the body to its end, or until it has more than `most` bytes.
    ///
    /// # Errors
    /// Why its end did not come; what came before stays.
    pub(in crate::probe) async fn collect(
        &mut self,
        mut body: Incoming,
        most: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        while !body.is_end_stream() && into.len() <= most {
            match self.driver.alongside(body.frame()).await {
                Some(Ok(frame)) => into.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) => return Err(self.failure("the response broke off", &error)),
                None => break,
            }
        }
        self.probe.timeline.nothing_due();
        Ok(())
    }

    fn failure(&self, what: &str, error: &hyper::Error) -> Failure {
        let began = self.probe.timeline.current() == Some(Phase::Transfer);
        let broken_off = match began {
            true => Reason::HttpResponseIncomplete,
            false => Reason::ConnectionTerminated,
        };
        let errors: Vec<_> = std::iter::once(error).chain(&self.driver.error).collect();
        failure(self.probe, what, &errors, broken_off, self.certificate_asked)
    }
}

/// Why a body cannot be read on.
pub(super) fn unreadable(probe: &Probe<'_>, reader: &mut Reader, error: &io::Error) -> Failure {
    let sink = reader.sink();
    match sink.over {
        true => {
            let detail = format!("the body has more than {} bytes", sink.length);
            probe.failure(Reason::HttpResponseBodySize, detail)
        }
        false => {
            let detail = format!("the body is not compressed as the module says: {error}");
            probe.failure(Reason::AssertionFailedBody, detail)
        }
    }
}

/// What the errors of a request, and of the connection that carried it, mean; `broken_off` is the reason where it ended too soon.
pub(super) fn failure(
    probe: &Probe<'_>,
    what: &str,
    errors: &[&hyper::Error],
    broken_off: Reason,
    certificate_asked: bool,
) -> Failure {
    // The connection knows what happened to it better than the request.
    if let Some(beneath) = errors.iter().find_map(|error| io_error(error)) {
        let failure = tls::failure(probe, what, beneath, certificate_asked);
        return match failure.reason {
            // hyper's own words about what came, such as a chunk without a size.
            Reason::Unknown if matches!(beneath.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData) => {
                Failure { reason: Reason::HttpProtocolError, ..failure }
            }
            Reason::ConnectionTerminated | Reason::ConnectionResetHandshake | Reason::Unknown => {
                Failure { phase: probe.timeline.current().unwrap_or(failure.phase), reason: broken_off, ..failure }
            }
            _ => failure,
        };
    }
    let Some(error) = errors.first() else { return probe.failure(broken_off, what) };
    let reason = match error {
        error if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => broken_off,
        error if error.is_parse_too_large() => Reason::HttpResponseHeaderSize,
        _ => Reason::HttpProtocolError,
    };
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    probe.failure(reason, format!("{what}: {error}{cause}"))
}

/// The I/O error at the bottom of another one.
fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref() {
            return Some(error);
        }
        source = cause.source();
    }
    None
}

/// Runs a connection, and what hyper wants to spawn for it, beside the request that waits for it.
#[derive(Default)]
struct Driver {
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    /// How the connection ended, where it failed.
    error: Option<hyper::Error>,
    tasks: Tasks,
}

impl Driver {
    async fn alongside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            self.advance(cx);
            work.as_mut().poll(cx)
        })
        .await
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
}

/// A connection, above TLS, that ends [`Phase::Processing`] with the first byte of the response.
///
/// The bytes have just been read from below, so the timeline stands at the stamp of their arrival. What comes before the response
/// (tickets of TLS, settings of HTTP/2) is not what the request asked for.
struct Tap {
    connection: Connection,
    asked: bool,
    search: Option<ResponseStart>,
    timeline: SharedTimeline,
}

impl Tap {
    fn new(connection: Connection, search: ResponseStart, timeline: SharedTimeline) -> Self {
        Self { connection, asked: false, search: Some(search), timeline }
    }
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.connection).poll_read(cx, buffer);
        if let Some(search) = &mut self.search {
            if search.feed(&buffer.filled()[before..]) {
                self.search = None;
                self.timeline.enter(Phase::Transfer);
            } else if self.asked {
                self.timeline.still_due();
            }
        }
        result
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.asked = true;
        Pin::new(&mut self.connection).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
