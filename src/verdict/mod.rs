//! What went wrong, in words from a closed list, and whose fault it is.

mod codes;
mod comparison;
mod evidence;
mod failure;
mod reason;
mod reroute;
mod status;

pub use comparison::{Judgement, Slow, Verdict, Witness, judge};
pub use evidence::Evidence;
pub use failure::Failure;
pub use reason::{CertificateFault, Late, Reason, StatusClass};
pub use reroute::{Ill, Trouble, reroute_helps};
