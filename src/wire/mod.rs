//! Bytes ⇄ values: packets, without sockets.

pub mod http;
