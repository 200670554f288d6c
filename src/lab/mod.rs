//! The lab: an emulated internet with two ISPs, which the tests, `demo` and `selftest` run in.
//!
//! ```text
//!  namespace "prober"                     emulator (a thread)                          namespace "far"
//! ┌────────────────────────┐   ┌──────────────────────────────────────────┐   ┌─────────────────────────────┐
//! │ 10.1.0.2   fd00:a::2   │   │ 100.64.1.1 … 100.64.1.n  fd00:a:1::1 …   │   │ 198.51.100.10 … .40         │
//! │            TUN ispa ───┼───┼─▸ hop ─▸ hop ─▸ … ─▸ hop ─┐              │   │ 2001:db8:100::10 … ::40     │
//! │                        │   │                           ├──────────────┼───┼─ TUN inet                   │
//! │            TUN ispb ───┼───┼─▸ hop ─▸ hop ─▸ … ─▸ hop ─┘              │   │ real servers, on a real     │
//! │ 10.2.0.2   fd00:b::2   │   │ 100.64.2.1 … 100.64.2.n  fd00:b:1::1 …   │   │ TCP/IP stack                │
//! └────────────────────────┘   └──────────────────────────────────────────┘   └─────────────────────────────┘
//! ```
//!
//! What the prober's kernel sends out of `ispa` or `ispb` travels that ISP's hops: each takes from the time to live, waits, loses,
//! answers, as the [`Topology`] says. What is left comes out of `inet`, where a real Linux stack has the targets' addresses. Its
//! answers go back to the ISP that owns their destination, over the same hops. Nothing of it needs root, a module of the
//! kernel (`sch_netem`) or a program of the host where user namespaces are allowed and `/dev/net/tun` can be opened: see
//! [`Lab::available`].
//!
//! In the prober's namespace a source address (`from 10.1.0.2`) or a mark (101, 102) chooses the routing table of its ISP; without either
//! the default route goes where [`Lab::default_route`] sent it, and the other one stands behind it, for sockets that are bound to a device.
//!
//! Chance (loss, jitter) comes from one seed, so the same traffic has the same fate twice.

pub mod demo;
mod emulator;
mod internet;
mod ledger;
mod namespace;
mod netlink;
mod packet;
pub(crate) mod random;
pub mod selftest;
mod servers;
mod topology;

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

pub use ledger::{HopCount, Observation};
pub use namespace::{Namespace, enter_user_namespace};
pub use servers::{NAMES, Servers};
pub use topology::{
    Action, Answers, Binding, Clamp, Fault, Hop, Isp, Labels, Link, Matches, Mtu, Path, RateLimit, Router, TARGETS,
    Topology, target,
};

use crate::net::netlink::{Device, Netlink};
use crate::net::{Family, sys};
use emulator::{Emulator, Wires};
use internet::Internet;
use namespace::set_sysctl;
use netlink::{Route, Selector};
use packet::Flow;

/// A running emulated internet. Everything of it ends when this is dropped.
#[derive(Debug)]
pub struct Lab {
    // The emulator stops before the namespaces go.
    emulator: Emulator,
    prober: Namespace,
    far: Namespace,
}

impl Lab {
    /// Whether this process can have a lab here.
    ///
    /// # Errors
    /// What is missing, and what to do about it.
    pub fn available() -> Result<(), String> {
        let tried =
            Namespace::create("lab-try", || sys::open_tun("try").map(drop).map_err(|error| explain_tun(&error)));
        tried.map(drop).map_err(|error| error.to_string())
    }

    /// Makes the namespaces, their devices, addresses, routes and rules, and starts the internet between them. The default route goes
    /// through A, and ICMP sockets need no privileges.
    ///
    /// # Errors
    /// The step that failed, and what the system said.
    pub fn start(topology: Topology) -> io::Result<Self> {
        let (prober, (a, b)) = Namespace::create("lab-prober", configure_prober)?;
        let (far, inet) = Namespace::create("lab-far", configure_far)?;
        let emulator = Emulator::start(Internet::new(topology), Wires { a, b, inet })?;
        Ok(Self { emulator, prober, far })
    }

    /// The namespace with the two uplinks.
    #[must_use]
    pub fn prober(&self) -> &Namespace {
        &self.prober
    }

    /// The namespace with the targets.
    #[must_use]
    pub fn far(&self) -> &Namespace {
        &self.far
    }

    /// What the internet looks like now.
    #[must_use]
    pub fn topology(&self) -> Topology {
        self.emulator.internet().topology().clone()
    }

    /// Changes what the internet looks like, for all packets that leave from now on. Works from any thread, while probes run.
    pub fn change(&self, change: impl FnOnce(&mut Topology)) {
        self.emulator.internet().change(change);
    }

