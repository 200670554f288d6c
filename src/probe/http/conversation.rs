//! One request and its response, over TCP or over QUIC.

use std::net::SocketAddr;

use http::{Version, response};
use hyper::body::{Body as _, Incoming};

use super::body::Reader;
use super::exchange::Exchange;
use super::hop::Hop;
use super::route::find;
use super::{Request, Settings, http3};
use crate::net::tls::TlsFacts;
use crate::probe::Probe;
use crate::probe::resolve::resolve;
use crate::verdict::{Failure, Reason};

/// A response whose body is still to be read.
pub(super) struct Conversation<'a> {
    body: Body<'a>,
    /// The proxy that forwarded the request.
    forwarder: Option<String>,
}

/// What its body comes over.
enum Body<'a> {
    Tcp(Exchange<'a>, Incoming),
    Quic(Box<http3::Exchange<'a>>),
}

impl<'a> Conversation<'a> {
    /// Sends a request, and waits for the head of its response. The name is resolved before a token is fetched, as by blackbox_exporter:
    /// where there is no token, the address is still told.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn begin(
        settings: &Settings,
        probe: &'a Probe<'a>,
        hop: &mut Hop,
        asked: &mut Request,
        facts: &mut Option<TlsFacts>,
    ) -> Result<(Self, response::Parts), Failure> {
        let unsendable = |error: http::Error| {
            probe.failure(Reason::ProberConfigError, format!("the request cannot be sent as it is configured: {error}"))
        };
        if let Some(config) = &settings.http3 {
            let address = find(probe, hop, async |host| resolve(probe, host, settings.preference).await).await?;
            let server = http3::Server { address: SocketAddr::new(address, hop.port()), config, tls: &settings.tls };
            authorize(settings, probe, hop).await?;
            let request = hop.request(Version::HTTP_3, None).map_err(unsendable)?;
            asked.body_length = Some(hop.body.len() as u64);
            // It is much, and most probes have none.
            let sending = http3::Exchange::send(probe, server, hop, request, &mut asked.handshake, facts);
            let (exchange, head) = Box::pin(sending).await?;
            return Ok((Self { body: Body::Quic(Box::new(exchange)), forwarder: None }, head));
        }
        let route = settings.route(probe);
        let way = route.way(probe, hop).await?;
        authorize(settings, probe, hop).await?;
        let reached = route.connect(probe, hop, way, &mut asked.handshake, facts, &mut asked.proxy).await?;
        let version = match facts {
            Some(facts) if hop.over_tls() && facts.alpn.as_deref() == Some("h2") => Version::HTTP_2,
            _ => Version::HTTP_11,
        };
        let request = hop.request(version, reached.forwarder).map_err(unsendable)?;
        asked.body_length = Some(hop.body.len() as u64);
        let forwarder = reached.forwarder.map(ToString::to_string);
        let sent = Exchange::send(probe, reached.connection, request).await;
        let (exchange, response) = sent.map_err(|failure| forwarded(forwarder.as_deref(), failure))?;
        let (head, body) = response.into_parts();
        // Until there is a response, the one before counts, with its certificates.
        if !hop.over_tls() {
            *facts = None;
        }
        Ok((Self { body: Body::Tcp(exchange, body), forwarder }, head))
    }

    /// Whether it is known that there is no body.
    pub(super) fn has_ended(&self) -> bool {
        match &self.body {
            Body::Tcp(_, body) => body.is_end_stream(),
            Body::Quic(_) => false,
        }
    }

    /// Reads the body to its end; `length` counts what `reader` makes of it.
    ///
    /// # Errors
    /// Why its end did not come, or was not waited for.
    pub(super) async fn read(&mut self, reader: &mut Reader, length: &mut u64) -> Result<(), Failure> {
        let read = match &mut self.body {
            Body::Tcp(exchange, body) => exchange.read(body, reader, length).await,
            Body::Quic(exchange) => exchange.read(reader, length).await,
        };
        read.map_err(|failure| self.forwarded(failure))
    }

    /// A failure of it.
    pub(super) fn forwarded(&self, failure: Failure) -> Failure {
        forwarded(self.forwarder.as_deref(), failure)
    }
}

/// Fetches the token that a request needs.
async fn authorize(settings: &Settings, probe: &Probe<'_>, hop: &mut Hop) -> Result<(), Failure> {
    if let (Some(oauth2), true) = (&settings.oauth2, std::mem::take(&mut hop.needs_token)) {
        // Most probes do not need the room for this.
        hop.authorize(Box::pin(oauth2.token(probe, settings.preference)).await?);
    }
    Ok(())
}

/// Of a request that a proxy forwards, who says what, the proxy or the server, cannot be told.
fn forwarded(forwarder: Option<&str>, failure: Failure) -> Failure {
    match forwarder {
        Some(proxy) => Failure { detail: format!("through the proxy {proxy}: {}", failure.detail), ..failure },
        None => failure,
    }
}
