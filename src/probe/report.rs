//! What a probe ends in.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{
    FailedFlow, Isp, Prober, WayOut, dns, egress, grpc, http, icmp, resolve, stun, tcp, traceroute, unix, websocket,
};
use crate::flight::Phase;
use crate::verdict::Failure;

/// What stands in the place of a secret, wherever it would be told.
pub(crate) const SECRET: &str = "<secret>";

/// One finished probe: what was measured, however far it got, and why it got no further.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was probed, with `<secret>` in the place of a password.
    pub target: String,
    /// The module's name.
    pub module: String,
    /// The name by which the server was asked, where the request gave one that the prober has a use for.
    pub hostname: Option<String>,
    /// Through whom; nothing where no ISP was named, or none has a part in it.
    pub isp: Option<Arc<Isp>>,
    /// When it began.
    pub started: SystemTime,
    /// How long it took, by the wall.
    pub duration: Duration,
    /// How long it might have taken.
    pub timeout: Duration,
    /// The time in each phase that was reached, by the wire.
    pub phases: Vec<(Phase, Duration)>,
    /// The time that was our own.
    pub overhead: Duration,
    /// What the target's name became, whatever it redirected to; nothing before a name was looked up.
    pub resolution: Option<resolve::Resolution>,
    /// Which way it left this host; nothing where that is not known.
    pub way_out: Option<WayOut>,
    /// What the prober measured.
    pub measurement: Measurement,
    /// Why it failed; nothing on success.
    pub failure: Option<Failure>,
    /// The trace of the flow that failed, or was too slow; nothing where there was no such flow, or nobody wanted it.
    pub failed_flow: Option<FailedFlow>,
    /// What happened, for a person; as much as the request wanted to be kept.
    pub log: Vec<LogLine>,
}

impl Report {
    /// How many packets of our own making were sent, without a trace of the flow; nothing where they are not counted.
    #[must_use]
    pub fn packets(&self) -> Option<u32> {
        match &self.measurement {
            Measurement::Icmp(measured) => Some(measured.sent),
            Measurement::Traceroute(measured) => Some(measured.packets),
            Measurement::Egress(measured) => Some(measured.packets),
            Measurement::Http(_)
            | Measurement::Tcp(_)
            | Measurement::Dns(_)
            | Measurement::Unix(_)
            | Measurement::Grpc(_)
            | Measurement::Websocket(_)
            | Measurement::Stun(_) => None,
        }
    }

    /// The address that our packets have where they arrive, as the server tells it: what SNAT made of it. Nothing where nobody was asked, or told it.
    #[must_use]
    pub fn public_ip(&self) -> Option<IpAddr> {
        match &self.measurement {
            Measurement::Http(measured) => measured.public_ip,
            Measurement::Stun(measured) => measured.public_ip(),
            Measurement::Tcp(_)
            | Measurement::Icmp(_)
            | Measurement::Dns(_)
            | Measurement::Traceroute(_)
            | Measurement::Unix(_)
            | Measurement::Grpc(_)
            | Measurement::Websocket(_)
            | Measurement::Egress(_) => None,
        }
    }

    /// Whether that is one of the ISP's; nothing where the ISP names none of the family, and where it is not known.
    #[must_use]
    pub fn public_ip_expected(&self) -> Option<bool> {
        self.isp.as_ref()?.expects(self.public_ip()?)
    }

    /// Whether the probe succeeded.
    #[must_use]
    pub fn success(&self) -> bool {
        self.failure.is_none()
    }
}

/// A line of a probe's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Since the start of the probe.
    pub at: Duration,
    /// What happened.
    pub text: String,
}

/// What a probe measured, by prober.
#[derive(Debug, Clone, PartialEq)]
pub enum Measurement {
    /// See [`http::Measurement`].
    Http(http::Measurement),
    /// See [`tcp::Measurement`].
    Tcp(tcp::Measurement),
    /// See [`icmp::Measurement`].
    Icmp(icmp::Measurement),
    /// See [`dns::Measurement`].
    Dns(dns::Measurement),
    /// See [`traceroute::Measurement`].
    Traceroute(traceroute::Measurement),
    /// See [`unix::Measurement`].
    Unix(unix::Measurement),
    /// See [`grpc::Measurement`].
    Grpc(grpc::Measurement),
    /// See [`websocket::Measurement`].
    Websocket(websocket::Measurement),
    /// See [`egress::Measurement`].
    Egress(egress::Measurement),
    /// See [`stun::Measurement`].
    Stun(stun::Measurement),
}

impl Measurement {
    /// That of a probe that has not begun.
    pub(super) fn nothing(prober: &Prober) -> Self {
        match prober {
            Prober::Http(_) => Self::Http(http::Measurement::default()),
            Prober::Tcp(_) => Self::Tcp(tcp::Measurement::default()),
            Prober::Icmp(settings) => Self::Icmp(icmp::Measurement::of(settings)),
            Prober::Dns(settings) => Self::Dns(dns::Measurement::of(settings)),
            Prober::Traceroute(settings) => Self::Traceroute(traceroute::Measurement::of(settings)),
            Prober::Unix(_) => Self::Unix(unix::Measurement::default()),
            Prober::Grpc(_) => Self::Grpc(grpc::Measurement::default()),
            Prober::Websocket(_) => Self::Websocket(websocket::Measurement::default()),
            Prober::Egress(settings) => Self::Egress(egress::Measurement::of(settings)),
            Prober::Stun(settings) => Self::Stun(stun::Measurement::of(settings)),
        }
    }
}
