//! Conversations as state machines, without sockets or clocks: what to send next, whose answer this is, where the time went.

pub mod bundle;
pub mod pace;
pub mod series;
pub mod survey;
pub mod trace;

mod timeline;

pub use timeline::{Leg, Phase, Timeline, Traffic};
