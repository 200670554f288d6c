//! `websocket`: how the handshake was answered, and how the connection ended.

use super::{Page, carried, connection, tls, waterfall};
use crate::probe::{Report, websocket};

pub(super) fn write(page: &mut Page, report: &Report, measured: &websocket::Measurement) {
    waterfall::write(page, report);
    let websocket::Measurement {
        handshake,
        traffic,
        status,
        upgraded,
        // The reason of the failure says it.
        failed_due_to_regex: _,
        close_code,
        tls: facts,
    } = measured;
    page.blank();
    if let Some(connection) = connection(handshake) {
        page.entry("TCP", connection);
    }
    carried(page, *traffic);
    if let Some(status) = status {
        let upgraded = if *upgraded == Some(true) { ", a WebSocket" } else { "" };
        page.entry("HTTP", format_args!("status {status}{upgraded}"));
    }
    if let Some(code) = close_code {
        page.entry("closed", format_args!("with code {code}"));
    }
    if let Some(facts) = facts {
        tls::write(page, report, facts);
    }
}
