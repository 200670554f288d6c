//! Whether the way that the kernel chooses for packets is that of the ISP that was named.

use std::net::{IpAddr, SocketAddr};

use super::Request;
use crate::net::{Family, Heading, Home, Source, Way};
use crate::path::egress::{Sign, Uplink, of_device, of_gateway};
use crate::verdict::Reason;

/// A way that is not the ISP's.
#[derive(Debug)]
pub(super) struct Astray {
    pub(super) way: Way,
    /// [`Reason::LocalLinkDown`] or [`Reason::EgressMismatch`].
    pub(super) reason: Reason,
    pub(super) detail: String,
}

/// The index of loopback, in every network namespace (Linux: `LOOPBACK_IFINDEX`).
pub(super) const LOOPBACK: u32 = 1;

impl Request {
    /// Judges the way of what a connected UDP socket of a source is going to send; without an ISP, or a source, there is no wrong one. What the
    /// kernel does not say is no failure.
    ///
    /// # Errors
    /// That the way is not the ISP's.
    pub(super) fn will_send(
        &self,
        source: &Source,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> Result<(), Astray> {
        if self.isp.is_none() || source.is_unbound() {
            return Ok(());
        }
        let way = self.network.way(source, local.map(|local| local.ip()), &heading(libc::IPPROTO_UDP, local, remote));
        way.map_or(Ok(()), |way| self.judge_way(&way, remote.ip()).map(drop))
    }

    /// Judges the way of a SYN that is going to leave; its port is not known before it has. Returns the way where there is but one.
    ///
    /// # Errors
    /// As [`Request::will_send`].
    pub(super) fn will_connect(&self, source: &Source, remote: SocketAddr) -> Result<Option<Way>, Astray> {
        if self.isp.is_none() || source.is_unbound() {
            return Ok(None);
        }
        let only = self.network.only_way_of_new(source, &heading(libc::IPPROTO_TCP, None, remote)).ok().flatten();
        if let Some(way) = &only {
            self.judge_way(way, remote.ip())?;
        }
        Ok(only)
    }

    /// Whether a way that the kernel chose is the ISP's; nothing where that cannot be told.
    ///
    /// # Errors
    /// That it is not.
    pub(super) fn judge_way(&self, way: &Way, destination: IpAddr) -> Result<Option<bool>, Astray> {
        let Some(isp) = &self.isp else { return Ok(None) };
        let uplinks = self.uplinks();
        let astray = |reason, detail| Err(Astray { way: way.clone(), reason, detail });
        let mismatch =
            |what: String| astray(Reason::EgressMismatch, format!("the kernel's route to {destination} {what}"));
        let (network, device, family) = (&self.network, &way.device, Family::of(destination));
        let home = |address| network.home(address).ok().flatten();
        let own = isp.source.address(family).filter(|_| isp.source.interface.is_none());
        // Of most, one question is enough.
        let own = own.filter(|address| !network.is_from_home(way, *address).unwrap_or(true));
        if let Some(own) = own
            && way.index != LOOPBACK
            && let Some(Home { device: dead, is_running: false }) = home(own)
            && !network.is_chosen_for(self.source(), destination).unwrap_or(false)
        {
            let detail = format!(
                "the interface {dead}, which has the address {own}, is down or has no carrier: {device} would be left by"
            );
            return astray(Reason::LocalLinkDown, detail);
        }
        let home_of = |name: &str| {
            let address = match name == isp.name {
                true => own,
                false => self.isps.get(name).and_then(|isp| isp.source.address(family)),
            };
            home(address?).map(|home| home.device)
        };
        let of_device = || match of_device(&uplinks, &isp.name, device, home_of).as_deref() {
            Some([]) => mismatch(format!("leaves by {device}, which is not the interface of ISP {}", isp.name)),
            Some(owners) => mismatch(format!("leaves by {device}, the interface of {}", of_isps(owners))),
            None => Ok(None),
        };
        // Where nothing but addresses tells of devices, the router is who knows better.
        if isp.source.interface.is_some() {
            of_device()?;
        }
        match way.gateway.and_then(|gateway| of_gateway(&uplinks, &isp.name, gateway)) {
            Some(Sign::Own) => Ok(Some(true)),
            // It is the ISP's in any case, whatever devices say.
            Some(Sign::Shared) => Ok(None),
            Some(Sign::Foreign(owners)) => {
                let gateway = way.gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
                mismatch(format!("leads via {gateway}, a router of {}", of_isps(&owners)))
            }
            None => of_device(),
        }
    }

    /// All ISPs, of which the probe's own is as it was asked for.
    pub(super) fn uplinks(&self) -> Vec<Uplink<'_>> {
        let own = self.isp.as_ref();
        let others = self.isps.values().filter(|isp| own.is_none_or(|own| own.name != isp.name));
        let uplinks = others.chain(own).map(|isp| Uplink {
            name: &isp.name,
            interface: isp.source.interface.as_deref(),
            territory: &isp.territory,
        });
        uplinks.collect()
    }
}

pub(super) fn heading(protocol: i32, local: Option<SocketAddr>, remote: SocketAddr) -> Heading {
    let ports = (local.map_or(0, |local| local.port()), remote.port());
    Heading { destination: remote.ip(), protocol: Some(protocol as u8), ports: Some(ports) }
}

pub(super) fn of_isps(names: &[&str]) -> String {
    match names {
        [name] => format!("ISP {name}"),
        names => format!("ISPs {}", names.join(", ")),
    }
}
