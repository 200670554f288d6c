//! What a certificate may be used for, by its own word.

use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use webpki::{Error, KeyUsage, RequiredEkuNotFoundContext};
use x509_parser::asn1_rs::Oid;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

/// What a certificate may be used for.
#[derive(Debug)]
pub(super) struct Grants {
    /// Start of its time.
    pub(super) not_before: SystemTime,
    /// End of its time.
    pub(super) not_after: SystemTime,
    /// Whether it may sign certificates.
    signs: bool,
    /// How many CAs may stand between it and a server's; nothing where as many as there are.
    path_length: Option<usize>,
    /// The OIDs of what it may be used for; nothing where that is everything.
    purposes: Option<Vec<Vec<usize>>>,
    /// Whether it has an extension that nobody here knows, and that may not be passed over.
    is_strange: bool,
}

/// `anyExtendedKeyUsage` (RFC 5280, section 4.2.1.12).
const ANY: &[usize] = &[2, 5, 29, 37, 0];

/// The extensions that may be critical, by Go's list: those whose meaning is obeyed, or has none for a CA that is trusted.
const KNOWN: [&str; 12] = [
    "2.5.29.14",
    "2.5.29.15",
    "2.5.29.17",
    "2.5.29.19",
    "2.5.29.30",
    "2.5.29.31",
    "2.5.29.32",
    "2.5.29.33",
    "2.5.29.35",
    "2.5.29.36",
    "2.5.29.37",
    "2.5.29.54",
];

impl Grants {
    /// Reads a certificate; nothing where it is none.
    pub(super) fn of_der(der: &[u8]) -> Option<Self> {
        X509Certificate::from_der(der).ok().map(|(_, certificate)| Self::of(&certificate))
    }

    /// What a certificate grants.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let constraints = certificate.basic_constraints().ok().flatten().map(|extension| extension.value);
        // Before version 3 there was no way to say it.
        let is_ca = constraints.map_or(certificate.version() != X509Version::V3, |constraints| constraints.ca);
        let key_usage = certificate.key_usage().ok().flatten().map(|extension| extension.value);
        let purposes = certificate.extensions().iter().find(|extension| extension.oid.to_id_string() == "2.5.29.37");
        Self {
            not_before: time(certificate.validity().not_before),
            not_after: time(certificate.validity().not_after),
            signs: is_ca && key_usage.is_none_or(|usage| usage.key_cert_sign()),
            path_length: constraints
                .and_then(|constraints| constraints.path_len_constraint)
                .map(|length| length as usize),
            purposes: purposes.map(|extension| oids(extension.value)),
            is_strange: certificate
                .extensions()
                .iter()
                .any(|extension| extension.critical && !KNOWN.contains(&extension.oid.to_id_string().as_str())),
        }
    }

    /// Whether it may be used at a time.
    ///
    /// # Errors
    /// Since when not, or from when on.
    pub(super) fn at(&self, time: SystemTime) -> Result<(), Error> {
        let [now, not_before, not_after] = [time, self.not_before, self.not_after].map(unix_time);
        if time < self.not_before {
            return Err(Error::CertNotValidYet { time: now, not_before });
        }
        if time > self.not_after {
            return Err(Error::CertExpired { time: now, not_after });
        }
        Ok(())
    }

    /// Whether it may be used for a purpose. What its issuers may not be used for, it may not, either.
    ///
    /// # Errors
    /// For what else.
    pub(super) fn serves(&self, purpose: KeyUsage) -> Result<(), Error> {
        let Some(present) = &self.purposes else { return Ok(()) };
        let required: Vec<_> = purpose.oid_values().collect();
        if present.iter().any(|granted| *granted == required || *granted == ANY) {
            return Ok(());
        }
        let present = present.clone();
        Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required: purpose, present }))
    }

    /// Whether it may sign the certificates of others.
    ///
    /// # Errors
    /// That it may not.
    pub(super) fn signs(&self) -> Result<(), Error> {
        if self.signs { Ok(()) } else { Err(Error::EndEntityUsedAsCa) }
    }

    /// Whether, being trusted, it may stand at the end of a path with so many CAs between it and a server's, which webpki does not ask.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn leads(&self, between: usize, time: SystemTime, purpose: KeyUsage) -> Result<(), Error> {
        self.signs()?;
        self.at(time)?;
        self.serves(purpose)?;
        if self.is_strange {
            return Err(Error::UnsupportedCriticalExtension);
        }
        if self.path_length.is_some_and(|length| between > length) {
            return Err(Error::PathLenConstraintViolated);
        }
        Ok(())
    }
}

/// The OIDs of a SEQUENCE of them; none where it is malformed.
fn oids(der: &[u8]) -> Vec<Vec<usize>> {
    let oids = Vec::<Oid<'_>>::from_der(der).map(|(_, oids)| oids).unwrap_or_default();
    let numbers = |oid: &Oid<'_>| Some(oid.iter()?.map(|number| number as usize).collect());
    oids.iter().filter_map(numbers).collect()
}

/// A time of a certificate.
pub(super) fn time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let time = if seconds < 0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) };
    time.unwrap_or(epoch)
}

/// A time as webpki has it, which knows none before 1970.
pub(super) fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
