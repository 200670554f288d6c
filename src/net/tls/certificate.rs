//! What a certificate says, in the words of Go's `crypto/x509`, which dashboards know.

use std::fmt::Write;
use std::time::SystemTime;

use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::distinguished_name::distinguished_name;
use super::grants::time;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of the DER, in hexadecimal.
    pub fingerprint_sha256: String,
    /// Distinguished name, in Go's `pkix.Name.String()` form.
    pub subject: String,
    /// Distinguished name of the issuer, likewise.
    pub issuer: String,
    /// DNS names of the subject alternative names, joined by commas.
    pub subject_alternative: String,
    /// Serial number, in lower-case hexadecimal.
    pub serial_number: String,
    /// Start of its time.
    pub not_before: SystemTime,
    /// End of its time.
    pub not_after: SystemTime,
}

impl Certificate {
    /// Reads a certificate; nothing where it is none.
    #[must_use]
    pub fn of_der(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let serial = certificate.raw_serial();
        // The leading zero only says that the number is positive.
        let serial = &serial[serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len())..];
        Some(Self {
            fingerprint_sha256: hexadecimal(digest::digest(&digest::SHA256, der).as_ref()),
            subject: distinguished_name(certificate.subject()),
            issuer: distinguished_name(certificate.issuer()),
            subject_alternative: dns_names(&certificate).join(","),
            serial_number: hexadecimal(serial),
            not_before: time(certificate.validity().not_before),
            not_after: time(certificate.validity().not_after),
        })
    }
}

fn dns_names<'a>(certificate: &'a X509Certificate<'_>) -> Vec<&'a str> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    names.iter().filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None }).collect()
}

/// Bytes in hexadecimal, lower-case.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SerialNumber};

    use super::*;

    #[test]
    fn a_certificate_reads_as_go_prints_it() {
        let mut params =
            CertificateParams::new(vec!["b.example".into(), "a.example".into(), "192.0.2.1".into()]).unwrap();
        params.serial_number = Some(SerialNumber::from(vec![0x0a, 0xbc]));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "#a <b> ");
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc");
        params.distinguished_name.push(DnType::CountryName, "US");
        params.distinguished_name.push(DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), "a@b");
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = Certificate::of_der(certificate.der()).unwrap();
        assert_eq!(read.subject, r"CN=\#a \<b\>\ ,O=Example\, Inc,C=US,1.2.840.113549.1.9.1=#0c03614062");
        assert_eq!(read.issuer, read.subject);
        assert_eq!(read.subject_alternative, "b.example,a.example");
        assert_eq!(read.serial_number, "0abc");
        assert_eq!(read.fingerprint_sha256.len(), 64);
        assert!(read.not_before < read.not_after);
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        assert_eq!(Certificate::of_der(b"\x30\x03\x02\x01\x00"), None);
    }
}
