//! The section `stun`.

use std::net::SocketAddr;

use serde::Serialize;

use super::Seconds;
use super::connection::Connection;
use crate::probe::stun;
use crate::wire::stun::{Mapped, Refusal};

#[derive(Serialize)]
pub(super) struct Stun<'a> {
    transport: &'static str,
    #[serde(flatten)]
    connection: Connection,
    requests_sent: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_seconds: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mapped_address: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_clear: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    alternate_server: Option<SocketAddr>,
}

impl<'a> Stun<'a> {
    pub(super) fn of(measured: &'a stun::Measurement) -> Self {
        let stun::Measurement { transport, handshake, traffic, requests, rtt, mapped, refusal } = measured;
        Self {
            transport: transport.name(),
            connection: Connection::of(handshake, *traffic),
            requests_sent: *requests,
            rtt_seconds: rtt.map(Seconds),
            mapped_address: mapped.map(|Mapped { address, .. }| address),
            in_clear: mapped.map(|Mapped { in_clear, .. }| in_clear),
            error: refusal.as_ref().map(Error::of),
        }
    }
}

impl<'a> Error<'a> {
    fn of(refusal: &'a Refusal) -> Self {
        let Refusal { code, reason, alternate } = refusal;
        Self { code: *code, reason, alternate_server: *alternate }
    }
}
