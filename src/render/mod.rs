//! Reports as OpenMetrics, text 0.0.4, JSON of our own and of mtr's shape, and text for a person.

mod debug;
mod exposition;
mod json;
mod mtr;
pub mod negotiate;
mod person;

pub use debug::{debug, debug_report};
pub use exposition::{openmetrics, text, text_of_openmetrics};
pub use json::json;
pub use mtr::mtr;
pub use person::{people, person};
