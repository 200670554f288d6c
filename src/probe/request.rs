//! What is asked for: a target, how it is probed, and through whom.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Budget;
use super::Prober;
use super::http::Proxy;
use super::identity::Identities;
use crate::flight::pace::Pace;
use crate::net::{Network, Source};
use crate::path::Prefix;
use crate::path::egress::Territory;
use crate::verdict::Slow;

/// ISPs by name.
pub type Isps = BTreeMap<String, Arc<Isp>>;

/// One probe that is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is probed, as the module's prober understands it.
    pub target: String,
    /// How.
    pub module: Arc<Module>,
    /// Through whom; nothing leaves it to the kernel's routes.
    pub isp: Option<Arc<Isp>>,
    /// What binds its sockets where the target's address has a zone: the source, on that interface.
    pub zoned: Option<Source>,
    /// All ISPs that there are: what is theirs is not the other's.
    pub isps: Arc<Isps>,
    /// The name by which the server is asked, instead of the target's; only where the prober has a use for it
    /// ([`Prober::hostname`]).
    pub hostname: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// Bytes of its log that are kept at most, of which the reason of a failure is always there; 0 keeps none.
    pub log_limit: usize,
    /// The sockets of the process.
    pub network: Arc<Network>,
    /// What the process knows of addresses.
    pub identities: Arc<Identities>,
}

impl Request {
    /// What binds its sockets: the ISP that it names, or else the module's own source, on the interface of the target's zone.
    #[must_use]
    pub fn source(&self) -> &Source {
        self.zoned.as_ref().unwrap_or_else(|| self.isp.as_ref().map_or(&self.module.source, |isp| &isp.source))
    }

    /// The ISP that its packets leave through; nothing where none leave.
    #[must_use]
    pub fn uplink(&self) -> Option<&Arc<Isp>> {
        self.isp.as_ref().filter(|_| self.module.prober.leaves_this_host())
    }

    /// The pace of its trace's packets, which the traces through an ISP share; without an ISP it has one of its own.
    #[must_use]
    pub fn pace(&self) -> Arc<Pace> {
        self.isp.as_ref().map(|isp| Arc::clone(&isp.pace)).unwrap_or_default()
    }

    /// The name servers that are asked from there: the module's own, or else the ISP's; without any, the system's are asked.
    #[must_use]
    pub fn resolvers(&self) -> &[SocketAddr] {
        match (self.module.resolvers.as_slice(), &self.isp) {
            ([], Some(isp)) => &isp.resolvers,
            (own, _) => own,
        }
    }
}

/// How something is probed.
#[derive(Debug)]
pub struct Module {
    /// Its key in `modules:`.
    pub name: String,
    /// The protocol and its settings.
    pub prober: Prober,
    /// What its probes leave from where the request names no ISP (`source_ip_address`).
    pub source: Source,
    /// The longest that a probe may take; nothing leaves it to the scrape.
    pub timeout: Option<Duration>,
    /// The ISP of requests that name none.
    pub isp: Option<String>,
    /// Name servers that are asked from the source of its probes, and nobody else; without any, the ISP's are.
    pub resolvers: Vec<SocketAddr>,
    /// When its probes are slow, where they are compared.
    pub slow: Slow,
    /// Its entry in `modules:` as YAML, with `<secret>` in the place of secrets.
    pub yaml: String,
}

/// An uplink.
#[derive(Debug, Clone, Default)]
pub struct Isp {
    /// Its key in `isps:`.
    pub name: String,
    /// The data centre (`dc`), its own or the file's.
    pub site: String,
    /// What binds sockets to it.
    pub source: Source,
    /// Name servers that are asked through it, from its source; without any, the system's are asked.
    pub resolvers: Vec<SocketAddr>,
    /// What `http` probes go through, and their token servers, where their modules say nothing of proxies.
    pub proxy: Option<Arc<Proxy>>,
    /// Where its routers are.
    pub territory: Territory,
    /// What its firewall's SNAT must make of our packets' addresses.
    pub public_ips: Vec<Prefix>,
    /// How many probes go through it at a time; nothing sets no limit.
    pub max_probes: Option<u32>,
    /// The pace that the packets of traces through it leave at, but of those of failed flows.
    pub pace: Arc<Pace>,
    /// How many packets a second this program sends through it that it makes itself: all but those of the kernel's connections; nothing sets no limit.
    pub budget: Option<Arc<Budget>>,
}

impl Isp {
    /// Whether packets through it are to have this address where they arrive; nothing where it names none of the family.
    #[must_use]
    pub fn expects(&self, address: IpAddr) -> Option<bool> {
        let mut of_family = self.public_ips.iter().filter(|prefix| prefix.is_ipv4() == address.is_ipv4()).peekable();
        of_family.peek()?;
        Some(of_family.any(|prefix| prefix.contains(address)))
    }
}
