//! What went wrong, in words from a closed list.

mod failure;
mod status;

pub use failure::{CertificateFault, Evidence, Failure, Reason, StatusClass};
