//! An entry of `isps:`.

use std::sync::Arc;

use super::ask::ALL;
use super::decode::Value;
use super::resolvers::resolvers;
use super::{proxy, source};
use crate::net::{Family, Source};
use crate::path::Prefix;
use crate::path::egress::Territory;
use crate::probe::http::Proxy;
use crate::probe::{Budget, Isp};

/// The longest name that the kernel gives an interface (IFNAMSIZ less its NUL).
const INTERFACE_NAME_LIMIT: usize = 15;

/// An ISP; `site` is the file's, for those that name no own.
pub(super) fn isp(name: &str, value: &Value<'_>, site: &str) -> Arc<Isp> {
    let fields = value.fields();
    if !is_name(name) {
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
    let resolvers = resolvers(&fields, |family| unreachable(&source, family));
    let proxy = fields.filled("proxy_url").and_then(|value| proxy(&value, &source));
    let list = |key| fields.get(key).map(|value| value.list()).unwrap_or_default();
    let territory = Territory {
        networks: list("networks").iter().filter_map(network).collect(),
        asns: list("asns").iter().filter_map(|value| value.integer(1, u32::MAX.into())).collect(),
    };
    let public_ips = list("public_ips").iter().filter_map(public_ip).collect();
    let limit = |key| fields.get(key).and_then(|value| value.integer(1, u32::MAX.into()));
    let max_probes = limit("max_probes");
    let budget = limit("packets_per_second").map(|rate| Arc::new(Budget::new(rate)));
    let site = fields.get("dc").and_then(|value| value.text()).unwrap_or(site).to_owned();
    fields.finish();
    let pace = Arc::default();
    Arc::new(Isp {
        name: name.to_owned(),
        site,
        source,
        resolvers,
        proxy,
        territory,
        public_ips,
        max_probes,
        pace,
        budget,
    })
}

fn is_name(name: &str) -> bool {
    !(name.is_empty() || name == ALL || name.contains(','))
}

/// Whether a module could have it: it has a name, and something that binds a probe to it. What is wrong with it otherwise is told by itself.
pub(super) fn is_usable(isp: &Isp) -> bool {
    is_name(&isp.name) && !isp.source.is_unbound()
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

fn proxy(value: &Value<'_>, source: &Source) -> Option<Arc<Proxy>> {
    let proxy = proxy::of_isp(value)?;
    if let Some(why) = proxy.address().and_then(|address| unreachable(source, Family::of(address))) {
        value.problem(format!("{proxy} is {why}"));
    }
    Some(proxy)
}

fn network(value: &Value<'_>) -> Option<Prefix> {
    let text = value.text()?;
    let network: Prefix = value.noted(text.parse())?;
    if network.length() == 0 {
        value.problem(format!("{text:?} has every router in it, and so proves nothing"));
        return None;
    }
    Some(network)
}

fn public_ip(value: &Value<'_>) -> Option<Prefix> {
    let text = value.text()?;
    let network: Prefix = value.noted(text.parse())?;
    if network.length() == 0 {
        value.problem(format!("{text:?} has every address in it, and so expects none"));
        return None;
    }
    Some(network)
}

/// Why nothing of a family can be reached through an ISP, as a predicate of it.
fn unreachable(source: &Source, family: Family) -> Option<String> {
    let (name, key) = match family {
        Family::V4 => ("IPv4", "source_ip"),
        Family::V6 => ("IPv6", "source_ip6"),
    };
    let why = || format!("{name}, and the ISP has no {name} source; set {key}, interface or fwmark");
    (!source.supports(family)).then(why)
}
