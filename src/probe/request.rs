//! What is asked for: a target, how it is probed, and through whom.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Prober;
use crate::net::{Network, Source};

/// One probe that is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is probed, as the module's prober understands it.
    pub target: String,
    /// How.
    pub module: Arc<Module>,
    /// Through whom; nothing leaves it to the kernel's routes.
    pub isp: Option<Arc<Isp>>,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether to keep a log for a person.
    pub debug: bool,
    /// The sockets of the process.
    pub network: Arc<Network>,
}

/// How something is probed.
#[derive(Debug)]
pub struct Module {
    /// Its key in `modules:`.
    pub name: String,
    /// The protocol and its settings.
    pub prober: Prober,
    /// The longest that a probe may take; nothing leaves it to the scrape.
    pub timeout: Option<Duration>,
    /// The ISP of requests that name none.
    pub isp: Option<String>,
}

/// An uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isp {
    /// Its key in `isps:`.
    pub name: String,
    /// The data centre (`dc`), its own or the file's.
    pub site: String,
    /// What binds sockets to it.
    pub source: Source,
    /// Name servers that are asked through it, from its source; without any, the system's are asked.
    pub resolvers: Vec<SocketAddr>,
}
