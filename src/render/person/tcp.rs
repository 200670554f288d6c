//! `tcp`: the connection, and what was said on it.

use super::{Page, carried, connection, heard, tls, waterfall};
use crate::probe::{Report, tcp};

pub(super) fn write(page: &mut Page, report: &Report, measured: &tcp::Measurement) {
    waterfall::write(page, report);
    let tcp::Measurement { handshake, mss, traffic, heard: told, tls: facts } = measured;
    page.blank();
    if let Some(connection) = connection(handshake) {
        page.entry("TCP", connection);
    }
    if let Some(mss) = mss {
        page.entry("MSS", format_args!("{mss} bytes"));
    }
    carried(page, *traffic);
    heard(page, told);
    if let Some(facts) = facts {
        tls::write(page, report, facts);
    }
}
