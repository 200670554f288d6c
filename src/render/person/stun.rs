//! `stun`: who was asked, and whom it sees.

use super::units::milliseconds;
use super::{Page, carried, connection, waterfall};
use crate::probe::{Report, stun};
use crate::wire::stun::Mapped;

pub(super) fn write(page: &mut Page, report: &Report, measured: &stun::Measurement) {
    waterfall::write(page, report);
    let stun::Measurement {
        transport,
        handshake,
        traffic,
        requests,
        rtt,
        mapped,
        // The reason of the failure says it.
        refusal: _,
    } = measured;
    page.blank();
    let times = match requests {
        0 => String::new(),
        1 => ", sent once".to_owned(),
        times => format!(", sent {times} times"),
    };
    let rtt = rtt.map(|rtt| format!(", round trip {} ms", milliseconds(rtt.as_secs_f64()))).unwrap_or_default();
    page.entry("request", format_args!("by {}{times}{rtt}", transport.name()));
    if let Some(connection) = connection(handshake) {
        page.entry("", connection);
    }
    carried(page, *traffic);
    if let Some(Mapped { address, in_clear }) = mapped {
        let how = if *in_clear { ", said in clear (MAPPED-ADDRESS)" } else { "" };
        page.entry("answer", format_args!("{address}{how}"));
    }
}
