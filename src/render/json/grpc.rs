//! The section `grpc`.

use std::borrow::Cow;

use serde::Serialize;

use super::connection::Connection;
use crate::probe::grpc;
use crate::wire::grpc::Serving;

#[derive(Serialize)]
pub(super) struct Grpc<'a> {
    #[serde(flatten)]
    connection: Connection,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serving_status: Option<Cow<'static, str>>,
}

impl<'a> Grpc<'a> {
    pub(super) fn of(measured: &'a grpc::Measurement) -> Self {
        let grpc::Measurement { handshake, traffic, ssl, http_status, status, message, serving, tls: _ } = measured;
        Self {
            connection: Connection::of(handshake, *traffic),
            ssl: *ssl,
            http_status_code: *http_status,
            status_code: *status,
            status_message: message.as_deref(),
            serving_status: serving.map(Serving::name),
        }
    }
}
