//! The ways that the kernel's routes choose.

use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::Source;
use super::netlink::{Device, Heading, Netlink, NextHop};

/// Which way packets leave this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The device; of a socket that is bound to a VRF, the VRF.
    pub device: String,
    /// The device's index.
    pub index: u32,
    /// The router that they are handed to; nothing where the destination is next door.
    pub gateway: Option<IpAddr>,
    /// The address that they leave from where nothing else says so.
    pub source: Option<IpAddr>,
}

/// The device that has an address of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Its name.
    pub device: String,
    /// Whether it is up and has a carrier.
    pub is_running: bool,
}

/// Asks for ways by one socket, kept from its first question on, of the namespace of whoever asked that. A question takes a few system
/// calls and some microseconds, so that nothing needs to be remembered that could be wrong by now.
#[derive(Debug, Default)]
pub(super) struct Ways(Mutex<Option<Netlink>>);

impl Ways {
    /// Whether a way leaves by the device that an address of this host is on.
    pub(super) fn is_from_home(&self, way: &Way, address: IpAddr) -> io::Result<bool> {
        self.ask(|netlink| netlink.home(address)).map(|device| device == Some(way.index))
    }

    /// The device that an address of this host is on; nothing where that leads nowhere, as loopback does.
    pub(super) fn home(&self, address: IpAddr) -> io::Result<Option<Home>> {
        let link = self.ask(|netlink| {
            let device = netlink.home(address)?;
            device.map(|device| netlink.link(Device::Index(device))).transpose()
        })?;
        let link = link.filter(|link| link.leads_somewhere);
        Ok(link.map(|link| Home { device: link.name, is_running: link.running }))
    }

    /// Whether the way of packets from a source was chosen for them by a rule.
    pub(super) fn is_chosen_for(&self, source: &Source, destination: IpAddr) -> io::Result<bool> {
        self.ask(|netlink| netlink.is_chosen_for(source, destination))
    }

    /// The largest packet that a device takes, in bytes.
    pub(super) fn mtu(&self, device: u32) -> io::Result<u32> {
        self.ask(|netlink| netlink.link(Device::Index(device))).map(|link| link.mtu)
    }

    /// The way of packets from a source, and from an address of its choice.
    pub(super) fn of(&self, source: &Source, local: Option<IpAddr>, heading: &Heading) -> io::Result<Way> {
        let source = from(source, local);
        self.ask(|netlink| {
            let hop = netlink.route(&source, heading)?;
            along(netlink, &source, hop)
        })
    }

    /// The way that the route of packets from a source leaves no choice of; nothing where it has several.
    pub(super) fn only(&self, source: &Source, local: Option<IpAddr>, heading: &Heading) -> io::Result<Option<Way>> {
        let source = from(source, local);
        self.ask(|netlink| {
            let hop = netlink.single(&source, heading)?;
            hop.map(|hop| along(netlink, &source, hop)).transpose()
        })
    }

    fn ask<T>(&self, question: impl FnOnce(&mut Netlink) -> io::Result<T>) -> io::Result<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let netlink = match &mut *kept {
            Some(netlink) => netlink,
            None => kept.insert(Netlink::open()?),
        };
        question(netlink)
    }
}

/// The way by a next hop.
fn along(netlink: &mut Netlink, source: &Source, hop: NextHop) -> io::Result<Way> {
    let mut device = netlink.name(hop.device)?;
    if let Some(interface) = source.interface.as_ref().filter(|interface| **interface != device)
        && netlink.link(Device::Index(hop.device))?.master == Some(netlink.index(interface)?)
    {
        device.clone_from(interface);
    }
    Ok(Way { device, index: hop.device, gateway: hop.gateway, source: hop.source })
}

/// A source that leaves from an address of the kernel's choice, where that is known.
fn from(source: &Source, local: Option<IpAddr>) -> Source {
    match local {
        Some(local) => source.clone().with_address(local),
        None => source.clone(),
    }
}
