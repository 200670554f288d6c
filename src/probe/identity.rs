//! Who an address is: its name, and the autonomous systems that announce it.

mod database;
mod inquiry;
mod known;
mod question;

use std::net::IpAddr;

use crate::path::{AutonomousSystem, Origins, public};
use crate::wire::dns::{DomainName, backwards};
pub use database::Database;
pub use inquiry::PATIENCE;
pub(super) use inquiry::{Fact, Inquiry};
pub use known::Identities;

/// Where the numbers of autonomous systems come from (`asn:`).
#[derive(Debug)]
pub enum Registry {
    /// Zones of the DNS.
    Zones(Zones),
    /// A table of prefixes.
    Table(Origins),
    /// A database of MaxMind's format.
    Database(Database),
}

/// Zones that tell by TXT records what Team Cymru's do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zones {
    /// For the origins of an IPv4 address.
    pub origin4: DomainName,
    /// For the origins of an IPv6 address.
    pub origin6: DomainName,
    /// For the names of autonomous systems.
    pub names: DomainName,
}

impl Zones {
    /// The name whose records tell the origins of an address. Of an IPv6 address the first half does: that is all that the Internet routes
    /// by, and the rest is nobody's business.
    #[must_use]
    pub fn of_address(&self, address: IpAddr) -> String {
        let zone = if address.is_ipv4() { &self.origin4 } else { &self.origin6 };
        format!("{}.{zone}", backwards(address, 64))
    }

    /// The name whose record tells what a system is called.
    #[must_use]
    pub fn of_system(&self, number: u32) -> String {
        format!("AS{number}.{}", self.names)
    }
}

impl Registry {
    /// What is known of an address without asking anybody; nothing where somebody must be asked.
    fn local(&self, address: IpAddr) -> Option<Vec<AutonomousSystem>> {
        let of = |lookup: &dyn Fn(IpAddr) -> Vec<AutonomousSystem>| {
            let found = lookup(address.to_canonical());
            // What NAT64 made of an address of IPv4 is announced where that is.
            let stands_for = public(address).filter(|_| found.is_empty());
            stands_for.map_or(found, lookup)
        };
        match self {
            Self::Zones(_) => None,
            Self::Table(origins) => Some(of(&|address| origins.of(address))),
            Self::Database(database) => Some(of(&|address| database.of(address).into_iter().collect())),
        }
    }
}

#[cfg(test)]
mod tests;
