//! What is probed how and through whom: valid by construction.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::net::Source;
use crate::probe::Prober;

/// A configuration that loaded, and is therefore right.
#[derive(Debug, Default)]
pub struct Config {
    /// `modules:` by name.
    pub modules: BTreeMap<String, Arc<Module>>,
    /// `isps:` by name.
    pub isps: BTreeMap<String, Arc<Isp>>,
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
    /// Name servers that are asked through it, from its source; empty, the system resolves.
    pub resolvers: Vec<SocketAddr>,
}
