//! DNS: one question to a name server, and everything that its reply says.

mod datagram;
mod https;
mod stream;
mod validate;

use std::net::SocketAddr;
use std::sync::Arc;

use super::connection::Handshake;
use super::resolve::{Preference, resolve};
use super::services::Carrier;
use super::{Probe, host};
use crate::flight::Traffic;
use crate::net::tls::{Tls, TlsFacts};
use crate::re2::Regex;
use crate::verdict::{Failure, Reason};
use crate::wire::dns::message::{Query, Reply};

/// The `dns:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// What carries the question.
    pub transport: Transport,
    /// TLS, where the transport is under it; built once per module.
    pub tls: Arc<Tls>,
    /// What is asked.
    pub query: Query,
    /// Response codes that are a success, by their numbers.
    pub valid_rcodes: Vec<u16>,
    /// What is wanted of the records of the answer.
    pub answer: Validator,
    /// Of those that name authorities.
    pub authority: Validator,
    /// Of the other ones.
    pub additional: Validator,
    /// The address family.
    pub preference: Preference,
}

/// What carries a question and its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams (RFC 1035, section 4.2.1).
    Udp,
    /// A connection (RFC 7766).
    Tcp,
    /// A connection under TLS (RFC 7858).
    Tls,
    /// HTTP (RFC 8484).
    Https,
}

impl Transport {
    /// The word for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Https => "https",
        }
    }

    /// The port of targets that have none.
    fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 53,
            Self::Tls => 853,
            Self::Https => 443,
        }
    }
}

/// What is wanted of the records of a section, each as text. OPT is no such record.
#[derive(Debug, Default)]
pub struct Validator {
    /// No record may match any of these.
    pub fail_if_matches: Vec<Regex>,
    /// Every record must match each of these: blackbox_exporter does the opposite of what the name says, and modules work with that.
    pub fail_if_all_match: Vec<Regex>,
    /// There must be a record, and every one must match each of these.
    pub fail_if_not_matches: Vec<Regex>,
    /// There must be a record that matches one of these.
    pub fail_if_none_matches: Vec<Regex>,
}

/// What a dns probe measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// What carried the question.
    pub transport: Transport,
    /// The question: `www.example. IN A`.
    pub question: String,
    /// Where from and where to; of TCP also the handshake.
    pub handshake: Handshake,
    /// What the connection carried, under TLS as it was encrypted, or the datagrams; nothing before there was a socket.
    pub traffic: Option<Traffic>,
    /// The last TLS handshake.
    pub tls: Option<TlsFacts>,
    /// Status code of the HTTP response that carried the reply.
    pub status: Option<u16>,
    /// The reply, as far as it came.
    pub reply: Option<Reply>,
    /// Whether it came whole and could be read.
    pub succeeded: bool,
    /// The serial number of the zone, where that was asked for (SOA).
    pub serial: Option<u32>,
}

impl Measurement {
    /// Nothing measured yet.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            transport: settings.transport,
            question: settings.query.question(),
            handshake: Handshake::default(),
            traffic: None,
            tls: None,
            status: None,
            reply: None,
            succeeded: false,
            serial: None,
        }
    }
}

/// Says why `target` is no name server: a host, `host:port`, or, for DNS over HTTPS, a URL.
///
/// # Errors
/// One sentence.
pub fn check_target(settings: &Settings, target: &str) -> Result<(), String> {
    match settings.transport {
        Transport::Https => https::parse(target).map(drop),
        transport => host_and_port(transport, target).map(drop),
    }
}

/// Measures.
///
/// # Errors
/// Why it went no further.
pub async fn measure(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    match settings.transport {
        Transport::Https => https::ask(settings, probe, measured).await?,
        transport => {
            let server = host_and_port(transport, &probe.request.target);
            let (host, port) = server.map_err(|what| probe.failure(Reason::ProberConfigError, what))?;
            let address = resolve(probe, host, settings.preference).await?;
            let server = SocketAddr::new(address, port);
            note_question(probe, measured, &server);
            match transport {
                Transport::Udp => datagram::ask(settings, probe, server, measured).await?,
                _ => stream::ask(settings, probe, host, server, measured).await?,
            }
        }
    }
    validate::validate(settings, probe, measured)
}

/// The server of a target, whose port is its transport's where it has none.
fn host_and_port(transport: Transport, target: &str) -> Result<(&str, u16), String> {
    let carrier = if transport == Transport::Udp { Carrier::Udp } else { Carrier::Tcp };
    host::parse_with_port(target, carrier).map(|(host, port)| (host, port.unwrap_or(transport.port())))
}

fn note_question(probe: &Probe<'_>, measured: &Measurement, server: &impl std::fmt::Display) {
    let Measurement { transport, question, .. } = measured;
    probe.note(format_args!("asking {server} by {} for {question}", transport.name()));
}

/// An id that cannot be guessed, beside the port, which the kernel chooses at random (RFC 5452).
fn unpredictable_id(probe: &Probe<'_>) -> Result<u16, Failure> {
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| probe.failure(Reason::ProberError, "no random numbers"))?;
    Ok(u16::from_be_bytes(id))
}

/// A reply that is coming. However that ends, also when the probe is cut, what came of it is kept.
struct Arriving<'a> {
    query: &'a Query,
    id: u16,
    /// The message so far.
    bytes: Vec<u8>,
    into: &'a mut Option<Reply>,
}

impl<'a> Arriving<'a> {
    fn of(query: &'a Query, id: u16, into: &'a mut Option<Reply>) -> Self {
        Self { query, id, bytes: Vec::new(), into }
    }

    /// The whole message is there.
    fn finish(mut self, probe: &Probe<'_>) -> Result<(), Failure> {
        let message = std::mem::take(&mut self.bytes);
        let reply = self.query.reply(self.id, &message, true).map_err(|what| no_reply(probe, &what))?;
        *self.into = Some(reply);
        Ok(())
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        if self.into.is_none() {
            *self.into = self.query.reply(self.id, &self.bytes, false).ok();
        }
    }
}

/// A message that came whole, and is no reply to the question.
fn no_reply(probe: &Probe<'_>, what: &str) -> Failure {
    probe.failure(Reason::DnsAnswerUnexpected, format!("the server's message {what}"))
}
