//! What the answers along a path mean, and what is known of the addresses on it.

pub mod cymru;

mod prefix;
mod special;
mod statistics;
mod systems;

pub use prefix::Prefix;
pub use special::public;
pub use statistics::Statistics;
pub use systems::{AutonomousSystem, Origins, Wrong};
