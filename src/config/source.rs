//! Addresses that probes leave from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::decode::{Fields, Value};
use super::module::preference;
use crate::net::{Family, Source};

/// An IPv4 address to leave from.
pub(super) fn v4(value: &Value<'_>) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = value.parsed("an IPv4 address")?;
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
        value.problem(format!("{address} is not an address that a packet can come from"));
        return None;
    }
    Some(address)
}

/// An IPv6 address to leave from.
pub(super) fn v6(value: &Value<'_>) -> Option<Ipv6Addr> {
    let address: Ipv6Addr = value.parsed("an IPv6 address")?;
    if address.is_unspecified() || address.is_multicast() || address.to_ipv4_mapped().is_some() {
        value.problem(format!("{address} is not an address that an IPv6 packet can come from"));
        return None;
    }
    Some(address)
}

/// The `source_ip_address` of a prober's section: what its probes leave from where the request names no ISP.
pub(super) fn of_section(section: &Fields<'_>) -> Source {
    let mut source = Source::default();
    let Some(value) = section.filled("source_ip_address") else { return source };
    let Some(address) = value.parsed::<IpAddr>("an IP address") else { return source };
    match address {
        IpAddr::V4(_) => source.v4 = v4(&value),
        IpAddr::V6(_) => source.v6 = v6(&value),
    }
    let preference = preference(section);
    if Family::of(address) != preference.family && !preference.fallback {
        let wanted = match preference.family {
            Family::V4 => "ip4",
            Family::V6 => "ip6",
        };
        value.problem(format!(
            "{address} is not of the preferred_ip_protocol, {wanted}, and ip_protocol_fallback is off: no probe could leave"
        ));
    }
    source
}
