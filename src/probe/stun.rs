//! STUN: which public address a server sees, that is, what the firewall's SNAT makes of ours.

mod datagram;
mod stream;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::connection::Handshake;
use super::resolve::{Preference, resolve};
use super::services::Carrier;
use super::{Probe, host};
use crate::flight::Traffic;
use crate::verdict::{Failure, Reason, StatusClass};
use crate::wire::stun::{Answer, Mapped, PORT, Refusal, Transaction};

/// The `stun:` section of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What carries the request.
    pub transport: Transport,
    /// The address family.
    pub preference: Preference,
}

/// What carries a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams (RFC 8489, section 6.2.1).
    Udp,
    /// A connection (RFC 8489, section 6.2.2).
    Tcp,
}

impl Transport {
    /// The word for people, and in `transport_protocol:`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// What a stun probe measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// What carried the request.
    pub transport: Transport,
    /// Where from and where to; of TCP also the handshake.
    pub handshake: Handshake,
    /// What the connection carried, or the datagrams; nothing before there was a socket.
    pub traffic: Option<Traffic>,
    /// How often the request was sent.
    pub requests: u32,
    /// The round-trip time of a datagram, by the kernel's stamps; nothing where the request was sent again before the answer came, so that nobody knows which
    /// of them it answers, and over TCP.
    pub rtt: Option<Duration>,
    /// Who the server sees.
    pub mapped: Option<Mapped>,
    /// What it says instead.
    pub refusal: Option<Refusal>,
}

impl Measurement {
    /// Nothing measured yet.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            transport: settings.transport,
            handshake: Handshake::default(),
            traffic: None,
            requests: 0,
            rtt: None,
            mapped: None,
            refusal: None,
        }
    }

    /// The address that the server sees.
    #[must_use]
    pub fn public_ip(&self) -> Option<IpAddr> {
        self.mapped.map(|mapped| mapped.address.ip().to_canonical())
    }
}

/// Says why `target` is no STUN server: a host, or `host:port`.
///
/// # Errors
/// One sentence.
pub fn check_target(settings: &Settings, target: &str) -> Result<(), String> {
    host_and_port(settings.transport, target).map(drop)
}

/// Measures.
///
/// # Errors
/// Why it went no further.
pub async fn measure(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    let server = host_and_port(settings.transport, &probe.request.target);
    let (host, port) = server.map_err(|what| probe.failure(Reason::ProberConfigError, what))?;
    let server = SocketAddr::new(resolve(probe, host, settings.preference).await?, port);
    probe.note(format_args!("asking {server} by {} which address it sees", settings.transport.name()));
    let answer = match settings.transport {
        Transport::Udp => datagram::ask(probe, server, measured).await?,
        Transport::Tcp => stream::ask(probe, server, measured).await?,
    };
    match answer {
        Answer::Mapped(mapped) => {
            let how = if mapped.in_clear { ", which it says in clear, as old servers do" } else { "" };
            probe.note(format_args!("the server sees {}{how}", mapped.address));
            measured.mapped = Some(mapped);
            Ok(())
        }
        Answer::Refused(refusal) => {
            let instead = if refusal.alternate.is_some() { ", who is not asked" } else { "" };
            let detail = format!("the server answers with the error {refusal}{instead}");
            let failure = probe.failure(Reason::StunError(StatusClass::of(refusal.code)), detail);
            measured.refusal = Some(refusal);
            Err(failure)
        }
        Answer::Broken(what) => Err(unexpected(probe, &format!("the answer {what}"))),
    }
}

/// The server of a target.
fn host_and_port(transport: Transport, target: &str) -> Result<(&str, u16), String> {
    let carrier = match transport {
        Transport::Udp => Carrier::Udp,
        Transport::Tcp => Carrier::Tcp,
    };
    host::parse_with_port(target, carrier).map(|(host, port)| (host, port.unwrap_or(PORT)))
}

/// A transaction's id, which cannot be guessed.
fn transaction(probe: &Probe<'_>) -> Result<Transaction, Failure> {
    let mut transaction = Transaction::default();
    aws_lc_rs::rand::fill(&mut transaction).map_err(|_| probe.failure(Reason::ProberError, "no random numbers"))?;
    Ok(transaction)
}

/// What came is nothing that was asked for.
fn unexpected(probe: &Probe<'_>, detail: &str) -> Failure {
    probe.failure(Reason::StunAnswerUnexpected, detail)
}

#[cfg(test)]
mod tests;
