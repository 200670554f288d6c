//! What the lab tells the kernel by rtnetlink: links, addresses, routes, rules.

use std::io;
use std::net::IpAddr;

use crate::net::Family;
use crate::net::netlink::{Message, Netlink, family, link_header, octets};

/// A default route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) family: Family,
    /// The routing table.
    pub(super) table: u32,
    /// The index of the device; without one nothing can be reached by this route.
    pub(super) device: Option<u32>,
    /// The address that the kernel sends from where the socket does not say.
    pub(super) source: Option<IpAddr>,
    /// The smaller is taken first.
    pub(super) metric: u32,
}

/// Which packets a rule sends to its table.
#[derive(Debug, Clone, Copy)]
pub(super) enum Selector {
    From(IpAddr),
    Mark(Family, u32),
}

/// The main routing table.
pub(super) const MAIN: u32 = libc::RT_TABLE_MAIN as u32;

/// Brings a device up or down.
pub(super) fn set_link(netlink: &mut Netlink, name: &str, up: bool) -> io::Result<()> {
    let flags = if up { libc::IFF_UP as u32 } else { 0 };
    let mut message = Message::new(libc::RTM_NEWLINK, 0, &link_header(0, flags, libc::IFF_UP as u32));
    message.attribute(libc::IFLA_IFNAME, name.as_bytes());
    netlink.request(message, || format!("setting {name} {}", if up { "up" } else { "down" }))
}

/// Sets the largest packet that a device takes, in bytes.
pub(super) fn set_mtu(netlink: &mut Netlink, name: &str, bytes: u32) -> io::Result<()> {
    let mut message = Message::new(libc::RTM_NEWLINK, 0, &link_header(0, 0, 0));
    message.attribute(libc::IFLA_IFNAME, name.as_bytes());
    message.attribute(libc::IFLA_MTU, &bytes.to_ne_bytes());
    netlink.request(message, || format!("setting the MTU of {name} to {bytes}"))
}

/// Gives a device an address, ready at once: no duplicate address detection.
pub(super) fn add_address(netlink: &mut Netlink, device: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
    let message = address_message(device, address, prefix);
    netlink.request(message, || format!("adding the address {address}/{prefix}"))
}

/// Sets the default route of a table and metric.
pub(super) fn set_default_route(netlink: &mut Netlink, route: Route) -> io::Result<()> {
    netlink.request(route_message(route), || format!("setting the default route {route:?}"))
}

/// Adds a rule that sends packets to a table.
pub(super) fn add_rule(netlink: &mut Netlink, selector: Selector, table: u32, priority: u32) -> io::Result<()> {
    let message = rule_message(selector, table, priority);
    netlink.request(message, || format!("adding the rule {selector:?} to table {table}"))
}

fn address_message(device: u32, address: IpAddr, prefix: u8) -> Message {
    // struct ifaddrmsg.
    let mut header = [family(Family::of(address)), prefix, libc::IFA_F_NODAD as u8, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&device.to_ne_bytes());
    let mut message = Message::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &header);
    message.attribute(libc::IFA_LOCAL, &octets(address));
    message.attribute(libc::IFA_ADDRESS, &octets(address));
    message
}

fn route_message(route: Route) -> Message {
    let (scope, kind) = match route.device {
        // IPv4 wants to hear that nobody stands between the device and the destination; IPv6 ignores it.
        Some(_) => (libc::RT_SCOPE_LINK, libc::RTN_UNICAST),
        None => (libc::RT_SCOPE_UNIVERSE, libc::RTN_UNREACHABLE),
    };
    // struct rtmsg; the table stands in an attribute, where it has 32 bits.
    let header = [family(route.family), 0, 0, 0, 0, libc::RTPROT_STATIC, scope, kind, 0, 0, 0, 0];
    let mut message = Message::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &header);
    message.attribute(libc::RTA_TABLE, &route.table.to_ne_bytes());
    if let Some(device) = route.device {
        message.attribute(libc::RTA_OIF, &device.to_ne_bytes());
    }
    message.attribute(libc::RTA_PRIORITY, &route.metric.to_ne_bytes());
    if let Some(source) = route.source {
        message.attribute(libc::RTA_PREFSRC, &octets(source));
    }
    message
}

fn rule_message(selector: Selector, table: u32, priority: u32) -> Message {
    let (of, prefix) = match selector {
        Selector::From(address) => (Family::of(address), octets(address).len() as u8 * 8),
        Selector::Mark(family, _) => (family, 0),
    };
    // struct fib_rule_hdr; the source's length is the third byte, the action the eighth.
    let header = [family(of), 0, prefix, 0, 0, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
    let mut message = Message::new(libc::RTM_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &header);
    message.attribute(FRA_TABLE, &table.to_ne_bytes());
    message.attribute(FRA_PRIORITY, &priority.to_ne_bytes());
    match selector {
        Selector::From(address) => message.attribute(FRA_SRC, &octets(address)),
        Selector::Mark(_, mark) => message.attribute(FRA_FWMARK, &mark.to_ne_bytes()),
    }
    message
}

// linux/fib_rules.h, which the libc crate lacks.
const FR_ACT_TO_TBL: u8 = 1;
const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::netlink::{HEADER, attributes};

    #[test]
    fn a_rule_names_its_source_with_all_its_bits() {
        let bytes = rule_message(Selector::From("fd00:a::2".parse().unwrap()), 101, 1000).finish(1);
        assert_eq!((bytes[HEADER], bytes[HEADER + 2]), (libc::AF_INET6 as u8, 128));
        let attributes = attributes(&bytes[HEADER + 12..]).collect::<Vec<_>>();
        assert_eq!(attributes[0], (FRA_TABLE, 101_u32.to_ne_bytes().as_slice()));
        assert_eq!(attributes[2].1.len(), 16);
    }

    #[test]
    fn a_default_route_has_no_destination() {
        let route = Route { family: Family::V4, table: 102, device: Some(3), source: None, metric: 7 };
        let bytes = route_message(route).finish(1);
        assert_eq!(bytes[HEADER + 1], 0);
        let kinds: Vec<_> = attributes(&bytes[HEADER + 12..]).map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [libc::RTA_TABLE, libc::RTA_OIF, libc::RTA_PRIORITY]);
    }
}
