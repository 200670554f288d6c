//! One request and its response over one connection, by hyper, without a task of its own: what is dropped leaves nothing behind.

use std::io;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;

use super::body::Reader;
use crate::flight::Phase;
use crate::probe::Probe;
use crate::probe::connection::Connection;
use crate::probe::drive::Driver;
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
        let mut exchange = Self { probe, driver: Driver::of(&connection, request.version()) };
        let response = match request.version() {
            Version::HTTP_2 => exchange.send_http2(connection, request).await,
            _ => exchange.send_http1(connection, request).await,
        };
        match response {
            Ok(response) => Ok((exchange, response)),
            Err(error) => {
                // What came instead of a response is all that was waited for.
                probe.timeline.nothing_due();
                Err(exchange.driver.failure(probe, "no response", &error))
            }
        }
    }

    async fn send_http1(
        &mut self,
        connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        let io = TokioIo::new(self.driver.watch(connection, ResponseStart::http1(), self.probe.timeline.clone()));
        let mut builder = http1::Builder::new();
        // Some old servers know headers in their usual spelling only, and fold long ones over several lines.
        builder.title_case_headers(true).allow_obsolete_multiline_headers_in_responses(true);
        builder.max_headers(MOST_HEADERS).max_buf_size(LONGEST_HEAD);
        let (mut sender, connection) = builder.handshake(io).await?;
        self.driver.drive(connection);
        self.driver.alongside(sender.send_request(request)).await
    }

    async fn send_http2(
        &mut self,
        connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        let io = TokioIo::new(self.driver.watch(connection, ResponseStart::http2(), self.probe.timeline.clone()));
        let mut builder = http2::Builder::new(self.driver.spawner());
        let handshake = builder.max_header_list_size(LONGEST_HEAD as u32).handshake(io);
        let (mut sender, connection) = self.driver.alongside(handshake).await?;
        self.driver.drive(connection);
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
        while !body.is_end_stream()
            && let Some(frame) = self.driver.frame(self.probe, body).await?
        {
            let Some(data) = frame.data_ref() else { continue };
            let taken = reader.take(data, length).await;
            taken.map_err(|error| unreadable(self.probe, reader, &error))?;
        }
        // What may have left behind the request is a goodbye.
        self.probe.timeline.nothing_due();
        reader.end(length).map_err(|error| unreadable(self.probe, reader, &error))
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
        while !body.is_end_stream()
            && into.len() <= most
            && let Some(frame) = self.driver.frame(self.probe, &mut body).await?
        {
            into.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        self.probe.timeline.nothing_due();
        Ok(())
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
