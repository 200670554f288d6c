//! The section `websocket`.

use serde::Serialize;

use super::connection::Connection;
use crate::probe::websocket;

#[derive(Serialize)]
pub(super) struct Websocket {
    #[serde(flatten)]
    connection: Connection,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_upgraded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_due_to_regex: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close_code: Option<u16>,
}

impl Websocket {
    pub(super) fn of(measured: &websocket::Measurement) -> Self {
        let websocket::Measurement { handshake, traffic, status, upgraded, failed_due_to_regex, close_code, tls: _ } =
            measured;
        Self {
            connection: Connection::of(handshake, *traffic),
            status_code: *status,
            connection_upgraded: *upgraded,
            failed_due_to_regex: *failed_due_to_regex,
            close_code: *close_code,
        }
    }
}
