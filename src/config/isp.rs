//! An entry of `isps:`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::decode::Value;
use super::source;
use crate::net::{Family, Source};
use crate::probe::Isp;

/// The longest name that the kernel gives an interface (IFNAMSIZ less its NUL).
const INTERFACE_NAME_LIMIT: usize = 15;

/// The port of name servers that are given without one.
const DNS_PORT: u16 = 53;

/// An ISP; `site` is the file's, for those that name no own.
pub(super) fn isp(name: &str, value: &Value<'_>, site: &str) -> Arc<Isp> {
    let fields = value.fields();
    if name.is_empty() || name == "all" || name.contains(',') {
        // `isp=all` and `isp=a,b` are kept for several.
        fields.problem("is no name for an ISP; a name is not empty, not all, and has no comma");
    }
    let v4 = fields.get("source_ip").and_then(|value| source::v4(&value));
    let v6 = fields.get("source_ip6").and_then(|value| source::v6(&value));
    let interface = fields.get("interface").and_then(|value| interface(&value));
    let mark = fields.get("fwmark").and_then(|value| value.integer(1, u32::MAX.into()));
    let source = Source { v4, v6, interface, mark };
    let binding = ["source_ip", "source_ip6", "interface", "fwmark"];
    if binding.iter().all(|key| fields.get(key).is_none()) {
        fields.problem(format!("nothing binds a probe to it; set at least one of {}", binding.join(", ")));
    }
    let resolvers = match fields.get("resolvers") {
        Some(list) => list.list().iter().filter_map(|value| resolver(value, &source)).collect(),
        None => Vec::new(),
    };
    let site = fields.get("dc").and_then(|value| value.text()).unwrap_or(site).to_owned();
    fields.finish();
    Arc::new(Isp { name: name.to_owned(), site, source, resolvers })
}

fn interface(value: &Value<'_>) -> Option<String> {
    let name = value.text()?;
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > INTERFACE_NAME_LIMIT || name.contains(bad) {
        value.problem(format!("{name:?} is not an interface; a name has 1 to {INTERFACE_NAME_LIMIT} characters"));
        return None;
    }
    Some(name.to_owned())
}

fn resolver(value: &Value<'_>, source: &Source) -> Option<SocketAddr> {
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
    let family = Family::of(address.ip());
    if !source.is_unbound() && !source.supports(family) {
        let (family, key) = match family {
            Family::V4 => ("IPv4", "source_ip"),
            Family::V6 => ("IPv6", "source_ip6"),
        };
        value
            .problem(format!("{text} is {family}, and the ISP has no {family} source; set {key}, interface or fwmark"));
        return None;
    }
    Some(address)
}
