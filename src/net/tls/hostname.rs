//! Whether a certificate is for a server, by Go's rules, which are those of RFC 6125, section 6.4: beyond webpki's, a wildcard may have only one
//! label behind it, as those of companies do that have a top-level domain of their own (`*.lan`).

use std::net::IpAddr;

use rustls::pki_types::ServerName;
use webpki::InvalidNameContext;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// Checks that one of the names of a certificate is that of a server. Its common name is none.
///
/// # Errors
/// What they are.
pub(super) fn check(certificate: &X509Certificate<'_>, server: &ServerName<'_>) -> Result<(), webpki::Error> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    if names.iter().any(|name| is_of(name, server)) {
        return Ok(());
    }
    let presented = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    });
    let context = InvalidNameContext { expected: server.to_owned(), presented: presented.collect() };
    Err(webpki::Error::CertNotValidForName(context))
}

fn is_of(name: &GeneralName<'_>, server: &ServerName<'_>) -> bool {
    match (name, server) {
        (GeneralName::DNSName(name), ServerName::DnsName(server)) => matches(name, server.as_ref()),
        (GeneralName::IPAddress(bytes), ServerName::IpAddress(server)) => {
            address(bytes) == Some(IpAddr::from(*server).to_canonical())
        }
        _ => false,
    }
}

/// An address; one of IPv4 that is written as one of IPv6 is the same.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_canonical()),
        _ => None,
    }
}

/// Whether a name in a certificate is that of a host. What is no name of a host is only that of one that is written alike.
fn matches(presented: &str, host: &str) -> bool {
    if !is_pattern(presented) {
        return presented.eq_ignore_ascii_case(host);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    match presented.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(_, behind)| domain.eq_ignore_ascii_case(behind)),
        None => presented.eq_ignore_ascii_case(host),
    }
}

/// Whether it is the name of a host, or has a wildcard for the first label of one.
fn is_pattern(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    name.split('.').all(|label| {
        let characters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && !label.starts_with('-') && label.bytes().all(characters)
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};
    use x509_parser::prelude::FromDer;

    use super::*;

    #[test]
    fn names_match_as_in_go() {
        for (presented, host, expected) in [
            ("a.example", "a.example", true),
            ("A.Example", "a.eXAMPLE", true),
            ("a.example", "a.example.", true),
            ("a.example", "b.example", false),
            ("a.example", "a.example.org", false),
            ("example", "a.example", false),
            ("a.example", "example", false),
            ("localhost", "localhost", true),
            // Wildcards.
            ("*.example.org", "a.example.org", true),
            ("*.example.org", "A.EXAMPLE.ORG.", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", "a.b.example.org", false),
            ("*.test", "host.test", true),
            ("*.lan", "printer.lan", true),
            ("*.local", "xn--bcher-kva.local", true),
            ("*.test", "a_b.test", true),
            ("*.test", "test", false),
            ("*.test", "a.b.test", false),
            ("*", "host", false),
            ("*", "host.test", false),
            ("*.*.test", "a.b.test", false),
            ("a.*.test", "a.b.test", false),
            ("a*.test", "ab.test", false),
            ("*a.test", "ba.test", false),
            ("*test", "atest", false),
            ("**.test", "a.test", false),
            // What is no name of a host.
            ("a.test.", "a.test", false),
            ("a.test.", "a.test.", true),
            ("*.test.", "a.test", false),
            ("a..test", "a.test", false),
            ("", "a.test", false),
            (".", "a.test", false),
            ("-a.test", "a.test", false),
            ("a b.test", "a.test", false),
            ("a.test\0", "a.test", false),
            ("bücher.test", "xn--bcher-kva.test", false),
            ("10.0.0.1", "a.test", false),
        ] {
            assert_eq!(matches(presented, host), expected, "{presented:?} for {host}");
        }
    }

    #[test]
    fn addresses_are_those_of_addresses_only() {
        let name = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let address = |address: &str| SanType::IpAddress(address.parse().unwrap());
        let checked = |sans: Vec<SanType>, server: &str| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = sans;
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let server = ServerName::try_from(server).unwrap();
            check(&X509Certificate::from_der(certificate.der()).unwrap().1, &server)
        };
        assert_eq!(checked(vec![name("a.test"), address("10.0.0.1")], "10.0.0.1"), Ok(()));
        assert_eq!(checked(vec![address("2001:db8::1")], "2001:db8::1"), Ok(()));
        assert_eq!(checked(vec![address("::ffff:10.0.0.1")], "10.0.0.1"), Ok(()));
        assert_eq!(checked(vec![address("10.0.0.1")], "::ffff:10.0.0.1"), Ok(()));
        let email = SanType::Rfc822Name("a@b.test".try_into().unwrap());
        for (sans, server, presented) in [
            (vec![name("10.0.0.1")], "10.0.0.1", &["10.0.0.1"][..]),
            (vec![address("10.0.0.1"), name("*.b.test")], "10.0.0.2", &["10.0.0.1", "*.b.test"]),
            (vec![address("10.0.0.1")], "a.test", &["10.0.0.1"]),
            (vec![email], "b.test", &[]),
            (vec![], "rcgen", &[]),
        ] {
            let Err(webpki::Error::CertNotValidForName(context)) = checked(sans, server) else { panic!("{server}") };
            assert_eq!(context.presented, presented);
            assert_eq!(context.expected.to_str(), server);
        }
    }
}
