//! Every socket of the program, always made from a [`Source`]; kernel time stamps; TLS.

pub mod clock;
pub mod options;
mod source;
pub mod stream;
pub mod sys;
pub mod tcp;
pub mod tls;
pub mod udp;

pub use source::{Family, Source, SourceError};

/// The sockets that the process keeps between probes.
#[derive(Debug, Default)]
pub struct Network {}
