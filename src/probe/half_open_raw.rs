//! A half-open TCP check by raw packets.

use std::net::SocketAddr;

use super::Probe;
use crate::verdict::{Failure, Reason};

/// Measures.
///
/// # Errors
/// Why it went no further.
pub(super) async fn measure(
    probe: &Probe<'_>,
    _destination: SocketAddr,
    _measured: &mut super::tcp::Measurement,
) -> Result<(), Failure> {
    Err(probe.failure(Reason::ProberError, "not written"))
}
