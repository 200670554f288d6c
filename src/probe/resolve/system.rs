//! The system's names: `/etc/hosts`, then the name servers of `/etc/resolv.conf`, as the kernel routes to them.
//!
//! The C library is not asked: its `getaddrinfo(3)` holds a thread and a socket until it is done, whoever has gone away meanwhile. This
//! is what Go's own resolver does (`net`, "Name Resolution"), which blackbox_exporter's releases have. Modules of the C library's name
//! service switch (`nsswitch.conf(5)`: mDNS, NIS, SSSD) are thereby not asked either.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use super::file::Cached;
use super::hosts::Hosts;
use super::resolv_conf::{NameServer, ResolvConf};
use super::servers::{Patience, Servers};
use super::{first_of, no_address};
use crate::net::{Family, sys};
use crate::probe::Probe;
use crate::probe::failures::UNBOUND;
use crate::verdict::{Failure, Reason};

/// This system.
pub(super) static SYSTEM: LazyLock<System> =
    LazyLock::new(|| System::new(Path::new("/etc"), PathBuf::from("/proc/sys/kernel/hostname"), 53));

/// What `localhost` is where no file says it (RFC 6761, section 6.3).
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Where a system says what names are.
#[derive(Debug)]
pub(super) struct System {
    hosts: Cached<Hosts>,
    resolv_conf: Cached<ResolvConf>,
    hostname: PathBuf,
    /// The port of its name servers.
    port: u16,
}

impl System {
    /// A system with its `hosts` and `resolv.conf` in a folder, and its own name in the file `hostname`.
    pub(super) fn new(folder: &Path, hostname: PathBuf, port: u16) -> Self {
        Self {
            hosts: Cached::new(folder.join("hosts")),
            resolv_conf: Cached::new(folder.join("resolv.conf")),
            hostname,
            port,
        }
    }

    /// The first address of the first family that a host has one of. A name that stands in the hosts file has no other addresses.
    ///
    /// # Errors
    /// Why there is none. Where several names were tried in vain, the failure of the host as it was given tells, unless one of the others
    /// might have had an address.
    pub(super) async fn lookup(&self, probe: &Probe<'_>, host: &str, families: &[Family]) -> Result<IpAddr, Failure> {
        let hosts = self.hosts();
        let known = match hosts.addresses(host) {
            [] if is_localhost(host) => &LOOPBACK,
            known => known,
        };
        if !known.is_empty() {
            return first_of(known, families).ok_or_else(|| no_address(probe, host, families));
        }
        let conf = self.resolv_conf();
        let mut servers = Servers {
            probe,
            source: &UNBOUND,
            addresses: self.addresses(&conf),
            patience: Patience::Limited { timeout: conf.timeout, attempts: conf.attempts },
        };
        let mut told = None;
        for name in conf.names(host) {
            let failure = match servers.lookup(&name, families).await {
                Ok(address) => return Ok(address),
                Err(failure) => failure,
            };
            let whole = host.strip_suffix('.').unwrap_or(host) == name;
            match failure.reason {
                Reason::DnsNxdomain if !whole => probe.note(format_args!("{}", failure.detail)),
                // Nobody answers, and would not for another name.
                Reason::DnsTimeout => return Err(failure),
                reason if !reason.is_of_names() => return Err(failure),
                _ => {
                    told.get_or_insert(failure);
                }
            }
        }
        Err(told.unwrap_or_else(|| no_address(probe, host, families)))
    }

    /// What the hosts file says.
    pub(super) fn hosts(&self) -> Arc<Hosts> {
        self.hosts.get(Instant::now(), Hosts::parse)
    }

    /// Where the name servers are.
    pub(super) fn name_servers(&self) -> Vec<SocketAddr> {
        self.addresses(&self.resolv_conf())
    }

    fn resolv_conf(&self) -> Arc<ResolvConf> {
        self.resolv_conf.get(Instant::now(), |text| {
            ResolvConf::parse(text, &fs::read_to_string(&self.hostname).unwrap_or_default())
        })
    }

    fn addresses(&self, conf: &ResolvConf) -> Vec<SocketAddr> {
        conf.servers.iter().map(|server| self.address(server)).collect()
    }

    fn address(&self, server: &NameServer) -> SocketAddr {
        match server.address {
            IpAddr::V4(address) => SocketAddr::from((address, self.port)),
            IpAddr::V6(address) => {
                let index = |zone: &String| zone.parse().ok().or_else(|| sys::interface_index(zone));
                // A zone that is not there is none: the kernel then says that it cannot send.
                let scope = server.zone.as_ref().and_then(index).unwrap_or(0);
                SocketAddrV6::new(address, self.port, 0, scope).into()
            }
        }
    }
}

/// Whether a name is `localhost` or ends in it (RFC 6761, section 6.3).
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}
