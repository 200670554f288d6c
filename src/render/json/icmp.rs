//! The section `icmp`.

use std::net::IpAddr;

use serde::Serialize;

use super::RoundTrips;
use crate::metrics::loss_ratio;
use crate::probe::icmp;

#[derive(Serialize)]
pub(super) struct Icmp {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    count: u32,
    payload_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u8>,
    dont_fragment: bool,
    packets_sent: u32,
    packets_received: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_seconds: Option<RoundTrips>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_hop_limit: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_socket: Option<bool>,
}

impl Icmp {
    pub(super) fn of(measured: &icmp::Measurement) -> Self {
        let icmp::Measurement {
            count,
            payload_size,
            ttl,
            dont_fragment,
            source,
            sent,
            received,
            rtt,
            reply_hop_limit,
            raw,
        } = measured;
        Self {
            source: *source,
            count: *count,
            payload_bytes: *payload_size,
            ttl: *ttl,
            dont_fragment: *dont_fragment,
            packets_sent: *sent,
            packets_received: *received,
            loss_ratio: loss_ratio(*sent, *received),
            rtt_seconds: RoundTrips::of(rtt),
            reply_hop_limit: *reply_hop_limit,
            raw_socket: *raw,
        }
    }
}
