//! What every section of a prober that talks over a stream tells of its connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use super::Seconds;
use crate::flight::Traffic;
use crate::probe::{Handshake, conversation};

#[derive(Serialize)]
pub(super) struct Connection {
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
}

impl Connection {
    pub(super) fn of(handshake: &Handshake, traffic: Option<Traffic>) -> Self {
        let Handshake { local, remote, rtt, syn_retransmits } = handshake;
        Self {
            local: *local,
            remote: *remote,
            handshake_rtt_seconds: rtt.map(Seconds),
            syn_retransmits: *syn_retransmits,
            bytes_sent: traffic.map(|traffic| traffic.sent),
            bytes_received: traffic.map(|traffic| traffic.received),
        }
    }
}

/// What a conversation of `query_response` heard.
#[derive(Serialize)]
pub(super) struct Heard<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_due_to_regex: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_due_to_bytes: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    expect_info: BTreeMap<&'a str, &'a str>,
}

impl<'a> Heard<'a> {
    pub(super) fn of(heard: &'a conversation::Heard) -> Self {
        let conversation::Heard { failed_due_to_regex, failed_due_to_bytes, expect_info } = heard;
        Self {
            failed_due_to_regex: *failed_due_to_regex,
            failed_due_to_bytes: *failed_due_to_bytes,
            expect_info: expect_info.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        }
    }
}
