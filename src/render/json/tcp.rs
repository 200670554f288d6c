//! The section `tcp`.

use serde::Serialize;

use super::connection::{Connection, Heard};
use crate::probe::tcp;

#[derive(Serialize)]
pub(super) struct Tcp<'a> {
    #[serde(flatten)]
    connection: Connection,
    #[serde(skip_serializing_if = "Option::is_none")]
    mss_bytes: Option<u16>,
    #[serde(flatten)]
    heard: Heard<'a>,
}

impl<'a> Tcp<'a> {
    pub(super) fn of(measured: &'a tcp::Measurement) -> Self {
        let tcp::Measurement { handshake, mss, traffic, heard, tls: _ } = measured;
        Self { connection: Connection::of(handshake, *traffic), mss_bytes: *mss, heard: Heard::of(heard) }
    }
}
