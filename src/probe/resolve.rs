//! Names become addresses.

mod servers;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::Probe;
use crate::flight::Phase;
use crate::net::sys::{self, LookupError};
use crate::net::{Family, SourceError};
use crate::verdict::{Failure, Reason};

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

/// What became of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The name, or the address that was given in its place.
    pub name: String,
    /// The address that is probed; nothing where the name has none.
    pub address: Option<IpAddr>,
    /// How long the look-up took.
    pub duration: Duration,
}

/// The address to probe for a host (a name, an address, an IPv6 address in brackets), in [`Phase::Resolve`].
///
/// It is the first address of the preferred family, or else (where the preference allows it) the first of the other one; families that the
/// ISP cannot send from do not count. Where the ISP has name servers, they are asked through it, and nobody else: neither `/etc/hosts`
/// nor search domains count then. Otherwise the system resolves, by its own routes.
///
/// # Errors
/// Why there is none.
pub async fn resolve(probe: &Probe<'_>, host: &str, preference: Preference) -> Result<IpAddr, Failure> {
    let started = Instant::now();
    probe.timeline.enter(Phase::Resolve);
    let mut record = Record { probe, host, started, address: None };
    let families = families(probe, preference);
    let address = match literal(host) {
        Some(address) => of_literal(probe, address, preference)?,
        None => match (families.as_slice(), probe.request.isp.as_ref()) {
            ([], _) => return Err(probe.source_failure(&SourceError::NoAddress(preference.family))),
            (families, Some(isp)) if !isp.resolvers.is_empty() => {
                servers::lookup(probe, &isp.resolvers, host, families).await?
            }
            (families, _) => lookup(probe, host, families).await?,
        },
    };
    record.address = Some(address);
    drop(record);
    probe.note(format_args!("{host} is {address}"));
    Ok(address)
}

/// Keeps what became of the name when the look-up ends, also when the probe is cut.
struct Record<'a> {
    probe: &'a Probe<'a>,
    host: &'a str,
    started: Instant,
    address: Option<IpAddr>,
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.probe.resolved(Resolution {
            name: self.host.to_owned(),
            address: self.address,
            duration: self.started.elapsed(),
        });
    }
}

/// The families to ask for, the preferred one first.
fn families(probe: &Probe<'_>, preference: Preference) -> Vec<Family> {
    let other = match preference.family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    };
    let wanted = [Some(preference.family), preference.fallback.then_some(other)];
    wanted.into_iter().flatten().filter(|family| probe.source().supports(*family)).collect()
}

fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

fn of_literal(probe: &Probe<'_>, address: IpAddr, preference: Preference) -> Result<IpAddr, Failure> {
    let family = Family::of(address);
    if family != preference.family && !preference.fallback {
        let detail = format!("{address} is not of the preferred_ip_protocol, and ip_protocol_fallback is off");
        return Err(probe.failure(Reason::DnsNodata, detail));
    }
    if !probe.source().supports(family) {
        return Err(probe.source_failure(&SourceError::NoAddress(family)));
    }
    Ok(address)
}

/// How many look-ups the C library may be busy with. They cannot be cancelled and hold a thread each, and a dead name server
/// keeps them for many seconds; the bound leaves threads of tokio's 512 for everything else.
static LOOKUPS: Semaphore = Semaphore::const_new(256);

/// Asks the system.
async fn lookup(probe: &Probe<'_>, host: &str, families: &[Family]) -> Result<IpAddr, Failure> {
    let failed = |what: &str| probe.failure(Reason::ProberError, format!("looking up {host}: {what}"));
    let permit = LOOKUPS.acquire().await.map_err(|_| failed("the look-ups are closed"))?;
    let name = host.to_owned();
    let asked = Instant::now();
    probe.timeline.sent(asked);
    let result = tokio::task::spawn_blocking(move || {
        let result = sys::lookup(&name);
        drop(permit);
        (result, Instant::now())
    });
    let (result, answered) = result.await.map_err(|_| failed("the look-up was broken off"))?;
    probe.timeline.received(answered);
    let addresses = result.map_err(|error| lookup_failure(probe, host, &error, answered - asked))?;
    first_of(&addresses, families).ok_or_else(|| no_address(probe, host, families))
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

/// The C library tells "no answer" and "a server failed" by the same code; its shortest wait for an answer (`timeout:1` of
/// `resolv.conf(5)`) tells them apart.
fn lookup_failure(probe: &Probe<'_>, host: &str, error: &LookupError, took: Duration) -> Failure {
    let (reason, what) = match error {
        LookupError::NoName => (Reason::DnsNxdomain, "the name does not exist"),
        LookupError::NoData => (Reason::DnsNodata, "the name has no address"),
        LookupError::TryAgain if took >= Duration::from_secs(1) => (Reason::DnsTimeout, "no name server answered"),
        LookupError::TryAgain => (Reason::DnsServfail, "the name servers could not say"),
        LookupError::Other(text) => (Reason::DnsServfail, text.as_str()),
    };
    probe.failure(reason, format!("looking up {host}: {what}"))
}

#[cfg(test)]
mod tests;