    /// Sends what is bound to nothing through this ISP.
    ///
    /// # Errors
    /// As netlink says.
    pub fn default_route(&self, isp: Isp) -> io::Result<()> {
        self.prober.run(|| set_default_routes(&mut Netlink::open()?, isp))?
    }

    /// Takes the device of an uplink down, or brings it up again. What is bound to nothing then goes through the other, or A.
    ///
    /// # Errors
    /// As netlink says.
    pub fn link(&self, isp: Isp, up: bool) -> io::Result<()> {
        self.prober.run(|| {
            let mut netlink = Netlink::open()?;
            netlink::set_link(&mut netlink, isp.device(), up)?;
            if up {
                // The kernel forgot addresses and routes with the link.
                configure_uplink(&mut netlink, isp)?;
                set_default_routes(&mut netlink, Isp::A)?;
            }
            Ok(())
        })?
    }

    /// Sets the largest packet that an uplink's device takes, in bytes, and that the far end's does: 68 to 9000, for IPv6 at least 1280.
    ///
    /// # Errors
    /// As netlink says.
    pub fn device_mtu(&self, isp: Isp, uplink: u32, far: u32) -> io::Result<()> {
        self.prober.run(|| netlink::set_mtu(&mut Netlink::open()?, isp.device(), uplink))??;
        self.far.run(|| netlink::set_mtu(&mut Netlink::open()?, INET, far))?
    }

    /// Whether ICMP sockets need no privileges in the prober's namespace (`net.ipv4.ping_group_range`).
    ///
    /// # Errors
    /// As `/proc/sys` says: `InvalidInput` where it is to be forbidden in a user namespace with one group, which cannot name an empty
    /// range.
    pub fn unprivileged_icmp(&self, allowed: bool) -> io::Result<()> {
        self.prober.run(|| allow_ping(allowed))?
    }

    /// Every packet that the prober's host sent out of either uplink, the latest 32,768; without multicast and what never leaves a link.
    #[must_use]
    pub fn observed(&self) -> Vec<Observation> {
        self.emulator.internet().ledger.observations()
    }

    /// The routers that forward a packet that was observed, from the first hop on, as the internet is now; nothing where it has no ports.
    #[must_use]
    pub fn routers(&self, packet: &Observation) -> Option<Vec<IpAddr>> {
        let Observation { isp, source, destination, protocol, ports, .. } = *packet;
        let ports = ports?;
        let flow = |outside| Flow::of_ports(outside, destination, protocol, ports);
        Some(self.emulator.internet().routers(isp, source, flow))
    }

    /// Forgets the observations.
    pub fn clear_observed(&self) {
        self.emulator.internet().ledger.clear_observations();
    }

    /// What really happened to the packets for a target at each hop of an ISP, and, last, at the target.
    #[must_use]
    pub fn counts(&self, isp: Isp, target: IpAddr) -> Vec<HopCount> {
        let internet = self.emulator.internet();
        internet.ledger.counts(internet.topology(), isp, target)
    }

    /// By how much the most belated packet came late out of the internet, because this machine was busy.
    #[must_use]
    pub fn lateness(&self) -> Duration {
        self.emulator.internet().ledger.lateness
    }

    /// Begins all counts, and the lateness, anew.
    pub fn clear_counts(&self) {
        self.emulator.internet().ledger.clear_counts();
    }
}

/// The device of the far end.
const INET: &str = "inet";
/// The metrics of the two default routes of a table: the second serves when the first does not.
const METRICS: [u32; 2] = [10, 20];

fn configure_prober() -> io::Result<(OwnedFd, OwnedFd)> {
    quieten()?;
    allow_ping(true)?;
    let open = |isp: Isp| sys::open_tun(isp.device()).map_err(|error| explain_tun(&error));
    let wires = (open(Isp::A)?, open(Isp::B)?);
    let mut netlink = Netlink::open()?;
    netlink::set_link(&mut netlink, "lo", true)?;
    for isp in Isp::ALL {
        netlink::set_link(&mut netlink, isp.device(), true)?;
        configure_uplink(&mut netlink, isp)?;
        for family in FAMILIES {
            netlink::add_rule(&mut netlink, Selector::From(isp.source(family)), isp.mark(), 1_000 + isp.mark())?;
            netlink::add_rule(&mut netlink, Selector::Mark(family, isp.mark()), isp.mark(), 2_000 + isp.mark())?;
        }
    }
    set_default_routes(&mut netlink, Isp::A)?;
    Ok(wires)
}

