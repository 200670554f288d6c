//! Names become addresses.

pub(super) mod exchange;
mod file;
mod hosts;
mod resolv_conf;
mod servers;
mod system;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Probe;
use super::failures::UNBOUND;
use super::host::check_address;
use crate::flight::Phase;
use crate::net::{Family, Source, SourceError};
use crate::verdict::{Failure, Reason};
pub(super) use hosts::Hosts;
use servers::{Patience, Servers};
use system::{SYSTEM, System};

/// Which address family is taken where a name has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preference {
    /// The family to take first (`preferred_ip_protocol`; IPv6 by default, as blackbox_exporter does).
    pub family: Family,
    /// Whether the other one will do (`ip_protocol_fallback`).
    pub fallback: bool,
}

impl Default for Preference {
    fn default() -> Self {
        Self { family: Family::V6, fallback: true }
    }
}

/// Who is asked by a probe.
pub(super) struct Asked<'p> {
    /// What the sockets are made from.
    pub(super) source: &'p Source,
    /// The name servers.
    pub(super) servers: Vec<SocketAddr>,
    /// The hosts file, which counts where the system's name servers do.
    pub(super) hosts: Option<Arc<Hosts>>,
}

impl<'p> Asked<'p> {
    /// The module's or its ISP's own name servers, through it; where there are none, the system's, as the kernel routes.
    pub(super) fn of(probe: &Probe<'p>) -> Self {
        match probe.request.resolvers() {
            [] => Self { source: &UNBOUND, servers: SYSTEM.name_servers(), hosts: Some(SYSTEM.hosts()) },
            resolvers => {
                Self { source: probe.source(), servers: reachable(probe, resolvers).unwrap_or_default(), hosts: None }
            }
        }
    }
}

/// What became of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The name, or the address that was given in its place.
    pub name: String,
    /// The address that is probed; nothing where the name has none.
    pub address: Option<IpAddr>,
    /// How long that took; nothing where it has none, or nobody said: then [`Phase::Resolve`] ended with it.
    pub took: Option<Duration>,
}

/// The address to probe for a host (a name, an address, an IPv6 address in brackets), in [`Phase::Resolve`].
///
/// It is the first address of the preferred family, or else (where the preference allows it) the first of the other one; families that the
/// ISP cannot send from do not count. Where the module or the ISP has name servers, they are asked from the probe's source, and nobody else:
/// neither `/etc/hosts` nor search domains count then. Otherwise `/etc/hosts` and the name servers of `/etc/resolv.conf` are, to which the
/// kernel routes.
///
/// # Errors
/// Why there is none.
pub async fn resolve(probe: &Probe<'_>, host: &str, preference: Preference) -> Result<IpAddr, Failure> {
    let families = families(preference).filter(|family| probe.source().supports(*family)).collect();
    resolve_on(&SYSTEM, probe, host, preference, families).await
}

/// The same for a host that a proxy connects to: it need not have a family that the ISP can send from.
///
/// # Errors
/// As [`resolve`].
pub async fn resolve_beyond(probe: &Probe<'_>, host: &str, preference: Preference) -> Result<IpAddr, Failure> {
    resolve_on(&SYSTEM, probe, host, preference, families(preference).collect()).await
}

