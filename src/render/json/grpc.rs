//! The section `grpc`.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde::Serialize;

use super::Seconds;
use crate::probe::{Handshake, grpc};
use crate::wire::grpc::Serving;

#[derive(Serialize)]
pub(super) struct Grpc<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_rtt_seconds: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    syn_retransmits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_sent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_received: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serving_status: Option<Cow<'static, str>>,
}

impl<'a> Grpc<'a> {
    pub(super) fn of(measured: &'a grpc::Measurement) -> Self {
        let grpc::Measurement {
            handshake: Handshake { local, remote, rtt, syn_retransmits },
            traffic,
            ssl,
            http_status,
            status,
            message,
            serving,
            tls: _,
        } = measured;
        Self {
            local: *local,
            remote: *remote,
            handshake_rtt_seconds: rtt.map(Seconds),
            syn_retransmits: *syn_retransmits,
            bytes_sent: traffic.map(|traffic| traffic.sent),
            bytes_received: traffic.map(|traffic| traffic.received),
            ssl: *ssl,
            http_status_code: *http_status,
            status_code: *status,
            status_message: message.as_deref(),
            serving_status: serving.map(Serving::name),
        }
    }
}
