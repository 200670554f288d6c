//! `tcp`: the connection, and what was said on it.

use super::{Page, connection, tls, waterfall};
use crate::probe::{Report, tcp};

pub(super) fn write(page: &mut Page, report: &Report, measured: &tcp::Measurement) {
    waterfall::write(page, report);
    let tcp::Measurement {
        handshake,
        traffic,
        // The reason of the failure says it.
        failed_due_to_regex: _,
        failed_due_to_bytes: _,
        expect_info,
        tls: facts,
    } = measured;
    page.blank();
    if let Some(connection) = connection(handshake) {
        page.entry("TCP", connection);
    }
    if let Some(traffic) = traffic {
        page.entry("", format_args!("{} bytes sent, {} received", traffic.sent, traffic.received));
    }
    for (number, (name, value)) in expect_info.iter().enumerate() {
        page.entry(if number == 0 { "heard" } else { "" }, format_args!("{name}: {value:?}"));
    }
    if let Some(facts) = facts {
        tls::write(page, report, facts);
    }
}