/// The same on any system, for an address of one of `families`, the preferred one first.
async fn resolve_on(
    system: &System,
    probe: &Probe<'_>,
    host: &str,
    preference: Preference,
    families: Vec<Family>,
) -> Result<IpAddr, Failure> {
    // The connection before, if there was one, is not what fails next.
    probe.turn_from_connection();
    probe.timeline.enter(Phase::Resolve);
    let mut record = Record { probe, host, address: None };
    let begun = Instant::now();
    let address = match literal(host) {
        Some(address) => {
            // To read an address is the whole of its look-up. Of a name it is what the name server takes: until it is asked, the time is ours.
            probe.timeline.sent(begun);
            probe.timeline.received(Instant::now());
            of_literal(probe, address, preference, &families)?
        }
        None => match (families.as_slice(), probe.request.resolvers()) {
            ([], _) => return Err(probe.source_failure(&SourceError::NoAddress(preference.family))),
            (families, []) => system.lookup(probe, host, families).await?,
            (families, resolvers) => {
                let mut servers = Servers {
                    probe,
                    source: probe.source(),
                    addresses: reachable(probe, resolvers)?,
                    patience: Patience::UntilDeadline,
                };
                servers.lookup(host, families).await?
            }
        },
    };
    record.address = Some(address);
    drop(record);
    if let Err(what) = check_address(address) {
        return Err(probe.failure(Reason::DestinationIpProhibited, format!("{host} is {address}, which {what}")));
    }
    probe.note(format_args!("{host} is {address}"));
    Ok(address)
}

/// Those of the name servers that the probe's source can ask: of a module's own it may be that only some can be, through an ISP.
fn reachable(probe: &Probe<'_>, resolvers: &[SocketAddr]) -> Result<Vec<SocketAddr>, Failure> {
    let family = |server: &SocketAddr| Family::of(server.ip());
    let reachable: Vec<_> =
        resolvers.iter().copied().filter(|server| probe.source().supports(family(server))).collect();
    match (reachable.as_slice(), resolvers) {
        ([], [first, ..]) => {
            let failure = probe.source_failure(&SourceError::NoAddress(family(first)));
            Err(Failure { detail: format!("asking the name server {first}: {}", failure.detail), ..failure })
        }
        _ => Ok(reachable),
    }
}

/// Keeps what became of the name when the look-up ends, also when the probe is cut.
struct Record<'a> {
    probe: &'a Probe<'a>,
    host: &'a str,
    address: Option<IpAddr>,
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let timeline = &self.probe.timeline;
        let so_far = || {
            let phases = timeline.phases_of_leg(timeline.leg());
            phases.into_iter().find_map(|(phase, span)| (phase == Phase::Resolve).then_some(span))
        };
        let took = self.address.and_then(|_| so_far());
        self.probe.resolved(Resolution { name: self.host.to_owned(), address: self.address, took });
    }
}

/// The families to ask for, the preferred one first.
fn families(preference: Preference) -> impl Iterator<Item = Family> {
    let other = match preference.family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    };
    [Some(preference.family), preference.fallback.then_some(other)].into_iter().flatten()
}

/// The address that a host is, in brackets or without.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // An IPv4 address in the clothes of IPv6 (RFC 4291, section 2.5.5.2) is one of IPv4, to the kernel and to Go.
    bare.parse().ok().map(|address: IpAddr| address.to_canonical())
}

fn of_literal(
    probe: &Probe<'_>,
    address: IpAddr,
    preference: Preference,
    families: &[Family],
) -> Result<IpAddr, Failure> {
    let family = Family::of(address);
    if family != preference.family && !preference.fallback {
        let detail = format!("{address} is not of the preferred_ip_protocol, and ip_protocol_fallback is off");
        return Err(probe.failure(Reason::ProberConfigError, detail));
    }
    if !families.contains(&family) {
        return Err(probe.source_failure(&SourceError::NoAddress(family)));
    }
    Ok(address)
}

/// The first address of the first family that has one.
fn first_of(addresses: &[IpAddr], families: &[Family]) -> Option<IpAddr> {
    families.iter().find_map(|family| addresses.iter().copied().find(|address| Family::of(*address) == *family))
}

fn no_address(probe: &Probe<'_>, host: &str, families: &[Family]) -> Failure {
    let wanted = match families {
        [Family::V4] => "IPv4 address",
        [Family::V6] => "IPv6 address",
        _ => "address",
    };
    probe.failure(Reason::DnsNodata, format!("{host} has no {wanted}"))
}

#[cfg(test)]
mod tests;
