//! The `icmp:` section.

use std::time::Duration;

use super::decode::Fields;
use super::module::preference;
use crate::probe::icmp::Settings;

/// What `ping` sends: 64 bytes with the ICMP header.
const PAYLOAD_SIZE: usize = 56;

/// An IPv4 packet less its header and the ICMP header.
const PAYLOAD_LIMIT: i128 = 65_507;

/// A thousand packets answer every question that a probe may have.
const COUNT_LIMIT: i128 = 1_000;

/// What blackbox_exporter sends with.
const TTL: u8 = 64;

/// The settings, with a default in the place of what is wrong.
pub(super) fn settings(fields: Fields<'_>) -> Settings {
    let settings = Settings {
        count: fields.integer("count", 1, COUNT_LIMIT, 1),
        interval: fields.get("interval").and_then(|value| value.pause()).unwrap_or(Duration::from_millis(100)),
        payload_size: fields.integer("payload_size", 0, PAYLOAD_LIMIT, PAYLOAD_SIZE),
        ttl: Some(fields.integer("ttl", 0, 255, TTL)).filter(|ttl| *ttl > 0),
        dont_fragment: fields.boolean("dont_fragment", false),
        raw: fields.get("raw").and_then(|value| value.boolean()),
        preference: preference(&fields),
    };
    fields.finish();
    settings
}
