//! Bytes ⇄ values: packets, without sockets.
