//! What went wrong, in words from a closed list.

mod codes;
mod evidence;
mod failure;
mod reason;
mod status;

pub use evidence::Evidence;
pub use failure::Failure;
pub use reason::{CertificateFault, Late, Reason, StatusClass};
