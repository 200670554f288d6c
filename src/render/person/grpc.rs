//! `grpc`: how the call ended, and what the service says of itself.

use super::{Page, carried, connection, tls, waterfall};
use crate::probe::{Report, grpc};

pub(super) fn write(page: &mut Page, report: &Report, measured: &grpc::Measurement) {
    waterfall::write(page, report);
    let grpc::Measurement {
        handshake,
        traffic,
        // The line of TLS says it.
        ssl: _,
        http_status,
        status,
        message,
        serving,
        tls: facts,
    } = measured;
    page.blank();
    if let Some(connection) = connection(handshake) {
        page.entry("TCP", connection);
    }
    carried(page, *traffic);
    if let Some(http_status) = http_status {
        page.entry("HTTP", format_args!("status {http_status}"));
    }
    if let Some(status) = status {
        page.entry("gRPC", format_args!("status {status}"));
    }
    if let Some(message) = message {
        page.entry("", format_args!("{message:?}"));
    }
    if let Some(serving) = serving {
        page.entry("health", serving.name());
    }
    if let Some(facts) = facts {
        tls::write(page, report, facts);
    }
}
