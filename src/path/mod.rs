//! What the answers along a path mean, and what is known of the addresses on it.

pub mod cymru;

mod delay;
mod loss;
mod prefix;
mod roles;
mod route;
mod special;
mod statistics;
mod systems;

pub use delay::{Delay, DelayOnset, LEAST_PART, LEAST_STEP, delay};
pub use loss::{Count, LossClass, SURE, classify, onset};
pub use prefix::Prefix;
pub use roles::{Role, roles};
pub use route::{as_path, as_path_hash, route_hash};
pub use special::public;
pub use statistics::Statistics;
pub use systems::{AutonomousSystem, Origins, Wrong};
