//! The section `unix`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::probe::conversation::Heard;
use crate::probe::unix;

#[derive(Serialize)]
pub(super) struct Unix<'a> {
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

impl<'a> Unix<'a> {
    pub(super) fn of(measured: &'a unix::Measurement) -> Self {
        let unix::Measurement {
            traffic,
            heard: Heard { failed_due_to_regex, failed_due_to_bytes, expect_info },
            tls: _,
        } = measured;
        Self {
            bytes_sent: traffic.map(|traffic| traffic.sent),
            bytes_received: traffic.map(|traffic| traffic.received),
            failed_due_to_regex: *failed_due_to_regex,
            failed_due_to_bytes: *failed_due_to_bytes,
            expect_info: expect_info.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        }
    }
}
