//! The section `tcp`.

use serde::Serialize;

use super::connection::{Connection, Heard};
use crate::probe::tcp;

#[derive(Serialize)]
pub(super) struct Tcp<'a> {
    #[serde(flatten)]
    connection: Connection,
    #[serde(flatten)]
    heard: Heard<'a>,
}

impl<'a> Tcp<'a> {
    pub(super) fn of(measured: &'a tcp::Measurement) -> Self {
        let tcp::Measurement { handshake, traffic, heard, tls: _ } = measured;
        Self { connection: Connection::of(handshake, *traffic), heard: Heard::of(heard) }
    }
}