fn configure_uplink(netlink: &mut Netlink, isp: Isp) -> io::Result<()> {
    let device = netlink.link(Device::Name(isp.device()))?.index;
    for (family, prefix) in [(Family::V4, 24), (Family::V6, 64)] {
        let source = isp.source(family);
        netlink::add_address(netlink, device, source, prefix)?;
        let table = isp.mark();
        let metric = METRICS[0];
        netlink::set_default_route(
            netlink,
            Route { family, table, device: Some(device), source: Some(source), metric },
        )?;
        // When the device is down its route is gone. Without this one the lookup would go on to the main table, and the packet
        // through the other ISP.
        netlink::set_default_route(netlink, Route { family, table, device: None, source: None, metric: METRICS[1] })?;
    }
    Ok(())
}

/// The main table has a default route through each uplink that is up: the second serves only sockets that are bound to its device.
fn set_default_routes(netlink: &mut Netlink, first: Isp) -> io::Result<()> {
    for (isp, metric) in [first, first.other()].into_iter().zip(METRICS) {
        let device = Some(netlink.link(Device::Name(isp.device()))?.index);
        for family in FAMILIES {
            let route = Route { family, table: netlink::MAIN, device, source: Some(isp.source(family)), metric };
            match netlink::set_default_route(netlink, route) {
                Err(error) if error.kind() == io::ErrorKind::NetworkDown => {}
                result => result?,
            }
        }
    }
    Ok(())
}

fn configure_far() -> io::Result<OwnedFd> {
    quieten()?;
    let wire = sys::open_tun(INET).map_err(|error| explain_tun(&error))?;
    let mut netlink = Netlink::open()?;
    netlink::set_link(&mut netlink, "lo", true)?;
    netlink::set_link(&mut netlink, INET, true)?;
    let device = netlink.link(Device::Name(INET))?.index;
    for family in FAMILIES {
        for number in TARGETS {
            // A host's prefix: no target answers for its neighbours.
            netlink::add_address(
                &mut netlink,
                device,
                target(family, number),
                if family == Family::V4 { 32 } else { 128 },
            )?;
        }
        let route = Route { family, table: netlink::MAIN, device: Some(device), source: None, metric: METRICS[0] };
        netlink::set_default_route(&mut netlink, route)?;
    }
    Ok(wire)
}

/// Settings of both namespaces: no packet that nobody asked for, no limit on what the kernel answers, no filter on where from.
fn quieten() -> io::Result<()> {
    for kind in ["all", "default"] {
        set_sysctl(&format!("ipv4/conf/{kind}/rp_filter"), "0")?;
        // Without link-local addresses there are no router solicitations and no multicast reports.
        set_sysctl(&format!("ipv6/conf/{kind}/addr_gen_mode"), "1")?;
        set_sysctl(&format!("ipv6/conf/{kind}/accept_ra"), "0")?;
        set_sysctl(&format!("ipv6/conf/{kind}/accept_dad"), "0")?;
    }
    set_sysctl("ipv4/icmp_ratelimit", "0")?;
    set_sysctl("ipv6/icmp/ratelimit", "0")?;
    for (name, value) in [("icmp_msgs_per_sec", "1000000"), ("icmp_msgs_burst", "1000000")] {
        match set_sysctl(&format!("ipv4/{name}"), value) {
            // Older kernels have one limit for the whole host, and do not show it here.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
            result => result?,
        }
    }
    Ok(())
}

fn allow_ping(allowed: bool) -> io::Result<()> {
    let name = "ipv4/ping_group_range";
    if !allowed {
        return set_sysctl(name, "1 0");
    }
    // In a user namespace only the groups that are mapped can be named, such as our own.
    set_sysctl(name, "0 2147483647").or_else(|_| {
        let group = namespace::effective_group()?;
        set_sysctl(name, &format!("{group} {group}"))
    })
}

fn explain_tun(error: &io::Error) -> io::Error {
    let (what, advice) = match error.kind() {
        io::ErrorKind::NotFound => {
            ("opening /dev/net/tun", ". Load the module (modprobe tun); in a container, pass --device /dev/net/tun")
        }
        io::ErrorKind::PermissionDenied => {
            ("opening /dev/net/tun", ". Allow it (chmod 666 /dev/net/tun), or run this as the host's root")
        }
        _ => ("making a TUN device", ""),
    };
    io::Error::new(error.kind(), format!("{what}: {error}{advice}"))
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_cannot_be_opened_is_told_with_what_helps() {
        let told = |number| explain_tun(&io::Error::from_raw_os_error(number)).to_string();
        assert_eq!(
            told(libc::EACCES),
            "opening /dev/net/tun: Permission denied (os error 13). Allow it (chmod 666 /dev/net/tun), or run this as the host's root"
        );
        assert!(
            told(libc::ENOENT).ends_with("Load the module (modprobe tun); in a container, pass --device /dev/net/tun")
        );
        assert_eq!(told(libc::EBUSY), "making a TUN device: Device or resource busy (os error 16)");
    }
}
