//! uplink_exporter: a Prometheus exporter that probes the outside world through each of a company's ISP uplinks.
//!
//! # The map
//!
//! A folder is pure (no socket, no clock, no log, no task) or it does I/O; none mixes. Dependencies point down.
//!
//! | folder | | what is there |
//! |---|---|---|
//! | [`server`] | I/O | who may come in; routes, `/probe`, pages, the exporter's own metrics |
//! | [`config`] | I/O | `Config`, with its modules and ISPs, and the web configuration: valid by construction; load and reload |
//! | [`probe`] | I/O | `Request` and `Report`, `Wanted` and `Outcome` where several ISPs are compared; one file per prober: its settings, its measurement, `measure()` |
//! | [`reflect`] | I/O | a server that tells its callers which address they come from |
//! | [`lab`] | I/O | the emulated two-ISP internet behind `demo`, `selftest` and the tests |
//! | [`render`] | pure | reports as OpenMetrics, text 0.0.4, JSON, debug text, a page for a terminal |
//! | [`metrics`] | pure | the catalogue: report → families; the public interface |
//! | [`verdict`] | pure | why a probe failed; of several ISPs, whose fault it is, and whether another one would help |
//! | [`net`] | I/O | every socket of the program, always made from a [`net::Source`]; time stamps; TLS |
//! | [`flight`] | pure | conversations as state machines; the pace of traces; where the time goes |
//! | [`wire`] | pure | bytes ⇄ values |
//! | [`re2`] | pure | regular expressions as Go reads them |
//! | [`path`] | pure | what hops and flows mean (statistics, loss, delay, identity, roles, balancing, whose way out, where paths part), and what is known of addresses: prefixes, autonomous systems |
//!
//! Beside them, `file` reads files of a bounded size, and `fnv` is the hash that no release changes.
//!
//! # The way of a probe, with no turning back
//!
//! `GET /probe` → `server` parses (unknown → 400) → `config` gives the module and the ISP → [`probe::run`] matches on the prober and
//! measures until the deadline, on sockets that `net` makes from the ISP's source → a [`probe::Report`], always → `metrics` →
//! `render` → the answer.
//!
//! # Invariants
//!
//! 1. Pure folders stay pure: `now` is an argument.
//! 2. Only `net` makes sockets, and those of the network only from a `Source` (`clippy.toml` bans the bare constructors).
//! 3. A probe never fails, it reports; what was measured before the deadline stays.
//! 4. Metric names live in `metrics` only.
//! 5. What the network sent is a label only on `_info` series.
//! 6. No `unwrap` on anything that came from outside; a panic in a probe is a failed probe.
//! 7. `unsafe` stands in `net::sys` only.
//! 8. A number that was not measured is absent.

pub mod config;
mod file;
pub mod flight;
mod fnv;
pub mod lab;
pub mod metrics;
pub mod net;
pub mod path;
pub mod probe;
pub mod re2;
pub mod reflect;
pub mod render;
pub mod server;
#[cfg(test)]
mod testing;
pub mod verdict;
pub mod wire;
