//! The section `unix`.

use serde::Serialize;

use super::connection::Heard;
use crate::probe::unix;

#[derive(Serialize)]
pub(super) struct Unix<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_sent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_received: Option<u64>,
    #[serde(flatten)]
    heard: Heard<'a>,
}

impl<'a> Unix<'a> {
    pub(super) fn of(measured: &'a unix::Measurement) -> Self {
        let unix::Measurement { traffic, heard, tls: _ } = measured;
        Self {
            bytes_sent: traffic.map(|traffic| traffic.sent),
            bytes_received: traffic.map(|traffic| traffic.received),
            heard: Heard::of(heard),
        }
    }
}
