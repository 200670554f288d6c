//! What a certificate says, in the words of Go's `crypto/x509`, which dashboards know.

use std::fmt::Write;
use std::time::SystemTime;

use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

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

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The attribute types that Go has names for, in the order in which it puts them (`pkix.Name.ToRDNSequence`), and whether it
/// keeps only the last of several.
const NAMED: [(&str, &str, bool); 9] = [
    ("2.5.4.6", "C", false),
    ("2.5.4.10", "O", false),
    ("2.5.4.11", "OU", false),
    ("2.5.4.7", "L", false),
    ("2.5.4.8", "ST", false),
    ("2.5.4.9", "STREET", false),
    ("2.5.4.17", "POSTALCODE", false),
    ("2.5.4.3", "CN", true),
    ("2.5.4.5", "SERIALNUMBER", true),
];

/// A distinguished name as Go's `pkix.Name.String()` writes it: RFC 2253, with attributes of one type joined in one RDN, in an order of
/// its own, and attributes without a name at the end, as DER.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let attributes: Vec<(String, &str)> = name
        .iter_attributes()
        .filter_map(|attribute| Some((attribute.attr_type().to_id_string(), attribute.as_str().ok()?)))
        .collect();
    let mut parts = Vec::new();
    for (oid, short, last_only) in NAMED.into_iter().rev() {
        let mut values: Vec<&str> = attributes.iter().filter(|(ty, _)| ty == oid).map(|(_, value)| *value).collect();
        if last_only {
            values.drain(..values.len().saturating_sub(1));
        }
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| format!("{short}={}", escaped(value))).collect();
            parts.push(values.join("+"));
        }
    }
    let unnamed = attributes.iter().rev().filter(|(ty, _)| NAMED.iter().all(|(oid, ..)| ty != oid));
    parts.extend(unnamed.map(|(oid, value)| format!("{oid}=#{}", hexadecimal(&string_der(value)))));
    parts.join(",")
}

/// Escapes what RFC 2253, section 2.4, says.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for (at, character) in value.char_indices() {
        let special = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => at == 0 || at + 1 == value.len(),
            '#' => at == 0,
            _ => false,
        };
        if special {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// DER of a string: a PrintableString where its characters allow it, otherwise a UTF8String (X.690, sections 8.1.3 and 8.23).
fn string_der(value: &str) -> Vec<u8> {
    let printable = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte));
    let mut der = vec![if printable { 0x13 } else { 0x0c }];
    let length = value.len().to_be_bytes();
    match value.len() {
        short @ 0..0x80 => der.push(short as u8),
        _ => {
            let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
            der.push(0x80 | length.len() as u8);
            der.extend(length);
        }
    }
    der.extend(value.bytes());
    der
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
