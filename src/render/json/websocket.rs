//! The section `websocket`.

use std::net::SocketAddr;

use serde::Serialize;

use super::Seconds;
use crate::probe::{Handshake, websocket};

#[derive(Serialize)]
pub(super) struct Websocket {
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
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_upgraded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_due_to_regex: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close_code: Option<u16>,
}

impl Websocket {
    pub(super) fn of(measured: &websocket::Measurement) -> Self {
        let websocket::Measurement {
            handshake: Handshake { local, remote, rtt, syn_retransmits },
            traffic,
            status,
            upgraded,
            failed_due_to_regex,
            close_code,
            tls: _,
        } = measured;
        Self {
            local: *local,
            remote: *remote,
            handshake_rtt_seconds: rtt.map(Seconds),
            syn_retransmits: *syn_retransmits,
            bytes_sent: traffic.map(|traffic| traffic.sent),
            bytes_received: traffic.map(|traffic| traffic.received),
            status_code: *status,
            connection_upgraded: *upgraded,
            failed_due_to_regex: *failed_due_to_regex,
            close_code: *close_code,
        }
    }
}
