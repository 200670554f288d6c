//! What the answers along a path mean, and what is known of the addresses on it.

pub mod cymru;
pub mod egress;
pub mod share;

mod analysis;
mod clamp;
mod delay;
mod flows;
mod loss;
mod mtu;
mod parting;
mod prefix;
mod roles;
mod route;
mod special;
mod statistics;
mod stopping;
mod systems;

pub use analysis::{Analysis, Heard};
pub use clamp::{Carried, Clamp, Offers, There};
pub use delay::DelayOnset;
pub use flows::{Balance, Balancing, Doubt, FlowPath, Sightings, Survey, Wanted};
pub use loss::{Count, LossClass};
pub use mtu::{Fate, MtuSearch, PathMtu};
pub use parting::{Beside, Part, Stop};
pub use prefix::Prefix;
pub use roles::Role;
pub use special::public;
pub use statistics::Statistics;
pub use stopping::enough;
pub use systems::{AutonomousSystem, Origins, Wrong};
