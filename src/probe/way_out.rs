//! Which way a probe leaves this host, and whether that is its ISP's.

use std::net::{IpAddr, SocketAddr};

use super::judge::{Astray, LOOPBACK, heading, of_isps};
use super::{Probe, lock, traceroute};
use crate::flight::Phase;
use crate::net::{Heading, Way};
use crate::path::egress::{Router, Sign, is_of, of_path};
use crate::verdict::{Failure, Reason};

/// Which way a probe left this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WayOut {
    /// The device, by the kernel's routes; of several connections, that of the last.
    pub device: Option<String>,
    /// The router that its packets were handed to; nothing where the destination is next door, or the way is not known.
    pub gateway: Option<IpAddr>,
    /// The first router of a trace that answered.
    pub first_hop: Option<IpAddr>,
    /// Whether it is the named ISP's; nothing where that cannot be told.
    pub verified: Option<bool>,
    /// Whether answers arrived on another device; nothing where the sockets cannot see it.
    pub return_mismatch: Option<bool>,
}

/// The same while the probe runs, as far as the kernel tells it.
#[derive(Debug)]
pub(super) struct Leaving {
    way: Way,
    local: Option<IpAddr>,
    verified: Option<bool>,
    returned_elsewhere: Option<bool>,
}

impl Probe<'_> {
    /// Asks the kernel which way a SYN will leave, so that none leaves the wrong one, which without an ISP there is not. Its port is not known
    /// before it has left. Returns the way where there is but one.
    ///
    /// # Errors
    /// As [`Probe::leaves_by`].
    pub(super) fn will_connect_by(&self, remote: SocketAddr) -> Result<Option<Way>, Failure> {
        self.request.will_connect(self.source(), remote).map_err(|astray| self.led_astray(astray, None))
    }

    /// Asks the kernel which way the packets of a TCP connection leave, from the moment when its port is known; `only` is the way that it had
    /// no choice of before.
    ///
    /// # Errors
    /// As [`Probe::leaves_by`].
    pub(super) fn connects_by(
        &self,
        only: Option<&Way>,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> Result<(), Failure> {
        let heading = heading(libc::IPPROTO_TCP, local, remote);
        let local = local.map(|local| local.ip());
        let Some(way) = self.way(local, &heading) else { return Ok(()) };
        let is_only = only.is_some_and(|only| (only.index, only.gateway) == (way.index, way.gateway));
        if !is_only && self.request.network.has_one_way(self.source(), local, &heading).is_ok_and(|one| !one) {
            self.note(format_args!("the kernel does not say which of several ways it leaves by"));
            return Ok(());
        }
        self.takes(way, local, &heading)
    }

    /// Asks the kernel which way the packets of a connected UDP socket leave.
    ///
    /// # Errors
    /// As [`Probe::leaves_by`].
    pub(super) fn talks_by(&self, local: Option<SocketAddr>, remote: SocketAddr) -> Result<(), Failure> {
        self.leaves_by(local.map(|local| local.ip()), &heading(libc::IPPROTO_UDP, local, remote))
    }

    /// Asks the kernel which way packets of the probe's source leave, as soon as all is known that the kernel knows of them. That it does not
    /// say is no failure.
    ///
    /// # Errors
    /// That the way is not the ISP's.
    pub(super) fn leaves_by(&self, local: Option<IpAddr>, heading: &Heading) -> Result<(), Failure> {
        self.way(local, heading).map_or(Ok(()), |way| self.takes(way, local, heading))
    }

    fn way(&self, local: Option<IpAddr>, heading: &Heading) -> Option<Way> {
        let way = self.request.network.way(self.source(), local, heading);
        way.inspect_err(|error| self.note(format_args!("the kernel does not say which way it leaves: {error}"))).ok()
    }

    fn takes(&self, way: Way, local: Option<IpAddr>, heading: &Heading) -> Result<(), Failure> {
        let judged = self.request.judge_way(&way, heading.destination);
        let verified = judged.map_err(|astray| self.led_astray(astray, local))?;
        self.leaves(way, local, verified);
        Ok(())
    }

    /// What it means that the way is not the ISP's, of which note is taken where the kernel would have used it.
    fn led_astray(&self, Astray { way, reason, detail }: Astray, local: Option<IpAddr>) -> Failure {
        if reason == Reason::EgressMismatch {
            self.leaves(way, local, Some(false));
        }
        self.failure(reason, detail)
    }

    /// Takes note of a way.
    fn leaves(&self, way: Way, local: Option<IpAddr>, verified: Option<bool>) {
        match way.gateway {
            Some(gateway) => self.note(format_args!("leaves by {} via {gateway}", way.device)),
            None => self.note(format_args!("leaves by {}", way.device)),
        }
        let mut notes = lock(&self.notes);
        // Who is talked to on the way to the target may be elsewhere.
        if notes.aside.is_empty() {
            notes.leaving = Some(Leaving { way, local, verified, returned_elsewhere: None });
        }
    }

    /// Takes note of the device that an answer arrived on, where the kernel said so. A socket that is bound to a device hears no other one, and
    /// what this host says to itself arrives on none.
    pub(super) fn arrived(&self, device: Option<u32>, from: IpAddr) {
        if self.source().interface.is_some() {
            return;
        }
        if let (Some(device), Some(leaving)) = (device, &mut lock(&self.notes).leaving)
            && leaving.local != Some(from)
            && leaving.way.index != LOOPBACK
        {
            let elsewhere = device != leaving.way.index;
            leaving.returned_elsewhere = Some(elsewhere || leaving.returned_elsewhere == Some(true));
        }
    }

    /// All that is known of the way out, and that it was not the ISP's where the path says so.
    pub(super) fn way_out(&self, trace: Option<&traceroute::Measurement>) -> (Option<WayOut>, Option<Failure>) {
        let mut out = WayOut::default();
        if let Some(Leaving { way, local: _, verified, returned_elsewhere }) = lock(&self.notes).leaving.take() {
            out.device = Some(way.device);
            out.gateway = way.gateway;
            out.verified = verified;
            out.return_mismatch = returned_elsewhere;
        }
        let mut failure = None;
        if let Some(measured) = trace {
            let mut hops = routers(measured);
            out.first_hop = hops.iter().flatten().next().map(|router| router.address);
            // Where the first hop says nothing, the kernel knows who it is.
            if let (1, Some(first), Some(gateway)) = (measured.first_hop, hops.first_mut(), out.gateway)
                && first.is_empty()
            {
                first.push(Router { address: gateway, asns: Vec::new() });
            }
            match self.request.isp.as_ref().and_then(|isp| of_path(&self.request.uplinks(), &isp.name, &hops)) {
                Some((_, _, Sign::Own)) => out.verified = Some(true),
                Some((index, router, Sign::Foreign(owners))) => {
                    out.verified = Some(false);
                    let whose = of_isps(&owners);
                    let detail =
                        format!("hop {}, {router}, is a router of {whose}", usize::from(measured.first_hop) + index);
                    let mismatch = self.failure(Reason::EgressMismatch, detail);
                    // Whatever was looked up since.
                    failure = Some(Failure { phase: Phase::Trace, ..mismatch });
                }
                Some((_, _, Sign::Shared)) | None => {}
            }
        }
        (Some(out).filter(|out| *out != WayOut::default()), failure)
    }

    /// Whether a router is the ISP's; nothing where nobody knows.
    pub(super) fn is_of_isp(&self, of: &traceroute::Router) -> Option<bool> {
        let isp = self.request.isp.as_ref()?;
        is_of(&self.request.uplinks(), &isp.name, &router(of))
    }
}

