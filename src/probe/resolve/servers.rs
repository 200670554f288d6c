//! An ISP's own name servers, asked through it.
use std::net::{IpAddr, SocketAddr};

use crate::net::Family;
use crate::probe::Probe;
use crate::verdict::{Failure, Reason};

pub(super) async fn lookup(
    probe: &Probe<'_>,
    _servers: &[SocketAddr],
    _host: &str,
    _families: &[Family],
) -> Result<IpAddr, Failure> {
    Err(probe.failure(Reason::ProberError, "not written"))
}
