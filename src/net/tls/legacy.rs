//! TLS that rustls does not speak, as far as a server tells of it in clear.

use std::io;

use rustls::pki_types::ServerName;
use rustls::{CipherSuite, ProtocolVersion};

use super::provider::PROVIDER;
use super::{TLS12, Tls, TlsFacts, certificates, suite_name};
use crate::wire::tls::{ClientHello, ServerFlight, ServerHello};

/// What servers may speak that have a certificate and do not speak as rustls does, by IANA's numbers and names, the better first.
const OLD_SUITES: [(u16, &str); 53] = [
    (0xc0ac, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    (0xc0ae, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
    (0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    (0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    (0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    (0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0x00a2, "TLS_DHE_DSS_WITH_AES_128_GCM_SHA256"),
    (0x00a3, "TLS_DHE_DSS_WITH_AES_256_GCM_SHA384"),
    (0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    (0x0040, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA256"),
    (0x006a, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA256"),
    (0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    (0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    (0x0032, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA"),
    (0x0038, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA"),
    (0x0045, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA"),
    (0x0088, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA"),
    (0x009a, "TLS_DHE_RSA_WITH_SEED_CBC_SHA"),
    (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    (0xc050, "TLS_RSA_WITH_ARIA_128_GCM_SHA256"),
    (0xc051, "TLS_RSA_WITH_ARIA_256_GCM_SHA384"),
    (0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    (0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    (0x0041, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA"),
    (0x0084, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA"),
    (0x0096, "TLS_RSA_WITH_SEED_CBC_SHA"),
    (0xc004, "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xc005, "TLS_ECDH_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xc00e, "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA"),
    (0xc00f, "TLS_ECDH_RSA_WITH_AES_256_CBC_SHA"),
    (0xc008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA"),
    (0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x0013, "TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA"),
    (0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x0007, "TLS_RSA_WITH_IDEA_CBC_SHA"),
    (0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"),
    (0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA"),
    (0x0005, "TLS_RSA_WITH_RC4_128_SHA"),
    (0x0004, "TLS_RSA_WITH_RC4_128_MD5"),
    (0x0015, "TLS_DHE_RSA_WITH_DES_CBC_SHA"),
    (0x0009, "TLS_RSA_WITH_DES_CBC_SHA"),
];

/// The cipher suites of TLS 1.2 that rustls speaks. All others that it speaks are of TLS 1.3.
fn spoken_suites() -> impl Iterator<Item = CipherSuite> {
    PROVIDER.cipher_suites.iter().filter(|suite| suite.tls13().is_none()).map(|suite| suite.suite())
}

/// A ClientHello for a server of a name that, but for the rarest ciphers, every server of TLS 1.0 to 1.2 answers. What rustls speaks of
/// TLS 1.2 is offered first, so that a server that would speak that can say so.
///
/// # Errors
/// This host has no random numbers.
pub fn old_hello(name: &ServerName<'_>) -> io::Result<Vec<u8>> {
    let mut random = [0; 32];
    PROVIDER.secure_random.fill(&mut random).map_err(|_| io::Error::other("this host has no random numbers"))?;
    let server_name = if let ServerName::DnsName(name) = name { Some(name.as_ref()) } else { None };
    let old = OLD_SUITES.into_iter().map(|(number, _)| number);
    let cipher_suites: Vec<_> = spoken_suites().map(u16::from).chain(old).collect();
    Ok(ClientHello { random, server_name, cipher_suites: &cipher_suites }.to_bytes())
}

impl TlsFacts {
    /// What a server says in answer to an [`old_hello`], however far it got; nothing where it has chosen nothing of what was offered.
    #[must_use]
    pub fn in_clear(flight: &ServerFlight) -> Option<Self> {
        let ServerHello { version, cipher_suite } = flight.hello?;
        let version = match ProtocolVersion::from(version) {
            ProtocolVersion::SSLv3 => "SSL 3.0",
            ProtocolVersion::TLSv1_0 => "TLS 1.0",
            ProtocolVersion::TLSv1_1 => "TLS 1.1",
            ProtocolVersion::TLSv1_2 => TLS12,
            _ => return None,
        };
        let spoken = spoken_suites().find(|suite| u16::from(*suite) == cipher_suite).map(suite_name);
        let old = OLD_SUITES.into_iter().find(|(number, _)| *number == cipher_suite);
        Some(Self {
            version: Some(version),
            cipher: Some(spoken.or_else(|| old.map(|(_, name)| name.to_owned()))?),
            alpn: None,
            chain: certificates(&flight.chain),
            chain_expiry: None,
        })
    }
}

impl Tls {
    /// Whether what a server has chosen is what this program never speaks. Where the module has TLS 1.3 only, it can be the module that
    /// does not.
    #[must_use]
    pub fn never_speaks(&self, chosen: ServerHello) -> bool {
        let of_tls12 = ProtocolVersion::from(chosen.version) == ProtocolVersion::TLSv1_2;
        !of_tls12 || self.speaks_tls12 && !spoken_suites().any(|suite| u16::from(suite) == chosen.cipher_suite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::{TlsOptions, Version};

    fn flight(version: u16, cipher_suite: u16) -> ServerFlight {
        let mut flight = ServerFlight::default();
        flight.hello = Some(ServerHello { version, cipher_suite });
        flight
    }

    #[test]
    fn what_a_server_chooses_has_the_names_that_dashboards_know() {
        let facts = |version, suite| {
            TlsFacts::in_clear(&flight(version, suite)).map(|facts| (facts.version.unwrap(), facts.cipher.unwrap()))
        };
        let named = |version, suite: &str| Some((version, suite.to_owned()));
        assert_eq!(facts(0x0301, 0xc013), named("TLS 1.0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"));
        assert_eq!(facts(0x0302, 0x000a), named("TLS 1.1", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"));
        assert_eq!(facts(0x0303, 0xc02f), named("TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
        assert_eq!(facts(0x0300, 0x0005), named("SSL 3.0", "TLS_RSA_WITH_RC4_128_SHA"));
        // What was not offered: TLS 1.3, a version of nobody, a suite of TLS 1.3, one without a cipher, one of nobody.
        for (version, suite) in [(0x0304, 0xc013), (0x0399, 0xc013), (0x0303, 0x1301), (0x0301, 2), (0x0301, 0xabcd)] {
            assert_eq!(facts(version, suite), None);
        }
        assert_eq!(TlsFacts::in_clear(&ServerFlight::default()), None);
    }

    #[test]
    fn only_what_is_never_spoken_is_told_so() {
        let never = |min_version, version, cipher_suite| {
            let options = TlsOptions { min_version, insecure_skip_verify: true, ..TlsOptions::default() };
            Tls::new(options).unwrap().never_speaks(ServerHello { version, cipher_suite })
        };
        for min in [None, Some(Version::Tls10), Some(Version::Tls13)] {
            assert!(never(min, 0x0301, 0xc013) && never(min, 0x0302, 0x002f));
            assert!(!never(min, 0x0303, 0xc02f), "ECDHE with AES-GCM");
            assert_eq!(never(min, 0x0303, 0x002f), min != Some(Version::Tls13), "RSA key exchange");
        }
    }

    #[test]
    fn names_are_asked_for_and_addresses_are_not() {
        let contains = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        let [name, address] = ["old.example", "192.0.2.1"].map(|name| ServerName::try_from(name).unwrap());
        assert!(contains(&old_hello(&name).unwrap(), b"old.example"));
        assert!(!contains(&old_hello(&address).unwrap(), b"192.0.2.1"));
        assert_ne!(old_hello(&name).unwrap(), old_hello(&name).unwrap());
    }
}
