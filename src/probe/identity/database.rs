//! Autonomous systems out of a database of MaxMind's format (<https://maxmind.github.io/MaxMind-DB/>).

use std::net::IpAddr;

use maxminddb::{LookupResult, MaxMindDbError, Reader};
use serde::Deserialize;

use crate::path::AutonomousSystem;

/// A database that was read whole.
#[derive(Debug)]
pub struct Database(Reader<Vec<u8>>);

/// As GeoLite2-ASN and GeoIP2-ISP have it, and as IPinfo's do.
#[derive(Deserialize)]
struct Record<'a> {
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
    asn: Option<&'a str>,
    as_name: Option<&'a str>,
    name: Option<&'a str>,
}

/// The most characters of a name that are kept.
const LONGEST_NAME: usize = 100;

/// How many of its networks are looked at to see whether it tells what it is wanted for.
const SAMPLE: usize = 1_000;

impl Database {
    /// Takes the content of a file.
    ///
    /// # Errors
    /// Why it is no such database, or one that tells other things.
    pub fn new(content: Vec<u8>) -> Result<Self, String> {
        let reader = Reader::from_source(content).map_err(|error| format!("is no MaxMind database: {error}"))?;
        let broken = |error: MaxMindDbError| format!("is broken: {error}");
        let mut networks = reader.networks(Default::default()).map_err(broken)?.take(SAMPLE);
        let tells = networks.try_fold(false, |tells, network| {
            network.map(|network| tells || system(&network).is_some()).map_err(broken)
        })?;
        if !tells {
            let kind = &reader.metadata().database_type;
            return Err(format!(
                "tells no numbers of autonomous systems: it is of type {kind:?}, not GeoLite2-ASN, say"
            ));
        }
        Ok(Self(reader))
    }

    /// The system that announces an address; nothing where none is known.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<AutonomousSystem> {
        system(&self.0.lookup(address).ok()?)
    }
}

fn system(found: &LookupResult<'_, Vec<u8>>) -> Option<AutonomousSystem> {
    let Record { autonomous_system_number, autonomous_system_organization, asn, as_name, name } =
        found.decode().ok().flatten()?;
    let number = autonomous_system_number.or_else(|| asn?.strip_prefix("AS")?.parse().ok())?;
    let name = autonomous_system_organization.or(as_name).or(name).map(str::trim).filter(|name| !name.is_empty());
    let shown = |c: char| if c.is_control() { '?' } else { c };
    Some(AutonomousSystem { number, name: name.map(|name| name.chars().map(shown).take(LONGEST_NAME).collect()) })
}
