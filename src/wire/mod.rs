//! Bytes ⇄ values: packets, without sockets.
//!
//! Parsers take whatever the network may send: they never panic, and a code that they do not know is kept as it is.

pub mod dns;
pub mod grpc;
pub mod http;
pub mod icmp;
pub mod ip;
pub mod socks;
pub mod stun;
pub mod tcp;
pub mod tls;
pub mod udp;
pub mod websocket;

mod checksum;
mod quote;

pub use checksum::{add, transport};
pub use quote::{Quote, Transport};
