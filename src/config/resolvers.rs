//! Name servers, which an ISP or a module may name.

use std::net::{IpAddr, SocketAddr};

use super::decode::{Fields, Value};
use crate::net::Family;

/// The port of name servers that are given without one.
const DNS_PORT: u16 = 53;

/// The `resolvers` of a section; `unreachable` says why none of a family can be asked.
pub(super) fn resolvers(fields: &Fields<'_>, unreachable: impl Fn(Family) -> Option<String>) -> Vec<SocketAddr> {
    let list = fields.get("resolvers").map(|value| value.list()).unwrap_or_default();
    list.iter().filter_map(|value| resolver(value, &unreachable)).collect()
}

fn resolver(value: &Value<'_>, unreachable: impl Fn(Family) -> Option<String>) -> Option<SocketAddr> {
    let text = value.text()?;
    let address = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
        (Ok(address), _) if address.port() != 0 => address,
        (_, Ok(address)) => SocketAddr::new(address, DNS_PORT),
        _ => {
            value.problem(format!(
                "{text:?} is not an address, nor an address and a port (9.9.9.9:53, [2620:fe::fe]:53)"
            ));
            return None;
        }
    };
    if let Some(why) = unreachable(Family::of(address.ip())) {
        value.problem(format!("{text} is {why}"));
        return None;
    }
    Some(address)
}
