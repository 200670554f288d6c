//! The section `tls`.

use std::time::SystemTime;

use serde::Serialize;

use crate::metrics::unix_seconds;
use crate::net::tls::{self, TlsFacts};

#[derive(Serialize)]
pub(super) struct Tls<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_expiry_timestamp_seconds: Option<f64>,
    certificates: Vec<Certificate<'a>>,
}

#[derive(Serialize)]
struct Certificate<'a> {
    fingerprint_sha256: &'a str,
    subject: &'a str,
    issuer: &'a str,
    subject_alternative: &'a str,
    serial_number: &'a str,
    not_before_timestamp_seconds: f64,
    not_after_timestamp_seconds: f64,
}

impl<'a> Tls<'a> {
    pub(super) fn of(facts: &'a TlsFacts) -> Self {
        let TlsFacts { version, cipher, alpn, chain, chain_expiry } = facts;
        Self {
            version: *version,
            cipher: cipher.as_deref(),
            alpn: alpn.as_deref(),
            chain_expiry_timestamp_seconds: chain_expiry.map(unix_seconds),
            certificates: chain.iter().map(Certificate::of).collect(),
        }
    }
}

impl<'a> Certificate<'a> {
    fn of(certificate: &'a tls::Certificate) -> Self {
        let tls::Certificate {
            fingerprint_sha256,
            subject,
            issuer,
            subject_alternative,
            serial_number,
            not_before,
            not_after,
        } = certificate;
        let seconds = |time: &SystemTime| unix_seconds(*time);
        Self {
            fingerprint_sha256,
            subject,
            issuer,
            subject_alternative,
            serial_number,
            not_before_timestamp_seconds: seconds(not_before),
            not_after_timestamp_seconds: seconds(not_after),
        }
    }
}
