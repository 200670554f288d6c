//! Bytes ⇄ values: packets, without sockets.

pub mod dns;
pub mod http;
