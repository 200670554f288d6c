//! What went wrong, in words from a closed list.

mod failure;

pub use failure::{CertificateFault, Evidence, Failure, Reason, StatusClass};