impl WayOut {
    /// Takes what the trace of a flow of the probe told: one that left through another ISP is one too many.
    pub(super) fn learn(&mut self, traced: &Self) {
        self.first_hop = self.first_hop.or(traced.first_hop);
        self.verified = match traced.verified {
            Some(false) => Some(false),
            proven => self.verified.or(proven),
        };
    }
}

/// Who answered at each hop, from the first that was asked on (those before are the site's own), without the ends of the path.
fn routers(measured: &traceroute::Measurement) -> Vec<Vec<Router>> {
    let ends = [measured.source, measured.destination];
    let routers = |hop: &traceroute::Hop| {
        let routers = hop.routers.iter().filter(|router| !ends.contains(&Some(router.address)));
        routers.map(router).collect()
    };
    measured.hops.iter().map(routers).collect()
}

fn router(of: &traceroute::Router) -> Router {
    Router { address: of.address, asns: of.systems.iter().map(|system| system.number).collect() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::net::Source;
    use crate::probe::{Isp, Measurement, Request, icmp, testing};

    #[tokio::test]
    async fn what_the_kernel_does_not_say_is_no_failure() {
        let source = Source { interface: Some("none0".to_owned()), ..Source::default() };
        let isp = Isp { name: "a".to_owned(), source, ..Isp::default() };
        let request = testing::configured("{prober: icmp}", "192.0.2.1", Duration::from_secs(1));
        let request = Request { isp: Some(Arc::new(isp)), ..request };
        let probe = Probe::start(&request);
        let heading = Heading { destination: [192, 0, 2, 1].into(), protocol: None, ports: None };
        assert_eq!(probe.leaves_by(None, &heading), Ok(()));
        let report = probe.report(Measurement::Icmp(icmp::Measurement::default()), None);
        assert_eq!((report.way_out, report.failure), (None, None));
        let log: Vec<_> = report.log.iter().map(|line| line.text.as_str()).collect();
        assert!(
            matches!(log[..], [line] if line.starts_with("the kernel does not say which way it leaves: ")),
            "{log:?}"
        );
    }

    #[test]
    fn a_trace_tells_what_was_not_known_and_a_wrong_way_whatever_was() {
        let verdicts = [None, Some(true), Some(false)];
        let learnt = |known, traced| {
            let mut out = WayOut { verified: known, ..WayOut::default() };
            out.learn(&WayOut { verified: traced, ..WayOut::default() });
            out.verified
        };
        assert_eq!(verdicts.map(|known| learnt(known, None)), verdicts);
        assert_eq!(verdicts.map(|known| learnt(known, Some(true))), [Some(true), Some(true), Some(false)]);
        assert_eq!(verdicts.map(|known| learnt(known, Some(false))), [Some(false); 3]);
    }

    #[tokio::test]
    async fn what_comes_from_this_host_itself_came_by_no_device() {
        let request = testing::configured("{prober: icmp}", "127.0.0.1", Duration::from_secs(1));
        let report = testing::probe(&request).await;
        if crate::probe::packets::tests::not_permitted(&report) {
            return;
        }
        testing::check_success(&report);
        let out = WayOut { device: Some("lo".to_owned()), ..WayOut::default() };
        assert_eq!(report.way_out, Some(out));
    }
}
