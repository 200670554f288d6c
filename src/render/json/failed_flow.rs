//! The section `failed_flow`.

use std::net::SocketAddr;

use serde::Serialize;

use super::Seconds;
use super::traceroute::Traceroute;
use crate::probe;
use crate::probe::Cause;

#[derive(Serialize)]
pub(super) struct FailedFlow<'a> {
    cause: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_seconds: Option<Seconds>,
    source: SocketAddr,
    destination: SocketAddr,
    end: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reached: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_hop: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_silent_hop: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    astray: Option<&'a str>,
    duration_seconds: Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Traceroute<'a>>,
}

impl<'a> FailedFlow<'a> {
    pub(super) fn of(flow: &'a probe::FailedFlow) -> Self {
        let probe::FailedFlow { cause, local, remote, end, verified, astray, duration, trace } = flow;
        let took = match cause {
            Cause::Failure => None,
            Cause::Slow { phase: _, took } => Some(Seconds(*took)),
        };
        Self {
            cause: cause.name(),
            took_seconds: took,
            source: *local,
            destination: *remote,
            end: end.name(),
            detail: end.detail(),
            reached: flow.reached(),
            last_hop: flow.last_hop().map(|hop| hop.number),
            first_silent_hop: flow.first_silent_hop(),
            verified: *verified,
            astray: astray.as_deref(),
            duration_seconds: Seconds(*duration),
            trace: (trace.flows > 0).then(|| Traceroute::of(trace)),
        }
    }
}
