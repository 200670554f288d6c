//! A failed probe.

use std::fmt;
use std::net::IpAddr;

use super::Reason;
use crate::flight::Phase;

/// A failed probe: what was running, and why it went no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The phase that was running.
    pub phase: Phase,
    /// The reason, for labels.
    pub reason: Reason,
    /// The same for a person, with names and addresses.
    pub detail: String,
    /// The node that reported it, where one did.
    pub offender: Option<IpAddr>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {} ({})", self.phase.name(), self.detail, self.reason.name())?;
        match self.offender {
            Some(offender) => write!(f, ", reported by {offender}"),
            None => Ok(()),
        }
    }
}
