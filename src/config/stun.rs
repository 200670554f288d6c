//! The `stun:` section.

use super::decode::Fields;
use super::module::preference;
use crate::probe::stun::{Settings, Transport};

/// The settings, with a default in the place of what is wrong.
pub(super) fn settings(fields: Fields<'_>) -> Settings {
    let transports = [Transport::Udp, Transport::Tcp].map(|transport| (transport.name(), transport));
    let transport = fields.get("transport_protocol").and_then(|value| value.choice(&transports));
    let settings = Settings { transport: transport.unwrap_or(Transport::Udp), preference: preference(&fields) };
    fields.finish();
    settings
}
