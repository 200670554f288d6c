//! What a TLS handshake told.

use super::Page;
use super::units::{date, days};
use crate::metrics::unix_seconds;
use crate::net::tls::{Certificate, TlsFacts};
use crate::probe::Report;

pub(super) fn write(page: &mut Page, report: &Report, facts: &TlsFacts) {
    let TlsFacts { version, cipher, alpn, chain, chain_expiry } = facts;
    let now = unix_seconds(report.started);
    let end = |time| format!("{} ({})", date(unix_seconds(time)), days(now, unix_seconds(time)));
    let agreed: Vec<&str> = [*version, cipher.as_deref(), alpn.as_deref()].into_iter().flatten().collect();
    if !agreed.is_empty() {
        page.entry("TLS", agreed.join(", "));
    }
    for (number, certificate) in chain.iter().enumerate() {
        let Certificate {
            fingerprint_sha256,
            subject,
            issuer,
            subject_alternative,
            serial_number,
            not_before,
            not_after,
        } = certificate;
        page.entry(if number == 0 { "chain" } else { "" }, subject);
        page.entry("", format_args!("  by {issuer}, number {serial_number}"));
        if !subject_alternative.is_empty() {
            page.entry("", format_args!("  for {subject_alternative}"));
        }
        page.entry("", format_args!("  from {} to {}", date(unix_seconds(*not_before)), end(*not_after)));
        page.entry("", format_args!("  {fingerprint_sha256}"));
    }
    match chain_expiry {
        Some(time) => page.entry("", format_args!("verified; the first of it to end does on {}", end(*time))),
        None if chain.is_empty() => {}
        None => page.entry("", "not verified"),
    }
}
