//! The section `tcp`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use super::Seconds;
use crate::probe::conversation::Heard;
use crate::probe::{Handshake, tcp};

#[derive(Serialize)]
pub(super) struct Tcp<'a> {
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
    failed_due_to_regex: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_due_to_bytes: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    expect_info: BTreeMap<&'a str, &'a str>,
}

impl<'a> Tcp<'a> {
    pub(super) fn of(measured: &'a tcp::Measurement) -> Self {
        let tcp::Measurement {
            handshake: Handshake { local, remote, rtt, syn_retransmits },
            traffic,
            heard: Heard { failed_due_to_regex, failed_due_to_bytes, expect_info },
            tls: _,
        } = measured;
        Self {
            local: *local,
            remote: *remote,
            handshake_rtt_seconds: rtt.map(Seconds),
            syn_retransmits: *syn_retransmits,
            bytes_sent: traffic.map(|traffic| traffic.sent),
            bytes_received: traffic.map(|traffic| traffic.received),
            failed_due_to_regex: *failed_due_to_regex,
            failed_due_to_bytes: *failed_due_to_bytes,
            expect_info: expect_info.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        }
    }
}
