//! A half-open TCP check by raw packets.
