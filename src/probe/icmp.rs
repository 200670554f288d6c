//! ICMP echo: loss and round-trip times.

use std::time::Duration;

use super::Probe;
use super::resolve::Preference;
use crate::path::Statistics;
use crate::verdict::Failure;

/// The `icmp:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// Echo requests.
    pub count: u32,
    /// Time between them.
    pub interval: Duration,
    /// Bytes after the ICMP header.
    pub payload_size: usize,
    /// Hop limit; nothing leaves the kernel's.
    pub ttl: Option<u8>,
    /// Whether packets may not be split on the way.
    pub dont_fragment: bool,
    /// Raw socket (needs CAP_NET_RAW) or datagram socket; nothing takes the first that works.
    pub raw: Option<bool>,
    /// The address family.
    pub preference: Preference,
}

/// What an icmp probe measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurement {
    /// Requests that left.
    pub sent: u32,
    /// Requests that were answered.
    pub received: u32,
    /// Round-trip times of the answered, by kernel stamps.
    pub rtt: Statistics,
    /// The hop limit that the last reply arrived with.
    pub reply_hop_limit: Option<u8>,
    /// Whether the socket was a raw one.
    pub raw: Option<bool>,
}

/// Says why `target` is not a host.
///
/// # Errors
/// One sentence.
pub fn check_target(_target: &str) -> Result<(), String> {
    Ok(())
}

/// Measures.
///
/// # Errors
/// Why it went no further.
pub async fn measure(_settings: &Settings, probe: &Probe<'_>, _measured: &mut Measurement) -> Result<(), Failure> {
    Err(probe.failure(crate::verdict::Reason::ProberError, "not written"))
}
